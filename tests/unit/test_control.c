// links: weir_fs weir_index
/* The control socket: fs/control/client.c against the server, over a real journal. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ipc.h"
#include "fs/control/control.h"
#include "fs/control/server.h"
#include "tests/support/scratch.h"

#define DEADLINE_MS 10000
#define SEGMENT_BYTES (1u << 20)

struct fixture {
    struct scratch dir;
    char *journal_dir, *lost_dir, *socket;
    struct journal *journal;
    struct registry *registry;
    struct status *status;
    struct notifier *notifier;
    struct snapshots *snapshots;
    struct sealed_reader held;
    struct control_server *server;
    _Atomic int dropped; /* names the notifier was told of */
    struct arena arena;
};

static uint64_t soon(void)
{
    return clock_mono_ms() + DEADLINE_MS;
}

static void on_grow(const struct ulid *id, void *ctx)
{
    struct fixture *f = ctx;
    struct journal_file file;

    assert_int_equal(journal_file_get(f->journal, id, &file, NULL), ERR_OK);
    assert_int_equal(registry_add(f->registry, &file, NULL), ERR_OK);
}

static void count_drop(const struct notifier_name *name, void *ctx)
{
    struct fixture *f = ctx;

    (void)name;
    f->dropped++;
}

static void start_server(struct fixture *f)
{
    struct control_server_config cfg = {
        .socket_path = f->socket,
        .journal = f->journal,
        .registry = f->registry,
        .status = f->status,
        .snapshots = f->snapshots,
        .commit_files = 5,
        .version = "1.2.3",
    };

    assert_int_equal(control_server_start(&cfg, &f->server, NULL), ERR_OK);
}

static void stop_server(struct fixture *f)
{
    control_server_stop(f->server);
    f->server = NULL;
}

/* As in a process that follows another, whose gateway may have snapshots (is_held). */
static void open_snapshots(struct fixture *f, bool is_held)
{
    struct snapshots_config nc = {.journal = f->journal,
                                  .registry = f->registry,
                                  .status = f->status,
                                  .notifier = f->notifier,
                                  .held = is_held ? &f->held : NULL};

    assert_int_equal(snapshots_new(&nc, &f->snapshots, NULL), ERR_OK);
}

/* The process with `living` snapshots died; what it knew of them is gone. */
static void follow_process(struct fixture *f, int64_t living)
{
    stop_server(f);
    snapshots_free(f->snapshots);
    status_count(f->status, GAUGE_SNAPSHOTS, -living);
    open_snapshots(f, true);
    start_server(f);
}

static void open_parts(struct fixture *f)
{
    struct journal_recovery found;
    struct journal_config jc = {.dir = f->journal_dir,
                                .lost_found_dir = f->lost_dir,
                                .max_bytes = UINT64_C(1) << 30,
                                .segment_bytes = SEGMENT_BYTES,
                                .fsync_disabled = true,
                                .on_grow = on_grow,
                                .ctx = f};
    struct status_config sc = {0};

    assert_int_equal(registry_new(&f->registry, NULL), ERR_OK);
    assert_int_equal(journal_open(&jc, &f->journal, &found, NULL), ERR_OK);
    sc.journal = f->journal;
    sc.registry = f->registry;
    assert_int_equal(status_new(&sc, &f->status, NULL), ERR_OK);
    assert_int_equal(notifier_start(f->status, count_drop, f, &f->notifier, NULL), ERR_OK);
    open_snapshots(f, false);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->dir = scratch_make();
    assert_true(asprintf(&f->journal_dir, "%s/journal", f->dir.path) > 0);
    assert_true(asprintf(&f->lost_dir, "%s/lost", f->dir.path) > 0);
    assert_true(asprintf(&f->socket, "%s/fs.sock", f->dir.path) > 0);
    arena_init(&f->arena, 16u << 20);
    open_parts(f);
    start_server(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    control_server_stop(f->server);
    notifier_stop(f->notifier);
    snapshots_free(f->snapshots);
    journal_close(f->journal);
    status_free(f->status);
    registry_free(f->registry);
    arena_done(&f->arena);
    scratch_remove(&f->dir);
    free(f->journal_dir);
    free(f->lost_dir);
    free(f->socket);
    free(f);
    return 0;
}

static struct control_client *connect_client(struct fixture *f)
{
    struct control_client *c;

    assert_int_equal(control_open(f->socket, soon(), &c, NULL), ERR_OK);
    return c;
}

static void expect_ok(enum err_code code, const struct err *e, void *ctx)
{
    (void)ctx;
    if (code)
        fail_msg("append: %s", e->msg);
}

/* One line into the file of a stream and hour. */
static void append(struct fixture *f, struct control_client *c, uint64_t number, uint64_t stream,
                   int32_t hour)
{
    struct batch_run run = {.stream = stream,
                            .type = STREAM_LOGS,
                            .org = STR("default"),
                            .name = STR("app"),
                            .hour = hour,
                            .lines = 1,
                            .min_ts_us = hour * US_PER_HOUR,
                            .max_ts_us = hour * US_PER_HOUR + 5,
                            .bytes = STR("{}\n")};
    struct batch_part part = {.id = {.epoch = control_epoch(c), .worker = 1, .number = number},
                              .parts = 1,
                              .flags = BATCH_LAST,
                              .runs = &run,
                              .run_count = 1};

    if (stream != 1)
        run.name = STR("db");
    journal_append(f->journal, &part, expect_ok, NULL);
}

static struct snapshot snapshot(struct fixture *f, struct control_client *c, int64_t start_us,
                                int64_t end_us)
{
    static const uint64_t streams[] = {1, 99};
    struct snapshot s;

    assert_int_equal(control_snapshot(c, streams, 2, start_us, end_us, soon(), &f->arena, &s, NULL),
                     ERR_OK);
    return s;
}

/* ---- cases ---- */

static void hello_gives_an_epoch_and_the_commit_files(void **state)
{
    struct fixture *f = *state;
    struct control_client *first = connect_client(f), *second = connect_client(f);

    assert_true(control_epoch(first) > 0);
    assert_true(control_epoch(second) > control_epoch(first));
    assert_int_equal(control_commit_files(first), 5);
    control_close(first);
    control_close(second);
}

static void a_snapshot_lists_the_files_of_its_streams_and_time(void **state)
{
    struct fixture *f = *state;
    struct control_client *c = connect_client(f);
    struct snapshot s;

    append(f, c, 1, 1, 10);
    append(f, c, 2, 1, 11);
    append(f, c, 3, 2, 10);
    append(f, c, 4, 1, 10);
    s = snapshot(f, c, 0, 0);
    assert_int_equal(s.file_count, 2);
    assert_int_equal(s.files[0].stream, 1);
    assert_int_equal(s.files[0].hour, 10);
    assert_int_equal(s.files[0].bytes, 6);
    assert_int_equal(s.files[0].rows, 2);
    assert_int_equal(s.files[0].min_ts_us, 10 * US_PER_HOUR);
    assert_int_equal(s.files[0].max_ts_us, 10 * US_PER_HOUR + 5);
    assert_int_equal(snapshot(f, c, 11 * US_PER_HOUR, 0).file_count, 1);
    assert_int_equal(snapshot(f, c, 0, 10 * US_PER_HOUR).file_count, 1);
    assert_int_equal(snapshot(f, c, 10 * US_PER_HOUR + 6, 11 * US_PER_HOUR - 1).file_count, 0);
    control_close(c);
}

static int64_t live_snapshots(struct fixture *f, struct control_client *c)
{
    struct json *stats;
    int64_t n;

    assert_int_equal(control_call(c, CONTROL_STATS, STR("{}"), soon(), &f->arena, &stats, NULL),
                     ERR_OK);
    assert_true(json_i64(json_get(json_get(stats, "fuse"), "snapshots"), &n));
    return n;
}

static void wait_for_drops(struct fixture *f, int want)
{
    for (uint64_t until = soon(); f->dropped < want && clock_mono_ms() < until;)
        sched_yield();
    assert_int_equal(f->dropped, want);
}

static void a_released_snapshot_is_forgotten_and_its_names_dropped(void **state)
{
    struct fixture *f = *state;
    struct control_client *c = connect_client(f);
    struct snapshot s;

    append(f, c, 1, 1, 10);
    s = snapshot(f, c, 0, 0);
    assert_int_equal(live_snapshots(f, c), 1);
    control_release(c, s.id);
    control_release(c, s.id);
    control_release(c, 12345);
    assert_int_equal(live_snapshots(f, c), 0);
    wait_for_drops(f, 1);
    control_close(c);
}

static void a_snapshot_whose_asker_hung_up_is_forgotten(void **state)
{
    struct fixture *f = *state;
    struct control_client *c = connect_client(f);
    struct ipc_msg m = {0};
    struct json *stats;
    char hello[64];
    int64_t taken = 0, live = 1;
    int fd;

    snprintf(hello, sizeof hello, "{\"epoch\":%llu}", (unsigned long long)control_epoch(c));
    buf_init(&m.body, 1 << 20);
    assert_int_equal(ipc_connect(f->socket, soon(), &fd, NULL), ERR_OK);
    assert_int_equal(ipc_send(fd, CONTROL_HELLO, 1, str_from(hello), NULL), ERR_OK);
    assert_int_equal(ipc_recv(fd, &m, soon(), NULL), ERR_OK);
    assert_int_equal(ipc_send(fd, CONTROL_SNAPSHOT, 2,
                              STR("{\"streams\":[1],\"start_us\":0,\"end_us\":0}"), NULL),
                     ERR_OK);
    close(fd);
    for (uint64_t until = soon(); (!taken || live) && clock_mono_ms() < until;) {
        arena_reset(&f->arena);
        assert_int_equal(control_call(c, CONTROL_STATS, STR("{}"), soon(), &f->arena, &stats, NULL),
                         ERR_OK);
        assert_true(json_i64(json_get(json_get(stats, "fuse"), "snapshots_taken"), &taken));
        assert_true(json_i64(json_get(json_get(stats, "fuse"), "snapshots"), &live));
    }
    assert_int_equal(taken, 1);
    assert_int_equal(live, 0);
    buf_done(&m.body);
    control_close(c);
}

static void a_newer_epoch_ends_the_snapshots_of_older_ones(void **state)
{
    struct fixture *f = *state;
    struct control_client *old = connect_client(f), *new;

    append(f, old, 1, 1, 10);
    snapshot(f, old, 0, 0);
    new = connect_client(f);
    assert_int_equal(live_snapshots(f, new), 0);
    control_close(old);
    control_close(new);
}

static void a_client_comes_back_under_its_epoch(void **state)
{
    struct fixture *f = *state;
    struct control_client *c = connect_client(f);
    uint64_t epoch = control_epoch(c);

    append(f, c, 1, 1, 10);
    for (int i = 0; i < 3; i++) {
        stop_server(f);
        start_server(f);
        assert_int_equal(snapshot(f, c, 0, 0).file_count, 1);
        assert_int_equal(control_epoch(c), epoch);
    }
    control_close(c);
}

static void snapshots_live_on_in_the_process_that_follows(void **state)
{
    struct fixture *f = *state;
    struct control_client *c = connect_client(f);
    uint64_t left, ended;

    append(f, c, 1, 1, 10);
    left = snapshot(f, c, 0, 0).id;
    ended = snapshot(f, c, 0, 0).id;
    control_release(c, ended);
    follow_process(f, 1);
    assert_int_equal(live_snapshots(f, c), 1);
    assert_int_equal(snapshots_declare(f->snapshots, control_epoch(c), 4711, NULL, 0, NULL),
                     ERR_AGAIN); /* all have been heard */
    stop_server(f);
    start_server(f); /* the same process: what it knows is said again, and changes nothing */
    assert_int_equal(live_snapshots(f, c), 1);
    control_release(c, left);
    assert_int_equal(live_snapshots(f, c), 0);
    control_close(c);
}

static void a_new_gateway_has_none_of_the_old_ones_snapshots(void **state)
{
    struct fixture *f = *state;
    struct control_client *old = connect_client(f), *new;

    append(f, old, 1, 1, 10);
    snapshot(f, old, 0, 0);
    assert_int_equal(live_snapshots(f, old), 1);
    control_close(old);
    follow_process(f, 1);
    new = connect_client(f);
    assert_int_equal(live_snapshots(f, new), 0);
    assert_int_equal(snapshots_declare(f->snapshots, control_epoch(new), 1, NULL, 0, NULL),
                     ERR_AGAIN);
    control_close(new);
}

static void a_client_of_an_older_epoch_is_refused(void **state)
{
    struct fixture *f = *state;
    struct control_client *old = connect_client(f), *new = connect_client(f);
    struct json *reply;
    struct err e = {0};

    stop_server(f);
    start_server(f);
    assert_int_equal(control_call(old, CONTROL_STATS, STR("{}"), soon(), &f->arena, &reply, &e),
                     ERR_STALE);
    assert_int_equal(e.code, ERR_STALE);
    control_close(old);
    control_close(new);
}

static void a_call_ends_at_its_deadline_when_nobody_answers(void **state)
{
    struct fixture *f = *state;
    struct control_client *c = connect_client(f);
    struct json *reply;
    uint64_t began = clock_mono_ms();

    stop_server(f);
    assert_int_not_equal(
        control_call(c, CONTROL_STATS, STR("{}"), clock_mono_ms() + 50, &f->arena, &reply, NULL),
        ERR_OK);
    assert_true(clock_mono_ms() - began < DEADLINE_MS);
    control_close(c);
}

static void *ask_for_stats(void *ctx)
{
    struct json *reply;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    assert_int_equal(control_call(ctx, CONTROL_STATS, STR("{}"), soon(), &arena, &reply, NULL),
                     ERR_OK);
    arena_done(&arena);
    return NULL;
}

static void a_call_that_takes_long_holds_up_no_other_past_its_deadline(void **state)
{
    struct fixture *f = *state;
    struct control_client *c = connect_client(f);
    uint64_t epoch = control_epoch(c), began;
    struct snapshot s = snapshot(f, c, 0, 0);
    int listening, silent;
    struct json *reply;
    pthread_t asking;

    assert_int_equal(live_snapshots(f, c), 1);
    stop_server(f);
    assert_int_equal(ipc_listen(f->socket, &listening, NULL), ERR_OK);
    assert_int_equal(pthread_create(&asking, NULL, ask_for_stats, c), 0);
    assert_int_equal(ipc_accept(listening, &silent, NULL), ERR_OK); /* it is never answered */
    began = clock_mono_ms();
    assert_int_equal(control_epoch(c), epoch);
    assert_int_equal(control_commit_files(c), 5);
    assert_int_equal(control_call(c, CONTROL_STATS, STR("{}"), began + 50, &f->arena, &reply, NULL),
                     ERR_TIMEOUT);
    control_release(c, s.id);
    assert_true(clock_mono_ms() - began < DEADLINE_MS / 2);
    close(listening);
    close(silent);
    start_server(f);
    pthread_join(asking, NULL);
    assert_int_equal(live_snapshots(f, c), 1);
    control_release(c, 12345); /* what did not get through is made up for */
    assert_int_equal(live_snapshots(f, c), 0);
    control_close(c);
}

static void errors_arrive_with_code_and_reason(void **state)
{
    struct fixture *f = *state;
    struct control_client *c = connect_client(f);
    static const struct {
        enum control_kind kind;
        const char *body, *reason;
        enum err_code code;
    } cases[] = {
        {CONTROL_SNAPSHOT, "{}", "streams", ERR_INVALID},
        {CONTROL_SNAPSHOT, "{\"streams\":[-1],\"start_us\":0,\"end_us\":0}", "number", ERR_INVALID},
        {CONTROL_SNAPSHOT, "{\"streams\":[1]}", "start_us", ERR_INVALID},
        {CONTROL_ROLL, "{\"stream\":1}", "hour", ERR_INVALID},
        {CONTROL_ROLL, "{\"stream\":1,\"hour\":9999999999}", "hour", ERR_INVALID},
        {CONTROL_RELEASE, "[]", "snapshot", ERR_INVALID},
        {CONTROL_STATS, "{", "JSON", ERR_INVALID},
        {(enum control_kind)77, "{}", "77", ERR_UNIMPL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json *reply;
        struct err e = {0};
        enum err_code rc =
            control_call(c, cases[i].kind, str_from(cases[i].body), soon(), &f->arena, &reply, &e);
        assert_int_equal(rc, cases[i].code);
        assert_non_null(strstr(e.msg, cases[i].reason));
    }
    assert_int_equal(live_snapshots(f, c), 0);
    control_close(c);
}

static void a_roll_begins_a_new_file(void **state)
{
    struct fixture *f = *state;
    struct control_client *c = connect_client(f);
    struct json *reply;

    append(f, c, 1, 1, 10);
    assert_int_equal(control_call(c, CONTROL_ROLL, STR("{\"stream\":1,\"hour\":10}"), soon(),
                                  &f->arena, &reply, NULL),
                     ERR_OK);
    append(f, c, 2, 1, 10);
    assert_int_equal(snapshot(f, c, 0, 0).file_count, 2);
    control_close(c);
}

static void more_connections_than_slots_are_turned_away(void **state)
{
    struct fixture *f = *state;
    struct control_client *c[CONTROL_CONNECTIONS_MAX], *late;

    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        c[i] = connect_client(f);
    assert_int_not_equal(control_open(f->socket, clock_mono_ms() + 50, &late, NULL), ERR_OK);
    control_close(c[7]);
    assert_int_equal(control_open(f->socket, soon(), &c[7], NULL), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        control_close(c[i]);
}

static void the_last_errors_are_a_ring(void **state)
{
    struct fixture *f = *state;
    struct buf text;
    char message[32];
    size_t lines = 0;

    for (int i = 0; i < LAST_ERRORS_MAX + 10; i++) {
        int n = snprintf(message, sizeof message, "error %d", i);
        status_report(f->status, STR("test"), (struct str){message, (size_t)n});
    }
    buf_init(&text, 1 << 20);
    assert_int_equal(status_text(f->status, STATUS_LAST_ERRORS, &text, NULL), ERR_OK);
    for (size_t i = 0; i < text.len; i++)
        lines += text.data[i] == '\n';
    assert_int_equal(lines, LAST_ERRORS_MAX);
    assert_null(strstr(text.data, "error 9\n"));
    assert_non_null(strstr(text.data, "test: error 10\n"));
    assert_non_null(strstr(text.data, "test: error 265\n"));
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hello_gives_an_epoch_and_the_commit_files, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_lists_the_files_of_its_streams_and_time, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_released_snapshot_is_forgotten_and_its_names_dropped,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_whose_asker_hung_up_is_forgotten, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_newer_epoch_ends_the_snapshots_of_older_ones, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_client_comes_back_under_its_epoch, setup, teardown),
        cmocka_unit_test_setup_teardown(snapshots_live_on_in_the_process_that_follows, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_new_gateway_has_none_of_the_old_ones_snapshots, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_client_of_an_older_epoch_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_call_ends_at_its_deadline_when_nobody_answers, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_call_that_takes_long_holds_up_no_other_past_its_deadline,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(errors_arrive_with_code_and_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(a_roll_begins_a_new_file, setup, teardown),
        cmocka_unit_test_setup_teardown(more_connections_than_slots_are_turned_away, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_last_errors_are_a_ring, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
