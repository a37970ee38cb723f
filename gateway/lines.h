/* gateway/lines.h - a request's records of one stream made into normalised lines, kept in runs.
 *
 * lines_begin, then lines_add_json or lines_add_ndjson with a whole body; the lines stand in `out`
 * in the order of the records, and `segments` says which stretch of it belongs to which hour.  Past
 * LINES_MAX bytes `full` is called, which stores or discards what there is and calls lines_clear.
 * Nothing here knows of meta or the journal; new fields and wider types are noted in `keys`.
 * Owner: one thread.  A struct lines may be used for one request after the other.
 */
#ifndef WEIR_GATEWAY_LINES_H
#define WEIR_GATEWAY_LINES_H

#include "gateway/flatten.h"
#include "gateway/timestamp.h"

#define LINES_MAX (15u << 20) /* bytes of lines that gather before `full` is called: a batch */
#define SEGMENTS_MAX 8192     /* the same for changes of the hour */

struct line_segment {
    int32_t hour;
    uint32_t lines;
    size_t at, len; /* in out */
    int64_t min_us, max_us;
};

struct row_ids;
struct lines_rules {
    struct timestamp_window window;
    unsigned flatten_level, columns_max;
    size_t line_max_bytes; /* with its '\n' */
    /* With room reserved when the stream keeps its records as they came; NULL: it does not. */
    struct row_ids *row_ids;
};

struct lines;
typedef enum err_code (*lines_full)(struct lines *l, void *ctx, struct err *e);

struct lines {
    struct keys keys;
    struct flatten flatten;
    struct buf out;
    struct line_segment *segments;
    size_t segment_count;
    struct lines_rules rules;
    bool store_original; /* the stream wants each record also as it came, and an id of its own */
    uint64_t successful, failed;
    char reason[ERR_MSG_MAX]; /* of the last failed record */
};

enum err_code lines_init(struct lines *l, struct err *e);
void lines_done(struct lines *l);
void lines_rest(struct lines *l); /* until the next request: without the memory of a large one */
/* The stream may be NULL (not made yet); it is borrowed. */
void lines_begin(struct lines *l, const struct lines_rules *rules,
                 const struct catalog_stream *stream);
/* The same body once more, for the stream as it has become: the settings are those of the first
 * time, and what the stream still lacks is not stored, as it was not then. */
void lines_begin_again(struct lines *l, const struct catalog_stream *stream);
/* One JSON document: an array of records, or one record.  INVALID with the byte offset when it is
 * not; then nothing of it may be stored.  Errors of `full` are passed on. */
enum err_code lines_add_json(struct lines *l, struct str body, lines_full full, void *ctx,
                             struct err *e);
/* One object a line (`\n`, `\r\n`); blank lines count for the numbering only.  INVALID names the
 * line that is no object; then nothing of the body may be stored. */
enum err_code lines_add_ndjson(struct lines *l, struct str body, lines_full full, void *ctx,
                               struct err *e);
/* The same up to the first line that is not taken: *bad is its number, `reason` says why; 0: all
 * are.  What stands before it stays taken. */
enum err_code lines_add_until_bad(struct lines *l, struct str body, lines_full full, void *ctx,
                                  size_t *bad, struct err *e);
void lines_clear(struct lines *l); /* forget the lines, keep the counts and fields */
/* Put the segments in the order of their hours, one an hour. */
enum err_code lines_sort(struct lines *l, struct err *e);

#endif
