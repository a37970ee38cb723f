// links: weir_gateway weir_index
/* Streams have a number for life, fields widen; the catalog shows what meta holds; parts by time.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "gateway/catalog.h"
#include "index/meta.h"
#include "index/parts.h"
#include "tests/support/scratch.h"

struct fixture {
    struct scratch dir;
    struct meta *meta;
    struct arena arena;
    struct err e;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->dir = scratch_make();
    arena_init(&f->arena, 64 << 20);
    *state = f;
    return meta_open(f->dir.path, false, &f->meta, &f->e) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    meta_close(f->meta);
    arena_done(&f->arena);
    scratch_remove(&f->dir);
    free(f);
    return 0;
}

static void widening_follows_the_reference(void **state)
{
    static const struct {
        enum field_type a, b, wide;
    } cases[] = {
        {FIELD_BOOL, FIELD_INT64, FIELD_INT64},       {FIELD_BOOL, FIELD_FLOAT64, FIELD_FLOAT64},
        {FIELD_INT64, FIELD_UINT64, FIELD_UINT64},    {FIELD_INT64, FIELD_FLOAT64, FIELD_FLOAT64},
        {FIELD_UINT64, FIELD_FLOAT64, FIELD_FLOAT64}, {FIELD_INT64, FIELD_UTF8, FIELD_UTF8},
        {FIELD_FLOAT64, FIELD_UTF8, FIELD_UTF8},      {FIELD_UTF8, FIELD_UTF8, FIELD_UTF8},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(field_type_widen(cases[i].a, cases[i].b), cases[i].wide);
        assert_int_equal(field_type_widen(cases[i].b, cases[i].a), cases[i].wide);
    }
}

static void a_stream_keeps_its_number_and_a_new_one_gets_another(void **state)
{
    struct fixture *f = *state;
    struct meta_stream *a, *b, *again;

    assert_int_equal(
        meta_stream_make(f->meta, STR("o"), STREAM_LOGS, STR("x"), &f->arena, &a, &f->e), ERR_OK);
    assert_int_equal(
        meta_stream_make(f->meta, STR("o"), STREAM_METRICS, STR("x"), &f->arena, &b, &f->e),
        ERR_OK);
    assert_int_equal(
        meta_stream_make(f->meta, STR("o"), STREAM_LOGS, STR("x"), &f->arena, &again, &f->e),
        ERR_OK);
    assert_int_not_equal(a->number, b->number);
    assert_int_equal(a->number, again->number);
    assert_int_equal(a->field_count, 1);
    assert_true(str_eq(a->fields[0].name, STR("_timestamp")));
    assert_int_equal(meta_stream_delete(f->meta, a->number, &f->e), ERR_OK);
    assert_int_equal(
        meta_stream_find(f->meta, STR("o"), STREAM_LOGS, STR("x"), &f->arena, &again, &f->e),
        ERR_NOTFOUND);
    assert_int_equal(
        meta_stream_make(f->meta, STR("o"), STREAM_LOGS, STR("x"), &f->arena, &again, &f->e),
        ERR_OK);
    assert_int_not_equal(a->number, again->number);
    assert_int_equal(meta_stream_by_number(f->meta, a->number, &f->arena, &again, &f->e),
                     ERR_NOTFOUND);
}

static void fields_merge_and_a_widened_one_gets_a_new_number(void **state)
{
    struct fixture *f = *state;
    struct meta_new_field first[] = {{STR("a"), FIELD_INT64}, {STR("b"), FIELD_UTF8}};
    struct meta_new_field second[] = {
        {STR("a"), FIELD_UTF8}, {STR("b"), FIELD_INT64}, {STR("c"), FIELD_BOOL}};
    struct meta_stream *s, *wider, *same;
    uint32_t number;

    assert_int_equal(
        meta_stream_make(f->meta, STR("o"), STREAM_LOGS, STR("m"), &f->arena, &s, &f->e), ERR_OK);
    assert_int_equal(meta_stream_merge_fields(f->meta, s->number, first, 2, &f->arena, &s, &f->e),
                     ERR_OK);
    number = s->fields[1].number;
    assert_int_equal(
        meta_stream_merge_fields(f->meta, s->number, second, 3, &f->arena, &wider, &f->e), ERR_OK);
    assert_int_equal(wider->field_count, 4);
    assert_true(str_eq(wider->fields[1].name, STR("a"))); /* keeps its place */
    assert_int_equal(wider->fields[1].type, FIELD_UTF8);
    assert_int_not_equal(wider->fields[1].number, number);
    assert_int_equal(wider->fields[2].type, FIELD_UTF8); /* never narrower */
    assert_int_equal(
        meta_stream_merge_fields(f->meta, s->number, second, 3, &f->arena, &same, &f->e), ERR_OK);
    assert_int_equal(same->schema_version, wider->schema_version);
}

static bool count_streams(const struct meta_stream *s, void *ctx)
{
    (void)s;
    ++*(int *)ctx;
    return true;
}

static void listing_an_org_leaves_out_orgs_that_begin_alike(void **state)
{
    struct fixture *f = *state;
    struct meta_stream *s;
    int n = 0;

    assert_int_equal(
        meta_stream_make(f->meta, STR("ab"), STREAM_LOGS, STR("x"), &f->arena, &s, &f->e), ERR_OK);
    assert_int_equal(
        meta_stream_make(f->meta, STR("abc"), STREAM_LOGS, STR("x"), &f->arena, &s, &f->e), ERR_OK);
    assert_int_equal(meta_stream_list(f->meta, STR("ab"), true, count_streams, &n, &f->e), ERR_OK);
    assert_int_equal(n, 1);
    n = 0;
    assert_int_equal(meta_stream_list(f->meta, STR(""), false, count_streams, &n, &f->e), ERR_OK);
    assert_int_equal(n, 2);
}

static void users_and_values_are_kept(void **state)
{
    struct fixture *f = *state;
    struct str v;
    uint64_t revision;

    assert_int_equal(meta_user_put(f->meta, STR("a@b"), STR("{\"x\":1}"), 0, &f->e), ERR_OK);
    assert_int_equal(meta_user_put(f->meta, STR("a@b"), STR("{}"), 0, &f->e), ERR_EXISTS);
    assert_int_equal(meta_user_get(f->meta, STR("a@b"), &f->arena, &v, &revision, &f->e), ERR_OK);
    assert_true(str_eq(v, STR("{\"x\":1}")));
    assert_int_equal(meta_value_put(f->meta, STR("k"), STR("v"), &f->e), ERR_OK);
    assert_int_equal(meta_value_get(f->meta, STR("k"), &f->arena, &v, &f->e), ERR_OK);
    assert_true(str_eq(v, STR("v")));
}

static void the_catalog_follows_meta(void **state)
{
    struct fixture *f = *state;
    const struct catalog_stream *s, *wider, *old;
    struct meta_new_field fields[] = {{STR("level"), FIELD_UTF8}};
    struct catalog *c;

    assert_int_equal(catalog_open(f->meta, &c, &f->e), ERR_OK);
    assert_int_equal(catalog_find(c, STR("o"), STREAM_LOGS, STR("s"), &s, &f->e), ERR_NOTFOUND);
    assert_int_equal(catalog_make(c, STR("o"), STREAM_LOGS, STR("s"), &s, &f->e), ERR_OK);
    assert_int_equal(catalog_field(s, STR("level")), -1);
    assert_int_equal(catalog_merge_fields(c, s, fields, 1, &wider, &f->e), ERR_OK);
    assert_int_equal(catalog_field(wider, STR("level")), 1);
    assert_int_equal(catalog_field(s, STR("level")), -1); /* readers keep what they hold */
    assert_int_equal(catalog_find(c, STR("o"), STREAM_LOGS, STR("s"), &old, &f->e), ERR_OK);
    assert_ptr_equal(old, wider);
    assert_true(catalog_org_exists(c, STR("o")));
    assert_false(catalog_org_exists(c, STR("p")));
    catalog_unref(s);
    catalog_unref(wider);
    catalog_unref(old);
    catalog_close(c);
}

static void *merge_many(void *arg)
{
    struct catalog *c = arg;
    const struct catalog_stream *s, *wider;
    char name[16];
    struct err e;

    for (int i = 0; i < 50; i++) {
        struct meta_new_field field = {{name, (size_t)snprintf(name, sizeof name, "f%d", i)},
                                       FIELD_INT64};
        if (catalog_make(c, STR("o"), STREAM_LOGS, STR("race"), &s, &e))
            return c;
        if (catalog_merge_fields(c, s, &field, 1, &wider, &e) ||
            catalog_field(wider, field.name) < 0)
            return c;
        catalog_unref(s);
        catalog_unref(wider);
    }
    return NULL;
}

static void threads_that_merge_at_once_lose_no_field(void **state)
{
    struct fixture *f = *state;
    const struct catalog_stream *s;
    struct catalog *c;
    pthread_t threads[4];
    void *failed;

    assert_int_equal(catalog_open(f->meta, &c, &f->e), ERR_OK);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, merge_many, c);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(catalog_find(c, STR("o"), STREAM_LOGS, STR("race"), &s, &f->e), ERR_OK);
    assert_int_equal(s->field_count, 51);
    catalog_unref(s);
    catalog_close(c);
}

static bool note_hours(const struct part *p, void *ctx)
{
    *(int64_t *)ctx = *(int64_t *)ctx * 100 + p->hour + 50;
    return true;
}

static void parts_are_listed_by_stream_and_hour(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct fixture *f = *state;
    struct part list[5], found;
    struct parts *p;
    int64_t hours = 0;
    uint64_t segment, offset;

    for (int i = 0; i < 5; i++)
        list[i] = (struct part){.id = ulid_new(),
                                .stream = 1,
                                .org = STR("o"),
                                .name = i == 4 ? STR("other") : STR("s"),
                                .type = STREAM_LOGS,
                                .hour = 2 - i,
                                .rows = (uint64_t)i,
                                .node = STR("n"),
                                .object = STR("files/x")};
    assert_int_equal(parts_open(dir.path, false, &p, &f->e), ERR_OK);
    assert_int_equal(parts_put(p, list, 5, 7, 4096, &f->e), ERR_OK);
    assert_int_equal(
        parts_list(p, STR("o"), STREAM_LOGS, STR("s"), -1, 1, note_hours, &hours, &f->e), ERR_OK);
    assert_int_equal(hours, 495051); /* -1, 0, 1 in order */
    assert_int_equal(parts_find(p, &list[3].id, &f->arena, &found, &f->e), ERR_OK);
    assert_int_equal(found.rows, 3);
    assert_true(str_eq(found.object, STR("files/x")));
    assert_int_equal(parts_delete(p, &list[3], 1, 8, 0, &f->e), ERR_OK);
    assert_int_equal(parts_find(p, &list[3].id, &f->arena, &found, &f->e), ERR_NOTFOUND);
    assert_int_equal(parts_position(p, &segment, &offset, &f->e), ERR_OK);
    assert_int_equal(segment, 8);
    parts_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widening_follows_the_reference),
        cmocka_unit_test_setup_teardown(a_stream_keeps_its_number_and_a_new_one_gets_another,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(fields_merge_and_a_widened_one_gets_a_new_number, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(listing_an_org_leaves_out_orgs_that_begin_alike, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(users_and_values_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_catalog_follows_meta, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_that_merge_at_once_lose_no_field, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(parts_are_listed_by_stream_and_hour, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
