// links: weir_gateway weir_fs weir_index
/* The time of a record: units by magnitude, texts, and the window. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "gateway/timestamp.h"

static const int64_t NOW = INT64_C(1795387861799233);

static void numbers_are_told_apart_by_magnitude(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        {"0", INT64_C(1795387861799233)},
        {"0.0", INT64_C(1795387861799233)},
        {"1795387861799233", INT64_C(1795387861799233)},
        {"1795387861799", INT64_C(1795387861799000)},
        {"1795387861", INT64_C(1795387861000000)},
        {"1795387861799233456", INT64_C(1795387861799233)},
        {"1795387861.25", INT64_C(1795387861000000)}, /* cut, then seconds */
        {"1795387861799233.5", INT64_C(1795387861799233)},
        {"1.795387861e9", INT64_C(1795387861000000)},
        {"31536000000", INT64_C(31536000000000000)},    /* the last second */
        {"31536000001", INT64_C(31536000001000)},       /* the first millisecond */
        {"31536000000000", INT64_C(31536000000000000)}, /* the last millisecond */
        {"31536000000001", INT64_C(31536000000001)},    /* the first microsecond */
        {"31536000000000001", INT64_C(31536000000000)}, /* the first nanosecond */
        {"5", 5000000},
        {"-1", -1000000},
        {"-9223372036854775808", INT64_MIN},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t us;
        assert_true(timestamp_from_number(str_from(cases[i].text), NOW, &us));
        assert_int_equal(us, cases[i].us);
        assert_true(timestamp_from_string(str_from(cases[i].text), NOW, &us));
        assert_int_equal(us, cases[i].us);
    }
}

static void texts_are_read_as_the_reference_reads_them(void **state)
{
    static const struct {
        const char *text;
        int64_t us; /* 0: refused */
    } cases[] = {
        {"2026-11-22 22:49:47", INT64_C(1795387787000000)},
        {"2026-11-22T22:49:47", INT64_C(1795387787000000)},
        {"2026-11-22T22:49:47.123", INT64_C(1795387787123000)},
        {"2026-11-22T22:49:47.123456", INT64_C(1795387787123456)},
        {"2026-11-22T22:49:47.123456789Z", INT64_C(1795387787123456)},
        {"2026-11-22T22:49:47Z", INT64_C(1795387787000000)},
        {"2026-11-23T00:49:47+02:00", INT64_C(1795387787000000)},
        {"2026-11-22t22:49:47z", INT64_C(1795387787000000)},
        {"Sun, 22 Nov 2026 22:49:47 +0000", INT64_C(1795387787000000)},
        {"Sun, 22 Nov 2026 22:49:47 GMT", INT64_C(1795387787000000)},
        {"22 Nov 2026 22:49:47 +0000", INT64_C(1795387787000000)},
        {"2026-11-22 22:49:47.123", 0},
        {"2026-11-22 22:49:47Z", 0},
        {"2026-11-22 22:49:47+00:00", 0},
        {"2026-11-22 22:49:47 UTC", 0},
        {"2026-11-22T22:49:47+0000", 0},
        {"2026-13-22T22:49:47Z", 0},
        {"2026/11/22 22:49:47", 0},
        {"22/Nov/2026:22:49:47 +0000", 0},
        {"2026-11-22", 0},
        {"Nov 22 22:49:47", 0},
        {"20261122T224947Z", 0},
        {"garbage", 0},
        {"", 0},
        {"-", 0},
        {"1e999", 0},
        {"1.2.3", 0},
        {"T", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t us = 0;
        bool ok = timestamp_from_string(str_from(cases[i].text), NOW, &us);
        if (ok != (cases[i].us != 0) || (ok && us != cases[i].us))
            fail_msg("%s: %d %lld", cases[i].text, ok, (long long)us);
    }
}

static void the_window_names_its_hours(void **state)
{
    struct timestamp_window w = {.now_us = NOW,
                                 .past_us = 5 * US_PER_HOUR,
                                 .future_us = 24 * US_PER_HOUR,
                                 .past_hours = 5,
                                 .future_hours = 24};
    char reason[320];
    (void)state;
    assert_true(timestamp_in_window(&w, NOW, reason, sizeof reason));
    assert_true(timestamp_in_window(&w, NOW - 5 * US_PER_HOUR, reason, sizeof reason));
    assert_true(timestamp_in_window(&w, NOW + 24 * US_PER_HOUR, reason, sizeof reason));
    assert_false(timestamp_in_window(&w, NOW - 5 * US_PER_HOUR - 1, reason, sizeof reason));
    assert_string_equal(reason,
                        "Too old data, only last 5 hours data can be ingested. Data discarded. You "
                        "can adjust ingestion max time by setting the environment variable "
                        "ZO_INGEST_ALLOWED_UPTO=<max_hours>");
    assert_false(timestamp_in_window(&w, NOW + 24 * US_PER_HOUR + 1, reason, sizeof reason));
    assert_string_equal(reason,
                        "Too far data, only future 24 hours data can be ingested. Data discarded. "
                        "You can adjust ingestion max time by setting the environment variable "
                        "ZO_INGEST_ALLOWED_IN_FUTURE=<max_hours>");
    assert_false(timestamp_in_window(&w, INT64_MIN, reason, sizeof reason));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_told_apart_by_magnitude),
        cmocka_unit_test(texts_are_read_as_the_reference_reads_them),
        cmocka_unit_test(the_window_names_its_hours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
