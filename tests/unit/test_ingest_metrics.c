// links: weir_gateway weir_fs weir_index
/* Whole requests of samples, with a real catalog and plain files in the place of commit files. */
#include "tests/support/ingest_node.h"

#include <time.h>

static void add_stored(struct str name, uint64_t stored, void *ctx)
{
    (void)name;
    *(uint64_t *)ctx += stored;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_of_many_hours_are_found_their_places_at_once),
        cmocka_unit_test(labels_of_many_names_are_known_again_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
