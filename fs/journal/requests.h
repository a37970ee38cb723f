/* fs/journal/requests.h - the writes to `ingest` files whose lines are in the journal.
 *
 * Good for: answering a write that the kernel sends again as it was answered, or would have been.
 * Not for: writes of which no line was stored.
 * The newest JOURNAL_REQUESTS_MAX of one mount are remembered: by far more than can be stored and
 * not yet answered, which is one a connection of the gateway's doors.
 * Owner: the holder of the journal's append lock.
 */
#ifndef WEIR_FS_JOURNAL_REQUESTS_H
#define WEIR_FS_JOURNAL_REQUESTS_H

#include "fs/journal/batch.h"

#define JOURNAL_REQUESTS_MAX 4096

struct known_request;
struct requests {
    uint64_t mount;             /* whose requests are remembered; 0: none are */
    struct known_request *ring; /* made with the first */
    uint16_t *heads;            /* by hash of the number: 1 + index, 0 = none */
    uint32_t count, next;       /* of the ring */
};
void requests_done(struct requests *r);
/* The lines stand below `position`.  Of another mount, or 0: nothing is done.  False: no memory. */
bool requests_add(struct requests *r, const struct batch_request *request, uint64_t position);
bool requests_find(const struct requests *r, uint64_t mount, uint64_t number, enum err_code *answer,
                   uint64_t *position);
/* What was not durable at `synced` will never be. */
void requests_fail_after(struct requests *r, uint64_t synced);
/* The newest `max` of those durable at `synced`, oldest first, as FRAME_REQUEST_LEN bytes each. */
void requests_encode(const struct requests *r, uint64_t synced, uint32_t max, struct buf *out);
/* False: no memory.  Records of other mounts, or that are none, are passed over. */
bool requests_decode(struct requests *r, struct str records);

#endif
