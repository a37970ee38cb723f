/* http/api_search.c - POST /api/{org}/_search: SQL in, hits out, never gathered.
 *
 * The reply is one JSON object whose first member is `hits`, written as batches come; counts and
 * times, which are known only afterwards, follow.  Up to STREAM_START_BYTES are held back, so that
 * an error of a short query has its own status and a short reply its Content-Length.  An error
 * after the start cannot change the status any more: the object is ended with `is_partial` true and
 * the reason in `function_error`; so is one that did without damaged files.
 */
#include <stdio.h>

#include "base/json.h"
#include "base/ulid.h"
#include "gateway/query.h"
#include "http/api.h"
#include "http/reply.h"

#define STREAM_START_BYTES ((size_t)256 << 10)
#define BYTES_PER_MB (UINT64_C(1) << 20)

struct search {
    struct http_call *call;
    struct query_request request;
    struct query_column *columns; /* in the call's arena */
    struct json_writer writer;    /* of the whole reply but the hits */
    struct buf batch;             /* once streaming: one batch as text */
    bool first_hit, streaming, out_of_memory;
    char trace_id[33];
};

static bool on_columns(void *ctx, const struct query_column *columns, size_t n)
{
    struct search *s = ctx;
    s->columns = arena_alloc(s->call->arena, n * sizeof *columns);
    if (!s->columns)
        return !(s->out_of_memory = true);
    for (size_t i = 0; i < n; i++)
        s->columns[i].name = arena_copy(s->call->arena, columns[i].name);
    return !(s->out_of_memory = s->call->arena->failed);
}

static bool on_batch(void *ctx, const struct wire_batch *b)
{
    struct search *s = ctx;
    struct buf *out = s->streaming ? &s->batch : &s->call->reply->body;
    query_write_hits(out, s->columns, b, &s->first_hit);
    if (!buf_ok(out))
        return !(s->out_of_memory = true);
    if (s->streaming) {
        bool there = call_stream_write(s->call, buf_str(out));
        buf_clear(out);
        return there;
    }
    if (out->len < STREAM_START_BYTES)
        return true;
    s->streaming = true;
    buf_init(&s->batch, REPLY_BODY_MAX);
    return call_stream_start(s->call);
}

static void write_took(struct json_writer *w, const struct query_stats *stats)
{
    int64_t took_ms = (int64_t)(stats->took_us / 1000);
    jw_ki64(w, "took", took_ms);
    jw_key(w, STR("took_detail"));
    jw_object(w);
    jw_ki64(w, "total", took_ms);
    jw_ki64(w, "cache_took", 0);
    jw_ki64(w, "file_list_took", 0);
    jw_ki64(w, "wait_in_queue", 0);
    jw_ki64(w, "idx_took", 0);
    jw_ki64(w, "search_took", took_ms);
    jw_end(w);
}

static void begin(struct search *s)
{
    reply_json(s->call->reply, 200);
    s->writer = (struct json_writer){.out = &s->call->reply->body};
    jw_object(&s->writer);
    jw_key(&s->writer, STR("hits"));
    jw_array(&s->writer);
}

/* Nothing has left yet: the hits are written once more. */
static bool on_again(void *ctx)
{
    struct search *s = ctx;
    if (s->streaming)
        return false;
    buf_clear(&s->call->reply->body);
    s->first_hit = true;
    begin(s);
    return true;
}

/* Why it is partial. */
static void write_reasons(struct json_writer *w, const struct query_stats *stats,
                          const char *failure)
{
    char text[128];
    jw_key(w, STR("function_error"));
    jw_array(w);
    if (stats->range_hours) {
        snprintf(text, sizeof text,
                 "Query duration is modified due to query range restriction of %u hours",
                 stats->range_hours);
        jw_cstr(w, text);
    }
    if (failure)
        jw_cstr(w, failure);
    jw_end(w);
    if (stats->range_hours) {
        jw_ki64(w, "new_start_time", stats->start_us);
        jw_ki64(w, "new_end_time", stats->end_us);
    }
}

/* Everything after the hits, with the brace that ends the object. */
static void write_rest(struct search *s, struct buf *out, const struct query_stats *stats,
                       const char *failure)
{
    struct json_writer *w = &s->writer;
    w->out = out;
    jw_end(w);
    write_took(w, stats);
    jw_ki64(w, "total", stats->total);
    jw_ki64(w, "from", s->request.from);
    jw_ki64(w, "size", s->request.size);
    jw_ki64(w, "cached_ratio", 0);
    jw_ku64(w, "scan_size", stats->scan_bytes / BYTES_PER_MB);
    jw_ki64(w, "idx_scan_size", 0);
    jw_ku64(w, "scan_records", stats->scan_records);
    jw_ku64(w, "scan_files", stats->scan_files);
    jw_kcstr(w, "trace_id", s->trace_id);
    jw_kbool(w, "is_partial", failure || stats->range_hours);
    jw_ki64(w, "result_cache_ratio", 0);
    if (stats->has_histogram_interval)
        jw_ki64(w, "histogram_interval", stats->histogram_interval_s);
    if (failure || stats->range_hours)
        write_reasons(w, stats, failure);
    jw_end(w);
}

/* {"code":20001,"message":"…","error_detail":"","trace_id":"…"} */
static void reply_search_error(struct search *s, const struct err *e)
{
    struct reply *r = s->call->reply;
    reply_error(r, e); /* status and headers */
    if (e->code == ERR_NOTJSON || e->code == ERR_SHAPE)
        return;
    buf_clear(&r->body);
    struct json_writer w = {.out = &r->body};
    jw_object(&w);
    jw_ki64(&w, "code", e->detail ? e->detail : r->status);
    jw_kcstr(&w, "message", e->msg);
    jw_kcstr(&w, "error_detail", "");
    jw_kcstr(&w, "trace_id", s->trace_id);
    jw_end(&w);
}

/* Why the hits are not all there; NULL: they are. */
static const char *why_partial(enum err_code rc, const struct err *e,
                               const struct query_stats *stats)
{
    if (rc != ERR_OK)
        return e->msg;
    return stats->partial[0] ? stats->partial : NULL;
}

static void finish(struct search *s, enum err_code rc, struct err *e,
                   const struct query_stats *stats)
{
    if (s->out_of_memory)
        rc = err_set(e, ERR_NOMEM, "a batch of the result needs more memory than there is");
    if (rc != ERR_OK && !s->streaming) {
        reply_search_error(s, e);
        return;
    }
    struct buf *out = s->streaming ? &s->batch : &s->call->reply->body;
    write_rest(s, out, stats, why_partial(rc, e, stats));
    if (s->streaming)
        call_stream_write(s->call, buf_str(out)); /* gone or not: nothing is left to do */
}

static void make_trace_id(char out[33])
{
    struct ulid id = ulid_new();
    for (size_t i = 0; i < sizeof id.b; i++)
        snprintf(out + 2 * i, 3, "%02x", id.b[i]);
}

enum err_code api_search(struct http_call *c, struct err *e)
{
    struct search s = {.call = c, .first_hit = true};
    struct query_stats stats = {0};
    make_trace_id(s.trace_id);
    enum err_code rc = query_search_type_check(call_arg(c, "search_type"), e);
    if (rc == ERR_OK)
        rc = query_request_parse(c->cfg->query, c->body, c->org, call_arg(c, "type"), c->arena,
                                 &s.request, e);
    if (rc == ERR_OK) {
        const struct query_sink sink = {
            .columns = on_columns, .batch = on_batch, .again = on_again, .ctx = &s};
        c->seen_type = stream_type_name(s.request.type);
        s.request.cancelled = call_client_gone;
        s.request.cancelled_ctx = c;
        begin(&s);
        rc = query_run(c->cfg->query, &s.request, c->arena, &sink, &stats, e);
    }
    finish(&s, rc, e, &stats);
    buf_done(&s.batch);
    return ERR_OK;
}
