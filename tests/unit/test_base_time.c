/* tests/unit/test_base_time.c - the calendar, with the texts of times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"

struct text_case {
    const char *text;
    const char *utc; /* NULL: refused */
};

static void check(bool (*parse)(struct str, int64_t *), const struct text_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t us = 0;
        bool good = parse(str_from(cases[i].text), &us);
        if (good != (cases[i].utc != NULL))
            print_error("case: %s\n", cases[i].text);
        assert_int_equal(good, cases[i].utc != NULL);
        if (!good)
            continue;
        char text[40];
        time_format_rfc3339(us, text, sizeof text);
        assert_string_equal(text, cases[i].utc);
    }
}

static void rfc3339_and_its_relatives_are_read(void **state)
{
    (void)state;
    static const struct text_case CASES[] = {
        {"2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"},
        {"2026-01-02T03:04:05", "2026-01-02T03:04:05.000000Z"},
        {"2026-01-02 03:04:05", "2026-01-02T03:04:05.000000Z"},
        {"2026-01-02 03:04:05.123", "2026-01-02T03:04:05.123000Z"},
        {"2026-01-02T03:04:05.123456", "2026-01-02T03:04:05.123456Z"},
        {"2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456Z"},
        {"2026-01-02T03:04:05.9999999999999999999999Z", "2026-01-02T03:04:05.999999Z"},
        {"2026-01-02t03:04:05.5z", "2026-01-02T03:04:05.500000Z"},
        {"2026-01-02T03:04:05+01:30", "2026-01-02T01:34:05.000000Z"},
        {"2026-01-01T00:00:00+00:01", "2025-12-31T23:59:00.000000Z"},
        {"2025-12-31T23:59:59.999999-23:59", "2026-01-01T23:58:59.999999Z"},
        {"2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"},
        {"2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000Z"},
        {"2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000000Z"},
        {"1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"},
        {"0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000000Z"},
        {"9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000000Z"},
        {"2023-02-29T00:00:00Z", NULL},
        {"1900-02-29T00:00:00Z", NULL},
        {"2026-13-01T00:00:00Z", NULL},
        {"2026-00-01T00:00:00Z", NULL},
        {"2026-04-31T00:00:00Z", NULL},
        {"2026-01-00T00:00:00Z", NULL},
        {"2026-01-02T24:00:00Z", NULL},
        {"2026-01-02T03:60:00Z", NULL},
        {"2026-01-02T03:04:61Z", NULL},
        {"2026-01-02T03:04:05.Z", NULL},
        {"2026-01-02T03:04Z", NULL},
        {"2026-01-02T03:04:05+0130", NULL},
        {"2026-01-02T03:04:05+24:00", NULL},
        {"2026-01-02T03:04:05 Z", NULL},
        {"2026-01-02T03:04:05Zx", NULL},
        {"2026-01-02_03:04:05", NULL},
        {"2026-1-2T03:04:05Z", NULL},
        {"12026-01-02T03:04:05Z", NULL},
        {"-026-01-02T03:04:05Z", NULL},
        {"2026-01-02", NULL},
        {"1767323045", NULL},
        {"", NULL},
    };
    check(time_parse_rfc3339, CASES, ARRAY_LEN(CASES));
}

static void rfc2822_is_read(void **state)
{
    (void)state;
    static const struct text_case CASES[] = {
        {"Fri, 21 Nov 1997 09:55:06 -0600", "1997-11-21T15:55:06.000000Z"},
        {"21 Nov 1997 09:55 -0600", "1997-11-21T15:55:00.000000Z"},
        {"Tue, 1 Jul 2003 10:52:37 +0200", "2003-07-01T08:52:37.000000Z"},
        {"Thu, 13 Feb 1969 23:32:54 -0330", "1969-02-14T03:02:54.000000Z"},
        {"Mon, 24 Nov 1997 14:22:01 GMT", "1997-11-24T14:22:01.000000Z"},
        {"21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06.000000Z"},
        {"21 Nov 26 09:55:06 UT", "2026-11-21T09:55:06.000000Z"},
        {"21 Nov 126 09:55:06 UT", "2026-11-21T09:55:06.000000Z"},
        {"21 nov 1997 09:55:06 pdt", "1997-11-21T16:55:06.000000Z"},
        {"21 Nov 1997 09:55:06 -0000", "1997-11-21T09:55:06.000000Z"},
        {"21 Nov 1997 09:55:06 A", "1997-11-21T09:55:06.000000Z"},
        {" Fri , \r\n 21 Nov (a (nested \\) one)) 1997 09:55:06 -0600 (CST)",
         "1997-11-21T15:55:06.000000Z"},
        {"Sat, 21 Nov 1997 09:55:06 -0600", NULL}, /* it was a Friday */
        {"Fri 21 Nov 1997 09:55:06 -0600", NULL},
        {"Foo, 21 Nov 1997 09:55:06 -0600", NULL},
        {"31 Nov 1997 09:55:06 -0600", NULL},
        {"0 Nov 1997 09:55:06 -0600", NULL},
        {"21 Nvo 1997 09:55:06 -0600", NULL},
        {"21 Nov 1997 24:55:06 -0600", NULL},
        {"21 Nov 1997 09:55:06", NULL},
        {"21 Nov 1997 09:55:06 J", NULL},
        {"21 Nov 1997 09:55:06 CET", NULL},
        {"21 Nov 1997 09:55:06 -06:00", NULL},
        {"21 Nov 1997 09:55:06 -0600 (open", NULL},
        {"21 Nov 1997 09:55:06 -0600 x", NULL},
        {"21Nov 1997 09:55:06 -0600", NULL},
        {"2026-01-02T03:04:05Z", NULL},
        {"", NULL},
    };
    check(time_parse_rfc2822, CASES, ARRAY_LEN(CASES));
}

static void the_calendar_agrees_with_the_c_library(void **state)
{
    (void)state;
    for (int64_t s = -70000000000; s < 200000000000; s += 86413777) {
        struct civil c;
        struct tm tm;
        time_t t = (time_t)s;
        civil_from_us(s * US_PER_SEC + 7, &c);
        gmtime_r(&t, &tm);
        assert_int_equal(c.year, tm.tm_year + 1900);
        assert_true(c.month == tm.tm_mon + 1 && c.day == tm.tm_mday && c.hour == tm.tm_hour);
        assert_true(c.minute == tm.tm_min && c.second == tm.tm_sec && c.micros == 7);
        assert_true(civil_to_us(&c) == s * US_PER_SEC + 7);
    }
}

static void fields_out_of_range_carry(void **state)
{
    (void)state;
    static const struct {
        struct civil c;
        const char *utc;
    } CASES[] = {
        {{2026, 13, 1, 0, 0, 0, 0}, "2027-01-01T00:00:00.000000Z"},
        {{2026, 0, 1, 0, 0, 0, 0}, "2025-12-01T00:00:00.000000Z"},
        {{2026, -11, 1, 0, 0, 0, 0}, "2025-01-01T00:00:00.000000Z"},
        {{2026, 1, 0, 0, 0, 0, 0}, "2025-12-31T00:00:00.000000Z"},
        {{2026, 1, 1, 25, -1, 61, -1}, "2026-01-02T01:00:00.999999Z"},
        {{2024, 2, 30, 0, 0, 0, 0}, "2024-03-01T00:00:00.000000Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char text[40];
        time_format_rfc3339(civil_to_us(&CASES[i].c), text, sizeof text);
        assert_string_equal(text, CASES[i].utc);
    }
}

static void hours_round_down_on_both_sides_of_the_epoch(void **state)
{
    (void)state;
    assert_int_equal(hour_of_us(0), 0);
    assert_int_equal(hour_of_us(US_PER_HOUR - 1), 0);
    assert_int_equal(hour_of_us(US_PER_HOUR), 1);
    assert_int_equal(hour_of_us(-1), -1);
    assert_int_equal(hour_of_us(-US_PER_HOUR), -1);
    assert_int_equal(hour_of_us(-US_PER_HOUR - 1), -2);
}

static void the_test_clock_stands_still(void **state)
{
    (void)state;
    clock_set_test_wall_us(42);
    assert_true(clock_wall_us() == 42);
    clock_set_test_wall_us(0);
    assert_true(clock_wall_us() > INT64_C(1600000000) * US_PER_SEC);
    uint64_t before = clock_mono_ns();
    assert_true(clock_mono_ns() >= before && clock_mono_ms() >= before / 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc3339_and_its_relatives_are_read),
        cmocka_unit_test(rfc2822_is_read),
        cmocka_unit_test(the_calendar_agrees_with_the_c_library),
        cmocka_unit_test(fields_out_of_range_carry),
        cmocka_unit_test(hours_round_down_on_both_sides_of_the_epoch),
        cmocka_unit_test(the_test_clock_stands_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
