// links: weir_gateway weir_fs weir_index
/* The JSON scanner: what it takes, what it refuses and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/utf8.h"
#include "gateway/line.h"
#include "gateway/number.h"
#include "gateway/scan.h"
#include "gateway/span.h"

#define LIT(lit)                                                                                   \
    {                                                                                              \
        (lit), sizeof(lit) - 1                                                                     \
    } /* STR, for static tables */

/* A copy of exactly its size, so that AddressSanitizer sees a read past the end. */
static struct str exact(struct str s)
{
    char *p = malloc(s.len ? s.len : 1);
    assert_non_null(p);
    memcpy(p, s.ptr, s.len);
    return (struct str){p, s.len};
}

static void drop(struct str s)
{
    free((void *)(uintptr_t)s.ptr);
}

/* The offset of the error, or -1 when the text is one document. */
static long error_at(struct str text)
{
    struct str body = exact(text);
    struct scan s;
    scan_init(&s, body);
    bool ok = scan_skip(&s, 0) && (scan_peek(&s) < 0 || scan_fail(&s, s.p, "more"));
    long at = ok ? -1 : (long)(s.p - s.begin);
    assert_true(ok || s.why);
    drop(body);
    return at;
}

static void documents_are_taken(void **state)
{
    static const struct str good[] = {
        LIT("0"),
        LIT("-0"),
        LIT("-12.5e+3"),
        LIT("1E5"),
        LIT("true"),
        LIT(" false "),
        LIT("null\r\n"),
        LIT("\"\""),
        LIT("[]"),
        LIT("{}"),
        LIT("[[],{},[1]]"),
        LIT("{\"a\":{\"b\":[1,{}]}}"),
        LIT("\t[1 , 2]\n"),
        LIT("\"\\u00e9\\n\""),
        LIT("\"\xC3\xA9\""),
        LIT("\xEF\xBB\xBF[1]"),
        LIT("\"\\ud83d\\ude00\""),
        LIT("[{\"a\":\"x\"},\r\n{\"a\":\"y\"}]"),
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (error_at(good[i]) != -1)
            fail_msg("refused at %ld: " STR_FMT, error_at(good[i]), STR_ARG(good[i]));
    }
}

static void what_is_no_json_is_refused_at_its_byte(void **state)
{
    static const struct {
        struct str text;
        long at;
    } bad[] = {
        {LIT(""), 0},
        {LIT("  "), 2},
        {LIT("[1,]"), 3},
        {LIT("[1 2]"), 3},
        {LIT("{\"a\" 1}"), 5},
        {LIT("{\"a\":1,}"), 7},
        {LIT("{a:1}"), 1},
        {LIT("{'a':1}"), 1},
        {LIT("[1"), 2},
        {LIT("{\"a\":"), 5},
        {LIT("\"abc"), 4},
        {LIT("\"a\\"), 3},
        {LIT("\"\\u12"), 3},
        {LIT("\"\\u12x4\""), 3},
        {LIT("\"\\q\""), 2},
        {LIT("\"\\ud800\""), 1},
        {LIT("\"a\\udc00\\ud800\""), 2},
        {LIT("\"\\ud83d\\u0041\""), 1},
        {LIT("\"\\ud83d\\ud83d\\ude00\""), 1},
        {LIT("\"a\tb\""), 2},
        {LIT("01"), 1},
        {LIT("-"), 1},
        {LIT("1."), 2},
        {LIT(".5"), 0},
        {LIT("1e"), 2},
        {LIT("+1"), 0},
        {LIT("NaN"), 0},
        {LIT("tru"), 3},
        {LIT("trux"), 0},
        {LIT("[1] [2]"), 4},
        {LIT("{}x"), 2},
        {LIT("]"), 0},
        {LIT("[}"), 1},
        {LIT("{]"), 1},
        {LIT("\"\xFF\""), 1},
        {LIT("\"ab\xC3\""), 3},
        {LIT("\"\xED\xA0\x80\""), 1}, /* a surrogate */
        {LIT("\"\xC0\xAF\""), 1},     /* overlong */
        {LIT("[\"0123456789abcdef0123456789abcdef\xF5\"]"), 34},
        {LIT("\xEF\xBB[1]"), 0},
        {LIT("[1]\xFF"), 3},
        {LIT("\0"), 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (error_at(bad[i].text) != bad[i].at)
            fail_msg("%zu: refused at %ld: " STR_FMT, i, error_at(bad[i].text),
                     STR_ARG(bad[i].text));
    }
}

static void depth_is_bounded(void **state)
{
    char text[2 * SCAN_DEPTH_MAX + 2];
    (void)state;
    memset(text, '[', SCAN_DEPTH_MAX + 1);
    memset(text + SCAN_DEPTH_MAX + 1, ']', SCAN_DEPTH_MAX + 1);
    assert_int_equal(error_at((struct str){text + 1, 2 * SCAN_DEPTH_MAX}), -1);
    assert_int_equal(error_at((struct str){text, 2 * SCAN_DEPTH_MAX + 2}), SCAN_DEPTH_MAX);
}

static void an_error_names_its_byte(void **state)
{
    struct scan s;
    struct err e;
    (void)state;
    scan_init(&s, STR("\xEF\xBB\xBF[1,"));
    assert_false(scan_skip(&s, 0));
    assert_int_equal(scan_error(&s, &e), ERR_INVALID);
    assert_string_equal(e.msg,
                        "invalid JSON at byte 6: the text ends before the value is complete");
}

/* Every byte value at every place of strings of many lengths: both span functions agree with the
 * plain definition, and copy what they pass. */
static void spans_end_at_every_special_byte(void **state)
{
    enum { LEN = 100 };
    static const unsigned char specials[] = {'"', '\\', 0, 0x1f, 0x20, 0x7f, 0x80, 0xff, '\n'};
    (void)state;
    for (size_t len = 0; len <= LEN; len++) {
        char *text = malloc(len + 1), copy[LEN + 64];
        for (size_t at = 0; at < len; at++) {
            for (size_t k = 0; k < ARRAY_LEN(specials); k++) {
                memset(text, 'x', len);
                text[at] = (char)specials[k];
                bool stops = span_stops_at(text[at]), high = false, high2 = false;
                size_t expect = stops ? at : len;
                char *exact_text = malloc(len), *dst = copy;
                memcpy(exact_text, text, len);
                const char *end = exact_text + len;
                assert_ptr_equal(span_end(exact_text, end, &high), exact_text + expect);
                assert_ptr_equal(span_copy(exact_text, end, &dst, copy + sizeof copy, &high2),
                                 exact_text + expect);
                assert_int_equal(dst - copy, expect);
                assert_memory_equal(copy, text, expect);
                assert_int_equal(high, specials[k] >= 0x80);
                assert_int_equal(high2, high);
                free(exact_text);
            }
        }
        free(text);
    }
}

static void a_copy_never_writes_past_its_room(void **state)
{
    char text[200];
    (void)state;
    memset(text, 'y', sizeof text);
    for (size_t room = 0; room < 150; room++) {
        char *dst = malloc(room + 1), *p = dst;
        bool high = false;
        const char *end = span_copy(text, text + sizeof text, &p, dst + room, &high);
        assert_int_equal(end - text, p - dst);
        assert_int_equal(p - dst, room);
        free(dst);
    }
}

static void strings_get_one_escaping(void **state)
{
    static const struct {
        struct str in;
        const char *out;
    } cases[] = {
        {LIT("\"plain\""), "\"plain\""},
        {LIT("\"a\\/b\""), "\"a/b\""},
        {LIT("\"\\\"\\\\\""), "\"\\\"\\\\\""},
        {LIT("\"\\b\\f\\n\\r\\t\""), "\"\\b\\f\\n\\r\\t\""},
        {LIT("\"\\u0008\\u000c\\u000A\\u000d\\u0009\""), "\"\\b\\f\\n\\r\\t\""},
        {LIT("\"\\u0000\\u001B[31m\""), "\"\\u0000\\u001b[31m\""},
        {LIT("\"\\u0022\\u005c\\u0041\""), "\"\\\"\\\\A\""},
        {LIT("\"\\u00e9\\u65e5\""), "\"\xC3\xA9\xE6\x97\xA5\""},
        {LIT("\"\\ud83d\\ude00\""), "\"\xF0\x9F\x98\x80\""},
        {LIT("\"\x7f\""), "\"\x7f\""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str body = exact(cases[i].in);
        struct scan s;
        struct buf out;
        buf_init(&out, 4096);
        scan_init(&s, body);
        assert_true(line_string(&s, &out));
        assert_ptr_equal(s.p, s.end);
        assert_string_equal((buf_add(&out, "", 1), out.data), cases[i].out);
        buf_done(&out);
        drop(body);
    }
}

static void add_escaped(struct buf *out, uint32_t cp)
{
    if (cp >= 0x10000)
        buf_printf(out, "\\u%04x", 0xD800 + ((cp - 0x10000) >> 10));
    buf_printf(out, "\\u%04X", cp < 0x10000 ? cp : 0xDC00 + (cp & 0x3FF));
}

/* The whole of Unicode in one string, once as it is and once as escapes. */
static void every_code_point_comes_back(void **state)
{
    enum { MAX = 64 << 20 };
    struct buf text, plain, escaped;
    (void)state;
    buf_init(&text, MAX);
    buf_init(&plain, MAX);
    buf_init(&escaped, MAX);
    buf_add_char(&escaped, '"');
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        char utf8[4];
        size_t len = utf8_encode(cp, utf8);
        buf_add(&text, utf8, len);
        if (len)
            add_escaped(&escaped, cp);
    }
    buf_add_char(&escaped, '"');
    json_escape(&plain, buf_str(&text));
    for (int i = 0; i < 2; i++) {
        struct scan s;
        struct buf out;
        struct arena a;
        struct json *value;
        struct err e;
        buf_init(&out, MAX);
        arena_init(&a, MAX);
        scan_init(&s, buf_str(i ? &escaped : &plain));
        assert_true(line_string(&s, &out));
        assert_int_equal(json_parse(buf_str(&out), &a, &value, &e), ERR_OK);
        assert_true(str_eq(value->text, buf_str(&text)));
        assert_null(memchr(out.data, '\n', out.len));
        arena_done(&a);
        buf_done(&out);
    }
    buf_done(&text);
    buf_done(&plain);
    buf_done(&escaped);
}

static void values_become_strings_of_compact_json(void **state)
{
    static const struct {
        struct str in;
        const char *out;
    } cases[] = {
        {LIT("[1, 2 ,3]"), "\"[1,2,3]\""},
        {LIT("{ \"a\" : \"x y\" }"), "\"{\\\"a\\\":\\\"x y\\\"}\""},
        {LIT("[\"q\\\"\\n\\u0001\\u00e9\"]"), "\"[\\\"q\\\\\\\"\\\\n\\\\u0001\xC3\xA9\\\"]\""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct scan s;
        struct buf out;
        buf_init(&out, 4096);
        scan_init(&s, cases[i].in);
        assert_true(line_text(&s, 0, &out));
        assert_string_equal(out.data, cases[i].out);
        buf_done(&out);
    }
}

static void numbers_have_one_form(void **state)
{
    static const struct {
        const char *in, *out;
        enum field_type type;
    } cases[] = {
        {"0", "0", FIELD_INT64},
        {"-0", "0", FIELD_INT64},
        {"-17", "-17", FIELD_INT64},
        {"9223372036854775807", "9223372036854775807", FIELD_INT64},
        {"-9223372036854775808", "-9223372036854775808", FIELD_INT64},
        {"9223372036854775808", "9223372036854775808", FIELD_UINT64},
        {"18446744073709551615", "18446744073709551615", FIELD_UINT64},
        {"18446744073709551616", "\"18446744073709551616\"", FIELD_UTF8},
        {"-9223372036854775809", "\"-9223372036854775809\"", FIELD_UTF8},
        {"1e999", "\"1e999\"", FIELD_UTF8},
        {"-1e999", "\"-1e999\"", FIELD_UTF8},
        {"1.5", "1.5", FIELD_FLOAT64},
        {"1.50", "1.5", FIELD_FLOAT64},
        {"1.0", "1.0", FIELD_FLOAT64},
        {"1.00", "1.0", FIELD_FLOAT64},
        {"-0.0", "-0.0", FIELD_FLOAT64},
        {"1e3", "1000.0", FIELD_FLOAT64},
        {"100.0", "100.0", FIELD_FLOAT64},
        {"0.1", "0.1", FIELD_FLOAT64},
        {"0.05", "0.05", FIELD_FLOAT64},
        {"1.5e-7", "1.5e-7", FIELD_FLOAT64},
        {"0.3333333333333333", "0.3333333333333333", FIELD_FLOAT64},
        {"0.1000000000000000055511151231257827", "0.1", FIELD_FLOAT64},
        {"5e-324", "5e-324", FIELD_FLOAT64},
        {"1e21", "1e21", FIELD_FLOAT64},
        {"1.7976931348623157e308", "1.7976931348623157e308", FIELD_FLOAT64},
        {"1e-999", "0.0", FIELD_FLOAT64},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str body = exact(str_from(cases[i].in));
        struct scan s;
        struct buf out;
        enum field_type type;
        buf_init(&out, 4096);
        scan_init(&s, body);
        assert_true(number_write(&s, &out, &type));
        buf_add(&out, "", 1);
        assert_string_equal(out.data, cases[i].out);
        assert_int_equal(type, cases[i].type);
        buf_done(&out);
        drop(body);
    }
}

static void a_number_of_very_many_digits_is_text(void **state)
{
    char digits[NUMBER_TEXT_MAX + 3];
    struct scan s;
    struct buf out;
    enum field_type type;
    (void)state;
    memset(digits, '7', sizeof digits);
    memcpy(digits, "0.", 2);
    buf_init(&out, 4096);
    scan_init(&s, (struct str){digits, sizeof digits});
    assert_true(number_write(&s, &out, &type));
    assert_int_equal(type, FIELD_UTF8);
    assert_int_equal(out.len, sizeof digits + 2);
    buf_done(&out);
}

/* The short cut that copies a decimal must say what the long way says. */
static void copied_decimals_equal_formatted_ones(void **state)
{
    unsigned seed = 1;
    (void)state;
    for (int i = 0; i < 200000; i++) {
        char text[64], expect[64];
        double v;
        struct scan s;
        struct buf out;
        enum field_type type;
        snprintf(text, sizeof text, "%s%d.%0*d", rand_r(&seed) % 2 ? "-" : "",
                 rand_r(&seed) % (i % 3 ? 100 : 100000000), 1 + (int)(rand_r(&seed) % 9),
                 rand_r(&seed) % (i % 2 ? 1000 : 100000000));
        assert_true(number_to_f64(str_from(text), &v));
        expect[f64_format(v, expect)] = '\0';
        buf_init(&out, 128);
        scan_init(&s, str_from(text));
        assert_true(number_write(&s, &out, &type));
        buf_add(&out, "", 1);
        assert_string_equal(out.data, expect);
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_taken),
        cmocka_unit_test(what_is_no_json_is_refused_at_its_byte),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(an_error_names_its_byte),
        cmocka_unit_test(spans_end_at_every_special_byte),
        cmocka_unit_test(a_copy_never_writes_past_its_room),
        cmocka_unit_test(strings_get_one_escaping),
        cmocka_unit_test(every_code_point_comes_back),
        cmocka_unit_test(values_become_strings_of_compact_json),
        cmocka_unit_test(numbers_have_one_form),
        cmocka_unit_test(a_number_of_very_many_digits_is_text),
        cmocka_unit_test(copied_decimals_equal_formatted_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
