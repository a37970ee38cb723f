// links: weir_index
/* The ordered store: revisions, checksums, growth, readers that were killed. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "index/kv.h"
#include "tests/support/scratch.h"

static struct kv *open_store(const char *path, size_t map_bytes, bool read_only)
{
    struct kv_options o = {.path = path, .read_only = read_only, .map_initial_bytes = map_bytes};
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
    if (!rc)
        assert_true(str_copy_to(v, dst, n));
    kv_abort(t);
    return rc;
}

static void what_is_put_is_got_and_survives_a_reopen(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 0, false);
    char value[32];
    uint64_t revision;

    (void)state;
    assert_int_equal(put(kv, "a", STR("one"), KV_ANY_REVISION), ERR_OK);
    assert_int_equal(put(kv, "a", STR("two"), KV_ANY_REVISION), ERR_OK);
    kv_close(kv);
    kv = open_store(dir.path, 0, true);
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
    struct kv *kv = open_store(dir.path, 0, false);
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
    struct kv *kv = open_store(dir.path, 0, false);
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
    struct kv *kv = open_store(dir.path, 0, false);
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
    struct kv *kv = open_store(dir.path, 1 << 20, false);
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
        struct kv *mine = open_store(dir.path, 1 << 20, true);
        char value[8], byte;
        bool ok = get(mine, "first", value, sizeof value, NULL) == ERR_OK;
        ok = ok && read(ready[0], &byte, 1) == 1; /* the writer has outgrown our map */
        ok = ok && get(mine, "last", value, sizeof value, NULL) == ERR_OK;
        kv_close(mine);
        _exit(ok ? 0 : 1);
    }
    kv = open_store(dir.path, 1 << 20, false);
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
    struct kv *kv = open_store(dir.path, 4 << 20, false);
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
        struct kv *mine = open_store(dir.path, 4 << 20, true);
        ok = ok && kv_begin(mine, false, &t, &e) == ERR_OK && write(ready[1], "x", 1) == 1;
        for (;;)
            pause();
        _exit(ok);
    }
    kv = open_store(dir.path, 4 << 20, false);
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    kill(reader, SIGKILL);
    waitpid(reader, &status, 0);
    assert_int_equal(kv_stats(kv, &before, &e), ERR_OK);
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "k%d", i % 20);
        assert_int_equal(put(kv, key, (struct str){value, sizeof value}, KV_ANY_REVISION), ERR_OK);
    }
    assert_int_equal(kv_stats(kv, &after, &e), ERR_OK);
    assert_true(after.used_bytes <= before.used_bytes * 2);
    assert_true(after.stale_readers_cleared >= 1);
    close(ready[0]);
    close(ready[1]);
    close(go[0]);
    close(go[1]);
    kv_close(kv);
}

static void a_flipped_byte_is_never_returned(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 0, false);
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
    kv = open_store(dir.path, 0, false);
    assert_int_equal(get(kv, "a", value, sizeof value, NULL), ERR_CORRUPT);
    kv_close(kv);
}

static void keys_have_limits(void **state)
{
    AUTO_SCRATCH struct scratch dir = scratch_make();
    struct kv *kv = open_store(dir.path, 0, false);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_got_and_survives_a_reopen),
        cmocka_unit_test(a_put_with_an_old_revision_is_refused),
        cmocka_unit_test(a_failed_update_leaves_nothing),
        cmocka_unit_test(listing_keeps_to_prefix_and_start),
        cmocka_unit_test(the_map_grows_under_a_writer_and_a_reader_of_another_process_follows),
        cmocka_unit_test(a_killed_reader_does_not_make_the_store_grow),
        cmocka_unit_test(a_flipped_byte_is_never_returned),
        cmocka_unit_test(keys_have_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
