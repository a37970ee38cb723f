// links: weir_index
/* The ordered store: revisions, checksums, growth, readers that were killed. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "index/kv.h"
#include "tests/support/scratch.h"

static struct kv *open_store(const char *path, size_t map_bytes, enum kv_access access)
{
    struct kv_options o = {.path = path, .access = access, .map_initial_bytes = map_bytes};
    struct kv *kv = NULL;
    struct err e;

    assert_int_equal(kv_open(&o, &kv, &e), ERR_OK);
    return kv;
}

struct put {
    const char *key;
    struct str value;
    uint64_t if_revision;
};

static enum err_code do_put(struct kv_txn *t, void *ctx, struct err *e)
{
    const struct put *p = ctx;
    return kv_put(t, str_from(p->key), p->value, p->if_revision, e);
}

static enum err_code do_delete(struct kv_txn *t, void *ctx, struct err *e)
{
    return kv_delete(t, str_from(ctx), KV_ANY_REVISION, e);
}

static enum err_code put(struct kv *kv, const char *key, struct str value, uint64_t if_revision)
{
    struct put p = {key, value, if_revision};
    struct err e;
    return kv_update(kv, do_put, &p, &e);
}

static enum err_code get(struct kv *kv, const char *key, char *dst, size_t n, uint64_t *revision)
{
    struct kv_txn *t;
    struct str v;
    struct err e;
    enum err_code rc;

    assert_int_equal(kv_begin(kv, false, &t, &e), ERR_OK);
    rc = kv_get(t, str_from(key), &v, revision, &e);
    if (!rc && dst)
        assert_true(str_copy_to(v, dst, n));
    kv_abort(t);
    return rc;
}

static void what_is_put_is_got_and_survives_a_reopen(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 0, KV_OWNER);
    char value[32];
    uint64_t revision;

    (void)state;
    assert_int_equal(put(kv, "a", STR("one"), KV_ANY_REVISION), ERR_OK);
    assert_int_equal(put(kv, "a", STR("two"), KV_ANY_REVISION), ERR_OK);
    kv_close(kv);
    kv = open_store(dir.path, 0, KV_READER);
    assert_int_equal(get(kv, "a", value, sizeof value, &revision), ERR_OK);
    assert_string_equal(value, "two");
    assert_int_equal(revision, 2);
    assert_int_equal(get(kv, "b", value, sizeof value, NULL), ERR_NOTFOUND);
    assert_int_equal(put(kv, "a", STR("x"), KV_ANY_REVISION), ERR_READONLY);
    kv_close(kv);
}

static void a_put_with_an_old_revision_is_refused(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 0, KV_OWNER);
    char value[32];
    uint64_t revision;

    (void)state;
    assert_int_equal(put(kv, "a", STR("one"), 0), ERR_OK);
    assert_int_equal(put(kv, "a", STR("two"), 0), ERR_EXISTS);
    assert_int_equal(get(kv, "a", value, sizeof value, &revision), ERR_OK);
    assert_int_equal(put(kv, "a", STR("two"), revision), ERR_OK);
    assert_int_equal(put(kv, "a", STR("three"), revision), ERR_EXISTS);
    assert_int_equal(get(kv, "a", value, sizeof value, &revision), ERR_OK);
    assert_string_equal(value, "two");
    kv_close(kv);
}

static enum err_code put_then_fail(struct kv_txn *t, void *ctx, struct err *e)
{
    (void)ctx;
    assert_int_equal(kv_put(t, STR("half"), STR("done"), KV_ANY_REVISION, e), ERR_OK);
    return err_set(e, ERR_INVALID, "changed my mind");
}

static void a_failed_update_leaves_nothing(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 0, KV_OWNER);
    char value[32];
    struct err e;

    (void)state;
    assert_int_equal(kv_update(kv, put_then_fail, NULL, &e), ERR_INVALID);
    assert_int_equal(get(kv, "half", value, sizeof value, NULL), ERR_NOTFOUND);
    kv_close(kv);
}

static bool count_keys(struct str key, struct str value, uint64_t revision, void *ctx)
{
    (void)key;
    (void)value;
    (void)revision;
    return ++*(int *)ctx < 3;
}

static void listing_keeps_to_prefix_and_start(void **state)
{
    static const char *const keys[] = {"a/1", "b/1", "b/2", "b/3", "b/4", "c/1"};
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 0, KV_OWNER);
    struct kv_txn *t;
    struct err e;
    int n = 0;

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        assert_int_equal(put(kv, keys[i], STR("v"), KV_ANY_REVISION), ERR_OK);
    assert_int_equal(kv_begin(kv, false, &t, &e), ERR_OK);
    assert_int_equal(kv_list(t, STR("b/"), STR("b/3"), count_keys, &n, &e), ERR_OK);
    assert_int_equal(n, 2);
    n = 0;
    assert_int_equal(kv_list(t, STR("b/"), STR(""), count_keys, &n, &e), ERR_OK);
    assert_int_equal(n, 3); /* the visitor said enough */
    kv_abort(t);
    kv_close(kv);
}

static void the_map_grows_under_a_writer_and_a_reader_of_another_process_follows(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 1 << 20, KV_OWNER);
    static char big[200000];
    char key[16];
    int ready[2], status;
    pid_t reader;

    (void)state;
    memset(big, 'x', sizeof big);
    assert_int_equal(put(kv, "first", STR("v"), KV_ANY_REVISION), ERR_OK);
    kv_close(kv); /* LMDB environments do not cross a fork */
    assert_int_equal(pipe(ready), 0);
    reader = fork();
    if (reader == 0) {
        struct kv *mine = open_store(dir.path, 1 << 20, KV_READER);
        char value[8], byte;
        bool ok = get(mine, "first", value, sizeof value, NULL) == ERR_OK;
        ok = ok && read(ready[0], &byte, 1) == 1; /* the writer has outgrown our map */
        ok = ok && get(mine, "last", value, sizeof value, NULL) == ERR_OK;
        kv_close(mine);
        _exit(ok ? 0 : 1);
    }
    kv = open_store(dir.path, 1 << 20, KV_OWNER);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "big%d", i);
        assert_int_equal(put(kv, key, (struct str){big, sizeof big}, KV_ANY_REVISION), ERR_OK);
    }
    assert_int_equal(put(kv, "last", STR("v"), KV_ANY_REVISION), ERR_OK);
    assert_int_equal(write(ready[1], "x", 1), 1);
    assert_int_equal(waitpid(reader, &status, 0), reader);
    assert_int_equal(status, 0);
    close(ready[0]);
    close(ready[1]);
    kv_close(kv);
}

static void a_killed_reader_does_not_make_the_store_grow(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 4 << 20, KV_OWNER);
    static char value[20000];
    struct kv_stats before, after;
    int ready[2], go[2], status;
    char key[16], byte;
    struct err e;
    pid_t reader;

    (void)state;
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(put(kv, key, (struct str){value, sizeof value}, KV_ANY_REVISION), ERR_OK);
    }
    kv_close(kv);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    reader = fork(); /* before our store is open: LMDB environments do not cross a fork */
    if (reader == 0) {
        struct kv_txn *t;
        bool ok = read(go[0], &byte, 1) == 1;
        struct kv *mine = open_store(dir.path, 4 << 20, KV_READER);
        ok = ok && kv_begin(mine, false, &t, &e) == ERR_OK && write(ready[1], "x", 1) == 1;
        for (;;)
            pause();
        _exit(ok);
    }
    kv = open_store(dir.path, 4 << 20, KV_OWNER);
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    kill(reader, SIGKILL);
    waitpid(reader, &status, 0);
    assert_int_equal(kv_stats(kv, &before, &e), ERR_OK);
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "k%d", i % 20);
        assert_int_equal(put(kv, key, (struct str){value, sizeof value}, KV_ANY_REVISION), ERR_OK);
    }
    assert_int_equal(kv_stats(kv, &after, &e), ERR_OK);
    assert_true(after.used_bytes <= before.used_bytes * 2);
    assert_int_equal(after.map_bytes, before.map_bytes);
    assert_true(after.stale_readers_cleared >= 1);
    close(ready[0]);
    close(ready[1]);
    close(go[0]);
    close(go[1]);
    kv_close(kv);
}

static void a_writer_killed_in_a_transaction_leaves_the_last_commit(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 0, KV_OWNER);
    char value[32], byte;
    int ready[2], status;
    struct err e;
    pid_t writer;

    (void)state;
    assert_int_equal(put(kv, "a", STR("kept"), 0), ERR_OK);
    kv_close(kv);
    assert_int_equal(pipe(ready), 0);
    writer = fork();
    if (writer == 0) {
        struct put p = {"a", STR("lost"), KV_ANY_REVISION};
        struct kv *mine = open_store(dir.path, 0, KV_OWNER);
        struct kv_txn *t;
        if (kv_begin(mine, true, &t, &e) || do_put(t, &p, &e) || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1); /* it holds the write lock */
    kv = open_store(dir.path, 0, KV_READER);
    assert_int_equal(get(kv, "a", value, sizeof value, NULL), ERR_OK); /* readers do not wait */
    kv_close(kv);
    kill(writer, SIGKILL);
    waitpid(writer, &status, 0);
    kv = open_store(dir.path, 0, KV_OWNER);
    assert_int_equal(get(kv, "a", value, sizeof value, NULL), ERR_OK);
    assert_string_equal(value, "kept");
    assert_int_equal(put(kv, "a", STR("new"), 1), ERR_OK);
    close(ready[0]);
    kv_close(kv);
}

static void a_flipped_byte_is_never_returned(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 0, KV_OWNER);
    char path[128], value[64], *file, *at;
    struct stat st;
    int fd;

    (void)state;
    assert_int_equal(put(kv, "a", STR("needle-in-the-store"), KV_ANY_REVISION), ERR_OK);
    kv_close(kv);
    snprintf(path, sizeof path, "%s/data.mdb", dir.path);
    fd = open(path, O_RDWR);
    assert_int_equal(fstat(fd, &st), 0);
    file = malloc((size_t)st.st_size);
    assert_int_equal(read(fd, file, (size_t)st.st_size), st.st_size);
    at = memmem(file, (size_t)st.st_size, "needle-in", 9);
    assert_non_null(at);
    assert_int_equal(pwrite(fd, "N", 1, at - file), 1);
    close(fd);
    free(file);
    kv = open_store(dir.path, 0, KV_OWNER);
    assert_int_equal(get(kv, "a", value, sizeof value, NULL), ERR_CORRUPT);
    kv_close(kv);
}

static void keys_have_limits(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 0, KV_OWNER);
    char key[KV_KEY_MAX + 2];

    (void)state;
    memset(key, 'k', sizeof key);
    key[KV_KEY_MAX + 1] = '\0';
    assert_int_equal(put(kv, key, STR("v"), KV_ANY_REVISION), ERR_INVALID);
    key[KV_KEY_MAX] = '\0';
    assert_int_equal(put(kv, key, STR("v"), KV_ANY_REVISION), ERR_OK);
    assert_int_equal(put(kv, "", STR("v"), KV_ANY_REVISION), ERR_INVALID);
    kv_close(kv);
}

static void a_store_at_its_maximum_refuses_and_takes_deletions(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv_options o = {
        .path = dir.path, .map_initial_bytes = 1 << 20, .map_max_bytes = 3 << 20};
    static char big[100000];
    struct kv_stats stats;
    struct kv *kv;
    char key[16];
    struct err e;
    int n = 0;

    (void)state;
    assert_int_equal(kv_open(&o, &kv, &e), ERR_OK);
    for (;; n++) {
        enum err_code rc;
        snprintf(key, sizeof key, "k%d", n);
        rc = put(kv, key, (struct str){big, sizeof big}, 0);
        if (rc) {
            assert_int_equal(rc, ERR_FULL);
            break;
        }
        assert_true(n < 30);
    }
    assert_true(n > 20); /* it grew to the maximum, though that is no double of the start */
    assert_int_equal(kv_stats(kv, &stats, &e), ERR_OK);
    assert_int_equal(stats.map_bytes, 3 << 20);
    assert_int_equal(stats.entries, n);
    assert_int_equal(put(kv, key, (struct str){big, sizeof big}, 0), ERR_FULL);
    for (int i = 0; i < n / 2; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(kv_update(kv, do_delete, key, &e), ERR_OK);
    }
    assert_int_equal(put(kv, key, (struct str){big, sizeof big}, 0), ERR_OK);
    kv_close(kv);
}

static void the_largest_value_comes_back(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 1 << 20, KV_OWNER);
    char *big = calloc(1, KV_VALUE_MAX + 1), *copy = malloc(KV_VALUE_MAX + 1);

    (void)state;
    big[KV_VALUE_MAX - 1] = 'z';
    assert_int_equal(put(kv, "big", (struct str){big, KV_VALUE_MAX}, 0), ERR_OK);
    assert_int_equal(get(kv, "big", copy, KV_VALUE_MAX + 1, NULL), ERR_OK);
    assert_memory_equal(copy, big, KV_VALUE_MAX);
    assert_int_equal(put(kv, "more", (struct str){big, KV_VALUE_MAX + 1}, 0), ERR_TOOBIG);
    assert_int_equal(put(kv, "none", STR(""), 0), ERR_OK);
    assert_int_equal(get(kv, "none", copy, 1, NULL), ERR_OK);
    free(big);
    free(copy);
    kv_close(kv);
}

enum { RACERS = 4, RACES = 50 };

struct race {
    struct kv *kv;
    atomic_int failed;
};

/* Adds 1 to the counter RACES times, each by compare and swap. */
static void *count_up(void *arg)
{
    struct race *r = arg;
    char text[32];
    uint64_t revision;

    for (int won = 0; won < RACES;) {
        enum err_code rc = get(r->kv, "counter", text, sizeof text, &revision);
        if (rc)
            break;
        snprintf(text, sizeof text, "%d", atoi(text) + 1);
        rc = put(r->kv, "counter", str_from(text), revision);
        won += rc == ERR_OK;
        if (rc && rc != ERR_EXISTS)
            atomic_fetch_add(&r->failed, 1);
    }
    return NULL;
}

static void of_threads_that_race_for_a_revision_one_wins(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct race race = {.kv = open_store(dir.path, 0, KV_OWNER)};
    pthread_t threads[RACERS];
    char text[32];

    (void)state;
    assert_int_equal(put(race.kv, "counter", STR("0"), 0), ERR_OK);
    for (int i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, &race), 0);
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&race.failed), 0);
    assert_int_equal(get(race.kv, "counter", text, sizeof text, NULL), ERR_OK);
    assert_int_equal(atoi(text), RACERS * RACES);
    kv_close(race.kv);
}

static void *fill(void *arg)
{
    static atomic_int next;
    static char big[50000];
    struct race *r = arg;
    char key[16];

    for (int i = 0; i < RACES; i++) {
        snprintf(key, sizeof key, "k%d", atomic_fetch_add(&next, 1));
        if (put(r->kv, key, (struct str){big, sizeof big}, 0))
            atomic_fetch_add(&r->failed, 1);
        if (get(r->kv, key, NULL, 0, NULL))
            atomic_fetch_add(&r->failed, 1);
    }
    return NULL;
}

static void writers_and_readers_outlive_growth_of_the_map(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct race race = {.kv = open_store(dir.path, 1 << 18, KV_OWNER)};
    pthread_t threads[RACERS];
    struct kv_stats stats;
    struct err e;

    (void)state;
    for (int i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fill, &race), 0);
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&race.failed), 0);
    assert_int_equal(kv_stats(race.kv, &stats, &e), ERR_OK);
    assert_int_equal(stats.entries, RACERS * RACES);
    assert_true(stats.map_bytes >= RACERS * RACES * 50000);
    kv_close(race.kv);
}

static void note_revision(uint64_t revision, void *ctx)
{
    *(uint64_t *)ctx = revision;
}

static void a_watcher_is_shown_what_changed_since_it_looked(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 0, KV_OWNER);
    uint64_t told = 0, before;
    struct kv_txn *t;
    struct err e;
    int n = 0;

    (void)state;
    kv_on_commit(kv, note_revision, &told);
    put(kv, "w/a", STR("1"), 0);
    put(kv, "w/b", STR("1"), 0);
    before = told;
    assert_int_equal(before, 2);
    put(kv, "w/a", STR("2"), KV_ANY_REVISION);
    put(kv, "other", STR("1"), 0);
    assert_int_equal(kv_begin(kv, false, &t, &e), ERR_OK);
    assert_int_equal(kv_revision(t), told);
    assert_int_equal(kv_changed_since(t, STR("w/"), before, count_keys, &n, &e), ERR_OK);
    assert_int_equal(n, 1);
    assert_int_equal(kv_changed_since(t, STR("w/"), told, count_keys, &n, &e), ERR_OK);
    assert_int_equal(n, 1);
    kv_abort(t);
    kv_close(kv);
}

static void a_deletion_holds_to_the_revision(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 0, KV_OWNER);
    struct kv_txn *t;
    struct err e;

    (void)state;
    put(kv, "a", STR("1"), 0);
    assert_int_equal(kv_begin(kv, true, &t, &e), ERR_OK);
    assert_int_equal(kv_delete(t, STR("a"), 7, &e), ERR_EXISTS);
    assert_int_equal(kv_delete(t, STR("b"), KV_ANY_REVISION, &e), ERR_NOTFOUND);
    assert_int_equal(kv_revision(t), 1); /* nothing changed yet */
    assert_int_equal(kv_delete(t, STR("a"), 1, &e), ERR_OK);
    assert_int_equal(kv_commit(t, &e), ERR_OK);
    assert_int_equal(get(kv, "a", NULL, 0, NULL), ERR_NOTFOUND);
    assert_int_equal(put(kv, "a", STR("2"), 1), ERR_EXISTS);
    assert_int_equal(put(kv, "a", STR("2"), 0), ERR_OK);
    kv_close(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_got_and_survives_a_reopen),
        cmocka_unit_test(a_put_with_an_old_revision_is_refused),
        cmocka_unit_test(a_failed_update_leaves_nothing),
        cmocka_unit_test(listing_keeps_to_prefix_and_start),
        cmocka_unit_test(the_map_grows_under_a_writer_and_a_reader_of_another_process_follows),
        cmocka_unit_test(a_killed_reader_does_not_make_the_store_grow),
        cmocka_unit_test(a_writer_killed_in_a_transaction_leaves_the_last_commit),
        cmocka_unit_test(a_flipped_byte_is_never_returned),
        cmocka_unit_test(keys_have_limits),
        cmocka_unit_test(a_store_at_its_maximum_refuses_and_takes_deletions),
        cmocka_unit_test(the_largest_value_comes_back),
        cmocka_unit_test(of_threads_that_race_for_a_revision_one_wins),
        cmocka_unit_test(writers_and_readers_outlive_growth_of_the_map),
        cmocka_unit_test(a_watcher_is_shown_what_changed_since_it_looked),
        cmocka_unit_test(a_deletion_holds_to_the_revision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
