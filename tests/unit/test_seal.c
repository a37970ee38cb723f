// links: weir_engine
/* tests/unit/test_seal.c - lines become Parquet by a real engine process: the same rows come back,
 * as answers and as text, and whatever is wrong leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>

#include "base/cleanup.h"
#include "base/file_sum.h"
#include "base/utf8.h"
#include "gateway/engine/text_form.h"
#include "tests/support/seal_fixture.h"

enum { MEMORY_BYTES = 512 << 20, QUERIES = 2, TEXT_MAX = 64 << 20 };

static struct engine_fixture fixture;

static int start_engine(void **state)
{
    (void)state;
    return engine_fixture_start(&fixture, MEMORY_BYTES, QUERIES) ? 0 : -1;
}

static int stop_engine(void **state)
{
    (void)state;
    return engine_fixture_stop(&fixture);
}

/* ---- helpers ---- */

static size_t staged_files(void)
{
    size_t count = 0;
    DIR *dir = opendir(fixture.staging);
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir));)
        count += d->d_name[0] != '.' && !strstr(d->d_name, ".sum");
    closedir(dir);
    return count;
}

static struct sealed seal_lines(struct str lines, const char *columns)
{
    struct sealed s;
    struct err e = {0};
    struct seal_source_spec source = {lines, NULL};
    struct seal_spec spec = {columns, &source, 1, 0};
    if (seal_fixture_seal(&fixture, &spec, &s, &e) != ERR_OK)
        fail_msg("seal: %s", e.msg);
    return s;
}

/* The stream's columns as RUN wants them, from [["a","Int64",1],...]. */
static void add_columns(struct buf *out, const char *triples)
{
    struct arena a;
    struct err e;
    struct json *list;
    arena_init(&a, TEXT_MAX);
    assert_int_equal(json_parse(str_from(triples), &a, &list, &e), ERR_OK);
    for (const struct json *c = list->first; c; c = c->next)
        buf_printf(out, "%s{\"name\":\"" STR_FMT "\",\"type\":\"" STR_FMT "\"}",
                   c == list->first ? "" : ",", STR_ARG(json_str(json_at(c, 0), STR(""))),
                   STR_ARG(json_str(json_at(c, 1), STR(""))));
    arena_done(&a);
}

static void add_schema(struct buf *out, const struct sealed *s)
{
    buf_add_char(out, '[');
    const struct json *list = json_get(s->facts, "columns");
    for (const struct json *c = list->first; c; c = c->next) {
        if (c != list->first)
            buf_add_char(out, ',');
        buf_printf(out, "[\"" STR_FMT "\",\"" STR_FMT "\"]",
                   STR_ARG(json_str(json_at(c, 0), STR(""))),
                   STR_ARG(json_str(json_at(c, 1), STR(""))));
    }
    buf_add_char(out, ']');
}

/* The table weir_t0 over sealed files, each of schema 0 or of its own. */
static void add_sealed_table(struct buf *out, const char *columns,
                             const struct sealed *const *files, size_t count, bool one_schema,
                             const char *more)
{
    buf_add_cstr(out, "[{\"name\":\"weir_t0\",\"columns\":[");
    add_columns(out, columns);
    buf_add_cstr(out, "],\"schemas\":[");
    for (size_t i = 0; i < (one_schema ? 1 : count); i++) {
        buf_add_cstr(out, i > 0 ? "," : "");
        add_schema(out, files[i]);
    }
    buf_add_cstr(out, "],\"files\":[");
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s{\"path\":\"%s\",\"format\":\"parquet\",\"schema\":%zu}",
                   i > 0 ? "," : "", files[i]->parquet, one_schema ? 0 : i);
    buf_printf(out, "]%s}]", more);
}

static void add_line_table(struct buf *out, const char *columns, const char *file, const char *more)
{
    buf_add_cstr(out, "[{\"name\":\"weir_t0\",\"columns\":[");
    add_columns(out, columns);
    buf_printf(out, "],\"files\":[{\"path\":\"%s/%s\",\"format\":\"ndjson\"}]%s}]", fixture.mount,
               file, more);
}

static struct engine_answer answer_of(const char *sql, const struct buf *tables)
{
    struct engine_answer a;
    if (engine_ask(&fixture, sql, tables->data, "", &a) != ERR_OK)
        fail_msg("%s: %s", sql, a.error.msg);
    return a;
}

static void expect_same_answer(const char *sql, const struct buf *before, const struct buf *after)
{
    struct engine_answer a = answer_of(sql, before), b = answer_of(sql, after);
    if (!str_eq(buf_str(&a.rows), buf_str(&b.rows)) ||
        !str_eq(buf_str(&a.columns), buf_str(&b.columns)))
        fail_msg("%s:\nlines\n%s\n%.3000s\nsealed\n%s\n%.3000s", sql, a.columns.data, a.rows.data,
                 b.columns.data, b.rows.data);
    engine_answer_done(&a);
    engine_answer_done(&b);
}

static void expect_answer(const char *sql, const struct buf *tables, const char *rows)
{
    struct engine_answer a = answer_of(sql, tables);
    assert_string_equal(a.rows.data ? a.rows.data : "", rows);
    engine_answer_done(&a);
}

static void expect_text(const struct sealed *s, const char *range, struct str want)
{
    struct buf text;
    struct err e = {0};
    buf_init(&text, TEXT_MAX);
    if (seal_fixture_text(&fixture, s->parquet, range, &text, &e) != ERR_OK)
        fail_msg("text: %s", e.msg);
    if (!str_eq(buf_str(&text), want))
        fail_msg("got\n%.3000s\nnot\n%.3000s", text.data ? text.data : "", want.ptr);
    buf_done(&text);
}

/* ---- the same rows ---- */

#define ALL_COLUMNS                                                                                \
    "[[\"_timestamp\",\"Int64\",1],[\"b\",\"Boolean\",2],[\"f\",\"Float64\",3],"                   \
    "[\"i\",\"Int64\",4],[\"level\",\"Utf8\",5],[\"never\",\"Utf8\",6],[\"u\",\"UInt64\",7]]"

/* Each line in the order of the columns, sorted by time: its own text form. */
static const char ALL_LINES[] =
    "{\"_timestamp\":1,\"b\":true,\"f\":0.1,\"i\":-7,\"level\":\"info\",\"u\":18446744073709551615}"
    "\n"
    "{\"_timestamp\":2,\"b\":false,\"f\":-0.0,\"i\":9223372036854775807,\"level\":\"\"}\n"
    "{\"_timestamp\":2,\"f\":1e300,\"i\":-9223372036854775808,\"level\":\"\\u0000\\t\\\"\\\\ é "
    "\xf0\x9f\x8c\x8a\",\"u\":0}\n"
    "{\"_timestamp\":3}\n"
    "{\"_timestamp\":4,\"f\":1e-6,\"level\":\"NULL\",\"u\":9223372036854775808}\n"
    "{\"_timestamp\":5,\"f\":123456789.125,\"level\":\"{\\\"a\\\":[1,null]}\"}\n"
    "{\"_timestamp\":6,\"f\":5.0,\"i\":0,\"level\":\"info\",\"u\":1}\n";

static void a_sealed_file_answers_like_its_lines(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "select * from weir_t0 order by _timestamp, level",
        "select count(*), count(b), count(f), count(i), count(u), count(never) from weir_t0",
        "select level, count(*), sum(f), max(u), min(i) from weir_t0 group by level order by level",
        "select _timestamp from weir_t0 where u > 9223372036854775807 order by 1",
        "select sum(u), sum(i) from weir_t0",
        "select _timestamp, u + 1, i / 2, f * 2 from weir_t0 order by 1, 2",
        "select _timestamp from weir_t0 where level = 'info' and b",
        "select typeof(b), typeof(f), typeof(i), typeof(u), typeof(never) from weir_t0 limit 1",
        "select _timestamp, level from weir_t0 where str_match(level, 'n') order by 1",
        "select a._timestamp, b.u from weir_t0 a join weir_t0 b using (level) order by 1, 2",
        "select * from weir_t0 where _timestamp >= 2 and _timestamp < 5 order by _timestamp, level",
    };
    struct buf before, after;
    struct sealed s = seal_lines(str_from(ALL_LINES), ALL_COLUMNS);
    buf_init(&before, TEXT_MAX);
    buf_init(&after, TEXT_MAX);
    engine_fixture_file(&fixture, "all.ndjson", str_from(ALL_LINES));
    for (int bounded = 0; bounded < 2; bounded++) {
        const char *more = bounded ? ",\"start_us\":2,\"end_us\":5" : "";
        const struct sealed *files[] = {&s};
        buf_clear(&before);
        buf_clear(&after);
        add_line_table(&before, ALL_COLUMNS, "all.ndjson", more);
        add_sealed_table(&after, ALL_COLUMNS, files, 1, true, more);
        for (size_t i = 0; i < ARRAY_LEN(queries); i++)
            expect_same_answer(queries[i], &before, &after);
    }
    buf_done(&before);
    buf_done(&after);
    sealed_done(&s);
}

static void the_text_of_a_file_is_its_lines(void **state)
{
    (void)state;
    struct sealed s = seal_lines(str_from(ALL_LINES), ALL_COLUMNS);
    struct str all = str_from(ALL_LINES), head, rest;
    str_cut(all, '\n', &head, &rest);
    expect_text(&s, "\"group\":0", all);
    expect_text(&s, "\"first_row\":0,\"rows\":1", (struct str){all.ptr, head.len + 1});
    expect_text(&s, "\"first_row\":1,\"rows\":1000", rest);
    expect_text(&s, "\"first_row\":7,\"rows\":1", STR(""));
    uint64_t bytes = 0;
    assert_true(json_u64(json_get(s.facts, "text_bytes"), &bytes) && bytes == all.len);
    sealed_done(&s);
}

static void every_code_point_is_sealed_and_comes_back_byte_for_byte(void **state)
{
    (void)state;
    struct buf lines;
    buf_init(&lines, TEXT_MAX);
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        char utf8[4];
        if (cp >= 0xD800 && cp <= 0xDFFF)
            continue;
        if (cp % 4096 == 0)
            buf_printf(&lines, "{\"_timestamp\":%u,\"s\":\"", cp / 4096 + 1);
        static const char shorts[] = "\b\f\n\r\t";
        const char *letter = cp > 0 && cp < 0x20 ? strchr(shorts, (int)cp) : NULL;
        if (letter)
            buf_printf(&lines, "\\%c", "bfnrt"[letter - shorts]);
        else if (cp < 0x20)
            buf_printf(&lines, "\\u%04x", cp);
        else if (cp == '"' || cp == '\\')
            buf_printf(&lines, "\\%c", (int)cp);
        else
            buf_add(&lines, utf8, utf8_encode(cp, utf8));
        if (cp % 4096 == 4095 || cp == 0xD7FF)
            buf_add_cstr(&lines, "\"}\n");
    }
    struct str text = buf_str(&lines);
    struct sealed s = seal_lines(text, "[[\"_timestamp\",\"Int64\",1],[\"s\",\"Utf8\",2]]");
    expect_text(&s, "\"group\":0", text);
    sealed_done(&s);
    buf_done(&lines);
}

static void lines_out_of_order_are_sorted_by_time_and_keep_their_place(void **state)
{
    (void)state;
    struct sealed s =
        seal_lines(STR("{\"_timestamp\":30,\"a\":1}\n{\"_timestamp\":10,\"a\":2}\n{\"a\":3,\"_"
                       "timestamp\":30}\n"
                       "{\"a\":4,\"_timestamp\":20}\n{\"_timestamp\":10,\"a\":5}\n"),
                   "[[\"_timestamp\",\"Int64\",1],[\"a\",\"Int64\",2]]");
    expect_text(&s, "\"group\":0",
                STR("{\"_timestamp\":10,\"a\":2}\n{\"_timestamp\":10,\"a\":5}\n"
                    "{\"_timestamp\":20,\"a\":4}\n{\"_timestamp\":30,\"a\":1}\n"
                    "{\"_timestamp\":30,\"a\":3}\n"));
    sealed_done(&s);
}

/* ---- widened fields ---- */

static const struct {
    const char *stored, *wider; /* types */
    const char *values;         /* of the stored type, as lines have them */
} WIDENED[] = {
    {"Boolean", "Int64", "true,false"},
    {"Boolean", "UInt64", "true,false"},
    {"Boolean", "Float64", "true,false"},
    {"Boolean", "Utf8", "true,false"},
    {"Int64", "UInt64", "0,-1,9223372036854775807,-9223372036854775808"},
    {"Int64", "Float64", "0,-1,9223372036854775807,-9223372036854775808,9007199254740993"},
    {"Int64", "Utf8", "0,-1,9223372036854775807,-9223372036854775808"},
    {"UInt64", "Float64", "0,18446744073709551615,9223372036854775809,18014398509481987"},
    {"UInt64", "Float64", "-18014398509481987,18446744073709551615"},
    {"UInt64", "Utf8", "0,18446744073709551615"},
    {"UInt64", "Utf8", "-5,18446744073709551615"},
    {"UInt64", "Utf8", "-5,7"},
    {"Float64", "Utf8",
     "0.0,-0.0,0.1,1e16,1e-6,1.5,-2.5e-7,123456789012345.6,1.7976931348623157e308,5e-324,100.0"},
    {"Float64", "Float64", "0.1,1e16,0.30000000000000004"},
    {"UInt64", "UInt64", "-5,18446744073709551615,0"},
};

static void a_field_widened_later_reads_as_its_lines_do(void **state)
{
    (void)state;
    struct buf lines, before, after;
    buf_init(&lines, TEXT_MAX);
    buf_init(&before, TEXT_MAX);
    buf_init(&after, TEXT_MAX);
    for (size_t i = 0; i < ARRAY_LEN(WIDENED); i++) {
        char stored[128], wider[128];
        struct str value, rest = str_from(WIDENED[i].values);
        static const char form[] = "[[\"_timestamp\",\"Int64\",1],[\"v\",\"%s\",2]]";
        snprintf(stored, sizeof stored, form, WIDENED[i].stored);
        snprintf(wider, sizeof wider, form, WIDENED[i].wider);
        buf_clear(&lines);
        buf_clear(&before);
        buf_clear(&after);
        for (int ts = 1; rest.len > 0; ts++) {
            str_cut(rest, ',', &value, &rest);
            buf_printf(&lines, "{\"_timestamp\":%d,\"v\":" STR_FMT "}\n", ts, STR_ARG(value));
        }
        struct sealed s = seal_lines(buf_str(&lines), stored);
        const struct sealed *files[] = {&s};
        engine_fixture_file(&fixture, "widened.ndjson", buf_str(&lines));
        add_line_table(&before, wider, "widened.ndjson", "");
        add_sealed_table(&after, wider, files, 1, true, "");
        expect_text(&s, "\"group\":0", buf_str(&lines));
        expect_same_answer("select *, typeof(v) from weir_t0 order by _timestamp", &before, &after);
        sealed_done(&s);
    }
    buf_done(&lines);
    buf_done(&before);
    buf_done(&after);
}

#define WIDE_COLUMNS "[[\"_timestamp\",\"Int64\",1],[\"u\",\"UInt64\",2]]"

static void files_that_store_wide_integers_differently_are_read_together(void **state)
{
    (void)state;
    static const char *const values[] = {"18446744073709551615", "-5", "-9223372036854775808"};
    static const char *const orders[] = {"012", "120", "201", "021", "102", "210"};
    struct sealed s[3];
    struct buf tables;
    buf_init(&tables, TEXT_MAX);
    for (int i = 0; i < 3; i++) {
        char lines[160];
        int n = snprintf(lines, sizeof lines, "{\"_timestamp\":%d,\"u\":%s}\n%s", i + 1, values[i],
                         i < 2 ? "" : "{\"_timestamp\":9,\"u\":18446744073709551614}\n");
        s[i] = seal_lines((struct str){lines, (size_t)n}, WIDE_COLUMNS);
    }
    for (size_t o = 0; o < ARRAY_LEN(orders); o++) {
        const struct sealed *files[3];
        for (int i = 0; i < 3; i++)
            files[i] = &s[orders[o][i] - '0'];
        buf_clear(&tables);
        add_sealed_table(&tables, WIDE_COLUMNS, files, 3, true, "");
        expect_answer("select u from weir_t0 order by _timestamp", &tables,
                      "18446744073709551615\n-5\n-9223372036854775808\n18446744073709551614\n");
        expect_answer("select count(*) from weir_t0 where u < 0", &tables, "2\n");
    }
    buf_done(&tables);
    for (int i = 0; i < 3; i++)
        sealed_done(&s[i]);
}

static void a_field_that_a_file_lacks_is_null(void **state)
{
    (void)state;
    static const char columns[] =
        "[[\"_timestamp\",\"Int64\",1],[\"a\",\"Utf8\",2],[\"z\",\"UInt64\",3]]";
    struct sealed s[] = {seal_lines(STR("{\"_timestamp\":1,\"a\":\"x\"}\n"), columns),
                         seal_lines(STR("{\"_timestamp\":2,\"z\":7}\n"), columns)};
    const struct sealed *files[] = {&s[0], &s[1]};
    struct buf tables;
    buf_init(&tables, TEXT_MAX);
    assert_int_equal(json_get(s[0].facts, "columns")->count, 2);
    add_sealed_table(&tables, columns, files, 2, false, "");
    expect_answer("select * from weir_t0 order by 1", &tables, "1|x|NULL\n2|NULL|7\n");
    buf_done(&tables);
    sealed_done(&s[0]);
    sealed_done(&s[1]);
}

/* ---- what is refused ---- */

static void lines_that_cannot_be_sealed_whole_are_corrupt_and_leave_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *lines, *says;
        int64_t extra_rows;
    } cases[] = {
        {"{\"_timestamp\":1,\"i\":\"text\"}\n", "'i' is no Int64", 0},
        {"{\"_timestamp\":1,\"i\":1.5}\n", "'i' is no Int64", 0},
        {"{\"_timestamp\":1,\"i\":9223372036854775808}\n", "'i' is no Int64", 0},
        {"{\"_timestamp\":1}\n{\"_timestamp\":2,\"b\":2}\n", "line 2", 0},
        {"{\"_timestamp\":1,\"u\":18446744073709551616}\n", "'u' is no UInt64", 0},
        {"{\"_timestamp\":1,\"f\":\"x\"}\n", "'f' is no Float64", 0},
        {"{\"_timestamp\":1,\"unknown\":5}\n", "schema lacks", 0},
        {"{\"i\":5}\n", "no _timestamp", 0},
        {"not json\n", "line 1", 0},
        {"{\"_timestamp\":1}\n", "where the journal has 2", 1},
        {"{\"_timestamp\":1}\n{\"_timestamp\":2}\n", "where the journal has 1", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sealed s;
        struct err e = {0};
        struct seal_source_spec source = {str_from(cases[i].lines), NULL};
        struct seal_spec spec = {ALL_COLUMNS, &source, 1, cases[i].extra_rows};
        assert_int_equal(seal_fixture_seal(&fixture, &spec, &s, &e), ERR_CORRUPT);
        if (!strstr(e.msg, cases[i].says) || !strstr(e.msg, ".ndjson"))
            fail_msg("'%s' says nothing of '%s'", e.msg, cases[i].says);
        sealed_done(&s);
    }
    assert_int_equal(staged_files(), 0);
}

static void only_files_of_the_mount_are_sealed_or_shown(void **state)
{
    (void)state;
    static const struct {
        enum wire_message kind;
        const char *body;
    } cases[] = {
        {WIRE_TEXT, "{\"path\":\"/etc/passwd\",\"group\":0}"},
        {WIRE_TEXT, "{\"path\":\"%s/../staging/x.parquet\",\"group\":0}"},
        {WIRE_TEXT, "{\"path\":\"%s/missing.parquet\",\"group\":0}"},
        {WIRE_TEXT, "{\"path\":\"%s/missing.parquet\"}"},
        {WIRE_TEXT, "[]"},
        {WIRE_TEXT, ""},
        {WIRE_SEAL, "{}"},
        {WIRE_SEAL, "{\"part\":\"../../etc/x\"}"},
        {WIRE_FACTS, "/etc/passwd"},
        {WIRE_FACTS, "%s/missing.parquet"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char body[512];
        struct err e = {0};
        struct buf out;
        const char *hole = strstr(cases[i].body, "%s");
        int before = hole ? (int)(hole - cases[i].body) : (int)strlen(cases[i].body);
        int n = snprintf(body, sizeof body, "%.*s%s%s", before, cases[i].body,
                         hole ? fixture.mount : "", hole ? hole + 2 : "");
        buf_init(&out, TEXT_MAX);
        if (seal_fixture_ask(&fixture, cases[i].kind, (struct str){body, (size_t)n}, WIRE_END, &out,
                             &e) == ERR_OK)
            fail_msg("'%s' was answered", body);
        buf_done(&out);
    }
}

/* ---- the file ---- */

static void the_side_file_and_the_metadata_say_what_was_sealed(void **state)
{
    (void)state;
    struct sealed s = seal_lines(str_from(ALL_LINES), ALL_COLUMNS);
    char sum_path[PATH_MAX];
    struct file_sum sum;
    struct err e = {0};
    struct buf facts, hex;
    snprintf(sum_path, sizeof sum_path, "%s/%s.sum", fixture.staging, s.id);
    AUTO_FD int sum_fd = open(sum_path, O_RDONLY | O_CLOEXEC);
    AUTO_FD int fd = open(s.parquet, O_RDONLY | O_CLOEXEC);
    assert_true(sum_fd >= 0 && fd >= 0);
    assert_int_equal(file_sum_read(sum_fd, &sum, &e), ERR_OK);
    assert_int_equal(file_sum_check(fd, &sum, &e), ERR_OK);
    buf_init(&hex, 65);
    for (int i = 0; i < 32; i++)
        buf_printf(&hex, "%02x", sum.sha256[i]);
    assert_true(str_eq(json_str(json_get(s.facts, "sha256"), STR("")), buf_str(&hex)));
    file_sum_done(&sum);
    buf_done(&hex);
    buf_init(&facts, TEXT_MAX);
    assert_int_equal(
        seal_fixture_ask(&fixture, WIRE_FACTS, str_from(s.parquet), WIRE_FACTS_ARE, &facts, &e),
        ERR_OK);
    /* The file knows all but its own size and checksum. */
    static const char tail[] = ",\"stored_bytes\":";
    const char *cut = strstr(s.part.data, tail);
    assert_non_null(cut);
    assert_int_equal(facts.len, (size_t)(cut - s.part.data) + 1);
    assert_memory_equal(facts.data, s.part.data, facts.len - 1);
    buf_done(&facts);
    sealed_done(&s);
}

static void the_sum_of_the_text_does_not_depend_on_the_order_of_lines(void **state)
{
    (void)state;
    static const char columns[] = "[[\"_timestamp\",\"Int64\",1],[\"a\",\"Utf8\",2]]";
    struct sealed s[] = {
        seal_lines(STR("{\"_timestamp\":1,\"a\":\"x\"}\n{\"_timestamp\":1,\"a\":\"y\"}\n"),
                   columns),
        seal_lines(STR("{\"a\":\"y\",\"_timestamp\":1}\n{\"_timestamp\":1,\"a\":\"x\"}\n"),
                   columns),
        seal_lines(STR("{\"_timestamp\":1,\"a\":\"x\"}\n{\"_timestamp\":1,\"a\":\"z\"}\n"),
                   columns),
    };
    struct str sums[3];
    for (int i = 0; i < 3; i++)
        sums[i] = json_str(json_get(s[i].facts, "text_sum"), STR(""));
    assert_true(sums[0].len == 16 && str_eq(sums[0], sums[1]) && !str_eq(sums[0], sums[2]));
    for (int i = 0; i < 3; i++)
        sealed_done(&s[i]);
}

static void names_that_mean_something_to_duckdb_are_only_names(void **state)
{
    (void)state;
    static const char columns[] =
        "[[\"_timestamp\",\"Int64\",1],[\"file_row_number\",\"Int64\",2],[\"filename\",\"Utf8\",3],"
        "[\"labels\",\"Utf8\",4],[\"select\",\"Utf8\",5],[\"a\\\"b'c\",\"Utf8\",6]]";
    static const char lines[] =
        "{\"_timestamp\":1,\"file_row_number\":100,\"filename\":\"f\",\"labels\":\"l\","
        "\"select\":\"s\",\"a\\\"b'c\":\"q\"}\n{\"_timestamp\":2,\"file_row_number\":0}\n";
    struct sealed s = seal_lines(str_from(lines), columns);
    struct str first, second;
    str_cut(str_from(lines), '\n', &first, &second);
    expect_text(&s, "\"group\":0", str_from(lines));
    expect_text(&s, "\"first_row\":1,\"rows\":1", second);
    sealed_done(&s);
}

static void paths_that_mean_something_to_duckdb_are_only_paths(void **state)
{
    (void)state;
    struct sealed s = seal_lines(str_from(ALL_LINES), ALL_COLUMNS);
    const struct sealed *files[] = {&s};
    char dir[PATH_MAX], moved[PATH_MAX];
    struct buf tables;
    snprintf(dir, sizeof dir, "%s/level=x [a-b]*?", fixture.mount);
    assert_true(snprintf(moved, sizeof moved, "%s/it's.parquet", dir) < (int)sizeof moved);
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(rename(s.parquet, moved), 0);
    memcpy(s.parquet, moved, sizeof moved);
    expect_text(&s, "\"group\":0", str_from(ALL_LINES));
    buf_init(&tables, TEXT_MAX);
    add_sealed_table(&tables, ALL_COLUMNS, files, 1, true, "");
    expect_answer("select level from weir_t0 where _timestamp = 1", &tables, "info\n");
    buf_done(&tables);
    sealed_done(&s);
}

/* ---- many rows ---- */

static void add_many_lines(struct buf *lines, unsigned from, unsigned count)
{
    for (unsigned i = from; i < from + count; i++)
        buf_printf(lines, "{\"_timestamp\":%u,\"level\":\"%s\",\"n\":%u}\n", 1000000 + i,
                   i % 3 ? "info" : "warn", i * 7 % 1000);
}

#define MANY_COLUMNS "[[\"_timestamp\",\"Int64\",1],[\"level\",\"Utf8\",2],[\"n\",\"Int64\",3]]"

static void row_groups_are_rendered_alone_and_cut_by_time(void **state)
{
    (void)state;
    enum { GROUP = 131072, ROWS = 2 * GROUP + 500 };
    struct buf lines, group, tables;
    buf_init(&lines, TEXT_MAX);
    buf_init(&group, TEXT_MAX);
    buf_init(&tables, TEXT_MAX);
    add_many_lines(&lines, 0, ROWS);
    struct sealed s = seal_lines(buf_str(&lines), MANY_COLUMNS);
    const struct sealed *files[] = {&s};
    assert_int_equal(json_get(s.facts, "groups")->count, 3);
    for (unsigned g = 0; g < 3; g++) {
        char range[32];
        uint64_t bytes = 0;
        buf_clear(&group);
        add_many_lines(&group, g * GROUP, g < 2 ? GROUP : 500);
        snprintf(range, sizeof range, "\"group\":%u", g);
        expect_text(&s, range, buf_str(&group));
        assert_true(json_u64(json_at(json_at(json_get(s.facts, "groups"), g), 1), &bytes));
        assert_int_equal(bytes, group.len);
    }
    add_sealed_table(&tables, MANY_COLUMNS, files, 1, true,
                     ",\"start_us\":1000010,\"end_us\":1000020");
    struct engine_answer a = answer_of("select n from weir_t0", &tables);
    assert_int_equal(a.row_count, 10);
    engine_answer_done(&a);
    buf_done(&lines);
    buf_done(&group);
    buf_done(&tables);
    sealed_done(&s);
}

static void lines_and_sealed_files_are_one_table(void **state)
{
    (void)state;
    struct sealed s = seal_lines(STR("{\"_timestamp\":1,\"level\":\"a\",\"n\":1}\n"), MANY_COLUMNS);
    struct buf tables;
    buf_init(&tables, TEXT_MAX);
    engine_fixture_file(&fixture, "rest.ndjson",
                        STR("{\"_timestamp\":2,\"level\":\"b\",\"n\":2}\n"));
    buf_add_cstr(&tables, "[{\"name\":\"weir_t0\",\"columns\":[");
    add_columns(&tables, MANY_COLUMNS);
    buf_add_cstr(&tables, "],\"schemas\":[");
    add_schema(&tables, &s);
    buf_printf(&tables,
               "],\"files\":[{\"path\":\"%s/rest.ndjson\",\"format\":\"ndjson\"},"
               "{\"path\":\"%s\",\"format\":\"parquet\",\"schema\":0}]}]",
               fixture.mount, s.parquet);
    struct engine_answer a = answer_of("select * from weir_t0 order by 1", &tables);
    assert_string_equal(a.rows.data, "1|a|1\n2|b|2\n");
    assert_int_equal(a.scan_rows, 1); /* of lines */
    engine_answer_done(&a);
    buf_done(&tables);
    sealed_done(&s);
}

/* ---- damage ---- */

static void overwrite(const char *path, long at, long count) /* at < 0: from the end */
{
    struct stat st;
    FILE *file = fopen(path, "r+b");
    assert_true(file && stat(path, &st) == 0);
    fseek(file, at < 0 ? (long)st.st_size + at : at, SEEK_SET);
    for (long i = 0; i < count; i++)
        fputc(0xff, file);
    assert_int_equal(fclose(file), 0);
}

/* The query fails for the sake of that file. */
static void expect_blame(const struct buf *tables, const char *path)
{
    struct engine_answer a;
    char prefix[PATH_MAX + 2];
    size_t len = (size_t)snprintf(prefix, sizeof prefix, "%s: ", path);
    enum err_code rc = engine_ask(&fixture, "select * from weir_t0", tables->data, "", &a);
    if (rc != ERR_CORRUPT || strncmp(a.error.msg, prefix, len) != 0)
        fail_msg("%s: %s, not of %s", err_name(rc), a.error.msg, path);
    engine_answer_done(&a);
}

static void a_file_that_cannot_be_read_is_an_error_that_names_it(void **state)
{
    (void)state;
    enum { WHOLE, TRUNCATED, HEADERS, FOOTER, MAGIC, MISSING, DAMAGES };
    for (int damage = TRUNCATED; damage < DAMAGES; damage++) {
        struct sealed s[] = {seal_lines(str_from(ALL_LINES), ALL_COLUMNS),
                             seal_lines(str_from(ALL_LINES), ALL_COLUMNS)};
        const struct sealed *files[] = {&s[0], &s[1]};
        struct buf tables;
        buf_init(&tables, TEXT_MAX);
        add_sealed_table(&tables, ALL_COLUMNS, files, 2, true, "");
        if (damage == TRUNCATED)
            assert_int_equal(truncate(s[1].parquet, 100), 0);
        else if (damage == HEADERS)
            overwrite(s[1].parquet, 4, 200);
        else if (damage == FOOTER)
            overwrite(s[1].parquet, -60, 40);
        else if (damage == MAGIC)
            overwrite(s[1].parquet, -4, 4);
        else
            assert_int_equal(unlink(s[1].parquet), 0);
        expect_blame(&tables, s[1].parquet);
        buf_done(&tables);
        sealed_done(&s[0]);
        sealed_done(&s[1]);
    }
}

static void a_wrong_query_is_blamed_on_no_file(void **state)
{
    (void)state;
    struct sealed s = seal_lines(str_from(ALL_LINES), ALL_COLUMNS);
    const struct sealed *files[] = {&s};
    static const char *const queries[] = {
        "select nothing from weir_t0",
        "select i / 'a' from weir_t0",
        "select level::int from weir_t0",
        "select i - 1 from weir_t0",
        "select regexp_matches(level, '(') from weir_t0",
    };
    struct buf tables;
    buf_init(&tables, TEXT_MAX);
    add_sealed_table(&tables, ALL_COLUMNS, files, 1, true, "");
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        struct engine_answer a;
        assert_int_equal(engine_ask(&fixture, queries[i], tables.data, "", &a), ERR_INVALID);
        engine_answer_done(&a);
    }
    buf_done(&tables);
    sealed_done(&s);
}

/* Damage in the first row group shows what a query reads. */
static void row_groups_outside_of_the_time_range_are_not_read(void **state)
{
    (void)state;
    enum { GROUP = 131072 };
    struct buf lines, late, all;
    buf_init(&lines, TEXT_MAX);
    buf_init(&late, TEXT_MAX);
    buf_init(&all, TEXT_MAX);
    add_many_lines(&lines, 0, 2 * GROUP);
    struct sealed s = seal_lines(buf_str(&lines), MANY_COLUMNS);
    const struct sealed *files[] = {&s};
    add_sealed_table(&all, MANY_COLUMNS, files, 1, true, "");
    add_sealed_table(&late, MANY_COLUMNS, files, 1, true, ",\"start_us\":1200000");
    overwrite(s.parquet, 4, 500);
    expect_answer("select count(n), max(level) from weir_t0", &late, "62144|warn\n");
    expect_answer("select n from weir_t0 where _timestamp = 1200000", &all, "0\n");
    expect_blame(&all, s.parquet);
    buf_done(&lines);
    buf_done(&late);
    buf_done(&all);
    sealed_done(&s);
}

/* ---- metrics ---- */

static const char CPU_LINES[] =
    "{\"_timestamp\":20,\"__name__\":\"cpu\",\"host\":\"b\",\"value\":1.5}\n"
    "{\"_timestamp\":10,\"__name__\":\"cpu\",\"host\":\"a\\\"q\",\"Job\":\"x\",\"value\":\"NaN\"}\n"
    "{\"_timestamp\":10,\"__name__\":\"cpu\",\"host\":\"b\",\"value\":\"Stale\"}\n";
static const char ALERTS_LINES[] =
    "{\"_timestamp\":15,\"__name__\":\"alerts\",\"value\":\"+Inf\"}\n"
    "{\"_timestamp\":5,\"__name__\":\"alerts\",\"value\":-0.0}\n";

static struct sealed seal_metrics(void)
{
    static const struct seal_source_spec sources[] = {
        {{CPU_LINES, sizeof CPU_LINES - 1}, "cpu"},
        {{ALERTS_LINES, sizeof ALERTS_LINES - 1}, "alerts"}};
    struct seal_spec spec = {NULL, sources, 2, 0};
    struct sealed s;
    struct err e = {0};
    if (seal_fixture_seal(&fixture, &spec, &s, &e) != ERR_OK)
        fail_msg("seal: %s", e.msg);
    return s;
}

static void metrics_are_sorted_by_name_series_and_time(void **state)
{
    (void)state;
    struct sealed s = seal_metrics();
    expect_text(&s, "\"group\":0",
                STR("{\"_timestamp\":5,\"__name__\":\"alerts\",\"value\":-0.0}\n"
                    "{\"_timestamp\":15,\"__name__\":\"alerts\",\"value\":\"+Inf\"}\n"
                    "{\"_timestamp\":10,\"__name__\":\"cpu\",\"Job\":\"x\",\"host\":\"a\\\"q\","
                    "\"value\":\"NaN\"}\n"
                    "{\"_timestamp\":10,\"__name__\":\"cpu\",\"host\":\"b\",\"value\":\"Stale\"}\n"
                    "{\"_timestamp\":20,\"__name__\":\"cpu\",\"host\":\"b\",\"value\":1.5}\n"));
    const struct json *names = json_get(s.facts, "names");
    assert_int_equal(names->count, 2);
    const struct json *cpu = json_at(names, 1);
    uint64_t first = 0, rows = 0, bytes = 0, stream = 0;
    json_u64(json_get(cpu, "first_row"), &first);
    json_u64(json_get(cpu, "rows"), &rows);
    json_u64(json_get(cpu, "text_bytes"), &bytes);
    json_u64(json_get(cpu, "stream"), &stream);
    assert_true(str_eq(json_str(json_get(cpu, "name"), STR("")), STR("cpu")));
    assert_true(first == 2 && rows == 3 && stream == 1 && bytes == sizeof CPU_LINES - 1);
    sealed_done(&s);
}

static void add_metric_table(struct buf *out, const struct sealed *s, const char *name)
{
    buf_add_cstr(out, "[{\"name\":\"weir_t0\",\"columns\":[");
    add_columns(out,
                "[[\"_timestamp\",\"Int64\",1],[\"__name__\",\"Utf8\",2],[\"host\",\"Utf8\",3],"
                "[\"job\",\"Utf8\",4],[\"value\",\"Float64\",5]]");
    buf_add_cstr(out, "],\"schemas\":[");
    add_schema(out, s);
    buf_printf(
        out,
        "],\"files\":[{\"path\":\"%s\",\"format\":\"parquet\",\"schema\":0,\"name\":\"%s\"}]}]",
        s->parquet, name);
}

static void the_labels_of_a_metric_are_columns(void **state)
{
    (void)state;
    struct sealed s = seal_metrics();
    struct buf tables;
    buf_init(&tables, TEXT_MAX);
    add_metric_table(&tables, &s, "cpu");
    expect_answer("select * from weir_t0 order by host, _timestamp", &tables,
                  "10|cpu|a\"q|NULL|nan\n10|cpu|b|NULL|nan\n20|cpu|b|NULL|1.5\n");
    expect_answer("select host, count(*) from weir_t0 group by 1 order by 1", &tables,
                  "a\"q|1\nb|2\n");
    buf_clear(&tables);
    add_metric_table(&tables, &s, "alerts");
    expect_answer("select value, host from weir_t0 order by _timestamp", &tables,
                  "-0|NULL\ninf|NULL\n");
    buf_done(&tables);
    sealed_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_file_answers_like_its_lines),
        cmocka_unit_test(the_text_of_a_file_is_its_lines),
        cmocka_unit_test(every_code_point_is_sealed_and_comes_back_byte_for_byte),
        cmocka_unit_test(lines_out_of_order_are_sorted_by_time_and_keep_their_place),
        cmocka_unit_test(a_field_widened_later_reads_as_its_lines_do),
        cmocka_unit_test(files_that_store_wide_integers_differently_are_read_together),
        cmocka_unit_test(a_field_that_a_file_lacks_is_null),
        cmocka_unit_test(lines_that_cannot_be_sealed_whole_are_corrupt_and_leave_nothing),
        cmocka_unit_test(only_files_of_the_mount_are_sealed_or_shown),
        cmocka_unit_test(the_side_file_and_the_metadata_say_what_was_sealed),
        cmocka_unit_test(the_sum_of_the_text_does_not_depend_on_the_order_of_lines),
        cmocka_unit_test(names_that_mean_something_to_duckdb_are_only_names),
        cmocka_unit_test(paths_that_mean_something_to_duckdb_are_only_paths),
        cmocka_unit_test(row_groups_are_rendered_alone_and_cut_by_time),
        cmocka_unit_test(lines_and_sealed_files_are_one_table),
        cmocka_unit_test(a_file_that_cannot_be_read_is_an_error_that_names_it),
        cmocka_unit_test(a_wrong_query_is_blamed_on_no_file),
        cmocka_unit_test(row_groups_outside_of_the_time_range_are_not_read),
        cmocka_unit_test(metrics_are_sorted_by_name_series_and_time),
        cmocka_unit_test(the_labels_of_a_metric_are_columns),
    };
    return cmocka_run_group_tests(tests, start_engine, stop_engine);
}
