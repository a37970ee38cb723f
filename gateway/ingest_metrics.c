/* gateway/ingest_metrics.c - `ingest/metrics/_json`: samples as JSON objects.
 *
 * The body is gone through twice: first every record is checked and judged, and the streams and
 * columns of those that are taken are made; then they become lines, which are stored as they
 * gather.  So a bad record leaves nothing behind, and one that is refused changes nothing.
 */
#include "gateway/ingest_internal.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "gateway/names.h"
#include "gateway/samples.h"
#include "gateway/scan.h"
#include "gateway/timestamp.h"

#define RECORD_MEMORY_MAX ((size_t)64 << 20)
#define DEPTH_MAX 64
#define LARGE_BODY_BYTES ((size_t)1 << 20) /* its lines may be several batches */
#define NAME_TEXT 256                      /* what name_metric may write */
#define LABEL_TOLD_BYTES 64                /* of one that is too long */

static const char *const TYPES[] = {"counter", "gauge",    "histogram",
                                    "summary", "unknown",  "gaugehistogram",
                                    "info",    "stateset", "exponentialhistogram"};

struct door {
    struct ingest *in;
    struct str org;
    struct samples *samples;
    bool is_checking;   /* the first pass */
    struct arena arena; /* of one record */
    int64_t now_us;
    struct commit_room room; /* kept for both passes */
};

/* ---- labels ---- */

/* A key and those of the objects that it stands in. */
struct place {
    const struct place *outer; /* NULL: the record */
    struct str key;
    unsigned depth; /* of the record's: 0 */
};

struct found_label {
    struct sample_label label;
    struct place place;
    size_t at; /* which one of those found it was */
};
struct labels {
    struct found_label *list;
    size_t count, cap;
};

static struct str text_of(const struct json *v, struct arena *a)
{
    struct buf text;
    if (v->type == JSON_STRING || v->type == JSON_NUMBER)
        return v->text;
    if (v->type == JSON_BOOL)
        return v->boolean ? STR("true") : STR("false");
    buf_init(&text, RECORD_MEMORY_MAX);
    json_write(&text, v);
    struct str copy = buf_ok(&text) ? arena_copy(a, buf_str(&text)) : (struct str){0};
    buf_done(&text);
    return copy;
}

static enum err_code no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "a record needs more memory than it may have");
}

static enum err_code add_label(struct door *d, struct labels *l, struct str name,
                               const struct place *place, const struct json *v, struct err *e)
{
    char text[NAME_TEXT];
    size_t len;
    if (name.len > NAME_MAX_BYTES)
        return err_set(e, ERR_INVALID, "label %.*s... is longer than %d bytes", LABEL_TOLD_BYTES,
                       name.ptr, NAME_MAX_BYTES);
    enum err_code rc = name_metric(name.len > 0 ? name : STR("_"), text, &len, e);
    if (rc)
        return err_wrap(e, "label");
    l->list = arena_grow(&d->arena, l->list, l->count, &l->cap, sizeof *l->list);
    if (!l->list)
        return no_memory(e);
    struct sample_label *label = &l->list[l->count].label;
    l->list[l->count].place = *place;
    l->list[l->count].at = l->count;
    l->count++;
    label->name = arena_copy(&d->arena, (struct str){text, len});
    label->value = text_of(v, &d->arena);
    return label->name.ptr && label->value.ptr ? ERR_OK : no_memory(e);
}

static bool is_own(struct str key)
{
    return str_eq(key, STR(SAMPLE_NAME)) || str_eq(key, STR("__type__")) ||
           str_eq(key, STR("value")) || str_eq(key, STR("_timestamp"));
}

/* `prefix`_`key`; no prefix at the top, where it has no ptr. */
static struct str label_name(struct door *d, struct str prefix, struct str key)
{
    if (!prefix.ptr)
        return key;
    char *name = arena_alloc(&d->arena, prefix.len + 1 + key.len);
    if (!name)
        return (struct str){0};
    memcpy(name, prefix.ptr, prefix.len);
    name[prefix.len] = '_';
    memcpy(name + prefix.len + 1, key.ptr, key.len);
    return (struct str){name, prefix.len + 1 + key.len};
}

/* Members become labels; nested objects are joined with '_'. */
static enum err_code add_labels(struct door *d, struct labels *l, struct str prefix,
                                const struct place *outer, const struct json *object, struct err *e)
{
    const unsigned depth = outer ? outer->depth + 1 : 0;
    if (depth > DEPTH_MAX)
        return err_set(e, ERR_INVALID, "labels are nested deeper than %d", DEPTH_MAX);
    for (const struct json *v = object->first; v; v = v->next) {
        if (v->type == JSON_NULL || (!outer && is_own(v->key)))
            continue;
        struct str name = label_name(d, prefix, v->key);
        struct place *place = arena_alloc(&d->arena, sizeof *place);
        if (!name.ptr || !place)
            return no_memory(e);
        *place = (struct place){outer, v->key, depth};
        enum err_code rc = v->type == JSON_OBJECT ? add_labels(d, l, name, place, v, e)
                                                  : add_label(d, l, name, place, v, e);
        if (rc)
            return rc;
    }
    return ERR_OK;
}

/* In a map sorted by key at every level, as keys_order has it for fields. */
static int order_of_places(const struct place *a, const struct place *b)
{
    int order = 0;
    while (a->depth > b->depth)
        a = a->outer;
    while (b->depth > a->depth)
        b = b->outer;
    for (; a; a = a->outer, b = b->outer) {
        int here = str_cmp(a->key, b->key);
        if (here)
            order = here; /* what differs nearest to the record decides */
    }
    return order;
}

static int by_name(const void *a, const void *b)
{
    const struct found_label *x = a, *y = b;
    int order = str_cmp(x->label.name, y->label.name);
    if (!order)
        order = order_of_places(&x->place, &y->place);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* Sorted, the last of equal names kept; an empty value is no label (as in Prometheus). */
static enum err_code settle_labels(struct door *d, struct labels *l, struct sample *m,
                                   struct err *e)
{
    struct sample_label *list = arena_alloc(&d->arena, (l->count + 1) * sizeof *list);
    if (!list)
        return no_memory(e);
    if (l->count > 0)
        qsort(l->list, l->count, sizeof *l->list, by_name);
    for (size_t i = 0; i < l->count; i++) {
        bool is_last =
            i + 1 == l->count || !str_eq(l->list[i].label.name, l->list[i + 1].label.name);
        if (is_last && l->list[i].label.value.len > 0)
            list[m->label_count++] = l->list[i].label;
    }
    m->labels = list;
    return ERR_OK;
}

/* ---- one record ---- */

static enum err_code read_name(const struct json *record, char text[NAME_TEXT], struct str *out,
                               struct err *e)
{
    struct str raw = json_str(json_get(record, SAMPLE_NAME), STR(""));
    if (raw.len == 0)
        return err_set(e, ERR_INVALID, "missing " SAMPLE_NAME);
    out->ptr = text;
    return name_metric(raw, text, &out->len, e);
}

static enum err_code check_type(const struct json *record, struct err *e)
{
    const struct json *v = json_get(record, "__type__");
    struct str type = json_str(v, STR("gauge"));
    for (size_t i = 0; i < ARRAY_LEN(TYPES); i++)
        if (str_eq_nocase(type, str_from(TYPES[i])))
            return ERR_OK;
    return err_set(e, ERR_INVALID,
                   "invalid metrics type, need to be one of: counter, gauge, histogram, summary");
}

static enum err_code read_value(const struct json *record, double *out, struct err *e)
{
    const struct json *v = json_get(record, "value");
    if (!v || v->type == JSON_NULL)
        return err_set(e, ERR_INVALID, "missing value");
    if (v->type != JSON_NUMBER || !json_f64(v, out))
        return err_set(e, ERR_INVALID, "invalid value, need to be number");
    return ERR_OK;
}

static enum err_code read_time(const struct door *d, const struct json *record, int64_t *us,
                               struct err *e)
{
    const struct json *v = json_get(record, "_timestamp");
    *us = d->now_us;
    if (!v || v->type == JSON_NULL)
        return ERR_OK;
    bool ok = v->type == JSON_NUMBER   ? timestamp_from_number(v->text, d->now_us, us)
              : v->type == JSON_STRING ? timestamp_from_string(v->text, d->now_us, us)
                                       : false;
    return ok ? ERR_OK : err_set(e, ERR_INVALID, "invalid timestamp, need to be integer or format");
}

static enum err_code take_record(struct door *d, const struct json *record, struct err *e)
{
    char text[NAME_TEXT];
    struct sample m = {0};
    struct labels l = {0};

    if (record->type != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "flatten value must be an object");
    enum err_code rc = read_name(record, text, &m.name, e);
    if (!rc)
        rc = check_type(record, e);
    if (!rc)
        rc = read_value(record, &m.value, e);
    if (!rc)
        rc = read_time(d, record, &m.ts_us, e);
    if (!rc)
        rc = add_labels(d, &l, (struct str){0}, NULL, record, e);
    if (!rc)
        rc = settle_labels(d, &l, &m, e);
    if (rc)
        return rc;
    return d->is_checking ? samples_expect(d->samples, &m, e) : samples_add(d->samples, &m, e);
}

/* ---- the body ---- */

static enum err_code next_record(struct door *d, struct scan *s, size_t index, struct err *e)
{
    const char *start = (scan_peek(s), s->p);
    struct json *record;

    if (!scan_skip(s, 1))
        return scan_error(s, e);
    arena_reset(&d->arena);
    enum err_code rc =
        json_parse((struct str){start, (size_t)(s->p - start)}, &d->arena, &record, e);
    if (!rc)
        rc = take_record(d, record, e);
    if (rc == ERR_NOMEM &&
        d->arena.failed) /* it is the record's fault, and will be the next time */
        rc = err_set(e, ERR_INVALID, "more than %zu MiB of memory are needed to read it",
                     d->arena.max_bytes >> 20);
    if (rc == ERR_INVALID && index > 0)
        err_wrap(e, "record %zu", index + 1);
    if (!rc && samples_bytes(d->samples) >= SAMPLES_BYTES_MAX)
        rc = samples_store(d->samples, e);
    return rc;
}

static enum err_code go_through(struct door *d, struct str body, struct err *e)
{
    struct scan s;
    bool more = true;

    scan_init(&s, body);
    if (scan_peek(&s) != '[') {
        if (scan_skip(&s, 0))
            return err_set(e, ERR_INVALID, "metrics must be an array of records");
        return scan_error(&s, e);
    }
    s.p++;
    if (scan_peek(&s) == ']')
        s.p++;
    else
        for (size_t i = 0; more; i++) {
            enum err_code rc = next_record(d, &s, i, e);
            if (rc)
                return rc;
            if (!scan_more(&s, ']', &more))
                return scan_error(&s, e);
        }
    if (scan_peek(&s) < 0)
        return ERR_OK;
    scan_fail(&s, s.p, "trailing characters after the document");
    return scan_error(&s, e);
}

/* The first pass, and what it asks for. */
static enum err_code judge_all(struct door *d, struct str body, struct err *e)
{
    const struct ingest_config *cfg = ingest_config_of(d->in);
    const struct samples_config of_request = {.catalog = cfg->catalog,
                                              .commits = cfg->commits,
                                              .room = &d->room,
                                              .is_large = body.len > LARGE_BODY_BYTES,
                                              .org = d->org,
                                              .line_max_bytes = ingest_line_max(d->in)};
    samples_free(d->samples);
    d->samples = NULL;
    commit_give_room(&d->room);
    enum err_code rc = samples_new(&of_request, &d->samples, e);
    d->is_checking = true;
    if (!rc)
        rc = go_through(d, body, e);
    d->is_checking = false;
    if (!rc && body.len > LARGE_BODY_BYTES)
        rc = commit_keep_room(cfg->commits, samples_expected_cost(d->samples), &d->room, e);
    return rc ? rc : samples_settle(d->samples, e);
}

static enum err_code store_all(struct door *d, struct str body, struct err *e)
{
    enum err_code rc = judge_all(d, body, e);
    for (int i = 0; is_judged_again(rc, i); i++)
        rc = judge_all(d, body, e);
    rc = last_judgement(rc, e);
    if (!rc)
        rc = go_through(d, body, e);
    return rc ? rc : samples_store(d->samples, e);
}

/* ---- what became of it ---- */

struct tell {
    struct door *door;
    size_t body_bytes;
    uint64_t total; /* samples stored */
    ingest_metric_visit each;
    void *ctx;
};

static void add_total(const struct samples_tally *s, void *ctx)
{
    ((struct tell *)ctx)->total += s->stored;
}

/* The bytes of the body are shared out by how many samples of each metric were stored. */
static void tell_one(const struct samples_tally *s, void *ctx)
{
    const struct tell *t = ctx;
    struct ingest_tally tally = {.stored = s->stored, .refused = s->refused};
    struct ingest_result result = {.successful = s->stored, .failed = s->refused};
    if (t->total > 0)
        tally.bytes = (size_t)((double)t->body_bytes * (double)s->stored / (double)t->total);
    ingest_count(t->door->in, t->door->org, s->name, STREAM_METRICS, &tally, ERR_OK);
    str_copy_to(s->name, result.stream, sizeof result.stream);
    str_copy_to(str_from(s->reason), result.error, sizeof result.error);
    t->each(&result, t->ctx);
}

enum err_code ingest_metrics_json(struct ingest *in, struct str org, struct str body,
                                  ingest_metric_visit each, void *ctx, struct err *e)
{
    struct door d = {.in = in, .org = org, .now_us = clock_wall_us()};
    enum err_code rc = name_org(org, e);
    if (rc)
        return rc;
    arena_init(&d.arena, RECORD_MEMORY_MAX);
    rc = store_all(&d, body, e);
    if (rc) {
        ingest_count(in, org, STR(""), STREAM_METRICS, &(struct ingest_tally){0}, rc);
    } else {
        struct tell t = {.door = &d, .body_bytes = body.len, .each = each, .ctx = ctx};
        samples_each(d.samples, add_total, &t);
        samples_each(d.samples, tell_one, &t);
    }
    samples_free(d.samples);
    commit_give_room(&d.room);
    arena_done(&d.arena);
    return rc;
}
