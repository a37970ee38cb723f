// links: weir_engine
/* Turns are given one after the other, and who waits for one may be told to stop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/engine/turns.h"

struct crowd {
    struct turns turns;
    atomic_bool cancelled;
    _Atomic int inside, most_inside, served, refused;
};

static void *take_one(void *arg)
{
    struct crowd *c = arg;

    for (int i = 0; i < 100; i++) {
        if (!turns_take(&c->turns, &c->cancelled)) {
            c->refused++;
            return NULL;
        }
        int now = ++c->inside, most = c->most_inside;
        while (now > most && !atomic_compare_exchange_weak(&c->most_inside, &most, now))
            ;
        c->inside--;
        c->served++;
        turns_give_back(&c->turns);
    }
    return NULL;
}

static void never_more_than_the_most_have_a_turn(void **state)
{
    struct crowd c = {0};
    pthread_t threads[8];

    (void)state;
    turns_init(&c.turns, 2);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_one, &c), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(c.served, 800);
    assert_in_range(c.most_inside, 1, 2);
    turns_done(&c.turns);
}

static void who_waits_can_be_told_to_stop(void **state)
{
    struct crowd c = {0};
    pthread_t thread;

    (void)state;
    turns_init(&c.turns, 1);
    assert_true(turns_take(&c.turns, &c.cancelled));
    assert_int_equal(pthread_create(&thread, NULL, take_one, &c), 0);
    c.cancelled = true;
    pthread_join(thread, NULL);
    assert_int_equal(c.refused, 1);
    assert_int_equal(c.served, 0);
    turns_give_back(&c.turns);
    assert_false(turns_take(&c.turns, &c.cancelled)); /* free, but told before */
    turns_done(&c.turns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_more_than_the_most_have_a_turn),
        cmocka_unit_test(who_waits_can_be_told_to_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
