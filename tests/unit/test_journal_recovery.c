// links: weir_fs weir_index
/* tests/unit/test_journal_recovery.c - what a journal is after power cuts and rot. */
#include "tests/support/journal_image.h"

#include <dirent.h>
#include <string.h>

static size_t files_in(const char *path)
{
    size_t n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *ent; (ent = readdir(d)) != NULL;)
        n += ent->d_name[0] != '.';
    closedir(d);
    return n;
}

static void empty_lost_found(struct fixture *f)
{
    fixture_remove_tree(f->lost);
}

static char *copy_of(const struct image_of *img)
{
    char *bytes = malloc(img->bytes.len);
    memcpy(bytes, img->bytes.data, img->bytes.len);
    return bytes;
}

/* ---- torn tails ---- */

/* What recovery may keep of the last frame when it is cut there. */
static void add_whole_lines(const struct image_of *img, const char *bytes, struct buf *want)
{
    size_t last = img->count - 1;
    struct frame f;
    struct frame_stretch s = {0};
    struct str at = {bytes + img->frames[last].at, img->bytes.len - img->frames[last].at};
    if (!frame_decode(at, 1, img->frames[last].at, &f))
        return;
    while (frame_next_stretch(&f, &s))
        buf_add(want, f.payload + s.at, s.len);
}

static bool any_byte(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i])
            return true;
    }
    return false;
}

static void check_torn_at(struct fixture *f, const struct image_of *img, uint32_t cut)
{
    uint32_t at = img->frames[img->count - 1].at, end = img->frames[img->count - 1].end;
    AUTO_FREE char *bytes = copy_of(img);
    struct buf want;
    memset(bytes + cut, 0, end - cut);
    bool is_whole = memcmp(bytes, img->bytes.data, img->bytes.len) == 0;
    bool is_empty = !any_byte(bytes + at, end - at);
    store(img, bytes);
    empty_lost_found(f);
    fixture_open(f);
    buf_init(&want, 4096);
    buf_add_cstr(&want, "a1\na2\nb1\n");
    if (is_whole || f->cfg.node_died)
        add_whole_lines(img, bytes, &want);
    assert_shown(f, 1, HOUR, want.data);
    assert_int_equal(f->found.torn_bytes > 0, !is_whole && !is_empty);
    assert_int_equal(files_in(f->lost), !is_whole && !is_empty);
    assert_int_equal(f->found.corrupt_frames, 0);
    /* The batch is sent again and goes in, unless it was whole. */
    assert_int_equal(append_text(f, 0, 3, 1, HOUR, "again\n"), ERR_OK);
    if (!is_whole)
        buf_add_cstr(&want, "again\n");
    fixture_reopen(f);
    assert_shown(f, 1, HOUR, want.data);
    assert_int_equal(f->found.torn_bytes, 0);
    journal_close(f->j);
    f->j = NULL;
    buf_done(&want);
}

static void check_every_cut(struct fixture *f)
{
    struct image_of img;
    f->cfg.segment_bytes = 64 << 10;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a1\na2\n"), ERR_OK);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "b1\n"), ERR_OK);
    assert_int_equal(append_text(f, 0, 3, 1, HOUR, "c1\nc22\n\nc333\n"), ERR_OK);
    journal_close(f->j);
    f->j = NULL;
    load_segment(f, 1, &img);
    for (uint32_t cut = img.frames[img.count - 1].at; cut < img.frames[img.count - 1].end; cut++)
        check_torn_at(f, &img, cut);
    buf_done(&img.bytes);
}

static void a_torn_last_frame_is_dropped_when_only_the_process_died(void **state)
{
    check_every_cut(*state);
}

static void a_torn_last_frame_keeps_its_whole_lines_when_the_node_died(void **state)
{
    struct fixture *f = *state;
    f->cfg.node_died = true;
    check_every_cut(f);
}

static void a_torn_end_of_garbage_is_set_aside_and_zeroed(void **state)
{
    struct fixture *f = *state;
    struct image_of img;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_OK);
    journal_close(f->j);
    load_segment(f, 1, &img);
    uint32_t end = img.frames[img.count - 1].end;
    memset(img.bytes.data + end, 0x5a, 1000);
    memset(img.bytes.data + end + 20000, 0x5a, 8);
    store(&img, img.bytes.data);
    fixture_open(f);
    assert_int_equal(f->found.torn_bytes, 20008);
    assert_int_equal(files_in(f->lost), 1);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "b\n"), ERR_OK);
    fixture_reopen(f);
    assert_int_equal(f->found.torn_bytes, 0);
    assert_shown(f, 1, HOUR, "a\nb\n");
    buf_done(&img.bytes);
}

/* Its sender knows that it is not stored, and sends it again: also a killed node keeps nothing. */
/* A hundred batches of stream 2, from that number on: at least one segment has its table then. */
static void fill_segments(struct fixture *f, uint64_t from)
{
    char text[1000];
    memset(text, 'x', sizeof text);
    memcpy(text + sizeof text - 2, "\n", 2);
    for (uint64_t i = from; i < from + 100; i++)
        assert_int_equal(append_text(f, 1, i, 2, HOUR, text), ERR_OK);
}

/* Part 0 of batch 1 of worker 0 is in, and stream 7 is deleted. */
static void begin_batch(struct fixture *f)
{
    f->cfg.node_died = true;
    f->cfg.segment_bytes = 64 << 10;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 2, 1, 1, HOUR, "whole\n"), ERR_OK);
    assert_int_equal(append_text(f, 2, 2, 7, HOUR, "of the deleted one\n"), ERR_OK);
    assert_int_equal(journal_drop_stream(f->j, 7, NULL), ERR_OK);
    struct batch_run first = run_of(1, HOUR, "part 0\n");
    struct batch_part p = {{f->epoch, 0, 1}, 0, 0, 0, &first, 1, {0}};
    assert_int_equal(append_part(f->j, &p, NULL), ERR_OK);
}

static void refuse_part(struct fixture *f, uint32_t part)
{
    struct batch_run bad = run_of(7, HOUR, "for the deleted one\n");
    struct batch_part p = {{f->epoch, 0, 1}, part, 0, BATCH_LAST, &bad, 1, {0}};
    assert_int_equal(append_part(f->j, &p, NULL), ERR_FORBIDDEN);
}

static void add_part(struct fixture *f, uint32_t part, const char *text, uint16_t flags)
{
    struct batch_run run = run_of(1, HOUR, text);
    struct batch_part p = {{f->epoch, 0, 1}, part, 0, flags, &run, 1, {0}};
    assert_int_equal(append_part(f->j, &p, NULL), ERR_OK);
}

static void expect_batch_dropped(struct fixture *f)
{
    for (int again = 0; again < 2; again++) {
        fixture_reopen(f);
        assert_int_equal(f->found.torn_batches, 0);
        assert_shown(f, 1, HOUR, "whole\n");
    }
}

static void what_was_refused_in_the_middle_is_not_kept(void **state)
{
    begin_batch(*state);
    refuse_part(*state, 1);
    refuse_part(*state, 1);
    expect_batch_dropped(*state);
}

/* The refusal stands in the table of its segment. */
static void what_was_refused_stays_so_behind_a_table(void **state)
{
    begin_batch(*state);
    refuse_part(*state, 1);
    fill_segments(*state, 1);
    expect_batch_dropped(*state);
}

/* Its frame is in a later segment than the part, which then has its table too. */
static void what_was_refused_in_a_later_segment_is_not_kept(void **state)
{
    begin_batch(*state);
    fill_segments(*state, 1);
    refuse_part(*state, 1);
    expect_batch_dropped(*state);
    fixture_epoch(*state);
    fill_segments(*state, 1);
    expect_batch_dropped(*state);
}

/* The frame says that the batch did not end in the corrupt place before it. */
static void what_was_refused_after_a_corrupt_place_is_not_kept(void **state)
{
    struct fixture *f = *state;
    struct image_of img;
    begin_batch(f);
    assert_int_equal(append_text(f, 1, 1, 2, HOUR, "rots\n"), ERR_OK);
    refuse_part(f, 1);
    journal_close(f->j);
    load_segment(f, 1, &img);
    for (size_t i = 0; i < img.count; i++)
        if (img.frames[i].frame.kind == FRAME_DATA && img.frames[i].frame.stream == 2)
            img.bytes.data[img.frames[i].at + 20] ^= 1; /* its header */
    store(&img, img.bytes.data);
    buf_done(&img.bytes);
    fixture_open(f);
    assert_int_equal(f->found.corrupt_frames, 1);
    assert_int_equal(f->found.torn_batches, 0);
    assert_shown(f, 1, HOUR, "whole\n");
}

/* Refused once, its sender goes on with it and is answered. */
static void what_was_refused_and_goes_on_is_kept(void **state)
{
    begin_batch(*state);
    refuse_part(*state, 1);
    add_part(*state, 1, "part 1\n", BATCH_LAST);
    fixture_reopen(*state);
    assert_shown(*state, 1, HOUR, "whole\npart 0\npart 1\n");
}

/* It goes on and is then cut off by the power cut. */
static void what_goes_on_after_a_refusal_is_torn_as_any_other(void **state)
{
    struct fixture *f = *state;
    begin_batch(f);
    refuse_part(f, 1);
    add_part(f, 1, "part 1\n", 0);
    fixture_reopen(f);
    assert_int_equal(f->found.torn_batches, 1);
    assert_shown(f, 1, HOUR, "whole\npart 0\npart 1\n");
}

/* Another part of it is refused later: the mark is written again. */
static void what_is_refused_twice_is_not_kept(void **state)
{
    begin_batch(*state);
    refuse_part(*state, 1);
    add_part(*state, 1, "part 1\n", 0);
    refuse_part(*state, 2);
    expect_batch_dropped(*state);
}

static void incomplete_batches_are_dropped_or_kept_by_who_died(void **state)
{
    struct fixture *f = *state;
    for (int died = 0; died < 2; died++) {
        struct buf want;
        buf_init(&want, 4096);
        buf_add_cstr(&want, "whole\n");
        f->cfg.node_died = died;
        fixture_open(f);
        fixture_epoch(f);
        assert_int_equal(append_text(f, 1, 1, 1, HOUR + died, "whole\n"), ERR_OK);
        struct batch_run r = run_of(1, HOUR + died, "part one\nof two\n");
        struct batch_part p = {{f->epoch, 0, 1}, 0, 0, 0, &r, 1, {0}};
        assert_int_equal(append_part(f->j, &p, NULL), ERR_OK);
        if (died)
            buf_add_cstr(&want, "part one\nof two\n");
        for (int again = 0; again < 3; again++) {
            fixture_reopen(f);
            assert_shown(f, 1, HOUR + died, want.data);
            assert_int_equal(f->found.torn_batches, again == 0);
        }
        f->cfg.node_died = true; /* what was dropped stays so */
        fixture_reopen(f);
        assert_shown(f, 1, HOUR + died, want.data);
        journal_close(f->j);
        f->j = NULL;
        buf_done(&want);
    }
}

/* ---- rot ---- */

enum { ROT_BATCHES = 8 };

/* Batches of three lines, "<n>a <n>b <n>c". */
static void build_rot(struct fixture *f, struct image_of *img)
{
    fixture_open(f);
    fixture_epoch(f);
    for (unsigned i = 1; i <= ROT_BATCHES; i++) {
        char text[64];
        snprintf(text, sizeof text, "%ua\n%ub\n%uc\n", i, i, i);
        assert_int_equal(append_text(f, 0, i, 1, HOUR, text), ERR_OK);
    }
    journal_close(f->j);
    f->j = NULL;
    load_segment(f, 1, img);
}

/* Which of the lines are shown: a bit per line; each at most once. */
static uint32_t shown_lines(struct fixture *f)
{
    struct shown s = shown_of(f, 1, HOUR);
    uint32_t bits = 0;
    for (char *p = s.text.data; p && *p; p = strchr(p, '\n') + 1) {
        unsigned n;
        char c;
        assert_int_equal(sscanf(p, "%u%c", &n, &c), 2);
        uint32_t bit = 1u << ((n - 1) * 3 + (unsigned)(c - 'a'));
        assert_int_equal(bits & bit, 0);
        bits |= bit;
    }
    buf_done(&s.text);
    return bits;
}

/* Lines that may be missing when this byte of this frame is damaged. */
static uint32_t may_lose(const struct image_of *img, size_t i, uint32_t at)
{
    const struct frame *f = &img->frames[i].frame;
    uint32_t payload_at = img->frames[i].at + (uint32_t)frame_payload_at(f->line_count);
    if (f->kind != FRAME_DATA)
        return 0;
    unsigned n = (unsigned)f->batch.number - 1;
    if (at < payload_at)
        return 7u << (n * 3);
    if (at < payload_at + f->payload_len)
        return 1u << (n * 3 + (at - payload_at) / 3);
    return 0;
}

static void check_rot_at(struct fixture *f, const struct image_of *img, size_t i, uint32_t at)
{
    AUTO_FREE char *bytes = copy_of(img);
    uint32_t all = (1u << ROT_BATCHES * 3) - 1, lost = may_lose(img, i, at);
    bytes[at] ^= 0x10;
    store(img, bytes);
    empty_lost_found(f);
    for (int again = 0; again < 2; again++) {
        fixture_open(f);
        if (shown_lines(f) != (all & ~lost))
            fail_msg("frame %zu kind %d byte %u: %x instead of %x", i,
                     (int)img->frames[i].frame.kind, at - img->frames[i].at, shown_lines(f),
                     all & ~lost);
        assert_int_equal(f->found.torn_bytes, 0);
        if (lost) {
            assert_int_equal(f->found.corrupt_frames, 1);
            assert_int_equal(files_in(f->lost), 1);
        }
        assert_int_equal(append_text(f, 0, ROT_BATCHES, 1, HOUR, "again\n"), ERR_OK);
        journal_close(f->j);
        f->j = NULL;
    }
}

static void a_rotten_byte_costs_its_line_or_its_frame_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct image_of img;
    f->cfg.segment_bytes = 64 << 10;
    build_rot(f, &img);
    /* The last frames were not known durable when the last of them was written. */
    for (size_t i = 0; i + 2 < img.count; i++) {
        for (uint32_t at = img.frames[i].at; at < img.frames[i].end; at += 5)
            check_rot_at(f, &img, i, at);
    }
    buf_done(&img.bytes);
}

static void a_rotten_header_page_costs_nothing(void **state)
{
    struct fixture *f = *state;
    struct image_of img;
    build_rot(f, &img);
    img.bytes.data[20] ^= 1;
    store(&img, img.bytes.data);
    for (int again = 0; again < 2; again++) {
        fixture_open(f);
        assert_int_equal(shown_lines(f), (1u << ROT_BATCHES * 3) - 1);
        assert_int_equal(append_text(f, 0, ROT_BATCHES, 1, HOUR, "again\n"), ERR_OK);
        journal_close(f->j);
        f->j = NULL;
    }
    fixture_open(f);
    assert_int_equal(append_text(f, 0, ROT_BATCHES + 1, 2, HOUR, "more\n"), ERR_OK);
    fixture_reopen(f);
    assert_shown(f, 2, HOUR, "more\n");
    assert_int_equal(shown_lines(f), (1u << ROT_BATCHES * 3) - 1);
    buf_done(&img.bytes);
}

static void rot_table(struct fixture *f, uint32_t seq)
{
    struct image_of img;
    load_segment(f, seq, &img);
    assert_int_equal(img.frames[img.count - 1].frame.kind, FRAME_TABLE);
    img.bytes.data[img.frames[img.count - 1].at + FRAME_HEADER_LEN + 50] ^= 1;
    store(&img, img.bytes.data);
    buf_done(&img.bytes);
}

static void a_rotten_table_is_replaced_by_a_scan(void **state)
{
    struct fixture *f = *state;
    struct buf want;
    char text[1000];
    f->cfg.segment_bytes = 64 << 10;
    buf_init(&want, FIXTURE_TEXT_MAX);
    fixture_open(f);
    fixture_epoch(f);
    memset(text, 'x', sizeof text);
    memcpy(text + sizeof text - 2, "\n", 2);
    for (uint64_t i = 1; i <= 200; i++) {
        assert_int_equal(append_text(f, 0, i, 1, HOUR, text), ERR_OK);
        buf_add_cstr(&want, text);
    }
    journal_close(f->j);
    rot_table(f, 2);
    fixture_open(f);
    assert_int_equal(f->found.corrupt_frames, 1);
    assert_shown(f, 1, HOUR, want.data);
    buf_done(&want);
}

/* Its first part stands before the table of segment 1, its last one `between` segments after it. */
static void outlive_rotten_table(struct fixture *f, bool between)
{
    f->cfg.segment_bytes = 64 << 10;
    fixture_open(f);
    fixture_epoch(f);
    struct batch_run first = run_of(1, HOUR, "begun\n"), last = run_of(1, HOUR, "ended\n");
    struct batch_part p = {{f->epoch, 0, 1}, 0, 0, 0, &first, 1, {0}};
    assert_int_equal(append_part(f->j, &p, NULL), ERR_OK);
    fill_segments(f, 1);
    if (between)
        fill_segments(f, 101);
    p = (struct batch_part){{f->epoch, 0, 1}, 1, 0, BATCH_LAST, &last, 1, {0}};
    assert_int_equal(append_part(f->j, &p, NULL), ERR_OK);
    fill_segments(f, 201);
    journal_close(f->j);
    rot_table(f, 1);
    fixture_open(f);
    assert_int_equal(f->found.corrupt_frames, 1);
    assert_int_equal(f->found.torn_batches, 0);
    assert_shown(f, 1, HOUR, "begun\nended\n");
}

/* The table after the rotten one says that the batch was completed. */
static void a_batch_that_ends_after_a_rotten_table_is_there_once(void **state)
{
    outlive_rotten_table(*state, false);
}

/* It says that the batch goes on. */
static void a_batch_that_goes_on_after_a_rotten_table_is_there_once(void **state)
{
    outlive_rotten_table(*state, true);
}

/* The end of a file is lost, a table is written, the file goes on after it, and the table rots. */
static void what_follows_a_lost_end_stays_when_the_table_rots(void **state)
{
    struct fixture *f = *state;
    struct image_of img;
    f->cfg.segment_bytes = 64 << 10;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "kept\n"), ERR_OK);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "lost for ever\n"), ERR_OK);
    for (uint64_t i = 3; i < 6; i++)
        assert_int_equal(append_text(f, 0, i, 2, HOUR, "durable\n"), ERR_OK);
    journal_close(f->j);
    load_segment(f, 1, &img);
    char *lost = memmem(img.bytes.data, img.bytes.len, "lost for ever", 13);
    assert_non_null(lost);
    lost[0] ^= 1;
    store(&img, img.bytes.data);
    buf_done(&img.bytes);

    fixture_open(f);
    assert_int_equal(f->found.corrupt_frames, 1);
    fill_segments(f, 1);
    fixture_reopen(f);
    assert_int_equal(f->found.corrupt_frames, 0); /* from the table */
    assert_int_equal(append_text(f, 0, 6, 1, HOUR, "after\n"), ERR_OK);
    journal_close(f->j);
    load_segment(f, 1, &img);
    assert_int_equal(img.frames[img.count - 1].frame.kind, FRAME_TABLE);
    img.bytes.data[img.frames[img.count - 1].at + FRAME_HEADER_LEN + 50] ^= 1;
    store(&img, img.bytes.data);
    buf_done(&img.bytes);
    fixture_open(f);
    assert_shown(f, 1, HOUR, "kept\nafter\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_make, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_torn_last_frame_is_dropped_when_only_the_process_died),
        TEST(a_torn_last_frame_keeps_its_whole_lines_when_the_node_died),
        TEST(a_torn_end_of_garbage_is_set_aside_and_zeroed),
        TEST(what_was_refused_in_the_middle_is_not_kept),
        TEST(what_was_refused_stays_so_behind_a_table),
        TEST(what_was_refused_in_a_later_segment_is_not_kept),
        TEST(what_was_refused_after_a_corrupt_place_is_not_kept),
        TEST(what_was_refused_and_goes_on_is_kept),
        TEST(what_goes_on_after_a_refusal_is_torn_as_any_other),
        TEST(what_is_refused_twice_is_not_kept),
        TEST(incomplete_batches_are_dropped_or_kept_by_who_died),
        TEST(a_rotten_byte_costs_its_line_or_its_frame_and_nothing_else),
        TEST(a_rotten_header_page_costs_nothing),
        TEST(a_rotten_table_is_replaced_by_a_scan),
        TEST(a_batch_that_ends_after_a_rotten_table_is_there_once),
        TEST(a_batch_that_goes_on_after_a_rotten_table_is_there_once),
        TEST(what_follows_a_lost_end_stays_when_the_table_rots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
