/* http/pipe.c - back pressure between a query and a slow client. */
#include "http/pipe.h"

#include "base/cleanup.h"

void pipe_init(struct pipe *p, void (*park)(void *), void (*wake)(void *), void *ctx)
{
    *p = (struct pipe){.park = park, .wake = wake, .ctx = ctx};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->drained, NULL);
    buf_init(&p->queue, PIPE_QUEUE_MAX);
}

void pipe_done(struct pipe *p)
{
    buf_done(&p->queue);
    pthread_cond_destroy(&p->drained);
    pthread_mutex_destroy(&p->lock);
}

static void wake_locked(struct pipe *p)
{
    if (!p->parked)
        return;
    p->parked = false;
    p->wake(p->ctx);
}

/* Moves as much as fits; what is over goes on after the reader has drained the queue. */
static size_t enqueue_locked(struct pipe *p, struct str bytes)
{
    if (p->sent > 0 && p->queue.len + bytes.len > PIPE_QUEUE_MAX) {
        memmove(p->queue.data, p->queue.data + p->sent, p->queue.len - p->sent);
        p->queue.len -= p->sent;
        p->sent = 0;
    }
    size_t room = PIPE_QUEUE_MAX - p->queue.len;
    size_t n = bytes.len < room ? bytes.len : room;
    buf_add(&p->queue, bytes.ptr, n);
    if (n > 0)
        wake_locked(p);
    return n;
}

bool pipe_write(struct pipe *p, struct str bytes)
{
    LOCK_SCOPE(&p->lock);
    while (bytes.len > 0 && p->state == PIPE_OPEN && buf_ok(&p->queue)) {
        size_t n = enqueue_locked(p, bytes);
        bytes.ptr += n;
        bytes.len -= n;
        if (bytes.len > 0)
            pthread_cond_wait(&p->drained, &p->lock);
    }
    return p->state == PIPE_OPEN && buf_ok(&p->queue);
}

void pipe_finish(struct pipe *p)
{
    LOCK_SCOPE(&p->lock);
    if (p->state == PIPE_OPEN)
        p->state = buf_ok(&p->queue) ? PIPE_FINISHED : PIPE_CLOSED;
    wake_locked(p);
}

ssize_t pipe_read(struct pipe *p, char *dst, size_t max)
{
    LOCK_SCOPE(&p->lock);
    size_t n = p->queue.len - p->sent;
    if (n == 0 && p->state != PIPE_OPEN)
        return p->state == PIPE_FINISHED ? PIPE_END : PIPE_BROKEN;
    if (n == 0) {
        p->parked = true;
        p->park(p->ctx);
        return 0;
    }
    if (n > max)
        n = max;
    memcpy(dst, p->queue.data + p->sent, n);
    p->sent += n;
    if (p->sent == p->queue.len) {
        buf_clear(&p->queue);
        p->sent = 0;
    }
    if (p->queue.len - p->sent <= PIPE_QUEUE_MAX / 2)
        pthread_cond_signal(&p->drained);
    return (ssize_t)n;
}

void pipe_close(struct pipe *p)
{
    LOCK_SCOPE(&p->lock);
    p->state = PIPE_CLOSED;
    pthread_cond_signal(&p->drained);
}

void pipe_look(struct pipe *p, bool *closed, bool *parked)
{
    LOCK_SCOPE(&p->lock);
    *closed = p->state == PIPE_CLOSED;
    *parked = p->parked;
}
