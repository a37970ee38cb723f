/* gateway/query_plan.c - turns a search into a tree and the files that it reads.
 *
 *   SQL -> EXPLAIN cut off -> engine: tree -> gate -> streams -> fs: snapshot -> RUN request
 *
 * A snapshot covers all streams of the statement at once, so that they are of one moment.
 * Enrichment tables have no time: with one of them in it, the snapshot has no bounds, and each
 * table's own range chooses its files.
 */
#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "fs/control/control.h"
#include "gateway/dialect.h"
#include "gateway/engine/client.h"
#include "gateway/names.h"
#include "gateway/query_service.h"

#define PATH_TEXT_MAX 4352 /* a mount point, and a name below it */

struct query_streams {
    struct query_service *q;
    struct str org;
    size_t count;
    const struct catalog_stream *held[GATE_TABLES_MAX]; /* one reference each */
};

/* A gate_find: normalises the name as ingest does, and holds what it finds. */
static enum err_code find_stream(void *ctx, enum stream_type type, struct str name,
                                 const struct catalog_stream **out, struct err *e)
{
    struct query_streams *s = ctx;
    char text[NAME_MAX_BYTES + 1];
    size_t len;
    enum err_code rc = type == STREAM_METRICS ? name_metric(name, text, &len, e)
                                              : name_stream(name, text, &len, e);
    struct str normal = {text, len};
    for (size_t i = 0; !rc && i < s->count; i++)
        if (s->held[i]->type == type && str_eq(s->held[i]->name, normal)) {
            *out = s->held[i];
            return ERR_OK;
        }
    if (!rc && s->count == GATE_TABLES_MAX)
        return err_set(e, ERR_NOTFOUND, "too many streams");
    if (!rc)
        rc = catalog_find(query_service_config(s->q)->catalog, s->org, type, normal, out, e);
    if (!rc)
        s->held[s->count++] = *out;
    return rc;
}

static enum err_code gate_tree(struct query_service *q, const struct query_request *r,
                               const struct gate_names *names, struct json *tree,
                               struct query_plan *p, struct err *e)
{
    const struct query_config *cfg = query_service_config(q);
    if (r->size > 0 && (uint64_t)r->size > cfg->size_max)
        return search_error(e, API_INVALID_PARAMS, "Invalid parameters: size is at most %llu",
                            (unsigned long long)cfg->size_max);
    if (!p->streams)
        p->streams = arena_zalloc(p->a, sizeof *p->streams);
    if (!p->streams)
        return err_set(e, ERR_NOMEM, "no memory for a query");
    p->streams->q = q;
    p->streams->org = r->org;
    const struct gate_options o = {.type = r->type,
                                   .start_us = r->start_us,
                                   .end_us = r->end_us,
                                   .histogram_interval_s = r->histogram_interval_s,
                                   .from = r->from,
                                   .size = r->size,
                                   .size_max = cfg->size_max,
                                   .ui_histogram = r->ui_histogram,
                                   .default_limit = cfg->default_limit,
                                   .fts_extra = cfg->fts_extra,
                                   .names = *names,
                                   .find = find_stream,
                                   .find_ctx = p->streams};
    return gate_check(tree, &o, p->a, &p->gate, e);
}

/* A statement over fields that differ only in case is read twice, the second time with other names
 * for them. */
static enum err_code plan_statement(struct query_service *q, const struct query_request *r,
                                    struct str sql, struct engine_client **engine,
                                    uint64_t deadline_ms, struct query_plan *p, struct err *e)
{
    const char *socket = query_service_config(q)->engine_socket;
    struct gate_names names = {0};
    struct json *tree;
    enum err_code rc = query_parse(socket, engine, &sql, deadline_ms, p->a, &tree, e);
    if (!rc)
        rc = gate_tree(q, r, &names, tree, p, e);
    if (!rc)
        rc = gate_tell_apart(&p->gate, sql, p->a, &names, e);
    if (rc || !names.count)
        return rc;
    p->gate.names = names; /* for errors, from here on */
    rc = dialect_rename(sql, &names, p->a, &sql, e);
    if (!rc)
        rc = query_parse(socket, engine, &sql, deadline_ms, p->a, &tree, e);
    return rc ? rc : gate_tree(q, r, &names, tree, p, e);
}

static bool is_timeless(const struct gate_table *t)
{
    return t->stream->type == STREAM_ENRICHMENT;
}

/* max_query_range of the streams: the strictest counts, and the end of the range is kept.  One that
 * reaches back to before all time restricts nothing. */
static void restrict_range(const struct query_request *r, struct query_plan *p)
{
    for (size_t i = 0; i < p->gate.table_count; i++) {
        unsigned hours = p->gate.tables[i].stream->max_query_hours;
        int64_t length, first;
        if (hours == 0 || is_timeless(&p->gate.tables[i]) ||
            __builtin_mul_overflow(hours, US_PER_HOUR, &length) ||
            __builtin_sub_overflow(r->end_us, length, &first) || p->start_us >= first)
            continue;
        p->start_us = first;
        p->range_hours = hours;
    }
}

static enum err_code take_snapshot(struct query_service *q, const struct query_request *r,
                                   uint64_t deadline_ms, struct query_plan *p, struct err *e)
{
    uint64_t numbers[GATE_TABLES_MAX];
    bool timeless = false;
    for (size_t i = 0; i < p->gate.table_count; i++) {
        numbers[i] = p->gate.tables[i].stream->number;
        timeless = timeless || is_timeless(&p->gate.tables[i]);
    }
    if (!p->gate.table_count)
        return ERR_OK;
    struct snapshot *s = arena_zalloc(p->a, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for a query");
    enum err_code rc = control_snapshot(query_service_config(q)->control, numbers,
                                        p->gate.table_count, timeless ? 0 : p->start_us,
                                        timeless ? 0 : r->end_us, deadline_ms, p->a, s, e);
    if (rc)
        return err_wrap(e, "snapshot");
    p->snapshot = s;
    p->left_out = arena_zalloc(p->a, s->file_count + 1);
    return p->left_out ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for a query");
}

enum err_code query_plan_make(struct query_service *q, const struct query_request *r,
                              struct engine_client **engine, uint64_t deadline_ms, struct arena *a,
                              struct query_plan *out, struct err *e)
{
    struct str sql = r->sql;
    *out = (struct query_plan){.a = a, .start_us = r->start_us};
    out->explain = gate_cut_explain(&sql);
    enum err_code rc = plan_statement(q, r, sql, engine, deadline_ms, out, e);
    if (!rc)
        restrict_range(r, out);
    if (!rc && out->start_us < r->end_us)
        rc = take_snapshot(q, r, deadline_ms, out, e);
    if (!rc)
        query_damage_recall(q, out, r);
    return rc;
}

void query_plan_done(struct query_service *q, struct query_plan *p)
{
    if (p->snapshot)
        control_release(query_service_config(q)->control, p->snapshot->id);
    for (size_t i = 0; p->streams && i < p->streams->count; i++)
        catalog_unref(p->streams->held[i]);
    *p = (struct query_plan){0};
}

/* ---- the RUN request ---- */

static bool file_is_of(const struct query_plan *p, const struct snapshot_file *f,
                       const struct gate_table *t, const struct query_request *r)
{
    if (f->stream != t->stream->number || !f->bytes || p->left_out[f - p->snapshot->files])
        return false;
    return is_timeless(t) || (f->max_ts_us >= p->start_us && f->min_ts_us < r->end_us);
}

bool query_plan_reads(const struct query_plan *p, const struct query_request *r,
                      const struct snapshot_file *f)
{
    for (size_t i = 0; i < p->gate.table_count; i++)
        if (file_is_of(p, f, &p->gate.tables[i], r))
            return true;
    return false;
}

static void write_columns(struct json_writer *w, const struct gate_result *gate,
                          const struct gate_table *t)
{
    const struct catalog_stream *s = t->stream;
    jw_key(w, STR("columns"));
    jw_array(w);
    for (size_t i = 0; i < s->field_count; i++) {
        if (!gate_uses(gate, t, i))
            continue;
        jw_object(w);
        jw_kstr(w, "name", s->fields[i].name);
        jw_kcstr(w, "type", field_type_name(s->fields[i].type));
        if (!str_eq(t->in_tree->fields[i].name, s->fields[i].name))
            jw_kstr(w, "as", t->in_tree->fields[i].name);
        jw_end(w);
    }
    jw_end(w);
}

static void write_active(struct json_writer *w, const char *mount_dir,
                         const struct snapshot_file *f)
{
    char id[ULID_TEXT_LEN + 1], path[PATH_TEXT_MAX];
    ulid_format(&f->id, id);
    snprintf(path, sizeof path, "%s/.weir/at/%s@%llu.ndjson", mount_dir, id,
             (unsigned long long)f->bytes);
    jw_object(w);
    jw_kcstr(w, "path", path);
    jw_kcstr(w, "format", "ndjson");
    jw_end(w);
}

/* `schemas[i]`: 1 + where schema i of the snapshot stands among the table's, 0 when it does not. */
static void write_sealed(struct json_writer *w, const char *mount_dir,
                         const struct snapshot_file *f, const uint32_t *schemas)
{
    char path[PATH_TEXT_MAX];
    snprintf(path, sizeof path, "%s/" STR_FMT, mount_dir, STR_ARG(f->path));
    jw_object(w);
    jw_kcstr(w, "path", path);
    jw_kcstr(w, "format", "parquet");
    jw_ku64(w, "schema", schemas[f->schema] - 1);
    if (f->name.len)
        jw_kstr(w, "name", f->name);
    jw_end(w);
}

/* The schemas of the table's sealed files, each once; numbers them. */
static void write_schemas(struct json_writer *w, const struct query_plan *p,
                          const struct query_request *r, const struct gate_table *t,
                          uint32_t *schemas)
{
    uint32_t count = 0;
    jw_key(w, STR("schemas"));
    jw_array(w);
    for (size_t i = 0; i < p->snapshot->file_count; i++) {
        const struct snapshot_file *f = &p->snapshot->files[i];
        if (!f->is_sealed || schemas[f->schema] || !file_is_of(p, f, t, r))
            continue;
        schemas[f->schema] = ++count;
        jw_value(w, p->snapshot->schemas[f->schema].columns);
    }
    jw_end(w);
}

static enum err_code write_files(struct json_writer *w, const struct query_config *cfg,
                                 const struct query_plan *p, const struct query_request *r,
                                 const struct gate_table *t, struct err *e)
{
    const struct snapshot none = {0}, *s = p->snapshot ? p->snapshot : &none;
    uint32_t *schemas = arena_zalloc(p->a, (s->schema_count + 1) * sizeof *schemas);
    if (!schemas)
        return err_set(e, ERR_NOMEM, "no memory for a query");
    if (s->schema_count)
        write_schemas(w, p, r, t, schemas);
    jw_key(w, STR("files"));
    jw_array(w);
    for (size_t i = 0; i < s->file_count; i++) {
        const struct snapshot_file *f = &s->files[i];
        if (!file_is_of(p, f, t, r))
            continue;
        if (f->is_sealed)
            write_sealed(w, cfg->mount_dir, f, schemas);
        else
            write_active(w, cfg->mount_dir, f);
    }
    jw_end(w);
    return ERR_OK;
}

static enum err_code write_table(struct json_writer *w, const struct query_config *cfg,
                                 const struct query_plan *p, const struct query_request *r,
                                 const struct gate_table *t, struct err *e)
{
    jw_object(w);
    jw_kcstr(w, "name", t->name);
    write_columns(w, &p->gate, t);
    enum err_code rc = write_files(w, cfg, p, r, t, e);
    jw_ki64(w, "start_us", is_timeless(t) ? 0 : p->start_us);
    jw_ki64(w, "end_us", is_timeless(t) ? 0 : r->end_us);
    jw_end(w);
    return rc;
}

enum err_code query_plan_request(struct query_service *q, const struct query_plan *p,
                                 const struct query_request *r, const struct json *document,
                                 const struct query_times *left, struct buf *out, struct err *e)
{
    const struct query_config *cfg = query_service_config(q);
    struct json_writer w = {.out = out};
    jw_object(&w);
    jw_key(&w, STR("tree"));
    jw_value(&w, document);
    jw_kcstr(&w, "explain", p->explain);
    jw_key(&w, STR("tables"));
    jw_array(&w);
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < p->gate.table_count && !rc; i++)
        rc = write_table(&w, cfg, p, r, &p->gate.tables[i], e);
    if (rc)
        return rc;
    jw_end(&w);
    jw_ku64(&w, "limit_rows", cfg->size_max);
    jw_ku64(&w, "memory_bytes", cfg->memory_bytes);
    jw_ku64(&w, "timeout_ms", left->timeout_ms);
    jw_ku64(&w, "wait_ms", left->wait_ms);
    jw_end(&w);
    if (!buf_ok(out))
        return search_error(e, API_SQL_NOT_VALID, "the query is too large to be planned");
    return ERR_OK;
}

/* ---- streams that go while they are read ---- */

static bool is_still_there(struct catalog *catalog, const struct catalog_stream *s)
{
    const struct catalog_stream *now;
    if (catalog_find(catalog, s->org, s->type, s->name, &now, NULL) != ERR_OK)
        return false;
    bool same = now->number == s->number;
    catalog_unref(now);
    return same;
}

bool query_plan_lost_stream(struct query_service *q, const struct query_plan *p, struct err *e)
{
    struct catalog *catalog = query_service_config(q)->catalog;
    for (size_t i = 0; i < p->gate.table_count; i++) {
        const struct catalog_stream *s = p->gate.tables[i].stream;
        if (is_still_there(catalog, s))
            continue;
        search_error(e, API_STREAM_NOT_FOUND, "Search stream not found: " STR_FMT,
                     STR_ARG(s->name));
        return true;
    }
    return false;
}
