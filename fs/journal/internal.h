/* fs/journal/internal.h - the parts of one journal, for its own files only.
 *
 * Lock order: append_lock, then files.lock, then sync.lock; done and on_grow run under none.
 *   append_lock  who appends: batches, the current segment, its table, what is declared
 *   files.lock   what readers see (files.h)
 *   sync.lock    what is not durable yet, and who waits for it
 * Only the syncer thread changes which segment is current, only the freer takes one away.
 */
#ifndef WEIR_FS_JOURNAL_INTERNAL_H
#define WEIR_FS_JOURNAL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/journal/batches.h"
#include "fs/journal/files.h"
#include "fs/journal/journal.h"
#include "fs/journal/segment.h"
#include "fs/journal/segment_table.h"
#include "fs/journal/segpool.h"

enum {
    UNSYNCED_MAX = 32 << 20,  /* bytes of frames kept in memory until they are durable */
    WAITERS_MAX = 1 << 16,    /* answers that wait for the syncer */
    BACKGROUND_SYNC_MS = 200, /* frames nobody waits for are durable after about that */
    RESTART_PAUSE_MS = 1000,  /* between tries to begin a segment after all failed */
    APPEND_TRIES = 3,         /* of one image, each in another segment */
    PUBLISH_FILES_MAX = 1 << 16,
    CLOSE_FILES_MAX = 256 /* files closed by one frame: it fits a segment with its declarations */
};

/* Frames that are written by one write, kept until they are durable. */
struct image {
    struct image *next;
    char *data;
    size_t len, cap;
    size_t charged;   /* of UNSYNCED_MAX */
    uint32_t seq, at; /* where it was written */
};
struct image *image_new(size_t cap); /* NULL: no memory */
void image_free(struct image *img);
void image_free_list(struct image *list);
bool image_reserve(struct image *img, size_t more);

struct waiter {
    struct waiter *next;
    uint64_t position; /* is answered once this is durable */
    enum err_code code;
    journal_done done;
    void *ctx;
};

struct sync_state {
    pthread_t thread;
    bool is_running;
    pthread_mutex_t lock;       /* guards all below that is not atomic */
    pthread_cond_t wake;        /* the syncer: there is work */
    pthread_cond_t drained;     /* appenders: UNSYNCED_MAX has room again */
    struct image *first, *last; /* in order of position; all in the current segment */
    struct waiter *first_waiter, *last_waiter;
    size_t charged_bytes, waiting;
    uint64_t written;
    _Atomic uint64_t synced;          /* written under lock */
    uint64_t failed_after, failed_to; /* positions that will never be durable: (after, to] */
    unsigned waiting_for_room;
    bool move_wanted, stopping;
    _Atomic uint64_t syncs, synced_bytes;
    struct waiter *ready; /* to be answered; the syncer's own, as is why they failed */
    struct err why;
};

enum current_state {
    CURRENT_NONE, /* none could be begun yet, or the last one failed: `broken` says why */
    CURRENT_GOOD,
    CURRENT_POISONED /* a write or sync failed; the syncer moves what is not durable */
};

struct freer { /* append_lock */
    pthread_t thread;
    pthread_cond_t wake;
    bool is_running, stopping, is_woken;
    bool is_full; /* an append was refused for want of room */
    bool is_held; /* nothing is forgotten before journal_let_go */
};

struct journal {
    pthread_mutex_t epoch_lock; /* one journal_epoch at a time; before append_lock */
    struct journal_config cfg;  /* strings are copies; immutable */
    char *dir, *lost_found_dir;
    struct segpool *pool; /* NULL when read_only */

    pthread_mutex_t append_lock; /* guards down to `broken` */
    pthread_cond_t moved;        /* moves has changed */
    enum current_state state;
    struct segment *current;      /* changed by the syncer alone */
    uint32_t fresh_end;           /* where the current segment ended when it began */
    uint32_t void_seq, void_from; /* for the next header: the segment before, and its valid end */
    struct segment_table table;
    uint64_t mark; /* counts passes over streams and files, to meet each once in a pass */
    struct batches batches;
    uint64_t moves;      /* tries to begin another segment */
    unsigned beyond_max; /* who may pass max_bytes and the disk's reserve now: recovery, and frames
                            without lines, of which the ones that make room again are some */
    struct err broken;   /* of the last try that failed; code OK: it did not */
    uint64_t broken_ms;

    struct files files;
    struct map dropped; /* append_lock: by number; only its keys matter */
    struct sync_state sync;

    /* append_lock: */
    struct tracked *tracked;
    uint64_t covered; /* position up to which all stands durably in the index */
    struct freer freer;

    _Atomic uint64_t appended_bytes, batch_count, repeated_count, refused_count, poisoned_count;
    _Atomic uint64_t published_count, moved_bytes, freed_count, recycled_count, replaced_bytes;
};

/* ---- write.c: frames into the current segment; append_lock is held ---- */

/* Checksum the frames for where they go, write, and hand the image over to the syncer.  On failure
 * the segment is poisoned and the image stays the caller's. */
enum err_code journal_write_locked(struct journal *j, struct image *img, struct err *e);
/* An image of whole frames, ready but for their checksums, with the declarations it needs.
 * `table_need`: bytes that it will add to the segment's table.  On success the image is the
 * syncer's.  OK with *waited: nothing is written, the lock was released and there may be room. */
enum err_code journal_put_locked(struct journal *j, struct image *img, size_t table_need,
                                 bool *waited, struct err *e);
/* The same without waiting: OK with *is_full: nothing is written.  The state is CURRENT_GOOD. */
enum err_code journal_put_here_locked(struct journal *j, struct image *img, size_t table_need,
                                      bool *is_full, struct err *e);

/* Put one frame without a payload.  OK with *waited: nothing is written, look again. */
enum err_code journal_put_control_locked(struct journal *j, const struct frame *f, struct str tail,
                                         bool *waited, uint64_t *position, struct err *e);

/* Close open files by one frame, at most CLOSE_FILES_MAX; *waited as above (publish.c). */
enum err_code journal_close_locked(struct journal *j, struct jfile *const *files, size_t count,
                                   bool *waited, uint64_t *position, struct err *e);

/* A place in the journal that somebody has to know after it is durable: it follows the frame when
 * that is written again elsewhere. */
struct tracked {
    struct tracked *next;
    uint32_t seq, at;
};
void journal_track_locked(struct journal *j, struct tracked *t);
void journal_untrack_locked(struct journal *j, struct tracked *t);

/* ---- place.c: batches into files; append_lock is held ---- */

/* Choose places for the runs of a batch: *tail holds them in order of run. */
enum err_code journal_plan_locked(struct journal *j, const struct run_ref *first,
                                  size_t first_count, const struct run_ref *second,
                                  size_t second_count, struct buf *tail, struct err *e);
/* Show runs at the places of a last frame.  `grown` (may be NULL) gets the ids of the files.
 * Fails (NOMEM, CORRUPT: a place without its file) only where journal_plan_locked has not chosen
 * the places. */
enum err_code journal_show_locked(struct journal *j, const struct run_ref *refs, size_t count,
                                  struct str places, int64_t appended_us, struct buf *grown,
                                  struct err *e);

/* ---- segments.c: which segment is current; the syncer with append_lock held ---- */

/* Leave a segment that is full, poisoned or missing. */
void journal_move_locked(struct journal *j);

/* ---- free.c: which segments go ---- */

void freer_init(struct freer *f);
void freer_done(struct freer *f);
enum err_code freer_start(struct journal *j, struct err *e);
void freer_stop(struct journal *j);
void journal_wake_freer_locked(struct journal *j); /* something may be freed */
void journal_want_room_locked(struct journal *j);  /* something has to be */

/* ---- move.c: the freer, without locks ---- */

/* Move some of the live lines of a segment to the head, durably; `s` stays for as long as this
 * runs.  *left: there are more that can be moved. */
enum err_code journal_move_lines(struct journal *j, struct segment *s, bool *left, struct err *e);

/* ---- sync.c ---- */

enum err_code sync_start(struct journal *j, struct err *e);
void sync_stop(struct journal *j); /* everything is synced and answered first */
void sync_init(struct sync_state *s);
void sync_done(struct sync_state *s);
/* Wait until `bytes` fit below UNSYNCED_MAX, and take them. */
void sync_charge(struct journal *j, size_t bytes);
void sync_uncharge(struct journal *j, size_t bytes);
void sync_push(struct journal *j, struct image *img); /* written up to its end */
/* Ask the syncer to move to another segment, or note that it has; append_lock is held. */
void sync_want_move(struct journal *j, bool wanted);
/* Call done once `position` is durable; perhaps at once. */
void sync_answer(struct journal *j, uint64_t position, journal_done done, void *ctx);
/* Block until `position` is durable. */
enum err_code sync_wait(struct journal *j, uint64_t position, struct err *e);
/* Everything up to position is durable: free it; who waits for it is answered by sync_flush. */
void sync_settle(struct journal *j, uint64_t position);
/* Nothing after synced will be durable: who waits for it gets ERR_IO. */
void sync_fail(struct journal *j);
void sync_flush(struct journal *j); /* the syncer, without a lock */
/* What has been handed over and is not durable; the list is the caller's. */
struct image *sync_take_images(struct journal *j);

/* ---- replay.c, recover.c ---- */

enum err_code journal_recover(struct journal *j, struct journal_recovery *found, struct err *e);

#endif
