/* http/api_ingest.c - the doors through which records come in. */
#include "gateway/ingest.h"

#include "base/json.h"
#include "http/api.h"
#include "http/reply.h"

#define REPLY_NAMES_MAX ((size_t)64 << 20)

/* {"name":…,"successful":N,"failed":M[,"error":…]} */
static void write_status(struct json_writer *w, const struct ingest_result *in)
{
    jw_object(w);
    jw_kcstr(w, "name", in->stream);
    jw_ku64(w, "successful", in->successful);
    jw_ku64(w, "failed", in->failed);
    if (in->error[0])
        jw_kcstr(w, "error", in->error);
    jw_end(w);
}

/* {"code":200,"status":[…]} */
static void reply_ingested(struct reply *r, const struct ingest_result *in)
{
    reply_json(r, 200);
    struct json_writer w = {.out = &r->body};
    jw_object(&w);
    jw_ki64(&w, "code", 200);
    jw_key(&w, STR("status"));
    jw_array(&w);
    write_status(&w, in);
    jw_end(&w);
    jw_end(&w);
}

typedef enum err_code (*ingest_door)(struct ingest *in, struct str org, struct str stream,
                                     struct str body, struct ingest_result *out, struct err *e);

static enum err_code ingest_logs(struct http_call *c, ingest_door door, struct err *e)
{
    struct ingest_result result = {0};
    enum err_code rc = door(c->cfg->ingest, c->org, c->stream, c->body, &result, e);
    if (rc != ERR_OK)
        return rc;
    str_copy_to(str_from(result.stream), c->seen_stream, sizeof c->seen_stream);
    c->seen_type = stream_type_name(STREAM_LOGS);
    reply_ingested(c->reply, &result);
    return ERR_OK;
}

enum err_code api_ingest_json(struct http_call *c, struct err *e)
{
    return ingest_logs(c, ingest_json, e);
}

enum err_code api_ingest_multi(struct http_call *c, struct err *e)
{
    return ingest_logs(c, ingest_ndjson, e);
}

static void write_metric(const struct ingest_result *result, void *ctx)
{
    write_status(ctx, result);
}

enum err_code api_ingest_metrics_json(struct http_call *c, struct err *e)
{
    struct buf names;
    struct json_writer list = {.out = &names};
    buf_init(&names, REPLY_NAMES_MAX);
    jw_array(&list);
    c->seen_type = stream_type_name(STREAM_METRICS);
    enum err_code rc = ingest_metrics_json(c->cfg->ingest, c->org, c->body, write_metric, &list, e);
    jw_end(&list);
    if (rc == ERR_OK) {
        reply_json(c->reply, 200);
        struct json_writer w = {.out = &c->reply->body};
        jw_object(&w);
        jw_ki64(&w, "code", 200);
        if (names.len > 2) {
            jw_key(&w, STR("status"));
            jw_raw(&w, buf_str(&names));
        }
        jw_end(&w);
    }
    buf_done(&names);
    return rc;
}
