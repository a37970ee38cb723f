/* http/api_search_partition.c - POST /api/{org}/_search_partition: in which pieces a page should
 * ask a search.
 */
#include "gateway/query.h"
#include "http/api.h"
#include "http/reply.h"
#include "http/search_reply.h"

static void write_ranges(struct json_writer *w, const struct query_partition *p)
{
    jw_key(w, STR("partitions"));
    jw_array(w);
    for (size_t i = 0; i < p->count; i++) {
        jw_array(w);
        jw_i64(w, p->range[i].start_us);
        jw_i64(w, p->range[i].end_us);
        jw_end(w);
    }
    jw_end(w);
}

static void write_partition(struct http_call *c, const struct query_partition *p,
                            const char *trace_id)
{
    reply_json(c->reply, 200);
    struct json_writer w = {.out = &c->reply->body};
    jw_object(&w);
    jw_kcstr(&w, "trace_id", trace_id);
    jw_ku64(&w, "file_num", p->files);
    jw_ku64(&w, "records", p->records);
    jw_ku64(&w, "original_size", p->bytes);
    jw_ku64(&w, "compressed_size", p->stored_bytes);
    if (p->has_histogram_interval)
        jw_ki64(&w, "histogram_interval", p->histogram_interval_s);
    jw_ku64(&w, "max_query_range", p->max_query_hours);
    write_ranges(&w, p);
    jw_kcstr(&w, "order_by", p->is_descending ? "desc" : "asc");
    jw_ki64(&w, "limit", p->limit);
    jw_kbool(&w, "streaming_output", false);
    jw_kbool(&w, "streaming_aggs", false);
    jw_key(&w, STR("streaming_id"));
    jw_null(&w);
    jw_kbool(&w, "is_histogram_eligible", p->is_histogram_eligible);
    jw_end(&w);
}

enum err_code api_search_partition(struct http_call *c, struct err *e)
{
    char trace_id[TRACE_ID_LEN + 1];
    struct query_request request;
    struct query_partition *p = arena_alloc(c->arena, sizeof *p);
    search_trace_id(trace_id);
    if (!p)
        return err_set(e, ERR_NOMEM, "no memory for a partition");
    enum err_code rc = query_partition_parse(c->cfg->query, c->body, c->org, call_arg(c, "type"),
                                             c->arena, &request, e);
    if (rc == ERR_OK)
        rc = query_partition(c->cfg->query, &request, p, e);
    if (rc == ERR_OK)
        write_partition(c, p, trace_id);
    else
        search_reply_error(c, trace_id, e);
    return ERR_OK;
}
