// links: weir_fs weir_index
/* The tree over sealed parts: names, attributes and listings, before, during and after the
 * hand-over. */
#include "tests/support/sealed_fixture.h"

#include <sched.h>

#include "fs/tree/tree.h"

#define HOUR 490000 /* 2025-11-24 16:00 */
#define APP 1
#define CPU 2
#define MEM 3

struct fixture {
    struct store *store;
    struct schema *schema;
    struct tree *tree;
};

static void open_tree(struct fixture *f)
{
    struct store *s = f->store;
    struct tree_config cfg = {.journal = s->journal,
                              .registry = s->registry,
                              .status = s->status,
                              .sealed = s->sealed,
                              .node_name = "node-1",
                              .started_us = 1};

    assert_int_equal(schema_new(s->data, KV_READER, &f->schema, &s->e), ERR_OK);
    cfg.schema = f->schema;
    assert_int_equal(tree_new(&cfg, &f->tree, &s->e), ERR_OK);
}

static void close_tree(struct fixture *f)
{
    tree_free(f->tree);
    schema_free(f->schema);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->store = store_make();
    store_open(f->store);
    open_tree(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    close_tree(f);
    store_remove(f->store);
    free(f);
    return 0;
}

/* ---- what there is ---- */

static struct staged seal(struct fixture *f, uint64_t stream, int32_t hour)
{
    struct journal_file file = store_roll(f->store, stream, hour);
    struct staged st;

    store_stage(f->store, &st, &file);
    assert_int_equal(store_publish(f->store, &st), ERR_OK);
    return st;
}

static struct staged seal_metrics(struct fixture *f, int32_t hour)
{
    struct journal_file files[] = {store_roll(f->store, CPU, hour),
                                   store_roll(f->store, MEM, hour)};
    struct staged st;

    store_stage_metrics(f->store, &st, files, ARRAY_LEN(files));
    assert_int_equal(store_publish(f->store, &st), ERR_OK);
    return st;
}

static bool walk(struct fixture *f, const char *path, struct tree_ref *out)
{
    struct str rest = str_from(path), part;
    struct tree_ref at = tree_root();

    while (rest.len > 0) {
        str_cut(rest, '/', &part, &rest);
        if (!tree_lookup(f->tree, &at, part, out))
            return false;
        at = *out;
    }
    return true;
}

static struct tree_ref must_walk(struct fixture *f, const char *path)
{
    struct tree_ref ref;

    if (!walk(f, path, &ref))
        fail_msg("%s is not there", path);
    return ref;
}

static void assert_lists(struct fixture *f, const char *path, const char *want)
{
    struct tree_ref dir = must_walk(f, path);
    struct listing l;
    struct buf names;

    listing_init(&l);
    buf_init(&names, 4096);
    assert_int_equal(tree_list(f->tree, &dir, &l, &f->store->e), ERR_OK);
    for (size_t i = 0; i < l.count; i++)
        buf_printf(&names, "%s" STR_FMT, i ? " " : "", STR_ARG(listing_name(&l, i)));
    if (!str_eq(buf_str(&names), str_from(want)))
        fail_msg("%s shows \"" STR_FMT "\", not \"%s\"", path, STR_ARG(buf_str(&names)), want);
    buf_done(&names);
    listing_done(&l);
}

static const char *name_in(const char *dir, const struct ulid *id, const char *suffix)
{
    static _Thread_local char path[256];
    char text[ULID_TEXT_LEN + 1];

    ulid_format(id, text);
    snprintf(path, sizeof path, "%s%s%s", dir, text, suffix);
    return path;
}

static void assert_xattr(struct fixture *f, const struct tree_ref *ref, const char *name,
                         const char *want)
{
    char value[TREE_XATTR_MAX];
    size_t len = 0;

    if (!want) {
        assert_int_equal(tree_xattr(f->tree, ref, str_from(name), value, &len), ERR_NOTFOUND);
        return;
    }
    assert_int_equal(tree_xattr(f->tree, ref, str_from(name), value, &len), ERR_OK);
    assert_true(str_eq((struct str){value, len}, str_from(want)));
}

/* ---- logs ---- */

#define APP_HOUR "default/logs/app/2025/11/24/16/"
#define APP_TEXT "default/logs/app/text/2025/11/24/16/"

static void a_sealed_file_takes_the_place_of_its_lines(void **state)
{
    struct fixture *f = *state;
    struct staged st;
    struct tree_ref lines, part;
    struct stat of_lines, of_part;
    struct ulid id;

    store_append(f->store, STREAM_LOGS, APP, "app", HOUR, 3);
    store_append(f->store, STREAM_LOGS, APP, "app", HOUR + 1, 2);
    st = seal(f, APP, HOUR);
    id = st.part.id;
    assert_lists(f, "default/logs/app/2025/11/24", "16 17");
    assert_lists(f, "default/logs/app/2025/11/24/16", name_in("", &id, ".parquet"));
    part = must_walk(f, name_in(APP_HOUR, &id, ".parquet"));
    assert_true(tree_stat(f->tree, &part, &of_part));
    assert_int_equal(of_part.st_size, st.part.stored_bytes);
    assert_int_equal(of_part.st_nlink, 1);
    assert_int_equal(of_part.st_mode, S_IFREG | 0400);
    assert_true(of_part.st_mtim.tv_sec >= clock_wall_us() / US_PER_SEC - 600);

    lines = must_walk(f, name_in(APP_HOUR, &id, ".ndjson")); /* found, though not listed */
    assert_true(tree_stat(f->tree, &lines, &of_lines));
    assert_int_equal(of_lines.st_size, st.part.raw_bytes);
    assert_true(tree_ino(&lines, 0) != tree_ino(&part, 0));
    assert_xattr(f, &lines, "user.weir.state", "sealed");
}

static void attributes_tell_of_the_part(void **state)
{
    struct fixture *f = *state;
    char sha256[65], want[32], names[TREE_XATTR_MAX];
    struct tree_ref ref;
    struct staged st;

    store_append(f->store, STREAM_LOGS, APP, "app", HOUR, 3);
    st = seal(f, APP, HOUR);
    ref = must_walk(f, name_in(APP_HOUR, &st.part.id, ".parquet"));
    assert_xattr(f, &ref, "user.weir.state", "sealed");
    assert_xattr(f, &ref, "user.weir.rows", "3");
    assert_xattr(f, &ref, "user.weir.node", "node-1");
    assert_xattr(f, &ref, "user.weir.object", NULL);
    assert_xattr(f, &ref, "user.weir.nothing", NULL);
    snprintf(want, sizeof want, "%lld", (long long)st.part.max_ts_us);
    assert_xattr(f, &ref, "user.weir.max_ts", want);
    for (size_t i = 0; i < 32; i++)
        snprintf(sha256 + 2 * i, 3, "%02x", st.part.sha256[i]);
    assert_xattr(f, &ref, "user.weir.sha256", sha256);
    assert_int_equal(tree_xattr_names(f->tree, &ref, names),
                     sizeof "user.weir.state\0user.weir.rows\0user.weir.min_ts\0user.weir.max_ts\0"
                            "user.weir.node\0user.weir.sha256");

    st.part.object = STR("files/default/logs/x.parquet");
    st.part.state = PART_MIRRORED;
    assert_int_equal(parts_put(sealed_index(f->store->sealed), &st.part, 1, 1, 0, NULL), ERR_OK);
    assert_xattr(f, &ref, "user.weir.state", "mirrored");
    assert_xattr(f, &ref, "user.weir.object", "files/default/logs/x.parquet");
}

static void text_has_the_size_of_its_lines(void **state)
{
    struct fixture *f = *state;
    struct staged st;
    struct tree_ref ref;
    struct stat stat;
    char path[TREE_PATH_MAX];

    store_append(f->store, STREAM_LOGS, APP, "app", HOUR, 3);
    assert_false(walk(f, "default/logs/app/text", &ref)); /* nothing is sealed */
    st = seal(f, APP, HOUR);
    assert_lists(f, "default/logs/app", "text 2025");
    assert_lists(f, "default/logs/app/text", "2025");
    assert_lists(f, "default/logs/app/text/2025/11/24", "16");
    assert_lists(f, "default/logs/app/text/2025/11/24/16", name_in("", &st.part.id, ".ndjson"));
    ref = must_walk(f, name_in(APP_TEXT, &st.part.id, ".ndjson"));
    assert_int_equal(ref.kind, TREE_TEXT);
    assert_true(tree_stat(f->tree, &ref, &stat));
    assert_int_equal(stat.st_size, st.part.raw_bytes);
    assert_false(walk(f, name_in(APP_TEXT, &st.part.id, ".parquet"), &ref));
    ref = must_walk(f, name_in(APP_TEXT, &st.part.id, ".ndjson"));
    assert_xattr(f, &ref, "user.weir.rows", "3");
    assert_xattr(f, &ref, "user.weir.sha256", NULL);
    assert_int_equal(tree_part_path(f->tree, &ref, path, NULL), ERR_OK);
    assert_string_equal(path + 1, name_in(APP_HOUR, &st.part.id, ".parquet"));
}

static void a_byte_of_text_is_found_in_its_row_group(void **state)
{
    static const struct part_group groups[] = {{5, 100}, {0, 0}, {7, 50}, {1, 10}};
    static const struct {
        uint64_t off, group, at, bytes;
    } cases[] = {{0, 0, 0, 100},    {99, 0, 0, 100},   {100, 2, 100, 50}, {149, 2, 100, 50},
                 {150, 3, 150, 10}, {159, 3, 150, 10}, {160, 0, 160, 0},  {UINT64_MAX, 0, 160, 0}};
    struct fixture *f = *state;
    struct tree_unit unit;
    struct tree_ref ref;
    struct staged st;

    store_append(f->store, STREAM_LOGS, APP, "app", HOUR, 3);
    st = seal(f, APP, HOUR);
    st.part.groups = groups;
    st.part.group_count = ARRAY_LEN(groups);
    assert_int_equal(parts_put(sealed_index(f->store->sealed), &st.part, 1, 1, 0, NULL), ERR_OK);
    ref = must_walk(f, name_in(APP_TEXT, &st.part.id, ".ndjson"));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(tree_unit_at(f->tree, &ref, cases[i].off, &unit, NULL), ERR_OK);
        assert_int_equal(unit.group, cases[i].group);
        assert_int_equal(unit.at, cases[i].at);
        assert_int_equal(unit.bytes, cases[i].bytes);
        assert_int_equal(unit.rows, 0);
    }
}

static void current_is_what_is_being_written(void **state)
{
    struct fixture *f = *state;
    struct tree_ref ref;

    store_append(f->store, STREAM_LOGS, APP, "app", HOUR, 3);
    store_append(f->store, STREAM_LOGS, APP, "app", HOUR + 1, 3);
    seal(f, APP, HOUR + 1);
    ref = must_walk(f, "default/logs/app/current.ndjson");
    assert_int_equal(tree_ino(&ref, 0),
                     tree_ino(&(struct tree_ref){.kind = TREE_DATA, .id = ref.id}, 0));
    seal(f, APP, HOUR);
    assert_false(walk(f, "default/logs/app/current.ndjson", &ref));
    assert_lists(f, "default/logs/app", "text 2025");
}

static void a_part_is_open_to_who_reads_while_its_stream_is_deleted(void **state)
{
    static const struct dropped_stream app = {
        .number = APP, .org = {"default", 7}, .name = {"app", 3}, .type = STREAM_LOGS};
    struct fixture *f = *state;
    struct sealed *sealed = f->store->sealed;
    uint64_t deadline_ms = clock_mono_ms() + 10000;
    struct sealed_reader reader;
    struct tree_ref named, pinned;
    struct staged st;
    struct stat stat;
    struct part p;

    store_append(f->store, STREAM_LOGS, APP, "app", HOUR, 3);
    st = seal(f, APP, HOUR);
    named = must_walk(f, name_in(APP_HOUR, &st.part.id, ".parquet"));
    pinned = must_walk(f, name_in(".weir/at/", &st.part.id, ".parquet"));
    assert_true(tree_same(&named, &pinned));
    sealed_reader_begin(sealed, &reader);
    assert_int_equal(sealed_drop_stream(sealed, &app, NULL), ERR_OK);
    assert_false(walk(f, name_in(APP_HOUR, &st.part.id, ".parquet"), &pinned));
    pinned = must_walk(f, name_in(".weir/at/", &st.part.id, ".parquet"));
    assert_true(tree_stat(f->tree, &pinned, &stat));
    assert_int_equal(stat.st_size, st.part.stored_bytes);
    assert_int_equal(tree_part(f->tree, &named, &p, NULL), ERR_OK);
    sealed_reader_end(sealed, &reader);
    while (walk(f, name_in(".weir/at/", &st.part.id, ".parquet"), &pinned)) {
        assert_true(clock_mono_ms() < deadline_ms); /* it is the keeper's to take away */
        sched_yield();
    }
    assert_int_equal(tree_part(f->tree, &named, &p, NULL), ERR_STALE);
}

static void a_metrics_part_has_one_inode_under_both_names(void **state)
{
    struct fixture *f = *state;
    struct tree_ref named, pinned;
    struct staged st;

    store_append(f->store, STREAM_METRICS, CPU, "cpu", HOUR, 2);
    store_append(f->store, STREAM_METRICS, MEM, "mem", HOUR, 5);
    st = seal_metrics(f, HOUR);
    named = must_walk(f, name_in("default/metrics/.parts/2025/11/24/16/", &st.part.id, ".parquet"));
    pinned = must_walk(f, name_in(".weir/at/", &st.part.id, ".parquet"));
    assert_true(tree_same(&named, &pinned));
    assert_false(walk(f, ".weir/at/01BX5ZZKBKACTAV9WEVGEMMVRZ.parquet", &pinned));
}

static void a_part_is_listed_when_its_lines_no_longer_are(void **state)
{
    struct fixture *f = *state;
    struct store *s = f->store;
    struct journal_file file;
    struct staged st;

    store_append(s, STREAM_LOGS, APP, "app", HOUR, 3);
    file = store_roll(s, APP, HOUR);
    store_stage(s, &st, &file);
    assert_int_equal(registry_hide(s->registry, &file.id, NULL), ERR_OK);
    assert_int_equal(parts_put(sealed_index(s->sealed), &st.part, 1, 1, 0, NULL), ERR_OK);
    assert_lists(f, "default/logs/app/2025/11/24/16", name_in("", &file.id, ".ndjson"));
    assert_lists(f, "default/logs/app/text/2025/11/24/16", "");
    registry_replace(s->registry, &file, 1, &file.id);
    assert_lists(f, "default/logs/app/2025/11/24/16", name_in("", &file.id, ".parquet"));
    assert_lists(f, "default/logs/app/text/2025/11/24/16", name_in("", &file.id, ".ndjson"));
}

static void parts_of_an_older_number_are_not_shown(void **state)
{
    struct fixture *f = *state;
    struct tree_ref ref;
    struct staged st;

    store_append(f->store, STREAM_LOGS, APP, "app", HOUR, 3);
    st = seal(f, APP, HOUR);
    assert_int_equal(registry_add_stream(f->store->registry, 99, STR("default"), STREAM_LOGS,
                                         STR("app"), 0, NULL),
                     ERR_OK);
    assert_lists(f, "default/logs/app", "");
    assert_false(walk(f, name_in(APP_HOUR, &st.part.id, ".parquet"), &ref));
}

static void directories_of_time_are_there_again_after_a_start(void **state)
{
    struct fixture *f = *state;
    struct tree_ref ref;
    struct stat before, after;
    struct staged st;
    uint64_t ino;

    store_append(f->store, STREAM_LOGS, APP, "app", HOUR, 3);
    store_append(f->store, STREAM_LOGS, APP, "app", HOUR + 24, 3);
    st = seal(f, APP, HOUR);
    ref = must_walk(f, name_in(APP_HOUR, &st.part.id, ".parquet"));
    assert_true(tree_stat(f->tree, &ref, &before));
    ino = tree_ino(&ref, 0);
    close_tree(f);
    store_close(f->store);
    store_open(f->store);
    open_tree(f);
    assert_lists(f, "default/logs/app/2025/11", "24 25");
    ref = must_walk(f, name_in(APP_HOUR, &st.part.id, ".parquet"));
    assert_true(tree_stat(f->tree, &ref, &after));
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
    assert_int_equal(ino, tree_ino(&ref, 0));
    ref = must_walk(f, "default/logs/app/2025/11/24/16");
    assert_true(tree_stat(f->tree, &ref, &before));
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
}

static void the_time_of_a_directory_changes_with_a_part(void **state)
{
    struct fixture *f = *state;
    struct tree_ref stream;
    struct stat before, after;

    store_append(f->store, STREAM_LOGS, APP, "app", HOUR, 3);
    stream = must_walk(f, "default/logs/app");
    assert_true(tree_stat(f->tree, &stream, &before));
    seal(f, APP, HOUR);
    assert_true(tree_stat(f->tree, &stream, &after));
    assert_memory_not_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
}

/* ---- metrics ---- */

#define CPU_HOUR "default/metrics/cpu/2025/11/24/16/"
#define PARTS_HOUR "default/metrics/.parts/2025/11/24/16/"

static void metrics_are_sealed_together_and_shown_by_name(void **state)
{
    struct fixture *f = *state;
    struct tree_ref ref, mem;
    struct tree_unit unit;
    struct staged st;
    struct stat stat;
    char path[TREE_PATH_MAX];

    store_append(f->store, STREAM_METRICS, CPU, "cpu", HOUR, 3);
    store_append(f->store, STREAM_METRICS, MEM, "mem", HOUR, 5);
    assert_lists(f, "default/metrics", "cpu mem");
    st = seal_metrics(f, HOUR);
    assert_lists(f, "default/metrics", ".parts cpu mem");
    assert_lists(f, "default/metrics/.parts", "2025");
    assert_lists(f, "default/metrics/.parts/2025/11/24/16", name_in("", &st.part.id, ".parquet"));
    assert_lists(f, "default/metrics/cpu", "2025"); /* no text */
    assert_lists(f, "default/metrics/cpu/2025/11/24/16", name_in("", &st.part.id, ".ndjson"));

    ref = must_walk(f, name_in(PARTS_HOUR, &st.part.id, ".parquet"));
    assert_true(tree_stat(f->tree, &ref, &stat));
    assert_int_equal(stat.st_size, st.part.stored_bytes);
    assert_xattr(f, &ref, "user.weir.rows", "8");

    ref = must_walk(f, name_in(CPU_HOUR, &st.part.id, ".ndjson"));
    assert_true(tree_stat(f->tree, &ref, &stat));
    assert_int_equal(stat.st_size, st.names[0].text_bytes);
    assert_xattr(f, &ref, "user.weir.rows", "3");
    assert_int_equal(tree_part_path(f->tree, &ref, path, NULL), ERR_OK);
    assert_string_equal(path + 1, name_in(PARTS_HOUR, &st.part.id, ".parquet"));
    assert_false(walk(f, name_in(CPU_HOUR, &st.part.id, ".parquet"), &mem));

    mem = must_walk(f, name_in("default/metrics/mem/2025/11/24/16/", &st.part.id, ".ndjson"));
    assert_false(tree_same(&ref, &mem));
    assert_true(tree_ino(&ref, 0) != tree_ino(&mem, 0));
    assert_int_equal(tree_unit_at(f->tree, &mem, 1, &unit, NULL), ERR_OK);
    assert_int_equal(unit.first_row, 3);
    assert_int_equal(unit.rows, 5);
    assert_int_equal(unit.at, 0);
    assert_int_equal(unit.bytes, st.names[1].text_bytes);
}

static void a_metric_shows_what_is_sealed_beside_what_is_written(void **state)
{
    struct fixture *f = *state;
    struct staged st;
    struct tree_ref ref;
    struct journal_file late;
    char want[128], file[NAME_DATA_MAX], part[NAME_DATA_MAX];

    store_append(f->store, STREAM_METRICS, CPU, "cpu", HOUR, 3);
    store_append(f->store, STREAM_METRICS, MEM, "mem", HOUR, 5);
    st = seal_metrics(f, HOUR);
    store_append(f->store, STREAM_METRICS, CPU, "cpu", HOUR, 1);
    late = store_roll(f->store, CPU, HOUR);
    name_format_data(&late.id, file);
    name_format_data(&st.part.id, part);
    bool part_first = ulid_cmp(&st.part.id, &late.id) < 0;
    snprintf(want, sizeof want, "%s %s", part_first ? part : file, part_first ? file : part);
    assert_lists(f, "default/metrics/cpu/2025/11/24/16", want);
    assert_lists(f, "default/metrics/mem/2025/11/24/16", part);
    ref = must_walk(f, name_in(CPU_HOUR, &late.id, ".ndjson"));
    assert_int_equal(ref.kind, TREE_DATA);
    ref = must_walk(f, name_in(CPU_HOUR, &st.part.id, ".ndjson"));
    assert_int_equal(ref.kind, TREE_TEXT);
}

static void a_tree_without_sealed_parts_shows_what_is_written(void **state)
{
    struct fixture *f = *state, plain = *f;
    struct sealed *sealed = f->store->sealed;
    struct tree_ref ref;

    store_append(f->store, STREAM_LOGS, APP, "app", HOUR, 3);
    seal(f, APP, HOUR);
    store_append(f->store, STREAM_LOGS, APP, "app", HOUR + 1, 3);
    f->store->sealed = NULL;
    open_tree(&plain);
    assert_lists(&plain, "default/logs/app", "current.ndjson 2025");
    assert_lists(&plain, "default/logs/app/2025/11/24", "17");
    assert_false(walk(&plain, "default/logs/app/text", &ref));
    close_tree(&plain);
    f->store->sealed = sealed;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_sealed_file_takes_the_place_of_its_lines),
        TEST(attributes_tell_of_the_part),
        TEST(text_has_the_size_of_its_lines),
        TEST(a_byte_of_text_is_found_in_its_row_group),
        TEST(current_is_what_is_being_written),
        TEST(a_part_is_open_to_who_reads_while_its_stream_is_deleted),
        TEST(a_metrics_part_has_one_inode_under_both_names),
        TEST(a_part_is_listed_when_its_lines_no_longer_are),
        TEST(parts_of_an_older_number_are_not_shown),
        TEST(directories_of_time_are_there_again_after_a_start),
        TEST(the_time_of_a_directory_changes_with_a_part),
        TEST(metrics_are_sealed_together_and_shown_by_name),
        TEST(a_metric_shows_what_is_sealed_beside_what_is_written),
        TEST(a_tree_without_sealed_parts_shows_what_is_written),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
