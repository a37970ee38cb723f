/* tests/unit/test_base_cond.c - waits that end at a time, or with a signal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"

enum { SHORT_MS = 30, FAR_MS = 60000 };

struct flag {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_up; /* (lock) */
};

static int make_flag(void **state)
{
    static struct flag f;
    f = (struct flag){.is_up = false};
    pthread_mutex_init(&f.lock, NULL);
    cond_init(&f.changed);
    *state = &f;
    return 0;
}

static int end_flag(void **state)
{
    struct flag *f = *state;
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    return 0;
}

static void a_wait_without_a_signal_ends_at_its_time(void **state)
{
    struct flag *f = *state;
    uint64_t began_ms = clock_mono_ms(), until_ms = began_ms + SHORT_MS;
    LOCK_SCOPE(&f->lock);
    while (cond_wait_until(&f->changed, &f->lock, until_ms))
        ;
    assert_in_range(clock_mono_ms(), until_ms, began_ms + FAR_MS);
}

static void a_time_that_is_over_is_not_waited_for(void **state)
{
    struct flag *f = *state;
    uint64_t began_ms = clock_mono_ms();
    LOCK_SCOPE(&f->lock);
    assert_false(cond_wait_until(&f->changed, &f->lock, 1));
    assert_in_range(clock_mono_ms(), began_ms, began_ms + FAR_MS);
}

static void *raise_flag(void *arg)
{
    struct flag *f = arg;
    LOCK_SCOPE(&f->lock);
    f->is_up = true;
    pthread_cond_signal(&f->changed);
    return NULL;
}

/* The lock is held from before the thread is there, so its signal meets somebody who waits. */
static void wait_for_the_flag(struct flag *f, uint64_t until_ms)
{
    pthread_t thread;
    {
        LOCK_SCOPE(&f->lock);
        assert_int_equal(pthread_create(&thread, NULL, raise_flag, f), 0);
        while (!f->is_up)
            assert_true(cond_wait_until(&f->changed, &f->lock, until_ms));
    }
    pthread_join(thread, NULL);
}

static void a_signal_ends_a_wait_before_its_time(void **state)
{
    uint64_t until_ms = clock_mono_ms() + FAR_MS;
    wait_for_the_flag(*state, until_ms);
    assert_true(clock_mono_ms() < until_ms);
}

static void without_a_time_a_wait_ends_with_the_signal(void **state)
{
    wait_for_the_flag(*state, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_wait_without_a_signal_ends_at_its_time, make_flag,
                                        end_flag),
        cmocka_unit_test_setup_teardown(a_time_that_is_over_is_not_waited_for, make_flag, end_flag),
        cmocka_unit_test_setup_teardown(a_signal_ends_a_wait_before_its_time, make_flag, end_flag),
        cmocka_unit_test_setup_teardown(without_a_time_a_wait_ends_with_the_signal, make_flag,
                                        end_flag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
