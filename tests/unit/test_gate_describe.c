// links: weir_gateway weir_engine weir_fs weir_index
/* tests/unit/test_gate_describe.c - what a reply says of the order of its rows, and the histogram
 * of a search. */
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
    if (fixture_open(&f) == ERR_OK) {
        f.options = fixture_options();
        return 0;
    }
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

/* "level asc, i desc; 5; histogram": order, LIMIT, whether a histogram makes sense. */
static void describe(const struct gate_result *r, struct buf *out)
{
    for (size_t i = 0; i < r->order_count; i++)
        buf_printf(out, "%s" STR_FMT " %s", i ? ", " : "", STR_ARG(r->order[i].by),
                   r->order[i].is_descending ? "desc" : "asc");
    buf_printf(out, "; %s%lld%s", r->has_limit ? "" : "none ", (long long)r->limit,
               r->is_histogram_eligible ? "; histogram" : "");
}

static void the_order_of_the_rows_is_known(void **state)
{
    static const struct {
        const char *sql, *said;
    } cases[] = {
        {"SELECT * FROM k8slogs", "_timestamp desc; none 0; histogram"},
        {"SELECT * FROM k8slogs LIMIT 5", "_timestamp desc; 5"},
        {"SELECT i FROM k8slogs ORDER BY level, k8slogs.i DESC",
         "level asc, i desc; none 0; histogram"},
        {"SELECT i AS x FROM k8slogs ORDER BY x DESC LIMIT 3 OFFSET 1", "x desc; 3"},
        {"SELECT i FROM k8slogs ORDER BY 1", "; none 0; histogram"},
        {"SELECT i FROM k8slogs ORDER BY i + 1, level", "level asc; none 0; histogram"},
        {"SELECT count(*) FROM k8slogs", "; none 0; histogram"},
        {"SELECT count(DISTINCT level) FROM k8slogs", "; none 0"},
        {"SELECT DISTINCT level FROM k8slogs ORDER BY level", "level asc; none 0"},
        {"SELECT a.i FROM k8slogs a JOIN k8slogs b ON a.i = b.i ORDER BY b.i", "i asc; none 0"},
        {"WITH t AS (SELECT * FROM k8slogs) SELECT * FROM t", "; none 0"},
        {"SELECT i FROM k8slogs UNION ALL SELECT i FROM k8slogs", "; none 0"},
        {"SELECT i FROM (SELECT i FROM k8slogs) t ORDER BY i", "i asc; none 0; histogram"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf said;
        buf_init(&said, 1024);
        assert_int_equal(fixture_check(f, cases[i].sql), ERR_OK);
        describe(&f->result, &said);
        if (strcmp(said.data, cases[i].said) != 0)
            fail_msg("%s\n  said %s\n  not  %s", cases[i].sql, said.data, cases[i].said);
        buf_done(&said);
    }
}

static void a_search_becomes_its_counts_over_time(void **state)
{
    struct fixture *f = *state;
    struct buf out;
    f->options.ui_histogram = true;
    f->options.histogram_interval_s = 60;
    buf_init(&out, 1u << 16);
    assert_int_equal(
        fixture_check(f,
                      "SELECT level, max(i) FROM k8slogs WHERE i > 3 GROUP BY level "
                      "HAVING max(i) > 1 QUALIFY rank() OVER (ORDER BY level) > 1 ORDER BY level"),
        ERR_OK);
    assert_int_equal(fixture_render(f, f->result.document, &out), ERR_OK);
    assert_string_equal(
        out.data, "SELECT weir_histogram(_timestamp, 60000000) AS zo_sql_key, count_star() AS "
                  "zo_sql_num FROM weir_t0 AS k8slogs WHERE (i > 3) GROUP BY zo_sql_key ORDER "
                  "BY zo_sql_key DESC LIMIT 1000");
    assert_int_equal(f->result.order_count, 1);
    assert_true(str_eq(f->result.order[0].by, STR("zo_sql_key")));
    buf_done(&out);
}

static void a_search_without_a_histogram_is_refused(void **state)
{
    static const char *const cases[] = {"SELECT * FROM k8slogs LIMIT 5",
                                        "SELECT DISTINCT level FROM k8slogs",
                                        "SELECT i FROM k8slogs UNION ALL SELECT i FROM k8slogs"};
    struct fixture *f = *state;
    f->options.ui_histogram = true;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(fixture_check(f, cases[i]), ERR_INVALID);
        assert_int_equal(f->err.detail, API_NO_HISTOGRAM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_order_of_the_rows_is_known, default_options),
        cmocka_unit_test_setup(a_search_becomes_its_counts_over_time, default_options),
        cmocka_unit_test_setup(a_search_without_a_histogram_is_refused, default_options),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
