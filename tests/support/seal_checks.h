/* tests/support/seal_checks.h - what the tests of sealing share: lines of all types, tables over
 * what was sealed from them, and checks of answers and texts.
 *
 * One engine a test program, the group's.  Include after <cmocka.h>.
 */
#ifndef WEIR_TESTS_SUPPORT_SEAL_CHECKS_H
#define WEIR_TESTS_SUPPORT_SEAL_CHECKS_H

#include "base/cleanup.h"
#include "tests/support/seal_fixture.h"

enum { MEMORY_BYTES = 512 << 20, QUERIES = 2, TEXT_MAX = 64 << 20 };

static struct engine_fixture fixture;

static inline int start_engine(void **state)
{
    (void)state;
    return engine_fixture_start(&fixture, MEMORY_BYTES, QUERIES) ? 0 : -1;
}

static inline int stop_engine(void **state)
{
    (void)state;
    return engine_fixture_stop(&fixture);
}

static inline struct sealed seal_lines(struct str lines, const char *columns)
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
static inline void add_columns(struct buf *out, const char *triples)
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

static inline void add_schema(struct buf *out, const struct sealed *s)
{
    buf_add_char(out, '[');
    const struct json *list = json_get(s->facts, "columns");
    for (const struct json *c = list->first; c; c = c->next) {
        if (c != list->first)
            buf_add_char(out, ',');
        buf_printf(out, "[\"" STR_FMT "\",\"" STR_FMT "\"%s]",
                   STR_ARG(json_str(json_at(c, 0), STR(""))),
                   STR_ARG(json_str(json_at(c, 1), STR(""))), json_at(c, 3) ? ",\"rare\"" : "");
    }
    buf_add_char(out, ']');
}

/* The table weir_t0 over sealed files, each of schema 0 or of its own. */
static inline void add_sealed_table(struct buf *out, const char *columns,
                                    const struct sealed *const *files, size_t count,
                                    bool one_schema, const char *more)
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

static inline void add_line_table(struct buf *out, const char *columns, const char *file,
                                  const char *more)
{
    buf_add_cstr(out, "[{\"name\":\"weir_t0\",\"columns\":[");
    add_columns(out, columns);
    buf_printf(out, "],\"files\":[{\"path\":\"%s/%s\",\"format\":\"ndjson\"}]%s}]", fixture.mount,
               file, more);
}

static inline struct engine_answer answer_of(const char *sql, const struct buf *tables)
{
    struct engine_answer a;
    if (engine_ask(&fixture, sql, tables->data, "", &a) != ERR_OK)
        fail_msg("%s: %s", sql, a.error.msg);
    return a;
}

static inline void expect_same_answer(const char *sql, const struct buf *before,
                                      const struct buf *after)
{
    struct engine_answer a = answer_of(sql, before), b = answer_of(sql, after);
    if (!str_eq(buf_str(&a.rows), buf_str(&b.rows)) ||
        !str_eq(buf_str(&a.columns), buf_str(&b.columns)))
        fail_msg("%s:\nlines\n%s\n%.3000s\nsealed\n%s\n%.3000s", sql, a.columns.data, a.rows.data,
                 b.columns.data, b.rows.data);
    engine_answer_done(&a);
    engine_answer_done(&b);
}

static inline void expect_answer(const char *sql, const struct buf *tables, const char *rows)
{
    struct engine_answer a = answer_of(sql, tables);
    assert_string_equal(a.rows.data ? a.rows.data : "", rows);
    engine_answer_done(&a);
}

static inline void expect_text(const struct sealed *s, const char *range, struct str want)
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

/* ---- the rows ---- */

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

static inline void add_many_lines(struct buf *lines, unsigned from, unsigned count)
{
    for (unsigned i = from; i < from + count; i++)
        buf_printf(lines, "{\"_timestamp\":%u,\"level\":\"%s\",\"n\":%u}\n", 1000000 + i,
                   i % 3 ? "info" : "warn", i * 7 % 1000);
}

#define MANY_COLUMNS "[[\"_timestamp\",\"Int64\",1],[\"level\",\"Utf8\",2],[\"n\",\"Int64\",3]]"

static const char CPU_LINES[] =
    "{\"_timestamp\":20,\"__name__\":\"cpu\",\"host\":\"b\",\"value\":1.5}\n"
    "{\"_timestamp\":10,\"__name__\":\"cpu\",\"host\":\"a\\\"q\",\"Job\":\"x\",\"value\":\"NaN\"}\n"
    "{\"_timestamp\":10,\"__name__\":\"cpu\",\"host\":\"b\",\"value\":\"Stale\"}\n";
static const char ALERTS_LINES[] =
    "{\"_timestamp\":15,\"__name__\":\"alerts\",\"value\":\"+Inf\"}\n"
    "{\"_timestamp\":5,\"__name__\":\"alerts\",\"value\":-0.0}\n";

static inline struct sealed seal_metrics(void)
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

#endif
