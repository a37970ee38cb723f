// links: weir_fs weir_index
/* Sealed parts as lines: any range of bytes, each piece rendered once, every way an engine can
 * fail. */
#include "tests/support/sealed_fixture.h"

#include <errno.h>

#include "base/clock.h"
#include "base/cond.h"
#include "base/sys.h"
#include "fs/tree/text.h"
#include "fs/tree/text_cache.h"
#include "gateway/engine/wire.h"
#include "tests/support/fake_engine.h"

#define HOUR 490000
#define APP 1
#define WAIT_MS 10000
#define GROUPS 5
#define TEXT_MAX 400000

struct fixture {
    struct store *store;
    struct schema *schema;
    struct tree *tree;
    struct text *text;
    struct fake_engine engine;
    char mount_dir[STORE_PATH_MAX];
    struct part part, metrics;
    struct part_group groups[GROUPS];
    struct part_name names[2];
    char bytes[TEXT_MAX]; /* the whole text */
    size_t len;
    struct tree_ref ref;
};

/* ---- what there is to read ---- */

/* Lines of many lengths, so that every wrong byte shows. */
static void write_lines(struct fixture *f)
{
    static const uint32_t rows[GROUPS] = {100, 1, 0, 3000, 2000};
    uint32_t n = 0;

    for (size_t g = 0; g < GROUPS; g++) {
        size_t before = f->len;
        for (uint32_t i = 0; i < rows[g]; i++, n++)
            f->len += (size_t)sprintf(
                f->bytes + f->len, "{\"n\":%u,\"text\":\"%.*s\"}\n", n, (int)(n * 7 % 61),
                "0123456789012345678901234567890123456789012345678901234567890");
        f->groups[g] = (struct part_group){.rows = rows[g], .text_bytes = f->len - before};
    }
    assert_true(f->len < TEXT_MAX && f->len > 3 * 65536);
}

static struct str render(const struct json *request, void *ctx)
{
    struct fixture *f = ctx;
    uint64_t group = 0, first_row;
    size_t at = 0;

    if (json_u64(json_get(request, "first_row"), &first_row))
        return first_row == 0 ? (struct str){f->bytes, f->names[0].text_bytes}
                              : (struct str){f->bytes + 1000, f->names[1].text_bytes};
    assert_true(json_u64(json_get(request, "group"), &group));
    for (size_t i = 0; i < group; i++)
        at += f->groups[i].text_bytes;
    return (struct str){f->bytes + at, f->groups[group].text_bytes};
}

static void put_parts(struct fixture *f)
{
    f->part = (struct part){.id = ulid_new(),
                            .stream = APP,
                            .org = STR("default"),
                            .name = STR("app"),
                            .type = STREAM_LOGS,
                            .hour = HOUR,
                            .state = PART_SEALED,
                            .raw_bytes = f->len,
                            .stored_bytes = 10,
                            .groups = f->groups,
                            .group_count = GROUPS};
    f->names[0] = (struct part_name){
        .stream = 7, .name = STR("cpu"), .first_row = 0, .rows = 3, .text_bytes = 200000};
    f->names[1] = (struct part_name){
        .stream = 8, .name = STR("mem"), .first_row = 3, .rows = 9, .text_bytes = 777};
    f->metrics = (struct part){.id = ulid_new(),
                               .org = STR("default"),
                               .type = STREAM_METRICS,
                               .hour = HOUR,
                               .state = PART_SEALED,
                               .names = f->names,
                               .name_count = 2};
    assert_int_equal(parts_put(sealed_index(f->store->sealed), &f->part, 1, 1, 0, NULL), ERR_OK);
    assert_int_equal(parts_put(sealed_index(f->store->sealed), &f->metrics, 1, 1, 0, NULL), ERR_OK);
    registry_add_stream(f->store->registry, APP, STR("default"), STREAM_LOGS, STR("app"), 1, NULL);
    registry_add_stream(f->store->registry, 7, STR("default"), STREAM_METRICS, STR("cpu"), 1, NULL);
    registry_add_stream(f->store->registry, 8, STR("default"), STREAM_METRICS, STR("mem"), 1, NULL);
}

static struct tree_ref text_of(struct fixture *f, enum stream_type type, const char *name,
                               const struct ulid *part)
{
    struct registry_org *org = registry_find_org(f->store->registry, STR("default"));

    return (struct tree_ref){
        .kind = TREE_TEXT,
        .type = type,
        .org = org,
        .stream = registry_find_stream(f->store->registry, org, type, str_from(name)),
        .id = *part};
}

static void start_text(struct fixture *f, uint64_t cache_bytes, uint64_t deadline_ms)
{
    struct text_config cfg = {.tree = f->tree,
                              .status = f->store->status,
                              .socket_path = f->engine.path,
                              .mount_dir = "/mnt/weir",
                              .cache_dir = f->store->data,
                              .cache_bytes = cache_bytes,
                              .threads = 2,
                              .deadline_ms = deadline_ms};

    text_stop(f->text);
    assert_int_equal(text_start(&cfg, &f->text, &f->store->e), ERR_OK);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct tree_config cfg = {.node_name = "node-1"};
    char path[STORE_PATH_MAX + 16];

    f->store = store_make();
    store_open(f->store);
    cfg.journal = f->store->journal;
    cfg.registry = f->store->registry;
    cfg.status = f->store->status;
    cfg.sealed = f->store->sealed;
    assert_int_equal(tree_new(&cfg, &f->tree, NULL), ERR_OK);
    write_lines(f);
    put_parts(f);
    f->ref = text_of(f, STREAM_LOGS, "app", &f->part.id);
    f->engine.render = render;
    f->engine.ctx = f;
    snprintf(path, sizeof path, "%s/engine.sock", f->store->dir.path);
    fake_start(&f->engine, path);
    start_text(f, 0, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    text_stop(f->text);
    fake_stop(&f->engine);
    tree_free(f->tree);
    store_remove(f->store);
    free(f);
    return 0;
}

/* ---- reading ---- */

struct answer {
    pthread_mutex_t lock;
    pthread_cond_t came;
    bool is_there;
    enum err_code rc;
    char bytes[TEXT_MAX];
    size_t len;
};

static struct answer *new_answer(void)
{
    struct answer *a = calloc(1, sizeof *a);

    pthread_mutex_init(&a->lock, NULL);
    cond_init(&a->came);
    return a;
}

static void take_answer(enum err_code rc, struct str bytes, void *ctx)
{
    struct answer *a = ctx;

    LOCK_SCOPE(&a->lock);
    assert_false(a->is_there);
    a->is_there = true;
    a->rc = rc;
    a->len = bytes.len;
    memcpy(a->bytes, bytes.ptr, bytes.len);
    pthread_cond_signal(&a->came);
}

static void await(struct answer *a)
{
    uint64_t until_ms = clock_mono_ms() + WAIT_MS;

    LOCK_SCOPE(&a->lock);
    while (!a->is_there) {
        if (!cond_wait_until(&a->came, &a->lock, until_ms))
            fail_msg("no answer in time");
    }
}

static void free_answer(struct answer *a)
{
    pthread_cond_destroy(&a->came);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static enum err_code read_ref(struct fixture *f, const struct tree_ref *ref, uint64_t off, size_t n,
                              const char *want, size_t want_len)
{
    struct answer *a = new_answer();
    enum err_code rc;

    text_read(f->text, ref, off, n, take_answer, a);
    await(a);
    rc = a->rc;
    if (!rc) {
        assert_int_equal(a->len, want_len);
        assert_memory_equal(a->bytes, want, want_len);
    }
    free_answer(a);
    return rc;
}

static enum err_code read_text(struct fixture *f, uint64_t off, size_t n)
{
    size_t left = off < f->len ? f->len - (size_t)off : 0;

    return read_ref(f, &f->ref, off, n, f->bytes + (left ? off : 0), n < left ? n : left);
}

static void the_numbers_are_those_of_the_engines_wire(void **state)
{
    (void)state;
    assert_int_equal(TEXT_REQUEST, WIRE_TEXT);
    assert_int_equal(TEXT_END, WIRE_END);
    assert_int_equal(TEXT_DATA, WIRE_TEXT_DATA);
    assert_int_equal(TEXT_ERROR, WIRE_ERROR);
    assert_int_equal(TEXT_ANSWER_MAX, TEXT_DATA_MAX);
}

static void any_range_of_bytes_can_be_read(void **state)
{
    static const struct {
        uint64_t off;
        size_t n;
    } cases[] = {{0, 1},      {0, 131072},    {4096, 131072},    {70000, 10},
                 {131071, 2}, {65535, 65538}, {200000, 1 << 20}, {1, TEXT_MAX}};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(read_text(f, cases[i].off, cases[i].n), ERR_OK);
    for (uint64_t off = 0; off <= f->len + 4096; off += 4096)
        assert_int_equal(read_text(f, off, 4096), ERR_OK);
    assert_int_equal(read_text(f, f->len - 1, 4096), ERR_OK);
    assert_int_equal(read_text(f, f->len, 4096), ERR_OK);
    assert_int_equal(read_text(f, UINT64_MAX - 4096, 4096), ERR_OK);
    assert_int_equal(atomic_load(&f->engine.requests), 4); /* one group is empty */
}

static void every_byte_around_the_seams_is_right(void **state)
{
    struct fixture *f = *state;
    uint64_t seam = 0;

    for (size_t g = 0; g < GROUPS; g++) {
        seam += f->groups[g].text_bytes;
        for (uint64_t off = seam - 3; off < seam + 3; off++) {
            for (size_t n = 1; n < 7; n++)
                assert_int_equal(read_text(f, off, n), ERR_OK);
        }
    }
}

static void a_cache_smaller_than_the_text_gives_the_same_bytes(void **state)
{
    struct fixture *f = *state;

    start_text(f, 65536, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_text(f, 0, TEXT_MAX), ERR_OK);
        assert_int_equal(read_text(f, 100000, 5), ERR_OK);
    }
    assert_true(atomic_load(&f->engine.requests) > 6);
}

static void a_metric_is_read_by_its_rows(void **state)
{
    struct fixture *f = *state;
    struct tree_ref cpu = text_of(f, STREAM_METRICS, "cpu", &f->metrics.id);
    struct tree_ref mem = text_of(f, STREAM_METRICS, "mem", &f->metrics.id);

    assert_int_equal(read_ref(f, &mem, 5, 10000, f->bytes + 1005, 772), ERR_OK);
    assert_int_equal(read_ref(f, &cpu, 150000, 1000, f->bytes + 150000, 1000), ERR_OK);
    assert_int_equal(read_ref(f, &cpu, 199999, 1000, f->bytes + 199999, 1), ERR_OK);
    assert_int_equal(atomic_load(&f->engine.requests), 2);
}

static void many_readers_of_a_piece_ask_for_it_once(void **state)
{
    struct fixture *f = *state;
    struct answer *answers[64];

    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        answers[i] = new_answer();
        text_read(f->text, &f->ref, 100000 + i * 100, 100, take_answer, answers[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        await(answers[i]);
        assert_int_equal(answers[i]->rc, ERR_OK);
        assert_memory_equal(answers[i]->bytes, f->bytes + 100000 + i * 100, 100);
        free_answer(answers[i]);
    }
    assert_int_equal(atomic_load(&f->engine.requests), 1);
}

/* ---- failures ---- */

static void an_engine_that_dies_once_is_asked_again(void **state)
{
    struct fixture *f = *state;

    atomic_store(&f->engine.mood, FAKE_DROPS_ONCE);
    assert_int_equal(read_text(f, 0, 100), ERR_OK);
    assert_int_equal(atomic_load(&f->engine.requests), 2);
}

static void what_an_engine_does_wrong_is_an_error_and_nothing_stays(void **state)
{
    static const enum fake_mood moods[] = {FAKE_DROPS, FAKE_SAYS_MORE, FAKE_SAYS_LESS, FAKE_REFUSES,
                                           FAKE_TALKS_ROT};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(moods); i++) {
        atomic_store(&f->engine.mood, moods[i]);
        assert_int_equal(read_text(f, 70000, 100), ERR_IO);
    }
    atomic_store(&f->engine.mood, FAKE_GOOD);
    assert_int_equal(read_text(f, 70000, 100), ERR_OK);
}

static void an_engine_that_comes_back_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct answer *a = new_answer();

    fake_stop(&f->engine);
    text_read(f->text, &f->ref, 0, 100, take_answer, a);
    fake_start(&f->engine, f->engine.path);
    await(a);
    assert_int_equal(a->rc, ERR_OK);
    assert_memory_equal(a->bytes, f->bytes, 100);
    free_answer(a);
}

static void an_engine_that_says_nothing_is_left_at_the_deadline(void **state)
{
    struct fixture *f = *state;

    start_text(f, 0, 50);
    atomic_store(&f->engine.mood, FAKE_SAYS_NOTHING);
    assert_int_equal(read_text(f, 0, 100), ERR_IO);
    atomic_store(&f->engine.mood, FAKE_GOOD);
    start_text(f, 0, 0);
    assert_int_equal(read_text(f, 0, 100), ERR_OK);
}

static void a_part_that_is_gone_is_stale(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parts_delete(sealed_index(f->store->sealed), &f->part, 1, 1, 0, NULL), ERR_OK);
    assert_int_equal(read_text(f, 0, 100), ERR_STALE);
}

static void too_many_that_wait_are_sent_away_and_a_stop_answers_the_rest(void **state)
{
    struct fixture *f = *state;
    size_t count = TEXT_WAITING_MAX + 10, refused = 0;
    struct answer **answers = calloc(count, sizeof(struct answer *));

    atomic_store(&f->engine.mood, FAKE_SAYS_NOTHING);
    for (size_t i = 0; i < count; i++) {
        answers[i] = new_answer();
        text_read(f->text, &f->ref, i % 2 ? 0 : 100000, 10, take_answer, answers[i]);
    }
    text_stop(f->text);
    f->text = NULL;
    for (size_t i = 0; i < count; i++) {
        assert_true(answers[i]->is_there);
        refused += answers[i]->rc == ERR_AGAIN;
        assert_true(answers[i]->rc == ERR_AGAIN || answers[i]->rc == ERR_IO);
        free_answer(answers[i]);
    }
    assert_int_equal(refused, 10);
    free(answers);
}

/* ---- the cache ---- */

static struct text_held *fill(struct text_cache *c, uint64_t group, uint64_t bytes)
{
    struct tree_unit unit = {.group = group, .bytes = bytes};
    AUTO_FREE char *text = malloc(bytes);
    struct text_held *h;

    memset(text, (int)('a' + group % 26), bytes);
    assert_int_equal(text_cache_begin(c, &unit, &h, NULL), ERR_OK);
    assert_int_equal(text_cache_append(c, h, (struct str){text, bytes}, NULL), ERR_OK);
    assert_int_equal(text_cache_finish(c, h, NULL), ERR_OK);
    return h;
}

static bool has(struct text_cache *c, uint64_t group, uint64_t bytes)
{
    struct tree_unit unit = {.group = group, .bytes = bytes};
    struct text_held *h = text_cache_find(c, &unit);
    char last;

    if (!h)
        return false;
    assert_int_equal(text_cache_read(c, h, bytes - 1, &last, 1, NULL), ERR_OK);
    assert_int_equal(last, 'a' + group % 26);
    text_cache_release(c, h);
    return true;
}

static void the_least_recently_used_goes_first(void **state)
{
    struct text_cache *c;

    (void)state;
    assert_int_equal(text_cache_new(NULL, 4 * 65536, &c, NULL), ERR_OK);
    for (uint64_t g = 0; g < 4; g++)
        text_cache_release(c, fill(c, g, 65536));
    assert_true(has(c, 0, 65536));
    text_cache_release(c, fill(c, 4, 65537)); /* two blocks */
    assert_true(has(c, 0, 65536));
    assert_false(has(c, 1, 65536));
    assert_false(has(c, 2, 65536));
    assert_true(has(c, 3, 65536));
    assert_true(has(c, 4, 65537));
    assert_int_equal(text_cache_used(c), 4 * 65536);
    text_cache_free(c);
}

static void what_is_held_stays_and_the_rest_makes_room(void **state)
{
    struct text_cache *c;
    struct text_held *held;

    (void)state;
    assert_int_equal(text_cache_new(NULL, 2 * 65536, &c, NULL), ERR_OK);
    held = fill(c, 0, 65536);
    for (uint64_t g = 1; g < 50; g++) {
        text_cache_release(c, fill(c, g, 5 * 65536)); /* larger than the cache */
        assert_true(text_cache_used(c) <= 65536);
        assert_true(has(c, 0, 65536));
    }
    text_cache_release(c, held);
    text_cache_free(c);
}

struct full_disk {
    int writes, fails_at; /* the how manieth write finds no room, counted from 1 */
};

static int have_no_room(struct sys_fault *fault, void *ctx)
{
    struct full_disk *d = ctx;
    return strcmp(fault->call, "pwrite") == 0 && ++d->writes == d->fails_at ? ENOSPC : 0;
}

static void a_full_disk_is_made_good_by_memory(void **state)
{
    enum { PIECE = 50000, PIECES = 5 };
    struct full_disk disk = {.fails_at = 3}; /* of the second piece, behind a block's end */
    struct tree_unit unit = {.group = 1, .bytes = PIECES * PIECE};
    struct err e = {0};
    struct text_cache *c;
    struct text_held *h;
    AUTO_FREE char *text = malloc(PIECE), *got = malloc(PIECES * PIECE);

    (void)state;
    assert_int_equal(text_cache_new("/tmp", 65536, &c, NULL), ERR_OK);
    sys_fault_set(have_no_room, &disk);
    assert_int_equal(text_cache_begin(c, &unit, &h, NULL), ERR_OK);
    for (int i = 0; i < PIECES; i++) {
        memset(text, 'a' + i, PIECE);
        assert_int_equal(text_cache_append(c, h, (struct str){text, PIECE}, &e), ERR_OK);
        assert_int_equal(text_cache_used(c), i == 0 ? 4 * 65536 : 0);
    }
    sys_fault_set(NULL, NULL);
    assert_int_equal(text_cache_finish(c, h, NULL), ERR_OK);
    text_cache_release(c, h);
    h = text_cache_find(c, &unit);
    assert_non_null(h);
    assert_int_equal(text_cache_read(c, h, 0, got, PIECES * PIECE, NULL), ERR_OK);
    for (int i = 0; i < PIECES * PIECE; i++)
        assert_int_equal(got[i], 'a' + i / PIECE);
    text_cache_release(c, h);
    text_cache_free(c);
}

/* The first of two large ones goes when nobody holds it; else there is no room for the second. */
static void memory_for_a_full_disk_has_an_end(void **state)
{
    enum { LARGE = 40 << 20 };
    struct err e = {0};
    struct text_cache *c;
    struct text_held *held[2];

    (void)state;
    assert_int_equal(text_cache_new("/tmp", 4 * LARGE, &c, NULL), ERR_OK);
    for (int is_held = 0; is_held < 2; is_held++) {
        for (int i = 0; i < 2; i++) {
            AUTO_FREE char *text = calloc(1, LARGE);
            struct tree_unit unit = {.group = (uint64_t)(2 * is_held + i), .bytes = LARGE};
            struct full_disk disk = {.fails_at = 1};
            sys_fault_set(have_no_room, &disk);
            assert_int_equal(text_cache_begin(c, &unit, &held[i], NULL), ERR_OK);
            enum err_code rc = text_cache_append(c, held[i], (struct str){text, LARGE}, &e);
            assert_int_equal(rc, is_held && i > 0 ? ERR_FULL : ERR_OK);
            sys_fault_set(NULL, NULL);
            if (!rc)
                assert_int_equal(text_cache_finish(c, held[i], NULL), ERR_OK);
            if (!is_held)
                text_cache_release(c, held[i]);
        }
    }
    text_cache_release(c, held[0]);
    text_cache_release(c, held[1]);
    assert_int_equal(text_cache_used(c), 0);
    text_cache_free(c);
}

static void unfinished_text_leaves_nothing(void **state)
{
    struct tree_unit unit = {.bytes = 100};
    struct text_cache *c;
    struct text_held *h;

    (void)state;
    assert_int_equal(text_cache_new(NULL, 65536, &c, NULL), ERR_OK);
    assert_int_equal(text_cache_begin(c, &unit, &h, NULL), ERR_OK);
    assert_int_equal(text_cache_append(c, h, STR("abc"), NULL), ERR_OK);
    assert_int_equal(text_cache_finish(c, h, NULL), ERR_CORRUPT);
    assert_null(text_cache_find(c, &unit));
    text_cache_release(c, h);
    assert_int_equal(text_cache_used(c), 0);
    unit.bytes = TEXT_UNIT_MAX + 1;
    assert_int_equal(text_cache_begin(c, &unit, &h, NULL), ERR_TOOBIG);
    text_cache_free(c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_numbers_are_those_of_the_engines_wire),
        TEST(any_range_of_bytes_can_be_read),
        TEST(every_byte_around_the_seams_is_right),
        TEST(a_cache_smaller_than_the_text_gives_the_same_bytes),
        TEST(a_metric_is_read_by_its_rows),
        TEST(many_readers_of_a_piece_ask_for_it_once),
        TEST(an_engine_that_dies_once_is_asked_again),
        TEST(what_an_engine_does_wrong_is_an_error_and_nothing_stays),
        TEST(an_engine_that_comes_back_is_waited_for),
        TEST(an_engine_that_says_nothing_is_left_at_the_deadline),
        TEST(a_part_that_is_gone_is_stale),
        TEST(too_many_that_wait_are_sent_away_and_a_stop_answers_the_rest),
        cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(what_is_held_stays_and_the_rest_makes_room),
        cmocka_unit_test(a_full_disk_is_made_good_by_memory),
        cmocka_unit_test(memory_for_a_full_disk_has_an_end),
        cmocka_unit_test(unfinished_text_leaves_nothing),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
