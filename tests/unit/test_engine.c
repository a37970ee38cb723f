// links: weir_engine
/* tests/unit/test_engine.c - a real engine process: what stands in lines comes back, and nothing
 * else can be reached. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/utf8.h"
#include "gateway/engine/database.h"
#include "tests/support/engine_fixture.h"

enum { MEMORY_BYTES = 256 << 20, QUERIES = 2, TABLES_TEXT_MAX = 4096 };

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

/* The table weir_t0 over one file of the mount. */
static const char *table_of(const char *file, const char *columns, const char *more)
{
    static char text[TABLES_TEXT_MAX];
    snprintf(text, sizeof text,
             "[{\"name\":\"weir_t0\",\"columns\":[%s],\"files\":[{\"path\":\"%s/%s\","
             "\"format\":\"ndjson\"}]%s}]",
             columns, fixture.mount, file, more);
    return text;
}

#define COLUMN(name, type) "{\"name\":\"" name "\",\"type\":\"" type "\"}"
#define TIME COLUMN("_timestamp", "Int64")
#define ALL_TYPES                                                                                  \
    TIME "," COLUMN("b", "Boolean") "," COLUMN("i", "Int64") "," COLUMN("u", "UInt64") "," COLUMN( \
        "f", "Float64") "," COLUMN("s", "Utf8")

static void expect_rows(const char *sql, const char *tables, const char *rows)
{
    struct engine_answer a;
    enum err_code rc = engine_ask(&fixture, sql, tables, "", &a);
    if (rc != ERR_OK)
        fail_msg("%s: %s", sql, a.error.msg);
    if (!str_eq(buf_str(&a.rows), str_from(rows)))
        fail_msg("%s: got\n" STR_FMT "not\n%s", sql, STR_ARG(buf_str(&a.rows)), rows);
    engine_answer_done(&a);
}

static void expect_error(const char *sql, const char *tables, const char *more, enum err_code code,
                         int detail)
{
    struct engine_answer a;
    enum err_code rc = engine_ask(&fixture, sql, tables, more, &a);
    if (rc != code || a.error.detail != detail)
        fail_msg("%s: %s %d %s", sql, err_name(rc), a.error.detail, a.error.msg);
    engine_answer_done(&a);
}

static void values_come_in_the_types_of_the_stream(void **state)
{
    (void)state;
    engine_fixture_file(
        &fixture, "types.ndjson",
        STR("{\"_timestamp\":1,\"b\":true,\"i\":-7,\"u\":18446744073709551615,\"f\":0.1,"
            "\"s\":\"text\"}\n"
            "{\"_timestamp\":2,\"s\":12.50,\"f\":3,\"u\":-5,\"i\":true,\"b\":false}\n"
            "{\"_timestamp\":3,\"s\":true,\"f\":\"NaN\",\"u\":true,\"i\":null}\n"
            "{\"_timestamp\":4,\"s\":123456789012345678901234567890,\"f\":true}\n"
            "{\"_timestamp\":5,\"s\":\"\"}\n"));
    expect_rows("select * from weir_t0 order by _timestamp",
                table_of("types.ndjson", ALL_TYPES, ""),
                "1|true|-7|18446744073709551615|0.10000000000000001|text\n"
                "2|false|1|-5|3|12.50\n"
                "3|NULL|NULL|1|nan|true\n"
                "4|NULL|NULL|NULL|1|123456789012345678901234567890\n"
                "5|NULL|NULL|NULL|NULL|\n");
}

static void results_have_the_forms_of_the_wire(void **state)
{
    (void)state;
    static const struct {
        const char *expression, *type, *value;
    } cases[] = {
        {"1::tinyint", "TINYINT", "1"},
        {"200::utinyint", "UTINYINT", "200"},
        {"18446744073709551615::ubigint", "UBIGINT", "18446744073709551615"},
        {"5::hugeint", "HUGEINT", "5"},
        {"(-170141183460469231731687303715884105727 - 1)::hugeint", "HUGEINT",
         "-170141183460469231731687303715884105728"},
        {"340282366920938463463374607431768211455::uhugeint", "UHUGEINT",
         "340282366920938463463374607431768211455"},
        {"12.30::decimal(10,2)", "DECIMAL", "12.30"},
        {"(-0.05)::decimal(4,2)", "DECIMAL", "-0.05"},
        {"12345678901234567890123456789.123::decimal(38,3)", "DECIMAL",
         "12345678901234567890123456789.123"},
        {"0.1::float", "FLOAT", "0.10000000000000001"},
        {"timestamp '2023-01-15 14:00:00'", "TIMESTAMP", "2023-01-15T14:00:00"},
        {"timestamp '1969-12-31 23:59:59.5'", "TIMESTAMP", "1969-12-31T23:59:59.500000"},
        {"timestamptz '2023-01-15 14:00:00+02'", "TIMESTAMP WITH TIME ZONE", "2023-01-15T12:00:00"},
        {"timestamp_s '2023-01-15 14:00:00'", "TIMESTAMP_S", "2023-01-15T14:00:00"},
        {"timestamp_ms '2023-01-15 14:00:00.25'", "TIMESTAMP_MS", "2023-01-15T14:00:00.250000"},
        {"timestamp_ns '2023-01-15 14:00:00.123456789'", "TIMESTAMP_NS",
         "2023-01-15T14:00:00.123456789"},
        {"timestamp 'infinity'", "TIMESTAMP", "infinity"},
        {"date '2023-01-15'", "DATE", "2023-01-15"},
        {"time '01:02:03.5'", "TIME", "01:02:03.500000"},
        {"timetz '01:02:03+05:30'", "TIME WITH TIME ZONE", "01:02:03+05:30"},
        {"interval '14 months 2 days 3 seconds'", "INTERVAL", "14 mons 2 days 3.000000000 secs"},
        {"interval '0 seconds'", "INTERVAL", "0 secs"},
        {"interval '-90 minutes'", "INTERVAL", "-1 hours -30 mins"},
        {"interval '-0.5 seconds'", "INTERVAL", "-0.500000000 secs"},
        {"'\\xAA\\x01'::blob", "BLOB", "aa01"},
        {"uuid '11111111-2222-3333-4444-555555555555'", "UUID",
         "11111111-2222-3333-4444-555555555555"},
        {"'a'::enum('b','a')", "ENUM", "a"},
        {"NULL", "INTEGER", "NULL"},
        {"[1, NULL, 3]", "INTEGER[]", "[1,null,3]"},
        {"[[1], []]::int[][]", "INTEGER[][]", "[[1],[]]"},
        {"[1, 2]::int[2]", "INTEGER[2]", "[1,2]"},
        {"{'a': 1, 'b': 'x \"q\"'}", "STRUCT(\"a\" INTEGER, \"b\" VARCHAR)",
         "{\"a\":1,\"b\":\"x \\\"q\\\"\"}"},
        {"map {'k': [1.5]}", "MAP(VARCHAR, DECIMAL[])", "{\"k\":[1.5]}"},
        {"union_value(k := 'v')", "UNION(\"k\" VARCHAR)", "v"},
        {"[date '2023-01-15']", "DATE[]", "[\"2023-01-15\"]"},
        {"['a'::enum('b','a')]", "ENUM[]", "[\"a\"]"},
        {"['NaN'::double, 1]", "DOUBLE[]", "[null,1.0]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct engine_answer a;
        char sql[256], columns[256], row[256];
        snprintf(sql, sizeof sql, "select %s as x", cases[i].expression);
        snprintf(columns, sizeof columns, "x:%s", cases[i].type);
        snprintf(row, sizeof row, "%s\n", cases[i].value);
        if (strcmp(cases[i].type, "UNION(\"k\" VARCHAR)") == 0)
            snprintf(row, sizeof row, "\"%s\"\n", cases[i].value);
        if (engine_ask(&fixture, sql, "[]", "", &a) != ERR_OK)
            fail_msg("%s: %s", sql, a.error.msg);
        if (!str_eq(buf_str(&a.columns), str_from(columns)) ||
            !str_eq(buf_str(&a.rows), str_from(row)))
            fail_msg("%s: " STR_FMT " " STR_FMT, sql, STR_ARG(buf_str(&a.columns)),
                     STR_ARG(buf_str(&a.rows)));
        engine_answer_done(&a);
    }
    expect_error("select '0101'::bit", "[]", "", ERR_INVALID, 20007);
}

static void functions_answer_as_the_api_says(void **state)
{
    (void)state;
    static const struct {
        const char *expressions, *row;
    } cases[] = {
        {"str_match('abC', 'bC'), str_match('abC', 'bc'), str_match(NULL, 'x'), str_match(123, "
         "'2')",
         "true|false|NULL|true"},
        {"str_match_ignore_case('ÄbC', 'äBc'), match_field('ab', 'b')", "true|true"},
        {"re_match('abc', 'b.'), re_not_match('abc', 'b.'), re_match(NULL, 'x')",
         "true|false|NULL"},
        {"regexp_like('ABC', 'b', 'i'), regexp_like('ABC', 'b')", "true|false"},
        {"regexp_match('abc123', '([a-z]+)(\\d+)'), regexp_match('abc', 'b')",
         "[\"abc\",\"123\"]|[\"b\"]"},
        {"regexp_match('a(b', '\\((b)'), regexp_match('k', '(?:k)'), regexp_match('a', 'x')",
         "[\"b\"]|[\"k\"]|NULL"},
        {"fuzzy_match('conection refused', 'connection', 1), fuzzy_match('foo', 'connection', 1)",
         "true|false"},
        {"string_to_array_v2('a,b]c-d^e', ',]-^')", "[\"a\",\"b\",\"c\",\"d\",\"e\"]"},
        {"weir_match_words('Connection refused', 'REFUSED connection')", "true"},
        {"weir_match_words('Connection', 'connect'), weir_match_words(NULL, 'a')", "false|NULL"},
        {"weir_histogram(1609459261000000, 60000000), weir_histogram(-1, 60000000)",
         "2021-01-01T00:01:00|1969-12-31T23:59:00"},
        {"weir_histogram(timestamp '2021-01-01 00:07:00', 300000000), weir_histogram(NULL, 1)",
         "2021-01-01T00:05:00|NULL"},
        {"weir_histogram(CAST('-9223372036854775808' AS BIGINT), 1000000), "
         "epoch_us(weir_time(date '5000000-01-01'))",
         "NULL|NULL"},
        {"to_timestamp_micros(1609459200000000), to_timestamp_seconds(1609459200)",
         "2021-01-01T00:00:00|2021-01-01T00:00:00"},
        {"cast_to_timestamp('2021-01-01T08:00:00+08:00'), cast_to_timestamp(date '2021-01-01')",
         "1609459200000000|1609459200000000"},
        {"cast_to_timestamp(now() - interval '1 hour') > 1600000000000000", "true"},
        {"date_format(1609459200000000, '%Y-%m-%d', ''), date_format(NULL, '%H', '')",
         "2021-01-01|NULL"},
        {"date_format(1609459200000000, '%H:%M', '+08:00'), date_format(1609459200000000, '%dT%H', "
         "'-08:00'), date_format(1609459200000000, '%H', 'Asia/Shanghai')",
         "08:00|31T16|08"},
        {"time_range(1609459200000000, '2021-01-01', '2021-01-02'), time_range(1609459200000000, "
         "'2020-01-01T00:00:00Z', '2021-01-01')",
         "true|false"},
        {"date_bin(interval '5 minutes', 1609459861000000)", "2021-01-01T00:10:00"},
        {"weir_re_match_nocase('aB', 'Ab'), weir_re_not_match_nocase('aB', 'Ab')", "true|false"},
        {"regexp_match('abc', 'B', 'i'), regexp_count('abab', 'b'), regexp_count(NULL, 'b')",
         "[\"b\"]|2|NULL"},
        {"initcap('ab cD-\xc3\xa9x'), initcap(''), initcap(NULL)", "Ab Cd-\xc3\x89x||NULL"},
        {"weir_overlay('Txxxxas', 'hom', 2, 4), weir_overlay('abcd', 'XY', 2)", "Thomas|aXYd"},
        {"substr_index('www.a.org', '.', 2), substr_index('www.a.org', '.', -2), "
         "substr_index('a', '.', 0)",
         "www.a|a.org|"},
        {"weir_lpad('a', 3), weir_rpad('a', 3, 'x'), weir_lpad('abc', 2)", "  a|axx|ab"},
        {"weir_encode('a', 'base64'), weir_encode('az', 'hex'), weir_decode('YQ', 'base64'), "
         "weir_decode('YQ==', 'base64'), weir_decode('617a', 'hex')",
         "YQ|617a|61|61|617a"},
        {"nvl2(1, 2, 3), nvl2(NULL, 2, 3), nanvl('nan'::double, 1), iszero(0.0)", "2|3|1|true"},
        {"weir_to_timestamp('2024-01-01T00:00:00Z'), weir_to_timestamp(1704067200), "
         "weir_to_timestamp(1704067200.5), weir_to_timestamp('2024/02', '%Y/%m')",
         "2024-01-01T00:00:00|2024-01-01T00:00:00|2024-01-01T00:00:00.500000|2024-02-01T00:00:00"},
        {"to_timestamp_millis(1704067200500), to_timestamp_millis('2024-01-01'), "
         "to_timestamp_nanos(1704067200123456789), to_timestamp_nanos(-1)",
         "2024-01-01T00:00:00.500000|2024-01-01T00:00:00|2024-01-01T00:00:00.123456|"
         "1969-12-31T23:59:59.999999"},
        {"weir_to_unixtime('2024-01-01T00:00:00Z'), weir_to_unixtime(5), to_date(1704067200000000)",
         "1704067200|5|2024-01-01"},
        {"date_format(1704067200123456, '%T%.3f %z', 'Asia/Kolkata'), date_format(0, '%F')",
         "05:30:00.123 +0530|1970-01-01"},
        {"to_char(to_timestamp_micros(1704070000000000), '%Y-%j'), to_char(NULL, '%Y')",
         "2024-001|NULL"},
        {"weir_arrow_typeof(1::bigint), weir_arrow_typeof('a'), weir_arrow_typeof(weir_time(1)), "
         "weir_arrow_typeof([1])",
         "Int64|Utf8View|Timestamp(\xc2\xb5s)|INTEGER[]"},
        {"cast_to_arr('[1,\"a\",true]'), cast_to_arr('no'), to_array_string([1, 2])",
         "[\"1\",\"a\",\"true\"]|NULL|[1,2]"},
        {"arrsort('[12, 345, 23]'), arrsort('[\"b\",\"a\"]'), arrsort('[]'), arrsort('x')",
         "[12,23,345]|[\"a\",\"b\"]|NULL|NULL"},
        {"arr_descending('[1.9,34.5]'), arrjoin('[\"a\",1,true]', ','), arrcount('[1,2]')",
         "[34.5,1.9]|a,1,true|2"},
        {"arrindex('[12,345,23]', 1), arrindex('[1,2,3]', 0, 1), arrindex('[1]', 7, 9)",
         "[345]|[1,2]|[]"},
        {"arrzip('[1,2]', '[\"a\",\"b\",\"c\"]', '-'), arrzip('[]', '[1]', ',')",
         "[\"1-a\",\"2-b\"]|NULL"},
        {"spath('{\"a\":{\"b\":[5]}}', 'a.b.0'), spath('{\"a\":[1,2]}', 'a'), spath('x', 'y')",
         "5|[1,2]|NULL"},
        {"json_get_str('{\"a\":{\"b\":\"c\"}}', 'a', 'b'), json_get_int('{\"a\":[1,2]}', 'a', 1)",
         "c|2"},
        {"json_get_json('{\"a\":{\"b\":1}}', 'a'), json_get('{\"a/b\":\"z\"}', 'a/b'), "
         "json_length('[1]')",
         "{\"b\":1}|z|1"},
        {"json_get_str('{\"a\":1}', 'a'), json_length('{\"a\":[1,2]}', 'a'), json_length('x', "
         "'a'), "
         "weir_json_contains('{\"a\":{\"b\":1}}', 'a', 'b'), weir_json_contains('{}', 'a')",
         "NULL|2|NULL|true|false"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char sql[512], row[256];
        snprintf(sql, sizeof sql, "select %s", cases[i].expressions);
        snprintf(row, sizeof row, "%s\n", cases[i].row);
        expect_rows(sql, "[]", row);
    }
}

/* One string with every code point of some planes, as JSON and plain. */
static void add_code_points(struct buf *json, struct buf *plain, uint32_t from, uint32_t to)
{
    for (uint32_t cp = from; cp <= to; cp++) {
        char utf8[4];
        if (cp >= 0xD800 && cp <= 0xDFFF)
            continue;
        size_t n = utf8_encode(cp, utf8);
        buf_add(plain, utf8, n);
        if (cp < 0x20 || cp == '"' || cp == '\\' || cp == 0x7f)
            buf_printf(json, "\\u%04x", cp);
        else
            buf_add(json, utf8, n);
    }
}

static void every_code_point_comes_back_byte_for_byte(void **state)
{
    (void)state;
    struct buf line, plain;
    buf_init(&line, 64 << 20);
    buf_init(&plain, 64 << 20);
    buf_add_cstr(&line, "{\"_timestamp\":1,\"s\":\"");
    add_code_points(&line, &plain, 0, 0x10FFFF);
    buf_add_cstr(&line, "\"}\n");
    buf_add_char(&plain, '\n');
    engine_fixture_file(&fixture, "planes.ndjson", buf_str(&line));
    struct engine_answer a;
    assert_int_equal(engine_ask(&fixture, "select s from weir_t0",
                                table_of("planes.ndjson", ALL_TYPES, ""), "", &a),
                     ERR_OK);
    assert_true(str_eq(buf_str(&a.rows), buf_str(&plain)));
    engine_answer_done(&a);
    buf_done(&line);
    buf_done(&plain);
}

static void long_values_come_back_whole(void **state)
{
    (void)state;
    enum { LONG = 10 << 20, ROWS = 8 };
    struct buf file, want;
    buf_init(&file, 256 << 20);
    buf_init(&want, 256 << 20);
    for (int row = 0; row < ROWS; row++) {
        buf_printf(&file, "{\"_timestamp\":%d,\"s\":\"", row + 1);
        for (int i = 0; i < LONG / 64; i++) {
            buf_printf(&file, "%063d\\n", i * (row + 1));
            buf_printf(&want, "%063d\n", i * (row + 1));
        }
        buf_add_cstr(&file, "\"}\n");
        buf_add_char(&want, '\n');
    }
    engine_fixture_file(&fixture, "long.ndjson", buf_str(&file));
    struct engine_answer a;
    if (engine_ask(&fixture, "select s from weir_t0", table_of("long.ndjson", ALL_TYPES, ""), "",
                   &a) != ERR_OK)
        fail_msg("%s", a.error.msg);
    assert_true(a.batch_count > 1);
    assert_true(str_eq(buf_str(&a.rows), buf_str(&want)));
    engine_answer_done(&a);
    buf_done(&file);
    buf_done(&want);
}

/* Rows of about 700 KB, so that a chunk is sent in many pieces that begin at any row. */
static void nulls_keep_their_place_when_a_chunk_is_cut(void **state)
{
    (void)state;
    enum { ROWS = 90 };
    struct engine_answer a;
    assert_int_equal(
        engine_ask(&fixture,
                   "select case when range % 3 = 0 then range end, case when range % 5 = 0 then "
                   "repeat(chr(97 + (range % 26)::int), 700000) end from range(90)",
                   "[]", "", &a),
        ERR_OK);
    assert_true(a.batch_count > 2);
    struct str rest = buf_str(&a.rows), line, number, text;
    for (int i = 0; i < ROWS; i++) {
        char want[16] = "NULL";
        if (i % 3 == 0)
            snprintf(want, sizeof want, "%d", i);
        assert_true(str_cut(rest, '\n', &line, &rest));
        assert_true(str_cut(line, '|', &number, &text));
        assert_true(str_eq(number, str_from(want)));
        if (i % 5 == 0)
            assert_true(text.len == 700000 && text.ptr[0] == 'a' + i % 26);
        else
            assert_true(str_eq(text, STR("NULL")));
    }
    engine_answer_done(&a);
}

/* `rows` lines with _timestamp = 1000, 1001, ... */
static void make_rows(const char *name, int rows)
{
    struct buf file;
    buf_init(&file, 256 << 20);
    for (int i = 0; i < rows; i++)
        buf_printf(&file, "{\"_timestamp\":%d,\"i\":%d,\"s\":\"row number %d of the test\"}\n",
                   1000 + i, i % 10, i);
    assert_true(buf_ok(&file));
    engine_fixture_file(&fixture, name, buf_str(&file));
    buf_done(&file);
}

static void the_time_range_is_half_open(void **state)
{
    (void)state;
    static const struct {
        const char *range, *rows;
    } cases[] = {
        {"", "10|1000|1009\n"},
        {",\"start_us\":1003", "7|1003|1009\n"},
        {",\"end_us\":1003", "3|1000|1002\n"},
        {",\"start_us\":1003,\"end_us\":1005", "2|1003|1004\n"},
        {",\"start_us\":2000,\"end_us\":3000", "0|NULL|NULL\n"},
    };
    make_rows("range.ndjson", 10);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_rows("select count(*), min(_timestamp), max(_timestamp) from weir_t0",
                    table_of("range.ndjson", ALL_TYPES, cases[i].range), cases[i].rows);
    expect_rows("select count(*) from weir_t0",
                table_of("range.ndjson", ALL_TYPES, ",\"start_us\":1003,\"end_us\":1005"), "2\n");
    expect_rows("select s from weir_t0 where i = 4",
                table_of("range.ndjson", ALL_TYPES, ",\"start_us\":1003,\"end_us\":1005"),
                "row number 4 of the test\n");
}

static void large_files_are_read_in_order_and_once(void **state)
{
    (void)state;
    enum { ROWS = 200000 };
    make_rows("large.ndjson", ROWS);
    const char *tables = table_of("large.ndjson", ALL_TYPES, "");
    struct engine_answer a;
    expect_rows("select count(*), sum(_timestamp), count(distinct s) from weir_t0", tables,
                "200000|20199900000|200000\n");
    assert_int_equal(engine_ask(&fixture, "select _timestamp from weir_t0", tables, "", &a),
                     ERR_OK);
    assert_int_equal(a.row_count, ROWS);
    assert_int_equal(a.scan_rows, ROWS);
    struct str rest = buf_str(&a.rows), line;
    for (int64_t i = 0; i < ROWS; i++) {
        int64_t t;
        assert_true(str_cut(rest, '\n', &line, &rest));
        assert_true(str_to_i64(line, &t));
        assert_int_equal(t, 1000 + i);
    }
    engine_answer_done(&a);
}

static void tables_are_joined_and_may_be_empty(void **state)
{
    (void)state;
    char tables[TABLES_TEXT_MAX];
    make_rows("join.ndjson", 20);
    snprintf(tables, sizeof tables,
             "[{\"name\":\"weir_t0\",\"columns\":[%s],\"files\":[{\"path\":\"%s/"
             "join.ndjson\",\"format\":"
             "\"ndjson\"}]},{\"name\":\"weir_t1\",\"columns\":[%s],\"files\":[]}]",
             ALL_TYPES, fixture.mount, ALL_TYPES);
    expect_rows("select count(*) from weir_t0 a join weir_t0 b using (i)", tables, "40\n");
    expect_rows("select count(*), max(b.s) from weir_t0 a left join weir_t1 b using (i)", tables,
                "20|NULL\n");
    expect_rows(
        "with weir_c0 as (select i, row_number() over (partition by i order by _timestamp) r from "
        "weir_t0) select sum(r) from (select r from weir_c0 qualify rank() over (order by i) > 0)",
        tables, "30\n");
}

static void sealed_and_open_files_are_one_table(void **state)
{
    (void)state;
    char tables[TABLES_TEXT_MAX], copy[512];
    struct database d;
    struct err e = {0};
    struct engine_config cfg = {.mount_dir = fixture.mount,
                                .staging_dir = fixture.staging,
                                .temp_dir = fixture.temp,
                                .memory_bytes = MEMORY_BYTES,
                                .threads = 1};
    assert_int_equal(database_open(&d, &cfg, &e), ERR_OK);
    {
        AUTO_CONNECTION duckdb_connection con = NULL;
        assert_int_equal(database_connect(&d, &con, &e), ERR_OK);
        snprintf(copy, sizeof copy,
                 "COPY (SELECT 5::BIGINT AS _timestamp, true AS i, 7::BIGINT AS s, 'gone' AS old) "
                 "TO '%s/sealed.parquet' (FORMAT parquet)",
                 fixture.mount);
        if (database_do(con, copy, &e) != ERR_OK)
            fail_msg("%s", e.msg);
    }
    database_close(&d);
    engine_fixture_file(&fixture, "open.ndjson",
                        STR("{\"_timestamp\":6,\"i\":2,\"s\":\"eight\"}\n"));
    snprintf(
        tables, sizeof tables,
        "[{\"name\":\"weir_t0\",\"columns\":[%s],\"schemas\":[[[\"_timestamp\",\"Int64\"],"
        "[\"i\",\"Boolean\"],[\"s\",\"Int64\"],[\"old\",\"Utf8\"]]],"
        "\"files\":[{\"path\":\"%s/sealed.parquet\","
        "\"format\":\"parquet\",\"schema\":0},{\"path\":\"%s/open.ndjson\",\"format\":\"ndjson\"}],"
        "\"start_us\":5,\"end_us\":7}]",
        ALL_TYPES, fixture.mount, fixture.mount);
    expect_rows("select _timestamp, i, s, f from weir_t0 order by 1", tables,
                "5|1|7|NULL\n6|2|eight|NULL\n");
}

static void errors_carry_the_codes_of_the_api(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        int detail;
    } cases[] = {
        {"selec 1", 20001},
        {"", 20001},
        {"select * from nosuch", 20002},
        {"select nosuch from weir_t0", 20004},
        {"select weir_t9.i from weir_t0", 20004},
        {"select nosuch(i) from weir_t0", 20005},
        {"select sum(s) from weir_t0", 20008},
        {"select s + 5 from weir_t0", 20008},
        {"select 'hello' + 5", 20008},
        {"select cast(s as int) from weir_t0", 20007},
        {"select cast(s as nosuchtype) from weir_t0", 20007},
        {"select round('abc')", 20008},
        {"select 9223372036854775807 + i from weir_t0 where i = 1", 20008},
        {"select i, count(*) from weir_t0", 20008},
        {"select re_match(s, '(') from weir_t0", 20008},
        {"select weir_histogram(_timestamp, -1) from weir_t0", 20008},
    };
    make_rows("codes.ndjson", 10);
    const char *tables = table_of("codes.ndjson", ALL_TYPES, "");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_error(cases[i].sql, tables, "", ERR_INVALID, cases[i].detail);
}

static void bad_files_fail_the_query_with_their_name(void **state)
{
    (void)state;
    static const struct {
        const char *content;
        enum err_code code;
    } cases[] = {
        {"{\"_timestamp\":1}\nnot json\n", ERR_CORRUPT},
        {"{\"_timestamp\":1,\"i\":\"text\"}\n", ERR_CORRUPT},
        {"{\"_timestamp\":1,\"b\":3}\n", ERR_CORRUPT},
        {"{\"_timestamp\":1,\"s\":\"no utf-8: \xff\"}\n", ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct engine_answer a;
        engine_fixture_file(&fixture, "bad.ndjson", str_from(cases[i].content));
        assert_int_equal(engine_ask(&fixture, "select * from weir_t0",
                                    table_of("bad.ndjson", ALL_TYPES, ""), "", &a),
                         cases[i].code);
        assert_non_null(strstr(a.error.msg, "bad.ndjson"));
        engine_answer_done(&a);
    }
    expect_error("select * from weir_t0", table_of("absent.ndjson", ALL_TYPES, ""), "",
                 ERR_NOTFOUND, 0);
    expect_error("select * from weir_t0", table_of("../../etc/passwd", ALL_TYPES, ""), "",
                 ERR_FORBIDDEN, 0);
}

static const char endless[] =
    "select sum(a.range * b.range) from range(10000000) a, range(10000000) b";

static void a_query_past_its_deadline_is_stopped(void **state)
{
    (void)state;
    uint64_t start_ms = clock_mono_ms();
    expect_error(endless, "[]", ",\"timeout_ms\":100", ERR_TIMEOUT, 20010);
    assert_true(clock_mono_ms() - start_ms < 20000);
}

/* Queries begin in no certain order: ask until one has to wait, which is when every slot is taken.
 */
static bool all_slots_are_taken(void)
{
    uint64_t give_up_ms = clock_mono_ms() + ENGINE_START_MS;
    enum err_code rc;
    do {
        struct engine_answer a;
        rc = engine_ask(&fixture, "select 1", "[]", ",\"timeout_ms\":300", &a);
        engine_answer_done(&a);
    } while (rc == ERR_OK && clock_mono_ms() < give_up_ms);
    return rc == ERR_TIMEOUT;
}

/* Take every slot with endless queries; closing their connections must free the slots. */
static void a_query_whose_client_goes_away_is_stopped(void **state)
{
    (void)state;
    struct engine_client *clients[QUERIES];
    struct err e = {0};
    for (int i = 0; i < QUERIES; i++) {
        assert_int_equal(
            engine_client_open(fixture.socket, clock_mono_ms() + ENGINE_START_MS, &clients[i], &e),
            ERR_OK);
        assert_int_equal(engine_start(clients[i], endless, "[]", "", &e), ERR_OK);
    }
    bool taken = all_slots_are_taken();
    expect_error("select 1", "[]", ",\"wait_ms\":100", ERR_AGAIN, 0);
    for (int i = 0; i < QUERIES; i++)
        engine_client_close(clients[i]);
    assert_true(taken);
    expect_rows("select 1", "[]", "1\n");
}

static void a_client_that_does_not_read_is_stopped(void **state)
{
    (void)state;
    struct engine_client *c = NULL;
    struct err e = {0};
    assert_int_equal(engine_client_open(fixture.socket, clock_mono_ms() + ENGINE_START_MS, &c, &e),
                     ERR_OK);
    assert_int_equal(
        engine_start(c, "select range, repeat('x', 1000) from range(10000000)", "[]", "", &e),
        ERR_OK);
    engine_client_close(c);
    expect_rows("select 2", "[]", "2\n");
}

static void more_rows_than_the_limit_are_an_error(void **state)
{
    (void)state;
    expect_error("select * from range(101)", "[]", ",\"limit_rows\":100", ERR_TOOBIG, 20008);
    struct engine_answer a;
    assert_int_equal(
        engine_ask(&fixture, "select * from range(100)", "[]", ",\"limit_rows\":100", &a), ERR_OK);
    assert_int_equal(a.row_count, 100);
    engine_answer_done(&a);
}

static void a_query_past_the_memory_fails_alone(void **state)
{
    (void)state;
    expect_error("select list(repeat('x', 1000) || range) from range(100000000)", "[]", "",
                 ERR_NOMEM, 20008);
    expect_rows("select 3", "[]", "3\n");
}

static void only_select_and_explain_are_run(void **state)
{
    (void)state;
    struct engine_answer a;
    assert_int_equal(engine_ask(&fixture, "select 1", "[]", ",\"explain\":\"EXPLAIN ANALYZE\"", &a),
                     ERR_OK);
    assert_true(str_starts(buf_str(&a.columns), STR("explain_key:VARCHAR|")));
    engine_answer_done(&a);
    assert_int_equal(engine_ask(&fixture, "select 1", "[]", ",\"explain\":\"DROP\"", &a),
                     ERR_INVALID);
    engine_answer_done(&a);
    expect_error("create table t (i int)", "[]", "", ERR_INVALID, 20001);
    expect_error("set threads = 1", "[]", "", ERR_INVALID, 20001);
    expect_error("select 1; select 2", "[]", "", ERR_INVALID, 20001);
    expect_error("select 1\n--\n; drop view x", "[]", "", ERR_INVALID, 20001);
}

/* What a query could do if it passed the gate: nothing outside the wall. */
static void the_wall_stands_without_the_gate(void **state)
{
    (void)state;
    static const char *const statements[] = {
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/hostname'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_blob('/proc/self/environ')",
        "SELECT * FROM read_parquet('https://example.com/x.parquet')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT content FROM read_text(getvariable('x') || '/etc/hostname')",
        "ATTACH '/tmp/weir-test-attached.db'",
        "COPY (SELECT 1) TO '/tmp/weir-test-copied.csv'",
        "EXPORT DATABASE '/tmp/weir-test-exported'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "LOAD '/tmp/x.duckdb_extension'",
        "SET threads = 1",
        "SET memory_limit = '100GB'",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "SET SESSION TimeZone = 'Asia/Tokyo'",
        "PRAGMA threads = 1",
        "PRAGMA profile_output = '/tmp/weir-test-profile'",
        "SET profiling_output = '/tmp/weir-test-profile'",
        "SET log_query_path = '/tmp/weir-test-log'",
        "SET temp_directory = '/tmp'",
        "SELECT * FROM weir_lines(1::UBIGINT)",
    };
    struct database d;
    struct err e = {0};
    struct engine_config cfg = {.mount_dir = fixture.mount,
                                .staging_dir = fixture.staging,
                                .temp_dir = fixture.temp,
                                .memory_bytes = MEMORY_BYTES,
                                .threads = 1};
    assert_int_equal(database_open(&d, &cfg, &e), ERR_OK);
    {
        AUTO_CONNECTION duckdb_connection con = NULL;
        assert_int_equal(database_connect(&d, &con, &e), ERR_OK);
        for (size_t i = 0; i < ARRAY_LEN(statements); i++)
            if (database_do(con, statements[i], &e) == ERR_OK)
                fail_msg("the wall let through: %s", statements[i]);
    }
    database_close(&d);
    assert_int_not_equal(access("/tmp/weir-test-attached.db", F_OK), 0);
    assert_int_not_equal(access("/tmp/weir-test-copied.csv", F_OK), 0);
    assert_int_not_equal(access("/tmp/weir-test-exported", F_OK), 0);
}

static void garbage_on_the_socket_is_an_error_not_a_crash(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "{",
        "[]",
        "{\"tree\":5}",
        "{\"tree\":{}}",
        "{\"tree\":{\"error\":false,\"statements\":[{}]}}",
        "{\"tree\":{},\"tables\":[{\"name\":\"\"}]}",
        "{\"tree\":{},\"tables\":[{\"name\":\"x\",\"columns\":[{\"name\":\"a\",\"type\":\"Int7\"}]}"
        "]}",
        "{\"tree\":{},\"tables\":[{\"name\":\"x\",\"columns\":[{\"name\":\"a\",\"type\":\"Int64\"}]"
        ","
        "\"files\":[{\"path\":\"/etc/passwd\",\"format\":\"ndjson\"}]}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct engine_client *c = NULL;
        struct engine_answer a = {0};
        assert_int_equal(
            engine_client_open(fixture.socket, clock_mono_ms() + ENGINE_START_MS, &c, &a.error),
            ERR_OK);
        assert_int_equal(engine_client_run(c, str_from(bodies[i]), &a.error), ERR_OK);
        assert_int_not_equal(engine_collect(c, &a), ERR_OK);
        assert_int_not_equal(a.error.code, ERR_GONE);
        engine_client_close(c);
    }
}

static void names_are_quoted(void **state)
{
    (void)state;
    engine_fixture_file(&fixture, "quo'te.ndjson",
                        STR("{\"_timestamp\":1,\"a \\\"b\\\" 'c'\":\"x\",\"select\":2}\n"));
    expect_rows("select * from weir_t0",
                table_of("quo'te.ndjson",
                         TIME "," COLUMN("a \\\"b\\\" 'c'", "Utf8") "," COLUMN("select", "Int64"),
                         ""),
                "1|x|2\n");
}

static void the_engine_says_who_it_is(void **state)
{
    (void)state;
    struct engine_client *c = NULL;
    struct engine_pong pong;
    struct err e = {0};
    assert_int_equal(engine_client_open(fixture.socket, clock_mono_ms() + ENGINE_START_MS, &c, &e),
                     ERR_OK);
    assert_int_equal(engine_client_ping(c, clock_mono_ms() + ENGINE_ANSWER_MS, &pong, &e), ERR_OK);
    assert_string_equal(pong.version, duckdb_library_version());
    assert_int_equal(pong.pid, fixture.pid);
    engine_client_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_engine_says_who_it_is),
        cmocka_unit_test(values_come_in_the_types_of_the_stream),
        cmocka_unit_test(results_have_the_forms_of_the_wire),
        cmocka_unit_test(functions_answer_as_the_api_says),
        cmocka_unit_test(every_code_point_comes_back_byte_for_byte),
        cmocka_unit_test(long_values_come_back_whole),
        cmocka_unit_test(nulls_keep_their_place_when_a_chunk_is_cut),
        cmocka_unit_test(the_time_range_is_half_open),
        cmocka_unit_test(large_files_are_read_in_order_and_once),
        cmocka_unit_test(tables_are_joined_and_may_be_empty),
        cmocka_unit_test(sealed_and_open_files_are_one_table),
        cmocka_unit_test(errors_carry_the_codes_of_the_api),
        cmocka_unit_test(bad_files_fail_the_query_with_their_name),
        cmocka_unit_test(a_query_past_its_deadline_is_stopped),
        cmocka_unit_test(a_query_whose_client_goes_away_is_stopped),
        cmocka_unit_test(a_client_that_does_not_read_is_stopped),
        cmocka_unit_test(more_rows_than_the_limit_are_an_error),
        cmocka_unit_test(a_query_past_the_memory_fails_alone),
        cmocka_unit_test(only_select_and_explain_are_run),
        cmocka_unit_test(the_wall_stands_without_the_gate),
        cmocka_unit_test(garbage_on_the_socket_is_an_error_not_a_crash),
        cmocka_unit_test(names_are_quoted),
    };
    return cmocka_run_group_tests(tests, start_engine, stop_engine);
}
