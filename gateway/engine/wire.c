/* gateway/engine/wire.c - the BATCH message of wire.h as bytes. */
#include "gateway/engine/wire.h"

#include "base/arena.h"

#define COLUMN_HEADER_LEN 16
#define BATCH_HEADER_LEN 8

static size_t pad8(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

/* Bytes of one value, 0 for the kinds with offsets. */
static size_t kind_width(uint32_t kind)
{
    switch (kind) {
    case WIRE_BOOL:
        return 1;
    case WIRE_I64:
    case WIRE_U64:
    case WIRE_F64:
        return 8;
    default:
        return 0;
    }
}

static bool kind_has_offsets(uint32_t kind)
{
    return kind == WIRE_STR || kind == WIRE_RAW;
}

static void add_padded(struct buf *out, const void *p, size_t n)
{
    static const char zeros[8];
    if (n > 0)
        buf_add(out, p, n);
    buf_add(out, zeros, pad8(n) - n);
}

enum { NULLS_NONE, NULLS_SOME, NULLS_ALL };

static void header_encode(struct buf *out, enum wire_kind kind, uint32_t nulls, size_t data_len)
{
    char head[COLUMN_HEADER_LEN];
    put_u32(head, kind);
    put_u32(head + 4, nulls);
    put_u64(head + 8, data_len);
    buf_add(out, head, sizeof head);
}

static void column_encode(const struct wire_column *c, uint32_t rows, struct buf *out)
{
    if (c->all_null) {
        header_encode(out, c->kind, NULLS_ALL, 0);
        return;
    }
    size_t data_len = kind_has_offsets(c->kind) ? c->offsets[rows] : rows * kind_width(c->kind);
    header_encode(out, c->kind, c->validity ? NULLS_SOME : NULLS_NONE, data_len);
    if (c->validity)
        add_padded(out, c->validity, ((size_t)rows + 7) / 8);
    if (kind_has_offsets(c->kind))
        add_padded(out, c->offsets, ((size_t)rows + 1) * sizeof *c->offsets);
    add_padded(out, c->data, data_len);
}

enum err_code wire_batch_encode(const struct wire_batch *b, struct buf *out, struct err *e)
{
    char head[BATCH_HEADER_LEN];
    put_u32(head, b->rows);
    put_u32(head + 4, b->columns);
    buf_add(out, head, sizeof head);
    for (uint32_t i = 0; i < b->columns; i++)
        column_encode(&b->column[i], b->rows, out);
    if (!buf_ok(out))
        return err_set(e, ERR_TOOBIG, "batch of %u rows is larger than %zu bytes", b->rows,
                       out->max);
    return ERR_OK;
}

/* The bytes that are still to be read; every piece is taken through take(). */
struct reader {
    const char *p;
    size_t left;
};

/* `n` bytes and their padding, or NULL when the message is shorter. */
static const char *take(struct reader *r, size_t n)
{
    if (n > r->left || pad8(n) > r->left)
        return NULL;
    const char *p = r->p;
    r->p += pad8(n);
    r->left -= pad8(n);
    return p;
}

static bool offsets_rise(const uint32_t *offsets, uint32_t rows, size_t data_len)
{
    if (offsets[0] != 0 || offsets[rows] != data_len)
        return false;
    for (uint32_t i = 0; i < rows; i++)
        if (offsets[i] > offsets[i + 1])
            return false;
    return true;
}

/* The values and their validity, after the header. */
static const char *values_decode(struct reader *r, uint32_t rows, uint32_t nulls, uint64_t data_len,
                                 struct wire_column *c)
{
    if (nulls == NULLS_SOME && !(c->validity = (const uint8_t *)take(r, ((size_t)rows + 7) / 8)))
        return "validity is cut off";
    if (kind_has_offsets(c->kind)) {
        c->offsets = (const uint32_t *)(const void *)take(r, ((size_t)rows + 1) * 4);
        if (!c->offsets)
            return "offsets are cut off";
        if (!offsets_rise(c->offsets, rows, data_len))
            return "offsets do not rise to the length";
    } else if (data_len != (uint64_t)rows * kind_width(c->kind)) {
        return "length is not that of the rows";
    }
    c->data = take(r, data_len);
    return c->data ? NULL : "data is cut off";
}

/* The reason why the column is wrong, or NULL.  `zeros` has `rows` bytes. */
static const char *column_decode(struct reader *r, uint32_t rows, const uint8_t *zeros,
                                 struct wire_column *c)
{
    const char *head = take(r, COLUMN_HEADER_LEN);
    if (!head)
        return "header is cut off";
    uint32_t kind = get_u32(head), nulls = get_u32(head + 4);
    uint64_t data_len = get_u64(head + 8);
    if (kind < WIRE_BOOL || kind > WIRE_RAW || nulls > NULLS_ALL)
        return "unknown kind";
    *c = (struct wire_column){.kind = (enum wire_kind)kind};
    if (nulls != NULLS_ALL)
        return values_decode(r, rows, nulls, data_len, c);
    *c =
        (struct wire_column){.kind = WIRE_BOOL, .validity = zeros, .data = zeros, .all_null = true};
    return data_len == 0 ? NULL : "nulls have data";
}

enum err_code wire_batch_decode(struct str body, struct arena *a, struct wire_batch *out,
                                struct err *e)
{
    if ((uintptr_t)body.ptr % 8 != 0)
        return err_set(e, ERR_INVALID, "batch does not stand on an 8-byte boundary");
    struct reader r = {body.ptr, body.len};
    const char *head = take(&r, BATCH_HEADER_LEN);
    if (!head)
        return err_set(e, ERR_CORRUPT, "batch of %zu bytes has no header", body.len);
    struct wire_batch b = {.rows = get_u32(head), .columns = get_u32(head + 4)};
    if (b.rows > WIRE_ROWS_MAX || b.columns == 0 || b.columns > r.left / COLUMN_HEADER_LEN)
        return err_set(e, ERR_CORRUPT, "batch cannot hold %u rows of %u columns", b.rows,
                       b.columns);
    const uint8_t *zeros = arena_zalloc(a, (size_t)b.rows + 1);
    b.column = arena_alloc(a, b.columns * sizeof *b.column);
    if (!b.column || !zeros)
        return err_set(e, ERR_NOMEM, "no memory for a batch of %u columns", b.columns);
    for (uint32_t i = 0; i < b.columns; i++) {
        const char *why = column_decode(&r, b.rows, zeros, &b.column[i]);
        if (why)
            return err_set(e, ERR_CORRUPT, "batch column %u: %s", i, why);
    }
    if (r.left > 0)
        return err_set(e, ERR_CORRUPT, "batch has %zu bytes too many", r.left);
    *out = b;
    return ERR_OK;
}
