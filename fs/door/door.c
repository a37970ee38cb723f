/* fs/door/door.c - a queue of questions, and connections that take one at a time.
 *
 * Who asks sends the question itself when a connection is free, without waiting: what the socket
 * does not take is left to the connection's thread.  So a small write costs one wake-up here, that
 * of the thread that gets the answer and finishes the request.
 */
#include "fs/door/door.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/ipc.h"

struct question {
    struct question *next;
    uint64_t deadline_ms, request, tag;
    door_done done;
    void *ctx;
    size_t charged;    /* of pending_max_bytes */
    bool was_sent;     /* (lock) over a connection that ended since */
    bool is_cancelled; /* (lock) while it was sent */
    size_t len;
    char message[]; /* head and body */
};

struct connection {
    int fd, wake_fd;
    bool is_used;           /* by a thread */
    bool is_open;           /* takes questions */
    struct question *asked; /* NULL: it is free, unless */
    uint64_t owed_tag;      /* an answer will come that nobody waits for; 0: none */
    size_t sent;            /* of the question */
};

struct door {
    struct door_config cfg; /* immutable */
    pthread_t watcher;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct connection connections[DOOR_CONNECTIONS_MAX];
    struct question *first, *last;
    size_t pending_bytes;
    uint64_t last_tag;
    bool is_closing;
    uint64_t watched_ms; /* when the watcher wakes; 0: when it is told to */
};

/* ---- the queue ---- */

static void put_last_locked(struct door *d, struct question *q)
{
    q->next = NULL;
    if (d->last)
        d->last->next = q;
    else
        d->first = q;
    d->last = q;
}

static void put_first_locked(struct door *d, struct question *q)
{
    q->next = d->first;
    d->first = q;
    if (!d->last)
        d->last = q;
}

static struct question *take_first_locked(struct door *d)
{
    struct question *q = d->first;

    if (!q)
        return NULL;
    d->first = q->next;
    if (!d->first)
        d->last = NULL;
    return q;
}

/* Past its end nobody knows the question. */
static void finish(struct door *d, struct question *q, const struct door_answer *answer)
{
    pthread_mutex_lock(&d->lock);
    d->pending_bytes -= q->charged;
    pthread_mutex_unlock(&d->lock);
    status_count(d->cfg.status, GAUGE_INGEST_PENDING, -(int64_t)q->charged);
    q->done(answer, q->ctx);
    free(q);
}

static void finish_all(struct door *d, struct question *q, struct str reason)
{
    const struct door_answer gone = {.code = ERR_GONE, .message = reason};

    while (q) {
        struct question *next = q->next;
        finish(d, q, &gone);
        q = next;
    }
}

/* ---- sending ---- */

static bool is_sent(const struct connection *c)
{
    return !c->asked || c->sent == c->asked->len;
}

/* As much as the socket takes.  That it is broken is found by its thread. */
static void push_locked(struct connection *c)
{
    while (!is_sent(c)) {
        ssize_t n = send(c->fd, c->asked->message + c->sent, c->asked->len - c->sent,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return;
        if (n > 0)
            c->sent += (size_t)n;
    }
}

static struct connection *free_connection_locked(struct door *d)
{
    for (size_t i = 0; i < DOOR_CONNECTIONS_MAX; i++) {
        const struct connection *c = &d->connections[i];
        if (c->is_open && !c->asked && !c->owed_tag)
            return &d->connections[i];
    }
    return NULL;
}

/* Questions to free connections, for as long as there are both. */
static void hand_out_locked(struct door *d)
{
    struct connection *c;

    while (d->first && (c = free_connection_locked(d))) {
        c->asked = take_first_locked(d);
        c->sent = 0;
        put_u64(c->asked->message + 8, c->asked->tag = ++d->last_tag);
        push_locked(c);
        if (!is_sent(c))
            eventfd_write(c->wake_fd, 1);
    }
}

static struct question *question_new(enum door_kind kind, const struct door_ask *ask,
                                     const struct str lines[2])
{
    char head[DOOR_ASK_HEAD_MAX];
    size_t head_len = door_encode_ask(head, ask), body_len = head_len + lines[0].len + lines[1].len;
    struct question *q = malloc(sizeof *q + IPC_HEAD_LEN + body_len);
    char *at = q ? q->message + IPC_HEAD_LEN : NULL;

    if (!q)
        return NULL;
    *q = (struct question){.request = ask->request,
                           .charged = lines[0].len + lines[1].len,
                           .len = IPC_HEAD_LEN + body_len};
    ipc_encode_head(q->message, kind, 0, body_len);
    memcpy(at, head, head_len);
    at += head_len;
    for (int i = 0; i < 2; i++) {
        if (lines[i].len)
            memcpy(at, lines[i].ptr, lines[i].len);
        at += lines[i].len;
    }
    return q;
}

static uint64_t wait_of(const struct door *d, enum door_kind kind)
{
    bool is_short = kind == DOOR_MKDIR && d->cfg.wait_ms > DOOR_MKDIR_WAIT_MS;

    return is_short ? DOOR_MKDIR_WAIT_MS : d->cfg.wait_ms;
}

enum err_code door_ask(struct door *d, enum door_kind kind, const struct door_ask *ask,
                       const struct str lines[2], door_done done, void *ctx, struct err *e)
{
    struct question *q = question_new(kind, ask, lines);
    uint64_t deadline_ms = clock_mono_ms() + wait_of(d, kind);

    if (!q)
        return err_set(e, ERR_NOMEM, "no memory for a question to the gateway");
    q->done = done;
    q->ctx = ctx;
    q->deadline_ms = deadline_ms;
    pthread_mutex_lock(&d->lock);
    bool is_over = d->pending_bytes > 0 && d->pending_bytes + q->charged > d->cfg.pending_max_bytes;
    if (d->is_closing || is_over) {
        pthread_mutex_unlock(&d->lock);
        free(q);
        return is_over ? err_set(e, ERR_AGAIN, "%zu bytes of lines wait (WEIR_INGEST_PENDING_MAX)",
                                 (size_t)d->cfg.pending_max_bytes)
                       : err_set(e, ERR_GONE, "the filesystem is going away");
    }
    d->pending_bytes += q->charged;
    status_count(d->cfg.status, GAUGE_INGEST_PENDING, (int64_t)q->charged);
    put_last_locked(d, q);
    hand_out_locked(d);
    if (d->watched_ms == 0 || d->watched_ms > deadline_ms) {
        d->watched_ms = deadline_ms;
        pthread_cond_signal(&d->changed);
    }
    pthread_mutex_unlock(&d->lock);
    return ERR_OK;
}

static struct question *take_request_locked(struct door *d, uint64_t request)
{
    struct question **at = &d->first, *before = NULL, *q;

    while (*at && (*at)->request != request) {
        before = *at;
        at = &before->next;
    }
    q = *at;
    if (!q)
        return NULL;
    *at = q->next;
    if (d->last == q)
        d->last = before;
    return q;
}

static void mark_sent_locked(struct door *d, uint64_t request)
{
    for (size_t i = 0; i < DOOR_CONNECTIONS_MAX; i++) {
        struct question *q = d->connections[i].asked;
        if (q && q->request == request)
            q->is_cancelled = true;
    }
}

/* The lines of one that was sent may be on their way into the journal though the gateway is dead.
 */
static void finish_cancelled(struct door *d, struct question *q)
{
    const struct door_answer answer = {.code = q->was_sent ? ERR_GONE : ERR_CANCELLED,
                                       .message = STR("interrupted")};

    finish(d, q, &answer);
}

void door_cancel(struct door *d, uint64_t request)
{
    struct question *q;

    pthread_mutex_lock(&d->lock);
    q = take_request_locked(d, request);
    if (!q)
        mark_sent_locked(d, request);
    pthread_mutex_unlock(&d->lock);
    if (q)
        finish_cancelled(d, q);
}

static struct question *take_asked_locked(struct door *d, uint64_t request)
{
    for (size_t i = 0; i < DOOR_CONNECTIONS_MAX; i++) {
        struct connection *c = &d->connections[i];
        struct question *q = c->asked;
        if (!q || q->request != request)
            continue;
        c->asked = NULL;
        c->owed_tag = q->tag;
        return q;
    }
    return NULL;
}

void door_stored(struct door *d, uint64_t request, uint32_t lines)
{
    const struct door_answer stored = {.code = ERR_OK, .lines = lines};
    struct question *q;

    pthread_mutex_lock(&d->lock);
    q = take_asked_locked(d, request);
    pthread_mutex_unlock(&d->lock);
    if (q)
        finish(d, q, &stored);
}

/* ---- connections ---- */

static struct connection *open_connection(struct door *d, int fd)
{
    struct connection *c = NULL;

    LOCK_SCOPE(&d->lock);
    for (size_t i = 0; i < DOOR_CONNECTIONS_MAX && !c; i++) {
        if (!d->connections[i].is_used)
            c = &d->connections[i];
    }
    if (!c || d->is_closing)
        return NULL;
    *c = (struct connection){.fd = fd, .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (c->wake_fd < 0)
        return NULL;
    c->is_used = c->is_open = true;
    hand_out_locked(d);
    return c;
}

/* The gateway may have stored the lines and died before it said so; if it has not, and still does,
 * the journal takes them once. */
static bool is_stored(struct door *d, uint64_t request, struct door_answer *answer)
{
    *answer = (struct door_answer){.message = STR("the gateway died before it said why")};
    return journal_request_find(d->cfg.journal, request, &answer->code);
}

/* False: it was cancelled meanwhile. */
static bool ask_again_locked(struct door *d, struct question *q)
{
    q->was_sent = true;
    if (q->is_cancelled)
        return false;
    put_first_locked(d, q);
    hand_out_locked(d);
    return true;
}

/* Its question stays where door_cancel finds it until it is known what becomes of it. */
static void close_connection(struct door *d, struct connection *c)
{
    struct door_answer answer;
    struct question *q;
    uint64_t request;

    pthread_mutex_lock(&d->lock);
    c->is_open = false;
    request = c->asked ? c->asked->request : 0;
    pthread_mutex_unlock(&d->lock);
    bool stored = request != 0 && is_stored(d, request, &answer);
    pthread_mutex_lock(&d->lock);
    q = c->asked; /* NULL also when its time is over */
    c->asked = NULL;
    c->is_used = false;
    close(c->wake_fd);
    if (q && !stored && ask_again_locked(d, q))
        q = NULL;
    pthread_mutex_unlock(&d->lock);
    if (q && stored)
        finish(d, q, &answer);
    else if (q)
        finish_cancelled(d, q);
}

/* False: it answers nothing that was asked.  *q: NULL when nobody waits for it. */
static bool answered(struct door *d, struct connection *c, const struct ipc_msg *m,
                     struct question **q)
{
    uint64_t tag;

    LOCK_SCOPE(&d->lock);
    *q = c->asked;
    tag = *q ? (*q)->tag : c->owed_tag;
    if (tag == 0 || tag != m->tag || m->kind != DOOR_ANSWER)
        return false;
    c->asked = NULL;
    c->owed_tag = 0;
    hand_out_locked(d);
    return true;
}

/* False: the connection is of no further use. */
static bool take_answer(struct door *d, struct connection *c, struct ipc_msg *m)
{
    struct door_answer answer;
    struct question *q;

    if (ipc_recv(c->fd, m, clock_mono_ms() + d->cfg.wait_ms, NULL) ||
        !door_decode_answer(buf_str(&m->body), &answer))
        return false;
    if (!answered(d, c, m, &q))
        return false;
    if (q)
        finish(d, q, &answer);
    return true;
}

static short wanted_events(struct door *d, const struct connection *c)
{
    LOCK_SCOPE(&d->lock);
    return (short)(POLLIN | (is_sent(c) ? 0 : POLLOUT));
}

static void push(struct door *d, struct connection *c)
{
    LOCK_SCOPE(&d->lock);
    push_locked(c);
}

static bool serve_once(struct door *d, struct connection *c, struct ipc_msg *m)
{
    struct pollfd fds[2] = {{.fd = c->fd, .events = wanted_events(d, c)},
                            {.fd = c->wake_fd, .events = POLLIN}};
    eventfd_t woken;

    if (poll(fds, 2, -1) < 0)
        return errno == EINTR;
    if (fds[1].revents)
        eventfd_read(c->wake_fd, &woken);
    if (fds[0].revents & POLLOUT)
        push(d, c);
    return !(fds[0].revents & (POLLIN | POLLHUP | POLLERR)) || take_answer(d, c, m);
}

void door_serve(struct door *d, int fd)
{
    struct connection *c = open_connection(d, fd);
    struct ipc_msg m = {0};

    if (!c)
        return;
    buf_init(&m.body, DOOR_ANSWER_MAX);
    while (serve_once(d, c, &m))
        ;
    close_connection(d, c);
    buf_done(&m.body);
}

/* ---- deadlines ---- */

static void note_deadline(const struct question *q, uint64_t *first)
{
    if (q && (*first == 0 || q->deadline_ms < *first))
        *first = q->deadline_ms;
}

/* Questions are queued in order of their deadlines, but those that a connection lost. */
static uint64_t first_deadline_locked(const struct door *d)
{
    uint64_t first = 0;

    for (const struct question *q = d->first; q; q = q->next)
        note_deadline(q, &first);
    for (size_t i = 0; i < DOOR_CONNECTIONS_MAX; i++)
        note_deadline(d->connections[i].asked, &first);
    return first;
}

/* A list of them; what was sent and not answered ends its connection. */
static struct question *take_expired_locked(struct door *d, uint64_t now)
{
    struct question *expired = NULL, *kept = d->first, *next;

    d->first = d->last = NULL;
    for (struct question *q = kept; q; q = next) {
        next = q->next;
        if (q->deadline_ms > now) {
            put_last_locked(d, q);
            continue;
        }
        q->next = expired;
        expired = q;
    }
    for (size_t i = 0; i < DOOR_CONNECTIONS_MAX; i++) {
        struct connection *c = &d->connections[i];
        if (!c->asked || c->asked->deadline_ms > now)
            continue;
        c->asked->next = expired;
        expired = c->asked;
        c->asked = NULL;
        c->is_open = false; /* its thread lets go of it */
        shutdown(c->fd, SHUT_RDWR);
    }
    return expired;
}

static void *watch(void *arg)
{
    struct door *d = arg;
    struct question *expired;

    pthread_mutex_lock(&d->lock);
    while (!d->is_closing) {
        d->watched_ms = first_deadline_locked(d);
        cond_wait_until(&d->changed, &d->lock, d->watched_ms);
        expired = take_expired_locked(d, clock_mono_ms());
        if (!expired)
            continue;
        pthread_mutex_unlock(&d->lock);
        finish_all(d, expired, STR("no answer from the gateway within WEIR_INGEST_WAIT"));
        pthread_mutex_lock(&d->lock);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

/* ---- life ---- */

enum err_code door_start(const struct door_config *cfg, struct door **out, struct err *e)
{
    struct door *d = calloc(1, sizeof *d);
    int sys;

    if (!d)
        return err_set(e, ERR_NOMEM, "no memory for the doors of the gateway");
    d->cfg = *cfg;
    pthread_mutex_init(&d->lock, NULL);
    cond_init(&d->changed);
    sys = pthread_create(&d->watcher, NULL, watch, d);
    if (sys) {
        d->is_closing = true;
        door_free(d);
        return err_sys(e, sys, "start the thread that watches deadlines");
    }
    *out = d;
    return ERR_OK;
}

void door_close(struct door *d)
{
    struct question *left;

    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    d->is_closing = true;
    left = d->first;
    d->first = d->last = NULL;
    pthread_cond_signal(&d->changed);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->watcher, NULL);
    finish_all(d, left, STR("the filesystem is going away"));
}

void door_free(struct door *d)
{
    if (!d)
        return;
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    free(d);
}
