/* base/json_writer.c - JSON written value by value by its caller. */
#include <assert.h>
#include <math.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/utf8.h"

/* ---- strings ---- */

/* The letter after the backslash, 'u' for \u00XX, 0 for a byte that stands for itself. */
static const char ESCAPE[256] = {
    ['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r',
    ['\t'] = 't', [0x00] = 'u',  [0x01] = 'u', [0x02] = 'u', [0x03] = 'u', [0x04] = 'u',
    [0x05] = 'u', [0x06] = 'u',  [0x07] = 'u', [0x0B] = 'u', [0x0E] = 'u', [0x0F] = 'u',
    [0x10] = 'u', [0x11] = 'u',  [0x12] = 'u', [0x13] = 'u', [0x14] = 'u', [0x15] = 'u',
    [0x16] = 'u', [0x17] = 'u',  [0x18] = 'u', [0x19] = 'u', [0x1A] = 'u', [0x1B] = 'u',
    [0x1C] = 'u', [0x1D] = 'u',  [0x1E] = 'u', [0x1F] = 'u',
};

static void add_escape(struct buf *out, unsigned char c)
{
    static const char HEX[] = "0123456789abcdef";
    char text[6] = {'\\', ESCAPE[c], '0', '0', HEX[c >> 4], HEX[c & 15]};
    buf_add(out, text, ESCAPE[c] == 'u' ? 6 : 2);
}

static const uint64_t EACH_BYTE = UINT64_C(0x0101010101010101);

/* The high bit of each byte of `w` that is zero; bytes behind the first such may be marked too. */
static uint64_t zero_bytes(uint64_t w)
{
    return (w - EACH_BYTE) & ~w & (EACH_BYTE << 7);
}

/* How many bytes stand for themselves, eight at a time. */
static size_t plain_run(const char *p, size_t n)
{
    size_t at = 0;
    for (; n - at >= 8; at += 8) {
        uint64_t w = get_u64(p + at);
        uint64_t special = zero_bytes(w ^ EACH_BYTE * '"') | zero_bytes(w ^ EACH_BYTE * '\\') |
                           zero_bytes(w & EACH_BYTE * 0xE0); /* below 0x20 */
        if (special)
            return at + (unsigned)__builtin_ctzll(special) / 8;
    }
    while (at < n && !ESCAPE[(unsigned char)p[at]])
        at++;
    return at;
}

/* Valid UTF-8, without the quotes. */
static void add_escaped(struct buf *out, struct str s)
{
    for (size_t at = 0; at < s.len;) {
        size_t run = plain_run(s.ptr + at, s.len - at);
        buf_add(out, s.ptr + at, run);
        at += run;
        if (at < s.len)
            add_escape(out, (unsigned char)s.ptr[at++]);
    }
}

void json_escape(struct buf *out, struct str s)
{
    buf_add_char(out, '"');
    while (s.len) {
        size_t good = utf8_valid_prefix(s);
        add_escaped(out, (struct str){s.ptr, good});
        s = (struct str){s.ptr + good, s.len - good};
        size_t bad = utf8_invalid_part(s);
        if (bad)
            buf_add_cstr(out, "\xEF\xBF\xBD");
        s = (struct str){s.ptr + bad, s.len - bad};
    }
    buf_add_char(out, '"');
}

/* ---- the streaming writer ---- */

static void before_value(struct json_writer *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->depth == 0)
        return;
    assert(!w->is_object[w->depth - 1]); /* a member needs its key first */
    if (w->comma[w->depth - 1])
        buf_add_char(w->out, ',');
    w->comma[w->depth - 1] = true;
}

static void open_container(struct json_writer *w, bool object)
{
    before_value(w);
    assert(w->depth < ARRAY_LEN(w->comma));
    w->comma[w->depth] = false;
    w->is_object[w->depth] = object;
    w->depth++;
    buf_add_char(w->out, object ? '{' : '[');
}

void jw_object(struct json_writer *w)
{
    open_container(w, true);
}

void jw_array(struct json_writer *w)
{
    open_container(w, false);
}

void jw_end(struct json_writer *w)
{
    assert(w->depth > 0 && !w->after_key);
    w->depth--;
    buf_add_char(w->out, w->is_object[w->depth] ? '}' : ']');
}

void jw_key(struct json_writer *w, struct str key)
{
    assert(w->depth > 0 && w->is_object[w->depth - 1] && !w->after_key);
    if (w->comma[w->depth - 1])
        buf_add_char(w->out, ',');
    w->comma[w->depth - 1] = true;
    json_escape(w->out, key);
    buf_add_char(w->out, ':');
    w->after_key = true;
}

void jw_str(struct json_writer *w, struct str v)
{
    before_value(w);
    json_escape(w->out, v);
}

void jw_cstr(struct json_writer *w, const char *v)
{
    jw_str(w, str_from(v));
}

void jw_i64(struct json_writer *w, int64_t v)
{
    before_value(w);
    buf_add_i64(w->out, v);
}

void jw_u64(struct json_writer *w, uint64_t v)
{
    before_value(w);
    buf_add_u64(w->out, v);
}

void jw_f64(struct json_writer *w, double v)
{
    char text[32];
    if (!isfinite(v)) {
        jw_null(w);
        return;
    }
    before_value(w);
    buf_add(w->out, text, f64_format(v, text));
}

void jw_bool(struct json_writer *w, bool v)
{
    before_value(w);
    buf_add_cstr(w->out, v ? "true" : "false");
}

void jw_null(struct json_writer *w)
{
    before_value(w);
    buf_add_cstr(w->out, "null");
}

void jw_raw(struct json_writer *w, struct str json)
{
    before_value(w);
    buf_add_str(w->out, json);
}

void jw_value(struct json_writer *w, const struct json *v)
{
    before_value(w);
    json_write(w->out, v);
}

void jw_kstr(struct json_writer *w, const char *key, struct str v)
{
    jw_key(w, str_from(key));
    jw_str(w, v);
}

void jw_kcstr(struct json_writer *w, const char *key, const char *v)
{
    jw_key(w, str_from(key));
    jw_cstr(w, v);
}

void jw_ki64(struct json_writer *w, const char *key, int64_t v)
{
    jw_key(w, str_from(key));
    jw_i64(w, v);
}

void jw_ku64(struct json_writer *w, const char *key, uint64_t v)
{
    jw_key(w, str_from(key));
    jw_u64(w, v);
}

void jw_kbool(struct json_writer *w, const char *key, bool v)
{
    jw_key(w, str_from(key));
    jw_bool(w, v);
}

void jw_kf64(struct json_writer *w, const char *key, double v)
{
    jw_key(w, str_from(key));
    jw_f64(w, v);
}
