/* fs/journal/segment.h - one file of the journal.
 *
 * Good for: appending frames in order, reading any of them back.  Not for: deciding what a frame
 * means.
 * Owner: who appends holds the journal's append lock; any thread that holds a reference may read
 * bytes below `end`, which never change.  The last reference closes the descriptor.
 * Units: offsets and sizes in bytes.  Errors: IO, FULL, CORRUPT.  Format: segment.c.
 */
#ifndef WEIR_FS_JOURNAL_SEGMENT_H
#define WEIR_FS_JOURNAL_SEGMENT_H

#include <limits.h>
#include <stdatomic.h>

#include "base/bytes.h"
#include "base/err.h"

#define SEGMENT_HEADER_LEN 4096
#define SEGMENT_FOOTER_LEN 32
#define SEGMENT_BYTES_MIN (64u << 10)
#define SEGMENT_BYTES_MAX (1u << 30)

enum segment_place {
    SEGMENT_LINKED,
    SEGMENT_LEAVING, /* its name is gone, its directory not yet synced */
    SEGMENT_GONE     /* only readers of replaced files still need it */
};

struct segment {
    uint32_t seq;             /* immutable; also the generation that salts the frames */
    int fd;                   /* immutable until the last reference is gone */
    uint32_t size_bytes;      /* immutable; where frames must end */
    uint64_t counted_bytes;   /* immutable; what it counts for in the pool */
    uint32_t end;             /* where the next frame goes; append lock */
    uint64_t published_end;   /* position after its newest publish record, 0 = none; append lock */
    enum segment_place place; /* the freer's, as are the next three */
    bool is_renamed;          /* to segment_free_path */
    uint64_t lingers_from_ms; /* since when only readers need it */
    size_t next_moved;        /* index in `files`: where moving goes on */
    _Atomic uint32_t refs;
    /* files.lock of the journal, and its append lock: */
    uint64_t live_bytes; /* of frames with lines of files that are not replaced */
    uint64_t kept_bytes; /* the same of replaced files that are not forgotten */
    uint32_t *files;     /* numbers of the files that have lines here, some perhaps twice */
    size_t file_count, file_cap;
};
struct segment *segment_new(uint32_t seq, int fd, uint32_t size_bytes); /* NULL: no memory */
void segment_ref(struct segment *s);
void segment_unref(struct segment *s); /* closes and frees with the last one; NULL is fine */

struct segment_header {
    uint32_t size_bytes, seq;
    uint32_t prev_seq, prev_end; /* frames of prev_seq at or past prev_end are void; 0 = no such */
    uint64_t epoch;              /* the newest given out */
    uint64_t next_serial;
    uint32_t next_file;
    int64_t begun_us;
    uint32_t older_seq; /* what the file was before: its frames may stand behind ours; 0 = none */
};

/* "<dir>/<seq>.wal" */
void segment_path(const char *dir, uint32_t seq, char dst[PATH_MAX]);
bool segment_parse_name(const char *name, uint32_t *seq);
/* "<dir>/<seq>.free": no longer of the journal, to become another segment */
void segment_free_path(const char *dir, uint32_t seq, char dst[PATH_MAX]);
bool segment_parse_free_name(const char *name);

enum err_code segment_write_header(int fd, const struct segment_header *h, struct err *e);
/* NOTFOUND: the header is all zeros, as in a prepared file; CORRUPT: it is neither. */
enum err_code segment_read_header(int fd, uint32_t seq, struct segment_header *h, struct err *e);

/* The footer tells where the table frame stands; written last, read first. */
enum err_code segment_write_footer(const struct segment *s, uint32_t table_at, uint32_t table_len,
                                   struct err *e);
/* False when there is none. */
bool segment_read_footer(const struct segment *s, uint32_t *table_at, uint32_t *table_len);

#endif
