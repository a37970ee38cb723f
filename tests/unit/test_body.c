// links: weir_http
/* Bodies: the budget of their memory, and when they go to the spool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/body.h"
#include "tests/support/scratch.h"

enum { TOTAL = 4 << 20, MEMORY_MAX = 1 << 20, MAX_BYTES = 8 << 20, PIECE = 10007 };

struct fixture {
    struct scratch scratch;
    struct spool *spool;
    struct body_pool *pool;
};

static int open_pool(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err e;
    f->scratch = scratch_make();
    const struct spool_config spool = {
        .dir = f->scratch.path, .total_bytes = 2 * MAX_BYTES, .files_max = 8};
    assert_int_equal(spool_open(&spool, &f->spool, &e), ERR_OK);
    const struct body_pool_config cfg = {
        .total_bytes = TOTAL, .memory_max_bytes = MEMORY_MAX, .spool = f->spool};
    f->pool = body_pool_new(&cfg);
    *state = f;
    return f->pool ? 0 : -1;
}

static int close_pool(void **state)
{
    struct fixture *f = *state;
    body_pool_free(f->pool);
    spool_close(f->spool);
    scratch_remove(&f->scratch);
    free(f);
    return 0;
}

static char byte_at(size_t i)
{
    return (char)((i * 2654435761u) >> 11);
}

/* As the server does. */
static enum err_code fill(struct body *b, size_t n, struct err *e)
{
    static char piece[PIECE];
    for (size_t at = 0; at < n;) {
        size_t len = n - at < PIECE ? n - at : PIECE, taken = 0;
        for (size_t i = 0; i < len; i++)
            piece[i] = byte_at(at + i);
        enum err_code rc = body_add(b, (struct str){piece, len}, &taken, e);
        if (!rc && body_wants_flush(b, taken, len))
            rc = body_flush(b, e);
        if (rc)
            return rc;
        at += taken;
    }
    return ERR_OK;
}

static void assert_view(struct body *b, size_t n)
{
    struct str view;
    struct err e;
    assert_int_equal(body_view(b, &view, &e), ERR_OK);
    assert_int_equal(view.len, n);
    for (size_t i = 0; i < n; i++)
        if (view.ptr[i] != byte_at(i))
            fail_msg("byte %zu of %zu differs", i, n);
}

static void a_body_is_what_was_added_wherever_it_stands(void **state)
{
    static const size_t sizes[] = {
        0, 1, 4096, 300000, MEMORY_MAX, MEMORY_MAX + 1, 3 * MEMORY_MAX, MAX_BYTES};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int declared = 0; declared < 2; declared++) {
            struct body b;
            struct err e;
            body_open(f->pool, &b, declared ? sizes[i] : 0, MAX_BYTES);
            assert_int_equal(fill(&b, sizes[i], &e), ERR_OK);
            assert_true(b.charged_bytes <= MEMORY_MAX + BODY_POOL_CAP);
            assert_view(&b, sizes[i]);
            assert_int_equal(body_is_spooled(&b), sizes[i] > MEMORY_MAX);
            assert_view(&b, sizes[i]);
            body_done(&b);
        }
}

static void room_is_given_and_flushed_as_it_is_filled(void **state)
{
    struct fixture *f = *state;
    struct body b;
    struct err e;
    size_t at = 0;
    body_open(f->pool, &b, 0, MAX_BYTES);
    while (at < 3 * MEMORY_MAX) {
        char *to;
        size_t room, flushed = (size_t)b.file.bytes;
        bool has_grown = body_grow(&b);
        assert_int_equal(body_room(&b, &to, &room, &e), ERR_OK);
        assert_true(room > 0);
        assert_int_equal(has_grown, b.file.bytes == flushed);
        if (room > PIECE)
            room = PIECE;
        for (size_t i = 0; i < room; i++)
            to[i] = byte_at(at + i);
        body_made(&b, room);
        at += room;
    }
    assert_true(body_is_spooled(&b));
    assert_view(&b, at);
    body_done(&b);
}

static void more_than_the_maximum_is_too_big(void **state)
{
    struct fixture *f = *state;
    static const size_t limits[] = {5000, MEMORY_MAX, 3 * MEMORY_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct body b;
        struct err e;
        size_t taken;
        body_open(f->pool, &b, 0, limits[i]);
        assert_int_equal(fill(&b, limits[i], &e), ERR_OK);
        assert_int_equal(body_add(&b, STR("x"), &taken, &e), ERR_TOOBIG);
        body_done(&b);
    }
}

static void who_only_declares_takes_nothing_from_others(void **state)
{
    enum { CONNECTIONS = 100 };
    struct fixture *f = *state;
    static struct body declared[CONNECTIONS];
    struct body b;
    struct err e;
    for (int i = 0; i < CONNECTIONS; i++)
        body_open(f->pool, &declared[i], MEMORY_MAX, MAX_BYTES);
    body_open(f->pool, &b, 100000, MAX_BYTES);
    assert_int_equal(fill(&b, 100000, &e), ERR_OK);
    assert_view(&b, 100000);
    body_done(&b);
    for (int i = 0; i < CONNECTIONS; i++)
        body_done(&declared[i]);
}

static void bodies_that_find_no_memory_go_to_the_spool(void **state)
{
    enum { BODIES = 6 };
    struct fixture *f = *state;
    static struct body held[BODIES];
    struct err e;
    unsigned spooled = 0;
    for (int i = 0; i < BODIES; i++) {
        body_open(f->pool, &held[i], 0, MAX_BYTES);
        assert_int_equal(fill(&held[i], MEMORY_MAX, &e), ERR_OK);
        spooled += body_is_spooled(&held[i]);
    }
    assert_int_equal(spooled, BODIES - TOTAL / 4 * 3 / MEMORY_MAX);
    for (int i = 0; i < BODIES; i++) {
        assert_view(&held[i], MEMORY_MAX);
        body_done(&held[i]);
    }
}

/* Bodies of 1,000 bytes that never end, until one finds no memory; how many. */
static int hold_unfinished(struct body_pool *p, struct body *held, int most)
{
    struct err e;
    for (int i = 0; i < most; i++) {
        size_t taken;
        body_open(p, &held[i], 0, MAX_BYTES);
        assert_int_equal(body_add(&held[i], (struct str){(char[1000]){0}, 1000}, &taken, &e), 0);
        if (body_wants_flush(&held[i], taken, 1000)) {
            assert_int_equal(body_flush(&held[i], &e), ERR_OK);
            return i + 1;
        }
    }
    return most;
}

static void what_is_unfinished_leaves_memory_for_what_is_whole(void **state)
{
    enum { BODIES = TOTAL / 1000 };
    struct fixture *f = *state;
    struct body *held = calloc(BODIES, sizeof *held), b;
    struct err e;
    int count = hold_unfinished(f->pool, held, BODIES);
    assert_true(count < BODIES);
    for (int whole = 0; whole < 2; whole++) {
        size_t taken, declared = whole ? PIECE : PIECE + 1;
        body_open(f->pool, &b, declared, MAX_BYTES);
        assert_int_equal(body_add(&b, (struct str){(char[PIECE]){0}, PIECE}, &taken, &e), ERR_OK);
        assert_int_equal(taken, PIECE);
        assert_int_equal(body_wants_flush(&b, taken, PIECE), !whole);
        body_done(&b);
    }
    body_open(f->pool, &b, PIECE + 1, MAX_BYTES);
    assert_int_equal(fill(&b, PIECE + 1, &e), ERR_OK);
    assert_true(body_is_spooled(&b));
    assert_view(&b, PIECE + 1);
    body_done(&b);
    for (int i = 0; i < count; i++)
        body_done(&held[i]);
    free(held);
}

struct waiter {
    struct body_waiter w;
    int woken;
};

static void count_woken(struct body_waiter *w)
{
    ((struct waiter *)(void *)w)->woken++;
}

/* Bodies hold all that pieces may have: who comes then is woken in turn as memory is given back. */
static void who_finds_no_memory_waits_for_it(void **state)
{
    enum { BODIES = TOTAL / 1000 + 2 };
    struct fixture *f = *state;
    struct body *held = calloc(BODIES, sizeof *held), late[3];
    struct waiter waiters[3] = {{.woken = 0}};
    struct err e;
    size_t taken = 1000;
    int count = 0;
    while (taken == 1000) {
        body_open(f->pool, &held[count], 0, MAX_BYTES);
        assert_int_equal(body_add(&held[count++], (struct str){(char[1000]){0}, 1000}, &taken, &e),
                         0);
        assert_true(count < BODIES);
    }
    assert_true(body_wants_memory(&held[count - 1], taken));
    for (int i = 0; i < 3; i++) {
        waiters[i].w.wake = count_woken;
        body_open(f->pool, &late[i], 0, MAX_BYTES);
        body_wait(&late[i], &waiters[i].w, 1000);
        assert_int_equal(waiters[i].woken, 0);
    }
    assert_true(body_wants_flush(&held[count - 2], 1000, 1000)); /* it is lent */
    assert_int_equal(body_flush(&held[count - 2], &e), ERR_OK);
    assert_int_equal(waiters[0].woken, 1);
    assert_int_equal(body_add(&late[0], (struct str){(char[1000]){0}, 1000}, &taken, &e), ERR_OK);
    assert_int_equal(taken, 1000);
    body_done(&held[count - 1]); /* it had none */
    assert_int_equal(waiters[1].woken, 0);
    body_done(&held[0]);
    body_done(&held[1]);
    for (int i = 0; i < 3; i++)
        assert_int_equal(waiters[i].woken, 1);
    struct waiter at_once = {.w.wake = count_woken};
    body_done(&held[2]);
    body_wait(&late[1], &at_once.w, 1000);
    assert_int_equal(at_once.woken, 1);
    for (int i = 0; i < count; i++)
        body_done(&held[i]);
    for (int i = 0; i < 3; i++)
        body_done(&late[i]);
    free(held);
}

/* Nobody may be left waiting when the server ends. */
static void a_stop_wakes_all_who_wait(void **state)
{
    enum { BODIES = TOTAL / PIECE + 2 };
    struct fixture *f = *state;
    struct body *held = calloc(BODIES, sizeof *held), late;
    struct waiter first = {.w.wake = count_woken}, second = {.w.wake = count_woken};
    struct err e;
    size_t taken = 1;
    int count = 0;
    while (taken > 0) {
        body_open(f->pool, &held[count], 0, MAX_BYTES);
        assert_int_equal(
            body_add(&held[count++], (struct str){(char[PIECE]){0}, PIECE}, &taken, &e), 0);
        assert_true(count < BODIES);
    }
    body_open(f->pool, &late, 0, MAX_BYTES);
    body_wait(&late, &first.w, PIECE);
    assert_int_equal(first.woken, 0);
    body_pool_stop(f->pool);
    assert_int_equal(first.woken, 1);
    body_wait(&late, &second.w, PIECE);
    assert_int_equal(second.woken, 1);
    body_done(&late);
    for (int i = 0; i < count; i++)
        body_done(&held[i]);
    free(held);
}

static void a_few_bytes_take_little(void **state)
{
    enum { BODIES = 4000 };
    struct fixture *f = *state;
    struct body *held = calloc(BODIES, sizeof *held);
    struct err e;
    for (int i = 0; i < BODIES; i++) {
        size_t taken;
        body_open(f->pool, &held[i], 0, MAX_BYTES);
        assert_int_equal(body_add(&held[i], STR("[{"), &taken, &e), ERR_OK);
        assert_int_equal(taken, 2);
    }
    for (int i = 0; i < BODIES; i++)
        body_done(&held[i]);
    free(held);
}

static void without_memory_for_a_step_there_is_again_and_later_there_is_some(void **state)
{
    enum { BODIES = TOTAL / 4096 + 1 };
    struct fixture *f = *state;
    struct body *held = calloc(BODIES, sizeof *held), one_more;
    struct err e;
    char *to;
    size_t room;
    int count = 0;
    for (; count < BODIES; count++) {
        body_open(f->pool, &held[count], 0, MAX_BYTES);
        if (body_room(&held[count], &to, &room, &e) != ERR_OK)
            break;
    }
    assert_int_equal(count, TOTAL / 8 * 7 / 4096);
    assert_int_equal(e.code, ERR_AGAIN);
    body_done(&held[0]);
    body_open(f->pool, &one_more, 0, MAX_BYTES);
    assert_int_equal(body_room(&one_more, &to, &room, &e), ERR_OK);
    body_done(&one_more);
    for (int i = 1; i <= count; i++)
        body_done(&held[i]);
    free(held);
}

static void past_the_total_of_the_spool_there_is_again(void **state)
{
    struct fixture *f = *state;
    struct body first, second, third;
    struct err e;
    body_open(f->pool, &first, MAX_BYTES, MAX_BYTES);
    assert_int_equal(fill(&first, MAX_BYTES, &e), ERR_OK);
    body_open(f->pool, &second, MAX_BYTES, MAX_BYTES);
    assert_int_equal(fill(&second, MAX_BYTES, &e), ERR_OK);
    body_open(f->pool, &third, MAX_BYTES, MAX_BYTES);
    assert_int_equal(fill(&third, MAX_BYTES, &e), ERR_AGAIN);
    body_done(&third);
    body_done(&second);
    body_done(&first);
}

static void a_kept_buffer_does_not_raise_a_limit(void **state)
{
    struct fixture *f = *state;
    struct body b;
    struct err e;
    body_open(f->pool, &b, 100000, MAX_BYTES);
    body_done(&b);
    body_open(f->pool, &b, 0, 5000);
    assert_true(b.buf.cap >= 100000);
    assert_int_equal(b.buf.len, 0);
    assert_int_equal(fill(&b, 5001, &e), ERR_TOOBIG);
    body_done(&b);
}

static void done_twice_or_never_opened_is_fine(void **state)
{
    struct body b = {0};
    (void)state;
    body_done(&b);
    body_done(&b);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_pool, close_pool)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_body_is_what_was_added_wherever_it_stands),
        CASE(room_is_given_and_flushed_as_it_is_filled),
        CASE(more_than_the_maximum_is_too_big),
        CASE(who_only_declares_takes_nothing_from_others),
        CASE(bodies_that_find_no_memory_go_to_the_spool),
        CASE(what_is_unfinished_leaves_memory_for_what_is_whole),
        CASE(who_finds_no_memory_waits_for_it),
        CASE(a_stop_wakes_all_who_wait),
        CASE(a_few_bytes_take_little),
        CASE(without_memory_for_a_step_there_is_again_and_later_there_is_some),
        CASE(past_the_total_of_the_spool_there_is_again),
        CASE(a_kept_buffer_does_not_raise_a_limit),
        CASE(done_twice_or_never_opened_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
