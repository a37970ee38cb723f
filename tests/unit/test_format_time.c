// links: weir_engine
/* tests/unit/test_format_time.c - times as text, against what strftime(3) and the API print. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "gateway/engine/format_time.h"

#define T INT64_C(1704067200123456) /* 2024-01-01T00:00:00.123456Z, a Monday */

static enum err_code format(int64_t us, int64_t offset_s, const char *format, char *text,
                            size_t size)
{
    struct buf out;
    struct err e;
    buf_init(&out, 4096);
    enum err_code rc = format_time(us, offset_s, str_from(format), &out, &e);
    snprintf(text, size, STR_FMT, STR_ARG(buf_str(&out)));
    buf_done(&out);
    return rc;
}

static void specifiers_print_what_they_say(void **state)
{
    (void)state;
    static const struct {
        int64_t us, offset_s;
        const char *format, *text;
    } cases[] = {
        {T, 0, "%Y-%m-%d %H:%M:%S", "2024-01-01 00:00:00"},
        {T, 0, "%F|%T|%R|%D|%x|%X", "2024-01-01|00:00:00|00:00|01/01/24|01/01/24|00:00:00"},
        {T, 0, "%f|%3f|%6f|%9f", "123456000|123|123456|123456000"},
        {T, 0, "%.f|%.3f|%.6f|%.9f", ".123456|.123|.123456|.123456000"},
        {T - 456, 0, "%S%.f", "00.123"},
        {T - 123456, 0, "%S%.f|%f", "00|000000000"},
        {T, 0, "%z|%:z|%::z|%Z", "+0000|+00:00|+00:00:00|UTC"},
        {T, 8 * 3600, "%F %T %z|%Z", "2024-01-01 08:00:00 +0800|+08:00"},
        {T, -5400, "%F %T %:z", "2023-12-31 22:30:00 -01:30"},
        {T, 0, "%+", "2024-01-01T00:00:00.123456+00:00"},
        {T, 0, "%a %A %b %B %h", "Mon Monday Jan January Jan"},
        {T, 0, "%e|%-d|%_m|%k|%l|%I|%p|%P", " 1|1| 1| 0|12|12|AM|am"},
        {T, 0, "%c|%v|%r", "Mon Jan  1 00:00:00 2024| 1-Jan-2024|12:00:00 AM"},
        {T, 0, "%s|%C|%y|%j|%w|%u", "1704067200|20|24|001|1|1"},
        {T, 0, "100%%%n%t", "100%\n\t"},
        {-1, 0, "%FT%T%.6f", "1969-12-31T23:59:59.999999"},
        {INT64_C(-62135596800000000), 0, "%Y-%m-%d", "0001-01-01"},
        {T, 0, "", ""},
        {T, 0, "\xc3\xa4 %Y", "\xc3\xa4 2024"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[256];
        assert_int_equal(format(cases[i].us, cases[i].offset_s, cases[i].format, text, sizeof text),
                         ERR_OK);
        assert_string_equal(text, cases[i].text);
    }
}

/* What the C library makes of the same; some of these formats are its own. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void expect_as_strftime(int64_t seconds, const char *with)
{
    char ours[256], theirs[256];
    time_t t = (time_t)seconds;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(theirs, sizeof theirs, with, &tm);
    assert_int_equal(format(seconds * US_PER_SEC, 0, with, ours, sizeof ours), ERR_OK);
    assert_string_equal(ours, theirs);
}
#pragma GCC diagnostic pop

static void every_day_is_as_strftime_has_it(void **state)
{
    (void)state;
    for (int64_t day = -40000; day < 40000; day++)
        expect_as_strftime(day * 86400 + 86399,
                           "%Y %C %y %m %d %e %j %a %A %b %B %w %u %U %W %G %g %V %D %F");
}

static void every_hour_is_as_strftime_has_it(void **state)
{
    (void)state;
    for (int64_t hour = 0; hour < 24; hour++)
        expect_as_strftime(hour * 3600 + 61, "%H %k %I %l %M %S %p %P %R %T %r %c %-H %_H %0k %-I");
}

static void what_is_no_format_is_refused(void **state)
{
    (void)state;
    static const char *const formats[] = {"%",   "%Q",  "%.",    "%.4f", "%4f", "%-",  "%-a", "%:",
                                          "%:Y", "%::", "%:::z", "%.3",  "%E",  "%Y%", "%.z"};
    char text[64];
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (format(T, 0, formats[i], text, sizeof text) != ERR_INVALID)
            fail_msg("%s gave %s", formats[i], text);
    assert_int_equal(format(INT64_MAX, 0, "%Y", text, sizeof text), ERR_INVALID);
    assert_int_equal(format(INT64_MIN, 0, "%Y", text, sizeof text), ERR_INVALID);
    assert_int_equal(format(T, INT64_MAX, "%Y", text, sizeof text), ERR_INVALID);
    assert_int_equal(format(T, INT64_MIN, "%Y", text, sizeof text), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specifiers_print_what_they_say),
        cmocka_unit_test(every_day_is_as_strftime_has_it),
        cmocka_unit_test(every_hour_is_as_strftime_has_it),
        cmocka_unit_test(what_is_no_format_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
