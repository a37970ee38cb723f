// links: weir_fs weir_index
/* tests/unit/test_open_queue.c - jobs run on a few threads, wait behind them, and none is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "fs/journal/open_queue.h"

/* A gate that holds each job until it is opened. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_open;
    size_t entered, left;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void pass_gate(void *job)
{
    pthread_mutex_lock(&gate.lock);
    gate.entered++;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.is_open)
        pthread_cond_wait(&gate.changed, &gate.lock);
    gate.left++;
    ++*(int *)job;
    pthread_mutex_unlock(&gate.lock);
}

static void await_entered(size_t wanted)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.entered < wanted)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void a_full_queue_refuses_and_stop_runs_what_waits(void **state)
{
    static int jobs[OPEN_THREADS + OPEN_QUEUE_MAX + 1];
    struct open_queue *q = NULL;
    struct err e;
    (void)state;
    assert_int_equal(open_queue_start(pass_gate, &q, &e), ERR_OK);
    for (size_t i = 0; i < OPEN_THREADS; i++)
        assert_true(open_queue_add(q, &jobs[i]));
    await_entered(OPEN_THREADS);
    for (size_t i = 0; i < OPEN_QUEUE_MAX; i++)
        assert_true(open_queue_add(q, &jobs[OPEN_THREADS + i]));
    assert_false(open_queue_add(q, &jobs[OPEN_THREADS + OPEN_QUEUE_MAX]));
    assert_int_equal(gate.entered, OPEN_THREADS);
    pthread_mutex_lock(&gate.lock);
    gate.is_open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    open_queue_stop(q);
    assert_int_equal(gate.left, OPEN_THREADS + OPEN_QUEUE_MAX);
    for (size_t i = 0; i < OPEN_THREADS + OPEN_QUEUE_MAX; i++)
        assert_int_equal(jobs[i], 1);
    open_queue_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_queue_refuses_and_stop_runs_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
