/* gateway/engine/text_form.c - writes the lines of text_form.h. */
#include "gateway/engine/text_form.h"

#include <math.h>

#include "base/crc32c.h"
#include "base/json.h"
#include "gateway/engine/convert.h"

#define STALE_NAN UINT64_C(0x7ff0000000000002)
#define VALUE_MAX (64u << 20)

enum err_code text_form_make(const struct run_column *columns, size_t count, struct arena *a,
                             struct text_form *out, struct err *e)
{
    struct buf lead;
    buf_init(&lead, VALUE_MAX);
    *out = (struct text_form){.leads = arena_alloc(a, (count + 1) * sizeof *out->leads),
                              .count = count};
    bool ok = out->leads != NULL;
    for (size_t i = 0; i < count && ok; i++) {
        buf_clear(&lead);
        json_escape(&lead, columns[i].name);
        buf_add_char(&lead, ':');
        out->leads[i] = arena_copy(a, buf_str(&lead));
        ok = buf_ok(&lead) && out->leads[i].ptr;
    }
    buf_done(&lead);
    return ok ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for %zu columns", count);
}

void text_writer_init(struct text_writer *w, const struct text_form *form, struct buf *out)
{
    *w = (struct text_writer){.form = form, .out = out};
    buf_init(&w->plain, VALUE_MAX);
}

void text_writer_done(struct text_writer *w)
{
    buf_done(&w->plain);
}

void text_begin(struct text_writer *w)
{
    w->line_at = w->out->len;
    w->has_member = false;
    buf_add_char(w->out, '{');
}

static void begin_member(struct text_writer *w)
{
    if (w->has_member)
        buf_add_char(w->out, ',');
    w->has_member = true;
}

static void put_lead(struct text_writer *w, size_t column)
{
    begin_member(w);
    buf_add_str(w->out, w->form->leads[column]);
}

/* ---- values ---- */

static const char *special_number(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (bits == STALE_NAN)
        return "Stale";
    if (isnan(v))
        return "NaN";
    if (isinf(v))
        return v > 0 ? "+Inf" : "-Inf";
    return NULL;
}

size_t text_number(double v, char *dst)
{
    const char *special = special_number(v);
    if (!special)
        return f64_format(v, dst);
    size_t n = strlen(special);
    memcpy(dst, special, n + 1);
    return n;
}

static void put_f64(struct buf *out, double v)
{
    char text[40];
    const char *quote = special_number(v) ? "\"" : "";
    buf_add_cstr(out, quote);
    buf_add(out, text, text_number(v, text));
    buf_add_cstr(out, quote);
}

static void put_int128(struct buf *out, struct int128 v)
{
    if (v.high == 0)
        buf_add_u64(out, v.low);
    else
        buf_add_i64(out, (int64_t)v.low); /* -1: a negative 64-bit number */
}

/* ---- a value of a line ---- */

static bool put_line_text(struct text_writer *w, const struct line_value *v)
{
    if (v->kind == LINE_STRING) {
        buf_add_char(w->out, '"');
        buf_add_str(w->out, v->text);
        buf_add_char(w->out, '"');
        return true;
    }
    struct str text = v->text;
    if (v->kind == LINE_ESCAPED) {
        buf_clear(&w->plain);
        if (!buf_reserve(&w->plain, text.len))
            return false;
        text = (struct str){w->plain.data, line_unescape(text, w->plain.data)};
    }
    json_escape(w->out, text);
    return true;
}

static bool put_line_number(struct text_writer *w, enum column_type type,
                            const struct line_value *v)
{
    struct int128 wide;
    int64_t i;
    double d;
    bool b;
    switch (type) {
    case COLUMN_BOOL:
        if (!convert_bool(v, &b))
            return false;
        buf_add_cstr(w->out, b ? "true" : "false");
        return true;
    case COLUMN_INT64:
        if (!convert_i64(v, &i))
            return false;
        buf_add_i64(w->out, i);
        return true;
    case COLUMN_UINT64:
        if (!convert_int128(v, &wide))
            return false;
        put_int128(w->out, wide);
        return true;
    case COLUMN_FLOAT64:
        if (!convert_f64(v, &d))
            return false;
        put_f64(w->out, d);
        return true;
    case COLUMN_UTF8:
        break;
    }
    return false;
}

bool text_put_line_value(struct text_writer *w, size_t column, enum column_type type,
                         const struct line_value *v)
{
    if (v->kind == LINE_NULL)
        return true;
    put_lead(w, column);
    return type == COLUMN_UTF8 ? put_line_text(w, v) : put_line_number(w, type, v);
}

/* ---- a value of a result ---- */

void text_put_view(struct text_writer *w, size_t column, const struct value_view *v, idx_t row)
{
    if (value_is_null(v, row))
        return;
    put_lead(w, column);
    switch (v->type->id) {
    case DUCKDB_TYPE_VARCHAR:
        json_escape(w->out, value_string(v, row));
        break;
    case DUCKDB_TYPE_BIGINT:
        buf_add_i64(w->out, ((const int64_t *)v->data)[row]);
        break;
    case DUCKDB_TYPE_UBIGINT:
        buf_add_u64(w->out, ((const uint64_t *)v->data)[row]);
        break;
    case DUCKDB_TYPE_DOUBLE:
        put_f64(w->out, ((const double *)v->data)[row]);
        break;
    default:
        value_write_json(w->out, v, row);
    }
}

void text_put_token(struct text_writer *w, size_t column, struct str token)
{
    put_lead(w, column);
    buf_add_str(w->out, token);
}

void text_put_members(struct text_writer *w, struct str members)
{
    if (members.len == 0)
        return;
    begin_member(w);
    buf_add_str(w->out, members);
}

struct str text_end(struct text_writer *w)
{
    buf_add_char(w->out, '}');
    size_t len = w->out->len - w->line_at;
    buf_add_char(w->out, '\n');
    return buf_ok(w->out) ? (struct str){w->out->data + w->line_at, len} : STR("");
}

uint64_t text_line_hash(struct str line)
{
    uint64_t x = crc32c(0, line.ptr, line.len) | (uint64_t)line.len << 32;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}
