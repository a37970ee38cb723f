// links: weir_gateway weir_fs weir_index
/* Whole requests of samples, with a real catalog and plain files in the place of commit files. */
#include "tests/support/ingest_node.h"

#include <pthread.h>
#include <time.h>

#include "base/metrics.h"

static void add_stored(const struct ingest_result *result, void *ctx)
{
    assert_int_equal(result->failed, 0);
    *(uint64_t *)ctx += result->successful;
}

static uint64_t send(struct node *n, struct buf *body)
{
    struct err e;
    uint64_t stored = 0;
    if (ingest_metrics_json(n->in, STR("default"), buf_str(body), add_stored, &stored, &e))
        fail_msg("%s", e.msg);
    buf_done(body);
    return stored;
}

static double cpu_seconds(clock_t since)
{
    return (double)(clock() - since) / CLOCKS_PER_SEC;
}

/* Half a minute and more, if each sample looks through the hours before it. */
static void samples_of_many_hours_are_found_their_places_at_once(void **state)
{
    enum { HOURS = 60000 };
    struct node n;
    struct buf body;
    (void)state;
    node_open(&n);
    buf_init(&body, 64u << 20);
    for (int i = 0; i < HOURS; i++)
        buf_printf(&body, "%s{\"__name__\":\"up\",\"value\":1,\"_timestamp\":%lld}", i ? "," : "[",
                   1000000000LL + i * 3600LL);
    buf_add_char(&body, ']');
    clock_t began = clock();
    assert_int_equal(send(&n, &body), HOURS);
    assert_true(cpu_seconds(began) < 10);
    struct stored s = stored_of(&n);
    assert_int_equal(s.run_count, HOURS);
    for (size_t i = 1; i < s.run_count; i++)
        assert_true(s.runs[i].hour > s.runs[i - 1].hour);
    stored_done(&s);
    node_close(&n);
}

/* The same of labels that the stream lacks. */
static void labels_of_many_names_are_known_again_at_once(void **state)
{
    enum { SAMPLES = 2000, LABELS = 1000, OTHERS = 40 };
    struct node n;
    struct buf body;
    (void)state;
    node_open(&n);
    buf_init(&body, 64u << 20);
    for (int i = 0; i < SAMPLES; i++) {
        buf_printf(&body, "%s{\"__name__\":\"up\",\"value\":%d", i ? "," : "[", i);
        for (int k = 0; k < LABELS; k++)
            buf_printf(&body, ",\"l%d\":\"x\"", i % OTHERS * LABELS + k);
        buf_add_char(&body, '}');
    }
    buf_add_char(&body, ']');
    clock_t began = clock();
    assert_int_equal(send(&n, &body), SAMPLES);
    assert_true(cpu_seconds(began) < 30);
    node_close(&n);
}

/* ---- limits ---- */

static const struct catalog_stream *find(struct node *n, const char *name)
{
    const struct catalog_stream *s;
    return catalog_find(n->catalog, STR("default"), STREAM_METRICS, str_from(name), &s, NULL) ? NULL
                                                                                              : s;
}

static size_t field_count(struct node *n, const char *name)
{
    const struct catalog_stream *s = find(n, name);
    size_t count = s ? s->field_count : 0;
    catalog_unref(s);
    return count;
}

/* A metric that may have `room` fields more. */
static void make_almost_full(struct node *n, const char *name, size_t room)
{
    size_t count = FIELDS_MAX - 1 - room;
    struct meta_new_field *fields = calloc(count, sizeof *fields);
    const struct catalog_stream *s, *merged;
    struct arena names;
    struct err e;
    arena_init(&names, 16u << 20);
    fields[0] = (struct meta_new_field){STR("__name__"), FIELD_UTF8};
    fields[1] = (struct meta_new_field){STR("value"), FIELD_FLOAT64};
    for (size_t i = 2; i < count; i++)
        fields[i] =
            (struct meta_new_field){str_from(arena_printf(&names, "old_%zu", i)), FIELD_UTF8};
    assert_int_equal(
        catalog_make(n->catalog, STR("default"), STREAM_METRICS, str_from(name), &s, &e), ERR_OK);
    if (catalog_merge_fields(n->catalog, s, fields, count, &merged, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(merged->field_count, FIELDS_MAX - room);
    catalog_unref(s);
    catalog_unref(merged);
    arena_done(&names);
    free(fields);
}

/* "name successful/failed reason\n" of each metric. */
static void add_result(const struct ingest_result *r, void *ctx)
{
    buf_printf(ctx, "%s %llu/%llu %s\n", r->stream, (unsigned long long)r->successful,
               (unsigned long long)r->failed, r->error);
}

static void expect_results(struct node *n, const char *body, const char *expected)
{
    struct buf told;
    struct err e;
    buf_init(&told, 1 << 20);
    if (ingest_metrics_json(n->in, STR("default"), str_from(body), add_result, &told, &e))
        fail_msg("%s", e.msg);
    buf_add_char(&told, '\0');
    assert_string_equal(told.data, expected);
    buf_done(&told);
}

#define NO_ROOM "Too many columns: a stream may have 50000, and 3145728 bytes of names"

static void a_sample_that_its_stream_has_no_room_for_is_refused_alone(void **state)
{
    struct node n;
    (void)state;
    node_open(&n);
    make_almost_full(&n, "full", 2);
    expect_results(&n,
                   "[{\"__name__\":\"full\",\"value\":1,\"old_7\":\"x\",\"a\":\"1\"},"
                   "{\"__name__\":\"full\",\"value\":2,\"b\":\"1\",\"c\":\"1\"},"
                   "{\"__name__\":\"other\",\"value\":3},"
                   "{\"__name__\":\"full\",\"value\":4,\"a\":\"2\",\"d\":\"1\"},"
                   "{\"__name__\":\"full\",\"value\":5,\"b\":\"1\"}]",
                   "full 2/2 " NO_ROOM "\nother 1/0 \n");
    assert_int_equal(field_count(&n, "full"), FIELDS_MAX);
    struct stored s = stored_of(&n);
    assert_string_equal(s.lines.data,
                        TS ",\"__name__\":\"full\",\"a\":\"1\",\"old_7\":\"x\",\"value\":1.0}\n" TS
                           ",\"__name__\":\"full\",\"a\":\"2\",\"d\":\"1\",\"value\":4.0}\n" TS
                           ",\"__name__\":\"other\",\"value\":3.0}\n");
    stored_done(&s);
    node_close(&n);
}

/* As of fields: the last in a map sorted by name at every level. */
static void of_labels_with_one_name_the_last_in_map_order_counts(void **state)
{
    struct node n;
    (void)state;
    node_open(&n);
    expect_results(&n,
                   "[{\"__name__\":\"up\",\"value\":1,\"a_b\":\"1\",\"a-b\":\"2\"},"
                   "{\"__name__\":\"up\",\"value\":2,\"a-b\":\"2\",\"a_b\":\"1\"},"
                   "{\"__name__\":\"up\",\"value\":3,\"b\":\"1\",\"\\u0062\":\"2\"},"
                   "{\"__name__\":\"up\",\"value\":4,\"a_b\":\"1\",\"a\":{\"b\":\"2\"}},"
                   "{\"__name__\":\"up\",\"value\":5,\"a\":{\"b\":\"1\"},\"a\":{\"b\":\"2\"}},"
                   "{\"__name__\":\"up\",\"value\":6,\"a\":{\"b_\":1},\"a\":{\"b-\":2}}]",
                   "up 6/0 \n");
    struct stored s = stored_of(&n);
    assert_string_equal(s.lines.data, TS ",\"__name__\":\"up\",\"a_b\":\"1\",\"value\":1.0}\n" TS
                                         ",\"__name__\":\"up\",\"a_b\":\"1\",\"value\":2.0}\n" TS
                                         ",\"__name__\":\"up\",\"b\":\"2\",\"value\":3.0}\n" TS
                                         ",\"__name__\":\"up\",\"a_b\":\"1\",\"value\":4.0}\n" TS
                                         ",\"__name__\":\"up\",\"a_b\":\"2\",\"value\":5.0}\n" TS
                                         ",\"__name__\":\"up\",\"a_b_\":\"1\",\"value\":6.0}\n");
    stored_done(&s);
    node_close(&n);
}

static void a_metric_whose_samples_are_all_refused_is_not_made(void **state)
{
    struct node n;
    struct buf body, out;
    (void)state;
    node_open(&n);
    buf_init(&body, 4 << 20);
    buf_add_cstr(&body, "[{\"__name__\":\"wide\",\"value\":1");
    for (int i = 0; i <= 1000; i++)
        buf_printf(&body, ",\"l%d\":\"x\"", i);
    buf_add_cstr(&body, "},{\"__name__\":\"long\",\"value\":1,\"l\":\"");
    for (int i = 0; i < 530000; i++)
        buf_add_cstr(&body, "\\\\");
    buf_add_cstr(&body, "\"},{\"__name__\":\"good\",\"value\":1}]");
    buf_add_char(&body, '\0');
    char expected[300];
    snprintf(expected, sizeof expected,
             "wide 0/1 The sample has more than 1000 labels\n"
             "long 0/1 The record's line is longer than %zu bytes\ngood 1/0 \n",
             ingest_line_max(n.in));
    expect_results(&n, body.data, expected);
    assert_null(find(&n, "wide"));
    assert_null(find(&n, "long"));
    assert_int_equal(field_count(&n, "good"), 3);
    buf_init(&out, 1 << 20);
    metrics_print(&out);
    buf_add_char(&out, '\0');
    assert_non_null(
        strstr(out.data, "stream=\"wide\",stream_type=\"metrics\",error_type=\"record\"} 1\n"));
    assert_null(strstr(out.data, "zo_ingest_records{organization=\"default\",stream=\"wide\""));
    buf_done(&out);
    buf_done(&body);
    node_close(&n);
}

enum { THREADS = 4, REQUESTS = 10, LABELS_EACH = 10, ROOM = 95 };

struct sender {
    struct node *node;
    int number;
    uint64_t stored, refused;
};

static void add_both(const struct ingest_result *r, void *ctx)
{
    struct sender *s = ctx;
    s->stored += r->successful;
    s->refused += r->failed;
}

static void *send_new_labels(void *ctx)
{
    struct sender *s = ctx;
    for (int i = 0; i < REQUESTS; i++) {
        char body[1024];
        struct err e;
        int n = snprintf(body, sizeof body, "[{\"__name__\":\"full\",\"value\":1");
        for (int k = 0; k < LABELS_EACH; k++)
            n += snprintf(body + n, sizeof body - (size_t)n, ",\"n_%d_%d_%d\":\"x\"", s->number, i,
                          k);
        n += snprintf(body + n, sizeof body - (size_t)n, "}]");
        if (ingest_metrics_json(s->node->in, STR("default"), (struct str){body, (size_t)n},
                                add_both, s, &e))
            return "failed";
    }
    return NULL;
}

static void requests_that_use_up_a_stream_together_are_judged_again(void **state)
{
    struct node n;
    struct sender senders[THREADS];
    pthread_t threads[THREADS];
    uint64_t stored = 0, refused = 0;
    (void)state;
    node_open(&n);
    make_almost_full(&n, "full", ROOM);
    for (int i = 0; i < THREADS; i++) {
        senders[i] = (struct sender){.node = &n, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_new_labels, &senders[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
        stored += senders[i].stored;
        refused += senders[i].refused;
    }
    assert_int_equal(stored, ROOM / LABELS_EACH);
    assert_int_equal(stored + refused, THREADS * REQUESTS);
    assert_int_equal(field_count(&n, "full"), FIELDS_MAX - ROOM % LABELS_EACH);
    struct stored s = stored_of(&n);
    assert_int_equal(s.batches, ROOM / LABELS_EACH);
    stored_done(&s);
    node_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_of_many_hours_are_found_their_places_at_once),
        cmocka_unit_test(labels_of_many_names_are_known_again_at_once),
        cmocka_unit_test(a_sample_that_its_stream_has_no_room_for_is_refused_alone),
        cmocka_unit_test(of_labels_with_one_name_the_last_in_map_order_counts),
        cmocka_unit_test(a_metric_whose_samples_are_all_refused_is_not_made),
        cmocka_unit_test(requests_that_use_up_a_stream_together_are_judged_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
