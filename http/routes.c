/* http/routes.c - the table of routes, and finding the row for a path. */
#include "http/routes.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "base/utf8.h"
#include "http/api.h"

#define SERVER_METHODS "GET,HEAD,POST,PUT,DELETE" /* that some route has */

static const struct route ROUTES[] = {
    {.method = "GET", .path = "/healthz", .run = api_healthz},
    {.method = "GET", .path = "/schedulez", .run = api_healthz},
    {.method = "GET", .path = "/metrics", .run = api_metrics},
    {.method = "GET", .path = "/config", .run = api_config},
    {.method = "GET", .path = "/", .run = api_page_absent},
    {.method = "GET", .path = "/web", .run = api_page_absent},
    {.method = "GET", .path = "/web/", .run = api_page_absent},
    {.method = "POST",
     .path = "/auth/login",
     .body = BODY_JSON_SMALL,
     .lane = LANE_AUTH, /* computes Argon2, for whoever asks */
     .run = api_login},
    {.method = "GET", .path = "/config/logout", .run = api_logout},
    {.method = "GET", .path = "/node/status", .auth = AUTH_ROOT, .run = api_node_status},
    {.method = "GET", .path = "/node/list", .auth = AUTH_ROOT, .run = api_node_list},
    {.method = "PUT",
     .path = "/node/flush",
     .auth = AUTH_ROOT,
     .lane = LANE_QUERY, /* it may take minutes */
     .run = api_node_flush},

    {.method = "POST",
     .path = "/api/{org}/{stream}/_json",
     .auth = AUTH_INGEST,
     .body = BODY_INGEST,
     .lane = LANE_INGEST,
     .makes_org = true,
     .run = api_ingest_json},

    {.method = "POST",
     .path = "/api/{org}/{stream}/_multi",
     .auth = AUTH_INGEST,
     .body = BODY_INGEST,
     .lane = LANE_INGEST,
     .makes_org = true,
     .run = api_ingest_multi},

    {.method = "POST",
     .path = "/api/{org}/ingest/metrics/_json",
     .auth = AUTH_INGEST,
     .body = BODY_INGEST,
     .lane = LANE_INGEST,
     .makes_org = true,
     .run = api_ingest_metrics_json},

    {.method = "POST",
     .path = "/api/{org}/_search",
     .auth = AUTH_USER,
     .body = BODY_JSON,
     .lane = LANE_QUERY,
     .run = api_search},

    {.method = "POST",
     .path = "/api/{org}/_search_partition",
     .auth = AUTH_USER,
     .body = BODY_JSON,
     .lane = LANE_QUERY,
     .run = api_search_partition},

    {.method = "GET",
     .path = "/api/{org}/{stream}/_values",
     .auth = AUTH_USER,
     .lane = LANE_QUERY,
     .run = api_values},
    {.method = "GET",
     .path = "/api/{org}/{stream}/_around",
     .auth = AUTH_USER,
     .lane = LANE_QUERY,
     .run = api_around},
    {.method = "POST",
     .path = "/api/{org}/{stream}/_around",
     .auth = AUTH_USER,
     .body = BODY_JSON,
     .lane = LANE_QUERY,
     .run = api_around},

    {.method = "GET", .path = "/api/organizations", .auth = AUTH_USER, .run = api_organizations},
    {.method = "GET", .path = "/api/clusters", .auth = AUTH_USER, .run = api_empty_object},
    {.method = "GET", .path = "/api/{org}/summary", .auth = AUTH_USER, .run = api_summary},
    {.method = "GET", .path = "/api/{org}/settings", .auth = AUTH_USER, .run = api_org_settings},
    {.method = "GET", .path = "/api/{org}/settings/v2", .auth = AUTH_USER, .run = api_empty_object},
    {.method = "POST",
     .path = "/api/{org}/settings",
     .auth = AUTH_USER,
     .body = BODY_JSON,
     .run = api_org_settings_change},
    {.method = "GET", .path = "/api/{org}/streams", .auth = AUTH_USER, .run = api_streams},
    {.method = "GET",
     .path = "/api/{org}/streams/{stream}/schema",
     .auth = AUTH_USER,
     .run = api_stream_schema},
    {.method = "GET",
     .path = "/api/{org}/{stream}/schema",
     .auth = AUTH_USER,
     .run = api_stream_schema},
    {.method = "POST",
     .path = "/api/{org}/streams/{stream}",
     .auth = AUTH_USER,
     .body = BODY_JSON,
     .makes_org = true,
     .run = api_stream_create},
    {.method = "DELETE",
     .path = "/api/{org}/streams/{stream}",
     .auth = AUTH_USER,
     .lane = LANE_QUERY, /* it may wait for a seal */
     .run = api_stream_delete},
    {.method = "DELETE",
     .path = "/api/{org}/{stream}",
     .auth = AUTH_USER,
     .lane = LANE_QUERY,
     .this_method_only = true,
     .run = api_stream_delete},
    {.method = "PUT",
     .path = "/api/{org}/streams/{stream}/settings",
     .auth = AUTH_USER,
     .body = BODY_JSON,
     .run = api_stream_settings},
    {.method = "POST",
     .path = "/api/{org}/{stream}/settings",
     .auth = AUTH_USER,
     .body = BODY_JSON,
     .run = api_stream_settings_all},
};

const struct route *route_at(size_t i)
{
    return i < ARRAY_LEN(ROUTES) ? &ROUTES[i] : NULL;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool percent_decode(char *s, size_t *len)
{
    size_t to = 0;
    for (size_t from = 0; from < *len; from++, to++) {
        s[to] = s[from];
        if (s[from] == '%') {
            if (*len - from < 3)
                return false;
            int high = hex_value(s[from + 1]), low = hex_value(s[from + 2]);
            if (high < 0 || low < 0)
                return false;
            s[to] = (char)(high << 4 | low);
            from += 2;
        }
        if (s[to] == '\0')
            return false;
    }
    *len = to;
    return true;
}

/* Cuts at '/', then decodes each segment where it stands.  The path begins with '/'. */
static bool split(char *path, size_t len, struct str *segments, size_t *count)
{
    *count = 0;
    for (size_t start = 1; start <= len;) {
        const char *slash = memchr(path + start, '/', len - start);
        size_t end = slash ? (size_t)(slash - path) : len;
        size_t decoded = end - start;
        if (*count == ROUTE_SEGMENTS_MAX)
            return true; /* longer than any pattern: fits none */
        if (!percent_decode(path + start, &decoded))
            return false;
        segments[*count] = (struct str){path + start, decoded};
        if (!utf8_valid(segments[(*count)++]))
            return false;
        start = end + 1;
    }
    return true;
}

static bool is_capture(struct str pattern)
{
    return pattern.len > 0 && pattern.ptr[0] == '{';
}

/* Does the pattern fit?  *score gets one bit a segment, last segment highest: literal = 1; so a
 * stream may be called `streams`. */
static bool fits(const char *pattern, const struct str *segments, size_t count, uint32_t *score,
                 struct route_match *out)
{
    struct str rest = str_from(pattern + 1), part;
    *score = 0;
    for (size_t i = 0; i < count; i++) {
        bool more = str_cut(rest, '/', &part, &rest);
        if (more != (i + 1 < count))
            return false;
        bool capture = is_capture(part);
        if (!capture && !str_eq(part, segments[i]))
            return false;
        *score |= (uint32_t)!capture << i;
        if (str_eq(part, STR("{org}")))
            out->org = segments[i];
        else if (str_eq(part, STR("{stream}")))
            out->stream = segments[i];
    }
    return true;
}

static bool method_serves(const char *row, struct str method)
{
    return str_eq(str_from(row), method) ||
           (str_eq(method, STR("HEAD")) && strcmp(row, "GET") == 0);
}

static void allow_add(struct route_match *m, const char *method)
{
    size_t used = strlen(m->allow);
    if (strstr(m->allow, method) == NULL)
        snprintf(m->allow + used, sizeof m->allow - used, "%s%s", used ? "," : "", method);
    if (strcmp(method, "GET") == 0)
        allow_add(m, "HEAD");
}

/* The best row for (segments, method); every row that fits adds its method to `allow`. */
static bool choose(const struct str *segments, size_t count, struct str method,
                   struct route_match *out)
{
    bool path_known = false;
    uint32_t best = 0;
    for (size_t i = 0; i < ARRAY_LEN(ROUTES); i++) {
        struct route_match tried = {0};
        uint32_t score;
        if (!fits(ROUTES[i].path, segments, count, &score, &tried) ||
            (ROUTES[i].this_method_only && !method_serves(ROUTES[i].method, method)))
            continue;
        path_known = true;
        allow_add(out, ROUTES[i].method);
        if (method_serves(ROUTES[i].method, method) && (!out->route || score > best)) {
            out->route = &ROUTES[i];
            out->org = tried.org;
            out->stream = tried.stream;
            best = score;
        }
    }
    return path_known;
}

/* `GET http://host/path` is as good as `GET /path`. */
static void skip_origin(char **path, size_t *len)
{
    struct str s = {*path, *len};
    if (!str_starts(s, STR("http://")) && !str_starts(s, STR("https://")))
        return;
    size_t host = (size_t)((char *)memchr(*path, ':', *len) - *path) + 3;
    char *slash = memchr(*path + host, '/', *len - host);
    if (slash) {
        *len -= (size_t)(slash - *path);
        *path = slash;
    }
}

enum route_outcome route_match(char *path, size_t len, struct str method, struct str base_uri,
                               struct route_match *out)
{
    struct str segments[ROUTE_SEGMENTS_MAX];
    size_t count;
    *out = (struct route_match){0};
    if (str_eq((struct str){path, len}, STR("*")) && str_eq(method, STR("OPTIONS"))) {
        str_copy_to(STR(SERVER_METHODS), out->allow, sizeof out->allow);
        return ROUTE_OPTIONS;
    }
    skip_origin(&path, &len);
    if (!str_starts((struct str){path, len}, base_uri))
        return ROUTE_UNKNOWN;
    path += base_uri.len;
    len -= base_uri.len;
    if (len == 0 || path[0] != '/')
        return ROUTE_UNKNOWN;
    out->below_api = str_starts((struct str){path, len}, STR("/api/"));
    if (!split(path, len, segments, &count))
        return ROUTE_BAD_PATH;
    if (!choose(segments, count, method, out)) {
        if (out->below_api && count > 1)
            out->org = segments[1];
        return ROUTE_UNKNOWN;
    }
    if (out->route)
        return ROUTE_FOUND;
    return str_eq(method, STR("OPTIONS")) ? ROUTE_OPTIONS : ROUTE_WRONG_METHOD;
}
