/* gateway/ingest.c - one request: lines, then names and types into meta, then the journal.
 *
 * A body whose lines fit LINES_MAX is gone through once and stored as one batch (two, when its
 * lines are so long that they fill the parts of a batch badly).  A larger one is gone through
 * twice: first everything is checked and its types are gathered while the lines are dropped, then
 * they are made again and stored batch by batch; so a body that is no JSON never stores anything,
 * and memory is bounded. The time of the request is taken once, so both passes come to the same
 * verdicts.
 */
#include "gateway/ingest_internal.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "gateway/names.h"
#include "gateway/row_ids.h"

enum {
    IDLE_LINES_MAX = 16, /* work areas kept for the next requests */
    RUNS_OF_BATCH = 64,  /* about: hours, and what parts are cut into */
};

struct ingest {
    struct ingest_config cfg; /* immutable */
    pthread_mutex_t lock;
    struct lines *idle[IDLE_LINES_MAX]; /* under the lock */
    size_t idle_count;
    struct metric *records, *bytes, *errors;
};

/* ---- open, close, work areas ---- */

static const struct metric_desc RECORDS = {
    .name = "zo_ingest_records",
    .help = "records stored",
    .type = METRIC_COUNTER,
    .labels = {"organization", "stream", "stream_type"},
};
static const struct metric_desc BYTES = {
    .name = "zo_ingest_bytes",
    .help = "bytes of the bodies whose records were stored",
    .type = METRIC_COUNTER,
    .labels = {"organization", "stream", "stream_type"},
};
static const struct metric_desc ERRORS = {
    .name = "zo_ingest_errors",
    .help = "records refused one by one (record), and requests that failed as a whole",
    .type = METRIC_COUNTER,
    .labels = {"organization", "stream", "stream_type", "error_type"},
};

enum err_code ingest_open(const struct ingest_config *cfg, struct ingest **out, struct err *e)
{
    struct ingest *in = calloc(1, sizeof *in);
    if (!in)
        return err_set(e, ERR_NOMEM, "no memory for ingest");
    in->cfg = *cfg;
    pthread_mutex_init(&in->lock, NULL);
    in->records = metrics_register(&RECORDS);
    in->bytes = metrics_register(&BYTES);
    in->errors = metrics_register(&ERRORS);
    *out = in;
    return ERR_OK;
}

static void lines_free(struct lines *l)
{
    lines_done(l);
    free(l);
}

void ingest_close(struct ingest *in)
{
    if (!in)
        return;
    for (size_t i = 0; i < in->idle_count; i++)
        lines_free(in->idle[i]);
    pthread_mutex_destroy(&in->lock);
    free(in);
}

static struct lines *idle_take(struct ingest *in)
{
    LOCK_SCOPE(&in->lock);
    return in->idle_count ? in->idle[--in->idle_count] : NULL;
}

static bool idle_put(struct ingest *in, struct lines *l)
{
    LOCK_SCOPE(&in->lock);
    if (in->idle_count == IDLE_LINES_MAX)
        return false;
    in->idle[in->idle_count++] = l;
    return true;
}

static enum err_code lines_borrow(struct ingest *in, struct lines **out, struct err *e)
{
    struct lines *l = idle_take(in);
    if (!l) {
        l = malloc(sizeof *l);
        if (!l)
            return err_set(e, ERR_NOMEM, "no memory for a request");
        enum err_code code = lines_init(l, e);
        if (code) {
            lines_free(l);
            return code;
        }
    }
    *out = l;
    return ERR_OK;
}

static void lines_give_back(struct ingest *in, struct lines *l)
{
    if (!l)
        return;
    lines_rest(l);
    if (!idle_put(in, l))
        lines_free(l);
}

/* ---- meta: the org, the stream, its fields ---- */

static enum err_code make_stream(struct request *r, struct err *e)
{
    struct catalog *catalog = r->in->cfg.catalog;
    if (r->stream)
        return ERR_OK;
    enum err_code rc = catalog_org_make(catalog, r->org, e);
    return rc ? rc : catalog_make(catalog, r->org, STREAM_LOGS, r->name, &r->stream, e);
}

/* What the lines brought: durable before any of them is stored. */
enum err_code request_merge_fields(struct request *r, struct err *e)
{
    const struct keys *k = &r->lines->keys;
    if (k->changed_count == 0)
        return ERR_OK;
    AUTO_FREE struct meta_new_field *fields = calloc(k->changed_count, sizeof *fields);
    if (!fields)
        return err_set(e, ERR_NOMEM, "no memory for %zu fields", k->changed_count);
    for (size_t i = 0; i < k->changed_count; i++)
        fields[i] = (struct meta_new_field){k->changed[i]->name, k->changed[i]->type};
    const struct catalog_stream *merged;
    enum err_code code =
        catalog_merge_fields(r->in->cfg.catalog, r->stream, fields, k->changed_count, &merged, e);
    if (code)
        return code;
    catalog_unref(r->stream);
    r->stream = merged;
    return ERR_OK;
}

static enum err_code settle_schema(struct request *r, struct err *e)
{
    enum err_code code = make_stream(r, e);
    return code ? code : request_merge_fields(r, e);
}

/* ---- the journal ---- */

struct batch_run request_run(const struct request *r, const struct line_segment *s)
{
    return (struct batch_run){.stream = r->stream->number,
                              .type = STREAM_LOGS,
                              .org = r->org,
                              .name = r->name,
                              .hour = s->hour,
                              .lines = s->lines,
                              .min_ts_us = s->min_us,
                              .max_ts_us = s->max_us,
                              .bytes = {r->lines->out.data + s->at, s->len}};
}

/* Begin a batch and add what it takes: segments from *next on; one that does not fit whole is left
 * with its rest. */
static enum err_code store_batch(struct request *r, size_t *next, struct err *e)
{
    struct lines *l = r->lines;
    struct commit *c;
    uint64_t records = 0;
    enum err_code code = commit_begin(r->in->cfg.commits, &r->room, &c, e);
    if (code)
        return code;
    while (*next < l->segment_count) {
        struct line_segment *s = &l->segments[*next];
        struct batch_run run = request_run(r, s);
        code = commit_add(c, &run, e);
        if (code)
            break;
        records += s->lines - run.lines;
        s->at += s->len - run.bytes.len;
        s->len = run.bytes.len;
        s->lines = run.lines;
        if (s->len > 0)
            break;
        ++*next;
    }
    if (code && !(code == ERR_TOOBIG && records)) {
        commit_abort(c);
        return code;
    }
    code = commit_finish(c, e);
    if (!code)
        r->stored += records;
    return code;
}

static enum err_code store_lines(struct request *r, struct err *e)
{
    enum err_code code = lines_sort(r->lines, e);
    for (size_t next = 0; !code && next < r->lines->segment_count;)
        code = store_batch(r, &next, e);
    lines_clear(r->lines);
    return code;
}

/* ---- the passes ---- */

static enum err_code drop_lines(struct lines *l, void *ctx, struct err *e)
{
    struct request *r = ctx;
    (void)e;
    r->is_dropping = true;
    r->dropped_bytes += l->out.len;
    lines_clear(l);
    return ERR_OK;
}

static enum err_code store_full(struct lines *l, void *ctx, struct err *e)
{
    struct request *r = ctx;
    assert(l == r->lines);
    return store_lines(r, e);
}

/* The lines did not fit: make them again and store them as they come. */
static enum err_code second_pass(struct request *r, struct str body, struct err *e)
{
    uint64_t bytes = r->dropped_bytes + r->lines->out.len;
    uint64_t batches = bytes / (LINES_MAX / 2) + 1, runs = batches * RUNS_OF_BATCH;
    uint64_t cost = commit_cost(bytes, r->lines->successful, runs);
    enum err_code code = commit_keep_room(r->in->cfg.commits, cost, &r->room, e);
    if (code)
        return code;
    lines_begin_again(r->lines, r->stream);
    code = r->add(r->lines, body, store_full, r, e);
    return code ? code : store_lines(r, e);
}

enum err_code request_lines_begin(struct request *r, struct err *e)
{
    lines_begin(r->lines, &r->rules, r->stream);
    return r->lines->store_original ? row_ids_reserve(r->rules.row_ids, e) : ERR_OK;
}

static enum err_code first_pass(struct request *r, struct str body, struct err *e)
{
    r->is_dropping = false;
    r->dropped_bytes = 0;
    enum err_code code = request_lines_begin(r, e);
    if (!code)
        code = r->add(r->lines, body, drop_lines, r, e);
    return code || r->lines->successful == 0 ? code : settle_schema(r, e);
}

/* The stream as it is now. */
static enum err_code look_again(struct request *r, struct err *e)
{
    catalog_unref(r->stream);
    r->stream = NULL;
    enum err_code code =
        catalog_find(r->in->cfg.catalog, r->org, STREAM_LOGS, r->name, &r->stream, e);
    return code == ERR_NOTFOUND ? ERR_OK : code;
}

static enum err_code run_request(struct request *r, struct str body, struct err *e)
{
    enum err_code code = first_pass(r, body, e);
    for (int i = 0; is_judged_again(code, i); i++) {
        code = look_again(r, e);
        if (!code)
            code = first_pass(r, body, e);
    }
    code = last_judgement(code, e);
    if (code || r->lines->successful == 0)
        return code;
    code = r->is_dropping ? second_pass(r, body, e) : store_lines(r, e);
    if (code && r->stored > 0)
        err_wrap(e, "after %llu of its records were stored", (unsigned long long)r->stored);
    return code;
}

/* ---- the request ---- */

static struct lines_rules rules_now(const struct ingest *in)
{
    const struct ingest_config *cfg = &in->cfg;
    return (struct lines_rules){
        .window = {.now_us = clock_wall_us(),
                   .past_us = cfg->allowed_past_us,
                   .future_us = cfg->allowed_future_us,
                   .past_hours = cfg->allowed_past_hours,
                   .future_hours = cfg->allowed_future_hours},
        .flatten_level = cfg->flatten_level,
        .columns_max = cfg->columns_max,
        .line_max_bytes = ingest_line_max(in),
        .row_ids = cfg->row_ids,
    };
}

enum err_code request_begin(struct request *r, struct err *e)
{
    enum err_code code = look_again(r, e);
    if (code)
        return code;
    r->rules = rules_now(r->in);
    return lines_borrow(r->in, &r->lines, e);
}

void request_end(struct request *r)
{
    commit_give_room(&r->room);
    lines_give_back(r->in, r->lines);
    catalog_unref(r->stream);
}

void request_count(const struct request *r, size_t body_bytes, enum err_code code)
{
    const struct ingest_tally t = {r->lines->successful, r->lines->failed, body_bytes};
    ingest_count(r->in, r->org, r->name, STREAM_LOGS, &t, code);
}

const struct ingest_config *ingest_config_of(const struct ingest *in)
{
    return &in->cfg;
}

size_t ingest_line_max(const struct ingest *in)
{
    size_t line_max = commit_line_max();
    return in->cfg.line_max_bytes < line_max ? in->cfg.line_max_bytes : line_max;
}

void ingest_count(struct ingest *in, struct str org, struct str stream, enum stream_type type,
                  const struct ingest_tally *t, enum err_code code)
{
    struct str labels[] = {org, stream, str_from(stream_type_name(type)), STR("record")};
    if (code) {
        labels[3] = str_from(err_name(code));
        metric_add(metric_child(in->errors, labels), 1);
        return;
    }
    if (t->stored > 0) {
        metric_add(metric_child(in->records, labels), (double)t->stored);
        metric_add(metric_child(in->bytes, labels), (double)t->bytes);
    }
    if (t->refused > 0)
        metric_add(metric_child(in->errors, labels), (double)t->refused);
}

static void report(const struct lines *l, struct ingest_result *out)
{
    out->successful = l->successful;
    out->failed = l->failed;
    snprintf(out->error, sizeof out->error, "%s", l->failed ? l->reason : "");
}

static enum err_code ingest(struct ingest *in, add_body add, struct str org, struct str stream,
                            struct str body, struct ingest_result *out, struct err *e)
{
    struct request r = {.in = in, .add = add, .org = org};
    enum err_code code = name_org(org, e);
    if (!code)
        code = name_stream(stream, out->stream, &r.name.len, e);
    if (code)
        return code;
    r.name.ptr = out->stream;
    code = request_begin(&r, e);
    if (!code) {
        code = run_request(&r, body, e);
        request_count(&r, body.len, code);
    }
    if (!code)
        report(r.lines, out);
    request_end(&r);
    return code;
}

enum err_code ingest_json(struct ingest *in, struct str org, struct str stream, struct str body,
                          struct ingest_result *out, struct err *e)
{
    return ingest(in, lines_add_json, org, stream, body, out, e);
}

enum err_code ingest_ndjson(struct ingest *in, struct str org, struct str stream, struct str body,
                            struct ingest_result *out, struct err *e)
{
    return ingest(in, lines_add_ndjson, org, stream, body, out, e);
}
