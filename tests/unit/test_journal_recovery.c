// links: weir_fs weir_index
/* tests/unit/test_journal_recovery.c - what a journal is after power cuts, rot, failing calls and
 * kill -9. */
#include "tests/support/journal_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/sys.h"
#include "fs/journal/segment.h"
#include "fs/journal/segment_scan.h"

enum { HOUR = 100, FRAMES_MAX = 256 };

/* ---- a segment as bytes ---- */

struct image_of {
    char path[PATH_MAX];
    struct buf bytes;
    struct {
        uint32_t at, end;
        struct frame frame; /* views into bytes */
    } frames[FRAMES_MAX];
    size_t count;
};

static void load_segment(struct fixture *f, uint32_t seq, struct image_of *img)
{
    struct err e = {0};
    segment_path(f->dir, seq, img->path);
    buf_init(&img->bytes, FIXTURE_TEXT_MAX);
    assert_int_equal(sys_read_file(img->path, &img->bytes, &e), ERR_OK);
    img->count = 0;
    for (uint32_t at = SEGMENT_HEADER_LEN; img->count < FRAMES_MAX;) {
        struct str rest = {img->bytes.data + at, img->bytes.len - at};
        if (!frame_decode(rest, seq, at, &img->frames[img->count].frame))
            break;
        img->frames[img->count].at = at;
        at += (uint32_t)frame_peek(rest.ptr, rest.len);
        img->frames[img->count++].end = at;
    }
}

static void store(const struct image_of *img, const char *bytes)
{
    struct err e = {0};
    AUTO_FD int fd = sys_open(img->path, O_WRONLY, 0);
    assert_true(fd >= 0);
    assert_int_equal(sys_write_full(fd, bytes, img->bytes.len, 0, &e), ERR_OK);
}

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
        TEST(any_one_call_may_fail),
        TEST(any_one_write_may_be_cut_by_a_full_disk),
        TEST(any_call_may_begin_to_fail_for_good),
        TEST(a_failed_sync_is_made_good_elsewhere),
        TEST(many_undurable_frames_are_moved_together),
        TEST(a_disk_that_fails_for_good_refuses_and_recovers),
        TEST(kill_9_loses_and_doubles_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
