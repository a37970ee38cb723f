/* gateway/engine/encode.c - the encoder of encode.h. */
#include "gateway/engine/encode.h"

#include <stdlib.h>

#include "base/json.h"

#define TYPES_MEMORY_MAX (64u << 20)
#define CHUNK_MEMORY_MAX (64u << 20)

struct encode_column {
    struct buf fixed; /* BOOL, I64, U64, F64 */
    struct buf text;  /* STR, RAW */
    struct buf offsets;
    struct buf validity;
};

static enum err_code no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "no memory for the result's columns");
}

static enum err_code decode_types(struct encoder *n, duckdb_result *result, struct err *e)
{
    for (uint32_t i = 0; i < n->column_count; i++) {
        duckdb_logical_type type = duckdb_column_logical_type(result, i);
        enum err_code rc = value_type_decode(type, &n->arena, &n->types[i], e);
        duckdb_destroy_logical_type(&type);
        if (rc != ERR_OK)
            return err_wrap(e, "column %s", duckdb_column_name(result, i));
    }
    return ERR_OK;
}

enum err_code encoder_init(struct encoder *n, duckdb_result *result, struct err *e)
{
    *n = (struct encoder){.column_count = (uint32_t)duckdb_column_count(result)};
    arena_init(&n->arena, TYPES_MEMORY_MAX);
    arena_init(&n->chunk, CHUNK_MEMORY_MAX);
    buf_init(&n->body, WIRE_BODY_MAX);
    n->types = arena_zalloc(&n->arena, n->column_count * sizeof *n->types);
    n->views = arena_zalloc(&n->arena, n->column_count * sizeof *n->views);
    n->columns = arena_zalloc(&n->arena, n->column_count * sizeof *n->columns);
    if (!n->types || !n->views || !n->columns) {
        n->column_count = 0;
        return no_memory(e);
    }
    return decode_types(n, result, e);
}

void encoder_done(struct encoder *n)
{
    for (uint32_t i = 0; i < n->column_count; i++) {
        buf_done(&n->columns[i].fixed);
        buf_done(&n->columns[i].text);
        buf_done(&n->columns[i].offsets);
        buf_done(&n->columns[i].validity);
    }
    buf_done(&n->body);
    arena_done(&n->chunk);
    arena_done(&n->arena);
    *n = (struct encoder){0};
}

enum err_code encoder_schema(struct encoder *n, duckdb_result *result, struct err *e)
{
    struct json_writer w = {.out = &n->body};
    struct buf type;
    buf_init(&type, 1u << 20);
    buf_clear(&n->body);
    jw_object(&w);
    jw_key(&w, STR("columns"));
    jw_array(&w);
    for (uint32_t i = 0; i < n->column_count; i++) {
        buf_clear(&type);
        value_type_name(&type, &n->types[i]);
        jw_object(&w);
        jw_kcstr(&w, "name", duckdb_column_name(result, i));
        jw_kstr(&w, "type", buf_str(&type));
        jw_end(&w);
    }
    jw_end(&w);
    jw_end(&w);
    buf_done(&type);
    if (!buf_ok(&n->body))
        return err_set(e, ERR_TOOBIG, "result has too many columns: %u", n->column_count);
    return ERR_OK;
}

enum err_code encoder_chunk(struct encoder *n, duckdb_data_chunk chunk, struct err *e)
{
    arena_reset(&n->chunk);
    for (uint32_t i = 0; i < n->column_count; i++) {
        enum err_code rc = value_view_make(duckdb_data_chunk_get_vector(chunk, i), &n->types[i],
                                           &n->chunk, &n->views[i], e);
        if (rc != ERR_OK)
            return rc;
    }
    return ERR_OK;
}

/* A 128-bit column is I64 when all of these rows fit. */
static enum wire_kind wide_kind(const struct value_view *v, idx_t from, idx_t count)
{
    int64_t unused;
    for (idx_t i = from; i < from + count; i++)
        if (!value_is_null(v, i) && !value_int128_fits(v, i, &unused))
            return WIRE_RAW;
    return WIRE_I64;
}

static enum wire_kind kind_of(const struct value_view *v, idx_t from, idx_t count)
{
    switch (v->type->id) {
    case DUCKDB_TYPE_BOOLEAN:
        return WIRE_BOOL;
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
    case DUCKDB_TYPE_UINTEGER:
        return WIRE_I64;
    case DUCKDB_TYPE_UBIGINT:
        return WIRE_U64;
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_UHUGEINT:
        return wide_kind(v, from, count);
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
        return WIRE_F64;
    case DUCKDB_TYPE_DECIMAL:
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
    case DUCKDB_TYPE_MAP:
    case DUCKDB_TYPE_STRUCT:
    case DUCKDB_TYPE_UNION:
    case DUCKDB_TYPE_SQLNULL:
        return WIRE_RAW;
    default:
        return WIRE_STR;
    }
}

static int64_t small_int(const struct value_view *v, idx_t row)
{
    int64_t n = 0;
    switch (v->type->id) {
    case DUCKDB_TYPE_TINYINT:
        return ((const int8_t *)v->data)[row];
    case DUCKDB_TYPE_SMALLINT:
        return ((const int16_t *)v->data)[row];
    case DUCKDB_TYPE_INTEGER:
        return ((const int32_t *)v->data)[row];
    case DUCKDB_TYPE_UTINYINT:
        return ((const uint8_t *)v->data)[row];
    case DUCKDB_TYPE_USMALLINT:
        return ((const uint16_t *)v->data)[row];
    case DUCKDB_TYPE_UINTEGER:
        return ((const uint32_t *)v->data)[row];
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_UHUGEINT:
        value_int128_fits(v, row, &n);
        return n;
    default:
        return ((const int64_t *)v->data)[row];
    }
}

static void add_fixed(struct buf *out, enum wire_kind kind, const struct value_view *v, idx_t row)
{
    int64_t i = 0;
    double d = 0;
    bool null = value_is_null(v, row);
    if (kind == WIRE_BOOL) {
        buf_add_char(out, !null && ((const bool *)v->data)[row]);
        return;
    }
    if (kind == WIRE_F64) {
        if (!null)
            d = value_f64(v, row);
        buf_add(out, &d, sizeof d);
        return;
    }
    if (!null)
        i = small_int(v, row);
    buf_add(out, &i, sizeof i);
}

static void add_text(struct buf *out, enum wire_kind kind, const struct value_view *v, idx_t row)
{
    if (value_is_null(v, row))
        return;
    if (v->type->id == DUCKDB_TYPE_VARCHAR)
        buf_add_str(out, value_string(v, row));
    else if (kind == WIRE_STR)
        value_write_text(out, v, row);
    else
        value_write_json(out, v, row);
}

/* One bit a row; returns whether there is a null at all. */
static bool add_validity(struct buf *out, const struct value_view *v, idx_t from, idx_t count)
{
    bool any = false;
    for (idx_t i = 0; i < count; i += 8) {
        unsigned bits = 0;
        for (idx_t k = 0; k < 8 && i + k < count; k++)
            bits |= (unsigned)!value_is_null(v, from + i + k) << k;
        any |= bits != (count - i >= 8 ? 0xFFu : (1u << (count - i)) - 1);
        buf_add_char(out, (char)bits);
    }
    return any;
}

static void buffers_begin(struct encode_column *c, size_t max_bytes)
{
    struct buf *all[] = {&c->fixed, &c->text, &c->offsets, &c->validity};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        buf_clear(all[i]);
        if (all[i]->max < max_bytes)
            all[i]->max = max_bytes;
    }
}

/* False when the column alone is longer than `max_bytes`. */
static bool encode_column(struct encode_column *c, const struct value_view *v, idx_t from,
                          idx_t count, size_t max_bytes, struct wire_column *out)
{
    enum wire_kind kind = kind_of(v, from, count);
    bool has_text = kind == WIRE_STR || kind == WIRE_RAW;
    buffers_begin(c, max_bytes);
    for (idx_t i = from; i < from + count && c->text.len <= max_bytes; i++) {
        if (!has_text) {
            add_fixed(&c->fixed, kind, v, i);
            continue;
        }
        uint32_t offset = (uint32_t)c->text.len;
        buf_add(&c->offsets, &offset, sizeof offset);
        add_text(&c->text, kind, v, i);
    }
    uint32_t end = (uint32_t)c->text.len;
    buf_add(&c->offsets, &end, sizeof end);
    bool nulls = add_validity(&c->validity, v, from, count);
    *out = (struct wire_column){
        .kind = kind,
        .validity = nulls ? (const uint8_t *)c->validity.data : NULL,
        .data = buf_str(has_text ? &c->text : &c->fixed).ptr,
        .offsets = has_text ? (const uint32_t *)(const void *)c->offsets.data : NULL,
    };
    return buf_ok(&c->fixed) && buf_ok(&c->text) && buf_ok(&c->offsets) && buf_ok(&c->validity) &&
           c->text.len <= max_bytes;
}

enum err_code encoder_rows(struct encoder *n, idx_t from, idx_t count, size_t max_bytes,
                           struct err *e)
{
    struct wire_column *columns = arena_alloc(&n->chunk, n->column_count * sizeof *columns);
    if (!columns)
        return no_memory(e);
    size_t text_bytes = 0;
    for (uint32_t i = 0; i < n->column_count; i++) {
        bool fits =
            encode_column(&n->columns[i], &n->views[i], from, count, max_bytes, &columns[i]);
        text_bytes += n->columns[i].text.len;
        if (!fits || text_bytes > max_bytes)
            return err_set(e, ERR_TOOBIG, "a row of the result is longer than %zu bytes",
                           max_bytes);
    }
    struct wire_batch b = {(uint32_t)count, n->column_count, columns};
    buf_clear(&n->body);
    return wire_batch_encode(&b, &n->body, e);
}
