/* fs/journal/segment_scan.h - reads the frames of one segment in order, past what is damaged.
 *
 * Good for: recovery and checks.  Owner: one thread; memory is one window of the file, larger only
 * for a larger frame.  Errors: IO, NOMEM; damage is no error but an item.
 */
#ifndef WEIR_FS_JOURNAL_SEGMENT_SCAN_H
#define WEIR_FS_JOURNAL_SEGMENT_SCAN_H

#include "fs/journal/frame.h"

enum scan_kind {
    SCAN_FRAME, /* header and line table are good */
    SCAN_BAD,   /* [at, end) holds no good frame, though not only zeros, or a good one follows */
    SCAN_END    /* zeros from `at` on */
};
struct scan_item {
    enum scan_kind kind;
    uint32_t at, end;
    struct frame frame; /* valid until the next call */
    struct str bytes;   /* of the whole frame, likewise */
    bool is_damaged;    /* a frame with lines, or a tail, that fail their checksum */
    bool is_last;       /* SCAN_BAD: no good frame follows */
};

struct scan {
    int fd;
    uint32_t seq, limit, at;
    bool check_lines;
    char *window;
    size_t window_cap, window_len;
    uint32_t window_at;
};
/* Frames in [SEGMENT_HEADER_LEN, limit) of the open segment. */
void segment_scan_init(struct scan *s, int fd, uint32_t seq, uint32_t limit, bool check_lines);
void scan_done(struct scan *s);
enum err_code scan_next(struct scan *s, struct scan_item *out, struct err *e);

#endif
