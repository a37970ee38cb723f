// links: weir_engine
/* tests/unit/test_lines.c - fields found in lines, values converted, files cut into units. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "gateway/engine/convert.h"
#include "gateway/engine/unit_reader.h"

enum { FIELDS = 3, ABSENT = -1 };

static const struct str names[FIELDS] = {{"a", 1}, {"long_name", 9}, {"q\"k", 3}};

struct finder {
    struct line_plan *plan;
    struct line_cursor *cursor;
    struct line_value values[FIELDS];
    size_t count;
};

static int make_finder(void **state)
{
    static struct finder f;
    struct err e;
    f = (struct finder){0};
    if (line_plan_new(names, FIELDS, &f.plan, &e) != ERR_OK ||
        line_cursor_new(f.plan, &f.cursor, &e) != ERR_OK)
        return -1;
    *state = &f;
    return 0;
}

static int free_finder(void **state)
{
    struct finder *f = *state;
    line_cursor_free(f->cursor);
    line_plan_free(f->plan);
    return 0;
}

static const struct line_value *value_of(const struct finder *f, uint32_t field)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->values[i].field == field)
            return &f->values[i];
    return NULL;
}

static void fields_are_found_wherever_they_stand(void **state)
{
    struct finder *f = *state;
    static const struct {
        const char *line;
        const char *text[FIELDS]; /* NULL: absent */
        int kind[FIELDS];
    } cases[] = {
        {"{}", {0}, {0}},
        {" { } ", {0}, {0}},
        {"{\"a\":1}", {"1"}, {LINE_NUMBER}},
        {"{\"b\":1,\"a\":\"x\",\"c\":[]}", {"x"}, {LINE_STRING}},
        {"{\"a\":null,\"long_name\":-1.5e3}", {"null", "-1.5e3"}, {LINE_NULL, LINE_NUMBER}},
        {"{\"long_name\":false,\"a\":true}", {"true", "false"}, {LINE_TRUE, LINE_FALSE}},
        {"{\"x\":\"}\\\"{,\",\"a\":\"b\\\\\"}", {"b\\\\"}, {LINE_ESCAPED}},
        {"{\"x\":{\"a\":[1,\"]}\"]},\"a\":[{\"k\":\"]\"}]}", {"[{\"k\":\"]\"}]"}, {LINE_NESTED}},
        {"{ \"a\" : 1 , \"long_name\" : \"\" }", {"1", ""}, {LINE_NUMBER, LINE_STRING}},
        {"{\"q\\\"k\":7}", {NULL, NULL, "7"}, {0, 0, LINE_NUMBER}},
        {"{\"q\\u0022k\":8}", {NULL, NULL, "8"}, {0, 0, LINE_NUMBER}},
        {"{\"a\":1,\"a\":2}", {"1"}, {LINE_NUMBER}},
        {"{\"a\":\"\xc3\xbc\xf0\x9f\x98\x80 123456789\"}",
         {"\xc3\xbc\xf0\x9f\x98\x80 123456789"},
         {LINE_STRING}},
    };
    for (int round = 0; round < 2; round++) /* the second time keys are known by their place */
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            struct err e = {0};
            assert_int_equal(
                line_find(f->cursor, str_from(cases[i].line), f->values, &f->count, &e), ERR_OK);
            for (uint32_t k = 0; k < FIELDS; k++) {
                const struct line_value *v = value_of(f, k);
                assert_int_equal(v != NULL, cases[i].text[k] != NULL);
                if (!v)
                    continue;
                assert_int_equal(v->kind, cases[i].kind[k]);
                assert_true(str_eq(v->text, str_from(cases[i].text[k])));
            }
        }
}

static void a_line_that_is_no_object_is_corrupt(void **state)
{
    struct finder *f = *state;
    static const char *const lines[] = {
        "",           "x",           "[1]",         "{",          "{\"a\"",
        "{\"a\":",    "{\"a\":}",    "{\"b\":1",    "{\"b\":\"x", "{\"b\":\"x\\",
        "{\"b\":[1",  "{\"b\":tru}", "{\"b\":1 2}", "{b:1}",      "{\"b\":1,,\"a\":2}",
        "{\"b\":1;}",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct err e = {0};
        struct str line = str_from(lines[i]);
        char *exact = malloc(line.len + 1);
        assert_non_null(exact);
        memcpy(exact, line.ptr, line.len);
        assert_int_equal(
            line_find(f->cursor, (struct str){exact, line.len}, f->values, &f->count, &e),
            ERR_CORRUPT);
        free(exact);
    }
}

static void escapes_are_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        struct str plain;
    } cases[] = {
        {"", {"", 0}},
        {"a\\nb\\t\\\"\\\\\\/\\b\\f\\r", {"a\nb\t\"\\/\b\f\r", 10}},
        {"\\u0000", {"\0", 1}},
        {"\\u00e9\\u20AC", {"\xc3\xa9\xe2\x82\xac", 5}},
        {"\\ud83d\\ude00!", {"\xf0\x9f\x98\x80!", 5}},
        {"\\ud83dx", {"\xef\xbf\xbdx", 4}},
        {"\\ude00", {"\xef\xbf\xbd", 3}},
        {"\\ud83d\\u0041",
         {"\xef\xbf\xbd"
          "A",
          4}},
        {"\\u12", {"u12", 3}},
        {"\\q", {"q", 1}},
        {"end\\", {"end", 3}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str text = str_from(cases[i].text);
        char *dst = malloc(text.len + 1);
        assert_non_null(dst);
        size_t n = line_unescape(text, dst);
        assert_true(n <= text.len);
        assert_true(str_eq((struct str){dst, n}, cases[i].plain));
        free(dst);
    }
}

static struct line_value number(const char *digits)
{
    return (struct line_value){.text = str_from(digits), .kind = LINE_NUMBER};
}

static void numbers_become_the_type_of_their_column(void **state)
{
    (void)state;
    static const struct {
        const char *digits;
        bool is_i64, is_int128;
        int64_t i64;
        struct int128 wide;
        double f64;
    } cases[] = {
        {"0", true, true, 0, {0, 0}, 0.0},
        {"-1", true, true, -1, {UINT64_MAX, -1}, -1.0},
        {"9223372036854775807", true, true, INT64_MAX, {INT64_MAX, 0}, 9223372036854775807.0},
        {"-9223372036854775808", true, true, INT64_MIN, {1ull << 63, -1}, -9223372036854775808.0},
        {"18446744073709551615", false, true, 0, {UINT64_MAX, 0}, 18446744073709551615.0},
        {"5.0", true, true, 5, {5, 0}, 5.0},
        {"1e3", true, true, 1000, {1000, 0}, 1000.0},
        {"0.1", false, false, 0, {0, 0}, 0.1},
        {"123456789.012345678", false, false, 0, {0, 0}, 123456789.012345678},
        {"2.2250738585072011e-308", false, false, 0, {0, 0}, 2.2250738585072011e-308},
        {"-0.000001", false, false, 0, {0, 0}, -0.000001},
        {"1e400", false, false, 0, {0, 0}, INFINITY},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct line_value v = number(cases[i].digits);
        struct int128 wide = {0, 0};
        int64_t i64 = 0;
        double f64 = 0;
        assert_int_equal(convert_i64(&v, &i64), cases[i].is_i64);
        assert_int_equal(convert_int128(&v, &wide), cases[i].is_int128);
        assert_true(convert_f64(&v, &f64));
        assert_true(f64 == cases[i].f64);
        if (cases[i].is_i64)
            assert_true(i64 == cases[i].i64);
        if (cases[i].is_int128)
            assert_true(wide.low == cases[i].wide.low && wide.high == cases[i].wide.high);
    }
}

static void true_is_one_and_metrics_have_special_numbers(void **state)
{
    (void)state;
    struct line_value yes = {.kind = LINE_TRUE}, text = {.kind = LINE_STRING};
    struct int128 wide;
    int64_t i64;
    double f64;
    bool flag;
    assert_true(convert_bool(&yes, &flag) && flag);
    assert_true(convert_i64(&yes, &i64) && i64 == 1);
    assert_true(convert_int128(&yes, &wide) && wide.low == 1);
    assert_true(convert_f64(&yes, &f64) && f64 == 1.0);
    text.text = STR("NaN");
    assert_true(convert_f64(&text, &f64) && isnan(f64));
    text.text = STR("-Inf");
    assert_true(convert_f64(&text, &f64) && f64 == -INFINITY);
    text.text = STR("12");
    assert_false(convert_f64(&text, &f64));
    assert_false(convert_i64(&text, &i64));
    assert_false(convert_bool(&text, &flag));
}

/* All lines of the file, read in units of `unit` bytes, joined by '|'. */
static void read_in_units(const struct unit_file *f, uint64_t unit, struct buf *out)
{
    struct unit_reader r;
    struct err e = {0};
    unit_reader_init(&r, 1 << 20);
    for (uint64_t at = 0; at < f->size_bytes; at += unit) {
        uint64_t end = at + unit < f->size_bytes ? at + unit : f->size_bytes;
        struct str line;
        assert_int_equal(unit_reader_start(&r, f, at, end, &e), ERR_OK);
        while (assert_int_equal(unit_reader_next(&r, &line, &e), ERR_OK), line.ptr) {
            buf_add_str(out, line);
            buf_add_char(out, '|');
        }
    }
    unit_reader_done(&r);
}

static int temp_file(struct str content)
{
    char path[] = "/tmp/weir-test-lines-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, content.ptr, content.len), (ssize_t)content.len);
    return fd;
}

static void units_give_every_line_once(void **state)
{
    (void)state;
    static const char *const contents[] = {
        "a\n", "a\nbb\nccc\n", "\n\nx\n\n", "aaaaaaaaaaaaaaaaaaaa\nb\n", "no newline", "a\nb"};
    for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
        struct str content = str_from(contents[i]);
        AUTO_FD int fd = temp_file(content);
        struct unit_file f = {fd, content.len, STR("test")};
        struct buf whole, cut;
        buf_init(&whole, 1 << 20);
        buf_init(&cut, 1 << 20);
        read_in_units(&f, content.len, &whole);
        for (uint64_t unit = 1; unit <= content.len; unit++) {
            buf_clear(&cut);
            read_in_units(&f, unit, &cut);
            assert_true(str_eq(buf_str(&cut), buf_str(&whole)));
        }
        buf_done(&whole);
        buf_done(&cut);
    }
}

static unsigned open_files(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Files without a descriptor, as one of very many is: one reader opens them in turn. */
static void a_file_is_opened_when_it_is_read(void **state)
{
    (void)state;
    char dir[] = "/tmp/weir-test-lines-XXXXXX", paths[2][64];
    struct unit_file files[2];
    struct unit_reader r;
    struct err e = {0};
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < 2; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%d", dir, i);
        AUTO_FD int fd = open(paths[i], O_WRONLY | O_CREAT, 0600);
        assert_int_equal(write(fd, i ? "c\nd\n" : "a\nb\n", 4), 4);
        assert_int_equal(unit_file_look(&files[i], str_from(paths[i]), dir, &e), ERR_OK);
        assert_int_equal(files[i].size_bytes, 4);
    }
    unsigned before = open_files();
    unit_reader_init(&r, 1 << 20);
    for (int i = 0; i < 4; i++) { /* each in two units */
        struct str line;
        uint64_t at = i % 2 ? 2 : 0;
        assert_int_equal(unit_reader_start(&r, &files[i / 2], at, at + 2, &e), ERR_OK);
        assert_int_equal(unit_reader_next(&r, &line, &e), ERR_OK);
        assert_int_equal(line.len, 1);
        assert_int_equal(line.ptr[0], 'a' + i);
        assert_int_equal(open_files(), before + 1);
    }
    unit_reader_done(&r);
    assert_int_equal(open_files(), before);
    assert_int_equal(unit_file_look(&files[0], STR("/etc/passwd"), dir, &e), ERR_FORBIDDEN);
    for (int i = 0; i < 2; i++)
        unlink(paths[i]);
    assert_int_equal(unit_file_look(&files[0], str_from(paths[0]), dir, &e), ERR_NOTFOUND);
    rmdir(dir);
}

static void a_line_past_the_maximum_is_too_big(void **state)
{
    (void)state;
    size_t len = 3 << 20;
    AUTO_FREE char *text = malloc(len);
    assert_non_null(text);
    memset(text, 'x', len);
    AUTO_FD int fd = temp_file((struct str){text, len});
    struct unit_file f = {fd, len, STR("test")};
    struct unit_reader r;
    struct err e = {0};
    struct str line;
    unit_reader_init(&r, 1 << 20);
    assert_int_equal(unit_reader_start(&r, &f, 0, len, &e), ERR_OK);
    assert_int_equal(unit_reader_next(&r, &line, &e), ERR_TOOBIG);
    unit_reader_done(&r);
}

static void a_file_that_shrank_is_corrupt(void **state)
{
    (void)state;
    AUTO_FD int fd = temp_file(STR("abc\n"));
    struct unit_file f = {fd, 100, STR("test")};
    struct unit_reader r;
    struct err e = {0};
    struct str line;
    unit_reader_init(&r, 1 << 20);
    assert_int_equal(unit_reader_start(&r, &f, 0, 100, &e), ERR_OK);
    assert_int_equal(unit_reader_next(&r, &line, &e), ERR_OK);
    assert_int_equal(unit_reader_next(&r, &line, &e), ERR_CORRUPT);
    unit_reader_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fields_are_found_wherever_they_stand, make_finder,
                                        free_finder),
        cmocka_unit_test_setup_teardown(a_line_that_is_no_object_is_corrupt, make_finder,
                                        free_finder),
        cmocka_unit_test(escapes_are_decoded),
        cmocka_unit_test(numbers_become_the_type_of_their_column),
        cmocka_unit_test(true_is_one_and_metrics_have_special_numbers),
        cmocka_unit_test(units_give_every_line_once),
        cmocka_unit_test(a_file_is_opened_when_it_is_read),
        cmocka_unit_test(a_line_past_the_maximum_is_too_big),
        cmocka_unit_test(a_file_that_shrank_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
