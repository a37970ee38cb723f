/* tests/unit/test_base_sys.c - the fault seam and the whole-transfer helpers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"

enum { SWEEP_MAX = 100 };

struct dir {
    char path[64];
    char file[96];
};

static int make_dir(void **state)
{
    static struct dir d;
    snprintf(d.path, sizeof d.path, "/tmp/weir-test-sys-XXXXXX");
    if (!mkdtemp(d.path))
        return -1;
    snprintf(d.file, sizeof d.file, "%s/file", d.path);
    *state = &d;
    return 0;
}

static int remove_dir(void **state)
{
    const struct dir *d = *state;
    char command[128];
    sys_fault_set(NULL, NULL);
    snprintf(command, sizeof command, "rm -rf '%s'", d->path);
    return system(command);
}

struct plan {
    uint64_t fail_at; /* number of the call that fails */
    int sys;
    size_t short_bytes;
    const char *failed_call;
};

static int fail_nth(struct sys_fault *f, void *ctx)
{
    struct plan *p = ctx;
    if (f->number != p->fail_at)
        return 0;
    p->failed_call = f->call;
    f->short_bytes = p->short_bytes;
    return p->sys;
}

static struct str read_back(const char *path, struct buf *b)
{
    struct err e;
    buf_init(b, 1 << 20);
    assert_int_equal(sys_read_file(path, b, &e), ERR_OK);
    return buf_str(b);
}

static void a_replaced_file_is_old_or_new_whatever_call_fails(void **state)
{
    const struct dir *d = *state;
    struct err e;
    assert_int_equal(sys_replace_file(d->file, "old", 3, 0600, &e), ERR_OK);
    uint64_t n = 0;
    for (; n < SWEEP_MAX; n++) {
        struct plan plan = {.fail_at = n, .sys = EIO, .short_bytes = 2};
        sys_fault_set(fail_nth, &plan);
        enum err_code rc = sys_replace_file(d->file, "newer", 5, 0600, &e);
        sys_fault_set(NULL, NULL);
        struct buf b;
        struct str now = read_back(d->file, &b);
        bool is_old = str_eq(now, STR("old")), is_new = str_eq(now, STR("newer"));
        buf_done(&b);
        assert_true(is_old || is_new);
        if (rc == ERR_OK) {
            assert_true(is_new);
            break;
        }
        assert_int_equal(rc, ERR_IO);
        assert_int_equal(e.sys, EIO);
        assert_non_null(strstr(e.msg, d->path));
        if (is_new) /* only the directory was not synced */
            assert_int_equal(sys_replace_file(d->file, "old", 3, 0600, &e), ERR_OK);
    }
    assert_in_range(n, 5, SWEEP_MAX - 1);
}

static void the_mode_is_exact_whatever_the_umask(void **state)
{
    const struct dir *d = *state;
    struct err e;
    struct stat st;
    mode_t old = umask(077);
    assert_int_equal(sys_replace_file(d->file, "x", 1, 0644, &e), ERR_OK);
    umask(old);
    assert_int_equal(stat(d->file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
}

static void a_torn_write_leaves_its_first_bytes(void **state)
{
    const struct dir *d = *state;
    struct err e;
    struct buf b;
    AUTO_FD int fd = sys_open(d->file, O_RDWR | O_CREAT, 0600);
    struct plan plan = {.fail_at = 0, .sys = ENOSPC, .short_bytes = 4};
    sys_fault_set(fail_nth, &plan);
    assert_int_equal(sys_write_full(fd, "0123456789", 10, 0, &e), ERR_FULL);
    assert_string_equal(plan.failed_call, "pwrite");
    struct iovec iov[] = {{(char[]){"ab"}, 2}, {(char[]){"cdef"}, 4}};
    sys_fault_set(fail_nth, &plan);
    assert_int_equal(sys_writev_full(fd, iov, 2, 4, &e), ERR_FULL);
    assert_string_equal(plan.failed_call, "pwritev");
    plan.short_bytes = 1;
    sys_fault_set(fail_nth, &plan);
    lseek(fd, 8, SEEK_SET);
    assert_true(sys_write(fd, "xyz", 3) == -1 && errno == ENOSPC);
    assert_int_equal(sys_fault_calls(), 1);
    sys_fault_set(NULL, NULL);
    assert_true(str_eq(read_back(d->file, &b), STR("0123abcdx")));
    buf_done(&b);
}

static void a_vector_of_any_shape_is_written_whole(void **state)
{
    const struct dir *d = *state;
    struct err e;
    struct buf b;
    struct iovec iov[300];
    static char text[301];
    AUTO_FD int fd = sys_open(d->file, O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (int i = 0; i < 300; i++) {
        text[i] = (char)('a' + i % 26);
        bool empty = i >= 100 && i < 200; /* more than one call's worth in a row */
        iov[i] = (struct iovec){.iov_base = &text[i], .iov_len = empty ? 0 : 1};
    }
    assert_int_equal(sys_writev_full(fd, iov, 300, 0, &e), ERR_OK);
    struct str now = read_back(d->file, &b);
    assert_int_equal(now.len, 200);
    assert_memory_equal(now.ptr, text, 100);
    assert_memory_equal(now.ptr + 100, text + 200, 100);
    buf_done(&b);
    assert_int_equal(sys_writev_full(fd, iov, 0, 0, &e), ERR_OK);
}

static void a_read_past_the_end_is_corruption_with_the_path(void **state)
{
    const struct dir *d = *state;
    struct err e;
    char got[8];
    AUTO_FD int fd = sys_open(d->file, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(sys_write_full(fd, "01234", 5, 0, &e), ERR_OK);
    assert_int_equal(sys_read_full(fd, got, 3, 2, &e), ERR_OK);
    assert_memory_equal(got, "234", 3);
    assert_int_equal(sys_read_full(fd, got, 4, 2, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, d->file));
}

static void directories_are_made_in_one_go(void **state)
{
    const struct dir *d = *state;
    struct err e;
    struct stat st;
    char path[256];
    snprintf(path, sizeof path, "%s//a/b///c/", d->path);
    assert_int_equal(sys_mkdirs(path, 0700, &e), ERR_OK);
    assert_int_equal(sys_mkdirs(path, 0700, &e), ERR_OK);
    assert_true(stat(path, &st) == 0 && S_ISDIR(st.st_mode));
    assert_int_equal(sys_replace_file(d->file, "x", 1, 0600, &e), ERR_OK);
    snprintf(path, sizeof path, "%s/below", d->file);
    assert_int_equal(sys_mkdirs(path, 0700, &e), ERR_IO);
    assert_int_equal(e.sys, ENOTDIR);
    assert_int_equal(sys_mkdirs(d->file, 0700, &e), ERR_IO);
    assert_int_equal(sys_mkdirs("", 0700, &e), ERR_NOTFOUND);
    for (uint64_t n = 0; n < 2; n++) {
        struct plan plan = {.fail_at = n, .sys = ENOSPC};
        snprintf(path, sizeof path, "%s/x%d/y", d->path, (int)n);
        sys_fault_set(fail_nth, &plan);
        assert_int_equal(sys_mkdirs(path, 0700, &e), ERR_FULL);
        sys_fault_set(NULL, NULL);
        assert_int_equal(sys_mkdirs(path, 0700, &e), ERR_OK);
    }
}

static void a_file_over_the_maximum_is_not_read(void **state)
{
    const struct dir *d = *state;
    struct err e;
    struct buf b;
    assert_int_equal(sys_replace_file(d->file, "0123456789", 10, 0600, &e), ERR_OK);
    buf_init(&b, 9);
    assert_int_equal(sys_read_file(d->file, &b, &e), ERR_TOOBIG);
    buf_done(&b);
    buf_init(&b, 10);
    buf_add_cstr(&b, "before");
    assert_int_equal(sys_read_file(d->file, &b, &e), ERR_OK);
    assert_string_equal(b.data, "0123456789");
    buf_done(&b);
    buf_init(&b, 10);
    assert_int_equal(sys_read_file("/nonexistent/file", &b, &e), ERR_NOTFOUND);
    buf_done(&b);
}

static void every_wrapper_fails_when_told_and_works_when_not(void **state)
{
    const struct dir *d = *state;
    char other[128], sub[128];
    struct stat st;
    snprintf(other, sizeof other, "%s/other", d->path);
    snprintf(sub, sizeof sub, "%s/sub", d->path);
    AUTO_FD int fd = sys_open(d->file, O_RDWR | O_CREAT, 0600);
    AUTO_FD int dir_fd = sys_open(d->path, O_RDONLY | O_DIRECTORY, 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    for (int told = 1; told >= 0; told--) {
        struct plan plan = {.fail_at = 0, .sys = EIO};
        char c = 'x';
        int opened = -1;
#define TRY(call)                                                                                  \
    do {                                                                                           \
        sys_fault_set(told ? fail_nth : NULL, &plan);                                              \
        errno = 0;                                                                                 \
        assert_int_equal((call) < 0, told);                                                        \
        assert_int_equal(errno, told ? EIO : 0);                                                   \
    } while (0)
        TRY(sys_fallocate(fd, 0, 0, 4096));
        TRY(sys_ftruncate(fd, 10));
        TRY(sys_pwrite(fd, &c, 1, 0));
        TRY(sys_pread(fd, &c, 1, 0));
        TRY(sys_write(fd, &c, 1));
        TRY(sys_read(fd, &c, 1));
        TRY(sys_fdatasync(fd));
        TRY(sys_fsync(fd));
        TRY(sys_fstat(fd, &st));
        TRY(sys_link(d->file, other));
        TRY(sys_rename(other, sub));
        TRY(sys_unlink(sub));
        TRY(sys_mkdir(sub, 0700));
        TRY(sys_rmdir(sub));
        TRY(opened = sys_openat(dir_fd, "file", O_RDONLY, 0));
        if (told)
            opened = dup(fd); /* a close that fails still closes */
        int number = opened;
        TRY(sys_close(opened));
        assert_int_equal(fcntl(number, F_GETFD), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replaced_file_is_old_or_new_whatever_call_fails),
        cmocka_unit_test(the_mode_is_exact_whatever_the_umask),
        cmocka_unit_test(a_torn_write_leaves_its_first_bytes),
        cmocka_unit_test(a_vector_of_any_shape_is_written_whole),
        cmocka_unit_test(a_read_past_the_end_is_corruption_with_the_path),
        cmocka_unit_test(directories_are_made_in_one_go),
        cmocka_unit_test(a_file_over_the_maximum_is_not_read),
        cmocka_unit_test(every_wrapper_fails_when_told_and_works_when_not),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
