/* gateway/query.c - runs a search: plan, rows to the sink, the count when it is wanted.
 *
 * One connection to the engine carries PARSE and RUN.  While rows come, every POLL_MS the caller is
 * asked whether it still wants them; closing the connection stops the engine.  The engine keeps the
 * deadline; ours is a little later, for an engine that does not answer.  The snapshot is held until
 * the last row of the last statement is in, so that rows and count are of one moment.
 *
 *   RUN ── fails, and a sealed file turns out to be damaged ──► RUN again without it
 */
#include "gateway/query.h"

#include <stdlib.h>

#include "base/clock.h"
#include "fs/control/control.h"
#include "gateway/engine/client.h"
#include "gateway/query_service.h"

#define PLAN_MEMORY_MAX ((size_t)64 << 20) /* the tree of a statement and its snapshot */
#define CONNECT_MS 2000                    /* the engine may be starting again */
#define POLL_MS 50
#define DEADLINE_GRACE_MS 2000
#define RUNS_MAX 8 /* of one statement, each without files that the one before found damaged */

struct query_service {
    struct query_config cfg; /* immutable, as are the strings that it points to */
    struct damage *damage;   /* immutable */
};

enum err_code query_open(const struct query_config *cfg, struct query_service **out, struct err *e)
{
    struct query_service *q = calloc(1, sizeof *q);
    if (!q)
        return err_set(e, ERR_NOMEM, "no memory for the query service");
    q->cfg = *cfg;
    q->damage = query_damage_new();
    if (!q->damage) {
        free(q);
        return err_set(e, ERR_NOMEM, "no memory for the query service");
    }
    *out = q;
    return ERR_OK;
}

void query_close(struct query_service *q)
{
    if (q)
        query_damage_free(q->damage);
    free(q);
}

struct damage *query_service_damage(struct query_service *q)
{
    return q->damage;
}

const struct query_config *query_service_config(const struct query_service *q)
{
    return &q->cfg;
}

enum err_code query_ping(struct query_service *q, struct err *e)
{
    struct engine_client *engine;
    struct engine_pong pong;
    uint64_t deadline_ms = clock_mono_ms() + CONNECT_MS;
    enum err_code rc = engine_client_open(q->cfg.engine_socket, deadline_ms, &engine, e);
    if (rc)
        return rc;
    rc = engine_client_ping(engine, deadline_ms, &pong, e);
    engine_client_close(engine);
    return rc;
}

/* ---- one search ---- */

struct search {
    struct query_service *q;
    const struct query_request *r;
    struct query_plan plan;
    struct arena arena;
    uint64_t deadline_ms;
    uint64_t waited_us; /* for its turns */
    bool has_given;     /* the sink has columns of the running statement */
    struct err *e;
};

static uint64_t remaining_ms(uint64_t until_ms)
{
    uint64_t now = clock_mono_ms();
    return now < until_ms ? until_ms - now : 1;
}

/* Of all its turns together. */
static uint64_t wait_left_ms(const struct search *s)
{
    uint64_t waited_ms = s->waited_us / 1000, most_ms = s->q->cfg.wait_ms;
    return waited_ms < most_ms ? most_ms - waited_ms : 1;
}

static enum err_code connect_engine(const struct search *s, struct engine_client **out)
{
    uint64_t soon = clock_mono_ms() + CONNECT_MS;
    return engine_client_open(s->q->cfg.engine_socket,
                              soon < s->deadline_ms ? soon : s->deadline_ms, out, s->e);
}

/* Is there a reason to stop that the engine does not know? */
static enum err_code check_wanted(const struct search *s)
{
    if (s->r->cancelled && s->r->cancelled(s->r->cancelled_ctx))
        return err_set(s->e, ERR_CANCELLED, "the client went away");
    if (clock_mono_ms() > s->deadline_ms + DEADLINE_GRACE_MS)
        return err_set(s->e, ERR_TIMEOUT, "the engine did not answer in time");
    return ERR_OK;
}

static enum err_code give_columns(struct search *s, const struct engine_event *ev,
                                  const struct query_sink *sink)
{
    struct query_column *columns;
    enum err_code rc =
        query_column_names(ev->columns, ev->column_count, &s->plan, &s->arena, &columns, s->e);
    s->has_given = s->has_given || !rc;
    if (!rc && !sink->columns(sink->ctx, columns, ev->column_count))
        rc = err_set(s->e, ERR_CANCELLED, "the client went away");
    return rc;
}

static enum err_code give_batch(struct search *s, const struct engine_event *ev,
                                const struct query_sink *sink, uint64_t *rows)
{
    *rows += ev->batch.rows;
    if (!sink->batch(sink->ctx, &ev->batch))
        return err_set(s->e, ERR_CANCELLED, "the client went away");
    return ERR_OK;
}

static enum err_code pump(struct search *s, struct engine_client *engine,
                          const struct query_sink *sink, uint64_t *rows)
{
    for (;;) {
        struct engine_event ev;
        enum err_code rc = check_wanted(s);
        if (!rc)
            rc = engine_client_next(engine, POLL_MS, &ev, s->e);
        if (!rc && ev.kind == ENGINE_END) {
            s->waited_us += ev.waited_us;
            return ERR_OK;
        }
        if (!rc && ev.kind == ENGINE_COLUMNS)
            rc = give_columns(s, &ev, sink);
        else if (!rc && ev.kind == ENGINE_BATCH)
            rc = give_batch(s, &ev, sink, rows);
        if (rc)
            return rc;
    }
}

static enum err_code run_once(struct search *s, struct engine_client *engine,
                              const struct json *document, const struct query_sink *sink,
                              uint64_t *rows)
{
    struct buf request;
    const struct query_times left = {remaining_ms(s->deadline_ms), wait_left_ms(s)};
    s->has_given = false;
    *rows = 0;
    buf_init(&request, WIRE_BODY_MAX);
    enum err_code rc = query_plan_request(s->q, &s->plan, s->r, document, &left, &request, s->e);
    if (!rc)
        rc = engine_client_run(engine, buf_str(&request), s->e);
    buf_done(&request);
    return rc ? rc : pump(s, engine, sink, rows);
}

static bool may_run_again(struct search *s, enum err_code rc, const struct query_sink *sink)
{
    if ((rc != ERR_IO && rc != ERR_CORRUPT) || !query_damage_found(s->q, &s->plan, s->r, s->e))
        return false;
    return !s->has_given || (sink->again && sink->again(sink->ctx));
}

/* *engine may be another connection afterwards, or NULL. */
static enum err_code run_document(struct search *s, struct engine_client **engine,
                                  const struct json *document, const struct query_sink *sink,
                                  uint64_t *rows)
{
    enum err_code rc = run_once(s, *engine, document, sink, rows);
    for (int i = 1; rc && i < RUNS_MAX && may_run_again(s, rc, sink); i++) {
        engine_client_close(*engine);
        *engine = NULL;
        rc = connect_engine(s, engine);
        if (!rc)
            rc = run_once(s, *engine, document, sink, rows);
    }
    if ((rc == ERR_IO || rc == ERR_CORRUPT) && query_plan_lost_stream(s->q, &s->plan, s->e))
        rc = ERR_INVALID;
    return rc;
}

/* ---- the count ---- */

struct counting {
    int64_t count;
    const struct query_sink *sink; /* gets the row too; NULL: nobody does */
};

static bool count_columns(void *ctx, const struct query_column *c, size_t n)
{
    const struct counting *k = ctx;
    return !k->sink || k->sink->columns(k->sink->ctx, c, n);
}

static bool count_batch(void *ctx, const struct wire_batch *b)
{
    struct counting *k = ctx;
    if (b->rows && b->columns == 1 && b->column[0].kind == WIRE_I64)
        k->count = *(const int64_t *)b->column[0].data;
    return !k->sink || k->sink->batch(k->sink->ctx, b);
}

static bool count_again(void *ctx)
{
    const struct counting *k = ctx;
    return !k->sink || (k->sink->again && k->sink->again(k->sink->ctx));
}

static enum err_code run_count(struct search *s, struct engine_client **engine,
                               const struct query_sink *sink, struct query_stats *stats)
{
    struct json *document = gate_count_document(s->plan.gate.document, &s->arena);
    struct counting k = {.sink = sink};
    const struct query_sink counter = {
        .columns = count_columns, .batch = count_batch, .again = count_again, .ctx = &k};
    uint64_t rows = 0;
    if (!document)
        return search_error(s->e, API_SQL_NOT_VALID, "the query is too large to be planned");
    enum err_code rc = run_document(s, engine, document, &counter, &rows);
    stats->total = k.count;
    stats->rows += sink ? rows : 0;
    return rc;
}

/* The count of rows that were sent already, over a connection of its own. */
static enum err_code run_count_after(struct search *s, struct query_stats *stats)
{
    struct engine_client *engine;
    enum err_code rc = connect_engine(s, &engine);
    if (rc)
        return rc;
    rc = run_count(s, &engine, NULL, stats);
    engine_client_close(engine);
    return rc;
}

/* ---- the whole ---- */

static void copy_order(const struct gate_result *gate, struct arena *a, struct query_stats *stats)
{
    struct query_order *order = arena_alloc(a, (gate->order_count + 1) * sizeof *order);
    for (size_t i = 0; order && i < gate->order_count; i++)
        order[i] =
            (struct query_order){.by = arena_copy(a, gate_written(&gate->names, gate->order[i].by)),
                                 .is_descending = gate->order[i].is_descending};
    stats->order = order;
    stats->order_count = order && !a->failed ? gate->order_count : 0;
}

static void fill_stats(const struct search *s, struct arena *a, struct query_stats *stats)
{
    const struct gate_result *gate = &s->plan.gate;
    const struct snapshot *snapshot = s->plan.snapshot;
    for (size_t i = 0; snapshot && i < snapshot->file_count; i++) {
        if (!query_plan_reads(&s->plan, s->r, &snapshot->files[i]))
            continue;
        stats->scan_files++;
        stats->scan_bytes +=
            snapshot->files[i].is_sealed ? snapshot->files[i].text_bytes : snapshot->files[i].bytes;
        stats->scan_records += snapshot->files[i].rows;
    }
    stats->has_histogram_interval = gate->has_histogram;
    stats->histogram_interval_s = gate->histogram_interval_us / US_PER_SEC;
    if (!s->r->track_total_hits || s->r->size != 0) /* else the row is the count */
        copy_order(gate, a, stats);
    stats->is_histogram_eligible = gate->is_histogram_eligible;
    stats->limit = gate->limit;
    stats->is_capped =
        s->r->size <= 0 && !gate->has_limit && stats->rows >= s->q->cfg.default_limit;
    str_copy_to(str_from(s->plan.partial), stats->partial, sizeof stats->partial);
    stats->range_hours = s->plan.range_hours;
    stats->start_us = s->plan.start_us;
    stats->end_us = s->r->end_us;
}

static enum err_code search(struct search *s, struct engine_client **engine,
                            const struct query_sink *sink, struct query_stats *stats)
{
    enum err_code rc =
        query_plan_make(s->q, s->r, engine, s->deadline_ms, &s->arena, &s->plan, s->e);
    if (rc)
        return rc;
    bool count = s->r->track_total_hits && !*s->plan.explain;
    if (count && s->r->size == 0)
        return run_count(s, engine, sink, stats);
    rc = run_document(s, engine, s->plan.gate.document, sink, &stats->rows);
    stats->total = (int64_t)stats->rows;
    return !rc && count ? run_count_after(s, stats) : rc;
}

enum err_code query_run(struct query_service *q, const struct query_request *r, struct arena *a,
                        const struct query_sink *sink, struct query_stats *stats, struct err *e)
{
    struct err own;
    uint64_t start_ns = clock_mono_ns(), start_ms = start_ns / 1000000;
    uint64_t timeout_ms = r->timeout_ms ? r->timeout_ms : q->cfg.timeout_ms;
    struct search s = {.q = q, .r = r, .waited_us = r->waited_us, .e = e ? e : &own};
    struct engine_client *engine;
    *stats = (struct query_stats){0};
    s.deadline_ms = start_ms + timeout_ms;
    arena_init(&s.arena, PLAN_MEMORY_MAX); /* a plan may be larger than a request's arena */
    enum err_code rc = connect_engine(&s, &engine);
    if (!rc) {
        rc = search(&s, &engine, sink, stats);
        fill_stats(&s, a, stats);
        engine_client_close(engine); /* before the files that it may be reading are let go */
    }
    if (rc)
        rc = query_reference_error(&s.plan, s.e);
    query_plan_done(q, &s.plan);
    arena_done(&s.arena);
    stats->waited_us = s.waited_us;
    stats->took_us = r->waited_us + (clock_mono_ns() - start_ns) / 1000;
    return rc;
}
