/* gateway/engine/watch.c - the thread of watch.h. */
#include "gateway/engine/watch.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "gateway/engine/reason.h"

#define INTERRUPT_EVERY_MS 20 /* until the query has noticed */
#define LOOK_EVERY_MS 60000   /* when no deadline is nearer */

static void stop_query(struct watch_entry *entry, enum watch_reason reason)
{
    atomic_store(&entry->reason, reason);
    atomic_store(&entry->cancelled, true);
}

static bool is_past(uint64_t deadline_ms, uint64_t now_ms)
{
    return deadline_ms != 0 && now_ms >= deadline_ms;
}

/* Sets the reason where one is due, and interrupts. */
static void look_at(struct watch *w, struct watch_entry *entry, bool hung_up, uint64_t now_ms)
{
    if (!atomic_load(&entry->cancelled)) {
        if (hung_up)
            stop_query(entry, WATCH_CLIENT_GONE);
        else if (is_past(entry->deadline_ms, now_ms))
            stop_query(entry, WATCH_DEADLINE);
        else
            return;
        entry->stopped_ms = now_ms;
    }
    duckdb_interrupt(entry->con);
    if (entry->stopped_ms != 0 && now_ms - entry->stopped_ms >= w->stuck_ms) {
        entry->stopped_ms = 0;
        if (w->stuck)
            w->stuck();
    }
    if (entry->deadline_ms != 0 && is_past(entry->deadline_ms + WATCH_GRACE_MS, now_ms))
        shutdown(entry->fd, SHUT_RDWR);
}

/* How long the thread may sleep for the sake of this entry. */
static uint64_t patience_ms(struct watch_entry *entry, uint64_t now_ms)
{
    if (atomic_load(&entry->cancelled))
        return INTERRUPT_EVERY_MS;
    if (entry->deadline_ms == 0)
        return LOOK_EVERY_MS;
    return entry->deadline_ms > now_ms ? entry->deadline_ms - now_ms : 0;
}

/* What one poll looks at: the eventfd, then the sockets of the list.  Entries may come and go while
 * poll sleeps, so a socket's news belongs to the entry of the same number. */
struct look {
    struct pollfd fds[WATCH_ENTRIES_MAX + 1];
    uint64_t numbers[WATCH_ENTRIES_MAX + 1];
    nfds_t count;
};

/* A socket whose query is stopped already is not polled: it would be ready for ever. */
static int collect(struct watch *w, struct look *l)
{
    LOCK_SCOPE(&w->lock);
    uint64_t now_ms = clock_mono_ms(), wait_ms = LOOK_EVERY_MS;
    l->fds[0] = (struct pollfd){.fd = w->wake_fd, .events = POLLIN};
    l->count = 1;
    for (struct watch_entry *entry = w->first; entry; entry = entry->next) {
        uint64_t patience = patience_ms(entry, now_ms);
        wait_ms = patience < wait_ms ? patience : wait_ms;
        l->numbers[l->count] = entry->number;
        l->fds[l->count++] = (struct pollfd){.fd = atomic_load(&entry->cancelled) ? -1 : entry->fd,
                                             .events = POLLRDHUP};
    }
    return (int)wait_ms;
}

static bool hung_up(const struct look *l, const struct watch_entry *entry)
{
    for (nfds_t i = 1; i < l->count; i++)
        if (l->numbers[i] == entry->number)
            return (l->fds[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
    return false;
}

/* False when the thread shall end. */
static bool look_at_all(struct watch *w, const struct look *l)
{
    LOCK_SCOPE(&w->lock);
    uint64_t now_ms = clock_mono_ms();
    for (struct watch_entry *entry = w->first; entry; entry = entry->next)
        look_at(w, entry, hung_up(l, entry), now_ms);
    return !w->stopping;
}

static void drain(int wake_fd)
{
    uint64_t unused;
    while (read(wake_fd, &unused, sizeof unused) < 0 && errno == EINTR)
        continue;
}

static void *watch_run(void *arg)
{
    struct watch *w = arg;
    struct look look;
    do {
        int timeout_ms = collect(w, &look);
        if (poll(look.fds, look.count, timeout_ms) < 0)
            look.count = 1;
        else if (look.fds[0].revents & POLLIN)
            drain(w->wake_fd);
    } while (look_at_all(w, &look));
    return NULL;
}

static void wake(struct watch *w)
{
    uint64_t one = 1;
    while (write(w->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

enum err_code watch_start(struct watch *w, uint64_t stuck_ms, void (*stuck)(void), struct err *e)
{
    *w = (struct watch){
        .stuck_ms = stuck_ms, .stuck = stuck, .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (w->wake_fd < 0)
        return err_sys(e, errno, "eventfd");
    pthread_mutex_init(&w->lock, NULL);
    int sys = pthread_create(&w->thread, NULL, watch_run, w);
    if (sys != 0) {
        close(w->wake_fd);
        return err_sys(e, sys, "start the watching thread");
    }
    return ERR_OK;
}

void watch_stop(struct watch *w)
{
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_mutex_unlock(&w->lock);
    wake(w);
    pthread_join(w->thread, NULL);
    close(w->wake_fd);
    pthread_mutex_destroy(&w->lock);
}

enum err_code watch_add(struct watch *w, struct watch_entry *entry, struct err *e)
{
    LOCK_SCOPE(&w->lock);
    if (w->count == WATCH_ENTRIES_MAX)
        return err_set(e, ERR_AGAIN, "more than %d queries are running", WATCH_ENTRIES_MAX);
    entry->number = ++w->next_number;
    entry->next = w->first;
    w->first = entry;
    w->count++;
    wake(w);
    return ERR_OK;
}

void watch_remove(struct watch *w, struct watch_entry *entry)
{
    LOCK_SCOPE(&w->lock);
    for (struct watch_entry **at = &w->first; *at; at = &(*at)->next) {
        if (*at == entry) {
            *at = entry->next;
            w->count--;
            wake(w);
            return;
        }
    }
}

enum err_code watch_verdict(struct watch_entry *entry, struct err *e)
{
    switch (atomic_load(&entry->reason)) {
    case WATCH_CLIENT_GONE:
        return reason_set(e, ERR_CANCELLED, SEARCH_CANCELLED, "search query was cancelled");
    case WATCH_DEADLINE:
        return reason_set(e, ERR_TIMEOUT, SEARCH_TIMEOUT, "search query timed out");
    case WATCH_NONE:
        break;
    }
    return ERR_OK;
}
