/* http/api_explore.c - what a page asks while somebody looks around: the values that a field has,
 * and the records before and after one.
 *
 *   GET …/_values   for each field one SELECT that counts by its value
 *   GET, POST …/_around   two SELECTs: from the record's time on, and before it, 15 minutes each; a
 *                   POST gives the record, and only its pod's or host's records are meant
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "gateway/gate.h"
#include "http/api.h"
#include "http/api_stream.h"
#include "http/reply.h"
#include "http/search_reply.h"

#define VALUES_DEFAULT 10
#define FIELDS_ASKED_MAX 100
#define SQL_MAX (1u << 20)
#define AROUND_US (INT64_C(900) * US_PER_SEC)

struct asking {
    struct http_call *call;
    struct query_column *columns; /* in the call's arena */
    bool first_hit;
    struct query_stats stats; /* of all statements together */
    char trace_id[TRACE_ID_LEN + 1];
};

/* ---- one statement ---- */

static bool on_columns(void *ctx, const struct query_column *columns, size_t n)
{
    struct asking *s = ctx;
    s->columns = arena_alloc(s->call->arena, (n + 1) * sizeof *columns);
    for (size_t i = 0; s->columns && i < n; i++)
        s->columns[i].name = arena_copy(s->call->arena, columns[i].name);
    return !s->call->arena->failed;
}

static bool on_batch(void *ctx, const struct wire_batch *b)
{
    struct asking *s = ctx;
    query_write_hits(&s->call->reply->body, s->columns, b, &s->first_hit);
    return buf_ok(&s->call->reply->body);
}

/* Appends its hits to the reply. */
static enum err_code ask(struct asking *s, struct query_request *r, struct err *e)
{
    const struct query_sink sink = {.columns = on_columns, .batch = on_batch, .ctx = s};
    struct query_stats stats = {0};
    r->waited_us = s->stats.waited_us;
    enum err_code rc = query_run(s->call->cfg->query, r, s->call->arena, &sink, &stats, e);
    s->stats.took_us += stats.took_us - r->waited_us;
    s->stats.waited_us = stats.waited_us;
    s->stats.rows += stats.rows;
    s->stats.scan_bytes += stats.scan_bytes;
    s->stats.scan_files += stats.scan_files;
    if (stats.scan_records > s->stats.scan_records)
        s->stats.scan_records = stats.scan_records;
    if (stats.partial[0])
        memcpy(s->stats.partial, stats.partial, sizeof stats.partial);
    return rc;
}

static struct query_request request_of(struct http_call *c, enum stream_type type, struct buf *sql)
{
    return (struct query_request){.org = c->org,
                                  .type = type,
                                  .sql = buf_str(sql),
                                  .cancelled = call_client_gone,
                                  .cancelled_ctx = c};
}

static void add_identifier(struct buf *sql, struct str name)
{
    buf_add_char(sql, '"');
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '"')
            buf_add_char(sql, '"');
        buf_add_char(sql, name.ptr[i]);
    }
    buf_add_char(sql, '"');
}

static void add_literal(struct buf *sql, struct str text)
{
    buf_add_char(sql, '\'');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'')
            buf_add_char(sql, '\'');
        buf_add_char(sql, text.ptr[i]);
    }
    buf_add_char(sql, '\'');
}

/* The object so far, and the array of hits. */
static struct json_writer begin_reply(struct asking *s)
{
    s->stats.took_us = s->stats.waited_us = call_waited_us(s->call);
    reply_json(s->call->reply, 200);
    struct json_writer w = {.out = &s->call->reply->body};
    jw_object(&w);
    jw_key(&w, STR("hits"));
    jw_array(&w);
    return w;
}

static enum err_code end_reply(struct asking *s, struct json_writer *w, enum err_code rc,
                               int64_t total, int64_t from, int64_t size, const struct err *e)
{
    const struct search_totals totals = {
        .total = total, .from = from, .size = size, .trace_id = s->trace_id};
    if (rc != ERR_OK) {
        search_reply_error(s->call, s->trace_id, e);
        return ERR_OK;
    }
    jw_end(w);
    search_write_rest(w, &totals, &s->stats, s->stats.partial[0] ? s->stats.partial : NULL);
    return ERR_OK;
}

/* ---- _values ---- */

struct values {
    struct asking asking;
    const struct catalog_stream *stream; /* a reference; NULL: there is none */
    int64_t start_us, end_us, size, from;
    bool no_count;
    struct str keyword, filter;
    struct str from_sql; /* a SELECT whose rows are meant; empty: all of the stream */
    struct buf sql;
};

/* filter=level=error,warn */
static void add_filter(struct buf *sql, struct str filter)
{
    struct str name, values, value;
    if (!str_cut(filter, '=', &name, &values) || name.len == 0)
        return;
    buf_add_cstr(sql, " AND ");
    add_identifier(sql, name);
    buf_add_cstr(sql, " IN (");
    for (bool first = true; first || values.len > 0; first = false) {
        str_cut(values, ',', &value, &values);
        if (!first)
            buf_add_char(sql, ',');
        add_literal(sql, value);
    }
    buf_add_char(sql, ')');
}

static void write_sql(struct values *v, struct str field, enum field_type type)
{
    struct buf *sql = &v->sql;
    buf_clear(sql);
    buf_add_cstr(sql, "SELECT coalesce(");
    if (type == FIELD_FLOAT64) /* whole numbers without a fraction */
        buf_add_cstr(sql, "regexp_replace(CAST(");
    else
        buf_add_cstr(sql, "CAST(");
    add_identifier(sql, field);
    buf_add_cstr(sql, type == FIELD_FLOAT64 ? " AS VARCHAR), '\\.0$', '')" : " AS VARCHAR)");
    buf_printf(sql, ", '') AS zo_sql_key, %s AS zo_sql_num FROM ",
               v->no_count ? "0 * count(*)" : "count(*)");
    if (v->from_sql.len > 0) {
        buf_add_char(sql, '(');
        buf_add_str(sql, v->from_sql);
        buf_add_cstr(sql, "\n) AS chosen");
    } else {
        add_identifier(sql, v->stream->name);
    }
    buf_add_cstr(sql, " WHERE true");
    add_filter(sql, v->filter);
    if (v->keyword.len > 0) {
        buf_add_cstr(sql, " AND contains(lower(CAST(");
        add_identifier(sql, field);
        buf_add_cstr(sql, " AS VARCHAR)), lower(");
        add_literal(sql, v->keyword);
        buf_add_cstr(sql, "))");
    }
    buf_add_cstr(sql, " GROUP BY ");
    add_identifier(sql, field);
    buf_add_cstr(sql, v->no_count ? " ORDER BY " : " ORDER BY zo_sql_num DESC, ");
    add_identifier(sql, field);
    buf_add_cstr(sql, " ASC NULLS LAST");
}

static enum err_code add_field(struct values *v, struct json_writer *w, struct str field,
                               struct err *e)
{
    int index = v->stream ? catalog_field(v->stream, field) : -1;
    if (index < 0)
        return ERR_OK;
    jw_object(w);
    jw_kstr(w, "field", field);
    jw_key(w, STR("values"));
    jw_array(w);
    write_sql(v, field, v->stream->fields[index].type);
    struct query_request r = request_of(v->asking.call, v->stream->type, &v->sql);
    r.start_us = v->start_us;
    r.end_us = v->end_us;
    r.size = v->size > 0 ? v->size : VALUES_DEFAULT;
    r.from = v->from;
    v->asking.first_hit = true;
    enum err_code rc = buf_ok(&v->sql) ? ask(&v->asking, &r, e)
                                       : err_set(e, ERR_TOOBIG, "the request is too long");
    jw_end(w);
    jw_end(w);
    return rc;
}

/* A number of the query string; false: it is no number. */
static bool number_arg(struct http_call *c, const char *name, int64_t missing, int64_t *out)
{
    struct str text = call_arg(c, name);
    *out = missing;
    return text.len > 0 && str_to_i64(text, out);
}

static enum err_code time_arg(struct http_call *c, const char *name, int64_t *out, struct err *e)
{
    if (number_arg(c, name, 0, out))
        return ERR_OK;
    return call_arg(c, name).len == 0
               ? err_set(e, ERR_INVALID, "%s is empty", name)
               : err_set(e, ERR_INVALID, "%s is no number of microseconds", name);
}

static enum err_code read_values(struct values *v, struct err *e)
{
    struct http_call *c = v->asking.call;
    if (!call_has_arg(c, "fields"))
        return err_set(e, ERR_INVALID, "fields is empty");
    enum err_code rc = time_arg(c, "start_time", &v->start_us, e);
    if (rc == ERR_OK)
        rc = time_arg(c, "end_time", &v->end_us, e);
    if (rc != ERR_OK)
        return rc;
    if (v->start_us > v->end_us)
        return err_set(e, ERR_INVALID, "start_time is after end_time");
    number_arg(c, "size", VALUES_DEFAULT, &v->size);
    number_arg(c, "from", 0, &v->from);
    if (v->size < 0 || v->from < 0)
        return err_set(e, ERR_INVALID, "size and from are 0 or more");
    v->no_count = str_eq(call_arg(c, "no_count"), STR("true"));
    v->keyword = call_arg(c, "keyword");
    v->filter = call_arg(c, "filter");
    rc = query_decode_base64(call_arg(c, "sql"), c->arena, &v->from_sql, e);
    if (rc == ERR_OK)
        rc = call_stream(c, &v->stream, e);
    return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

static enum err_code add_fields(struct values *v, struct json_writer *w, int64_t *total,
                                struct err *e)
{
    struct str rest = call_arg(v->asking.call, "fields"), field;
    enum err_code rc = ERR_OK;
    do {
        str_cut(rest, ',', &field, &rest);
        if (++*total > FIELDS_ASKED_MAX)
            return err_set(e, ERR_INVALID, "more than %d fields", FIELDS_ASKED_MAX);
        rc = add_field(v, w, field, e);
    } while (rc == ERR_OK && rest.len > 0);
    return rc;
}

enum err_code api_values(struct http_call *c, struct err *e)
{
    struct values v = {.asking = {.call = c}};
    struct json_writer w;
    int64_t total = 0;
    enum err_code rc = read_values(&v, e);
    if (rc != ERR_OK)
        return rc;
    search_trace_id(v.asking.trace_id);
    buf_init(&v.sql, SQL_MAX);
    w = begin_reply(&v.asking);
    rc = add_fields(&v, &w, &total, e);
    end_reply(&v.asking, &w, rc, total, 0, v.size, e);
    buf_done(&v.sql);
    catalog_unref(v.stream);
    return ERR_OK;
}

/* ---- _around ---- */

struct around {
    struct asking asking;
    enum stream_type type;
    struct str name;
    const struct catalog_stream *stream; /* a reference */
    int64_t key, size;
    const struct json *record; /* of a POST; NULL: none */
};

/* Records of the same pod or host, when a record says which. */
static void add_origin(struct buf *sql, const struct around *a)
{
    static const char *const names[] = {"k8s_cluster",         "k8s_namespace_name",
                                        "k8s_pod_name",        "kubernetes_namespace_name",
                                        "kubernetes_pod_name", "hostname"};
    buf_add_cstr(sql, " WHERE true");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct json *v = json_get(a->record, names[i]);
        if (!v || v->type != JSON_STRING || catalog_field(a->stream, str_from(names[i])) < 0)
            continue;
        buf_printf(sql, " AND %s = ", names[i]);
        add_literal(sql, v->text);
    }
}

/* `newer`: from the key on; else before it.  Both newest first. */
static enum err_code add_side(struct around *a, bool newer, struct err *e)
{
    struct buf sql;
    buf_init(&sql, SQL_MAX);
    buf_add_cstr(&sql, newer ? "SELECT * FROM (SELECT * FROM " : "SELECT * FROM ");
    add_identifier(&sql, a->name);
    add_origin(&sql, a);
    buf_printf(&sql, " ORDER BY _timestamp %s", newer ? "ASC" : "DESC");
    if (a->size > 0)
        buf_printf(&sql, " LIMIT %lld", (long long)(a->size / 2));
    if (newer)
        buf_add_cstr(&sql, ") AS newer ORDER BY _timestamp DESC");
    struct query_request r = request_of(a->asking.call, a->type, &sql);
    r.start_us = newer ? a->key : a->key - AROUND_US;
    r.end_us = a->key;
    if (newer && __builtin_add_overflow(a->key, AROUND_US, &r.end_us))
        r.end_us = INT64_MAX;
    enum err_code rc =
        buf_ok(&sql) ? ask(&a->asking, &r, e) : err_set(e, ERR_TOOBIG, "the request is too long");
    buf_done(&sql);
    return rc;
}

/* The time is an argument, or the record's. */
static enum err_code read_around(struct around *a, struct err *e)
{
    struct http_call *c = a->asking.call;
    struct json *body = NULL;
    enum err_code rc = c->body.len > 0 ? json_parse(c->body, c->arena, &body, e) : ERR_OK;
    a->record = body;
    number_arg(c, "size", VALUES_DEFAULT, &a->size);
    if (rc == ERR_OK && !number_arg(c, "key", 0, &a->key))
        json_i64(json_get(body, "_timestamp"), &a->key);
    if (rc == ERR_OK && a->key <= AROUND_US)
        rc = err_set(e, ERR_INVALID, "around key is empty, or no time in microseconds");
    if (rc == ERR_OK && a->size < 0)
        rc = err_set(e, ERR_INVALID, "size is 0 or more");
    return rc;
}

static enum err_code find_stream(struct around *a, char name[NAME_MAX_BYTES + 1], struct err *e)
{
    struct http_call *c = a->asking.call;
    enum err_code rc = call_stream_type(c, &a->type, e);
    if (rc == ERR_OK)
        rc = call_stream_name(c, a->type, name, &a->name, e);
    if (rc == ERR_OK)
        rc = call_stream(c, &a->stream, e);
    if (rc != ERR_NOTFOUND)
        return rc;
    return search_error(e, API_STREAM_NOT_FOUND, "Search stream not found: " STR_FMT,
                        STR_ARG(a->name));
}

enum err_code api_around(struct http_call *c, struct err *e)
{
    struct around a = {.asking = {.call = c, .first_hit = true}};
    char name[NAME_MAX_BYTES + 1];
    enum err_code rc = read_around(&a, e);
    if (rc != ERR_OK)
        return rc;
    search_trace_id(a.asking.trace_id);
    struct json_writer w = begin_reply(&a.asking);
    rc = find_stream(&a, name, e);
    if (rc == ERR_OK)
        rc = add_side(&a, true, e);
    if (rc == ERR_OK)
        rc = add_side(&a, false, e);
    end_reply(&a.asking, &w, rc, (int64_t)a.asking.stats.rows, 0, a.size, e);
    catalog_unref(a.stream);
    return ERR_OK;
}
