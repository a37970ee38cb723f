/* http/server.c - libmicrohttpd's side of the server; request.h has the way of a request. */
#include "http/server.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "http/access.h"
#include "http/cors.h"
#include "http/deadline.h"
#include "http/health.h"
#include "http/linger.h"
#include "http/listen.h"
#include "http/reply.h"
#include "http/request.h"

/* The body of a refused request is read up to this size, to keep the connection; past it the
 * connection is closed. */
#define REFUSED_BODY_READ_MAX ((uint64_t)1 << 20)
/* Past 32 KiB libmicrohttpd maps a connection's memory: what was never touched costs nothing, and
 * what it had is the system's again when it ends. */
#define MAPPED_MORE ((size_t)4 << 10)
#define STREAM_BLOCK_BYTES ((size_t)64 << 10)
#define DRAIN_LOOK_MS 5
#define ORIGIN_MAX_BYTES 512 /* a longer one is not allowed in */

/* --- life of a connection ------------------------------------------------------------------- */

static int connection_fd(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

/* A refusal is lost when the socket is closed on bytes that nobody read. */
static void leave_to_linger(struct http_server *s, int fd, bool lingers)
{
    int unread = 0;
    if (!lingers && (ioctl(fd, FIONREAD, &unread) != 0 || unread == 0))
        return;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy >= 0)
        linger_add(s->linger, copy);
}

static void on_connection(void *cls, struct MHD_Connection *conn, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = cls;
    struct connection *c = *context;
    int fd = connection_fd(conn);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = c = calloc(1, sizeof *c);
        if (c)
            *c = (struct connection){.fd = fd, .deadline = deadlines_add(s->deadlines, fd)};
        await_request(s, c);
        return;
    }
    leave_to_linger(s, fd, c && c->lingers);
    if (c)
        deadlines_remove(s->deadlines, c->deadline);
    free(c);
    *context = NULL;
}

/* --- life of a request ---------------------------------------------------------------------- */

/* The first that is heard of a request: its URI, before libmicrohttpd decodes it. */
static void *on_uri(void *cls, const char *uri, struct MHD_Connection *conn)
{
    struct http_server *s = cls;
    size_t len = strlen(uri);
    bool fits = len <= uri_max(s);
    struct request *r = calloc(1, sizeof *r + (fits ? len : 0) + 1);
    if (!r)
        return NULL;
    r->server = s;
    r->conn = conn;
    r->refs = 1;
    r->started_ns = clock_mono_ns();
    r->uri_at = uri;
    r->uri_len = len;
    if (fits)
        memcpy(r->uri, uri, len);
    r->call.cfg = &s->cfg;
    r->call.health = s->health;
    r->call.reply = &r->reply;
    reply_init(&r->reply);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    r->connection = info ? info->socket_context : NULL;
    await_headers(r);
    await_arguments(r, uri);
    return r;
}

void request_unref(struct request *r)
{
    if (atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    body_done(&r->body);
    body_done(&r->decoded);
    reply_done(&r->reply);
    if (r->streaming)
        pipe_done(&r->pipe);
    free(r);
}

void request_suspend(struct request *r)
{
    MHD_suspend_connection(r->conn);
}

void request_resume(struct request *r)
{
    MHD_resume_connection(r->conn);
}

void request_enter(struct request *r)
{
    r->counted = true;
    atomic_fetch_add(&r->server->in_flight, 1);
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **req_cls,
                         enum MHD_RequestTerminationCode how)
{
    struct request *r = *req_cls;
    (void)cls, (void)conn;
    if (!r)
        return;
    *req_cls = NULL;
    if (r->streaming)
        pipe_close(&r->pipe);
    if (how == MHD_REQUEST_TERMINATED_WITH_ERROR)
        await_no_answer(r);
    if (r->counted) {
        bool whole = how == MHD_REQUEST_TERMINATED_COMPLETED_OK || r->refused;
        int past = await_refused(r);
        access_record(&r->call,
                      past    ? past
                      : whole ? r->status
                              : 0,
                      clock_mono_ns() - r->started_ns);
        atomic_fetch_sub(&r->server->in_flight, 1);
    }
    await_next_request(r);
    request_unref(r);
}

/* --- sending -------------------------------------------------------------------------------- */

static void add_cors_headers(const struct request *r, struct MHD_Response *response)
{
    char origin[ORIGIN_MAX_BYTES];
    const char *setting = r->server->cfg.cors_allowed_origins;
    if (str_copy_to(cors_allowed_origin(setting, r->origin), origin, sizeof origin) && origin[0])
        MHD_add_response_header(response, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if (cors_varies(setting))
        MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, "Origin");
}

static void add_headers(struct request *r, struct MHD_Response *response)
{
    const struct reply *p = &r->reply;
    if (p->content_type)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, p->content_type);
    for (unsigned i = 0; i < p->header_count; i++)
        MHD_add_response_header(response, p->headers[i].name, p->headers[i].value);
    add_cors_headers(r, response);
    MHD_add_response_header(response, "X-Api-Node", r->server->cfg.node_name);
    if (p->close || atomic_load(&r->server->draining))
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
}

static enum MHD_Result queue(struct request *r, struct MHD_Response *response)
{
    if (!response)
        return MHD_NO;
    add_headers(r, response);
    r->phase = PHASE_SENT;
    r->status = r->reply.status;
    enum MHD_Result rc = MHD_queue_response(r->conn, (unsigned)r->reply.status, response);
    MHD_destroy_response(response);
    return rc;
}

/* The memory of the body moves into the response. */
static enum MHD_Result send_whole(struct request *r)
{
    struct buf *b = &r->reply.body;
    if (!buf_ok(b))
        reply_envelope(&r->reply, 503, "the reply needs more memory than a reply may have");
    if (b->len == 0)
        return queue(r, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
    struct MHD_Response *response =
        MHD_create_response_from_buffer(b->len, b->data, MHD_RESPMEM_MUST_FREE);
    if (response)
        buf_init(b, REPLY_BODY_MAX);
    return queue(r, response);
}

static ssize_t on_read(void *cls, uint64_t pos, char *dst, size_t max)
{
    struct request *r = cls;
    (void)pos;
    ssize_t n = pipe_read(&r->pipe, dst, max);
    if (n < 0)
        return n == PIPE_END ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
    return n;
}

static void on_read_done(void *cls)
{
    request_unref(cls);
}

static enum MHD_Result send_stream(struct request *r)
{
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, on_read, r, on_read_done);
    if (response)
        atomic_fetch_add(&r->refs, 1);
    return queue(r, response);
}

static enum MHD_Result send_reply(struct request *r)
{
    return r->streaming ? send_stream(r) : send_whole(r);
}

/* The reply says no.  A body that is still to come is read and thrown away when it is small; else
 * the answer goes out at once, which ends the connection. */
static enum MHD_Result send_refusal(struct request *r)
{
    bool wait = !r->reply.close && !r->chunked && r->declared_bytes <= REFUSED_BODY_READ_MAX &&
                !(r->expects_continue && r->declared_bytes > 0);
    if (wait) {
        r->phase = PHASE_DISCARD;
        await_body(r);
        return MHD_YES;
    }
    r->refused = true;
    if (r->connection)
        r->connection->lingers = true;
    r->reply.close = true;
    return send_reply(r);
}

/* --- receiving ------------------------------------------------------------------------------ */

static struct str header_of(const struct request *r, const char *name)
{
    return str_from(MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name));
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    struct request *r = cls;
    struct str name_text = str_from(name), value_text = str_from(value);
    (void)kind;
    await_header(r, name_text, value_text);
    framing_see(&r->framing, name_text, value_text);
    return MHD_YES;
}

static size_t head_bytes_of(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info ? info->header_size : 0;
}

static void read_framing(struct request *r, const char *version)
{
    framing_see_first_line(&r->framing, r->method, (struct str){r->uri_at, r->uri_len},
                           str_from(version), r->server->heads_stand && r->head_bytes > 0);
    MHD_get_connection_values(r->conn, MHD_HEADER_KIND, on_header, r);
    framing_end(&r->framing, r->method.ptr + r->head_bytes);
}

static void read_headers(struct request *r, const char *method, const char *version)
{
    r->is_http11 = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
    r->method = str_from(method);
    r->call.content_type = header_of(r, MHD_HTTP_HEADER_CONTENT_TYPE);
    r->call.content_encoding = header_of(r, MHD_HTTP_HEADER_CONTENT_ENCODING);
    r->authorization = header_of(r, MHD_HTTP_HEADER_AUTHORIZATION);
    r->origin = header_of(r, MHD_HTTP_HEADER_ORIGIN);
    r->asks_method = header_of(r, MHD_HTTP_HEADER_ACCESS_CONTROL_REQUEST_METHOD).len > 0;
    r->head_bytes = head_bytes_of(r->conn);
    read_framing(r, version);
    r->chunked = header_of(r, MHD_HTTP_HEADER_TRANSFER_ENCODING).len > 0;
    r->expects_continue = header_of(r, MHD_HTTP_HEADER_EXPECT).len > 0;
    if (!r->chunked)
        str_to_u64(header_of(r, MHD_HTTP_HEADER_CONTENT_LENGTH), &r->declared_bytes);
}

/* From a resumed connection libmicrohttpd (0.9.75) reads before it calls on_access, and
 * ends it when its client has closed its side by then, though the request is whole.  Only a
 * connection whose timeout is not everybody's is looked at before anything is read: so one that
 * waits for a worker has its own. */
static void set_heard_first(struct request *r, bool first)
{
    MHD_set_connection_option(r->conn, MHD_CONNECTION_OPTION_TIMEOUT,
                              r->server->cfg.idle_timeout_s + (first ? 1u : 0u));
}

/* Suspends the connection; the job resumes it, and on_access is called again in `phase`. */
static enum MHD_Result hand_over(struct request *r, enum route_lane lane, enum phase phase,
                                 void (*run)(struct job *, struct worker_tools *))
{
    r->phase = phase;
    r->call.asked_ms = clock_mono_ms();
    r->job.run = run;
    r->job.wait_until_ms = lane == LANE_QUERY ? r->call.asked_ms + r->server->cfg.query_wait_ms : 0;
    set_heard_first(r, true);
    MHD_suspend_connection(r->conn);
    if (workers_submit(r->server->workers, lane, &r->job))
        return MHD_YES;
    r->job_result = err_set(&r->job_error, ERR_AGAIN, "too many requests are waiting");
    reply_error(&r->reply, &r->job_error);
    MHD_resume_connection(r->conn);
    return MHD_YES;
}

static enum MHD_Result follow(struct request *r, enum admission decision)
{
    switch (decision) {
    case ADMIT_VERIFY:
        return hand_over(r, LANE_AUTH, PHASE_VERIFYING, run_verification);
    case ADMIT_BODY:
        r->phase = PHASE_BODY;
        r->body_from_ms = clock_mono_ms();
        await_body(r);
        return MHD_YES;
    case ADMIT_REFUSE:
        break;
    }
    return send_refusal(r);
}

static enum MHD_Result on_headers(struct request *r, const char *method, const char *version)
{
    if (!await_met(r))
        return MHD_NO;
    r->body_from_ms = clock_mono_ms();
    request_enter(r);
    read_headers(r, method, version);
    if (!await_room_for_reply(r) || !await_whole_lines(r))
        return MHD_NO;
    return follow(r, admit_headers(r));
}

static enum MHD_Result on_verified(struct request *r)
{
    if (r->job_result == ERR_OK)
        return follow(r, admit_known_caller(r));
    reply_error(&r->reply, &r->job_error);
    return send_refusal(r);
}

/* libmicrohttpd takes no answer in the middle of a body, so the rest is read away, up to a limit.
 */
static enum MHD_Result on_discarded(struct request *r, size_t *size)
{
    if (*size == 0)
        return await_met(r) ? send_reply(r) : MHD_NO;
    r->body_bytes += *size;
    await_body(r);
    uint64_t most = r->server->cfg.body_max_bytes;
    if (most < REFUSED_BODY_READ_MAX)
        most = REFUSED_BODY_READ_MAX;
    r->discarded_bytes += *size;
    *size = 0;
    return r->discarded_bytes <= most ? MHD_YES : MHD_NO;
}

static enum MHD_Result refuse_body(struct request *r, const struct err *e, size_t *size)
{
    body_done(&r->body);
    reply_error(&r->reply, e);
    r->phase = PHASE_DISCARD;
    return on_discarded(r, size);
}

static enum MHD_Result run(struct request *r)
{
    enum route_lane lane = r->call.route->lane;
    if (!await_met(r))
        return MHD_NO;
    r->lane = lane == LANE_INGEST && body_is_spooled(&r->body) ? LANE_LARGE : lane;
    return hand_over(r, r->lane, PHASE_RUNNING, run_request);
}

/* The time that our disk takes is not the client's. */
static enum MHD_Result spool(struct request *r)
{
    if (!await_met(r))
        return MHD_NO;
    r->body_from_ms -= clock_mono_ms();
    return hand_over(r, LANE_SPOOL, PHASE_SPOOLING, run_spooling);
}

static void wake(struct body_waiter *w)
{
    request_resume(request_of_waiter(w));
}

/* The body's pieces go to the spool one after the other; this one has no memory meanwhile. */
static enum MHD_Result wait_for_memory(struct request *r, size_t len)
{
    if (!await_met(r))
        return MHD_NO;
    r->body_from_ms -= clock_mono_ms();
    r->phase = PHASE_SPOOLING;
    r->job_result = ERR_OK;
    r->waiter.wake = wake;
    set_heard_first(r, true);
    MHD_suspend_connection(r->conn);
    body_wait(&r->body, &r->waiter, len);
    return MHD_YES;
}

static enum MHD_Result on_body(struct request *r, const char *data, size_t *size)
{
    struct err e = {0};
    if (*size == 0)
        return run(r);
    if (body_add(&r->body, (struct str){data, *size}, &r->taken_bytes, &e) != ERR_OK)
        return refuse_body(r, &e, size);
    r->body_bytes += r->taken_bytes;
    await_body(r);
    if (body_wants_memory(&r->body, r->taken_bytes)) {
        if (!atomic_load(&r->server->cancelling))
            return wait_for_memory(r, *size);
        err_set(&e, ERR_AGAIN, "the node is stopping");
        return refuse_body(r, &e, size);
    }
    if (body_wants_flush(&r->body, r->taken_bytes, *size))
        return spool(r);
    *size = 0;
    return MHD_YES;
}

/* All that came comes again: libmicrohttpd would not call for nothing. */
static enum MHD_Result on_spooled(struct request *r, const char *data, size_t *size)
{
    r->body_from_ms += clock_mono_ms();
    if (r->job_result != ERR_OK)
        return refuse_body(r, &r->job_error, size);
    await_body(r);
    r->phase = PHASE_BODY;
    *size -= r->taken_bytes;
    return *size == 0 ? MHD_YES : on_body(r, data + r->taken_bytes, size);
}

static bool waits_for_worker(const struct request *r)
{
    return r->phase == PHASE_VERIFYING || r->phase == PHASE_SPOOLING || r->phase == PHASE_RUNNING;
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *conn, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *size, void **req_cls)
{
    struct request *r = *req_cls;
    (void)cls, (void)conn, (void)url;
    if (!r)
        return MHD_NO;
    if (waits_for_worker(r))
        set_heard_first(r, false);
    switch (r->phase) {
    case PHASE_HEADERS:
        return on_headers(r, method, version);
    case PHASE_VERIFYING:
        return on_verified(r);
    case PHASE_BODY:
        return on_body(r, data, size);
    case PHASE_SPOOLING:
        return on_spooled(r, data, size);
    case PHASE_DISCARD:
        return on_discarded(r, size);
    case PHASE_RUNNING:
        return send_reply(r);
    case PHASE_SENT:
        break;
    }
    return MHD_NO;
}

/* Paths and arguments are decoded by routes.c, which can say no. */
static size_t leave_escapes(void *cls, struct MHD_Connection *conn, char *s)
{
    (void)cls, (void)conn;
    return strlen(s);
}

static void on_log(void *cls, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));
static void on_log(void *cls, const char *fmt, va_list args)
{
    char line[512];
    (void)cls;
    vsnprintf(line, sizeof line, fmt, args);
    log_printf(LOG_DEBUG, "libmicrohttpd: " STR_FMT, STR_ARG(str_trim(str_from(line))));
}

/* --- start and stop ------------------------------------------------------------------------- */

static enum err_code start_daemon(struct http_server *s, struct err *e)
{
    struct MHD_OptionItem pool[] = {
        {MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)s->cfg.io_threads, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    if (s->cfg.io_threads < 2) /* libmicrohttpd's pool begins at two */
        pool[0].option = MHD_OPTION_END;
    s->heads_stand = strncmp(MHD_get_version(), "0.", 2) == 0;
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        on_access, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, s, MHD_OPTION_LISTEN_SOCKET, s->listen_fd,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_URI_LOG_CALLBACK, on_uri, s,
        MHD_OPTION_UNESCAPE_CALLBACK, leave_escapes, s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        s->cfg.header_max_bytes + MAPPED_MORE, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
        MHD_OPTION_CONNECTION_LIMIT, s->cfg.connections_max, MHD_OPTION_CONNECTION_TIMEOUT,
        s->cfg.idle_timeout_s, MHD_OPTION_ARRAY, pool, MHD_OPTION_END);
    return s->daemon ? ERR_OK : err_set(e, ERR_IO, "libmicrohttpd does not start");
}

static enum err_code open_bodies(struct http_server *s, struct err *e)
{
    const struct spool_config spool = {.dir = s->cfg.tmp_dir,
                                       .total_bytes = s->cfg.spool_max_bytes,
                                       .files_max = s->spool_files_max,
                                       .disk_reserve_bytes = s->cfg.disk_reserve_bytes};
    enum err_code rc = spool_open(&spool, &s->spool, e);
    if (rc)
        return rc;
    const struct body_pool_config bodies = {.total_bytes = s->cfg.body_memory_total,
                                            .memory_max_bytes = (size_t)s->cfg.body_memory_max,
                                            .spool = s->spool};
    s->bodies = body_pool_new(&bodies);
    return s->bodies ? ERR_OK : err_set(e, ERR_NOMEM, "HTTP server");
}

static enum err_code start_parts(struct http_server *s, struct err *e)
{
    enum err_code rc = open_bodies(s, e);
    if (rc)
        return rc;
    s->health = health_new(s->cfg.control, s->cfg.query);
    if (!s->health)
        return err_set(e, ERR_NOMEM, "HTTP server");
    rc = linger_start(&s->linger, e);
    if (rc == ERR_OK)
        rc = deadlines_start((unsigned)s->cfg.request_timeout_ms, &s->deadlines, e);
    if (rc == ERR_OK)
        rc = workers_start(s->cfg.workers, &s->workers, e);
    if (rc == ERR_OK)
        rc = listen_open(s->cfg.address, s->cfg.port, &s->listen_fd, e);
    if (rc == ERR_OK)
        rc = start_daemon(s, e);
    return rc;
}

static enum err_code check_base_uri(struct http_server *s, struct err *e)
{
    s->base_uri = str_from(s->cfg.base_uri);
    while (s->base_uri.len > 0 && s->base_uri.ptr[s->base_uri.len - 1] == '/')
        s->base_uri.len--;
    if (s->base_uri.len > 0 && s->base_uri.ptr[0] != '/')
        return err_set(e, ERR_INVALID, "ZO_BASE_URI \"%s\" does not begin with /", s->cfg.base_uri);
    return ERR_OK;
}

enum err_code http_start(const struct http_config *cfg, struct http_server **out, struct err *e)
{
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "HTTP server");
    s->cfg = *cfg;
    s->listen_fd = -1;
    s->cfg.connections_max = listen_connections(cfg->connections_max, &s->spool_files_max);
    access_init();
    stream_init();
    enum err_code rc = check_base_uri(s, e);
    if (rc == ERR_OK)
        rc = start_parts(s, e);
    if (rc != ERR_OK) {
        http_stop(s, 0);
        return err_wrap(e, "start the HTTP server");
    }
    *out = s;
    return ERR_OK;
}

static void wait_for_requests(struct http_server *s, unsigned drain_ms)
{
    uint64_t deadline_ms = clock_mono_ms() + drain_ms;
    while (atomic_load(&s->in_flight) > 0 && clock_mono_ms() < deadline_ms)
        poll(NULL, 0, DRAIN_LOOK_MS);
}

void http_stop(struct http_server *s, unsigned drain_ms)
{
    if (!s)
        return;
    atomic_store(&s->draining, true);
    if (s->daemon)
        MHD_quiesce_daemon(s->daemon);
    if (s->listen_fd >= 0)
        sys_close(s->listen_fd);
    wait_for_requests(s, drain_ms);
    atomic_store(&s->cancelling, true);
    /* These first: libmicrohttpd must not be stopped while a connection is suspended. */
    body_pool_stop(s->bodies);
    if (s->workers)
        workers_stop(s->workers);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    workers_free(s->workers);
    deadlines_stop(s->deadlines);
    linger_stop(s->linger);
    health_free(s->health);
    body_pool_free(s->bodies);
    spool_close(s->spool);
    free(s);
}
