// links: weir_gateway weir_index
/* Ids of records grow and are given once, whatever the clock does and whoever is started again. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "gateway/row_ids.h"
#include "index/meta.h"
#include "tests/support/scratch.h"

enum { THREADS = 4, ROUNDS = 2000 };
static const int64_t NOW = 1800000000 * US_PER_SEC;

struct fixture {
    struct scratch dir;
    struct meta *meta;
    struct row_ids *ids;
    struct err e;
};

static void start(struct fixture *f)
{
    assert_int_equal(meta_open(f->dir.path, KV_OWNER, &f->meta, &f->e), ERR_OK);
    assert_int_equal(row_ids_open(f->meta, &f->ids, &f->e), ERR_OK);
}

static void stop(struct fixture *f)
{
    row_ids_close(f->ids);
    meta_close(f->meta);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->dir = scratch_make();
    clock_set_test_wall_us(NOW);
    start(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    stop(f);
    clock_set_test_wall_us(0);
    scratch_remove(&f->dir);
    free(f);
    return 0;
}

static uint64_t take(struct fixture *f)
{
    assert_int_equal(row_ids_reserve(f->ids, &f->e), ERR_OK);
    return row_ids_next(f->ids);
}

static uint64_t id_at(int64_t us)
{
    return (uint64_t)(us / 1000) << ROW_ID_BITS;
}

static void ids_are_the_time_and_grow_within_it(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(take(f), id_at(NOW));
    assert_int_equal(take(f), id_at(NOW) + 1);
    clock_set_test_wall_us(NOW + 1000);
    assert_int_equal(take(f), id_at(NOW + 1000));
    clock_set_test_wall_us(NOW - US_PER_HOUR);
    assert_int_equal(take(f), id_at(NOW + 1000) + 1);
}

/* The clock goes back, and nobody has said goodbye. */
static void what_was_given_before_a_start_is_not_given_again(void **state)
{
    static const int64_t jumps_us[] = {0, -US_PER_HOUR, 24 * US_PER_HOUR, -48 * US_PER_HOUR, 1};
    struct fixture *f = *state;
    uint64_t last = 0;
    int64_t now = NOW;
    for (size_t i = 0; i < sizeof jumps_us / sizeof *jumps_us; i++) {
        now += jumps_us[i];
        clock_set_test_wall_us(now);
        for (int n = 0; n < 100; n++) {
            uint64_t id = take(f);
            assert_true(id > last);
            last = id;
            clock_set_test_wall_us(now += n % 10 * 100000); /* 45 s in all */
        }
        stop(f);
        start(f);
    }
}

/* What is past the end could be given once more after a kill.  A request that reserved long ago
 * takes many ids while the clock comes to the end and passes it. */
static void no_id_is_past_what_was_reserved(void **state)
{
    struct fixture *f = *state;
    uint64_t last = take(f);
    for (int64_t ms = 0; ms < 20000; ms += ms == 9999 ? 10001 : 1) {
        clock_set_test_wall_us(NOW + ms * 1000);
        for (int i = 0; i < 100; i++) {
            uint64_t id = row_ids_next(f->ids);
            assert_true(id > last);
            last = id;
        }
    }
    stop(f);
    clock_set_test_wall_us(NOW);
    start(f);
    assert_true(take(f) > last);
}

static void *take_many(void *arg)
{
    struct fixture *f = arg;
    uint64_t *ids = calloc(ROUNDS, sizeof *ids);
    struct err e;
    for (int i = 0; ids && i < ROUNDS; i++) {
        if (row_ids_reserve(f->ids, &e) == ERR_OK)
            ids[i] = row_ids_next(f->ids);
    }
    return ids;
}

static int in_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void threads_share_none(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[THREADS];
    static uint64_t all[THREADS * ROUNDS];
    clock_set_test_wall_us(0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, f), 0);
    for (int i = 0; i < THREADS; i++) {
        void *ids;
        pthread_join(threads[i], &ids);
        assert_non_null(ids);
        memcpy(all + (size_t)i * ROUNDS, ids, ROUNDS * sizeof *all);
        free(ids);
    }
    qsort(all, THREADS * ROUNDS, sizeof *all, in_order);
    assert_true(all[0] > 0);
    for (int i = 1; i < THREADS * ROUNDS; i++)
        assert_true(all[i] > all[i - 1]);
}

static void an_end_that_is_no_number_is_told(void **state)
{
    struct fixture *f = *state;
    struct row_ids *ids;
    assert_int_equal(meta_value_put(f->meta, STR("row_ids_end"), STR("12x"), &f->e), ERR_OK);
    assert_int_equal(row_ids_open(f->meta, &ids, &f->e), ERR_CORRUPT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ids_are_the_time_and_grow_within_it),
        TEST(what_was_given_before_a_start_is_not_given_again),
        TEST(no_id_is_past_what_was_reserved),
        TEST(threads_share_none),
        TEST(an_end_that_is_no_number_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
