/* gateway/samples.h - metric samples in, durable lines out: the core below every metrics door.
 *
 * A request's samples are gathered as lines, a run a metric and hour; samples_store makes streams
 * and label columns durable in meta and then stores all lines in one batch (several above 15 MiB).
 * A sample past a limit (labels, the length of its line, fields of its stream) is refused alone: it
 * is counted, and changes nothing; a stream is made for samples that are taken.
 * A line is {"_timestamp":N,"__name__":"m",<labels by name>,"value":V}; label values are strings;
 * a V that is no finite number is "NaN", "+Inf", "-Inf" or "Stale" (Prometheus' stale marker).
 * Metric and label names keep their case.
 * Owner: one thread, one request.
 */
#ifndef WEIR_GATEWAY_SAMPLES_H
#define WEIR_GATEWAY_SAMPLES_H

#include "gateway/catalog.h"
#include "gateway/commit.h"

#define SAMPLES_BYTES_MAX (15u << 20) /* of lines that gather before they must be stored */
#define SAMPLE_LABELS_MAX 1000
#define SAMPLE_NAME "__name__"

struct sample_label {
    struct str name, value; /* the name as a column has it: name_metric */
};
struct sample {
    struct str name;                   /* normalised */
    const struct sample_label *labels; /* sorted by name, each once */
    size_t label_count;
    int64_t ts_us;
    double value;
};

struct samples_config {
    struct catalog *catalog;
    struct commit_pool *commits;
    struct commit_room *room; /* borrowed; commit_begin */
    bool is_large;            /* expected lines are counted: they may be more than a batch */
    struct str org;        /* borrowed */
    size_t line_max_bytes; /* with its '\n'; at most commit_line_max() */
};
struct samples;
enum err_code samples_new(const struct samples_config *cfg, struct samples **out, struct err *e);
void samples_free(struct samples *s); /* NULL is fine; what was not stored is dropped */

/* The first of two passes over a body that may be more than a batch: samples are judged, and what
 * those that are taken need is gathered; nothing is made, no line either.  INVALID: a time without
 * a place, a label whose name is a column of the sample itself, more metrics, hours or new columns
 * than a request may have. */
enum err_code samples_expect(struct samples *s, const struct sample *m, struct err *e);
/* What the samples that were expected take of the journal, when the request is large. */
uint64_t samples_expected_cost(const struct samples *s);
/* Between the passes: make streams and columns durable in meta, and count anew.  Afterwards a
 * sample that needs another column is refused.  TOOBIG: others have used up meanwhile what a stream
 * may have of fields, so that all has to be judged again, by another `samples`. */
enum err_code samples_settle(struct samples *s, struct err *e);
/* The second pass, or the only one.  The errors of samples_expect. */
enum err_code samples_add(struct samples *s, const struct sample *m, struct err *e);
size_t samples_bytes(const struct samples *s); /* of lines that wait */
/* Store what waits; afterwards nothing waits. */
enum err_code samples_store(struct samples *s, struct err *e);

/* What has become of the samples of each metric, in the order of their first one. */
struct samples_tally {
    struct str name;
    uint64_t stored, refused;
    const char *reason; /* of the last refused one; "" */
};
typedef void (*samples_visit)(const struct samples_tally *t, void *ctx);
void samples_each(const struct samples *s, samples_visit fn, void *ctx);

#endif
