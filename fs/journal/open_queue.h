/* fs/journal/open_queue.h - opens that read the whole file first, for workers who must not wait.
 *
 * Good for: the first open of a sealed file, which compares it with its sums.
 * Owner: the session.  Any thread may add.  At most OPEN_QUEUE_MAX wait for OPEN_THREADS; past that
 * the caller opens for itself.
 */
#ifndef WEIR_FS_JOURNAL_OPEN_QUEUE_H
#define WEIR_FS_JOURNAL_OPEN_QUEUE_H

#include <stdbool.h>

#include "base/err.h"

#define OPEN_THREADS 4
#define OPEN_QUEUE_MAX 1024

struct open_queue;
/* `run` is called once for each job, from one of the queue's threads; the job is then its own. */
typedef void (*open_run)(void *job);
enum err_code open_queue_start(open_run run, struct open_queue **out, struct err *e);
/* Runs what waits, then ends; NULL is fine. */
void open_queue_stop(struct open_queue *q);
/* False: it is full, and the job stays the caller's. */
bool open_queue_add(struct open_queue *q, void *job);

#endif
