/* base/metrics.c - the registry of metrics, with their children and their text form.
 *
 * Metrics and children are never freed, so a pointer to one is good without a lock.  Creating a
 * child takes its metric's lock; values are relaxed atomics.  A double is kept as its bits, since
 * not every processor adds doubles atomically.
 *
 * Past METRIC_CHILDREN_MAX children, new label values share one child whose labels all read
 * "other"; weir_metrics_folded_total counts how often that one was asked for.
 */
#include "base/metrics.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/utf8.h"

enum {
    METRICS_MAX = 512,
    LABEL_VALUE_MAX_BYTES = 1024, /* longer values are cut */
    KEY_MAX_BYTES = METRIC_LABELS_MAX * (LABEL_VALUE_MAX_BYTES + 8),
};

struct metric_child {
    const struct metric_desc *desc;       /* immutable, as are the next two */
    struct str labels[METRIC_LABELS_MAX]; /* values, escaped for printing */
    struct metric_child *next;            /* creation order; written under the metric's lock */
    _Atomic uint64_t value_bits;          /* counter, gauge: value; histogram: sum */
    _Atomic uint64_t counts[];            /* histogram: a bucket each, then +Inf; not cumulated */
};

struct metric {
    const struct metric_desc *desc;
    int label_count;
    pthread_mutex_t lock; /* guards all below */
    struct map by_values;
    struct metric_child *first, *last, *other;
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric *registry[METRICS_MAX]; /* guarded by registry_lock; entries are immutable */
static size_t registry_count;

static const struct metric_desc FOLDED = {
    .name = "weir_metrics_folded_total",
    .help = "Uses of a child named other, because its metric has too many label values.",
    .type = METRIC_COUNTER,
};

/* A process that cannot even set up its counters does not start. */
static void *must_alloc(size_t n)
{
    void *p = calloc(1, n);
    if (!p)
        abort();
    return p;
}

static struct metric *metric_new(const struct metric_desc *desc)
{
    struct metric *m = must_alloc(sizeof *m);
    m->desc = desc;
    while (m->label_count < METRIC_LABELS_MAX && desc->labels[m->label_count])
        m->label_count++;
    pthread_mutex_init(&m->lock, NULL);
    map_init(&m->by_values, METRIC_CHILDREN_MAX);
    if (m->label_count == 0)
        metric_only(m); /* shown from the start, as 0 */
    return m;
}

struct metric *metrics_register(const struct metric_desc *desc)
{
    LOCK_SCOPE(&registry_lock);
    for (size_t i = 0; i < registry_count; i++) {
        if (strcmp(registry[i]->desc->name, desc->name) == 0)
            return registry[i];
    }
    assert(registry_count < METRICS_MAX);
    return registry[registry_count++] = metric_new(desc);
}

/* ---- children ---- */

static struct str cut_value(struct str value)
{
    if (value.len > LABEL_VALUE_MAX_BYTES)
        value.len = LABEL_VALUE_MAX_BYTES;
    return value;
}

/* Prometheus wants backslash, quote and newline escaped, in valid UTF-8. */
static struct str label_text(struct str value)
{
    struct buf clean, text;
    buf_init(&clean, 3 * LABEL_VALUE_MAX_BYTES);
    buf_init(&text, 6 * LABEL_VALUE_MAX_BYTES + 1);
    utf8_add_lossy(&clean, cut_value(value));
    for (size_t i = 0; i < clean.len; i++) {
        char c = clean.data[i];
        if (c == '\\' || c == '"' || c == '\n')
            buf_add_char(&text, '\\');
        buf_add_char(&text, c == '\n' ? 'n' : c);
    }
    buf_done(&clean);
    if (!buf_ok(&text))
        abort();
    return buf_str(&text); /* lives for ever, as the child does */
}

static struct metric_child *child_new(struct metric *m, const struct str *values)
{
    size_t counts = m->desc->type == METRIC_HISTOGRAM ? (size_t)m->desc->bucket_count + 1 : 0;
    struct metric_child *c = must_alloc(sizeof *c + counts * sizeof c->counts[0]);
    c->desc = m->desc;
    for (int i = 0; i < m->label_count; i++)
        c->labels[i] = label_text(values[i]);
    if (m->last)
        m->last->next = c;
    else
        m->first = c;
    m->last = c;
    return c;
}

/* The label values as one key: each with its length before it, so that ("a","bc") != ("ab","c"). */
static void add_key(struct buf *key, const struct str *values, int count)
{
    for (int i = 0; i < count; i++) {
        struct str v = cut_value(values[i]);
        buf_add_u64(key, v.len);
        buf_add_char(key, ':');
        buf_add_str(key, v);
    }
}

static struct metric_child *other_locked(struct metric *m)
{
    static const struct str OTHER = {"other", 5};
    struct str values[METRIC_LABELS_MAX];
    for (int i = 0; i < METRIC_LABELS_MAX; i++)
        values[i] = OTHER;
    if (!m->other)
        m->other = child_new(m, values);
    return m->other;
}

static struct metric_child *find_or_add(struct metric *m, const struct str *values, struct str key,
                                        bool *folded)
{
    LOCK_SCOPE(&m->lock);
    struct metric_child *c = map_find(&m->by_values, key);
    *folded = !c && m->by_values.count >= METRIC_CHILDREN_MAX;
    if (c)
        return c;
    if (*folded)
        return other_locked(m);
    c = child_new(m, values);
    if (!map_put(&m->by_values, key, c))
        abort();
    return c;
}

struct metric_child *metric_child(struct metric *m, const struct str *values)
{
    struct buf key;
    bool folded;
    buf_init(&key, KEY_MAX_BYTES);
    add_key(&key, values, m->label_count);
    struct metric_child *c = find_or_add(m, values, buf_str(&key), &folded);
    buf_done(&key);
    if (folded)
        metric_add(metric_only(metrics_register(&FOLDED)), 1);
    return c;
}

struct metric_child *metric_only(struct metric *m)
{
    assert(m->label_count == 0);
    return metric_child(m, NULL);
}

/* ---- values ---- */

static double double_of(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint64_t bits_of(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

void metric_add(struct metric_child *c, double v)
{
    uint64_t old = atomic_load_explicit(&c->value_bits, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&c->value_bits, &old, bits_of(double_of(old) + v),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

void metric_set(struct metric_child *c, double v)
{
    atomic_store_explicit(&c->value_bits, bits_of(v), memory_order_relaxed);
}

void metric_observe(struct metric_child *c, double v)
{
    assert(c->desc->type == METRIC_HISTOGRAM);
    int i = 0;
    while (i < c->desc->bucket_count && !(v <= c->desc->buckets[i]))
        i++;
    atomic_fetch_add_explicit(&c->counts[i], 1, memory_order_relaxed);
    metric_add(c, v);
}

double metric_value(const struct metric_child *c)
{
    return double_of(atomic_load_explicit(&c->value_bits, memory_order_relaxed));
}

/* ---- text ---- */

static void add_number(struct buf *out, double v)
{
    char text[32];
    if (isnan(v))
        buf_add_cstr(out, "NaN");
    else if (isinf(v))
        buf_add_cstr(out, v > 0 ? "+Inf" : "-Inf");
    else if (v == nearbyint(v) && fabs(v) < 1e15)
        buf_add_i64(out, (int64_t)v);
    else
        buf_add(out, text, f64_format(v, text));
}

/* {a="1",b="2"}, with le="…" last when it is given; nothing at all without labels. */
static void add_labels(struct buf *out, const struct metric *m, const struct metric_child *c,
                       const double *le)
{
    if (m->label_count == 0 && !le)
        return;
    buf_add_char(out, '{');
    for (int i = 0; i < m->label_count; i++) {
        buf_add_cstr(out, i ? "," : "");
        buf_add_cstr(out, m->desc->labels[i]);
        buf_add_cstr(out, "=\"");
        buf_add_str(out, c->labels[i]);
        buf_add_char(out, '"');
    }
    if (le) {
        buf_add_cstr(out, m->label_count ? ",le=\"" : "le=\"");
        add_number(out, *le);
        buf_add_char(out, '"');
    }
    buf_add_char(out, '}');
}

static void add_sample(struct buf *out, const struct metric *m, const struct metric_child *c,
                       const char *suffix, const double *le, double v)
{
    buf_add_cstr(out, m->desc->name);
    buf_add_cstr(out, suffix);
    add_labels(out, m, c, le);
    buf_add_char(out, ' ');
    add_number(out, v);
    buf_add_char(out, '\n');
}

static void print_histogram(struct buf *out, const struct metric *m, const struct metric_child *c)
{
    double total = 0;
    for (int i = 0; i <= m->desc->bucket_count; i++) {
        double le = i < m->desc->bucket_count ? m->desc->buckets[i] : (double)INFINITY;
        total += (double)atomic_load_explicit(&c->counts[i], memory_order_relaxed);
        add_sample(out, m, c, "_bucket", &le, total);
    }
    add_sample(out, m, c, "_sum", NULL, metric_value(c));
    add_sample(out, m, c, "_count", NULL, total);
}

static void print_metric(struct buf *out, struct metric *m)
{
    static const char *const TYPES[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
    LOCK_SCOPE(&m->lock);
    if (!m->first)
        return;
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->desc->name, m->desc->help, m->desc->name,
               TYPES[m->desc->type]);
    for (const struct metric_child *c = m->first; c; c = c->next) {
        if (m->desc->type == METRIC_HISTOGRAM)
            print_histogram(out, m, c);
        else
            add_sample(out, m, c, "", NULL, metric_value(c));
    }
}

void metrics_print(struct buf *out)
{
    pthread_mutex_lock(&registry_lock);
    size_t count = registry_count; /* entries below it do not change */
    pthread_mutex_unlock(&registry_lock);
    for (size_t i = 0; i < count; i++)
        print_metric(out, registry[i]);
}
