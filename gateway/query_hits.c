/* gateway/query_hits.c - writes a batch of rows as JSON objects.
 *
 * The hot path of every search: text is looked at eight bytes at a time for what JSON must escape,
 * and copied in runs.  The engine gives valid UTF-8, so bytes above 0x7f pass as they are.
 */
#include <math.h>

#include "base/json.h"
#include "gateway/query.h"

#define CELL_ROOM 40 /* any number, with its comma */

/* A non-zero byte for each byte of `v` that is below 0x20, '"' or '\\'. */
static uint64_t bytes_to_escape(uint64_t v)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t quote = v ^ (ones * '"'), slash = v ^ (ones * '\\');
    uint64_t low = (v - ones * 0x20) & ~v;
    return (low | ((quote - ones) & ~quote) | ((slash - ones) & ~slash)) & highs;
}

static bool must_escape(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

/* Length of the run at the start of `s` that needs no escape. */
static size_t clean_run(struct str s)
{
    size_t i = 0;
    for (uint64_t v; i + sizeof v <= s.len; i += sizeof v) {
        memcpy(&v, s.ptr + i, sizeof v);
        if (bytes_to_escape(v))
            break; /* here, or (a borrow between bytes) nowhere: the loop below looks */
    }
    while (i < s.len && !must_escape((unsigned char)s.ptr[i]))
        i++;
    return i;
}

static void add_escaped(struct buf *out, unsigned char c)
{
    static const char shorts[32] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\', (char)c};
    size_t len = 2;
    if (c < 0x20 && shorts[c]) {
        text[1] = shorts[c];
    } else if (c < 0x20) {
        memcpy(text, "\\u00", 4);
        text[4] = digits[c >> 4];
        text[5] = digits[c & 15];
        len = 6;
    }
    buf_add(out, text, len);
}

static void add_text(struct buf *out, struct str s)
{
    buf_add_char(out, '"');
    for (;;) {
        size_t run = clean_run(s);
        buf_add(out, s.ptr, run);
        if (run == s.len)
            break;
        add_escaped(out, (unsigned char)s.ptr[run]);
        s = (struct str){s.ptr + run + 1, s.len - run - 1};
    }
    buf_add_char(out, '"');
}

static void add_f64(struct buf *out, double v)
{
    if (!isfinite(v))
        buf_add(out, "null", 4);
    else if (buf_reserve(out, CELL_ROOM))
        out->len += f64_format(v, out->data + out->len);
}

static void add_value(struct buf *out, const struct wire_column *c, uint32_t row)
{
    switch (c->kind) {
    case WIRE_BOOL:
        if (((const uint8_t *)c->data)[row])
            buf_add(out, "true", 4);
        else
            buf_add(out, "false", 5);
        break;
    case WIRE_I64:
        buf_add_i64(out, ((const int64_t *)c->data)[row]);
        break;
    case WIRE_U64:
        buf_add_u64(out, ((const uint64_t *)c->data)[row]);
        break;
    case WIRE_F64:
        add_f64(out, ((const double *)c->data)[row]);
        break;
    case WIRE_STR:
        add_text(out, wire_text(c, row));
        break;
    case WIRE_RAW:
        buf_add_str(out, wire_text(c, row));
        break;
    }
}

/* The keys, as `,"name":` one after the other; offsets[i] is where the i-th begins. */
static bool make_keys(struct buf *keys, uint32_t *offsets, const struct query_column *c, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        offsets[i] = (uint32_t)keys->len;
        buf_add_char(keys, ',');
        json_escape(keys, c[i].name);
        buf_add_char(keys, ':');
    }
    offsets[n] = (uint32_t)keys->len;
    return buf_ok(keys);
}

static void add_row(struct buf *out, const struct buf *keys, const uint32_t *offsets,
                    const struct wire_batch *b, uint32_t row)
{
    uint32_t skip = 1; /* the comma of the first key */
    buf_add_char(out, '{');
    for (uint32_t i = 0; i < b->columns; i++) {
        if (wire_is_null(&b->column[i], row))
            continue;
        uint32_t start = offsets[i] + skip;
        buf_add(out, keys->data + start, offsets[i + 1] - start);
        add_value(out, &b->column[i], row);
        skip = 0;
    }
    buf_add_char(out, '}');
}

void query_write_hits(struct buf *out, const struct query_column *c, const struct wire_batch *b,
                      bool *first)
{
    struct arena a;
    struct buf keys;
    arena_init(&a, ((size_t)b->columns + 1) * sizeof(uint32_t) + 64);
    uint32_t *offsets = arena_alloc(&a, ((size_t)b->columns + 1) * sizeof *offsets);
    buf_init(&keys, WIRE_BODY_MAX);
    if (!offsets || !make_keys(&keys, offsets, c, b->columns))
        out->failed = true;
    for (uint32_t row = 0; row < b->rows && !out->failed; row++) {
        if (!*first)
            buf_add_char(out, ',');
        *first = false;
        add_row(out, &keys, offsets, b, row);
    }
    buf_done(&keys);
    arena_done(&a);
}
