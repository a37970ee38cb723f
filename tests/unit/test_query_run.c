// links: weir_gateway weir_engine weir_fs weir_index
/* tests/unit/test_query_run.c - whole searches: a real engine process, a real catalog, and a thread
 * that answers for the fs process over files in a folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/ipc.h"
#include "fs/control/control.h"
#include "gateway/gate.h"
#include "gateway/query.h"
#include "tests/support/engine_fixture.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#define START_US INT64_C(1700000000000000)
#define RECORDS 50
#define FILE_ID "01ARZ3NDEKTSV4RRFFQ69G5FAV"

static struct engine_fixture engine;
static struct meta *meta;
static struct catalog *catalog;
static struct control_client *control;
static struct query_service *service;
static uint64_t stream_number, file_bytes;
static _Atomic unsigned snapshots, releases;
static int fs_listen_fd;
static pthread_t fs_thread;

/* ---- the fs process ---- */

static void write_snapshot(struct buf *out)
{
    buf_printf(out,
               "{\"snapshot\":%u,\"files\":[{\"stream\":%llu,\"id\":\"" FILE_ID
               "\",\"hour\":%d,\"bytes\":%llu,\"rows\":%d,\"min_ts\":%lld,\"max_ts\":%lld,"
               "\"state\":\"active\"}]}",
               ++snapshots, (unsigned long long)stream_number, hour_of_us(START_US),
               (unsigned long long)file_bytes, RECORDS, (long long)START_US,
               (long long)(START_US + (RECORDS - 1) * US_PER_SEC));
}

static void answer(int fd, const struct ipc_msg *m)
{
    struct buf out;
    buf_init(&out, 1u << 16);
    if (m->kind == CONTROL_HELLO)
        buf_add_cstr(&out, "{\"epoch\":7,\"commit_files\":1,\"version\":\"test\"}");
    else if (m->kind == CONTROL_SNAPSHOT)
        write_snapshot(&out);
    else
        buf_add_cstr(&out, "{}");
    releases += m->kind == CONTROL_RELEASE;
    ipc_send(fd, CONTROL_REPLY, m->tag, buf_str(&out), NULL);
    buf_done(&out);
}

static void *serve_fs(void *unused)
{
    struct ipc_msg m;
    int fd;
    (void)unused;
    buf_init(&m.body, 1u << 16);
    while (ipc_accept(fs_listen_fd, &fd, NULL) == ERR_OK) {
        while (ipc_recv(fd, &m, 0, NULL) == ERR_OK)
            answer(fd, &m);
        close(fd);
    }
    buf_done(&m.body);
    return NULL;
}

/* ---- the surroundings ---- */

static void write_records(void)
{
    struct buf lines;
    char name[128];
    buf_init(&lines, 1u << 20);
    for (int i = 0; i < RECORDS; i++)
        buf_printf(
            &lines,
            "{\"_timestamp\":%lld,\"level\":\"%s\",\"log\":\"GET /item/%d done\",\"i\":%d}\n",
            (long long)(START_US + i * US_PER_SEC), i % 5 ? "info" : "error", i, i);
    file_bytes = lines.len;
    snprintf(name, sizeof name, "%s/.weir", engine.mount);
    assert_int_equal(mkdir(name, 0700), 0);
    snprintf(name, sizeof name, "%s/.weir/at", engine.mount);
    assert_int_equal(mkdir(name, 0700), 0);
    snprintf(name, sizeof name, ".weir/at/" FILE_ID "@%llu.ndjson", (unsigned long long)file_bytes);
    engine_fixture_file(&engine, name, buf_str(&lines));
    buf_done(&lines);
}

/* A stream of some fields; its number. */
static uint64_t make_stream(const char *name)
{
    static const struct meta_new_field fields[] = {
        {{"level", 5}, FIELD_UTF8}, {{"log", 3}, FIELD_UTF8}, {{"i", 1}, FIELD_INT64}};
    const struct catalog_stream *bare, *full;
    struct err e;
    assert_int_equal(catalog_make(catalog, STR("default"), STREAM_LOGS, str_from(name), &bare, &e),
                     ERR_OK);
    assert_int_equal(catalog_merge_fields(catalog, bare, fields, ARRAY_LEN(fields), &full, &e),
                     ERR_OK);
    uint64_t number = full->number;
    catalog_unref(bare);
    catalog_unref(full);
    return number;
}

static void make_streams(void)
{
    const struct catalog_stream *bare;
    struct err e;
    char path[128];
    snprintf(path, sizeof path, "%s/meta", engine.dir);
    assert_int_equal(meta_open(path, KV_OWNER, &meta, &e), ERR_OK);
    assert_int_equal(catalog_open(meta, 64 << 20, &catalog, &e), ERR_OK);
    stream_number = make_stream("k8slogs");
    make_stream("default");
    make_stream("order");
    assert_int_equal(catalog_make(catalog, STR("default"), STREAM_LOGS, STR("empty"), &bare, &e),
                     ERR_OK);
    catalog_unref(bare);
    assert_int_equal(catalog_make(catalog, STR("other"), STREAM_LOGS, STR("secret"), &bare, &e),
                     ERR_OK);
    catalog_unref(bare);
}

static int open_all(void **state)
{
    static char fs_socket[128];
    struct err e;
    (void)state;
    assert_true(engine_fixture_start(&engine, 256u << 20, 4));
    write_records();
    make_streams();
    snprintf(fs_socket, sizeof fs_socket, "%s/fs.sock", engine.dir);
    assert_int_equal(ipc_listen(fs_socket, &fs_listen_fd, &e), ERR_OK);
    assert_int_equal(pthread_create(&fs_thread, NULL, serve_fs, NULL), 0);
    assert_int_equal(control_open(fs_socket, clock_mono_ms() + 10000, &control, &e), ERR_OK);
    const struct query_config cfg = {.catalog = catalog,
                                     .control = control,
                                     .mount_dir = engine.mount,
                                     .engine_socket = engine.socket,
                                     .memory_bytes = 256u << 20,
                                     .timeout_ms = 60000,
                                     .size_max = 100000,
                                     .default_limit = 1000,
                                     .fts_extra = ""};
    assert_int_equal(query_open(&cfg, &service, &e), ERR_OK);
    uint64_t deadline_ms = clock_mono_ms() + ENGINE_START_MS;
    while (query_ping(service, &e) != ERR_OK)
        if (clock_mono_ms() > deadline_ms)
            fail_msg("engine: %s", e.msg);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    query_close(service);
    control_close(control);
    shutdown(fs_listen_fd, SHUT_RDWR);
    pthread_join(fs_thread, NULL);
    close(fs_listen_fd);
    catalog_close(catalog);
    meta_close(meta);
    engine_fixture_stop(&engine); /* it was killed by the last test */
    return 0;
}

/* ---- one search ---- */

struct answer {
    enum err_code rc;
    struct err e;
    struct buf hits;
    struct query_stats stats;
    struct query_column *columns;
    struct arena arena;
    bool first, refuse_batches;
};

static bool on_columns(void *ctx, const struct query_column *c, size_t n)
{
    struct answer *a = ctx;
    a->columns = arena_alloc(&a->arena, n * sizeof *c);
    for (size_t i = 0; i < n; i++)
        a->columns[i].name = arena_copy(&a->arena, c[i].name);
    return true;
}

static bool on_batch(void *ctx, const struct wire_batch *b)
{
    struct answer *a = ctx;
    query_write_hits(&a->hits, a->columns, b, &a->first);
    return !a->refuse_batches;
}

static struct query_request request_of(const char *sql)
{
    return (struct query_request){.org = STR("default"),
                                  .type = STREAM_LOGS,
                                  .sql = str_from(sql),
                                  .start_us = START_US,
                                  .end_us = START_US + 3600 * US_PER_SEC,
                                  .size = 1000};
}

static void run(struct answer *a, const struct query_request *r)
{
    const struct query_sink sink = {.columns = on_columns, .batch = on_batch, .ctx = a};
    a->first = true;
    a->e = (struct err){0};
    arena_init(&a->arena, 1u << 20);
    buf_init(&a->hits, 16u << 20);
    a->rc = query_run(service, r, &a->arena, &sink, &a->stats, &a->e);
    assert_int_equal(snapshots, releases);
}

static void done(struct answer *a)
{
    buf_done(&a->hits);
    arena_done(&a->arena);
}

static void expect_hits(const struct query_request *r, const char *hits)
{
    struct answer a = {0};
    run(&a, r);
    if (a.rc)
        fail_msg(STR_FMT "\n  %d %s", STR_ARG(r->sql), a.e.detail, a.e.msg);
    if (!str_eq(buf_str(&a.hits), str_from(hits)))
        fail_msg(STR_FMT "\n  gave %s\n  not  %s", STR_ARG(r->sql), a.hits.data, hits);
    done(&a);
}

static void rows_come_as_the_sql_says(void **state)
{
    static const struct {
        const char *sql, *hits;
    } cases[] = {
        {"SELECT i FROM k8slogs LIMIT 3", "{\"i\":49},{\"i\":48},{\"i\":47}"},
        {"SELECT \"K8sLogs\".i FROM \"K8sLogs\" ORDER BY i LIMIT 1", "{\"i\":0}"},
        {"SELECT count(*) FROM k8slogs", "{\"count(*)\":50}"},
        {"SELECT level, count(*) c FROM k8slogs GROUP BY level ORDER BY c",
         "{\"level\":\"error\",\"c\":10},{\"level\":\"info\",\"c\":40}"},
        {"SELECT histogram(_timestamp, '30 seconds') AS h, count(*) AS c FROM k8slogs GROUP BY h "
         "ORDER BY h LIMIT 1",
         "{\"h\":\"2023-11-14T22:13:00\",\"c\":10}"},
        {"SELECT i FROM k8slogs WHERE match_all('DONE 7')", "{\"i\":7}"},
        {"SELECT i, i, NULL AS x FROM k8slogs LIMIT 1", "{\"i\":49,\"i_1\":49}"},
        {"SELECT a.i FROM k8slogs a JOIN k8slogs b ON a.i = b.i + 48 ORDER BY 1",
         "{\"i\":48},{\"i\":49}"},
        {"WITH RECURSIVE r AS (SELECT 1 n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT max(n) "
         "AS m FROM r",
         "{\"m\":3}"},
        {"SELECT default.i FROM Default WHERE default.i IN (SELECT i FROM logs.default) LIMIT 1",
         ""},
        {"SELECT count(*) AS c FROM order, default d WHERE order.i = d.i AND d.log <> 'from order'",
         "{\"c\":0}"},
        {"SELECT approx_percentile_cont(1.0) WITHIN GROUP (ORDER BY i) AS p FROM k8slogs",
         "{\"p\":49.0}"},
        {"SELECT * FROM empty", ""},
        {"SELECT count(*) AS c FROM empty", "{\"c\":0}"},
        {"SELECT [1, 2] AS l, {'a': NULL} AS s, 1e300 * 1e300 AS inf, 12.0::DOUBLE AS d",
         "{\"l\":[1,2],\"s\":{\"a\":null},\"inf\":null,\"d\":12.0}"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query_request r = request_of(cases[i].sql);
        expect_hits(&r, cases[i].hits);
    }
}

static void size_from_and_the_range_choose_the_rows(void **state)
{
    struct query_request r = request_of("SELECT i FROM k8slogs");
    (void)state;
    r.size = 2;
    r.from = 3;
    expect_hits(&r, "{\"i\":46},{\"i\":45}");
    r = request_of("SELECT i FROM k8slogs ORDER BY i");
    r.start_us += 10 * US_PER_SEC;
    r.end_us = r.start_us + 2 * US_PER_SEC;
    expect_hits(&r, "{\"i\":10},{\"i\":11}");
    r.end_us = r.start_us;
    expect_hits(&r, "");
    r.start_us = START_US + 60 * US_PER_SEC; /* after the file */
    r.end_us = START_US + 70 * US_PER_SEC;
    expect_hits(&r, "");
}

static void figures_are_those_of_the_snapshot(void **state)
{
    struct answer a = {0};
    struct query_request r = request_of("SELECT histogram(_timestamp) h FROM k8slogs LIMIT 5");
    (void)state;
    run(&a, &r);
    assert_int_equal(a.rc, ERR_OK);
    assert_int_equal(a.stats.rows, 5);
    assert_int_equal(a.stats.total, 5);
    assert_int_equal(a.stats.scan_files, 1);
    assert_int_equal(a.stats.scan_bytes, file_bytes);
    assert_int_equal(a.stats.scan_records, RECORDS);
    assert_true(a.stats.took_us > 0);
    assert_true(a.stats.has_histogram_interval);
    assert_int_equal(a.stats.histogram_interval_s, 30);
    done(&a);
    r.start_us = START_US + 1000 * US_PER_SEC;
    run(&a, &r);
    assert_int_equal(a.stats.scan_files, 0);
    assert_int_equal(a.stats.scan_records, 0);
    done(&a);
}

static void the_total_is_a_count_over_the_same_snapshot(void **state)
{
    struct answer a = {0};
    struct query_request r = request_of("SELECT i FROM k8slogs WHERE i >= 10");
    unsigned before = snapshots;
    (void)state;
    r.size = 1;
    r.track_total_hits = true;
    run(&a, &r);
    assert_int_equal(a.rc, ERR_OK);
    assert_string_equal(a.hits.data, "{\"i\":49}");
    assert_int_equal(a.stats.rows, 1);
    assert_int_equal(a.stats.total, 40);
    assert_int_equal(snapshots, before + 1);
    done(&a);
    r.size = 0;
    run(&a, &r);
    assert_int_equal(a.rc, ERR_OK);
    assert_string_equal(a.hits.data, "{\"zo_sql_num\":40}");
    assert_int_equal(a.stats.total, 40);
    done(&a);
}

static void explain_shows_the_plan_and_runs_nothing_else(void **state)
{
    static const char *const queries[] = {"EXPLAIN SELECT i FROM k8slogs",
                                          "explain analyze SELECT i FROM k8slogs"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        struct answer a = {0};
        struct query_request r = request_of(queries[i]);
        r.track_total_hits = true;
        run(&a, &r);
        assert_int_equal(a.rc, ERR_OK);
        assert_int_equal(a.stats.rows, 1);
        assert_true(str_eq(a.columns[0].name, STR("plan_type")));
        assert_true(str_eq(a.columns[1].name, STR("plan")));
        done(&a);
    }
}

static void errors_carry_the_references_code_and_words(void **state)
{
    static const struct {
        const char *sql;
        int code;
        const char *words; /* the message begins so */
    } cases[] = {
        {"SELEC 1", 20001, "Search SQL not valid: "},
        {"SELECT defaults FROM default default default", 20001, "Search SQL not valid: "},
        {"SELECT * FROM limit", 20002, "Search stream not found: limit"},
        {"SELECT * FROM limit WHERE = 1", 20001,
         "Search SQL not valid: syntax error at or near \"limit\" at byte 14"},
        {"SELECT defaulted FROM k8slogs, default_", 20002, "Search stream not found: default_"},
        {"SELECT 1; SELECT 2", 20001, "Search SQL not valid: "},
        {"SELECT * FROM secret", 20002, "Search stream not found: secret"},
        {"SELECT * FROM other.secret", 20002, "Search stream not found: other.secret"},
        {"SELECT i FROM empty WHERE match_all('x')", 20003, "Full text search field not found"},
        {"SELECT nosuch FROM k8slogs", 20004, "Search field not found: "},
        {"SELECT k8slogs.nosuch FROM k8slogs", 20004, "Search field not found: "},
        {"SELECT nosuchfn(i) FROM k8slogs", 20005, "Search function not defined: nosuchfn"},
        {"SELECT CAST(level AS BIGINT) FROM k8slogs", 20007, "Search field has no compatible "},
        {"SELECT i, count(*) FROM k8slogs", 20008, "Search SQL execute error: "},
        {"SELECT i FROM k8slogs WHERE re_match(log, '(')", 20008, "Search SQL execute error: "},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a = {0};
        struct query_request r = request_of(cases[i].sql);
        run(&a, &r);
        if (err_http_status(a.rc) != 400 || a.e.detail != cases[i].code ||
            !str_starts(str_from(a.e.msg), str_from(cases[i].words)))
            fail_msg("%s\n  gave %d %d %s", cases[i].sql, (int)a.rc, a.e.detail, a.e.msg);
        assert_null(strstr(a.e.msg, "weir_"));
        done(&a);
    }
}

/* ---- ends before the end ---- */

static const char long_query[] = "SELECT count(*) FROM range(100000000) a, range(100000000) b";

static bool soon(void *calls)
{
    return ++*(int *)calls > 3;
}

static void a_client_that_went_away_ends_the_query(void **state)
{
    struct answer a = {0};
    int calls = 0;
    struct query_request r = request_of(long_query);
    (void)state;
    r.cancelled = soon;
    r.cancelled_ctx = &calls;
    uint64_t start_ms = clock_mono_ms();
    run(&a, &r);
    assert_int_equal(a.rc, ERR_CANCELLED);
    assert_int_equal(a.e.detail, API_CANCELLED);
    assert_true(clock_mono_ms() - start_ms < 20000);
    done(&a);
    a = (struct answer){.refuse_batches = true};
    r = request_of("SELECT i FROM k8slogs");
    run(&a, &r);
    assert_int_equal(a.rc, ERR_CANCELLED);
    done(&a);
}

static void a_deadline_ends_the_query(void **state)
{
    struct answer a = {0};
    struct query_request r = request_of(long_query);
    (void)state;
    r.timeout_ms = 300;
    run(&a, &r);
    assert_int_equal(a.rc, ERR_TIMEOUT);
    assert_int_equal(a.e.detail, API_TIMEOUT);
    assert_non_null(strstr(a.e.msg, "timed out"));
    done(&a);
}

static bool kill_engine(void *pid)
{
    kill(*(pid_t *)pid, SIGKILL);
    return false;
}

static void an_engine_that_dies_is_a_clear_error(void **state)
{
    struct answer a = {0};
    struct query_request r = request_of(long_query);
    struct err e;
    (void)state;
    r.cancelled = kill_engine;
    r.cancelled_ctx = &engine.pid;
    run(&a, &r);
    assert_int_equal(a.rc, ERR_GONE);
    assert_int_equal(err_http_status(a.rc), 503);
    assert_non_null(strstr(a.e.msg, "engine"));
    done(&a);
    assert_int_not_equal(query_ping(service, &e), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_as_the_sql_says),
        cmocka_unit_test(size_from_and_the_range_choose_the_rows),
        cmocka_unit_test(figures_are_those_of_the_snapshot),
        cmocka_unit_test(the_total_is_a_count_over_the_same_snapshot),
        cmocka_unit_test(explain_shows_the_plan_and_runs_nothing_else),
        cmocka_unit_test(errors_carry_the_references_code_and_words),
        cmocka_unit_test(a_client_that_went_away_ends_the_query),
        cmocka_unit_test(a_deadline_ends_the_query),
        cmocka_unit_test(an_engine_that_dies_is_a_clear_error),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
