/* gateway/engine/encode.c - the encoder of encode.h. */
#include "gateway/engine/encode.h"

#include "base/cleanup.h"
#include "base/json.h"

#define TYPES_MEMORY_MAX (64u << 20)
#define CHUNK_MEMORY_MAX (64u << 20)
#define ROWS_MAX 2048 /* of one chunk */

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
    if (duckdb_data_chunk_get_size(chunk) > ROWS_MAX)
        return err_set(e, ERR_IO, "DuckDB gave a chunk of more than %d rows", ROWS_MAX);
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

static void add_fixed_row(struct buf *out, enum wire_kind kind, const struct value_view *v,
                          idx_t row)
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

/* Columns that DuckDB keeps as the wire has them are copied whole, unless a null is among them. */
static bool add_fixed(struct encode_column *c, enum wire_kind kind, const struct value_view *v,
                      idx_t from, idx_t count, bool nulls)
{
    bool same = v->type->id == DUCKDB_TYPE_BIGINT || v->type->id == DUCKDB_TYPE_UBIGINT ||
                v->type->id == DUCKDB_TYPE_DOUBLE;
    if (same && !nulls) {
        buf_add(&c->fixed, (const char *)v->data + from * 8, count * 8);
        return buf_ok(&c->fixed);
    }
    for (idx_t i = from; i < from + count; i++)
        add_fixed_row(&c->fixed, kind, v, i);
    return buf_ok(&c->fixed);
}

/* The next row at or after *row that is not null, as bits of `present`; false after the last. */
static bool next_present(const uint64_t *present, idx_t count, idx_t *row)
{
    for (idx_t i = *row; i < count; i = (i | 63) + 1) {
        uint64_t word = present[i >> 6] >> (i & 63);
        if (word != 0) {
            *row = i + (idx_t)__builtin_ctzll(word);
            return true;
        }
    }
    return false;
}

static size_t strings_length(const struct value_view *v, idx_t from, idx_t count,
                             const uint64_t *present)
{
    size_t total = 0;
    for (idx_t row = 0; next_present(present, count, &row); row++)
        total += value_string(v, from + row).len;
    return total;
}

/* Texts: one look for the length, one to copy.  Rows between two texts have the same offset. */
static bool add_strings(struct encode_column *c, const struct value_view *v, idx_t from,
                        idx_t count, const uint64_t *present, size_t max_bytes)
{
    size_t total = strings_length(v, from, count, present);
    if (total > max_bytes || !buf_reserve(&c->text, total) ||
        !buf_reserve(&c->offsets, (count + 1) * sizeof(uint32_t)))
        return false;
    char *to = c->text.data;
    uint32_t *offsets = (uint32_t *)(void *)c->offsets.data, at = 0;
    idx_t done = 0;
    for (idx_t row = 0; next_present(present, count, &row); row++) {
        struct str text = value_string(v, from + row);
        for (; done <= row; done++)
            offsets[done] = at;
        if (text.len > 0)
            memcpy(to + at, text.ptr, text.len);
        at += (uint32_t)text.len;
    }
    for (; done <= count; done++)
        offsets[done] = at;
    c->text.len = at;
    c->offsets.len = (count + 1) * sizeof(uint32_t);
    return true;
}

/* Values that are written as text or JSON. */
static bool add_written(struct encode_column *c, enum wire_kind kind, const struct value_view *v,
                        idx_t from, idx_t count, size_t max_bytes)
{
    for (idx_t i = from; i < from + count && c->text.len <= max_bytes; i++) {
        uint32_t offset = (uint32_t)c->text.len;
        buf_add(&c->offsets, &offset, sizeof offset);
        if (value_is_null(v, i))
            continue;
        if (kind == WIRE_STR)
            value_write_text(&c->text, v, i);
        else
            value_write_json(&c->text, v, i);
    }
    uint32_t end = (uint32_t)c->text.len;
    buf_add(&c->offsets, &end, sizeof end);
    return buf_ok(&c->text) && buf_ok(&c->offsets) && c->text.len <= max_bytes;
}

/* One bit a row, 1 = present, from bit 0 on; the bits past `count` are 0.  Returns the nulls. */
static idx_t take_present(const struct value_view *v, idx_t from, idx_t count, uint64_t *present)
{
    idx_t words = (count + 63) / 64, nulls = count;
    bool all_null = v->type->id == DUCKDB_TYPE_SQLNULL;
    for (idx_t i = 0; i < words; i++) {
        uint64_t word = all_null ? 0 : UINT64_MAX;
        idx_t at = from + i * 64, left = count - i * 64;
        if (v->validity && !all_null) {
            word = v->validity[at >> 6] >> (at & 63);
            if ((at & 63) != 0 && left > 64 - (at & 63))
                word |= v->validity[(at >> 6) + 1] << (64 - (at & 63));
        }
        if (left < 64)
            word &= (UINT64_C(1) << left) - 1;
        present[i] = word;
        nulls -= (idx_t)__builtin_popcountll(word);
    }
    return nulls;
}

static void buffers_begin(struct encode_column *c, size_t max_bytes)
{
    struct buf *all[] = {&c->fixed, &c->text, &c->offsets, &c->validity};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        buf_clear(all[i]);
        if (all[i]->max < max_bytes)
            all[i]->max = max_bytes;
    }
}

/* False when the column alone is longer than `max_bytes`. */
static bool encode_column(struct encode_column *c, const struct value_view *v, idx_t from,
                          idx_t count, size_t max_bytes, struct wire_column *out)
{
    bool fits;
    uint64_t present[ROWS_MAX / 64];
    buffers_begin(c, max_bytes);
    idx_t nulls = take_present(v, from, count, present);
    if (nulls == count) {
        *out = (struct wire_column){.kind = WIRE_BOOL, .all_null = true};
        return true;
    }
    enum wire_kind kind = kind_of(v, from, count);
    bool has_text = kind == WIRE_STR || kind == WIRE_RAW;
    if (!has_text)
        fits = add_fixed(c, kind, v, from, count, nulls > 0);
    else if (v->type->id == DUCKDB_TYPE_VARCHAR)
        fits = add_strings(c, v, from, count, present, max_bytes);
    else
        fits = add_written(c, kind, v, from, count, max_bytes);
    if (nulls > 0)
        buf_add(&c->validity, present, (count + 7) / 8);
    *out = (struct wire_column){
        .kind = kind,
        .validity = nulls > 0 ? (const uint8_t *)c->validity.data : NULL,
        .data = buf_str(has_text ? &c->text : &c->fixed).ptr,
        .offsets = has_text ? (const uint32_t *)(const void *)c->offsets.data : NULL,
    };
    return fits && buf_ok(&c->validity);
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
