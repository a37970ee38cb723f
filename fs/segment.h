/* fs/segment.h - one file of the journal.
 *
 * Good for: appending frames in order, reading any of them back.  Not for: deciding what a frame
 * means.
 * Owner: who appends holds the journal's append lock; the descriptor is open for as long as the
 * journal is, so any thread may read bytes below `end`, which never change.
 * Units: offsets and sizes in bytes.  Errors: IO, FULL, CORRUPT.  Format: segment.c.
 */
#ifndef WEIR_FS_SEGMENT_H
#define WEIR_FS_SEGMENT_H

#include <limits.h>

#include "base/bytes.h"
#include "base/err.h"

#define SEGMENT_HEADER_LEN 4096
#define SEGMENT_FOOTER_LEN 32
#define SEGMENT_BYTES_MIN (64u << 10)
#define SEGMENT_BYTES_MAX (1u << 30)

struct segment {
    uint32_t seq;        /* immutable; also the generation that salts the frames */
    int fd;              /* immutable */
    uint32_t size_bytes; /* immutable; where frames must end */
    uint32_t end;        /* where the next frame goes; append lock */
};

struct segment_header {
    uint32_t size_bytes, seq;
    uint32_t prev_seq, prev_end; /* frames of prev_seq at or past prev_end are void; 0 = no such */
    uint64_t epoch;              /* the newest given out */
    uint64_t next_serial;
    uint32_t next_file;
    int64_t begun_us;
};

/* "<dir>/<seq>.wal" */
void segment_path(const char *dir, uint32_t seq, char dst[PATH_MAX]);
bool segment_parse_name(const char *name, uint32_t *seq);

enum err_code segment_write_header(int fd, const struct segment_header *h, struct err *e);
/* NOTFOUND: the header is all zeros, as in a prepared file; CORRUPT: it is neither. */
enum err_code segment_read_header(int fd, uint32_t seq, struct segment_header *h, struct err *e);

/* The footer tells where the table frame stands; written last, read first. */
enum err_code segment_write_footer(const struct segment *s, uint32_t table_at, uint32_t table_len,
                                   struct err *e);
/* False when there is none. */
bool segment_read_footer(const struct segment *s, uint32_t *table_at, uint32_t *table_len);

#endif
