/* http/await.c - by when a client has to have sent the next part of a request. */
#include <string.h>

#include "base/clock.h"
#include "http/deadline.h"
#include "http/request.h"

#define REPLY_BYTES 1024   /* of the header memory, for the reply's own headers */
#define ARGUMENT_BYTES 128 /* of the header memory, at most one argument */

/* Silence is libmicrohttpd's to notice; so what is late here has sent something. */
void await_request(const struct http_server *s, struct connection *c)
{
    if (c)
        deadline_set(c->deadline, clock_mono_ms() + s->cfg.idle_timeout_s * UINT64_C(1000) +
                                      s->cfg.request_timeout_ms);
}

static struct deadline *deadline_of(const struct request *r)
{
    return r->connection ? r->connection->deadline : NULL;
}

void await_headers(const struct request *r)
{
    deadline_set(deadline_of(r), clock_mono_ms() + r->server->cfg.request_timeout_ms);
}

/* libmicrohttpd keeps a record of each argument in the memory that the headers need, and cannot say
 * so when it is full. */
void await_arguments(const struct request *r, const char *uri)
{
    size_t left = r->server->cfg.header_max_bytes / ARGUMENT_BYTES;
    struct deadline *d = deadline_of(r);
    for (const char *p = strchr(uri, '?'); p && d; p = strchr(p + 1, '&'))
        if (left-- == 0) {
            deadline_refuse(d, "414 URI Too Long",
                            "{\"code\":414,\"message\":\"the URL has too many arguments "
                            "(WEIR_HTTP_HEADER_MAX / 128)\"}");
            return;
        }
}

/* Else the request would be run, and its reply have no memory to be made in. */
bool await_room_for_reply(const struct request *r)
{
    size_t used = r->header_bytes + (r->uri_len == SIZE_MAX ? 0 : r->uri_len);
    struct deadline *d = deadline_of(r);
    if (!d || used + REPLY_BYTES <= r->server->cfg.header_max_bytes)
        return true;
    deadline_refuse(
        d, "431 Request Header Fields Too Large",
        "{\"code\":431,\"message\":\"the headers are too large (WEIR_HTTP_HEADER_MAX)\"}");
    return false;
}

/* What has come buys time for the rest. */
void await_body(const struct request *r)
{
    const struct http_config *cfg = &r->server->cfg;
    uint64_t earned_ms = r->body_bytes * 1000 / cfg->body_rate_min_bytes;
    deadline_set(deadline_of(r), r->body_from_ms + cfg->request_timeout_ms + earned_ms);
}

bool await_met(const struct request *r)
{
    return deadline_met(deadline_of(r));
}

bool await_failed(const struct request *r)
{
    return r->connection && r->connection->deadline &&
           atomic_load(&r->connection->deadline->was_late);
}
