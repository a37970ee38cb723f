/* http/stream.c - long replies that a handler writes while they are sent (call.h). */
#include <poll.h>
#include <sys/socket.h>

#include "base/metrics.h"
#include "http/deadline.h"
#include "http/request.h"

#define WANTED_REPLY_TIMEOUT_MS UINT64_C(10000) /* while queries wait for a place */

static const struct metric_desc SLOW_READERS = {
    .name = "zo_http_slow_readers",
    .help = "Replies cut off because the client read too slowly (WEIR_HTTP_REPLY_TIMEOUT).",
    .type = METRIC_COUNTER,
};

static struct metric_child *slow_readers; /* immutable after stream_init */

void stream_init(void)
{
    slow_readers = metric_only(metrics_register(&SLOW_READERS));
}

static void park_reader(void *ctx)
{
    request_suspend(ctx);
}

static void wake_reader(void *ctx)
{
    request_resume(ctx);
}

/* Who does not read keeps the place of a query, in a worker and in the engine. */
static uint64_t reply_timeout_ms(const struct request *r)
{
    const struct http_config *cfg = &r->server->cfg;
    bool is_wanted = r->call.route->lane == LANE_QUERY &&
                     cfg->reply_timeout_ms > WANTED_REPLY_TIMEOUT_MS &&
                     workers_wait(r->server->workers, LANE_QUERY, cfg->queries_at_once);
    return is_wanted ? WANTED_REPLY_TIMEOUT_MS : cfg->reply_timeout_ms;
}

/* What has come to the client's side; not what libmicrohttpd took, which waits until much of a
 * large socket buffer is free again.  A client's kernel whose buffer is full lets more come once a
 * sixteenth of it is free, which is 400 KB of the largest. */
static uint64_t acked_bytes(const struct request *r)
{
    const struct connection *c = r->connection;
    return c && c->deadline ? deadline_traffic(c->deadline).acked : 0;
}

/* A worker does not wait for ever for a client that does not read, or hardly: it has to take so
 * much in each reply_timeout_ms of waiting. */
static bool writer_gives_up(void *ctx)
{
    struct request *r = ctx;
    if (atomic_load(&r->server->cancelling))
        return true;
    uint64_t timeout_ms = reply_timeout_ms(r), acked = acked_bytes(r);
    uint64_t wanted = timeout_ms * r->server->cfg.body_rate_min_bytes / 1000;
    if (acked >= r->reply_acked_bytes + wanted) {
        r->reply_acked_bytes = acked;
        r->pipe.waited_ms = 0;
    }
    if (r->pipe.waited_ms <= timeout_ms)
        return false;
    metric_add(slow_readers, 1);
    return true;
}

bool call_stream_start(struct http_call *c)
{
    struct request *r = request_of_call(c);
    pipe_init(&r->pipe);
    r->pipe.park = park_reader;
    r->pipe.wake = wake_reader;
    r->pipe.given_up = writer_gives_up;
    r->pipe.ctx = r;
    r->reply_acked_bytes = acked_bytes(r);
    r->streaming = true;
    atomic_fetch_add(&r->refs, 1); /* the handler's */
    /* Before the write: what has been gathered may be more than the pipe holds. */
    request_resume(r);
    bool ok = pipe_write(&r->pipe, buf_str(&r->reply.body));
    buf_clear(&r->reply.body);
    return ok;
}

bool call_stream_write(struct http_call *c, struct str bytes)
{
    return pipe_write(&request_of_call(c)->pipe, bytes);
}

/* A client that has closed its side may have closed both, or wait for its answer: only a byte that
 * we send tells, because it comes back as a reset.  HTTP/1.1 has one that means nothing. */
static void probe(struct request *r)
{
    static const char nothing[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (!r->is_http11 || r->is_probed)
        return;
    r->is_probed = true;
    send(r->connection->fd, nothing, sizeof nothing - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool call_client_gone(void *ctx)
{
    struct request *r = request_of_call(ctx);
    bool closed = false, parked = true;
    if (atomic_load(&r->server->cancelling))
        return true;
    if (r->streaming)
        pipe_look(&r->pipe, &closed, &parked);
    if (closed || !parked || !r->connection)
        return closed;
    /* Suspended: libmicrohttpd does not look at the socket now, and will not close it. */
    struct pollfd p = {.fd = r->connection->fd, .events = POLLRDHUP};
    if (poll(&p, 1, 0) <= 0)
        return false;
    if (p.revents & (POLLHUP | POLLERR))
        return true;
    if (!r->streaming)
        probe(r);
    return false;
}
