/* http/body.h - memory for request bodies: one budget for the process, and buffers kept for reuse.
 *
 * A body's memory is charged before it is allocated.  A charge that would pass the total is refused
 * (AGAIN, 503), except when nothing else is charged: one large body alone is always let in.
 * At most BODY_POOL_BUFFERS buffers of at most BODY_POOL_CAP bytes are kept between requests.
 * Thread safety: the pool: any thread.  A body: one owner at a time.
 */
#ifndef WEIR_HTTP_BODY_H
#define WEIR_HTTP_BODY_H

#include "base/bytes.h"
#include "base/err.h"

#define BODY_POOL_BUFFERS 16
#define BODY_POOL_CAP ((size_t)2 << 20)

struct body_pool;
struct body_pool *body_pool_new(uint64_t total_bytes); /* NULL: out of memory */
void body_pool_free(struct body_pool *p);              /* after all its bodies are done */

struct body {
    struct body_pool *pool;
    const struct body *beside; /* of the same request: not somebody else's memory */
    struct buf buf;
    size_t max_bytes, charged_bytes;
};
/* Room for a body of `declared` bytes (0: not known), never more than max.  `beside` is another
 * body of the same request that outlives this one, or NULL.  AGAIN, NOMEM. */
enum err_code body_open(struct body_pool *p, struct body *b, const struct body *beside,
                        size_t declared, size_t max, struct err *e);
/* Charges so that the buffer's capacity may become `cap_bytes`.  AGAIN. */
enum err_code body_charge(struct body *b, size_t cap_bytes, struct err *e);
/* TOOBIG past max, AGAIN, NOMEM. */
enum err_code body_add(struct body *b, const void *p, size_t n, struct err *e);
void body_done(struct body *b); /* gives everything back; a zeroed body is fine */

#endif
