/* fs/control/internal.h - a request to the control server, for the files that answer it. */
#ifndef WEIR_FS_CONTROL_INTERNAL_H
#define WEIR_FS_CONTROL_INTERNAL_H

#include <stdatomic.h>

#include "base/json.h"
#include "fs/control/server.h"

struct control_request {
    const struct control_server_config *cfg;
    uint64_t *epoch; /* the connection's; 0 = no HELLO yet */
    uint64_t
        *unheard; /* the connection's: a snapshot whose reply may not have been read; 0 = none */
    atomic_bool *was_heard; /* the server's: a gateway has said HELLO to this process */
    const struct json *body;
    struct str text; /* the body as it came */
    struct arena *arena;
    struct buf *reply; /* left empty: {} */
};
enum err_code control_want_u64(const struct control_request *r, const char *key, uint64_t *out,
                               struct err *e);
/* "streams": numbers, in the request's arena. */
enum err_code control_want_streams(const struct control_request *r, uint64_t **numbers,
                                   size_t *count, struct err *e);
enum err_code control_want_epoch(const struct control_request *r, struct err *e);

/* snapshot.c */
enum err_code control_answer_snapshot(struct control_request *r, struct err *e);
enum err_code control_answer_release(struct control_request *r, struct err *e);
/* What a HELLO says of the snapshots that live. */
enum err_code control_hear_snapshots(struct control_request *r, uint64_t epoch, struct err *e);

/* figures.c */
enum err_code control_answer_figures(struct control_request *r, struct err *e);

/* publish.c */
enum err_code control_answer_sealable(struct control_request *r, struct err *e);
enum err_code control_answer_roll(struct control_request *r, struct err *e);
enum err_code control_answer_publish(struct control_request *r, struct err *e);
enum err_code control_answer_discard(struct control_request *r, struct err *e);
enum err_code control_answer_drop(struct control_request *r, struct err *e);

#endif
