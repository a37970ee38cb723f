/* fs/journal/sync_queue.c - two arrays, swapped: one fills while the other is answered. */
#include "fs/journal/sync_queue.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct waiter {
    journal_done done;
    void *ctx;
};

struct sync_queue {
    struct journal *journal;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct waiter waiting[SYNC_QUEUE_MAX]; /* (lock) */
    size_t count;                          /* (lock) */
    bool stopping;                         /* (lock) */
    struct waiter served[SYNC_QUEUE_MAX];  /* the thread's */
};

/* How many are to be served now; 0 ends the thread. */
static size_t take_waiting(struct sync_queue *q)
{
    size_t count;

    LOCK_SCOPE(&q->lock);
    while (q->count == 0 && !q->stopping)
        pthread_cond_wait(&q->filled, &q->lock);
    count = q->count;
    memcpy(q->served, q->waiting, count * sizeof q->waiting[0]);
    q->count = 0;
    return count;
}

static void *serve(void *arg)
{
    struct sync_queue *q = arg;

    for (size_t count; (count = take_waiting(q)) > 0;) {
        struct err e = {0};
        enum err_code rc = journal_sync(q->journal, &e);
        for (size_t i = 0; i < count; i++)
            q->served[i].done(rc, &e, q->served[i].ctx);
    }
    return NULL;
}

enum err_code sync_queue_start(struct journal *j, struct sync_queue **out, struct err *e)
{
    struct sync_queue *q = calloc(1, sizeof *q);
    int sys;

    if (!q)
        return err_set(e, ERR_NOMEM, "no memory for the fsync queue");
    q->journal = j;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->filled, NULL);
    sys = pthread_create(&q->thread, NULL, serve, q);
    if (sys) {
        pthread_cond_destroy(&q->filled);
        pthread_mutex_destroy(&q->lock);
        free(q);
        return err_sys(e, sys, "start the fsync thread");
    }
    *out = q;
    return ERR_OK;
}

void sync_queue_stop(struct sync_queue *q)
{
    if (!q)
        return;
    pthread_mutex_lock(&q->lock);
    q->stopping = true;
    pthread_cond_signal(&q->filled);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->thread, NULL);
    pthread_cond_destroy(&q->filled);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

enum err_code sync_queue_add(struct sync_queue *q, journal_done done, void *ctx, struct err *e)
{
    LOCK_SCOPE(&q->lock);
    if (q->count == SYNC_QUEUE_MAX)
        return err_set(e, ERR_AGAIN, "%d fsyncs wait already", SYNC_QUEUE_MAX);
    q->waiting[q->count++] = (struct waiter){.done = done, .ctx = ctx};
    pthread_cond_signal(&q->filled);
    return ERR_OK;
}
