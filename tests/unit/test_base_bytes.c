/* tests/unit/test_base_bytes.c - views, bounded buffers and arenas. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/cleanup.h"

static void integers_are_read_whole_or_not_at_all(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_u64, is_i64;
        uint64_t u64;
        int64_t i64;
    } CASES[] = {
        {"0", true, true, 0, 0},
        {"007", true, true, 7, 7},
        {"-1", false, true, 0, -1},
        {"-0", false, true, 0, 0},
        {"9223372036854775807", true, true, INT64_MAX, INT64_MAX},
        {"9223372036854775808", true, false, UINT64_C(1) << 63, 0},
        {"-9223372036854775808", false, true, 0, INT64_MIN},
        {"-9223372036854775809", false, false, 0, 0},
        {"18446744073709551615", true, false, UINT64_MAX, 0},
        {"18446744073709551616", false, false, 0, 0},
        {"99999999999999999999999", false, false, 0, 0},
        {"", false, false, 0, 0},
        {"-", false, false, 0, 0},
        {"+1", false, false, 0, 0},
        {" 1", false, false, 0, 0},
        {"1 ", false, false, 0, 0},
        {"1.0", false, false, 0, 0},
        {"--1", false, false, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        uint64_t u = 0;
        int64_t n = 0;
        assert_int_equal(str_to_u64(str_from(CASES[i].text), &u), CASES[i].is_u64);
        assert_int_equal(str_to_i64(str_from(CASES[i].text), &n), CASES[i].is_i64);
        assert_true(u == CASES[i].u64 && n == CASES[i].i64);
    }
}

static void views_compare_cut_and_trim(void **state)
{
    (void)state;
    struct str head, rest;
    assert_true(str_eq_nocase(STR("Content-TYPE"), STR("content-type")));
    assert_false(str_eq_nocase(STR("a["), STR("a{"))); /* 0x20 apart, but no letters */
    assert_true(str_starts(STR("abc"), STR("ab")) && str_starts(STR("abc"), STR("")));
    assert_false(str_starts(STR("ab"), STR("abc")));
    assert_true(str_cmp(STR("a"), STR("ab")) < 0 && str_cmp(STR("b"), STR("ab")) > 0);
    assert_true(str_cmp(STR("\xFF"), STR("a")) > 0 && str_cmp(STR(""), STR("")) == 0);
    assert_true(str_eq(str_trim(STR(" \t\r\n x y \v\f")), STR("x y")));
    assert_true(str_eq(str_trim(STR("  ")), STR("")));
    assert_true(str_cut(STR("k=v=w"), '=', &head, &rest));
    assert_true(str_eq(head, STR("k")) && str_eq(rest, STR("v=w")));
    assert_false(str_cut(STR("k"), '=', &head, &rest));
    assert_true(str_eq(head, STR("k")) && rest.len == 0);
    assert_false(str_cut((struct str){NULL, 0}, '=', &head, &rest));
    assert_non_null(rest.ptr);
    assert_true(str_hash(STR("a")) != str_hash(STR("b")));
}

static void a_copy_that_does_not_fit_is_cut_and_told(void **state)
{
    (void)state;
    char dst[4];
    assert_true(str_copy_to(STR("abc"), dst, sizeof dst));
    assert_string_equal(dst, "abc");
    assert_false(str_copy_to(STR("abcd"), dst, sizeof dst));
    assert_string_equal(dst, "abc");
    assert_true(str_copy_to((struct str){NULL, 0}, dst, 1));
    assert_string_equal(dst, "");
}

static void a_buffer_grows_and_stays_terminated(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_null(b.data);
    assert_true(buf_reserve(&b, 0) && b.data == NULL);
    buf_printf(&b, "%s", "");
    assert_true(buf_ok(&b) && b.len == 0);
    for (int i = 0; i < 1000; i++) {
        buf_add_char(&b, (char)('a' + i % 26));
        assert_true(b.len <= b.cap && b.cap <= b.max && b.data[b.len] == '\0');
    }
    buf_clear(&b);
    assert_true(b.len == 0 && b.cap >= 1000 && b.data[0] == '\0');
    buf_add_u64(&b, 0);
    buf_add_char(&b, ' ');
    buf_add_u64(&b, UINT64_MAX);
    buf_add_char(&b, ' ');
    buf_add_i64(&b, INT64_MIN);
    buf_add_cstr(&b, " ");
    buf_add_str(&b, STR("x"));
    buf_printf(&b, "%03d", 7);
    assert_string_equal(b.data, "0 18446744073709551615 -9223372036854775808 x007");
    buf_done(&b);
    buf_done(NULL);
}

static void a_buffer_never_passes_its_maximum(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_add(&b, "0123456789", 10);
    assert_true(buf_ok(&b) && b.len == 10);
    buf_add_char(&b, 'x');
    assert_false(buf_ok(&b));
    assert_true(b.len == 10 && b.cap == 10);
    buf_clear(&b);
    buf_add(&b, "0123456", 7);
    buf_printf(&b, "%d", 12345);
    assert_false(buf_ok(&b));
    buf_add_char(&b, 'y'); /* would fit, but the buffer has failed */
    assert_string_equal(b.data, "0123456");
    assert_false(buf_reserve(&b, SIZE_MAX));
    buf_done(&b);
    buf_init(&b, 0);
    buf_add_char(&b, 'z');
    assert_true(!buf_ok(&b) && b.data == NULL);
    buf_done(&b);
}

static void big_endian_keys_sort_as_numbers(void **state)
{
    (void)state;
    uint8_t a[8], b[8];
    put_be64(a, 0x00000000000000FF);
    put_be64(b, 0x0000000000000100);
    assert_true(memcmp(a, b, 8) < 0);
    assert_true(get_be64(a) == 0xFF && get_be64(b) == 0x100);
    put_be32(a, 0x01020304);
    assert_int_equal(a[0], 1);
    assert_int_equal(get_be32(a), 0x01020304);
    put_u16(a, 0x0102);
    assert_true(a[0] == 2 && get_u16(a) == 0x0102);
}

static void arena_memory_is_aligned_and_apart(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 4 << 20);
    uint8_t *previous = NULL;
    for (size_t n = 0; n < 2000; n++) {
        uint8_t *p = arena_zalloc(&a, n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xAA, n);
        assert_true(!previous || n < 2 || previous[n - 2] == 0xAA);
        previous = p;
    }
    arena_reset(&a);
    assert_true(a.used_bytes == 0 && !a.failed);
    assert_non_null(arena_alloc(&a, 3 << 20)); /* larger than any chunk */
    arena_done(&a);
    arena_done(NULL);
}

static void an_arena_refuses_what_is_over_its_limit(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 64);
    assert_non_null(arena_alloc(&a, 48));
    assert_null(arena_alloc(&a, 17));
    assert_true(a.failed);
    assert_non_null(arena_alloc(&a, 16));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 20));
    assert_null(arena_strdup(&a, STR("x")));
    struct str copy = arena_copy(&a, STR("x"));
    assert_true(copy.ptr == NULL && copy.len == 0);
    assert_null(arena_printf(&a, "%d", 1));
    arena_done(&a);
}

static void an_array_grows_in_an_arena(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    uint32_t *array = NULL;
    size_t cap = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        array = arena_grow(&a, array, i, &cap, sizeof *array);
        array[i] = i;
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(array[i], i);
    cap = SIZE_MAX / 4;
    assert_null(arena_grow(&a, NULL, cap, &cap, 16));
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 5), "x-5");
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_read_whole_or_not_at_all),
        cmocka_unit_test(views_compare_cut_and_trim),
        cmocka_unit_test(a_copy_that_does_not_fit_is_cut_and_told),
        cmocka_unit_test(a_buffer_grows_and_stays_terminated),
        cmocka_unit_test(a_buffer_never_passes_its_maximum),
        cmocka_unit_test(big_endian_keys_sort_as_numbers),
        cmocka_unit_test(arena_memory_is_aligned_and_apart),
        cmocka_unit_test(an_arena_refuses_what_is_over_its_limit),
        cmocka_unit_test(an_array_grows_in_an_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
