/* http/request.h - one request inside the server, from its first line to the end of its reply.
 *
 * It goes through these phases; `I` is a socket thread, `W` a worker.
 *
 *   HEADERS ──refused──────────────► SENT the refusal (or DISCARD its small body first)      I
 *      │ credentials not seen before
 *      ├───────────► VERIFYING (connection suspended; auth_check) ─┐                         W
 *      ▼                                                           ▼
 *     BODY  gather it, within its limit and the process' budget                              I
 *      │ ▲ no room for a piece: SPOOLING (connection suspended; body_flush, body_wait)        W
 *      │ over a limit: DISCARD what still comes, then SENT
 *      ▼
 *   RUNNING (connection suspended; decode, handler)                                          W
 *      ▼ resumed
 *     SENT  the whole reply, or from a pipe that the handler goes on filling                 I
 *
 * Everything is refused before its body is read wherever the headers suffice.
 * A request is owned by its connection; a handler that streams holds a second reference, because
 * the connection may end first.  Who has it now (socket thread or worker) may touch every field but
 * the atomic ones, the pipe, and what server.c calls immutable.
 */
#ifndef WEIR_HTTP_REQUEST_H
#define WEIR_HTTP_REQUEST_H

#include <stdatomic.h>

#include "http/body.h"
#include "http/call.h"
#include "http/decode.h"
#include "http/framing.h"
#include "http/pipe.h"
#include "http/routes.h"
#include "http/workers.h"

enum phase {
    PHASE_HEADERS,
    PHASE_VERIFYING,
    PHASE_BODY,
    PHASE_SPOOLING,
    PHASE_DISCARD,
    PHASE_RUNNING,
    PHASE_SENT
};

struct MHD_Connection;
struct MHD_Daemon;
struct linger_set;
struct deadlines;
struct deadline;

/* What lives as long as a connection, which serves one request after the other. */
struct connection {
    int fd;
    uint64_t taken_bytes;   /* of what it sent: in requests that have ended */
    uint64_t written_bytes; /* to it, before the present request */
    const char *reads_at;   /* an address only; NULL before the first request */
    struct deadline *deadline;
    bool lingers; /* the client may still be sending when it is closed */
};

struct http_server {
    struct http_config cfg;   /* immutable; its strings are the caller's */
    bool heads_stand;         /* immutable: this libmicrohttpd leaves a head as framing.h says */
    struct str base_uri;      /* immutable; without a final slash */
    unsigned spool_files_max; /* immutable */
    /* Made by http_start, ended by http_stop, constant in between: */
    struct MHD_Daemon *daemon;
    int listen_fd;
    struct workers *workers;
    struct spool *spool;
    struct body_pool *bodies;
    struct health *health;
    struct linger_set *linger;
    struct deadlines *deadlines;
    atomic_uint in_flight;  /* requests between their headers and their end */
    atomic_bool draining;   /* new requests are refused */
    atomic_bool cancelling; /* queries give up */
};

struct request {
    struct http_call call; /* first: a handler's call is the request */
    struct job job;
    struct http_server *server;
    struct MHD_Connection *conn;
    struct connection *connection; /* NULL: no memory for it */
    atomic_int refs;
    enum phase phase;
    uint64_t started_ns;
    bool counted; /* in in_flight */
    bool refused; /* answered before its body was read */
    int status;   /* that was sent; 0: none yet */

    /* From the headers; the strings are the connection's. */
    struct str method, authorization, origin;
    size_t head_bytes;       /* first line to empty line, as it came */
    size_t record_bytes;     /* of libmicrohttpd's memory beside the head, about */
    bool asks_method;        /* Access-Control-Request-Method is there */
    uint64_t declared_bytes; /* Content-Length */
    bool chunked, expects_continue, is_http11;
    bool is_probed; /* stream.c */
    struct framing framing;
    enum decode_coding coding;
    struct route_match match;
    enum route_outcome outcome;

    enum err_code job_result; /* of VERIFYING or SPOOLING */
    struct err job_error;
    struct body body, decoded;
    struct body_waiter waiter;
    size_t taken_bytes;   /* of SPOOLING: in the body, to be taken off what comes again */
    enum route_lane lane; /* of RUNNING */
    uint64_t body_from_ms, body_bytes; /* when it began to come; what has */
    uint64_t discarded_bytes;
    struct worker_tools *tools; /* while RUNNING */
    struct reply reply;
    struct pipe pipe;           /* when streaming */
    uint64_t reply_acked_bytes; /* of the connection, when the reader was last found to read */
    bool streaming;
    const char *uri_at; /* where it stood; an address only */
    size_t uri_len;     /* longer than uri_max(): uri is empty */
    char uri[];
};

/* Half of what headers may have. */
static inline size_t uri_max(const struct http_server *s)
{
    return s->cfg.header_max_bytes / 2;
}

static inline struct request *request_of_waiter(struct body_waiter *w)
{
    return (struct request *)((char *)w - offsetof(struct request, waiter));
}

static inline struct request *request_of_job(struct job *j)
{
    return (struct request *)((char *)j - offsetof(struct request, job));
}
static inline struct request *request_of_call(struct http_call *c)
{
    return (struct request *)c;
}

/* admit.c: what the headers decide.  ADMIT_REFUSE: the reply is filled. */
enum admission { ADMIT_REFUSE, ADMIT_VERIFY, ADMIT_BODY };
enum admission admit_headers(struct request *r);
enum admission admit_known_caller(struct request *r); /* after the credentials were found good */

/* run.c: what a worker does. */
void run_verification(struct job *j, struct worker_tools *tools);
void run_spooling(struct job *j, struct worker_tools *tools);
void run_request(struct job *j, struct worker_tools *tools);
uint64_t run_body_limit(const struct request *r); /* of the request's route */
/* Is there the organisation that the path names?  `default` always is, also before its first
 * record.  Any thread: a look into the mapped meta. */
bool run_org_exists(const struct request *r);

/* await.c: deadlines (deadline.h) of what a client sends, none while a request is being handled;
 * and the memory that its headers take. */
void await_request(const struct http_server *s, struct connection *c); /* the next, after silence */
void await_next_request(struct request *r); /* the same, after this one has ended */
void await_headers(const struct request *r);
void await_arguments(struct request *r, const char *uri); /* too many: 414 is out at once */
void await_header(struct request *r, struct str name, struct str value);
bool await_room_for_reply(struct request *r); /* false: the head left none, 414 or 431 is out */
bool await_whole_lines(struct request *r); /* false: framing.h found a torn head, and that is out */
void await_no_answer(struct request *r);   /* libmicrohttpd ended it with an error */
void await_body(const struct request *r);  /* what has come (body_from_ms, body_bytes) buys time */
bool await_met(const struct request *r);   /* it has come; false: 408, or a refusal above, is out */
int await_refused(const struct request *r); /* with which status that was; 0: it was not */

/* stream.c: once, before the first request. */
void stream_init(void);

/* server.c, for the above. */
void request_enter(struct request *r); /* it is in flight, and in zo_http_incoming_requests */
void request_suspend(struct request *r);
void request_resume(struct request *r); /* the request is not the caller's any more */
void request_unref(struct request *r);

#endif
