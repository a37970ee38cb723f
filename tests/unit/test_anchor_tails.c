// links: weir_fs weir_index
/* tests/unit/test_anchor_tails.c - unfinished lines in memory that outlives a process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "fs/anchor_tails.h"

enum { ROUNDS = 40, LONGEST = 9000, TOTAL_MAX = 4 * TAIL_BYTES_MAX };

static struct tails *open_tails(int fd)
{
    struct tails *t;
    struct err e;
    if (tails_open(fd, 0, TOTAL_MAX, &t, &e))
        fail_msg("%s", e.msg);
    return t;
}

static uint64_t take(struct tails *t, uint64_t request)
{
    uint64_t handle = 0;
    assert_int_equal(tails_take(t, request, false, &handle), TAILS_NEW);
    assert_true(handle != 0);
    return handle;
}

static void append(struct tails *t, uint64_t handle, struct str more, uint64_t request)
{
    assert_true(tails_reserve(t, more.len, false));
    tails_append(t, handle, more, request, ERR_OK);
}

static void replace(struct tails *t, uint64_t handle, struct str bytes, uint64_t request)
{
    assert_true(tails_reserve(t, bytes.len, false));
    tails_replace(t, handle, bytes, request, ERR_OK);
}

static void assert_tail(struct tails *t, uint64_t handle, const char *text, uint64_t request)
{
    struct tail tail;
    assert_true(tails_get(t, handle, &tail));
    assert_true(str_eq(tail.bytes, str_from(text)));
    assert_int_equal(tail.request, request);
}

static int shared_memory(void)
{
    int fd = memfd_create("test_tails", MFD_CLOEXEC);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)tails_bytes()) == 0);
    return fd;
}

static void a_tail_grows_and_gives_way_to_another(void **state)
{
    struct tails *t = open_tails(-1);
    uint64_t a = take(t, 2), b = take(t, 4);
    struct tail tail;
    (void)state;
    assert_tail(t, a, "", 0);
    append(t, a, STR("one"), 10);
    append(t, a, STR(""), 12);
    append(t, a, STR(" two"), 14);
    assert_tail(t, a, "one two", 14);
    assert_true(tails_reserve(t, 5, false));
    tails_replace(t, a, STR("three"), 16, ERR_INVALID);
    assert_tail(t, a, "three", 16);
    assert_true(tails_get(t, a, &tail));
    assert_int_equal(tail.answer, ERR_INVALID);
    replace(t, a, STR(""), 18);
    append(t, a, STR("four"), 20);
    assert_tail(t, a, "four", 20);
    assert_tail(t, b, "", 0);
    tails_close(t);
}

static void the_longest_tail_fits(void **state)
{
    struct tails *t = open_tails(-1);
    char *text = malloc(TAIL_BYTES_MAX);
    uint64_t a = take(t, 2);
    struct tail tail;
    (void)state;
    assert_non_null(text);
    memset(text, 'x', TAIL_BYTES_MAX);
    append(t, a, (struct str){text, TAIL_BYTES_MAX - 1}, 4);
    append(t, a, STR("x"), 6);
    assert_true(tails_get(t, a, &tail));
    assert_true(str_eq(tail.bytes, (struct str){text, TAIL_BYTES_MAX}));
    free(text);
    tails_close(t);
}

static void a_handle_of_before_is_not_there(void **state)
{
    struct tails *t = open_tails(-1);
    uint64_t a = take(t, 2), again;
    struct tail tail;
    (void)state;
    append(t, a, STR("left"), 4);
    assert_int_equal(tails_count(t), 1);
    tails_give(t, a);
    tails_give(t, a);
    assert_int_equal(tails_count(t), 0);
    assert_false(tails_get(t, a, &tail));
    again = take(t, 6);
    assert_int_equal(tails_slot(again), tails_slot(a));
    assert_false(tails_get(t, a, &tail));
    tails_give(t, a);
    assert_tail(t, again, "", 0);
    assert_false(tails_get(t, UINT64_MAX, &tail));
    tails_close(t);
}

static void as_many_handles_as_slots_and_no_more(void **state)
{
    struct tails *t = open_tails(-1);
    uint64_t handle = 0, last = 0;
    (void)state;
    for (uint64_t i = 1; i <= TAILS_SLOTS_MAX; i++)
        last = take(t, 2 * i);
    assert_int_equal(tails_take(t, 1, false, &handle), TAILS_FULL);
    tails_give(t, last);
    assert_int_equal(tails_take(t, 1, false, &handle), TAILS_NEW);
    tails_close(t);
}

static void the_next_process_finds_handles_and_tails(void **state)
{
    int fd = shared_memory();
    struct tails *t = open_tails(fd);
    uint64_t a = take(t, 2), b = take(t, 4), found = 0;
    (void)state;
    append(t, b, STR("half a li"), 6);
    tails_close(t);
    t = open_tails(fd);
    assert_int_equal(tails_count(t), 2);
    assert_tail(t, a, "", 0);
    assert_tail(t, b, "half a li", 6);
    assert_int_equal(tails_take(t, 4, true, &found), TAILS_KNOWN);
    assert_int_equal(found, b);
    assert_int_equal(tails_take(t, 8, true, &found), TAILS_NEW);
    assert_true(tails_slot(found) != tails_slot(a) && tails_slot(found) != tails_slot(b));
    tails_close(t);
    close(fd);
}

static blkcnt_t blocks_of(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return st.st_blocks;
}

static void memory_is_given_back_with_the_handle(void **state)
{
    int fd = shared_memory();
    struct tails *t = open_tails(fd);
    uint64_t a = take(t, 2);
    char *text = calloc(1, TAIL_BYTES_MAX);
    blkcnt_t before = blocks_of(fd);
    (void)state;
    assert_non_null(text);
    append(t, a, (struct str){text, TAIL_BYTES_MAX}, 4);
    replace(t, a, (struct str){text, TAIL_BYTES_MAX}, 6);
    assert_in_range(blocks_of(fd) - before, TAIL_BYTES_MAX / 512, TAIL_BYTES_MAX / 512 + 100);
    tails_give(t, a);
    assert_int_equal(blocks_of(fd), before);
    free(text);
    tails_close(t);
    close(fd);
}

/* ---- all tails together ---- */

static void all_tails_together_have_a_maximum(void **state)
{
    int fd = shared_memory();
    struct tails *t = open_tails(fd);
    uint64_t handles[4];
    static char text[TAIL_BYTES_MAX];
    (void)state;
    for (size_t i = 0; i < 4; i++)
        append(t, handles[i] = take(t, 2 + i), (struct str){text, sizeof text}, 4);
    assert_int_equal(tails_total(t), TOTAL_MAX);
    assert_false(tails_reserve(t, 1, false));
    assert_true(tails_reserve(t, 0, false));
    tails_replace(t, handles[0], STR(""), 6, ERR_OK);
    assert_true(tails_reserve(t, sizeof text, false));
    assert_false(tails_reserve(t, 1, false));
    assert_true(tails_reserve(t, 1, true)); /* had its room in another process */
    tails_unreserve(t, sizeof text + 1);
    tails_close(t);
    t = open_tails(fd); /* what a process reserved dies with it, the tails do not */
    assert_int_equal(tails_total(t), 3 * sizeof text);
    tails_give(t, handles[1]);
    assert_int_equal(tails_total(t), 2 * sizeof text);
    tails_close(t);
    close(fd);
}

/* Beside the tails themselves, two pages a handle. */
static void memory_is_that_of_the_tails_in_force(void **state)
{
    enum { HANDLES = 20 };
    int fd = shared_memory();
    struct tails *t = open_tails(fd);
    blkcnt_t before = blocks_of(fd), two_pages = 2 * sysconf(_SC_PAGESIZE) / 512;
    static char text[TAIL_BYTES_MAX];
    (void)state;
    for (size_t i = 0; i < HANDLES; i++) {
        uint64_t handle = take(t, 2 + i);
        replace(t, handle, (struct str){text, sizeof text}, 4);
        replace(t, handle, (struct str){text, sizeof text}, 6);
        replace(t, handle, STR("x"), 8);
    }
    assert_in_range(blocks_of(fd) - before, 1, HANDLES * two_pages + 100);
    tails_close(t);
    close(fd);
}

/* ---- calls that fail ---- */

static int fail_nth(struct sys_fault *f, void *ctx)
{
    return f->number == *(const uint64_t *)ctx ? ENOMEM : 0;
}

static int lowest_free_fd(void)
{
    int fd = dup(STDIN_FILENO);
    assert_true(fd >= 0);
    close(fd);
    return fd;
}

/* What cannot give memory back goes on with it. */
static void use(struct tails *t)
{
    static char text[TAIL_BYTES_MAX];
    uint64_t a = take(t, 2), b;
    replace(t, a, (struct str){text, sizeof text}, 4);
    replace(t, a, STR("short"), 6);
    append(t, a, STR("er"), 8);
    assert_tail(t, a, "shorter", 8);
    assert_int_equal(tails_total(t), 7);
    tails_give(t, a);
    assert_int_equal(tails_total(t), 0);
    b = take(t, 10);
    assert_tail(t, b, "", 0);
    tails_give(t, b);
    assert_int_equal(tails_count(t), 0);
}

static void any_call_may_fail(void **state)
{
    int fds[2] = {-1, shared_memory()}, free_fd = lowest_free_fd();
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        bool is_over = false;
        uint64_t opened = 0;
        for (uint64_t n = 0; !is_over; n++) {
            struct tails *t = NULL;
            struct err e = {0};
            sys_fault_set(fail_nth, &n);
            if (tails_open(fds[i], 0, TOTAL_MAX, &t, &e)) {
                assert_null(t);
                assert_non_null(strstr(e.msg, "unfinished lines"));
            } else {
                opened++;
                use(t);
                tails_close(t);
            }
            is_over = sys_fault_calls() <= n;
            sys_fault_set(NULL, NULL);
            assert_int_equal(lowest_free_fd(), free_fd);
        }
        assert_true(opened > 2); /* with one that gives memory back failing */
    }
    close(fds[1]);
}

/* ---- killed ---- */

/* What the tail is after so many changes: anybody can work it out from their number. */
static size_t length_after(uint64_t change)
{
    return change % 3 == 0 ? change * 7919 % LONGEST : 0;
}

static char letter_after(uint64_t change)
{
    return (char)('a' + change % 26);
}

/* A replacement by `length_after` letters, then two appends of one byte. */
static _Noreturn void change_for_ever(int fd, uint64_t handle, int begun_fd)
{
    static char text[LONGEST];
    struct tails *t = open_tails(fd);
    if (write(begun_fd, "1", 1) != 1)
        _exit(1);
    for (uint64_t n = 3;; n++) {
        struct str one = {text, 1};
        if (n % 3 == 0) {
            memset(text, letter_after(n), sizeof text);
            replace(t, handle, (struct str){text, length_after(n)}, n);
        } else {
            append(t, handle, one, n);
        }
    }
}

static void a_kill_at_any_moment_leaves_the_tail_before_or_after_a_change(void **state)
{
    int fd = shared_memory();
    struct tails *t = open_tails(fd);
    uint64_t handle = take(t, 2), seen = 0;
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct tail tail;
        int status, begun[2];
        char byte;
        assert_int_equal(pipe(begun), 0);
        pid_t pid = fork();
        if (pid == 0)
            change_for_ever(fd, handle, begun[1]);
        assert_int_equal(read(begun[0], &byte, 1), 1);
        close(begun[0]);
        close(begun[1]);
        poll(NULL, 0, 1 + round % 7); /* the moment is meant to be any */
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(tails_get(t, handle, &tail));
        uint64_t n = tail.request, first = n - n % 3;
        if (n == 0)
            continue; /* killed before its first change */
        assert_int_equal(tail.bytes.len, length_after(first) + n % 3);
        for (size_t i = 0; i < tail.bytes.len; i++)
            assert_int_equal(tail.bytes.ptr[i], letter_after(first));
        seen = n > seen ? n : seen;
    }
    assert_true(seen > 3); /* the second replacement at least: a sanitizer makes it slow */
    tails_close(t);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tail_grows_and_gives_way_to_another),
        cmocka_unit_test(the_longest_tail_fits),
        cmocka_unit_test(a_handle_of_before_is_not_there),
        cmocka_unit_test(as_many_handles_as_slots_and_no_more),
        cmocka_unit_test(the_next_process_finds_handles_and_tails),
        cmocka_unit_test(memory_is_given_back_with_the_handle),
        cmocka_unit_test(all_tails_together_have_a_maximum),
        cmocka_unit_test(memory_is_that_of_the_tails_in_force),
        cmocka_unit_test(any_call_may_fail),
        cmocka_unit_test(a_kill_at_any_moment_leaves_the_tail_before_or_after_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
