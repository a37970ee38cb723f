/* fs/tree/text_engine.h - asks an engine for the text of some rows.
 *
 * base/ipc.h frames over <data>/run/engine.sock, one connection a request; the numbers are those of
 * gateway/engine/wire.h:
 *   TEXT {"path":"<mount>/.../<id>.parquet","group":g,"timeout_ms":t}
 *   TEXT {"path":"...","first_row":a,"rows":n,"timeout_ms":t}
 *     -> TEXT_DATA ..., then END;  or ERROR {"code":"...","message":"..."}
 * Any thread may call.  Errors: GONE (the engine went away in the middle), TIMEOUT (also: none came
 * back for a while), CANCELLED (stopped), what the engine says, CORRUPT (an answer that makes no
 * sense).
 */
#ifndef WEIR_FS_TREE_TEXT_ENGINE_H
#define WEIR_FS_TREE_TEXT_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/bytes.h"
#include "base/err.h"
#include "fs/tree/tree.h"

enum text_message {
    TEXT_REQUEST = 5,
    TEXT_END = 53,
    TEXT_DATA = 56,
    TEXT_ERROR = 99,
};
#define TEXT_ANSWER_MAX (1u << 20) /* bytes of one message */

/* The connection of one thread, which another may cut off. */
struct text_engine {
    const char *socket_path; /* immutable */
    pthread_mutex_t lock;
    int fd;             /* (lock) -1: none */
    atomic_bool is_cut; /* no more requests */
};
void text_engine_init(struct text_engine *t, const char *socket_path);
void text_engine_done(struct text_engine *t);
/* From any thread: what waits for the engine fails with CANCELLED. */
void text_engine_cut(struct text_engine *t);

/* `take` gets the text in order; its error ends the request. */
typedef enum err_code (*text_take)(struct str text, void *ctx, struct err *e);
enum err_code text_engine_ask(struct text_engine *t, const char *parquet,
                              const struct tree_unit *unit, uint64_t deadline_ms, text_take take,
                              void *ctx, struct err *e);

#endif
