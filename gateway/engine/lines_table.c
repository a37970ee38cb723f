/* gateway/engine/lines_table.c - the table function weir_lines as DuckDB calls it: bind, init,
 * rows.
 *
 * A scan is cut into units of UNIT_BYTES of a file.  A line belongs to the unit in which its first
 * byte lies; a thread takes the next unit under a lock (unit_reader.c reads one unit).
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "gateway/engine/chunk_writer.h"
#include "gateway/engine/convert.h"
#include "gateway/engine/table_scan_state.h"

#define UNIT_BYTES (4u << 20)
#define CHUNK_TEXT_MAX (4u << 20) /* a chunk is given on when its texts are as large */
#define CANCEL_CHECK_LINES 1024   /* lines between two looks at `cancelled` */
#define ROW_BYTES_GUESS 256       /* for DuckDB's estimate of rows */
#define NAME_TEXT_MAX 4096        /* of a column */
#define NO_COLUMN UINT32_MAX

/* A field that is read out of each line. */
struct scan_field {
    const struct run_column *column;
    uint32_t output; /* column of the chunk, NO_COLUMN when only the filter needs it */
};

/* One execution of weir_lines, shared by its threads. */
struct scan_shared {
    struct table_scan *scan;
    struct line_plan *plan;
    struct scan_field *fields; /* as the plan's */
    size_t field_count, output_count;
    uint32_t time_field; /* index of _timestamp, NO_COLUMN without a range */
    pthread_mutex_t unit_lock;
    size_t next_file; /* guarded by unit_lock: where the next unit begins */
    uint64_t next_offset;
};

struct scan_local {
    struct line_cursor *cursor;
    struct line_value *values;
    struct unit_reader reader;
    bool in_unit;
    struct buf plain; /* decoded escapes of one value */
};

/* --- bind: the columns --- */

static duckdb_type column_duckdb_type(enum column_type t)
{
    static const duckdb_type types[] = {[COLUMN_BOOL] = DUCKDB_TYPE_BOOLEAN,
                                        [COLUMN_INT64] = DUCKDB_TYPE_BIGINT,
                                        [COLUMN_UINT64] = DUCKDB_TYPE_HUGEINT,
                                        [COLUMN_FLOAT64] = DUCKDB_TYPE_DOUBLE,
                                        [COLUMN_UTF8] = DUCKDB_TYPE_VARCHAR};
    return types[t];
}

static void bind_columns(duckdb_bind_info info, const struct run_table *t)
{
    char name[NAME_TEXT_MAX];
    for (size_t i = 0; i < t->column_count; i++) {
        duckdb_logical_type type =
            duckdb_create_logical_type(column_duckdb_type(t->columns[i].type));
        str_copy_to(t->as[i], name, sizeof name);
        duckdb_bind_add_result_column(info, name, type);
        duckdb_destroy_logical_type(&type);
    }
}

static void bind_lines(duckdb_bind_info info)
{
    struct scan_registry *r = duckdb_bind_get_extra_info(info);
    duckdb_value argument = duckdb_bind_get_parameter(info, 0);
    struct table_scan *s = table_scan_find(r, duckdb_get_uint64(argument));
    duckdb_destroy_value(&argument);
    if (!s) {
        duckdb_bind_set_error(info, "weir_lines: no such table is open");
        return;
    }
    bind_columns(info, s->table);
    duckdb_bind_set_cardinality(info, s->total_bytes / ROW_BYTES_GUESS, false);
    duckdb_bind_set_bind_data(info, s, NULL);
}

/* --- init: what to read out of a line --- */

static void shared_free(void *p)
{
    struct scan_shared *sh = p;
    line_plan_free(sh->plan);
    free(sh->fields);
    pthread_mutex_destroy(&sh->unit_lock);
    free(sh);
}

/* Projected columns, each once; DuckDB asks for a row number when it only counts. */
static void add_projection(struct scan_shared *sh, duckdb_init_info info)
{
    const struct run_table *t = sh->scan->table;
    sh->output_count = duckdb_init_get_column_count(info);
    for (size_t i = 0; i < sh->output_count; i++) {
        idx_t column = duckdb_init_get_column_index(info, i);
        if (column < t->column_count)
            sh->fields[sh->field_count++] = (struct scan_field){&t->columns[column], (uint32_t)i};
    }
}

/* The time is read also when no column shows it. */
static void add_time(struct scan_shared *sh)
{
    const struct run_table *t = sh->scan->table;
    sh->time_field = NO_COLUMN;
    if (t->start_us == 0 && t->end_us == 0)
        return;
    for (size_t i = 0; i < sh->field_count; i++)
        if (str_eq(sh->fields[i].column->name, STR("_timestamp")))
            sh->time_field = (uint32_t)i;
    for (size_t i = 0; i < t->column_count && sh->time_field == NO_COLUMN; i++) {
        if (str_eq(t->columns[i].name, STR("_timestamp"))) {
            sh->time_field = (uint32_t)sh->field_count;
            sh->fields[sh->field_count++] = (struct scan_field){&t->columns[i], NO_COLUMN};
        }
    }
}

static enum err_code make_plan(struct scan_shared *sh, struct err *e)
{
    AUTO_FREE struct str *names = calloc(sh->field_count + 1, sizeof *names);
    if (!names)
        return err_set(e, ERR_NOMEM, "no memory for %zu columns", sh->field_count);
    for (size_t i = 0; i < sh->field_count; i++)
        names[i] = sh->fields[i].column->name;
    return line_plan_new(names, sh->field_count, &sh->plan, e);
}

static void init_lines(duckdb_init_info info)
{
    struct table_scan *s = duckdb_init_get_bind_data(info);
    struct scan_shared *sh = calloc(1, sizeof *sh);
    struct err e = {0};
    if (!sh || !(sh->fields = calloc(duckdb_init_get_column_count(info) + 1, sizeof *sh->fields))) {
        free(sh);
        duckdb_init_set_error(info, "out of memory");
        return;
    }
    sh->scan = s;
    pthread_mutex_init(&sh->unit_lock, NULL);
    add_projection(sh, info);
    add_time(sh);
    if (make_plan(sh, &e) != ERR_OK) {
        shared_free(sh);
        table_scan_fail(s, &e);
        duckdb_init_set_error(info, e.msg);
        return;
    }
    uint64_t units = s->total_bytes / UNIT_BYTES + s->file_count;
    duckdb_init_set_max_threads(info, units < 1 ? 1 : units);
    duckdb_init_set_init_data(info, sh, shared_free);
}

static void local_free(void *p)
{
    struct scan_local *l = p;
    line_cursor_free(l->cursor);
    free(l->values);
    unit_reader_done(&l->reader);
    buf_done(&l->plain);
    free(l);
}

/* A local init sees the shared state only when rows are asked for, so it starts empty. */
static void init_local(duckdb_init_info info)
{
    struct scan_local *l = calloc(1, sizeof *l);
    if (!l) {
        duckdb_init_set_error(info, "out of memory");
        return;
    }
    unit_reader_init(&l->reader, SCAN_LINE_MAX);
    buf_init(&l->plain, SCAN_LINE_MAX);
    duckdb_init_set_init_data(info, l, local_free);
}

static enum err_code local_prepare(struct scan_local *l, const struct scan_shared *sh,
                                   struct err *e)
{
    if (l->cursor)
        return ERR_OK;
    l->values = calloc(sh->field_count + 1, sizeof *l->values);
    if (!l->values)
        return err_set(e, ERR_NOMEM, "no memory for %zu columns", sh->field_count);
    return line_cursor_new(sh->plan, &l->cursor, e);
}

/* --- rows --- */

/* The next unit for this thread; false when all are taken. */
static bool take_unit(struct scan_shared *sh, const struct unit_file **f, uint64_t *offset,
                      uint64_t *end)
{
    LOCK_SCOPE(&sh->unit_lock);
    const struct table_scan *s = sh->scan;
    while (sh->next_file < s->file_count && sh->next_offset >= s->files[sh->next_file].size_bytes) {
        sh->next_file++;
        sh->next_offset = 0;
    }
    if (sh->next_file == s->file_count)
        return false;
    *f = &s->files[sh->next_file];
    *offset = sh->next_offset;
    *end = *offset + UNIT_BYTES < (*f)->size_bytes ? *offset + UNIT_BYTES : (*f)->size_bytes;
    sh->next_offset = *end;
    return true;
}

/* The next line of any unit; line->ptr is NULL when there are no more. */
static enum err_code next_line(struct scan_shared *sh, struct scan_local *l, struct str *line,
                               struct err *e)
{
    for (;;) {
        if (!l->in_unit) {
            const struct unit_file *f;
            uint64_t offset, end;
            *line = (struct str){NULL, 0};
            if (!take_unit(sh, &f, &offset, &end))
                return ERR_OK;
            enum err_code rc = unit_reader_start(&l->reader, f, offset, end, e);
            if (rc != ERR_OK)
                return rc;
            l->in_unit = true;
            atomic_fetch_add(&sh->scan->bytes, end - offset);
        }
        enum err_code rc = unit_reader_next(&l->reader, line, e);
        if (rc != ERR_OK || line->ptr)
            return rc;
        l->in_unit = false;
    }
}

static bool in_range(const struct scan_shared *sh, const struct line_value *values, size_t count)
{
    if (sh->time_field == NO_COLUMN)
        return true;
    const struct run_table *t = sh->scan->table;
    int64_t us;
    for (size_t i = 0; i < count; i++)
        if (values[i].field == sh->time_field)
            return convert_i64(&values[i], &us) && (t->start_us == 0 || us >= t->start_us) &&
                   (t->end_us == 0 || us < t->end_us);
    return false;
}

static enum err_code put_row(const struct scan_shared *sh, const struct scan_local *l,
                             struct chunk_writer *w, size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        const struct line_value *v = &l->values[i];
        const struct scan_field *f = &sh->fields[v->field];
        if (f->output == NO_COLUMN)
            continue;
        enum err_code rc = chunk_writer_put(w, f->output, f->column->type, v, e);
        if (rc != ERR_OK) {
            err_wrap(e, "field '" STR_FMT "'", STR_ARG(f->column->name));
            return rc;
        }
    }
    chunk_writer_next_row(w);
    return ERR_OK;
}

static enum err_code fill_chunk(struct scan_shared *sh, struct scan_local *l,
                                struct chunk_writer *w, struct err *e)
{
    idx_t capacity = duckdb_vector_size();
    uint64_t lines = 0;
    enum err_code rc = local_prepare(l, sh, e);
    while (rc == ERR_OK && w->rows < capacity && w->text_bytes < CHUNK_TEXT_MAX) {
        struct str line;
        size_t count;
        if (lines % CANCEL_CHECK_LINES == 0 && atomic_load(sh->scan->cancelled))
            return err_set(e, ERR_CANCELLED, "query was cancelled");
        rc = next_line(sh, l, &line, e);
        if (rc != ERR_OK || !line.ptr)
            break;
        lines++;
        rc = line_find(l->cursor, line, l->values, &count, e);
        if (rc == ERR_OK && in_range(sh, l->values, count))
            rc = put_row(sh, l, w, count, e);
        if (rc != ERR_OK)
            err_wrap(e, STR_FMT ": line that ends at byte %llu", STR_ARG(l->reader.file->path),
                     (unsigned long long)l->reader.at);
    }
    atomic_fetch_add(&sh->scan->rows, lines);
    return rc;
}

static enum err_code scan_chunk(struct scan_shared *sh, struct scan_local *l,
                                duckdb_data_chunk output, struct err *e)
{
    struct chunk_writer w;
    enum err_code rc = chunk_writer_begin(&w, output, sh->output_count, &l->plain, e);
    if (rc != ERR_OK)
        return rc;
    rc = fill_chunk(sh, l, &w, e);
    if (rc == ERR_OK)
        duckdb_data_chunk_set_size(output, w.rows);
    chunk_writer_done(&w);
    return rc;
}

static void run_lines(duckdb_function_info info, duckdb_data_chunk output)
{
    struct scan_shared *sh = duckdb_function_get_init_data(info);
    struct scan_local *l = duckdb_function_get_local_init_data(info);
    struct err e = {0};
    if (scan_chunk(sh, l, output, &e) != ERR_OK) {
        table_scan_fail(sh->scan, &e);
        duckdb_function_set_error(info, e.msg);
    }
}

/* --- registration --- */

enum err_code lines_table_register(duckdb_connection con, struct scan_registry *r, struct err *e)
{
    duckdb_table_function f = duckdb_create_table_function();
    duckdb_logical_type id = duckdb_create_logical_type(DUCKDB_TYPE_UBIGINT);
    duckdb_table_function_set_name(f, "weir_lines");
    duckdb_table_function_add_parameter(f, id);
    duckdb_table_function_set_extra_info(f, r, NULL);
    duckdb_table_function_set_bind(f, bind_lines);
    duckdb_table_function_set_init(f, init_lines);
    duckdb_table_function_set_local_init(f, init_local);
    duckdb_table_function_set_function(f, run_lines);
    duckdb_table_function_supports_projection_pushdown(f, true);
    duckdb_state state = duckdb_register_table_function(con, f);
    duckdb_destroy_logical_type(&id);
    duckdb_destroy_table_function(&f);
    if (state != DuckDBSuccess)
        return err_set(e, ERR_IO, "DuckDB refuses the table function weir_lines");
    return ERR_OK;
}
