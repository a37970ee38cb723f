/* gateway/engine/part_reader.c - Parquet to lines, by DuckDB and text_form. */
#include "gateway/engine/part_reader.h"

#include <stdlib.h>

#include "gateway/engine/rare.h"
#include "gateway/engine/sql_text.h"

#define ROW_NUMBER "file_row_number"
#define TEXT_MAX ((size_t)1 << 30) /* of one chunk */
#define SQL_MAX (1u << 20)
#define ARENA_MAX ((size_t)256 << 20)

enum { METRIC_NAME, METRIC_LABELS, METRIC_TIME, METRIC_VALUE, METRIC_COLUMNS };

struct reader {
    const struct part_shape *shape;
    struct arena types, chunk;
    struct value_type *type; /* of each column */
    size_t count;
    size_t time_column;
    struct text_form form; /* of the columns; with rare fields, of the part's fields */
    uint32_t *field_of;    /* with rare fields: of each column but the last, which holds them */
    struct line_plan *rare_plan;
    struct line_cursor *rare_cursor;
    struct line_value *rare_values;
    struct text_writer writer;
    struct buf text;
    uint32_t *line_len;
    int64_t *ts_us;
    part_visit_rows fn;
    void *ctx;
};

/* ---- the columns of the result ---- */

/* The columns stand in the order of the fields; those between them are rare. */
static bool find_fields(struct reader *r, const struct run_column *columns)
{
    const struct part_shape *shape = r->shape;
    size_t field = 0;
    for (size_t i = 0; i + 1 < r->count; i++) {
        while (field < shape->field_count && !str_eq(shape->fields[field], columns[i].name))
            field++;
        if (field == shape->field_count)
            return false;
        r->field_of[i] = (uint32_t)field++;
    }
    return r->count > 0 && str_eq(columns[r->count - 1].name, STR(RARE_COLUMN)) &&
           r->type[r->count - 1].id == DUCKDB_TYPE_VARCHAR;
}

static enum err_code take_fields(struct reader *r, const struct run_column *columns, struct err *e)
{
    size_t n = r->shape->field_count;
    struct run_column *fields = arena_zalloc(&r->types, (n + 1) * sizeof *fields);
    r->field_of = arena_alloc(&r->types, (r->count + 1) * sizeof *r->field_of);
    r->rare_values = arena_alloc(&r->types, (n + 1) * sizeof *r->rare_values);
    if (!fields || !r->field_of || !r->rare_values)
        return err_set(e, ERR_NOMEM, "no memory for %zu fields", n);
    if (!find_fields(r, columns))
        return err_set(e, ERR_CORRUPT, "its columns are not the fields that it names");
    for (size_t i = 0; i < n; i++)
        fields[i].name = r->shape->fields[i];
    enum err_code rc = text_form_make(fields, n, &r->types, &r->form, e);
    if (rc == ERR_OK)
        rc = line_plan_new(r->shape->fields, n, &r->rare_plan, e);
    return rc == ERR_OK ? line_cursor_new(r->rare_plan, &r->rare_cursor, e) : rc;
}

static enum err_code take_columns(struct reader *r, duckdb_result *result, struct err *e)
{
    size_t n = duckdb_column_count(result);
    struct run_column *columns = arena_zalloc(&r->types, (n + 1) * sizeof *columns);
    enum err_code rc = ERR_OK;
    r->type = arena_zalloc(&r->types, (n + 1) * sizeof *r->type);
    r->time_column = n;
    if (!columns || !r->type)
        return err_set(e, ERR_NOMEM, "no memory for %zu columns", n);
    for (size_t i = 0; i < n && rc == ERR_OK; i++) {
        duckdb_logical_type type = duckdb_column_logical_type(result, i);
        columns[i].name = str_from(duckdb_column_name(result, i));
        rc = value_type_decode(type, &r->types, &r->type[i], e);
        duckdb_destroy_logical_type(&type);
        if (str_eq(columns[i].name, STR("_timestamp")) && r->type[i].id == DUCKDB_TYPE_BIGINT)
            r->time_column = i;
    }
    r->count = n;
    if (rc == ERR_OK && (r->time_column == n || (r->shape->is_metrics && n != METRIC_COLUMNS)))
        rc = err_set(e, ERR_CORRUPT, "these are not the columns of a part");
    if (rc != ERR_OK)
        return rc;
    return r->shape->has_rare ? take_fields(r, columns, e)
                              : text_form_make(columns, n, &r->types, &r->form, e);
}

/* ---- rows ---- */

static void put_log_row(struct reader *r, const struct value_view *v, idx_t row)
{
    for (size_t i = 0; i < r->count; i++)
        text_put_view(&r->writer, i, &v[i], row);
}

static struct str token_of(const struct line_value *v)
{
    size_t quotes = v->kind == LINE_STRING || v->kind == LINE_ESCAPED ? 1 : 0;
    return (struct str){v->text.ptr - quotes, v->text.len + 2 * quotes};
}

/* Columns and rare fields, both in the order of the fields. */
static enum err_code put_row_with_rare(struct reader *r, const struct value_view *v, idx_t row,
                                       struct err *e)
{
    size_t columns = r->count - 1, count = 0, next = 0;
    const struct value_view *rare = &v[columns];
    enum err_code rc = ERR_OK;
    if (!value_is_null(rare, row))
        rc = line_find(r->rare_cursor, value_string(rare, row), r->rare_values, &count, e);
    for (size_t i = 0; i <= columns && rc == ERR_OK; i++) {
        size_t end = i < columns ? r->field_of[i] : SIZE_MAX;
        for (; next < count && r->rare_values[next].field < end; next++)
            text_put_token(&r->writer, r->rare_values[next].field, token_of(&r->rare_values[next]));
        if (i < columns)
            text_put_view(&r->writer, end, &v[i], row);
    }
    return rc;
}

static void put_sample(struct reader *r, const struct value_view *v, idx_t row)
{
    struct str labels = value_string(&v[METRIC_LABELS], row);
    text_put_view(&r->writer, METRIC_TIME, &v[METRIC_TIME], row);
    text_put_view(&r->writer, METRIC_NAME, &v[METRIC_NAME], row);
    if (labels.len >= 2)
        text_put_members(&r->writer, (struct str){labels.ptr + 1, labels.len - 2});
    text_put_view(&r->writer, METRIC_VALUE, &v[METRIC_VALUE], row);
}

static enum err_code make_views(struct reader *r, duckdb_data_chunk chunk, struct value_view **out,
                                struct err *e)
{
    enum err_code rc = ERR_OK;
    arena_reset(&r->chunk);
    struct value_view *v = arena_alloc(&r->chunk, (r->count + 1) * sizeof *v);
    if (!v)
        return err_set(e, ERR_NOMEM, "no memory for %zu columns", r->count);
    for (size_t i = 0; i < r->count && rc == ERR_OK; i++)
        rc = value_view_make(duckdb_data_chunk_get_vector(chunk, i), &r->type[i], &r->chunk, &v[i],
                             e);
    *out = v;
    return rc;
}

static enum err_code write_chunk(struct reader *r, duckdb_data_chunk chunk, bool *go_on,
                                 struct err *e)
{
    struct value_view *v = NULL;
    idx_t rows = duckdb_data_chunk_get_size(chunk);
    enum err_code rc = make_views(r, chunk, &v, e);
    if (rc != ERR_OK)
        return rc;
    buf_clear(&r->text);
    for (idx_t row = 0; row < rows && rc == ERR_OK; row++) {
        size_t before = r->text.len;
        text_begin(&r->writer);
        if (r->shape->is_metrics)
            put_sample(r, v, row);
        else if (r->shape->has_rare)
            rc = put_row_with_rare(r, v, row, e);
        else
            put_log_row(r, v, row);
        text_end(&r->writer);
        r->line_len[row] = (uint32_t)(r->text.len - before);
        r->ts_us[row] = value_is_null(&v[r->time_column], row)
                            ? 0
                            : ((const int64_t *)v[r->time_column].data)[row];
    }
    if (rc != ERR_OK)
        return rc;
    if (!buf_ok(&r->text))
        return err_set(e, ERR_TOOBIG, "rows of more than %zu bytes", TEXT_MAX);
    const struct part_rows given = {buf_str(&r->text), r->line_len, r->ts_us, rows};
    *go_on = r->fn(&given, r->ctx);
    return ERR_OK;
}

static enum err_code read_chunks(struct reader *r, duckdb_result *result, struct err *e)
{
    enum err_code rc = ERR_OK;
    for (bool go_on = true; go_on && rc == ERR_OK;) {
        AUTO_CHUNK duckdb_data_chunk chunk = duckdb_fetch_chunk(*result);
        if (!chunk) {
            const char *why = duckdb_result_error(result);
            return why && *why ? reason_from_duckdb(e, duckdb_result_error_type(result), why)
                               : ERR_OK;
        }
        rc = write_chunk(r, chunk, &go_on, e);
    }
    return rc;
}

/* ---- the statement ---- */

static enum err_code ask_of_file(duckdb_connection con, const char *sql, struct str path,
                                 struct buf *answer, struct err *e)
{
    struct buf pattern;
    buf_init(&pattern, 3 * path.len + 1);
    sql_add_pattern(&pattern, path);
    enum err_code rc = buf_ok(&pattern) ? database_ask(con, sql, buf_str(&pattern), answer, e)
                                        : err_set(e, ERR_NOMEM, "no memory for a path");
    buf_done(&pattern);
    return rc;
}

/* A column of that name hides the reader's own. */
static enum err_code has_row_number(duckdb_connection con, struct str path, bool *out,
                                    struct err *e)
{
    struct buf answer;
    buf_init(&answer, 32);
    enum err_code rc = ask_of_file(con,
                                   "SELECT CAST(count(*) AS VARCHAR) FROM parquet_schema($1) "
                                   "WHERE lower(name) = '" ROW_NUMBER "'",
                                   path, &answer, e);
    *out = !str_eq(buf_str(&answer), STR("0"));
    buf_done(&answer);
    return rc;
}

/* Rows of a range are found by their number, which leaves other row groups alone; else by counting.
 */
static void write_select(struct buf *sql, struct str path, struct part_range range, bool by_number)
{
    buf_add_cstr(sql, "SELECT *");
    if (by_number)
        buf_add_cstr(sql, " EXCLUDE (" ROW_NUMBER ")");
    buf_add_cstr(sql, " FROM read_parquet(");
    sql_add_path(sql, path);
    buf_add_cstr(sql, ", hive_partitioning=false");
    if (by_number)
        buf_printf(sql,
                   ", file_row_number=true) WHERE " ROW_NUMBER " >= %llu AND " ROW_NUMBER " < %llu",
                   (unsigned long long)range.first_row,
                   (unsigned long long)(range.first_row + range.rows));
    else if (range.rows != UINT64_MAX)
        buf_printf(sql, ") LIMIT %llu OFFSET %llu", (unsigned long long)range.rows,
                   (unsigned long long)range.first_row);
    else
        buf_add_char(sql, ')');
}

static enum err_code execute_streaming(duckdb_connection con, const char *sql,
                                       duckdb_result *result, struct err *e)
{
    AUTO_PREPARED duckdb_prepared_statement p = NULL;
    duckdb_pending_result pending = NULL;
    enum err_code rc = ERR_OK;
    if (duckdb_prepare(con, sql, &p) != DuckDBSuccess)
        return reason_from_duckdb(e, DUCKDB_ERROR_IO, duckdb_prepare_error(p));
    if (duckdb_pending_prepared_streaming(p, &pending) != DuckDBSuccess)
        rc = reason_from_duckdb(e, DUCKDB_ERROR_IO, duckdb_pending_error(pending));
    else if (duckdb_execute_pending(pending, result) != DuckDBSuccess)
        rc = reason_from_duckdb(e, duckdb_result_error_type(result), duckdb_result_error(result));
    duckdb_destroy_pending(&pending);
    return rc;
}

static enum err_code read_with(struct reader *r, duckdb_connection con, struct str path,
                               struct part_range range, struct err *e)
{
    AUTO_RESULT duckdb_result result = {0};
    struct buf sql;
    bool hidden = false;
    bool may_hide = range.rows != UINT64_MAX && !r->shape->is_metrics;
    enum err_code rc = may_hide ? has_row_number(con, path, &hidden, e) : ERR_OK;
    if (rc != ERR_OK)
        return rc;
    buf_init(&sql, SQL_MAX);
    write_select(&sql, path, range, range.rows != UINT64_MAX && !hidden);
    rc = buf_ok(&sql) ? execute_streaming(con, sql.data, &result, e)
                      : err_set(e, ERR_TOOBIG, "path is too long");
    buf_done(&sql);
    if (rc == ERR_OK)
        rc = take_columns(r, &result, e);
    if (rc == ERR_OK) {
        text_writer_init(&r->writer, &r->form, &r->text);
        rc = read_chunks(r, &result, e);
        text_writer_done(&r->writer);
    }
    return rc;
}

enum err_code part_read_text(duckdb_connection con, struct str path, const struct part_shape *shape,
                             struct part_range range, part_visit_rows fn, void *ctx, struct err *e)
{
    struct reader r = {.shape = shape, .fn = fn, .ctx = ctx};
    arena_init(&r.types, ARENA_MAX);
    arena_init(&r.chunk, ARENA_MAX);
    buf_init(&r.text, TEXT_MAX);
    r.line_len = calloc(duckdb_vector_size(), sizeof *r.line_len);
    r.ts_us = calloc(duckdb_vector_size(), sizeof *r.ts_us);
    enum err_code rc = r.line_len && r.ts_us ? read_with(&r, con, path, range, e)
                                             : err_set(e, ERR_NOMEM, "no memory for a chunk");
    free(r.line_len);
    free(r.ts_us);
    line_cursor_free(r.rare_cursor);
    line_plan_free(r.rare_plan);
    buf_done(&r.text);
    arena_done(&r.chunk);
    arena_done(&r.types);
    return rc == ERR_OK ? ERR_OK : err_wrap(e, STR_FMT, STR_ARG(path));
}

enum err_code part_read_facts(duckdb_connection con, struct str path, struct buf *json,
                              struct err *e)
{
    enum err_code rc = ask_of_file(
        con, "SELECT decode(value) FROM parquet_kv_metadata($1) WHERE decode(key) = 'weir'", path,
        json, e);
    return rc == ERR_OK ? ERR_OK : err_wrap(e, STR_FMT, STR_ARG(path));
}

/* `columns` of one of DuckDB's functions that look into a Parquet file, and `rest`. */
static enum err_code query_metadata(duckdb_connection con, const char *columns,
                                    const char *function, struct str path, const char *rest,
                                    duckdb_result *result, struct err *e)
{
    struct buf sql;
    buf_init(&sql, SQL_MAX);
    buf_printf(&sql, "SELECT %s FROM %s(", columns, function);
    sql_add_path(&sql, path);
    buf_printf(&sql, ") %s", rest);
    bool ok = buf_ok(&sql) && duckdb_query(con, sql.data, result) == DuckDBSuccess;
    buf_done(&sql);
    return ok ? ERR_OK
              : reason_from_duckdb(e, duckdb_result_error_type(result),
                                   duckdb_result_error(result));
}

/* Most files have one, and to list the groups says all of each column of each. */
static enum err_code read_only_group(duckdb_connection con, struct str path, uint64_t *rows,
                                     size_t *count, struct err *e)
{
    AUTO_RESULT duckdb_result result = {0};
    enum err_code rc = query_metadata(con, "num_row_groups, num_rows", "parquet_file_metadata",
                                      path, "", &result, e);
    if (rc != ERR_OK)
        return rc;
    *count = (size_t)duckdb_value_int64(&result, 0, 0);
    *rows = (uint64_t)duckdb_value_int64(&result, 1, 0);
    return ERR_OK;
}

enum err_code part_read_groups(duckdb_connection con, struct str path, struct arena *a,
                               uint64_t **rows, size_t *count, struct err *e)
{
    AUTO_RESULT duckdb_result result = {0};
    uint64_t all_rows;
    enum err_code rc = read_only_group(con, path, &all_rows, count, e);
    if (rc == ERR_OK && *count > 1)
        rc = query_metadata(con, "row_group_num_rows", "parquet_metadata", path,
                            "WHERE column_id = 0 ORDER BY row_group_id", &result, e);
    if (rc != ERR_OK)
        return rc;
    *rows = arena_alloc(a, (*count + 1) * sizeof **rows);
    if (!*rows)
        return err_set(e, ERR_NOMEM, "no memory for %zu row groups", *count);
    (*rows)[0] = all_rows;
    if (*count > 1 && (size_t)duckdb_row_count(&result) != *count)
        return err_set(e, ERR_CORRUPT, STR_FMT ": its metadata contradicts itself", STR_ARG(path));
    for (size_t i = 0; *count > 1 && i < *count; i++)
        (*rows)[i] = (uint64_t)duckdb_value_int64(&result, 0, i);
    return ERR_OK;
}
