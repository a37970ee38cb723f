// links: weir_index
/* Organisations, streams with a number for life, fields that widen, users and values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "index/meta.h"
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
    return meta_open(f->dir.path, KV_OWNER, &f->meta, &f->e) == ERR_OK ? 0 : -1;
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

static void make(struct fixture *f, const char *org, const char *name, struct meta_stream **out)
{
    assert_int_equal(meta_stream_make(f->meta, str_from(org), STREAM_LOGS, str_from(name),
                                      &f->arena, out, &f->e),
                     ERR_OK);
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

static void a_list_of_fields_is_taken_whole_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    size_t n = FIELDS_MAX;
    struct meta_new_field *fields = calloc(n, sizeof *fields);
    char(*names)[16] = calloc(n, sizeof *names);
    struct meta_stream *s, *after;

    for (size_t i = 0; i < n; i++)
        fields[i] = (struct meta_new_field){
            {names[i], (size_t)snprintf(names[i], sizeof *names, "f%zu", i)}, FIELD_UTF8};
    make(f, "o", "wide", &s);
    assert_int_equal(
        meta_stream_merge_fields(f->meta, s->number, fields, n, &f->arena, &after, &f->e),
        ERR_TOOBIG); /* one too many, with _timestamp */
    assert_int_equal(meta_stream_by_number(f->meta, s->number, &f->arena, &after, &f->e), ERR_OK);
    assert_int_equal(after->field_count, 1);
    assert_int_equal(
        meta_stream_merge_fields(f->meta, s->number, fields, n - 1, &f->arena, &after, &f->e),
        ERR_OK);
    assert_int_equal(after->field_count, FIELDS_MAX);
    fields[0].name.len = FIELD_NAME_MAX_BYTES + 1;
    assert_int_equal(
        meta_stream_merge_fields(f->meta, s->number, fields, 1, &f->arena, &after, &f->e),
        ERR_TOOBIG);
    free(fields);
    free(names);
}

static void a_name_twice_in_one_list_is_one_field_of_the_wider_type(void **state)
{
    struct fixture *f = *state;
    struct meta_new_field twice[] = {{STR("a"), FIELD_BOOL}, {STR("a"), FIELD_FLOAT64}};
    struct meta_stream *s;

    make(f, "o", "twice", &s);
    assert_int_equal(meta_stream_merge_fields(f->meta, s->number, twice, 2, &f->arena, &s, &f->e),
                     ERR_OK);
    assert_int_equal(s->field_count, 2);
    assert_int_equal(s->fields[1].type, FIELD_FLOAT64);
    assert_int_equal(s->schema_version, 2);
}

static void numbers_of_fields_are_never_given_twice(void **state)
{
    struct fixture *f = *state;
    static const enum field_type widening[] = {FIELD_BOOL, FIELD_INT64, FIELD_UINT64, FIELD_FLOAT64,
                                               FIELD_UTF8};
    struct meta_new_field field = {STR("a"), FIELD_BOOL};
    struct meta_stream *s;
    uint32_t last = 1;

    make(f, "o", "s", &s);
    for (size_t i = 0; i < ARRAY_LEN(widening); i++) {
        field.type = widening[i];
        assert_int_equal(
            meta_stream_merge_fields(f->meta, s->number, &field, 1, &f->arena, &s, &f->e), ERR_OK);
        assert_true(s->fields[1].number > last);
        last = s->fields[1].number;
    }
    assert_int_equal(s->next_field_number, last + 1);
}

static void names_that_make_no_key_are_refused(void **state)
{
    static const struct {
        size_t org, name;
        enum err_code rc;
    } cases[] = {{0, 1, ERR_INVALID},   {1, 0, ERR_INVALID},     {256, 1, ERR_INVALID},
                 {1, 256, ERR_INVALID}, {255, 201, ERR_INVALID}, {255, 200, ERR_OK},
                 {200, 255, ERR_OK}};
    struct fixture *f = *state;
    struct meta_stream *s;
    char letters[300];
    int n = 0;

    memset(letters, 'x', sizeof letters);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str org = {letters, cases[i].org}, name = {letters, cases[i].name};
        assert_int_equal(meta_stream_make(f->meta, org, STREAM_LOGS, name, &f->arena, &s, &f->e),
                         cases[i].rc);
        assert_int_equal(meta_stream_find(f->meta, org, STREAM_LOGS, name, &f->arena, &s, &f->e) ==
                             ERR_OK,
                         cases[i].rc == ERR_OK);
    }
    for (size_t len = KV_KEY_MAX - 4; len <= KV_KEY_MAX; len++) { /* about the key's own limit */
        static char org[KV_KEY_MAX];
        memset(org, 'y', sizeof org);
        meta_stream_list(f->meta, (struct str){org, len}, false, count_streams, &n, &f->e);
    }
    assert_int_equal(n, 0);
}

static void what_was_made_is_there_after_a_reopen_and_for_a_reader(void **state)
{
    struct fixture *f = *state;
    struct meta_new_field field = {STR("level"), FIELD_UTF8};
    struct meta_stream *s, *again;
    struct err untouched = {.code = ERR_UNIMPL};

    make(f, "o", "s", &s);
    assert_int_equal(meta_stream_merge_fields(f->meta, s->number, &field, 1, &f->arena, &s, &f->e),
                     ERR_OK);
    meta_close(f->meta);
    assert_int_equal(meta_open(f->dir.path, KV_READER, &f->meta, &f->e), ERR_OK);
    assert_int_equal(meta_stream_by_number(f->meta, s->number, &f->arena, &again, &f->e), ERR_OK);
    assert_true(str_eq(again->org, STR("o")) && str_eq(again->name, STR("s")));
    assert_int_equal(again->created_us, s->created_us);
    assert_int_equal(again->schema_version, 2);
    assert_true(str_eq(again->fields[1].name, STR("level")));
    assert_int_equal(
        meta_stream_make(f->meta, STR("o"), STREAM_LOGS, STR("t"), &f->arena, &s, &f->e),
        ERR_READONLY);
    meta_close(f->meta);
    assert_int_equal(meta_open(f->dir.path, KV_OWNER, &f->meta, &f->e), ERR_OK);
    assert_int_equal(
        meta_stream_make(f->meta, STR("o"), STREAM_LOGS, STR("t"), &f->arena, &s, &untouched),
        ERR_OK);
    assert_true(s->number > again->number);
    assert_int_equal(untouched.code, ERR_UNIMPL); /* success leaves the error alone */
}

static void a_reader_cannot_open_what_was_never_made(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    char path[128];
    struct meta *m;
    struct err e;

    (void)state;
    snprintf(path, sizeof path, "%s/none", dir.path);
    assert_int_equal(meta_open(path, KV_READER, &m, &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.msg, path));
}

static void the_revision_moves_with_each_change_and_only_then(void **state)
{
    struct fixture *f = *state;
    struct meta_new_field field = {STR("a"), FIELD_INT64};
    struct meta_stream *s;
    uint64_t before, made, merged, same;

    assert_int_equal(meta_revision(f->meta, &before, &f->e), ERR_OK);
    make(f, "o", "s", &s);
    assert_int_equal(meta_revision(f->meta, &made, &f->e), ERR_OK);
    meta_stream_merge_fields(f->meta, s->number, &field, 1, &f->arena, &s, &f->e);
    assert_int_equal(meta_revision(f->meta, &merged, &f->e), ERR_OK);
    meta_stream_merge_fields(f->meta, s->number, &field, 1, &f->arena, &s, &f->e);
    make(f, "o", "s", &s);
    assert_int_equal(meta_revision(f->meta, &same, &f->e), ERR_OK);
    assert_true(before < made && made < merged);
    assert_int_equal(merged, same);
}

static void a_deletion_leaves_a_mark(void **state)
{
    struct fixture *f = *state;
    char key[10] = "d/", expect[] = "s/o\0as";
    struct meta_stream *s;
    struct kv_txn *t;
    struct str mark;

    make(f, "o", "s", &s);
    bool deleted = true;
    assert_int_equal(meta_stream_was_deleted(f->meta, s->number, &deleted, &f->e), ERR_OK);
    assert_false(deleted);
    assert_int_equal(meta_stream_delete(f->meta, s->number, &f->e), ERR_OK);
    assert_int_equal(meta_stream_delete(f->meta, s->number, &f->e), ERR_NOTFOUND);
    assert_int_equal(meta_stream_was_deleted(f->meta, s->number, &deleted, &f->e), ERR_OK);
    assert_true(deleted);
    put_be64(key + 2, s->number);
    assert_int_equal(kv_begin(meta_kv(f->meta), false, &t, &f->e), ERR_OK);
    assert_int_equal(kv_get(t, (struct str){key, sizeof key}, &mark, NULL, &f->e), ERR_OK);
    assert_int_equal(mark.len, sizeof expect - 1 + 8);
    assert_memory_equal(mark.ptr, expect, sizeof expect - 1);
    kv_abort(t);
}

static enum err_code settings_or_error(const struct meta_stream *s, struct arena *a,
                                       struct str *json, void *ctx, struct err *e)
{
    (void)a;
    assert_int_equal(s->field_count, 3); /* the settings may look at them */
    *json = STR("{\"flatten_level\":2}");
    return *(bool *)ctx ? ERR_OK : err_set(e, ERR_TOOBIG, "no");
}

static void a_stream_is_created_whole_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    bool is_fine = false;
    const struct meta_new_field fields[] = {{STR("a"), FIELD_INT64}, {STR("b"), FIELD_UTF8}};
    const struct meta_creation n = {.org = STR("new"),
                                    .name = STR("s"),
                                    .type = STREAM_LOGS,
                                    .fields = fields,
                                    .field_count = ARRAY_LEN(fields),
                                    .settings = settings_or_error,
                                    .ctx = &is_fine};
    struct meta_stream *s, *found;
    bool has_org = true;

    assert_int_equal(meta_stream_create(f->meta, &n, &f->arena, &s, &f->e), ERR_TOOBIG);
    assert_int_equal(meta_stream_find(f->meta, n.org, n.type, n.name, &f->arena, &found, &f->e),
                     ERR_NOTFOUND);
    assert_int_equal(meta_org_find(f->meta, n.org, &has_org, &f->e), ERR_OK);
    assert_false(has_org);
    is_fine = true;
    assert_int_equal(meta_stream_create(f->meta, &n, &f->arena, &s, &f->e), ERR_OK);
    assert_int_equal(meta_stream_find(f->meta, n.org, n.type, n.name, &f->arena, &found, &f->e),
                     ERR_OK);
    assert_int_equal(found->number, s->number);
    assert_int_equal(found->field_count, 3);
    assert_true(str_eq(found->settings_json, STR("{\"flatten_level\":2}")));
    assert_int_equal(meta_stream_create(f->meta, &n, &f->arena, &s, &f->e), ERR_EXISTS);
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
        cmocka_unit_test_setup_teardown(a_stream_is_created_whole_or_not_at_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(users_and_values_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_list_of_fields_is_taken_whole_or_not_at_all, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_name_twice_in_one_list_is_one_field_of_the_wider_type,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_of_fields_are_never_given_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_that_make_no_key_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_made_is_there_after_a_reopen_and_for_a_reader,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_revision_moves_with_each_change_and_only_then, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_deletion_leaves_a_mark, set_up, tear_down),
        cmocka_unit_test(a_reader_cannot_open_what_was_never_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
