/* gateway/engine/request.c - the decoder of request.h. */
#include "gateway/engine/request.h"

#include "base/cleanup.h"

static const struct {
    const char *name; /* as the stream's schema names it */
    const char *sql;
} column_types[] = {
    [COLUMN_BOOL] = {"Boolean", "BOOLEAN"},  [COLUMN_INT64] = {"Int64", "BIGINT"},
    [COLUMN_UINT64] = {"UInt64", "HUGEINT"}, [COLUMN_FLOAT64] = {"Float64", "DOUBLE"},
    [COLUMN_UTF8] = {"Utf8", "VARCHAR"},
};

static const char *const explain_names[] = {
    [EXPLAIN_NONE] = "",
    [EXPLAIN_PLAN] = "EXPLAIN",
    [EXPLAIN_ANALYZE] = "EXPLAIN ANALYZE",
};

const char *column_type_sql(enum column_type t)
{
    return column_types[t].sql;
}

const char *column_type_name(enum column_type t)
{
    return column_types[t].name;
}

static enum err_code no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "run request needs more memory than a request has");
}

bool column_type_parse(struct str s, enum column_type *out)
{
    for (size_t i = 0; i < ARRAY_LEN(column_types); i++) {
        if (str_eq(s, str_from(column_types[i].name))) {
            *out = (enum column_type)i;
            return true;
        }
    }
    return false;
}

static bool is_name(struct str s)
{
    return s.len > 0 && !memchr(s.ptr, '\0', s.len);
}

static enum err_code decode_columns(const struct json *list, struct arena *a, struct run_table *t,
                                    struct err *e)
{
    if (!list || list->type != JSON_ARRAY || list->count == 0)
        return err_set(e, ERR_INVALID, "table has no columns");
    t->columns = arena_alloc(a, list->count * sizeof *t->columns);
    t->as = arena_alloc(a, list->count * sizeof *t->as);
    if (!t->columns || !t->as)
        return no_memory(e);
    for (const struct json *item = list->first; item; item = item->next) {
        struct run_column *c = &t->columns[t->column_count];
        struct str *as = &t->as[t->column_count++];
        struct str type = json_str(json_get(item, "type"), STR(""));
        c->name = json_str(json_get(item, "name"), STR(""));
        *as = json_str(json_get(item, "as"), c->name);
        if (!is_name(c->name) || !is_name(*as) || !column_type_parse(type, &c->type))
            return err_set(e, ERR_INVALID, "column '" STR_FMT "' of unknown type '" STR_FMT "'",
                           STR_ARG(c->name), STR_ARG(type));
    }
    return ERR_OK;
}

/* [["level","Utf8"],["request_id","Utf8","rare"],…] */
static enum err_code decode_schema(const struct json *list, struct arena *a, struct run_schema *s,
                                   struct err *e)
{
    size_t count = list && list->type == JSON_ARRAY ? list->count : 0;
    *s = (struct run_schema){.columns = arena_alloc(a, (count + 1) * sizeof *s->columns)};
    if (!s->columns)
        return no_memory(e);
    for (const struct json *item = count ? list->first : NULL; item; item = item->next) {
        struct run_column *c = &s->columns[s->column_count++];
        c->name = json_str(json_at(item, 0), STR(""));
        c->is_rare = json_at(item, 2) != NULL;
        if (!is_name(c->name) || !column_type_parse(json_str(json_at(item, 1), STR("")), &c->type))
            return err_set(e, ERR_INVALID, "schema with a column that is no [name, type]");
    }
    return ERR_OK;
}

static enum err_code decode_schemas(const struct json *list, struct arena *a, struct run_table *t,
                                    struct err *e)
{
    enum err_code rc = ERR_OK;
    size_t count = list && list->type == JSON_ARRAY ? list->count : 0;
    t->schemas = arena_alloc(a, (count + 1) * sizeof *t->schemas);
    if (!t->schemas)
        return no_memory(e);
    for (const struct json *item = count ? list->first : NULL; item && rc == ERR_OK;
         item = item->next)
        rc = decode_schema(item, a, &t->schemas[t->schema_count++], e);
    return rc;
}

static bool decode_parquet(const struct json *item, struct str path, struct run_table *t)
{
    uint64_t schema;
    if (!json_u64(json_get(item, "schema"), &schema) || schema >= t->schema_count)
        return false;
    t->parquet[t->parquet_count++] =
        (struct run_parquet){path, (size_t)schema, json_str(json_get(item, "name"), STR(""))};
    return true;
}

static enum err_code decode_files(const struct json *list, struct arena *a, struct run_table *t,
                                  struct err *e)
{
    size_t count = list ? list->count : 0;
    if (count > RUN_FILES_MAX)
        return err_set(e, ERR_TOOBIG, "table of %zu files, more than %d", count, RUN_FILES_MAX);
    t->lines = arena_alloc(a, (count + 1) * sizeof *t->lines);
    t->parquet = arena_alloc(a, (count + 1) * sizeof *t->parquet);
    if (!t->lines || !t->parquet)
        return no_memory(e);
    for (const struct json *item = list ? list->first : NULL; item; item = item->next) {
        struct str path = json_str(json_get(item, "path"), STR(""));
        struct str format = json_str(json_get(item, "format"), STR(""));
        if (str_eq(format, STR("ndjson")))
            t->lines[t->line_count++] = path;
        else if (!str_eq(format, STR("parquet")))
            return err_set(e, ERR_INVALID, "file of unknown format '" STR_FMT "'", STR_ARG(format));
        else if (!decode_parquet(item, path, t))
            return err_set(e, ERR_INVALID, "file '" STR_FMT "' of an unknown schema",
                           STR_ARG(path));
    }
    return ERR_OK;
}

static enum err_code decode_table(const struct json *doc, struct arena *a, struct run_table *t,
                                  struct err *e)
{
    *t = (struct run_table){.name = json_str(json_get(doc, "name"), STR(""))};
    if (t->name.len == 0)
        return err_set(e, ERR_INVALID, "table has no name");
    json_i64(json_get(doc, "start_us"), &t->start_us);
    json_i64(json_get(doc, "end_us"), &t->end_us);
    enum err_code rc = decode_columns(json_get(doc, "columns"), a, t, e);
    if (rc == ERR_OK)
        rc = decode_schemas(json_get(doc, "schemas"), a, t, e);
    if (rc == ERR_OK)
        rc = decode_files(json_get(doc, "files"), a, t, e);
    if (rc != ERR_OK)
        err_wrap(e, "table " STR_FMT, STR_ARG(t->name));
    return rc;
}

static enum err_code decode_tables(const struct json *list, struct arena *a, struct run_request *r,
                                   struct err *e)
{
    size_t count = list ? list->count : 0;
    if (count > RUN_TABLES_MAX)
        return err_set(e, ERR_TOOBIG, "query over %zu tables, more than %d", count, RUN_TABLES_MAX);
    r->tables = arena_alloc(a, (count + 1) * sizeof *r->tables);
    if (!r->tables)
        return no_memory(e);
    for (const struct json *item = list ? list->first : NULL; item; item = item->next) {
        enum err_code rc = decode_table(item, a, &r->tables[r->table_count++], e);
        if (rc != ERR_OK)
            return rc;
    }
    return ERR_OK;
}

static bool explain_parse(struct str s, enum run_explain *out)
{
    for (size_t i = 0; i < ARRAY_LEN(explain_names); i++) {
        if (str_eq(s, str_from(explain_names[i]))) {
            *out = (enum run_explain)i;
            return true;
        }
    }
    return false;
}

enum err_code run_request_decode(struct str body, struct arena *a, struct run_request *out,
                                 struct err *e)
{
    struct json *doc = NULL;
    enum err_code rc = json_parse(body, a, &doc, e);
    if (rc != ERR_OK) {
        err_wrap(e, "run request");
        return rc;
    }
    *out = (struct run_request){.tree = json_get(doc, "tree")};
    if (!out->tree || out->tree->type != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "run request has no tree");
    if (!explain_parse(json_str(json_get(doc, "explain"), STR("")), &out->explain))
        return err_set(e, ERR_INVALID, "run request: explain is none of its words");
    json_u64(json_get(doc, "limit_rows"), &out->limit_rows);
    json_u64(json_get(doc, "timeout_ms"), &out->timeout_ms);
    json_u64(json_get(doc, "wait_ms"), &out->wait_ms);
    return decode_tables(json_get(doc, "tables"), a, out, e);
}
