// links: weir_gateway weir_fs weir_index
/* Batches through commit files: cut into parts, numbered, and sent again after failures. */
#include "tests/support/commit_files.h"

#include <errno.h>
#include <pthread.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "gateway/commit.h"

enum { LONGEST_LINE = 1000 };

static struct commit_pool *open_pool(const struct commit_dir *d, unsigned workers)
{
    struct commit_config cfg = {
        .mount_dir = d->path, .epoch = 7, .workers = workers, .wait_ms = 50, .retry_ms = 5000};
    struct commit_pool *p;
    struct err e;
    assert_int_equal(commit_pool_open(&cfg, &p, &e), ERR_OK);
    return p;
}

/* Lines of many lengths; the caller frees. */
static struct buf make_lines(size_t bytes, unsigned seed, uint32_t *count)
{
    struct buf b;
    buf_init(&b, bytes + LONGEST_LINE + 64);
    for (*count = 0; b.len < bytes; (*count)++) {
        int len = rand_r(&seed) % LONGEST_LINE;
        buf_printf(&b, "{\"_timestamp\":%u,\"x\":\"%0*d\"}\n", *count, len + 1, 5);
    }
    return b;
}

static struct batch_run run_of(const struct buf *lines, uint32_t count, int32_t hour)
{
    return (struct batch_run){.stream = 42,
                              .type = STREAM_LOGS,
                              .org = STR("default"),
                              .name = STR("app"),
                              .hour = hour,
                              .lines = count,
                              .min_ts_us = 1,
                              .max_ts_us = 9,
                              .bytes = buf_str(lines)};
}

static enum err_code store(struct commit_pool *p, const struct batch_run *runs, size_t count,
                           struct err *e)
{
    struct commit *c;
    assert_int_equal(commit_begin(p, NULL, &c, e), ERR_OK);
    for (size_t i = 0; i < count; i++) {
        struct batch_run run = runs[i];
        assert_int_equal(commit_add(c, &run, e), ERR_OK);
        assert_int_equal(run.bytes.len, 0);
    }
    return commit_finish(c, e);
}

static void what_was_added_is_what_is_stored(void **state)
{
    static const size_t sizes[] = {1, 1000, 1 << 20, 3 << 20, 15 << 20};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct commit_dir d;
        struct stored s;
        struct err e;
        uint32_t count, small_count, stored_lines = 0;
        commit_dir_make(&d, 1);
        struct commit_pool *p = open_pool(&d, 1);
        struct buf lines = make_lines(sizes[i], 1, &count), small = make_lines(10, 2, &small_count);
        struct batch_run runs[] = {run_of(&small, small_count, 9), run_of(&lines, count, 10)};
        assert_int_equal(store(p, runs, 2, &e), ERR_OK);
        stored_init(&s);
        stored_read(&d, 0, &s);
        assert_int_equal(s.batches, 1);
        assert_int_equal(s.lines.len, small.len + lines.len);
        assert_memory_equal(s.lines.data, small.data, small.len);
        assert_memory_equal(s.lines.data + small.len, lines.data, lines.len);
        for (size_t k = 0; k < s.run_count; k++) {
            assert_int_equal(s.runs[k].id.epoch, 7);
            assert_int_equal(s.runs[k].id.number, 1);
            assert_int_equal(s.runs[k].hour, k ? 10 : 9);
            stored_lines += s.runs[k].lines;
        }
        assert_int_equal(stored_lines, small_count + count);
        commit_pool_close(p);
        stored_done(&s);
        buf_done(&lines);
        buf_done(&small);
        commit_dir_remove(&d);
    }
}

static void a_batch_takes_what_fits_and_leaves_the_rest(void **state)
{
    struct commit_dir d;
    struct stored s;
    struct err e;
    struct commit *c;
    uint32_t count, stored_lines = 0;
    (void)state;
    commit_dir_make(&d, 1);
    struct commit_pool *p = open_pool(&d, 1);
    struct buf lines = make_lines(30 << 20, 1, &count);
    struct batch_run run = run_of(&lines, count, 1);
    assert_int_equal(commit_begin(p, NULL, &c, &e), ERR_OK);
    assert_int_equal(commit_add(c, &run, &e), ERR_OK);
    assert_in_range(run.bytes.len, 1, lines.len - (16 << 20));
    assert_memory_equal(run.bytes.ptr - 1, "\n{", 2);
    assert_int_equal(commit_add(c, &run, &e), ERR_TOOBIG);
    assert_int_equal(commit_finish(c, &e), ERR_OK);
    assert_int_equal(commit_begin(p, NULL, &c, &e), ERR_OK);
    assert_int_equal(commit_add(c, &run, &e), ERR_OK);
    assert_int_equal(run.bytes.len, 0);
    assert_int_equal(run.lines, 0);
    assert_int_equal(commit_finish(c, &e), ERR_OK);
    stored_init(&s);
    stored_read(&d, 0, &s);
    assert_int_equal(s.batches, 2);
    assert_int_equal(s.lines.len, lines.len);
    assert_memory_equal(s.lines.data, lines.data, lines.len);
    for (size_t k = 0; k < s.run_count; k++)
        stored_lines += s.runs[k].lines;
    assert_int_equal(stored_lines, count);
    commit_pool_close(p);
    stored_done(&s);
    buf_done(&lines);
    commit_dir_remove(&d);
}

static void the_longest_line_fits_and_a_longer_one_is_refused(void **state)
{
    struct commit_dir d;
    struct err e;
    struct commit *c;
    struct buf line;
    (void)state;
    commit_dir_make(&d, 1);
    struct commit_pool *p = open_pool(&d, 1);
    buf_init(&line, 2 << 20);
    while (line.len < commit_line_max() - 1)
        buf_add_char(&line, 'x');
    buf_add_char(&line, '\n');
    struct batch_run run = run_of(&line, 1, 1);
    char name[NAME_MAX_BYTES];
    memset(name, 'n', sizeof name);
    run.org = run.name = (struct str){name, sizeof name};
    assert_int_equal(commit_begin(p, NULL, &c, &e), ERR_OK);
    struct batch_run longer = run;
    assert_int_equal(commit_add(c, &run, &e), ERR_OK);
    buf_clear(&line);
    while (line.len < commit_line_max())
        buf_add_char(&line, 'x');
    buf_add_char(&line, '\n');
    longer.bytes = buf_str(&line);
    assert_int_equal(commit_add(c, &longer, &e), ERR_TOOBIG);
    commit_abort(c);
    commit_pool_close(p);
    buf_done(&line);
    commit_dir_remove(&d);
}

static void an_aborted_batch_stores_nothing_and_takes_no_number(void **state)
{
    struct commit_dir d;
    struct stored s;
    struct err e;
    struct commit *c;
    uint32_t count;
    (void)state;
    commit_dir_make(&d, 1);
    struct commit_pool *p = open_pool(&d, 1);
    struct buf lines = make_lines(100, 1, &count);
    struct batch_run run = run_of(&lines, count, 1);
    assert_int_equal(commit_begin(p, NULL, &c, &e), ERR_OK);
    struct batch_run added = run;
    assert_int_equal(commit_add(c, &added, &e), ERR_OK);
    commit_abort(c);
    commit_abort(NULL);
    assert_int_equal(store(p, &run, 1, &e), ERR_OK);
    stored_init(&s);
    stored_read(&d, 0, &s);
    assert_int_equal(s.batches, 1);
    assert_int_equal(s.runs[0].id.number, 1);
    commit_pool_close(p);
    stored_done(&s);
    buf_done(&lines);
    commit_dir_remove(&d);
}

/* The call numbered `number` fails with `sys`, once. */
struct one_fault {
    uint64_t number;
    int sys;
    size_t short_bytes;
    bool hit;
};

static int fail_once(struct sys_fault *f, void *ctx)
{
    struct one_fault *fault = ctx;
    if (f->number != fault->number || fault->hit)
        return 0;
    fault->hit = true;
    f->short_bytes = fault->short_bytes;
    return fault->sys;
}

/* For n = 1, 2, … the n-th system call of a batch of several parts fails: it is stored once, whole.
 */
static void a_batch_survives_any_one_failure(void **state)
{
    static const int codes[] = {EIO, ENOTCONN, EAGAIN, ENODEV, ECONNABORTED};
    uint32_t count;
    (void)state;
    struct buf lines = make_lines(3 << 20, 3, &count);
    for (size_t k = 0; k < ARRAY_LEN(codes); k++) {
        struct one_fault fault = {.sys = codes[k], .hit = true};
        for (fault.number = 0; fault.hit; fault.number++) {
            struct commit_dir d;
            struct stored s;
            struct err e;
            commit_dir_make(&d, 1);
            struct commit_pool *p = open_pool(&d, 1);
            struct batch_run run = run_of(&lines, count, 1);
            fault.hit = false;
            sys_fault_set(fail_once, &fault);
            if (store(p, &run, 1, &e))
                fail_msg("%s", e.msg);
            sys_fault_set(NULL, NULL);
            stored_init(&s);
            stored_read(&d, 0, &s);
            assert_int_equal(s.batches, 1);
            assert_int_equal(s.lines.len, lines.len);
            assert_memory_equal(s.lines.data, lines.data, lines.len);
            commit_pool_close(p);
            stored_done(&s);
            commit_dir_remove(&d);
        }
        assert_true(fault.number >= 5); /* an open and four parts */
    }
    buf_done(&lines);
}

static int fail_always(struct sys_fault *f, void *ctx)
{
    return strcmp(f->call, "write") == 0 ? *(int *)ctx : 0;
}

static void what_does_not_pass_has_its_code(void **state)
{
    static const struct {
        int sys;
        enum err_code code;
    } cases[] = {{ENOSPC, ERR_FULL}, {EIO, ERR_AGAIN}, {EAGAIN, ERR_AGAIN}, {EINVAL, ERR_IO}};
    uint32_t count;
    (void)state;
    struct buf lines = make_lines(100, 3, &count);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct commit_dir d;
        struct err e;
        int sys = cases[i].sys;
        commit_dir_make(&d, 1);
        struct commit_config cfg = {
            .mount_dir = d.path, .epoch = 1, .workers = 1, .wait_ms = 10, .retry_ms = 30};
        struct commit_pool *p;
        struct batch_run run = run_of(&lines, count, 1);
        assert_int_equal(commit_pool_open(&cfg, &p, &e), ERR_OK);
        sys_fault_set(fail_always, &sys);
        assert_int_equal(store(p, &run, 1, &e), cases[i].code);
        sys_fault_set(NULL, NULL);
        assert_int_equal(store(p, &run, 1, &e), ERR_OK); /* the worker is free again */
        commit_pool_close(p);
        commit_dir_remove(&d);
    }
    buf_done(&lines);
}

static void without_a_mount_a_batch_is_refused_for_now(void **state)
{
    struct commit_config cfg = {
        .mount_dir = "/nonexistent", .epoch = 1, .workers = 1, .wait_ms = 10, .retry_ms = 30};
    struct commit_pool *p;
    struct err e;
    uint32_t count;
    (void)state;
    struct buf lines = make_lines(100, 3, &count);
    struct batch_run run = run_of(&lines, count, 1);
    assert_int_equal(commit_pool_open(&cfg, &p, &e), ERR_OK);
    assert_int_equal(store(p, &run, 1, &e), ERR_AGAIN);
    commit_pool_close(p);
    buf_done(&lines);
}

static void a_busy_pool_says_so(void **state)
{
    struct commit_dir d;
    struct err e;
    struct commit *a, *b;
    (void)state;
    commit_dir_make(&d, 1);
    struct commit_pool *p = open_pool(&d, 1);
    assert_int_equal(commit_begin(p, NULL, &a, &e), ERR_OK);
    assert_int_equal(commit_begin(p, NULL, &b, &e), ERR_AGAIN);
    commit_abort(a);
    assert_int_equal(commit_begin(p, NULL, &b, &e), ERR_OK);
    assert_int_equal(commit_finish(b, &e), ERR_OK); /* an empty one is fine */
    commit_pool_close(p);
    commit_dir_remove(&d);
}

enum { THREADS = 6, BATCHES = 40 };

static void *store_many(void *ctx)
{
    uint32_t count;
    struct buf lines = make_lines(2000, 5, &count);
    for (int i = 0; i < BATCHES; i++) {
        struct batch_run run = run_of(&lines, count, 1);
        struct err e;
        struct commit *c;
        while (commit_begin(ctx, NULL, &c, &e) == ERR_AGAIN)
            ;
        if (commit_add(c, &run, &e) || commit_finish(c, &e))
            return "failed";
    }
    buf_done(&lines);
    return NULL;
}

static void threads_share_the_workers(void **state)
{
    struct commit_dir d;
    struct stored s;
    pthread_t threads[THREADS];
    (void)state;
    commit_dir_make(&d, 2);
    struct commit_pool *p = open_pool(&d, 2);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, store_many, p), 0);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    stored_init(&s);
    stored_read(&d, 0, &s);
    stored_read(&d, 1, &s);
    assert_int_equal(s.batches, THREADS * BATCHES);
    assert_int_equal(s.dropped_parts, 0);
    commit_pool_close(p);
    stored_done(&s);
    commit_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_what_is_stored),
        cmocka_unit_test(a_batch_takes_what_fits_and_leaves_the_rest),
        cmocka_unit_test(the_longest_line_fits_and_a_longer_one_is_refused),
        cmocka_unit_test(an_aborted_batch_stores_nothing_and_takes_no_number),
        cmocka_unit_test(a_batch_survives_any_one_failure),
        cmocka_unit_test(what_does_not_pass_has_its_code),
        cmocka_unit_test(without_a_mount_a_batch_is_refused_for_now),
        cmocka_unit_test(a_busy_pool_says_so),
        cmocka_unit_test(threads_share_the_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
