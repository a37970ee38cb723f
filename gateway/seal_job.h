/* gateway/seal_job.h - one seal from the first step to the last.
 *
 *   ROLL the files -> SEAL by the engine -> PUBLISH by the fs process
 *
 * Every step may be repeated: a job that was cut off is simply run again.  A file that turns out to
 * be sealed already is left out, and so is one whose stream is deleted, of which the fs process is
 * told again.
 */
#ifndef WEIR_GATEWAY_SEAL_JOB_H
#define WEIR_GATEWAY_SEAL_JOB_H

#include "base/ulid.h"
#include "gateway/seal.h"

struct seal_unit { /* what is sealed together; one stream, or an org's metrics of an hour */
    enum stream_type type;
    int32_t hour;
    struct str org;
    const struct ulid *files;
    size_t file_count;
};

struct engine_client;
struct seal_worker { /* what one thread keeps between jobs; zeroed at first */
    const struct seal_config *cfg;
    struct control_client *control; /* the sealer's */
    struct engine_client *engine;   /* NULL: to be connected */
    bool (*is_stopping)(void *ctx);
    void *ctx;
};

struct seal_done { /* what a job achieved; all 0: nothing was left to seal */
    uint64_t parts, files, rows, text_bytes, stored_bytes;
};
enum err_code seal_job_run(struct seal_worker *w, const struct seal_unit *unit,
                           struct seal_done *done, struct err *e);
void seal_worker_done(struct seal_worker *w);

#endif
