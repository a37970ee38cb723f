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
    return parts_open(f->dir.path, KV_OWNER, &f->parts, &f->e) == ERR_OK ? 0 : -1;
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
                         .sha256 = {1, 2, 3},
                         .text_version = 1,
                         .text_sum = 0x1122334455667788,
                         .schema = 42};
}

static void assert_same_tables(const struct part *a, const struct part *b)
{
    assert_true(a->group_count == b->group_count && a->name_count == b->name_count);
    for (size_t i = 0; i < a->group_count; i++) {
        struct part_group x = part_group_at(a, i), y = part_group_at(b, i);
        assert_true(x.rows == y.rows && x.text_bytes == y.text_bytes);
    }
    for (size_t i = 0; i < a->name_count; i++) {
        struct part_name x = part_name_at(a, i), y = part_name_at(b, i);
        assert_true(str_eq(x.name, y.name) && x.stream == y.stream);
        assert_true(x.first_row == y.first_row && x.rows == y.rows);
        assert_true(x.min_ts_us == y.min_ts_us && x.max_ts_us == y.max_ts_us);
        assert_true(x.text_bytes == y.text_bytes);
    }
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
    assert_true(a->text_version == b->text_version && a->text_sum == b->text_sum);
    assert_true(a->schema == b->schema);
    assert_same_tables(a, b);
}

/* A part of many row groups and names: m000, m001, ... */
#define MANY_NAMES 300
struct metrics {
    struct part part;
    struct part_group groups[40];
    struct part_name names[MANY_NAMES];
    char texts[MANY_NAMES][8];
};

static void fill_metrics(struct metrics *m, int32_t hour)
{
    m->part = part_of("", hour);
    m->part.type = STREAM_METRICS;
    m->part.stream = 0;
    for (size_t i = 0; i < ARRAY_LEN(m->groups); i++)
        m->groups[i] = (struct part_group){.rows = (uint32_t)i, .text_bytes = i << 33};
    for (size_t i = 0; i < MANY_NAMES; i++) {
        snprintf(m->texts[i], sizeof m->texts[i], "m%03d", (int)i);
        m->names[i] = (struct part_name){.stream = i + 1,
                                         .name = str_from(m->texts[i]),
                                         .first_row = i * 10,
                                         .rows = 10,
                                         .min_ts_us = -(int64_t)i,
                                         .max_ts_us = INT64_MAX - (int64_t)i,
                                         .text_bytes = i};
    }
    m->part.groups = m->groups;
    m->part.group_count = ARRAY_LEN(m->groups);
    m->part.names = m->names;
    m->part.name_count = MANY_NAMES;
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

struct metric_look {
    const struct part *part;
    struct str name;
    size_t seen;
    bool has;
};

/* Inside the visit groups and names are packed, and say the same. */
static bool look_at_metrics(const struct part *p, void *ctx)
{
    struct metric_look *look = ctx;
    struct part_name found;

    assert_null(p->groups);
    assert_null(p->names);
    assert_same(look->part, p);
    look->has = part_name_find(p, look->name, &found);
    assert_true(!look->has || str_eq(found.name, look->name));
    look->seen++;
    return true;
}

static void a_metrics_part_holds_many_names(void **state)
{
    static const struct {
        const char *name;
        bool has;
    } cases[] = {{"m000", true},  {"m299", true}, {"m150", true}, {"m", false},
                 {"m300", false}, {"a", false},   {"z", false}};
    struct fixture *f = *state;
    AUTO_FREE struct metrics *m = calloc(1, sizeof *m);
    struct part found;

    fill_metrics(m, 5);
    assert_int_equal(parts_put(f->parts, &m->part, 1, 1, 0, &f->e), ERR_OK);
    assert_int_equal(parts_find(f->parts, &m->part.id, &f->arena, &found, &f->e), ERR_OK);
    assert_same(&m->part, &found);
    assert_true(found.groups != NULL && found.names != NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct metric_look all = {.part = &m->part, .name = str_from(cases[i].name)}, one = all;
        assert_int_equal(parts_list(f->parts, STR("o"), STREAM_METRICS, STR(""), 5, 5,
                                    look_at_metrics, &all, &f->e),
                         ERR_OK);
        assert_int_equal(parts_list(f->parts, STR("o"), STREAM_METRICS, one.name, 5, 5,
                                    look_at_metrics, &one, &f->e),
                         ERR_OK);
        assert_int_equal(all.seen, 1);
        assert_int_equal(all.has, cases[i].has);
        assert_int_equal(one.seen, cases[i].has); /* a name of its own: only parts that hold it */
    }
}

static void names_out_of_order_are_refused(void **state)
{
    struct fixture *f = *state;
    struct part_name names[2] = {{.name = STR("b")}, {.name = STR("a")}};
    struct part p = part_of("", 5);

    p.type = STREAM_METRICS;
    p.names = names;
    p.name_count = 2;
    assert_int_equal(parts_put(f->parts, &p, 1, 1, 0, &f->e), ERR_INVALID);
    names[0].name = STR("a");
    assert_int_equal(parts_put(f->parts, &p, 1, 1, 0, &f->e), ERR_INVALID);
}

static void the_next_hour_with_a_part_is_one_seek_away(void **state)
{
    static const struct {
        const char *name;
        int32_t from;
        bool found;
        int32_t hour;
    } cases[] = {{"s", INT32_MIN, true, -7}, {"s", -6, true, 3},   {"s", 3, true, 3},
                 {"s", 4, true, 900},        {"s", 901, false, 0}, {"other", 0, false, 0}};
    struct fixture *f = *state;
    struct part list[3] = {part_of("s", 3), part_of("s", -7), part_of("s", 900)};
    AUTO_FREE struct metrics *m = calloc(1, sizeof *m);
    int32_t hour;
    bool found;

    fill_metrics(m, 70);
    assert_int_equal(parts_put(f->parts, list, 3, 1, 0, &f->e), ERR_OK);
    assert_int_equal(parts_put(f->parts, &m->part, 1, 1, 0, &f->e), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parts_next_hour(f->parts, STR("o"), STREAM_LOGS, str_from(cases[i].name),
                                         cases[i].from, &hour, &found, &f->e),
                         ERR_OK);
        assert_int_equal(found, cases[i].found);
        assert_true(!found || hour == cases[i].hour);
    }
    assert_int_equal(
        parts_next_hour(f->parts, STR("o"), STREAM_METRICS, STR("m007"), 0, &hour, &found, &f->e),
        ERR_OK);
    assert_true(found && hour == 70);
    assert_int_equal(
        parts_next_hour(f->parts, STR("o"), STREAM_METRICS, STR("m"), 0, &hour, &found, &f->e),
        ERR_OK);
    assert_false(found);
}

static bool take_hour(const struct part *p, void *ctx)
{
    *(int32_t *)ctx = p->hour;
    return false;
}

static void the_last_part_of_some_hours_is_one_seek_away(void **state)
{
    static const struct {
        int32_t first, last, want; /* 0: none */
    } cases[] = {{INT32_MIN, INT32_MAX, 900}, {INT32_MIN, 899, 3}, {3, 3, 3},         {4, 899, 0},
                 {901, INT32_MAX, 0},         {INT32_MIN, -1, -7}, {INT32_MIN, -8, 0}};
    struct fixture *f = *state;
    struct part list[5] = {part_of("s", 3), part_of("s", -7), part_of("s", 900), part_of("r", 40),
                           part_of("t", 50)};

    assert_int_equal(parts_put(f->parts, list, ARRAY_LEN(list), 1, 2, &f->e), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int32_t hour = 0;
        assert_int_equal(parts_show_last(f->parts, STR("o"), STREAM_LOGS, STR("s"), cases[i].first,
                                         cases[i].last, take_hour, &hour, &f->e),
                         ERR_OK);
        assert_int_equal(hour, cases[i].want);
    }
}

static void a_part_is_shown_by_id(void **state)
{
    struct fixture *f = *state;
    struct part p = part_of("s", 490000);
    struct ulid other = ulid_new();
    int32_t hour = 0;

    assert_int_equal(parts_put(f->parts, &p, 1, 1, 2, &f->e), ERR_OK);
    assert_int_equal(parts_show(f->parts, &p.id, take_hour, &hour, &f->e), ERR_OK);
    assert_int_equal(hour, 490000);
    assert_int_equal(parts_show(f->parts, &other, take_hour, &hour, &f->e), ERR_NOTFOUND);
}

static bool count_part(const struct part *p, void *ctx)
{
    (void)p;
    (*(size_t *)ctx)++;
    return true;
}

/* One after the other, each the one after the last. */
static void assert_every_next(struct fixture *f, const struct part *list, size_t count)
{
    struct part at, *last = NULL;
    bool found;

    for (size_t i = 0; i <= count; i++) {
        assert_int_equal(parts_next(f->parts, last, &f->arena, &at, &found, &f->e), ERR_OK);
        assert_int_equal(found, i < count);
        if (found)
            assert_same(&at, &list[i]);
        last = &at;
    }
}

static void every_part_of_every_stream_is_visited(void **state)
{
    struct fixture *f = *state;
    struct part list[3] = {part_of("s", 3), part_of("t", -7), part_of("u", 900)};
    size_t count = 0;
    bool has;

    list[2].org = STR("other");
    assert_int_equal(parts_put(f->parts, list, 3, 1, 0, &f->e), ERR_OK);
    assert_every_next(f, list, 3);
    assert_int_equal(parts_each(f->parts, count_part, &count, &f->e), ERR_OK);
    assert_int_equal(count, 3);
    assert_int_equal(parts_has(f->parts, &list[1].id, &has, &f->e), ERR_OK);
    assert_true(has);
    list[1].id = ulid_new();
    assert_int_equal(parts_has(f->parts, &list[1].id, &has, &f->e), ERR_OK);
    assert_false(has);
}

static void columns_are_stored_once_under_their_hash(void **state)
{
    struct fixture *f = *state;
    struct part_column columns[] = {{STR("_timestamp"), FIELD_INT64, 1, false},
                                    {STR("level"), FIELD_UTF8, 2, true},
                                    {STR("took"), FIELD_FLOAT64, 7, false}};
    struct part_column *found;
    uint64_t hash = 0, again = 0;
    size_t count;

    assert_int_equal(parts_schema_put(f->parts, columns, 3, &hash, &f->e), ERR_OK);
    assert_int_equal(parts_schema_put(f->parts, columns, 3, &again, &f->e), ERR_OK);
    assert_true(hash == again && hash != 0 && hash == parts_schema_hash(columns, 3));
    assert_int_equal(parts_schema_get(f->parts, hash, &f->arena, &found, &count, &f->e), ERR_OK);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        assert_true(str_eq(found[i].name, columns[i].name));
        assert_true(found[i].type == columns[i].type && found[i].number == columns[i].number &&
                    found[i].is_rare == columns[i].is_rare);
    }
    columns[2].type = FIELD_UTF8;
    assert_true(parts_schema_hash(columns, 3) != hash);
    assert_int_equal(parts_schema_get(f->parts, hash + 1, &f->arena, &found, &count, &f->e),
                     ERR_NOTFOUND);
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
    assert_int_equal(parts_open(f->dir.path, KV_READER, &f->parts, &f->e), ERR_OK);
    assert_int_equal(parts_find(f->parts, &p.id, &f->arena, &found, &f->e), ERR_OK);
    assert_int_equal(parts_put(f->parts, &p, 1, 1, 0, &f->e), ERR_READONLY);
}

static void a_cut_key_or_record_is_corrupt(void **state)
{
    AUTO_FREE struct metrics *m = calloc(1, sizeof *m);
    struct part_key key;
    struct part out;
    struct buf value;
    struct err e;

    (void)state;
    fill_metrics(m, 1);
    key = part_key_of(&m->part);
    buf_init(&value, KV_VALUE_MAX);
    assert_int_equal(part_encode(&m->part, &value, &e), ERR_OK);
    assert_int_equal(part_decode(part_key_str(&key), buf_str(&value), &out, &e), ERR_OK);
    for (size_t n = 0; n < value.len; n++)
        assert_int_equal(part_decode(part_key_str(&key), (struct str){value.data, n}, &out, &e),
                         ERR_CORRUPT);
    for (size_t n = 0; n < key.len; n++)
        assert_int_equal(part_decode((struct str){key.bytes, n}, buf_str(&value), &out, &e),
                         ERR_CORRUPT);
    value.data[1] = PART_REMOTE + 1;
    assert_int_equal(part_decode(part_key_str(&key), buf_str(&value), &out, &e), ERR_CORRUPT);
    buf_done(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_next_hour_with_a_part_is_one_seek_away, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_last_part_of_some_hours_is_one_seek_away, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_part_is_shown_by_id, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_part_is_found_by_id_as_it_was_put, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_range_of_hours_gives_its_parts_in_order, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_metrics_part_holds_many_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_out_of_order_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_part_of_every_stream_is_visited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(columns_are_stored_once_under_their_hash, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(deleting_twice_is_deleting_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_journals_position_goes_with_the_parts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_longest_names_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_follows_the_writer, set_up, tear_down),
        cmocka_unit_test(a_cut_key_or_record_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
