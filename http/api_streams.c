/* http/api_streams.c - which organisations and streams there are, and what fields they have.
 *
 * The figures of a stream come from a snapshot of its files, so they count what a query would read
 * at this moment.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "fs/control.h"
#include "gateway/names.h"
#include "http/api.h"
#include "http/reply.h"

#define FIGURES_TIMEOUT_MS 5000u
#define ORGS_LISTED_MAX 100000
#define BYTES_PER_MB 1048576.0

struct figures {
    uint64_t files, rows;
    uint64_t text_bytes, sealed_bytes; /* as lines; of Parquet */
    int64_t min_ts_us, max_ts_us;
};
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

static void add_file(struct listing *l, const struct snapshot_file *f)
{
    const struct catalog_stream key = {.number = f->stream};
    const struct entry wanted = {.stream = &key};
    struct entry *found = bsearch(&wanted, l->entries, l->count, sizeof wanted, by_number);
    if (!found || f->rows == 0)
        return;
    struct figures *g = &found->figures;
    if (g->files++ == 0 || f->min_ts_us < g->min_ts_us)
        g->min_ts_us = f->min_ts_us;
    if (f->max_ts_us > g->max_ts_us)
        g->max_ts_us = f->max_ts_us;
    g->rows += f->rows;
    g->text_bytes += f->is_sealed ? f->text_bytes : f->bytes;
    g->sealed_bytes += f->is_sealed ? f->bytes : 0;
}

/* Leaves the entries sorted by name. */
static enum err_code fill_figures(struct http_call *c, struct listing *l, struct err *e)
{
    struct snapshot snapshot;
    uint64_t *numbers = arena_alloc(l->arena, (l->count + 1) * sizeof *numbers);
    if (!numbers)
        return err_set(e, ERR_NOMEM, "list of streams");
    if (l->count == 0)
        return ERR_OK;
    qsort(l->entries, l->count, sizeof *l->entries, by_number);
    for (size_t i = 0; i < l->count; i++)
        numbers[i] = l->entries[i].stream->number;
    enum err_code rc =
        control_snapshot(c->cfg->control, numbers, l->count, 0, 0,
                         clock_mono_ms() + FIGURES_TIMEOUT_MS, l->arena, &snapshot, e);
    if (rc != ERR_OK)
        return err_wrap(e, "figures of streams");
    for (size_t i = 0; i < snapshot.file_count; i++)
        add_file(l, &snapshot.files[i]);
    control_release(c->cfg->control, snapshot.id);
    qsort(l->entries, l->count, sizeof *l->entries, by_name);
    return ERR_OK;
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

static void write_schema(struct json_writer *w, const struct catalog_stream *s)
{
    jw_key(w, STR("schema"));
    jw_array(w);
    for (size_t i = 0; i < s->field_count; i++) {
        jw_object(w);
        jw_kstr(w, "name", s->fields[i].name);
        jw_kcstr(w, "type", field_type_name(s->fields[i].type));
        jw_end(w);
    }
    jw_end(w);
}

static void write_entry(struct json_writer *w, const struct entry *n, bool with_schema)
{
    jw_object(w);
    jw_kstr(w, "name", n->stream->name);
    jw_kcstr(w, "storage_type", "disk");
    jw_kcstr(w, "stream_type", stream_type_name(n->stream->type));
    write_figures(w, &n->figures);
    if (with_schema)
        write_schema(w, n->stream);
    jw_key(w, STR("settings"));
    jw_object(w);
    jw_end(w);
    jw_ku64(w, "total_fields", n->stream->field_count);
    jw_end(w);
}

/* --- handlers ------------------------------------------------------------------------------- */

/* Empty is logs in the schema's URL and every type in the list's; an unknown type is an error. */
static enum err_code type_of_url(struct http_call *c, enum stream_type *type, bool *given,
                                 struct err *e)
{
    struct str text = call_arg(c, "type");
    *type = STREAM_LOGS;
    *given = text.len > 0;
    if (*given && !stream_type_parse(text, type))
        return err_set(e, ERR_INVALID, "unknown stream type \"" STR_FMT "\"",
                       (int)(text.len < 64 ? text.len : 64), text.ptr);
    return ERR_OK;
}

enum err_code api_streams(struct http_call *c, struct err *e)
{
    struct listing l = {.arena = c->arena, .keyword = call_arg(c, "keyword")};
    bool given, with_schema = str_eq(call_arg(c, "fetchSchema"), STR("true"));
    enum err_code rc = type_of_url(c, &l.type, &given, e);
    if (rc != ERR_OK)
        return rc;
    l.every_type = !given;
    rc = catalog_list(c->cfg->catalog, c->org, on_stream, &l, e);
    if (rc == ERR_OK && l.failed)
        rc = err_set(e, ERR_NOMEM, "list of streams");
    if (rc == ERR_OK)
        rc = fill_figures(c, &l, e);
    if (rc == ERR_OK) {
        reply_json(c->reply, 200);
        struct json_writer w = {.out = &c->reply->body};
        jw_object(&w);
        jw_key(&w, STR("list"));
        jw_array(&w);
        for (size_t i = 0; i < l.count; i++)
            write_entry(&w, &l.entries[i], with_schema);
        jw_end(&w);
        jw_ku64(&w, "total", l.count);
        jw_end(&w);
    }
    release(&l);
    return rc;
}

enum err_code api_stream_schema(struct http_call *c, struct err *e)
{
    char name[256];
    size_t len;
    enum stream_type type;
    bool given;
    const struct catalog_stream *s;
    enum err_code rc = type_of_url(c, &type, &given, e);
    if (rc == ERR_OK)
        rc = type == STREAM_METRICS ? name_metric(c->stream, name, &len, e)
                                    : name_stream(c->stream, name, &len, e);
    if (rc != ERR_OK)
        return rc;
    rc = catalog_find(c->cfg->catalog, c->org, type, (struct str){name, len}, &s, e);
    if (rc != ERR_OK)
        return rc == ERR_NOTFOUND ? err_set(e, ERR_NOTFOUND, "stream not found") : rc;

    struct entry one = {.stream = s};
    struct listing l = {.arena = c->arena, .entries = &one, .count = 1};
    rc = fill_figures(c, &l, e);
    if (rc == ERR_OK) {
        reply_json(c->reply, 200);
        struct json_writer w = {.out = &c->reply->body};
        write_entry(&w, &one, true);
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
