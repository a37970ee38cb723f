/* fs/journal/open_queue.c - a ring of jobs, taken by a few threads. */
#include "fs/journal/open_queue.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct open_queue {
    open_run run; /* immutable */
    pthread_t threads[OPEN_THREADS];
    size_t thread_count; /* the owner's */
    pthread_mutex_t lock;
    pthread_cond_t filled;
    void *ring[OPEN_QUEUE_MAX]; /* (lock) */
    size_t first, count;        /* (lock) */
    bool stopping;              /* (lock) */
};

/* NULL ends the thread. */
static void *take_job(struct open_queue *q)
{
    LOCK_SCOPE(&q->lock);
    while (q->count == 0 && !q->stopping)
        pthread_cond_wait(&q->filled, &q->lock);
    if (q->count == 0)
        return NULL;
    void *job = q->ring[q->first];
    q->first = (q->first + 1) % OPEN_QUEUE_MAX;
    q->count--;
    return job;
}

static void *serve(void *arg)
{
    struct open_queue *q = arg;
    for (void *job; (job = take_job(q));)
        q->run(job);
    return NULL;
}

enum err_code open_queue_start(open_run run, struct open_queue **out, struct err *e)
{
    struct open_queue *q = calloc(1, sizeof *q);
    if (!q)
        return err_set(e, ERR_NOMEM, "no memory for the queue of opens");
    q->run = run;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->filled, NULL);
    for (; q->thread_count < OPEN_THREADS; q->thread_count++) {
        int sys = pthread_create(&q->threads[q->thread_count], NULL, serve, q);
        if (sys) {
            open_queue_stop(q);
            return err_sys(e, sys, "start a thread that opens files");
        }
    }
    *out = q;
    return ERR_OK;
}

void open_queue_stop(struct open_queue *q)
{
    if (!q)
        return;
    pthread_mutex_lock(&q->lock);
    q->stopping = true;
    pthread_cond_broadcast(&q->filled);
    pthread_mutex_unlock(&q->lock);
    for (size_t i = 0; i < q->thread_count; i++)
        pthread_join(q->threads[i], NULL);
    pthread_cond_destroy(&q->filled);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

bool open_queue_add(struct open_queue *q, void *job)
{
    LOCK_SCOPE(&q->lock);
    if (q->count == OPEN_QUEUE_MAX)
        return false;
    q->ring[(q->first + q->count++) % OPEN_QUEUE_MAX] = job;
    pthread_cond_signal(&q->filled);
    return true;
}
