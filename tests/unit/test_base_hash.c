/* tests/unit/test_base_hash.c - SipHash-1-3 and the map over it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/cleanup.h"
#include "base/hash.h"

enum { KEYS = 5000 };

static void siphash_gives_known_values(void **state)
{
    (void)state;
    /* From CPython, whose hash of bytes is SipHash-1-3; its key is zero under PYTHONHASHSEED=0. */
    static const struct {
        const char *text;
        uint64_t hash;
    } CASES[] = {
        {"a", UINT64_C(0x407448d2b89b1813)},
        {"12345678", UINT64_C(0x3489982430560a87)},
        {"hello, world", UINT64_C(0xd792fbf81ec197f9)},
        {"The quick brown fox jumps over the lazy dog", UINT64_C(0x8df676d3d00c451e)},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct str text = str_from(CASES[i].text);
        assert_true(siphash13(0, 0, text.ptr, text.len) == CASES[i].hash);
    }
    assert_true(siphash13(1, 0, "", 0) != siphash13(0, 1, "", 0));
}

static struct str key_of(int i, char dst[32])
{
    int n = snprintf(dst, 32, "key-%d", i);
    return (struct str){dst, (size_t)n};
}

static void what_is_put_is_found_until_removed(void **state)
{
    (void)state;
    static int values[KEYS];
    struct map m;
    char text[32];
    map_init(&m, KEYS);
    for (int i = 0; i < KEYS; i++)
        assert_true(map_put(&m, key_of(i, text), &values[i]));
    for (int i = 0; i < KEYS; i += 3) {
        assert_ptr_equal(map_remove(&m, key_of(i, text)), &values[i]);
        assert_null(map_remove(&m, key_of(i, text)));
    }
    for (int i = 0; i < KEYS; i++)
        assert_ptr_equal(map_find(&m, key_of(i, text)), i % 3 ? &values[i] : NULL);
    for (int i = 0; i < KEYS; i++)
        assert_ptr_equal(map_remove(&m, key_of(i, text)), i % 3 ? &values[i] : NULL);
    assert_int_equal(m.count, 0);
    map_done(&m);
    map_done(NULL);
}

static void iteration_meets_each_entry_once(void **state)
{
    (void)state;
    static int values[KEYS];
    struct map m;
    struct str key;
    char text[32];
    void *value;
    size_t pos = 0, met = 0;
    map_init(&m, KEYS);
    assert_false(map_next(&m, &pos, &key, &value));
    for (int i = 0; i < KEYS; i++)
        assert_true(map_put(&m, key_of(i, text), &values[i]));
    for (pos = 0; map_next(&m, &pos, &key, &value); met++) {
        int i = (int)((int *)value - values);
        assert_true(str_eq(key, key_of(i, text)));
        assert_int_equal(values[i]++, 0);
    }
    assert_int_equal(met, KEYS);
    map_done(&m);
}

static void a_full_map_takes_no_new_key_but_replaces_old_ones(void **state)
{
    (void)state;
    int one, two;
    struct map m;
    map_init(&m, 2);
    assert_null(map_find(&m, STR("a")));
    assert_true(map_put(&m, STR("a"), &one) && map_put(&m, STR(""), &one));
    assert_false(map_put(&m, STR("c"), &one));
    assert_true(map_put(&m, STR("a"), &two));
    assert_ptr_equal(map_find(&m, STR("a")), &two);
    assert_ptr_equal(map_find(&m, STR("")), &one);
    assert_null(map_find(&m, STR("c")));
    map_done(&m);
}

static void keys_may_hold_any_bytes_and_are_copied(void **state)
{
    (void)state;
    int one, two;
    char key[] = {'a', 0, 'b'};
    struct map m;
    map_init(&m, 10);
    assert_true(map_put(&m, (struct str){key, 3}, &one));
    assert_true(map_put(&m, (struct str){key, 1}, &two));
    key[2] = 'c';
    assert_null(map_find(&m, (struct str){key, 3}));
    assert_ptr_equal(map_find(&m, (struct str){"a\0b", 3}), &one);
    assert_ptr_equal(map_find(&m, STR("a")), &two);
    map_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_gives_known_values),
        cmocka_unit_test(what_is_put_is_found_until_removed),
        cmocka_unit_test(iteration_meets_each_entry_once),
        cmocka_unit_test(a_full_map_takes_no_new_key_but_replaces_old_ones),
        cmocka_unit_test(keys_may_hold_any_bytes_and_are_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
