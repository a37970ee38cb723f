// links: weir_gateway weir_fs weir_index
/* Whole requests, with a real catalog and plain files in the place of commit files. */
#include "tests/support/ingest_node.h"

#include <errno.h>
#include <pthread.h>

#include "base/cleanup.h"
#include "base/metrics.h"
#include "gateway/lines.h"

static struct ingest_result send(struct node *n, const char *stream, const char *body)
{
    struct ingest_result r;
    struct err e;
    if (ingest_json(n->in, STR("default"), str_from(stream), str_from(body), &r, &e))
        fail_msg("%s: %s", body, e.msg);
    return r;
}

/* "a:Int64 b:Utf8", without _timestamp. */
static void expect_schema(struct node *n, const char *stream, const char *expected)
{
    const struct catalog_stream *s;
    struct err e;
    struct buf out;
    assert_int_equal(
        catalog_find(n->catalog, STR("default"), STREAM_LOGS, str_from(stream), &s, &e), ERR_OK);
    buf_init(&out, 1 << 20);
    for (size_t i = 0; i < s->field_count; i++) {
        if (!str_eq(s->fields[i].name, STR("_timestamp")))
            buf_printf(&out, "%s" STR_FMT ":%s", out.len ? " " : "", STR_ARG(s->fields[i].name),
                       field_type_name(s->fields[i].type));
    }
    buf_add(&out, "", 1);
    assert_string_equal(out.data, expected);
    buf_done(&out);
    catalog_unref(s);
}

static bool stream_exists(struct node *n, const char *stream)
{
    const struct catalog_stream *s;
    if (catalog_find(n->catalog, STR("default"), STREAM_LOGS, str_from(stream), &s, NULL))
        return false;
    catalog_unref(s);
    return true;
}

static void records_are_stored_under_the_normalised_name(void **state)
{
    struct node n;
    (void)state;
    node_open(&n);
    struct ingest_result r = send(
        &n, "K8sLogs", "[{\"a\":1,\"k\":{\"Pod\":\"x\"}},{\"a\":2,\"_timestamp\":1795384000}]");
    assert_string_equal(r.stream, "k8slogs");
    assert_int_equal(r.successful, 2);
    assert_int_equal(r.failed, 0);
    assert_string_equal(r.error, "");
    expect_schema(&n, "k8slogs", "a:Int64 k_pod:Utf8");
    struct stored s = stored_of(&n);
    assert_int_equal(s.batches, 1);
    assert_int_equal(s.run_count, 2); /* two hours */
    assert_string_equal(s.lines.data, "{\"_timestamp\":1795384000000000,\"a\":2}\n" TS
                                      ",\"a\":1,\"k_pod\":\"x\"}\n");
    stored_done(&s);
    assert_true(catalog_org_exists(n.catalog, STR("default")));
    node_close(&n);
}

static void an_empty_array_makes_nothing(void **state)
{
    struct node n;
    (void)state;
    node_open(&n);
    struct ingest_result r = send(&n, "none", "[]");
    assert_int_equal(r.successful + r.failed, 0);
    r = send(&n, "none", "[1,{\"_timestamp\":1}]");
    assert_int_equal(r.failed, 2);
    assert_false(stream_exists(&n, "none"));
    struct stored s = stored_of(&n);
    assert_int_equal(s.batches, 0);
    stored_done(&s);
    node_close(&n);
}

static void what_is_no_json_stores_nothing(void **state)
{
    static const char *const bodies[] = {
        "", "x", "[{\"a\":1}", "[{\"a\":1}]]", "7", "[{\"a\":\"\xFF\"}]"};
    struct node n;
    (void)state;
    node_open(&n);
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct ingest_result r;
        struct err e;
        assert_int_equal(ingest_json(n.in, STR("default"), STR("s"), str_from(bodies[i]), &r, &e),
                         ERR_INVALID);
    }
    assert_false(stream_exists(&n, "s"));
    struct stored s = stored_of(&n);
    assert_int_equal(s.batches, 0);
    stored_done(&s);
    node_close(&n);
}

static void bad_names_are_refused(void **state)
{
    struct node n;
    struct ingest_result r;
    struct err e;
    (void)state;
    node_open(&n);
    assert_int_equal(ingest_json(n.in, STR("a/b"), STR("s"), STR("[]"), &r, &e), ERR_INVALID);
    assert_int_equal(ingest_json(n.in, STR("default"), STR(""), STR("[]"), &r, &e), ERR_INVALID);
    assert_string_equal(e.msg, "Stream name is empty");
    node_close(&n);
}

/* Pairs of the reference's §1.18: first one record, then the other. */
static void types_only_widen(void **state)
{
    static const struct {
        const char *first, *second, *type;
    } cases[] = {
        {"7", "\"abc\"", "Utf8"},
        {"7", "2.5", "Float64"},
        {"7", "true", "Int64"},
        {"7", "null", "Int64"},
        {"7", "[1,2]", "Utf8"},
        {"\"abc\"", "7", "Utf8"},
        {"2.5", "7", "Float64"},
        {"2.5", "true", "Float64"},
        {"true", "7", "Int64"},
        {"true", "\"x\"", "Utf8"},
        {"true", "2.5", "Float64"},
        {"[1]", "7", "Utf8"},
        {"18446744073709551615", "7", "UInt64"},
        {"7", "18446744073709551615", "UInt64"},
        {"7", "18446744073709551616", "Utf8"},
        {"7", "1e999", "Utf8"},
        {"18446744073709551615", "2.5", "Float64"},
    };
    struct node n;
    (void)state;
    node_open(&n);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char stream[32], body[128], schema[32];
        snprintf(stream, sizeof stream, "apart%zu", i);
        snprintf(body, sizeof body, "[{\"v\":%s}]", cases[i].first);
        send(&n, stream, body);
        snprintf(body, sizeof body, "[{\"v\":%s}]", cases[i].second);
        assert_int_equal(send(&n, stream, body).successful, 1);
        snprintf(schema, sizeof schema, "v:%s", cases[i].type);
        expect_schema(&n, stream, schema);
        snprintf(stream, sizeof stream, "together%zu", i);
        snprintf(body, sizeof body, "[{\"v\":%s},{\"v\":%s}]", cases[i].first, cases[i].second);
        assert_int_equal(send(&n, stream, body).successful, 2);
        expect_schema(&n, stream, schema);
    }
    node_close(&n);
}

static void known_fields_change_nothing_in_meta(void **state)
{
    struct node n;
    uint64_t before, after;
    (void)state;
    node_open(&n);
    send(&n, "s", "[{\"a\":1.5,\"b\":\"x\"}]");
    meta_revision(n.meta, &before, NULL);
    send(&n, "s", "[{\"b\":\"y\",\"a\":2},{\"a\":true,\"b\":7}]");
    meta_revision(n.meta, &after, NULL);
    assert_int_equal(before, after);
    node_close(&n);
}

static int refuse_writes(struct sys_fault *f, void *ctx)
{
    return strcmp(f->call, "write") == 0 ? *(int *)ctx : 0;
}

static void a_full_journal_is_reported_as_such(void **state)
{
    struct node n;
    struct ingest_result r;
    struct err e;
    int sys = ENOSPC;
    (void)state;
    node_open(&n);
    send(&n, "s", "[{\"a\":1}]");
    sys_fault_set(refuse_writes, &sys);
    assert_int_equal(ingest_json(n.in, STR("default"), STR("s"), STR("{\"a\":2}"), &r, &e),
                     ERR_FULL);
    sys_fault_set(NULL, NULL);
    assert_int_equal(send(&n, "s", "{\"a\":3}").successful, 1);
    struct stored s = stored_of(&n);
    assert_string_equal(s.lines.data, TS ",\"a\":1}\n" TS ",\"a\":3}\n");
    stored_done(&s);
    node_close(&n);
}

/* Far more lines than are kept in memory: two passes, several batches, the same records. */
static void a_large_body_is_stored_whole_or_not_at_all(void **state)
{
    enum { RECORDS = 60000 };
    struct node n;
    struct ingest_result r;
    struct err e;
    struct buf body, expected;
    (void)state;
    node_open(&n);
    buf_init(&body, 64u << 20);
    buf_init(&expected, 64u << 20);
    for (int i = 0; i < RECORDS; i++) {
        bool bad = i % 1000 == 999;
        buf_printf(&body, "%s{\"i\":%d%s,\"text\":\"%0500d\"}", i ? "," : "[", i,
                   bad ? ",\"_timestamp\":1" : "", i);
        if (!bad)
            buf_printf(&expected, TS ",\"i\":%d,\"text\":\"%0500d\"}\n", i, i);
    }
    assert_int_equal(ingest_json(n.in, STR("default"), STR("s"), buf_str(&body), &r, &e),
                     ERR_INVALID); /* the ']' is missing */
    buf_add_char(&body, ']');
    struct stored none = stored_of(&n);
    assert_int_equal(none.batches, 0);
    stored_done(&none);
    assert_int_equal(ingest_json(n.in, STR("default"), STR("s"), buf_str(&body), &r, &e), ERR_OK);
    assert_int_equal(r.successful, RECORDS - RECORDS / 1000);
    assert_int_equal(r.failed, RECORDS / 1000);
    struct stored s = stored_of(&n);
    assert_true(s.batches > 1);
    assert_int_equal(s.lines.len - 1, expected.len);
    assert_memory_equal(s.lines.data, expected.data, expected.len);
    expect_schema(&n, "s", "i:Int64 text:Utf8");
    stored_done(&s);
    buf_done(&body);
    buf_done(&expected);
    node_close(&n);
}

/* Each takes a part of a batch for itself, and there are more than a batch has parts: of one hour,
 * or of two by turns. */
static void lines_of_half_a_part_take_several_batches(void **state)
{
    enum { RECORDS = 25, TEXT = 560000, HOURS_MAX = 2 };
    (void)state;
    for (int hours = 1; hours <= HOURS_MAX; hours++) {
        struct node n;
        struct ingest_result r;
        struct err e;
        struct buf body;
        size_t lines = 0;
        node_open(&n);
        buf_init(&body, 64u << 20);
        for (int i = 0; i < RECORDS; i++)
            buf_printf(&body, "%s{\"_timestamp\":%d,\"text\":\"%0*d\"}", i ? "," : "[",
                       1795387861 + (i % hours) * 3600, TEXT, i);
        buf_add_char(&body, ']');
        assert_int_equal(ingest_json(n.in, STR("default"), STR("s"), buf_str(&body), &r, &e),
                         ERR_OK);
        assert_int_equal(r.successful, RECORDS);
        struct stored s = stored_of(&n);
        assert_int_equal(s.batches, 2);
        assert_int_equal(s.run_count, RECORDS);
        for (size_t i = 0; i < s.run_count; i++)
            lines += s.runs[i].lines;
        assert_int_equal(lines, RECORDS);
        stored_done(&s);
        buf_done(&body);
        node_close(&n);
    }
}

static void add_successful(const struct ingest_result *result, void *ctx)
{
    *(uint64_t *)ctx += result->successful;
}

static void samples_of_half_a_part_take_several_batches(void **state)
{
    enum { RECORDS = 25, TEXT = 560000 };
    struct node n;
    struct err e;
    struct buf body;
    uint64_t told = 0;
    size_t lines = 0;
    (void)state;
    node_open(&n);
    buf_init(&body, 64u << 20);
    for (int i = 0; i < RECORDS; i++)
        buf_printf(&body, "%s{\"__name__\":\"up\",\"value\":%d,\"text\":\"%0*d\"}", i ? "," : "[",
                   i, TEXT, i);
    buf_add_char(&body, ']');
    assert_int_equal(
        ingest_metrics_json(n.in, STR("default"), buf_str(&body), add_successful, &told, &e),
        ERR_OK);
    assert_int_equal(told, RECORDS);
    struct stored s = stored_of(&n);
    assert_int_equal(s.batches, 2);
    for (size_t i = 0; i < s.run_count; i++)
        lines += s.runs[i].lines;
    assert_int_equal(lines, RECORDS);
    stored_done(&s);
    buf_done(&body);
    node_close(&n);
}

enum { THREADS = 4, REQUESTS = 30 };

static void *send_many(void *ctx)
{
    static _Atomic int next;
    struct node *n = ctx;
    for (int i = 0; i < REQUESTS; i++) {
        struct ingest_result r;
        struct err e;
        char body[200];
        int id = next++;
        snprintf(body, sizeof body, "[{\"shared\":%s,\"own_%d\":%d},{\"x\":1}]",
                 id % 3 ? "7" : "\"seven\"", id, id);
        if (ingest_json(n->in, STR("default"), STR("s"), str_from(body), &r, &e) ||
            r.successful != 2)
            return "failed";
    }
    return NULL;
}

static enum err_code flatten_less(const struct meta_stream *s, struct arena *a, struct str *out,
                                  void *ctx, struct err *e)
{
    (void)s;
    (void)a;
    (void)ctx;
    (void)e;
    *out = STR("{\"flatten_level\":1,\"store_original_data\":true}");
    return ERR_OK;
}

/* Between the passes over a large body somebody changes the settings. */
static void the_second_pass_judges_as_the_first_did(void **state)
{
    static const char body[] = "[{\"a\":{\"b\":1}},{\"fresh\":1}]";
    struct node n;
    struct lines l;
    struct err e;
    const struct catalog_stream *before, *after;
    const struct lines_rules rules = {.window = {.now_us = NOW},
                                      .flatten_level = 3,
                                      .columns_max = 1000,
                                      .line_max_bytes = 1 << 20};
    (void)state;
    node_open(&n);
    send(&n, "passes", "[{\"a\":{\"b\":1}}]");
    assert_int_equal(
        catalog_find(n.catalog, STR("default"), STREAM_LOGS, STR("passes"), &before, &e), ERR_OK);
    assert_int_equal(lines_init(&l, &e), ERR_OK);
    lines_begin(&l, &rules, before);
    assert_int_equal(lines_add_json(&l, str_from(body), NULL, NULL, &e), ERR_OK);
    assert_int_equal(l.successful, 2);
    assert_int_equal(catalog_change_settings(n.catalog, before, flatten_less, NULL, &after, &e),
                     ERR_OK);
    assert_int_equal(after->flatten_level, 1);
    lines_begin_again(&l, after);
    assert_int_equal(lines_add_json(&l, str_from(body), NULL, NULL, &e), ERR_OK);
    buf_add(&l.out, "", 1);
    assert_string_equal(l.out.data, TS ",\"a_b\":1}\n");
    assert_int_equal(l.failed, 1); /* `fresh` did not come into the stream after the first pass */
    lines_done(&l);
    catalog_unref(before);
    catalog_unref(after);
    node_close(&n);
}

static void threads_may_make_a_stream_together(void **state)
{
    struct node n;
    pthread_t threads[THREADS];
    const struct catalog_stream *stream;
    (void)state;
    node_open(&n);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &n), 0);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    struct stored s = stored_of(&n);
    assert_int_equal(s.batches, THREADS * REQUESTS);
    for (size_t i = 1; i < s.run_count; i++)
        assert_int_equal(s.runs[i].stream, s.runs[0].stream);
    stored_done(&s);
    assert_int_equal(catalog_find(n.catalog, STR("default"), STREAM_LOGS, STR("s"), &stream, NULL),
                     ERR_OK);
    assert_int_equal(stream->field_count, 3 + THREADS * REQUESTS);
    assert_int_equal(stream->fields[catalog_field(stream, STR("shared"))].type, FIELD_UTF8);
    catalog_unref(stream);
    node_close(&n);
}

static void requests_are_counted(void **state)
{
    struct node n;
    struct buf out;
    struct err e;
    struct ingest_result r;
    (void)state;
    node_open(&n);
    send(&n, "counted", "[{\"a\":1},{\"a\":2},3]");
    ingest_json(n.in, STR("default"), STR("counted"), STR("["), &r, &e);
    buf_init(&out, 1 << 20);
    metrics_print(&out);
    buf_add(&out, "", 1);
    static const char *const lines[] = {
        "zo_ingest_records{organization=\"default\",stream=\"counted\",stream_type=\"logs\"} 2\n",
        "zo_ingest_bytes{organization=\"default\",stream=\"counted\",stream_type=\"logs\"} 19\n",
        "stream=\"counted\",stream_type=\"logs\",error_type=\"record\"} 1\n",
        "stream=\"counted\",stream_type=\"logs\",error_type=\"INVALID\"} 1\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (!strstr(out.data, lines[i]))
            fail_msg("no %s in %s", lines[i], out.data);
    }
    buf_done(&out);
    node_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_stored_under_the_normalised_name),
        cmocka_unit_test(an_empty_array_makes_nothing),
        cmocka_unit_test(what_is_no_json_stores_nothing),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(types_only_widen),
        cmocka_unit_test(known_fields_change_nothing_in_meta),
        cmocka_unit_test(a_full_journal_is_reported_as_such),
        cmocka_unit_test(a_large_body_is_stored_whole_or_not_at_all),
        cmocka_unit_test(lines_of_half_a_part_take_several_batches),
        cmocka_unit_test(samples_of_half_a_part_take_several_batches),
        cmocka_unit_test(the_second_pass_judges_as_the_first_did),
        cmocka_unit_test(threads_may_make_a_stream_together),
        cmocka_unit_test(requests_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
