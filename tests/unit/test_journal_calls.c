// links: weir_fs weir_index
/* tests/unit/test_journal_calls.c - what a journal is after failing calls and kill -9. */
#include "tests/support/journal_image.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"

/* ---- failing calls ---- */

struct plan {
    uint64_t fail_at;
    int sys;
    size_t short_bytes;
    bool repeats;             /* all calls of that name fail from then on */
    const char *_Atomic call; /* the name of the first that failed */
};

static int fail_planned(struct sys_fault *f, void *ctx)
{
    struct plan *p = ctx;
    const char *call = atomic_load(&p->call);
    if (f->number != p->fail_at && !(p->repeats && call && strcmp(call, f->call) == 0))
        return 0;
    if (!call)
        atomic_store(&p->call, f->call);
    f->short_bytes = p->short_bytes;
    return p->sys;
}

enum { SWEEP_BATCHES = 14, SWEEP_TEXT = 9000, SWEEP_MAX = 2000 };

struct sweep {
    bool acked[SWEEP_BATCHES + 1];
    bool is_open;
};

static void sweep_text(char text[SWEEP_TEXT], unsigned number)
{
    memset(text, 'a' + (int)number, SWEEP_TEXT - 2);
    snprintf(text, 16, "%04u", number);
    text[4] = ' ';
    memcpy(text + SWEEP_TEXT - 2, "\n", 2);
}

static void run_scenario(struct fixture *f, struct sweep *s)
{
    char text[SWEEP_TEXT];
    struct err e = {0};
    if (journal_open(&f->cfg, &f->j, &f->found, &e))
        return;
    s->is_open = true;
    if (journal_epoch(f->j, 0, &f->epoch, &e) == ERR_OK) {
        for (unsigned i = 1; i <= SWEEP_BATCHES; i++) {
            sweep_text(text, i);
            enum err_code code = append_text(f, 0, i, 1, HOUR, text);
            if (code) /* sent again, as the gateway does */
                code = append_text(f, 0, i, 1, HOUR, text);
            s->acked[i] = code == ERR_OK;
            if (i == SWEEP_BATCHES / 2)
                (void)journal_roll(f->j, 1, HOUR, &e);
        }
    }
    journal_close(f->j);
    f->j = NULL;
}

/* Every answered batch is there once, in order; the others at most once. */
static void check_scenario(struct fixture *f, const struct sweep *s, const struct plan *p)
{
    char want[SWEEP_TEXT];
    bool seen[SWEEP_BATCHES + 1] = {false};
    struct shown shown = shown_of(f, 1, HOUR);
    unsigned before = 0;
    for (char *at = shown.text.data; at && *at; at += SWEEP_TEXT - 1) {
        unsigned number = (unsigned)strtoul(at, NULL, 10);
        assert_in_range(number, before + 1, SWEEP_BATCHES);
        sweep_text(want, number);
        assert_memory_equal(at, want, SWEEP_TEXT - 1);
        seen[number] = true;
        before = number;
    }
    for (unsigned i = 1; i <= SWEEP_BATCHES; i++) {
        if (s->acked[i] && !seen[i])
            fail_msg("batch %u was answered and is lost: call %llu, %s, failed", i,
                     (unsigned long long)p->fail_at, p->call);
    }
    buf_done(&shown.text);
}

static bool sweep_once(struct fixture *f, struct plan *p)
{
    struct sweep s = {0};
    struct err e = {0};
    fixture_remove_tree(f->dir);
    fixture_remove_tree(f->lost);
    sys_fault_set(fail_planned, p);
    run_scenario(f, &s);
    sys_fault_set(NULL, NULL);
    fixture_open(f);
    assert_int_equal(f->found.mend.code, ERR_OK);
    check_scenario(f, &s, p);
    assert_int_equal(journal_epoch(f->j, 0, &f->epoch, &e), ERR_OK);
    assert_int_equal(append_text(f, 0, 1, 2, HOUR, "well again\n"), ERR_OK);
    fixture_reopen(f);
    check_scenario(f, &s, p);
    assert_shown(f, 2, HOUR, "well again\n");
    journal_close(f->j);
    f->j = NULL;
    return p->call != NULL;
}

static void sweep(struct fixture *f, int sys, size_t short_bytes, bool repeats)
{
    f->cfg.segment_bytes = 64 << 10;
    for (uint64_t n = 0; n < SWEEP_MAX; n++) {
        struct plan p = {.fail_at = n, .sys = sys, .short_bytes = short_bytes, .repeats = repeats};
        if (!sweep_once(f, &p))
            return;
    }
    fail_msg("%d calls failed one by one and it never passed", SWEEP_MAX);
}

static void any_one_call_may_fail(void **state)
{
    sweep(*state, EIO, 0, false);
}

static void any_one_write_may_be_cut_by_a_full_disk(void **state)
{
    sweep(*state, ENOSPC, 100, false);
}

static void any_call_may_begin_to_fail_for_good(void **state)
{
    sweep(*state, EIO, 2000, true);
}

static int fail_syncs(struct sys_fault *f, void *ctx)
{
    atomic_int *left = ctx;
    if (strcmp(f->call, "fdatasync") != 0 || atomic_load(left) == 0)
        return 0;
    atomic_fetch_sub(left, 1);
    return EIO;
}

/* Until the next segment is prepared, so that the next sync is that of frames. */
static void wait_prepared(struct fixture *f)
{
    struct journal_stats stats;
    uint64_t deadline = clock_mono_ms() + 20000;
    do {
        journal_stats(f->j, &stats);
        assert_true(clock_mono_ms() < deadline);
    } while (stats.bytes_used != (stats.segments + 1) * f->cfg.segment_bytes);
}

/* What a failed sync leaves on disk is anything: overwrite all after the first batch. */
static void spoil_after_first_batch(struct fixture *f)
{
    struct image_of img;
    size_t first = 0;
    load_segment(f, 1, &img);
    while (img.frames[first].frame.batch.number == 0)
        first++;
    uint32_t from = img.frames[first].end, to = img.frames[img.count - 1].end;
    assert_true(to > from);
    memset(img.bytes.data + from, 0x5a, to - from);
    store(&img, img.bytes.data);
    buf_done(&img.bytes);
}

static void a_failed_sync_is_made_good_elsewhere(void **state)
{
    struct fixture *f = *state;
    struct journal_stats stats;
    atomic_int failures = 0;
    f->cfg.segment_bytes = 64 << 10;
    sys_fault_set(fail_syncs, &failures);
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "before\n"), ERR_OK);
    wait_prepared(f);
    assert_int_equal(append_one_part(f, 1, 1, 0, false, "open\n"), ERR_OK);
    atomic_store(&failures, 1);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "moved\n"), ERR_OK);
    assert_int_equal(atomic_load(&failures), 0);
    assert_int_equal(append_text(f, 0, 3, 1, HOUR, "after\n"), ERR_OK);
    assert_int_equal(append_one_part(f, 1, 1, 1, true, "closed\n"), ERR_OK);
    spoil_after_first_batch(f);
    journal_stats(f->j, &stats);
    assert_int_equal(stats.poisoned_segments, 1);
    assert_int_equal(stats.segments, 2);
    for (int again = 0; again < 2; again++) {
        assert_shown(f, 1, HOUR, "before\nmoved\nafter\nopen\nclosed\n");
        assert_int_equal(append_text(f, 0, 2, 1, HOUR, "moved\n"), ERR_STALE);
        fixture_reopen(f);
        assert_int_equal(f->found.corrupt_frames, 0);
    }
    journal_close(f->j);
    f->j = NULL;
    sys_fault_set(NULL, NULL);
}

/* A gateway ends while what it sent is not durable, another begins, and then a sync fails. */
static void what_a_new_epoch_finds_undurable_is_not_lost(void **state)
{
    struct fixture *f = *state;
    atomic_int failures = 0;
    sys_fault_set(fail_syncs, &failures);
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "before\n"), ERR_OK);
    wait_prepared(f);
    struct batch_run r = run_of(1, HOUR, "undurable\n");
    struct batch_part p = {.id = {f->epoch, 0, 2},
                           .parts = 1,
                           .flags = BATCH_LAST | BATCH_NO_SYNC,
                           .runs = &r,
                           .run_count = 1};
    assert_int_equal(append_part(f->j, &p, NULL), ERR_OK);
    atomic_store(&failures, 1);
    fixture_epoch(f);
    assert_int_equal(atomic_load(&failures), 0);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "after\n"), ERR_OK);
    spoil_after_first_batch(f);
    uint64_t epoch = f->epoch;
    for (int again = 0; again < 2; again++) {
        struct err e;
        assert_shown(f, 1, HOUR, "before\nundurable\nafter\n");
        fixture_reopen(f);
        assert_int_equal(f->found.corrupt_frames, 0);
        assert_int_equal(journal_epoch(f->j, epoch, &f->epoch, &e), ERR_OK);
    }
    journal_close(f->j);
    f->j = NULL;
    sys_fault_set(NULL, NULL);
}

static void check_texts(struct fixture *f, uint64_t stream, const unsigned *numbers, size_t count)
{
    char text[SWEEP_TEXT];
    struct shown s = shown_of(f, stream, HOUR);
    assert_int_equal(s.text.len, count * (SWEEP_TEXT - 1));
    for (size_t i = 0; i < count; i++) {
        sweep_text(text, numbers[i]);
        assert_memory_equal(s.text.data + i * (SWEEP_TEXT - 1), text, SWEEP_TEXT - 1);
    }
    buf_done(&s.text);
}

/* All that was written between two syncs is moved, over more than one segment. */
static void many_undurable_frames_are_moved_together(void **state)
{
    struct fixture *f = *state;
    struct journal_stats stats;
    atomic_int failures = 0;
    char text[SWEEP_TEXT];
    struct err e = {0};
    f->cfg.segment_bytes = 64 << 10;
    f->cfg.fsync_disabled = true; /* answers do not wait: frames gather */
    sys_fault_set(fail_syncs, &failures);
    fixture_open(f);
    fixture_epoch(f);
    sweep_text(text, 1);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, text), ERR_OK);
    wait_prepared(f);
    assert_int_equal(journal_sync(f->j, &e), ERR_OK);
    atomic_store(&failures, 1);
    for (unsigned i = 2; i <= 6; i++) {
        sweep_text(text, i);
        assert_int_equal(append_text(f, 0, i, 1 + i % 2, HOUR, text), ERR_OK);
    }
    assert_int_equal(journal_sync(f->j, &e), ERR_OK);
    journal_stats(f->j, &stats);
    assert_int_equal(stats.poisoned_segments, 1);
    for (int again = 0; again < 2; again++) {
        check_texts(f, 1, (const unsigned[]){1, 2, 4, 6}, 4);
        check_texts(f, 2, (const unsigned[]){3, 5}, 2);
        fixture_reopen(f);
    }
    journal_close(f->j);
    f->j = NULL;
    sys_fault_set(NULL, NULL);
}

static void a_disk_that_fails_for_good_refuses_and_recovers(void **state)
{
    struct fixture *f = *state;
    atomic_int failures = 0;
    enum err_code code;
    sys_fault_set(fail_syncs, &failures);
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "kept\n"), ERR_OK);
    atomic_store(&failures, 1 << 20);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "failed\n"), ERR_IO);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "failed\n"), ERR_IO); /* as before */
    assert_int_equal(append_text(f, 0, 3, 2, HOUR, "refused\n"), ERR_AGAIN);
    atomic_store(&failures, 0);
    uint64_t deadline = clock_mono_ms() + 20000;
    while ((code = append_text(f, 0, 4, 2, HOUR, "well again\n")) != ERR_OK)
        assert_true(clock_mono_ms() < deadline);
    fixture_reopen(f);
    assert_shown(f, 2, HOUR, "well again\n");
    struct shown s = shown_of(f, 1, HOUR);
    assert_memory_equal(s.text.data, "kept\n", 5);
    buf_done(&s.text);
    journal_close(f->j);
    f->j = NULL;
    sys_fault_set(NULL, NULL);
}

/* ---- kill -9 ---- */

enum { KILLS = 100, KILL_WORKERS = 4, ACKS_MAX = 1 << 20 };

struct ack {
    uint32_t worker;
    uint32_t number;
};

struct killed_writer {
    struct fixture *f;
    uint32_t worker, next;
    int fd;
};

static void kill_text(char dst[256], uint32_t worker, uint32_t number)
{
    snprintf(dst, 256, "{\"w\":%u,\"n\":%u,\"pad\":\"%0*d\"}\n", worker, number,
             (int)(number * 31 % 150) + 1, 0);
}

/* One part, or two. */
static enum err_code append_numbered(struct fixture *f, uint32_t worker, uint32_t number)
{
    char text[256];
    kill_text(text, worker, number);
    struct batch_run r = run_of(1 + worker % 2, HOUR, text);
    struct batch_part p = {{f->epoch, worker, number}, 0, 1, BATCH_LAST, &r, 1, {0}};
    if (number % 3)
        return append_part(f->j, &p, NULL);
    p.flags = 0;
    p.parts = 0;
    enum err_code code = append_part(f->j, &p, NULL);
    if (code)
        return code;
    r = run_of(1 + worker % 2, HOUR, "second part\n");
    p.part = 1;
    p.parts = 2;
    p.flags = BATCH_LAST;
    return append_part(f->j, &p, NULL);
}

static void *write_until_killed(void *arg)
{
    struct killed_writer *w = arg;
    for (;; w->next++) {
        struct ack a = {w->worker, w->next};
        if (append_numbered(w->f, w->worker, w->next) ||
            write(w->fd, &a, sizeof a) != (ssize_t)sizeof a)
            _exit(3);
    }
}

static void be_killed(struct fixture *f, const uint32_t acked[KILL_WORKERS], int fd)
{
    struct killed_writer w[KILL_WORKERS];
    pthread_t threads[KILL_WORKERS];
    struct err e = {0};
    if (journal_open(&f->cfg, &f->j, &f->found, &e) || f->found.corrupt_frames)
        _exit(4);
    for (uint32_t i = 0; i < KILL_WORKERS; i++) {
        w[i] = (struct killed_writer){f, i, acked[i] + 1, fd};
        pthread_create(&threads[i], NULL, write_until_killed, &w[i]);
    }
    pthread_join(threads[0], NULL);
    _exit(5);
}

static void read_acks(int fd, uint32_t acked[KILL_WORKERS])
{
    struct ack a;
    while (read(fd, &a, sizeof a) == (ssize_t)sizeof a) {
        assert_int_equal(a.number, acked[a.worker] + 1);
        acked[a.worker] = a.number;
    }
}

static void kill_a_writer(struct fixture *f, uint32_t acked[KILL_WORKERS], int after_ms)
{
    int pipe_fds[2], status;
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(pipe_fds[0]);
        be_killed(f, acked, pipe_fds[1]);
    }
    close(pipe_fds[1]);
    poll(NULL, 0, after_ms); /* the moment is meant to be any */
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    read_acks(pipe_fds[0], acked);
    close(pipe_fds[0]);
}

/* Each worker's lines are 1, 2, 3 … without a gap or a repeat, up to what was answered or one
 * more. */
static void check_after_kill(struct fixture *f, const uint32_t acked[KILL_WORKERS])
{
    uint32_t next[KILL_WORKERS] = {0};
    char want[256];
    for (uint64_t stream = 1; stream <= 2; stream++) {
        struct shown s = shown_of(f, stream, HOUR);
        for (char *p = s.text.data; p && *p; p = strchr(p, '\n') + 1) {
            unsigned worker, number;
            if (strncmp(p, "second part\n", 12) == 0)
                continue;
            assert_int_equal(sscanf(p, "{\"w\":%u,\"n\":%u", &worker, &number), 2);
            assert_int_equal(number, ++next[worker]);
            kill_text(want, worker, number);
            assert_memory_equal(p, want, strlen(want));
            if (number % 3 == 0)
                assert_memory_equal(strchr(p, '\n') + 1, "second part\n", 12);
        }
        buf_done(&s.text);
    }
    for (unsigned i = 0; i < KILL_WORKERS; i++)
        assert_in_range(next[i], acked[i], acked[i] + 1);
}

static void kill_9_loses_and_doubles_nothing(void **state)
{
    struct fixture *f = *state;
    uint32_t acked[KILL_WORKERS] = {0};
    f->cfg.segment_bytes = 128 << 10;
    f->cfg.max_bytes = 1u << 30;
    fixture_open(f);
    fixture_epoch(f);
    journal_close(f->j);
    f->j = NULL;
    srand(1);
    for (int i = 0; i < KILLS; i++) {
        kill_a_writer(f, acked, 1 + rand() % 25);
        fixture_open(f);
        assert_int_equal(f->found.corrupt_frames, 0);
        check_after_kill(f, acked);
        journal_close(f->j);
        f->j = NULL;
    }
    assert_true(acked[0] > 0);
}

/* ---- a disk without room for a segment ---- */

static int have_no_room(struct sys_fault *fault, void *ctx)
{
    const atomic_bool *is_full = ctx;
    return atomic_load(is_full) && strcmp(fault->call, "fallocate") == 0 ? ENOSPC : 0;
}

/* Until not even a short line fits. */
static unsigned fill_segment(struct fixture *f)
{
    static char lines[16384];
    uint64_t number = 1; /* that is the first batch of the worker */
    memset(lines, 'x', sizeof lines);
    unsigned stored = 0;
    for (size_t len = sizeof lines - 1; len > 1; len /= 4) {
        lines[len - 1] = '\n';
        lines[len] = '\0';
        while (append_text(f, 0, ++number, 1, HOUR, lines) == ERR_OK)
            stored++;
        lines[len - 1] = 'x';
    }
    return stored;
}

static void epochs_are_given_out_on_a_full_disk(void **state)
{
    struct fixture *f = *state;
    atomic_bool is_full = false;
    struct err e = {0};
    uint64_t epoch = 0;
    sys_fault_set(have_no_room, &is_full);
    fixture_open(f);
    fixture_epoch(f);
    const uint64_t first = f->epoch;
    assert_int_equal(append_text(f, 0, 1, 2, HOUR, "first\n"), ERR_OK);
    atomic_store(&is_full, true);
    unsigned stored = fill_segment(f);
    assert_true(stored > 0);
    for (uint64_t i = 1; i <= 3; i++) {
        fixture_epoch(f);
        assert_int_equal(f->epoch, first + i);
        assert_int_equal(append_text(f, 0, 1, 1, HOUR, "b\n"), ERR_FULL);
    }
    fixture_reopen(f); /* no batch has one of them, but the gateway that got it is still there */
    assert_int_equal(journal_epoch(f->j, f->epoch, &epoch, &e), ERR_OK);
    assert_int_equal(epoch, first + 3);
    assert_int_equal(journal_epoch(f->j, first, &epoch, &e), ERR_STALE);
    atomic_store(&is_full, false);
    while (append_text(f, 0, 1, 3, HOUR, "third\n") == ERR_FULL)
        poll(NULL, 0, 10);
    assert_int_equal(append_text(f, 0, 1, 3, HOUR, "third\n"), ERR_OK); /* a repetition */
    fixture_reopen(f);
    assert_int_equal(append_text(f, 0, 1, 3, HOUR, "third\n"), ERR_OK);
    assert_int_equal(journal_epoch(f->j, f->epoch, &epoch, &e), ERR_OK);
    assert_shown(f, 2, HOUR, "first\n");
    assert_shown(f, 3, HOUR, "third\n");
    struct shown s = shown_of(f, 1, HOUR);
    assert_int_equal(s.rows, stored);
    buf_done(&s.text);
    journal_close(f->j);
    f->j = NULL;
    sys_fault_set(NULL, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_make, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(epochs_are_given_out_on_a_full_disk),
        TEST(any_one_call_may_fail),
        TEST(any_one_write_may_be_cut_by_a_full_disk),
        TEST(any_call_may_begin_to_fail_for_good),
        TEST(a_failed_sync_is_made_good_elsewhere),
        TEST(what_a_new_epoch_finds_undurable_is_not_lost),
        TEST(many_undurable_frames_are_moved_together),
        TEST(a_disk_that_fails_for_good_refuses_and_recovers),
        TEST(kill_9_loses_and_doubles_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
