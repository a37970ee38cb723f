/* gateway/engine/run.h - answers one RUN request on its connection.
 *
 *   decode -> [slot] -> connect, watch -> scans and views -> tree to SQL -> check -> prepare
 *          -> SCHEMA -> (fetch chunk -> BATCH)* -> END            any step: ERROR, by the caller
 *
 * Only SELECT and EXPLAIN are executed, and only the request's own tables are read (check.h),
 * whatever the tree says.
 */
#ifndef WEIR_GATEWAY_ENGINE_RUN_H
#define WEIR_GATEWAY_ENGINE_RUN_H

#include "gateway/engine/database.h"
#include "gateway/engine/watch.h"

struct run_context {
    struct database *db;
    struct watch *watch;
    int fd;
    uint64_t tag;        /* of the request: answers carry it */
    uint64_t started_ms; /* when the request came: timeout_ms counts from here */
    uint64_t waited_ms;  /* until its turn came */
};

/* Sends everything but the ERROR message; GONE when the client does not take it. */
enum err_code run_answer(const struct run_context *ctx, const struct run_request *request,
                         struct err *e);

#endif
