// links: weir_fs weir_index
/* tests/unit/test_journal_requests.c - writes to `ingest` files that the kernel sends again: their
 * lines are stored once, whatever dies or fails in between. */
#include "tests/support/journal_fixture.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/sys.h"
#include "fs/journal/frame.h"
#include "fs/journal/requests.h"

enum { MOUNT = 77, HOUR = 100, WRITES = 12, LONG_LINE = 12000 };

/* ---- the ring ---- */

static bool ring_knows(const struct requests *r, uint64_t number)
{
    enum err_code answer;
    uint64_t position;
    return requests_find(r, MOUNT, number, &answer, &position);
}

static void ring_add(struct requests *r, uint64_t number, uint64_t position)
{
    struct batch_request request = {MOUNT, number, ERR_OK};
    assert_true(requests_add(r, &request, position));
}

static void the_newest_are_known_and_the_oldest_forgotten(void **state)
{
    struct requests r = {.mount = MOUNT};
    (void)state;
    assert_false(ring_knows(&r, 2));
    for (uint64_t i = 1; i <= 3 * JOURNAL_REQUESTS_MAX; i++) {
        ring_add(&r, 2 * i, i);
        assert_true(ring_knows(&r, 2 * i));
        if (i > JOURNAL_REQUESTS_MAX) {
            assert_false(ring_knows(&r, 2 * (i - JOURNAL_REQUESTS_MAX)));
            assert_true(ring_knows(&r, 2 * (i - JOURNAL_REQUESTS_MAX + 1)));
        }
    }
    requests_done(&r);
}

static void numbers_of_one_chain_are_told_apart(void **state)
{
    struct requests r = {.mount = MOUNT};
    (void)state;
    for (uint64_t i = 1; i <= 10; i++)
        ring_add(&r, 2 + 2 * JOURNAL_REQUESTS_MAX * i, i);
    requests_fail_after(&r, 5);
    for (uint64_t i = 1; i <= 10; i++)
        assert_int_equal(ring_knows(&r, 2 + 2 * JOURNAL_REQUESTS_MAX * i), i <= 5);
    assert_false(ring_knows(&r, 2));
    requests_done(&r);
}

static void what_was_encoded_is_known_again(void **state)
{
    struct requests r = {.mount = MOUNT}, again = {.mount = MOUNT}, other = {.mount = MOUNT + 1};
    struct buf records;
    (void)state;
    for (uint64_t i = 1; i <= JOURNAL_REQUESTS_MAX + 9; i++)
        ring_add(&r, 2 * i, i);
    buf_init(&records, 1 << 20);
    requests_encode(&r, JOURNAL_REQUESTS_MAX + 5, 100, &records);
    assert_int_equal(records.len, 96 * FRAME_REQUEST_LEN);
    assert_true(requests_decode(&again, buf_str(&records)));
    assert_true(requests_decode(&other, buf_str(&records)));
    for (uint64_t i = 1; i <= JOURNAL_REQUESTS_MAX + 9; i++)
        assert_int_equal(ring_knows(&again, 2 * i),
                         i > JOURNAL_REQUESTS_MAX - 91 && i <= JOURNAL_REQUESTS_MAX + 5);
    assert_int_equal(other.count, 0);
    buf_done(&records);
    requests_done(&r);
    requests_done(&again);
    requests_done(&other);
}

/* ---- the journal ---- */

static enum err_code append_write(struct fixture *f, uint32_t worker, uint64_t number,
                                  const struct batch_request *request, const char *text)
{
    struct batch_run r = run_of(1, HOUR, text);
    struct batch_part p = {.id = {f->epoch, worker, number},
                           .parts = 1,
                           .flags = BATCH_LAST | BATCH_NO_SYNC,
                           .runs = &r,
                           .run_count = 1,
                           .request = *request};
    return append_part(f->j, &p, NULL);
}

static void assert_known(struct fixture *f, uint64_t number, enum err_code want)
{
    enum err_code answer = ERR_CODE_COUNT;
    if (!journal_request_find(f->j, number, &answer))
        fail_msg("request %llu is not known", (unsigned long long)number);
    assert_int_equal(answer, want);
}

static bool is_known(struct fixture *f, uint64_t number)
{
    enum err_code answer;
    return journal_request_find(f->j, number, &answer);
}

static void open_mounted(struct fixture *f)
{
    f->cfg.mount = MOUNT;
    fixture_open(f);
    fixture_epoch(f);
}

static void a_write_that_comes_again_is_answered_and_not_stored(void **state)
{
    struct fixture *f = *state;
    struct batch_request a = {MOUNT, 10, ERR_OK}, b = {MOUNT, 12, ERR_INVALID};
    open_mounted(f);
    assert_int_equal(append_write(f, 0, 1, &a, "a\n"), ERR_OK);
    assert_int_equal(append_write(f, 1, 1, &b, "b\n"), ERR_OK);
    assert_int_equal(append_write(f, 2, 1, &a, "a\n"), ERR_OK);
    assert_int_equal(append_write(f, 0, 2, &b, "b\n"), ERR_OK);
    assert_shown(f, 1, HOUR, "a\nb\n");
    fixture_reopen(f); /* by the next process of the same mount, for the next gateway */
    fixture_epoch(f);
    assert_known(f, 10, ERR_OK);
    assert_known(f, 12, ERR_INVALID);
    assert_int_equal(append_write(f, 0, 1, &a, "a\n"), ERR_OK);
    assert_int_equal(append_write(f, 0, 2, &(struct batch_request){MOUNT, 14, ERR_OK}, "c\n"),
                     ERR_OK);
    assert_shown(f, 1, HOUR, "a\nb\nc\n");
}

static void no_part_of_a_write_that_is_known_is_appended(void **state)
{
    struct fixture *f = *state;
    struct batch_request a = {MOUNT, 10, ERR_OK};
    struct journal_stats before, after;
    struct batch_run r = run_of(1, HOUR, "a\n");
    open_mounted(f);
    assert_int_equal(append_write(f, 0, 1, &a, "a\n"), ERR_OK);
    journal_stats(f->j, &before);
    for (uint32_t part = 0; part < 3; part++) {
        struct batch_part p = {.id = {f->epoch, 1, 1},
                               .part = part,
                               .parts = part == 2 ? 3 : 0,
                               .flags = part == 2 ? BATCH_LAST : 0,
                               .runs = &r,
                               .run_count = 1,
                               .request = a};
        assert_int_equal(append_part(f->j, &p, NULL), ERR_OK);
    }
    journal_stats(f->j, &after);
    assert_int_equal(after.appended_bytes, before.appended_bytes);
    assert_shown(f, 1, HOUR, "a\n");
}

static void another_mount_knows_nothing_of_it(void **state)
{
    struct fixture *f = *state;
    struct batch_request a = {MOUNT, 10, ERR_OK}, other = {MOUNT + 1, 10, ERR_OK};
    open_mounted(f);
    assert_int_equal(append_write(f, 0, 1, &a, "a\n"), ERR_OK);
    f->cfg.mount = MOUNT + 1;
    fixture_reopen(f);
    fixture_epoch(f);
    assert_false(is_known(f, 10));
    assert_int_equal(append_write(f, 0, 1, &other, "b\n"), ERR_OK);
    assert_known(f, 10, ERR_OK);
    assert_shown(f, 1, HOUR, "a\nb\n");
}

static void requests_outlive_the_segment_of_their_lines(void **state)
{
    struct fixture *f = *state;
    struct journal_stats stats;
    char line[LONG_LINE + 2];
    uint64_t number = 2;
    memset(line, 'x', sizeof line);
    memcpy(line + LONG_LINE, "\n", 2);
    open_mounted(f);
    assert_int_equal(append_write(f, 0, 1, &(struct batch_request){MOUNT, 2, ERR_INVALID}, "a\n"),
                     ERR_OK);
    for (journal_stats(f->j, &stats); stats.segments < 4; journal_stats(f->j, &stats)) {
        number += 2;
        assert_int_equal(
            append_write(f, 0, number, &(struct batch_request){MOUNT, number, ERR_OK}, line),
            ERR_OK);
    }
    for (int again = 0; again < 2; again++) {
        assert_known(f, 2, ERR_INVALID);
        for (uint64_t n = 4; n <= number; n += 2)
            assert_known(f, n, ERR_OK);
        fixture_reopen(f);
    }
}

/* ---- failing calls ---- */

struct plan {
    uint64_t fail_at;
    bool repeats;
    atomic_bool was_met;
};

static int fail_planned(struct sys_fault *fault, void *ctx)
{
    struct plan *p = ctx;
    if (fault->number < p->fail_at || (!p->repeats && fault->number > p->fail_at))
        return 0;
    atomic_store(&p->was_met, true);
    return EIO;
}

static void line_of(unsigned i, char line[LONG_LINE])
{
    memset(line, 'x', LONG_LINE);
    int n = snprintf(line, LONG_LINE, "write %u ", i);
    line[n] = ' ';
    memcpy(line + LONG_LINE - 2, "\n", 2);
}

/* Every write twice, as if the kernel had sent it again. */
static void write_all(struct fixture *f, bool acknowledged[WRITES])
{
    char line[LONG_LINE];
    for (unsigned i = 0; i < WRITES; i++) {
        struct batch_request r = {MOUNT, 2 + 2 * i, ERR_OK};
        line_of(i, line);
        bool once = append_write(f, 0, i + 1, &r, line) == ERR_OK;
        bool twice = append_write(f, 1, i + 1, &r, line) == ERR_OK;
        acknowledged[i] = once || twice;
    }
}

static unsigned times_shown(const struct shown *s, unsigned i)
{
    char line[LONG_LINE];
    unsigned n = 0;
    line_of(i, line);
    for (const char *p = s->text.data ? s->text.data : ""; (p = strstr(p, line)); p++)
        n++;
    return n;
}

static void check_writes(struct fixture *f)
{
    struct shown s = shown_of(f, 1, HOUR);
    for (unsigned i = 0; i < WRITES; i++)
        assert_int_equal(times_shown(&s, i), is_known(f, 2 + 2 * i));
    buf_done(&s.text);
}

static bool fail_once(struct fixture *f, struct plan *p)
{
    bool acknowledged[WRITES] = {false};
    struct err e;
    fixture_remove_tree(f->dir);
    sys_fault_set(fail_planned, p);
    if (journal_open(&f->cfg, &f->j, &f->found, &e) == ERR_OK) {
        if (journal_epoch(f->j, 0, &f->epoch, &e) == ERR_OK)
            write_all(f, acknowledged);
        journal_close(f->j);
    }
    sys_fault_set(NULL, NULL);
    fixture_open(f);
    check_writes(f);
    fixture_epoch(f);
    write_all(f, acknowledged);
    for (unsigned i = 0; i < WRITES; i++)
        assert_true(acknowledged[i]);
    check_writes(f);
    fixture_reopen(f);
    check_writes(f);
    journal_close(f->j);
    f->j = NULL;
    return atomic_load(&p->was_met);
}

static void a_request_is_known_exactly_when_its_lines_are_there(void **state)
{
    struct fixture *f = *state;
    f->cfg.mount = MOUNT;
    f->cfg.segment_bytes = 64u << 10; /* several of them */
    for (int i = 0; i < 2; i++) {
        bool has_failed = true;
        for (uint64_t n = 0; has_failed; n++) {
            struct plan p = {.fail_at = n, .repeats = i > 0};
            has_failed = fail_once(f, &p);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_are_known_and_the_oldest_forgotten),
        cmocka_unit_test(numbers_of_one_chain_are_told_apart),
        cmocka_unit_test(what_was_encoded_is_known_again),
        cmocka_unit_test_setup_teardown(a_write_that_comes_again_is_answered_and_not_stored,
                                        fixture_make, fixture_remove),
        cmocka_unit_test_setup_teardown(no_part_of_a_write_that_is_known_is_appended, fixture_make,
                                        fixture_remove),
        cmocka_unit_test_setup_teardown(another_mount_knows_nothing_of_it, fixture_make,
                                        fixture_remove),
        cmocka_unit_test_setup_teardown(requests_outlive_the_segment_of_their_lines, fixture_make,
                                        fixture_remove),
        cmocka_unit_test_setup_teardown(a_request_is_known_exactly_when_its_lines_are_there,
                                        fixture_make, fixture_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
