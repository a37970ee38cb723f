// links: weir_engine
/* tests/unit/test_rare.c - fields that few rows have share a column, and nobody who reads or asks
 * can tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/engine/rare.h"
#include "tests/support/seal_checks.h"

enum { FIELDS = 399, ROWS = 4096, EACH = 7, KINDS = 5 };

static const char *const kinds[KINDS] = {"Utf8", "Int64", "Float64", "Boolean", "UInt64"};

/* The type of a field, so that each kind is among the rare ones. */
static const char *kind_of(unsigned field)
{
    return kinds[field % KINDS];
}

static void add_value(struct buf *lines, unsigned field, unsigned row)
{
    switch (field % KINDS) {
    case 0:
        buf_printf(lines, "\"f%03u\\\":\\\"é %u\"", field + 1, row % 50);
        break;
    case 1:
        buf_printf(lines, "-%u", row);
        break;
    case 2:
        buf_printf(lines, "%u.5", row);
        break;
    case 3:
        buf_add_cstr(lines, row % 2 ? "true" : "false");
        break;
    default:
        buf_printf(lines, "1844674407370%07u", row);
    }
}

/* Row `row` has EACH of the fields, in their order; every ninth row has none. */
static void add_row(struct buf *lines, unsigned row)
{
    buf_printf(lines, "{\"_timestamp\":%u", 1000 + row);
    for (unsigned i = 0; i < EACH && row % 9 != 0; i++) {
        unsigned field = row * 13 % (FIELDS / EACH) + i * (FIELDS / EACH);
        buf_printf(lines, ",\"f%03u\":", field);
        add_value(lines, field, row);
    }
    buf_printf(lines, ",\"z\":%u}\n", row);
}

static void add_rows(struct buf *lines, unsigned from, unsigned count)
{
    for (unsigned row = from; row < from + count; row++)
        add_row(lines, row);
}

typedef const char *type_of_field(unsigned field);

static void describe_fields(struct buf *columns, unsigned count, type_of_field *type_of)
{
    for (unsigned i = 0; i < count; i++)
        buf_printf(columns, "[\"f%03u\",\"%s\",%u],", i, type_of(i), i + 2);
}

static void describe(struct buf *columns, type_of_field *type_of)
{
    buf_add_cstr(columns, "[[\"_timestamp\",\"Int64\",1],");
    describe_fields(columns, FIELDS, type_of);
    buf_add_cstr(columns, "[\"z\",\"Int64\",9000]]");
}

static struct buf columns, lines;
static struct sealed sealed;

static int seal_all(void **state)
{
    if (start_engine(state) != 0)
        return -1;
    buf_init(&columns, TEXT_MAX);
    buf_init(&lines, TEXT_MAX);
    describe(&columns, kind_of);
    add_rows(&lines, 0, ROWS);
    sealed = seal_lines(buf_str(&lines), columns.data);
    return 0;
}

static int forget_all(void **state)
{
    sealed_done(&sealed);
    buf_done(&columns);
    buf_done(&lines);
    return stop_engine(state);
}

static size_t rare_count(const struct sealed *s)
{
    size_t count = 0;
    for (const struct json *c = json_get(s->facts, "columns")->first; c; c = c->next)
        count += str_eq(json_str(json_at(c, 3), STR("")), STR("rare"));
    return count;
}

/* ---- the object ---- */

static void a_value_is_found_by_its_whole_name(void **state)
{
    static const struct {
        const char *object, *field, *token; /* NULL: it is not there */
    } table[] = {
        {"{\"a\":1}", "a", "1"},
        {"{\"a\":1,\"b\":\"x\"}", "b", "\"x\""},
        {"{\"a\":-1.5e300,\"b\":true}", "a", "-1.5e300"},
        {"{\"ab\":1,\"b\":2}", "b", "2"},
        {"{\"ba\":1,\"b\":2}", "b", "2"},
        {"{\"a\":\"\\\"b\\\":5\",\"b\":2}", "b", "2"},
        {"{\"a\":\"b\",\"b\":2}", "b", "2"},
        {"{\"a\":\"\\\\\",\"b\":\",}\"}", "b", "\",}\""},
        {"{\"a\":\"\"}", "a", "\"\""},
        {"{\"a\":1}", "b", NULL},
        {"{}", "a", NULL},
        {"", "a", NULL},
        {"{\"a\":\"unfinished", "a", "\"unfinished"},
        {"{\"a\"", "a", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct str token = STR("");
        bool found = rare_find(str_from(table[i].object), str_from(table[i].field), &token);
        if (found != (table[i].token != NULL) ||
            (found && !str_eq(token, str_from(table[i].token))))
            fail_msg("%s of %s: '" STR_FMT "'", table[i].field, table[i].object, STR_ARG(token));
    }
}

/* ---- the file ---- */

static void all_but_the_first_rare_fields_share_a_column(void **state)
{
    (void)state;
    assert_int_equal(rare_count(&sealed), FIELDS - RARE_COLUMNS_KEPT);
    assert_int_equal(json_get(sealed.facts, "columns")->count, FIELDS + 2);
    struct sealed few = seal_lines(STR("{\"_timestamp\":1,\"f000\":\"a\"}\n"), columns.data);
    assert_int_equal(rare_count(&few), 0);
    sealed_done(&few);
}

static void one_of_five_rows_is_less_than_a_quarter_of_them(void **state)
{
    enum { FEW_FIELDS = 25 };
    (void)state;
    for (unsigned rows = 4; rows <= 5; rows++) {
        struct buf few;
        buf_init(&few, TEXT_MAX);
        for (unsigned row = 0; row < rows; row++) {
            buf_printf(&few, "{\"_timestamp\":%u", row + 1);
            for (unsigned i = row; i < FEW_FIELDS; i += rows) {
                buf_printf(&few, ",\"f%03u\":", i);
                add_value(&few, i, row + 1);
            }
            buf_add_cstr(&few, "}\n");
        }
        struct sealed s = seal_lines(buf_str(&few), columns.data);
        assert_int_equal(rare_count(&s), rows == 4 ? 0 : FEW_FIELDS - RARE_COLUMNS_KEPT);
        expect_text(&s, "\"group\":0", buf_str(&few));
        sealed_done(&s);
        buf_done(&few);
    }
}

static void the_text_is_the_lines_whichever_rows_are_asked_for(void **state)
{
    (void)state;
    struct buf some;
    buf_init(&some, TEXT_MAX);
    expect_text(&sealed, "\"group\":0", buf_str(&lines));
    add_rows(&some, 2500, 100);
    expect_text(&sealed, "\"first_row\":2500,\"rows\":100", buf_str(&some));
    buf_done(&some);
}

/* ---- queries ---- */

static void sealed_rows_answer_like_their_lines(void **state)
{
    static const char *const queries[] = {
        "select * from weir_t0 where z % 400 = 0 order by _timestamp",
        "select count(f394), count(f395), count(f396), count(f397), count(f398) from weir_t0",
        "select sum(f396), max(f397), bool_or(f398), min(f394), max(f395) from weir_t0",
        "select f300, f301, f302, f303, f304, z from weir_t0 where f300 is not null or f301 < -9 "
        "order by z",
        "select f395, count(*) from weir_t0 group by f395 order by 1, 2",
        "select z from weir_t0 where str_match(f390, 'é 1') order by z",
        "select typeof(f394), typeof(f395), typeof(f396), typeof(f397), typeof(f398) "
        "from weir_t0 limit 1",
    };
    struct buf before, after;
    const struct sealed *files[] = {&sealed};
    (void)state;
    buf_init(&before, TEXT_MAX);
    buf_init(&after, TEXT_MAX);
    engine_fixture_file(&fixture, "rare.ndjson", buf_str(&lines));
    add_line_table(&before, columns.data, "rare.ndjson", "");
    add_sealed_table(&after, columns.data, files, 1, true, "");
    for (size_t i = 0; i < ARRAY_LEN(queries); i++)
        expect_same_answer(queries[i], &before, &after);
    buf_done(&before);
    buf_done(&after);
}

static const char *wider_type(unsigned field)
{
    static const char *const of_flags[] = {"Utf8", "Int64", "UInt64", "Float64"};
    if (field % KINDS == 3)
        return of_flags[field / KINDS % ARRAY_LEN(of_flags)];
    return field % KINDS == 1 && field % 2 ? "Float64" : "Utf8";
}

static void a_field_that_was_widened_reads_as_its_lines_would(void **state)
{
    struct buf before, after, wider;
    const struct sealed *files[] = {&sealed};
    (void)state;
    buf_init(&before, TEXT_MAX);
    buf_init(&after, TEXT_MAX);
    buf_init(&wider, TEXT_MAX);
    describe(&wider, wider_type);
    engine_fixture_file(&fixture, "rare.ndjson", buf_str(&lines));
    add_line_table(&before, wider.data, "rare.ndjson", "");
    add_sealed_table(&after, wider.data, files, 1, true, "");
    expect_same_answer("select * from weir_t0 order by _timestamp", &before, &after);
    buf_done(&before);
    buf_done(&after);
    buf_done(&wider);
}

/* ---- more fields than columns ---- */

enum { EXTRA = 300, MANY = RARE_PAST_COLUMNS + EXTRA, FULL_ROWS = 4 };

/* Every row has every field; the time is the last of them. */
static void add_full_rows(struct buf *out)
{
    for (unsigned row = 1; row <= FULL_ROWS; row++) {
        buf_add_char(out, '{');
        for (unsigned i = 0; i < MANY; i++) {
            buf_printf(out, "\"f%03u\":", i);
            if (kind_of(i) == kinds[2] && row == 1)
                buf_add_cstr(out, "-0.0");
            else
                add_value(out, i, row);
            buf_add_char(out, ',');
        }
        buf_printf(out, "\"_timestamp\":%u}\n", 1000 + row);
    }
}

static void fields_past_so_many_columns_are_rare_too(void **state)
{
    static const char *const queries[] = {
        "select * from weir_t0 order by _timestamp",
        "select count(f4390), sum(f4391), max(f4392), bool_or(f4393), max(f4394) from weir_t0",
    };
    struct buf full, many, before, after;
    (void)state;
    buf_init(&full, TEXT_MAX);
    buf_init(&many, TEXT_MAX);
    buf_init(&before, TEXT_MAX);
    buf_init(&after, TEXT_MAX);
    add_full_rows(&full);
    buf_add_char(&many, '[');
    describe_fields(&many, MANY, kind_of);
    buf_add_cstr(&many, "[\"_timestamp\",\"Int64\",9000]]");
    struct sealed s = seal_lines(buf_str(&full), many.data);
    const struct sealed *files[] = {&s};
    assert_int_equal(rare_count(&s), EXTRA);
    expect_text(&s, "\"group\":0", buf_str(&full));
    engine_fixture_file(&fixture, "full.ndjson", buf_str(&full));
    add_line_table(&before, many.data, "full.ndjson", "");
    add_sealed_table(&after, many.data, files, 1, true, "");
    for (size_t i = 0; i < ARRAY_LEN(queries); i++)
        expect_same_answer(queries[i], &before, &after);
    sealed_done(&s);
    buf_done(&full);
    buf_done(&many);
    buf_done(&before);
    buf_done(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_found_by_its_whole_name),
        cmocka_unit_test(all_but_the_first_rare_fields_share_a_column),
        cmocka_unit_test(one_of_five_rows_is_less_than_a_quarter_of_them),
        cmocka_unit_test(the_text_is_the_lines_whichever_rows_are_asked_for),
        cmocka_unit_test(sealed_rows_answer_like_their_lines),
        cmocka_unit_test(a_field_that_was_widened_reads_as_its_lines_would),
        cmocka_unit_test(fields_past_so_many_columns_are_rare_too),
    };
    return cmocka_run_group_tests(tests, seal_all, forget_all);
}
