/* base/metrics.h - counters, gauges and histograms, printed as Prometheus text 0.0.4.
 *
 * Each process has one registry.  A metric is declared once as a static table row by its owner
 * module and registered at start with metrics_register(); label values make children on first use
 * (at most METRIC_CHILDREN_MAX a metric; past that they fold into the child "other").
 * Values are updated with relaxed atomics: any thread, no lock once the child is known.
 */
#ifndef WEIR_BASE_METRICS_H
#define WEIR_BASE_METRICS_H

#include "base/bytes.h"

#define METRIC_LABELS_MAX 5
#define METRIC_CHILDREN_MAX 20000

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_desc {
    const char *name; /* "zo_ingest_records" */
    const char *help;
    enum metric_type type;
    const char *labels[METRIC_LABELS_MAX]; /* names; unused are NULL */
    const double *buckets;                 /* histogram: upper bounds, ascending, without +Inf */
    int bucket_count;
};

struct metric;       /* one described metric; lives for ever */
struct metric_child; /* one set of label values; lives for ever */

struct metric *metrics_register(const struct metric_desc *desc); /* again: the same pointer */
/* `values`: as many as the metric has labels. */
struct metric_child *metric_child(struct metric *m, const struct str *values);
struct metric_child *metric_only(struct metric *m); /* of a metric without labels */

void metric_add(struct metric_child *c, double v); /* counter, gauge */
void metric_set(struct metric_child *c, double v); /* gauge */
void metric_observe(struct metric_child *c, double v);
double metric_value(const struct metric_child *c);

void metrics_print(struct buf *out); /* the whole registry */

#endif
