// links: weir_fs weir_index
/* tests/unit/test_journal_free.c - files are published, their frames freed, slow ones moved. */
#include "tests/support/journal_fixture.h"

#include <poll.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"

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

enum { STREAMS = 4, SLOW = 0, INDEX_MAX = 8192, ROWS_MAX = 60000, ROW_BYTES = 400 };

struct index_part {
    struct ulid id;
    unsigned stream, first, last;
};

/* Survives the process that fills it. */
struct world {
    unsigned sent[STREAMS], acked[STREAMS];
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
    if (!rc)
        w->acked[stream] = w->sent[stream];
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

static char *text_of(struct fixture *f, const struct journal_file *file)
{
    char *text = malloc(file->size + 1);
    size_t got;
    struct err e;
    if (journal_read(f->j, &file->id, 0, text, file->size, &got, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(got, file->size);
    text[got] = '\0';
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
    char *text = text_of(f, &file);
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
            bool ok = n <= w->acked[s] ? seen[s][n] >= 1 : true;
            if (!ok || seen[s][n] > 1 || (n > w->sent[s] && seen[s][n]))
                fail_msg("row %u of stream %u is there %u times; sent %u, acked %u", n, s,
                         seen[s][n], w->sent[s], w->acked[s]);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
