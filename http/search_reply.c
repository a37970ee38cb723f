/* http/search_reply.c - the members of a search's reply beside its hits. */
#include "http/search_reply.h"

#include <stdio.h>

#include "base/ulid.h"
#include "gateway/gate.h"
#include "http/reply.h"

#define BYTES_PER_MB (UINT64_C(1) << 20)

void search_trace_id(char out[TRACE_ID_LEN + 1])
{
    struct ulid id = ulid_new();
    for (size_t i = 0; i < sizeof id.b; i++)
        snprintf(out + 2 * i, 3, "%02x", id.b[i]);
}

static void write_took(struct json_writer *w, const struct query_stats *stats)
{
    int64_t took_ms = (int64_t)(stats->took_us / 1000);
    int64_t waited_ms = (int64_t)(stats->waited_us / 1000);
    jw_ki64(w, "took", took_ms);
    jw_key(w, STR("took_detail"));
    jw_object(w);
    jw_ki64(w, "total", took_ms);
    jw_ki64(w, "cache_took", 0);
    jw_ki64(w, "file_list_took", 0);
    jw_ki64(w, "wait_in_queue", waited_ms);
    jw_ki64(w, "idx_took", 0);
    jw_ki64(w, "search_took", took_ms - waited_ms);
    jw_end(w);
}

static void write_order(struct json_writer *w, const struct query_stats *stats)
{
    if (!stats->order_count)
        return;
    jw_kcstr(w, "order_by", stats->order[0].is_descending ? "desc" : "asc");
    jw_key(w, STR("order_by_metadata"));
    jw_array(w);
    for (size_t i = 0; i < stats->order_count; i++) {
        jw_array(w);
        jw_str(w, stats->order[i].by);
        jw_cstr(w, stats->order[i].is_descending ? "desc" : "asc");
        jw_end(w);
    }
    jw_end(w);
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
    if (stats->is_capped)
        jw_cstr(w, "Warn: results are capped to meet default limit");
    if (failure)
        jw_cstr(w, failure);
    jw_end(w);
    if (stats->range_hours) {
        jw_ki64(w, "new_start_time", stats->start_us);
        jw_ki64(w, "new_end_time", stats->end_us);
    }
}

void search_write_rest(struct json_writer *w, const struct search_totals *t,
                       const struct query_stats *stats, const char *failure)
{
    bool partial = failure || stats->range_hours || stats->is_capped;
    write_took(w, stats);
    jw_ki64(w, "total", t->total);
    jw_ki64(w, "from", t->from);
    jw_ki64(w, "size", t->size);
    jw_ki64(w, "cached_ratio", 0);
    jw_ku64(w, "scan_size", stats->scan_bytes / BYTES_PER_MB);
    jw_ki64(w, "idx_scan_size", 0);
    jw_ku64(w, "scan_records", stats->scan_records);
    jw_ku64(w, "scan_files", stats->scan_files);
    jw_kcstr(w, "trace_id", t->trace_id);
    jw_kbool(w, "is_partial", partial);
    jw_ki64(w, "result_cache_ratio", 0);
    if (stats->has_histogram_interval)
        jw_ki64(w, "histogram_interval", stats->histogram_interval_s);
    if (t->is_search) {
        write_order(w, stats);
        jw_kbool(w, "is_histogram_eligible", stats->is_histogram_eligible);
    }
    if (partial)
        write_reasons(w, stats, failure);
    jw_end(w);
}

/* The engine's own words behind "Search SQL not valid: "; other messages say all themselves. */
static const char *detail_of(const struct err *e)
{
    const char *colon = strstr(e->msg, ": ");
    bool has_words = e->detail == API_SQL_NOT_VALID || e->detail == API_SQL_EXECUTE;
    return has_words && colon ? colon + 2 : "";
}

void search_reply_error(struct http_call *c, const char *trace_id, const struct err *e)
{
    struct reply *r = c->reply;
    reply_error(r, e); /* status and headers */
    if (e->code == ERR_NOTJSON || e->code == ERR_SHAPE)
        return;
    buf_clear(&r->body);
    struct json_writer w = {.out = &r->body};
    jw_object(&w);
    jw_ki64(&w, "code", e->detail ? e->detail : r->status);
    jw_kcstr(&w, "message", e->msg);
    jw_kcstr(&w, "error_detail", detail_of(e));
    jw_kcstr(&w, "trace_id", trace_id);
    jw_end(&w);
}
