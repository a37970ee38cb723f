// links: weir_index
/* Parts: found by stream and hour or by id, replaced by id, with the journal's position. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "index/parts_codec.h"
#include "tests/support/scratch.h"

struct fixture {
    struct scratch dir;
    struct parts *parts;
    struct arena arena;
    struct err e;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->dir = scratch_make();
    arena_init(&f->arena, 16 << 20);
    *state = f;
    return parts_open(f->dir.path, false, &f->parts, &f->e) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    parts_close(f->parts);
    arena_done(&f->arena);
    scratch_remove(&f->dir);
    free(f);
    return 0;
}

static struct part part_of(const char *name, int32_t hour)
{
    return (struct part){.id = ulid_new(),
                         .stream = 7,
                         .org = STR("o"),
                         .name = str_from(name),
                         .type = STREAM_LOGS,
                         .hour = hour,
                         .state = PART_SEALED,
                         .min_ts_us = -5,
                         .max_ts_us = INT64_MAX,
                         .rows = UINT64_MAX,
                         .raw_bytes = 11,
                         .stored_bytes = 12,
                         .node = STR("node-1"),
                         .object = STR("files/o/logs/x.parquet"),
                         .sha256 = {1, 2, 3}};
}

static void assert_same(const struct part *a, const struct part *b)
{
    assert_memory_equal(&a->id, &b->id, sizeof a->id);
    assert_memory_equal(a->sha256, b->sha256, sizeof a->sha256);
    assert_true(str_eq(a->org, b->org) && str_eq(a->name, b->name));
    assert_true(str_eq(a->node, b->node) && str_eq(a->object, b->object));
    assert_true(a->stream == b->stream && a->type == b->type && a->state == b->state);
    assert_true(a->hour == b->hour && a->rows == b->rows);
    assert_true(a->min_ts_us == b->min_ts_us && a->max_ts_us == b->max_ts_us);
    assert_true(a->raw_bytes == b->raw_bytes && a->stored_bytes == b->stored_bytes);
}

#define HOURS_MAX 16
struct hours {
    int32_t seen[HOURS_MAX];
    size_t count, stop_after;
};

static bool note_hour(const struct part *p, void *ctx)
{
    struct hours *h = ctx;

    assert_true(h->count < HOURS_MAX);
    h->seen[h->count++] = p->hour;
    return h->count != h->stop_after;
}

static void a_part_is_found_by_id_as_it_was_put(void **state)
{
    struct fixture *f = *state;
    struct part p = part_of("s", 490000), found;
    struct ulid other = ulid_new();

    assert_int_equal(parts_put(f->parts, &p, 1, 1, 0, &f->e), ERR_OK);
    assert_int_equal(parts_find(f->parts, &p.id, &f->arena, &found, &f->e), ERR_OK);
    assert_same(&p, &found);
    assert_int_equal(parts_find(f->parts, &other, &f->arena, &found, &f->e), ERR_NOTFOUND);
    p.state = PART_MIRRORED;
    p.node = p.object = STR("");
    assert_int_equal(parts_put(f->parts, &p, 1, 1, 0, &f->e), ERR_OK);
    assert_int_equal(parts_find(f->parts, &p.id, &f->arena, &found, &f->e), ERR_OK);
    assert_same(&p, &found);
}

static void a_range_of_hours_gives_its_parts_in_order(void **state)
{
    static const struct {
        int32_t first, last;
        size_t stop_after, count;
        int32_t hours[5];
    } cases[] = {
        {INT32_MIN, INT32_MAX, 0, 5, {-2, -1, 0, 1, 2}},
        {-1, 1, 0, 3, {-1, 0, 1}},
        {2, 2, 0, 1, {2}},
        {3, INT32_MAX, 0, 0, {0}},
        {1, -1, 0, 0, {0}},
        {-2, 2, 2, 2, {-2, -1}},
    };
    struct fixture *f = *state;
    struct part list[7];

    for (int i = 0; i < 5; i++)
        list[i] = part_of("s", 2 - i);
    list[5] = part_of("s2", 0); /* begins alike */
    list[6] = part_of("s", 0);
    list[6].type = STREAM_TRACES;
    assert_int_equal(parts_put(f->parts, list, ARRAY_LEN(list), 1, 0, &f->e), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct hours h = {.stop_after = cases[i].stop_after};
        assert_int_equal(parts_list(f->parts, STR("o"), STREAM_LOGS, STR("s"), cases[i].first,
                                    cases[i].last, note_hour, &h, &f->e),
                         ERR_OK);
        assert_int_equal(h.count, cases[i].count);
        assert_memory_equal(h.seen, cases[i].hours, h.count * sizeof *h.seen);
    }
}

static void a_metrics_part_has_no_name(void **state)
{
    struct fixture *f = *state;
    struct part p = part_of("", 5), found;
    struct hours h = {0};

    p.type = STREAM_METRICS;
    p.stream = 0;
    assert_int_equal(parts_put(f->parts, &p, 1, 1, 0, &f->e), ERR_OK);
    assert_int_equal(parts_find(f->parts, &p.id, &f->arena, &found, &f->e), ERR_OK);
    assert_same(&p, &found);
    assert_int_equal(
        parts_list(f->parts, STR("o"), STREAM_METRICS, STR(""), 5, 5, note_hour, &h, &f->e),
        ERR_OK);
    assert_int_equal(h.count, 1);
}

static void deleting_twice_is_deleting_once(void **state)
{
    struct fixture *f = *state;
    struct part list[2] = {part_of("s", 1), part_of("s", 2)}, found;
    struct hours h = {0};

    assert_int_equal(parts_put(f->parts, list, 2, 1, 0, &f->e), ERR_OK);
    assert_int_equal(parts_delete(f->parts, list, 1, 1, 0, &f->e), ERR_OK);
    assert_int_equal(parts_delete(f->parts, list, 1, 1, 0, &f->e), ERR_OK);
    assert_int_equal(parts_find(f->parts, &list[0].id, &f->arena, &found, &f->e), ERR_NOTFOUND);
    assert_int_equal(
        parts_list(f->parts, STR("o"), STREAM_LOGS, STR("s"), 0, 9, note_hour, &h, &f->e), ERR_OK);
    assert_int_equal(h.count, 1);
    assert_int_equal(h.seen[0], 2);
}

static void the_journals_position_goes_with_the_parts(void **state)
{
    struct fixture *f = *state;
    char text[PART_OBJECT_MAX + 1] = {0};
    struct part list[2] = {part_of("s", 1), part_of("s", 2)}, found;
    uint64_t segment, offset;

    assert_int_equal(parts_position(f->parts, &segment, &offset, &f->e), ERR_NOTFOUND);
    assert_int_equal(parts_put(f->parts, NULL, 0, 3, 4096, &f->e), ERR_OK);
    assert_int_equal(parts_position(f->parts, &segment, &offset, &f->e), ERR_OK);
    assert_true(segment == 3 && offset == 4096);
    list[1].object = (struct str){text, sizeof text};
    assert_int_equal(parts_put(f->parts, list, 2, 4, 0, &f->e), ERR_TOOBIG);
    assert_int_equal(parts_position(f->parts, &segment, &offset, &f->e), ERR_OK);
    assert_int_equal(segment, 3); /* all or nothing */
    assert_int_equal(parts_find(f->parts, &list[0].id, &f->arena, &found, &f->e), ERR_NOTFOUND);
}

static void the_longest_names_fit(void **state)
{
    struct fixture *f = *state;
    char letters[NAME_MAX_BYTES + 1];
    struct part p = part_of("s", 1), found;

    memset(letters, 'x', sizeof letters);
    p.org = (struct str){letters, NAMES_MAX_BYTES - NAME_MAX_BYTES};
    p.name = (struct str){letters, NAME_MAX_BYTES};
    assert_int_equal(parts_put(f->parts, &p, 1, 1, 0, &f->e), ERR_OK);
    assert_int_equal(parts_find(f->parts, &p.id, &f->arena, &found, &f->e), ERR_OK);
    assert_same(&p, &found);
    p.org.len = NAME_MAX_BYTES;
    assert_int_equal(parts_put(f->parts, &p, 1, 1, 0, &f->e), ERR_TOOBIG);
}

static void a_reader_follows_the_writer(void **state)
{
    struct fixture *f = *state;
    struct part p = part_of("s", 1), found;

    assert_int_equal(parts_put(f->parts, &p, 1, 1, 0, &f->e), ERR_OK);
    parts_close(f->parts);
    assert_int_equal(parts_open(f->dir.path, true, &f->parts, &f->e), ERR_OK);
    assert_int_equal(parts_find(f->parts, &p.id, &f->arena, &found, &f->e), ERR_OK);
    assert_int_equal(parts_put(f->parts, &p, 1, 1, 0, &f->e), ERR_READONLY);
}

static void a_cut_key_or_record_is_corrupt(void **state)
{
    struct part p = part_of("s", 1), out;
    struct part_key key = part_key_of(&p);
    char value[PART_VALUE_MAX];
    size_t len;
    struct err e;

    (void)state;
    assert_int_equal(part_encode(&p, value, &len, &e), ERR_OK);
    assert_int_equal(part_decode(part_key_str(&key), (struct str){value, len}, &out, &e), ERR_OK);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(part_decode(part_key_str(&key), (struct str){value, n}, &out, &e),
                         ERR_CORRUPT);
    for (size_t n = 0; n < key.len; n++)
        assert_int_equal(
            part_decode((struct str){key.bytes, n}, (struct str){value, len}, &out, &e),
            ERR_CORRUPT);
    value[1] = PART_REMOTE + 1;
    assert_int_equal(part_decode(part_key_str(&key), (struct str){value, len}, &out, &e),
                     ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_part_is_found_by_id_as_it_was_put, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_range_of_hours_gives_its_parts_in_order, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_metrics_part_has_no_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deleting_twice_is_deleting_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_journals_position_goes_with_the_parts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_longest_names_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_follows_the_writer, set_up, tear_down),
        cmocka_unit_test(a_cut_key_or_record_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
