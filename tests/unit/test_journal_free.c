// links: weir_fs weir_index
/* tests/unit/test_journal_free.c - files are published, their frames freed, slow ones moved. */
#include "tests/support/journal_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/sys.h"
#include "fs/segment.h"
#include "fs/segment_scan.h"

enum { HOUR = 100, PARTS_MAX = 4096 };

/* What journal_open announced. */
struct announced {
    struct ulid parts[PARTS_MAX];
    uint64_t positions[PARTS_MAX];
    char records[PARTS_MAX][32];
    struct ulid files[PARTS_MAX];
    size_t count;
};

static enum err_code announce(const struct journal_publish *p, uint64_t position, void *ctx,
                              struct err *e)
{
    struct announced *a = ctx;
    (void)e;
    assert_true(a->count < PARTS_MAX);
    assert_true(p->record.len < sizeof a->records[0]);
    a->parts[a->count] = p->part;
    a->positions[a->count] = position;
    a->files[a->count] = p->files[0];
    memcpy(a->records[a->count], p->record.ptr, p->record.len);
    a->records[a->count][p->record.len] = '\0';
    a->count++;
    return ERR_OK;
}

static void announce_to(struct fixture *f, struct announced *a)
{
    a->count = 0;
    f->cfg.on_published = announce;
    f->cfg.ctx = a;
}

static bool take_first(const struct journal_file *file, void *ctx)
{
    *(struct journal_file *)ctx = *file;
    return false;
}

static struct journal_file first_file(struct fixture *f)
{
    struct journal_file file = {0};
    journal_file_list(f->j, take_first, &file);
    return file;
}

static void roll(struct fixture *f, const struct ulid *id, struct journal_file *out)
{
    struct err e = {0};
    if (journal_roll_file(f->j, id, out, &e))
        fail_msg("%s", e.msg);
}

static uint64_t publish(struct fixture *f, const struct ulid *files, size_t count,
                        const char *record)
{
    struct journal_publish p = {ulid_new(), files, count, str_from(record)};
    struct err e = {0};
    uint64_t position = 0;
    if (journal_publish(f->j, &p, &position, &e))
        fail_msg("%s", e.msg);
    return position;
}

static void a_rolled_file_takes_no_more_lines(void **state)
{
    struct fixture *f = *state;
    struct journal_file first, second;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_OK);
    first = first_file(f);
    assert_true(first.open);
    roll(f, &first.id, &first);
    assert_false(first.open);
    assert_int_equal(first.size, 2);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "b\n"), ERR_OK);
    roll(f, &first.id, &second);
    assert_int_equal(second.size, 2);
    struct shown s = shown_of(f, 1, HOUR);
    assert_int_equal(s.files, 2);
    assert_string_equal(s.text.data, "a\nb\n");
    buf_done(&s.text);
}

static void a_published_file_is_read_but_not_listed(void **state)
{
    struct fixture *f = *state;
    static struct announced told;
    struct journal_file file;
    char text[8];
    size_t got;
    struct err e;
    announce_to(f, &told);
    f->cfg.replaced_keep_us = 60000000;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_OK);
    file = first_file(f);
    roll(f, &file.id, &file);
    uint64_t position = publish(f, &file.id, 1, "the record");
    for (int again = 0; again < 3; again++) {
        assert_shown(f, 1, HOUR, "");
        assert_int_equal(journal_file_get(f->j, &file.id, &file, &e), ERR_OK);
        assert_true(file.replaced);
        assert_int_equal(journal_read(f->j, &file.id, 0, text, sizeof text, &got, &e), ERR_OK);
        assert_int_equal(got, 2);
        assert_memory_equal(text, "a\n", 2);
        assert_int_equal(told.count, again ? 1 : 0);
        if (again) {
            assert_string_equal(told.records[0], "the record");
            assert_int_equal(told.positions[0], position);
        }
        told.count = 0;
        fixture_reopen(f);
    }
}

static void only_closed_files_of_one_part_are_published(void **state)
{
    struct fixture *f = *state;
    struct journal_file a, b;
    struct ulid both[2], nobody = ulid_new();
    struct journal_publish p = {.part = ulid_new(), .record = STR("r")};
    uint64_t position = 0, again = 0;
    struct err e;
    f->cfg.replaced_keep_us = 60000000;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_OK);
    a = first_file(f);
    p.files = &a.id;
    p.file_count = 1;
    assert_int_equal(journal_publish(f->j, &p, &position, &e), ERR_INVALID);
    roll(f, &a.id, &a);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "b\n"), ERR_OK);
    p.files = &nobody;
    assert_int_equal(journal_publish(f->j, &p, &position, &e), ERR_NOTFOUND);
    p.file_count = 0;
    assert_int_equal(journal_publish(f->j, &p, &position, &e), ERR_INVALID);
    p.files = &a.id;
    p.file_count = 1;
    assert_int_equal(journal_publish(f->j, &p, &position, &e), ERR_OK);
    assert_int_equal(journal_publish(f->j, &p, &again, &e), ERR_OK);
    assert_int_equal(again, position);
    b = first_file(f);
    roll(f, &b.id, &b);
    both[0] = a.id;
    both[1] = b.id;
    p.files = both;
    p.file_count = 2;
    assert_int_equal(journal_publish(f->j, &p, &position, &e), ERR_INVALID);
    p.part = ulid_new();
    assert_int_equal(journal_publish(f->j, &p, &position, &e), ERR_INVALID);
    p.files = &b.id;
    p.file_count = 1;
    assert_int_equal(journal_publish(f->j, &p, &position, &e), ERR_OK);
    assert_shown(f, 1, HOUR, "");
}

/* ---- a small store on top: which rows are in which part ---- */

enum { STREAMS = 4, SLOW = 0, INDEX_MAX = 8192, ROWS_MAX = 30000, ROW_BYTES = 400 };

struct index_part {
    struct ulid id;
    unsigned stream, first, last;
};

/* Survives the process that fills it. */
struct world {
    unsigned sent[STREAMS];
    bool acked[STREAMS][ROWS_MAX];
    uint64_t numbers[STREAMS]; /* of batches; a stream has a worker of its own */
    struct index_part parts[INDEX_MAX];
    size_t part_count;
    uint64_t covered;
};

static void index_add(struct world *w, const struct ulid *id, struct str record)
{
    char text[64];
    struct index_part p = {.id = *id};
    for (size_t i = 0; i < w->part_count; i++) {
        if (ulid_cmp(&w->parts[i].id, id) == 0)
            return;
    }
    assert_true(str_copy_to(record, text, sizeof text));
    assert_int_equal(sscanf(text, "%u %u %u", &p.stream, &p.first, &p.last), 3);
    assert_true(w->part_count < INDEX_MAX);
    w->parts[w->part_count] = p;
    w->part_count++;
}

static enum err_code index_published(const struct journal_publish *p, uint64_t position, void *ctx,
                                     struct err *e)
{
    struct world *w = ctx;
    (void)e;
    index_add(w, &p->part, p->record);
    if (position > w->covered)
        w->covered = position;
    return ERR_OK;
}

static struct world *world_new(struct fixture *f)
{
    struct world *w =
        mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(w != MAP_FAILED);
    f->cfg.segment_bytes = 64 << 10;
    f->cfg.max_bytes = 10 * f->cfg.segment_bytes;
    f->cfg.replaced_max_bytes = 4 * f->cfg.segment_bytes;
    f->cfg.on_published = index_published;
    f->cfg.ctx = w;
    return w;
}

static void world_free(struct world *w)
{
    munmap(w, sizeof *w);
}

static void world_open(struct fixture *f, struct world *w)
{
    f->cfg.covered = w->covered;
    fixture_open(f);
}

/* Rows are "<stream> <number> xxx…"; `count` of them in one batch. */
static enum err_code send_rows(struct fixture *f, struct world *w, unsigned stream, unsigned count)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    for (unsigned i = 0; i < count; i++)
        buf_printf(&text, "%u %u %0*d\n", stream, ++w->sent[stream], ROW_BYTES, 7);
    enum err_code rc = append_text(f, stream, ++w->numbers[stream], 1 + stream, HOUR, text.data);
    for (unsigned i = 0; !rc && i < count; i++)
        w->acked[stream][w->sent[stream] - i] = true;
    buf_done(&text);
    return rc;
}

struct find_stream {
    uint64_t stream;
    struct journal_file file;
    bool found;
};

static bool take_of_stream(const struct journal_file *file, void *ctx)
{
    struct find_stream *find = ctx;
    find->found = file->stream == find->stream;
    find->file = *file;
    return !find->found;
}

static bool find_file(struct fixture *f, unsigned stream, struct journal_file *out)
{
    struct find_stream find = {.stream = 1 + stream};
    journal_file_list(f->j, take_of_stream, &find);
    *out = find.file;
    return find.found;
}

/* NULL: it cannot be read now. */
static char *try_text_of(struct fixture *f, const struct journal_file *file, struct err *e)
{
    char *text = malloc(file->size + 1);
    size_t got;
    if (journal_read(f->j, &file->id, 0, text, file->size, &got, e)) {
        free(text);
        return NULL;
    }
    assert_int_equal(got, file->size);
    text[got] = '\0';
    return text;
}

static char *text_of(struct fixture *f, const struct journal_file *file)
{
    struct err e;
    char *text = try_text_of(f, file, &e);
    if (!text)
        fail_msg("%s", e.msg);
    return text;
}

/* Its rows, which must be without a gap but for batches whose answer never came. */
static void check_rows(const char *text, unsigned stream, unsigned *first, unsigned *last)
{
    unsigned s, n;
    *first = *last = 0;
    for (const char *p = text; *p; p = strchr(p, '\n') + 1) {
        char want[ROW_BYTES + 32];
        assert_int_equal(sscanf(p, "%u %u", &s, &n), 2);
        assert_int_equal(s, stream);
        snprintf(want, sizeof want, "%u %u %0*d\n", s, n, ROW_BYTES, 7);
        assert_memory_equal(p, want, strlen(want));
        assert_true(n > *last);
        *first = *first ? *first : n;
        *last = n;
    }
}

/* Publish the oldest file of the stream; false: an error. */
static bool publish_stream(struct fixture *f, struct world *w, unsigned stream, bool cover)
{
    struct journal_file file;
    struct journal_publish p = {.part = ulid_new(), .file_count = 1};
    struct err e = {0};
    uint64_t position = 0;
    unsigned first, last;
    char record[64];
    if (!find_file(f, stream, &file))
        return true;
    if (journal_roll_file(f->j, &file.id, &file, &e))
        return false;
    char *text = try_text_of(f, &file, &e);
    if (!text)
        return false;
    check_rows(text, stream, &first, &last);
    free(text);
    snprintf(record, sizeof record, "%u %u %u", stream, first, last);
    p.files = &file.id;
    p.record = str_from(record);
    if (journal_publish(f->j, &p, &position, &e))
        return false;
    index_add(w, &p.part, p.record);
    if (cover && position > w->covered) {
        w->covered = position;
        journal_covered(f->j, position);
    }
    return true;
}

/* Each row that was acknowledged is in one file or one part, the others in at most one. */
static unsigned char *seen[STREAMS];

static bool see_file(const struct journal_file *file, void *ctx)
{
    struct fixture *f = ctx;
    unsigned stream = (unsigned)file->stream - 1, s, n;
    char *text = text_of(f, file);
    uint64_t rows = 0;
    for (const char *p = text; *p; p = strchr(p, '\n') + 1, rows++) {
        assert_int_equal(sscanf(p, "%u %u", &s, &n), 2);
        assert_true(s == stream && n < ROWS_MAX);
        seen[s][n]++;
    }
    assert_int_equal(rows, file->rows);
    check_rows(text, stream, &s, &n);
    free(text);
    return true;
}

static void check_world(struct fixture *f, const struct world *w)
{
    for (unsigned s = 0; s < STREAMS; s++)
        seen[s] = calloc(ROWS_MAX, 1);
    journal_file_list(f->j, see_file, f);
    for (size_t i = 0; i < w->part_count; i++) {
        for (unsigned n = w->parts[i].first; n <= w->parts[i].last; n++)
            seen[w->parts[i].stream][n]++;
    }
    for (unsigned s = 0; s < STREAMS; s++) {
        for (unsigned n = 1; n < ROWS_MAX; n++) {
            if (seen[s][n] < w->acked[s][n] || seen[s][n] > (n <= w->sent[s]))
                fail_msg("row %u of stream %u is there %u times; sent %u, acked %u", n, s,
                         seen[s][n], w->sent[s], w->acked[s][n]);
        }
        free(seen[s]);
    }
}

static struct journal_stats stats_of(struct fixture *f)
{
    struct journal_stats stats;
    journal_stats(f->j, &stats);
    return stats;
}

static void nap(void)
{
    poll(NULL, 0, 1);
}

#define WAIT_FOR(condition)                                                                        \
    for (uint64_t deadline_ms = clock_mono_ms() + 20000; !(condition); nap())                      \
    assert_true(clock_mono_ms() < deadline_ms)

/* ---- freeing ---- */

static void a_published_journal_stays_small(void **state)
{
    struct fixture *f = *state;
    struct world *w = world_new(f);
    world_open(f, w);
    fixture_epoch(f);
    for (unsigned round = 0; round < 120; round++) {
        WAIT_FOR(stats_of(f).bytes_used < 8 * f->cfg.segment_bytes);
        assert_int_equal(send_rows(f, w, 1, 40), ERR_OK);
        assert_int_equal(send_rows(f, w, 2, 20), ERR_OK);
        assert_true(publish_stream(f, w, 1, true));
        if (round % 2)
            assert_true(publish_stream(f, w, 2, true));
        assert_in_range(stats_of(f).bytes_used, 0, f->cfg.max_bytes);
        if (round % 25 == 24) {
            journal_close(f->j);
            world_open(f, w);
            check_world(f, w);
            memset(w->numbers, 0, sizeof w->numbers);
            fixture_epoch(f);
        }
    }
    assert_true(stats_of(f).freed_segments > 4);
    WAIT_FOR(stats_of(f).recycled_segments > 2);
    check_world(f, w);
    assert_int_equal(f->found.torn_bytes, 0);
    world_free(w);
}

static void nothing_goes_before_the_index_covers_it(void **state)
{
    struct fixture *f = *state;
    struct world *w = world_new(f);
    f->cfg.max_bytes *= 10;
    world_open(f, w);
    fixture_epoch(f);
    for (unsigned round = 0; round < 20; round++) {
        assert_int_equal(send_rows(f, w, 1, 40), ERR_OK);
        assert_true(publish_stream(f, w, 1, false));
    }
    assert_int_equal(stats_of(f).replaced_files, 20);
    assert_true(stats_of(f).freed_segments <= 1); /* the first may have no record in it */
    uint64_t parts = w->part_count;
    w->part_count = 0; /* the index is lost with its disk's cache */
    journal_close(f->j);
    world_open(f, w);
    assert_int_equal(w->part_count, parts);
    check_world(f, w);
    journal_covered(f->j, w->covered);
    WAIT_FOR(stats_of(f).freed_segments >= 4);
    WAIT_FOR(stats_of(f).segments <= 2);
    world_free(w);
}

static void slow_lines_are_moved_out_of_the_way(void **state)
{
    struct fixture *f = *state;
    struct world *w = world_new(f);
    world_open(f, w);
    fixture_epoch(f);
    for (unsigned round = 0; round < 200; round++) {
        WAIT_FOR(stats_of(f).bytes_used < 9 * f->cfg.segment_bytes);
        if (round % 5 == 0)
            assert_int_equal(send_rows(f, w, SLOW, 1), ERR_OK);
        assert_int_equal(send_rows(f, w, 1, 40), ERR_OK);
        assert_true(publish_stream(f, w, 1, true));
        assert_in_range(stats_of(f).bytes_used, 0, f->cfg.max_bytes);
        if (round % 40 == 30) {
            check_world(f, w);
            journal_close(f->j);
            world_open(f, w);
            assert_int_equal(f->found.corrupt_frames, 0);
            assert_int_equal(f->found.torn_bytes, 0);
            check_world(f, w);
            memset(w->numbers, 0, sizeof w->numbers);
            fixture_epoch(f);
        }
    }
    assert_true(stats_of(f).moved_bytes > 0);
    struct journal_file slow;
    assert_true(find_file(f, SLOW, &slow));
    assert_int_equal(slow.rows, 40);
    world_free(w);
}

/* ---- readers ---- */

static void readers_go_on_while_their_segments_are_freed(void **state)
{
    struct fixture *f = *state;
    struct world *w = world_new(f);
    struct journal_file file;
    struct err e;
    f->cfg.replaced_keep_us = 3600000000;
    world_open(f, w);
    fixture_epoch(f);
    assert_int_equal(send_rows(f, w, 1, 60), ERR_OK);
    assert_true(find_file(f, 1, &file));
    assert_int_equal(journal_pin(f->j, &file.id, JOURNAL_READER_HANDLE, &e), ERR_OK);
    assert_int_equal(journal_pin(f->j, &file.id, JOURNAL_READER_SNAPSHOT, &e), ERR_OK);
    char *before = text_of(f, &file);
    for (unsigned round = 0; round < 20; round++) {
        assert_true(publish_stream(f, w, 1, true));
        assert_int_equal(send_rows(f, w, 1, 40), ERR_OK);
    }
    WAIT_FOR(stats_of(f).freed_segments > 4 && stats_of(f).replaced_files == 1);
    assert_in_range(stats_of(f).replaced_bytes, 1, f->cfg.replaced_max_bytes);
    char *after = text_of(f, &file);
    assert_string_equal(after, before);
    journal_unpin(f->j, &file.id, JOURNAL_READER_SNAPSHOT);
    journal_unpin(f->j, &file.id, JOURNAL_READER_HANDLE);
    WAIT_FOR(stats_of(f).replaced_bytes == 0);
    assert_int_equal(stats_of(f).replaced_files, 0);
    assert_int_equal(journal_file_get(f->j, &file.id, &file, &e), ERR_NOTFOUND);
    assert_int_equal(journal_pin(f->j, &file.id, JOURNAL_READER_HANDLE, &e), ERR_NOTFOUND);
    free(before);
    free(after);
    world_free(w);
}

static void the_oldest_handle_goes_when_readers_need_too_much(void **state)
{
    struct fixture *f = *state;
    struct world *w = world_new(f);
    struct journal_file files[12];
    struct err e;
    f->cfg.replaced_keep_us = 3600000000;
    f->cfg.replaced_max_bytes = 2 * f->cfg.segment_bytes;
    world_open(f, w);
    fixture_epoch(f);
    for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
        assert_int_equal(send_rows(f, w, 1, 60), ERR_OK);
        assert_true(find_file(f, 1, &files[i]));
        assert_int_equal(journal_pin(f->j, &files[i].id, JOURNAL_READER_HANDLE, &e), ERR_OK);
        if (i == 1)
            assert_int_equal(journal_pin(f->j, &files[i].id, JOURNAL_READER_SNAPSHOT, &e), ERR_OK);
        assert_true(publish_stream(f, w, 1, true));
    }
    WAIT_FOR(stats_of(f).segments <= 4);
    assert_in_range(stats_of(f).replaced_bytes, 1, f->cfg.replaced_max_bytes);
    assert_int_equal(journal_file_get(f->j, &files[0].id, &files[0], &e), ERR_NOTFOUND);
    free(text_of(f, &files[1]));
    free(text_of(f, &files[11]));
    world_free(w);
}

/* ---- killed, and failing ---- */

/* What a node does all day; ends at the first error but a full journal. */
static enum err_code live(struct fixture *f, struct world *w, unsigned rounds)
{
    enum err_code rc = ERR_OK;
    for (unsigned round = 0; round < rounds; round++) {
        unsigned stream = 1 + round % (STREAMS - 1);
        rc = send_rows(f, w, stream, 10 + round % 30);
        if (!rc && round % 4 == 0)
            rc = send_rows(f, w, SLOW, 1);
        if (rc == ERR_FULL)
            nap();
        else if (rc)
            return rc;
        if (round % 2 && !publish_stream(f, w, stream, round % 5 != 0))
            return ERR_IO;
    }
    return ERR_OK;
}

static _Noreturn void be_killed(struct fixture *f, struct world *w)
{
    world_open(f, w);
    fixture_epoch(f);
    live(f, w, UINT32_MAX);
    _exit(1);
}

static void kill_9_loses_and_doubles_nothing(void **state)
{
    struct fixture *f = *state;
    struct world *w = world_new(f);
    uint64_t freed_before = 0;
    for (int round = 0; round < 25; round++) {
        int status;
        memset(w->numbers, 0, sizeof w->numbers);
        pid_t pid = fork();
        if (pid == 0)
            be_killed(f, w);
        poll(NULL, 0, 30 + round * 37 % 150); /* the moment is meant to be any */
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        world_open(f, w);
        assert_int_equal(f->found.corrupt_frames, 0);
        check_world(f, w);
        freed_before += stats_of(f).freed_segments;
        journal_close(f->j);
        f->j = NULL;
    }
    assert_true(w->part_count > 25);
    world_free(w);
}

struct plan {
    uint64_t fail_at;
    int sys;
    bool repeats;
    atomic_bool was_met;
};

static int fail_planned(struct sys_fault *fault, void *ctx)
{
    struct plan *p = ctx;
    if (fault->number < p->fail_at || (!p->repeats && fault->number > p->fail_at))
        return 0;
    atomic_store(&p->was_met, true);
    return p->sys;
}

static bool fail_once(struct fixture *f, struct world *w, struct plan *p)
{
    struct err e;
    memset(w, 0, sizeof *w);
    fixture_remove_tree(f->dir);
    sys_fault_set(fail_planned, p);
    f->cfg.covered = 0;
    if (journal_open(&f->cfg, &f->j, &f->found, &e) == ERR_OK) {
        if (journal_epoch(f->j, 0, &f->epoch, &e) == ERR_OK)
            live(f, w, 40);
        journal_close(f->j);
    }
    sys_fault_set(NULL, NULL);
    world_open(f, w);
    check_world(f, w);
    fixture_epoch(f);
    memset(w->numbers, 0, sizeof w->numbers);
    assert_int_equal(live(f, w, 4), ERR_OK);
    journal_close(f->j);
    world_open(f, w);
    check_world(f, w);
    journal_close(f->j);
    f->j = NULL;
    return atomic_load(&p->was_met);
}

static void any_call_may_fail(void **state)
{
    struct fixture *f = *state;
    struct world *w = world_new(f);
    for (int i = 0; i < 2; i++) {
        bool has_failed = true;
        for (uint64_t n = 0; has_failed; n += n < 60 ? 3 : 11) {
            struct plan p = {.fail_at = n, .sys = EIO, .repeats = i > 0};
            has_failed = fail_once(f, w, &p);
        }
    }
    world_free(w);
}

/* ---- many slow streams ---- */

enum { MANY = 10000, MANY_PER_BATCH = 2500, MINUTES = 4, FAST_BYTES = 4000000, FAST_BATCHES = 15 };

/* One short line for each of the slow streams. */
static void send_minute(struct fixture *f, unsigned minute)
{
    struct batch_run *runs = calloc(MANY_PER_BATCH, sizeof *runs);
    char(*lines)[24] = calloc(MANY_PER_BATCH, sizeof *lines);
    for (unsigned done = 0; done < MANY; done += MANY_PER_BATCH) {
        for (unsigned i = 0; i < MANY_PER_BATCH; i++) {
            snprintf(lines[i], sizeof lines[i], "%u %u\n", done + i, minute);
            runs[i] = run_of(100 + done + i, HOUR, lines[i]);
        }
        uint64_t number = minute * (MANY / MANY_PER_BATCH) + done / MANY_PER_BATCH + 1;
        assert_int_equal(append_runs(f, 10, number, runs, MANY_PER_BATCH), ERR_OK);
    }
    free(runs);
    free(lines);
}

struct many {
    struct fixture *f;
    unsigned files;
};

static bool check_slow(const struct journal_file *file, void *ctx)
{
    struct many *m = ctx;
    char want[24 * MINUTES] = "";
    if (file->stream < 100)
        return true;
    for (unsigned minute = 0; minute < MINUTES; minute++)
        snprintf(want + strlen(want), sizeof want - strlen(want), "%u %u\n",
                 (unsigned)file->stream - 100, minute);
    char *text = text_of(m->f, file);
    assert_string_equal(text, want);
    assert_int_equal(file->rows, MINUTES);
    free(text);
    m->files++;
    return true;
}

/* A few megabytes of a fast stream, published at once. */
static void send_much(struct fixture *f, uint64_t number)
{
    struct journal_file file;
    char *text = malloc(FAST_BYTES + 1);
    memset(text, 'x', FAST_BYTES);
    for (size_t at = 999; at < FAST_BYTES; at += 1000)
        text[at] = '\n';
    text[FAST_BYTES] = '\0';
    assert_int_equal(append_text(f, 11, number, 1, HOUR, text), ERR_OK);
    free(text);
    assert_true(find_file(f, 0, &file));
    roll(f, &file.id, &file);
    journal_covered(f->j, publish(f, &file.id, 1, "fast"));
}

static void ten_thousand_slow_streams_and_a_fast_one(void **state)
{
    struct fixture *f = *state;
    struct many m = {.f = f};
    f->cfg.segment_bytes = 16 << 20;
    f->cfg.max_bytes = 8 * f->cfg.segment_bytes;
    fixture_open(f);
    fixture_epoch(f);
    for (unsigned minute = 0; minute < MINUTES; minute++) {
        send_minute(f, minute);
        for (unsigned i = 0; i < FAST_BATCHES; i++) {
            WAIT_FOR(stats_of(f).bytes_used < 7 * f->cfg.segment_bytes);
            send_much(f, minute * FAST_BATCHES + i + 1);
        }
    }
    assert_in_range(stats_of(f).bytes_used, 0, f->cfg.max_bytes);
    assert_true(stats_of(f).moved_bytes > 0);
    for (int again = 0; again < 2; again++) {
        m.files = 0;
        journal_file_list(f->j, check_slow, &m);
        assert_int_equal(m.files, MANY);
        fixture_reopen(f);
        assert_int_equal(f->found.corrupt_frames, 0);
    }
}

/* ---- damage ---- */

/* Calls fn for each frame of the kind in the segments that are there. */
static unsigned each_frame(struct fixture *f, enum frame_kind kind,
                           void (*fn)(int fd, const struct scan_item *item, unsigned nth))
{
    unsigned count = 0;
    for (uint32_t seq = 1; seq < 100; seq++) {
        char path[PATH_MAX];
        struct scan scan;
        struct scan_item item;
        struct stat st;
        struct err e;
        segment_path(f->dir, seq, path);
        AUTO_FD int fd = sys_open(path, O_RDWR, 0);
        if (fd < 0)
            continue;
        assert_int_equal(sys_fstat(fd, &st), 0);
        segment_scan_init(&scan, fd, seq, (uint32_t)st.st_size, false);
        while (scan_next(&scan, &item, &e) == ERR_OK && item.kind != SCAN_END) {
            if (item.kind == SCAN_FRAME && item.frame.kind == kind)
                fn(fd, &item, count++);
        }
        scan_done(&scan);
    }
    return count;
}

static void flip(int fd, uint32_t at)
{
    char byte;
    struct err e;
    assert_int_equal(sys_read_full(fd, &byte, 1, at, &e), ERR_OK);
    byte ^= 4;
    assert_int_equal(sys_write_full(fd, &byte, 1, at, &e), ERR_OK);
}

static void flip_first_copies(int fd, const struct scan_item *item, unsigned nth)
{
    if (item->frame.part == 0)
        flip(fd, item->end - 9 - nth % 50);
}

static void flip_second_copies(int fd, const struct scan_item *item, unsigned nth)
{
    if (item->frame.part == 1)
        flip(fd, item->at + 16 + nth % 90);
}

static void publish_some(struct fixture *f, struct world *w)
{
    f->cfg.max_bytes *= 4;
    world_open(f, w);
    fixture_epoch(f);
    for (unsigned round = 0; round < 12; round++) {
        assert_int_equal(send_rows(f, w, 1, 30), ERR_OK);
        assert_int_equal(send_rows(f, w, 2, 3), ERR_OK);
        assert_true(publish_stream(f, w, 1, false));
    }
}

static void one_rotten_copy_of_each_publish_record_changes_nothing(void **state)
{
    static void (*const FLIPS[])(int, const struct scan_item *, unsigned) = {flip_first_copies,
                                                                             flip_second_copies};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(FLIPS); i++) {
        struct world *w = world_new(f);
        fixture_remove_tree(f->dir);
        publish_some(f, w);
        assert_int_equal(send_rows(f, w, 3, 1), ERR_OK);
        size_t parts = w->part_count;
        journal_close(f->j);
        assert_int_equal(each_frame(f, FRAME_PUBLISH, FLIPS[i]), PUBLISH_COPIES * parts);
        w->part_count = 0;
        world_open(f, w);
        assert_int_equal(w->part_count, parts);
        assert_in_range(f->found.corrupt_frames, 2, parts);
        assert_int_equal(f->found.torn_bytes, 0);
        check_world(f, w);
        journal_close(f->j);
        f->j = NULL;
        world_free(w);
    }
}

/* The newest record is cut at every eighth byte, as if the process had died in its write. */
static void a_torn_publish_record_is_none(void **state)
{
    struct fixture *f = *state;
    struct world *w = world_new(f);
    char path[PATH_MAX], zeros[8] = {0}, bytes[8192];
    struct journal_file file;
    struct err e;
    uint64_t position = 0;
    world_open(f, w);
    fixture_epoch(f);
    assert_int_equal(send_rows(f, w, 1, 3), ERR_OK);
    assert_true(find_file(f, 1, &file));
    roll(f, &file.id, &file);
    uint64_t before = stats_of(f).appended_bytes;
    position = publish(f, &file.id, 1, "1 1 3");
    assert_int_equal(stats_of(f).appended_bytes, before);
    uint32_t end = (uint32_t)position;
    uint32_t len = 2 * (uint32_t)frame_size(0, 0, PUBLISH_FIXED_LEN + PUBLISH_FILE_LEN + 5);
    journal_close(f->j);
    f->j = NULL;
    segment_path(f->dir, (uint32_t)(position >> 32), path);
    AUTO_FD int fd = sys_open(path, O_RDWR, 0);
    assert_int_equal(sys_read_full(fd, bytes, len, end - len, &e), ERR_OK);
    for (uint32_t cut = end - 8; cut >= end - len; cut -= 8) {
        memset(w->parts, 0, sizeof w->parts);
        w->part_count = 0;
        w->covered = 0;
        assert_int_equal(sys_write_full(fd, bytes, len, end - len, &e), ERR_OK);
        for (uint32_t at = cut; at < end; at += 8)
            assert_int_equal(sys_write_full(fd, zeros, 8, at, &e), ERR_OK);
        world_open(f, w);
        check_world(f, w);
        assert_int_equal(w->part_count, cut >= end - len / 2);
        assert_int_equal(f->found.corrupt_frames, 0);
        journal_close(f->j);
        f->j = NULL;
    }
    world_free(w);
}

static void flip_last_line(int fd, const struct scan_item *item, unsigned nth)
{
    if (nth % 2 == 0)
        flip(fd, item->end - 40);
}

/* So that each is scanned. */
static void spoil_tables(struct fixture *f)
{
    for (uint32_t seq = 1; seq < 100; seq++) {
        char path[PATH_MAX];
        struct stat st;
        segment_path(f->dir, seq, path);
        AUTO_FD int fd = sys_open(path, O_RDWR, 0);
        if (fd >= 0 && sys_fstat(fd, &st) == 0)
            flip(fd, (uint32_t)st.st_size - 20);
    }
}

static void count_only(int fd, const struct scan_item *item, unsigned nth)
{
    (void)fd;
    (void)item;
    (void)nth;
}

/* What is lost is lost once: the lines around it keep their order. */
static void rotten_moved_lines_are_left_out(void **state)
{
    struct fixture *f = *state;
    struct world *w = world_new(f);
    struct journal_file file;
    unsigned first, last;
    world_open(f, w);
    fixture_epoch(f);
    for (unsigned round = 0; round < 60; round++) {
        WAIT_FOR(stats_of(f).bytes_used < 9 * f->cfg.segment_bytes);
        if (round % 5 == 0)
            assert_int_equal(send_rows(f, w, SLOW, 2), ERR_OK);
        assert_int_equal(send_rows(f, w, 1, 40), ERR_OK);
        assert_true(publish_stream(f, w, 1, true));
    }
    WAIT_FOR(stats_of(f).moved_bytes > 10 * ROW_BYTES);
    journal_close(f->j);
    unsigned moved = each_frame(f, FRAME_MOVED, count_only);
    assert_true(moved > 3);
    each_frame(f, FRAME_MOVED, flip_last_line);
    spoil_tables(f);
    for (int again = 0; again < 2; again++) {
        world_open(f, w);
        assert_int_equal(f->found.torn_bytes, 0);
        assert_true(find_file(f, SLOW, &file));
        assert_in_range(file.rows, 24 - (moved + 1) / 2, 23);
        char *text = text_of(f, &file);
        check_rows(text, SLOW, &first, &last);
        assert_int_equal(last, 24);
        free(text);
        journal_close(f->j);
        f->j = NULL;
    }
    world_free(w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_make, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_rolled_file_takes_no_more_lines),
        TEST(a_published_file_is_read_but_not_listed),
        TEST(only_closed_files_of_one_part_are_published),
        TEST(a_published_journal_stays_small),
        TEST(nothing_goes_before_the_index_covers_it),
        TEST(slow_lines_are_moved_out_of_the_way),
        TEST(readers_go_on_while_their_segments_are_freed),
        TEST(the_oldest_handle_goes_when_readers_need_too_much),
        TEST(kill_9_loses_and_doubles_nothing),
        TEST(any_call_may_fail),
        TEST(ten_thousand_slow_streams_and_a_fast_one),
        TEST(one_rotten_copy_of_each_publish_record_changes_nothing),
        TEST(a_torn_publish_record_is_none),
        TEST(rotten_moved_lines_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
