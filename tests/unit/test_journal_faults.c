// links: weir_fs weir_index
/* tests/unit/test_journal_faults.c - publishing and freeing while the process is killed, calls fail
 * and bytes rot. */
#include "tests/support/journal_world.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "fs/journal/segment.h"
#include "fs/journal/segment_scan.h"

/* ---- killed, and failing ---- */

/* What a node does all day; ends at the first error but a full journal. */
static enum err_code live(struct fixture *f, struct world *w, unsigned rounds)
{
    enum err_code rc = ERR_OK;
    for (unsigned round = 0; round < rounds; round++) {
        unsigned stream = 1 + round % (STREAMS - 1);
        rc = send_rows(f, w, stream, 10 + round % 30);
        if (!rc && round % 4 == 0)
            rc = send_rows(f, w, SLOW, 1);
        if (rc == ERR_FULL)
            nap();
        else if (rc)
            return rc;
        if (round % 2 && !publish_stream(f, w, stream, round % 5 != 0))
            return ERR_IO;
    }
    return ERR_OK;
}

static _Noreturn void be_killed(struct fixture *f, struct world *w)
{
    world_open(f, w);
    fixture_epoch(f);
    live(f, w, UINT32_MAX);
    _exit(1);
}

static void kill_9_loses_and_doubles_nothing(void **state)
{
    struct fixture *f = *state;
    struct world *w = world_new(f);
    uint64_t freed_before = 0;
    /* Longer where the machine is too busy to publish much before the kill. */
    for (int round = 0; round < 25 || (w->part_count <= 25 && round < 500); round++) {
        int status;
        memset(w->numbers, 0, sizeof w->numbers);
        pid_t pid = fork();
        if (pid == 0)
            be_killed(f, w);
        poll(NULL, 0, 30 + round * 37 % 150); /* the moment is meant to be any */
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        world_open(f, w);
        assert_int_equal(f->found.corrupt_frames, 0);
        check_world(f, w);
        freed_before += stats_of(f).freed_segments;
        journal_close(f->j);
        f->j = NULL;
    }
    assert_true(w->part_count > 25);
    world_free(w);
}

struct plan {
    uint64_t fail_at;
    int sys;
    bool repeats;
    atomic_bool was_met;
};

static int fail_planned(struct sys_fault *fault, void *ctx)
{
    struct plan *p = ctx;
    if (fault->number < p->fail_at || (!p->repeats && fault->number > p->fail_at))
        return 0;
    atomic_store(&p->was_met, true);
    return p->sys;
}

static bool fail_once(struct fixture *f, struct world *w, struct plan *p)
{
    struct err e;
    memset(w, 0, sizeof *w);
    fixture_remove_tree(f->dir);
    sys_fault_set(fail_planned, p);
    f->cfg.covered = 0;
    if (journal_open(&f->cfg, &f->j, &f->found, &e) == ERR_OK) {
        if (journal_epoch(f->j, 0, &f->epoch, &e) == ERR_OK)
            live(f, w, 40);
        journal_close(f->j);
    }
    sys_fault_set(NULL, NULL);
    world_open(f, w);
    check_world(f, w);
    fixture_epoch(f);
    memset(w->numbers, 0, sizeof w->numbers);
    assert_int_equal(live(f, w, 4), ERR_OK);
    journal_close(f->j);
    world_open(f, w);
    check_world(f, w);
    journal_close(f->j);
    f->j = NULL;
    return atomic_load(&p->was_met);
}

static void any_call_may_fail(void **state)
{
    struct fixture *f = *state;
    struct world *w = world_new(f);
    for (int i = 0; i < 2; i++) {
        bool has_failed = true;
        for (uint64_t n = 0; has_failed; n += n < 60 ? 3 : 11) {
            struct plan p = {.fail_at = n, .sys = EIO, .repeats = i > 0};
            has_failed = fail_once(f, w, &p);
        }
    }
    world_free(w);
}

/* ---- damage ---- */

/* Calls fn for each frame of the kind in the segments that are there. */
static unsigned each_frame(struct fixture *f, enum frame_kind kind,
                           void (*fn)(int fd, const struct scan_item *item, unsigned nth))
{
    unsigned count = 0;
    for (uint32_t seq = 1; seq < 100; seq++) {
        char path[PATH_MAX];
        struct scan scan;
        struct scan_item item;
        struct stat st;
        struct err e;
        segment_path(f->dir, seq, path);
        AUTO_FD int fd = sys_open(path, O_RDWR, 0);
        if (fd < 0)
            continue;
        assert_int_equal(sys_fstat(fd, &st), 0);
        segment_scan_init(&scan, fd, seq, (uint32_t)st.st_size, false);
        while (scan_next(&scan, &item, &e) == ERR_OK && item.kind != SCAN_END) {
            if (item.kind == SCAN_FRAME && item.frame.kind == kind)
                fn(fd, &item, count++);
        }
        scan_done(&scan);
    }
    return count;
}

static void flip(int fd, uint32_t at)
{
    char byte;
    struct err e;
    assert_int_equal(sys_read_full(fd, &byte, 1, at, &e), ERR_OK);
    byte ^= 4;
    assert_int_equal(sys_write_full(fd, &byte, 1, at, &e), ERR_OK);
}

static void flip_first_copies(int fd, const struct scan_item *item, unsigned nth)
{
    if (item->frame.part == 0)
        flip(fd, item->end - 9 - nth % 50);
}

static void flip_second_copies(int fd, const struct scan_item *item, unsigned nth)
{
    if (item->frame.part == 1)
        flip(fd, item->at + 16 + nth % 90);
}

static void publish_some(struct fixture *f, struct world *w)
{
    f->cfg.max_bytes *= 4;
    world_open(f, w);
    fixture_epoch(f);
    for (unsigned round = 0; round < 12; round++) {
        assert_int_equal(send_rows(f, w, 1, 30), ERR_OK);
        assert_int_equal(send_rows(f, w, 2, 3), ERR_OK);
        assert_true(publish_stream(f, w, 1, false));
    }
}

static void one_rotten_copy_of_each_publish_record_changes_nothing(void **state)
{
    static void (*const FLIPS[])(int, const struct scan_item *, unsigned) = {flip_first_copies,
                                                                             flip_second_copies};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(FLIPS); i++) {
        struct world *w = world_new(f);
        fixture_remove_tree(f->dir);
        publish_some(f, w);
        assert_int_equal(send_rows(f, w, 3, 1), ERR_OK);
        size_t parts = w->part_count;
        journal_close(f->j);
        assert_int_equal(each_frame(f, FRAME_PUBLISH, FLIPS[i]), PUBLISH_COPIES * parts);
        w->part_count = 0;
        world_open(f, w);
        assert_int_equal(w->part_count, parts);
        assert_in_range(f->found.corrupt_frames, 2, parts);
        assert_int_equal(f->found.torn_bytes, 0);
        check_world(f, w);
        journal_close(f->j);
        f->j = NULL;
        world_free(w);
    }
}

/* The newest record is cut at every eighth byte, as if the process had died in its write. */
static void a_torn_publish_record_is_none(void **state)
{
    struct fixture *f = *state;
    struct world *w = world_new(f);
    char path[PATH_MAX], zeros[8] = {0}, bytes[8192];
    struct journal_file file;
    struct err e;
    uint64_t position = 0;
    world_open(f, w);
    fixture_epoch(f);
    assert_int_equal(send_rows(f, w, 1, 3), ERR_OK);
    assert_true(find_file(f, 1, &file));
    roll(f, &file.id, &file);
    uint64_t before = stats_of(f).appended_bytes;
    position = publish(f, &file.id, 1, "1 1 3");
    assert_int_equal(stats_of(f).appended_bytes, before);
    uint32_t end = (uint32_t)position;
    uint32_t len = 2 * (uint32_t)frame_size(0, 0, PUBLISH_FIXED_LEN + PUBLISH_FILE_LEN + 5);
    journal_close(f->j);
    f->j = NULL;
    segment_path(f->dir, (uint32_t)(position >> 32), path);
    AUTO_FD int fd = sys_open(path, O_RDWR, 0);
    assert_int_equal(sys_read_full(fd, bytes, len, end - len, &e), ERR_OK);
    for (uint32_t cut = end - 8; cut >= end - len; cut -= 8) {
        memset(w->parts, 0, sizeof w->parts);
        w->part_count = 0;
        w->covered = 0;
        assert_int_equal(sys_write_full(fd, bytes, len, end - len, &e), ERR_OK);
        for (uint32_t at = cut; at < end; at += 8)
            assert_int_equal(sys_write_full(fd, zeros, 8, at, &e), ERR_OK);
        world_open(f, w);
        check_world(f, w);
        assert_int_equal(w->part_count, cut >= end - len / 2);
        assert_int_equal(f->found.corrupt_frames, 0);
        journal_close(f->j);
        f->j = NULL;
    }
    world_free(w);
}

static void flip_last_line(int fd, const struct scan_item *item, unsigned nth)
{
    if (nth % 2 == 0)
        flip(fd, item->end - 40);
}

/* So that each is scanned. */
static void spoil_tables(struct fixture *f)
{
    for (uint32_t seq = 1; seq < 100; seq++) {
        char path[PATH_MAX];
        struct stat st;
        segment_path(f->dir, seq, path);
        AUTO_FD int fd = sys_open(path, O_RDWR, 0);
        if (fd >= 0 && sys_fstat(fd, &st) == 0)
            flip(fd, (uint32_t)st.st_size - 20);
    }
}

static void count_only(int fd, const struct scan_item *item, unsigned nth)
{
    (void)fd;
    (void)item;
    (void)nth;
}

/* What is lost is lost once: the lines around it keep their order. */
static void rotten_moved_lines_are_left_out(void **state)
{
    struct fixture *f = *state;
    struct world *w = world_new(f);
    struct journal_file file;
    unsigned first, last;
    world_open(f, w);
    fixture_epoch(f);
    for (unsigned round = 0; round < 60; round++) {
        WAIT_FOR(stats_of(f).bytes_used < 9 * f->cfg.segment_bytes);
        if (round % 5 == 0)
            assert_int_equal(send_rows(f, w, SLOW, 2), ERR_OK);
        assert_int_equal(send_rows(f, w, 1, 40), ERR_OK);
        assert_true(publish_stream(f, w, 1, true));
    }
    WAIT_FOR(stats_of(f).moved_bytes > 10 * ROW_BYTES);
    assert_int_equal(send_rows(f, w, 1, 1), ERR_OK); /* or what was moved last is a torn end */
    journal_close(f->j);
    unsigned moved = each_frame(f, FRAME_MOVED, count_only);
    assert_true(moved > 3);
    each_frame(f, FRAME_MOVED, flip_last_line);
    spoil_tables(f);
    for (int again = 0; again < 2; again++) {
        world_open(f, w);
        assert_int_equal(f->found.torn_bytes, 0);
        assert_true(find_file(f, SLOW, &file));
        assert_in_range(file.rows, 24 - (moved + 1) / 2, 23);
        char *text = text_of(f, &file);
        check_rows(text, SLOW, &first, &last);
        assert_int_equal(last, 24);
        free(text);
        journal_close(f->j);
        f->j = NULL;
    }
    world_free(w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_make, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kill_9_loses_and_doubles_nothing),
        TEST(any_call_may_fail),
        TEST(one_rotten_copy_of_each_publish_record_changes_nothing),
        TEST(a_torn_publish_record_is_none),
        TEST(rotten_moved_lines_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
