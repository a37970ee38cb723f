// links: weir_http
/* The queue between a worker that makes a long reply and the connection that sends it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "http/pipe.h"

/* A connection that can be parked and woken, as libmicrohttpd's. */
struct fake {
    struct pipe pipe;
    pthread_mutex_t lock; /* guards awake */
    pthread_cond_t changed;
    bool awake;
    atomic_bool given_up;
    size_t total; /* bytes that the writer shall write */
    bool written;
};

static void park(void *ctx)
{
    struct fake *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->awake = false;
    pthread_mutex_unlock(&f->lock);
}

static void wake(void *ctx)
{
    struct fake *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->awake = true;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static bool given_up(void *ctx)
{
    struct fake *f = ctx;
    return atomic_load(&f->given_up);
}

static int open_fake(void **state)
{
    struct fake *f = calloc(1, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->awake = true;
    pipe_init(&f->pipe);
    f->pipe.park = park;
    f->pipe.wake = wake;
    f->pipe.given_up = given_up;
    f->pipe.ctx = f;
    *state = f;
    return 0;
}

static int close_fake(void **state)
{
    struct fake *f = *state;
    pipe_done(&f->pipe);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return 0;
}

static void wait_until_awake(struct fake *f)
{
    pthread_mutex_lock(&f->lock);
    while (!f->awake)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static char byte_at(size_t i)
{
    return (char)(i * 31 + (i >> 9));
}

static void *write_all(void *arg)
{
    struct fake *f = arg;
    char piece[70001];
    f->written = true;
    for (size_t at = 0, step = 1; at < f->total && f->written; at += step) {
        step = 1 + at * 7 % sizeof piece;
        if (step > f->total - at)
            step = f->total - at;
        for (size_t i = 0; i < step; i++)
            piece[i] = byte_at(at + i);
        f->written = pipe_write(&f->pipe, (struct str){piece, step});
    }
    pipe_finish(&f->pipe);
    return NULL;
}

static size_t room_of(struct pipe *p)
{
    pthread_mutex_lock(&p->lock);
    size_t room = p->queue.cap;
    pthread_mutex_unlock(&p->lock);
    return room;
}

static void bytes_come_out_in_order_and_then_the_end(void **state)
{
    struct fake *f = *state;
    pthread_t writer;
    char got[4096];
    size_t at = 0;
    ssize_t n;
    f->total = 8 * PIPE_QUEUE_MAX + 17;
    assert_int_equal(pthread_create(&writer, NULL, write_all, f), 0);
    while ((n = pipe_read(&f->pipe, got, sizeof got)) >= 0) {
        for (ssize_t i = 0; i < n; i++)
            if (got[i] != byte_at(at + (size_t)i))
                fail_msg("byte %zu is wrong", at + (size_t)i);
        at += (size_t)n;
        assert_true(room_of(&f->pipe) <= PIPE_QUEUE_MAX);
        if (n == 0)
            wait_until_awake(f);
    }
    pthread_join(writer, NULL);
    assert_true(f->written);
    assert_int_equal(at, f->total);
    assert_int_equal(pipe_read(&f->pipe, got, sizeof got), PIPE_END);
}

static void a_writer_that_waits_is_freed_by_close(void **state)
{
    struct fake *f = *state;
    pthread_t writer;
    char got[1];
    f->total = 2 * PIPE_QUEUE_MAX;
    assert_int_equal(pthread_create(&writer, NULL, write_all, f), 0);
    while (pipe_read(&f->pipe, got, sizeof got) == 0)
        wait_until_awake(f);
    pipe_close(&f->pipe);
    pthread_join(writer, NULL);
    assert_false(f->written);
    assert_false(pipe_write(&f->pipe, STR("more")));
    char rest[PIPE_QUEUE_MAX];
    while (pipe_read(&f->pipe, rest, sizeof rest) > 0)
        continue;
    assert_int_equal(pipe_read(&f->pipe, got, sizeof got), PIPE_BROKEN);
}

static void a_writer_without_a_reader_can_give_up(void **state)
{
    struct fake *f = *state;
    atomic_store(&f->given_up, true);
    f->total = 2 * PIPE_QUEUE_MAX;
    write_all(f);
    assert_false(f->written);
}

static void an_empty_queue_parks_the_reader_until_a_byte_comes(void **state)
{
    struct fake *f = *state;
    char got[8];
    bool closed, parked;
    assert_int_equal(pipe_read(&f->pipe, got, sizeof got), 0);
    assert_false(f->awake);
    pipe_look(&f->pipe, &closed, &parked);
    assert_true(parked && !closed);
    assert_true(pipe_write(&f->pipe, STR("x")));
    assert_true(f->awake);
    assert_int_equal(pipe_read(&f->pipe, got, sizeof got), 1);
    pipe_finish(&f->pipe);
    assert_int_equal(pipe_read(&f->pipe, got, sizeof got), PIPE_END);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_fake, close_fake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(bytes_come_out_in_order_and_then_the_end),
        CASE(a_writer_that_waits_is_freed_by_close),
        CASE(a_writer_without_a_reader_can_give_up),
        CASE(an_empty_queue_parks_the_reader_until_a_byte_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
