/* fs/journal/journal.h - the one write-ahead journal of a node.
 *
 * Good for: durable staging of lines until their file is sealed.  Not for: more than one owner.
 * Owner: the fs process.  Threads: any number of FUSE workers append and read; one syncer thread
 * makes durable and answers; one preparer thread zero-fills or recycles segments ahead; one freer
 * thread forgets replaced files, frees segments and moves what pins them.
 * Units: sizes and offsets in bytes, times in microseconds since the epoch.
 * Errors: AGAIN (a part is missing, an older epoch, or a queue is full), FULL (WEIR_JOURNAL_MAX or
 * disk), INVALID, CORRUPT, IO.  Format: segment.c.  The states of a batch: batches.c.
 *
 * A file is the lines of one stream and hour under one id; the journal alone maps (stream, hour) to
 * its open file.  A file's bytes below its shown size never change.
 */
#ifndef WEIR_FS_JOURNAL_JOURNAL_H
#define WEIR_FS_JOURNAL_JOURNAL_H

#include "base/ulid.h"
#include "fs/journal/batch.h"

struct journal_publish;

struct journal_config {
    const char *dir;             /* <data>/journal */
    const char *lost_found_dir;  /* <data>/lost+found */
    uint64_t max_bytes;          /* WEIR_JOURNAL_MAX */
    uint64_t disk_reserve_bytes; /* refuse appends (FULL) when the disk has less free */
    uint32_t segment_bytes;      /* 64 MiB; tests use less */
    uint64_t roll_bytes; /* a file that has grown to this takes no more batches; 0 = never */
    bool fsync_disabled; /* ZO_WAL_FSYNC_DISABLED */
    bool node_died;      /* true: power cut or supervisor died: whole lines of torn batches are
                            kept; false: only the fs process died: torn batches are dropped */
    bool read_only;      /* replay in memory, change nothing (weir mount --read-only) */
    bool check_all;      /* every frame is read and checked, where a start trusts the tables */
    /* Called during journal_open for each damaged place: "torn" or "corrupt".  May be NULL. */
    void (*on_damage)(uint32_t segment, uint32_t from, uint32_t to, const char *kind, void *ctx);
    /* Called (from any thread, no journal lock held) when a file's shown size grew or a file began.
     */
    void (*on_grow)(const struct ulid *id, void *ctx);
    /* Called (from any thread, no lock held) when a replaced file was forgotten. */
    void (*on_forgotten)(const struct ulid *id, void *ctx);
    /* Called during journal_open, in order, for each publish record that is found; an error ends
     * the start.  NULL: none is wanted. */
    enum err_code (*on_published)(const struct journal_publish *p, uint64_t position, void *ctx,
                                  struct err *e);
    void *ctx;
    uint64_t mount;              /* whose requests are remembered (anchor.h); 0: none are */
    uint64_t covered;            /* journal position that the index covers at start */
    uint64_t replaced_keep_us;   /* WEIR_REPLACED_KEEP */
    uint64_t replaced_max_bytes; /* WEIR_REPLACED_MAX */
    bool hold_replaced; /* replaced files that are found wait for journal_let_go: who reads them is
                           not known yet */
};

struct journal_file { /* a copy; strings live in the journal for ever */
    struct ulid id;
    uint64_t stream;
    struct str org, name;
    enum stream_type type;
    int32_t hour;
    uint64_t size; /* shown bytes: always at a line end */
    uint64_t rows;
    int64_t min_ts_us, max_ts_us;
    int64_t first_append_us, last_append_us; /* wall clock */
    bool open;                               /* still taking lines */
    bool replaced;                           /* its rows are in a sealed part */
};

struct journal_recovery { /* what start found */
    uint64_t segments, frames, files, rows;
    uint64_t torn_bytes, torn_batches, corrupt_frames, corrupt_bytes;
    uint64_t took_us;
    struct err mend; /* code OK, or what could not be set aside, zeroed or kept: the disk is full or
                        failing; the journal is open and can be read */
};

struct journal;
enum err_code journal_open(const struct journal_config *cfg, struct journal **out,
                           struct journal_recovery *found, struct err *e);
/* Syncs, stops the threads, answers what waits; NULL is fine. */
void journal_close(struct journal *j);

/* Give out an epoch: `wanted` 0 = a new one; else one that was given out before: accepted again, or
 * ERR_STALE when it is older than the newest.  Durable before return; on a full disk only before
 * any batch of it is, so a `wanted` one may be newer than what is known. */
enum err_code journal_epoch(struct journal *j, uint64_t wanted, uint64_t *epoch, struct err *e);

/* Append one part.  `done` is called exactly once, perhaps before this returns, perhaps from the
 * syncer thread: ERR_OK once the part may be answered (for the last part: the batch is durable). */
typedef void (*journal_done)(enum err_code code, const struct err *e, void *ctx);
void journal_append(struct journal *j, const struct batch_part *part, journal_done done, void *ctx);
/* Are the lines of that request of the present mount in the journal?  Then *answer is what its
 * batch says that the write is answered. */
bool journal_request_find(struct journal *j, uint64_t number, enum err_code *answer);
/* No batch is taken for that stream any more: FORBIDDEN.  Not durable: the caller's to say again
 * after a start.  NOMEM. */
#define JOURNAL_DROPPED_MAX 1000000
enum err_code journal_drop_stream(struct journal *j, uint64_t number, struct err *e);
/* Everything shown before the call is durable after it (fsync of a file on the mount). */
enum err_code journal_sync(struct journal *j, struct err *e);

enum err_code journal_file_get(struct journal *j, const struct ulid *id, struct journal_file *out,
                               struct err *e); /* NOTFOUND */
/* All files, in order of id; fn returns false to stop; no journal lock is held during fn. */
typedef bool (*journal_file_visit)(const struct journal_file *f, void *ctx);
void journal_file_list(struct journal *j, journal_file_visit fn, void *ctx);
/* Only those whose ids are above *after. */
void journal_file_list_after(struct journal *j, const struct ulid *after, journal_file_visit fn,
                             void *ctx);
/* Read shown bytes: up to n from off, never past the shown size; *got may be short only there. */
enum err_code journal_read(struct journal *j, const struct ulid *id, uint64_t off, void *dst,
                           size_t n, size_t *got, struct err *e);
/* Close the open file of (stream, hour); stream 0 = of all.  The next record begins a new file.
 * Returns once every batch placed in them is complete. */
enum err_code journal_roll(struct journal *j, uint64_t stream, int32_t hour, struct err *e);

/* ---- publishing and freeing ----
 *
 *   open ──► closed ──► replaced ──► forgotten
 *       roll     publish        sweep: nobody reads it any more, or its time is over
 *
 * A file is not forgotten, and keeps its frames, before the index covers its publish record.
 * From then on they are needed by nobody but its readers.  A segment whose frames are all of
 * replaced files (or void) is freed, oldest first, once the index covers them and the publish
 * records in it: unlinked while a replaced file still reads from it, else recycled.  The few frames
 * of other files that pin the oldest segment are moved to the head: same file, same place. */

/* A durable record: part `part`, whose rows are those of `files`, has been sealed; `record` is the
 * caller's own and comes back at open (journal_config.on_published).  All files are closed and
 * known, or all are replaced by this part already (then it is OK and nothing is written). */
struct journal_publish {
    struct ulid part;
    const struct ulid *files;
    size_t file_count;
    struct str record; /* at most JOURNAL_RECORD_MAX */
};
#define JOURNAL_RECORD_MAX (4u << 20)
/* *position: journal position after the record, to be stored with the index (parts_put).  When it
 * returns OK the files are replaced: journal_file_list leaves them out, journal_file_get still
 * finds them until they are forgotten.  INVALID, NOTFOUND: no record was tried, as files are in
 * another part or not known. */
enum err_code journal_publish(struct journal *j, const struct journal_publish *p,
                              uint64_t *position, struct err *e);
/* Everything up to `position` stands durably in the index: segments below may be freed. */
void journal_covered(struct journal *j, uint64_t position);

/* Readers of a file: an open handle, or a snapshot.  Counted; a file that is pinned is not
 * forgotten (for a handle: until keep_us after it was replaced).  NOTFOUND when it is forgotten. */
enum journal_reader { JOURNAL_READER_HANDLE, JOURNAL_READER_SNAPSHOT, JOURNAL_READER_COUNT };
enum err_code journal_pin(struct journal *j, const struct ulid *id, enum journal_reader kind,
                          struct err *e);
void journal_unpin(struct journal *j, const struct ulid *id, enum journal_reader kind);

/* Close files, with one sync for all; what is closed or unknown already is left as it is.  Returns
 * once every batch placed in them is complete. */
enum err_code journal_roll_files(struct journal *j, const struct ulid *ids, size_t count,
                                 struct err *e);
/* The same for one; *out is what it holds for good.  NOTFOUND: there is no such file. */
enum err_code journal_roll_file(struct journal *j, const struct ulid *id, struct journal_file *out,
                                struct err *e);

/* Those who read replaced files from before the start have pinned them. */
void journal_let_go(struct journal *j);

struct journal_stats {
    uint64_t segments, bytes_used, bytes_max, appended_bytes, synced_bytes;
    uint64_t bytes_free; /* at least so many can be appended before it is full */
    uint64_t batches, batches_repeated, batches_refused, syncs, files, rows, extents;
    uint64_t poisoned_segments, waiting;
    uint64_t published, moved_bytes, freed_segments, recycled_segments;
    uint64_t replaced_files, replaced_bytes; /* of segments kept for their readers alone */
};
void journal_stats(struct journal *j, struct journal_stats *out);

#endif
