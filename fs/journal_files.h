/* fs/journal_files.h - what the journal holds, seen by file: streams, files, extents, segments.
 *
 * Good for: mapping (stream, hour) to its open file and (file, offset) to bytes of a segment.
 * Owner: one writer, the holder of the journal's append lock (recovery: the opening thread); it
 * may read without `lock` and changes under it.  Readers take `lock` shared, for short.
 * Streams and files live as long as the journal, so pointers and names stay good.
 */
#ifndef WEIR_FS_JOURNAL_FILES_H
#define WEIR_FS_JOURNAL_FILES_H

#include <pthread.h>

#include "base/hash.h"
#include "fs/frame.h"
#include "fs/journal.h"
#include "fs/segment.h"

#define JOURNAL_STREAMS_MAX (1u << 20)
#define JOURNAL_FILES_MAX (1u << 22)
#define EXTENTS_PER_CHUNK 1024

struct extent {
    uint64_t shown_at;     /* offset in the file, as shown */
    uint32_t seq, at, len; /* segment and place of the bytes */
};

/* A list that grows in chunks; a short list is one small chunk that doubles. */
struct extents {
    struct extent **chunks;
    size_t count;
    uint32_t chunk_count, chunk_cap;
    uint32_t first_cap; /* of the first chunk, up to EXTENTS_PER_CHUNK */
};

struct jstream {
    uint64_t number;
    struct str org, name;
    enum stream_type type;
    uint32_t declared_in; /* the newest segment that declares it; append lock */
    uint64_t mark;        /* journal.mark when it was last met; append lock */
};

struct jfile {
    struct ulid id;
    uint32_t number; /* in the journal, from 1 */
    const struct jstream *stream;
    int32_t hour;
    uint32_t declared_in, table_index; /* append lock; index in that segment's table */
    uint64_t mark;                     /* as of a stream */
    uint64_t next_place;               /* offset for the next run; append lock */
    uint64_t planned_place;            /* the same while a batch is being placed */
    uint32_t planned_extents;          /* how many that batch adds */
    struct ulid part;                  /* that has or will have its rows; append lock */
    uint64_t published;                /* position of the record that says so, 0 = none */
    /* files.lock: */
    uint64_t size, rows;
    int64_t min_ts_us, max_ts_us, first_append_us, last_append_us;
    bool is_open, is_replaced;
    uint32_t pins[JOURNAL_READER_COUNT];
    struct extents extents;
};

struct files {
    pthread_rwlock_t lock;
    uint64_t roll_bytes; /* immutable; 0: files are closed by the gateway alone */
    struct map streams, by_id, open; /* keys: stream number; id; stream number and hour */
    struct jfile **list;             /* in order of id; index = number - 1 - until ordered */
    struct jfile **by_number;        /* [number - 1], may hold NULL */
    size_t count, cap, number_cap;
    uint32_t next_number;
    struct segment **segments; /* ascending seq */
    size_t segment_count, segment_cap;
    uint64_t extent_count, row_count, shown_count, replaced_count;
};

void files_init(struct files *f);
void files_done(struct files *f); /* closes the segments too */

/* NULL: no memory, or over a limit. */
struct jstream *files_stream(struct files *f, const struct stream_decl *d); /* made when new */
struct jstream *files_stream_find(const struct files *f, uint64_t number);
/* The open file of a stream and hour, made when there is none, or when it has grown to roll_bytes:
 * then it is closed, as it is by the newer one's declaration when the journal is replayed. */
struct jfile *files_open_for(struct files *f, const struct jstream *s, int32_t hour);
struct jfile *files_open_find(const struct files *f, uint64_t stream, int32_t hour);
/* Recovery: as declared, once; a newer file of the same stream and hour closes the older. */
struct jfile *files_declare(struct files *f, const struct file_decl *d);
struct jfile *files_by_number(const struct files *f, uint32_t number);
void files_close(struct files *f, struct jfile *file);
struct jfile *files_by_id(const struct files *f, const struct ulid *id);
/* Its rows are in a part: it is closed, and no longer listed. */
void files_replace(struct files *f, struct jfile *file);
/* Recovery, at its end: order the list by id and seed later ids. */
void files_order(struct files *f);

/* Room for more extents, so that files_show cannot fail. */
bool files_reserve(struct files *f, struct jfile *file, uint32_t more);
/* Facts of what is added; added to the file's own. */
struct shown_facts {
    uint64_t rows;
    int64_t min_ts_us, max_ts_us, first_append_us, last_append_us;
};
/* Show one run of bytes whose place is `offset`; false when it is shown already.  The caller holds
 * f->lock for writing and has reserved. */
bool files_show_locked(struct files *f, struct jfile *file, uint32_t seq, uint32_t at, uint32_t len,
                       uint64_t offset);
void files_add_facts_locked(struct files *f, struct jfile *file, const struct shown_facts *facts);

/* Bytes [from, from + len) of segment old_seq now stand in new_seq at `to`. */
struct relocation {
    uint32_t old_seq, from, len, new_seq, to;
};
bool relocate(const struct relocation *list, size_t count, uint32_t *seq, uint32_t *at);
void files_relocate(struct files *f, const struct relocation *list, size_t count);

bool files_add_segment(struct files *f, struct segment *s); /* takes ownership on success */
const struct segment *files_segment(const struct files *f, uint32_t seq); /* NULL: none */
void files_drop_segment(struct files *f, uint32_t seq); /* closes; nothing may point into it */

/* Readers. */
enum err_code files_get(struct files *f, const struct ulid *id, struct journal_file *out,
                        struct err *e);
enum err_code files_pin(struct files *f, const struct ulid *id, enum journal_reader kind,
                        struct err *e);
void files_unpin(struct files *f, const struct ulid *id, enum journal_reader kind);
/* Copies up to `max` files that are shown and not replaced, from *pos on; returns how many; 0 = the
 * end. */
size_t files_page(struct files *f, size_t *pos, struct journal_file *out, size_t max);
struct piece { /* bytes to be read from a descriptor */
    int fd;
    uint32_t at, len;
};
/* The pieces that hold [off, off + n), at most `max` of them, cut at the shown size. */
enum err_code files_map(struct files *f, const struct ulid *id, uint64_t off, size_t n,
                        struct piece *out, size_t max, size_t *count, struct err *e);

#endif
