/* tests/support/gate_fixture.h - the gate with DuckDB's real parser before it and behind it.
 *
 * Four streams of one organisation, and the engine's own database, in which an accepted tree is run
 * over tables of the same columns.
 */
#ifndef WEIR_TESTS_GATE_FIXTURE_H
#define WEIR_TESTS_GATE_FIXTURE_H

#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "gateway/dialect.h"
#include "gateway/engine/parse.h"
#include "gateway/gate.h"
#include "gateway/names.h"

#define FIXTURE_START_US INT64_C(1700000000000000)
#define FIXTURE_END_US (FIXTURE_START_US + 3600 * INT64_C(1000000))

struct fixture {
    struct database database;
    duckdb_connection con;
    struct arena arena; /* of the last check */
    struct gate_options options;
    struct gate_result result;
    struct err err;
};

static const struct meta_field fixture_log_fields[] = {
    {{"_timestamp", 10}, FIELD_INT64, 1}, {{"level", 5}, FIELD_UTF8, 2},
    {{"log", 3}, FIELD_UTF8, 3},          {{"i", 1}, FIELD_INT64, 4},
    {{"dur", 3}, FIELD_FLOAT64, 5},       {{"ok", 2}, FIELD_BOOL, 6},
    {{"message", 7}, FIELD_UTF8, 7},      {{"note", 4}, FIELD_UTF8, 8},
    {{"body", 4}, FIELD_INT64, 9},
};
static const struct meta_field fixture_value_fields[] = {
    {{"_timestamp", 10}, FIELD_INT64, 1},
    {{"value", 5}, FIELD_FLOAT64, 2},
    {{"host", 4}, FIELD_UTF8, 3},
    {{"user", 4}, FIELD_UTF8, 4},
};
static const struct meta_field fixture_cased_fields[] = {
    {{"_timestamp", 10}, FIELD_INT64, 1}, {{"value", 5}, FIELD_FLOAT64, 2},
    {{"Host", 4}, FIELD_UTF8, 3},         {{"host", 4}, FIELD_UTF8, 4},
    {{"host_1", 6}, FIELD_UTF8, 5},       {{"HOST", 4}, FIELD_UTF8, 6},
};
static const struct meta_field fixture_word_fields[] = {
    {{"_timestamp", 10}, FIELD_INT64, 1}, {{"value", 5}, FIELD_FLOAT64, 2},
    {{"Date", 4}, FIELD_UTF8, 3},         {{"date", 4}, FIELD_UTF8, 4},
    {{"Order", 5}, FIELD_UTF8, 5},        {{"order", 5}, FIELD_UTF8, 6},
};
static const struct meta_field fixture_upper_fields[] = {
    {{"_timestamp", 10}, FIELD_INT64, 1},
    {{"HOST", 4}, FIELD_UTF8, 2},
};
static const struct meta_field fixture_kept_fields[] = {
    {{"_timestamp", 10}, FIELD_INT64, 1},
    {{"_original", 9}, FIELD_UTF8, 2},
    {{"a", 1}, FIELD_INT64, 3},
};
#define LOG_FIELDS .fields = fixture_log_fields, .field_count = ARRAY_LEN(fixture_log_fields)
#define VALUE_FIELDS .fields = fixture_value_fields, .field_count = ARRAY_LEN(fixture_value_fields)
static const struct catalog_stream fixture_streams[] = {
    {.number = 1, .name = {"k8slogs", 7}, .type = STREAM_LOGS, LOG_FIELDS},
    {.number = 2, .name = {"default", 7}, .type = STREAM_LOGS, LOG_FIELDS},
    {.number = 3, .name = {"plain", 5}, .type = STREAM_LOGS, VALUE_FIELDS},
    {.number = 4, .name = {"cpu", 3}, .type = STREAM_METRICS, VALUE_FIELDS},
    {.number = 5, .name = {"spans", 5}, .type = STREAM_TRACES, VALUE_FIELDS},
    {.number = 6, .name = {"hosts", 5}, .type = STREAM_ENRICHMENT, VALUE_FIELDS},
    {.number = 7,
     .name = {"cased", 5},
     .type = STREAM_METRICS,
     .fields = fixture_cased_fields,
     .field_count = ARRAY_LEN(fixture_cased_fields)},
    {.number = 9,
     .name = {"words", 5},
     .type = STREAM_METRICS,
     .fields = fixture_word_fields,
     .field_count = ARRAY_LEN(fixture_word_fields)},
    {.number = 10,
     .name = {"upper", 5},
     .type = STREAM_METRICS,
     .fields = fixture_upper_fields,
     .field_count = ARRAY_LEN(fixture_upper_fields)},
    {.number = 8,
     .name = {"kept", 4},
     .type = STREAM_LOGS,
     .fields = fixture_kept_fields,
     .field_count = ARRAY_LEN(fixture_kept_fields)},
};

static enum err_code fixture_find(void *ctx, enum stream_type type, struct str name,
                                  const struct catalog_stream **out, struct err *e)
{
    char text[NAME_MAX_BYTES + 1];
    size_t len;
    (void)ctx;
    if (name_stream(name, text, &len, e))
        return ERR_INVALID;
    for (size_t i = 0; i < ARRAY_LEN(fixture_streams); i++)
        if (fixture_streams[i].type == type &&
            str_eq(fixture_streams[i].name, (struct str){text, len})) {
            *out = &fixture_streams[i];
            return ERR_OK;
        }
    return err_set(e, ERR_NOTFOUND, "no such stream");
}

static inline struct gate_options fixture_options(void)
{
    return (struct gate_options){.type = STREAM_LOGS,
                                 .start_us = FIXTURE_START_US,
                                 .end_us = FIXTURE_END_US,
                                 .size_max = 10000000,
                                 .default_limit = 1000,
                                 .fts_extra = "extra, note",
                                 .find = fixture_find};
}

static enum err_code fixture_make_tables(struct fixture *f)
{
    static const char *const sql[] = {
        "CREATE TABLE of_1 AS SELECT 1700000000000000 + x * 1000000 AS _timestamp, "
        "CASE x % 2 WHEN 0 THEN 'info' ELSE 'error' END AS level, 'GET /item/' || x AS log, "
        "x AS i, x / 2 AS dur, x % 3 = 0 AS ok, CAST(NULL AS VARCHAR) AS message, "
        "'Note ' || x AS note, x AS body FROM range(20) r(x)",
        "CREATE TABLE of_2 AS FROM of_1",
        "CREATE TABLE of_3 AS SELECT 1700000000000000 + x AS _timestamp, x * 1.5::DOUBLE AS value, "
        "'h' || x AS host, 'u' || x AS user FROM range(5) r(x)",
        "CREATE TABLE of_4 AS FROM of_3",
        "CREATE TABLE of_5 AS FROM of_3",
        "CREATE TABLE of_6 AS FROM of_3",
    };
    for (size_t i = 0; i < ARRAY_LEN(sql); i++) {
        enum err_code rc = database_do(f->con, sql[i], &f->err);
        if (rc)
            return rc;
    }
    return ERR_OK;
}

static inline enum err_code fixture_open(struct fixture *f)
{
    static const struct engine_config cfg = {.mount_dir = "/nonexistent/mount",
                                             .staging_dir = "/nonexistent/staging",
                                             .temp_dir = "/nonexistent/temp",
                                             .memory_bytes = 256u << 20,
                                             .threads = 1};
    *f = (struct fixture){.options = fixture_options()};
    arena_init(&f->arena, 64u << 20);
    enum err_code rc = database_open(&f->database, &cfg, &f->err);
    if (!rc)
        rc = database_connect(&f->database, &f->con, &f->err);
    return rc ? rc : fixture_make_tables(f);
}

static inline void fixture_close(struct fixture *f)
{
    duckdb_disconnect(&f->con);
    database_close(&f->database);
    arena_done(&f->arena);
}

static inline enum err_code fixture_parse(struct fixture *f, struct str sql)
{
    struct buf tree;
    struct json *document;
    buf_init(&tree, 64u << 20);
    enum err_code rc = parse_sql(f->con, sql, &tree, &f->err);
    struct str kept = arena_copy(&f->arena, buf_str(&tree));
    if (!rc)
        rc = json_parse(kept, &f->arena, &document, &f->err);
    if (!rc)
        rc = gate_check(document, &f->options, &f->arena, &f->result, &f->err);
    buf_done(&tree);
    return rc;
}

/* Parse and gate, twice where fields differ only in case; the result stands in f->result, the
 * reason of a refusal in f->err. */
static inline enum err_code fixture_check(struct fixture *f, const char *sql)
{
    struct str text = str_from(sql);
    arena_reset(&f->arena);
    f->err = (struct err){0};
    f->options.names = (struct gate_names){0};
    gate_cut_explain(&text);
    enum err_code rc = fixture_parse(f, text);
    if (!rc)
        rc = gate_tell_apart(&f->result, text, &f->arena, &f->options.names, &f->err);
    if (rc || !f->options.names.count)
        return rc;
    rc = dialect_rename(text, &f->options.names, &f->arena, &text, &f->err);
    return rc ? rc : fixture_parse(f, text);
}

/* The SQL of a document, as DuckDB writes it. */
static inline enum err_code fixture_render(struct fixture *f, const struct json *document,
                                           struct buf *out)
{
    struct buf tree;
    buf_init(&tree, 64u << 20);
    json_write(&tree, document);
    enum err_code rc = parse_render(f->con, buf_str(&tree), out, &f->err);
    buf_done(&tree);
    return rc;
}

static enum err_code fixture_make_views(struct fixture *f)
{
    for (size_t i = 0; i < f->result.table_count; i++) {
        char sql[128];
        snprintf(sql, sizeof sql, "CREATE OR REPLACE TEMP VIEW %s AS FROM of_%llu",
                 f->result.tables[i].name, (unsigned long long)f->result.tables[i].stream->number);
        enum err_code rc = database_do(f->con, sql, &f->err);
        if (rc)
            return rc;
    }
    return ERR_OK;
}

/* Run a document; the first value of the first row goes to `first` as text ("" when no row). */
static inline enum err_code fixture_run(struct fixture *f, const struct json *document, char *first,
                                        size_t first_size, uint64_t *rows)
{
    struct buf sql;
    AUTO_RESULT duckdb_result r = {0};
    buf_init(&sql, 64u << 20);
    enum err_code rc = fixture_make_views(f);
    if (!rc)
        rc = fixture_render(f, document, &sql);
    if (!rc && duckdb_query(f->con, sql.data, &r) != DuckDBSuccess)
        rc = reason_from_duckdb(&f->err, duckdb_result_error_type(&r), duckdb_result_error(&r));
    buf_done(&sql);
    if (rc)
        return rc;
    char *text = duckdb_row_count(&r) ? duckdb_value_varchar(&r, 0, 0) : NULL;
    snprintf(first, first_size, "%s", text ? text : "");
    duckdb_free(text);
    *rows = duckdb_row_count(&r);
    return ERR_OK;
}

#endif
