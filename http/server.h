/* http/server.h - the HTTP server: routes to the gateway, over libmicrohttpd.
 *
 * Epoll threads read and write sockets; requests are handled by a pool of workers while their
 * connection is suspended, so that a slow request stops nobody else.  Bodies are gathered up to
 * their route's maximum: in memory, and in tmp_dir what is larger than body_memory_max or finds no
 * room below body_memory_total; 503 with Retry-After when there is no room at all.  Routes stand in
 * one table (routes.c).
 */
#ifndef WEIR_HTTP_SERVER_H
#define WEIR_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "gateway/auth.h"
#include "gateway/ingest.h"
#include "gateway/query.h"

struct control_client;
struct sealer;
struct http_config {
    const char *address; /* "" = all */
    uint16_t port;
    unsigned io_threads, workers;
    uint64_t body_max_bytes;    /* ZO_PAYLOAD_LIMIT, also after decompression */
    uint64_t body_memory_max;   /* WEIR_BODY_MEMORY_MAX: of one; larger ones are spooled */
    uint64_t body_memory_total; /* WEIR_INGEST_MEMORY_MAX: of all */
    const char *tmp_dir;        /* of spooled bodies */
    uint64_t spool_max_bytes, disk_reserve_bytes;
    size_t header_max_bytes; /* memory of one connection */
    unsigned connections_max, idle_timeout_s;
    uint64_t request_timeout_ms;      /* of the headers, and again of the body, which also gets */
    uint64_t query_wait_ms;           /* for a worker; longer is 503 */
    unsigned queries_at_once;         /* that the engine runs; more wait there */
    uint64_t reply_timeout_ms;        /* that a worker waits for who reads a streamed reply, too */
    uint64_t body_rate_min_bytes;     /* a second for so many bytes */
    const char *cors_allowed_origins; /* cors.h */
    const char *base_uri;
    const char *node_name, *version, *instance_id;
    struct auth *auth;
    struct ingest *ingest;
    struct query_service *query;
    struct catalog *catalog;
    struct meta *meta;
    struct control_client *control;
    struct sealer *sealer;
};
struct http_server;
enum err_code http_start(const struct http_config *cfg, struct http_server **out, struct err *e);
/* Stops accepting, waits up to drain_ms for requests in flight, closes. NULL is fine. */
void http_stop(struct http_server *s, unsigned drain_ms);

#endif
