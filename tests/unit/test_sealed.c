// links: weir_fs weir_index
/* Sealed parts: published once and for good, whatever fails in between and whenever it ends. */
#include "tests/support/sealed_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "base/sys.h"
#include "fs/sealed/internal.h"
#include "fs/tree/open_parts.h"

#define HOUR 490000
#define SWEEP_MAX 400

static int set_up(void **state)
{
    struct store *s = store_make();

    store_open(s);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    store_remove(*state);
    return 0;
}

static void path_of(const struct store *s, const char *dir, const struct part *p,
                    const char *suffix, char dst[STORE_PATH_MAX * 2])
{
    char id[ULID_TEXT_LEN + 1];

    ulid_format(&p->id, id);
    snprintf(dst, STORE_PATH_MAX * 2, "%s/%s/%s%s", s->data, dir, id, suffix);
}

static bool is_in(const struct store *s, const char *dir, const struct part *p, const char *suffix)
{
    char path[STORE_PATH_MAX * 2];

    path_of(s, dir, p, suffix, path);
    return access(path, F_OK) == 0;
}

#define PLACE "sealed/2025112416" /* HOUR */

/* Three lines of a log stream, closed and staged. */
static void make_logs(struct store *s, struct staged *st)
{
    struct journal_file f;

    store_append(s, STREAM_LOGS, 1, "app", HOUR, 3);
    f = store_roll(s, 1, HOUR);
    store_stage(s, st, &f);
}

/* Two metrics of one hour, closed and staged. */
static void make_metrics(struct store *s, struct staged *st)
{
    struct journal_file f[2];

    store_append(s, STREAM_METRICS, 11, "cpu", HOUR, 2);
    store_append(s, STREAM_METRICS, 12, "mem", HOUR, 5);
    f[0] = store_roll(s, 11, HOUR);
    f[1] = store_roll(s, 12, HOUR);
    store_stage_metrics(s, st, f, 2);
}

/* ---- the way of a part ---- */

static void a_published_part_replaces_its_file(void **state)
{
    struct store *s = *state;
    struct staged st;
    struct arena a;
    struct part found;
    struct part_column *columns;
    size_t count;
    int fd = -1;

    make_logs(s, &st);
    assert_seen(s, 1, 3, 1, 0);
    assert_int_equal(store_publish(s, &st), ERR_OK);
    assert_seen(s, 1, 3, 0, 1);
    arena_init(&a, 1u << 20);
    assert_int_equal(parts_find(sealed_index(s->sealed), &st.part.id, &a, &found, &s->e), ERR_OK);
    assert_true(found.state == PART_SEALED && str_eq(found.node, STR("node-1")));
    assert_int_equal(
        parts_schema_get(sealed_index(s->sealed), found.schema, &a, &columns, &count, &s->e),
        ERR_OK);
    assert_int_equal(count, ARRAY_LEN(STORE_COLUMNS));
    assert_int_equal(sealed_open_file(s->sealed, &found, &fd, &s->e), ERR_OK);
    close(fd);
    assert_true(is_in(s, PLACE, &st.part, ".parquet") && is_in(s, PLACE, &st.part, ".sum"));
    assert_false(is_in(s, "staging", &st.part, ".parquet"));
    arena_done(&a);
}

/* Whatever an earlier process did with it: read it, gave it to the kernel, or had it open no more.
 */
static void a_part_that_was_not_opened_here_is_read(void **state)
{
    struct store *s = *state;
    struct passthrough nowhere = {.dev_fd = -1};
    struct open_parts *o;
    struct staged st;
    char bytes[4];
    size_t got;

    make_logs(s, &st);
    assert_int_equal(store_publish(s, &st), ERR_OK);
    for (uint32_t users = 0; users < 3; users++) {
        assert_int_equal(open_parts_new(s->sealed, &nowhere, &o, &s->e), ERR_OK);
        if (users > 0)
            open_parts_restore(o, &st.part.id, users - 1, users);
        assert_int_equal(open_parts_read(o, &st.part.id, 0, bytes, 4, &got, &s->e), ERR_NOTFOUND);
        for (int again = 0; again < 2; again++) {
            memset(bytes, 0, sizeof bytes);
            assert_int_equal(open_parts_read_unopened(o, &st.part, 0, bytes, 4, &got, &s->e),
                             ERR_OK);
            assert_int_equal(got, 4);
            assert_memory_equal(bytes, st.part.id.b, 4); /* as store_stage wrote it */
        }
        assert_int_equal(open_parts_count(o), users > 0);
        open_parts_free(o);
    }
}

static void a_metrics_part_replaces_the_files_of_all_its_names(void **state)
{
    struct store *s = *state;
    struct staged st;

    make_metrics(s, &st);
    assert_seen(s, 11, 2, 1, 0);
    assert_int_equal(store_publish(s, &st), ERR_OK);
    assert_seen(s, 11, 2, 0, 1);
    assert_seen(s, 12, 5, 0, 1);
    assert_seen(s, 13, 0, 0, 0);
    assert_false(is_in(s, PLACE, &st.part, ".pending"));
}

static void publishing_again_changes_nothing(void **state)
{
    struct store *s = *state;
    struct staged st, metrics;

    make_logs(s, &st);
    make_metrics(s, &metrics);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_publish(s, &st), ERR_OK);
        assert_int_equal(store_publish(s, &metrics), ERR_OK);
    }
    store_stage_bytes(s, &st.part); /* sealed once more by somebody who missed the answer */
    assert_int_equal(store_publish(s, &st), ERR_OK);
    assert_false(is_in(s, "staging", &st.part, ".parquet"));
    assert_seen(s, 1, 3, 0, 1);
    assert_seen(s, 12, 5, 0, 1);
}

static void a_late_line_begins_a_new_file_beside_the_part(void **state)
{
    struct store *s = *state;
    struct staged st;

    make_logs(s, &st);
    store_append(s, STREAM_LOGS, 1, "app", HOUR, 4);
    assert_int_equal(store_publish(s, &st), ERR_OK);
    assert_seen(s, 1, 7, 1, 1);
    make_logs(s, &st);
    assert_int_equal(store_publish(s, &st), ERR_OK);
    assert_seen(s, 1, 10, 0, 2);
}

static void what_disagrees_with_the_journal_is_refused(void **state)
{
    struct store *s = *state;
    struct staged good, bad;

    make_logs(s, &good);
    bad = good;
    bad.part.rows = 4;
    assert_int_equal(store_publish(s, &bad), ERR_CORRUPT);
    bad = good;
    bad.part.max_ts_us++;
    assert_int_equal(store_publish(s, &bad), ERR_CORRUPT);
    bad = good;
    bad.part.stream = 2;
    assert_int_equal(store_publish(s, &bad), ERR_CORRUPT);
    bad = good;
    bad.part.stored_bytes++;
    assert_int_equal(store_publish(s, &bad), ERR_CORRUPT);
    bad = good;
    bad.part.sha256[0] ^= 1;
    assert_int_equal(store_publish(s, &bad), ERR_CORRUPT);
    bad = good;
    bad.files[0] = ulid_new();
    assert_int_equal(store_publish(s, &bad), ERR_NOTFOUND);
    bad = good;
    bad.part.id = ulid_new();
    assert_int_not_equal(store_publish(s, &bad), ERR_OK);
    assert_seen(s, 1, 3, 1, 0);
    assert_int_equal(store_publish(s, &good), ERR_OK);
    assert_seen(s, 1, 3, 0, 1);
}

static void an_open_file_is_not_published(void **state)
{
    struct store *s = *state;
    struct store_find find = {.stream = 1, .hour = HOUR};
    struct staged st;

    store_append(s, STREAM_LOGS, 1, "app", HOUR, 3);
    journal_file_list(s->journal, store_match, &find);
    store_stage(s, &st, &find.file);
    assert_int_equal(store_publish(s, &st), ERR_CORRUPT);
    assert_seen(s, 1, 3, 1, 0);
}

/* ---- damage ---- */

static void flip_byte(struct store *s, const struct part *p, const char *suffix)
{
    char path[STORE_PATH_MAX * 2], byte;
    int fd;

    path_of(s, PLACE, p, suffix, path);
    fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, 60), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 60), 1);
    close(fd);
}

static void a_damaged_file_is_set_aside_at_its_first_open(void **state)
{
    struct store *s = *state;
    struct staged st;
    int fd;

    make_logs(s, &st);
    assert_int_equal(store_publish(s, &st), ERR_OK);
    flip_byte(s, &st.part, ".parquet");
    assert_int_equal(sealed_open_file(s->sealed, &st.part, &fd, &s->e), ERR_CORRUPT);
    assert_true(is_in(s, "lost+found", &st.part, ".parquet"));
    assert_false(is_in(s, PLACE, &st.part, ".parquet"));
    assert_int_equal(sealed_open_file(s->sealed, &st.part, &fd, &s->e), ERR_CORRUPT);
    assert_seen(s, 1, 3, 0, 1); /* still to be asked for: what is missing is not hidden */
}

static int refuse_open(struct sys_fault *f, void *ctx)
{
    unsigned *after = ctx;

    return strcmp(f->call, "open") == 0 && (*after)-- == 0 ? EMFILE : 0;
}

static void a_process_without_descriptors_does_not_call_a_file_damaged(void **state)
{
    struct store *s = *state;
    struct staged st;
    int fd;

    make_logs(s, &st);
    assert_int_equal(store_publish(s, &st), ERR_OK);
    for (unsigned open_number = 0; open_number < 2; open_number++) { /* the Parquet, the sum */
        unsigned after = open_number;
        sys_fault_set(refuse_open, &after);
        assert_int_equal(sealed_open_file(s->sealed, &st.part, &fd, &s->e), ERR_AGAIN);
        sys_fault_set(NULL, NULL);
    }
    assert_int_equal(sealed_open_file(s->sealed, &st.part, &fd, &s->e), ERR_OK);
    close(fd);
}

static void a_file_is_compared_once_a_start(void **state)
{
    struct store *s = *state;
    struct staged st;
    int fd;

    make_logs(s, &st);
    assert_int_equal(store_publish(s, &st), ERR_OK);
    assert_int_equal(sealed_open_file(s->sealed, &st.part, &fd, &s->e), ERR_OK);
    close(fd);
    flip_byte(s, &st.part, ".parquet");
    assert_int_equal(sealed_open_file(s->sealed, &st.part, &fd, &s->e), ERR_OK);
    close(fd);
    store_close(s);
    store_open(s);
    assert_int_equal(sealed_open_file(s->sealed, &st.part, &fd, &s->e), ERR_CORRUPT);
}

static void a_pass_over_all_files_finds_the_damaged_one(void **state)
{
    struct store *s = *state;
    struct staged st[3];

    for (int i = 0; i < 3; i++) {
        make_logs(s, &st[i]);
        assert_int_equal(store_publish(s, &st[i]), ERR_OK);
    }
    flip_byte(s, &st[1].part, ".parquet");
    assert_true(sealed_scrub_pass(s->sealed));
    for (int i = 0; i < 3; i++)
        assert_int_equal(is_in(s, PLACE, &st[i].part, ".parquet"), i != 1);
    assert_true(is_in(s, "lost+found", &st[1].part, ".sum"));
}

static void a_damaged_sum_is_made_again(void **state)
{
    struct store *s = *state;
    struct staged st;
    char path[STORE_PATH_MAX * 2];
    int fd;

    make_logs(s, &st);
    assert_int_equal(store_publish(s, &st), ERR_OK);
    flip_byte(s, &st.part, ".sum");
    assert_int_equal(sealed_open_file(s->sealed, &st.part, &fd, &s->e), ERR_OK);
    close(fd);
    store_close(s);
    path_of(s, PLACE, &st.part, ".sum", path);
    unlink(path);
    store_open(s);
    assert_int_equal(sealed_open_file(s->sealed, &st.part, &fd, &s->e), ERR_OK);
    close(fd);
    assert_int_equal(access(path, F_OK), 0);
}

/* ---- starts ---- */

static void a_start_finds_what_was_published(void **state)
{
    struct store *s = *state;
    struct staged st, metrics;

    make_logs(s, &st);
    make_metrics(s, &metrics);
    assert_int_equal(store_publish(s, &st), ERR_OK);
    assert_int_equal(store_publish(s, &metrics), ERR_OK);
    for (int i = 0; i < 2; i++) {
        store_close(s);
        store_open(s);
        registry_add_stream(s->registry, 1, STR("default"), STREAM_LOGS, STR("app"), 0, NULL);
        registry_add_stream(s->registry, 12, STR("default"), STREAM_METRICS, STR("mem"), 0, NULL);
        assert_seen(s, 1, 3, 0, 1);
        assert_seen(s, 12, 5, 0, 1);
    }
}

static void a_lost_index_is_made_again_from_the_journal(void **state)
{
    struct store *s = *state;
    struct staged st;

    make_logs(s, &st);
    assert_int_equal(store_publish(s, &st), ERR_OK);
    store_close(s);
    store_run("rm -r '%s/index'", s->data);
    store_open(s);
    registry_add_stream(s->registry, 1, STR("default"), STREAM_LOGS, STR("app"), 0, NULL);
    assert_seen(s, 1, 3, 0, 1);
}

static void a_start_empties_staging_and_removes_what_was_never_published(void **state)
{
    struct store *s = *state;
    struct staged st, metrics;
    char from[STORE_PATH_MAX * 2], to[STORE_PATH_MAX * 2];

    make_logs(s, &st);
    make_metrics(s, &metrics);
    store_run("mkdir -p '%s/" PLACE "'", s->data);
    path_of(s, "staging", &st.part, ".parquet", from);
    path_of(s, PLACE, &st.part, ".parquet", to);
    store_run("cp '%s' '%s'", from, to);
    path_of(s, PLACE, &metrics.part, ".parquet", to);
    store_run("cp '%s' '%s'", from, to);
    path_of(s, PLACE, &metrics.part, ".pending", to);
    store_run("touch '%s'", to);
    store_close(s);
    store_open(s);
    assert_false(is_in(s, "staging", &st.part, ".parquet"));
    assert_false(is_in(s, PLACE, &st.part, ".parquet"));
    assert_false(is_in(s, PLACE, &metrics.part, ".parquet"));
    assert_false(is_in(s, PLACE, &metrics.part, ".pending"));
    assert_seen(s, 1, 3, 1, 0);
    assert_seen(s, 11, 2, 1, 0);
}

static void a_file_that_nobody_knows_is_kept_but_not_shown(void **state)
{
    struct store *s = *state;
    struct staged st;
    char from[STORE_PATH_MAX * 2], to[STORE_PATH_MAX * 2];
    struct part other;
    struct buf stats;

    make_logs(s, &st);
    other = st.part;
    other.id = ulid_new();
    store_run("mkdir -p '%s/" PLACE "'", s->data);
    path_of(s, "staging", &st.part, ".parquet", from);
    path_of(s, PLACE, &other, ".parquet", to);
    store_run("cp '%s' '%s'", from, to);
    store_close(s);
    store_open(s);
    assert_true(is_in(s, PLACE, &other, ".parquet"));
    assert_seen(s, 1, 3, 1, 0);
    buf_init(&stats, 1u << 20);
    assert_int_equal(status_text(s->status, STATUS_STATS, &stats, &s->e), ERR_OK);
    assert_non_null(strstr(stats.data, "\"unknown_files\":1"));
    buf_done(&stats);
}

static void a_read_only_start_changes_nothing_and_sees_everything(void **state)
{
    struct store *s = *state;
    struct staged st;

    make_logs(s, &st);
    assert_int_equal(store_publish(s, &st), ERR_OK);
    store_append(s, STREAM_LOGS, 1, "app", HOUR, 4);
    store_close(s);
    store_run("rm -r '%s/index'", s->data); /* the records of the journal go into a copy */
    s->read_only = true;
    store_open(s);
    assert_seen(s, 1, 7, 1, 1);
    assert_int_equal(store_publish(s, &st), ERR_READONLY);
    store_close(s);
    assert_false(is_in(s, "index", &st.part, ""));
    s->read_only = false;
    store_open(s);
    assert_seen(s, 1, 7, 1, 1);
}

/* ---- faults ---- */

struct fault {
    _Atomic int left; /* calls until one fails; 0 = none does */
    atomic_bool met;
};

static int fail_one(struct sys_fault *f, void *ctx)
{
    struct fault *fault = ctx;

    (void)f;
    if (atomic_load(&fault->left) == 0 || atomic_fetch_sub(&fault->left, 1) != 1)
        return 0;
    atomic_store(&fault->met, true);
    return EIO;
}

static void stage_either(struct store *s, struct staged *st, bool metrics)
{
    if (metrics)
        make_metrics(s, st);
    else
        make_logs(s, st);
}

/* Every row once, in a file or in a part. */
static void assert_once(struct store *s, bool metrics)
{
    static const uint64_t streams[2][2] = {{1, 0}, {11, 12}}, rows[2][2] = {{3, 0}, {2, 5}};

    for (int i = 0; i < (metrics ? 2 : 1); i++) {
        struct seen seen = store_look(s, streams[metrics][i]);
        assert_int_equal(seen.rows, rows[metrics][i]);
        assert_int_equal(seen.files + seen.parts, 1);
    }
}

static void add_streams(struct store *s)
{
    registry_add_stream(s->registry, 1, STR("default"), STREAM_LOGS, STR("app"), 0, NULL);
    registry_add_stream(s->registry, 11, STR("default"), STREAM_METRICS, STR("cpu"), 0, NULL);
    registry_add_stream(s->registry, 12, STR("default"), STREAM_METRICS, STR("mem"), 0, NULL);
}

/* What a process killed at this moment would have left, started again. */
static void assert_once_after_a_kill(struct store *s, bool metrics)
{
    struct store *copy = store_make();

    store_run("cp -a '%s' '%s'", s->data, copy->data);
    store_open(copy);
    add_streams(copy);
    assert_once(copy, metrics);
    store_remove(copy);
}

/* The n-th system call of a publication fails; false: it had fewer. */
static bool try_with_fault(int n, bool metrics)
{
    struct store *s = store_make();
    struct fault fault = {0};
    struct staged st;
    enum err_code rc;

    sys_fault_set(fail_one, &fault); /* while no other thread runs */
    store_open(s);
    stage_either(s, &st, metrics);
    atomic_store(&fault.left, n);
    rc = store_publish(s, &st);
    atomic_store(&fault.left, 0);
    assert_once(s, metrics);
    assert_once_after_a_kill(s, metrics);
    if (rc && !store_look(s, metrics ? 11 : 1).parts) {
        store_stage_bytes(s, &st.part);
        if (store_publish(s, &st))
            fail_msg("after fault %d: %s", n, s->e.msg);
    }
    assert_once(s, metrics);
    assert_int_equal(store_look(s, metrics ? 11 : 1).parts, 1);
    store_close(s);
    store_open(s);
    add_streams(s);
    assert_once(s, metrics);
    assert_int_equal(store_look(s, metrics ? 11 : 1).parts, 1);
    store_remove(s);
    sys_fault_set(NULL, NULL);
    return atomic_load(&fault.met);
}

static void a_publication_survives_any_failing_call(void **state)
{
    int n;

    (void)state;
    for (n = 1; n < SWEEP_MAX && try_with_fault(n, false); n++)
        ;
    assert_in_range(n, 8, SWEEP_MAX - 1);
    for (n = 1; n < SWEEP_MAX && try_with_fault(n, true); n++)
        ;
    assert_in_range(n, 10, SWEEP_MAX - 1);
}

/* ---- an index that is full ---- */

#define INDEX_BYTES (3 * STORE_SEGMENT_BYTES / 2) /* no file of the journal is as long */
#define MANY_GROUPS 20000
#define DEADLINE_MS 20000

static off_t index_bytes(const struct store *s)
{
    char path[STORE_PATH_MAX * 2];
    struct stat st;

    snprintf(path, sizeof path, "%s/index/data.mdb", s->data);
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

/* Parts of another stream, until the index is longer than any other file. */
static void fill_index(struct store *s, const struct part *like)
{
    while (index_bytes(s) < INDEX_BYTES) {
        struct part p = *like;
        p.id = ulid_new();
        p.name = STR("other");
        assert_int_equal(parts_put(sealed_index(s->sealed), &p, 1, 0, 0, &s->e), ERR_OK);
    }
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_part_that_the_index_cannot_take_is_kept_and_tried_again(void **state)
{
    static struct part_group groups[MANY_GROUPS];
    struct store *s = *state;
    struct staged st;

    make_logs(s, &st);
    groups[0] = st.group;
    st.part.groups = groups;
    st.part.group_count = MANY_GROUPS;
    fill_index(s, &st.part);
    signal(SIGXFSZ, SIG_IGN);
    limit_files((rlim_t)index_bytes(s));
    assert_int_not_equal(store_publish(s, &st), ERR_OK);
    assert_seen(s, 1, 3, 1, 0);
    assert_int_equal(store_publish(s, &st), ERR_AGAIN);
    assert_seen(s, 1, 3, 1, 0);
    limit_files(RLIM_INFINITY);
    enum err_code rc = ERR_AGAIN; /* while it is being tried again */
    for (uint64_t until = clock_mono_ms() + DEADLINE_MS;
         rc == ERR_AGAIN && clock_mono_ms() < until;) {
        sched_yield();
        rc = store_publish(s, &st);
    }
    assert_int_equal(rc, ERR_OK);
    assert_seen(s, 1, 3, 0, 1);
}

/* ---- at the same time ---- */

#define PARTS 200
#define STREAMS 5

struct race {
    struct store *store;
    atomic_bool over;
    _Atomic uint64_t looks, wrong, failed;
};

static void *look_all_the_time(void *arg)
{
    static const uint64_t streams[STREAMS] = {1, 2, 3, 11, 12};
    struct race *r = arg;

    while (!atomic_load(&r->over)) {
        struct seen seen = {0};
        if (store_try_look(r->store, streams, STREAMS, &seen, NULL))
            atomic_fetch_add(&r->failed, 1);
        else if (seen.rows != PARTS / 4 * (1 + 1 + 1 + 2))
            atomic_fetch_add(&r->wrong, 1);
        atomic_fetch_add(&r->looks, 1);
    }
    return NULL;
}

static void publish_hour(struct store *s, int32_t hour)
{
    struct journal_file f[2] = {store_roll(s, 11, hour), store_roll(s, 12, hour)};
    struct staged st;

    store_stage_metrics(s, &st, f, 2);
    if (store_publish(s, &st))
        fail_msg("%s", s->e.msg);
    for (uint64_t stream = 1; stream <= 3; stream++) {
        f[0] = store_roll(s, stream, hour);
        store_stage(s, &st, f);
        if (store_publish(s, &st))
            fail_msg("%s", s->e.msg);
    }
}

static void rows_are_constant_while_parts_are_published(void **state)
{
    struct store *s = *state;
    struct race race = {.store = s};
    pthread_t lookers[2];

    for (int32_t h = 0; h < PARTS / 4; h++) {
        for (uint64_t stream = 1; stream <= 3; stream++)
            store_append(s, STREAM_LOGS, stream, (const char *[]){"a", "b", "c"}[stream - 1],
                         HOUR + h, 1);
        store_append(s, STREAM_METRICS, 11, "cpu", HOUR + h, 1);
        store_append(s, STREAM_METRICS, 12, "mem", HOUR + h, 1);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&lookers[i], NULL, look_all_the_time, &race), 0);
    for (int32_t h = 0; h < PARTS / 4; h++)
        publish_hour(s, HOUR + h);
    atomic_store(&race.over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(lookers[i], NULL);
    assert_int_equal(race.failed, 0);
    assert_int_equal(race.wrong, 0);
    assert_true(race.looks > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_published_part_replaces_its_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_part_that_was_not_opened_here_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_metrics_part_replaces_the_files_of_all_its_names, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(publishing_again_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_late_line_begins_a_new_file_beside_the_part, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_disagrees_with_the_journal_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_open_file_is_not_published, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_set_aside_at_its_first_open, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_is_compared_once_a_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_process_without_descriptors_does_not_call_a_file_damaged,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pass_over_all_files_finds_the_damaged_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_sum_is_made_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_start_finds_what_was_published, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_index_is_made_again_from_the_journal, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_start_empties_staging_and_removes_what_was_never_published, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_nobody_knows_is_kept_but_not_shown, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_read_only_start_changes_nothing_and_sees_everything,
                                        set_up, tear_down),
        cmocka_unit_test(a_publication_survives_any_failing_call),
        cmocka_unit_test_setup_teardown(a_part_that_the_index_cannot_take_is_kept_and_tried_again,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(rows_are_constant_while_parts_are_published, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
