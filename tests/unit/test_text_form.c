// links: weir_engine
/* tests/unit/test_text_form.c - the text form of lines and its sum, value by value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "gateway/engine/text_form.h"

enum { COLUMNS = 6, MEMORY_MAX = 1 << 20, TEXT_MAX = 1 << 20 };

static const struct run_column columns[COLUMNS] = {
    {{"b", 1}, COLUMN_BOOL, false},   {{"f", 1}, COLUMN_FLOAT64, false},
    {{"i", 1}, COLUMN_INT64, false},  {{"s", 1}, COLUMN_UTF8, false},
    {{"u", 1}, COLUMN_UINT64, false}, {{"a\"\n", 3}, COLUMN_INT64, false},
};

struct forms { /* a writer over the columns */
    struct arena arena;
    struct text_form form;
    struct line_plan *plan;
    struct line_cursor *cursor;
    struct buf out;
    struct text_writer writer;
};

static void forms_open(struct forms *f)
{
    struct str names[COLUMNS];
    struct err e;
    for (int i = 0; i < COLUMNS; i++)
        names[i] = columns[i].name;
    arena_init(&f->arena, MEMORY_MAX);
    buf_init(&f->out, TEXT_MAX);
    assert_int_equal(text_form_make(columns, COLUMNS, &f->arena, &f->form, &e), ERR_OK);
    assert_int_equal(line_plan_new(names, COLUMNS, &f->plan, &e), ERR_OK);
    assert_int_equal(line_cursor_new(f->plan, &f->cursor, &e), ERR_OK);
    text_writer_init(&f->writer, &f->form, &f->out);
}

static void forms_close(struct forms *f)
{
    text_writer_done(&f->writer);
    line_cursor_free(f->cursor);
    line_plan_free(f->plan);
    buf_done(&f->out);
    arena_done(&f->arena);
}

/* The members in the line's own order; an empty text when one does not fit its column. */
static struct str text_of(struct forms *f, struct str line)
{
    struct line_value values[COLUMNS];
    size_t count;
    struct err e;
    buf_clear(&f->out);
    assert_int_equal(line_find(f->cursor, line, values, &count, &e), ERR_OK);
    text_begin(&f->writer);
    for (size_t i = 0; i < count; i++)
        if (!text_put_line_value(&f->writer, values[i].field, columns[values[i].field].type,
                                 &values[i]))
            return STR("");
    return text_end(&f->writer);
}

static void a_line_of_the_columns_types_is_its_own_text(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{}",
        "{\"b\":true}",
        "{\"b\":false,\"f\":0.1,\"i\":-7,\"s\":\"text\",\"u\":18446744073709551615}",
        "{\"f\":-0.0}",
        "{\"f\":5.0}",
        "{\"f\":1e300}",
        "{\"f\":5e-324}",
        "{\"f\":1e16}",
        "{\"f\":\"NaN\"}",
        "{\"f\":\"+Inf\"}",
        "{\"f\":\"-Inf\"}",
        "{\"f\":\"Stale\"}",
        "{\"i\":9223372036854775807,\"u\":-9223372036854775808}",
        "{\"i\":-9223372036854775808,\"u\":0}",
        "{\"s\":\"\"}",
        "{\"s\":\"\\u0000\\u0001\\b\\f\\n\\r\\t\\\"\\\\/"
        "\x7f\xc2\x80\xe2\x80\xa8\xf0\x9f\x8c\x8a\"}",
        "{\"a\\\"\\n\":5}",
    };
    struct forms f;
    forms_open(&f);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct str text = text_of(&f, str_from(lines[i]));
        if (!str_eq(text, str_from(lines[i])))
            fail_msg("%s became " STR_FMT, lines[i], STR_ARG(text));
    }
    forms_close(&f);
}

static void other_values_get_the_form_of_their_column(void **state)
{
    (void)state;
    static const struct {
        const char *line, *text;
    } cases[] = {
        {"{\"s\":null,\"i\":null}", "{}"},
        {"{\"i\":true,\"u\":false,\"f\":true}", "{\"i\":1,\"u\":0,\"f\":1.0}"},
        {"{\"i\":5.0}", "{\"i\":5}"},
        {"{\"f\":3}", "{\"f\":3.0}"},
        {"{\"f\":9007199254740993}", "{\"f\":9007199254740992.0}"},
        {"{\"s\":12.50}", "{\"s\":\"12.50\"}"},
        {"{\"s\":true}", "{\"s\":\"true\"}"},
        {"{\"s\":{\"a\":[1,\"x\"]}}", "{\"s\":\"{\\\"a\\\":[1,\\\"x\\\"]}\"}"},
        {"{\"s\":\"\\u0041\\/\"}", "{\"s\":\"A/\"}"},
    };
    struct forms f;
    forms_open(&f);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str text = text_of(&f, str_from(cases[i].line));
        if (!str_eq(text, str_from(cases[i].text)))
            fail_msg("%s became " STR_FMT, cases[i].line, STR_ARG(text));
    }
    forms_close(&f);
}

static void a_value_that_does_not_fit_is_told(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{\"b\":1}",
        "{\"b\":\"true\"}",
        "{\"i\":1.5}",
        "{\"i\":9223372036854775808}",
        "{\"i\":\"1\"}",
        "{\"i\":[1]}",
        "{\"u\":18446744073709551616}",
        "{\"u\":0.5}",
        "{\"f\":\"1.5\"}",
        "{\"f\":{}}",
        "{\"f\":\"nan\"}",
    };
    struct forms f;
    forms_open(&f);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (text_of(&f, str_from(lines[i])).len > 0)
            fail_msg("%s has a text", lines[i]);
    forms_close(&f);
}

static void members_stand_between_values(void **state)
{
    (void)state;
    struct forms f;
    forms_open(&f);
    text_begin(&f.writer);
    text_put_members(&f.writer, STR(""));
    text_put_members(&f.writer, STR("\"x\":\"1\",\"y\":\"2\""));
    text_put_members(&f.writer, STR("\"z\":\"3\""));
    assert_true(str_eq(text_end(&f.writer), STR("{\"x\":\"1\",\"y\":\"2\",\"z\":\"3\"}")));
    assert_true(str_eq(buf_str(&f.out), STR("{\"x\":\"1\",\"y\":\"2\",\"z\":\"3\"}\n")));
    forms_close(&f);
}

/* The formula is part of the format: sums of old parts must not change. */
static void the_hash_of_a_line_is_the_one_that_stands_in_parts(void **state)
{
    (void)state;
    static const struct {
        struct str line;
        uint64_t hash;
    } cases[] = {
        {{"", 0}, UINT64_C(0x0000000000000000)},
        {{"{\"_timestamp\":1}", 16}, UINT64_C(0x69732c7e966f7abd)},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(text_line_hash(cases[i].line), cases[i].hash);
    assert_int_not_equal(text_line_hash(STR("a")), text_line_hash(STR("b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_of_the_columns_types_is_its_own_text),
        cmocka_unit_test(other_values_get_the_form_of_their_column),
        cmocka_unit_test(a_value_that_does_not_fit_is_told),
        cmocka_unit_test(members_stand_between_values),
        cmocka_unit_test(the_hash_of_a_line_is_the_one_that_stands_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
