/* http/deadline.c - the list of connections and the thread that looks at them. */
#include "http/deadline.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/metrics.h"
#include "base/sys.h"

#define ANSWER_MAX 512
#define REFUSED_MS 10000 /* for the rest of a head that has had its answer */
#define ENDS_AT_ONCE 256 /* of all that have ended, in turn, at one look */
#define ASK_MS_MAX 4000  /* between two questions what has come; a fourth of line_ms, if less */

struct deadlines {
    struct metric_child *late; /* immutable */
    int ends_fd;               /* immutable: an epoll set, for who has closed its side */
    unsigned line_ms;          /* immutable */
    uint64_t ask_ms;           /* the thread's: when the kernel is asked again */
    pthread_t thread;          /* owned by start and stop */
    pthread_mutex_t lock;      /* guards the rest; no socket on the list is closed under it */
    pthread_cond_t changed;
    struct deadline *list;
    bool stopping;
};

static const struct metric_desc TOO_LATE = {
    .name = "zo_http_slow_requests",
    .help = "Requests ended with 408 because they came too slowly.",
    .type = METRIC_COUNTER,
};

static void answer(struct deadline *c, int status, const char *reason, const char *message)
{
    char json[ANSWER_MAX / 2], text[ANSWER_MAX];
    int json_len = snprintf(json, sizeof json, "{\"code\":%d,\"message\":\"%s\"}", status, message);
    int len = snprintf(text, sizeof text,
                       "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/json\r\n"
                       "Content-Length: %d\r\n\r\n%s",
                       status, reason, json_len, json);
    assert(json_len < (int)sizeof json && len > 0 && (size_t)len < sizeof text);
    atomic_store(&c->refused_status, status);
    send(c->fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(c->fd, SHUT_WR);
}

void deadline_refuse(struct deadline *c, int status, const char *reason, const char *message)
{
    answer(c, status, reason, message);
    deadline_set(c, clock_mono_ms() + REFUSED_MS);
}

/* libmicrohttpd ends the connection when it sees that nothing comes any more. */
static void end_late(struct deadlines *all, struct deadline *c)
{
    if (atomic_load(&c->refused_status) == 0) {
        answer(c, 408, "Request Timeout",
               "the request came too slowly (WEIR_HTTP_REQUEST_TIMEOUT)");
        metric_add(all->late, 1);
    }
    shutdown(c->fd, SHUT_RD);
}

/* That nothing is read any more says nothing new of a socket whose client has closed its side, but
 * is an event.  It is made again while the connection stays: libmicrohttpd may have taken the last
 * one and the bytes before the end for one event. */
static void tell_ends(struct deadlines *all)
{
    struct epoll_event ended[ENDS_AT_ONCE];
    int n = epoll_wait(all->ends_fd, ended, ENDS_AT_ONCE, 0);
    for (int i = 0; i < n; i++) {
        const struct deadline *c = ended[i].data.ptr;
        if (atomic_load(&c->deadline_ms) > 0)
            shutdown(c->fd, SHUT_RD);
    }
}

struct deadline_traffic deadline_traffic(const struct deadline *c)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    int unacked = 0;
    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
        ioctl(c->fd, SIOCOUTQ, &unacked) != 0)
        return (struct deadline_traffic){0};
    return (struct deadline_traffic){
        .received = info.tcpi_bytes_received,
        .written = (uint64_t)info.tcpi_bytes_acked + (uint64_t)unacked,
        .acked = info.tcpi_bytes_acked,
    };
}

void deadline_set_silent(struct deadline *c, uint64_t taken_bytes, uint64_t deadline_ms)
{
    if (!c)
        return;
    atomic_store(&c->heard_bytes, taken_bytes);
    atomic_fetch_add(&c->silences, 1 + (atomic_load(&c->silences) & 1));
    deadline_set(c, deadline_ms);
}

/* Bytes that have come while nothing is known of them are a first line on its way. */
static void look_at_silence(const struct deadlines *all, struct deadline *c, uint64_t now_ms)
{
    uint64_t deadline_ms = atomic_load(&c->deadline_ms);
    unsigned silence = atomic_load(&c->silences);
    if (!(silence & 1) || now_ms + all->line_ms >= deadline_ms)
        return;
    uint64_t heard_bytes = atomic_load(&c->heard_bytes);
    if (deadline_traffic(c).received > heard_bytes && silence == atomic_load(&c->silences))
        atomic_compare_exchange_strong(&c->deadline_ms, &deadline_ms, now_ms + all->line_ms);
}

static void look(struct deadlines *all, uint64_t now_ms)
{
    bool ask = now_ms >= all->ask_ms;
    if (ask)
        all->ask_ms = now_ms + (all->line_ms / 4 < ASK_MS_MAX ? all->line_ms / 4 : ASK_MS_MAX);
    for (struct deadline *c = all->list; c; c = c->next) {
        if (ask)
            look_at_silence(all, c, now_ms);
        uint64_t deadline_ms = atomic_load_explicit(&c->deadline_ms, memory_order_relaxed);
        if (deadline_ms > 0 && now_ms >= deadline_ms &&
            atomic_compare_exchange_strong(&c->deadline_ms, &deadline_ms, 0))
            end_late(all, c);
    }
    tell_ends(all);
}

static void *deadlines_main(void *arg)
{
    struct deadlines *all = arg;
    pthread_setname_np(pthread_self(), "http-deadline");
    pthread_mutex_lock(&all->lock);
    while (!all->stopping) {
        look(all, clock_mono_ms());
        cond_wait_until(&all->changed, &all->lock,
                        all->list ? clock_mono_ms() + DEADLINE_LOOK_MS : 0);
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

static void deadlines_free(struct deadlines *all)
{
    if (all->ends_fd >= 0)
        sys_close(all->ends_fd);
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

enum err_code deadlines_start(unsigned line_ms, struct deadlines **out, struct err *e)
{
    struct deadlines *all = calloc(1, sizeof *all);
    if (!all)
        return err_set(e, ERR_NOMEM, "deadlines of connections");
    all->line_ms = line_ms;
    all->late = metric_only(metrics_register(&TOO_LATE));
    pthread_mutex_init(&all->lock, NULL);
    cond_init(&all->changed);
    all->ends_fd = epoll_create1(EPOLL_CLOEXEC);
    int sys = all->ends_fd < 0 ? errno : pthread_create(&all->thread, NULL, deadlines_main, all);
    if (sys != 0) {
        deadlines_free(all);
        return err_sys(e, sys, "start looking at connections");
    }
    *out = all;
    return ERR_OK;
}

void deadlines_stop(struct deadlines *all)
{
    if (!all)
        return;
    pthread_mutex_lock(&all->lock);
    all->stopping = true;
    pthread_cond_signal(&all->changed);
    pthread_mutex_unlock(&all->lock);
    pthread_join(all->thread, NULL);
    deadlines_free(all);
}

struct deadline *deadlines_add(struct deadlines *all, int fd)
{
    struct deadline *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->fd = fd;
    struct epoll_event end = {.events = EPOLLRDHUP, .data.ptr = c};
    LOCK_SCOPE(&all->lock);
    c->next = all->list;
    if (c->next)
        c->next->prev = c;
    else
        pthread_cond_signal(&all->changed);
    all->list = c;
    epoll_ctl(all->ends_fd, EPOLL_CTL_ADD, fd, &end); /* without it only the deadline ends it */
    return c;
}

void deadlines_remove(struct deadlines *all, struct deadline *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&all->lock);
    if (c->prev)
        c->prev->next = c->next;
    else
        all->list = c->next;
    if (c->next)
        c->next->prev = c->prev;
    epoll_ctl(all->ends_fd, EPOLL_CTL_DEL, c->fd, NULL);
    pthread_mutex_unlock(&all->lock);
    free(c);
}
