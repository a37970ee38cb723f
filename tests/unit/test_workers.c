// links: weir_http
/* Lanes: who waits for whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "http/workers.h"

enum { THREADS = 8, JOBS = 40 };

struct gate {
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    bool open;
    unsigned running, most_running, finished;
};
struct test_job {
    struct job job; /* first */
    struct gate *gate;
};
struct fixture {
    struct workers *workers;
    struct gate gate;
    struct test_job jobs[JOBS];
};

static void run_behind_gate(struct job *j, struct worker_tools *tools)
{
    struct gate *g = ((struct test_job *)j)->gate;
    assert_non_null(tools->decoder);
    pthread_mutex_lock(&g->lock);
    if (++g->running > g->most_running)
        g->most_running = g->running;
    pthread_cond_broadcast(&g->changed);
    while (!g->open)
        pthread_cond_wait(&g->changed, &g->lock);
    g->running--;
    g->finished++;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

static int open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err e;
    pthread_mutex_init(&f->gate.lock, NULL);
    pthread_cond_init(&f->gate.changed, NULL);
    for (size_t i = 0; i < JOBS; i++)
        f->jobs[i] = (struct test_job){{.run = run_behind_gate}, &f->gate};
    *state = f;
    return workers_start(THREADS, &f->workers, &e);
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    workers_free(f->workers);
    pthread_cond_destroy(&f->gate.changed);
    pthread_mutex_destroy(&f->gate.lock);
    free(f);
    return 0;
}

static void wait_for_running(struct gate *g, unsigned n)
{
    pthread_mutex_lock(&g->lock);
    while (g->running < n)
        pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void open_gate(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->open = true;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

static void every_job_runs_before_a_stop_returns(void **state)
{
    struct fixture *f = *state;
    open_gate(&f->gate);
    for (size_t i = 0; i < JOBS; i++)
        assert_true(workers_submit(f->workers, (enum route_lane)(i % LANE_COUNT), &f->jobs[i].job));
    workers_stop(f->workers);
    assert_int_equal(f->gate.finished, JOBS);
    assert_false(workers_submit(f->workers, LANE_INGEST, &f->jobs[0].job));
}

static void queries_leave_threads_to_ingest_and_both_to_others(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < 20; i++)
        assert_true(workers_submit(f->workers, LANE_QUERY, &f->jobs[i].job));
    wait_for_running(&f->gate, THREADS / 2);
    for (size_t i = 20; i < JOBS - 2; i++) {
        enum route_lane lane = i % 4 ? LANE_INGEST : LANE_LARGE;
        assert_true(workers_submit(f->workers, lane, &f->jobs[i].job));
    }
    wait_for_running(&f->gate, THREADS); /* half queries */
    assert_true(workers_submit(f->workers, LANE_SYSTEM, &f->jobs[JOBS - 2].job));
    assert_true(workers_submit(f->workers, LANE_SPOOL, &f->jobs[JOBS - 1].job));
    wait_for_running(&f->gate, THREADS + 2);
    open_gate(&f->gate);
    workers_stop(f->workers);
    assert_int_equal(f->gate.finished, JOBS);
}

struct impatient_job {
    struct job job; /* first */
    struct gate *gate;
    bool was_late;
};

static void tell_whether_late(struct job *j, struct worker_tools *tools)
{
    struct impatient_job *i = (struct impatient_job *)j;
    (void)tools;
    LOCK_SCOPE(&i->gate->lock);
    i->was_late = j->is_late;
    i->gate->finished++;
    pthread_cond_broadcast(&i->gate->changed);
}

static void a_job_that_waited_too_long_runs_late_though_its_lane_is_full(void **state)
{
    enum { WAIT_MS = 50 };
    struct fixture *f = *state;
    struct impatient_job late = {{.run = tell_whether_late}, .gate = &f->gate};
    struct impatient_job patient = {{.run = tell_whether_late}, .gate = &f->gate};
    for (size_t i = 0; i < THREADS / 2; i++)
        assert_true(workers_submit(f->workers, LANE_QUERY, &f->jobs[i].job));
    wait_for_running(&f->gate, THREADS / 2);
    uint64_t from_ms = clock_mono_ms();
    late.job.wait_until_ms = from_ms + WAIT_MS;
    patient.job.wait_until_ms = from_ms + 3600 * 1000;
    assert_true(workers_submit(f->workers, LANE_QUERY, &late.job));
    assert_true(workers_submit(f->workers, LANE_QUERY, &patient.job));
    pthread_mutex_lock(&f->gate.lock);
    while (f->gate.finished == 0)
        pthread_cond_wait(&f->gate.changed, &f->gate.lock);
    pthread_mutex_unlock(&f->gate.lock);
    assert_true(clock_mono_ms() >= from_ms + WAIT_MS);
    open_gate(&f->gate);
    workers_stop(f->workers);
    assert_int_equal(f->gate.finished, THREADS / 2 + 2);
    assert_true(late.was_late);
    assert_false(patient.was_late);
}

static void ingest_leaves_threads_to_the_system(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < JOBS - 2; i++)
        assert_true(workers_submit(f->workers, LANE_INGEST, &f->jobs[i].job));
    wait_for_running(&f->gate, THREADS);
    assert_true(workers_submit(f->workers, LANE_SYSTEM, &f->jobs[JOBS - 2].job));
    assert_true(workers_submit(f->workers, LANE_SYSTEM, &f->jobs[JOBS - 1].job));
    wait_for_running(&f->gate, THREADS + 2);
    open_gate(&f->gate);
    workers_stop(f->workers);
    assert_int_equal(f->gate.finished, JOBS);
}

/* Whatever waits in a handler of each, records come in. */
static void the_system_and_queries_leave_threads_to_ingest(void **state)
{
    enum { OTHERS = 30 };
    struct fixture *f = *state;
    struct gate ingest = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    for (size_t i = 0; i < OTHERS; i++)
        assert_true(workers_submit(f->workers, i % 2 ? LANE_SYSTEM : LANE_QUERY, &f->jobs[i].job));
    wait_for_running(&f->gate, THREADS / 4 + THREADS / 2);
    for (size_t i = OTHERS; i < JOBS; i++) {
        f->jobs[i].gate = &ingest;
        assert_true(workers_submit(f->workers, LANE_INGEST, &f->jobs[i].job));
    }
    wait_for_running(&ingest, THREADS / 2);
    open_gate(&ingest);
    open_gate(&f->gate);
    workers_stop(f->workers);
    assert_int_equal(f->gate.finished + ingest.finished, JOBS);
}

static void a_full_lane_refuses_and_others_do_not(void **state)
{
    struct fixture *f = *state;
    struct test_job *many = calloc(WORKERS_AUTH_MAX + AUTH_VERIFICATIONS_MAX + 1, sizeof *many);
    unsigned taken = 0;
    for (size_t i = 0; i < WORKERS_AUTH_MAX + AUTH_VERIFICATIONS_MAX + 1; i++) {
        many[i] = (struct test_job){{.run = run_behind_gate}, &f->gate};
        taken += workers_submit(f->workers, LANE_AUTH, &many[i].job);
        if (i + 1 == AUTH_VERIFICATIONS_MAX)
            wait_for_running(&f->gate, AUTH_VERIFICATIONS_MAX);
    }
    assert_int_equal(taken, WORKERS_AUTH_MAX + AUTH_VERIFICATIONS_MAX);
    assert_true(workers_submit(f->workers, LANE_INGEST, &f->jobs[0].job));
    open_gate(&f->gate);
    workers_stop(f->workers);
    assert_int_equal(f->gate.finished, taken + 1);
    free(many);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_job_runs_before_a_stop_returns),
        CASE(queries_leave_threads_to_ingest_and_both_to_others),
        CASE(a_job_that_waited_too_long_runs_late_though_its_lane_is_full),
        CASE(ingest_leaves_threads_to_the_system),
        CASE(the_system_and_queries_leave_threads_to_ingest),
        CASE(a_full_lane_refuses_and_others_do_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
