/* http/call.h - one request as its handler sees it, and the reply that the handler makes.
 *
 * A handler runs on a worker thread with the whole (decoded) body; what it sees points into memory
 * of the request and is valid until it returns.  It fills `reply`, or returns an error, which
 * becomes the error envelope.  A long reply is streamed: call_stream_start, then call_stream_write
 * until the handler returns; after the start `reply` and a returned error are ignored.
 * Thread safety: a call belongs to the worker that runs it.
 */
#ifndef WEIR_HTTP_CALL_H
#define WEIR_HTTP_CALL_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "gateway/auth.h"
#include "http/server.h"

#define REPLY_HEADERS_MAX 4
#define REPLY_BODY_MAX (64u << 20) /* a reply that is gathered, not streamed */

struct reply_header {
    const char *name;
    char value[256];
};
struct reply {
    int status;
    const char *content_type; /* static; NULL: none */
    struct buf body;
    struct reply_header headers[REPLY_HEADERS_MAX];
    unsigned header_count;
    bool close; /* end the connection after this reply */
};

struct route;
struct health;
struct http_call {
    const struct http_config *cfg;
    struct health *health;
    const struct route *route;
    struct str org, stream; /* decoded path segments, empty when the route has none */
    struct str query;       /* as it came, without the '?' */
    struct str content_type, content_encoding;
    struct str body; /* decoded */
    struct auth_user user;
    uint64_t asked_ms;   /* monotonic: since when a worker is wanted */
    struct arena *arena; /* for this call only */
    struct reply *reply;
    /* For metrics, set by the handler: the stream as the gateway knows it, and its type. */
    char seen_stream[256];
    const char *seen_type; /* static; NULL: none */
};

/* The value of a query-string argument: decoded, or as written where it is badly encoded; empty
 * when it is missing. */
struct str call_arg(struct http_call *c, const char *name);

bool call_has_arg(struct http_call *c, const char *name);
/* How long it waited for its worker, asked when that begins. */
uint64_t call_waited_us(const struct http_call *c);

/* Sends status 200, the reply's content type and headers, and what is in reply->body so far. False:
 * the client is gone. */
bool call_stream_start(struct http_call *c);
/* Waits while STREAM_QUEUE_MAX bytes wait for the client.  False: the client is gone. */
bool call_stream_write(struct http_call *c, struct str bytes);
/* Has the client closed the connection?  `c` is a struct http_call. */
bool call_client_gone(void *c);

#endif
