// links: weir_gateway weir_engine weir_fs weir_index
/* tests/unit/test_gate_rewrite.c - what an accepted tree has become, as DuckDB writes it as SQL. */
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

static int default_options(void **state)
{
    struct fixture *f = *state;
    f->options = fixture_options();
    return 0;
}

struct rewrite_case {
    const char *sql, *becomes;
};

static void check_rewrite(struct fixture *f, const struct rewrite_case *c)
{
    struct buf out;
    buf_init(&out, 1u << 20);
    if (fixture_check(f, c->sql) || fixture_render(f, f->result.document, &out))
        fail_msg("%s\n  %d %s", c->sql, f->err.detail, f->err.msg);
    if (strcmp(out.data, c->becomes) != 0)
        fail_msg("%s\n  became %s\n  not    %s", c->sql, out.data, c->becomes);
    buf_done(&out);
}

static void check_rewrites(void **state, const struct rewrite_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_rewrite(*state, &cases[i]);
}

static void columns_that_differ_only_in_case_are_told_apart(void **state)
{
    static const struct rewrite_case cases[] = {
        {"SELECT \"Host\", \"host\", c.HOST, hOst, host_1 FROM metrics.cased c LIMIT 1",
         "SELECT Host, \"host~2~\", c.\"HOST~1~\", hOst, host_1 FROM weir_t0 AS c ORDER BY "
         "c._timestamp DESC LIMIT 1"},
        {"SELECT host h FROM metrics.cased WHERE host = 'host' ORDER BY \"HOST\" LIMIT 1",
         "SELECT \"host~2~\" AS h FROM weir_t0 AS cased WHERE (\"host~2~\" = 'host') ORDER BY "
         "\"HOST~1~\" LIMIT 1"},
        {"SELECT Host, host, avg(host) FROM metrics.cased GROUP BY Host, /* host */ host LIMIT 1",
         "SELECT Host, \"host~2~\", avg(\"host~2~\") AS \"avg(cased.host~2~)\" FROM weir_t0 AS "
         "cased GROUP BY Host, \"host~2~\" LIMIT 1"},
        {"SELECT * FROM (SELECT * EXCLUDE (host) REPLACE (1 AS host_1) FROM metrics.cased) "
         "ORDER BY host LIMIT 1",
         "SELECT * FROM (SELECT * EXCLUDE (\"host~2~\") REPLACE (1 AS host_1) FROM weir_t0 "
         "AS cased) ORDER BY \"host~2~\" LIMIT 1"},
        {"WITH host (host) AS (SELECT max(HOST) FROM metrics.cased) SELECT host.host AS HOST FROM "
         "host JOIN metrics.cased USING (host) LIMIT 1",
         "WITH weir_c0 (\"host~2~\") AS (SELECT max(\"HOST~1~\") AS \"max(cased.HOST~1~)\" FROM "
         "weir_t0 AS cased)SELECT \"host~2~\".\"host~2~\" AS \"HOST~1~\" FROM weir_c0 AS "
         "\"host~2~\" INNER JOIN weir_t0 AS cased USING (\"host~2~\") LIMIT 1"},
        /* a mark that is not in the statement */
        {"SELECT host FROM metrics.cased WHERE note = '~~^' LIMIT 1",
         "SELECT \"host`2`\" FROM weir_t0 AS cased WHERE (note = '~~^') ORDER BY "
         "cased._timestamp DESC LIMIT 1"},
        /* the other streams' names: as written, else whatever the case */
        {"SELECT p.host, p.HOST, c.host FROM metrics.cased c, plain p LIMIT 1",
         "SELECT p.\"host~2~\", p.\"host~2~\" AS \"HOST~1~\", c.\"host~2~\" FROM weir_t0 AS c , "
         "weir_t1 AS p LIMIT 1"},
        {"SELECT HOST FROM plain WHERE value IN (SELECT value FROM metrics.cased) LIMIT 1",
         "SELECT host AS \"HOST~1~\" FROM weir_t0 AS plain WHERE (\"value\" = ANY(SELECT \"value\" "
         "FROM "
         "weir_t1 AS cased)) ORDER BY plain._timestamp DESC LIMIT 1"},
        {"SELECT c.HosT, w.order FROM metrics.words w, metrics.cased c, metrics.upper u LIMIT 1",
         "SELECT c.HosT, w.\"order~4~\" FROM weir_t0 AS w , weir_t1 AS c , weir_t2 AS u LIMIT 1"},
        {"SELECT c.HosT, u.hOst FROM metrics.upper u JOIN metrics.cased c ON true LIMIT 1",
         "SELECT c.\"Host~1~\" AS HosT, u.hOst FROM weir_t0 AS u INNER JOIN weir_t1 AS c ON "
         "(CAST('t' AS BOOLEAN)) LIMIT 1"},
        {"SELECT value AS HOST FROM plain WHERE value IN (SELECT value FROM metrics.cased) ORDER "
         "BY HOST LIMIT 1",
         "SELECT \"value\" AS \"HOST~1~\" FROM weir_t0 AS plain WHERE (\"value\" = ANY(SELECT "
         "\"value\" FROM weir_t1 AS cased)) ORDER BY \"HOST~1~\" LIMIT 1"},
        {"SELECT \"Host\"host FROM metrics.cased c LIMIT 1",
         "SELECT Host AS \"host~2~\" FROM weir_t0 AS c ORDER BY c._timestamp DESC LIMIT 1"},
        {"WITH cased AS (SELECT 1 AS Host) SELECT host FROM cased LIMIT 1",
         "WITH weir_c0 AS (SELECT 1 AS Host)SELECT host FROM weir_c0 AS cased LIMIT 1"},
    };
    check_rewrites(state, cases, ARRAY_LEN(cases));
}

static void the_answer_has_the_callers_names(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[][2] = {
        {"host~2~", "host"},
        {"\"host~2~\"", "host"},
        {"max(c.host~2~) || \"HOST~1~\" || host~2~", "max(c.host) || HOST || host"},
        {"host~2~_1", "host_1"},
        {"(\"Host\" || \"host~2~)", "(\"Host\" || \"host)"},
        {"host~1~", "host~1~"},
        {"ost~2~", "ost~2~"},
        {"host~3~", "host~3~"},
        {"host~0~ host~~ host~2 ~ host~18446744073709551617~ host~2",
         "host~0~ host~~ host~2 ~ host~18446744073709551617~ host~2"},
        {"", ""},
    };
    assert_int_equal(fixture_check(f, "SELECT host FROM metrics.cased"), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct str back = gate_write_back(&f->result.names, &f->arena, str_from(texts[i][0]));
        if (!str_eq(back, str_from(texts[i][1])))
            fail_msg("%s became %.*s", texts[i][0], STR_ARG(back));
    }
    assert_true(str_eq(gate_written(&f->result.names, STR("HOST~1~")), STR("HOST")));
    assert_true(str_eq(gate_written(&f->result.names, STR("x HOST~1~")), STR("x HOST~1~")));
}

static void a_statement_with_every_mark_in_it_is_refused(void **state)
{
    struct fixture *f = *state;
    enum err_code rc = fixture_check(f, "SELECT host FROM metrics.cased WHERE note = "
                                        "'~^`|#@!?\\\x01\x02\x03\x04\x05\x06\x07\x0e\x0f\x10\x11"
                                        "\x12\x13'");
    assert_int_equal(rc, ERR_INVALID);
    assert_non_null(strstr(f->err.msg, "no mark is left"));
}

static void words_that_are_no_names_are_left_alone(void **state)
{
    static const struct rewrite_case cases[] = {
        {"SELECT year(value), value::date, \"order\", c.order, Date FROM metrics.words c ORDER BY "
         "1 LIMIT 1",
         "SELECT \"year\"(\"value\") AS \"year(c.value)\", CAST(\"value\" AS DATE), \"order~2~\", "
         "c.\"order~2~\", Date FROM weir_t0 AS c ORDER BY 1 LIMIT 1"},
    };
    check_rewrites(state, cases, ARRAY_LEN(cases));
}

static void stars_hide_what_is_kept_of_the_original(void **state)
{
    static const struct rewrite_case cases[] = {
        {"SELECT * FROM kept ORDER BY 1 LIMIT 1",
         "SELECT * EXCLUDE (_original) FROM weir_t0 AS kept ORDER BY 1 LIMIT 1"},
        {"SELECT *, _original FROM kept ORDER BY 1 LIMIT 1",
         "SELECT * EXCLUDE (_original), _original FROM weir_t0 AS kept ORDER BY 1 LIMIT 1"},
        {"SELECT k.*, p.* FROM kept k, plain p ORDER BY 1 LIMIT 1",
         "SELECT \"k\".* EXCLUDE (_original), \"p\".* FROM weir_t0 AS k , weir_t1 AS p ORDER BY 1 "
         "LIMIT 1"},
        {"SELECT * EXCLUDE (_original, a) FROM kept ORDER BY 1 LIMIT 1",
         "SELECT * EXCLUDE (_original, a) FROM weir_t0 AS kept ORDER BY 1 LIMIT 1"},
        {"SELECT COLUMNS('a') FROM kept ORDER BY 1 LIMIT 1",
         "SELECT COLUMNS('a') FROM weir_t0 AS kept ORDER BY 1 LIMIT 1"},
        {"SELECT count(*) FROM kept LIMIT 1",
         "SELECT count_star() AS \"count(*)\" FROM weir_t0 AS kept LIMIT 1"},
    };
    check_rewrites(state, cases, ARRAY_LEN(cases));
}

static void tables_and_ctes_get_names_of_ours(void **state)
{
    static const struct rewrite_case cases[] = {
        {"SELECT i FROM \"K8sLogs\" ORDER BY i LIMIT 1",
         "SELECT i FROM weir_t0 AS K8sLogs ORDER BY i LIMIT 1"},
        {"SELECT a.i FROM k8slogs a, \"default\" b, k8slogs c ORDER BY 1 LIMIT 1",
         "SELECT a.i FROM weir_t0 AS a , weir_t1 AS b , weir_t0 AS c ORDER BY 1 LIMIT 1"},
        {"SELECT metrics.cpu.value FROM metrics.cpu ORDER BY 1 LIMIT 1",
         "SELECT cpu.\"value\" FROM weir_t0 AS cpu ORDER BY 1 LIMIT 1"},
        {"WITH k8slogs AS (SELECT * FROM k8slogs) SELECT * FROM k8slogs LIMIT 1",
         "WITH weir_c0 AS (SELECT * FROM weir_t0 AS k8slogs)SELECT * FROM weir_c0 AS k8slogs "
         "LIMIT 1"},
        {"WITH A AS (SELECT 1), b AS (SELECT * FROM a) SELECT * FROM B, a x LIMIT 1",
         "WITH weir_c0 AS (SELECT 1 AS \"Int64(1)\"), weir_c1 AS (SELECT * FROM weir_c0 AS "
         "a)SELECT * FROM weir_c1 AS B , weir_c0 AS x LIMIT 1"},
        {"WITH a AS (SELECT 1) SELECT * FROM (WITH a AS (SELECT 2) SELECT * FROM a) x, a LIMIT 1",
         "WITH weir_c0 AS (SELECT 1 AS \"Int64(1)\")SELECT * FROM (WITH weir_c1 AS (SELECT 2 AS "
         "\"Int64(2)\")SELECT * FROM weir_c1 AS a) AS x , weir_c0 AS a LIMIT 1"},
        {"WITH RECURSIVE r AS (SELECT i FROM k8slogs UNION ALL SELECT i + 1 FROM r WHERE i < 30) "
         "SELECT * FROM r LIMIT 1",
         "WITH RECURSIVE weir_c0 AS ((SELECT i FROM weir_t0 AS k8slogs) UNION  ALL (SELECT (i + 1) "
         "AS \"r.i + Int64(1)\" FROM weir_c0 AS r WHERE (i < 30)))SELECT * FROM weir_c0 AS r LIMIT "
         "1"},
        /* the first half of a recursive CTE does not see it */
        {"WITH RECURSIVE k8slogs AS (SELECT i FROM k8slogs UNION ALL SELECT i FROM k8slogs) SELECT "
         "* FROM k8slogs LIMIT 1",
         "WITH RECURSIVE weir_c0 AS ((SELECT i FROM weir_t0 AS k8slogs) UNION  ALL (SELECT i FROM "
         "weir_c0 AS k8slogs))SELECT * FROM weir_c0 AS k8slogs LIMIT 1"},
    };
    check_rewrites(state, cases, ARRAY_LEN(cases));
}

static void a_plain_select_comes_newest_first_and_in_pages(void **state)
{
    static const struct rewrite_case cases[] = {
        {"SELECT i FROM k8slogs",
         "SELECT i FROM weir_t0 AS k8slogs ORDER BY k8slogs._timestamp DESC LIMIT 1000"},
        {"SELECT x.i FROM k8slogs x WHERE i > 3 LIMIT 2",
         "SELECT x.i FROM weir_t0 AS x WHERE (i > 3) ORDER BY x._timestamp DESC LIMIT 2"},
        {"SELECT i, rank() OVER (ORDER BY i) FROM k8slogs LIMIT 2",
         "SELECT i, rank() OVER (ORDER BY i) FROM weir_t0 AS k8slogs ORDER BY k8slogs._timestamp "
         "DESC LIMIT 2"},
        {"SELECT (SELECT count(*) FROM k8slogs) FROM k8slogs LIMIT 2",
         "SELECT (SELECT count_star() AS \"count(*)\" FROM weir_t0 AS k8slogs) FROM weir_t0 AS "
         "k8slogs ORDER BY "
         "k8slogs._timestamp DESC LIMIT 2"},
        {"SELECT i FROM k8slogs ORDER BY i",
         "SELECT i FROM weir_t0 AS k8slogs ORDER BY i LIMIT 1000"},
        {"SELECT i FROM k8slogs OFFSET 5",
         "SELECT i FROM weir_t0 AS k8slogs ORDER BY k8slogs._timestamp DESC LIMIT 1000 OFFSET 5"},
        {"SELECT max(i) FROM k8slogs",
         "SELECT max(i) AS \"max(k8slogs.i)\" FROM weir_t0 AS k8slogs LIMIT 1000"},
        {"SELECT 1 + max(i) FROM k8slogs",
         "SELECT (1 + max(i)) AS \"Int64(1) + max(k8slogs.i)\" FROM weir_t0 AS k8slogs LIMIT 1000"},
        {"SELECT DISTINCT i FROM k8slogs", "SELECT DISTINCT i FROM weir_t0 AS k8slogs LIMIT 1000"},
        {"SELECT i FROM k8slogs GROUP BY i",
         "SELECT i FROM weir_t0 AS k8slogs GROUP BY i LIMIT 1000"},
        {"SELECT a.i FROM k8slogs a, k8slogs b",
         "SELECT a.i FROM weir_t0 AS a , weir_t0 AS b LIMIT 1000"},
        {"SELECT 1 UNION ALL SELECT 2",
         "(SELECT 1 AS \"Int64(1)\") UNION ALL (SELECT 2 AS \"Int64(2)\") LIMIT 1000"},
        {"SELECT 1 AS \"Int64(1)\" LIMIT 5 OFFSET 3", "SELECT 1 AS \"Int64(1)\" LIMIT 5 OFFSET 3"},
        {"SELECT 1 LIMIT ALL", "SELECT 1 AS \"Int64(1)\" LIMIT 1000"},
        {"SELECT 1 LIMIT 10%", "SELECT 1 AS \"Int64(1)\" LIMIT (10) %"},
    };
    check_rewrites(state, cases, ARRAY_LEN(cases));
}

static void size_and_from_apply_when_the_sql_has_no_limit(void **state)
{
    struct fixture *f = *state;
    f->options.size = 7;
    f->options.from = 3;
    static const struct rewrite_case cases[] = {
        {"SELECT i FROM k8slogs ORDER BY i",
         "SELECT i FROM weir_t0 AS k8slogs ORDER BY i LIMIT 7 OFFSET 3"},
        {"SELECT i FROM k8slogs ORDER BY i LIMIT 5",
         "SELECT i FROM weir_t0 AS k8slogs ORDER BY i LIMIT 5"},
        {"SELECT * FROM (SELECT i FROM k8slogs LIMIT 5) x",
         "SELECT * FROM (SELECT i FROM weir_t0 AS k8slogs LIMIT 5) AS x LIMIT 7 OFFSET 3"},
    };
    check_rewrites(state, cases, ARRAY_LEN(cases));
}

static void match_all_looks_into_the_text_fields_that_are_there(void **state)
{
    static const struct rewrite_case cases[] = {
        {"SELECT i FROM k8slogs WHERE match_all('re:a.*b') LIMIT 1",
         "SELECT i FROM weir_t0 AS k8slogs WHERE weir_match_word_re(concat_ws(' ', k8slogs.log, "
         "k8slogs.message, k8slogs.note), 'a.*b') ORDER BY k8slogs._timestamp DESC LIMIT 1"},
        {"SELECT i FROM k8slogs WHERE match_all('a b') LIMIT 1",
         "SELECT i FROM weir_t0 AS k8slogs WHERE weir_match_words(concat_ws(' ', k8slogs.log, "
         "k8slogs.message, k8slogs.note), 'a b') ORDER BY k8slogs._timestamp DESC LIMIT 1"},
        {"SELECT count(*) AS c FROM k8slogs x WHERE NOT match_all_ignore_case('A') OR "
         "match_all_raw(500) LIMIT 1",
         "SELECT count_star() AS c FROM weir_t0 AS x WHERE ((NOT weir_match_words(concat_ws(' ', "
         "x.log, x.message, x.note), 'A')) OR weir_match_words(concat_ws(' ', x.log, x.message, "
         "x.note), '500')) LIMIT 1"},
        {"SELECT i FROM (SELECT i, log FROM k8slogs) y WHERE match_all('a') LIMIT 1",
         "SELECT i FROM (SELECT i, log FROM weir_t0 AS k8slogs) AS y WHERE "
         "weir_match_words(concat_ws(' ', y.log), 'a') LIMIT 1"},
        {"WITH c AS (SELECT * EXCLUDE (log) FROM k8slogs) SELECT i FROM c WHERE match_all('a') "
         "LIMIT 1",
         "WITH weir_c0 AS (SELECT * EXCLUDE (log) FROM weir_t0 AS k8slogs)SELECT i FROM weir_c0 AS "
         "c WHERE weir_match_words(concat_ws(' ', c.message, c.note), 'a') LIMIT 1"},
        {"WITH c(message) AS (SELECT level FROM k8slogs) SELECT 1 FROM c WHERE match_all('a') "
         "LIMIT "
         "1",
         "WITH weir_c0 (message) AS (SELECT \"level\" FROM weir_t0 AS k8slogs)SELECT 1 AS "
         "\"Int64(1)\" FROM weir_c0 AS c WHERE weir_match_words(concat_ws(' ', c.message), 'a') "
         "LIMIT 1"},
        {"SELECT 1 FROM (SELECT level AS log FROM k8slogs UNION ALL SELECT 'x') u WHERE "
         "match_all('a') LIMIT 1",
         "SELECT 1 AS \"Int64(1)\" FROM ((SELECT \"level\" AS log FROM weir_t0 AS k8slogs) UNION "
         "ALL (SELECT 'x' AS \"Utf8(\"\"x\"\")\")) AS u WHERE weir_match_words(concat_ws(' ', "
         "u.log), 'a') LIMIT 1"},
    };
    check_rewrites(state, cases, ARRAY_LEN(cases));
}

static void match_all_without_a_field_or_a_constant_is_refused(void **state)
{
    static const struct {
        const char *sql;
        int code;
    } cases[] = {
        {"SELECT value FROM plain WHERE match_all('x')", 20003},
        {"SELECT 1 FROM (SELECT i FROM k8slogs) y WHERE match_all('x')", 20003},
        {"SELECT 1 FROM (SELECT upper(log) FROM k8slogs) y WHERE match_all('x')", 20003},
        {"SELECT 1 FROM range(3) WHERE match_all('x')", 20003},
        {"SELECT match_all('x')", 20003},
        {"SELECT i FROM k8slogs WHERE match_all(log)", 20008},
        {"SELECT i FROM k8slogs WHERE match_all()", 20008},
        {"SELECT i FROM k8slogs WHERE match_all('a', 'b')", 20008},
        {"SELECT i FROM k8slogs WHERE match_all(NULL)", 20008},
        {"SELECT match_all('x') OVER () FROM k8slogs", 20005},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (!fixture_check(f, cases[i].sql) || f->err.detail != cases[i].code)
            fail_msg("%s\n  gave %d %s", cases[i].sql, f->err.detail, f->err.msg);
    }
}

static void histogram_gets_its_bucket_in_microseconds(void **state)
{
    static const struct {
        const char *argument, *becomes;
    } cases[] = {
        {"", "weir_histogram(_timestamp, 30000000)"}, /* a range of one hour */
        {", '30 second'", "weir_histogram(_timestamp, 30000000)"},
        {", '5 minutes'", "weir_histogram(_timestamp, 300000000)"},
        {", '1 HOUR'", "weir_histogram(_timestamp, 3600000000)"},
        {", '1m'", "weir_histogram(_timestamp, 60000000)"},
        {", ' 2  h '", "weir_histogram(_timestamp, 7200000000)"},
        {", '1d'", "weir_histogram(_timestamp, 86400000000)"},
        {", '1 week'", "weir_histogram(_timestamp, 604800000000)"},
        {", '10 ms'", "weir_histogram(_timestamp, 10000)"},
        {", INTERVAL '15 minutes'", "weir_histogram(_timestamp, 900000000)"},
        {", '1 day', 'Asia/Shanghai'", "weir_histogram(_timestamp, 86400000000)"},
        {", 10", "weir_histogram(_timestamp, 360000000)"},
        {", '10'", "weir_histogram(_timestamp, 360000000)"},
        {", 100000", "weir_histogram(_timestamp, 1000000)"},
        {", '2 months'", "time_bucket(CAST('2 months' AS INTERVAL), weir_time(_timestamp), "
                         "CAST('2001-01-01' AS TIMESTAMP))"},
        {", '1 year'", "time_bucket(CAST('12 months' AS INTERVAL), weir_time(_timestamp), "
                       "CAST('2001-01-01' AS TIMESTAMP))"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char sql[256], becomes[256];
        snprintf(sql, sizeof sql, "SELECT histogram(_timestamp%s) AS h FROM k8slogs ORDER BY 1",
                 cases[i].argument);
        snprintf(becomes, sizeof becomes,
                 "SELECT %s AS h FROM weir_t0 AS k8slogs ORDER BY 1 LIMIT 1000", cases[i].becomes);
        check_rewrite(f, &(struct rewrite_case){sql, becomes});
    }
}

static void a_histogram_of_a_wrong_interval_is_refused(void **state)
{
    static const struct {
        const char *arguments;
        int code;
    } cases[] = {
        {"'0 second'", API_SQL_EXECUTE},
        {"'-5 minutes'", API_SQL_EXECUTE},
        {"0", API_SQL_EXECUTE},
        {"-1", API_SQL_EXECUTE},
        {"''", API_SQL_EXECUTE},
        {"'bad'", API_SQL_EXECUTE},
        {"'5 parsecs'", API_SQL_EXECUTE},
        {"'5 minutes and more'", API_SQL_EXECUTE},
        {"'9999999999999 days'", API_SQL_EXECUTE},
        {"'9223372036854775807 months'", API_SQL_EXECUTE},
        {"'3558400 months'", API_SQL_EXECUTE},
        {"level", API_SQL_EXECUTE},
        {"NULL", API_SQL_EXECUTE},
        {"'1 day', level", API_SQL_NOT_VALID},
        {"'1 day', 'UTC', 3", API_SQL_NOT_VALID},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char sql[256];
        snprintf(sql, sizeof sql, "SELECT histogram(_timestamp, %s) AS h FROM k8slogs",
                 cases[i].arguments);
        if (!fixture_check(f, sql) || f->err.detail != cases[i].code)
            fail_msg("%s\n  gave %d %s", sql, f->err.detail, f->err.msg);
    }
}

static void a_histogram_without_interval_follows_the_range(void **state)
{
    static const struct {
        int64_t minutes, seconds;
    } cases[] = {
        {1, 10},
        {10, 10},
        {29, 10},
        {30, 15},
        {60, 30},
        {119, 30},
        {120, 60},
        {359, 60},
        {360, 3600},
        {14 * 1440, 3600},
        {15 * 1440, 7200},
        {21 * 1440, 10800},
        {28 * 1440, 21600},
        {30 * 1440, 43200},
        {59 * 1440, 43200},
        {60 * 1440, 86400},
        {400 * 1440, 86400},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        f->options.end_us = f->options.start_us + cases[i].minutes * 60 * US_PER_SEC;
        assert_int_equal(fixture_check(f, "SELECT histogram(_timestamp) FROM k8slogs"), ERR_OK);
        assert_true(f->result.has_histogram);
        assert_int_equal(f->result.histogram_interval_us, cases[i].seconds * US_PER_SEC);
    }
    f->options.end_us = f->options.start_us + 9 * US_PER_SEC;
    assert_int_equal(fixture_check(f, "SELECT histogram(_timestamp) FROM k8slogs"), ERR_OK);
    assert_int_equal(f->result.histogram_interval_us, US_PER_SEC);
    f->options.histogram_interval_s = 45;
    assert_int_equal(fixture_check(f, "SELECT histogram(_timestamp) FROM k8slogs"), ERR_OK);
    assert_int_equal(f->result.histogram_interval_us, 45 * US_PER_SEC);
    assert_int_equal(fixture_check(f, "SELECT i FROM k8slogs"), ERR_OK);
    assert_false(f->result.has_histogram);
    assert_true(gate_histogram_interval_us(INT64_MIN, INT64_MAX) > 0);
}

static void functions_of_the_reference_get_the_engines_names(void **state)
{
    static const struct rewrite_case cases[] = {
        {"SELECT str_match(log, 'x'), MATCH_FIELD(log, 'y') AS m FROM k8slogs LIMIT 1",
         "SELECT str_match(log, 'x') AS \"str_match(k8slogs.log,Utf8(\"\"x\"\"))\", str_match(log, "
         "'y') AS m FROM weir_t0 AS k8slogs ORDER BY k8slogs._timestamp DESC LIMIT 1"},
        {"SELECT count(*), approx_distinct(level), first_value(i) FROM k8slogs LIMIT 1",
         "SELECT count_star() AS \"count(*)\", approx_count_distinct(\"level\") AS "
         "\"approx_distinct(k8slogs.level)\", \"first\"(i) AS \"first_value(k8slogs.i)\" FROM "
         "weir_t0 AS k8slogs LIMIT 1"},
        {"SELECT first_value(i) OVER (ORDER BY i), approx_distinct(i) OVER () FROM k8slogs ORDER "
         "BY "
         "1 LIMIT 1",
         "SELECT first_value(i) OVER (ORDER BY i), approx_count_distinct(i) OVER () AS "
         "approx_distinct FROM weir_t0 AS k8slogs ORDER BY 1 LIMIT 1"},
        {"SELECT nvl(level, 'x') AS a LIMIT 1", "SELECT COALESCE(\"level\", 'x') AS a LIMIT 1"},
    };
    check_rewrites(state, cases, ARRAY_LEN(cases));
}

static void the_count_leaves_out_order_and_page(void **state)
{
    static const struct rewrite_case cases[] = {
        {"SELECT i FROM k8slogs LIMIT 2",
         "SELECT count_star() AS zo_sql_num FROM (SELECT i FROM weir_t0 AS k8slogs) AS counted"},
        {"SELECT DISTINCT level FROM k8slogs ORDER BY 1 LIMIT 1 OFFSET 1",
         "SELECT count_star() AS zo_sql_num FROM (SELECT DISTINCT \"level\" FROM weir_t0 AS "
         "k8slogs) AS counted"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out;
        buf_init(&out, 1u << 20);
        assert_int_equal(fixture_check(f, cases[i].sql), ERR_OK);
        const struct json *count = gate_count_document(f->result.document, &f->arena);
        assert_int_equal(fixture_render(f, count, &out), ERR_OK);
        assert_string_equal(out.data, cases[i].becomes);
        buf_done(&out);
    }
}

static void match_all_and_histogram_give_the_right_rows(void **state)
{
    static const struct {
        const char *sql, *first;
    } cases[] = {
        {"SELECT count(*) FROM k8slogs WHERE match_all('get')", "20"},
        {"SELECT count(*) FROM k8slogs WHERE match_all('7 note item')", "1"},
        {"SELECT count(*) FROM k8slogs WHERE NOT match_all('7')", "19"},
        {"SELECT count(*) FROM k8slogs WHERE match_all('')", "20"},
        {"SELECT count(*) FROM k8slogs WHERE match_all('nowhere')", "0"},
        {"SELECT histogram(_timestamp, '10 seconds') h FROM k8slogs GROUP BY h ORDER BY h",
         "2023-11-14 22:13:20"},
        {"SELECT histogram(_timestamp, '1 month') h FROM k8slogs GROUP BY h",
         "2023-11-01 00:00:00"},
        {"SELECT i FROM k8slogs", "19"},
        {"SELECT str_match(i, '9') FROM k8slogs", "true"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char first[64];
        uint64_t rows;
        if (fixture_check(f, cases[i].sql) ||
            fixture_run(f, f->result.document, first, sizeof first, &rows))
            fail_msg("%s\n  %s", cases[i].sql, f->err.msg);
        if (strcmp(first, cases[i].first) != 0)
            fail_msg("%s\n  gave %s, not %s", cases[i].sql, first, cases[i].first);
    }
}

static void explain_is_cut_off_as_a_token(void **state)
{
    static const struct {
        const char *sql, *explain, *rest;
    } cases[] = {
        {"SELECT 1", "", "SELECT 1"},
        {"EXPLAIN SELECT 1", "EXPLAIN", "SELECT 1"},
        {" explain\n analyze\tSELECT 1", "EXPLAIN ANALYZE", "SELECT 1"},
        {"/* a */ EXPLAIN -- b\n ANALYZE /**/ SELECT 1", "EXPLAIN ANALYZE", "SELECT 1"},
        {"EXPLAIN(SELECT 1)", "EXPLAIN", "(SELECT 1)"},
        {"EXPLAINED SELECT 1", "", "EXPLAINED SELECT 1"},
        {"EXPLAIN analyzed", "EXPLAIN", "analyzed"},
        {"\"EXPLAIN\" SELECT 1", "", "\"EXPLAIN\" SELECT 1"},
        {"EXPLAIN", "EXPLAIN", ""},
        {"/* EXPLAIN", "", "/* EXPLAIN"},
        {"--", "", "--"},
        {"/*", "", "/*"},
        {"", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str sql = str_from(cases[i].sql);
        assert_string_equal(gate_cut_explain(&sql), cases[i].explain);
        assert_true(str_eq(sql, str_from(cases[i].rest)));
    }
}

/* The list may name nothing that the pinned engine does not have. */
static void every_function_of_the_list_is_there(void **state)
{
    struct fixture *f = *state;
    struct buf names; /* one a line, with a line end before the first */
    size_t count, missing = 0;
    const struct gate_function *list = gate_function_list(&count);
    buf_init(&names, 1u << 20);
    assert_int_equal(database_ask(f->con,
                                  "SELECT ? || string_agg(DISTINCT lower(function_name), chr(10)) "
                                  "|| chr(10) FROM duckdb_functions()",
                                  STR("\n"), &names, &f->err),
                     ERR_OK);
    for (size_t i = 0; i < count; i++) {
        char line[80];
        snprintf(line, sizeof line, "\n%s\n", list[i].engine ? list[i].engine : list[i].name);
        if (i > 0)
            assert_true(strcmp(list[i - 1].name, list[i].name) < 0);
        if (list[i].uses & (USE_HISTOGRAM | USE_MATCH_ALL | USE_COALESCE | USE_ARROW_CAST))
            continue;
        if (!strstr(names.data, line)) {
            print_error("%s is not there\n", list[i].name);
            missing++;
        }
    }
    buf_done(&names);
    assert_int_equal(missing, 0);
    assert_ptr_equal(gate_function_find(STR("Str_MATCH")), gate_function_find(STR("str_match")));
    assert_null(gate_function_find(STR("")));
    assert_null(gate_function_find(STR("read_text")));
    assert_null(gate_function_find((struct str){"upper\0x", 7}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(tables_and_ctes_get_names_of_ours, default_options),
        cmocka_unit_test_setup(columns_that_differ_only_in_case_are_told_apart, default_options),
        cmocka_unit_test_setup(the_answer_has_the_callers_names, default_options),
        cmocka_unit_test_setup(a_statement_with_every_mark_in_it_is_refused, default_options),
        cmocka_unit_test_setup(words_that_are_no_names_are_left_alone, default_options),
        cmocka_unit_test_setup(stars_hide_what_is_kept_of_the_original, default_options),
        cmocka_unit_test_setup(a_plain_select_comes_newest_first_and_in_pages, default_options),
        cmocka_unit_test_setup(size_and_from_apply_when_the_sql_has_no_limit, default_options),
        cmocka_unit_test_setup(match_all_looks_into_the_text_fields_that_are_there,
                               default_options),
        cmocka_unit_test_setup(match_all_without_a_field_or_a_constant_is_refused, default_options),
        cmocka_unit_test_setup(histogram_gets_its_bucket_in_microseconds, default_options),
        cmocka_unit_test_setup(a_histogram_of_a_wrong_interval_is_refused, default_options),
        cmocka_unit_test_setup(a_histogram_without_interval_follows_the_range, default_options),
        cmocka_unit_test_setup(functions_of_the_reference_get_the_engines_names, default_options),
        cmocka_unit_test_setup(the_count_leaves_out_order_and_page, default_options),
        cmocka_unit_test_setup(match_all_and_histogram_give_the_right_rows, default_options),
        cmocka_unit_test(explain_is_cut_off_as_a_token),
        cmocka_unit_test(every_function_of_the_list_is_there),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
