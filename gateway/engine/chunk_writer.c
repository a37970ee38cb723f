/* gateway/engine/chunk_writer.c - the writer of chunk_writer.h. */
#include "gateway/engine/chunk_writer.h"

#include <stdlib.h>

#include "base/utf8.h"
#include "gateway/engine/convert.h"

#define SHOWN_BYTES 100 /* of a value that does not fit, in the error's text */

enum err_code chunk_writer_begin(struct chunk_writer *w, duckdb_data_chunk chunk, size_t columns,
                                 struct buf *plain, struct err *e)
{
    size_t words = (duckdb_vector_size() + 63) / 64;
    void **pointers = calloc(3 * columns + 1, sizeof *pointers);
    if (!pointers)
        return err_set(e, ERR_NOMEM, "no memory for %zu columns", columns);
    *w = (struct chunk_writer){.data = pointers,
                               .validity = (uint64_t **)(pointers + columns),
                               .vector = (duckdb_vector *)(pointers + 2 * columns),
                               .plain = plain};
    for (size_t i = 0; i < columns; i++) {
        duckdb_vector v = duckdb_data_chunk_get_vector(chunk, i);
        duckdb_vector_ensure_validity_writable(v);
        w->vector[i] = v;
        w->data[i] = duckdb_vector_get_data(v);
        w->validity[i] = duckdb_vector_get_validity(v);
        memset(w->validity[i], 0, words * sizeof(uint64_t));
    }
    return ERR_OK;
}

void chunk_writer_done(struct chunk_writer *w)
{
    free(w->data);
}

static bool is_ascii(struct str text)
{
    size_t i = 0;
    for (; i + 8 <= text.len; i += 8)
        if (get_u64(text.ptr + i) & UINT64_C(0x8080808080808080))
            return false;
    for (; i < text.len; i++)
        if ((unsigned char)text.ptr[i] >= 0x80)
            return false;
    return true;
}

static void put_text(struct chunk_writer *w, uint32_t column, struct str text, bool stays)
{
    duckdb_string_t *slot = &((duckdb_string_t *)w->data[column])[w->rows];
    if (text.len <= sizeof slot->value.inlined.inlined) {
        memset(slot, 0, sizeof *slot);
        slot->value.inlined.length = (uint32_t)text.len;
        memcpy(slot->value.inlined.inlined, text.ptr, text.len);
        return;
    }
    if (stays) {
        slot->value.pointer.length = (uint32_t)text.len;
        memcpy(slot->value.pointer.prefix, text.ptr, sizeof slot->value.pointer.prefix);
        slot->value.pointer.ptr = (char *)(uintptr_t)text.ptr; /* DuckDB only reads it */
    } else {
        duckdb_vector_assign_string_element_len(w->vector[column], w->rows, text.ptr, text.len);
    }
    w->text_bytes += text.len;
}

/* DuckDB trusts that texts are UTF-8, so nothing else may reach it. */
static bool is_text(struct str text)
{
    return is_ascii(text) || utf8_valid(text);
}

static enum err_code put_utf8(struct chunk_writer *w, uint32_t column, const struct line_value *v,
                              struct err *e)
{
    struct str text = v->text;
    bool stays = w->text_stays;
    if (!is_text(text))
        return err_set(e, ERR_CORRUPT, "is no UTF-8");
    if (v->kind == LINE_ESCAPED) {
        buf_clear(w->plain);
        if (!buf_reserve(w->plain, text.len))
            return err_set(e, ERR_NOMEM, "no memory for a value of %zu bytes", text.len);
        text = (struct str){w->plain->data, line_unescape(text, w->plain->data)};
        stays = false;
    }
    put_text(w, column, text, stays);
    return ERR_OK;
}

/* False when the value does not fit the column. */
static bool put_number(struct chunk_writer *w, uint32_t column, enum column_type type,
                       const struct line_value *v)
{
    void *data = w->data[column];
    struct int128 wide;
    switch (type) {
    case COLUMN_BOOL:
        return convert_bool(v, &((bool *)data)[w->rows]);
    case COLUMN_INT64:
        return convert_i64(v, &((int64_t *)data)[w->rows]);
    case COLUMN_FLOAT64:
        return convert_f64(v, &((double *)data)[w->rows]);
    case COLUMN_UINT64:
        if (!convert_int128(v, &wide))
            return false;
        ((duckdb_hugeint *)data)[w->rows] = (duckdb_hugeint){wide.low, wide.high};
        return true;
    case COLUMN_UTF8:
        break;
    }
    return false;
}

static void set_valid(struct chunk_writer *w, uint32_t column)
{
    w->validity[column][w->rows >> 6] |= UINT64_C(1) << (w->rows & 63);
}

enum err_code chunk_writer_put(struct chunk_writer *w, uint32_t column, enum column_type type,
                               const struct line_value *v, struct err *e)
{
    if (v->kind == LINE_NULL)
        return ERR_OK;
    if (type == COLUMN_UTF8) {
        enum err_code rc = put_utf8(w, column, v, e);
        if (rc != ERR_OK)
            return rc;
    } else if (!put_number(w, column, type, v)) {
        return err_set(e, ERR_CORRUPT, "is no %s: %.*s", column_type_sql(type),
                       v->text.len > SHOWN_BYTES ? SHOWN_BYTES : (int)v->text.len, v->text.ptr);
    }
    set_valid(w, column);
    return ERR_OK;
}

enum err_code chunk_writer_put_text(struct chunk_writer *w, uint32_t column, struct str text,
                                    struct err *e)
{
    if (!is_text(text))
        return err_set(e, ERR_CORRUPT, "is no UTF-8");
    put_text(w, column, text, false);
    set_valid(w, column);
    return ERR_OK;
}
