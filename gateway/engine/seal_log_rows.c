/* gateway/engine/seal_log_rows.c - lines of one stream, kept as they are and sorted by time. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "gateway/engine/chunk_writer.h"
#include "gateway/engine/convert.h"
#include "gateway/engine/rare.h"
#include "gateway/engine/seal_rows_internal.h"

#define SORT_BY_INSERTION 32 /* members; more are sorted by qsort */

struct log_row {
    int64_t ts_us;
    uint64_t at; /* in text */
    uint32_t len, text_len;
};
struct column_facts {
    uint64_t rows;                /* that have it */
    bool has_negative, has_large; /* large: past 2^63 - 1 */
    bool has_odd_float;           /* -0.0, or no finite number */
    bool has_infinite_float;      /* no finite number: SQL does not read its text as one */
};
struct field_place {
    uint32_t column;    /* of the Parquet; of a rare field, RARE_COLUMN's */
    uint32_t requested; /* among the request's columns */
};
struct log_state {
    struct buf text;
    struct log_row *rows;
    size_t row_count, row_cap;
    struct column_facts *facts; /* of the request's columns */
    uint32_t time_column;
    struct field_place *places; /* of the part's fields */
    struct line_plan *plan, *used_plan;
    struct line_cursor *cursor, *used_cursor;
    struct line_value *values;
    struct buf rare; /* the object of one row's rare fields */
    struct text_writer rare_writer;
};

/* ---- open ---- */

static enum err_code make_plan(const struct seal_rows *s, struct line_plan **plan,
                               struct line_cursor **cursor, bool only_used, struct err *e)
{
    const struct seal_request *r = s->request;
    size_t count = only_used ? s->field_count : r->column_count;
    AUTO_FREE struct str *names = calloc(count + 1, sizeof *names);
    if (!names)
        return err_set(e, ERR_NOMEM, "no memory for %zu columns", count);
    for (size_t i = 0; i < count; i++)
        names[i] = only_used ? s->fields[i].column.name : r->columns[i].name;
    enum err_code rc = line_plan_new(names, count, plan, e);
    return rc == ERR_OK ? line_cursor_new(*plan, cursor, e) : rc;
}

static enum err_code find_time(const struct seal_request *r, uint32_t *column, struct err *e)
{
    for (size_t i = 0; i < r->column_count; i++)
        if (str_eq(r->columns[i].name, STR("_timestamp"))) {
            *column = (uint32_t)i;
            return ERR_OK;
        }
    return err_set(e, ERR_INVALID, "no column _timestamp");
}

static enum err_code open_rows(struct seal_rows *s, uint64_t bytes, struct err *e)
{
    const struct seal_request *r = s->request;
    struct log_state *l = s->state = calloc(1, sizeof *l);
    if (!l)
        return err_set(e, ERR_NOMEM, "no memory for a seal");
    buf_init(&l->text, SEAL_TEXT_MAX);
    buf_init(&l->rare, SEAL_LINE_MAX * 2);
    text_writer_init(&l->rare_writer, &s->form, &l->rare);
    l->facts = calloc(r->column_count, sizeof *l->facts);
    l->values = calloc(r->column_count, sizeof *l->values);
    if (!l->facts || !l->values || bytes > SEAL_TEXT_MAX || !buf_reserve(&l->text, bytes))
        return err_set(e, ERR_NOMEM, "no memory for %llu bytes in %zu columns",
                       (unsigned long long)bytes, r->column_count);
    enum err_code rc = find_time(r, &l->time_column, e);
    if (rc == ERR_OK)
        rc = text_form_make(r->columns, r->column_count, &s->arena, &s->form, e);
    if (rc == ERR_OK)
        rc = make_plan(s, &l->plan, &l->cursor, false, e);
    return rc;
}

static void close_rows(struct seal_rows *s)
{
    struct log_state *l = s->state;
    if (!l)
        return;
    line_cursor_free(l->cursor);
    line_cursor_free(l->used_cursor);
    line_plan_free(l->plan);
    line_plan_free(l->used_plan);
    text_writer_done(&l->rare_writer);
    buf_done(&l->rare);
    buf_done(&l->text);
    free(l->rows);
    free(l->facts);
    free(l->values);
    free(l);
}

/* ---- one line ---- */

static int by_field(const void *a, const void *b)
{
    const struct line_value *x = a, *y = b;
    return (x->field > y->field) - (x->field < y->field);
}

/* In the order of the columns; lines mostly are. */
static void sort_values(struct line_value *v, size_t count)
{
    size_t sorted = 1;
    while (sorted < count && v[sorted - 1].field < v[sorted].field)
        sorted++;
    if (sorted >= count)
        return;
    if (count > SORT_BY_INSERTION) {
        qsort(v, count, sizeof *v, by_field);
        return;
    }
    for (size_t i = sorted; i < count; i++) {
        struct line_value moved = v[i];
        size_t k = i;
        for (; k > 0 && v[k - 1].field > moved.field; k--)
            v[k] = v[k - 1];
        v[k] = moved;
    }
}

static size_t token_len(const struct line_value *v)
{
    return v->text.len + (v->kind == LINE_STRING || v->kind == LINE_ESCAPED ? 2 : 0);
}

/* The members found are all there are: else one of them is no column, and would be lost. */
static bool is_whole(const struct seal_rows *s, const struct line_value *v, size_t count,
                     struct str line)
{
    size_t len = 1 + (count == 0);
    for (size_t i = 0; i < count; i++)
        len += s->form.leads[v[i].field].len + token_len(&v[i]) + 1;
    return len == line.len;
}

static void note_wide(struct column_facts *f, const struct line_value *v)
{
    struct int128 n;
    if (v->kind == LINE_NULL || !convert_int128(v, &n))
        return;
    f->has_negative = f->has_negative || n.high < 0;
    f->has_large = f->has_large || (n.high == 0 && n.low > INT64_MAX);
}

static void note_float(struct column_facts *f, const struct line_value *v)
{
    double d;
    bool may_be_zero =
        v->kind == LINE_NUMBER && v->text.len > 1 && v->text.ptr[0] == '-' && v->text.ptr[1] == '0';
    if (v->kind == LINE_STRING || (may_be_zero && convert_f64(v, &d) && d == 0))
        f->has_odd_float = true;
    if (v->kind == LINE_STRING)
        f->has_infinite_float = true;
}

static void note_value(struct column_facts *f, enum column_type type, const struct line_value *v)
{
    f->rows += v->kind != LINE_NULL;
    if (type == COLUMN_UINT64)
        note_wide(f, v);
    else if (type == COLUMN_FLOAT64)
        note_float(f, v);
}

static enum err_code render(struct seal_rows *s, size_t count, struct err *e)
{
    struct log_state *l = s->state;
    const struct run_column *columns = s->request->columns;
    buf_clear(&s->line);
    text_begin(&s->writer);
    for (size_t i = 0; i < count; i++) {
        const struct line_value *v = &l->values[i];
        const struct run_column *c = &columns[v->field];
        if (!text_put_line_value(&s->writer, v->field, c->type, v))
            return err_set(e, ERR_CORRUPT, "field '" STR_FMT "' is no %s", STR_ARG(c->name),
                           column_type_name(c->type));
        note_value(&l->facts[v->field], c->type, v);
    }
    text_end(&s->writer);
    return buf_ok(&s->line) ? ERR_OK : err_set(e, ERR_TOOBIG, "the line's text is too long");
}

static bool time_of(const struct log_state *l, size_t count, int64_t *ts_us)
{
    for (size_t i = 0; i < count; i++)
        if (l->values[i].field == l->time_column)
            return convert_i64(&l->values[i], ts_us);
    return false;
}

static enum err_code add_line(struct seal_rows *s, size_t source, struct str line, int64_t *ts_us,
                              struct err *e)
{
    struct log_state *l = s->state;
    void *rows = l->rows;
    size_t count;
    (void)source;
    enum err_code rc = line_find(l->cursor, line, l->values, &count, e);
    if (rc != ERR_OK)
        return rc;
    if (!is_whole(s, l->values, count, line))
        return err_set(e, ERR_CORRUPT, "it has members that the stream's schema lacks");
    if (!time_of(l, count, ts_us))
        return err_set(e, ERR_CORRUPT, "it has no _timestamp");
    sort_values(l->values, count);
    rc = render(s, count, e);
    if (rc != ERR_OK)
        return rc;
    bool ok = seal_grow(&rows, l->row_count, &l->row_cap, sizeof *l->rows);
    l->rows = rows;
    if (ok)
        l->rows[l->row_count++] = (struct log_row){.ts_us = *ts_us,
                                                   .at = l->text.len,
                                                   .len = (uint32_t)line.len,
                                                   .text_len = seal_count_text(s)};
    buf_add_str(&l->text, line);
    return ok && buf_ok(&l->text) ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for the rows");
}

/* ---- after the last line ---- */

static int by_time(const void *a, const void *b)
{
    const struct log_row *x = a, *y = b;
    if (x->ts_us != y->ts_us)
        return x->ts_us < y->ts_us ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static void sort_rows(struct log_state *l)
{
    for (size_t i = 1; i < l->row_count; i++)
        if (l->rows[i].ts_us < l->rows[i - 1].ts_us) {
            qsort(l->rows, l->row_count, sizeof *l->rows, by_time);
            return;
        }
}

/* Parquet has no 128-bit integers. */
static const char *stored_type(enum column_type type, const struct column_facts *f)
{
    if (type != COLUMN_UINT64)
        return NULL;
    if (!f->has_negative)
        return "UBIGINT";
    return f->has_large ? "DECIMAL(20,0)" : "BIGINT";
}

static void choose_fields(struct seal_rows *s)
{
    const struct seal_request *r = s->request;
    struct log_state *l = s->state;
    s->facts.dictionary_limit = UINT64_MAX;
    for (size_t i = 0; i < r->column_count; i++) {
        if (l->facts[i].has_odd_float)
            s->facts.dictionary_limit = 0;
        if (l->facts[i].rows == 0)
            continue;
        l->places[s->field_count].requested = (uint32_t)i;
        s->fields[s->field_count++] = (struct seal_column){
            r->columns[i], r->numbers[i], stored_type(r->columns[i].type, &l->facts[i]), false};
    }
}

/* Every row has its time, which is looked for in its column. */
static bool may_be_rare(const struct log_state *l, uint32_t requested)
{
    return requested != l->time_column && !l->facts[requested].has_infinite_float;
}

/* By the order of the fields, not by how rare each is: so that parts agree on their columns. */
static bool mark_rare(struct seal_rows *s)
{
    struct log_state *l = s->state;
    size_t few = 0, columns = 0;
    for (size_t i = 0; i < s->field_count; i++) {
        uint32_t at = l->places[i].requested;
        bool may_be = may_be_rare(l, at);
        bool has_few = may_be && l->facts[at].rows * RARE_SHARE < s->facts.rows;
        few += has_few;
        s->fields[i].is_rare =
            may_be && (columns >= RARE_PAST_COLUMNS || (has_few && few > RARE_COLUMNS_KEPT));
        columns += !s->fields[i].is_rare;
    }
    return columns < s->field_count;
}

static void place_fields(struct seal_rows *s, bool has_rare)
{
    static const struct seal_column rare_column = {
        {{RARE_COLUMN, sizeof RARE_COLUMN - 1}, COLUMN_UTF8, false}, RARE_FIELD_ID, NULL, false};
    struct log_state *l = s->state;
    for (size_t i = 0; i < s->field_count; i++)
        if (!s->fields[i].is_rare) {
            l->places[i].column = (uint32_t)s->column_count;
            s->columns[s->column_count++] = s->fields[i];
        }
    if (!has_rare)
        return;
    for (size_t i = 0; i < s->field_count; i++)
        if (s->fields[i].is_rare)
            l->places[i].column = (uint32_t)s->column_count;
    s->columns[s->column_count++] = rare_column;
}

static enum err_code choose_columns(struct seal_rows *s, struct err *e)
{
    struct log_state *l = s->state;
    size_t count = s->request->column_count + 1; /* RARE_COLUMN */
    s->fields = arena_alloc(&s->arena, count * sizeof *s->fields);
    s->columns = arena_alloc(&s->arena, count * sizeof *s->columns);
    l->places = arena_alloc(&s->arena, count * sizeof *l->places);
    if (!s->fields || !s->columns || !l->places)
        return err_set(e, ERR_NOMEM, "no memory for %zu columns", count);
    choose_fields(s);
    place_fields(s, mark_rare(s));
    return make_plan(s, &l->used_plan, &l->used_cursor, true, e);
}

static enum err_code finish(struct seal_rows *s, struct err *e)
{
    struct log_state *l = s->state;
    sort_rows(l);
    enum err_code rc = choose_columns(s, e);
    if (rc == ERR_OK)
        rc = seal_begin_groups(s, e);
    for (size_t i = 0; i < l->row_count && rc == ERR_OK; i++)
        seal_add_group(s, i, l->rows[i].text_len);
    return rc;
}

/* ---- to DuckDB ---- */

static enum err_code put_rare(struct seal_rows *s, struct chunk_writer *w, size_t count,
                              struct err *e)
{
    struct log_state *l = s->state;
    sort_values(l->values, count);
    buf_clear(&l->rare);
    text_begin(&l->rare_writer);
    for (size_t i = 0; i < count; i++) {
        const struct line_value *v = &l->values[i];
        const struct seal_column *field = &s->fields[v->field];
        if (field->is_rare)
            text_put_line_value(&l->rare_writer, l->places[v->field].requested, field->column.type,
                                v);
    }
    struct str object = text_end(&l->rare_writer);
    if (!buf_ok(&l->rare))
        return err_set(e, ERR_NOMEM, "no memory for the rare fields of a row");
    return l->rare_writer.has_member
               ? chunk_writer_put_text(w, (uint32_t)s->column_count - 1, object, e)
               : ERR_OK;
}

static enum err_code put_row(struct seal_rows *s, struct chunk_writer *w, const struct log_row *row,
                             struct err *e)
{
    struct log_state *l = s->state;
    struct str line = {l->text.data + row->at, row->len};
    bool has_rare = false;
    size_t count;
    enum err_code rc = line_find(l->used_cursor, line, l->values, &count, e);
    for (size_t i = 0; i < count && rc == ERR_OK; i++) {
        const struct line_value *v = &l->values[i];
        const struct seal_column *field = &s->fields[v->field];
        if (field->is_rare)
            has_rare = true;
        else
            rc = chunk_writer_put(w, l->places[v->field].column, field->column.type, v, e);
    }
    if (has_rare && rc == ERR_OK)
        rc = put_rare(s, w, count, e);
    chunk_writer_next_row(w);
    return rc;
}

static enum err_code fill(struct seal_rows *s, duckdb_data_chunk chunk, uint64_t first,
                          struct err *e)
{
    struct log_state *l = s->state;
    struct chunk_writer w;
    uint64_t end = first + duckdb_vector_size();
    if (end > l->row_count)
        end = l->row_count;
    enum err_code rc = chunk_writer_begin(&w, chunk, s->column_count, &s->plain, e);
    if (rc != ERR_OK)
        return rc;
    w.text_stays = true; /* in l->text */
    for (uint64_t i = first; i < end && rc == ERR_OK; i++)
        rc = put_row(s, &w, &l->rows[i], e);
    duckdb_data_chunk_set_size(chunk, rc == ERR_OK ? w.rows : 0);
    chunk_writer_done(&w);
    return rc;
}

const struct row_kind seal_log_rows = {open_rows, add_line, finish, fill, close_rows};
