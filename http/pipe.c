/* http/pipe.c - back pressure between a query and a slow client. */
#include "http/pipe.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"

void pipe_init(struct pipe *p)
{
    *p = (struct pipe){0};
    pthread_mutex_init(&p->lock, NULL);
    cond_init(&p->drained);
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

static void wait_for_reader_locked(struct pipe *p)
{
    uint64_t began_ms = clock_mono_ms();
    cond_wait_until(&p->drained, &p->lock, began_ms + PIPE_LOOK_MS);
    p->waited_ms += clock_mono_ms() - began_ms;
    if (p->state == PIPE_OPEN && p->given_up(p->ctx))
        p->state = PIPE_CLOSED;
}

bool pipe_write(struct pipe *p, struct str bytes)
{
    LOCK_SCOPE(&p->lock);
    while (bytes.len > 0 && p->state == PIPE_OPEN) {
        size_t n = enqueue_locked(p, bytes);
        bytes.ptr += n;
        bytes.len -= n;
        if (!buf_ok(&p->queue))
            p->state = PIPE_CLOSED;
        else if (bytes.len > 0)
            wait_for_reader_locked(p);
    }
    return p->state == PIPE_OPEN;
}

void pipe_finish(struct pipe *p)
{
    LOCK_SCOPE(&p->lock);
    if (p->state == PIPE_OPEN)
        p->state = PIPE_FINISHED;
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
