// links: weir_fs weir_index
/* A deleted stream: whatever fails in between, another try or another start ends it, and the others
 * do not notice. */
#include "tests/support/sealed_fixture.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/sys.h"
#include "fs/sealed/internal.h"

#define HOUR 490000
#define SWEEP_MAX 400
#define WAIT_MS 10000

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

static const struct dropped_stream app = {
    .number = 1, .org = {"default", 7}, .name = {"app", 3}, .type = STREAM_LOGS};

/* Of each of two streams a sealed part of three lines, and two lines in a file. */
static struct ulid fill(struct store *s)
{
    struct staged st;
    struct journal_file f;
    struct ulid first = {{0}};

    for (uint64_t stream = 1; stream <= 2; stream++) {
        const char *name = stream == 1 ? "app" : "other";
        store_append(s, STREAM_LOGS, stream, name, HOUR, 3);
        f = store_roll(s, stream, HOUR);
        store_stage(s, &st, &f);
        assert_int_equal(store_publish(s, &st), ERR_OK);
        store_append(s, STREAM_LOGS, stream, name, HOUR, 2);
        if (stream == 1)
            first = st.part.id;
    }
    assert_seen(s, 1, 5, 1, 1);
    assert_seen(s, 2, 5, 1, 1);
    return first;
}

static void assert_gone(struct store *s, const struct ulid *part)
{
    bool has = true;

    assert_seen(s, 1, 0, 0, 0);
    assert_seen(s, 2, 5, 1, 1);
    assert_int_equal(parts_has(sealed_index(s->sealed), part, &has, &s->e), ERR_OK);
    assert_false(has);
    assert_false(sealed_files_has(&s->sealed->files, part, HOUR));
}

static void a_dropped_stream_is_gone_and_stays_gone(void **state)
{
    struct store *s = *state;
    struct ulid part = fill(s);

    for (int i = 0; i < 2; i++) {
        assert_int_equal(sealed_drop_stream(s->sealed, &app, &s->e), ERR_OK);
        assert_gone(s, &part);
    }
    for (int i = 0; i < 2; i++) {
        store_close(s);
        store_open(s);
        assert_gone(s, &part);
    }
}

static bool has_part(struct store *s, const struct ulid *part)
{
    bool has = false;

    assert_int_equal(parts_has(sealed_index(s->sealed), part, &has, &s->e), ERR_OK);
    assert_int_equal(has, sealed_files_has(&s->sealed->files, part, HOUR));
    return has;
}

static void wait_until_gone(struct store *s, const struct ulid *part)
{
    uint64_t deadline_ms = clock_mono_ms() + WAIT_MS;
    bool has = true;

    while (has && clock_mono_ms() < deadline_ms) {
        assert_int_equal(parts_has(sealed_index(s->sealed), part, &has, &s->e), ERR_OK);
        has = has || sealed_files_has(&s->sealed->files, part, HOUR);
        sched_yield();
    }
    assert_false(has);
}

static uint64_t begin_query(struct store *s, uint64_t stream, size_t parts)
{
    struct snapshot_wish wish = {.streams = &stream, .stream_count = 1};
    struct snapshot_content c = {0};
    uint64_t id;

    assert_int_equal(snapshots_take(s->snapshots, 1, &wish, &c, &s->e), ERR_OK);
    assert_int_equal(c.part_count, parts);
    id = c.id;
    snapshot_content_done(&c);
    return id;
}

/* The keeper's work, not waiting for it. */
static void end_query(struct store *s, uint64_t id)
{
    snapshots_release(s->snapshots, 1, id);
    sealed_drop_ripe(s->sealed);
}

static void the_parts_of_a_dropped_stream_stay_until_those_who_read_have_ended(void **state)
{
    struct store *s = *state;
    struct ulid part = fill(s);
    uint64_t first = begin_query(s, 1, 1), second = begin_query(s, 1, 1), later;

    for (int i = 0; i < 2; i++)
        assert_int_equal(sealed_drop_stream(s->sealed, &app, &s->e), ERR_OK);
    assert_seen(s, 1, 0, 0, 0);
    assert_seen(s, 2, 5, 1, 1);
    later = begin_query(s, 1, 0);
    assert_true(has_part(s, &part));
    end_query(s, second);
    assert_true(has_part(s, &part));
    end_query(s, first);
    wait_until_gone(s, &part);
    assert_gone(s, &part);
    end_query(s, later);
    assert_int_equal(sealed_drop_stream(s->sealed, &app, &s->e), ERR_OK);
    assert_gone(s, &part);
}

static void what_waits_for_a_reader_at_the_end_is_gone_after_the_next_start(void **state)
{
    struct store *s = *state;
    struct ulid part = fill(s);

    begin_query(s, 1, 1);
    assert_int_equal(sealed_drop_stream(s->sealed, &app, &s->e), ERR_OK);
    assert_true(has_part(s, &part));
    store_close(s);
    store_open(s);
    assert_int_equal(sealed_drop_stream(s->sealed, &app, &s->e), ERR_OK);
    assert_gone(s, &part);
}

struct outcome {
    enum err_code code;
};

static void note_outcome(enum err_code code, const struct err *e, void *ctx)
{
    (void)e;
    ((struct outcome *)ctx)->code = code;
}

static void a_batch_for_a_dropped_stream_is_refused(void **state)
{
    struct store *s = *state;
    struct outcome outcome = {ERR_OK};
    struct batch_run run = {.stream = 1,
                            .type = STREAM_LOGS,
                            .org = STR("default"),
                            .name = STR("app"),
                            .hour = HOUR,
                            .lines = 1,
                            .min_ts_us = HOUR * US_PER_HOUR,
                            .max_ts_us = HOUR * US_PER_HOUR,
                            .bytes = STR("{\"a\":1}\n")};
    struct batch_part batch = {.parts = 1, .flags = BATCH_LAST, .runs = &run, .run_count = 1};

    fill(s);
    assert_int_equal(sealed_drop_stream(s->sealed, &app, &s->e), ERR_OK);
    batch.id = (struct batch_id){s->epoch, 2, 1};
    journal_append(s->journal, &batch, note_outcome, &outcome);
    assert_int_equal(journal_sync(s->journal, &s->e), ERR_OK);
    assert_int_equal(outcome.code, ERR_FORBIDDEN);
    assert_seen(s, 1, 0, 0, 0);
    run.stream = 3; /* the name again, with the number that follows */
    batch.id.number = 2;
    journal_append(s->journal, &batch, note_outcome, &outcome);
    assert_int_equal(journal_sync(s->journal, &s->e), ERR_OK);
    assert_int_equal(outcome.code, ERR_OK);
    assert_seen(s, 3, 1, 1, 0);
}

struct fault {
    atomic_int left; /* calls until one fails; 0: none does */
    atomic_bool met;
};

static int fail_one(struct sys_fault *f, void *ctx)
{
    struct fault *fault = ctx;
    int left = atomic_load(&fault->left);

    (void)f;
    while (left > 0 && !atomic_compare_exchange_weak(&fault->left, &left, left - 1))
        ;
    if (left != 1)
        return 0;
    atomic_store(&fault->met, true);
    return EIO;
}

/* The n-th system call fails; then everything stops, and the next start ends it.  False: there were
 * not so many calls. */
static bool try_with_fault(int n)
{
    struct store *s = store_make();
    struct fault fault = {0};
    struct ulid part;

    sys_fault_set(fail_one, &fault); /* while no other thread runs */
    store_open(s);
    part = fill(s);
    atomic_store(&fault.left, n);
    sealed_drop_stream(s->sealed, &app, &s->e);
    atomic_store(&fault.left, 0);
    store_close(s);
    store_open(s);
    assert_seen(s, 2, 5, 1, 1);
    if (sealed_drop_stream(s->sealed, &app, &s->e))
        fail_msg("after fault %d: %s", n, s->e.msg);
    assert_gone(s, &part);
    store_remove(s);
    sys_fault_set(NULL, NULL);
    return atomic_load(&fault.met);
}

static void whatever_call_fails_the_next_start_ends_it(void **state)
{
    int n;

    (void)state;
    for (n = 1; n < SWEEP_MAX && try_with_fault(n); n++)
        ;
    assert_in_range(n, 2, SWEEP_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_dropped_stream_is_gone_and_stays_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            the_parts_of_a_dropped_stream_stay_until_those_who_read_have_ended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            what_waits_for_a_reader_at_the_end_is_gone_after_the_next_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_for_a_dropped_stream_is_refused, set_up, tear_down),
        cmocka_unit_test(whatever_call_fails_the_next_start_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
