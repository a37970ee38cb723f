// links: weir_gateway weir_engine weir_fs weir_index
/* tests/unit/test_gate_functions.c - functions of the reference that DuckDB has under other names
 * or with other arguments: what SQL with them answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "gateway/gate_internal.h"
#include "tests/support/gate_fixture.h"

static int open_fixture(void **state)
{
    static struct fixture f;
    *state = &f;
    if (fixture_open(&f) == ERR_OK)
        return 0;
    print_error("%s\n", f.err.msg);
    return -1;
}

static int close_fixture(void **state)
{
    fixture_close(*state);
    return 0;
}

struct answer_case {
    const char *sql, *first; /* the first value of the first row */
};

static void check_answers(void **state, const struct answer_case *cases, size_t count)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < count; i++) {
        char first[256];
        uint64_t rows;
        if (fixture_check(f, cases[i].sql) ||
            fixture_run(f, f->result.document, first, sizeof first, &rows))
            fail_msg("%s\n  %d %s", cases[i].sql, f->err.detail, f->err.msg);
        if (strcmp(first, cases[i].first) != 0)
            fail_msg("%s\n  gave %s\n  not  %s", cases[i].sql, first, cases[i].first);
    }
}
#define CHECK_ANSWERS(state, cases) check_answers(state, cases, ARRAY_LEN(cases))

static void check_refusals(void **state, const char *const *sql, size_t count, int code)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < count; i++)
        if (fixture_check(f, sql[i]) != ERR_INVALID || f->err.detail != code)
            fail_msg("%s\n  gave %d %s", sql[i], f->err.detail, f->err.msg);
}

/* k8slogs: i = 0 .. 19, level "info" for even ones, else "error". */
static void approximate_aggregates_take_distinct_filter_and_over(void **state)
{
    static const struct answer_case cases[] = {
        {"SELECT approx_distinct(level) FROM k8slogs", "2"},
        {"SELECT approx_distinct(DISTINCT level) FROM k8slogs", "2"},
        {"SELECT approx_distinct(level) FILTER (WHERE level = 'info') FROM k8slogs", "1"},
        {"SELECT approx_distinct(level) OVER () FROM k8slogs", "2"},
        {"SELECT approx_percentile_cont(i, 1.0) FROM k8slogs", "19"},
        {"SELECT approx_percentile_cont(i, 1.0, 100) FROM k8slogs", "19"},
        {"SELECT approx_percentile_cont(i, 1.0) FILTER (WHERE i < 5) FROM k8slogs", "4"},
        {"SELECT approx_percentile_cont(i, 1.0, 50) OVER () FROM k8slogs", "19"},
        {"SELECT approx_median(i) FILTER (WHERE i < 1) FROM k8slogs", "0"},
        {"SELECT percentile_cont(i, 0.5) FROM k8slogs", "9.5"},
        {"SELECT percentile_disc(i, 0.5) FROM k8slogs", "9"},
        {"SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY i) FROM k8slogs", "9.5"},
        {"SELECT var_population(i) FROM k8slogs WHERE i < 2", "0.25"},
        {"SELECT array_to_string(array_agg(i ORDER BY i), ',') FROM k8slogs WHERE i < 3", "0,1,2"},
    };
    CHECK_ANSWERS(state, cases);
    static const char *const bad[] = {
        "SELECT approx_percentile_cont(i) FROM k8slogs",
        "SELECT approx_percentile_cont(i, 0.5, 1, 2) FROM k8slogs",
        "SELECT approx_percentile_cont() FROM k8slogs",
        "SELECT approx_median(i, 0.5) FROM k8slogs",
        "SELECT approx_median() FROM k8slogs",
    };
    check_refusals(state, bad, ARRAY_LEN(bad), API_SQL_EXECUTE);
}

static void arrow_cast_knows_the_types_of_arrow(void **state)
{
    static const struct answer_case cases[] = {
        {"SELECT arrow_cast('5', 'Int64') + 1", "6"},
        {"SELECT arrow_typeof(arrow_cast(5, 'Int64'))", "Int64"},
        {"SELECT arrow_typeof(arrow_cast(5, 'UInt8'))", "UInt8"},
        {"SELECT arrow_typeof(arrow_cast(5, 'Float64'))", "Float64"},
        {"SELECT arrow_cast(5, 'Utf8') || 'x'", "5x"},
        {"SELECT arrow_cast('true', 'Boolean')", "true"},
        {"SELECT arrow_cast('2024-01-02', 'Date32')", "2024-01-02"},
        {"SELECT arrow_cast(_timestamp, 'Timestamp(Microsecond, None)') FROM k8slogs ORDER BY i",
         "2023-11-14 22:13:20"},
        {"SELECT arrow_cast(1700000000, 'Timestamp(Second, Some(\"UTC\"))')",
         "2023-11-14 22:13:20"},
        {"SELECT arrow_cast(1700000000000, 'Timestamp(ms)')", "2023-11-14 22:13:20"},
        {"SELECT arrow_cast(1700000000000000000, 'Timestamp(Nanosecond, None)')",
         "2023-11-14 22:13:20"},
        {"SELECT arrow_cast('2023-11-14T22:13:20Z', 'Timestamp(µs)')", "2023-11-14 22:13:20"},
        {"SELECT sum(arrow_cast(i, 'Float64')) FILTER (WHERE i < 3) FROM k8slogs", "3.0"},
        {"SELECT arrow_cast(i, 'Int32') AS a FROM k8slogs WHERE i = 3 ORDER BY a", "3"},
    };
    CHECK_ANSWERS(state, cases);
    static const char *const bad[] = {
        "SELECT arrow_cast(1, 'Nosuch')",
        "SELECT arrow_cast(1, '')",
        "SELECT arrow_cast(1, 'Timestamp(')",
        "SELECT arrow_cast(1, 'Timestamp()')",
        "SELECT arrow_cast(1, 'Timestamp(x)')",
        "SELECT arrow_cast(1, level) FROM k8slogs",
        "SELECT arrow_cast(1)",
        "SELECT arrow_cast(DISTINCT 1, 'Int64')",
        "SELECT arrow_cast(1, 'int64')",
    };
    check_refusals(state, bad, ARRAY_LEN(bad), API_SQL_EXECUTE);
}

static void structs_name_their_members(void **state)
{
    static const struct answer_case cases[] = {
        {"SELECT to_json(struct(1, 'a'))", "{\"c0\":1,\"c1\":\"a\"}"},
        {"SELECT to_json(named_struct('a', 1, 'b c', 'x'))", "{\"a\":1,\"b c\":\"x\"}"},
        {"SELECT named_struct('a', i + 1).a FROM k8slogs WHERE i = 2", "3"},
    };
    CHECK_ANSWERS(state, cases);
    static const char *const bad[] = {
        "SELECT struct()",
        "SELECT named_struct()",
        "SELECT named_struct('a')",
        "SELECT named_struct('', 1)",
        "SELECT named_struct(level, 1) FROM k8slogs",
        "SELECT named_struct('a', 1, 'b')",
    };
    check_refusals(state, bad, ARRAY_LEN(bad), API_SQL_EXECUTE);
}

/* log: "GET /item/7"; note: "Note 7". */
static void regular_expressions_match_anywhere(void **state)
{
    static const struct answer_case cases[] = {
        {"SELECT count(*) FROM k8slogs WHERE re_match(log, 'item/1.$')", "10"},
        {"SELECT count(*) FROM k8slogs WHERE re_not_match(log, 'item/1.$')", "10"},
        {"SELECT count(*) FROM k8slogs WHERE re_matches(log, '^GET')", "20"},
        {"SELECT count(*) FROM k8slogs WHERE re_match(log, '^get')", "0"},
        {"SELECT count(*) FROM k8slogs WHERE re_match(log, '(?i)^get')", "20"},
        {"SELECT count(*) FROM k8slogs WHERE re_match(message, '.')", "0"},
        {"SELECT count(*) FROM k8slogs WHERE re_match(i, '^1.$')", "10"},
        {"SELECT count(*) FROM k8slogs WHERE log ~ 'item/1'", "11"},
        {"SELECT count(*) FROM k8slogs WHERE log !~ 'item/1'", "9"},
        {"SELECT count(*) FROM k8slogs WHERE log ~* 'ITEM/1'", "11"},
        {"SELECT count(*) FROM k8slogs WHERE log !~* 'ITEM/1'", "9"},
        {"SELECT count(*) FROM k8slogs WHERE regexp_like(log, 'ITEM/1', 'i')", "11"},
        {"SELECT array_extract(regexp_match(log, '(\\w+) /(\\w+)'), 2) FROM k8slogs", "item"},
        {"SELECT regexp_replace(log, '[aeiou]', '_', 'g') FROM k8slogs WHERE i = 3", "GET /_t_m/3"},
        {"SELECT regexp_count(log, '[A-Z]') FROM k8slogs", "3"},
    };
    CHECK_ANSWERS(state, cases);
}

static void texts_match_by_substring_and_by_distance(void **state)
{
    static const struct answer_case cases[] = {
        {"SELECT count(*) FROM k8slogs WHERE str_match(log, 'ET /i')", "20"},
        {"SELECT count(*) FROM k8slogs WHERE str_match(log, 'et /i')", "0"},
        {"SELECT count(*) FROM k8slogs WHERE match(log, 'item/19')", "1"},
        {"SELECT count(*) FROM k8slogs WHERE match_field(log, '%')", "0"},
        {"SELECT count(*) FROM k8slogs WHERE str_match_ignore_case(log, 'get /ITEM')", "20"},
        {"SELECT count(*) FROM k8slogs WHERE match_ignore_case(log, 'gET')", "20"},
        {"SELECT count(*) FROM k8slogs WHERE match_field_ignore_case(log, 'gEX')", "0"},
        {"SELECT count(*) FROM k8slogs WHERE fuzzy_match(log, 'itm', 1)", "20"},
        {"SELECT count(*) FROM k8slogs WHERE fuzzy_match(log, 'im', 1)", "0"},
        {"SELECT count(*) FROM k8slogs WHERE fuzzy_match_all('itm', 1)", "20"},
        {"SELECT count(*) FROM k8slogs WHERE fuzzy_match_all('nxxe', 1)", "0"},
        {"SELECT count(*) FROM k8slogs WHERE fuzzy_match_all('nxxe', 2)", "20"},
        {"SELECT count(*) FROM k8slogs WHERE match_all('re:IT.m')", "20"},
        {"SELECT count(*) FROM k8slogs WHERE match_all('re:1[0-4]')", "5"},
        {"SELECT count(*) FROM k8slogs WHERE match_all('re:it')", "0"}, /* a whole word */
        {"SELECT count(*) FROM k8slogs WHERE match_all('re:get.*item')", "0"},
        {"SELECT count(*) FROM k8slogs WHERE match_all_ignore_case('get')", "20"},
        {"SELECT count(*) FROM k8slogs WHERE match_all_raw('GET')", "20"},
        {"SELECT count(*) FROM k8slogs WHERE match_all_raw_ignore_case('note 7')", "1"},
    };
    CHECK_ANSWERS(state, cases);
    static const char *const bad[] = {
        "SELECT count(*) FROM k8slogs WHERE fuzzy_match_all('x')",
        "SELECT count(*) FROM k8slogs WHERE fuzzy_match_all('x', 'y')",
        "SELECT count(*) FROM k8slogs WHERE fuzzy_match_all('x', -1)",
        "SELECT count(*) FROM k8slogs WHERE fuzzy_match_all(log, 1)",
    };
    check_refusals(state, bad, ARRAY_LEN(bad), API_SQL_EXECUTE);
    static const char *const without[] = {
        "SELECT count(*) FROM plain WHERE fuzzy_match_all('x', 1)"};
    check_refusals(state, without, ARRAY_LEN(without), API_FTS_FIELD_NOT_FOUND);
}

static void times_come_and_go_as_text_and_numbers(void **state)
{
    static const struct answer_case cases[] = {
        {"SELECT to_timestamp('2024-01-01T00:00:00Z')", "2024-01-01 00:00:00"},
        {"SELECT to_timestamp(1704067200)", "2024-01-01 00:00:00"},
        {"SELECT from_unixtime(1704067200)", "2024-01-01 00:00:00"},
        {"SELECT to_timestamp_micros(1704067200000000)", "2024-01-01 00:00:00"},
        {"SELECT to_unixtime('2024-01-01T00:00:00Z')", "1704067200"},
        {"SELECT to_char(to_timestamp(0), '%H:%M:%S%.3f')", "00:00:00.000"},
        {"SELECT date_format(_timestamp, '%Y-%m-%dT%H:%M:%S%.6f%:z', '-03:30') FROM k8slogs "
         "ORDER BY i",
         "2023-11-14T18:43:20.000000-03:30"},
        {"SELECT date_bin(INTERVAL '5 minutes', to_timestamp_micros(_timestamp)) FROM k8slogs "
         "ORDER BY i",
         "2023-11-14 22:10:00"},
        {"SELECT date_trunc('hour', to_timestamp_micros(_timestamp)) FROM k8slogs ORDER BY i",
         "2023-11-14 22:00:00"},
        {"SELECT extract(minute FROM to_timestamp_micros(_timestamp)) FROM k8slogs ORDER BY i",
         "13"},
        {"SELECT count(*) FROM k8slogs WHERE time_range(_timestamp, '2023-11-14T22:13:20Z', "
         "'2023-11-14T22:13:25Z')",
         "5"},
    };
    CHECK_ANSWERS(state, cases);
}

static void other_names_of_the_reference_answer(void **state)
{
    static const struct answer_case cases[] = {
        {"SELECT encode('a', 'base64') || encode('a', 'hex')", "YQ61"},
        {"SELECT lpad('7', 3, '0') || lpad('a', 2) || rpad('b', 2) || '.'", "007 ab ."},
        {"SELECT overlay('Txxxxas' PLACING 'hom' FROM 2 FOR 4)", "Thomas"},
        {"SELECT substring_index('a.b.c', '.', 2)", "a.b"},
        {"SELECT initcap(level) FROM k8slogs WHERE i = 0", "Info"},
        {"SELECT json_contains('{\"k\":1}', 'k')", "true"},
        {"SELECT json_length('{\"k\":[1,2,3]}', 'k')", "3"},
        {"SELECT json_get_array('{\"k\":[1,\"a\"]}', 'k')[2]", "\"a\""},
        {"SELECT json_get_array('{\"k\":{}}', 'k') IS NULL", "true"},
        {"SELECT json_object_keys('{\"a\":{\"b\":1}}')[1]", "a"},
        {"SELECT json_object_keys('{\"a\":{\"b\":1}}', 'a')[1]", "b"},
        {"SELECT json_object_keys('no json') IS NULL", "true"},
        {"SELECT array_join(make_array(1, 2), '-')", "1-2"},
        {"SELECT nvl2(message, 'set', 'none') FROM k8slogs", "none"},
        {"SELECT first_value(i ORDER BY i DESC) FROM k8slogs", "19"},
        {"SELECT nth_value(i, 2) OVER (ORDER BY i DESC) AS n FROM k8slogs ORDER BY n", "18"},
    };
    CHECK_ANSWERS(state, cases);
}

static void items_without_an_alias_have_the_references_names(void **state)
{
    static const struct {
        const char *item, *name;
    } cases[] = {
        {"approx_median(i)", "approx_median(k8slogs.i)"},
        {"approx_percentile_cont(i, 0.5)", "approx_percentile_cont(k8slogs.i,Float64(0.5))"},
        {"count(*)", "count(*)"},
        {"COUNT(DISTINCT level)", "count(DISTINCT k8slogs.level)"},
        {"i + 1", "k8slogs.i + Int64(1)"},
        {"(i + 1) * 2 - i * 3", "(k8slogs.i + Int64(1)) * Int64(2) - k8slogs.i * Int64(3)"},
        {"i - (1 - i)", "k8slogs.i - (Int64(1) - k8slogs.i)"},
        {"upper('it''s')", "upper(Utf8(\"it's\"))"},
        {"12.50", "Float64(12.50)"},
        {".05", "Float64(0.05)"},
        {"true", "Boolean(true)"},
        {"struct(1)", "struct(Int64(1))"},
        {"i", ""},               /* a column is called as it is */
        {"CAST(i AS TEXT)", ""}, /* as the engine likes */
        {"count(*) FILTER (WHERE i > 3)", "count(*)"},
        {"sum(i) FILTER (WHERE i > 3)", ""},
        {"sum(i) OVER ()", ""},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char sql[256];
        snprintf(sql, sizeof sql, "SELECT %s FROM k8slogs", cases[i].item);
        assert_int_equal(fixture_check(f, sql), ERR_OK);
        const struct json *node =
            json_get(json_at(json_get(f->result.document, "statements"), 0), "node");
        const struct json *item = json_at(json_get(node, "select_list"), 0);
        if (!tree_is(item, "alias", cases[i].name))
            fail_msg("%s: " STR_FMT, sql, STR_ARG(json_get(item, "alias")->text));
    }
}

static void decimals_are_doubles_and_a_double_is_cut_to_an_integer(void **state)
{
    static const struct answer_case cases[] = {
        {"SELECT 0.1 + 0.2", "0.30000000000000004"},
        {"SELECT typeof(1.5)", "DOUBLE"},
        {"SELECT CAST(2.7 AS INT)", "2"},
        {"SELECT CAST(-2.7 AS BIGINT)", "-2"},
        {"SELECT CAST(dur AS INT) FROM k8slogs WHERE i = 3", "1"},
        {"SELECT CAST(dur * 1 AS INT) FROM k8slogs WHERE i = 3", "1"},
        {"SELECT CAST(avg(i) AS INT) FROM k8slogs WHERE i IN (2, 3)", "2"},
        {"SELECT CAST(median(i) AS INT) FROM k8slogs WHERE i IN (2, 3)", "2"},
        {"SELECT CAST(approx_percentile_cont(dur, 0.5) AS INT) FROM k8slogs WHERE i = 3", "1"},
        {"SELECT CAST(percentile_cont(0.5) WITHIN GROUP (ORDER BY i) AS INT) FROM k8slogs WHERE i "
         "IN (2, 3)",
         "2"},
        {"SELECT CAST(last_value(dur) AS INT) FROM k8slogs WHERE i = 3", "1"},
        {"SELECT CAST(a AS INT) FROM (SELECT avg(i) AS a FROM k8slogs WHERE i IN (2, 3)) t", "2"},
        {"SELECT CAST(CASE WHEN i = 3 THEN dur ELSE 0 END AS INT) FROM k8slogs WHERE i = 3", "1"},
        {"SELECT CAST(coalesce(dur, 0) AS INT) FROM k8slogs WHERE i = 3", "1"},
        {"SELECT CAST(9223372036854775807 AS BIGINT)", "9223372036854775807"},
        {"SELECT CAST('12' AS INT)", "12"},
        {"SELECT approx_quantile(i, 0.5) FROM k8slogs WHERE i < 3", "1"},
        {"SELECT approx_quantile(i, [0.5])[1] FROM k8slogs WHERE i < 3", "1"},
        {"SELECT count(*) FROM k8slogs WHERE level = 1.5", "0"},
    };
    CHECK_ANSWERS(state, cases);
}

/* Without a bound this would take 2^60 steps. */
static void a_chain_of_sub_queries_is_followed_so_far_only(void **state)
{
    struct fixture *f = *state;
    struct buf sql;
    buf_init(&sql, 1u << 16);
    buf_add_cstr(&sql, "WITH c0 AS (SELECT i AS a FROM k8slogs)");
    for (int i = 1; i <= 60; i++)
        buf_printf(&sql, ", c%d AS (SELECT a %% 2 + a %% 2 AS a FROM c%d)", i, i - 1);
    buf_add_cstr(&sql, " SELECT CAST(a AS INT) FROM c60");
    assert_int_equal(fixture_check(f, sql.data), ERR_OK);
    buf_done(&sql);
}

/* level is a text, i and dur (i / 2) are numbers. */
static void texts_and_numbers_are_compared_as_texts(void **state)
{
    static const struct answer_case cases[] = {
        {"SELECT count(*) FROM k8slogs WHERE level = 1", "0"},
        {"SELECT count(*) FROM k8slogs WHERE 1 <> level", "20"},
        {"SELECT count(*) FROM k8slogs k WHERE k.level > -1.5", "20"},
        {"SELECT count(*) FROM k8slogs WHERE level IN (1, 'info', 2)", "10"},
        {"SELECT count(*) FROM k8slogs WHERE level NOT IN (1, 2)", "20"},
        {"SELECT count(*) FROM k8slogs WHERE level BETWEEN 1 AND 2", "0"},
        {"SELECT count(*) FROM k8slogs WHERE level = 99999999999999999999", "0"},
        {"SELECT count(*) FROM k8slogs WHERE i = 'abc'", "0"},
        {"SELECT count(*) FROM k8slogs WHERE 'abc' IS DISTINCT FROM i", "20"},
        {"SELECT count(*) FROM k8slogs WHERE i = ' 5 '", "1"},
        {"SELECT count(*) FROM k8slogs WHERE i > '5'", "14"},
        {"SELECT count(*) FROM k8slogs WHERE i IN ('5', 'x', 6)", "2"},
        {"SELECT count(*) FROM k8slogs WHERE i IN ('5', 6)", "2"},
        {"SELECT count(*) FROM k8slogs WHERE dur = '' OR dur IS NULL", "0"},
        {"SELECT sum(CASE WHEN level = 5 THEN 1 ELSE 0 END) FROM k8slogs", "0"},
        {"SELECT count(*) FILTER (WHERE level <> 5) FROM k8slogs", "20"},
        {"SELECT count(*) FROM k8slogs a JOIN k8slogs b ON a.i = b.i AND b.level <> 7", "20"},
        {"SELECT count(*) FROM k8slogs a WHERE EXISTS (FROM k8slogs b WHERE b.level <> 1)", "20"},
    };
    CHECK_ANSWERS(state, cases);
    struct fixture *f = *state;
    static const char *const errors[] = {
        "SELECT i FROM k8slogs WHERE i > 'abc'",
        "SELECT i FROM k8slogs WHERE _timestamp = '2024-01-01T00:00:00Z'",
        "SELECT i FROM (SELECT level, i FROM k8slogs) WHERE level = 1",
    };
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        char first[64];
        uint64_t rows;
        assert_int_equal(fixture_check(f, errors[i]), ERR_OK);
        if (fixture_run(f, f->result.document, first, sizeof first, &rows) != ERR_INVALID)
            fail_msg("%s\n  gave %s", errors[i], first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(approximate_aggregates_take_distinct_filter_and_over),
        cmocka_unit_test(arrow_cast_knows_the_types_of_arrow),
        cmocka_unit_test(structs_name_their_members),
        cmocka_unit_test(regular_expressions_match_anywhere),
        cmocka_unit_test(texts_match_by_substring_and_by_distance),
        cmocka_unit_test(times_come_and_go_as_text_and_numbers),
        cmocka_unit_test(other_names_of_the_reference_answer),
        cmocka_unit_test(items_without_an_alias_have_the_references_names),
        cmocka_unit_test(decimals_are_doubles_and_a_double_is_cut_to_an_integer),
        cmocka_unit_test(a_chain_of_sub_queries_is_followed_so_far_only),
        cmocka_unit_test(texts_and_numbers_are_compared_as_texts),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
