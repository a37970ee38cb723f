/* tests/unit/test_base_metrics.c - counters, gauges, histograms and their text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/metrics.h"

enum { THREADS = 4, ADDS_PER_THREAD = 20000 };

static struct buf printed(void)
{
    struct buf out;
    buf_init(&out, 64 << 20);
    metrics_print(&out);
    assert_true(buf_ok(&out));
    return out;
}

static void assert_printed(const char *text)
{
    struct buf out = printed();
    if (!strstr(out.data, text))
        print_error("missing:\n%s\nin:\n%.2000s\n", text, out.data);
    assert_non_null(strstr(out.data, text));
    buf_done(&out);
}

static void a_metric_without_labels_is_there_from_the_start(void **state)
{
    (void)state;
    static const struct metric_desc DESC = {
        .name = "test_plain_total", .help = "Plain.", .type = METRIC_COUNTER};
    struct metric *m = metrics_register(&DESC);
    assert_ptr_equal(metrics_register(&DESC), m);
    assert_printed("# HELP test_plain_total Plain.\n# TYPE test_plain_total counter\n"
                   "test_plain_total 0\n");
    metric_add(metric_only(m), 3);
    assert_printed("\ntest_plain_total 3\n");
    assert_true(metric_value(metric_only(m)) == 3);
}

static void gauges_show_any_double(void **state)
{
    (void)state;
    static const struct metric_desc DESC = {
        .name = "test_gauge", .help = "G.", .type = METRIC_GAUGE};
    struct metric_child *c = metric_only(metrics_register(&DESC));
    static const struct {
        double v;
        const char *text;
    } CASES[] = {
        {0.25, "\ntest_gauge 0.25\n"},
        {-7, "\ntest_gauge -7\n"},
        {1e300, "\ntest_gauge 1e300\n"},
        {(double)INFINITY, "\ntest_gauge +Inf\n"},
        {-(double)INFINITY, "\ntest_gauge -Inf\n"},
        {(double)NAN, "\ntest_gauge NaN\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        metric_set(c, CASES[i].v);
        assert_printed(CASES[i].text);
    }
    metric_set(c, 1);
    metric_add(c, -0.5);
    assert_printed("\ntest_gauge 0.5\n");
}

static void label_values_are_told_apart_and_escaped(void **state)
{
    (void)state;
    static const struct metric_desc DESC = {
        .name = "test_labels", .help = "L.", .type = METRIC_COUNTER, .labels = {"a", "b"}};
    struct metric *m = metrics_register(&DESC);
    struct metric_child *one = metric_child(m, (struct str[]){STR("x"), STR("yz")});
    struct metric_child *two = metric_child(m, (struct str[]){STR("xy"), STR("z")});
    assert_ptr_not_equal(one, two);
    assert_ptr_equal(metric_child(m, (struct str[]){STR("x"), STR("yz")}), one);
    metric_add(one, 1);
    metric_add(two, 2);
    metric_add(metric_child(m, (struct str[]){STR("\"\\\n"), STR("\xFF")}), 4);
    assert_printed("test_labels{a=\"x\",b=\"yz\"} 1\ntest_labels{a=\"xy\",b=\"z\"} 2\n"
                   "test_labels{a=\"\\\"\\\\\\n\",b=\"\xEF\xBF\xBD\"} 4\n");
}

static void histograms_cumulate(void **state)
{
    (void)state;
    static const double BUCKETS[] = {0.1, 1};
    static const struct metric_desc DESC = {.name = "test_seconds",
                                            .help = "H.",
                                            .type = METRIC_HISTOGRAM,
                                            .labels = {"op"},
                                            .buckets = BUCKETS,
                                            .bucket_count = 2};
    struct metric_child *c = metric_child(metrics_register(&DESC), (struct str[]){STR("get")});
    metric_observe(c, 0.1); /* a bound belongs to its bucket */
    metric_observe(c, 0.5);
    metric_observe(c, 5);
    metric_observe(c, 0.125);
    assert_printed("# TYPE test_seconds histogram\n"
                   "test_seconds_bucket{op=\"get\",le=\"0.1\"} 1\n"
                   "test_seconds_bucket{op=\"get\",le=\"1\"} 3\n"
                   "test_seconds_bucket{op=\"get\",le=\"+Inf\"} 4\n"
                   "test_seconds_sum{op=\"get\"} 5.725\n"
                   "test_seconds_count{op=\"get\"} 4\n");
}

static void too_many_children_fold_into_one_and_are_counted(void **state)
{
    (void)state;
    static const struct metric_desc DESC = {
        .name = "test_many", .help = "M.", .type = METRIC_COUNTER, .labels = {"n"}};
    struct metric *m = metrics_register(&DESC);
    for (int i = 0; i < METRIC_CHILDREN_MAX + 5; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "%d", i);
        metric_add(metric_child(m, &(struct str){text, (size_t)n}), 1);
    }
    assert_true(metric_value(metric_child(m, &STR("7"))) == 1);
    assert_printed("test_many{n=\"other\"} 5\n");
    assert_printed("weir_metrics_folded_total 5\n");
}

static void *add_many(void *arg)
{
    for (int i = 0; i < ADDS_PER_THREAD; i++) {
        struct str value = i % 2 ? STR("odd") : STR("even");
        metric_add(metric_child(arg, &value), 1);
    }
    return NULL;
}

static void no_addition_is_lost_between_threads(void **state)
{
    (void)state;
    static const struct metric_desc DESC = {
        .name = "test_threads", .help = "T.", .type = METRIC_COUNTER, .labels = {"parity"}};
    struct metric *m = metrics_register(&DESC);
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, add_many, m), 0);
    for (int i = 0; i < 20; i++) {
        struct buf out = printed();
        buf_done(&out);
    }
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    double sum =
        metric_value(metric_child(m, &STR("odd"))) + metric_value(metric_child(m, &STR("even")));
    assert_true(sum == THREADS * ADDS_PER_THREAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_metric_without_labels_is_there_from_the_start),
        cmocka_unit_test(gauges_show_any_double),
        cmocka_unit_test(label_values_are_told_apart_and_escaped),
        cmocka_unit_test(histograms_cumulate),
        cmocka_unit_test(no_addition_is_lost_between_threads),
        cmocka_unit_test(too_many_children_fold_into_one_and_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
