/* gateway/engine/engine.c - the engine process: accepts, answers, ends.
 *
 *   main thread: accept ──► one thread a connection: PARSE, PING at once; RUN waits for a slot
 *                            watching thread (watch.c); DuckDB's own threads
 *
 * At most CONNECTIONS_MAX connections are served; more wait in the socket's backlog.  Of their RUN
 * requests at most `max_queries` execute; the others wait for a slot until their deadline.
 * SIGTERM ends the process: what runs is cancelled, its clients see the connection close.
 */
#include "gateway/engine/engine.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/ipc.h"
#include "base/log.h"
#include "gateway/engine/parse.h"
#include "gateway/engine/run.h"
#include "gateway/engine/seal.h"
#include "gateway/engine/wire.h"

#define CONNECTIONS_MAX 256
#define REQUEST_MEMORY_MAX (256u << 20) /* the tree of one request */
#define SLOT_LOOK_MS 100         /* a waiting query looks so often whether its client is there */
#define TRIM_BYTES_MAX (1 << 20) /* free memory that the heap may keep */
#define FULL_WAIT_MS 10
#define HEAP_ARENAS_MAX 2
#define THREAD_STACK_BYTES (16u << 20) /* DuckDB recurses over deep expressions */

struct engine {
    const struct engine_config *config;
    struct database db;
    struct watch watch;
    pthread_mutex_t lock;
    pthread_cond_t slot_free, all_gone;
    unsigned running;         /* guarded by lock: slots taken */
    unsigned connections;     /* guarded by lock */
    int fds[CONNECTIONS_MAX]; /* guarded by lock: of the connections, -1 = free */
    bool stopping;            /* guarded by lock */
};

struct connection {
    struct engine *engine;
    int fd;
    size_t place; /* in engine.fds */
    struct ipc_msg msg;
};

/* --- slots: how many queries run at once --- */

static bool client_is_gone(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* Both times are monotonic, 0 = never. */
static enum err_code slot_take(struct engine *g, int fd, uint64_t deadline_ms,
                               uint64_t wait_until_ms, struct err *e)
{
    LOCK_SCOPE(&g->lock);
    while (g->running >= g->config->max_queries) {
        if (g->stopping || client_is_gone(fd))
            return reason_set(e, ERR_CANCELLED, SEARCH_CANCELLED, "search query was cancelled");
        if (deadline_ms != 0 && clock_mono_ms() >= deadline_ms)
            return reason_set(e, ERR_TIMEOUT, SEARCH_TIMEOUT,
                              "search query timed out while %u others ran", g->running);
        if (wait_until_ms != 0 && clock_mono_ms() >= wait_until_ms)
            return err_set(e, ERR_AGAIN, "%u other queries ran all the while (WEIR_QUERY_WAIT)",
                           g->running);
        cond_wait_until(&g->slot_free, &g->lock, clock_mono_ms() + SLOT_LOOK_MS);
    }
    g->running++;
    return ERR_OK;
}

/* When the last query is done, what it left in the heap goes back to the system. */
static void slot_give(struct engine *g)
{
    bool idle;
    {
        LOCK_SCOPE(&g->lock);
        idle = --g->running == 0;
        pthread_cond_signal(&g->slot_free);
    }
    if (idle)
        malloc_trim(TRIM_BYTES_MAX);
}

/* --- requests --- */

static enum err_code send_error(const struct connection *c, const struct err *cause)
{
    struct buf body;
    buf_init(&body, 16u << 10);
    struct json_writer w = {.out = &body};
    jw_object(&w);
    jw_kcstr(&w, "code", err_name(cause->code));
    jw_ki64(&w, "detail", cause->detail);
    jw_kcstr(&w, "message", cause->msg);
    jw_end(&w);
    enum err_code rc = ipc_send(c->fd, WIRE_ERROR, c->msg.tag, buf_str(&body), NULL);
    buf_done(&body);
    return rc;
}

static enum err_code answer_ping(const struct connection *c, struct err *e)
{
    char body[96];
    int n = snprintf(body, sizeof body, "{\"version\":\"%s\",\"pid\":%ld}",
                     duckdb_library_version(), (long)getpid());
    return ipc_send(c->fd, WIRE_PONG, c->msg.tag, (struct str){body, (size_t)n}, e);
}

static enum err_code answer_parse(const struct connection *c, struct err *e)
{
    struct buf tree;
    AUTO_CONNECTION duckdb_connection con = NULL;
    buf_init(&tree, WIRE_BODY_MAX);
    enum err_code rc = database_connect(&c->engine->db, &con, e);
    if (rc == ERR_OK)
        rc = parse_sql(con, buf_str(&c->msg.body), &tree, e);
    if (rc == ERR_OK)
        rc = ipc_send(c->fd, WIRE_TREE, c->msg.tag, buf_str(&tree), e);
    buf_done(&tree);
    return rc;
}

static enum err_code run_decoded(const struct connection *c, const struct run_request *request,
                                 uint64_t started_ms, struct err *e)
{
    struct engine *g = c->engine;
    uint64_t deadline_ms = request->timeout_ms ? started_ms + request->timeout_ms : 0;
    uint64_t wait_until_ms = request->wait_ms ? started_ms + request->wait_ms : 0;
    enum err_code rc = slot_take(g, c->fd, deadline_ms, wait_until_ms, e);
    if (rc != ERR_OK)
        return rc;
    struct run_context ctx = {.db = &g->db,
                              .watch = &g->watch,
                              .fd = c->fd,
                              .tag = c->msg.tag,
                              .started_ms = started_ms,
                              .waited_ms = clock_mono_ms() - started_ms};
    rc = run_answer(&ctx, request, e);
    slot_give(g);
    return rc;
}

static enum err_code answer_run(const struct connection *c, struct err *e)
{
    struct arena a;
    struct run_request request;
    uint64_t started_ms = clock_mono_ms();
    arena_init(&a, REQUEST_MEMORY_MAX);
    enum err_code rc = run_request_decode(buf_str(&c->msg.body), &a, &request, e);
    if (rc == ERR_OK)
        rc = run_decoded(c, &request, started_ms, e);
    arena_done(&a);
    return rc;
}

static struct run_context context_of(const struct connection *c)
{
    struct engine *g = c->engine;
    return (struct run_context){.db = &g->db,
                                .watch = &g->watch,
                                .fd = c->fd,
                                .tag = c->msg.tag,
                                .started_ms = clock_mono_ms()};
}

/* As many at once as the gateway has workers; they take no slot, so no query waits for them. */
static enum err_code answer_seal(const struct connection *c, struct err *e)
{
    struct arena a;
    struct seal_request request;
    struct run_context ctx = context_of(c);
    arena_init(&a, REQUEST_MEMORY_MAX);
    enum err_code rc = seal_request_decode(buf_str(&c->msg.body), &a, &request, e);
    if (rc == ERR_OK)
        rc = seal_answer(&ctx, &request, e);
    arena_done(&a);
    malloc_trim(TRIM_BYTES_MAX);
    return rc;
}

static enum err_code answer_text(const struct connection *c, struct err *e)
{
    struct arena a;
    struct text_request request;
    struct run_context ctx = context_of(c);
    arena_init(&a, REQUEST_MEMORY_MAX);
    enum err_code rc = text_request_decode(buf_str(&c->msg.body), &a, &request, e);
    if (rc == ERR_OK)
        rc = text_answer(&ctx, &request, e);
    arena_done(&a);
    return rc;
}

static enum err_code answer_facts(const struct connection *c, struct err *e)
{
    struct run_context ctx = context_of(c);
    return facts_answer(&ctx, buf_str(&c->msg.body), e);
}

static enum err_code answer(const struct connection *c, struct err *e)
{
    switch (c->msg.kind) {
    case WIRE_PING:
        return answer_ping(c, e);
    case WIRE_PARSE:
        return answer_parse(c, e);
    case WIRE_RUN:
        return answer_run(c, e);
    case WIRE_SEAL:
        return answer_seal(c, e);
    case WIRE_TEXT:
        return answer_text(c, e);
    case WIRE_FACTS:
        return answer_facts(c, e);
    default:
        return err_set(e, ERR_INVALID, "message of unknown kind %u", c->msg.kind);
    }
}

/* --- connections --- */

static void connection_leave(struct connection *c)
{
    LOCK_SCOPE(&c->engine->lock);
    c->engine->fds[c->place] = -1;
    if (--c->engine->connections == 0)
        pthread_cond_signal(&c->engine->all_gone);
}

static void *connection_run(void *arg)
{
    struct connection *c = arg;
    buf_init(&c->msg.body, WIRE_BODY_MAX);
    while (ipc_recv(c->fd, &c->msg, 0, NULL) == ERR_OK) {
        struct err e = {0};
        if (answer(c, &e) != ERR_OK && send_error(c, &e) != ERR_OK)
            break;
    }
    buf_done(&c->msg.body);
    connection_leave(c);
    close(c->fd);
    free(c);
    return NULL;
}

/* A place among the connections, or CONNECTIONS_MAX when all are taken. */
static size_t take_place(struct engine *g, int fd)
{
    LOCK_SCOPE(&g->lock);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (g->fds[i] < 0) {
            g->fds[i] = fd;
            g->connections++;
            return i;
        }
    }
    return CONNECTIONS_MAX;
}

static enum err_code start_thread(struct connection *c, struct err *e)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    int sys = pthread_create(&thread, &attr, connection_run, c);
    pthread_attr_destroy(&attr);
    return sys == 0 ? ERR_OK : err_sys(e, sys, "start a connection's thread");
}

static void serve(struct engine *g, int fd)
{
    struct err e = {0};
    struct connection *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    *c = (struct connection){.engine = g, .fd = fd, .place = take_place(g, fd)};
    if (start_thread(c, &e) != ERR_OK) {
        log_write(LOG_ERROR, e.msg, (char *)NULL);
        connection_leave(c);
        close(fd);
        free(c);
    }
}

static bool has_room(struct engine *g)
{
    LOCK_SCOPE(&g->lock);
    return g->connections < CONNECTIONS_MAX;
}

/* Until SIGTERM. */
static void accept_loop(struct engine *g, int listen_fd, int signal_fd)
{
    for (;;) {
        bool room = has_room(g);
        struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN},
                               {.fd = room ? listen_fd : -1, .events = POLLIN}};
        if (poll(fds, ARRAY_LEN(fds), room ? -1 : FULL_WAIT_MS) < 0 && errno != EINTR)
            return;
        if (fds[0].revents)
            return;
        int fd;
        struct err e = {0};
        if (!(fds[1].revents & POLLIN))
            continue;
        if (ipc_accept(listen_fd, &fd, &e) == ERR_OK) {
            serve(g, fd);
        } else {
            log_write(LOG_WARN, e.msg, (char *)NULL);
            poll(NULL, 0, FULL_WAIT_MS);
        }
    }
}

/* --- the process --- */

/* A query holds every file of its snapshot open. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_write(LOG_WARN, "the limit of open files stays as it was", (char *)NULL);
}

static int block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Every connection is shut, which cancels its query, and has left when this returns. */
static void end_connections(struct engine *g)
{
    LOCK_SCOPE(&g->lock);
    g->stopping = true;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        if (g->fds[i] >= 0)
            shutdown(g->fds[i], SHUT_RDWR);
    pthread_cond_broadcast(&g->slot_free);
    while (g->connections > 0)
        pthread_cond_wait(&g->all_gone, &g->lock);
}

/* The next engine comes at once; queries fail with a clear error, seals are done again. */
static void end_stuck(void)
{
    log_write(LOG_ERROR, "a query that was stopped does not end: the engine is started anew",
              (char *)NULL);
    _exit(1);
}

static enum err_code serve_until_signal(struct engine *g, int signal_fd, struct err *e)
{
    AUTO_FD int listen_fd = -1;
    enum err_code rc = ipc_listen(g->config->socket_path, &listen_fd, e);
    if (rc == ERR_OK)
        rc = watch_start(&g->watch, WATCH_STUCK_MS, end_stuck, e);
    if (rc != ERR_OK)
        return rc;
    log_write(LOG_INFO, "engine is ready", "duckdb", duckdb_library_version(), "socket",
              g->config->socket_path, (char *)NULL);
    if (g->config->ready_fd >= 0 && write(g->config->ready_fd, "1", 1) != 1)
        log_write(LOG_WARN, "nobody hears that the engine is ready", (char *)NULL);
    accept_loop(g, listen_fd, signal_fd);
    unlink(g->config->socket_path);
    end_connections(g);
    watch_stop(&g->watch);
    return ERR_OK;
}

int engine_run(const struct engine_config *cfg)
{
    static struct engine g;
    struct err e = {0};
    mallopt(M_ARENA_MAX, HEAP_ARENAS_MAX); /* each keeps its own free memory */
    g.config = cfg;
    pthread_mutex_init(&g.lock, NULL);
    cond_init(&g.slot_free);
    pthread_cond_init(&g.all_gone, NULL);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        g.fds[i] = -1;
    raise_file_limit();
    AUTO_FD int signal_fd = block_signals(); /* before DuckDB's threads exist: they inherit it */
    enum err_code rc = signal_fd < 0 ? err_sys(&e, errno, "signalfd") : ERR_OK;
    if (rc == ERR_OK)
        rc = database_open(&g.db, cfg, &e);
    if (rc == ERR_OK)
        rc = serve_until_signal(&g, signal_fd, &e);
    database_close(&g.db);
    if (rc != ERR_OK)
        log_write(LOG_ERROR, e.msg, (char *)NULL);
    return rc == ERR_OK ? 0 : 1;
}
