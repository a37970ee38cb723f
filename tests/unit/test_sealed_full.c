// links: weir_fs weir_index
/* An index without room: what is published is shown as the files it was made of, over any number of
 * starts, until there is room.
 *
 * This program has its own pwrite and writev: pages of an index fail when they are to.
 */
#include "tests/support/sealed_fixture.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/sys.h"
#include "fs/sealed/internal.h"

#define HOUR 490000
#define PLACE "sealed/2025112416" /* HOUR */
#define DEADLINE_MS 20000
#define SETTLE_MS 200 /* far below what the keeper waits between two tries */
#define SWEEP_MAX 200
#define NO_LIMIT (-1)
#define META_BYTES 8192 /* of LMDB: written in place, with no need of room */

static _Atomic int writes_left = NO_LIMIT;
static _Atomic int failures_left = NO_LIMIT; /* once no writes are left */
static _Atomic int failure = ENOSPC;

static bool is_index(int fd)
{
    static const char name[] = "/index/data.mdb";
    char link[64], path[512];
    ssize_t len;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof path);
    return len >= (ssize_t)sizeof name &&
           memcmp(path + len + 1 - sizeof name, name, sizeof name - 1) == 0;
}

static bool fails(int fd)
{
    int left = atomic_load(&writes_left);

    if (left == NO_LIMIT || !is_index(fd))
        return false;
    while (left > 0 && !atomic_compare_exchange_weak(&writes_left, &left, left - 1))
        ;
    if (left > 0)
        return false;
    errno = atomic_load(&failure);
    if (atomic_load(&failures_left) != NO_LIMIT && atomic_fetch_sub(&failures_left, 1) == 1)
        atomic_store(&writes_left, NO_LIMIT);
    return true;
}

/* As LMDB calls it; our own files are written by pwrite64. */
ssize_t write_page(int fd, const void *p, size_t n, off_t at) __asm__("pwrite");
ssize_t write_page(int fd, const void *p, size_t n, off_t at)
{
    return at >= META_BYTES && fails(fd) ? -1 : syscall(SYS_pwrite64, fd, p, n, at);
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
    return fails(fd) ? -1 : syscall(SYS_writev, fd, v, count);
}

/* ---- what is there ---- */

enum { STREAMS = 5, EXTRA = STREAMS };
static const uint64_t streams[STREAMS + 1] = {1, 2, 3, 11, 12, 4};
static const uint64_t rows[STREAMS + 1] = {3, 4, 6, 2, 5, 7};

/* What has parts alone is not known from the journal. */
static void add_streams(struct store *s)
{
    for (size_t i = 0; i < STREAMS; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%u", (unsigned)streams[i]);
        registry_add_stream(s->registry, streams[i], STR("default"),
                            streams[i] > 10 ? STREAM_METRICS : STREAM_LOGS, str_from(name), 0,
                            NULL);
    }
}

static void append(struct store *s, size_t i)
{
    char name[16];

    snprintf(name, sizeof name, "s%u", (unsigned)streams[i]);
    store_append(s, streams[i] > 10 ? STREAM_METRICS : STREAM_LOGS, streams[i], name, HOUR,
                 (uint32_t)rows[i]);
}

static const struct part_column other_columns[] = {{{"_timestamp", 10}, FIELD_INT64, 1, false}};

/* The third one has columns of its own. */
static enum err_code publish_logs(struct store *s, size_t i, struct staged *st)
{
    struct journal_file f;

    append(s, i);
    f = store_roll(s, streams[i], HOUR);
    store_stage(s, st, &f);
    return i == 2 ? sealed_publish(s->sealed, &st->part, other_columns, ARRAY_LEN(other_columns),
                                   st->files, st->file_count, &s->e)
                  : store_publish(s, st);
}

static enum err_code publish_metrics(struct store *s, struct staged *st)
{
    struct journal_file f[2];

    append(s, 3);
    append(s, 4);
    f[0] = store_roll(s, streams[3], HOUR);
    f[1] = store_roll(s, streams[4], HOUR);
    store_stage_metrics(s, st, f, 2);
    return store_publish(s, st);
}

/* One part in the index, and three that wait for room there. */
static void make_waiting(struct store *s)
{
    struct staged st;

    assert_int_equal(publish_logs(s, 0, &st), ERR_OK);
    atomic_store(&writes_left, 0);
    assert_int_equal(publish_logs(s, 1, &st), ERR_FULL);
    assert_int_equal(publish_logs(s, 2, &st), ERR_FULL);
    assert_int_equal(publish_metrics(s, &st), ERR_FULL);
}

/* Every row once, and can be read; how many streams are shown as parts. */
static unsigned look_at_all(struct store *s)
{
    unsigned parts = 0;

    for (size_t i = 0; i < STREAMS; i++) {
        struct seen seen = store_look(s, streams[i]);
        assert_int_equal(seen.rows, rows[i]);
        assert_int_equal(seen.files + seen.parts, 1);
        parts += (unsigned)seen.parts;
    }
    return parts;
}

static void wait_for_parts(struct store *s, unsigned count)
{
    uint64_t until_ms = clock_mono_ms() + DEADLINE_MS;

    while (look_at_all(s) != count && clock_mono_ms() < until_ms)
        sched_yield();
    assert_int_equal(look_at_all(s), count);
}

static unsigned count_files(const struct store *s, const char *suffix)
{
    char command[512], text[16] = "";
    FILE *out;

    snprintf(command, sizeof command, "ls '%s/" PLACE "' | grep -c '%s$'", s->data, suffix);
    out = popen(command, "r");
    assert_non_null(fgets(text, sizeof text, out));
    pclose(out);
    return (unsigned)atoi(text);
}

static void open_again(struct store *s)
{
    store_close(s);
    store_open(s);
    add_streams(s);
}

/* What a process killed at this moment would have left. */
static struct store *copy_of(const struct store *s)
{
    struct store *copy = store_make();

    store_run("cp -a '%s' '%s'", s->data, copy->data);
    return copy;
}

static int set_up(void **state)
{
    struct store *s = store_make();

    atomic_store(&writes_left, NO_LIMIT);
    atomic_store(&failures_left, NO_LIMIT);
    atomic_store(&failure, ENOSPC);
    store_open(s);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    atomic_store(&writes_left, NO_LIMIT);
    store_remove(*state);
    return 0;
}

static uint64_t stored_position(struct store *s)
{
    uint64_t segment = 0, offset = 0;

    assert_int_equal(parts_position(sealed_index(s->sealed), &segment, &offset, &s->e), ERR_OK);
    return segment << 32 | offset;
}

/* What the journal is told that it may free. */
static uint64_t covered_position(struct store *s)
{
    LOCK_SCOPE(&s->sealed->lock);
    return sealed_covered_locked(s->sealed);
}

/* A part is shown a moment before its flight ends. */
static void wait_for_position_past(struct store *s, uint64_t before)
{
    uint64_t until_ms = clock_mono_ms() + DEADLINE_MS;

    while (covered_position(s) <= before && clock_mono_ms() < until_ms)
        sched_yield();
    assert_true(covered_position(s) > before);
}

/* ---- starts ---- */

static void starts_without_room_show_the_files_and_later_the_parts(void **state)
{
    struct store *s = *state;
    uint64_t before;

    make_waiting(s);
    before = stored_position(s);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(look_at_all(s), 1);
        assert_int_equal(count_files(s, ".parquet"), 4);
        assert_int_equal(count_files(s, ".pending"), 1);
        open_again(s);
        assert_int_equal(covered_position(s), before);
    }
    atomic_store(&writes_left, NO_LIMIT);
    wait_for_parts(s, STREAMS);
    wait_for_position_past(s, before);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(look_at_all(s), STREAMS);
        assert_int_equal(count_files(s, ".parquet"), 4);
        assert_int_equal(count_files(s, ".pending"), 0);
        open_again(s);
    }
}

static bool waits(struct store *s)
{
    LOCK_SCOPE(&s->sealed->lock);
    return s->sealed->flights != NULL;
}

/* The keeper may have been here, or be about to end the flight whose part it has just put. */
static void assert_held_back(struct store *s, uint64_t (*position)(struct store *), uint64_t at)
{
    uint64_t until_ms = clock_mono_ms() + SETTLE_MS;

    while (position(s) != at && waits(s) && clock_mono_ms() < until_ms)
        sched_yield();
    assert_true(position(s) == at || !waits(s));
}

/* One write fails: of the columns that only the third part has. */
static void no_position_is_kept_past_a_part_that_waits(void **state)
{
    struct store *s = *state;
    uint64_t before;
    bool known = true;
    struct staged st;

    make_waiting(s);
    before = stored_position(s);
    open_again(s);
    assert_int_equal(covered_position(s), before);
    store_close(s);
    atomic_store(&failures_left, 1);
    store_open(s);
    add_streams(s);
    assert_int_equal(atomic_load(&writes_left), NO_LIMIT);
    assert_in_range(look_at_all(s), 3, STREAMS);
    assert_held_back(s, stored_position, before);
    assert_int_equal(publish_logs(s, EXTRA, &st), ERR_OK);
    assert_int_equal(parts_has(sealed_index(s->sealed), &st.part.id, &known, &s->e), ERR_OK);
    assert_true(known);
    assert_held_back(s, stored_position, before);
    assert_held_back(s, covered_position, before);
    wait_for_parts(s, STREAMS);
    wait_for_position_past(s, before);
}

static void the_lines_of_a_part_that_waits_are_read_and_its_seal_is_refused(void **state)
{
    struct store *s = *state;
    struct journal_file f;
    struct staged st;
    char text[64];
    size_t got = 0;

    atomic_store(&writes_left, 0);
    assert_int_equal(publish_logs(s, 0, &st), ERR_FULL);
    open_again(s);
    assert_int_equal(journal_file_get(s->journal, &st.files[0], &f, &s->e), ERR_OK);
    assert_true(f.replaced);
    assert_int_equal(journal_read(s->journal, &f.id, 0, text, sizeof text, &got, &s->e), ERR_OK);
    assert_int_equal(got, f.size);
    assert_int_equal(store_publish(s, &st), ERR_AGAIN);
    assert_seen(s, 1, 3, 1, 0);
    append(s, 0); /* what comes late is another file */
    assert_seen(s, 1, 6, 2, 0);
}

/* Its position is before that of the one which waits. */
static void what_the_index_has_already_is_a_part(void **state)
{
    struct store *s = *state, *copy;
    struct staged st;

    atomic_store(&writes_left, 0);
    assert_int_equal(publish_logs(s, 0, &st), ERR_FULL);
    atomic_store(&writes_left, NO_LIMIT);
    assert_int_equal(publish_logs(s, 1, &st), ERR_OK);
    atomic_store(&writes_left, 0);
    copy = copy_of(s);
    store_open(copy);
    add_streams(copy);
    assert_seen(copy, streams[1], rows[1], 0, 1);
    assert_int_equal(store_look(copy, streams[0]).rows, rows[0]);
    store_remove(copy);
}

/* A stream with such a part is deleted: no other waits for it. */
static void a_deleted_stream_with_a_part_that_waits_is_gone(void **state)
{
    struct store *s = *state;
    const struct dropped_stream other = {
        .number = 99, .org = {"default", 7}, .name = {"other", 5}, .type = STREAM_LOGS};
    const struct dropped_stream own = {
        .number = streams[1], .org = {"default", 7}, .name = {"s2", 2}, .type = STREAM_LOGS};
    uint64_t began_ms;

    make_waiting(s);
    open_again(s);
    began_ms = clock_mono_ms();
    for (int i = 0; i < 3; i++)
        assert_int_equal(sealed_drop_stream(s->sealed, &other, &s->e), ERR_OK);
    assert_in_range(clock_mono_ms() - began_ms, 0, 5000);
    atomic_store(&writes_left, NO_LIMIT);
    assert_int_equal(sealed_drop_stream(s->sealed, &own, &s->e), ERR_OK);
    assert_seen(s, streams[1], 0, 0, 0);
    assert_seen(s, streams[2], rows[2], store_look(s, streams[2]).files,
                store_look(s, streams[2]).parts);
}

static void wait_for_files(const struct store *s, unsigned count)
{
    uint64_t until_ms = clock_mono_ms() + DEADLINE_MS;

    while (count_files(s, ".parquet") != count && clock_mono_ms() < until_ms)
        sched_yield();
    assert_int_equal(count_files(s, ".parquet"), count);
}

static void what_the_index_has_no_room_to_forget_is_forgotten_later(void **state)
{
    const struct dropped_stream own = {
        .number = streams[0], .org = {"default", 7}, .name = {"s1", 2}, .type = STREAM_LOGS};
    struct store *s = *state;
    struct staged st;

    assert_int_equal(publish_logs(s, 0, &st), ERR_OK);
    assert_int_equal(publish_logs(s, 1, &st), ERR_OK);
    atomic_store(&writes_left, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sealed_drop_stream(s->sealed, &own, &s->e), ERR_OK);
        assert_seen(s, streams[0], 0, 0, 0);
        assert_seen(s, streams[1], rows[1], 0, 1);
        assert_int_equal(count_files(s, ".parquet"), 2);
        open_again(s); /* who starts is told of it again */
    }
    assert_int_equal(sealed_drop_stream(s->sealed, &own, &s->e), ERR_OK);
    atomic_store(&writes_left, NO_LIMIT);
    wait_for_files(s, 1);
    assert_seen(s, streams[1], rows[1], 0, 1);
}

/* Else it would be nobody's once its stream is deleted. */
static void a_part_that_cannot_be_hidden_leaves_no_file(void **state)
{
    struct store *s = *state;
    struct ulid others[REGISTRY_HIDDEN_MAX];
    struct staged st;

    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        others[i] = ulid_new();
        assert_int_equal(registry_hide(s->registry, &others[i], &s->e), ERR_OK);
    }
    assert_int_equal(publish_logs(s, 0, &st), ERR_FULL);
    store_run("! ls '%s/" PLACE "' 2>/dev/null | grep -q .", s->data);
    assert_seen(s, streams[0], rows[0], 1, 0);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        registry_unhide(s->registry, &others[i]);
    assert_int_equal(store_publish(s, &st), ERR_OK);
    assert_seen(s, streams[0], rows[0], 0, 1);
}

/* ---- what still ends a start ---- */

static void another_failure_of_the_index_ends_the_start(void **state)
{
    struct store *s = *state;

    make_waiting(s);
    store_close(s);
    atomic_store(&failure, EIO);
    assert_int_equal(store_try_open(s), ERR_IO);
    store_close(s);
    atomic_store(&failure, ENOSPC);
    store_open(s);
    add_streams(s);
    assert_int_equal(look_at_all(s), 1);
}

static int no_room(struct sys_fault *f, void *ctx)
{
    (void)ctx;
    return strcmp(f->call, "fallocate") == 0 ? ENOSPC : 0;
}

/* LMDB says EIO when a write is cut short. */
static void a_write_that_a_full_disk_cuts_short_is_no_other_failure(void **state)
{
    struct store *s = *state;

    make_waiting(s);
    store_close(s);
    atomic_store(&failure, EIO);
    sys_fault_set(no_room, NULL);
    store_open(s);
    add_streams(s);
    assert_int_equal(look_at_all(s), 1);
    store_close(s);
    sys_fault_set(NULL, NULL);
    atomic_store(&writes_left, NO_LIMIT);
    store_open(s);
}

static void a_start_that_only_reads_needs_the_room(void **state)
{
    struct store *s = *state;

    make_waiting(s);
    store_close(s);
    s->read_only = true;
    assert_int_equal(store_try_open(s), ERR_FULL);
    store_close(s);
    atomic_store(&writes_left, NO_LIMIT);
    store_open(s);
    add_streams(s);
    assert_int_equal(look_at_all(s), STREAMS);
}

/* ---- wherever it fails ---- */

/* The index of a start takes n writes and no more; false: that was enough. */
static bool try_with_room_for(const struct store *from, int n)
{
    struct store *s = copy_of(from), *killed;
    unsigned parts;

    atomic_store(&writes_left, n);
    store_open(s);
    add_streams(s);
    parts = look_at_all(s);
    killed = copy_of(s);
    store_open(killed);
    add_streams(killed);
    assert_in_range(look_at_all(killed), parts, STREAMS);
    store_remove(killed);
    open_again(s);
    assert_in_range(look_at_all(s), parts, STREAMS);
    bool failed = atomic_load(&writes_left) == 0;
    atomic_store(&writes_left, NO_LIMIT);
    wait_for_parts(s, STREAMS);
    store_remove(s);
    return failed;
}

static void rows_are_there_once_wherever_the_room_ends(void **state)
{
    struct store *s = *state;
    int n = 0;

    make_waiting(s);
    store_close(s);
    while (n < SWEEP_MAX && try_with_room_for(s, n))
        n++;
    assert_in_range(n, 3, SWEEP_MAX - 1);
    store_open(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(starts_without_room_show_the_files_and_later_the_parts),
        TEST(no_position_is_kept_past_a_part_that_waits),
        TEST(the_lines_of_a_part_that_waits_are_read_and_its_seal_is_refused),
        TEST(what_the_index_has_already_is_a_part),
        TEST(a_deleted_stream_with_a_part_that_waits_is_gone),
        TEST(what_the_index_has_no_room_to_forget_is_forgotten_later),
        TEST(a_part_that_cannot_be_hidden_leaves_no_file),
        TEST(another_failure_of_the_index_ends_the_start),
        TEST(a_write_that_a_full_disk_cuts_short_is_no_other_failure),
        TEST(a_start_that_only_reads_needs_the_room),
        TEST(rows_are_there_once_wherever_the_room_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
