// links: weir_http
/* The budget of body memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/body.h"

enum { TOTAL = 1000000, MAX_BYTES = 5000000 };

static int open_pool(void **state)
{
    *state = body_pool_new(TOTAL);
    return *state ? 0 : -1;
}

static int close_pool(void **state)
{
    body_pool_free(*state);
    return 0;
}

static void a_body_is_what_was_added(void **state)
{
    struct body b;
    struct err e;
    assert_int_equal(body_open(*state, &b, NULL, 0, MAX_BYTES, &e), ERR_OK);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(body_add(&b, "0123456789", 10, &e), ERR_OK);
    assert_int_equal(b.buf.len, 10000);
    assert_true(b.charged_bytes >= b.buf.len);
    body_done(&b);
}

static void past_the_total_is_refused_until_memory_comes_back(void **state)
{
    struct body first, second;
    struct err e;
    assert_int_equal(body_open(*state, &first, NULL, TOTAL - 10, MAX_BYTES, &e), ERR_OK);
    assert_int_equal(body_open(*state, &second, NULL, 11, MAX_BYTES, &e), ERR_AGAIN);
    body_done(&second);
    assert_int_equal(body_open(*state, &second, NULL, 10, MAX_BYTES, &e), ERR_OK);
    body_done(&second);
    body_done(&first);
    assert_int_equal(body_open(*state, &second, NULL, 11, MAX_BYTES, &e), ERR_OK);
    body_done(&second);
}

static void one_large_body_alone_is_let_in(void **state)
{
    struct body large, small;
    struct err e;
    assert_int_equal(body_open(*state, &large, NULL, 3 * TOTAL, MAX_BYTES, &e), ERR_OK);
    assert_int_equal(body_open(*state, &small, NULL, 1, MAX_BYTES, &e), ERR_AGAIN);
    body_done(&large);
    assert_int_equal(body_open(*state, &small, NULL, 1, MAX_BYTES, &e), ERR_OK);
    assert_int_equal(body_open(*state, &large, NULL, 3 * TOTAL, MAX_BYTES, &e), ERR_AGAIN);
    body_done(&small);
}

static void two_bodies_of_one_request_are_alone_together(void **state)
{
    struct body raw, decoded;
    struct err e;
    assert_int_equal(body_open(*state, &raw, NULL, TOTAL / 2, MAX_BYTES, &e), ERR_OK);
    assert_int_equal(body_open(*state, &decoded, &raw, 0, MAX_BYTES, &e), ERR_OK);
    assert_int_equal(body_charge(&decoded, 2 * TOTAL, &e), ERR_OK);
    body_done(&decoded);
    body_done(&raw);
}

static void a_body_of_unknown_size_grows_alone_past_the_total(void **state)
{
    static const char piece[100000];
    struct body b;
    struct err e;
    assert_int_equal(body_open(*state, &b, NULL, 0, MAX_BYTES, &e), ERR_OK);
    for (int i = 0; i < MAX_BYTES / 100000; i++)
        assert_int_equal(body_add(&b, piece, sizeof piece, &e), ERR_OK);
    assert_int_equal(body_add(&b, piece, 1, &e), ERR_TOOBIG);
    body_done(&b);
}

static void a_kept_buffer_does_not_raise_a_limit(void **state)
{
    static const char piece[10000];
    struct body b;
    struct err e;
    assert_int_equal(body_open(*state, &b, NULL, 100000, MAX_BYTES, &e), ERR_OK);
    body_done(&b);
    assert_int_equal(body_open(*state, &b, NULL, 0, 5000, &e), ERR_OK);
    assert_true(b.buf.cap >= 100000);
    assert_int_equal(b.buf.len, 0);
    assert_int_equal(body_add(&b, piece, 5001, &e), ERR_TOOBIG);
    assert_int_equal(body_add(&b, piece, 5000, &e), ERR_OK);
    body_done(&b);
}

static void done_twice_or_never_opened_is_fine(void **state)
{
    struct body b = {0};
    (void)state;
    body_done(&b);
    body_done(&b);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_pool, close_pool)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_body_is_what_was_added),
        CASE(past_the_total_is_refused_until_memory_comes_back),
        CASE(one_large_body_alone_is_let_in),
        CASE(two_bodies_of_one_request_are_alone_together),
        CASE(a_body_of_unknown_size_grows_alone_past_the_total),
        CASE(a_kept_buffer_does_not_raise_a_limit),
        CASE(done_twice_or_never_opened_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
