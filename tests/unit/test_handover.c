// links: weir_fs weir_index
/* The hand-over from lines to a sealed file, seen from a real mount: open handles, names, listings,
 * and the tools people use. */
#include "tests/support/mounted_store.h"

#include <dirent.h>

#include "fs/control/control.h"

#define CALL_MS 20000
#define CLOSED 20 /* files of one hour */

struct seals {
    struct control_client *client;
    struct arena arena;
    struct sealable *files;
    size_t count;
};

static uint64_t soon(void)
{
    return clock_mono_ms() + CALL_MS;
}

static void find_sealable(struct mounted *m, struct seals *s)
{
    char socket[STORE_PATH_MAX + 32];
    bool more;

    snprintf(socket, sizeof socket, "%s/run/fs.sock", m->store->data);
    arena_init(&s->arena, 1u << 20);
    if (control_open(socket, soon(), &s->client, &m->store->e) ||
        control_sealable(s->client, 1, 0, 1000, soon(), &s->arena, &s->files, &s->count, &more,
                         &m->store->e))
        fail_msg("%s", m->store->e.msg);
}

static void end_seals(struct seals *s)
{
    control_close(s->client);
    arena_done(&s->arena);
}

static void seal(struct mounted *m, struct seals *s, const struct sealable *wanted)
{
    struct sealable *closed, f;
    size_t count;
    struct journal_file file;
    struct staged st;
    struct buf json;

    if (control_roll_files(s->client, &wanted->id, 1, soon(), &s->arena, &closed, &count,
                           &m->store->e))
        fail_msg("%s", m->store->e.msg);
    assert_int_equal(count, 1);
    f = closed[0];
    file = (struct journal_file){.id = f.id,
                                 .stream = f.stream,
                                 .org = f.org,
                                 .name = f.name,
                                 .type = f.type,
                                 .hour = f.hour,
                                 .size = f.bytes,
                                 .rows = f.rows,
                                 .min_ts_us = f.min_ts_us,
                                 .max_ts_us = f.max_ts_us};
    store_stage(m->store, &st, &file);
    buf_init(&json, 1u << 20);
    store_part_json(&json, &st);
    if (control_publish(s->client, buf_str(&json), &f.id, 1, soon(), &m->store->e))
        fail_msg("%s", m->store->e.msg);
    buf_done(&json);
}

static const struct sealable *file_of_hour(const struct seals *s, int32_t hour)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->files[i].type == STREAM_LOGS && s->files[i].hour == hour)
            return &s->files[i];
    }
    static const struct sealable none;
    fail_msg("hour %d has no file", hour);
    return &none;
}

static void an_open_handle_reads_on_and_then_is_stale(void **state)
{
    char lines[512], parquet[512], bytes[64];
    struct seals s;
    struct ulid id;

    (void)state;
    mounted_or_skip();
    struct mounted *m = mounted_start("all", NULL);
    find_sealable(m, &s);
    id = file_of_hour(&s, MOUNTED_HOUR + 1)->id;
    snprintf(lines, sizeof lines, "%s/default/logs/app/2025/11/24/17/", m->dir);
    name_format_data(&id, lines + strlen(lines));
    snprintf(parquet, sizeof parquet, "%s/default/logs/app/2025/11/24/17/", m->dir);
    name_format_part(&id, parquet + strlen(parquet));
    AUTO_FD int fd = open(lines, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(access(parquet, F_OK), -1);
    seal(m, &s, file_of_hour(&s, MOUNTED_HOUR + 1));
    assert_int_equal(access(parquet, F_OK), 0);
    assert_int_equal(pread(fd, bytes, sizeof bytes, 0), 2 * (sizeof MOUNTED_LINE - 1));
    assert_memory_equal(bytes, MOUNTED_LINE MOUNTED_LINE, 2 * (sizeof MOUNTED_LINE - 1));
    assert_int_equal(mounted_read(parquet, (char[8192]){0}, 8192), 4096);

    uint64_t until = soon();
    while (pread(fd, bytes, sizeof bytes, 0) >= 0) {
        assert_true(clock_mono_ms() < until);
        poll(NULL, 0, 10);
    }
    assert_int_equal(errno, ESTALE);
    assert_int_equal(open(lines, O_RDONLY | O_CLOEXEC), -1);
    assert_int_equal(errno, ENOENT);
    end_seals(&s);
    mounted_end(m);
}

/* ---- listings ---- */

static void close_many(struct store *s)
{
    for (int i = 0; i < CLOSED; i++) {
        store_append(s, STREAM_LOGS, MOUNTED_APP, "app", MOUNTED_HOUR + 2, 1);
        assert_int_equal(journal_roll(s->journal, MOUNTED_APP, MOUNTED_HOUR + 2, &s->e), ERR_OK);
    }
}

static int name_order(const void *a, const void *b)
{
    return strncmp(a, b, ULID_TEXT_LEN);
}

/* Each id once, under either name. */
static bool listing_is_right(const char *dir)
{
    char names[2 * CLOSED][NAME_PART_MAX];
    size_t count = 0;
    DIR *d = opendir(dir);

    for (struct dirent *e; d && count < 2 * CLOSED && (e = readdir(d));) {
        if (e->d_name[0] != '.')
            snprintf(names[count++], NAME_PART_MAX, "%.39s", e->d_name);
    }
    if (d)
        closedir(d);
    qsort(names, count, NAME_PART_MAX, name_order);
    for (size_t i = 1; i < count; i++) {
        if (strncmp(names[i - 1], names[i], ULID_TEXT_LEN) == 0)
            return false;
    }
    return count == CLOSED;
}

static pid_t start_lister(const char *dir)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    for (;;) {
        if (!listing_is_right(dir))
            _exit(1);
    }
}

static void a_listing_shows_one_of_both_names_at_every_moment(void **state)
{
    char dir[512];
    pid_t listers[2];
    struct seals s;
    int status;

    (void)state;
    mounted_or_skip();
    struct mounted *m = mounted_start("all", close_many);
    find_sealable(m, &s);
    snprintf(dir, sizeof dir, "%s/default/logs/app/2025/11/24/18", m->dir);
    assert_true(listing_is_right(dir));
    for (size_t i = 0; i < ARRAY_LEN(listers); i++)
        listers[i] = start_lister(dir);
    for (size_t i = 0; i < s.count; i++) {
        if (s.files[i].hour == MOUNTED_HOUR + 2)
            seal(m, &s, &s.files[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(listers); i++) {
        kill(listers[i], SIGTERM); /* dies of it, unless it has ended with a finding */
        assert_int_equal(waitpid(listers[i], &status, 0), listers[i]);
        assert_true(WIFSIGNALED(status));
    }
    end_seals(&s);
    mounted_end(m);
}

/* ---- tools ---- */

static void assert_runs(const struct mounted *m, const char *command)
{
    char all[1024];

    snprintf(all, sizeof all,
             "cd %s/default && C=%s/copy && rm -rf $C && mkdir $C && { %s; } > $C.said 2>&1 || { "
             "cat $C.said; false; }",
             m->dir, m->store->dir.path, command);
    if (system(all) != 0)
        fail_msg("%s", command);
}

static void tools_find_their_way(void **state)
{
    static const char *const commands[] = {
        "test $(find . -name '*.parquet' | wc -l) = 2",
        "test $(find . -name '*.ndjson' | wc -l) = 5",
        "test $(find . -links +2 | wc -l) = 0",
        "ls -lR . > $C/list && ! grep '?' $C/list",
        "du -sb . > /dev/null",
        "test $(cat logs/app/text/2025/11/24/16/*.ndjson | wc -l) = 500",
        "test $(grep -rh a metrics --include=*.ndjson | wc -l) = 8",
        "test \"$(tail -n 1 logs/app/text/2025/11/24/16/*.ndjson)\" = '{\"a\":1}'",
        "cmp logs/app/text/2025/11/24/16/*.ndjson logs/app/text/2025/11/24/16/*.ndjson",
        "cp -a . $C && diff -r . $C && test $(find $C -newermt '2020-01-01' -type f | wc -l) -gt 5",
        "tar cf $C/all.tar . && tar df $C/all.tar",
        "! touch logs/app/x && ! rm -f logs/app/2025/11/24/16/*.parquet && ! mv logs/app logs/b",
        "command -v rsync > /dev/null || exit 0; rsync -a . $C && diff -r . $C &&"
        " test -z \"$(rsync -ai . $C)\"",
    };

    (void)state;
    mounted_or_skip();
    struct mounted *m = mounted_start("all", NULL);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        assert_runs(m, commands[i]);
    mounted_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(an_open_handle_reads_on_and_then_is_stale, mounted_clear),
        cmocka_unit_test_teardown(a_listing_shows_one_of_both_names_at_every_moment, mounted_clear),
        cmocka_unit_test_teardown(tools_find_their_way, mounted_clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
