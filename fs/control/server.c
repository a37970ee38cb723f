/* fs/control/server.c - one request at a time a connection, answered with its tag.
 *
 * A connection says HELLO first: that binds it to an epoch of the gateway, and snapshots belong to
 * the epoch.  STATS, FIGURES, REPORT and HEALTH are answered without it.
 */
#include "fs/control/server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/ipc.h"
#include "base/json.h"
#include "base/log.h"
#include "fs/control/control.h"
#include "fs/control/internal.h"

#define REQUEST_MEMORY_MAX ((size_t)256 << 20)

struct connection {
    struct control_server *server;
    pthread_t thread;
    int fd;           /* closed by whoever joins the thread */
    uint64_t epoch;   /* the thread's; 0 = no HELLO yet */
    uint64_t unheard; /* the thread's: the snapshot of the last reply; 0 = it had none */
    bool used;        /* (lock) has a thread to be joined */
    bool ended;       /* (lock) */
};

struct control_server {
    struct control_server_config cfg; /* immutable; socket_path is ours */
    int listen_fd, stop_fd;
    pthread_t thread;
    pthread_mutex_t lock;
    struct connection connections[CONTROL_CONNECTIONS_MAX];
    atomic_bool was_heard; /* a gateway has said HELLO */
};

/* ---- requests ---- */

enum err_code control_want_u64(const struct control_request *r, const char *key, uint64_t *out,
                               struct err *e)
{
    return json_u64(json_get(r->body, key), out)
               ? ERR_OK
               : err_set(e, ERR_INVALID, "\"%s\" is missing or no number", key);
}

enum err_code control_want_streams(const struct control_request *r, uint64_t **numbers,
                                   size_t *count, struct err *e)
{
    const struct json *streams = json_get(r->body, "streams");

    if (!streams || streams->type != JSON_ARRAY)
        return err_set(e, ERR_INVALID, "\"streams\" is missing or no array");
    *numbers = arena_alloc(r->arena, (streams->count + 1) * sizeof **numbers);
    *count = 0;
    if (!*numbers)
        return err_set(e, ERR_NOMEM, "no memory for %zu streams", streams->count);
    for (const struct json *v = streams->first; v; v = v->next) {
        if (!json_u64(v, &(*numbers)[(*count)++]))
            return err_set(e, ERR_INVALID, "a stream number is no number");
    }
    return ERR_OK;
}

enum err_code control_want_epoch(const struct control_request *r, struct err *e)
{
    return *r->epoch ? ERR_OK : err_set(e, ERR_INVALID, "say HELLO first");
}

/* What the gateway before this one had sealed will be sealed anew, and what it had deleted goes
 * (our own start did it for the first one).  That this failed is no reason to turn the
 * gateway away: the next start does it. */
static void clear_up(const struct control_request *r, bool follows)
{
    struct err e = {0};

    if (r->cfg->sealed && sealed_discard_all(r->cfg->sealed, &e))
        status_report(r->cfg->status, STR("sealed"), str_from(e.msg));
    if (follows && r->cfg->drop_deleted && r->cfg->drop_deleted(r->cfg->drop_ctx, &e))
        status_report(r->cfg->status, STR("sealed"), str_from(e.msg));
}

static enum err_code answer_hello(struct control_request *r, struct err *e)
{
    struct json_writer w = {.out = r->reply};
    uint64_t wanted = 0, epoch;
    enum err_code rc = control_want_u64(r, "epoch", &wanted, e);

    if (!rc)
        rc = journal_epoch(r->cfg->journal, wanted, &epoch, e);
    if (rc)
        return rc;
    *r->epoch = epoch;
    rc = control_hear_snapshots(r, epoch, e);
    if (rc)
        return rc;
    snapshots_end_before(r->cfg->snapshots, epoch);
    bool follows = atomic_exchange(r->was_heard, true);
    if (wanted == 0)
        clear_up(r, follows);
    jw_object(&w);
    jw_ku64(&w, "epoch", epoch);
    jw_ku64(&w, "commit_files", r->cfg->commit_files);
    jw_kcstr(&w, "version", r->cfg->version);
    jw_end(&w);
    return ERR_OK;
}

static enum err_code answer_stats(struct control_request *r, struct err *e)
{
    return status_text(r->cfg->status, STATUS_STATS, r->reply, e);
}

static enum err_code answer_report(struct control_request *r, struct err *e)
{
    (void)e;
    status_report(r->cfg->status, json_str(json_get(r->body, "source"), STR("gateway")),
                  json_str(json_get(r->body, "message"), STR("")));
    return ERR_OK;
}

static enum err_code answer_health(struct control_request *r, struct err *e)
{
    return status_set_gateway_health(r->cfg->status, r->text, e);
}

static enum err_code answer_door(struct control_request *r, struct err *e)
{
    if (!r->cfg->door)
        return err_set(e, ERR_UNSUPPORTED, "nothing is asked here");
    return control_want_epoch(r, e);
}

typedef enum err_code (*answer_fn)(struct control_request *r, struct err *e);
static const answer_fn ANSWERS[] = {
    [CONTROL_HELLO] = answer_hello,
    [CONTROL_SNAPSHOT] = control_answer_snapshot,
    [CONTROL_RELEASE] = control_answer_release,
    [CONTROL_STATS] = answer_stats,
    [CONTROL_ROLL] = control_answer_roll,
    [CONTROL_REPORT] = answer_report,
    [CONTROL_HEALTH] = answer_health,
    [CONTROL_SEALABLE] = control_answer_sealable,
    [CONTROL_PUBLISH] = control_answer_publish,
    [CONTROL_DISCARD] = control_answer_discard,
    [CONTROL_DROP] = control_answer_drop,
    [CONTROL_DOOR] = answer_door,
    [CONTROL_FIGURES] = control_answer_figures,
};

/* Fills the reply; an answer that adds nothing is {}. */
static enum err_code answer(struct connection *c, const struct ipc_msg *m, struct buf *reply,
                            struct err *e)
{
    struct arena arena;
    struct json *body;
    struct control_request r = {.cfg = &c->server->cfg,
                                .epoch = &c->epoch,
                                .unheard = &c->unheard,
                                .was_heard = &c->server->was_heard,
                                .reply = reply,
                                .arena = &arena};
    enum err_code rc;

    if (m->kind >= ARRAY_LEN(ANSWERS) || !ANSWERS[m->kind])
        return err_set(e, ERR_UNIMPL, "request kind %u is not known", m->kind);
    arena_init(&arena, REQUEST_MEMORY_MAX);
    rc = json_parse(buf_str(&m->body), &arena, &body, e);
    if (!rc) {
        r.body = body;
        r.text = buf_str(&m->body);
        rc = ANSWERS[m->kind](&r, e);
    }
    arena_done(&arena);
    if (!rc && reply->len == 0)
        buf_add_cstr(reply, "{}");
    if (!rc && !buf_ok(reply))
        rc = err_set(e, ERR_TOOBIG, "the reply is longer than %zu bytes", reply->max);
    return rc;
}

static void write_error(struct buf *reply, enum err_code rc, const struct err *e)
{
    struct json_writer w = {.out = reply};

    buf_clear(reply);
    jw_object(&w);
    jw_kcstr(&w, "code", err_name(rc));
    jw_kcstr(&w, "message", e->msg);
    jw_end(&w);
}

/* ---- connections ---- */

/* False: the connection has ended. */
static bool serve_one(struct connection *c, struct ipc_msg *m, struct buf *reply)
{
    struct err e = {0};
    enum err_code rc = ipc_recv(c->fd, m, 0, &e);

    if (rc)
        return false;
    c->unheard = 0; /* who asks again has read the last reply */
    buf_clear(reply);
    rc = answer(c, m, reply, &e);
    if (rc)
        write_error(reply, rc, &e);
    if (ipc_send(c->fd, rc ? CONTROL_ERROR : CONTROL_REPLY, m->tag, buf_str(reply), &e))
        return false;
    if (rc || m->kind != CONTROL_DOOR)
        return true;
    door_serve(c->server->cfg.door, c->fd);
    return false;
}

static void *serve_connection(void *arg)
{
    struct connection *c = arg;
    struct ipc_msg m = {0};
    struct buf reply;

    buf_init(&m.body, CONTROL_REQUEST_MAX);
    buf_init(&reply, CONTROL_REPLY_MAX);
    status_count(c->server->cfg.status, GAUGE_CONTROL_CONNECTIONS, 1);
    while (serve_one(c, &m, &reply))
        ;
    if (c->unheard) /* hung up meanwhile: nobody knows of it */
        snapshots_release(c->server->cfg.snapshots, c->epoch, c->unheard);
    status_count(c->server->cfg.status, GAUGE_CONTROL_CONNECTIONS, -1);
    buf_done(&m.body);
    buf_done(&reply);
    pthread_mutex_lock(&c->server->lock);
    c->ended = true;
    shutdown(c->fd, SHUT_RDWR); /* the other side learns of it before the slot is used again */
    pthread_mutex_unlock(&c->server->lock);
    return NULL;
}

static void join_connection(struct connection *c)
{
    pthread_join(c->thread, NULL);
    close(c->fd);
    c->used = c->ended = false;
}

/* A free slot, perhaps one whose thread has just ended. */
static struct connection *take_slot(struct control_server *s)
{
    for (size_t i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
        struct connection *c = &s->connections[i];
        bool ended;
        pthread_mutex_lock(&s->lock);
        ended = c->ended;
        pthread_mutex_unlock(&s->lock);
        if (ended)
            join_connection(c);
        if (!c->used)
            return c;
    }
    return NULL;
}

static void add_connection(struct control_server *s, int fd)
{
    struct connection *c = take_slot(s);

    if (!c) {
        status_report(s->cfg.status, STR("control"), STR("too many connections to fs.sock"));
        close(fd);
        return;
    }
    *c = (struct connection){.server = s, .fd = fd, .used = true};
    if (pthread_create(&c->thread, NULL, serve_connection, c) != 0) {
        c->used = false;
        close(fd);
    }
}

static void *accept_connections(void *arg)
{
    struct control_server *s = arg;
    struct pollfd fds[2] = {{.fd = s->listen_fd, .events = POLLIN},
                            {.fd = s->stop_fd, .events = POLLIN}};

    for (;;) {
        struct err e;
        int fd;
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[1].revents)
            return NULL;
        if (fds[0].revents && ipc_accept(s->listen_fd, &fd, &e) == ERR_OK)
            add_connection(s, fd);
    }
}

/* ---- life ---- */

static enum err_code open_server(struct control_server *s, struct err *e)
{
    enum err_code rc = ipc_listen(s->cfg.socket_path, &s->listen_fd, e);
    int sys;

    if (rc)
        return rc;
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (s->stop_fd < 0)
        return err_sys(e, errno, "eventfd");
    sys = pthread_create(&s->thread, NULL, accept_connections, s);
    return sys ? err_sys(e, sys, "start the control thread") : ERR_OK;
}

static void free_server(struct control_server *s)
{
    cleanup_fd(&s->listen_fd);
    cleanup_fd(&s->stop_fd);
    pthread_mutex_destroy(&s->lock);
    free((void *)(uintptr_t)s->cfg.socket_path);
    free(s);
}

enum err_code control_server_start(const struct control_server_config *cfg,
                                   struct control_server **out, struct err *e)
{
    struct control_server *s = calloc(1, sizeof *s);
    enum err_code rc;

    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for the control server");
    s->cfg = *cfg;
    s->cfg.socket_path = strdup(cfg->socket_path);
    s->listen_fd = s->stop_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    rc = s->cfg.socket_path ? open_server(s, e) : err_set(e, ERR_NOMEM, "no memory for a path");
    if (rc) {
        free_server(s);
        return rc;
    }
    *out = s;
    return ERR_OK;
}

void control_server_stop(struct control_server *s)
{
    if (!s)
        return;
    eventfd_write(s->stop_fd, 1);
    pthread_join(s->thread, NULL);
    unlink(s->cfg.socket_path);
    for (size_t i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
        if (!s->connections[i].used)
            continue;
        shutdown(s->connections[i].fd, SHUT_RDWR);
        join_connection(&s->connections[i]);
    }
    free_server(s);
}
