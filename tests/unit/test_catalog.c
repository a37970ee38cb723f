// links: weir_gateway weir_index
/* The catalog shows what meta holds, to many threads at once. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/metrics.h"
#include "gateway/catalog_cache.h"
#include "tests/support/scratch.h"

enum { WRITERS = 4, ROUNDS = 60, CACHE_BYTES = 16 << 10, OTHERS = 400 };

struct fixture {
    struct scratch dir;
    struct meta *meta;
    struct catalog *catalog;
    struct arena arena;
    struct err e;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->dir = scratch_make();
    arena_init(&f->arena, 64 << 20);
    *state = f;
    return meta_open(f->dir.path, KV_OWNER, &f->meta, &f->e) ||
                   catalog_open(f->meta, CACHE_BYTES, &f->catalog, &f->e)
               ? -1
               : 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    catalog_close(f->catalog);
    meta_close(f->meta);
    arena_done(&f->arena);
    scratch_remove(&f->dir);
    free(f);
    return 0;
}

static const struct catalog_stream *make(struct fixture *f, const char *name)
{
    const struct catalog_stream *s = NULL;

    assert_int_equal(catalog_make(f->catalog, STR("o"), STREAM_LOGS, str_from(name), &s, &f->e),
                     ERR_OK);
    return s;
}

static void a_reader_keeps_the_schema_it_holds(void **state)
{
    struct fixture *f = *state;
    const struct catalog_stream *s, *wider, *now;
    struct meta_new_field field = {STR("level"), FIELD_UTF8};

    assert_int_equal(catalog_find(f->catalog, STR("o"), STREAM_LOGS, STR("s"), &s, &f->e),
                     ERR_NOTFOUND);
    s = make(f, "s");
    assert_int_equal(catalog_field(s, STR("_timestamp")), 0);
    assert_int_equal(catalog_field(s, STR("level")), -1);
    assert_int_equal(catalog_merge_fields(f->catalog, s, &field, 1, &wider, &f->e), ERR_OK);
    assert_int_equal(catalog_field(wider, STR("level")), 1);
    assert_int_equal(catalog_field(s, STR("level")), -1);
    assert_int_equal(s->number, wider->number);
    assert_int_equal(catalog_find(f->catalog, STR("o"), STREAM_LOGS, STR("s"), &now, &f->e),
                     ERR_OK);
    assert_ptr_equal(now, wider);
    catalog_unref(s);
    catalog_unref(wider);
    catalog_unref(now);
    catalog_unref(NULL);
}

static void a_merge_that_changes_nothing_gives_the_same_entry(void **state)
{
    struct fixture *f = *state;
    const struct catalog_stream *s = make(f, "s"), *same;
    struct meta_new_field field = {STR("_timestamp"), FIELD_BOOL};

    assert_int_equal(catalog_merge_fields(f->catalog, s, &field, 1, &same, &f->e), ERR_OK);
    assert_ptr_equal(same, s);
    catalog_unref(s);
    catalog_unref(same);
}

static void every_field_of_a_wide_stream_is_found(void **state)
{
    enum { FIELDS = 2000 };
    struct fixture *f = *state;
    const struct catalog_stream *s = make(f, "wide"), *wide;
    static struct meta_new_field fields[FIELDS];
    static char names[FIELDS][16];

    for (size_t i = 0; i < FIELDS; i++)
        fields[i] = (struct meta_new_field){
            {names[i], (size_t)snprintf(names[i], sizeof names[i], "field_%zu", i)}, FIELD_UTF8};
    fields[1].name.len = 0; /* a name may be empty */
    assert_int_equal(catalog_merge_fields(f->catalog, s, fields, FIELDS, &wide, &f->e), ERR_OK);
    assert_int_equal(wide->field_count, FIELDS + 1);
    for (size_t i = 0; i < FIELDS; i++)
        assert_int_equal(catalog_field(wide, fields[i].name), (int)i + 1);
    assert_int_equal(catalog_field(wide, STR("field_")), -1);
    catalog_unref(s);
    catalog_unref(wide);
}

static void a_deleted_stream_is_forgotten_when_a_merge_meets_it(void **state)
{
    struct fixture *f = *state;
    const struct catalog_stream *old = make(f, "s"), *wider, *now;
    struct meta_new_field field = {STR("a"), FIELD_INT64};

    assert_int_equal(meta_stream_delete(f->meta, old->number, &f->e), ERR_OK);
    assert_int_equal(catalog_merge_fields(f->catalog, old, &field, 1, &wider, &f->e), ERR_NOTFOUND);
    assert_int_equal(catalog_find(f->catalog, STR("o"), STREAM_LOGS, STR("s"), &now, &f->e),
                     ERR_NOTFOUND);
    now = make(f, "s");
    assert_true(now->number > old->number);
    assert_int_equal(catalog_merge_fields(f->catalog, old, &field, 1, &wider, &f->e),
                     ERR_NOTFOUND); /* and leaves the new one alone */
    catalog_unref(old);
    old = make(f, "s");
    assert_ptr_equal(old, now);
    catalog_unref(old);
    catalog_unref(now);
}

struct names {
    char text[256];
    size_t stop_after, count;
};

static bool note_name(const struct catalog_stream *s, void *ctx)
{
    struct names *n = ctx;
    size_t at = strlen(n->text);

    snprintf(n->text + at, sizeof n->text - at, STR_FMT "/%s/" STR_FMT " ", STR_ARG(s->org),
             stream_type_name(s->type), STR_ARG(s->name));
    return ++n->count != n->stop_after;
}

static void a_list_is_in_order_and_of_one_org(void **state)
{
    static const struct {
        const char *org;
        size_t stop_after;
        const char *expect;
    } cases[] = {
        {"", 0, "a/logs/x a/logs/y a/metrics/x ab/logs/x "},
        {"a", 0, "a/logs/x a/logs/y a/metrics/x "},
        {"a", 1, "a/logs/x "},
        {"none", 0, ""},
    };
    struct fixture *f = *state;
    const struct catalog_stream *s[4];

    catalog_make(f->catalog, STR("ab"), STREAM_LOGS, STR("x"), &s[0], &f->e);
    catalog_make(f->catalog, STR("a"), STREAM_METRICS, STR("x"), &s[1], &f->e);
    catalog_make(f->catalog, STR("a"), STREAM_LOGS, STR("y"), &s[2], &f->e);
    catalog_make(f->catalog, STR("a"), STREAM_LOGS, STR("x"), &s[3], &f->e);
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        catalog_unref(s[i]);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct names n = {.stop_after = cases[i].stop_after};
        assert_int_equal(catalog_list(f->catalog, str_from(cases[i].org), note_name, &n, &f->e),
                         ERR_OK);
        assert_string_equal(n.text, cases[i].expect);
    }
}

static void organisations_are_made_once(void **state)
{
    struct fixture *f = *state;
    struct err e;

    assert_false(catalog_org_exists(f->catalog, STR("o")));
    assert_int_equal(catalog_org_make(f->catalog, STR("o"), &e), ERR_OK);
    assert_int_equal(catalog_org_make(f->catalog, STR("o"), &e), ERR_OK);
    assert_true(catalog_org_exists(f->catalog, STR("o")));
}

static void names_over_their_limits_are_refused(void **state)
{
    struct fixture *f = *state;
    const struct catalog_stream *s;
    char letters[NAME_MAX_BYTES + 1];

    memset(letters, 'x', sizeof letters);
    assert_int_equal(catalog_make(f->catalog, (struct str){letters, sizeof letters}, STREAM_LOGS,
                                  STR("s"), &s, &f->e),
                     ERR_INVALID);
    assert_int_equal(catalog_make(f->catalog, STR("o"), STREAM_LOGS,
                                  (struct str){letters, sizeof letters}, &s, &f->e),
                     ERR_INVALID);
    assert_int_equal(catalog_make(f->catalog, (struct str){letters, NAME_MAX_BYTES}, STREAM_LOGS,
                                  (struct str){letters, NAME_MAX_BYTES}, &s, &f->e),
                     ERR_INVALID);
}

static void make_others(struct fixture *f)
{
    for (int i = 0; i < OTHERS; i++) {
        char name[24];
        snprintf(name, sizeof name, "other%d", i);
        catalog_unref(make(f, name));
    }
}

static double shown(const char *name)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    metrics_print(&text);
    const char *line = strstr(text.data, "# TYPE"), *at;
    assert_non_null(line);
    assert_non_null(at = strstr(line, name));
    while (at[strlen(name)] != ' ' || at[-1] != '\n')
        assert_non_null(at = strstr(at + 1, name));
    double value = strtod(at + strlen(name), NULL);
    buf_done(&text);
    return value;
}

static void past_its_memory_it_reads_again(void **state)
{
    struct fixture *f = *state;
    struct meta_new_field field = {STR("level"), FIELD_UTF8};
    const struct catalog_stream *held = make(f, "held"), *wider, *now;

    assert_int_equal(catalog_merge_fields(f->catalog, held, &field, 1, &wider, &f->e), ERR_OK);
    make_others(f);
    assert_true(shown("zo_schema_cache_drops") > 0);
    assert_true(shown("zo_schema_cache_bytes") <= CACHE_BYTES);
    assert_true(shown("zo_schema_cache_bytes") > CACHE_BYTES / 2);
    assert_int_equal(catalog_field(wider, STR("level")), 1); /* whoever has it keeps it */
    assert_int_equal(catalog_find(f->catalog, STR("o"), STREAM_LOGS, STR("held"), &now, &f->e),
                     ERR_OK);
    assert_ptr_not_equal(now, wider);
    assert_int_equal(now->number, wider->number);
    assert_int_equal(catalog_field(now, STR("level")), 1);
    catalog_unref(held);
    catalog_unref(wider);
    catalog_unref(now);
}

static struct catalog_entry *entry_of(struct fixture *f, const char *name, size_t fields)
{
    static const struct catalog_hash_key key;
    struct meta_field *list = arena_zalloc(&f->arena, fields * sizeof *list);
    struct meta_stream s = {.number = 7,
                            .org = STR("o"),
                            .name = str_from(name),
                            .type = STREAM_LOGS,
                            .fields = list,
                            .field_count = fields};
    struct catalog_entry *en;

    for (size_t i = 0; i < fields; i++) {
        char *text = arena_alloc(&f->arena, 16);
        list[i].name = (struct str){text, (size_t)snprintf(text, 16, "%zu", i)};
    }
    assert_int_equal(catalog_entry_new(&s, key, &en, &f->e), ERR_OK);
    return en;
}

/* It is read from meta, then deleted, then put. */
static void what_was_forgotten_meanwhile_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct catalog_cache *c;
    const struct catalog_stream *s;

    assert_int_equal(catalog_cache_new(CACHE_BYTES, &c, &f->e), ERR_OK);
    uint64_t mark = catalog_cache_mark(c);
    struct catalog_entry *en = entry_of(f, "s", 1);
    catalog_cache_forget(c, &en->stream);
    s = catalog_cache_put(c, en, mark);
    assert_ptr_equal(s, &en->stream); /* its reader has it all the same */
    catalog_unref(s);
    assert_null(catalog_cache_find(c, STR("o"), STREAM_LOGS, STR("s")));
    catalog_cache_free(c);
}

static void a_look_at_all_does_not_drive_out_what_is_in_use(void **state)
{
    struct fixture *f = *state;
    struct catalog_cache *c;
    char name[24];

    assert_int_equal(catalog_cache_new(CACHE_BYTES, &c, &f->e), ERR_OK);
    for (int i = 0; i < OTHERS; i++) {
        snprintf(name, sizeof name, "s%d", i);
        catalog_unref(catalog_cache_put(c, entry_of(f, name, 1), catalog_cache_mark(c)));
        const struct catalog_stream *used = catalog_cache_find(c, STR("o"), STREAM_LOGS, STR("s0"));
        assert_non_null(used);
        catalog_unref(used);
    }
    assert_null(catalog_cache_find(c, STR("o"), STREAM_LOGS, STR("s1")));
    catalog_cache_free(c);
}

static void one_that_is_larger_than_all_the_memory_is_not_kept(void **state)
{
    struct fixture *f = *state;
    struct catalog_cache *c;

    assert_int_equal(catalog_cache_new(CACHE_BYTES, &c, &f->e), ERR_OK);
    const struct catalog_stream *s =
        catalog_cache_put(c, entry_of(f, "large", CACHE_BYTES), catalog_cache_mark(c));
    assert_int_equal(catalog_field(s, STR("16000")), 16000);
    assert_null(catalog_cache_find(c, STR("o"), STREAM_LOGS, STR("large")));
    catalog_unref(s);
    catalog_cache_free(c);
}

struct crowd {
    struct catalog *catalog;
    atomic_int writers_left;
    atomic_bool failed;
};

/* Four threads add the same fields, each with a type of its own: they widen to Utf8. */
static void *merge_many(void *arg)
{
    struct crowd *c = arg;
    static atomic_uint next;
    enum field_type type = (enum field_type)(FIELD_INT64 + atomic_fetch_add(&next, 1) % WRITERS);
    const struct catalog_stream *s, *wider;
    char name[24];
    struct err e;

    for (int i = 0; i < ROUNDS && !atomic_load(&c->failed); i++) {
        struct meta_new_field field = {{name, (size_t)snprintf(name, sizeof name, "f%d", i)}, type};
        int at;
        if (catalog_make(c->catalog, STR("o"), STREAM_LOGS, STR("race"), &s, &e)) {
            atomic_store(&c->failed, true);
            break;
        }
        if (catalog_merge_fields(c->catalog, s, &field, 1, &wider, &e)) {
            atomic_store(&c->failed, true);
        } else {
            at = catalog_field(wider, field.name);
            if (at < 0 || wider->fields[at].type < type)
                atomic_store(&c->failed, true);
            catalog_unref(wider);
        }
        catalog_unref(s);
    }
    atomic_fetch_sub(&c->writers_left, 1);
    return NULL;
}

/* What a reader sees never goes back, and is whole. */
static void *look_up(void *arg)
{
    struct crowd *c = arg;
    const struct catalog_stream *s;
    uint32_t last = 0;
    struct err e;

    while (atomic_load(&c->writers_left) > 0) {
        enum err_code rc = catalog_find(c->catalog, STR("o"), STREAM_LOGS, STR("race"), &s, &e);
        if (rc == ERR_NOTFOUND)
            continue;
        if (rc || s->schema_version < last ||
            catalog_field(s, s->fields[s->field_count - 1].name) != (int)s->field_count - 1)
            atomic_store(&c->failed, true);
        if (rc)
            break;
        last = s->schema_version;
        catalog_unref(s);
    }
    return NULL;
}

/* Looks at others, so that the one stream is dropped again and again. */
static void *crowd_out(void *arg)
{
    struct crowd *c = arg;
    const struct catalog_stream *s;
    char name[24];
    struct err e;

    for (unsigned i = 0; atomic_load(&c->writers_left) > 0; i++) {
        struct str text = {name, (size_t)snprintf(name, sizeof name, "other%u", i % OTHERS)};
        if (catalog_find(c->catalog, STR("o"), STREAM_LOGS, text, &s, &e))
            atomic_store(&c->failed, true);
        else
            catalog_unref(s);
    }
    return NULL;
}

static void threads_that_merge_at_once_lose_no_field(void **state)
{
    struct fixture *f = *state;
    struct crowd crowd = {.catalog = f->catalog, .writers_left = WRITERS};
    void *(*const jobs[])(void *) = {merge_many, merge_many, merge_many, merge_many,
                                     look_up,    look_up,    crowd_out};
    pthread_t threads[ARRAY_LEN(jobs)];
    const struct catalog_stream *s;
    struct meta_stream *stored;

    make_others(f);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, jobs[i], &crowd), 0);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
        pthread_join(threads[i], NULL);
    assert_false(atomic_load(&crowd.failed));
    s = make(f, "race");
    assert_int_equal(s->field_count, ROUNDS + 1);
    for (size_t i = 1; i < s->field_count; i++)
        assert_int_equal(s->fields[i].type, FIELD_UTF8);
    assert_int_equal(meta_stream_by_number(f->meta, s->number, &f->arena, &stored, &f->e), ERR_OK);
    assert_int_equal(stored->schema_version, s->schema_version);
    catalog_unref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_reader_keeps_the_schema_it_holds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_merge_that_changes_nothing_gives_the_same_entry, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(every_field_of_a_wide_stream_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_deleted_stream_is_forgotten_when_a_merge_meets_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_list_is_in_order_and_of_one_org, set_up, tear_down),
        cmocka_unit_test_setup_teardown(organisations_are_made_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_over_their_limits_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(past_its_memory_it_reads_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_forgotten_meanwhile_is_not_found, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_look_at_all_does_not_drive_out_what_is_in_use, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_that_is_larger_than_all_the_memory_is_not_kept, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(threads_that_merge_at_once_lose_no_field, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
