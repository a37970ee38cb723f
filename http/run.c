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

static bool is_for_large_lane(const struct request *r)
{
    return r->call.route->lane == LANE_INGEST && r->lane != LANE_LARGE;
}

/* What turns out to be large is not made here, where small ones wait, but again in its own lane. */
static enum err_code decoded_room(void *ctx, char **to, size_t *room, struct err *e)
{
    struct request *r = ctx;
    if (is_for_large_lane(r) && !body_grow(&r->decoded)) {
        r->lane = LANE_LARGE;
        return err_set(e, ERR_AGAIN, "too many large bodies are waiting");
    }
    return body_room(&r->decoded, to, room, e);
}

static void decoded_made(void *ctx, size_t n)
{
    body_made(&((struct request *)ctx)->decoded, n);
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
                                     .ctx = r};
    body_open(r->server->bodies, &r->decoded, raw.len * EXPECTED_RATIO, sink.max_bytes + 1);
    rc = decode_body(r->tools->decoder, r->coding, raw, &sink, e);
    return rc ? rc : body_view(&r->decoded, &r->call.body, e);
}

bool run_org_exists(const struct request *r)
{
    return str_eq(r->call.org, STR("default")) ||
           catalog_org_exists(r->server->cfg.catalog, r->call.org);
}

static bool org_is_known(const struct request *r)
{
    return r->call.org.len == 0 || r->call.route->makes_org || run_org_exists(r);
}

/* False: the request goes on in another lane, and is not the caller's any more. */
static bool decode_here(struct request *r, enum err_code *rc, struct err *e)
{
    enum route_lane lane = r->lane;
    *rc = decode(r, e);
    if (*rc && r->lane != lane) {
        body_done(&r->decoded);
        return !workers_submit(r->server->workers, r->lane, &r->job);
    }
    if (r->coding != CODING_IDENTITY)
        body_done(&r->body);
    return true;
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
    enum err_code rc = ERR_OK;
    r->tools = tools;
    r->call.arena = &tools->arena;
    if (j->is_late) {
        err_set(&e, ERR_AGAIN, "other queries ran all the while (WEIR_QUERY_WAIT)");
        reply_error(&r->reply, &e);
    } else if (!org_is_known(r)) {
        reply_text(&r->reply, 404, "Organization not found");
    } else {
        if (!decode_here(r, &rc, &e))
            return;
        if (!rc)
            rc = r->call.route->run(&r->call, &e);
        if (rc && !r->streaming)
            reply_error(&r->reply, &e);
    }
    finish(r);
}
