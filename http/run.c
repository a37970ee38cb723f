/* http/run.c - a worker's part of a request: credentials, spooling, decompression, the handler. */
#include "http/reply.h"
#include "http/request.h"

#define EXPECTED_RATIO 4 /* first guess of output bytes for a byte of compressed input */

void run_verification(struct job *j, struct worker_tools *tools)
{
    struct request *r = request_of_job(j);
    (void)tools;
    r->job_result = auth_check(r->server->cfg.auth, r->authorization, &r->call.user, &r->job_error);
    request_resume(r);
}

void run_spooling(struct job *j, struct worker_tools *tools)
{
    struct request *r = request_of_job(j);
    (void)tools;
    r->job_result = body_flush(&r->body, &r->job_error);
    request_resume(r);
}

uint64_t run_body_limit(const struct request *r)
{
    static const uint64_t of_kind[] = {
        [BODY_NONE] = BODY_IGNORED_MAX,
        [BODY_JSON] = BODY_JSON_MAX,
        [BODY_JSON_SMALL] = BODY_IGNORED_MAX,
        [BODY_INGEST] = UINT64_MAX,
    };
    uint64_t most = of_kind[r->call.route->body], configured = r->server->cfg.body_max_bytes;
    return most < configured ? most : configured;
}

static enum err_code decoded_room(void *ctx, char **to, size_t *room, struct err *e)
{
    return body_room(ctx, to, room, e);
}

static void decoded_made(void *ctx, size_t n)
{
    body_made(ctx, n);
}

static enum err_code decode(struct request *r, struct err *e)
{
    struct str raw;
    enum err_code rc = body_view(&r->body, &raw, e);
    r->call.body = raw;
    if (rc || r->coding == CODING_IDENTITY)
        return rc;
    if (!r->tools->decoder)
        return err_set(e, ERR_NOMEM, "no memory to decompress");
    const struct decode_sink sink = {.max_bytes = (size_t)run_body_limit(r),
                                     .room = decoded_room,
                                     .made = decoded_made,
                                     .ctx = &r->decoded};
    rc = body_open(r->server->bodies, &r->decoded, raw.len * EXPECTED_RATIO, sink.max_bytes + 1, e);
    if (!rc)
        rc = decode_body(r->tools->decoder, r->coding, raw, &sink, e);
    body_done(&r->body);
    return rc ? rc : body_view(&r->decoded, &r->call.body, e);
}

/* The organisation `default` is always there, also before its first record. */
static bool org_is_known(const struct http_call *c)
{
    return c->org.len == 0 || c->route->makes_org || str_eq(c->org, STR("default")) ||
           catalog_org_exists(c->cfg->catalog, c->org);
}

static enum err_code prepare(struct request *r, struct err *e)
{
    if (r->is_prepared)
        return ERR_OK;
    r->is_prepared = true;
    if (!org_is_known(&r->call)) {
        reply_text(&r->reply, 404, "Organization not found");
        return ERR_NOTFOUND;
    }
    enum err_code rc = decode(r, e);
    if (rc)
        reply_error(&r->reply, e);
    return rc;
}

/* What decompression has shown to be large goes on among its like. */
static bool moves_to_large_lane(struct request *r)
{
    if (r->call.route->lane != LANE_INGEST || r->lane == LANE_LARGE ||
        !body_is_spooled(&r->decoded))
        return false;
    r->lane = LANE_LARGE;
    return workers_submit(r->server->workers, LANE_LARGE, &r->job);
}

static void finish(struct request *r)
{
    body_done(&r->body);
    body_done(&r->decoded);
    if (r->streaming) {
        pipe_finish(&r->pipe);
        request_unref(r);
    } else {
        request_resume(r);
    }
}

void run_request(struct job *j, struct worker_tools *tools)
{
    struct request *r = request_of_job(j);
    struct err e = {0};
    r->tools = tools;
    r->call.arena = &tools->arena;
    if (prepare(r, &e) == ERR_OK) {
        if (moves_to_large_lane(r))
            return;
        enum err_code rc = r->call.route->run(&r->call, &e);
        if (rc != ERR_OK && !r->streaming)
            reply_error(&r->reply, &e);
    }
    finish(r);
}
