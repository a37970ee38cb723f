/* gateway/ingest.h - records in, durable lines out.
 *
 * One call is one request: the body is parsed by the hot scanner, each record is flattened, typed,
 * checked and written as one normalised line; new fields and wider types are made durable in meta
 * first; then all lines go to the journal in one batch (several above 16 MiB) and the call returns
 * when they are durable.  Bad records are counted with the last reason; a body that is no JSON is
 * INVALID with the byte offset, and nothing of it is stored.
 * Thread safety: any thread; each call owns its arena.
 */
#ifndef WEIR_GATEWAY_INGEST_H
#define WEIR_GATEWAY_INGEST_H

#include "base/bytes.h"
#include "base/err.h"
#include "gateway/catalog.h"
#include "gateway/commit.h"

struct row_ids;
struct ingest_config {
    struct catalog *catalog;
    struct commit_pool *commits;
    struct row_ids *row_ids;   /* NULL: no stream keeps its records as they came */
    int64_t allowed_past_us;   /* ZO_INGEST_ALLOWED_UPTO */
    int64_t allowed_future_us; /* ZO_INGEST_ALLOWED_IN_FUTURE */
    int64_t allowed_past_hours, allowed_future_hours; /* for the reference's messages */
    unsigned flatten_level;                           /* ZO_INGEST_FLATTEN_LEVEL, 0 = no limit */
    unsigned columns_max;                             /* ZO_COLS_PER_RECORD_LIMIT */
    size_t line_max_bytes; /* WEIR_LINE_MAX; at most commit_line_max() has effect */
};
struct ingest;
enum err_code ingest_open(const struct ingest_config *cfg, struct ingest **out, struct err *e);
void ingest_close(struct ingest *in);

struct ingest_result {
    char stream[256]; /* normalised name */
    uint64_t successful, failed;
    char error[ERR_MSG_MAX]; /* last reason, empty when none failed */
};
/* `_json`: an array of objects or one object.  org and stream are as they came in the URL. */
enum err_code ingest_json(struct ingest *in, struct str org, struct str stream, struct str body,
                          struct ingest_result *out, struct err *e);
/* `_multi`: one object a line. */
enum err_code ingest_ndjson(struct ingest *in, struct str org, struct str stream, struct str body,
                            struct ingest_result *out, struct err *e);

/* One write to the file `ingest` of a stream: whole lines, under names of ours.  They are taken as
 * by
 * `_multi`, but up to the first that is not: then INVALID, with its number and the reason, after
 * those before it were stored.  Else all are stored, or none: AGAIN, FULL, TOOBIG (more than a
 * batch holds), STALE (that stream is deleted).  Stored is appended to the journal, not yet
 * durable. */
struct ingest_write {
    uint64_t stream; /* number */
    struct str org, name, lines;
    uint64_t mount, request; /* batch_request */
};
enum err_code ingest_lines(struct ingest *in, const struct ingest_write *w, uint64_t *stored,
                           struct err *e);

/* `ingest/metrics/_json` (reference §1.7): an array of samples as objects.  A sample that lacks a
 * name or a value, or is none, fails the whole request (INVALID, nothing is stored); one that is
 * past a limit (samples.h) is counted as failed.  What became of each metric's is told to `each`,
 * in order; the result ends with the call. */
typedef void (*ingest_metric_visit)(const struct ingest_result *result, void *ctx);
enum err_code ingest_metrics_json(struct ingest *in, struct str org, struct str body,
                                  ingest_metric_visit each, void *ctx, struct err *e);

/* The configuration, for the other doors of this folder. */
const struct ingest_config *ingest_config_of(const struct ingest *in);
/* The longest line, with its '\n': WEIR_LINE_MAX, or what a part can carry. */
size_t ingest_line_max(const struct ingest *in);
/* Count what a request of so many bytes stored and refused of one stream, or (code) why it failed.
 */
struct ingest_tally {
    uint64_t stored, refused;
    size_t bytes;
};
void ingest_count(struct ingest *in, struct str org, struct str stream, enum stream_type type,
                  const struct ingest_tally *t, enum err_code code);

#endif
