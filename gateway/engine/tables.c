/* gateway/engine/tables.c - writes the views of tables.h. */
#include "gateway/engine/tables.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "gateway/engine/rare.h"
#include "gateway/engine/sql_text.h"

#define BLAME_SQL_MAX (64u << 10)

struct branch {
    struct buf *sql;
    const struct run_table *table;
    const struct run_schema *schema;
    const struct run_column **stored; /* of each column of the table; NULL: the files lack it */
};

/* ---- columns ---- */

static int by_name(const void *a, const void *b)
{
    const struct run_column *const *x = a, *const *y = b;
    return str_cmp((*x)->name, (*y)->name);
}

static enum err_code match_columns(struct branch *b, struct err *e)
{
    size_t n = b->schema->column_count;
    AUTO_FREE const struct run_column **sorted = calloc(n + 1, sizeof *sorted);
    b->stored = calloc(b->table->column_count + 1, sizeof *b->stored);
    if (!sorted || !b->stored)
        return err_set(e, ERR_NOMEM, "no memory for %zu columns", n);
    for (size_t i = 0; i < n; i++)
        sorted[i] = &b->schema->columns[i];
    qsort(sorted, n, sizeof *sorted, by_name);
    for (size_t i = 0; i < b->table->column_count; i++) {
        const struct run_column *key = &b->table->columns[i];
        const struct run_column **found = bsearch(&key, sorted, n, sizeof *sorted, by_name);
        b->stored[i] = found ? *found : NULL;
    }
    return ERR_OK;
}

/* As lines have it: true is "true", and a number the digits that were sealed. */
static void add_as_text(const struct branch *b, const struct run_column *stored)
{
    buf_add_cstr(b->sql, stored->type == COLUMN_FLOAT64 ? "weir_number_text(" : "CAST(");
    sql_add_identifier(b->sql, stored->name);
    buf_add_cstr(b->sql, stored->type == COLUMN_FLOAT64 ? ")" : " AS VARCHAR)");
}

/* By the digits: DuckDB's own way from a DECIMAL rounds twice. */
static void add_as_float(const struct branch *b, const struct run_column *stored)
{
    buf_add_cstr(b->sql, "CAST(CAST(");
    sql_add_identifier(b->sql, stored->name);
    buf_add_cstr(b->sql, " AS VARCHAR) AS DOUBLE)");
}

/* Its text form, which every type that it may have been widened to is read from; only "true" is no
 * number. */
static void add_rare(const struct branch *b, const struct run_column *c,
                     const struct run_column *stored)
{
    bool is_text = c->type == COLUMN_UTF8, is_flag = stored->type == COLUMN_BOOL;
    if (!is_text)
        buf_add_cstr(b->sql, is_flag ? "CAST(CAST(" : "CAST(");
    buf_add_cstr(b->sql, "weir_rare(");
    sql_add_identifier(b->sql, STR(RARE_COLUMN));
    buf_add_cstr(b->sql, ", ");
    sql_add_literal(b->sql, c->name);
    buf_add_char(b->sql, ')');
    if (!is_text)
        buf_printf(b->sql, "%s AS %s)", is_flag ? " AS BOOLEAN)" : "", column_type_sql(c->type));
}

/* A value of the files as the type of the table's column; no file may have it. */
static void add_value(const struct branch *b, const struct run_column *c,
                      const struct run_column *stored)
{
    if (!stored) {
        buf_printf(b->sql, "CAST(NULL AS %s)", column_type_sql(c->type));
    } else if (stored->is_rare) {
        add_rare(b, c, stored);
    } else if (c->type == COLUMN_UTF8 && stored->type != COLUMN_UTF8) {
        add_as_text(b, stored);
    } else if (c->type == COLUMN_FLOAT64 && stored->type == COLUMN_UINT64) {
        add_as_float(b, stored);
    } else if (c->type == stored->type && c->type != COLUMN_UINT64) {
        sql_add_identifier(b->sql, c->name);
    } else {
        buf_add_cstr(b->sql, "CAST(");
        sql_add_identifier(b->sql, c->name);
        buf_printf(b->sql, " AS %s)", column_type_sql(c->type));
    }
}

/* A label of a sample: one look into the text of its labels. */
static void add_label(const struct branch *b, const struct run_column *c)
{
    buf_add_cstr(b->sql, "weir_label(labels, ");
    sql_add_literal(b->sql, c->name);
    buf_add_char(b->sql, ')');
}

static bool is_sample_column(struct str name)
{
    return str_eq(name, STR("__name__")) || str_eq(name, STR("_timestamp")) ||
           str_eq(name, STR("value"));
}

static void add_columns(const struct branch *b, bool is_metric)
{
    buf_add_cstr(b->sql, "SELECT ");
    for (size_t i = 0; i < b->table->column_count; i++) {
        const struct run_column *c = &b->table->columns[i];
        if (i > 0)
            buf_add_cstr(b->sql, ", ");
        if (is_metric && !is_sample_column(c->name))
            add_label(b, c);
        else
            add_value(b, c, b->stored[i]);
        buf_add_cstr(b->sql, " AS ");
        sql_add_identifier(b->sql, b->table->as[i]);
    }
}

/* ---- files ---- */

/* Files of one schema store UInt64 in one of three ways; DuckDB is to find the type that holds all,
 * instead of reading every file as the first one. */
static bool may_differ(const struct run_schema *s)
{
    for (size_t i = 0; i < s->column_count; i++)
        if (s->columns[i].type == COLUMN_UINT64)
            return true;
    return false;
}

/* The last first: that is the newest, and once its latest rows are known the others are passed over
 * by their statistics. */
static void add_files(const struct branch *b)
{
    const struct run_table *t = b->table;
    size_t schema = (size_t)(b->schema - t->schemas);
    bool is_first = true;
    buf_add_cstr(b->sql, " FROM read_parquet([");
    for (size_t i = t->parquet_count; i-- > 0;) {
        if (t->parquet[i].schema != schema)
            continue;
        if (!is_first)
            buf_add_char(b->sql, ',');
        is_first = false;
        sql_add_path(b->sql, t->parquet[i].path);
    }
    buf_add_cstr(b->sql, "], hive_partitioning=false");
    buf_add_cstr(b->sql, may_differ(b->schema) ? ", union_by_name=true)" : ")");
}

static void add_conditions(const struct branch *b, struct str metric)
{
    const struct run_table *t = b->table;
    buf_add_cstr(b->sql, " WHERE true");
    if (t->start_us != 0)
        buf_printf(b->sql, " AND _timestamp >= %lld", (long long)t->start_us);
    if (t->end_us != 0)
        buf_printf(b->sql, " AND _timestamp < %lld", (long long)t->end_us);
    if (metric.len == 0)
        return;
    buf_add_cstr(b->sql, " AND __name__ = ");
    sql_add_literal(b->sql, metric);
}

/* Files of one schema; those of a metric have one name. */
static const struct run_parquet *first_of(const struct run_table *t, size_t schema)
{
    for (size_t i = 0; i < t->parquet_count; i++)
        if (t->parquet[i].schema == schema)
            return &t->parquet[i];
    return NULL;
}

static enum err_code add_branch(struct buf *sql, const struct run_table *t, size_t schema,
                                bool *is_first, struct err *e)
{
    const struct run_parquet *file = first_of(t, schema);
    if (!file)
        return ERR_OK;
    struct branch b = {.sql = sql, .table = t, .schema = &t->schemas[schema]};
    enum err_code rc = match_columns(&b, e);
    if (rc == ERR_OK) {
        if (!*is_first)
            buf_add_cstr(sql, " UNION ALL ");
        *is_first = false;
        add_columns(&b, file->metric.len > 0);
        add_files(&b);
        add_conditions(&b, file->metric);
    }
    free(b.stored);
    return rc;
}

enum err_code tables_make_view(duckdb_connection con, const struct run_table *t,
                               const struct table_scan *s, struct buf *sql, struct err *e)
{
    bool is_first = true;
    enum err_code rc = ERR_OK;
    buf_clear(sql);
    buf_add_cstr(sql, "CREATE TEMP VIEW ");
    sql_add_identifier(sql, t->name);
    buf_add_cstr(sql, " AS ");
    if (t->line_count > 0 || t->parquet_count == 0) {
        buf_printf(sql, "SELECT * FROM weir_lines(%llu::UBIGINT)",
                   (unsigned long long)table_scan_id(s));
        is_first = false;
    }
    for (size_t i = 0; i < t->schema_count && rc == ERR_OK; i++)
        rc = add_branch(sql, t, i, &is_first, e);
    if (rc == ERR_OK && !buf_ok(sql))
        rc = err_set(e, ERR_TOOBIG, "table of too many columns or files");
    return rc == ERR_OK ? database_do(con, sql->data, e) : rc;
}

/* ---- after a failure ---- */

static bool names_file(const struct err *e, struct str path)
{
    return memmem(e->msg, strlen(e->msg), path.ptr, path.len) != NULL;
}

static bool is_readable(duckdb_connection con, struct str path)
{
    struct buf sql;
    buf_init(&sql, BLAME_SQL_MAX);
    buf_add_cstr(&sql, "SELECT max(COLUMNS(*)) FROM read_parquet(");
    sql_add_path(&sql, path);
    buf_add_cstr(&sql, ", hive_partitioning=false)");
    bool readable = !buf_ok(&sql) || database_do(con, sql.data, NULL) == ERR_OK;
    buf_done(&sql);
    return readable;
}

static bool blame(struct str path, struct err *e)
{
    e->code = ERR_CORRUPT;
    err_wrap(e, STR_FMT, STR_ARG(path));
    return true;
}

bool tables_blame_file(duckdb_connection con, const struct run_table *t, struct err *e)
{
    bool is_of_query = e->code == ERR_INVALID && e->detail != SEARCH_EXECUTE_ERROR;
    if (is_of_query || e->code == ERR_NOMEM || e->code == ERR_TOOBIG)
        return false;
    for (size_t i = 0; i < t->parquet_count; i++)
        if (names_file(e, t->parquet[i].path))
            return blame(t->parquet[i].path, e);
    if (e->code != ERR_IO)
        return false;
    for (size_t i = 0; i < t->parquet_count; i++)
        if (!is_readable(con, t->parquet[i].path))
            return blame(t->parquet[i].path, e);
    return false;
}
