/* gateway/commit.h - getting a batch durable through the mount's commit files.
 *
 * A pool holds one open commit file, one page-aligned buffer and one running number per worker; a
 * thread borrows a worker for one batch (commit_begin waits for a free one, at most `wait_ms`).
 * commit_add takes whole lines, cuts runs and parts; commit_finish writes the last part and returns
 * when the batch is durable.  When the fs process dies in between (EIO, ENOTCONN, EAGAIN for a
 * missing part), the whole batch is sent again under the same id for up to `retry_ms`: it is
 * applied once. The lines given must stay valid until commit_finish or commit_abort. Errors: AGAIN
 * (no free worker, fs away too long), FULL, TOOBIG, IO. Lines that fill more than a batch are
 * several: the caller begins again with what commit_add has left.
 */
#ifndef WEIR_GATEWAY_COMMIT_H
#define WEIR_GATEWAY_COMMIT_H

#include "fs/journal/batch.h"

struct control_client;
struct commit_pool;
struct commit_config {
    const char *mount_dir;
    struct control_client *control; /* gives the epoch; NULL: `epoch` is it */
    uint64_t epoch;
    unsigned workers; /* <= control_commit_files */
    unsigned wait_ms, retry_ms;
    bool no_sync;
};
enum err_code commit_pool_open(const struct commit_config *cfg, struct commit_pool **out,
                               struct err *e);
void commit_pool_close(struct commit_pool *p);

/* One batch being made. */
struct commit;
/* The longest line a part can carry, with its '\n', whatever the names of org and stream. */
size_t commit_line_max(void);
/* Room in the journal that is kept for one request of several batches, so that it is refused before
 * the first one or not at all: no other batch of the pool takes it meanwhile.  A disk that other
 * programs fill is not foreseen. */
struct commit_room {
    struct commit_pool *pool; /* NULL: none was kept */
    uint64_t bytes;           /* of the journal, not yet used */
};
/* At most so many bytes of the journal do `bytes` of lines take in so many runs. */
uint64_t commit_cost(uint64_t bytes, uint64_t lines, uint64_t runs);
/* Room for `bytes` by commit_cost.  FULL when there is not so much.  OK also when the fs process does not answer: the first batch
 * will tell. */
enum err_code commit_keep_room(struct commit_pool *p, uint64_t bytes, struct commit_room *out,
                               struct err *e);
void commit_give_room(struct commit_room *r); /* what is left of it */
/* A batch of the request that `room` was kept for, or of none (NULL). */
enum err_code commit_begin(struct commit_pool *p, struct commit_room *room, struct commit **out,
                           struct err *e);
/* The batch holds the lines of that write to an `ingest` file: it is stored once for it, and done
 * when it is appended, not synced. */
void commit_carry(struct commit *c, const struct batch_request *request);
/* As many whole lines as the batch still takes; *run is left with the others, which are for the
 * next batch (lines of half a part fill a batch badly).  TOOBIG: not one. */
enum err_code commit_add(struct commit *c, struct batch_run *run, struct err *e);
enum err_code commit_finish(struct commit *c, struct err *e); /* frees c in any case */
void commit_abort(struct commit *c);                          /* nothing is stored; NULL is fine */

#endif
