// links: weir_fs weir_index
/* What is counted of each stream: of files, of parts, of parts that metrics share. */
#include "tests/support/sealed_fixture.h"

#include <pthread.h>
#include <time.h>

#include "fs/figures.h"

#define HOUR 490000 /* 2025-11-24 16:00 */
#define LINE_BYTES 8

static int set_up(void **state)
{
    struct store *s = store_make();

    store_open(s);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    store_remove(*state);
    return 0;
}

static void take(struct store *s, struct figures *list, size_t count)
{
    const struct figures_config cfg = {
        .journal = s->journal, .registry = s->registry, .sealed = s->sealed};

    if (figures_take(&cfg, STR("default"), list, count, &s->e))
        fail_msg("%s", s->e.msg);
}

/* Files and parts of `rows` rows in all, from HOUR on. */
static void assert_figures(const struct figures *f, uint64_t files, uint64_t rows, int32_t hours)
{
    assert_int_equal(f->files, files);
    assert_int_equal(f->rows, rows);
    assert_int_equal(f->text_bytes, rows * LINE_BYTES);
    assert_int_equal(f->min_ts_us, rows ? HOUR * US_PER_HOUR : 0);
    assert_int_equal(f->max_ts_us, rows ? (HOUR + hours - 1) * US_PER_HOUR + 5 : 0);
}

static void publish_metrics(struct store *s, const uint64_t *numbers, size_t count, int32_t hour)
{
    struct journal_file files[4];
    struct staged st;

    for (size_t i = 0; i < count; i++)
        files[i] = store_roll(s, numbers[i], hour);
    store_stage_metrics(s, &st, files, count);
    if (store_publish(s, &st))
        fail_msg("%s", s->e.msg);
}

static void publish_logs(struct store *s, uint64_t number, int32_t hour)
{
    struct journal_file file = store_roll(s, number, hour);
    struct staged st;

    store_stage(s, &st, &file);
    if (store_publish(s, &st))
        fail_msg("%s", s->e.msg);
}

static void files_and_parts_are_added_up(void **state)
{
    struct store *s = *state;
    struct figures list[] = {{.stream = 1}, {.stream = 2}, {.stream = 9}};

    take(s, list, 3);
    for (size_t i = 0; i < 3; i++)
        assert_figures(&list[i], 0, 0, 0);
    store_append(s, STREAM_LOGS, 1, "app", HOUR, 3);
    store_append(s, STREAM_LOGS, 2, "web", HOUR, 1);
    publish_logs(s, 1, HOUR);
    store_append(s, STREAM_LOGS, 1, "app", HOUR, 4);
    store_append(s, STREAM_LOGS, 1, "app", HOUR + 1, 2);
    take(s, list, 3);
    assert_figures(&list[0], 3, 9, 2);
    assert_figures(&list[1], 1, 1, 1);
    assert_figures(&list[2], 0, 0, 0);
    assert_int_equal(list[0].sealed_bytes, 4096);
    assert_int_equal(list[1].sealed_bytes, 0);
}

static void each_metric_has_its_share_of_a_part(void **state)
{
    static const uint64_t both[] = {11, 12};
    struct store *s = *state;
    struct figures list[] = {{.stream = 11}, {.stream = 12}}, one = {.stream = 12};

    for (int32_t i = 0; i < 2; i++) {
        store_append(s, STREAM_METRICS, 11, "cpu", HOUR + i, 1);
        store_append(s, STREAM_METRICS, 12, "mem", HOUR + i, 3);
        publish_metrics(s, both, 2, HOUR + i);
    }
    store_append(s, STREAM_METRICS, 12, "mem", HOUR + 1, 5);
    take(s, list, 2);
    assert_figures(&list[0], 2, 2, 2);
    assert_figures(&list[1], 3, 11, 2);
    assert_int_equal(list[0].sealed_bytes, 2 * 1024);
    assert_int_equal(list[1].sealed_bytes, 2 * 3072);
    take(s, &one, 1);
    assert_memory_equal(&one, &list[1], sizeof one);
}

static void a_metric_made_again_has_nothing_of_the_old_one(void **state)
{
    static const uint64_t both[] = {11, 12};
    const struct dropped_stream gone = {
        .number = 11, .org = STR("default"), .type = STREAM_METRICS, .name = STR("cpu")};
    struct store *s = *state;
    struct figures list[] = {{.stream = 11}, {.stream = 12}, {.stream = 13}};

    store_append(s, STREAM_METRICS, 11, "cpu", HOUR, 1);
    store_append(s, STREAM_METRICS, 12, "mem", HOUR, 3);
    publish_metrics(s, both, 2, HOUR);
    assert_int_equal(sealed_drop_stream(s->sealed, &gone, &s->e), ERR_OK);
    store_append(s, STREAM_METRICS, 13, "cpu", HOUR, 2);
    take(s, list, 3);
    assert_figures(&list[0], 0, 0, 0);
    assert_figures(&list[1], 1, 3, 1);
    assert_figures(&list[2], 1, 2, 1);
}

static void another_organisation_has_figures_of_its_own(void **state)
{
    struct store *s = *state;
    struct figures f = {.stream = 1};
    const struct figures_config cfg = {
        .journal = s->journal, .registry = s->registry, .sealed = s->sealed};

    store_append(s, STREAM_LOGS, 1, "app", HOUR, 3);
    assert_int_equal(figures_take(&cfg, STR("other"), &f, 1, &s->e), ERR_OK);
    assert_figures(&f, 0, 0, 0);
}

/* ---- many ---- */

static void put_parts(struct store *s, size_t count)
{
    struct part_name *names = calloc(count, sizeof *names);
    struct part *list = calloc(count, sizeof *list);

    for (size_t i = 0; i < count; i++) {
        int64_t us = (HOUR + (int32_t)i) * US_PER_HOUR;
        names[i] = (struct part_name){.stream = 1,
                                      .name = STR("m1"),
                                      .rows = 1,
                                      .min_ts_us = us,
                                      .max_ts_us = us + 5,
                                      .text_bytes = LINE_BYTES};
        list[i] = (struct part){.id = ulid_new(),
                                .org = STR("default"),
                                .type = STREAM_METRICS,
                                .hour = HOUR + (int32_t)i,
                                .state = PART_SEALED,
                                .min_ts_us = us,
                                .max_ts_us = us + 5,
                                .rows = 1,
                                .raw_bytes = LINE_BYTES,
                                .stored_bytes = 100,
                                .names = &names[i],
                                .name_count = 1};
    }
    if (parts_put(sealed_index(s->sealed), list, count, 0, 0, &s->e))
        fail_msg("%s", s->e.msg);
    free(list);
    free(names);
}

/* A minute, if each of the metrics looks at each of the parts. */
static void the_parts_are_gone_through_once_for_all_metrics(void **state)
{
    enum { METRICS = 10000, PARTS = 20000 };
    struct store *s = *state;
    struct figures *list = calloc(METRICS, sizeof *list);
    char name[16];

    for (uint64_t i = 0; i < METRICS; i++) {
        int n = snprintf(name, sizeof name, "m%u", (unsigned)i + 1);
        list[i].stream = i + 1;
        assert_int_equal(registry_add_stream(s->registry, i + 1, STR("default"), STREAM_METRICS,
                                             (struct str){name, (size_t)n}, 1, &s->e),
                         ERR_OK);
    }
    put_parts(s, PARTS);
    clock_t began = clock();
    take(s, list, METRICS);
    assert_true((double)(clock() - began) / CLOCKS_PER_SEC < 3);
    assert_figures(&list[0], PARTS, PARTS, PARTS);
    assert_int_equal(list[0].sealed_bytes, PARTS * 100);
    for (size_t i = 1; i < METRICS; i++)
        assert_figures(&list[i], 0, 0, 0);
    free(list);
}

/* ---- while parts are published ---- */

enum { HANDED_OVER = 60, ROWS = 3 };

struct handing {
    struct store *store;
    struct staged *staged;
    _Atomic bool is_over;
};

static void *hand_over(void *ctx)
{
    struct handing *h = ctx;

    for (size_t i = 0; i < HANDED_OVER; i++)
        if (store_publish(h->store, &h->staged[i]))
            return h->store->e.msg;
    h->is_over = true;
    return NULL;
}

static void a_row_counts_once_while_its_part_is_published(void **state)
{
    struct store *s = *state;
    struct handing h = {.store = s, .staged = calloc(HANDED_OVER, sizeof *h.staged)};
    struct figures f = {.stream = 11};
    pthread_t thread;
    void *failed;

    for (int32_t i = 0; i < HANDED_OVER; i++) {
        store_append(s, STREAM_METRICS, 11, "cpu", HOUR + i, ROWS);
        struct journal_file file = store_roll(s, 11, HOUR + i);
        store_stage_metrics(s, &h.staged[i], &file, 1);
        h.staged[i].part.names = h.staged[i].names;
    }
    assert_int_equal(pthread_create(&thread, NULL, hand_over, &h), 0);
    while (!h.is_over) {
        const struct figures_config cfg = {
            .journal = s->journal, .registry = s->registry, .sealed = s->sealed};
        struct err e;
        assert_int_equal(figures_take(&cfg, STR("default"), &f, 1, &e), ERR_OK);
        assert_figures(&f, HANDED_OVER, HANDED_OVER * ROWS, HANDED_OVER);
    }
    pthread_join(thread, &failed);
    assert_null(failed);
    take(s, &f, 1);
    assert_int_equal(f.sealed_bytes, HANDED_OVER * 4096);
    free(h.staged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_and_parts_are_added_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_metric_has_its_share_of_a_part, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_metric_made_again_has_nothing_of_the_old_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_organisation_has_figures_of_its_own, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_parts_are_gone_through_once_for_all_metrics, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_row_counts_once_while_its_part_is_published, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
