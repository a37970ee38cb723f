/* fs/journal/frame.h - one frame of a journal segment: encoding, checking, and what its body holds.
 *
 * Good for: turning runs, declarations and places into bytes and back.  Not for: input or output.
 * A frame is valid at one offset of one segment only: its checksum is seeded with both, so that
 * old bytes of a recycled file, or a frame inside a payload, never pass.  The format stands at the
 * top of frame.c, the order of frames in a segment at the top of segment.c.
 * Thread safety: pure functions.
 */
#ifndef WEIR_FS_JOURNAL_FRAME_H
#define WEIR_FS_JOURNAL_FRAME_H

#include "base/ulid.h"
#include "fs/journal/batch.h"

#define FRAME_HEADER_LEN 112
#define FRAME_LINE_LEN 8   /* one entry of the line table */
#define FRAME_PLACE_LEN 16 /* one place in the tail of a batch's last frame */
#define FRAME_REQUEST_LEN 24

enum frame_kind {
    FRAME_DATA = 1, /* a run of lines of one stream and hour */
    FRAME_STREAM,   /* declares a stream; tail: struct stream_decl */
    FRAME_FILE,     /* declares a file; tail: struct file_decl, then its stream's declaration */
    FRAME_WORKERS,  /* tail: last numbers and answers of the workers */
    FRAME_EPOCH,    /* `batch.epoch` was given out */
    FRAME_CLOSE,    /* tail: u32 numbers of files that take no more lines */
    FRAME_SETTLE,   /* recovery: tail: places of what it saved; all other open batches are over */
    FRAME_TABLE,    /* tail: what the segment holds (segment_table.c) */
    FRAME_PUBLISH = 16, /* files are replaced by a part; tail: struct publish_body */
    FRAME_MOVED,        /* lines of file `batch.worker` at place `batch.number`, from a segment that
                           is to be freed */
    FRAME_REQUESTS,     /* tail: requests whose lines are in the journal, and their answers */
    FRAME_REFUSED,      /* a later part of attempt `serial` was refused: what it has of `batch` is
                           nobody's, unless more of it follows */
    FRAME_KIND_END
};
enum {
    FRAME_LAST = 1,   /* flag: the batch is complete with this frame; the tail has its places */
    FRAME_REQUEST = 2 /* flag, only with that: after the places stands the batch's request */
};
enum { ENCODING_NDJSON = 0 };

struct frame {
    enum frame_kind kind;
    uint8_t flags, encoding;
    struct batch_id batch;
    uint32_t part;
    uint64_t serial; /* of the attempt to append the batch; grows over the journal's life */
    uint32_t run;    /* counts the runs of the batch over all its parts */
    uint64_t stream;
    int32_t hour;
    uint64_t synced_to; /* position known durable when the frame was made */
    int64_t appended_us, min_ts_us, max_ts_us;
    uint32_t line_count, payload_len, tail_len;
    const char *lines, *payload, *tail; /* views, set by frame_decode */
    bool has_tail; /* the tail passes its checksum; else it is hidden: tail_len is 0 */
};

/* Positions in the journal: segment in the upper half, offset in the lower. */
static inline uint64_t frame_position(uint32_t seq, uint32_t offset)
{
    return (uint64_t)seq << 32 | offset;
}

/* Bytes of a whole frame: a multiple of 8. */
size_t frame_size(uint32_t line_count, size_t payload_len, size_t tail_len);
/* Where the payload stands in the frame. */
size_t frame_payload_at(uint32_t line_count);

/* Write header, line table, payload and tail into dst (frame_size bytes); frame_finish must follow.
 * The payload holds line_count whole lines and is read once. */
void frame_encode(char *dst, const struct frame *f, struct str payload, struct str tail);
/* The same with the line table as it stands: lines that are damaged stay so. */
void frame_copy(char *dst, const struct frame *f, const char *lines, struct str payload);
/* Give an encoded frame of a batch what is known only once it has its place in the batch. */
void frame_number(char *frame, uint64_t serial, uint32_t run);
/* Mark the last frame of a batch and append its tail, for which the bytes after the frame have
 * room; the frame had no tail before.  `flags`: FRAME_REQUEST or 0.  Returns the new length. */
size_t frame_append_tail(char *frame, struct str tail, int flags);
/* Undo that. */
void frame_drop_tail(char *frame);
/* Set synced_to and the checksum, for this place in the journal. */
void frame_finish(char *frame, uint64_t synced_to, uint32_t seq, uint32_t offset);

/* May a frame begin with these 8 bytes?  Much cheaper than to look further. */
bool frame_may_begin(uint64_t word);
/* Length of the frame whose header stands at `p`, if it could be one of at most `room` bytes;
 * else 0.  Nothing is verified yet. */
size_t frame_peek(const char *header, size_t room);
/* Checks shape and checksum of bytes.ptr[0, length); lines are not checked.  A DATA frame passes
 * with a bad tail, other kinds do not. */
bool frame_decode(struct str bytes, uint32_t seq, uint32_t offset, struct frame *out);
/* The same without the checksum, for frames that this process encoded and has not finished yet. */
bool frame_view(struct str bytes, struct frame *out);

/* Consecutive good lines of a frame. */
struct frame_stretch {
    uint32_t at; /* in the payload */
    uint32_t len, lines;
    uint32_t next_line, next_at; /* where the search goes on; zero to begin */
};
bool frame_next_stretch(const struct frame *f, struct frame_stretch *s);
bool frame_is_whole(const struct frame *f); /* every line passes, and the tail */

/* ---- bodies ---- */

struct place {
    uint32_t file; /* number, declared before */
    uint32_t len;  /* as shown */
    uint64_t offset;
};
void place_encode(char dst[FRAME_PLACE_LEN], const struct place *p);
struct place place_decode(const char src[FRAME_PLACE_LEN]);

/* The tail of a batch's last frame: its places, then its request if it has one. */
struct str frame_places(const struct frame *f);
bool frame_request(const struct frame *f, struct batch_request *out); /* false: it has none */
void request_encode(char dst[FRAME_REQUEST_LEN], const struct batch_request *r);
bool request_decode(const char src[FRAME_REQUEST_LEN], struct batch_request *r);

struct stream_decl {
    uint64_t number;
    enum stream_type type;
    struct str org, name;
};
#define STREAM_DECL_MAX (16 + 2 * NAME_MAX_BYTES + 8)
size_t stream_decl_encode(char dst[STREAM_DECL_MAX], const struct stream_decl *d);
/* *used: bytes read, a multiple of 8. */
bool stream_decl_decode(struct str body, struct stream_decl *d, size_t *used);

struct file_decl {
    uint32_t number;
    struct ulid id;
    uint64_t stream;
    int32_t hour;
    bool is_closed;
};
#define FILE_DECL_LEN 40
void file_decl_encode(char dst[FILE_DECL_LEN], const struct file_decl *d);
bool file_decl_decode(struct str body, struct file_decl *d);

/* Written twice, one frame right after the other (`part` 0 and 1), so that one damaged frame does
 * not bring back rows that are in a part already. */
struct publish_body {
    struct ulid part;
    uint32_t file_count;
    const struct ulid *files; /* views */
    const char *sizes;        /* per file u64: its shown bytes */
    struct str record;
};
#define PUBLISH_COPIES 2
#define PUBLISH_FILE_LEN 24
#define PUBLISH_FIXED_LEN 24
bool publish_decode(struct str body, struct publish_body *p);
void publish_encode_head(char dst[PUBLISH_FIXED_LEN], const struct ulid *part, uint32_t file_count,
                         uint32_t record_len);

struct worker_last { /* the newest batch of a worker, and what it was answered */
    uint64_t epoch, number;
    uint32_t worker;
    enum err_code answer;
};
#define WORKER_LAST_LEN 24
void worker_last_encode(char dst[WORKER_LAST_LEN], const struct worker_last *w);
bool worker_last_decode(const char src[WORKER_LAST_LEN], struct worker_last *w);

#endif
