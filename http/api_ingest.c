/* http/api_ingest.c - the doors through which records come in. */
#include "gateway/ingest.h"

#include "base/json.h"
#include "http/api.h"
#include "http/reply.h"

/* {"code":200,"status":[{"name":…,"successful":N,"failed":M[,"error":…]}]} */
static void reply_ingested(struct reply *r, const struct ingest_result *in)
{
    reply_json(r, 200);
    struct json_writer w = {.out = &r->body};
    jw_object(&w);
    jw_ki64(&w, "code", 200);
    jw_key(&w, STR("status"));
    jw_array(&w);
    jw_object(&w);
    jw_kcstr(&w, "name", in->stream);
    jw_ku64(&w, "successful", in->successful);
    jw_ku64(&w, "failed", in->failed);
    if (in->error[0])
        jw_kcstr(&w, "error", in->error);
    jw_end(&w);
    jw_end(&w);
    jw_end(&w);
}

enum err_code api_ingest_json(struct http_call *c, struct err *e)
{
    struct ingest_result result = {0};
    enum err_code rc = ingest_json(c->cfg->ingest, c->org, c->stream, c->body, &result, e);
    if (rc != ERR_OK)
        return rc;
    str_copy_to(str_from(result.stream), c->seen_stream, sizeof c->seen_stream);
    c->seen_type = stream_type_name(STREAM_LOGS);
    reply_ingested(c->reply, &result);
    return ERR_OK;
}
