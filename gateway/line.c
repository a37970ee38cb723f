/* gateway/line.c - writing strings into lines. */
#include "gateway/line.h"

#include "base/utf8.h"
#include "gateway/span.h"

enum {
    ESCAPE_ROOM = 16 /* the longest single write: `\\u00XX` inside a text, or a closing quote */
};

/* The canonical form of one code point inside a string; returns its length (at most 6). */
static size_t put_canonical(uint32_t cp, char *dst)
{
    static const char SHORT[] = "\b\f\n\r\t", LETTERS[] = "bfnrt", HEX[] = "0123456789abcdef";
    if (cp >= 0x20 && cp != '"' && cp != '\\')
        return utf8_encode(cp, dst);
    dst[0] = '\\';
    const char *letter = cp ? memchr(SHORT, (int)cp, sizeof SHORT - 1) : NULL;
    if (letter || cp >= 0x20) {
        dst[1] = letter ? LETTERS[letter - SHORT] : (char)cp;
        return 2;
    }
    memcpy(dst + 1, "u00", 3);
    dst[4] = HEX[cp >> 4];
    dst[5] = HEX[cp & 15];
    return 6;
}

/* Escape what is already JSON once more, to stand inside a string. */
static size_t put_again(const char *json, size_t n, char *dst)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        if (json[i] == '"' || json[i] == '\\')
            dst[len++] = '\\';
        dst[len++] = json[i];
    }
    return len;
}

static size_t put_code_point(uint32_t cp, bool in_text, char *dst)
{
    char once[8];
    if (!in_text)
        return put_canonical(cp, dst);
    return put_again(once, put_canonical(cp, once), dst);
}

static size_t put_quote(bool in_text, char *dst)
{
    memcpy(dst, "\\\"", 2);
    if (!in_text)
        dst[0] = '"';
    return in_text ? 2 : 1;
}

/* One stop of the span copy: a control byte, an escape, or too little room (then it is made). */
static bool pass_stop(struct scan *s, const char **p, bool in_text, struct buf *out)
{
    uint32_t cp;
    if (**p != '\\')
        return span_stops_at(**p) ? scan_fail(s, *p, "control byte in a string")
                                  : buf_reserve(out, SPAN_ROOM + ESCAPE_ROOM);
    (*p)++;
    if (!scan_escape(s, p, &cp))
        return false;
    out->len += put_code_point(cp, in_text, out->data + out->len);
    return buf_reserve(out, SPAN_ROOM + ESCAPE_ROOM);
}

static bool copy_string(struct scan *s, bool in_text, struct buf *out)
{
    const char *start = s->p + 1, *p = start;
    bool high = false;
    if (!buf_reserve(out, SPAN_ROOM + ESCAPE_ROOM))
        return false;
    out->len += put_quote(in_text, out->data + out->len);
    for (;;) {
        char *dst = out->data + out->len;
        p = span_copy(p, s->end, &dst, out->data + out->cap - ESCAPE_ROOM, &high);
        out->len = (size_t)(dst - out->data);
        if (p == s->end)
            return scan_fail(s, p, "the text ends before the value is complete");
        if (*p == '"')
            break;
        if (!pass_stop(s, &p, in_text, out))
            return false;
    }
    out->len += put_quote(in_text, out->data + out->len);
    if (high) {
        size_t len = (size_t)(p - start), good = utf8_valid_prefix((struct str){start, len});
        if (good < len)
            return scan_fail(s, start + good, "invalid UTF-8");
    }
    s->p = p + 1;
    return true;
}

bool line_string(struct scan *s, struct buf *out)
{
    return copy_string(s, false, out);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The value is checked first; what is left is to drop blanks and to escape strings. */
bool line_text(struct scan *s, unsigned depth, struct buf *out)
{
    struct scan inner = {.begin = s->begin, .p = s->p};
    if (!scan_skip(s, depth))
        return false;
    inner.end = s->p;
    buf_add_char(out, '"');
    while (inner.p < inner.end && buf_ok(out)) {
        if (*inner.p == '"') {
            if (!copy_string(&inner, true, out))
                return false;
            continue;
        }
        if (!is_blank(*inner.p))
            buf_add_char(out, *inner.p);
        inner.p++;
    }
    buf_add_char(out, '"');
    return buf_ok(out);
}
