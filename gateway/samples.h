/* gateway/samples.h - metric samples in, durable lines out: the core below every metrics door.
 *
 * A request's samples are gathered as lines, a run a metric and hour; samples_store makes streams
 * and label columns durable in meta and then stores all lines in one batch (several above 15 MiB).
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

struct samples;
enum err_code samples_new(struct catalog *catalog, struct commit_pool *commits, struct str org,
                          struct samples **out, struct err *e);
void samples_free(struct samples *s); /* NULL is fine; what was not stored is dropped */

/* The first of two passes over a body that may be more than a batch: whatever samples_add could
 * refuse is refused, and streams, columns and memory are made ready; no line is made. */
enum err_code samples_expect(struct samples *s, const struct sample *m, struct err *e);
/* Make the streams and columns durable in meta; samples_store does it too. */
enum err_code samples_settle(struct samples *s, struct err *e);
/* INVALID: a line over the limit, or a label whose name is a column of the sample itself. */
enum err_code samples_add(struct samples *s, const struct sample *m, struct err *e);
size_t samples_bytes(const struct samples *s); /* of lines that wait */
/* Store what waits; afterwards nothing waits. */
enum err_code samples_store(struct samples *s, struct err *e);
/* How many samples of each metric were stored, in the order of their first one. */
typedef void (*samples_visit)(struct str name, uint64_t stored, void *ctx);
void samples_each(const struct samples *s, samples_visit fn, void *ctx);

#endif
