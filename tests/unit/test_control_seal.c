// links: weir_fs weir_index
/* Sealing over the control socket: what may be sealed, closing, publishing, and what a snapshot
 * says of a part. */
#include "tests/support/sealed_fixture.h"

#include <dirent.h>
#include <pthread.h>

#include "fs/control/control.h"
#include "fs/control/server.h"

#define HOUR 490000 /* 2025-11-24 16:00 */
#define DEADLINE_MS 10000

struct fixture {
    struct store *store;
    char socket[STORE_PATH_MAX];
    struct control_server *server;
    struct control_client *client;
    struct arena arena;
    struct err e;
};

static uint64_t soon(void)
{
    return clock_mono_ms() + DEADLINE_MS;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct control_server_config cc = {.socket_path = f->socket, .version = "1", .commit_files = 1};

    f->store = store_make();
    store_open(f->store);
    arena_init(&f->arena, 16u << 20);
    snprintf(f->socket, sizeof f->socket, "%s/fs.sock", f->store->dir.path);
    cc.journal = f->store->journal;
    cc.registry = f->store->registry;
    cc.status = f->store->status;
    cc.snapshots = f->store->snapshots;
    cc.sealed = f->store->sealed;
    *state = f;
    if (control_server_start(&cc, &f->server, &f->e) ||
        control_open(f->socket, soon(), &f->client, &f->e))
        return -1;
    f->store->epoch = control_epoch(f->client);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    control_close(f->client);
    control_server_stop(f->server);
    store_remove(f->store);
    arena_done(&f->arena);
    free(f);
    return 0;
}

static size_t sealable(struct fixture *f, uint64_t bytes, int64_t before_us, uint64_t limit,
                       struct sealable **files, bool *more)
{
    size_t count = 0;

    if (control_sealable(f->client, bytes, before_us, limit, soon(), &f->arena, files, &count, more,
                         &f->e))
        fail_msg("%s", f->e.msg);
    return count;
}

static struct snapshot snapshot(struct fixture *f, uint64_t stream)
{
    struct snapshot s;

    if (control_snapshot(f->client, &stream, 1, 0, 0, soon(), &f->arena, &s, &f->e))
        fail_msg("%s", f->e.msg);
    return s;
}

/* ---- what may be sealed ---- */

static void large_old_and_closed_files_may_be_sealed(void **state)
{
    struct fixture *f = *state;
    struct sealable *files;
    bool more;

    store_append(f->store, STREAM_LOGS, 1, "small", HOUR, 1);
    store_append(f->store, STREAM_LOGS, 2, "large", HOUR, 1000);
    store_append(f->store, STREAM_LOGS, 3, "closed", HOUR, 1);
    store_roll(f->store, 3, HOUR);
    assert_int_equal(sealable(f, 1000, 0, 10, &files, &more), 2);
    assert_true(files[0].stream == 2 && files[0].open && files[0].rows == 1000);
    assert_true(files[1].stream == 3 && !files[1].open && files[1].hour == HOUR);
    assert_true(str_eq(files[1].name, STR("closed")) && str_eq(files[1].org, STR("default")));
    assert_int_equal(sealable(f, UINT32_MAX, clock_wall_us(), 10, &files, &more), 3);
    assert_false(more);
    assert_int_equal(sealable(f, 0, 0, 2, &files, &more), 2);
    assert_true(more && files[0].stream == 1); /* the oldest first */
}

/* One line in each of `count` streams, from `first` on, in one batch. */
static void append_streams(struct store *s, uint64_t first, size_t count)
{
    struct batch_run *runs = calloc(count, sizeof *runs);
    struct batch_part part = {.id = {s->epoch, 1, ++s->batches},
                              .parts = 1,
                              .flags = BATCH_LAST,
                              .runs = runs,
                              .run_count = count};
    for (size_t i = 0; i < count; i++)
        runs[i] = (struct batch_run){.stream = first + i,
                                     .type = STREAM_LOGS,
                                     .org = STR("default"),
                                     .name = STR("app"),
                                     .hour = HOUR,
                                     .lines = 1,
                                     .min_ts_us = HOUR * US_PER_HOUR,
                                     .max_ts_us = HOUR * US_PER_HOUR,
                                     .bytes = STR("{\"a\":1}\n")};
    journal_append(s->journal, &part, store_appended, NULL);
    assert_int_equal(journal_sync(s->journal, &s->e), ERR_OK);
    free(runs);
}

static void more_files_than_a_page_has_come_each_once_the_oldest_first(void **state)
{
    const uint64_t wanted = 2 * CONTROL_SEALABLE_PAGE + 3;
    struct fixture *f = *state;
    struct sealable *files;
    struct json *page;
    bool more;

    for (uint64_t i = 0; i < wanted; i += 1000)
        append_streams(f->store, i + 1, wanted - i < 1000 ? wanted - i : 1000);
    assert_int_equal(sealable(f, 0, 0, wanted + 5, &files, &more), wanted);
    assert_false(more);
    for (uint64_t i = 1; i < wanted; i++)
        assert_true(ulid_cmp(&files[i - 1].id, &files[i].id) < 0);
    assert_int_equal(sealable(f, 0, 0, wanted, &files, &more), wanted);
    assert_false(more);
    assert_int_equal(sealable(f, 0, 0, wanted - 1, &files, &more), wanted - 1);
    assert_true(more);
    assert_int_equal(sealable(f, 0, 0, 0, &files, &more), 0);
    assert_true(more);
    assert_int_equal(control_call(f->client, CONTROL_SEALABLE,
                                  STR("{\"bytes\":0,\"before_us\":0,\"limit\":1000000}"), soon(),
                                  &f->arena, &page, &f->e),
                     ERR_OK);
    assert_int_equal(json_get(page, "files")->count, CONTROL_SEALABLE_PAGE);
}

/* ---- publishing ---- */

static enum err_code publish(struct fixture *f, const struct staged *st)
{
    struct buf json;
    enum err_code rc;

    buf_init(&json, 1u << 20);
    store_part_json(&json, st);
    rc = control_publish(f->client, buf_str(&json), st->files, st->file_count, soon(), &f->e);
    buf_done(&json);
    return rc;
}

static struct journal_file close_file(struct fixture *f, uint64_t stream)
{
    struct store_find find = {.stream = stream, .hour = HOUR};
    struct journal_file file;
    struct sealable *closed;
    size_t count;

    journal_file_list(f->store->journal, store_match, &find);
    assert_true(find.found);
    assert_int_equal(
        control_roll_files(f->client, &find.file.id, 1, soon(), &f->arena, &closed, &count, &f->e),
        ERR_OK);
    assert_int_equal(count, 1);
    assert_false(closed[0].open);
    assert_int_equal(journal_file_get(f->store->journal, &closed[0].id, &file, &f->e), ERR_OK);
    return file;
}

static void a_snapshot_names_the_part_its_path_and_its_columns(void **state)
{
    struct fixture *f = *state;
    struct journal_file file;
    struct sealable *files;
    struct staged st;
    struct snapshot s;
    char path[128], id[ULID_TEXT_LEN + 1];
    bool more;

    store_append(f->store, STREAM_LOGS, 1, "a/b", HOUR, 3);
    file = close_file(f, 1);
    store_stage(f->store, &st, &file);
    if (publish(f, &st))
        fail_msg("%s", f->e.msg);
    s = snapshot(f, 1);
    ulid_format(&st.part.id, id);
    snprintf(path, sizeof path, ".weir/at/%s.parquet", id);
    assert_int_equal(s.file_count, 1);
    assert_true(s.files[0].is_sealed && str_eq(s.files[0].path, str_from(path)));
    assert_int_equal(s.files[0].rows, 3);
    assert_int_equal(s.files[0].bytes, st.part.stored_bytes);
    assert_int_equal(s.files[0].text_bytes, st.part.raw_bytes);
    assert_int_equal(s.schema_count, 1);
    assert_int_equal(s.files[0].schema, 0);
    assert_int_equal(s.schemas[0].columns->count, 2);
    assert_int_equal(publish(f, &st), ERR_OK);
    assert_int_equal(sealable(f, 0, INT64_MAX, 10, &files, &more), 0);
}

static void a_snapshot_of_a_metric_tells_what_is_its_own(void **state)
{
    struct fixture *f = *state;
    struct journal_file files[2];
    struct staged st;
    struct snapshot s;
    char path[128], id[ULID_TEXT_LEN + 1];

    store_append(f->store, STREAM_METRICS, 11, "cpu", HOUR, 2);
    store_append(f->store, STREAM_METRICS, 12, "mem", HOUR, 5);
    files[0] = close_file(f, 11);
    files[1] = close_file(f, 12);
    store_stage_metrics(f->store, &st, files, 2);
    if (publish(f, &st))
        fail_msg("%s", f->e.msg);
    s = snapshot(f, 12);
    ulid_format(&st.part.id, id);
    snprintf(path, sizeof path, ".weir/at/%s.parquet", id);
    assert_int_equal(s.file_count, 1);
    assert_true(str_eq(s.files[0].path, str_from(path)));
    assert_true(str_eq(s.files[0].name, STR("mem")) && s.files[0].stream == 12);
    assert_int_equal(s.files[0].rows, 5);
    assert_int_equal(s.files[0].text_bytes, files[1].size);
}

static void figures_come_for_streams_in_order(void **state)
{
    struct fixture *f = *state;
    struct figures list[] = {{.stream = 11}, {.stream = 12, .rows = 77}, {.stream = 13}};

    store_append(f->store, STREAM_METRICS, 11, "cpu", HOUR, 2);
    store_append(f->store, STREAM_METRICS, 13, "mem", HOUR, 5);
    assert_int_equal(control_figures(f->client, STR("default"), list, 3, soon(), &f->e), ERR_OK);
    assert_true(list[0].rows == 2 && list[0].files == 1 && list[0].sealed_bytes == 0);
    assert_true(list[1].stream == 12 && list[1].rows == 0);
    assert_true(list[2].rows == 5 && list[2].text_bytes == 40);
    assert_true(list[2].min_ts_us == HOUR * US_PER_HOUR);
    assert_true(list[2].max_ts_us == HOUR * US_PER_HOUR + 5);
    list[1].stream = 11;
    assert_int_equal(control_figures(f->client, STR("default"), list, 3, soon(), &f->e),
                     ERR_INVALID);
}

static void of_many_files_those_that_are_sealed_are_not_closed(void **state)
{
    struct fixture *f = *state;
    struct journal_file file;
    struct sealable *closed;
    struct staged st;
    size_t count;

    store_append(f->store, STREAM_LOGS, 1, "app", HOUR, 3);
    file = close_file(f, 1);
    store_stage(f->store, &st, &file);
    assert_int_equal(publish(f, &st), ERR_OK);
    store_append(f->store, STREAM_LOGS, 2, "web", HOUR, 2);
    store_append(f->store, STREAM_LOGS, 3, "db", HOUR, 1);
    struct store_find web = {.stream = 2, .hour = HOUR}, db = {.stream = 3, .hour = HOUR};
    journal_file_list(f->store->journal, store_match, &web);
    journal_file_list(f->store->journal, store_match, &db);
    struct ulid ids[] = {db.file.id, file.id, ulid_new(), web.file.id};
    assert_int_equal(
        control_roll_files(f->client, ids, 4, soon(), &f->arena, &closed, &count, &f->e), ERR_OK);
    assert_int_equal(count, 2);
    assert_true(closed[0].stream == 3 && closed[0].rows == 1 && !closed[0].open);
    assert_true(closed[1].stream == 2 && closed[1].rows == 2 && !closed[1].open);
}

static void more_files_than_may_be_are_not_closed_at_once(void **state)
{
    static struct ulid ids[CONTROL_ROLL_FILES_MAX + 1];
    struct fixture *f = *state;
    struct sealable *closed;
    size_t count;

    assert_int_equal(control_roll_files(f->client, ids, CONTROL_ROLL_FILES_MAX + 1, soon(),
                                        &f->arena, &closed, &count, &f->e),
                     ERR_TOOBIG);
    assert_int_equal(control_roll_files(f->client, ids, CONTROL_ROLL_FILES_MAX, soon(), &f->arena,
                                        &closed, &count, &f->e),
                     ERR_OK);
    assert_int_equal(count, 0);
}

static size_t staged_files(const struct fixture *f)
{
    char path[STORE_PATH_MAX + 16];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/staging", f->store->data);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir));)
        count += d->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void what_a_failed_seal_has_staged_is_removed(void **state)
{
    struct fixture *f = *state;
    struct journal_file app, web;
    struct staged first, second;

    store_append(f->store, STREAM_LOGS, 1, "app", HOUR, 3);
    store_append(f->store, STREAM_LOGS, 2, "web", HOUR, 3);
    app = close_file(f, 1);
    web = close_file(f, 2);
    store_stage(f->store, &first, &app);
    store_stage(f->store, &second, &web);
    assert_int_equal(staged_files(f), 4);
    assert_int_equal(control_discard(f->client, &first.part.id, soon(), &f->e), ERR_OK);
    assert_int_equal(staged_files(f), 2);
    assert_int_not_equal(publish(f, &first), ERR_OK);
    assert_int_equal(publish(f, &second), ERR_OK);
    assert_int_equal(control_discard(f->client, &second.part.id, soon(), &f->e), ERR_OK);
    store_stage(f->store, &first, &app);
    assert_int_equal(publish(f, &first), ERR_OK);
}

static void a_new_epoch_removes_what_the_last_has_staged(void **state)
{
    struct fixture *f = *state;
    struct control_client *beside, *next;
    struct journal_file app;
    struct staged st;

    store_append(f->store, STREAM_LOGS, 1, "app", HOUR, 3);
    app = close_file(f, 1);
    store_stage(f->store, &st, &app);
    assert_int_equal(control_open_beside(f->client, soon(), &beside, &f->e), ERR_OK);
    assert_int_equal(staged_files(f), 2);
    control_close(beside);
    assert_int_equal(control_open(f->socket, soon(), &next, &f->e), ERR_OK);
    assert_int_equal(staged_files(f), 0);
    control_close(next);
}

static void a_bad_publication_says_what_is_wrong(void **state)
{
    static const struct {
        const char *body, *reason;
        enum err_code code;
    } cases[] = {
        {"{}", "files", ERR_INVALID},
        {"{\"files\":[]}", "files", ERR_INVALID},
        {"{\"files\":[\"x\"]}", "file 0", ERR_INVALID},
        {"{\"files\":[\"01M8428F0GRV1ASYQ2AWTM0T6M\"]}", "\"id\"", ERR_INVALID},
        {"{\"files\":[\"01M8428F0GRV1ASYQ2AWTM0T6M\"],\"part\":{\"id\":"
         "\"01M8428F0GRV1ASYQ2AWTM0T6M\",\"org\":\"o\",\"type\":\"loggs\"}}",
         "\"type\"", ERR_INVALID},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json *reply;
        struct err e = {0};
        assert_int_equal(control_call(f->client, CONTROL_PUBLISH, str_from(cases[i].body), soon(),
                                      &f->arena, &reply, &e),
                         cases[i].code);
        assert_non_null(strstr(e.msg, cases[i].reason));
    }
}

/* ---- snapshots hold what they read ---- */

static void a_snapshot_reads_its_file_until_it_is_released(void **state)
{
    struct fixture *f = *state;
    struct journal_file file;
    struct staged st;
    struct snapshot s;
    char text[64];
    size_t got;

    store_append(f->store, STREAM_LOGS, 1, "app", HOUR, 3);
    s = snapshot(f, 1);
    assert_false(s.files[0].is_sealed);
    file = close_file(f, 1);
    store_stage(f->store, &st, &file);
    assert_int_equal(publish(f, &st), ERR_OK);
    assert_int_equal(
        journal_read(f->store->journal, &s.files[0].id, 0, text, s.files[0].bytes, &got, &f->e),
        ERR_OK);
    assert_int_equal(got, s.files[0].bytes);
    control_release(f->client, s.id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(more_files_than_a_page_has_come_each_once_the_oldest_first,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_old_and_closed_files_may_be_sealed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_snapshot_names_the_part_its_path_and_its_columns, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_snapshot_of_a_metric_tells_what_is_its_own, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(figures_come_for_streams_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_many_files_those_that_are_sealed_are_not_closed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(more_files_than_may_be_are_not_closed_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_a_failed_seal_has_staged_is_removed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_new_epoch_removes_what_the_last_has_staged, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_bad_publication_says_what_is_wrong, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_snapshot_reads_its_file_until_it_is_released, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
