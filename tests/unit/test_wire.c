// links: weir_engine
/* tests/unit/test_wire.c - batches as bytes: what is encoded is decoded, what is cut is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "gateway/engine/wire.h"

enum { BODY_MAX = 1 << 20 };

static const uint8_t bools[] = {1, 0, 1};
static const int64_t ints[] = {INT64_MIN, 0, INT64_MAX};
static const double doubles[] = {1.5, -0.0, 3e300};
static const uint32_t offsets[] = {0, 3, 3, 5};
static const uint8_t validity[] = {0x5};

static struct wire_column sample_columns[] = {
    {.kind = WIRE_BOOL, .data = bools},
    {.kind = WIRE_I64, .validity = validity, .data = ints},
    {.kind = WIRE_F64, .data = doubles},
    {.kind = WIRE_STR, .validity = validity, .data = "abcde", .offsets = offsets},
    {.kind = WIRE_RAW, .data = "[1]{}", .offsets = offsets},
    {.kind = WIRE_STR, .all_null = true},
};
static const struct wire_batch sample = {3, ARRAY_LEN(sample_columns), sample_columns};

/* The sample as bytes, in exactly as much memory as it needs. */
static char *encoded(size_t *len)
{
    struct buf b;
    struct err e;
    buf_init(&b, BODY_MAX);
    assert_int_equal(wire_batch_encode(&sample, &b, &e), ERR_OK);
    char *copy = malloc(b.len);
    assert_non_null(copy);
    memcpy(copy, b.data, b.len);
    *len = b.len;
    buf_done(&b);
    return copy;
}

static enum err_code decode(const char *p, size_t len, struct arena *a, struct wire_batch *out)
{
    struct err e;
    arena_init(a, BODY_MAX);
    return wire_batch_decode((struct str){p, len}, a, out, &e);
}

static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    struct arena a;
    struct wire_batch b;
    size_t len;
    char *bytes = encoded(&len);
    assert_int_equal(decode(bytes, len, &a, &b), ERR_OK);
    assert_int_equal(b.rows, sample.rows);
    assert_int_equal(b.columns, ARRAY_LEN(sample_columns));
    assert_memory_equal(b.column[0].data, bools, sizeof bools);
    assert_memory_equal(b.column[1].data, ints, sizeof ints);
    assert_memory_equal(b.column[2].data, doubles, sizeof doubles);
    assert_true(wire_is_null(&b.column[1], 1));
    assert_false(wire_is_null(&b.column[1], 2));
    assert_false(wire_is_null(&b.column[0], 1));
    assert_true(str_eq(wire_text(&b.column[3], 0), STR("abc")));
    assert_true(str_eq(wire_text(&b.column[3], 1), STR("")));
    assert_true(str_eq(wire_text(&b.column[4], 2), STR("{}")));
    for (uint32_t row = 0; row < b.rows; row++)
        assert_true(wire_is_null(&b.column[5], row));
    arena_done(&a);
    free(bytes);
}

static void every_cut_is_refused(void **state)
{
    (void)state;
    size_t len;
    char *bytes = encoded(&len);
    for (size_t cut = 0; cut < len; cut++) {
        struct arena a;
        struct wire_batch b;
        char *part = malloc(cut > 0 ? cut : 1); /* exact, so that a read past it is seen */
        assert_non_null(part);
        memcpy(part, bytes, cut);
        assert_int_equal(decode(part, cut, &a, &b), ERR_CORRUPT);
        arena_done(&a);
        free(part);
    }
    free(bytes);
}

static void wrong_fields_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint32_t value;
    } cases[] = {
        {0, 4},                   /* rows that the columns do not have */
        {0, UINT32_MAX}, {4, 0},  /* no columns */
        {4, UINT32_MAX}, {8, 0},  /* kind */
        {8, 7},          {12, 3}, /* nulls */
        {16, 4},                  /* length of the data */
        {20, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a;
        struct wire_batch b;
        size_t len;
        char *bytes = encoded(&len);
        put_u32(bytes + cases[i].at, cases[i].value);
        assert_int_equal(decode(bytes, len, &a, &b), ERR_CORRUPT);
        arena_done(&a);
        free(bytes);
    }
}

static void offsets_that_leave_the_text_are_refused(void **state)
{
    (void)state;
    static const uint32_t bad[][4] = {{0, 6, 6, 5}, {0, 3, 2, 5}, {1, 3, 3, 5}, {0, 3, 3, 4}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct wire_column c = {.kind = WIRE_STR, .data = "abcde", .offsets = bad[i]};
        struct wire_batch b = {3, 1, &c}, out;
        struct buf body;
        struct arena a;
        struct err e;
        buf_init(&body, BODY_MAX);
        assert_int_equal(wire_batch_encode(&b, &body, &e), ERR_OK);
        put_u64(body.data + 16, 5); /* the length of the text that is really there */
        assert_int_equal(decode(body.data, body.len, &a, &out), ERR_CORRUPT);
        arena_done(&a);
        buf_done(&body);
    }
}

static void a_batch_past_the_maximum_is_too_big(void **state)
{
    (void)state;
    struct buf b;
    struct err e;
    buf_init(&b, 64);
    assert_int_equal(wire_batch_encode(&sample, &b, &e), ERR_TOOBIG);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(wrong_fields_are_refused),
        cmocka_unit_test(offsets_that_leave_the_text_are_refused),
        cmocka_unit_test(a_batch_past_the_maximum_is_too_big),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
