// links: weir_fs weir_index
/* tests/unit/test_journal_free.c - files are published, their frames freed, slow ones moved. */
#include "tests/support/journal_world.h"

enum { PARTS_MAX = 4096 };

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
    assert_int_equal(stats_of(f).freed_segments, 0);
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

/* The records stand in later segments than the lines, which may be all that can be shown. */
static void lines_stay_until_the_index_covers_their_part_however_scarce_room_is(void **state)
{
    struct fixture *f = *state;
    struct world *w = world_new(f);
    struct journal_file file;
    struct err e;
    world_open(f, w);
    fixture_epoch(f);
    assert_int_equal(send_rows(f, w, 1, 60), ERR_OK);
    assert_true(find_file(f, 1, &file));
    while (send_rows(f, w, 2, 40) == ERR_OK)
        continue;
    assert_true(publish_stream(f, w, 1, false));
    assert_true(publish_stream(f, w, 2, false));
    for (int i = 0; i < 5; i++)
        assert_int_equal(send_rows(f, w, 3, 40), ERR_FULL);
    char *before = text_of(f, &file);
    journal_close(f->j);
    f->cfg.hold_replaced = true;
    w->covered = 0; /* the index is told of them now */
    world_open(f, w);
    assert_int_equal(journal_file_get(f->j, &file.id, &file, &e), ERR_OK);
    char *after = text_of(f, &file);
    assert_string_equal(after, before);
    free(before);
    free(after);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_make, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_rolled_file_takes_no_more_lines),
        TEST(a_published_file_is_read_but_not_listed),
        TEST(only_closed_files_of_one_part_are_published),
        TEST(a_published_journal_stays_small),
        TEST(nothing_goes_before_the_index_covers_it),
        TEST(lines_stay_until_the_index_covers_their_part_however_scarce_room_is),
        TEST(slow_lines_are_moved_out_of_the_way),
        TEST(readers_go_on_while_their_segments_are_freed),
        TEST(the_oldest_handle_goes_when_readers_need_too_much),
        TEST(ten_thousand_slow_streams_and_a_fast_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
