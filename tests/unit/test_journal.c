// links: weir_fs weir_index
/* tests/unit/test_journal.c - appending, reading, repeating, filling and reopening a journal. */
#include "tests/support/journal_fixture.h"

#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "fs/journal/files.h"

enum { HOUR = 100 };

static void lines_come_back_in_order(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "{\"a\":1}\n{\"a\":2}\n"), ERR_OK);
    assert_int_equal(append_text(f, 1, 1, 1, HOUR, "{\"a\":3}\n"), ERR_OK);
    assert_int_equal(append_text(f, 0, 2, 2, HOUR, "{\"b\":1}\n"), ERR_OK);
    assert_shown(f, 1, HOUR, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
    assert_shown(f, 2, HOUR, "{\"b\":1}\n");
    fixture_reopen(f);
    assert_shown(f, 1, HOUR, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
    assert_shown(f, 2, HOUR, "{\"b\":1}\n");
    assert_int_equal(f->found.rows, 4);
    assert_int_equal(f->found.torn_bytes, 0);
}

static void a_batch_of_many_runs_goes_to_many_files(void **state)
{
    struct fixture *f = *state;
    struct batch_run runs[60];
    fixture_open(f);
    fixture_epoch(f);
    for (uint64_t i = 0; i < 60; i++)
        runs[i] = run_of(1 + i % 20, HOUR + (int32_t)(i / 20), "{\"x\":1}\n");
    assert_int_equal(append_runs(f, 0, 1, runs, 60), ERR_OK);
    for (int again = 0; again < 2; again++) {
        for (uint64_t i = 0; i < 60; i++)
            assert_shown(f, 1 + i % 20, HOUR + (int32_t)(i / 20), "{\"x\":1}\n");
        fixture_reopen(f);
    }
}

static void nothing_of_a_batch_is_shown_before_its_last_part(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_one_part(f, 0, 1, 0, false, "a\n"), ERR_OK);
    assert_int_equal(append_one_part(f, 0, 1, 1, false, "b\n"), ERR_OK);
    assert_shown(f, 1, HOUR, "");
    assert_int_equal(append_text(f, 1, 1, 1, HOUR, "between\n"), ERR_OK);
    assert_int_equal(append_one_part(f, 0, 1, 2, true, "c\n"), ERR_OK);
    assert_shown(f, 1, HOUR, "between\na\nb\nc\n");
    fixture_reopen(f);
    assert_shown(f, 1, HOUR, "between\na\nb\nc\n");
}

static void a_missing_part_is_asked_for_again(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_one_part(f, 0, 1, 1, true, "b\n"), ERR_AGAIN);
    assert_int_equal(append_one_part(f, 0, 1, 0, false, "a\n"), ERR_OK);
    assert_int_equal(append_one_part(f, 0, 1, 2, true, "c\n"), ERR_AGAIN);
    assert_shown(f, 1, HOUR, "");
    assert_int_equal(append_one_part(f, 0, 1, 0, false, "a\n"), ERR_OK);
    assert_int_equal(append_one_part(f, 0, 1, 1, false, "b\n"), ERR_OK);
    assert_int_equal(append_one_part(f, 0, 1, 2, true, "c\n"), ERR_OK);
    assert_shown(f, 1, HOUR, "a\nb\nc\n");
}

static void a_repeated_number_is_answered_and_not_applied(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_OK);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "b\n"), ERR_OK);
    for (int again = 0; again < 3; again++) {
        assert_int_equal(append_text(f, 0, 2, 1, HOUR, "b\n"), ERR_OK);
        assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_STALE);
        assert_shown(f, 1, HOUR, "a\nb\n");
        fixture_reopen(f);
    }
    assert_int_equal(append_text(f, 0, 3, 1, HOUR, "c\n"), ERR_OK);
    assert_shown(f, 1, HOUR, "a\nb\nc\n");
}

static void a_higher_number_gives_up_what_was_open(void **state)
{
    struct fixture *f = *state;
    f->cfg.node_died = true; /* also then its lines stay out */
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_one_part(f, 0, 1, 0, false, "given up\n"), ERR_OK);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "kept\n"), ERR_OK);
    assert_int_equal(append_one_part(f, 0, 1, 1, true, "too late\n"), ERR_STALE);
    assert_shown(f, 1, HOUR, "kept\n");
    fixture_reopen(f);
    assert_shown(f, 1, HOUR, "kept\n");
}

static void an_older_epoch_is_stale(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    uint64_t epoch = 0, first;
    fixture_open(f);
    fixture_epoch(f);
    first = f->epoch;
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_OK);
    assert_int_equal(journal_epoch(f->j, first, &epoch, &e), ERR_OK);
    assert_int_equal(epoch, first);
    fixture_epoch(f);
    assert_true(f->epoch > first);
    assert_int_equal(journal_epoch(f->j, first, &epoch, &e), ERR_STALE);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "b\n"), ERR_OK);
    uint64_t newest = f->epoch;
    f->epoch = first;
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "c\n"), ERR_STALE);
    fixture_reopen(f);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "c\n"), ERR_STALE);
    assert_int_equal(journal_epoch(f->j, newest, &epoch, &e), ERR_OK);
    assert_shown(f, 1, HOUR, "a\nb\n");
}

static void bad_batches_are_refused(void **state)
{
    struct fixture *f = *state;
    struct batch_run r = run_of(1, HOUR, "a\n");
    fixture_open(f);
    fixture_epoch(f);
    const struct {
        struct batch_part part;
        enum err_code code;
    } cases[] = {
        {{{f->epoch, 0, 0}, 0, 1, BATCH_LAST, &r, 1, {0}}, ERR_INVALID},
        {{{f->epoch, 1u << 20, 1}, 0, 1, BATCH_LAST, &r, 1, {0}}, ERR_INVALID},
        {{{f->epoch, 0, 1}, 0, 1, BATCH_LAST, &r, 0, {0}}, ERR_INVALID},
        {{{f->epoch + 1, 0, 1}, 0, 1, BATCH_LAST, &r, 1, {0}}, ERR_STALE},
        {{{0, 0, 1}, 0, 1, BATCH_LAST, &r, 1, {0}}, ERR_STALE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(append_part(f->j, &cases[i].part, NULL), cases[i].code);
    assert_shown(f, 1, HOUR, "");
}

/* ---- many segments ---- */

static char *long_text(size_t lines, size_t line_len, int seed)
{
    char *text = malloc(lines * line_len + 1), *p = text;
    for (size_t i = 0; i < lines; i++) {
        memset(p, 'a' + (seed + (int)i) % 26, line_len - 1);
        p[line_len - 1] = '\n';
        p += line_len;
    }
    *p = '\0';
    return text;
}

static void fill(struct fixture *f, uint64_t first_number, int batches, struct buf *want)
{
    for (int i = 0; i < batches; i++) {
        char *text = long_text(20, 500, i);
        assert_int_equal(append_text(f, 0, first_number + (uint64_t)i, 1, HOUR, text), ERR_OK);
        buf_add_cstr(want, text);
        free(text);
    }
}

static void many_segments_come_back_from_their_tables(void **state)
{
    struct fixture *f = *state;
    struct buf want;
    struct journal_stats stats;
    buf_init(&want, FIXTURE_TEXT_MAX);
    fixture_open(f);
    fixture_epoch(f);
    fill(f, 1, 200, &want);
    assert_shown(f, 1, HOUR, want.data);
    journal_stats(f->j, &stats);
    assert_true(stats.segments >= 8);
    assert_int_equal(stats.extents, 200);
    fixture_reopen(f);
    assert_shown(f, 1, HOUR, want.data);
    assert_int_equal(f->found.segments, stats.segments);
    assert_true(f->found.frames < 60); /* of the newest segment only */
    assert_int_equal(append_text(f, 0, 200, 1, HOUR, "x\n"), ERR_OK);
    fill(f, 201, 50, &want);
    fixture_reopen(f);
    assert_shown(f, 1, HOUR, want.data);
    struct shown s = shown_of(f, 1, HOUR);
    assert_int_equal(s.files, 1);
    assert_int_equal(s.rows, 250 * 20);
    buf_done(&s.text);
    buf_done(&want);
}

static void a_batch_may_span_segments(void **state)
{
    struct fixture *f = *state;
    struct buf want;
    buf_init(&want, FIXTURE_TEXT_MAX);
    fixture_open(f);
    fixture_epoch(f);
    for (uint32_t part = 0; part < 12; part++) {
        char *text = long_text(100, 600, (int)part);
        assert_int_equal(append_one_part(f, 3, 1, part, part == 11, text), ERR_OK);
        buf_add_cstr(&want, text);
        free(text);
        assert_shown(f, 1, HOUR, part == 11 ? want.data : "");
    }
    fixture_reopen(f);
    assert_shown(f, 1, HOUR, want.data);
    assert_int_equal(append_one_part(f, 3, 1, 11, true, "x\n"), ERR_OK);
    assert_shown(f, 1, HOUR, want.data);
    buf_done(&want);
}

static void a_full_journal_refuses_and_goes_on_reading(void **state)
{
    struct fixture *f = *state;
    uint64_t number = 1;
    enum err_code code;
    f->cfg.max_bytes = 4 * FIXTURE_SEGMENT_BYTES;
    fixture_open(f);
    fixture_epoch(f);
    char *text = long_text(20, 500, 1);
    while ((code = append_text(f, 0, number, 1, HOUR, text)) == ERR_OK)
        assert_true(number++ < 200);
    assert_int_equal(code, ERR_FULL);
    assert_true(number > 60);
    for (int again = 0; again < 2; again++) {
        struct shown s = shown_of(f, 1, HOUR);
        assert_int_equal(s.rows, (number - 1) * 20);
        buf_done(&s.text);
        assert_int_equal(append_text(f, 0, number, 1, HOUR, text), ERR_FULL);
        fixture_reopen(f);
    }
    f->cfg.max_bytes *= 2;
    fixture_reopen(f);
    assert_int_equal(append_text(f, 0, number, 1, HOUR, text), ERR_OK);
    free(text);
}

/* Else a full one could neither be served by a new gateway nor be emptied. */
static void a_full_journal_gives_epochs_and_closes_files(void **state)
{
    static const int widths[] = {100000, 1000, 1};
    struct fixture *f = *state;
    uint64_t number = 1;
    enum err_code code;
    char text[100002];
    f->cfg.max_bytes = 2 * FIXTURE_SEGMENT_BYTES;
    fixture_open(f);
    fixture_epoch(f);
    for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
        snprintf(text, sizeof text, "%0*d\n", widths[i], 7);
        while ((code = append_text(f, 0, number, 1, HOUR, text)) == ERR_OK)
            assert_true(number++ < 10000);
        assert_int_equal(code, ERR_FULL);
    }
    for (int again = 0; again < 3; again++) {
        struct journal_stats stats;
        struct err e;
        fixture_epoch(f);
        assert_int_equal(append_text(f, 0, 1, 1, HOUR, "x\n"), ERR_FULL);
        assert_int_equal(journal_roll(f->j, 0, 0, &e), ERR_OK);
        journal_stats(f->j, &stats);
        assert_in_range(stats.bytes_used, 3 * FIXTURE_SEGMENT_BYTES, 4 * FIXTURE_SEGMENT_BYTES - 1);
        fixture_reopen(f);
    }
    f->cfg.max_bytes *= 2;
    fixture_reopen(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "x\n"), ERR_OK);
}

static void the_last_segment_that_is_allowed_is_filled_after_a_start_too(void **state)
{
    struct fixture *f = *state;
    struct journal_stats stats = {0};
    uint64_t number = 1;
    f->cfg.max_bytes = 2 * FIXTURE_SEGMENT_BYTES;
    fixture_open(f);
    fixture_epoch(f);
    for (; stats.segments < 2; number++) { /* the first is full to the brim */
        assert_int_equal(append_text(f, number % 32, number, 1, HOUR, "x\n"), ERR_OK);
        journal_stats(f->j, &stats);
    }
    fixture_reopen(f);
    journal_stats(f->j, &stats);
    assert_true(stats.bytes_used > f->cfg.max_bytes); /* its table reaches past its end */
    assert_int_equal(append_text(f, 0, number, 1, HOUR, "x\n"), ERR_OK);
}

static void a_disk_below_its_reserve_refuses(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_OK);
    f->cfg.disk_reserve_bytes = UINT64_MAX;
    fixture_reopen(f);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "b\n"), ERR_FULL);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_OK);
    assert_shown(f, 1, HOUR, "a\n");
}

static void what_no_segment_can_take_is_too_big(void **state)
{
    struct fixture *f = *state;
    f->cfg.segment_bytes = 64 << 10;
    fixture_open(f);
    fixture_epoch(f);
    char *text = long_text(100, 600, 1);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, text), ERR_TOOBIG);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_OK);
    assert_shown(f, 1, HOUR, "a\n");
    free(text);
}

/* ---- files ---- */

static void a_rolled_file_takes_no_more(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_OK);
    assert_int_equal(append_text(f, 0, 2, 2, HOUR, "b\n"), ERR_OK);
    assert_int_equal(journal_roll(f->j, 1, HOUR, &e), ERR_OK);
    assert_int_equal(journal_roll(f->j, 1, HOUR + 5, &e), ERR_OK); /* no such file */
    fixture_reopen(f);
    assert_int_equal(append_text(f, 0, 3, 1, HOUR, "c\n"), ERR_OK);
    assert_int_equal(append_text(f, 0, 4, 2, HOUR, "d\n"), ERR_OK);
    struct shown s = shown_of(f, 1, HOUR);
    assert_int_equal(s.files, 2);
    assert_string_equal(s.text.data, "a\nc\n");
    buf_done(&s.text);
    s = shown_of(f, 2, HOUR);
    assert_int_equal(s.files, 1);
    buf_done(&s.text);
    assert_int_equal(journal_roll(f->j, 0, 0, &e), ERR_OK);
    assert_int_equal(append_text(f, 0, 5, 2, HOUR, "e\n"), ERR_OK);
    s = shown_of(f, 2, HOUR);
    assert_int_equal(s.files, 2);
    buf_done(&s.text);
}

struct id_list {
    struct ulid ids[600];
    size_t count;
};

static bool collect_id(const struct journal_file *file, void *ctx)
{
    struct id_list *list = ctx;
    assert_true(list->count < ARRAY_LEN(list->ids));
    list->ids[list->count++] = file->id;
    return true;
}

static void many_files_are_closed_with_one_sync(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct id_list list = {.count = 0};
    struct journal_stats before, after;
    f->cfg.segment_bytes = 4u << 20;
    fixture_open(f);
    fixture_epoch(f);
    for (uint64_t i = 1; i <= 600; i++)
        assert_int_equal(append_text(f, 0, i, i, HOUR, "a\n"), ERR_OK);
    journal_file_list(f->j, collect_id, &list);
    assert_int_equal(list.count, ARRAY_LEN(list.ids));
    journal_stats(f->j, &before);
    assert_int_equal(journal_roll_files(f->j, list.ids, list.count, &e), ERR_OK);
    journal_stats(f->j, &after);
    assert_in_range(after.syncs - before.syncs, 1, 2); /* one may have been on its way */
    assert_int_equal(journal_roll_files(f->j, list.ids, list.count, &e), ERR_OK);
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < list.count; i++) {
            struct journal_file file;
            assert_int_equal(journal_file_get(f->j, &list.ids[i], &file, &e), ERR_OK);
            assert_false(file.open);
        }
        fixture_reopen(f);
    }
}

/* A journal that has given out all numbers below `next` already. */
static void make_used_journal(const struct fixture *f, uint32_t next)
{
    struct segment_header h = {.size_bytes = FIXTURE_SEGMENT_BYTES, .seq = 1, .next_file = next};
    char path[PATH_MAX];
    struct err e = {0};
    assert_int_equal(mkdir(f->dir, 0700), 0);
    segment_path(f->dir, 1, path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, FIXTURE_SEGMENT_BYTES) == 0);
    assert_int_equal(segment_write_header(fd, &h, &e), ERR_OK);
    close(fd);
}

/* Files of ten streams, one hour after the other; the journal is opened again now and then. */
static void fill_with_files(struct fixture *f)
{
    struct err e = {0};
    for (int32_t hour = HOUR; hour < HOUR + 12; hour++) {
        for (uint64_t stream = 1; stream <= 10; stream++)
            assert_int_equal(append_text(f, 0, (uint64_t)hour * 10 + stream, stream, hour,
                                         stream == 1 ? "{\"one\":1}\n" : "{\"x\":1}\n"),
                             ERR_OK);
        assert_int_equal(journal_roll(f->j, 2, hour, &e), ERR_OK);
        if (hour % 4 == 0)
            fixture_reopen(f);
    }
}

static void there_is_no_end_of_the_numbers_of_files(void **state)
{
    static const uint32_t NEXT[] = {JOURNAL_FILES_MAX - 30, INT32_MAX - 30, UINT32_MAX - 30,
                                    UINT32_MAX, 0};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(NEXT); i++) {
        make_used_journal(f, NEXT[i]);
        fixture_open(f);
        fixture_epoch(f);
        fill_with_files(f);
        for (int again = 0; again < 2; again++) {
            for (int32_t hour = HOUR; hour < HOUR + 12; hour++) {
                assert_shown(f, 1, hour, "{\"one\":1}\n");
                assert_shown(f, 2, hour, "{\"x\":1}\n");
                assert_shown(f, 10, hour, "{\"x\":1}\n");
            }
            fixture_reopen(f);
        }
        assert_int_equal(f->found.files, 120);
        journal_close(f->j);
        f->j = NULL;
        fixture_remove_tree(f->dir);
    }
}

static void a_number_that_a_living_file_has_is_passed_over(void **state)
{
    struct files files;
    struct stream_decl stream = {1, STREAM_LOGS, STR("default"), STR("app")};
    struct file_decl old = {.number = 7, .id = ulid_new(), .stream = 1, .hour = HOUR};
    (void)state;
    files_init(&files);
    const struct jstream *s = files_stream(&files, &stream);
    assert_non_null(files_declare(&files, &old));
    files.next_number = UINT32_MAX - 1;
    for (int32_t hour = 1; hour <= 9; hour++) {
        static const uint32_t WANT[] = {UINT32_MAX - 1, 1, 2, 3, 4, 5, 6, 8, 9};
        assert_int_equal(files_open_for(&files, s, HOUR + hour)->number, WANT[hour - 1]);
    }
    files_done(&files);
}

static void a_number_belongs_to_the_file_that_was_declared_last(void **state)
{
    struct files files;
    struct stream_decl stream = {1, STREAM_LOGS, STR("default"), STR("app")};
    struct file_decl old = {.number = 7, .id = ulid_new(), .stream = 1, .hour = HOUR};
    struct file_decl young = {.number = 7, .id = ulid_new(), .stream = 1, .hour = HOUR + 1};
    (void)state;
    files_init(&files);
    files_stream(&files, &stream);
    struct jfile *a = files_declare(&files, &old), *b = files_declare(&files, &young);
    assert_true(a && b && a != b);
    assert_ptr_equal(files_declare(&files, &young), b);
    assert_ptr_equal(files_by_number(&files, 7), b);
    files_forget_locked(&files, a);
    assert_ptr_equal(files_by_number(&files, 7), b);
    files_done(&files);
}

static bool first_file(const struct journal_file *file, void *ctx)
{
    *(struct journal_file *)ctx = *file;
    return false;
}

static void a_file_tells_its_facts(void **state)
{
    struct fixture *f = *state;
    struct journal_file file = {0}, again;
    struct err e = {0};
    clock_set_test_wall_us(1700000000000000);
    fixture_open(f);
    fixture_epoch(f);
    struct batch_run r = run_of(7, HOUR, "a\nb\n");
    r.min_ts_us = 20;
    r.max_ts_us = 30;
    assert_int_equal(append_runs(f, 0, 1, &r, 1), ERR_OK);
    clock_set_test_wall_us(1700000005000000);
    r.min_ts_us = 10;
    r.max_ts_us = 25;
    assert_int_equal(append_runs(f, 0, 2, &r, 1), ERR_OK);
    for (int i = 0; i < 2; i++) {
        journal_file_list(f->j, first_file, &file);
        assert_int_equal(file.stream, 7);
        assert_true(str_eq(file.org, STR("default")));
        assert_int_equal(file.type, STREAM_LOGS);
        assert_int_equal(file.hour, HOUR);
        assert_int_equal(file.size, 8);
        assert_int_equal(file.rows, 4);
        assert_int_equal(file.min_ts_us, 10);
        assert_int_equal(file.max_ts_us, 30);
        assert_int_equal(file.first_append_us, 1700000000000000);
        assert_int_equal(file.last_append_us, 1700000005000000);
        assert_true(file.open);
        assert_int_equal(journal_file_get(f->j, &file.id, &again, &e), ERR_OK);
        assert_int_equal(again.size, 8);
        fixture_reopen(f);
    }
    clock_set_test_wall_us(0);
    struct ulid other = ulid_new();
    assert_int_equal(journal_file_get(f->j, &other, &again, &e), ERR_NOTFOUND);
}

static void reads_are_cut_at_the_shown_size(void **state)
{
    struct fixture *f = *state;
    struct journal_file file = {0};
    struct err e = {0};
    char got_text[32];
    size_t got;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "abc\n"), ERR_OK);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "defg\n"), ERR_OK);
    journal_file_list(f->j, first_file, &file);
    const char *whole = "abc\ndefg\n";
    for (size_t off = 0; off <= 11; off++) {
        for (size_t n = 0; n <= 11; n++) {
            size_t left = off < 9 ? 9 - off : 0, want = n < left ? n : left;
            assert_int_equal(journal_read(f->j, &file.id, off, got_text, n, &got, &e), ERR_OK);
            assert_int_equal(got, want);
            assert_memory_equal(got_text, whole + (off < 9 ? off : 0), want);
        }
    }
}

struct grow_log {
    atomic_int count;
    struct ulid last;
};

static void note_grow(const struct ulid *id, void *ctx)
{
    struct grow_log *g = ctx;
    g->last = *id;
    atomic_fetch_add(&g->count, 1);
}

static void growth_is_told_once_per_file_and_batch(void **state)
{
    struct fixture *f = *state;
    struct grow_log g = {0};
    f->cfg.on_grow = note_grow;
    f->cfg.ctx = &g;
    fixture_open(f);
    fixture_epoch(f);
    struct batch_run runs[] = {run_of(1, HOUR, "a\n"), run_of(2, HOUR, "b\n"),
                               run_of(1, HOUR, "c\n")};
    assert_int_equal(append_runs(f, 0, 1, runs, 3), ERR_OK);
    assert_int_equal(atomic_load(&g.count), 2);
    assert_int_equal(append_one_part(f, 0, 2, 0, false, "d\n"), ERR_OK);
    assert_int_equal(atomic_load(&g.count), 2);
    assert_shown(f, 1, HOUR, "a\nc\n");
}

static void a_read_only_journal_changes_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t epoch;
    struct err e = {0};
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_OK);
    f->cfg.read_only = true;
    fixture_reopen(f);
    assert_shown(f, 1, HOUR, "a\n");
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "b\n"), ERR_READONLY);
    assert_int_equal(journal_epoch(f->j, 0, &epoch, &e), ERR_READONLY);
    assert_int_equal(journal_sync(f->j, &e), ERR_OK);
}

static void answers_without_sync_come_at_once_and_sync_makes_them_durable(void **state)
{
    struct fixture *f = *state;
    struct journal_stats stats;
    struct err e = {0};
    f->cfg.fsync_disabled = true;
    fixture_open(f);
    fixture_epoch(f);
    for (uint64_t i = 1; i <= 100; i++)
        assert_int_equal(append_text(f, 0, i, 1, HOUR, "a\n"), ERR_OK);
    journal_stats(f->j, &stats);
    assert_true(stats.syncs < 50);
    assert_int_equal(journal_sync(f->j, &e), ERR_OK);
    struct shown s = shown_of(f, 1, HOUR);
    assert_int_equal(s.rows, 100);
    buf_done(&s.text);
}

/* ---- threads ---- */

enum { WRITERS = 8, BATCHES_EACH = 150 };

struct writer {
    struct fixture *f;
    uint32_t index;
    pthread_t thread;
};

static void *write_batches(void *arg)
{
    struct writer *w = arg;
    for (uint64_t i = 1; i <= BATCHES_EACH; i++) {
        char text[400];
        snprintf(text, sizeof text, "{\"writer\":%u,\"batch\":%llu,\"pad\":\"%0*d\"}\n", w->index,
                 (unsigned long long)i, (int)(i * 7 % 300), 0);
        if (append_text(w->f, w->index, i, 1 + w->index % 3, HOUR, text))
            return w;
    }
    return NULL;
}

static atomic_bool readers_stop;

/* A file only grows, always ends in a whole line, and its bytes stay. */
static bool check_growing(const struct journal_file *file, void *ctx)
{
    struct fixture *f = ctx;
    struct err e = {0};
    char *text = malloc(file->size);
    size_t got;
    assert_int_equal(journal_read(f->j, &file->id, 0, text, file->size, &got, &e), ERR_OK);
    assert_int_equal(got, file->size);
    assert_int_equal(text[got - 1], '\n');
    uint64_t rows = 0;
    for (size_t i = 0; i < got; i++) {
        assert_int_not_equal(text[i], 0);
        rows += text[i] == '\n';
    }
    assert_int_equal(rows, file->rows);
    free(text);
    return true;
}

static void *read_files(void *arg)
{
    while (!atomic_load(&readers_stop))
        journal_file_list(((struct fixture *)arg)->j, check_growing, arg);
    return NULL;
}

/* Each writer's batches are there once and in order. */
static void check_all_there(struct fixture *f)
{
    unsigned next[WRITERS], seen = 0;
    for (unsigned i = 0; i < WRITERS; i++)
        next[i] = 1;
    for (uint64_t stream = 1; stream <= 3; stream++) {
        struct shown s = shown_of(f, stream, HOUR);
        for (char *p = s.text.data; p && *p; p = strchr(p, '\n') + 1, seen++) {
            unsigned writer, batch;
            assert_int_equal(sscanf(p, "{\"writer\":%u,\"batch\":%u", &writer, &batch), 2);
            assert_int_equal(batch, next[writer]);
            next[writer]++;
        }
        buf_done(&s.text);
    }
    assert_int_equal(seen, WRITERS * BATCHES_EACH);
}

static void many_threads_append_and_read(void **state)
{
    struct fixture *f = *state;
    struct writer writers[WRITERS];
    pthread_t reader;
    void *failed = NULL;
    f->cfg.segment_bytes = 64 << 10;
    fixture_open(f);
    fixture_epoch(f);
    atomic_store(&readers_stop, false);
    pthread_create(&reader, NULL, read_files, f);
    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.f = f, .index = i};
        pthread_create(&writers[i].thread, NULL, write_batches, &writers[i]);
    }
    for (uint32_t i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, &failed);
        assert_null(failed);
    }
    atomic_store(&readers_stop, true);
    pthread_join(reader, NULL);
    check_all_there(f);
    fixture_reopen(f);
    check_all_there(f);
}

/* Two handlers with the same last part: one is applied, both are answered. */
static void the_same_batch_twice_at_once_is_applied_once(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_epoch(f);
    for (uint64_t number = 1; number <= 50; number++) {
        struct batch_run r = run_of(1, HOUR, "a\n");
        struct batch_part p = {{f->epoch, 0, number}, 0, 1, BATCH_LAST, &r, 1, {0}};
        struct answer first = answer_new(), second = answer_new();
        journal_append(f->j, &p, answer_done, &first);
        journal_append(f->j, &p, answer_done, &second);
        assert_int_equal(answer_wait(&first), ERR_OK);
        assert_int_equal(answer_wait(&second), ERR_OK);
    }
    struct shown s = shown_of(f, 1, HOUR);
    assert_int_equal(s.rows, 50);
    buf_done(&s.text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_make, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_come_back_in_order),
        TEST(a_batch_of_many_runs_goes_to_many_files),
        TEST(nothing_of_a_batch_is_shown_before_its_last_part),
        TEST(a_missing_part_is_asked_for_again),
        TEST(a_repeated_number_is_answered_and_not_applied),
        TEST(a_higher_number_gives_up_what_was_open),
        TEST(an_older_epoch_is_stale),
        TEST(bad_batches_are_refused),
        TEST(many_segments_come_back_from_their_tables),
        TEST(a_batch_may_span_segments),
        TEST(a_full_journal_refuses_and_goes_on_reading),
        TEST(a_full_journal_gives_epochs_and_closes_files),
        TEST(the_last_segment_that_is_allowed_is_filled_after_a_start_too),
        TEST(a_disk_below_its_reserve_refuses),
        TEST(what_no_segment_can_take_is_too_big),
        TEST(a_rolled_file_takes_no_more),
        TEST(there_is_no_end_of_the_numbers_of_files),
        TEST(a_number_that_a_living_file_has_is_passed_over),
        TEST(a_number_belongs_to_the_file_that_was_declared_last),
        TEST(many_files_are_closed_with_one_sync),
        TEST(a_file_tells_its_facts),
        TEST(reads_are_cut_at_the_shown_size),
        TEST(growth_is_told_once_per_file_and_batch),
        TEST(a_read_only_journal_changes_nothing),
        TEST(answers_without_sync_come_at_once_and_sync_makes_them_durable),
        TEST(many_threads_append_and_read),
        TEST(the_same_batch_twice_at_once_is_applied_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
