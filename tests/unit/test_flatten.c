// links: weir_gateway weir_fs weir_index
/* Bodies to lines, without meta and journal: flattening, collisions, times, types, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "gateway/lines.h"

#define NOW INT64_C(1795387861799233)
#define NOW_TEXT "1795387861799233"
#define TS "{\"_timestamp\":" NOW_TEXT

static struct lines_rules rules(void)
{
    return (struct lines_rules){
        .window = {.now_us = NOW,
                   .past_us = 5 * US_PER_HOUR,
                   .future_us = 24 * US_PER_HOUR,
                   .past_hours = 5,
                   .future_hours = 24},
        .flatten_level = 3,
        .columns_max = 1000,
        .line_max_bytes = 100000,
    };
}

static int full_calls;

static enum err_code count_full(struct lines *l, void *ctx, struct err *e)
{
    (void)ctx;
    (void)e;
    full_calls++;
    lines_clear(l);
    return ERR_OK;
}

/* A body of exactly its size, so that AddressSanitizer sees a read past the end. */
static enum err_code run(struct lines *l, const struct lines_rules *r, struct str body,
                         struct err *e)
{
    char *copy = malloc(body.len ? body.len : 1);
    assert_non_null(copy);
    memcpy(copy, body.ptr, body.len);
    lines_begin(l, r, NULL);
    enum err_code code = lines_add_json(l, (struct str){copy, body.len}, count_full, NULL, e);
    buf_add(&l->out, "", 1);
    l->out.len--;
    free(copy);
    return code;
}

static void expect_lines(const struct lines_rules *r, const char *body, const char *expected)
{
    struct lines l;
    struct err e = {0};
    assert_int_equal(lines_init(&l, &e), ERR_OK);
    if (run(&l, r, str_from(body), &e))
        fail_msg("%s: %s", body, e.msg);
    assert_string_equal(l.out.data, expected);
    lines_done(&l);
}

static void records_become_flat_lines(void **state)
{
    static const struct {
        const char *body, *lines;
    } cases[] = {
        {"[]", ""},
        {"{}", TS "}\n"},
        {"[{\"a\":1}]", TS ",\"a\":1}\n"},
        {"{\"a\":1}", TS ",\"a\":1}\n"},
        {" [ { \"a\" : 1 , \"b\" : \"x\" } ]\r\n", TS ",\"a\":1,\"b\":\"x\"}\n"},
        {"[{\"a\":{\"b\":{\"c\":1},\"d\":\"x\"},\"e\":{},\"f\":null}]",
         TS ",\"a_b_c\":1,\"a_d\":\"x\"}\n"},
        {"{\"l1\":{\"l2\":{\"l3\":{\"l4\":{\"l5\":{\"n\":1}}, \"s4\":\"x\"},\"s3\":3},\"s2\":2.5},"
         "\"s1\":true}",
         TS ",\"l1_l2_l3\":\"{\\\"l4\\\":{\\\"l5\\\":{\\\"n\\\":1}},\\\"s4\\\":\\\"x\\\"}\","
            "\"l1_l2_s3\":3,\"l1_s2\":2.5,\"s1\":true}\n"},
        {"{\"ints\":[1, 2,3],\"mixed\":[1,\"a\",null,{\"k\":1}],\"empty\":[ ],"
         "\"nested\":{\"arr\":[1.5,2]}}",
         TS ",\"ints\":\"[1,2,3]\",\"mixed\":\"[1,\\\"a\\\",null,{\\\"k\\\":1}]\","
            "\"nested_arr\":\"[1.5,2]\"}\n"},
        {"{\"a\":{\"x\":null,\"y\":1},\"b\":null}", TS ",\"a_y\":1}\n"},
        {"{\"t\":true,\"f\":false,\"s\":\"\",\"n\":-0,\"d\":1e3}",
         TS ",\"t\":true,\"f\":false,\"s\":\"\",\"n\":0,\"d\":1000.0}\n"},
        {"{\"u\":18446744073709551615,\"b\":18446744073709551616,\"x\":1e999}",
         TS ",\"u\":18446744073709551615,\"b\":\"18446744073709551616\",\"x\":\"1e999\"}\n"},
        {"{\"UPPER\":1,\"dot.ted\":2,\"k8s.io/App-Name\":3,\"\":4,\"a\":{\"\":5}}",
         TS ",\"upper\":1,\"dot_ted\":2,\"k8s_io_app_name\":3,\"_\":4,\"a_\":5}\n"},
        {"{\"with\\\"q\":1,\"\\u0041b\":2}", TS ",\"with_q\":1,\"ab\":2}\n"},
        {"\xEF\xBB\xBF{\"a\":1}", TS ",\"a\":1}\n"},
        {"[{\"a\":1,\"b\":2},{\"b\":3,\"a\":4},{\"a\":5,\"c\":6,\"b\":7}]",
         TS ",\"a\":1,\"b\":2}\n" TS ",\"b\":3,\"a\":4}\n" TS ",\"a\":5,\"c\":6,\"b\":7}\n"},
        {"[{\"aaaaaaaab\":1},{\"aaaaaaaac\":2},{\"aaaaaaaa\":3}]",
         TS ",\"aaaaaaaab\":1}\n" TS ",\"aaaaaaaac\":2}\n" TS ",\"aaaaaaaa\":3}\n"},
    };
    struct lines_rules r = rules();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_lines(&r, cases[i].body, cases[i].lines);
}

/* As in a map sorted by name at every level, where later overwrites earlier. */
static void of_equal_names_the_last_in_map_order_counts(void **state)
{
    static const struct {
        const char *body, *lines;
    } cases[] = {
        {"{\"a\":1,\"a\":2}", TS ",\"a\":2}\n"},
        {"{\"a\":1,\"x\":0,\"a\":2,\"a\":3}", TS ",\"x\":0,\"a\":3}\n"},
        {"{\"b\":\"x\",\"B\":\"y\"}", TS ",\"b\":\"x\"}\n"},
        {"{\"B\":\"y\",\"b\":\"x\"}", TS ",\"b\":\"x\"}\n"},
        {"{\"a.b\":1,\"a_b\":2,\"a\":{\"b\":3},\"A-B\":4,\"z\":5}", TS ",\"a_b\":2,\"z\":5}\n"},
        {"{\"A-B\":4,\"a\":{\"b\":3},\"a.b\":1}", TS ",\"a_b\":1}\n"},
        {"{\"a\":{\"b\":{\"c\":1},\"b_c\":2},\"a_b\":{\"c\":3}}", TS ",\"a_b_c\":3}\n"},
        {"{\"a\":{\"b_c\":2,\"b\":{\"c\":1}}}", TS ",\"a_b_c\":2}\n"},
        {"{\"a\":1,\"A\":[1,2],\"q\":{\"d\":1}}", TS ",\"a\":1,\"q_d\":1}\n"},
        {"{\"\":{\"a\":1},\"__a\":2,\"a\":{\"\":3}}", TS ",\"_a\":1,\"__a\":2,\"a_\":3}\n"},
        {"{\"\":1,\"_\":2}", TS ",\"_\":2}\n"},
        {"{\"\":{\"\":3}}", TS ",\"_\":3}\n"},
        {"{\"\":{\"\":{\"a\":3}},\"_\":{\"a\":4}}", TS ",\"__a\":4}\n"},
        {"{\"\":{\"timestamp\":1795387800},\"a\":1}",
         "{\"_timestamp\":1795387800000000,\"a\":1}\n"},
        {"{\"b\":1,\"\\u0062\":2}", TS ",\"b\":2}\n"},
        {"{\"\\u0062\":1,\"b\":2,\"\\u0062\":3}", TS ",\"b\":3}\n"},
        {"{\"msg\":1,\"m\\u0073g\":2,\"MSG\":3}", TS ",\"msg\":2}\n"},
        {"{\"\u00e9\":1,\"\\u00E9\":2}", TS ",\"\u00e9\":2}\n"},
        {"{\"\\u0130\":1,\"_\":2}", TS ",\"_\":1}\n"},
        {"{\"\u0130\":1,\"_\":2}", TS ",\"_\":1}\n"},
        {"{\"a\":{\"b\":1},\"\\u0061\":{\"\\u0062\":2}}", TS ",\"a_b\":2}\n"},
    };
    struct lines_rules r = rules();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_lines(&r, cases[i].body, cases[i].lines);
}

static void the_level_bounds_the_joining(void **state)
{
    struct lines_rules r = rules();
    (void)state;
    r.flatten_level = 1;
    expect_lines(&r, "{\"a\":{\"b\":1},\"c\":{ }}", TS ",\"a\":\"{\\\"b\\\":1}\"}\n");
    r.flatten_level = 0;
    expect_lines(&r, "{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":1}}}}}", TS ",\"a_b_c_d_e\":1}\n");
}

static void times_are_taken_out_and_put_in_front(void **state)
{
    static const struct {
        const char *body, *lines;
    } cases[] = {
        {"{\"a\":1,\"_timestamp\":1795387800000000}",
         "{\"_timestamp\":1795387800000000,\"a\":1}\n"},
        {"{\"a\":1,\"@timestamp\":\"2026-11-22T22:49:47Z\"}",
         "{\"_timestamp\":1795387787000000,\"a\":1}\n"},
        {"{\"_timestamp\":1795387800,\"@timestamp\":1795387801,\"a\":1}",
         "{\"_timestamp\":1795387800000000,\"a\":1}\n"},
        {"{\"@timestamp\":\"bad\",\"_timestamp\":1795387800}",
         "{\"_timestamp\":1795387800000000}\n"},
        {"{\"_timestamp\":1795387800,\"@timestamp\":\"bad\"}",
         "{\"_timestamp\":1795387800000000}\n"},
        {"{\"_timestamp\":1,\"\\u005ftimestamp\":1795387800}",
         "{\"_timestamp\":1795387800000000}\n"},
        {"{\"_timestamp\":null,\"@timestamp\":1795387801}", "{\"_timestamp\":1795387801000000}\n"},
        {"{\"_timestamp\":null}", TS "}\n"},
        {"{\"_timestamp\":0}", TS "}\n"},
        {"{\"_timestamp\":{\"a\":1}}", TS ",\"_timestamp_a\":1}\n"},
        {"{\"_timestamp\":[]}", TS "}\n"},
    };
    struct lines_rules r = rules();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_lines(&r, cases[i].body, cases[i].lines);
}

static void times_of_other_widths_fit_too(void **state)
{
    struct lines_rules r = rules();
    (void)state;
    r.window.past_us = r.window.future_us = 1000000 * US_PER_HOUR;
    expect_lines(&r, "[{\"_timestamp\":5,\"a\":\"x\"}]", "{\"_timestamp\":5000000,\"a\":\"x\"}\n");
    expect_lines(&r, "[{\"_timestamp\":-1,\"a\":\"x\"}]",
                 "{\"_timestamp\":-1000000,\"a\":\"x\"}\n");
    r.window.now_us = INT64_C(9990000000000000);
    expect_lines(&r, "[{\"_timestamp\":10000000000000000,\"a\":\"x\"},{\"a\":1}]",
                 "{\"_timestamp\":10000000000000000,\"a\":\"x\"}\n"
                 "{\"_timestamp\":9990000000000000,\"a\":1}\n");
}

static void bad_records_are_counted_and_the_others_kept(void **state)
{
    static const struct {
        const char *body;
        uint64_t successful, failed;
        const char *reason, *lines;
    } cases[] = {
        {"[1,\"x\",null,true,[1],{\"a\":1}]", 1, 5, "flatten value must be an object",
         TS ",\"a\":1}\n"},
        {"[{\"_timestamp\":\"zzz\",\"b\":{\"c\":[1,2]}},{\"a\":1}]", 1, 1, "Can't parse timestamp",
         TS ",\"a\":1}\n"},
        {"[{\"_timestamp\":true},{\"_timestamp\":[1]},{\"_timestamp\":\"\"},{\"_timestamp\":1e300},"
         "{\"_timestamp\":18446744073709551616}]",
         0, 5, NULL, ""},
        {"[{\"a\":1},{\"_timestamp\":1,\"b\":1},{\"c\":1}]", 2, 1, NULL,
         TS ",\"a\":1}\n" TS ",\"c\":1}\n"},
    };
    struct lines_rules r = rules();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct lines l;
        struct err e;
        assert_int_equal(lines_init(&l, &e), ERR_OK);
        assert_int_equal(run(&l, &r, str_from(cases[i].body), &e), ERR_OK);
        assert_int_equal(l.successful, cases[i].successful);
        assert_int_equal(l.failed, cases[i].failed);
        if (cases[i].reason)
            assert_string_equal(l.reason, cases[i].reason);
        assert_string_equal(l.out.data, cases[i].lines);
        lines_done(&l);
    }
}

static void refused_records_leave_no_fields(void **state)
{
    struct lines_rules r = rules();
    struct lines l;
    struct err e;
    (void)state;
    assert_int_equal(lines_init(&l, &e), ERR_OK);
    assert_int_equal(run(&l, &r,
                         STR("[{\"_timestamp\":1,\"bad\":1},{\"good\":1},{\"good\":\"x\"},"
                             "{\"dup\":1,\"DUP\":\"lost\"}]"),
                         &e),
                     ERR_OK);
    assert_int_equal(l.keys.changed_count, 2);
    assert_memory_equal(l.keys.changed[0]->name.ptr, "good", 4);
    assert_int_equal(l.keys.changed[0]->type, FIELD_UTF8);
    assert_memory_equal(l.keys.changed[1]->name.ptr, "dup", 3);
    assert_int_equal(l.keys.changed[1]->type, FIELD_INT64);
    lines_done(&l);
}

static void what_is_no_document_is_refused_with_its_byte(void **state)
{
    static const struct {
        const char *body, *message;
    } cases[] = {
        {"", "invalid JSON at byte 0: the text ends before the value is complete"},
        {"  ", "invalid JSON at byte 2: the text ends before the value is complete"},
        {"hello", "invalid JSON at byte 0: expected a value"},
        {"[{\"a\":1}] xyz", "invalid JSON at byte 10: trailing characters after the document"},
        {"{\"a\":1}\n{\"a\":2}\n",
         "invalid JSON at byte 8: trailing characters after the document"},
        {"[{\"a\":1},]", "invalid JSON at byte 9: expected a value"},
        {"[{\"a\":1},{\"a\":",
         "invalid JSON at byte 14: the text ends before the value is complete"},
        {"[{\"a\":\"x\xFFy\"}]", "invalid JSON at byte 8: invalid UTF-8"},
        {"[{\"a\":NaN}]", "invalid JSON at byte 6: expected a value"},
        {"[{\"a\":1 \"b\":2}]", "invalid JSON at byte 8: expected ',' or '}'"},
        {"[{\"_timestamp\":1,\"x\":[1,}]", "invalid JSON at byte 24: expected a value"},
        {"\"hello\"", "flatten value must be an object"},
        {"42", "flatten value must be an object"},
        {"null", "flatten value must be an object"},
    };
    struct lines_rules r = rules();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct lines l;
        struct err e;
        assert_int_equal(lines_init(&l, &e), ERR_OK);
        assert_int_equal(run(&l, &r, str_from(cases[i].body), &e), ERR_INVALID);
        assert_string_equal(e.msg, cases[i].message);
        lines_done(&l);
    }
}

static void nesting_is_bounded_on_every_way(void **state)
{
    static const struct {
        unsigned level;
        const char *innermost;
    } ways[] = {{0, "{}"}, {0, "{\"x\":1}"}, {3, "{}"}, {3, "[]"}, {0, "[1]"}};
    struct lines_rules r = rules();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        for (int depth = SCAN_DEPTH_MAX; depth <= SCAN_DEPTH_MAX + 1; depth++) {
            struct lines l;
            struct err e = {0};
            struct buf body;
            buf_init(&body, 1u << 20);
            buf_add_char(&body, '[');
            for (int k = 0; k < depth - 2; k++)
                buf_add_cstr(&body, "{\"\":");
            buf_add_cstr(&body, ways[i].innermost);
            for (int k = 0; k < depth - 2; k++)
                buf_add_char(&body, '}');
            buf_add_char(&body, ']');
            r.flatten_level = ways[i].level;
            assert_int_equal(lines_init(&l, &e), ERR_OK);
            assert_int_equal(run(&l, &r, buf_str(&body), &e),
                             depth > SCAN_DEPTH_MAX ? ERR_INVALID : ERR_OK);
            lines_done(&l);
            buf_done(&body);
        }
    }
}

static void too_many_columns_fail_the_record_only(void **state)
{
    struct lines_rules r = rules();
    struct lines l;
    struct err e;
    (void)state;
    r.columns_max = 2;
    assert_int_equal(lines_init(&l, &e), ERR_OK);
    assert_int_equal(run(&l, &r,
                         STR("[{\"a\":1,\"b\":2,\"c\":{\"d\":3}},{\"a\":1,\"b\":2,\"_timestamp\":0,"
                             "\"n\":null,\"A\":5}]"),
                         &e),
                     ERR_OK);
    assert_int_equal(l.failed, 1);
    assert_string_equal(l.reason,
                        "Too many columns: a record may have 2 (ZO_COLS_PER_RECORD_LIMIT)");
    assert_string_equal(l.out.data, TS ",\"a\":1,\"b\":2}\n");
    lines_done(&l);
}

static void add_many(struct buf *body, char c, size_t n)
{
    while (n-- > 0)
        buf_add_char(body, c);
}

static void a_line_too_long_fails_the_record_only(void **state)
{
    struct lines_rules r = rules();
    struct lines l;
    struct err e;
    struct buf body;
    (void)state;
    buf_init(&body, 40u << 20);
    buf_add_cstr(&body, "[{\"a\":\"");
    add_many(&body, 'x', r.line_max_bytes);
    buf_add_cstr(&body, "\"},{\"b\":1},{\"c\":\"");
    add_many(&body, 'y', 30u << 20); /* more than the buffer of lines holds */
    buf_add_cstr(&body, "\"},{\"d\":2}]");
    assert_int_equal(lines_init(&l, &e), ERR_OK);
    assert_int_equal(run(&l, &r, buf_str(&body), &e), ERR_OK);
    assert_int_equal(l.failed, 2);
    assert_string_equal(l.out.data, TS ",\"b\":1}\n" TS ",\"d\":2}\n");
    lines_done(&l);
    buf_done(&body);
}

static void values_that_are_beaten_have_the_same_room_everywhere(void **state)
{
    enum { RECORDS = 160, VALUE_BYTES = 90000, BEATEN_BYTES = 10 << 20 };
    struct lines_rules r = rules();
    struct lines l;
    struct err e;
    struct buf body;
    (void)state;
    buf_init(&body, 40u << 20);
    for (int i = 0; i < RECORDS; i++) { /* nearly a batch */
        buf_add_cstr(&body, i ? ",{\"a\":\"" : "[{\"a\":\"");
        add_many(&body, 'x', VALUE_BYTES);
        buf_add_cstr(&body, "\"}");
    }
    buf_add_cstr(&body, ",{\"b\":\"");
    add_many(&body, 'y', BEATEN_BYTES);
    buf_add_cstr(&body, "\",\"b\":1}]");
    assert_int_equal(lines_init(&l, &e), ERR_OK);
    assert_int_equal(run(&l, &r, buf_str(&body), &e), ERR_OK);
    assert_int_equal(l.failed, 0);
    assert_int_equal(l.successful, RECORDS + 1);
    assert_string_equal(l.out.data + l.segments[0].len - sizeof(TS ",\"b\":1}\n") + 1,
                        TS ",\"b\":1}\n");
    lines_done(&l);
    buf_done(&body);
}

static void names_without_bounds_fail_the_record_only(void **state)
{
    struct lines_rules r = rules();
    struct lines l;
    struct err e;
    struct buf body;
    (void)state;
    buf_init(&body, 1u << 20);
    buf_add_cstr(&body, "[{\"");
    for (size_t i = 0; i <= FIELD_NAME_MAX; i++)
        buf_add_char(&body, 'k');
    buf_add_cstr(&body, "\":1},{\"b\":1}]");
    assert_int_equal(lines_init(&l, &e), ERR_OK);
    assert_int_equal(run(&l, &r, buf_str(&body), &e), ERR_OK);
    assert_int_equal(l.failed, 1);
    assert_string_equal(l.reason, "A name is longer than 1024 bytes");
    assert_string_equal(l.out.data, TS ",\"b\":1}\n");
    lines_done(&l);
    buf_done(&body);
}

/* Many losers of one name must not make the look for the winner slow. */
static void a_name_a_hundred_thousand_times_is_one_member(void **state)
{
    struct lines_rules r = rules();
    struct lines l;
    struct err e;
    struct buf body;
    (void)state;
    buf_init(&body, 4u << 20);
    buf_add_cstr(&body, "{\"a\":0");
    for (int i = 0; i < 100000; i++)
        buf_printf(&body, ",\"b\":%d", i);
    for (int i = 0; i < 100000; i++)
        buf_printf(&body, ",\"A\":%d", i);
    buf_add_char(&body, '}');
    assert_int_equal(lines_init(&l, &e), ERR_OK);
    assert_int_equal(run(&l, &r, buf_str(&body), &e), ERR_OK);
    assert_string_equal(l.out.data, TS ",\"a\":0,\"b\":99999}\n");
    lines_done(&l);
    buf_done(&body);
}

/* More different keys than the cache holds: it starts anew between records. */
static void a_flood_of_keys_is_survived(void **state)
{
    enum { RECORDS = 100, KEYS = 3000 };
    struct lines_rules r = rules();
    struct lines l;
    struct err e;
    struct buf body;
    (void)state;
    r.columns_max = KEYS;
    buf_init(&body, 64u << 20);
    for (int i = 0; i < RECORDS; i++) {
        buf_add_cstr(&body, i ? ",{" : "[{");
        for (int k = 0; k < KEYS; k++)
            buf_printf(&body, "%s\"k%d\":{\"x%d\":null}", k ? "," : "", i * KEYS + k, k);
        buf_add_cstr(&body, ",\"n\":1}");
    }
    buf_add_cstr(&body, "]");
    assert_int_equal(lines_init(&l, &e), ERR_OK);
    assert_int_equal(run(&l, &r, buf_str(&body), &e), ERR_OK);
    assert_int_equal(l.successful, RECORDS);
    lines_done(&l);
    buf_done(&body);
}

static void records_are_grouped_by_hour_in_their_order(void **state)
{
    struct lines_rules r = rules();
    struct lines l;
    struct err e;
    (void)state;
    assert_int_equal(lines_init(&l, &e), ERR_OK);
    assert_int_equal(
        run(&l, &r,
            STR("[{\"_timestamp\":1795387861,\"i\":1},{\"_timestamp\":1795384261,\"i\":2},"
                "{\"_timestamp\":1795387860,\"i\":3},{\"_timestamp\":1795387862,\"i\":4},"
                "{\"_timestamp\":1795384260,\"i\":5}]"),
            &e),
        ERR_OK);
    assert_int_equal(l.segment_count, 4);
    assert_int_equal(lines_sort(&l, &e), ERR_OK);
    assert_int_equal(l.segment_count, 2);
    buf_add(&l.out, "", 1);
    assert_string_equal(l.out.data, "{\"_timestamp\":1795384261000000,\"i\":2}\n"
                                    "{\"_timestamp\":1795384260000000,\"i\":5}\n"
                                    "{\"_timestamp\":1795387861000000,\"i\":1}\n"
                                    "{\"_timestamp\":1795387860000000,\"i\":3}\n"
                                    "{\"_timestamp\":1795387862000000,\"i\":4}\n");
    assert_int_equal(l.segments[0].lines, 2);
    assert_int_equal(l.segments[0].min_us, INT64_C(1795384260000000));
    assert_int_equal(l.segments[0].max_us, INT64_C(1795384261000000));
    assert_int_equal(l.segments[1].lines, 3);
    assert_int_equal(l.segments[1].at, l.segments[0].len);
    assert_int_equal(l.segments[1].hour, l.segments[0].hour + 1);
    lines_done(&l);
}

static void many_hours_and_many_bytes_call_full(void **state)
{
    struct lines_rules r = rules();
    struct lines l;
    struct err e;
    struct buf body;
    (void)state;
    buf_init(&body, 64u << 20);
    buf_add_char(&body, '[');
    for (int i = 0; i < 3 * SEGMENTS_MAX; i++)
        buf_printf(&body, "%s{\"_timestamp\":%d}", i ? "," : "", 1795387861 - (i % 2) * 3600);
    buf_add_char(&body, ']');
    full_calls = 0;
    assert_int_equal(lines_init(&l, &e), ERR_OK);
    assert_int_equal(run(&l, &r, buf_str(&body), &e), ERR_OK);
    assert_int_equal(full_calls, 3);
    assert_int_equal(l.successful, 3 * SEGMENTS_MAX);
    buf_clear(&body);
    buf_add_char(&body, '[');
    while (body.len < 2 * LINES_MAX + 1000000)
        buf_printf(&body, "%s{\"text\":\"%01000d\"}", body.len > 1 ? "," : "", 7);
    buf_add_char(&body, ']');
    full_calls = 0;
    assert_int_equal(run(&l, &r, buf_str(&body), &e), ERR_OK);
    assert_int_equal(full_calls, 2);
    lines_done(&l);
    buf_done(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_become_flat_lines),
        cmocka_unit_test(of_equal_names_the_last_in_map_order_counts),
        cmocka_unit_test(the_level_bounds_the_joining),
        cmocka_unit_test(times_are_taken_out_and_put_in_front),
        cmocka_unit_test(times_of_other_widths_fit_too),
        cmocka_unit_test(bad_records_are_counted_and_the_others_kept),
        cmocka_unit_test(refused_records_leave_no_fields),
        cmocka_unit_test(what_is_no_document_is_refused_with_its_byte),
        cmocka_unit_test(nesting_is_bounded_on_every_way),
        cmocka_unit_test(too_many_columns_fail_the_record_only),
        cmocka_unit_test(a_line_too_long_fails_the_record_only),
        cmocka_unit_test(values_that_are_beaten_have_the_same_room_everywhere),
        cmocka_unit_test(names_without_bounds_fail_the_record_only),
        cmocka_unit_test(a_name_a_hundred_thousand_times_is_one_member),
        cmocka_unit_test(a_flood_of_keys_is_survived),
        cmocka_unit_test(records_are_grouped_by_hour_in_their_order),
        cmocka_unit_test(many_hours_and_many_bytes_call_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
