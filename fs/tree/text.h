/* fs/tree/text.h - reads of sealed parts as lines, rendered by an engine.
 *
 * A worker of the mount never waits here: what is in the cache is answered at once, the rest by
 * threads of our own when it was rendered.  What comes from an engine must be exactly as long as
 * the index says; else it is an error, reported, and nothing of it is shown.
 * Limits: TEXT_WAITING_MAX reads wait at a time, past that AGAIN; one waits TEXT_DEADLINE_MS.
 * Errors: STALE (the part is gone), AGAIN, NOMEM; whatever else happens is IO.
 * Owner: the session.  Any thread may call.
 */
#ifndef WEIR_FS_TREE_TEXT_H
#define WEIR_FS_TREE_TEXT_H

#include "fs/tree/tree.h"

#define TEXT_THREADS_MAX 16
#define TEXT_WAITING_MAX 1024
#define TEXT_DEADLINE_MS 60000
#define TEXT_CACHE_BYTES (UINT64_C(64) << 20)

struct text_config { /* strings are copied */
    struct tree *tree;
    struct status *status;
    const char *socket_path; /* <data>/run/engine.sock */
    const char *mount_dir;   /* under which the engine finds the files */
    const char *cache_dir;   /* NULL: in memory */
    uint64_t cache_bytes;    /* 0: TEXT_CACHE_BYTES */
    unsigned threads;        /* how many pieces are rendered at a time */
    uint64_t deadline_ms;    /* 0: TEXT_DEADLINE_MS */
};
struct text;
enum err_code text_start(const struct text_config *cfg, struct text **out, struct err *e);
/* Fails what waits, then ends the threads; NULL is fine. */
void text_stop(struct text *t);

/* Bytes of a TREE_TEXT; `done` is called exactly once, perhaps before this returns.  len is short
 * at the end of the file only; the bytes are done's until it returns. */
typedef void (*text_done)(enum err_code rc, struct str bytes, void *ctx);
void text_read(struct text *t, const struct tree_ref *ref, uint64_t off, size_t n, text_done done,
               void *ctx);

#endif
