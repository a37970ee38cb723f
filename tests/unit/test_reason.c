// links: weir_engine
/* tests/unit/test_reason.c - which of our errors an error of DuckDB is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "gateway/engine/reason.h"

static void a_file_that_cannot_be_opened_just_now_is_asked_for_again(void **state)
{
    static const struct {
        const char *text;
        enum err_code code;
    } cases[] = {
        {"{\"exception_type\":\"IO\",\"exception_message\":\"Cannot open file "
         "\\\"/m/a.parquet\\\": "
         "Resource temporarily unavailable\",\"errno\":\"11\"}",
         ERR_AGAIN},
        {"{\"exception_type\":\"IO\",\"exception_message\":\"Cannot open file "
         "\\\"/m/a.parquet\\\": "
         "Input/output error\",\"errno\":\"5\"}",
         ERR_IO},
        {"{\"exception_type\":\"IO\",\"exception_message\":\"No files found that match\"}", ERR_IO},
        {"{\"exception_type\":\"Binder\",\"exception_message\":\"no\",\"errno\":\"11\"}",
         ERR_INVALID},
        {"{\"exception_type\":\"IO\",\"exception_message\":\"x\",\"errno\":\"a lot\"}", ERR_IO},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        assert_int_equal(reason_from_duckdb(&e, DUCKDB_ERROR_INVALID, cases[i].text),
                         cases[i].code);
        assert_int_equal(e.code, cases[i].code);
    }
    assert_int_equal(err_http_status(ERR_AGAIN), 503);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_cannot_be_opened_just_now_is_asked_for_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
