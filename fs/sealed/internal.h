/* fs/sealed/internal.h - the parts of the store of sealed files, for its own files only. */
#ifndef WEIR_FS_SEALED_INTERNAL_H
#define WEIR_FS_SEALED_INTERNAL_H

#include <pthread.h>

#include "fs/sealed/files.h"
#include "fs/sealed/sealed.h"

#define KEEPER_MS 1000           /* how often the index is made durable */
#define CHECKED_SLOTS (1u << 18) /* 4 MiB, touched as it is used */

/* A part on its way from staging into the index, by one thread.  One whose index transaction failed
 * after the journal had its record is stuck: it owns what it needs to be tried again. */
struct flight {
    struct flight *next; /* (lock) */
    struct ulid part;
    uint64_t floor;             /* its record lies after this journal position */
    bool is_stuck;              /* (lock) */
    struct buf record;          /* its publish record */
    struct journal_file *files; /* of one that was stranded, until it is shown: only the ids */
    size_t file_count;
};

struct sealed {
    struct sealed_config cfg; /* its strings are ours; journal, registry, status: set at start */
    struct sealed_files files;
    struct parts *index;
    char *scratch_dir; /* read-only: where a copy of the index stands; else NULL */

    pthread_mutex_t lock;   /* never held during I/O */
    pthread_cond_t changed; /* a flight has ended */
    pthread_cond_t wake;    /* keeper and scrubber: there is something to do, or they stop */
    struct flight *flights; /* (lock) */
    uint64_t newest;        /* (lock) the newest record's position in the journal */
    uint64_t covered;       /* (lock) what the journal was told of last */
    struct ulid *checked;   /* (lock) [hash of id % CHECKED_SLOTS]: found sound since the start */
    struct sealed_reader *oldest, *newest_reader; /* (lock) in order of their numbers */
    uint64_t last_reader;                         /* (lock) number of the last that began */
    struct doomed *doomed, *last_doomed;          /* (lock) drop.c */
    size_t doomed_count;                          /* (lock) */
    bool stopping;                                /* (lock) */
    bool has_keeper, has_scrubber;
    pthread_t keeper, scrubber;

    struct apply_batch *batch; /* of the opening thread, until sealed_start */
};

/* Parts that go into the index by one transaction. */
#define BATCH_PARTS 256
#define BATCH_BYTES ((size_t)16 << 20)
#define BATCH_MEMORY_MAX ((size_t)256 << 20)
struct apply_batch {
    struct arena arena; /* what the parts and their records point to */
    struct part list[BATCH_PARTS];
    struct journal_publish records[BATCH_PARTS]; /* of those that the journal tells of */
    uint64_t positions[BATCH_PARTS];             /* the same: where their records end */
    size_t count;
    uint64_t position;
};
/* The part's memory is the batch's arena, or stays until the flush.  Flushes when it is full. */
enum err_code sealed_batch_add(struct sealed *s, const struct part *p,
                               const struct part_column *columns, size_t count, struct err *e);
enum err_code sealed_batch_flush(struct sealed *s, struct err *e);
void sealed_batch_free(struct sealed *s);
/* The last flush; what the index has no room for is stuck, where the config says so. */
enum err_code sealed_apply_rest(struct sealed *s, struct err *e);
/* Of a file without a record: the journal still has what it was made of. */
bool sealed_was_never_published(struct sealed *s, const struct sealed_found *found);

/* The journal has a record that ends there. */
void sealed_note_position(struct sealed *s, uint64_t position);
/* Everything up to it is in the index. */
uint64_t sealed_covered_locked(const struct sealed *s);
/* The same, were the newest record at `position`. */
uint64_t sealed_held_back(struct sealed *s, uint64_t position);
/* Put parts, their columns having been put before, with a position that is safe to store. */
enum err_code sealed_put(struct sealed *s, const struct part *list, size_t count, uint64_t position,
                         struct err *e);
void sealed_count(struct sealed *s, enum status_counter c, int64_t add);
void sealed_report(struct sealed *s, const struct err *e);

/* publish.c: flights that are stuck, once more. */
void sealed_retry_stuck(struct sealed *s);
void sealed_free_flights(struct sealed *s);
/* A start finds a record that the index has no room for: a flight that is stuck from the beginning,
 * its record past s->newest.  What is copied is the flight's. */
enum err_code sealed_strand(struct sealed *s, const struct journal_publish *p, struct err *e);
/* When journal and registry are there, and before other threads: their files are listed, their
 * parts are hidden.  FULL: more than may be hidden, or lines that the journal no longer has. */
enum err_code sealed_show_stuck(struct sealed *s, struct err *e);
bool sealed_is_in_flight(const struct ulid *part, void *sealed);

/* drop.c: parts of deleted streams that nobody reads any more. */
bool sealed_has_ripe_locked(const struct sealed *s);
void sealed_drop_ripe(struct sealed *s);
void sealed_free_doomed(struct sealed *s); /* the next start drops them */

/* keeper.c */
enum err_code sealed_keeper_start(struct sealed *s, struct err *e);
void sealed_keeper_stop(struct sealed *s); /* after a last round; s->stopping is set */

/* scrub.c: one thread reads every file now and then. */
#define SCRUB_BYTES_PER_SEC ((uint64_t)8 << 20)
#define SCRUB_FIRST_SEC 600        /* after the start */
#define SCRUB_PASS_SEC (24 * 3600) /* from the end of a pass to the next */
/* One pass over all parts; false: it was ended in the middle. */
bool sealed_scrub_pass(struct sealed *s);
enum err_code sealed_scrubber_start(struct sealed *s, struct err *e);
void sealed_scrubber_stop(struct sealed *s); /* s->stopping is set */

/* Compares a file with its sum; damage is counted and told. */
enum err_code sealed_check_file(struct sealed *s, const struct part *p, int fd,
                                enum sealed_check how, struct err *e);

#endif
