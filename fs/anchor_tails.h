/* fs/anchor_tails.h - the unfinished lines of open `ingest` files, which outlive the fs process.
 *
 * A slot for each handle, found by a number that is good for as long as the handle: the kernel
 * brings it back to the next fs process of the mount.  Beside the tail stand the number and the
 * answer of the last write, so that a write that the kernel sends again is not added twice.
 * Every change is seen whole or not at all, wherever the process is killed.
 * Good for: what is not a line yet.  Not for: lines.
 * Owner: the session.  Any thread may call; one call at a time for a handle is the caller's to see
 * to.  Bounds: TAILS_SLOTS_MAX handles, TAIL_BYTES_MAX each, total_max of all tails together.  The
 * memory is at most that and two pages a handle; a handle's is given back with it.
 * Layout: anchor_tails.c.
 */
#ifndef WEIR_FS_ANCHOR_TAILS_H
#define WEIR_FS_ANCHOR_TAILS_H

#include <sys/types.h>

#include "base/bytes.h"
#include "base/err.h"

#define TAILS_SLOTS_MAX 16384
#define TAIL_BYTES_MAX (1u << 20)

/* How many bytes of the supervisor's memory they take; zeros are: no handle. */
size_t tails_bytes(void);

struct tails;
/* At `at`, a multiple of the page size, of the memory `fd`, which may be closed afterwards.  fd -1:
 * memory of this process alone.  What an earlier process left counts towards total_max. */
enum err_code tails_open(int fd, off_t at, size_t total_max, struct tails **out, struct err *e);
void tails_close(struct tails *t); /* NULL is fine; the memory stays as it is */

/* A handle for the open with that number. */
enum tails_taken { TAILS_FULL, TAILS_NEW, TAILS_KNOWN };
/* `is_resent`: the kernel may have brought that open to an earlier process; what that one took for
 * it is KNOWN. */
enum tails_taken tails_take(struct tails *t, uint64_t request, bool is_resent, uint64_t *handle);
void tails_give(struct tails *t, uint64_t handle); /* not there: nothing happens */
size_t tails_count(struct tails *t);               /* handles that are there */

/* The slot of a handle, below TAILS_SLOTS_MAX. */
static inline uint32_t tails_slot(uint64_t handle)
{
    return (uint32_t)handle;
}

struct tail {
    struct str bytes;     /* good until the next change */
    uint64_t request;     /* of the last write; 0: none yet */
    enum err_code answer; /* of it */
};
bool tails_get(const struct tails *t, uint64_t handle, struct tail *out); /* false: not there */

/* Room for so many bytes more, before a tail gets them.  False: all tails would be past total_max.
 * `is_resent`: an earlier process may have found that room already, so that there is some. */
bool tails_reserve(struct tails *t, size_t bytes, bool is_resent);
void tails_unreserve(struct tails *t, size_t bytes); /* no tail got them */
size_t tails_total(const struct tails *t);           /* of all tails, and reserved */

/* The bytes were reserved; the handle is there, and what it has then is at most TAIL_BYTES_MAX.
 * What is replaced counts no more. */
void tails_append(struct tails *t, uint64_t handle, struct str more, uint64_t request,
                  enum err_code answer);
void tails_replace(struct tails *t, uint64_t handle, struct str bytes, uint64_t request,
                   enum err_code answer);

#endif
