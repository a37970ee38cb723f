// links: weir_fs weir_index
/* What one fs process of a mount leaves to the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fs/anchor.h"
#include "fs/follow.h"

#define INO UINT64_C(4711)

struct shared {
    int fd;
    struct anchor *a;
    struct err e;
    char record[ANCHOR_RECORD_LEN];
};

static int open_shared(void **state)
{
    struct shared *s = calloc(1, sizeof *s);

    assert_non_null(s);
    assert_int_equal(anchor_create(&s->fd, &s->e), ERR_OK);
    assert_int_equal(anchor_open(s->fd, &s->a, &s->e), ERR_OK);
    memset(s->record, 'r', sizeof s->record);
    *state = s;
    return 0;
}

static int close_shared(void **state)
{
    struct shared *s = *state;

    anchor_close(s->a);
    close(s->fd);
    free(s);
    return 0;
}

/* The process died, another maps what it left. */
static void follow(struct shared *s)
{
    anchor_close(s->a);
    assert_int_equal(anchor_open(s->fd, &s->a, &s->e), ERR_OK);
}

struct seen {
    struct anchor_open last;
    unsigned count;
};

static bool see(const struct anchor_open *o, void *ctx)
{
    struct seen *seen = ctx;

    seen->last = *o;
    seen->count++;
    return true;
}

static struct seen look(struct shared *s)
{
    struct seen seen = {0};

    anchor_each(s->a, see, &seen);
    return seen;
}

static void two_mounts_have_two_numbers(void **state)
{
    struct shared *s = *state;
    struct anchor *alone;
    uint64_t number = anchor_mount(s->a);

    assert_int_equal(anchor_open(-1, &alone, &s->e), ERR_OK);
    assert_true(anchor_mount(alone) != number);
    anchor_close(alone);
    assert_int_equal(anchor_generation(s->a), 0);
    follow(s);
    assert_int_equal(anchor_generation(s->a), 1);
    assert_true(anchor_mount(s->a) == number);
}

static void what_is_no_anchor_is_refused(void **state)
{
    struct shared *s = *state;
    struct anchor *other = NULL;
    uint64_t zero = 0;

    assert_int_equal(pwrite(s->fd, &zero, sizeof zero, 0), sizeof zero);
    assert_int_equal(anchor_open(s->fd, &other, &s->e), ERR_CORRUPT);
    assert_null(other);
}

static void init_is_kept_once_it_was_answered(void **state)
{
    struct shared *s = *state;
    static const char long_one[ANCHOR_INIT_MAX + 1];

    anchor_put_init(s->a, (struct str){long_one, sizeof long_one});
    anchor_answered(s->a);
    assert_false(anchor_was_answered(s->fd)); /* too long: as if it had not been seen */
    anchor_put_init(s->a, STR("init"));
    follow(s);
    assert_int_equal(anchor_init(s->a).len, 0);
    assert_false(anchor_was_answered(s->fd));
    anchor_answered(s->a);
    assert_true(anchor_was_answered(s->fd));
    assert_int_equal(anchor_init(s->a).len, 0); /* this process is the first still */
    follow(s);
    assert_true(str_eq(anchor_init(s->a), STR("init")));
}

static void opens_are_counted_over_processes(void **state)
{
    struct shared *s = *state;

    assert_true(anchor_take(s->a, INO, 2, 7, s->record));
    assert_true(anchor_take(s->a, INO, 4, 7, s->record));
    follow(s);
    struct seen seen = look(s);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.last.ino, INO);
    assert_int_equal(seen.last.opens, 2);
    assert_int_equal(seen.last.backing_id, 7);
    assert_memory_equal(seen.last.record, s->record, sizeof s->record);
    assert_true(anchor_give(s->a, INO, 6));
    assert_int_equal(look(s).last.opens, 1);
    assert_true(anchor_give(s->a, INO, 8));
    follow(s);
    assert_int_equal(look(s).count, 0);
}

static void the_same_request_is_counted_once(void **state)
{
    struct shared *s = *state;
    uint32_t backing_id = 0;

    assert_false(anchor_counted(s->a, INO, 2, &backing_id));
    assert_true(anchor_take(s->a, INO, 2, 9, s->record));
    follow(s);
    assert_true(anchor_counted(s->a, INO, 2, &backing_id));
    assert_int_equal(backing_id, 9);
    assert_false(anchor_counted(s->a, INO, 4, &backing_id));
    assert_true(anchor_take(s->a, INO, 2, 9, s->record));
    assert_int_equal(look(s).last.opens, 1);
    assert_true(anchor_take(s->a, INO, 4, 9, s->record));
    assert_true(anchor_give(s->a, INO, 6));
    follow(s);
    assert_false(anchor_give(s->a, INO, 6));
    assert_true(anchor_give(s->a, INO, 8));
    assert_false(anchor_give(s->a, INO, 8));
    assert_int_equal(look(s).count, 0);
}

static void opens_that_nobody_heard_of_are_taken_back(void **state)
{
    struct shared *s = *state;

    for (uint64_t unique = 2; unique < 20; unique += 2) {
        assert_true(anchor_take(s->a, INO, unique, 0, s->record));
        if (unique % 4 == 0) {
            anchor_undo(s->a, INO);
            anchor_undo(s->a, INO);
            assert_int_equal(look(s).count, 0);
        }
    }
    anchor_undo(s->a, INO);
    anchor_undo(s->a, INO); /* none: nothing */
    assert_int_equal(look(s).count, 0);
}

static void slots_are_used_again(void **state)
{
    struct shared *s = *state;

    for (uint64_t round = 0; round < 3; round++) {
        for (uint64_t i = 1; i <= 1000; i++)
            assert_true(anchor_take(s->a, i, i * 2, 0, s->record));
        assert_int_equal(look(s).count, 1000);
        if (round == 1)
            follow(s);
        for (uint64_t i = 1; i <= 1000; i++)
            assert_true(anchor_give(s->a, i, 5000 + i * 2));
    }
    assert_true(anchor_take(s->a, INO, 2, 0, s->record));
    follow(s);
    assert_int_equal(look(s).count, 1);
}

static void past_the_last_slot_nothing_is_taken(void **state)
{
    struct shared *s = *state;

    for (uint64_t i = 1; i <= ANCHOR_OPENS_MAX; i++)
        assert_true(anchor_take(s->a, i, i * 2, 0, s->record));
    assert_false(anchor_take(s->a, UINT64_MAX, 2, 0, s->record));
    assert_true(anchor_take(s->a, 5, 4, 0, s->record));
    assert_true(anchor_give(s->a, 6, 6));
    assert_true(anchor_take(s->a, UINT64_MAX, 2, 0, s->record));
}

/* A child opens and closes one inode without an end, and is killed in the middle of it: what it
 * left can be read, and says "open" or "not open". */
static void a_process_is_killed_anywhere(void **state)
{
    struct shared *s = *state;

    for (int i = 0; i < 100; i++) {
        pid_t child = fork();
        if (child == 0) {
            for (uint64_t unique = 2;; unique += 4) {
                anchor_take(s->a, INO, unique, 3, s->record);
                anchor_give(s->a, INO, unique + 2);
            }
        }
        assert_true(child > 0);
        usleep((useconds_t)(i * 20));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        follow(s);
        struct seen seen = look(s);
        assert_in_range(seen.count, 0, 1);
        if (seen.count) {
            assert_int_equal(seen.last.opens, 1);
            assert_int_equal(seen.last.backing_id, 3);
            assert_memory_equal(seen.last.record, s->record, sizeof s->record);
            anchor_undo(s->a, INO);
        }
    }
}

/* ---- the messages ---- */

struct init {
    char request[104], reply[16];
    struct iovec iov;
};

static struct init make_init(uint32_t flags2)
{
    struct init i = {0};

    put_u32(i.request + 4, 26);
    put_u64(i.request + 8, 77);
    put_u32(i.request + 52, 1u << 30);
    put_u32(i.request + 56, flags2);
    put_u64(i.reply + 8, 77);
    return i;
}

static void show(struct follow *f, struct init *i, int32_t error)
{
    i->iov = (struct iovec){i->reply, sizeof i->reply};
    put_u32(i->reply + 4, (uint32_t)error);
    follow_see_request(f, i->request, sizeof i->request);
    assert_true(follow_see_reply(f, &i->iov));
    follow_replied(f, &i->iov);
}

static void only_a_kernel_that_resends_is_followed(void **state)
{
    static const struct {
        uint32_t flags2;
        int32_t error;
        bool is_allowed, is_answered;
    } cases[] = {{1u << 6, 0, true, false},
                 {1u << 7, 0, false, false},
                 {1u << 7, -5, true, false},
                 {1u << 7, 0, true, true}};
    struct shared *s = *state;

    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        struct init i = make_init(cases[c].flags2);
        struct follow f;
        follow_init(&f, s->a, cases[c].is_allowed);
        show(&f, &i, cases[c].error);
        assert_int_equal(anchor_was_answered(s->fd), cases[c].is_answered);
        assert_int_equal(follow_why_not(&f) == NULL,
                         cases[c].is_allowed && cases[c].flags2 == 1u << 7);
    }
}

static void a_replayed_init_is_answered_to_nobody(void **state)
{
    struct shared *s = *state;
    struct init i = make_init(1u << 7);
    struct follow f;

    follow_init(&f, s->a, true);
    assert_true(follow_is_first(&f));
    show(&f, &i, 0);
    follow(s);
    follow_init(&f, s->a, true);
    assert_false(follow_is_first(&f));
    struct str init = follow_replay(&f);
    assert_int_equal(init.len, sizeof i.request);
    assert_memory_equal(init.ptr, i.request, sizeof i.request);
    assert_null(follow_why_not(&f));
    put_u64(i.reply + 8, 78);
    assert_true(follow_see_reply(&f, &i.iov)); /* of another request */
    put_u64(i.reply + 8, 77);
    assert_false(follow_see_reply(&f, &i.iov));
    assert_true(follow_see_reply(&f, &i.iov)); /* once */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_shared, close_shared)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(two_mounts_have_two_numbers),
        TEST(what_is_no_anchor_is_refused),
        TEST(init_is_kept_once_it_was_answered),
        TEST(opens_are_counted_over_processes),
        TEST(the_same_request_is_counted_once),
        TEST(opens_that_nobody_heard_of_are_taken_back),
        TEST(slots_are_used_again),
        TEST(past_the_last_slot_nothing_is_taken),
        TEST(a_process_is_killed_anywhere),
        TEST(only_a_kernel_that_resends_is_followed),
        TEST(a_replayed_init_is_answered_to_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
