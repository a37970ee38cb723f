// links: weir_gateway weir_engine weir_fs weir_index
/* tests/unit/test_hits.c - batches as JSON hits: every kind, nulls, escapes, and it reads back. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "gateway/query.h"

static const uint8_t odd_rows[] = {0x02}; /* of two rows the second */
static const int64_t integers[] = {INT64_MIN, 42};
static const uint64_t naturals[] = {UINT64_MAX, 0};
static const double doubles[] = {12.0, -0.5};
static const double special[] = {NAN, INFINITY};
static const uint8_t bools[] = {1, 0};
static const uint32_t text_offsets[] = {0, 1, 4};
static const uint32_t raw_offsets[] = {0, 5, 7};

static const struct wire_column column_i64 = {.kind = WIRE_I64, .data = integers};
static const struct wire_column column_u64 = {.kind = WIRE_U64, .data = naturals};
static const struct wire_column column_f64 = {.kind = WIRE_F64, .data = doubles};
static const struct wire_column column_special = {.kind = WIRE_F64, .data = special};
static const struct wire_column column_bool = {.kind = WIRE_BOOL, .data = bools};
static const struct wire_column column_text = {
    .kind = WIRE_STR, .data = "abcd", .offsets = text_offsets};
static const struct wire_column column_raw = {
    .kind = WIRE_RAW, .data = "[1,2]{}", .offsets = raw_offsets};
static const struct wire_column column_odd = {
    .kind = WIRE_I64, .data = integers, .validity = odd_rows};

static void check(const struct wire_column *column, const char *json)
{
    struct wire_column copy = *column;
    const struct query_column name = {STR("c")};
    const struct wire_batch b = {.rows = 2, .columns = 1, .column = &copy};
    struct buf out;
    bool first = true;
    buf_init(&out, 1u << 20);
    query_write_hits(&out, &name, &b, &first);
    assert_true(buf_ok(&out));
    assert_string_equal(out.data, json);
    assert_false(first);
    buf_done(&out);
}

static void each_kind_has_its_form(void **state)
{
    (void)state;
    check(&column_i64, "{\"c\":-9223372036854775808},{\"c\":42}");
    check(&column_u64, "{\"c\":18446744073709551615},{\"c\":0}");
    check(&column_f64, "{\"c\":12.0},{\"c\":-0.5}");
    check(&column_special, "{\"c\":null},{\"c\":null}");
    check(&column_bool, "{\"c\":true},{\"c\":false}");
    check(&column_text, "{\"c\":\"a\"},{\"c\":\"bcd\"}");
    check(&column_raw, "{\"c\":[1,2]},{\"c\":{}}");
    check(&column_odd, "{},{\"c\":42}");
}

static void nulls_leave_no_comma_behind(void **state)
{
    static const uint8_t first_row[] = {0x01}, none[] = {0x00};
    struct wire_column columns[] = {column_odd, column_i64, column_i64};
    const struct query_column names[] = {{STR("a")}, {STR("b\"\n")}, {STR("c")}};
    const struct wire_batch b = {.rows = 2, .columns = 3, .column = columns};
    struct buf out;
    bool first = true;
    (void)state;
    columns[1].validity = none;
    columns[2].validity = first_row;
    buf_init(&out, 1u << 20);
    query_write_hits(&out, names, &b, &first);
    assert_string_equal(out.data, "{\"c\":-9223372036854775808},{\"a\":42}");
    columns[1].validity = NULL;
    query_write_hits(&out, names, &b, &first);
    assert_string_equal(out.data, "{\"c\":-9223372036854775808},{\"a\":42},"
                                  "{\"b\\\"\\n\":-9223372036854775808,\"c\":-9223372036854775808},"
                                  "{\"a\":42,\"b\\\"\\n\":42}");
    buf_done(&out);
}

/* One text through the writer and back through the JSON reader. */
static void check_text(const char *text, size_t len)
{
    const uint32_t offsets[] = {0, (uint32_t)len};
    struct wire_column column = {.kind = WIRE_STR, .data = text, .offsets = offsets};
    const struct query_column name = {STR("c")};
    const struct wire_batch b = {.rows = 1, .columns = 1, .column = &column};
    struct buf out;
    struct arena a;
    struct json *doc;
    struct err e;
    bool first = true;
    buf_init(&out, 1u << 20);
    arena_init(&a, 1u << 20);
    query_write_hits(&out, &name, &b, &first);
    if (json_parse(buf_str(&out), &a, &doc, &e))
        fail_msg("%s: %s", out.data, e.msg);
    assert_true(str_eq(json_str(json_get(doc, "c"), STR("?")), (struct str){text, len}));
    arena_done(&a);
    buf_done(&out);
}

static void every_byte_comes_back_at_every_place(void **state)
{
    (void)state;
    for (size_t len = 0; len < 20; len++)
        for (size_t at = 0; at < len; at++)
            for (int c = 0; c < 0x80; c++) {
                char text[20];
                memset(text, 'x', sizeof text);
                text[at] = (char)c;
                check_text(text, len);
            }
    check_text("", 0);
}

static void text_beyond_ascii_passes_as_it_is(void **state)
{
    static const char text[] = "\303\251 \346\227\245\346\234\254 \360\237\230\200 \"q\" \\ \177 "
                               "\302\240\357\277\277\364\217\277\277";
    (void)state;
    check_text(text, sizeof text - 1);
}

static void a_full_buffer_fails_and_stays_within_its_maximum(void **state)
{
    struct wire_column column = column_text;
    const struct query_column name = {STR("c")};
    const struct wire_batch b = {.rows = 2, .columns = 1, .column = &column};
    (void)state;
    for (size_t max = 0; max < 24; max++) {
        struct buf out;
        bool first = true;
        buf_init(&out, max);
        query_write_hits(&out, &name, &b, &first);
        assert_int_equal(buf_ok(&out), max >= strlen("{\"c\":\"a\"},{\"c\":\"bcd\"}"));
        assert_true(out.len <= max);
        buf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_has_its_form),
        cmocka_unit_test(nulls_leave_no_comma_behind),
        cmocka_unit_test(every_byte_comes_back_at_every_place),
        cmocka_unit_test(text_beyond_ascii_passes_as_it_is),
        cmocka_unit_test(a_full_buffer_fails_and_stays_within_its_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
