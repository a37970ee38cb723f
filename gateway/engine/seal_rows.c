/* gateway/engine/seal_rows.c - reads the sources of a seal; what kind of rows they are stands in
 * seal_log_rows.c and seal_sample_rows.c. */
#include "gateway/engine/seal_rows.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "gateway/engine/seal_rows_internal.h"
#include "gateway/engine/unit_reader.h"

#define CANCEL_CHECK_LINES 1024
#define ARENA_MAX ((size_t)1 << 30)
#define GROW_MIN 1024

uint32_t seal_count_text(struct seal_rows *s)
{
    s->facts.rows++;
    s->facts.text_bytes += s->line.len;
    s->facts.text_sum += text_line_hash((struct str){s->line.data, s->line.len - 1});
    return (uint32_t)s->line.len;
}

bool seal_grow(void **array, size_t count, size_t *cap, size_t elem_size)
{
    if (count < *cap)
        return true;
    size_t want = *cap ? *cap * 2 : GROW_MIN;
    void *bigger = realloc(*array, want * elem_size);
    if (!bigger)
        return false;
    *array = bigger;
    *cap = want;
    return true;
}

/* Many columns make short groups, or a part would not fit into memory.  Never more than there are
 * rows: DuckDB makes room for the dictionary of a whole group, in every column. */
static uint64_t group_rows(size_t columns, uint64_t rows)
{
    uint64_t chunk = duckdb_vector_size();
    uint64_t limit = SEAL_GROUP_CELLS / (columns + 1);
    uint64_t needed = (rows + chunk - 1) / chunk * chunk;
    if (limit > SEAL_GROUP_ROWS)
        limit = SEAL_GROUP_ROWS;
    else if (limit < chunk)
        limit = chunk;
    return needed < limit ? needed : limit / chunk * chunk;
}

enum err_code seal_begin_groups(struct seal_rows *s, struct err *e)
{
    struct seal_facts *f = &s->facts;
    f->group_rows = group_rows(s->column_count, f->rows);
    f->group_count = (f->rows + f->group_rows - 1) / f->group_rows;
    f->group_bytes = arena_zalloc(&s->arena, (f->group_count + 1) * sizeof *f->group_bytes);
    return f->group_bytes ? ERR_OK
                          : err_set(e, ERR_NOMEM, "no memory for %zu row groups", f->group_count);
}

/* ---- reading ---- */

struct tally { /* of one source */
    uint64_t rows;
    int64_t min_ts_us, max_ts_us;
};

static void tally_row(struct tally *t, int64_t ts_us)
{
    if (t->rows == 0 || ts_us < t->min_ts_us)
        t->min_ts_us = ts_us;
    if (t->rows == 0 || ts_us > t->max_ts_us)
        t->max_ts_us = ts_us;
    t->rows++;
}

static enum err_code read_lines(struct seal_rows *s, size_t i, struct unit_reader *r,
                                const atomic_bool *cancelled, struct tally *t, struct err *e)
{
    for (;;) {
        struct str line;
        int64_t ts_us;
        if (t->rows % CANCEL_CHECK_LINES == 0 && atomic_load(cancelled))
            return err_set(e, ERR_CANCELLED, "the seal was cancelled");
        enum err_code rc = unit_reader_next(r, &line, e);
        if (rc != ERR_OK || !line.ptr)
            return rc;
        if (s->facts.text_bytes + line.len > SEAL_TEXT_MAX)
            return err_set(e, ERR_TOOBIG, "more than %zu bytes in one part", SEAL_TEXT_MAX);
        rc = s->kind->add(s, i, line, &ts_us, e);
        if (rc != ERR_OK)
            return err_wrap(e, "line %llu", (unsigned long long)t->rows + 1);
        tally_row(t, ts_us);
    }
}

/* What the journal counted when the lines came in must be what stands there now. */
static enum err_code compare_source(const struct seal_source *src, const struct tally *t,
                                    struct err *e)
{
    if (t->rows == src->rows && t->min_ts_us == src->min_ts_us && t->max_ts_us == src->max_ts_us)
        return ERR_OK;
    return err_set(
        e, ERR_CORRUPT, "%llu rows from %lld to %lld, where the journal has %llu from %lld to %lld",
        (unsigned long long)t->rows, (long long)t->min_ts_us, (long long)t->max_ts_us,
        (unsigned long long)src->rows, (long long)src->min_ts_us, (long long)src->max_ts_us);
}

static enum err_code read_source(struct seal_rows *s, size_t i, const char *mount_dir,
                                 const atomic_bool *cancelled, struct err *e)
{
    const struct seal_source *src = &s->request->sources[i];
    struct unit_file file;
    struct unit_reader reader;
    struct tally t = {0};
    enum err_code rc = unit_file_open(&file, src->path, mount_dir, e);
    if (rc != ERR_OK)
        return rc;
    unit_reader_init(&reader, SEAL_LINE_MAX);
    rc = unit_reader_start(&reader, &file, 0, file.size_bytes, e);
    if (rc == ERR_OK)
        rc = read_lines(s, i, &reader, cancelled, &t, e);
    if (rc == ERR_OK)
        rc = compare_source(src, &t, e);
    unit_reader_done(&reader);
    sys_close(file.fd);
    return rc == ERR_OK ? ERR_OK : err_wrap(e, STR_FMT, STR_ARG(src->path));
}

static void add_range(struct seal_facts *f, const struct seal_source *src, bool is_first)
{
    if (is_first || src->min_ts_us < f->min_ts_us)
        f->min_ts_us = src->min_ts_us;
    if (is_first || src->max_ts_us > f->max_ts_us)
        f->max_ts_us = src->max_ts_us;
}

/* ---- the contract ---- */

/* So that memory is taken once, and not doubled while it grows. */
static uint64_t bytes_of_sources(const struct seal_request *r)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < r->source_count; i++)
        bytes += r->sources[i].bytes;
    return bytes;
}

static enum err_code load(struct seal_rows *s, const char *mount_dir, const atomic_bool *cancelled,
                          struct err *e)
{
    enum err_code rc = s->kind->open(s, bytes_of_sources(s->request), e);
    text_writer_init(&s->writer, &s->form, &s->line);
    for (size_t i = 0; i < s->request->source_count && rc == ERR_OK; i++) {
        rc = read_source(s, i, mount_dir, cancelled, e);
        add_range(&s->facts, &s->request->sources[i], i == 0);
    }
    if (rc == ERR_OK && s->facts.rows == 0)
        rc = err_set(e, ERR_INVALID, "no rows to seal");
    if (rc == ERR_OK)
        rc = s->kind->finish(s, e);
    return rc;
}

enum err_code seal_rows_load(const struct seal_request *r, const char *mount_dir,
                             const atomic_bool *cancelled, struct seal_rows **out, struct err *e)
{
    struct seal_rows *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for a seal");
    s->request = r;
    s->kind = r->is_metrics ? &seal_sample_rows : &seal_log_rows;
    arena_init(&s->arena, ARENA_MAX);
    buf_init(&s->line, SEAL_LINE_MAX * 2);
    buf_init(&s->plain, SEAL_LINE_MAX);
    enum err_code rc = load(s, mount_dir, cancelled, e);
    if (rc != ERR_OK) {
        seal_rows_free(s);
        return rc;
    }
    *out = s;
    return ERR_OK;
}

void seal_rows_drop(struct seal_rows *s)
{
    s->kind->close(s);
    s->state = NULL;
}

void seal_rows_free(struct seal_rows *s)
{
    if (!s)
        return;
    s->kind->close(s);
    text_writer_done(&s->writer);
    buf_done(&s->line);
    buf_done(&s->plain);
    arena_done(&s->arena);
    free(s);
}

const struct seal_facts *seal_rows_facts(const struct seal_rows *s)
{
    return &s->facts;
}

const struct seal_column *seal_rows_fields(const struct seal_rows *s, size_t *count)
{
    *count = s->field_count;
    return s->fields;
}

const struct seal_column *seal_rows_columns(const struct seal_rows *s, size_t *count)
{
    *count = s->column_count;
    return s->columns;
}

enum err_code seal_rows_fill(struct seal_rows *s, duckdb_data_chunk chunk, uint64_t first,
                             struct err *e)
{
    return s->kind->fill(s, chunk, first, e);
}
