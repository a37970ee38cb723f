/* fs/journal/segment_table.h - what one segment holds, collected while it is written.
 *
 * Good for: the table frame at a segment's end, so that a start need not read its frames.
 * Owner: the holder of the journal's append lock.  Format: segment_table.c.
 */
#ifndef WEIR_FS_JOURNAL_SEGMENT_TABLE_H
#define WEIR_FS_JOURNAL_SEGMENT_TABLE_H

#include "fs/journal/batches.h"

struct table_entry { /* a file that is declared in the segment */
    uint32_t file;
    struct shown_facts facts; /* of what was shown while the segment was current */
};

struct segment_table {
    uint32_t seq;
    bool is_broken; /* does not tell all: the segment must be scanned */
    const struct jstream **streams;
    size_t stream_count, stream_cap;
    struct table_entry *entries;
    size_t entry_count, entry_cap;
    struct buf extents, publishes;
    size_t bytes; /* of the encoded table so far, without open batches */
};

void table_init(struct segment_table *t);
void table_done(struct segment_table *t);
void table_reset(struct segment_table *t, uint32_t seq);
/* What each extent and each declaration adds to `bytes`. */
#define TABLE_EXTENT_LEN 32
#define TABLE_FILE_LEN (FILE_DECL_LEN + 40)
#define TABLE_PUBLISH_LEN 8

/* Mark as declared in this segment. */
void table_add_stream(struct segment_table *t, struct jstream *s);
void table_add_file(struct segment_table *t, struct jfile *f);
/* The file has been added. */
void table_add_extent(struct segment_table *t, const struct jfile *f, const struct run_place *run);
/* What stood at the file's last places is lost; the next come after them. */
void table_add_passed(struct segment_table *t, const struct jfile *f);
void table_add_publish(struct segment_table *t, uint32_t at, uint32_t len);
void table_add_facts(struct segment_table *t, const struct jfile *f,
                     const struct shown_facts *facts);

/* The body of the TABLE frame, without files that were forgotten since; fails (buf_ok) when it is
 * larger than out->max. */
void table_encode(const struct segment_table *t, const struct files *files, const struct batches *b,
                  uint64_t synced, struct buf *out);
/* Is it of this version?  Else the segment must be scanned. */
bool table_is_known(struct str body);
/* Was what stands there in that segment shown while the table's own was written? */
bool table_shows(struct str body, uint32_t seq, uint32_t at);
/* Apply a body, whose checksum was good, to what has been recovered so far; false: no memory.
 * *publishes is a view: where the publish records stand, which are the caller's to read. */
bool table_apply(struct str body, struct files *files, struct batches *b, struct str *publishes);

#endif
