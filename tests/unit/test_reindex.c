// links: weir_fs weir_index
/* The index anew: the same as before, whether the journal or only the files can tell. */
#include "tests/support/sealed_fixture.h"

#include "fs/reindex.h"
#include "index/meta.h"

#define HOUR 490000

struct fixture {
    struct store *store;
    struct staged logs, metrics;
    struct ulid ids[2];
    struct buf facts[2];    /* what the metadata of the Parquet says, by the index of the id */
    const char *unreadable; /* facts of files whose path has this cannot be read */
};

static void keep_facts(struct fixture *f, size_t i, const struct staged *st)
{
    f->ids[i] = st->part.id;
    buf_init(&f->facts[i], 1u << 20);
    store_part_json(&f->facts[i], st);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct store *s = f->store = store_make();
    struct journal_file files[2];

    store_open(s);
    store_append(s, STREAM_LOGS, 1, "app", HOUR, 3);
    files[0] = store_roll(s, 1, HOUR);
    store_stage(s, &f->logs, files);
    store_append(s, STREAM_METRICS, 11, "cpu", HOUR, 2);
    store_append(s, STREAM_METRICS, 12, "mem", HOUR, 5);
    files[0] = store_roll(s, 11, HOUR);
    files[1] = store_roll(s, 12, HOUR);
    store_stage_metrics(s, &f->metrics, files, 2);
    keep_facts(f, 0, &f->logs);
    keep_facts(f, 1, &f->metrics);
    *state = f;
    return store_publish(s, &f->logs) || store_publish(s, &f->metrics) ? -1 : 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    store_remove(f->store);
    for (size_t i = 0; i < ARRAY_LEN(f->facts); i++)
        buf_done(&f->facts[i]);
    free(f);
    return 0;
}

static enum err_code tell_facts(const char *path, struct arena *a, struct str *json, void *ctx,
                                struct err *e)
{
    struct fixture *f = ctx;

    if (f->unreadable && strstr(path, f->unreadable))
        return err_set(e, ERR_CORRUPT, "no Parquet");
    for (size_t i = 0; i < ARRAY_LEN(f->facts); i++) {
        char id[ULID_TEXT_LEN + 1];
        ulid_format(&f->ids[i], id);
        if (!strstr(path, id))
            continue;
        *json = arena_copy(a, buf_str(&f->facts[i]));
        return ERR_OK;
    }
    return err_set(e, ERR_NOTFOUND, "%s: not a part of this test", path);
}

static struct reindex_result reindex(struct fixture *f)
{
    struct store *s = f->store;
    struct reindex_config cfg = {.data_dir = s->data,
                                 .node_name = "node-1",
                                 .segment_bytes = STORE_SEGMENT_BYTES,
                                 .facts = tell_facts,
                                 .ctx = f};
    struct reindex_result result;

    if (reindex_run(&cfg, &result, &s->e))
        fail_msg("%s", s->e.msg);
    return result;
}

static bool describe(const struct part *p, void *ctx)
{
    struct buf *out = ctx;
    char id[ULID_TEXT_LEN + 1];

    ulid_format(&p->id, id);
    buf_printf(out, "%s %d %.*s %.*s %d %llu %lld %lld %llu %llu %llu %llx %llx %d ", id,
               (int)p->type, STR_ARG(p->org), STR_ARG(p->name), p->hour,
               (unsigned long long)p->stream, (long long)p->min_ts_us, (long long)p->max_ts_us,
               (unsigned long long)p->rows, (unsigned long long)p->raw_bytes,
               (unsigned long long)p->stored_bytes, (unsigned long long)p->text_sum,
               (unsigned long long)p->schema, (int)p->state);
    for (size_t i = 0; i < sizeof p->sha256; i++)
        buf_printf(out, "%02x", p->sha256[i]);
    buf_printf(out, " %.*s\n", STR_ARG(p->node));
    for (size_t i = 0; i < p->group_count; i++)
        buf_printf(out, "  %u %llu\n", part_group_at(p, i).rows,
                   (unsigned long long)part_group_at(p, i).text_bytes);
    for (size_t i = 0; i < p->name_count; i++)
        buf_printf(out, "  %.*s %llu\n", STR_ARG(part_name_at(p, i).name),
                   (unsigned long long)part_name_at(p, i).first_row);
    return true;
}

/* Everything that the index says of parts, as text. */
static void describe_index(struct store *s, struct buf *out)
{
    buf_init(out, 1u << 20);
    assert_int_equal(parts_each(sealed_index(s->sealed), describe, out, &s->e), ERR_OK);
    assert_true(buf_ok(out) && out->len > 0);
}

static void remove_dir(struct store *s, const char *name)
{
    char command[STORE_PATH_MAX + 64];

    snprintf(command, sizeof command, "rm -r '%s/%s'", s->data, name);
    assert_int_equal(system(command), 0);
}

static void assert_same_after(struct fixture *f, const char *lost, uint64_t from_journal,
                              uint64_t from_files)
{
    struct store *s = f->store;
    struct reindex_result result;
    struct buf before, after;

    describe_index(s, &before);
    store_close(s);
    remove_dir(s, "index");
    if (lost)
        remove_dir(s, lost);
    result = reindex(f);
    assert_int_equal(result.from_journal, from_journal);
    assert_int_equal(result.from_files, from_files);
    assert_int_equal(result.unreadable, 0);
    store_open(s);
    describe_index(s, &after);
    assert_string_equal(before.data, after.data);
    buf_done(&before);
    buf_done(&after);
}

static void the_journal_tells_of_what_it_still_holds(void **state)
{
    struct fixture *f = *state;
    struct store *s = f->store;

    store_append(s, STREAM_LOGS, 1, "app", HOUR, 4);
    assert_same_after(f, NULL, 2, 0);
    registry_add_stream(s->registry, 12, STR("default"), STREAM_METRICS, STR("mem"), 0, NULL);
    assert_seen(s, 1, 7, 1, 1);
    assert_seen(s, 12, 5, 0, 1);
}

static void the_files_tell_of_what_the_journal_has_freed(void **state)
{
    struct fixture *f = *state;
    struct store *s = f->store;
    struct part_column *columns;
    struct arena a;
    struct part found;
    size_t count;

    assert_same_after(f, "journal", 0, 2);
    registry_add_stream(s->registry, 1, STR("default"), STREAM_LOGS, STR("app"), 0, NULL);
    assert_seen(s, 1, 3, 0, 1);
    arena_init(&a, 1u << 20);
    assert_int_equal(parts_find(sealed_index(s->sealed), &f->logs.part.id, &a, &found, &s->e),
                     ERR_OK);
    assert_int_equal(
        parts_schema_get(sealed_index(s->sealed), found.schema, &a, &columns, &count, &s->e),
        ERR_OK);
    assert_int_equal(count, ARRAY_LEN(STORE_COLUMNS));
    arena_done(&a);
}

static void what_was_never_published_is_removed(void **state)
{
    struct fixture *f = *state;
    struct store *s = f->store;
    struct reindex_result result;
    struct journal_file file;
    struct staged st;
    char id[ULID_TEXT_LEN + 1], command[STORE_PATH_MAX * 3];

    store_append(s, STREAM_LOGS, 1, "app", HOUR, 4);
    file = store_roll(s, 1, HOUR);
    store_stage(s, &st, &file);
    ulid_format(&file.id, id);
    snprintf(command, sizeof command, "cp '%s/staging/%s.parquet' '%s'/sealed/*/", s->data, id,
             s->data);
    store_close(s);
    assert_int_equal(system(command), 0);
    result = reindex(f);
    assert_int_equal(result.removed, 1);
    store_open(s);
    assert_seen(s, 1, 7, 1, 1);
}

static void what_cannot_be_read_is_left_out_and_counted(void **state)
{
    struct fixture *f = *state;
    struct store *s = f->store;
    struct reindex_result result;
    char id[ULID_TEXT_LEN + 1];

    ulid_format(&f->logs.part.id, id);
    f->unreadable = id;
    store_close(s);
    remove_dir(s, "journal");
    result = reindex(f);
    assert_int_equal(result.unreadable, 1);
    assert_int_equal(result.from_files, 1);
    assert_non_null(strstr(result.last_problem.msg, "no Parquet"));
    f->unreadable = NULL;
    result = reindex(f);
    assert_int_equal(result.from_files, 2);
    store_open(s);
}

/* Under the number that the fixture gave it. */
static void delete_app(struct store *s)
{
    char path[STORE_PATH_MAX + 8];
    struct meta_stream *stream;
    struct meta *meta;
    struct arena a;

    snprintf(path, sizeof path, "%s/meta", s->data);
    arena_init(&a, 1u << 20);
    assert_int_equal(meta_open(path, KV_OWNER, &meta, &s->e), ERR_OK);
    assert_int_equal(
        meta_stream_make(meta, STR("default"), STREAM_LOGS, STR("app"), &a, &stream, &s->e),
        ERR_OK);
    assert_int_equal(stream->number, 1);
    assert_int_equal(meta_stream_delete(meta, stream->number, &s->e), ERR_OK);
    meta_close(meta);
    arena_done(&a);
}

/* Its record may be in the journal still, its file on the disk; both are nobody's. */
static void of_a_deleted_stream_nothing_comes_back(void **state)
{
    static const char *const lost[] = {NULL, "journal"};
    struct fixture *f = *state;
    struct store *s = f->store;
    struct reindex_result result;
    bool has;

    delete_app(s);
    for (size_t i = 0; i < ARRAY_LEN(lost); i++) {
        store_close(s);
        remove_dir(s, "index");
        if (lost[i])
            remove_dir(s, lost[i]);
        result = reindex(f);
        assert_int_equal(result.from_journal, lost[i] ? 0 : 1);
        assert_int_equal(result.from_files, lost[i] ? 1 : 0);
        assert_int_equal(result.deleted, lost[i] ? 0 : 1);
        store_open(s);
        assert_int_equal(parts_has(sealed_index(s->sealed), &f->logs.part.id, &has, &s->e), ERR_OK);
        assert_false(has);
        assert_int_equal(parts_has(sealed_index(s->sealed), &f->metrics.part.id, &has, &s->e),
                         ERR_OK);
        assert_true(has);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_journal_tells_of_what_it_still_holds, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_files_tell_of_what_the_journal_has_freed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_was_never_published_is_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_a_deleted_stream_nothing_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_is_left_out_and_counted, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
