/* tests/unit/test_base_ulid.c - ULIDs: order, uniqueness, text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ulid.h"

enum { THREADS = 4, IDS_PER_THREAD = 2000 };

static int restore_clock(void **state)
{
    (void)state;
    clock_set_test_wall_us(0);
    return 0;
}

static void ids_rise_also_when_the_clock_stands_or_jumps_back(void **state)
{
    (void)state;
    static const int64_t CLOCK_US[] = {5000000000000000, 5000000000000000, 4000000000000000,
                                       5000000000001000, 1};
    struct ulid previous = ulid_new();
    for (size_t i = 0; i < ARRAY_LEN(CLOCK_US); i++) {
        clock_set_test_wall_us(CLOCK_US[i]);
        for (int n = 0; n < 1000; n++) {
            struct ulid next = ulid_new();
            assert_true(ulid_cmp(&previous, &next) < 0);
            previous = next;
        }
    }
}

static void a_full_millisecond_moves_to_the_next(void **state)
{
    (void)state;
    struct ulid seed, next;
    assert_true(ulid_parse(STR("7ZZZZZZZZYZZZZZZZZZZZZZZZZ"), &seed));
    ulid_seed_after(&seed);
    next = ulid_new();
    char text[ULID_TEXT_LEN + 1];
    ulid_format(&next, text);
    assert_memory_equal(text, "7ZZZZZZZZZ", 10);
    assert_true(ulid_cmp(&seed, &next) < 0);
}

static void *make_ids(void *arg)
{
    struct ulid *ids = arg;
    for (int i = 0; i < IDS_PER_THREAD; i++)
        ids[i] = ulid_new();
    return NULL;
}

static int by_bytes(const void *a, const void *b)
{
    return ulid_cmp(a, b);
}

static void ids_of_all_threads_differ(void **state)
{
    (void)state;
    static struct ulid ids[THREADS][IDS_PER_THREAD];
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, make_ids, ids[t]), 0);
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    struct ulid *all = &ids[0][0];
    qsort(all, THREADS * IDS_PER_THREAD, sizeof *all, by_bytes);
    for (int i = 1; i < THREADS * IDS_PER_THREAD; i++)
        assert_true(ulid_cmp(&all[i - 1], &all[i]) < 0);
}

static void a_forked_child_does_not_repeat_its_parents_ids(void **state)
{
    (void)state;
    clock_set_test_wall_us(6000000000000000); /* both in one millisecond */
    int fds[2];
    struct ulid of_child;
    ulid_new();
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct ulid id = ulid_new();
        _exit(write(fds[1], &id, sizeof id) == (ssize_t)sizeof id ? 0 : 1);
    }
    struct ulid of_parent = ulid_new();
    assert_int_equal(read(fds[0], &of_child, sizeof of_child), sizeof of_child);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(ulid_cmp(&of_parent, &of_child) != 0);
    close(fds[0]);
    close(fds[1]);
}

static void text_goes_round_and_bad_text_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } CASES[] = {
        {"01ARZ3NDEKTSV4RRFFQ69G5FAV", true},     {"00000000000000000000000000", true},
        {"7ZZZZZZZZZZZZZZZZZZZZZZZZZ", true},     {"8ZZZZZZZZZZZZZZZZZZZZZZZZZ", false},
        {"01ARZ3NDEKTSV4RRFFQ69G5FA", false},     {"01ARZ3NDEKTSV4RRFFQ69G5FAVV", false},
        {"01ARZ3NDEKTSV4RRFFQ69G5FAU", false},    {"01ARZ3NDEKTSV4RRFFQ69G5FA-", false},
        {"01ARZ3NDEKTSV4RRFFQ69G5FA\xE9", false}, {"", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct ulid u, again;
        char text[ULID_TEXT_LEN + 1];
        assert_int_equal(ulid_parse(str_from(CASES[i].text), &u), CASES[i].good);
        if (!CASES[i].good)
            continue;
        ulid_format(&u, text);
        assert_string_equal(text, CASES[i].text);
        for (char *c = text; *c; c++)
            *c = (char)(*c >= 'A' ? *c + 32 : *c);
        assert_true(ulid_parse(str_from(text), &again) && ulid_cmp(&u, &again) == 0);
    }
    struct ulid nul;
    assert_false(ulid_parse((struct str){"01ARZ3NDEKTSV4RRFFQ69G5FA\0", ULID_TEXT_LEN}, &nul));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(ids_rise_also_when_the_clock_stands_or_jumps_back, restore_clock),
        cmocka_unit_test(ids_of_all_threads_differ),
        cmocka_unit_test_teardown(a_forked_child_does_not_repeat_its_parents_ids, restore_clock),
        cmocka_unit_test(text_goes_round_and_bad_text_is_refused),
        /* last, because it moves the process' ids to the end of time */
        cmocka_unit_test(a_full_millisecond_moves_to_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
