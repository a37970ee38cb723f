/* gateway/query_request.c - the body of a search request (reference §2.1).
 *
 *   {"query": {"sql", "start_time", "end_time", "from", "size", "track_total_hits",
 *              "histogram_interval", "query_fn"}, "encoding": "" | "base64", "timeout": seconds}
 *
 * Everything else that the reference names (sql_mode, sort_by, quick_mode, regions, use_cache, ...)
 * is accepted and has no effect; so are members that nobody knows.  A VRL program in query_fn would
 * change the hits, so it is refused.
 */
#include "base/utf8.h"
#include "gateway/gate.h"
#include "gateway/query_service.h"

/* Value of a digit of either alphabet of RFC 4648, or -1. */
static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* With or without padding; the old page pads with '.'. */
enum err_code query_decode_base64(struct str in, struct arena *a, struct str *out, struct err *e)
{
    while (in.len && strchr("=.", in.ptr[in.len - 1]))
        in.len--;
    char *bytes = arena_alloc(a, in.len / 4 * 3 + 3);
    if (!bytes)
        return err_set(e, ERR_TOOBIG, "the query is too large");
    size_t len = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < in.len; i++) {
        int digit = base64_digit(in.ptr[i]);
        if (digit < 0 || (i + 1 == in.len && i % 4 == 0))
            return err_set(e, ERR_INVALID, "base64 decode error: invalid symbol at offset %zu", i);
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4)
            bytes[len++] = (char)(bits >> (6 - 2 * (i % 4)) & 0xff);
    }
    *out = (struct str){bytes, len};
    return ERR_OK;
}

static enum err_code take_sql(const struct json *doc, const struct json *query, struct arena *a,
                              struct str *out, struct err *e)
{
    struct str encoding = json_str(json_get(doc, "encoding"), STR(""));
    *out = json_str(json_get(query, "sql"), STR(""));
    enum err_code rc =
        str_eq(encoding, STR("base64")) ? query_decode_base64(*out, a, out, e) : ERR_OK;
    if (rc)
        return rc;
    *out = str_trim(*out);
    if (!out->len)
        return search_error(e, API_SQL_NOT_VALID, "Search SQL not valid: the SQL is empty");
    if (!utf8_valid(*out))
        return search_error(e, API_SQL_NOT_VALID, "Search SQL not valid: the SQL is not UTF-8");
    if (memchr(out->ptr, 0, out->len))
        return search_error(e, API_SQL_NOT_VALID, "Search SQL not valid: the SQL holds a NUL");
    return ERR_OK;
}

static enum err_code take_range(const struct json *query, struct query_request *out, struct err *e)
{
    json_i64(json_get(query, "start_time"), &out->start_us);
    json_i64(json_get(query, "end_time"), &out->end_us);
    if (!out->start_us || !out->end_us)
        return search_error(e, API_INVALID_PARAMS,
                            "Invalid parameters: start_time and end_time are needed, in "
                            "microseconds since 1970");
    if (out->start_us > out->end_us)
        return search_error(e, API_INVALID_PARAMS,
                            "Invalid parameters: start_time is after end_time");
    return ERR_OK;
}

static enum err_code take_page(const struct query_config *cfg, const struct json *query,
                               struct query_request *out, struct err *e)
{
    out->size = (int64_t)cfg->default_limit;
    json_i64(json_get(query, "size"), &out->size);
    json_i64(json_get(query, "from"), &out->from);
    out->track_total_hits = json_bool(json_get(query, "track_total_hits"), false);
    if (out->from < 0)
        return search_error(e, API_SQL_EXECUTE,
                            "Search SQL execute error: from must not be negative");
    return ERR_OK;
}

static enum err_code take_rest(const struct query_config *cfg, const struct json *doc,
                               const struct json *query, struct query_request *out, struct err *e)
{
    int64_t timeout_s = 0;
    json_i64(json_get(doc, "timeout"), &timeout_s);
    json_i64(json_get(query, "histogram_interval"), &out->histogram_interval_s);
    if (timeout_s > 0 && (uint64_t)timeout_s < cfg->timeout_ms / 1000)
        out->timeout_ms = (uint64_t)timeout_s * 1000;
    if (out->histogram_interval_s < 0 || out->histogram_interval_s > INT64_MAX / 1000000)
        return search_error(e, API_INVALID_PARAMS,
                            "Invalid parameters: histogram_interval is a number of seconds");
    if (json_str(json_get(query, "query_fn"), STR("")).len)
        return search_error(e, API_INVALID_PARAMS,
                            "Invalid parameters: query functions (VRL) are not supported");
    return ERR_OK;
}

/* The type of the streams, and the body as a document. */
static enum err_code parse_body(struct str body, struct str type, struct arena *a,
                                struct query_request *out, struct json **document, struct err *e)
{
    struct err why;
    if (type.len && !stream_type_parse(type, &out->type))
        return search_error(e, API_INVALID_PARAMS, "Invalid parameters: unknown type");
    enum err_code rc = json_parse(body, a, document, &why);
    if (rc)
        return err_set(e, rc == ERR_INVALID ? ERR_NOTJSON : rc,
                       "Failed to parse the request body as JSON: %s", why.msg);
    return ERR_OK;
}

enum err_code query_request_parse(struct query_service *q, struct str body, struct str org,
                                  struct str type, struct arena *a, struct query_request *out,
                                  struct err *e)
{
    const struct query_config *cfg = query_service_config(q);
    struct json *doc = NULL;
    *out = (struct query_request){.org = org, .type = STREAM_LOGS};
    enum err_code rc = parse_body(body, type, a, out, &doc, e);
    if (!rc)
        rc = query_shape_check(doc, e);
    if (rc)
        return rc;
    const struct json *query = json_get(doc, "query");
    rc = take_sql(doc, query, a, &out->sql, e);
    if (!rc)
        rc = take_range(query, out, e);
    if (!rc)
        rc = take_page(cfg, query, out, e);
    return rc ? rc : take_rest(cfg, doc, query, out, e);
}

enum err_code query_partition_parse(struct query_service *q, struct str body, struct str org,
                                    struct str type, struct arena *a, struct query_request *out,
                                    struct err *e)
{
    struct json *doc = NULL;
    *out = (struct query_request){.org = org, .type = STREAM_LOGS};
    enum err_code rc = parse_body(body, type, a, out, &doc, e);
    if (!rc)
        rc = query_partition_shape_check(doc, e);
    if (!rc)
        rc = take_sql(doc, doc, a, &out->sql, e);
    if (!rc)
        rc = take_range(doc, out, e);
    return rc ? rc : take_rest(query_service_config(q), doc, doc, out, e);
}
