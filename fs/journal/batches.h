/* fs/journal/batches.h - which batch of which worker is where in its life.
 *
 * Good for: applying each batch once, whatever is sent again.  The states stand at the top of
 * batches.c.  Owner: the holder of the journal's append lock.
 * Bounds: JOURNAL_WORKERS_MAX workers with at most one open batch each, of at most
 * BATCH_PARTS_MAX * BATCH_RUNS_MAX runs.
 */
#ifndef WEIR_FS_JOURNAL_BATCHES_H
#define WEIR_FS_JOURNAL_BATCHES_H

#include "fs/journal/batch.h"
#include "fs/journal/files.h"
#include "fs/journal/frame.h"
#include "fs/journal/requests.h"

#define JOURNAL_WORKERS_MAX 1024

/* Bytes of one run that are in a segment but not yet placed in a file. */
struct run_ref {
    uint64_t stream;
    int64_t min_ts_us, max_ts_us;
    int32_t hour;
    uint32_t lines, len;
    uint32_t seq, at; /* of the payload */
    uint32_t run;     /* which place of the last frame is its */
    uint32_t skip;    /* bytes of the run before these: a damaged frame gives several */
};

/* One try to append a batch. */
struct attempt {
    struct batch_id id;
    uint64_t serial;
    uint32_t next_part, next_run;
    struct run_ref *refs;
    size_t count, cap;
    uint64_t last_position; /* of its newest frame; recovery */
    bool is_refused;        /* its newest part was, and a frame says so */
};
struct attempt *attempt_new(const struct batch_id *id, uint64_t serial);
void attempt_free(struct attempt *a); /* NULL is fine */
bool attempt_reserve(struct attempt *a, size_t more);

struct worker {
    uint64_t epoch, number; /* newest complete batch; 0 = none */
    enum err_code answer;   /* of it, once it is durable or has failed */
    uint64_t done_position; /* durable up to here = may be answered */
    struct attempt *open;   /* has some parts, not all */
};

struct batches {
    struct worker *workers; /* by number, JOURNAL_WORKERS_MAX of them */
    uint64_t epoch;         /* newest given out */
    uint64_t next_serial;
    struct requests requests;
};
bool batches_init(struct batches *b);
void batches_done(struct batches *b);

enum admit {
    ADMIT_APPLY,  /* append it */
    ADMIT_ANSWER, /* *code is the answer */
    ADMIT_WAIT    /* a repeat: the answer comes when *position is durable */
};
enum admit batches_admit(const struct batches *b, const struct batch_part *p, uint64_t *position,
                         enum err_code *code, struct err *e);
/* The open attempt that an admitted part goes on with; part 0 begins one.  NULL: no memory. */
struct attempt *batches_attempt(struct batches *b, const struct batch_part *p);
/* The worker's open attempt at this batch; NULL: there is none. */
struct attempt *batches_open(const struct batches *b, const struct batch_id *id);
/* The worker's batch is complete: its attempt is freed, its number and its request (NULL: none) are
 * remembered. */
void batches_complete(struct batches *b, const struct batch_id *id,
                      const struct batch_request *request, uint64_t position);
void batches_drop_open(struct batches *b);
/* The oldest segment that an open batch has lines in; UINT32_MAX: there is none. */
uint32_t batches_oldest(const struct batches *b);
/* Drop the open batches that have lines in this segment or an older one. */
void batches_drop_from(struct batches *b, uint32_t seq);
/* Batches that were not durable at `synced` will never be. */
void batches_fail_after(struct batches *b, uint64_t synced);
void batches_new_epoch(struct batches *b, uint64_t epoch); /* older batches are over */
void batches_relocate(struct batches *b, const struct relocation *list, size_t count);
/* The numbers to repeat in a segment's beginning: those durable at `synced`.  Appends
 * worker_last records to out. */
void batches_encode_last(const struct batches *b, uint64_t synced, struct buf *out);
bool batches_decode_last(struct batches *b, struct str records);

#endif
