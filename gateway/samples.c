/* gateway/samples.c - lines by metric and hour, then meta, then the journal. */
#include "gateway/samples.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "fs/name.h"

#define METRICS_MAX 100000   /* of one request */
#define RUNS_MAX (1u << 20)  /* the same */
#define FRESH_MAX (1u << 21) /* the same */
#define MEMORY_MAX ((size_t)256 << 20)
#define STALE_BITS UINT64_C(0x7ff0000000000002)

struct run {          /* of one metric and hour */
    struct run *next; /* of the metric, in the order of their first samples */
    int32_t hour;
    uint32_t lines;
    int64_t min_us, max_us;
    struct buf text;
    size_t sent_bytes; /* of the text, by a batch that took only some of it */
    uint32_t sent_lines;
};

enum refusal { NOT_REFUSED, TOO_MANY_LABELS, LINE_TOO_LONG, NO_ROOM_IN_STREAM };

struct metric_lines {
    struct metric_lines *next;
    struct str name;
    const struct catalog_stream *stream; /* NULL: not made yet; owned */
    struct meta_new_field *fresh;        /* columns that the stream lacks */
    size_t fresh_count, fresh_cap;
    size_t new_fields, new_name_bytes; /* of the fresh ones, those that are not only wider */
    struct run *runs, *last_run;
    struct run *recent; /* of the last sample: the next one is mostly of the same hour */
    uint64_t taken;     /* in either pass */
    uint64_t waiting, stored, refused;
    enum refusal refused_for; /* the last one */
};

struct samples {
    struct samples_config cfg; /* immutable */
    bool is_settled;           /* the streams have all that may be stored */
    struct arena arena;        /* names, metrics, runs: for the request */
    struct map by_name;
    struct map runs;  /* by metric and hour */
    struct map fresh; /* by metric and column: presence only */
    struct metric_lines *first, *last;
    size_t metric_count, bytes;
    uint64_t stored; /* samples in batches that are durable */
    uint64_t expected_bytes, expected_lines;
    struct buf line; /* of one expected sample */
};

enum err_code samples_new(const struct samples_config *cfg, struct samples **out, struct err *e)
{
    struct samples *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for samples");
    s->cfg = *cfg;
    arena_init(&s->arena, MEMORY_MAX);
    buf_init(&s->line, 2 * SAMPLES_BYTES_MAX);
    map_init(&s->by_name, METRICS_MAX);
    map_init(&s->runs, RUNS_MAX);
    map_init(&s->fresh, FRESH_MAX);
    *out = s;
    return ERR_OK;
}

void samples_free(struct samples *s)
{
    if (!s)
        return;
    for (struct metric_lines *m = s->first; m; m = m->next) {
        for (struct run *r = m->runs; r; r = r->next)
            buf_done(&r->text);
        catalog_unref(m->stream);
    }
    buf_done(&s->line);
    map_done(&s->by_name);
    map_done(&s->runs);
    map_done(&s->fresh);
    arena_done(&s->arena);
    free(s);
}

size_t samples_bytes(const struct samples *s)
{
    return s->bytes;
}

static void write_reason(const struct samples *s, enum refusal why, char *dst, size_t size)
{
    dst[0] = '\0';
    if (why == TOO_MANY_LABELS)
        snprintf(dst, size, "The sample has more than %d labels", SAMPLE_LABELS_MAX);
    else if (why == LINE_TOO_LONG)
        snprintf(dst, size, "The record's line is longer than %zu bytes", s->cfg.line_max_bytes);
    else if (why == NO_ROOM_IN_STREAM)
        catalog_say_no_room(dst, size);
}

void samples_each(const struct samples *s, samples_visit fn, void *ctx)
{
    char reason[ERR_MSG_MAX];

    for (const struct metric_lines *m = s->first; m; m = m->next) {
        write_reason(s, m->refused_for, reason, sizeof reason);
        fn(&(struct samples_tally){m->name, m->stored, m->refused, reason}, ctx);
    }
}

/* ---- metrics and their columns ---- */

static enum err_code no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "the samples of a request need more memory than it may have");
}

/* Of what a metric has: its address, which is its own for the whole request, and `what`. */
struct metric_key {
    char bytes[sizeof(struct metric_lines *) + NAME_MAX_BYTES];
    size_t len;
};

static struct metric_key metric_key(const struct metric_lines *m, const void *what, size_t len)
{
    struct metric_key k = {.len = sizeof m + len};

    assert(len <= NAME_MAX_BYTES);
    memcpy(k.bytes, &m, sizeof m);
    memcpy(k.bytes + sizeof m, what, len);
    return k;
}

static struct str metric_key_str(const struct metric_key *k)
{
    return (struct str){k->bytes, k->len};
}

/* The columns of a sample: two of its own, then its labels. */
static size_t column_count(const struct sample *sample)
{
    return 2 + sample->label_count;
}

static struct meta_new_field column_at(const struct sample *sample, size_t i)
{
    if (i == 0)
        return (struct meta_new_field){STR(SAMPLE_NAME), FIELD_UTF8};
    if (i == 1)
        return (struct meta_new_field){STR("value"), FIELD_FLOAT64};
    return (struct meta_new_field){sample->labels[i - 2].name, FIELD_UTF8};
}

/* Has the stream to be changed for it, beyond what is gathered already? */
static bool is_missing(const struct samples *s, const struct metric_lines *m,
                       const struct meta_new_field *column, bool *is_new)
{
    int at = m->stream ? catalog_field(m->stream, column->name) : -1;
    enum field_type known = at >= 0 ? m->stream->fields[at].type : column->type;

    *is_new = at < 0;
    if (at >= 0 && field_type_widen(known, column->type) == known)
        return false;
    struct metric_key key = metric_key(m, column->name.ptr, column->name.len);
    return !map_find(&s->fresh, metric_key_str(&key));
}

static enum err_code add_column(struct samples *s, struct metric_lines *m,
                                const struct meta_new_field *column, struct err *e)
{
    struct metric_key key = metric_key(m, column->name.ptr, column->name.len);

    if (s->fresh.count == FRESH_MAX)
        return err_set(e, ERR_INVALID, "a request has more than %u new columns", FRESH_MAX);
    m->fresh = arena_grow(&s->arena, m->fresh, m->fresh_count, &m->fresh_cap, sizeof *m->fresh);
    struct str copy = arena_copy(&s->arena, column->name);
    if (!m->fresh || !copy.ptr || !map_put(&s->fresh, metric_key_str(&key), m))
        return no_memory(e);
    m->fresh[m->fresh_count++] = (struct meta_new_field){copy, column->type};
    return ERR_OK;
}

/* What a sample would change of its stream. */
struct change {
    size_t columns, new_fields, new_name_bytes;
};

static struct change change_of(const struct samples *s, const struct metric_lines *m,
                               const struct sample *sample)
{
    struct change c = {0};
    bool is_new;

    for (size_t i = 0; i < column_count(sample); i++) {
        struct meta_new_field column = column_at(sample, i);
        if (!is_missing(s, m, &column, &is_new))
            continue;
        c.columns++;
        c.new_fields += is_new;
        c.new_name_bytes += is_new ? column.name.len : 0;
    }
    return c;
}

static bool has_room(const struct samples *s, const struct metric_lines *m, const struct change *c)
{
    return c->columns == 0 ||
           (!s->is_settled && catalog_has_room(m->stream, m->new_fields + c->new_fields,
                                               m->new_name_bytes + c->new_name_bytes));
}

static enum err_code add_columns(struct samples *s, struct metric_lines *m,
                                 const struct sample *sample, const struct change *c, struct err *e)
{
    enum err_code rc = ERR_OK;
    bool is_new;

    for (size_t i = 0; c->columns > 0 && !rc && i < column_count(sample); i++) {
        struct meta_new_field column = column_at(sample, i);
        if (is_missing(s, m, &column, &is_new))
            rc = add_column(s, m, &column, e);
    }
    m->new_fields += c->new_fields;
    m->new_name_bytes += c->new_name_bytes;
    return rc;
}

static enum err_code new_metric(struct samples *s, struct str name, struct metric_lines **out,
                                struct err *e)
{
    struct metric_lines *m = arena_zalloc(&s->arena, sizeof *m);
    if (m)
        m->name = arena_copy(&s->arena, name);
    if (!m || !m->name.ptr)
        return no_memory(e);
    enum err_code rc =
        catalog_find(s->cfg.catalog, s->cfg.org, STREAM_METRICS, m->name, &m->stream, e);
    if (rc == ERR_NOTFOUND)
        m->stream = NULL;
    else if (rc)
        return rc;
    if (!map_put(&s->by_name, m->name, m)) {
        catalog_unref(m->stream);
        return no_memory(e);
    }
    *(s->last ? &s->last->next : &s->first) = m;
    s->last = m;
    s->metric_count++;
    *out = m;
    return ERR_OK;
}

static enum err_code new_run(struct samples *s, struct metric_lines *m, int32_t hour,
                             struct run **out, struct err *e)
{
    struct metric_key key = metric_key(m, &hour, sizeof hour);

    if (s->runs.count == RUNS_MAX)
        return err_set(e, ERR_INVALID, "a request has more than %u hours of metrics", RUNS_MAX);
    struct run *r = arena_zalloc(&s->arena, sizeof *r);
    if (!r || !map_put(&s->runs, metric_key_str(&key), r))
        return no_memory(e);
    buf_init(&r->text, 2 * SAMPLES_BYTES_MAX);
    r->hour = hour;
    *(m->last_run ? &m->last_run->next : &m->runs) = r;
    m->last_run = r;
    *out = r;
    return ERR_OK;
}

static enum err_code run_of(struct samples *s, struct metric_lines *m, int32_t hour,
                            struct run **out, struct err *e)
{
    struct metric_key key = metric_key(m, &hour, sizeof hour);
    enum err_code rc = ERR_OK;

    *out =
        m->recent && m->recent->hour == hour ? m->recent : map_find(&s->runs, metric_key_str(&key));
    if (!*out)
        rc = new_run(s, m, hour, out, e);
    if (!rc)
        m->recent = *out;
    return rc;
}

/* ---- lines ---- */

static void add_value(struct buf *out, double value)
{
    char text[40];
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    if (bits == STALE_BITS)
        buf_add_cstr(out, "\"Stale\"");
    else if (isnan(value))
        buf_add_cstr(out, "\"NaN\"");
    else if (isinf(value))
        buf_add_cstr(out, value > 0 ? "\"+Inf\"" : "\"-Inf\"");
    else
        buf_add(out, text, f64_format(value, text));
}

static void add_line(struct buf *out, const struct sample *m)
{
    buf_printf(out, "{\"_timestamp\":%lld,\"" SAMPLE_NAME "\":", (long long)m->ts_us);
    json_escape(out, m->name);
    for (size_t i = 0; i < m->label_count; i++) {
        buf_add_char(out, ',');
        json_escape(out, m->labels[i].name);
        buf_add_char(out, ':');
        json_escape(out, m->labels[i].value);
    }
    buf_add_cstr(out, ",\"value\":");
    add_value(out, m->value);
    buf_add_cstr(out, "}\n");
}

static bool is_own_column(struct str name)
{
    return str_eq(name, STR(SAMPLE_NAME)) || str_eq(name, STR("value")) ||
           str_eq(name, STR("_timestamp"));
}

/* Its line is not longer: each byte of a text is at most six as an escape. */
static size_t line_bound(const struct sample *m)
{
    size_t bytes = 128 + 6 * m->name.len;
    for (size_t i = 0; i < m->label_count; i++)
        bytes += 6 + 6 * (m->labels[i].name.len + m->labels[i].value.len);
    return bytes;
}

static bool line_fits(const struct samples *s, const struct sample *m)
{
    struct buf line;
    if (line_bound(m) <= s->cfg.line_max_bytes)
        return true;
    buf_init(&line, 2 * SAMPLES_BYTES_MAX);
    add_line(&line, m);
    bool fits = buf_ok(&line) && line.len <= s->cfg.line_max_bytes;
    buf_done(&line);
    return fits;
}

static enum err_code check_sample(const struct sample *m, struct err *e)
{
    if (!hour_has_place(hour_of_us(m->ts_us)))
        return err_set(e, ERR_INVALID, STR_FMT ": the time is before year 0 or past year 9999",
                       STR_ARG(m->name));
    for (size_t i = 0; i < m->label_count; i++)
        if (is_own_column(m->labels[i].name))
            return err_set(e, ERR_INVALID, STR_FMT ": a label is named " STR_FMT, STR_ARG(m->name),
                           STR_ARG(m->labels[i].name));
    return ERR_OK;
}

static void count_line(struct run *r, int64_t us)
{
    if (r->lines == 0 || us < r->min_us)
        r->min_us = us;
    if (r->lines == 0 || us > r->max_us)
        r->max_us = us;
    r->lines++;
}

static enum refusal judge(const struct samples *s, const struct metric_lines *metric,
                          const struct sample *m, struct change *c)
{
    if (m->label_count > SAMPLE_LABELS_MAX)
        return TOO_MANY_LABELS;
    if (!line_fits(s, m))
        return LINE_TOO_LONG;
    *c = change_of(s, metric, m);
    return has_room(s, metric, c) ? NOT_REFUSED : NO_ROOM_IN_STREAM;
}

static enum err_code metric_of(struct samples *s, const struct sample *m, struct metric_lines **out,
                               struct err *e)
{
    *out = map_find(&s->by_name, m->name);
    if (*out)
        return ERR_OK;
    if (s->metric_count == METRICS_MAX)
        return err_set(e, ERR_INVALID, "a request has more than %d metrics", METRICS_MAX);
    return new_metric(s, m->name, out, e);
}

/* All that a sample needs besides the bytes of its line; *r NULL: it is refused. */
static enum err_code place_of(struct samples *s, const struct sample *m,
                              struct metric_lines **metric, struct run **r, struct err *e)
{
    struct change c = {0};
    enum err_code rc = check_sample(m, e);

    *r = NULL;
    if (!rc)
        rc = metric_of(s, m, metric, e);
    if (rc)
        return rc;
    enum refusal why = judge(s, *metric, m, &c);
    if (why) {
        (*metric)->refused++;
        (*metric)->refused_for = why;
        return ERR_OK;
    }
    (*metric)->taken++;
    rc = add_columns(s, *metric, m, &c, e);
    return rc ? rc : run_of(s, *metric, hour_of_us(m->ts_us), r, e);
}

enum err_code samples_expect(struct samples *s, const struct sample *m, struct err *e)
{
    struct metric_lines *metric;
    struct run *r;

    enum err_code rc = place_of(s, m, &metric, &r, e);
    if (rc || !r || !s->cfg.is_large)
        return rc;
    buf_clear(&s->line);
    add_line(&s->line, m);
    s->expected_bytes += s->line.len;
    s->expected_lines++;
    return buf_ok(&s->line) ? ERR_OK : no_memory(e);
}

/* Each run goes on in each batch, or has but one sample. */
uint64_t samples_expected_cost(const struct samples *s)
{
    uint64_t batches = s->expected_bytes / SAMPLES_BYTES_MAX + 1, runs = s->runs.count * batches;
    return commit_cost(s->expected_bytes, s->expected_lines,
                       runs < s->expected_lines ? runs : s->expected_lines);
}

enum err_code samples_add(struct samples *s, const struct sample *m, struct err *e)
{
    struct metric_lines *metric;
    struct run *r;
    enum err_code rc = place_of(s, m, &metric, &r, e);

    if (rc || !r)
        return rc;
    size_t before = r->text.len;
    add_line(&r->text, m);
    if (!buf_ok(&r->text))
        return no_memory(e);
    count_line(r, m->ts_us);
    metric->waiting++;
    s->bytes += r->text.len - before;
    return ERR_OK;
}

/* ---- storing ---- */

static enum err_code settle_schema(struct samples *s, struct metric_lines *m, struct err *e)
{
    const struct catalog_stream *merged;
    enum err_code rc = ERR_OK;

    if (m->taken == 0)
        return ERR_OK;
    if (!m->stream)
        rc = catalog_make(s->cfg.catalog, s->cfg.org, STREAM_METRICS, m->name, &m->stream, e);
    if (rc || m->fresh_count == 0)
        return rc;
    rc = catalog_merge_fields(s->cfg.catalog, m->stream, m->fresh, m->fresh_count, &merged, e);
    if (rc)
        return rc;
    catalog_unref(m->stream);
    m->stream = merged;
    m->fresh_count = m->new_fields = m->new_name_bytes = 0;
    return ERR_OK;
}

static struct batch_run batch_run_of(const struct samples *s, const struct metric_lines *m,
                                     const struct run *r)
{
    return (struct batch_run){.stream = m->stream->number,
                              .type = STREAM_METRICS,
                              .org = s->cfg.org,
                              .name = m->name,
                              .hour = r->hour,
                              .lines = r->lines - r->sent_lines,
                              .min_ts_us = r->min_us,
                              .max_ts_us = r->max_us,
                              .bytes = {r->text.data + r->sent_bytes, r->text.len - r->sent_bytes}};
}

/* As much of a run as the batch takes; *rest: there is more for the next one. */
static enum err_code add_run(struct commit *c, const struct samples *s,
                             const struct metric_lines *m, struct run *r, bool *rest,
                             uint64_t *added, struct err *e)
{
    struct batch_run run = batch_run_of(s, m, r);
    enum err_code rc = commit_add(c, &run, e);
    if (rc)
        return rc;
    *added += r->lines - r->sent_lines - run.lines;
    r->sent_bytes = r->text.len - run.bytes.len;
    r->sent_lines = r->lines - run.lines;
    *rest = run.bytes.len > 0;
    return ERR_OK;
}

/* What fits into one batch, from *m and *r on; both are moved behind it. */
static enum err_code store_batch(struct samples *s, struct metric_lines **m, struct run **r,
                                 struct err *e)
{
    struct commit *c;
    bool rest = false;
    uint64_t added = 0;
    enum err_code rc = commit_begin(s->cfg.commits, s->cfg.room, &c, e);

    if (rc)
        return rc;
    while (*m) {
        if (*r && (*r)->lines > 0) {
            rc = add_run(c, s, *m, *r, &rest, &added, e);
            if (rc || rest)
                break;
        }
        *r = *r ? (*r)->next : NULL;
        if (*r)
            continue;
        *m = (*m)->next;
        *r = *m ? (*m)->runs : NULL;
    }
    if (rc && !(rc == ERR_TOOBIG && added)) {
        commit_abort(c);
        return rc;
    }
    rc = commit_finish(c, e);
    if (!rc)
        s->stored += added;
    return rc;
}

static void forget_lines(struct samples *s)
{
    for (struct metric_lines *m = s->first; m; m = m->next) {
        m->stored += m->waiting;
        m->waiting = 0;
        for (struct run *r = m->runs; r; r = r->next) {
            buf_done(&r->text);
            buf_init(&r->text, 2 * SAMPLES_BYTES_MAX);
            r->lines = r->sent_lines = 0;
            r->sent_bytes = 0;
        }
    }
    s->bytes = 0;
}

static enum err_code settle_all(struct samples *s, struct err *e)
{
    enum err_code rc = ERR_OK;

    for (struct metric_lines *m = s->first; m && !rc; m = m->next)
        rc = settle_schema(s, m, e);
    return rc;
}

enum err_code samples_settle(struct samples *s, struct err *e)
{
    enum err_code rc = settle_all(s, e);

    for (struct metric_lines *m = s->first; m; m = m->next) {
        m->refused = 0;
        m->refused_for = NOT_REFUSED;
    }
    s->is_settled = true;
    return rc;
}

enum err_code samples_store(struct samples *s, struct err *e)
{
    struct metric_lines *m = s->first;
    struct run *r = m ? m->runs : NULL;
    enum err_code rc = settle_all(s, e);

    while (!rc && m)
        rc = store_batch(s, &m, &r, e);
    if (!rc)
        forget_lines(s);
    else if (s->stored > 0)
        err_wrap(e, "after %llu of its samples were stored", (unsigned long long)s->stored);
    return rc;
}
