/* gateway/seal.h - when files of lines become Parquet, and who waits for it.
 *
 * A scheduler looks at the journal's files now and then; what is large, old, closed, or in the way
 * of a journal that fills becomes a job.  Workers run jobs: close the file(s), let the engine write
 * and check the Parquet, let the fs process publish it (seal_job.c).  A job that fails is tried
 * again with growing pauses; nothing is freed before it succeeds.  Logs and traces: a job is one
 * file; metrics: all files of an organisation and hour. Thread safety: any thread.  The sealer has
 * a control connection of its own, so that queries never wait for it.
 */
#ifndef WEIR_GATEWAY_SEAL_H
#define WEIR_GATEWAY_SEAL_H

#include "base/err.h"
#include "gateway/catalog.h"

struct control_client;
struct seal_config {
    struct catalog *catalog;
    struct control_client *control; /* the gateway's; a connection beside it is opened */
    const char *mount_dir, *engine_socket, *node_name;
    uint64_t file_bytes; /* ZO_MAX_FILE_SIZE_ON_DISK */
    int64_t age_us;      /* ZO_MAX_FILE_RETENTION_TIME */
    unsigned workers;    /* ZO_FILE_MOVE_THREAD_NUM; at least 1, at most SEAL_WORKERS_MAX */
    uint64_t drain_ms; /* how long seal_close goes on with what is due; at most SEAL_DRAIN_MS_MAX */
};
#define SEAL_WORKERS_MAX 16
#define SEAL_DRAIN_MS_MAX 10000
#define SEAL_JOBS_MAX 100000 /* waiting or failed; what is over waits in the journal */

struct sealer;
enum err_code seal_open(const struct seal_config *cfg, struct sealer **out, struct err *e);
/* Ends what is queued already: that is due, and nothing else becomes so.  What is not done after
 * drain_ms is cancelled, for the next start to do again.  NULL is fine. */
void seal_close(struct sealer *s);

/* Everything acknowledged before the call is in sealed files when it returns OK.  TIMEOUT, or the
 * error of a job that failed meanwhile; `cancelled` (may be NULL) is asked now and then. */
enum err_code seal_flush(struct sealer *s, uint64_t deadline_ms, bool (*cancelled)(void *ctx),
                         void *ctx, struct err *e);

#endif
