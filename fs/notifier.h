/* fs/notifier.h - tells the kernel which names it need not keep, from a thread nothing waits for.
 *
 * The kernel keeps the inode of every snapshot it was shown until memory is short; a name that no
 * query reads any more is dropped early.  Only memory is saved by this, never correctness: what
 * does not fit into the queue is counted and left to the kernel.
 * The thread may wait for a lock that the kernel holds until a worker has answered, so it is
 * stopped before the workers are.
 */
#ifndef WEIR_FS_NOTIFIER_H
#define WEIR_FS_NOTIFIER_H

#include "base/ulid.h"
#include "fs/status.h"

#define NOTIFIER_QUEUE_MAX 65536

struct notifier_name {
    struct ulid id;
    uint64_t bytes;
};

struct notifier;
/* `drop` is called from the thread, for one name at a time. */
typedef void (*notifier_drop)(const struct notifier_name *name, void *ctx);
enum err_code notifier_start(struct status *status, notifier_drop drop, void *ctx,
                             struct notifier **out, struct err *e);
void notifier_stop(struct notifier *n); /* forgets what waits; NULL is fine */
void notifier_add(struct notifier *n, const struct notifier_name *names, size_t count);

#endif
