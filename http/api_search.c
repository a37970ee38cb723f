/* http/api_search.c - POST /api/{org}/_search: SQL in, hits out, never gathered.
 *
 * The reply is one JSON object whose first member is `hits`, written as batches come; counts and
 * times, which are known only afterwards, follow.  Up to STREAM_START_BYTES are held back, so that
 * an error of a short query has its own status and a short reply its Content-Length.  An error
 * after the start cannot change the status any more: the object is ended with `is_partial` true and
 * the reason in `function_error`; so is one that did without damaged files.
 */
#include "base/json.h"
#include "gateway/query.h"
#include "http/api.h"
#include "http/reply.h"
#include "http/search_reply.h"

#define STREAM_START_BYTES ((size_t)256 << 10)

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
        search_reply_error(s->call, s->trace_id, e);
        return;
    }
    struct buf *out = s->streaming ? &s->batch : &s->call->reply->body;
    bool by_limit = s->request.size < 0 && stats->limit > 0;
    const struct search_totals totals = {.total = stats->total,
                                         .from = s->request.from,
                                         .size = by_limit ? stats->limit : s->request.size,
                                         .trace_id = s->trace_id,
                                         .is_search = true};
    s->writer.out = out;
    jw_end(&s->writer);
    search_write_rest(&s->writer, &totals, stats, why_partial(rc, e, stats));
    if (s->streaming)
        call_stream_write(s->call, buf_str(out)); /* gone or not: nothing is left to do */
}

enum err_code api_search(struct http_call *c, struct err *e)
{
    struct search s = {.call = c, .first_hit = true};
    struct query_stats stats = {0};
    search_trace_id(s.trace_id);
    enum err_code rc = query_search_type_check(call_arg(c, "search_type"), e);
    if (rc == ERR_OK)
        rc = query_request_parse(c->cfg->query, c->body, c->org, call_arg(c, "type"), c->arena,
                                 &s.request, e);
    if (rc == ERR_OK) {
        const struct query_sink sink = {
            .columns = on_columns, .batch = on_batch, .again = on_again, .ctx = &s};
        c->seen_type = stream_type_name(s.request.type);
        s.request.ui_histogram = str_eq(call_arg(c, "is_ui_histogram"), STR("true"));
        s.request.waited_us = call_waited_us(c);
        s.request.cancelled = call_client_gone;
        s.request.cancelled_ctx = c;
        begin(&s);
        rc = query_run(c->cfg->query, &s.request, c->arena, &sink, &stats, e);
    }
    finish(&s, rc, e, &stats);
    buf_done(&s.batch);
    return ERR_OK;
}
