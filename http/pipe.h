/* http/pipe.h - a bounded queue of bytes from the worker that makes a long reply to the connection
 * that sends it.
 *
 *   writer: pipe_write … pipe_finish          (a worker; waits while PIPE_QUEUE_MAX bytes wait)
 *   reader: pipe_read; 0 = parked until wake  (a socket thread; never waits)
 * The reader that finds the queue empty parks through `park`, called with the lock held, so that
 * the writer's next byte surely wakes it.  pipe_close (the client is gone) ends both sides. Thread
 * safety: one writer and one reader.
 */
#ifndef WEIR_HTTP_PIPE_H
#define WEIR_HTTP_PIPE_H

#include <pthread.h>
#include <sys/types.h>

#include "base/bytes.h"

#define PIPE_QUEUE_MAX ((size_t)1 << 20)
#define PIPE_LOOK_MS 100

enum pipe_state { PIPE_OPEN, PIPE_FINISHED, PIPE_CLOSED };

struct pipe {
    void (*park)(void *ctx); /* the reader will not come again before wake */
    void (*wake)(void *ctx);
    /* Asked every PIPE_LOOK_MS while the writer waits and the pipe is open, with the lock held. */
    bool (*given_up)(void *ctx);
    void *ctx;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t drained;
    struct buf queue;
    size_t sent; /* bytes of the queue that the reader has taken */
    enum pipe_state state;
    bool parked;
    uint64_t waited_ms; /* by the writer for the reader; `given_up` may reset it */
};

void pipe_init(struct pipe *p); /* the caller sets the functions */
void pipe_done(struct pipe *p);
/* False: closed, given up, or no memory; the reader then gets PIPE_BROKEN. */
bool pipe_write(struct pipe *p, struct str bytes);
void pipe_finish(struct pipe *p); /* the reader gets what is queued, then the end */
/* Bytes copied; 0: parked; PIPE_END; PIPE_BROKEN: closed, or the writer ran out of memory. */
enum { PIPE_END = -1, PIPE_BROKEN = -2 };
ssize_t pipe_read(struct pipe *p, char *dst, size_t max);
void pipe_close(struct pipe *p);
/* For the writer: is the reader gone for good, or parked (and so will not move by itself)? */
void pipe_look(struct pipe *p, bool *closed, bool *parked);

#endif
