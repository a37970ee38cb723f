// links: weir_gateway weir_engine weir_fs weir_index
/* Ranges that a search is asked in: nothing is left out, nothing comes twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "gateway/query_service.h"

#define START (INT64_C(1795384371218060))
#define HOUR (3600 * US_PER_SEC)

static struct query_partition cut(bool descending, uint64_t bytes, enum query_cut how,
                                  int64_t bucket_us, int64_t length_us)
{
    struct query_partition p = {.is_descending = descending, .bytes = bytes};
    query_partition_cut(&p, how, bucket_us, (struct query_range){START, START + length_us});
    return p;
}

/* The ranges stand side by side, in the order that was asked for, and cover all of it. */
static void check_cover(const struct query_partition *p, int64_t length_us)
{
    int64_t at = p->is_descending ? START + length_us : START;
    for (size_t i = 0; i < p->count; i++) {
        assert_true(p->range[i].start_us < p->range[i].end_us);
        assert_true(at == (p->is_descending ? p->range[i].end_us : p->range[i].start_us));
        at = p->is_descending ? p->range[i].start_us : p->range[i].end_us;
    }
    assert_true(at == (p->is_descending ? START : START + length_us));
}

static void the_newest_minute_comes_first(void **state)
{
    (void)state;
    struct query_partition p = cut(true, 0, CUT_BY_TIME, 0, HOUR);
    assert_int_equal(p.count, 2);
    assert_int_equal(p.range[0].start_us, START + HOUR - 60 * US_PER_SEC);
    p = cut(false, 0, CUT_BY_TIME, 0, HOUR);
    assert_int_equal(p.count, 2);
    assert_int_equal(p.range[0].end_us, START + 60 * US_PER_SEC);
    assert_int_equal(cut(true, 0, CUT_BY_TIME, 0, 60 * US_PER_SEC).count, 1);
    assert_int_equal(cut(true, UINT64_MAX, CUT_NOT, 0, HOUR).count, 1);
    assert_int_equal(cut(true, 0, CUT_NOT, 0, 0).count, 0);
}

static void every_moment_is_in_one_range(void **state)
{
    static const uint64_t bytes[] = {0, 1, QUERY_PIECE_BYTES, 10 * QUERY_PIECE_BYTES,
                                     100000 * QUERY_PIECE_BYTES};
    static const int64_t lengths[] = {1,         US_PER_SEC, 61 * US_PER_SEC,  HOUR,
                                      25 * HOUR, 720 * HOUR, 100000 * HOUR + 1};
    (void)state;
    for (size_t b = 0; b < sizeof bytes / sizeof bytes[0]; b++)
        for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++)
            for (int how = CUT_NOT; how <= CUT_BY_BUCKET; how++)
                for (int descending = 0; descending < 2; descending++) {
                    struct query_partition p =
                        cut(descending, bytes[b], (enum query_cut)how, 30 * US_PER_SEC, lengths[l]);
                    check_cover(&p, lengths[l]);
                }
}

static void pieces_grow_with_the_bytes(void **state)
{
    (void)state;
    assert_int_equal(cut(true, 10 * QUERY_PIECE_BYTES, CUT_BY_TIME, 0, 1000 * HOUR).count, 12);
    assert_true(cut(true, UINT64_MAX, CUT_BY_TIME, 0, 1000 * HOUR).count <= QUERY_RANGES_MAX);
}

static void ranges_of_a_histogram_end_with_a_bucket(void **state)
{
    (void)state;
    struct query_partition p =
        cut(true, 4 * QUERY_PIECE_BYTES, CUT_BY_BUCKET, 30 * US_PER_SEC, HOUR);
    assert_true(p.count > 3);
    for (size_t i = 0; i + 1 < p.count; i++)
        assert_int_equal(p.range[i].start_us % (30 * US_PER_SEC), 0);
}

/* Side by side, newest first, and all of it. */
static void check_cover_of(const struct query_partition *p, struct query_range whole)
{
    int64_t at = whole.end_us;
    for (size_t i = 0; i < p->count; i++) {
        assert_true(p->range[i].start_us < p->range[i].end_us);
        assert_true(p->range[i].end_us == at);
        at = p->range[i].start_us;
    }
    assert_true(at == whole.start_us);
}

static void numbers_near_the_limits_neither_wrap_nor_loop(void **state)
{
    static const struct query_range wholes[] = {
        {START, START + HOUR},
        {-INT64_MAX, INT64_MAX},
        {INT64_MIN, INT64_MAX},
        {INT64_MIN, INT64_MIN + HOUR},
        {INT64_MAX - HOUR, INT64_MAX},
        {0, INT64_MAX},
        {INT64_MIN, -1},
        {INT64_MIN / 2, INT64_MAX / 2},
        {-1, 1},
    };
    static const int64_t buckets[] = {INT64_MIN,
                                      -1,
                                      0,
                                      1,
                                      2,
                                      US_PER_SEC,
                                      HOUR - 1,
                                      HOUR,
                                      INT64_C(106751990) * 24 * HOUR,
                                      INT64_C(9223372036854) * US_PER_SEC,
                                      INT64_MAX / 2,
                                      INT64_MAX - 1,
                                      INT64_MAX};
    static const uint64_t bytes[] = {0, 10 * QUERY_PIECE_BYTES, UINT64_MAX};
    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(wholes); w++)
        for (size_t b = 0; b < ARRAY_LEN(buckets); b++)
            for (size_t n = 0; n < ARRAY_LEN(bytes); n++)
                for (int how = CUT_NOT; how <= CUT_BY_BUCKET; how++) {
                    struct query_partition p = {.is_descending = true, .bytes = bytes[n]};
                    query_partition_cut(&p, (enum query_cut)how, buckets[b], wholes[w]);
                    check_cover_of(&p, wholes[w]);
                }
}

static void a_bucket_as_long_as_the_range_is_one_range(void **state)
{
    (void)state;
    assert_int_equal(cut(true, UINT64_MAX, CUT_BY_BUCKET, HOUR, HOUR).count, 1);
    assert_int_equal(cut(true, 0, CUT_BY_BUCKET, INT64_C(9223372036854) * US_PER_SEC, HOUR).count,
                     1);
    assert_int_equal(cut(true, 0, CUT_BY_BUCKET, 0, HOUR).count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_minute_comes_first),
        cmocka_unit_test(every_moment_is_in_one_range),
        cmocka_unit_test(pieces_grow_with_the_bytes),
        cmocka_unit_test(ranges_of_a_histogram_end_with_a_bucket),
        cmocka_unit_test(numbers_near_the_limits_neither_wrap_nor_loop),
        cmocka_unit_test(a_bucket_as_long_as_the_range_is_one_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
