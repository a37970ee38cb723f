/* fs/notifier.c - a ring of names, emptied by one thread. */
#include "fs/notifier.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct notifier {
    struct status *status; /* immutable */
    notifier_drop drop;    /* immutable */
    void *ctx;             /* immutable */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct notifier_name ring[NOTIFIER_QUEUE_MAX]; /* (lock) */
    size_t first, count;                           /* (lock) */
    bool stopping;                                 /* (lock) */
};

static bool take(struct notifier *n, struct notifier_name *out)
{
    LOCK_SCOPE(&n->lock);
    while (n->count == 0 && !n->stopping)
        pthread_cond_wait(&n->filled, &n->lock);
    if (n->stopping)
        return false;
    *out = n->ring[n->first];
    n->first = (n->first + 1) % NOTIFIER_QUEUE_MAX;
    n->count--;
    return true;
}

static void *serve(void *arg)
{
    struct notifier *n = arg;
    struct notifier_name name;

    while (take(n, &name))
        n->drop(&name, n->ctx);
    return NULL;
}

enum err_code notifier_start(struct status *status, notifier_drop drop, void *ctx,
                             struct notifier **out, struct err *e)
{
    struct notifier *n = calloc(1, sizeof *n);
    int sys;

    if (!n)
        return err_set(e, ERR_NOMEM, "no memory for the notifier");
    n->status = status;
    n->drop = drop;
    n->ctx = ctx;
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->filled, NULL);
    sys = pthread_create(&n->thread, NULL, serve, n);
    if (sys) {
        pthread_cond_destroy(&n->filled);
        pthread_mutex_destroy(&n->lock);
        free(n);
        return err_sys(e, sys, "start the notifier");
    }
    *out = n;
    return ERR_OK;
}

void notifier_stop(struct notifier *n)
{
    if (!n)
        return;
    pthread_mutex_lock(&n->lock);
    n->stopping = true;
    pthread_cond_signal(&n->filled);
    pthread_mutex_unlock(&n->lock);
    pthread_join(n->thread, NULL);
    pthread_cond_destroy(&n->filled);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

void notifier_add(struct notifier *n, const struct notifier_name *names, size_t count)
{
    size_t left = 0;

    LOCK_SCOPE(&n->lock);
    for (size_t i = 0; i < count; i++) {
        if (n->count == NOTIFIER_QUEUE_MAX) {
            left = count - i;
            break;
        }
        n->ring[(n->first + n->count++) % NOTIFIER_QUEUE_MAX] = names[i];
    }
    if (left)
        status_count(n->status, COUNT_NOTIFICATIONS_DROPPED, (int64_t)left);
    pthread_cond_signal(&n->filled);
}
