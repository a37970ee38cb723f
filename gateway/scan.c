/* gateway/scan.c - the JSON scanner's values: strings, escapes, numbers, words, and skipping. */
#include "gateway/scan.h"

#include "base/utf8.h"
#include "gateway/span.h"

enum { ESCAPE_LEN = 6 }; /* of \\uXXXX */

static const char CUT_OFF[] = "the text ends before the value is complete";

void scan_init(struct scan *s, struct str body)
{
    *s = (struct scan){.begin = body.ptr, .p = body.ptr, .end = body.ptr + body.len};
    if (str_starts(body, STR(UTF8_BOM)))
        s->p += sizeof UTF8_BOM - 1;
}

bool scan_fail(struct scan *s, const char *at, const char *why)
{
    s->p = at;
    s->why = why;
    return false;
}

bool scan_fail_value(struct scan *s)
{
    return scan_fail(s, s->p, s->p == s->end ? CUT_OFF : "expected a value");
}

enum err_code scan_error(const struct scan *s, struct err *e)
{
    return err_set(e, ERR_INVALID, "invalid JSON at byte %zu: %s", (size_t)(s->p - s->begin),
                   s->why);
}

/* ---- strings ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hex digits at p, or -1. */
static int hex4(const char *p, const char *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0)
            return -1;
        v = v << 4 | digit;
    }
    return v;
}

static bool is_high_surrogate(int unit)
{
    return unit >= 0xD800 && unit < 0xDC00;
}

static bool is_low_surrogate(int unit)
{
    return unit >= 0xDC00 && unit < 0xE000;
}

/* Behind "\u". */
static bool unicode_escape(struct scan *s, const char **p, uint32_t *cp)
{
    int unit = hex4(*p, s->end);
    if (unit < 0)
        return scan_fail(s, *p, s->end - *p < 4 ? CUT_OFF : "\\u needs four hex digits");
    *p += 4;
    *cp = (uint32_t)unit;
    if (!is_high_surrogate(unit) && !is_low_surrogate(unit))
        return true;
    int second =
        s->end - *p >= ESCAPE_LEN && (*p)[0] == '\\' && (*p)[1] == 'u' ? hex4(*p + 2, s->end) : -1;
    if (!is_high_surrogate(unit) || !is_low_surrogate(second))
        return scan_fail(s, *p - ESCAPE_LEN, "half a surrogate pair");
    *cp = 0x10000 + (((uint32_t)unit - 0xD800) << 10) + ((uint32_t)second - 0xDC00);
    *p += ESCAPE_LEN;
    return true;
}

bool scan_escape(struct scan *s, const char **p, uint32_t *cp)
{
    static const char LETTERS[] = "\"\\/bfnrt", MEANINGS[] = "\"\\/\b\f\n\r\t";
    if (*p == s->end)
        return scan_fail(s, *p, CUT_OFF);
    char c = *(*p)++;
    if (c == 'u')
        return unicode_escape(s, p, cp);
    const char *found = c ? strchr(LETTERS, c) : NULL;
    if (!found)
        return scan_fail(s, *p - 1, "unknown escape");
    *cp = (uint32_t)MEANINGS[found - LETTERS];
    return true;
}

static bool check_utf8(struct scan *s, const char *from, const char *to)
{
    struct str text = {from, (size_t)(to - from)};
    size_t good = utf8_valid_prefix(text);
    return good == text.len || scan_fail(s, from + good, "invalid UTF-8");
}

bool scan_string(struct scan *s, struct str *raw)
{
    const char *start = s->p + 1, *p = start;
    bool high = false;
    for (;;) {
        uint32_t ignored;
        p = span_end(p, s->end, &high);
        if (p == s->end)
            return scan_fail(s, p, CUT_OFF);
        if (*p == '"')
            break;
        if (*p != '\\')
            return scan_fail(s, p, "control byte in a string");
        p++;
        if (!scan_escape(s, &p, &ignored))
            return false;
    }
    if (high && !check_utf8(s, start, p))
        return false;
    *raw = (struct str){start, (size_t)(p - start)};
    s->p = p + 1;
    return true;
}

void scan_decode(struct str raw, struct buf *out)
{
    struct scan s = {.begin = raw.ptr, .p = raw.ptr, .end = raw.ptr + raw.len};
    while (s.p < s.end) {
        const char *slash = memchr(s.p, '\\', (size_t)(s.end - s.p));
        buf_add(out, s.p, (size_t)((slash ? slash : s.end) - s.p));
        if (!slash)
            return;
        char utf8[4];
        uint32_t cp;
        s.p = slash + 1;
        if (!scan_escape(&s, &s.p, &cp))
            return;
        buf_add(out, utf8, utf8_encode(cp, utf8));
    }
}

/* ---- numbers and words ---- */

static bool is_digit(const struct scan *s, const char *p)
{
    return p < s->end && *p >= '0' && *p <= '9';
}

/* At least one digit at *p. */
static bool digits(struct scan *s, const char **p)
{
    if (!is_digit(s, *p))
        return scan_fail(s, *p, *p == s->end ? CUT_OFF : "expected a digit");
    while (is_digit(s, *p))
        (*p)++;
    return true;
}

bool scan_number(struct scan *s, struct scan_number *out)
{
    const char *p = s->p;
    out->is_integer = true;
    if (*p == '-')
        p++;
    if (p < s->end && *p == '0') {
        p++;
        if (is_digit(s, p))
            return scan_fail(s, p, "a number may not begin with 0");
    } else if (!digits(s, &p)) {
        return false;
    }
    if (p < s->end && *p == '.') {
        p++;
        out->is_integer = false;
        if (!digits(s, &p))
            return false;
    }
    if (p < s->end && (*p == 'e' || *p == 'E')) {
        p++;
        out->is_integer = false;
        if (p < s->end && (*p == '+' || *p == '-'))
            p++;
        if (!digits(s, &p))
            return false;
    }
    out->text = (struct str){s->p, (size_t)(p - s->p)};
    s->p = p;
    return true;
}

bool scan_word(struct scan *s, struct str word)
{
    for (size_t i = 0; i < word.len; i++) {
        if (s->p + i == s->end)
            return scan_fail(s, s->end, CUT_OFF);
        if (s->p[i] != word.ptr[i])
            return scan_fail(s, s->p, "expected a value");
    }
    s->p += word.len;
    return true;
}

/* ---- skipping ---- */

/* One bit a level tells objects from arrays. */
struct nest {
    uint64_t is_object[SCAN_DEPTH_MAX / 64];
    unsigned depth, base;
};

static bool nest_push(struct scan *s, struct nest *n, bool object)
{
    if (n->base + n->depth >= SCAN_DEPTH_MAX)
        return scan_fail(s, s->p, "nested too deep");
    uint64_t bit = UINT64_C(1) << (n->depth % 64);
    uint64_t *word = &n->is_object[n->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    n->depth++;
    s->p++;
    return true;
}

static bool nest_in_object(const struct nest *n)
{
    unsigned top = n->depth - 1;
    return n->is_object[top / 64] >> (top % 64) & 1;
}

static bool skip_scalar(struct scan *s, int c)
{
    struct str text;
    struct scan_number number;
    switch (c) {
    case '"':
        return scan_string(s, &text);
    case 't':
        return scan_word(s, STR("true"));
    case 'f':
        return scan_word(s, STR("false"));
    case 'n':
        return scan_word(s, STR("null"));
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            return scan_number(s, &number);
        return scan_fail_value(s);
    }
}

bool scan_key(struct scan *s, struct str *raw)
{
    int c = scan_peek(s);
    if (c != '"')
        return scan_fail(s, s->p, c < 0 ? CUT_OFF : "expected a key in quotes");
    return scan_string(s, raw) && scan_colon(s);
}

bool scan_colon(struct scan *s)
{
    int c = scan_peek(s);
    if (c != ':')
        return scan_fail(s, s->p, c < 0 ? CUT_OFF : "expected ':'");
    s->p++;
    return true;
}

bool scan_more(struct scan *s, char close, bool *more)
{
    int c = scan_peek(s);
    if (c != ',' && c != close)
        return scan_fail(s, s->p,
                         c < 0          ? CUT_OFF
                         : close == '}' ? "expected ',' or '}'"
                                        : "expected ',' or ']'");
    *more = c == ',';
    s->p++;
    return true;
}

/* Behind a complete value: close what ends here, until there is a next value or nothing is open. */
static bool after_value(struct scan *s, struct nest *n)
{
    struct str key;
    bool more = false;
    while (n->depth > 0 && !more) {
        bool object = nest_in_object(n);
        if (!scan_more(s, object ? '}' : ']', &more))
            return false;
        if (!more)
            n->depth--;
        else if (object && !scan_key(s, &key))
            return false;
    }
    return true;
}

/* At '{' or '[': open it, up to its first value; an empty one is complete at once. */
static bool open_container(struct scan *s, struct nest *n, bool object)
{
    struct str key;
    if (!nest_push(s, n, object))
        return false;
    if (scan_peek(s) == (object ? '}' : ']')) {
        s->p++;
        n->depth--;
        return after_value(s, n);
    }
    return !object || scan_key(s, &key);
}

bool scan_skip(struct scan *s, unsigned depth)
{
    struct nest n = {.base = depth};
    do {
        int c = scan_peek(s);
        bool ok = c == '{' || c == '[' ? open_container(s, &n, c == '{')
                                       : skip_scalar(s, c) && after_value(s, &n);
        if (!ok)
            return false;
    } while (n.depth > 0);
    return true;
}
