/* http/admit.c - what a request's headers decide, before its body is read.
 *
 * In this order: a server that stops, the path, credentials, the right to the route, the body's
 * declared size, its type, its encoding, the memory for it.  Whoever may not come in learns
 * nothing about paths below /api.
 */
#include "http/cors.h"
#include "http/reply.h"
#include "http/request.h"

#define NO_JSON_TYPE "Expected request with `Content-Type: application/json`"

static enum admission refuse(struct request *r, const struct err *e)
{
    if (e->code == ERR_UNSUPPORTED && strcmp(e->msg, NO_JSON_TYPE) == 0)
        reply_text(&r->reply, 415, e->msg); /* as the reference has it */
    else
        reply_error(&r->reply, e);
    return ADMIT_REFUSE;
}

static enum admission refuse_options(struct request *r)
{
    reply_clear(&r->reply);
    if (r->match.allow[0])
        reply_header(&r->reply, "Allow", "%s", r->match.allow);
    reply_header(&r->reply, "Access-Control-Allow-Methods", CORS_METHODS);
    reply_header(&r->reply, "Access-Control-Allow-Headers", CORS_HEADERS);
    reply_header(&r->reply, "Access-Control-Max-Age", "3600");
    return ADMIT_REFUSE;
}

/* The end of the body, and so the next request, cannot be trusted: the connection ends. */
static enum admission refuse_framing(struct request *r)
{
    reply_envelope(&r->reply, r->framing.status, r->framing.fault);
    r->reply.close = true;
    return ADMIT_REFUSE;
}

/* What a browser asks before the request itself, without credentials and whatever the path. */
static bool is_preflight(const struct request *r)
{
    return str_eq(r->method, STR("OPTIONS")) && r->origin.len > 0 && r->asks_method;
}

static enum admission refuse_unknown_path(struct request *r)
{
    if (r->match.below_api && !run_org_exists(r))
        reply_text(&r->reply, 404, "Organization not found");
    else
        reply_envelope(&r->reply, 404, "Not found: this version does not know the path");
    return ADMIT_REFUSE;
}

static enum admission refuse_path(struct request *r)
{
    switch (r->outcome) {
    case ROUTE_OPTIONS:
        return refuse_options(r);
    case ROUTE_WRONG_METHOD:
        reply_envelope(&r->reply, 405, "Method not allowed");
        reply_header(&r->reply, "Allow", "%s", r->match.allow);
        return ADMIT_REFUSE;
    case ROUTE_BAD_PATH:
        reply_envelope(&r->reply, 400, "the path is not valid percent-encoded UTF-8");
        return ADMIT_REFUSE;
    case ROUTE_FOUND:
    case ROUTE_UNKNOWN:
        break;
    }
    return refuse_unknown_path(r);
}

static void find_route(struct request *r)
{
    char *mark = memchr(r->uri, '?', r->uri_len);
    size_t path_len = mark ? (size_t)(mark - r->uri) : r->uri_len;
    if (mark)
        r->call.query = (struct str){mark + 1, r->uri_len - path_len - 1};
    r->outcome = route_match(r->uri, path_len, r->method, r->server->base_uri, &r->match);
    r->call.route = r->match.route;
    r->call.org = r->match.org;
    r->call.stream = r->match.stream;
}

static bool needs_credentials(const struct request *r)
{
    if (r->outcome == ROUTE_OPTIONS) /* browsers ask without them */
        return false;
    return r->call.route ? r->call.route->auth != AUTH_NONE : r->match.below_api;
}

enum admission admit_headers(struct request *r)
{
    struct err e = {0};
    if (atomic_load(&r->server->draining)) {
        err_set(&e, ERR_AGAIN, "the server is stopping");
        return refuse(r, &e);
    }
    if (r->framing.fault)
        return refuse_framing(r);
    if (r->uri_len > uri_max(r->server)) {
        reply_envelope(&r->reply, 414, "the URL is too long (WEIR_HTTP_HEADER_MAX)");
        return ADMIT_REFUSE;
    }
    find_route(r);
    if (is_preflight(r))
        return refuse_options(r);
    if (!needs_credentials(r))
        return admit_known_caller(r);
    if (r->authorization.len == 0) {
        err_set(&e, ERR_UNAUTHORIZED, "Unauthorized Access");
        return refuse(r, &e);
    }
    if (auth_check_cached(r->server->cfg.auth, r->authorization, &r->call.user))
        return admit_known_caller(r);
    return ADMIT_VERIFY;
}

static bool is_json_type(struct str type)
{
    struct str media, parameters;
    str_cut(type, ';', &media, &parameters);
    return str_eq_nocase(str_trim(media), STR("application/json"));
}

static enum err_code check_body(struct request *r, struct err *e)
{
    const struct route *route = r->call.route;
    uint64_t most = run_body_limit(r);
    if (r->declared_bytes > most)
        return err_set(e, ERR_TOOBIG, "body is larger than %llu bytes", (unsigned long long)most);
    bool wants_json = route->body == BODY_JSON || route->body == BODY_JSON_SMALL;
    if (wants_json && !is_json_type(r->call.content_type))
        return err_set(e, ERR_UNSUPPORTED, NO_JSON_TYPE);
    if (route->body != BODY_NONE) {
        enum err_code rc = decode_coding_of(r->call.content_encoding, &r->coding, e);
        if (rc != ERR_OK)
            return rc;
    }
    if (r->chunked || r->declared_bytes > 0)
        body_open(r->server->bodies, &r->body, r->declared_bytes, (size_t)most);
    return ERR_OK;
}

enum admission admit_known_caller(struct request *r)
{
    struct err e = {0};
    if (r->outcome != ROUTE_FOUND)
        return refuse_path(r);
    if (r->call.route->auth == AUTH_ROOT && !r->call.user.is_root) {
        err_set(&e, ERR_FORBIDDEN, "Forbidden");
        return refuse(r, &e);
    }
    return check_body(r, &e) == ERR_OK ? ADMIT_BODY : refuse(r, &e);
}
