/* tests/unit/test_base_err.c - error values and the table of their outside meanings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"

static void every_code_has_a_name_that_leads_back_to_it(void **state)
{
    (void)state;
    for (int code = 0; code < ERR_CODE_COUNT; code++) {
        const char *name = err_name((enum err_code)code);
        assert_non_null(name);
        assert_int_equal(err_from_name(name), code);
    }
    assert_int_equal(err_from_name("NO SUCH CODE"), ERR_IO);
}

static void every_failure_has_a_status_and_an_errno(void **state)
{
    (void)state;
    assert_int_equal(err_http_status(ERR_OK), 200);
    assert_int_equal(err_errno(ERR_OK), 0);
    for (int code = 1; code < ERR_CODE_COUNT; code++) {
        assert_in_range(err_http_status((enum err_code)code), 400, 599);
        assert_true(err_errno((enum err_code)code) > 0);
    }
}

static void system_errors_map_to_codes(void **state)
{
    (void)state;
    static const struct {
        int sys;
        enum err_code code;
    } CASES[] = {
        {ENOSPC, ERR_FULL},    {EDQUOT, ERR_FULL},  {ENOENT, ERR_NOTFOUND}, {EEXIST, ERR_EXISTS},
        {EROFS, ERR_READONLY}, {ESTALE, ERR_STALE}, {EAGAIN, ERR_AGAIN},    {ENOMEM, ERR_NOMEM},
        {EIO, ERR_IO},         {EACCES, ERR_IO},    {EMFILE, ERR_IO},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct err e = {0};
        assert_int_equal(err_sys(&e, CASES[i].sys, "write %s", "x"), CASES[i].code);
        assert_int_equal(e.code, CASES[i].code);
        assert_int_equal(e.sys, CASES[i].sys);
        assert_memory_equal(e.msg, "write x: ", 9);
        assert_string_equal(e.msg + 9, strerror(CASES[i].sys));
    }
}

static void wrapping_puts_the_object_before_the_reason(void **state)
{
    (void)state;
    struct err e = {0};
    err_sys(&e, ENOSPC, "write Parquet");
    assert_int_equal(err_wrap(&e, "seal %s", "default/logs/app"), ERR_FULL);
    assert_string_equal(e.msg, "seal default/logs/app: write Parquet: No space left on device");
    assert_int_equal(e.sys, ENOSPC);
}

static void a_message_may_be_built_from_itself(void **state)
{
    (void)state;
    struct err e = {0};
    err_set(&e, ERR_INVALID, "inner");
    e.detail = 20001;
    err_set(&e, ERR_CORRUPT, "outer (%s)", e.msg);
    assert_string_equal(e.msg, "outer (inner)");
    assert_int_equal(e.detail, 0);
    err_wrap(&e, "%s", e.msg);
    assert_string_equal(e.msg, "outer (inner): outer (inner)");
}

static void a_long_message_ends_in_dots_at_a_whole_character(void **state)
{
    (void)state;
    char text[2 * ERR_MSG_MAX];
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof text; i += 3)
            memcpy(text + i, "\xE2\x82\xAC", 4); /* a three-byte character */
        struct err e = {0};
        err_set(&e, ERR_INVALID, "%s", text);
        size_t len = strlen(e.msg);
        assert_in_range(len, ERR_MSG_MAX - 4, ERR_MSG_MAX - 1);
        assert_string_equal(e.msg + len - 3, "...");
        assert_int_equal((len - 3 - shift) % 3, 0);
        err_wrap(&e, "wrapped");
        assert_int_equal(e.msg[strlen(e.msg) - 1], '.');
    }
}

static void the_code_alone_is_enough_for_a_caller_without_a_value(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, ERR_TOOBIG, "x"), ERR_TOOBIG);
    assert_int_equal(err_sys(NULL, ENOENT, "x"), ERR_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_that_leads_back_to_it),
        cmocka_unit_test(every_failure_has_a_status_and_an_errno),
        cmocka_unit_test(system_errors_map_to_codes),
        cmocka_unit_test(wrapping_puts_the_object_before_the_reason),
        cmocka_unit_test(a_message_may_be_built_from_itself),
        cmocka_unit_test(a_long_message_ends_in_dots_at_a_whole_character),
        cmocka_unit_test(the_code_alone_is_enough_for_a_caller_without_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
