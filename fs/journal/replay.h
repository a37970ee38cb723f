/* fs/journal/replay.h - frames and tables back into the state they came from.
 *
 * Owner: the thread that opens the journal.
 */
#ifndef WEIR_FS_JOURNAL_REPLAY_H
#define WEIR_FS_JOURNAL_REPLAY_H

#include "fs/journal/internal.h"
#include "fs/journal/segment_scan.h"

/* The worker number of what recovery itself writes. */
#define SAVED_WORKER UINT32_MAX

/* Lines that recovery found outside a complete batch and keeps. */
struct saved_run {
    struct saved_run *next;
    struct run_ref ref; /* where the bytes are; unused when `bytes` is set */
    char *bytes;        /* a copy, where they will be overwritten */
};

struct replay {
    struct journal *j;
    struct journal_recovery *found;
    struct attempt *saved_open; /* frames of an earlier recovery, its SETTLE not yet met */
    struct saved_run *saved, *saved_last;
    struct ulid published;     /* the part of the newest publish record */
    uint64_t corrupt_position; /* end of the last corrupt place, 0 = none */
    uint64_t unsettled;        /* batches and moved lines that a SETTLE has to end */
};

void replay_init(struct replay *r, struct journal *j, struct journal_recovery *found);
void replay_done(struct replay *r);
enum err_code replay_frame(struct replay *r, const struct scan_item *item, struct err *e);
enum err_code replay_table(struct replay *r, struct str body, uint64_t position,
                           struct str *publishes, struct err *e);
/* A publish record whose frame stands at `at` and ends at `end`. */
enum err_code replay_publish(struct replay *r, const struct frame *f, uint32_t seq, uint32_t at,
                             uint32_t end, struct err *e);
/* A newer epoch is known from a segment's header. */
void replay_epoch(struct replay *r, uint64_t epoch);
/* Count damage of the segment being replayed; a frame's good lines are replayed all the same. */
void replay_corrupt(struct replay *r, const struct scan_item *item);
/* A frame of a torn tail: its good lines are copied into `saved`, if they are to be kept. */
enum err_code replay_torn_frame(struct replay *r, const struct scan_item *item, bool keep,
                                struct err *e);
/* Past the last good frame: batches that are open are over.  `keep`: their lines go to `saved`. */
enum err_code replay_finish(struct replay *r, bool keep, struct err *e);

#endif
