// links: weir_gateway weir_fs weir_index
/* tests/unit/test_ingest_write.c - a write to an `ingest` file at the gateway: its lines up to the
 * first bad one, in one batch that says which write it was, or nothing. */
#include "tests/support/ingest_node.h"

#include "base/metrics.h"
#include "gateway/lines.h"

enum { MOUNT = 77, REQUEST = 1234 };

static uint64_t make_stream(struct node *n, const char *name)
{
    const struct catalog_stream *s;
    struct err e;
    assert_int_equal(catalog_make(n->catalog, STR("default"), STREAM_LOGS, str_from(name), &s, &e),
                     ERR_OK);
    uint64_t number = s->number;
    catalog_unref(s);
    return number;
}

static enum err_code write_lines(struct node *n, uint64_t stream, struct str lines,
                                 uint64_t *stored, struct err *e)
{
    struct ingest_write w = {.stream = stream,
                             .org = STR("default"),
                             .name = STR("app"),
                             .lines = lines,
                             .mount = MOUNT,
                             .request = REQUEST};
    *e = (struct err){0};
    return ingest_lines(n->in, &w, stored, e);
}

static void lines_are_stored_in_one_batch_that_names_the_write(void **state)
{
    struct node n;
    struct err e;
    uint64_t stored = 0;
    (void)state;
    node_open(&n);
    uint64_t stream = make_stream(&n, "app");
    assert_int_equal(
        write_lines(&n, stream, STR(TS ",\"a\":1}\n\n  \r\n" TS ",\"b\":\"x\"}\r\n"), &stored, &e),
        ERR_OK);
    assert_int_equal(stored, 2);
    struct stored s = stored_of(&n);
    assert_string_equal(s.lines.data, TS ",\"a\":1}\n" TS ",\"b\":\"x\"}\n");
    assert_int_equal(s.batches, 1);
    assert_int_equal(s.run_count, 1);
    assert_int_equal(s.runs[0].stream, stream);
    assert_int_equal(s.runs[0].request.mount, MOUNT);
    assert_int_equal(s.runs[0].request.number, REQUEST);
    assert_int_equal(s.runs[0].request.answer, ERR_OK);
    assert_int_equal(s.runs[0].flags, BATCH_LAST | BATCH_NO_SYNC);
    stored_done(&s);
    node_close(&n);
}

static void the_first_bad_line_ends_it(void **state)
{
    static const struct {
        const char *line, *reason;
    } CASES[] = {
        {"bad", "line 2 of a write: invalid JSON at byte 0"},
        {"{\"a\":1", "line 2 of a write: invalid JSON at byte 6"},
        {TS "} trailing", "line 2 of a write: invalid JSON at byte"},
        {"[1]", "line 2 of a write: flatten value must be an object"},
        {"{\"_timestamp\":1000}", "line 2 of a write: Too old data, only last 5 hours"},
        {"{\"_timestamp\":4000000000000000}", "line 2 of a write: Too far data, only future 24"},
        {"{\"_timestamp\":\"never\"}", "line 2 of a write: Can't parse timestamp"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct node n;
        struct err e;
        char text[512];
        uint64_t stored = 0;
        node_open(&n);
        uint64_t stream = make_stream(&n, "app");
        snprintf(text, sizeof text, TS ",\"a\":1}\n%s\n" TS ",\"after\":1}\n", CASES[i].line);
        assert_int_equal(write_lines(&n, stream, str_from(text), &stored, &e), ERR_INVALID);
        if (!strstr(e.msg, CASES[i].reason))
            fail_msg("%s: \"%s\"", CASES[i].line, e.msg);
        assert_int_equal(stored, 1);
        struct stored s = stored_of(&n);
        assert_string_equal(s.lines.data, TS ",\"a\":1}\n");
        assert_int_equal(s.runs[0].request.answer, ERR_INVALID);
        stored_done(&s);
        node_close(&n);
    }
}

static void a_bad_line_leaves_no_field_behind(void **state)
{
    struct node n;
    struct err e;
    const struct catalog_stream *s;
    uint64_t stored = 0;
    (void)state;
    node_open(&n);
    uint64_t stream = make_stream(&n, "app");
    assert_int_equal(
        write_lines(&n, stream, STR(TS ",\"good\":1}\n" TS ",\"bad\":1} x\n"), &stored, &e),
        ERR_INVALID);
    assert_int_equal(catalog_find(n.catalog, STR("default"), STREAM_LOGS, STR("app"), &s, &e),
                     ERR_OK);
    assert_true(catalog_field(s, STR("good")) >= 0);
    assert_int_equal(catalog_field(s, STR("bad")), -1);
    catalog_unref(s);
    node_close(&n);
}

static void what_stores_nothing_makes_no_batch(void **state)
{
    static const struct {
        const char *text;
        enum err_code code;
    } CASES[] = {{"", ERR_OK}, {"\n\n \n", ERR_OK}, {"x\n", ERR_INVALID}};
    struct node n;
    (void)state;
    node_open(&n);
    uint64_t stream = make_stream(&n, "app");
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct err e;
        uint64_t stored = 9;
        assert_int_equal(write_lines(&n, stream, str_from(CASES[i].text), &stored, &e),
                         CASES[i].code);
        assert_int_equal(stored, 0);
    }
    struct stored s = stored_of(&n);
    assert_int_equal(s.batches, 0);
    stored_done(&s);
    node_close(&n);
}

static void a_stream_that_is_gone_or_another_takes_nothing(void **state)
{
    struct node n;
    struct err e;
    uint64_t stored = 0;
    (void)state;
    node_open(&n);
    assert_int_equal(write_lines(&n, 5, STR(TS "}\n"), &stored, &e), ERR_STALE);
    uint64_t stream = make_stream(&n, "app");
    assert_int_equal(write_lines(&n, stream + 1, STR(TS "}\n"), &stored, &e), ERR_STALE);
    struct stored s = stored_of(&n);
    assert_int_equal(s.batches, 0);
    stored_done(&s);
    node_close(&n);
}

/* Hours in turn are more changes than the work area has room for. */
static void hours_in_turn_are_still_one_batch(void **state)
{
    enum { LINES = 3 * SEGMENTS_MAX };
    struct node n;
    struct err e;
    struct buf text;
    uint64_t stored = 0;
    (void)state;
    node_open(&n);
    uint64_t stream = make_stream(&n, "app");
    buf_init(&text, 4 << 20);
    for (int i = 0; i < LINES; i++)
        buf_printf(&text, "{\"_timestamp\":%lld,\"i\":%d}\n",
                   (long long)(NOW - i % 3 * US_PER_HOUR), i);
    assert_int_equal(write_lines(&n, stream, buf_str(&text), &stored, &e), ERR_OK);
    assert_int_equal(stored, LINES);
    struct stored s = stored_of(&n);
    assert_int_equal(s.batches, 1);
    assert_int_equal(s.lines.len, text.len + 1);
    stored_done(&s);
    buf_done(&text);
    node_close(&n);
}

/* More than a write can bring, but lines may be widened. */
static void more_than_a_batch_holds_is_refused_before_anything_is_stored(void **state)
{
    static const struct {
        int lines;
        enum err_code code;
    } CASES[] = {{20, ERR_OK}, {21, ERR_TOOBIG}, {40, ERR_TOOBIG}};
    enum { LINE_BYTES = 600000 }; /* one fits a part */
    char *log = malloc(LINE_BYTES);
    (void)state;
    assert_non_null(log);
    memset(log, 'x', LINE_BYTES);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct node n;
        struct err e;
        struct buf text;
        uint64_t stored = 0;
        node_open(&n);
        uint64_t stream = make_stream(&n, "app");
        buf_init(&text, 64 << 20);
        for (int k = 0; k < CASES[i].lines; k++)
            buf_printf(&text, "{\"log\":\"%.*s\"}\n", LINE_BYTES, log);
        assert_int_equal(write_lines(&n, stream, buf_str(&text), &stored, &e), CASES[i].code);
        assert_int_equal(stored, CASES[i].code ? 0 : CASES[i].lines);
        struct stored s = stored_of(&n);
        assert_int_equal(s.batches, CASES[i].code ? 0 : 1);
        stored_done(&s);
        buf_done(&text);
        node_close(&n);
    }
    free(log);
}

static void counters_are_those_of_json(void **state)
{
    struct node n;
    struct err e;
    struct buf text;
    uint64_t stored = 0;
    (void)state;
    node_open(&n);
    uint64_t stream = make_stream(&n, "app");
    write_lines(&n, stream, STR(TS ",\"a\":1}\nbad\n"), &stored, &e);
    buf_init(&text, 1 << 20);
    metrics_print(&text);
    buf_add(&text, "", 1);
    assert_non_null(strstr(text.data, "zo_ingest_records{organization=\"default\",stream=\"app\","
                                      "stream_type=\"logs\"} 1"));
    assert_non_null(strstr(text.data, "zo_ingest_errors{organization=\"default\",stream=\"app\","
                                      "stream_type=\"logs\",error_type=\"record\"} 1"));
    buf_done(&text);
    node_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_are_those_of_json),
        cmocka_unit_test(lines_are_stored_in_one_batch_that_names_the_write),
        cmocka_unit_test(the_first_bad_line_ends_it),
        cmocka_unit_test(a_bad_line_leaves_no_field_behind),
        cmocka_unit_test(what_stores_nothing_makes_no_batch),
        cmocka_unit_test(a_stream_that_is_gone_or_another_takes_nothing),
        cmocka_unit_test(hours_in_turn_are_still_one_batch),
        cmocka_unit_test(more_than_a_batch_holds_is_refused_before_anything_is_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
