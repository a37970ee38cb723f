/* fs/journal/sync_queue.h - fsync for those who must not wait: one thread asks the journal, then
 * answers.
 *
 * All requests that wait when the thread comes round share one journal_sync.
 * Owner: the session.  Any thread may add.  At most SYNC_QUEUE_MAX wait; past that AGAIN.
 */
#ifndef WEIR_FS_JOURNAL_SYNC_QUEUE_H
#define WEIR_FS_JOURNAL_SYNC_QUEUE_H

#include "fs/journal/journal.h"

#define SYNC_QUEUE_MAX 4096

struct sync_queue;
enum err_code sync_queue_start(struct journal *j, struct sync_queue **out, struct err *e);
/* Answers what waits, then ends; NULL is fine. */
void sync_queue_stop(struct sync_queue *q);
/* `done` is called exactly once, from the queue's thread, unless this fails. */
enum err_code sync_queue_add(struct sync_queue *q, journal_done done, void *ctx, struct err *e);

#endif
