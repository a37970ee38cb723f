/* http/api_streams.c - which organisations and streams there are, and what fields they have.
 *
 * The figures of streams are taken from their files and parts (fs/figures.h), so they count what a
 * query would read at this moment.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "fs/control/control.h"
#include "gateway/names.h"
#include "gateway/stream_settings.h"
#include "http/api.h"
#include "http/api_stream.h"
#include "http/reply.h"

#define FIGURES_TIMEOUT_MS 5000u
#define ORGS_LISTED_MAX 100000
#define BYTES_PER_MB 1048576.0

struct entry {
    const struct catalog_stream *stream; /* a reference */
    struct figures figures;
};
struct listing {
    struct arena *arena;
    enum stream_type type;
    bool every_type;
    struct str keyword; /* lower case */
    struct entry *entries;
    size_t count, cap;
    bool failed;
};

/* --- collecting ----------------------------------------------------------------------------- */

static bool contains_nocase(struct str s, struct str part)
{
    for (size_t i = 0; i + part.len <= s.len; i++)
        if (str_eq_nocase((struct str){s.ptr + i, part.len}, part))
            return true;
    return false;
}

static bool add_entry(struct listing *l, const struct catalog_stream *s)
{
    if (l->count == l->cap) {
        struct entry *more =
            arena_grow(l->arena, l->entries, l->count, &l->cap, sizeof *l->entries);
        if (!more)
            return !(l->failed = true);
        l->entries = more;
    }
    l->entries[l->count++] = (struct entry){.stream = catalog_ref(s)};
    return true;
}

static bool on_stream(const struct catalog_stream *s, void *ctx)
{
    struct listing *l = ctx;
    if ((!l->every_type && s->type != l->type) || !contains_nocase(s->name, l->keyword))
        return true;
    return add_entry(l, s);
}

static void release(struct listing *l)
{
    for (size_t i = 0; i < l->count; i++)
        catalog_unref(l->entries[i].stream);
}

static int by_number(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->stream->number < y->stream->number ? -1 : x->stream->number > y->stream->number;
}

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = str_cmp(x->stream->name, y->stream->name);
    return order ? order : (int)x->stream->type - (int)y->stream->type;
}

/* Leaves the entries sorted by name. */
static enum err_code fill_figures(struct http_call *c, struct listing *l, struct err *e)
{
    struct figures *list = arena_zalloc(l->arena, (l->count + 1) * sizeof *list);
    if (!list)
        return err_set(e, ERR_NOMEM, "list of streams");
    if (l->count == 0)
        return ERR_OK;
    qsort(l->entries, l->count, sizeof *l->entries, by_number);
    for (size_t i = 0; i < l->count; i++)
        list[i].stream = l->entries[i].stream->number;
    enum err_code rc = control_figures(c->cfg->control, c->org, list, l->count,
                                       clock_mono_ms() + FIGURES_TIMEOUT_MS, e);
    if (rc != ERR_OK)
        return rc;
    for (size_t i = 0; i < l->count; i++)
        l->entries[i].figures = list[i];
    qsort(l->entries, l->count, sizeof *l->entries, by_name);
    return ERR_OK;
}

/* The entries are the caller's to release, also after a failure. */
static enum err_code collect(struct http_call *c, struct listing *l, struct err *e)
{
    enum err_code rc = catalog_list(c->cfg->catalog, c->org, on_stream, l, e);
    if (rc == ERR_OK && l->failed)
        rc = err_set(e, ERR_NOMEM, "list of streams");
    return rc == ERR_OK ? fill_figures(c, l, e) : rc;
}

/* --- writing -------------------------------------------------------------------------------- */

/* With two decimals, as the API has it. */
static double megabytes(uint64_t bytes)
{
    return (double)(int64_t)((double)bytes / BYTES_PER_MB * 100 + 0.5) / 100;
}

static void write_figures(struct json_writer *w, const struct figures *g)
{
    jw_key(w, STR("stats"));
    jw_object(w);
    jw_ki64(w, "created_at", g->min_ts_us);
    jw_ki64(w, "doc_time_min", g->min_ts_us);
    jw_ki64(w, "doc_time_max", g->max_ts_us);
    jw_ku64(w, "doc_num", g->rows);
    jw_ku64(w, "file_num", g->files);
    jw_kf64(w, "storage_size", megabytes(g->text_bytes));
    jw_kf64(w, "compressed_size", megabytes(g->sealed_bytes));
    jw_kf64(w, "index_size", 0);
    jw_end(w);
}

/* Which fields of a schema are asked for. */
struct page {
    struct str keyword;
    uint64_t first, limit;
};

static int by_field_name(const void *a, const void *b)
{
    const struct meta_field *const *x = a, *const *y = b;
    return str_cmp((*x)->name, (*y)->name);
}

/* The fields that the keyword names, by name; NULL: no memory. */
static const struct meta_field **fields_of_page(struct arena *a, const struct catalog_stream *s,
                                                struct str keyword, size_t *count)
{
    const struct meta_field **list = arena_alloc(a, (s->field_count + 1) * sizeof *list);
    *count = 0;
    for (size_t i = 0; list && i < s->field_count; i++)
        if (contains_nocase(s->fields[i].name, keyword))
            list[(*count)++] = &s->fields[i];
    if (list && *count > 0)
        qsort(list, *count, sizeof *list, by_field_name);
    return list;
}

/* `p` NULL: nobody asked for the schema. */
static enum err_code write_schema(struct json_writer *w, struct arena *a,
                                  const struct catalog_stream *s, const struct page *p,
                                  size_t *total, struct err *e)
{
    const struct meta_field **fields = NULL;
    *total = 0;
    if (p && !(fields = fields_of_page(a, s, p->keyword, total)))
        return err_set(e, ERR_NOMEM, "no memory for a schema of %zu fields", s->field_count);
    jw_key(w, STR("schema"));
    jw_array(w);
    for (uint64_t i = p ? p->first : 0; i < *total && i - p->first < p->limit; i++) {
        jw_object(w);
        jw_kstr(w, "name", fields[i]->name);
        jw_kcstr(w, "type", field_type_name(fields[i]->type));
        jw_end(w);
    }
    jw_end(w);
    return ERR_OK;
}

static enum err_code write_entry(struct json_writer *w, struct arena *a, const struct entry *n,
                                 const struct page *p, struct err *e)
{
    size_t total;
    jw_object(w);
    jw_kstr(w, "name", n->stream->name);
    jw_kcstr(w, "storage_type", "disk");
    jw_kcstr(w, "stream_type", stream_type_name(n->stream->type));
    write_figures(w, &n->figures);
    enum err_code rc = write_schema(w, a, n->stream, p, &total, e);
    jw_key(w, STR("settings"));
    jw_raw(w, n->stream->settings.len > 2 ? n->stream->settings : STREAM_SETTINGS_DEFAULT);
    jw_ku64(w, "total_fields", total);
    jw_end(w);
    return rc;
}

/* --- handlers ------------------------------------------------------------------------------- */

enum err_code call_stream_type(struct http_call *c, enum stream_type *type, struct err *e)
{
    struct str text = call_arg(c, "type");
    *type = STREAM_LOGS;
    if (text.len > 0 && !stream_type_parse(text, type))
        return err_set(e, ERR_INVALID, "unknown stream type \"" STR_FMT "\"",
                       (int)(text.len < 64 ? text.len : 64), text.ptr);
    return ERR_OK;
}

static int by_rows(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->figures.rows != y->figures.rows)
        return x->figures.rows < y->figures.rows ? -1 : 1;
    return by_name(a, b);
}

static int by_bytes(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->figures.text_bytes != y->figures.text_bytes)
        return x->figures.text_bytes < y->figures.text_bytes ? -1 : 1;
    return by_name(a, b);
}

/* sort=name|doc_num|storage_size, descending unless asc=true; without it by name, ascending. */
static void sort_entries(struct http_call *c, struct listing *l)
{
    struct str sort = call_arg(c, "sort");
    if (l->count == 0)
        return;
    qsort(l->entries, l->count, sizeof *l->entries,
          str_eq(sort, STR("doc_num"))        ? by_rows
          : str_eq(sort, STR("storage_size")) ? by_bytes
                                              : by_name);
    if (sort.len == 0 || str_eq(call_arg(c, "asc"), STR("true")))
        return;
    for (size_t i = 0, k = l->count - 1; i < k; i++, k--) {
        struct entry swapped = l->entries[i];
        l->entries[i] = l->entries[k];
        l->entries[k] = swapped;
    }
}

/* A number of the query string; what is none counts as missing. */
static uint64_t count_arg(struct http_call *c, const char *name, uint64_t missing)
{
    int64_t n;
    struct str text = call_arg(c, name);
    return text.len > 0 && str_to_i64(text, &n) && n >= 0 ? (uint64_t)n : missing;
}

static enum err_code write_list(struct http_call *c, const struct listing *l, struct err *e)
{
    static const struct page all = {{NULL, 0}, 0, UINT64_MAX};
    bool with_schema = str_eq(call_arg(c, "fetchSchema"), STR("true"));
    uint64_t first = count_arg(c, "offset", 0), limit = count_arg(c, "limit", UINT64_MAX);
    enum err_code rc = ERR_OK;
    reply_json(c->reply, 200);
    struct json_writer w = {.out = &c->reply->body};
    jw_object(&w);
    jw_key(&w, STR("list"));
    jw_array(&w);
    for (uint64_t i = first; i < l->count && i - first < limit && rc == ERR_OK; i++)
        rc = write_entry(&w, c->arena, &l->entries[i], with_schema ? &all : NULL, e);
    jw_end(&w);
    jw_ku64(&w, "total", l->count);
    jw_end(&w);
    return rc;
}

enum err_code api_streams(struct http_call *c, struct err *e)
{
    struct listing l = {.arena = c->arena, .keyword = call_arg(c, "keyword")};
    l.every_type = !call_has_arg(c, "type");
    enum err_code rc = call_stream_type(c, &l.type, e);
    if (rc != ERR_OK)
        return rc;
    rc = collect(c, &l, e);
    if (rc == ERR_OK) {
        sort_entries(c, &l);
        rc = write_list(c, &l, e);
    }
    release(&l);
    return rc;
}

static void write_nothing_of(struct json_writer *w, const char *what)
{
    jw_key(w, str_from(what));
    jw_raw(w, STR("{\"num_realtime\":0,\"num_scheduled\":0,\"trigger_status\":{\"healthy\":0,"
                  "\"failed\":0,\"warning\":0}}"));
}

static void write_summary(struct json_writer *w, const struct listing *l)
{
    struct figures sum = {0};
    for (size_t i = 0; i < l->count; i++) {
        sum.rows += l->entries[i].figures.rows;
        sum.text_bytes += l->entries[i].figures.text_bytes;
        sum.sealed_bytes += l->entries[i].figures.sealed_bytes;
    }
    jw_object(w);
    jw_key(w, STR("streams"));
    jw_object(w);
    jw_ku64(w, "num_streams", l->count);
    jw_ku64(w, "total_records", sum.rows);
    jw_kf64(w, "total_storage_size", megabytes(sum.text_bytes));
    jw_kf64(w, "total_compressed_size", megabytes(sum.sealed_bytes));
    jw_kf64(w, "total_index_size", 0);
    jw_end(w);
    write_nothing_of(w, "pipelines"); /* which are not built yet, nor what follows */
    write_nothing_of(w, "alerts");
    jw_ku64(w, "total_functions", 0);
    jw_ku64(w, "total_dashboards", 0);
    jw_end(w);
}

enum err_code api_summary(struct http_call *c, struct err *e)
{
    struct listing l = {.arena = c->arena, .every_type = true, .keyword = STR("")};
    enum err_code rc = collect(c, &l, e);
    if (rc == ERR_OK) {
        reply_json(c->reply, 200);
        struct json_writer w = {.out = &c->reply->body};
        write_summary(&w, &l);
    }
    release(&l);
    return rc;
}

enum err_code call_stream_name(struct http_call *c, enum stream_type type, char *dst,
                               struct str *name, struct err *e)
{
    name->ptr = dst;
    return type == STREAM_METRICS ? name_metric(c->stream, dst, &name->len, e)
                                  : name_stream(c->stream, dst, &name->len, e);
}

enum err_code call_stream(struct http_call *c, const struct catalog_stream **out, struct err *e)
{
    char text[NAME_MAX_BYTES + 1];
    struct str name;
    enum stream_type type;
    enum err_code rc = call_stream_type(c, &type, e);
    if (rc == ERR_OK)
        rc = call_stream_name(c, type, text, &name, e);
    if (rc == ERR_OK)
        rc = catalog_find(c->cfg->catalog, c->org, type, name, out, e);
    return rc == ERR_NOTFOUND ? err_set(e, ERR_NOTFOUND, "stream not found") : rc;
}

enum err_code api_stream_schema(struct http_call *c, struct err *e)
{
    const struct catalog_stream *s;
    enum err_code rc = call_stream(c, &s, e);
    if (rc != ERR_OK)
        return rc;
    struct entry one = {.stream = s};
    struct listing l = {.arena = c->arena, .entries = &one, .count = 1};
    rc = fill_figures(c, &l, e);
    if (rc == ERR_OK) {
        reply_json(c->reply, 200);
        struct json_writer w = {.out = &c->reply->body};
        const struct page page = {call_arg(c, "keyword"), count_arg(c, "offset", 0),
                                  count_arg(c, "limit", UINT64_MAX)};
        rc = write_entry(&w, c->arena, &one, &page, e);
    }
    catalog_unref(s);
    return rc;
}

static bool on_org_of_stream(const struct catalog_stream *s, void *ctx)
{
    struct map *names = ctx; /* only its keys matter */
    return map_find(names, s->org) || map_put(names, s->org, names);
}

static void write_org(struct json_writer *w, struct str name, int64_t id, const char *email)
{
    jw_object(w);
    jw_ki64(w, "id", id);
    jw_kstr(w, "identifier", name);
    jw_kstr(w, "name", name);
    jw_kcstr(w, "user_email", email);
    jw_kcstr(w, "type", str_eq(name, STR("default")) ? "default" : "custom");
    jw_key(w, STR("UserObj"));
    jw_object(w);
    jw_kcstr(w, "first_name", "");
    jw_kcstr(w, "last_name", "");
    jw_kcstr(w, "email", email);
    jw_end(w);
    jw_ki64(w, "plan", 0);
    jw_end(w);
}

/* Every organisation that has a stream, and `default`. */
enum err_code api_organizations(struct http_call *c, struct err *e)
{
    struct map names;
    map_init(&names, ORGS_LISTED_MAX);
    map_put(&names, STR("default"), &names);
    enum err_code rc = catalog_list(c->cfg->catalog, STR(""), on_org_of_stream, &names, e);
    if (rc == ERR_OK) {
        struct str name;
        void *ignored;
        int64_t id = 0;
        reply_json(c->reply, 200);
        struct json_writer w = {.out = &c->reply->body};
        jw_object(&w);
        jw_key(&w, STR("data"));
        jw_array(&w);
        for (size_t pos = 0; map_next(&names, &pos, &name, &ignored);)
            write_org(&w, name, ++id, c->user.email);
        jw_end(&w);
        jw_end(&w);
    }
    map_done(&names);
    return rc;
}
