// links: weir_http
/* Large bodies on disk: what is counted, what is refused, what is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/sys.h"
#include "http/spool.h"
#include "tests/support/scratch.h"

enum { TOTAL = 1 << 20, PIECE = 100000, FILES = 20 };

struct fixture {
    struct scratch scratch;
    const char *dir;
    struct spool *spool;
};

static struct spool *open_spool(const char *dir, uint64_t reserve_bytes)
{
    const struct spool_config cfg = {
        .dir = dir, .total_bytes = TOTAL, .disk_reserve_bytes = reserve_bytes, .files_max = FILES};
    struct spool *s = NULL;
    struct err e;
    assert_int_equal(spool_open(&cfg, &s, &e), ERR_OK);
    return s;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->scratch = scratch_make();
    f->dir = f->scratch.path;
    f->spool = open_spool(f->dir, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    spool_close(f->spool);
    scratch_remove(&f->scratch);
    free(f);
    return 0;
}

static unsigned names_in(const char *dir)
{
    unsigned count = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (const struct dirent *entry; (entry = readdir(d)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(d);
    return count;
}

static struct str piece(void)
{
    static char bytes[PIECE];
    for (size_t i = 0; i < PIECE; i++)
        bytes[i] = (char)('a' + i % 26);
    return (struct str){bytes, PIECE};
}

static void a_view_is_what_was_added_and_no_name_is_left(void **state)
{
    struct fixture *f = *state;
    struct spool_file file = {0};
    struct str view;
    struct err e;
    assert_int_equal(spool_file_open(f->spool, &file, &e), ERR_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(spool_file_add(&file, piece(), &e), ERR_OK);
    assert_int_equal(names_in(f->dir), 0);
    assert_int_equal(spool_file_view(&file, &view, &e), ERR_OK);
    assert_int_equal(view.len, 3 * PIECE);
    for (size_t i = 0; i < 3; i++)
        assert_memory_equal(view.ptr + i * PIECE, piece().ptr, PIECE);
    spool_file_close(&file);
    spool_file_close(&file);
}

static void an_empty_file_is_the_empty_string(void **state)
{
    struct fixture *f = *state;
    struct spool_file file = {0};
    struct str view;
    struct err e;
    assert_int_equal(spool_file_open(f->spool, &file, &e), ERR_OK);
    assert_int_equal(spool_file_view(&file, &view, &e), ERR_OK);
    assert_int_equal(view.len, 0);
    spool_file_close(&file);
}

/* Kilobytes of the view that count as ours. */
static unsigned long resident_kb(struct str view)
{
    struct buf smaps;
    struct err e;
    char want[64];
    buf_init(&smaps, 16u << 20);
    assert_int_equal(sys_read_file("/proc/self/smaps", &smaps, &e), ERR_OK);
    snprintf(want, sizeof want, "\n%lx-", (unsigned long)(uintptr_t)view.ptr);
    const char *at = strstr(smaps.data, want);
    assert_non_null(at);
    at = strstr(at, "\nRss:");
    assert_non_null(at);
    unsigned long kb = strtoul(at + 5, NULL, 10);
    buf_done(&smaps);
    return kb;
}

static void what_was_read_leaves_the_memory_and_can_be_read_again(void **state)
{
    struct fixture *f = *state;
    struct spool_file file = {0};
    struct str view;
    struct err e;
    assert_int_equal(spool_file_open(f->spool, &file, &e), ERR_OK);
    for (int i = 0; i < 10; i++)
        assert_int_equal(spool_file_add(&file, piece(), &e), ERR_OK);
    assert_int_equal(spool_file_view(&file, &view, &e), ERR_OK);
    for (int round = 0; round < 2; round++) {
        uint64_t deadline_ms = clock_mono_ms() + 10000;
        for (size_t i = 0; i < 10; i++)
            assert_memory_equal(view.ptr + i * PIECE, piece().ptr, PIECE);
        while (resident_kb(view) > 0)
            assert_true(clock_mono_ms() < deadline_ms);
    }
    spool_file_close(&file);
}

static void past_the_total_is_refused_until_space_comes_back(void **state)
{
    struct fixture *f = *state;
    struct spool_file first = {0}, second = {0};
    struct err e;
    assert_int_equal(spool_file_open(f->spool, &first, &e), ERR_OK);
    assert_int_equal(spool_file_open(f->spool, &second, &e), ERR_OK);
    for (int i = 0; i < TOTAL / PIECE; i++)
        assert_int_equal(spool_file_add(&first, piece(), &e), ERR_OK);
    assert_int_equal(spool_file_add(&second, piece(), &e), ERR_AGAIN);
    assert_non_null(strstr(e.msg, "WEIR_SPOOL_MAX"));
    spool_file_close(&first);
    assert_int_equal(spool_file_add(&second, piece(), &e), ERR_OK);
    spool_file_close(&second);
}

static void past_the_most_files_is_refused_until_one_is_closed(void **state)
{
    struct fixture *f = *state;
    struct spool_file files[FILES] = {{0}}, one_more = {0};
    struct err e;
    for (int i = 0; i < FILES; i++)
        assert_int_equal(spool_file_open(f->spool, &files[i], &e), ERR_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(spool_file_open(f->spool, &one_more, &e), ERR_AGAIN);
    spool_file_close(&files[0]);
    assert_int_equal(spool_file_open(f->spool, &one_more, &e), ERR_OK);
    spool_file_close(&one_more);
    for (int i = 1; i < FILES; i++)
        spool_file_close(&files[i]);
}

static void nothing_grows_while_the_disk_has_less_than_its_reserve(void **state)
{
    struct fixture *f = *state;
    struct spool *poor = open_spool(f->dir, UINT64_MAX / 2);
    struct spool_file file = {0};
    struct err e;
    assert_int_equal(spool_file_open(poor, &file, &e), ERR_OK);
    assert_int_equal(spool_file_add(&file, piece(), &e), ERR_FULL);
    assert_non_null(strstr(e.msg, "WEIR_DISK_RESERVE"));
    spool_file_close(&file);
    spool_close(poor);
}

struct plan {
    const char *call;
    int sys;
    unsigned skip, times; /* calls of that name that are done first; that fail */
};

static int fail_one(struct sys_fault *f, void *ctx)
{
    struct plan *p = ctx;
    if (strcmp(f->call, p->call) != 0 || p->times == 0)
        return 0;
    if (p->skip > 0) {
        p->skip--;
        return 0;
    }
    p->times--;
    f->short_bytes = f->want_bytes / 2;
    return p->sys;
}

static void a_disk_that_becomes_full_gives_everything_back(void **state)
{
    struct fixture *f = *state;
    struct spool_file file = {0};
    struct plan plan = {.call = "pwrite", .sys = ENOSPC, .skip = 2, .times = 1};
    struct err e;
    sys_fault_set(fail_one, &plan);
    assert_int_equal(spool_file_open(f->spool, &file, &e), ERR_OK);
    assert_int_equal(spool_file_add(&file, piece(), &e), ERR_OK);
    assert_int_equal(spool_file_add(&file, piece(), &e), ERR_OK);
    assert_int_equal(spool_file_add(&file, piece(), &e), ERR_FULL);
    sys_fault_set(NULL, NULL);
    spool_file_close(&file);
    assert_int_equal(spool_file_open(f->spool, &file, &e), ERR_OK);
    for (int i = 0; i < TOTAL / PIECE; i++) /* all of the total is there again */
        assert_int_equal(spool_file_add(&file, piece(), &e), ERR_OK);
    spool_file_close(&file);
}

static void without_nameless_files_the_name_is_gone_at_once(void **state)
{
    struct fixture *f = *state;
    struct spool_file file = {0};
    struct str view;
    struct err e;
    struct plan plan = {.call = "open", .sys = EOPNOTSUPP, .times = 1};
    sys_fault_set(fail_one, &plan);
    assert_int_equal(spool_file_open(f->spool, &file, &e), ERR_OK);
    sys_fault_set(NULL, NULL);
    assert_int_equal(plan.times, 0);
    assert_int_equal(spool_file_add(&file, STR("x"), &e), ERR_OK);
    assert_int_equal(spool_file_view(&file, &view, &e), ERR_OK);
    assert_int_equal(names_in(f->dir), 0);
    spool_file_close(&file);
}

static void what_a_kill_left_is_removed_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"body-12-0", "body-", "text-1", "other"};
    for (size_t i = 0; i < 4; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", f->dir, names[i]);
        int fd = sys_open(path, O_CREAT | O_WRONLY, 0600);
        assert_true(fd >= 0);
        sys_close(fd);
    }
    spool_close(open_spool(f->dir, 0));
    assert_int_equal(names_in(f->dir), 2);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_view_is_what_was_added_and_no_name_is_left),
        CASE(an_empty_file_is_the_empty_string),
        CASE(what_was_read_leaves_the_memory_and_can_be_read_again),
        CASE(past_the_total_is_refused_until_space_comes_back),
        CASE(past_the_most_files_is_refused_until_one_is_closed),
        CASE(nothing_grows_while_the_disk_has_less_than_its_reserve),
        CASE(a_disk_that_becomes_full_gives_everything_back),
        CASE(without_nameless_files_the_name_is_gone_at_once),
        CASE(what_a_kill_left_is_removed_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
