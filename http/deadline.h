/* http/deadline.h - connections that do not send what they should: who sends a request too slowly
 * gets 408 and is closed, who has closed its side is told to libmicrohttpd.
 *
 * libmicrohttpd only notices a connection that says nothing at all; one that sends a byte now and
 * then could hold its memory for ever.  A thread looks at all connections every DEADLINE_LOOK_MS;
 * past its deadline one is sent a 408 as it stands, and its socket is shut down, which
 * libmicrohttpd then sees.  So a deadline may only be set while no reply is on its way.
 * Nobody is told of a request's first bytes before its first line has ended: the thread asks the
 * kernel what has come, every few looks.
 * When a client's end comes together with its last bytes, libmicrohttpd has read them and waits for
 * another event: the same thread makes one, at connections that have a deadline.
 *
 * Owner: the server; the deadline of a connection is added when it begins, and removed before its
 * socket is closed.
 * Thread safety: the list: any thread.  A deadline: the thread that has its connection.
 */
#ifndef WEIR_HTTP_DEADLINE_H
#define WEIR_HTTP_DEADLINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define DEADLINE_LOOK_MS 250

struct deadlines;
struct deadline {
    int fd;                       /* the connection's */
    _Atomic uint64_t deadline_ms; /* by clock_mono_ms; 0: none */
    atomic_int refused_status;    /* that it was sent, and nothing after it; 0: none */
    atomic_uint silences;         /* odd: nothing of the next request has come that is known of */
    _Atomic uint64_t heard_bytes; /* of what came, that was before it */
    struct deadline *prev, *next; /* the list's */
};

/* A request's first line has `line_ms` from its first byte, and some looks. */
enum err_code deadlines_start(unsigned line_ms, struct deadlines **out, struct err *e);
void deadlines_stop(struct deadlines *all); /* after all are removed; NULL is fine */
struct deadline *deadlines_add(struct deadlines *all, int fd); /* NULL: out of memory */
/* Sends the status ("URI Too Long" is the reason of 414) with a short body and ends what is
 * written: the request is of no further use.  The caller lets the connection end, and linger. */
void deadline_refuse(struct deadline *c, int status, const char *reason, const char *message);
void deadlines_remove(struct deadlines *all, struct deadline *c); /* frees it; NULL is fine */

/* Until then the next thing has to have come. */
static inline void deadline_set(struct deadline *c, uint64_t deadline_ms)
{
    if (c)
        atomic_store_explicit(&c->deadline_ms, deadline_ms, memory_order_relaxed);
}

/* The next thing is a request: what has come, or comes, past the first `taken_bytes` of all that
 * the connection was sent is its first line. */
void deadline_set_silent(struct deadline *c, uint64_t taken_bytes, uint64_t deadline_ms);
/* Bytes that the connection was sent, that were written to it, and that its client's side has got
 * of those; 0: not known. */
struct deadline_traffic {
    uint64_t received, written, acked;
};
struct deadline_traffic deadline_traffic(const struct deadline *c);

/* It has begun, and the deadline is another one. */
static inline void deadline_set_heard(struct deadline *c, uint64_t deadline_ms)
{
    if (c)
        atomic_fetch_add(&c->silences, atomic_load(&c->silences) & 1);
    deadline_set(c, deadline_ms);
}

/* It has come.  False: too late, or refused: the 408, or what else it was, is out. */
static inline bool deadline_met(struct deadline *c)
{
    return !c || (atomic_exchange(&c->deadline_ms, 0) != 0 && atomic_load(&c->refused_status) == 0);
}

#endif
