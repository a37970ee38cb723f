// links: weir_engine
/* tests/unit/test_sealed_query.c - sealed files answer like their lines, and one that is damaged is
 * told from a wrong query. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/seal_checks.h"

/* ---- the same rows ---- */

static void a_sealed_file_answers_like_its_lines(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "select * from weir_t0 order by _timestamp, level",
        "select count(*), count(b), count(f), count(i), count(u), count(never) from weir_t0",
        "select level, count(*), sum(f), max(u), min(i) from weir_t0 group by level order by level",
        "select _timestamp from weir_t0 where u > 9223372036854775807 order by 1",
        "select sum(u), sum(i) from weir_t0",
        "select _timestamp, u + 1, i / 2, f * 2 from weir_t0 order by 1, 2",
        "select _timestamp from weir_t0 where level = 'info' and b",
        "select typeof(b), typeof(f), typeof(i), typeof(u), typeof(never) from weir_t0 limit 1",
        "select _timestamp, level from weir_t0 where str_match(level, 'n') order by 1",
        "select a._timestamp, b.u from weir_t0 a join weir_t0 b using (level) order by 1, 2",
        "select * from weir_t0 where _timestamp >= 2 and _timestamp < 5 order by _timestamp, level",
    };
    struct buf before, after;
    struct sealed s = seal_lines(str_from(ALL_LINES), ALL_COLUMNS);
    buf_init(&before, TEXT_MAX);
    buf_init(&after, TEXT_MAX);
    engine_fixture_file(&fixture, "all.ndjson", str_from(ALL_LINES));
    for (int bounded = 0; bounded < 2; bounded++) {
        const char *more = bounded ? ",\"start_us\":2,\"end_us\":5" : "";
        const struct sealed *files[] = {&s};
        buf_clear(&before);
        buf_clear(&after);
        add_line_table(&before, ALL_COLUMNS, "all.ndjson", more);
        add_sealed_table(&after, ALL_COLUMNS, files, 1, true, more);
        for (size_t i = 0; i < ARRAY_LEN(queries); i++)
            expect_same_answer(queries[i], &before, &after);
    }
    buf_done(&before);
    buf_done(&after);
    sealed_done(&s);
}

static void lines_and_sealed_files_are_one_table(void **state)
{
    (void)state;
    struct sealed s = seal_lines(STR("{\"_timestamp\":1,\"level\":\"a\",\"n\":1}\n"), MANY_COLUMNS);
    struct buf tables;
    buf_init(&tables, TEXT_MAX);
    engine_fixture_file(&fixture, "rest.ndjson",
                        STR("{\"_timestamp\":2,\"level\":\"b\",\"n\":2}\n"));
    buf_add_cstr(&tables, "[{\"name\":\"weir_t0\",\"columns\":[");
    add_columns(&tables, MANY_COLUMNS);
    buf_add_cstr(&tables, "],\"schemas\":[");
    add_schema(&tables, &s);
    buf_printf(&tables,
               "],\"files\":[{\"path\":\"%s/rest.ndjson\",\"format\":\"ndjson\"},"
               "{\"path\":\"%s\",\"format\":\"parquet\",\"schema\":0}]}]",
               fixture.mount, s.parquet);
    struct engine_answer a = answer_of("select * from weir_t0 order by 1", &tables);
    assert_string_equal(a.rows.data, "1|a|1\n2|b|2\n");
    assert_int_equal(a.scan_rows, 1); /* of lines */
    engine_answer_done(&a);
    buf_done(&tables);
    sealed_done(&s);
}

#define CPU_COLUMNS                                                                                \
    "[[\"_timestamp\",\"Int64\",1],[\"__name__\",\"Utf8\",2],[\"host\",\"Utf8\",3],"               \
    "[\"job\",\"Utf8\",4],[\"value\",\"Float64\",5]]"

static void add_metric_table(struct buf *out, const struct sealed *s, const char *columns,
                             const char *name)
{
    buf_add_cstr(out, "[{\"name\":\"weir_t0\",\"columns\":[");
    add_columns(out, columns);
    buf_add_cstr(out, "],\"schemas\":[");
    add_schema(out, s);
    buf_printf(
        out,
        "],\"files\":[{\"path\":\"%s\",\"format\":\"parquet\",\"schema\":0,\"name\":\"%s\"}]}]",
        s->parquet, name);
}

static void the_labels_of_a_metric_are_columns(void **state)
{
    (void)state;
    struct sealed s = seal_metrics();
    struct buf tables;
    buf_init(&tables, TEXT_MAX);
    add_metric_table(&tables, &s, CPU_COLUMNS, "cpu");
    expect_answer("select * from weir_t0 order by host, _timestamp", &tables,
                  "10|cpu|a\"q|NULL|nan\n10|cpu|b|NULL|nan\n20|cpu|b|NULL|1.5\n");
    expect_answer("select host, count(*) from weir_t0 group by 1 order by 1", &tables,
                  "a\"q|1\nb|2\n");
    buf_clear(&tables);
    add_metric_table(&tables, &s, CPU_COLUMNS, "alerts");
    expect_answer("select value, host from weir_t0 order by _timestamp", &tables,
                  "-0|NULL\ninf|NULL\n");
    buf_done(&tables);
    sealed_done(&s);
}

#define LABEL_COLUMNS                                                                              \
    "[[\"_timestamp\",\"Int64\",1],[\"__name__\",\"Utf8\",2],[\"Host\",\"Utf8\",3],"               \
    "[\"a.b\",\"Utf8\",4],[\"never\",\"Utf8\",5],[\"q's\",\"Utf8\",6],[\"value\",\"Float64\",7]]"

static const char LABEL_LINES[] =
    "{\"_timestamp\":1,\"__name__\":\"m\",\"Host\":\"x\",\"a.b\":\"dot\",\"value\":1.5}\n"
    "{\"_timestamp\":2,\"__name__\":\"m\",\"Host\":\"x\",\"a.b\":\"dot\",\"value\":\"NaN\"}\n"
    "{\"_timestamp\":3,\"__name__\":\"m\",\"Host\":\"\\u0000\\n\\\"\\\\ \xc3\xa9 "
    "\xf0\x9f\x8c\x8a\","
    "\"q's\":\"y\",\"value\":\"Stale\"}\n"
    "{\"_timestamp\":4,\"__name__\":\"m\",\"Host\":\"\",\"value\":\"-Inf\"}\n"
    "{\"_timestamp\":5,\"__name__\":\"m\",\"value\":-0.0}\n"
    "{\"_timestamp\":6,\"__name__\":\"m\",\"Host\":\"x\",\"value\":\"+Inf\"}\n";

static void samples_answer_like_their_lines(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "select * from weir_t0 order by _timestamp",
        "select _timestamp from weir_t0 where value > 1 order by 1",
        "select _timestamp from weir_t0 where value = 'nan'::double order by 1",
        "select _timestamp from weir_t0 where value < 0 order by 1",
        "select _timestamp from weir_t0 where value = 0 order by 1",
        "select min(value), max(value), count(value), count(never) from weir_t0",
        "select \"Host\", count(*) from weir_t0 group by 1 order by 1",
        "select _timestamp from weir_t0 where \"Host\" = '' or \"Host\" is null order by 1",
        "select \"a.b\", \"q's\" from weir_t0 where \"a.b\" = 'dot' or \"q's\" = 'y' order by 1, 2",
        "select length(\"Host\") from weir_t0 order by _timestamp",
    };
    struct seal_source_spec source = {str_from(LABEL_LINES), "m"};
    struct seal_spec spec = {NULL, &source, 1, 0};
    struct sealed s;
    struct err e = {0};
    struct buf before, after;
    if (seal_fixture_seal(&fixture, &spec, &s, &e) != ERR_OK)
        fail_msg("seal: %s", e.msg);
    buf_init(&before, TEXT_MAX);
    buf_init(&after, TEXT_MAX);
    engine_fixture_file(&fixture, "samples.ndjson", str_from(LABEL_LINES));
    add_line_table(&before, LABEL_COLUMNS, "samples.ndjson", "");
    add_metric_table(&after, &s, LABEL_COLUMNS, "m");
    for (size_t i = 0; i < ARRAY_LEN(queries); i++)
        expect_same_answer(queries[i], &before, &after);
    buf_done(&before);
    buf_done(&after);
    sealed_done(&s);
}

/* ---- widened fields ---- */

static const struct {
    const char *stored, *wider; /* types */
    const char *values;         /* of the stored type, as lines have them */
} WIDENED[] = {
    {"Boolean", "Int64", "true,false"},
    {"Boolean", "UInt64", "true,false"},
    {"Boolean", "Float64", "true,false"},
    {"Boolean", "Utf8", "true,false"},
    {"Int64", "UInt64", "0,-1,9223372036854775807,-9223372036854775808"},
    {"Int64", "Float64", "0,-1,9223372036854775807,-9223372036854775808,9007199254740993"},
    {"Int64", "Utf8", "0,-1,9223372036854775807,-9223372036854775808"},
    {"UInt64", "Float64", "0,18446744073709551615,9223372036854775809,18014398509481987"},
    {"UInt64", "Float64", "-18014398509481987,18446744073709551615"},
    {"UInt64", "Utf8", "0,18446744073709551615"},
    {"UInt64", "Utf8", "-5,18446744073709551615"},
    {"UInt64", "Utf8", "-5,7"},
    {"Float64", "Utf8",
     "0.0,-0.0,0.1,1e16,1e-6,1.5,-2.5e-7,123456789012345.6,1.7976931348623157e308,5e-324,100.0"},
    {"Float64", "Float64", "0.1,1e16,0.30000000000000004"},
    {"UInt64", "UInt64", "-5,18446744073709551615,0"},
};

static void a_field_widened_later_reads_as_its_lines_do(void **state)
{
    (void)state;
    struct buf lines, before, after;
    buf_init(&lines, TEXT_MAX);
    buf_init(&before, TEXT_MAX);
    buf_init(&after, TEXT_MAX);
    for (size_t i = 0; i < ARRAY_LEN(WIDENED); i++) {
        char stored[128], wider[128];
        struct str value, rest = str_from(WIDENED[i].values);
        static const char form[] = "[[\"_timestamp\",\"Int64\",1],[\"v\",\"%s\",2]]";
        snprintf(stored, sizeof stored, form, WIDENED[i].stored);
        snprintf(wider, sizeof wider, form, WIDENED[i].wider);
        buf_clear(&lines);
        buf_clear(&before);
        buf_clear(&after);
        for (int ts = 1; rest.len > 0; ts++) {
            str_cut(rest, ',', &value, &rest);
            buf_printf(&lines, "{\"_timestamp\":%d,\"v\":" STR_FMT "}\n", ts, STR_ARG(value));
        }
        struct sealed s = seal_lines(buf_str(&lines), stored);
        const struct sealed *files[] = {&s};
        engine_fixture_file(&fixture, "widened.ndjson", buf_str(&lines));
        add_line_table(&before, wider, "widened.ndjson", "");
        add_sealed_table(&after, wider, files, 1, true, "");
        expect_text(&s, "\"group\":0", buf_str(&lines));
        expect_same_answer("select *, typeof(v) from weir_t0 order by _timestamp", &before, &after);
        sealed_done(&s);
    }
    buf_done(&lines);
    buf_done(&before);
    buf_done(&after);
}

#define WIDE_COLUMNS "[[\"_timestamp\",\"Int64\",1],[\"u\",\"UInt64\",2]]"

static void files_that_store_wide_integers_differently_are_read_together(void **state)
{
    (void)state;
    static const char *const values[] = {"18446744073709551615", "-5", "-9223372036854775808"};
    static const char *const orders[] = {"012", "120", "201", "021", "102", "210"};
    struct sealed s[3];
    struct buf tables;
    buf_init(&tables, TEXT_MAX);
    for (int i = 0; i < 3; i++) {
        char lines[160];
        int n = snprintf(lines, sizeof lines, "{\"_timestamp\":%d,\"u\":%s}\n%s", i + 1, values[i],
                         i < 2 ? "" : "{\"_timestamp\":9,\"u\":18446744073709551614}\n");
        s[i] = seal_lines((struct str){lines, (size_t)n}, WIDE_COLUMNS);
    }
    for (size_t o = 0; o < ARRAY_LEN(orders); o++) {
        const struct sealed *files[3];
        for (int i = 0; i < 3; i++)
            files[i] = &s[orders[o][i] - '0'];
        buf_clear(&tables);
        add_sealed_table(&tables, WIDE_COLUMNS, files, 3, true, "");
        expect_answer("select u from weir_t0 order by _timestamp", &tables,
                      "18446744073709551615\n-5\n-9223372036854775808\n18446744073709551614\n");
        expect_answer("select count(*) from weir_t0 where u < 0", &tables, "2\n");
    }
    buf_done(&tables);
    for (int i = 0; i < 3; i++)
        sealed_done(&s[i]);
}

static void a_field_that_a_file_lacks_is_null(void **state)
{
    (void)state;
    static const char columns[] =
        "[[\"_timestamp\",\"Int64\",1],[\"a\",\"Utf8\",2],[\"z\",\"UInt64\",3]]";
    struct sealed s[] = {seal_lines(STR("{\"_timestamp\":1,\"a\":\"x\"}\n"), columns),
                         seal_lines(STR("{\"_timestamp\":2,\"z\":7}\n"), columns)};
    const struct sealed *files[] = {&s[0], &s[1]};
    struct buf tables;
    buf_init(&tables, TEXT_MAX);
    assert_int_equal(json_get(s[0].facts, "columns")->count, 2);
    add_sealed_table(&tables, columns, files, 2, false, "");
    expect_answer("select * from weir_t0 order by 1", &tables, "1|x|NULL\n2|NULL|7\n");
    buf_done(&tables);
    sealed_done(&s[0]);
    sealed_done(&s[1]);
}

static void paths_that_mean_something_to_duckdb_are_only_paths(void **state)
{
    (void)state;
    struct sealed s = seal_lines(str_from(ALL_LINES), ALL_COLUMNS);
    const struct sealed *files[] = {&s};
    char dir[PATH_MAX], moved[PATH_MAX];
    struct buf tables;
    snprintf(dir, sizeof dir, "%s/level=x [a-b]*?", fixture.mount);
    assert_true(snprintf(moved, sizeof moved, "%s/it's.parquet", dir) < (int)sizeof moved);
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(rename(s.parquet, moved), 0);
    memcpy(s.parquet, moved, sizeof moved);
    expect_text(&s, "\"group\":0", str_from(ALL_LINES));
    buf_init(&tables, TEXT_MAX);
    add_sealed_table(&tables, ALL_COLUMNS, files, 1, true, "");
    expect_answer("select level from weir_t0 where _timestamp = 1", &tables, "info\n");
    buf_done(&tables);
    sealed_done(&s);
}

/* ---- damage ---- */

static void overwrite(const char *path, long at, long count) /* at < 0: from the end */
{
    struct stat st;
    FILE *file = fopen(path, "r+b");
    assert_true(file && stat(path, &st) == 0);
    fseek(file, at < 0 ? (long)st.st_size + at : at, SEEK_SET);
    for (long i = 0; i < count; i++)
        fputc(0xff, file);
    assert_int_equal(fclose(file), 0);
}

/* The query fails for the sake of that file. */
static void expect_blame(const struct buf *tables, const char *path)
{
    struct engine_answer a;
    char prefix[PATH_MAX + 2];
    size_t len = (size_t)snprintf(prefix, sizeof prefix, "%s: ", path);
    enum err_code rc = engine_ask(&fixture, "select * from weir_t0", tables->data, "", &a);
    if (rc != ERR_CORRUPT || strncmp(a.error.msg, prefix, len) != 0)
        fail_msg("%s: %s, not of %s", err_name(rc), a.error.msg, path);
    engine_answer_done(&a);
}

static void a_file_that_cannot_be_read_is_an_error_that_names_it(void **state)
{
    (void)state;
    enum { WHOLE, TRUNCATED, HEADERS, FOOTER, MAGIC, MISSING, DAMAGES };
    for (int damage = TRUNCATED; damage < DAMAGES; damage++) {
        struct sealed s[] = {seal_lines(str_from(ALL_LINES), ALL_COLUMNS),
                             seal_lines(str_from(ALL_LINES), ALL_COLUMNS)};
        const struct sealed *files[] = {&s[0], &s[1]};
        struct buf tables;
        buf_init(&tables, TEXT_MAX);
        add_sealed_table(&tables, ALL_COLUMNS, files, 2, true, "");
        if (damage == TRUNCATED)
            assert_int_equal(truncate(s[1].parquet, 100), 0);
        else if (damage == HEADERS)
            overwrite(s[1].parquet, 4, 200);
        else if (damage == FOOTER)
            overwrite(s[1].parquet, -60, 40);
        else if (damage == MAGIC)
            overwrite(s[1].parquet, -4, 4);
        else
            assert_int_equal(unlink(s[1].parquet), 0);
        expect_blame(&tables, s[1].parquet);
        buf_done(&tables);
        sealed_done(&s[0]);
        sealed_done(&s[1]);
    }
}

static void a_wrong_query_is_blamed_on_no_file(void **state)
{
    (void)state;
    struct sealed s = seal_lines(str_from(ALL_LINES), ALL_COLUMNS);
    const struct sealed *files[] = {&s};
    static const char *const queries[] = {
        "select nothing from weir_t0",
        "select i / 'a' from weir_t0",
        "select level::int from weir_t0",
        "select i - 1 from weir_t0",
        "select regexp_matches(level, '(') from weir_t0",
    };
    struct buf tables;
    buf_init(&tables, TEXT_MAX);
    add_sealed_table(&tables, ALL_COLUMNS, files, 1, true, "");
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        struct engine_answer a;
        assert_int_equal(engine_ask(&fixture, queries[i], tables.data, "", &a), ERR_INVALID);
        engine_answer_done(&a);
    }
    buf_done(&tables);
    sealed_done(&s);
}

/* Damage in the first row group shows what a query reads. */
static void row_groups_outside_of_the_time_range_are_not_read(void **state)
{
    (void)state;
    enum { GROUP = 131072 };
    struct buf lines, late, all;
    buf_init(&lines, TEXT_MAX);
    buf_init(&late, TEXT_MAX);
    buf_init(&all, TEXT_MAX);
    add_many_lines(&lines, 0, 2 * GROUP);
    struct sealed s = seal_lines(buf_str(&lines), MANY_COLUMNS);
    const struct sealed *files[] = {&s};
    add_sealed_table(&all, MANY_COLUMNS, files, 1, true, "");
    add_sealed_table(&late, MANY_COLUMNS, files, 1, true, ",\"start_us\":1200000");
    overwrite(s.parquet, 4, 500);
    expect_answer("select count(n), max(level) from weir_t0", &late, "62144|warn\n");
    expect_answer("select n from weir_t0 where _timestamp = 1200000", &all, "0\n");
    expect_blame(&all, s.parquet);
    buf_done(&lines);
    buf_done(&late);
    buf_done(&all);
    sealed_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_file_answers_like_its_lines),
        cmocka_unit_test(lines_and_sealed_files_are_one_table),
        cmocka_unit_test(the_labels_of_a_metric_are_columns),
        cmocka_unit_test(samples_answer_like_their_lines),
        cmocka_unit_test(a_field_widened_later_reads_as_its_lines_do),
        cmocka_unit_test(files_that_store_wide_integers_differently_are_read_together),
        cmocka_unit_test(a_field_that_a_file_lacks_is_null),
        cmocka_unit_test(paths_that_mean_something_to_duckdb_are_only_paths),
        cmocka_unit_test(a_file_that_cannot_be_read_is_an_error_that_names_it),
        cmocka_unit_test(a_wrong_query_is_blamed_on_no_file),
        cmocka_unit_test(row_groups_outside_of_the_time_range_are_not_read),
    };
    return cmocka_run_group_tests(tests, start_engine, stop_engine);
}
