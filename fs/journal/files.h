/* fs/journal/files.h - what the journal holds, seen by file: streams, files, extents, segments.
 *
 * Good for: mapping (stream, hour) to its open file and (file, offset) to bytes of a segment.
 * Owner: one writer, the holder of the journal's append lock (recovery: the opening thread); it
 * may read without `lock` and changes under it.  Readers take `lock` shared, for short.
 * Streams live as long as the journal; a file until it is forgotten, a segment until nobody reads
 * from it.
 * While the journal is replayed (is_replaying) lines are gathered in any order, and some twice;
 * files_settle puts them into order.
 */
#ifndef WEIR_FS_JOURNAL_FILES_H
#define WEIR_FS_JOURNAL_FILES_H

#include <pthread.h>

#include "base/hash.h"
#include "fs/journal/frame.h"
#include "fs/journal/journal.h"
#include "fs/journal/segment.h"

#define JOURNAL_STREAMS_MAX (1u << 20)
#define JOURNAL_FILES_MAX (1u << 22) /* that are not forgotten, not all that ever were */
#define EXTENTS_PER_CHUNK 1024

struct extent {
    uint64_t shown_at; /* offset in the file, as shown */
    uint64_t place;    /* offset it was given; larger where bytes before it were lost */
    uint32_t seq, at;  /* segment and place of the bytes */
    uint32_t len, rows;
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
    uint32_t number; /* in the journal, from 1; another's once this one is forgotten */
    const struct jstream *stream;
    int32_t hour;
    uint32_t declared_in, table_index; /* append lock; index in that segment's table */
    uint32_t listed_in;                /* the newest segment whose list of files has it */
    uint64_t mark;                     /* as of a stream */
    uint64_t next_place;               /* offset for the next run; append lock */
    uint64_t planned_place;            /* the same while a batch is being placed */
    uint32_t planned_extents;          /* how many that batch adds */
    struct ulid part;                  /* that has or will have its rows; append lock */
    uint64_t published;                /* position of the record that says so, 0 = none */
    uint64_t published_size;           /* recovery: its size by that record */
    /* files.lock: */
    uint64_t size, rows;
    int64_t min_ts_us, max_ts_us, first_append_us, last_append_us;
    bool has_facts; /* the four are set */
    bool is_open, is_replaced;
    bool was_replayed;    /* replaced before the start: its readers may come back */
    uint64_t replaced_ms; /* of the monotonic clock */
    struct jfile *next_replaced, *prev_replaced;
    uint32_t pins[JOURNAL_READER_COUNT];
    struct extents extents;
};

struct file_entry {
    struct ulid id;
    struct jfile *file; /* NULL: forgotten */
};

struct files {
    pthread_rwlock_t lock;
    uint64_t roll_bytes; /* immutable; 0: files are closed by the gateway alone */
    struct map streams, by_id, by_number, open; /* open: by stream number and hour */
    struct file_entry *list;                    /* in order of id, but while replaying */
    size_t count, cap, forgotten_entries;
    struct jfile *first_replaced, *last_replaced; /* in the order they were */
    uint32_t next_number;
    struct segment **segments; /* ascending seq */
    size_t segment_count, segment_cap;
    uint64_t extent_count, row_count, shown_count, replaced_count;
    bool is_replaying;
};

void files_init(struct files *f); /* is_replaying */
void files_done(struct files *f); /* closes the segments too */

/* ---- streams and files ---- */

/* NULL: no memory, or over a limit. */
struct jstream *files_stream(struct files *f, const struct stream_decl *d); /* made when new */
struct jstream *files_stream_find(const struct files *f, uint64_t number);
/* The open file of a stream and hour, made when there is none, or when it has grown to roll_bytes:
 * then it is closed, as it is by the newer one's declaration when the journal is replayed. */
struct jfile *files_open_for(struct files *f, const struct jstream *s, int32_t hour);
struct jfile *files_open_find(const struct files *f, uint64_t stream, int32_t hour);
/* Recovery: as declared, once; a newer file of the same stream and hour closes the older, one with
 * the same number takes it over. */
struct jfile *files_declare(struct files *f, const struct file_decl *d);
struct jfile *files_by_number(const struct files *f, uint32_t number);
struct jfile *files_by_id(const struct files *f, const struct ulid *id);
void files_close(struct files *f, struct jfile *file);
/* `lock` is held for writing: */
/* The rows of a closed file are in a part: it is no longer listed. */
void files_replace_locked(struct files *f, struct jfile *file, uint64_t now_ms);
/* Free a file; nothing but the maps and lists here may point to it. */
void files_forget_locked(struct files *f, struct jfile *file);
void files_tidy_locked(struct files *f); /* after some were forgotten; the list moves together */

/* Recovery, at its end: what was gathered is shown, each place once; files that can no longer be
 * read as they were are forgotten.  False: no memory. */
bool files_settle(struct files *f, uint64_t now_ms);

/* ---- extents.c: which bytes of which segment ---- */

/* Bytes of one run and their place in their file. */
struct run_place {
    uint32_t seq, at, len, rows;
    uint64_t offset;
};
/* Room for more extents, so that files_show cannot fail; `in`: the segment that will hold them. */
bool files_reserve(struct files *f, struct jfile *file, uint32_t more);
bool files_reserve_in(struct files *f, uint32_t seq, size_t more);
/* Facts of what is added; merged with the file's own. */
struct shown_facts {
    uint64_t rows;
    int64_t min_ts_us, max_ts_us, first_append_us, last_append_us;
};
/* Show one run of bytes; false when it is shown already.  The caller holds f->lock for writing and
 * has reserved. */
bool files_show_locked(struct files *f, struct jfile *file, const struct run_place *run);
void files_add_facts_locked(struct files *f, struct jfile *file, const struct shown_facts *facts);
/* The places up to `end` were given out, though what stood there may be lost. */
void files_pass_place(struct jfile *file, uint64_t end);

void extents_free(struct extents *x);
struct extent *extent_at(const struct extents *x, size_t i);
/* The extent of exactly this place, or NULL; not while replaying. */
struct extent *extent_of_place(const struct extents *x, uint64_t place);
/* Put what was gathered in order, each place once, and count its shown offsets. */
bool extents_settle(struct extents *x, uint64_t *size, uint64_t *rows);

/* Bytes [from, from + len) of segment old_seq now stand in new_seq at `to`. */
struct relocation {
    uint32_t old_seq, from, len, new_seq, to;
};
bool relocate(const struct relocation *list, size_t count, uint32_t *seq, uint32_t *at);
/* All are of the same old_seq, and both segments are known; false: no memory, nothing changed. */
bool files_relocate(struct files *f, const struct relocation *list, size_t count);
/* One extent of a file that is not replaced. */
void files_move_extent_locked(struct files *f, struct jfile *file, struct extent *x, uint32_t seq,
                              uint32_t at);
/* Count the bytes of a file for (add) or no longer for its segments, as live or as kept. */
void files_count_bytes_locked(struct files *f, const struct jfile *file, bool is_kept, bool add);

/* ---- segments ---- */

bool files_add_segment(struct files *f, struct segment *s); /* takes the reference on success */
struct segment *files_segment(const struct files *f, uint32_t seq); /* NULL: none */
/* Nothing may point into it; the list's reference is the caller's to drop. */
void files_remove_segment(struct files *f, struct segment *s);

/* ---- readers ---- */

enum err_code files_get(struct files *f, const struct ulid *id, struct journal_file *out,
                        struct err *e);
enum err_code files_pin(struct files *f, const struct ulid *id, enum journal_reader kind,
                        struct err *e);
void files_unpin(struct files *f, const struct ulid *id, enum journal_reader kind);
/* Copies up to `max` files that are shown and not replaced, those after *after (all zeros: from the
 * first), which is set to the last one looked at; 0 = the end. */
size_t files_page(struct files *f, struct ulid *after, struct journal_file *out, size_t max);
struct piece { /* bytes to be read from a segment, with a reference to it */
    struct segment *segment;
    uint32_t at, len;
};
/* The pieces that hold [off, off + n), at most `max` of them, cut at the shown size; to be given
 * back with pieces_done. */
enum err_code files_map(struct files *f, const struct ulid *id, uint64_t off, size_t n,
                        struct piece *out, size_t max, size_t *count, struct err *e);
void pieces_done(struct piece *pieces, size_t count);

#endif
