/* tests/support/journal_world.h - a small store on top of a journal: which rows are in which part.
 *
 * Rows are numbered by stream.  After whatever happened, each row that was acknowledged is in one
 * file or in one part, the others are in at most one.
 */
#ifndef WEIR_TESTS_JOURNAL_WORLD_H
#define WEIR_TESTS_JOURNAL_WORLD_H

#include "tests/support/journal_fixture.h"

#include <poll.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"

enum { HOUR = 100 };

static inline void roll(struct fixture *f, const struct ulid *id, struct journal_file *out)
{
    struct err e = {0};
    if (journal_roll_file(f->j, id, out, &e))
        fail_msg("%s", e.msg);
}

static inline uint64_t publish(struct fixture *f, const struct ulid *files, size_t count,
                               const char *record)
{
    struct journal_publish p = {ulid_new(), files, count, str_from(record)};
    struct err e = {0};
    uint64_t position = 0;
    if (journal_publish(f->j, &p, &position, &e))
        fail_msg("%s", e.msg);
    return position;
}

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

static inline void index_add(struct world *w, const struct ulid *id, struct str record)
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

static inline enum err_code index_published(const struct journal_publish *p, uint64_t position,
                                            void *ctx, struct err *e)
{
    struct world *w = ctx;
    (void)e;
    index_add(w, &p->part, p->record);
    if (position > w->covered)
        w->covered = position;
    return ERR_OK;
}

static inline struct world *world_new(struct fixture *f)
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

static inline void world_free(struct world *w)
{
    munmap(w, sizeof *w);
}

static inline void world_open(struct fixture *f, struct world *w)
{
    f->cfg.covered = w->covered;
    fixture_open(f);
}

/* Rows are "<stream> <number> xxx…"; `count` of them in one batch. */
static inline enum err_code send_rows(struct fixture *f, struct world *w, unsigned stream,
                                      unsigned count)
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

static inline bool take_of_stream(const struct journal_file *file, void *ctx)
{
    struct find_stream *find = ctx;
    find->found = file->stream == find->stream;
    find->file = *file;
    return !find->found;
}

static inline bool find_file(struct fixture *f, unsigned stream, struct journal_file *out)
{
    struct find_stream find = {.stream = 1 + stream};
    journal_file_list(f->j, take_of_stream, &find);
    *out = find.file;
    return find.found;
}

/* NULL: it cannot be read now. */
static inline char *try_text_of(struct fixture *f, const struct journal_file *file, struct err *e)
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

static inline char *text_of(struct fixture *f, const struct journal_file *file)
{
    struct err e;
    char *text = try_text_of(f, file, &e);
    if (!text)
        fail_msg("%s", e.msg);
    return text;
}

/* Its rows, which must be without a gap but for batches whose answer never came. */
static inline void check_rows(const char *text, unsigned stream, unsigned *first, unsigned *last)
{
    unsigned s, n;
    *first = *last = 0;
    for (const char *p = text; p && *p; p += strcspn(p, "\n") + 1) {
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
static inline bool publish_stream(struct fixture *f, struct world *w, unsigned stream, bool cover)
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

static inline bool see_file(const struct journal_file *file, void *ctx)
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

static inline void check_world(struct fixture *f, const struct world *w)
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

static inline struct journal_stats stats_of(struct fixture *f)
{
    struct journal_stats stats;
    journal_stats(f->j, &stats);
    return stats;
}

static inline void nap(void)
{
    poll(NULL, 0, 1);
}

#define WAIT_FOR(condition)                                                                        \
    for (uint64_t deadline_ms = clock_mono_ms() + 20000; !(condition); nap())                      \
    assert_true(clock_mono_ms() < deadline_ms)

#endif
