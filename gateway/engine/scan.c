/* gateway/engine/scan.c - open scans, and how DuckDB's threads share one.
 *
 * A scan is cut into units of UNIT_BYTES of a file.  A line belongs to the unit in which its first
 * byte lies; a thread takes the next unit under a lock (unit_reader.c reads one unit).
 */
#include "gateway/engine/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/sys.h"
#include "gateway/engine/convert.h"
#include "gateway/engine/unit_reader.h"

#define UNIT_BYTES (4u << 20)
#define CHUNK_TEXT_MAX (4u << 20) /* a chunk is given on when its texts are as large */
#define CANCEL_CHECK_LINES 1024   /* lines between two looks at `cancelled` */
#define ROW_BYTES_GUESS 256       /* for DuckDB's estimate of rows */
#define NO_COLUMN UINT32_MAX

struct scan_registry {
    pthread_mutex_t lock;
    struct map scans; /* guarded by lock: id -> struct scan */
};

struct scan {
    struct scan_registry *registry;
    uint64_t id;
    const struct run_table *table; /* of the run's arena */
    const atomic_bool *cancelled;
    struct unit_file *files; /* immutable once open */
    size_t file_count;
    uint64_t total_bytes;
    _Atomic uint64_t rows, bytes; /* read so far */
    pthread_mutex_t error_lock;
    struct err error; /* guarded by error_lock */
};

/* A field that is read out of each line. */
struct scan_field {
    const struct run_column *column;
    uint32_t output; /* column of the chunk, NO_COLUMN when only the filter needs it */
};

/* One execution of weir_lines, shared by its threads. */
struct scan_shared {
    struct scan *scan;
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

/* The chunk being filled. */
struct scan_chunk {
    void **data;
    uint64_t **validity;
    duckdb_vector *vector;
    idx_t rows;
    size_t text_bytes;
};

static struct str id_key(const uint64_t *id)
{
    return (struct str){(const char *)id, sizeof *id};
}

/* --- scans ------------------------------------------------------------------------------- */

static bool path_is_below(struct str path, const char *dir)
{
    struct str base = str_from(dir);
    if (!str_starts(path, base) || path.len <= base.len || path.ptr[base.len] != '/')
        return false;
    return !memmem(path.ptr, path.len, "/../", 4) && !memchr(path.ptr, '\0', path.len);
}

static enum err_code file_open(struct unit_file *f, struct str path, const char *dir, struct err *e)
{
    char name[4096];
    if (!path_is_below(path, dir))
        return err_set(e, ERR_FORBIDDEN, "file '" STR_FMT "' is not below %s", STR_ARG(path), dir);
    if (!str_copy_to(path, name, sizeof name))
        return err_set(e, ERR_INVALID, "path of %zu bytes is too long", path.len);
    struct stat st;
    AUTO_FD int fd = sys_open(name, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0 || sys_fstat(fd, &st) != 0)
        return err_sys(e, errno, "%s", name);
    *f = (struct unit_file){take_fd(&fd), (uint64_t)st.st_size, path};
    return ERR_OK;
}

static enum err_code files_open(struct scan *s, const char *dir, struct err *e)
{
    const struct run_table *t = s->table;
    s->files = calloc(t->line_count + 1, sizeof *s->files);
    if (!s->files)
        return err_set(e, ERR_NOMEM, "no memory for %zu files", t->line_count);
    for (size_t i = 0; i < t->line_count; i++) {
        enum err_code rc = file_open(&s->files[i], t->lines[i], dir, e);
        if (rc != ERR_OK)
            return rc;
        s->file_count++;
        s->total_bytes += s->files[i].size_bytes;
    }
    return ERR_OK;
}

static enum err_code registry_add(struct scan_registry *r, struct scan *s, struct err *e)
{
    LOCK_SCOPE(&r->lock);
    do {
        if (getentropy(&s->id, sizeof s->id) != 0)
            return err_sys(e, errno, "getentropy");
    } while (map_find(&r->scans, id_key(&s->id)));
    if (!map_put(&r->scans, id_key(&s->id), s))
        return err_set(e, ERR_AGAIN, "more than %d tables are being read", SCANS_MAX);
    return ERR_OK;
}

static struct scan *registry_find(struct scan_registry *r, uint64_t id)
{
    LOCK_SCOPE(&r->lock);
    return map_find(&r->scans, id_key(&id));
}

enum err_code scan_open(struct scan_registry *r, const struct run_table *t, const char *dir,
                        const atomic_bool *cancelled, struct scan **out, struct err *e)
{
    struct scan *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for a scan");
    s->registry = r;
    s->table = t;
    s->cancelled = cancelled;
    pthread_mutex_init(&s->error_lock, NULL);
    enum err_code rc = files_open(s, dir, e);
    if (rc == ERR_OK)
        rc = registry_add(r, s, e);
    if (rc != ERR_OK) {
        scan_close(s);
        return rc;
    }
    *out = s;
    return ERR_OK;
}

void scan_close(struct scan *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->registry->lock);
    if (map_find(&s->registry->scans, id_key(&s->id)) == s)
        map_remove(&s->registry->scans, id_key(&s->id));
    pthread_mutex_unlock(&s->registry->lock);
    for (size_t i = 0; i < s->file_count; i++)
        sys_close(s->files[i].fd);
    free(s->files);
    pthread_mutex_destroy(&s->error_lock);
    free(s);
}

uint64_t scan_id(const struct scan *s)
{
    return s->id;
}

void scan_counts(const struct scan *s, uint64_t *rows, uint64_t *bytes)
{
    *rows += atomic_load(&s->rows);
    *bytes += atomic_load(&s->bytes);
}

enum err_code scan_error(struct scan *s, struct err *e)
{
    LOCK_SCOPE(&s->error_lock);
    if (s->error.code != ERR_OK && e)
        *e = s->error;
    return s->error.code;
}

static void scan_fail(struct scan *s, const struct err *e)
{
    LOCK_SCOPE(&s->error_lock);
    if (s->error.code == ERR_OK)
        s->error = *e;
}

/* --- bind: the columns ---------------------------------------------------------------------- */

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
    char name[4096];
    for (size_t i = 0; i < t->column_count; i++) {
        duckdb_logical_type type =
            duckdb_create_logical_type(column_duckdb_type(t->columns[i].type));
        str_copy_to(t->columns[i].name, name, sizeof name);
        duckdb_bind_add_result_column(info, name, type);
        duckdb_destroy_logical_type(&type);
    }
}

static void bind_lines(duckdb_bind_info info)
{
    struct scan_registry *r = duckdb_bind_get_extra_info(info);
    duckdb_value argument = duckdb_bind_get_parameter(info, 0);
    struct scan *s = registry_find(r, duckdb_get_uint64(argument));
    duckdb_destroy_value(&argument);
    if (!s) {
        duckdb_bind_set_error(info, "weir_lines: no such table is open");
        return;
    }
    bind_columns(info, s->table);
    duckdb_bind_set_cardinality(info, s->total_bytes / ROW_BYTES_GUESS, false);
    duckdb_bind_set_bind_data(info, s, NULL);
}

/* --- init: what to read out of a line ----------------------------------------------------- */

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
    struct scan *s = duckdb_init_get_bind_data(info);
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
        scan_fail(s, &e);
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

/* --- rows ----------------------------------------------------------------------------------- */

/* The next unit for this thread; false when all are taken. */
static bool take_unit(struct scan_shared *sh, const struct unit_file **f, uint64_t *offset,
                      uint64_t *end)
{
    LOCK_SCOPE(&sh->unit_lock);
    const struct scan *s = sh->scan;
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

static void put_text(struct scan_chunk *c, uint32_t column, struct str text)
{
    duckdb_string_t *slot = &((duckdb_string_t *)c->data[column])[c->rows];
    if (text.len <= sizeof slot->value.inlined.inlined) {
        memset(slot, 0, sizeof *slot);
        slot->value.inlined.length = (uint32_t)text.len;
        memcpy(slot->value.inlined.inlined, text.ptr, text.len);
        return;
    }
    duckdb_vector_assign_string_element_len(c->vector[column], c->rows, text.ptr, text.len);
    c->text_bytes += text.len;
}

static enum err_code put_utf8(struct scan_chunk *c, uint32_t column, const struct line_value *v,
                              struct buf *plain, struct err *e)
{
    if (v->kind != LINE_ESCAPED) {
        put_text(c, column, v->text);
        return ERR_OK;
    }
    buf_clear(plain);
    if (!buf_reserve(plain, v->text.len))
        return err_set(e, ERR_NOMEM, "no memory for a value of %zu bytes", v->text.len);
    put_text(c, column, (struct str){plain->data, line_unescape(v->text, plain->data)});
    return ERR_OK;
}

/* False when the value does not fit the column. */
static bool put_number(struct scan_chunk *c, uint32_t column, enum column_type type,
                       const struct line_value *v)
{
    void *data = c->data[column];
    struct int128 wide;
    switch (type) {
    case COLUMN_BOOL:
        return convert_bool(v, &((bool *)data)[c->rows]);
    case COLUMN_INT64:
        return convert_i64(v, &((int64_t *)data)[c->rows]);
    case COLUMN_FLOAT64:
        return convert_f64(v, &((double *)data)[c->rows]);
    case COLUMN_UINT64:
        if (!convert_int128(v, &wide))
            return false;
        ((duckdb_hugeint *)data)[c->rows] = (duckdb_hugeint){wide.low, wide.high};
        return true;
    case COLUMN_UTF8:
        break;
    }
    return false;
}

static enum err_code put_row(const struct scan_shared *sh, struct scan_local *l,
                             struct scan_chunk *c, size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        const struct line_value *v = &l->values[i];
        const struct scan_field *f = &sh->fields[v->field];
        if (f->output == NO_COLUMN || v->kind == LINE_NULL)
            continue;
        if (f->column->type == COLUMN_UTF8) {
            enum err_code rc = put_utf8(c, f->output, v, &l->plain, e);
            if (rc != ERR_OK)
                return rc;
        } else if (!put_number(c, f->output, f->column->type, v)) {
            return err_set(e, ERR_CORRUPT, "field '" STR_FMT "' is no %s: " STR_FMT,
                           STR_ARG(f->column->name), column_type_sql(f->column->type),
                           v->text.len > 100 ? 100 : (int)v->text.len, v->text.ptr);
        }
        c->validity[f->output][c->rows >> 6] |= UINT64_C(1) << (c->rows & 63);
    }
    c->rows++;
    return ERR_OK;
}

static enum err_code fill_chunk(struct scan_shared *sh, struct scan_local *l, struct scan_chunk *c,
                                struct err *e)
{
    idx_t capacity = duckdb_vector_size();
    uint64_t lines = 0;
    enum err_code rc = local_prepare(l, sh, e);
    while (rc == ERR_OK && c->rows < capacity && c->text_bytes < CHUNK_TEXT_MAX) {
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
            rc = put_row(sh, l, c, count, e);
        if (rc != ERR_OK)
            err_wrap(e, STR_FMT ": line that ends at byte %llu", STR_ARG(l->reader.file->path),
                     (unsigned long long)l->reader.at);
    }
    atomic_fetch_add(&sh->scan->rows, lines);
    return rc;
}

/* All values are null until put_row makes them valid. */
static void chunk_begin(struct scan_chunk *c, duckdb_data_chunk output, size_t columns)
{
    size_t words = (duckdb_vector_size() + 63) / 64;
    for (size_t i = 0; i < columns; i++) {
        duckdb_vector v = duckdb_data_chunk_get_vector(output, i);
        duckdb_vector_ensure_validity_writable(v);
        c->vector[i] = v;
        c->data[i] = duckdb_vector_get_data(v);
        c->validity[i] = duckdb_vector_get_validity(v);
        memset(c->validity[i], 0, words * sizeof(uint64_t));
    }
}

static void run_lines(duckdb_function_info info, duckdb_data_chunk output)
{
    struct scan_shared *sh = duckdb_function_get_init_data(info);
    struct scan_local *l = duckdb_function_get_local_init_data(info);
    AUTO_FREE void **pointers = calloc(3 * sh->output_count + 1, sizeof *pointers);
    struct err e = {0};
    if (!pointers) {
        duckdb_function_set_error(info, "out of memory");
        return;
    }
    struct scan_chunk c = {.data = pointers,
                           .validity = (uint64_t **)(pointers + sh->output_count),
                           .vector = (duckdb_vector *)(pointers + 2 * sh->output_count)};
    chunk_begin(&c, output, sh->output_count);
    if (fill_chunk(sh, l, &c, &e) != ERR_OK) {
        scan_fail(sh->scan, &e);
        duckdb_function_set_error(info, e.msg);
        return;
    }
    duckdb_data_chunk_set_size(output, c.rows);
}

/* --- registration ------------------------------------------------------------------------- */

static enum err_code register_lines(duckdb_connection con, struct scan_registry *r, struct err *e)
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

enum err_code scan_registry_new(duckdb_connection con, struct scan_registry **out, struct err *e)
{
    struct scan_registry *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_NOMEM, "no memory for the table function weir_lines");
    pthread_mutex_init(&r->lock, NULL);
    map_init(&r->scans, SCANS_MAX);
    enum err_code rc = register_lines(con, r, e);
    if (rc != ERR_OK) {
        scan_registry_free(r);
        return rc;
    }
    *out = r;
    return ERR_OK;
}

void scan_registry_free(struct scan_registry *r)
{
    if (!r)
        return;
    map_done(&r->scans);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
