/* gateway/engine/lines.c - the scanner of lines.h.
 *
 * line   := { "key": value, ... }     value := string | number | true | false | null | nested
 *
 * Keys of one stream mostly come in the same order, so the cursor remembers for each position the
 * bytes `"key":` last seen there and which field they name.  When they stand there again, that is
 * the whole look-up; else the key is looked up in the plan's table and remembered.
 */
#include "gateway/engine/lines.h"

#include <stdlib.h>

#include "base/utf8.h"

#define GUESSES_MAX 512  /* positions in a line that are remembered */
#define GUESS_KEY_MAX 58 /* longer keys are looked up each time */
#define NOT_WANTED UINT32_MAX

struct line_plan {
    size_t count;
    size_t mask;       /* slots - 1 */
    uint32_t *slots;   /* field + 1, 0 = empty; linear probing */
    struct str *names; /* into `text` */
    char *text;
};

struct guess {
    uint16_t len; /* of `"key":`, 0 = nothing learned */
    uint32_t field;
    char key[GUESS_KEY_MAX];
};

struct line_cursor {
    const struct line_plan *plan;
    uint32_t *seen_in; /* per field: number of the last line that had it */
    uint32_t line_number;
    struct guess guess[GUESSES_MAX];
};

/* The line that is being read. */
struct scan {
    const char *begin, *p, *end;
};

static uint32_t plan_lookup(const struct line_plan *p, struct str key)
{
    for (size_t i = str_hash(key) & p->mask; p->slots[i] != 0; i = (i + 1) & p->mask)
        if (str_eq(p->names[p->slots[i] - 1], key))
            return p->slots[i] - 1;
    return NOT_WANTED;
}

static void plan_insert(struct line_plan *p, uint32_t field)
{
    size_t i = str_hash(p->names[field]) & p->mask;
    while (p->slots[i] != 0)
        i = (i + 1) & p->mask;
    p->slots[i] = field + 1;
}

enum err_code line_plan_new(const struct str *names, size_t count, struct line_plan **out,
                            struct err *e)
{
    if (count > LINE_FIELDS_MAX)
        return err_set(e, ERR_TOOBIG, "more than %d fields", LINE_FIELDS_MAX);
    size_t slots = 8, text_len = 0;
    while (slots < 2 * count)
        slots *= 2;
    for (size_t i = 0; i < count; i++)
        text_len += names[i].len;
    struct line_plan *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "no memory for a plan of %zu fields", count);
    p->slots = calloc(slots, sizeof *p->slots);
    p->names = calloc(count + 1, sizeof *p->names);
    p->text = malloc(text_len + 1);
    if (!p->slots || !p->names || !p->text) {
        line_plan_free(p);
        return err_set(e, ERR_NOMEM, "no memory for a plan of %zu fields", count);
    }
    p->count = count;
    p->mask = slots - 1;
    char *to = p->text;
    for (size_t i = 0; i < count; i++) {
        if (names[i].len > 0)
            memcpy(to, names[i].ptr, names[i].len);
        p->names[i] = (struct str){to, names[i].len};
        to += names[i].len;
        plan_insert(p, (uint32_t)i);
    }
    *out = p;
    return ERR_OK;
}

void line_plan_free(struct line_plan *p)
{
    if (!p)
        return;
    free(p->slots);
    free(p->names);
    free(p->text);
    free(p);
}

enum err_code line_cursor_new(const struct line_plan *p, struct line_cursor **out, struct err *e)
{
    struct line_cursor *c = calloc(1, sizeof *c);
    uint32_t *seen_in = calloc(p->count + 1, sizeof *seen_in);
    if (!c || !seen_in) {
        free(c);
        free(seen_in);
        return err_set(e, ERR_NOMEM, "no memory for a cursor of %zu fields", p->count);
    }
    c->plan = p;
    c->seen_in = seen_in;
    *out = c;
    return ERR_OK;
}

void line_cursor_free(struct line_cursor *c)
{
    if (!c)
        return;
    free(c->seen_in);
    free(c);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_space(struct scan *s)
{
    while (s->p < s->end && is_space(*s->p))
        s->p++;
}

static bool at(const struct scan *s, char c)
{
    return s->p < s->end && *s->p == c;
}

static bool take(struct scan *s, char c)
{
    skip_space(s);
    if (!at(s, c))
        return false;
    s->p++;
    return true;
}

/* The first quote or backslash at or after p, or end; eight bytes a step. */
static const char *find_quote(const char *p, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    for (; end - p >= 8; p += 8) {
        uint64_t word = get_u64(p);
        uint64_t quote = word ^ ones * '"', slash = word ^ ones * '\\';
        uint64_t hit = ((quote - ones) & ~quote) | ((slash - ones) & ~slash);
        if (hit & highs)
            break;
    }
    while (p < end && *p != '"' && *p != '\\')
        p++;
    return p;
}

/* After the opening quote; takes the closing one. */
static bool scan_string(struct scan *s, struct line_value *v)
{
    const char *begin = s->p;
    v->kind = LINE_STRING;
    for (;;) {
        const char *p = find_quote(s->p, s->end);
        if (p == s->end)
            return false;
        s->p = p + 1;
        if (*p == '"') {
            v->text = (struct str){begin, (size_t)(p - begin)};
            return true;
        }
        v->kind = LINE_ESCAPED;
        if (s->p == s->end)
            return false;
        s->p++;
    }
}

/* At a bracket; goes past the one that closes it. */
static bool scan_nested(struct scan *s, struct line_value *v)
{
    const char *begin = s->p;
    struct line_value inner;
    size_t depth = 0;
    while (s->p < s->end) {
        char c = *s->p++;
        if (c == '"' && !scan_string(s, &inner))
            return false;
        if (c == '[' || c == '{')
            depth++;
        if ((c == ']' || c == '}') && --depth == 0) {
            v->kind = LINE_NESTED;
            v->text = (struct str){begin, (size_t)(s->p - begin)};
            return true;
        }
    }
    return false;
}

static bool scan_word(struct scan *s, struct str word, enum line_kind kind, struct line_value *v)
{
    v->kind = kind;
    v->text = (struct str){s->p, word.len};
    if ((size_t)(s->end - s->p) < word.len || memcmp(s->p, word.ptr, word.len) != 0)
        return false;
    s->p += word.len;
    return true;
}

static bool in_number(char c)
{
    return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

static bool scan_number(struct scan *s, struct line_value *v)
{
    const char *begin = s->p;
    while (s->p < s->end && in_number(*s->p))
        s->p++;
    v->kind = LINE_NUMBER;
    v->text = (struct str){begin, (size_t)(s->p - begin)};
    return s->p > begin;
}

static bool scan_value(struct scan *s, struct line_value *v)
{
    skip_space(s);
    if (s->p == s->end)
        return false;
    switch (*s->p) {
    case '"':
        s->p++;
        return scan_string(s, v);
    case '{':
    case '[':
        return scan_nested(s, v);
    case 't':
        return scan_word(s, STR("true"), LINE_TRUE, v);
    case 'f':
        return scan_word(s, STR("false"), LINE_FALSE, v);
    case 'n':
        return scan_word(s, STR("null"), LINE_NULL, v);
    default:
        return scan_number(s, v);
    }
}

/* False only when there is no memory for a key with escapes. */
static bool lookup_key(const struct line_plan *plan, const struct line_value *key, uint32_t *field)
{
    if (key->kind == LINE_STRING) {
        *field = plan_lookup(plan, key->text);
        return true;
    }
    char *plain = malloc(key->text.len);
    if (!plain)
        return false;
    *field = plan_lookup(plan, (struct str){plain, line_unescape(key->text, plain)});
    free(plain);
    return true;
}

static void learn(struct guess *g, const char *begin, const char *end, uint32_t field)
{
    size_t len = (size_t)(end - begin);
    if (len > sizeof g->key)
        return;
    memcpy(g->key, begin, len);
    g->len = (uint16_t)len;
    g->field = field;
}

/* `"key":` at position `n` of the line. */
static bool scan_key(struct line_cursor *c, struct scan *s, size_t n, uint32_t *field)
{
    struct guess *g = n < GUESSES_MAX ? &c->guess[n] : NULL;
    if (g && g->len > 0 && (size_t)(s->end - s->p) >= g->len && memcmp(s->p, g->key, g->len) == 0) {
        s->p += g->len;
        *field = g->field;
        return true;
    }
    struct line_value key;
    skip_space(s);
    const char *begin = s->p;
    if (!take(s, '"') || !scan_string(s, &key) || !take(s, ':') ||
        !lookup_key(c->plan, &key, field))
        return false;
    if (g)
        learn(g, begin, s->p, *field);
    return true;
}

/* A new line number; when the counter wraps, all marks are taken back. */
static void next_line(struct line_cursor *c)
{
    if (++c->line_number != 0)
        return;
    memset(c->seen_in, 0, c->plan->count * sizeof *c->seen_in);
    c->line_number = 1;
}

static bool is_wanted(struct line_cursor *c, uint32_t field)
{
    if (field == NOT_WANTED || c->seen_in[field] == c->line_number)
        return false;
    c->seen_in[field] = c->line_number;
    return true;
}

/* Members up to the closing brace, or to the last field that can still be wanted. */
static bool scan_members(struct line_cursor *c, struct scan *s, struct line_value *out,
                         size_t *count)
{
    for (size_t n = 0; *count < c->plan->count; n++) {
        struct line_value v;
        if (!scan_key(c, s, n, &v.field) || !scan_value(s, &v))
            return false;
        if (is_wanted(c, v.field))
            out[(*count)++] = v;
        if (take(s, '}'))
            return true;
        if (!take(s, ','))
            return false;
    }
    return true;
}

enum err_code line_find(struct line_cursor *c, struct str line, struct line_value *out,
                        size_t *count, struct err *e)
{
    struct scan s = {line.ptr, line.ptr, line.ptr + line.len};
    *count = 0;
    next_line(c);
    if (c->plan->count == 0)
        return ERR_OK;
    if (take(&s, '{') && (take(&s, '}') || scan_members(c, &s, out, count)))
        return ERR_OK;
    return err_set(e, ERR_CORRUPT, "no JSON object at byte %zu", (size_t)(s.p - s.begin));
}

bool line_members_next(struct line_members *m, struct str *key, struct line_value *v)
{
    struct scan s = {m->line.ptr, m->line.ptr + m->at, m->line.ptr + m->line.len};
    struct line_value name;
    bool is_first = m->at == 0;
    if (is_first && !take(&s, '{')) {
        m->is_broken = true;
        return false;
    }
    if (take(&s, '}')) {
        m->at = m->line.len;
        return false;
    }
    m->is_broken = (!is_first && !take(&s, ',')) || !take(&s, '"') || !scan_string(&s, &name) ||
                   !take(&s, ':') || !scan_value(&s, v);
    m->at = (size_t)(s.p - s.begin);
    *key = name.text;
    return !m->is_broken;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Four hex digits at p, or -1. */
static int32_t hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return -1;
    int32_t v = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0)
            return -1;
        v = v << 4 | digit;
    }
    return v;
}

/* After `\u`: one code point, also of two escapes.  Returns the bytes taken; without four hex
 * digits none, and the escape stands for its letter. */
static size_t decode_unicode(const char *p, const char *end, uint32_t *cp)
{
    int32_t high = hex4(p, end);
    *cp = high < 0 ? 'u' : 0xFFFD;
    if (high < 0)
        return 0;
    if (high < 0xD800 || high > 0xDFFF) {
        *cp = (uint32_t)high;
        return 4;
    }
    if (high > 0xDBFF || end - p < 10 || p[4] != '\\' || p[5] != 'u')
        return 4;
    int32_t low = hex4(p + 6, end);
    if (low < 0xDC00 || low > 0xDFFF)
        return 4;
    *cp = 0x10000 + (((uint32_t)high - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
    return 10;
}

static char plain_escape(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c;
    }
}

size_t line_unescape(struct str text, char *dst)
{
    const char *p = text.ptr, *end = p + text.len;
    char *to = dst;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((slash ? slash : end) - p);
        memcpy(to, p, plain);
        to += plain;
        p += plain;
        if (end - p < 2)
            break;
        char c = p[1];
        p += 2;
        if (c != 'u') {
            *to++ = plain_escape(c);
            continue;
        }
        uint32_t cp;
        char utf8[4];
        p += decode_unicode(p, end, &cp);
        size_t n = utf8_encode(cp, utf8);
        memcpy(to, utf8, n);
        to += n;
    }
    return (size_t)(to - dst);
}
