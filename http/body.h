/* http/body.h - request bodies: in memory while they are small, in the spool when they are large.
 *
 *   body_open ─► body_add … (the connection's thread: never waits)      ─► body_view ─► body_done
 *        │          ├ body_wants_flush: body_flush on a worker, go on        ▲ (a worker)
 *        │          └ body_wants_memory: body_wait, go on                    │
 *        └─────► body_room, body_made … (a worker: may write to disk) ───────┘
 *
 * A body is in memory up to memory_max_bytes (WEIR_BODY_MEMORY_MAX); past it, or earlier when the
 * budget of all bodies (WEIR_INGEST_MEMORY_MAX) has no more for it, it goes to the spool in pieces
 * of at most BODY_STEP_BYTES.  Memory is charged to the budget before it is allocated:
 *   up to 4 eighths   what a body declares
 *         6 eighths   what has come of it
 *         7 eighths   a body that has come whole, and steps of what is made on a worker
 *         all         a piece that goes to the spool at once, and gives its memory back
 * so that who declares, or sends a part, takes nothing from others.
 * At most BODY_POOL_BUFFERS buffers of at most BODY_POOL_CAP bytes are kept between requests.
 * Errors: TOOBIG past max; AGAIN without memory for a step on a worker; those of http/spool.h;
 * NOMEM.
 * Thread safety: the pool: any thread.  A body: one owner at a time.
 */
#ifndef WEIR_HTTP_BODY_H
#define WEIR_HTTP_BODY_H

#include "base/bytes.h"
#include "base/err.h"
#include "http/spool.h"

#define BODY_POOL_BUFFERS 16
#define BODY_POOL_CAP ((size_t)2 << 20)
#define BODY_STEP_BYTES ((size_t)256 << 10)

struct body_pool_config {
    uint64_t total_bytes;
    size_t memory_max_bytes; /* at most half of total_bytes has effect */
    struct spool *spool;     /* borrowed */
};
struct body_pool;
struct body_pool *body_pool_new(const struct body_pool_config *cfg); /* NULL: out of memory */
void body_pool_free(struct body_pool *p); /* after all its bodies are done */

struct body {
    struct body_pool *pool; /* NULL: not open */
    struct buf buf;         /* all of it, or what is not in the file yet */
    struct spool_file file;
    uint64_t expected_bytes;
    size_t max_bytes, charged_bytes;
    bool is_lent;  /* its memory is of the eighth for pieces on their way to the spool */
    bool is_large; /* it is, or is known to become, larger than memory_max_bytes */
};
/* For a body of `expected` bytes (0: not known; with body_room: about), never more than max. */
void body_open(struct body_pool *p, struct body *b, uint64_t expected, size_t max);
/* Takes the first *taken bytes, maybe none. */
enum err_code body_add(struct body *b, struct str bytes, size_t *taken, struct err *e);
/* Nothing was taken, and there is nothing that could be flushed. */
static inline bool body_wants_memory(const struct body *b, size_t taken)
{
    return taken == 0 && b->buf.cap == 0;
}
struct body_waiter {
    void (*wake)(struct body_waiter *w); /* on any thread, also before body_wait returns */
    struct body_waiter *next;            /* the pool's */
    size_t need_bytes;                   /* the pool's */
};
/* Calls `wake` once, when a piece of `len` bytes may find memory; pieces of others may have taken
 * it again. */
void body_wait(struct body *b, struct body_waiter *w, size_t len);
/* Wakes all who wait, and who waits later at once: no memory was meant by it. */
void body_pool_stop(struct body_pool *p); /* NULL is fine */
/* Not all was taken, or it has memory that is only lent. */
static inline bool body_wants_flush(const struct body *b, size_t taken, size_t len)
{
    return taken < len || b->is_lent;
}
enum err_code body_flush(struct body *b, struct err *e);
/* Takes memory for one more byte, unless there is room; false: there is none to be had, and
 * body_room would write to the disk now. */
bool body_grow(struct body *b);
/* Room for one more byte at least, flushed before if need be; then what was written there. */
enum err_code body_room(struct body *b, char **to, size_t *room, struct err *e);
void body_made(struct body *b, size_t n);
/* The whole; nothing can be added then. */
enum err_code body_view(struct body *b, struct str *out, struct err *e);
static inline bool body_is_spooled(const struct body *b)
{
    return b->file.spool != NULL;
}
void body_done(struct body *b); /* gives everything back; a zeroed body is fine */

#endif
