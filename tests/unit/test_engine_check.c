// links: weir_engine
/* tests/unit/test_engine_check.c - what the engine refuses by itself, whatever tree it is given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/support/engine_fixture.h"

enum { MEMORY_BYTES = 256 << 20, QUERIES = 1 };

static struct engine_fixture fixture;

static int start_engine(void **state)
{
    (void)state;
    return engine_fixture_start(&fixture, MEMORY_BYTES, QUERIES) ? 0 : -1;
}

static int stop_engine(void **state)
{
    (void)state;
    return engine_fixture_stop(&fixture);
}

#define TABLES                                                                                     \
    "[{\"name\":\"weir_t0\",\"columns\":[{\"name\":\"i\",\"type\":\"Int64\"}],\"files\":[]}]"

struct check_case {
    const char *sql;
    int detail; /* of the refusal; 0: it runs */
};

/* The tree goes to the engine as DuckDB's parser gives it: there is no gate here. */
static void expect_all(const struct check_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct engine_answer a;
        enum err_code rc = engine_ask(&fixture, cases[i].sql, TABLES, "", &a);
        enum err_code wanted = cases[i].detail ? ERR_INVALID : ERR_OK;
        if (rc != wanted || (rc != ERR_OK && a.error.detail != cases[i].detail))
            fail_msg("%s\n  gave %s %d %s", cases[i].sql, err_name(rc), a.error.detail,
                     a.error.msg);
        engine_answer_done(&a);
    }
}

static void tables_that_are_not_of_the_request_are_refused(void **state)
{
    (void)state;
    static const struct check_case cases[] = {
        {"select * from weir_t1", 20002},
        {"select * from weir_t00", 20002},
        {"select * from weir_t", 20002},
        {"select * from WEIR_T0", 20002},
        {"select * from main.weir_t0", 20002},
        {"select * from temp.weir_t0", 20002},
        {"select * from '/etc/passwd'", 20002},
        {"select * from \"/proc/self/environ\"", 20002},
        {"select * from 'https://example.com/x.parquet'", 20002},
        {"select * from duckdb_settings", 20002},
        {"select * from sqlite_master", 20002},
        {"select * from pg_catalog.pg_class", 20002},
        {"select * from information_schema.tables", 20002},
        {"select * from system.information_schema.schemata", 20002},
        {"from '/etc/passwd'", 20002},
        {"table duckdb_tables", 20002},
        {"select (select count(*) from pg_class)", 20002},
        {"select 1 where exists (from pg_class)", 20002},
        {"select 1 in (from pg_class)", 20002},
        {"select 1 order by (select count(*) from pg_class)", 20002},
        {"select 1 limit (select count(*) from pg_class)", 20002},
        {"select 1 union all select 2 from pg_class", 20002},
        {"select * from weir_t0 join pg_class on true", 20002},
        {"select * from weir_t0 a, lateral (select a.i from pg_class)", 20002},
        {"select * from (pivot pg_class on relname in ('a') using count(*))", 20002},
        {"select [x for x in (select list(relname) from pg_class)]", 20002},
        {"select sum(i) filter (where i in (select 1 from pg_class)) from weir_t0", 20002},
        {"select sum(i) over (order by (select count(*) from pg_class)) from weir_t0", 20002},
        {"values ((select count(*) from pg_class))", 20002},
        {"explain select 1 from pg_class", 20001},
    };
    expect_all(cases, ARRAY_LEN(cases));
}

static void names_of_ctes_open_nothing_else(void **state)
{
    (void)state;
    static const struct check_case cases[] = {
        {"with pg_class as (select 1) select * from pg_class", 20002},
        {"with pg_class as (select * from pg_class) select 1", 20002},
        {"select (with \"/etc/passwd\" as (select 1) select 1) from '/etc/passwd'", 20002},
        {"with weir_c0 as (select 1) select * from weir_c1", 20002},
        {"with weir_c0 as (select 1) select * from temp.weir_c0", 20002},
        {"with weir_c0 as (select * from '/etc/passwd') select * from weir_c0", 20002},
        {"with weir_c0 as (select 1), weir_c1 as (from weir_c0) select * from weir_c1", 0},
        {"with recursive weir_c0 as (select 1 x union all select x + 1 from weir_c0 where x < 5) "
         "select * from weir_c0",
         0},
    };
    expect_all(cases, ARRAY_LEN(cases));
}

static void table_functions_that_read_are_refused(void **state)
{
    (void)state;
    static const struct check_case cases[] = {
        {"select * from read_text('/etc/hostname')", 20005},
        {"select * from read_csv('/etc/passwd')", 20005},
        {"select * from read_parquet('x')", 20005},
        {"select * from read_json('x')", 20005},
        {"select * from read_ndjson_objects('x')", 20005},
        {"select * from read_blob('/proc/self/environ')", 20005},
        {"select * from parquet_metadata('x')", 20005},
        {"select * from parquet_scan('x')", 20005},
        {"select * from sniff_csv('x')", 20005},
        {"select * from glob('/etc/*')", 20005},
        {"select * from query('select 1')", 20005},
        {"select * from query_table('pg_class')", 20005},
        {"select * from duckdb_settings()", 20005},
        {"select * from duckdb_secrets()", 20005},
        {"select * from duckdb_views()", 20005},
        {"select * from duckdb_temporary_files()", 20005},
        {"select * from pragma_table_info('weir_t0')", 20005},
        {"select * from json_execute_serialized_sql('x')", 20005},
        {"select * from checkpoint()", 20005},
        {"select * from weir_lines(1::UBIGINT)", 20005},
        {"select * from weir_t0, lateral read_text('/etc/hostname')", 20005},
        {"select (select content from read_text('/etc/hostname'))", 20005},
        {"with weir_c0 as (from read_text('/etc/hostname')) select 1", 20005},
        {"select * from system.main.range(3)", 20005},
        {"select * from nosuch.range(3)", 20005},
        {"select * from range(3), generate_series(2), unnest([1])", 0},
        {"select * from json_each('[1]'), json_tree('[1]')", 0},
        {"select * from weir_t0, unnest([weir_t0.i])", 0},
    };
    expect_all(cases, ARRAY_LEN(cases));
}

static void statements_that_show_are_refused(void **state)
{
    (void)state;
    static const struct check_case cases[] = {
        {"show tables", 20001},
        {"describe weir_t0", 20001},
        {"summarize weir_t0", 20001},
        {"select * from (describe weir_t0)", 20001},
        {"select * from (show all tables)", 20001},
        {"select * from (summarize pg_class)", 20001},
    };
    expect_all(cases, ARRAY_LEN(cases));
}

static void everything_in_from_that_reads_nothing_else_runs(void **state)
{
    (void)state;
    static const struct check_case cases[] = {
        {"select 1", 0},
        {"values (1), (2)", 0},
        {"select * from weir_t0 a natural join weir_t0 b", 0},
        {"select * from weir_t0 a positional join weir_t0 b", 0},
        {"select * from (select * from weir_t0) using sample 3 rows", 0},
        {"select * from weir_t0 tablesample 10%", 0},
        {"select * from (pivot weir_t0 on i in (1, 2) using count(*))", 0},
        {"select * from (unpivot weir_t0 on i)", 0},
        {"select * from (values (1)) x(y)", 0},
        {"select i from weir_t0 union select 1 intersect select 2 order by 1 limit 3", 0},
    };
    expect_all(cases, ARRAY_LEN(cases));
}

/* DuckDB writes the name of x.* as it stands, so a tree can hold SQL that its parser never saw. */
static void sql_smuggled_through_a_tree_is_refused(void **state)
{
    (void)state;
    static const char request[] =
        "{\"tree\":{\"error\":false,\"statements\":[{\"node\":{\"type\":\"SELECT_NODE\","
        "\"modifiers\":[],\"cte_map\":{\"map\":[]},\"select_list\":[{\"class\":\"STAR\",\"type\":"
        "\"STAR\",\"alias\":\"\",\"query_location\":7,\"relation_name\":\"weir_t0.* FROM weir_t0, "
        "read_text('/etc/hostname') x --\",\"exclude_list\":[],\"replace_list\":[],\"columns\":"
        "false,\"expr\":null,\"qualified_exclude_list\":[],\"rename_list\":[]}],\"from_table\":{"
        "\"type\":\"BASE_TABLE\",\"alias\":\"\",\"sample\":null,\"query_location\":14,"
        "\"schema_name\":\"\",\"table_name\":\"weir_t0\",\"column_name_alias\":[],"
        "\"catalog_name\":\"\",\"at_clause\":null},\"where_clause\":null,\"group_expressions\":[],"
        "\"group_sets\":[],\"aggregate_handling\":\"STANDARD_HANDLING\",\"having\":null,"
        "\"sample\":null,\"qualify\":null},\"named_param_map\":[]}]},\"tables\":" TABLES "}";
    struct engine_client *c = NULL;
    struct engine_answer a = {0};
    struct err *e = &a.error;
    uint64_t deadline_ms = clock_mono_ms() + ENGINE_START_MS;
    buf_init(&a.columns, ENGINE_TEXT_MAX);
    buf_init(&a.rows, ENGINE_TEXT_MAX);
    assert_int_equal(engine_client_open(fixture.socket, deadline_ms, &c, e), ERR_OK);
    assert_int_equal(engine_client_run(c, STR(request), e), ERR_OK);
    assert_int_equal(engine_collect(c, &a), ERR_INVALID);
    assert_int_equal(a.error.detail, 20005);
    assert_non_null(strstr(a.error.msg, "read_text"));
    engine_client_close(c);
    engine_answer_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_that_are_not_of_the_request_are_refused),
        cmocka_unit_test(names_of_ctes_open_nothing_else),
        cmocka_unit_test(table_functions_that_read_are_refused),
        cmocka_unit_test(statements_that_show_are_refused),
        cmocka_unit_test(everything_in_from_that_reads_nothing_else_runs),
        cmocka_unit_test(sql_smuggled_through_a_tree_is_refused),
    };
    return cmocka_run_group_tests(tests, start_engine, stop_engine);
}
