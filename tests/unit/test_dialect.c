// links: weir_gateway weir_engine weir_fs weir_index
/* tests/unit/test_dialect.c - what becomes of SQL that DuckDB refuses; DuckDB takes the result. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "gateway/dialect.h"
#include "gateway/dialect_lex.h"
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

static bool parses(struct fixture *f, struct str sql)
{
    struct buf tree;
    buf_init(&tree, 1u << 20);
    enum err_code rc = parse_sql(f->con, sql, &tree, &f->err);
    buf_done(&tree);
    return rc == ERR_OK;
}

struct translation {
    const char *sql, *becomes;
};

static void check_translations(void **state, const struct translation *cases, size_t count)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < count; i++) {
        struct str out = {NULL, 0};
        arena_reset(&f->arena);
        if (parses(f, str_from(cases[i].sql)))
            fail_msg("DuckDB takes it as it stands: %s", cases[i].sql);
        if (!dialect_translate(str_from(cases[i].sql), &f->arena, &out) ||
            !str_eq(out, str_from(cases[i].becomes)))
            fail_msg("%s\n  became " STR_FMT "\n  not    %s", cases[i].sql, STR_ARG(out),
                     cases[i].becomes);
        if (!parses(f, out))
            fail_msg(STR_FMT "\n  does not parse: %s", STR_ARG(out), f->err.msg);
    }
}
#define CHECK_TRANSLATIONS(state, cases) check_translations(state, cases, ARRAY_LEN(cases))

static void reserved_words_may_name_tables(void **state)
{
    static const struct translation cases[] = {
        {"SELECT * FROM full", "SELECT * FROM \"full\""},
        {"SELECT * FROM order ORDER BY order.x", "SELECT * FROM \"order\" ORDER BY \"order\".x"},
        {"select Left.i from LEFT left join right on left.i = right.i",
         "select \"Left\".i from \"LEFT\" left join \"right\" on \"left\".i = \"right\".i"},
        {"SELECT * FROM group g WHERE g.i = 1 GROUP BY ALL",
         "SELECT * FROM \"group\" g WHERE g.i = 1 GROUP BY ALL"},
        {"SELECT * FROM a, order, limit l LIMIT 3",
         "SELECT * FROM a, \"order\", \"limit\" l LIMIT 3"},
        {"SELECT * FROM a JOIN b USING (i), order", "SELECT * FROM a JOIN b USING (i), \"order\""},
        {"SELECT * FROM a JOIN b ON f(a.x, b.x), table",
         "SELECT * FROM a JOIN b ON f(a.x, b.x), \"table\""},
        {"SELECT * FROM (SELECT i FROM union) u, union",
         "SELECT * FROM (SELECT i FROM \"union\") u, \"union\""},
        {"SELECT (SELECT max(i) FROM end) FROM end",
         "SELECT (SELECT max(i) FROM \"end\") FROM \"end\""},
        {"SELECT i FROM where WHERE where.i IN (SELECT i FROM where)",
         "SELECT i FROM \"where\" WHERE \"where\".i IN (SELECT i FROM \"where\")"},
        {"SELECT * FROM full FULL JOIN full f USING (i)",
         "SELECT * FROM \"full\" FULL JOIN \"full\" f USING (i)"},
        {"SELECT * FROM natural NATURAL JOIN cross CROSS JOIN x",
         "SELECT * FROM \"natural\" NATURAL JOIN \"cross\" CROSS JOIN x"},
        {"FROM show SELECT i", "FROM \"show\" SELECT i"},
        {"SELECT 1 UNION ALL SELECT i FROM desc ORDER BY i DESC",
         "SELECT 1 UNION ALL SELECT i FROM \"desc\" ORDER BY i DESC"},
        {"WITH x AS (SELECT * FROM check) SELECT * FROM x, to",
         "WITH x AS (SELECT * FROM \"check\") SELECT * FROM x, \"to\""},
        {"SELECT * FROM/* order */order-- order\n", "SELECT * FROM/* order */\"order\"-- order\n"},
        {"SELECT ' from order', $$ from order $$, E'\\' from order' FROM order",
         "SELECT ' from order', $$ from order $$, E'\\' from order' FROM \"order\""},
        {"SELECT \" from order\" FROM order", "SELECT \" from order\" FROM \"order\""},
        {"SELECT a.order, order.order FROM order",
         "SELECT a.order, \"order\".order FROM \"order\""},
    };
    CHECK_TRANSLATIONS(state, cases);
}

static void default_is_a_name_everywhere(void **state)
{
    static const struct translation cases[] = {
        {"SELECT default.i FROM Default WHERE default.i IN (SELECT i FROM logs.default)",
         "SELECT \"default\".i FROM \"Default\" WHERE \"default\".i IN (SELECT i FROM "
         "logs.default)"},
        {"SELECT default FROM default", "SELECT \"default\" FROM \"default\""},
        {"SELECT count(*) FROM default d WHERE defaults = 'from default'",
         "SELECT count(*) FROM \"default\" d WHERE defaults = 'from default'"},
    };
    CHECK_TRANSLATIONS(state, cases);
}

static void types_and_calls_of_the_reference_are_translated(void **state)
{
    static const struct translation cases[] = {
        {"SELECT CAST(5 AS BIGINT UNSIGNED)", "SELECT CAST(5 AS UBIGINT)"},
        {"SELECT cast(i as int  unsigned), cast(i as tinyint\nunsigned) FROM x",
         "SELECT cast(i as UINTEGER), cast(i as UTINYINT) FROM x"},
        {"SELECT approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY i) FROM x",
         "SELECT percentile_cont(0.9) WITHIN GROUP (ORDER BY i) FROM x"},
        {"SELECT approx_percentile_cont(i, 0.9), Approx_Percentile_Cont ((0.5) ) within group "
         "(order by f(i)) FROM order",
         "SELECT approx_percentile_cont(i, 0.9), percentile_cont ((0.5) ) within group (order by "
         "f(i)) FROM \"order\""},
    };
    CHECK_TRANSLATIONS(state, cases);
}

static void nothing_else_changes(void **state)
{
    static const char *const sql[] = {
        "",
        " ",
        "SELEC 1",
        "SELECT * FROM k8slogs WHERE",
        "SELECT ' from order",
        "SELECT * FROM \"order",
        "SELECT * FROM /* order",
        "SELECT * FROM $x$ order",
        "SELECT * FROM (order)",
        "SELECT order FROM k8slogs",
        "SELECT f(a, order) FROM k8slogs",
        "SELECT * FROM k8slogs ORDER BY a, order",
        "SELECT * FROM SELECT",
        "SELECT * FROM from",
        "SELECT 5 unsigned x FROM y z",
        "SELECT * FROM k8slogs, LATERAL SELECT",
    };
    struct fixture *f = *state;
    struct str out;
    for (size_t i = 0; i < ARRAY_LEN(sql); i++)
        if (dialect_translate(str_from(sql[i]), &f->arena, &out))
            fail_msg("%s\n  became " STR_FMT, sql[i], STR_ARG(out));
}

static void limits_end_the_translation_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct buf sql;
    struct str out;
    buf_init(&sql, 1u << 20);
    for (int i = 0; i < 1000; i++)
        buf_add_cstr(&sql, "(select ");
    buf_add_cstr(&sql, "x from order");
    assert_true(dialect_translate(buf_str(&sql), &f->arena, &out));
    assert_int_equal(out.len, sql.len + 2);
    for (int i = 0; i < 1000; i++)
        buf_add_cstr(&sql, "))) from order, order, approx_percentile_cont(1) within group ");
    assert_true(dialect_translate(buf_str(&sql), &f->arena, &out));
    struct arena small;
    arena_init(&small, 16);
    assert_false(dialect_translate(buf_str(&sql), &small, &out));
    arena_done(&small);
    buf_done(&sql);
}

static void the_scanner_finds_the_ends_of_literals(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        enum token_kind kind;
        const char *text;
    } cases[] = {
        {"'a''b' c", TOKEN_LITERAL, "'a''b'"},
        {"'a\\' b'", TOKEN_LITERAL, "'a\\'"},
        {"e'a\\' b' c", TOKEN_LITERAL, "e'a\\' b'"},
        {"E'a\\", TOKEN_LITERAL, "E'a\\"},
        {"x'00' c", TOKEN_LITERAL, "x'00'"},
        {"\"a\"\"b\" c", TOKEN_NAME, "\"a\"\"b\""},
        {"$$a'$$ b", TOKEN_LITERAL, "$$a'$$"},
        {"$t1$ $$ $t1$b", TOKEN_LITERAL, "$t1$ $$ $t1$"},
        {"$1 a", TOKEN_MARK, "$"},
        {"1.5e10+x", TOKEN_LITERAL, "1.5e10"},
        {"/* /* */ ' */ word", TOKEN_WORD, "word"},
        {"-- '\n  w\xc3\xb6rd$1.x", TOKEN_WORD, "w\xc3\xb6rd$1"},
        {"- -", TOKEN_MARK, "-"},
        {" \t", TOKEN_END, ""},
        {"/*", TOKEN_END, ""},
        {"--", TOKEN_END, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t at = 0;
        struct token t = lex_next(str_from(cases[i].sql), &at);
        if (t.kind != cases[i].kind || !str_eq(t.text, str_from(cases[i].text)))
            fail_msg("%s gave %d " STR_FMT, cases[i].sql, (int)t.kind, STR_ARG(t.text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reserved_words_may_name_tables),
        cmocka_unit_test(default_is_a_name_everywhere),
        cmocka_unit_test(types_and_calls_of_the_reference_are_translated),
        cmocka_unit_test(nothing_else_changes),
        cmocka_unit_test(limits_end_the_translation_and_nothing_else),
        cmocka_unit_test(the_scanner_finds_the_ends_of_literals),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
