/* http/run.c - a worker's part of a request: credentials, decompression, the handler. */
#include "http/reply.h"
#include "http/request.h"

void run_verification(struct job *j, struct worker_tools *tools)
{
    struct request *r = request_of_job(j);
    (void)tools;
    r->auth_result =
        auth_check(r->server->cfg.auth, r->authorization, &r->call.user, &r->auth_error);
    request_resume(r);
}

uint64_t run_body_limit(const struct request *r)
{
    static const uint64_t of_kind[] = {
        [BODY_NONE] = BODY_IGNORED_MAX,
        [BODY_JSON] = BODY_JSON_MAX,
        [BODY_INGEST] = UINT64_MAX,
    };
    uint64_t most = of_kind[r->call.route->body], configured = r->server->cfg.body_max_bytes;
    return most < configured ? most : configured;
}

static enum err_code grow_decoded(void *ctx, size_t cap_bytes, struct err *e)
{
    struct request *r = ctx;
    return body_charge(&r->decoded, cap_bytes, e);
}

static enum err_code decode(struct request *r, struct err *e)
{
    struct str raw = buf_str(&r->body.buf);
    r->call.body = raw;
    if (r->coding == CODING_IDENTITY)
        return ERR_OK;
    if (!r->tools->decoder)
        return err_set(e, ERR_NOMEM, "no memory to decompress");
    size_t most = (size_t)run_body_limit(r);
    enum err_code rc = body_open(r->server->bodies, &r->decoded, &r->body, 0, most + 1, e);
    if (rc != ERR_OK)
        return rc;
    const struct decode_limits limits = {.max_bytes = most, .grow = grow_decoded, .ctx = r};
    rc = decode_body(r->tools->decoder, r->coding, raw, &limits, &r->decoded.buf, e);
    r->call.body = buf_str(&r->decoded.buf);
    body_done(&r->body);
    return rc;
}

/* The organisation `default` is always there, also before its first record. */
static bool org_is_known(const struct http_call *c)
{
    return c->org.len == 0 || c->route->makes_org || str_eq(c->org, STR("default")) ||
           catalog_org_exists(c->cfg->catalog, c->org);
}

static void run_handler(struct request *r)
{
    struct err e = {0};
    if (!org_is_known(&r->call)) {
        reply_text(&r->reply, 404, "Organization not found");
        return;
    }
    enum err_code rc = decode(r, &e);
    if (rc == ERR_OK)
        rc = r->call.route->run(&r->call, &e);
    if (rc != ERR_OK && !r->streaming)
        reply_error(&r->reply, &e);
}

void run_request(struct job *j, struct worker_tools *tools)
{
    struct request *r = request_of_job(j);
    r->tools = tools;
    r->call.arena = &tools->arena;
    run_handler(r);
    body_done(&r->body);
    body_done(&r->decoded);
    if (r->streaming) {
        pipe_finish(&r->pipe);
        request_unref(r);
    } else {
        request_resume(r);
    }
}
