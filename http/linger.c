/* http/linger.c - one thread that reads away what refused clients still send. */
#include "http/linger.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"

#define DISCARD_STEP_BYTES ((size_t)1 << 20)

struct linger_set {
    int wake_fd; /* immutable: an eventfd */
    pthread_t thread;
    pthread_mutex_t lock; /* guards arrived, arrived_count and stopping */
    int arrived[LINGER_SOCKETS_MAX];
    size_t arrived_count;
    bool stopping;
    /* Owned by the thread; slot 0 of polled is the wake_fd, deadline_ms[i] belongs to polled[i]. */
    struct pollfd polled[1 + LINGER_SOCKETS_MAX];
    uint64_t deadline_ms[1 + LINGER_SOCKETS_MAX];
    size_t count;
};

static void drop(struct linger_set *l, size_t i)
{
    sys_close(l->polled[i].fd);
    l->polled[i] = l->polled[--l->count];
    l->deadline_ms[i] = l->deadline_ms[l->count];
}

/* False: told to stop. */
static bool take_arrived(struct linger_set *l)
{
    uint64_t ignored;
    if (l->polled[0].revents & POLLIN)
        sys_read(l->wake_fd, &ignored, sizeof ignored);
    LOCK_SCOPE(&l->lock);
    for (; l->arrived_count > 0; l->arrived_count--) {
        int fd = l->arrived[l->arrived_count - 1];
        if (l->count == ARRAY_LEN(l->polled)) {
            sys_close(fd);
            continue;
        }
        l->polled[l->count] = (struct pollfd){.fd = fd, .events = POLLIN};
        l->deadline_ms[l->count++] = clock_mono_ms() + LINGER_MS;
    }
    return !l->stopping;
}

/* With MSG_TRUNC the kernel throws TCP's bytes away without copying them. */
static bool client_is_done(int fd)
{
    ssize_t n = recv(fd, NULL, DISCARD_STEP_BYTES, MSG_TRUNC | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void *linger_main(void *arg)
{
    struct linger_set *l = arg;
    pthread_setname_np(pthread_self(), "http-linger");
    while (take_arrived(l)) {
        poll(l->polled, (nfds_t)l->count, l->count > 1 ? LINGER_MS / 10 : -1);
        uint64_t now_ms = clock_mono_ms();
        for (size_t i = l->count; i-- > 1;) {
            bool ready = l->polled[i].revents != 0;
            if ((ready && client_is_done(l->polled[i].fd)) || now_ms >= l->deadline_ms[i])
                drop(l, i);
        }
    }
    while (l->count > 1)
        drop(l, l->count - 1);
    return NULL;
}

enum err_code linger_start(struct linger_set **out, struct err *e)
{
    struct linger_set *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(e, ERR_NOMEM, "lingering sockets");
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake_fd < 0) {
        int sys = errno;
        free(l);
        return err_sys(e, sys, "eventfd");
    }
    l->polled[0] = (struct pollfd){.fd = l->wake_fd, .events = POLLIN};
    l->count = 1;
    pthread_mutex_init(&l->lock, NULL);
    int rc = pthread_create(&l->thread, NULL, linger_main, l);
    if (rc != 0) {
        sys_close(l->wake_fd);
        free(l);
        return err_sys(e, rc, "start a thread");
    }
    *out = l;
    return ERR_OK;
}

static void wake(struct linger_set *l)
{
    const uint64_t one = 1;
    sys_write(l->wake_fd, &one, sizeof one); /* can only fail when it is awake anyway */
}

void linger_add(struct linger_set *l, int fd)
{
    pthread_mutex_lock(&l->lock);
    bool taken = l->arrived_count < ARRAY_LEN(l->arrived) && !l->stopping;
    if (taken)
        l->arrived[l->arrived_count++] = fd;
    pthread_mutex_unlock(&l->lock);
    if (taken)
        wake(l);
    else
        sys_close(fd);
}

void linger_stop(struct linger_set *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_mutex_unlock(&l->lock);
    wake(l);
    pthread_join(l->thread, NULL);
    sys_close(l->wake_fd);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
