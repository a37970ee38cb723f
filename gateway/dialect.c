/* gateway/dialect.c - translates tokens, in two passes.
 *
 * The first notes which reserved words name tables, and which calls are followed by WITHIN GROUP;
 * the second writes the text anew.  A table is named after FROM and JOIN, and after a comma within
 * the same FROM; parentheses have a FROM of their own.
 */
#include "gateway/dialect.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "gateway/dialect_lex.h"

#define DEPTH_MAX 64          /* parentheses deeper than this are copied as they stand */
#define ORDERED_MAX 64        /* calls with WITHIN GROUP of one statement */
#define GROWTH_MAX 2          /* times the text: two quotes around a word of two bytes */
#define RESERVED_BYTES_MAX 16 /* of the longest reserved word */

/* What DuckDB does not take as the name of a table, but for SELECT, FROM and LATERAL: these begin
 * something there. */
static const char reserved[] =
    " all analyse analyze and anti any array as asc asof asymmetric at authorization "
    "binary both by case cast check collate collation column concurrently constraint "
    "create cross default deferrable desc describe distinct do else end except false "
    "fetch for foreign freeze full generated glob group having ilike in initially inner "
    "intersect into is isnull join lambda leading left like limit natural not notnull "
    "null offset on only or order outer overlaps pivot pivot_longer pivot_wider placing "
    "positional primary qualify references returning right semi show similar some "
    "summarize symmetric table tablesample then to trailing true try_cast union unique "
    "unpack unpivot using variadic verbose when where window with ";

static const struct {
    const char *type, *of_unsigned;
} integers[] = {
    {"tinyint", "UTINYINT"}, {"smallint", "USMALLINT"}, {"int", "UINTEGER"},
    {"integer", "UINTEGER"}, {"bigint", "UBIGINT"},
};

/* Where the reader stands. */
struct place {
    unsigned depth;   /* of parentheses */
    uint64_t in_from; /* bit d: at depth d the text is inside a FROM */
    bool expects;     /* a table may be named here */
};

struct dialect {
    struct str sql;
    struct str names[DIALECT_NAMES_MAX];
    size_t name_count;
    size_t ordered[ORDERED_MAX]; /* offsets of the names of calls, ascending */
    size_t ordered_count;
    size_t opened_by[DEPTH_MAX]; /* 1 + the offset of the call's name; 0: another parenthesis */
};

bool dialect_is_reserved(struct str word)
{
    char lower[RESERVED_BYTES_MAX + 3] = " ";
    if (word.len > RESERVED_BYTES_MAX)
        return false;
    for (size_t i = 0; i < word.len; i++)
        lower[i + 1] =
            (char)(word.ptr[i] >= 'A' && word.ptr[i] <= 'Z' ? word.ptr[i] | 0x20 : word.ptr[i]);
    lower[word.len + 1] = ' ';
    return strstr(reserved, lower) != NULL;
}

/* ---- places ---- */

static bool ends_from(const struct token *t)
{
    static const char *const words[] = {"where", "group",  "having",    "order",
                                        "limit", "offset", "window",    "qualify",
                                        "union", "except", "intersect", "select"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (token_is_word(t, words[i]))
            return true;
    return false;
}

static void set_in_from(struct place *p, bool in)
{
    uint64_t bit = p->depth < DEPTH_MAX ? UINT64_C(1) << p->depth : 0;
    p->in_from = in ? p->in_from | bit : p->in_from & ~bit;
}

static void move_past_word(struct place *p, const struct token *t)
{
    bool starts = token_is_word(t, "from") || token_is_word(t, "join");
    if (starts)
        set_in_from(p, true);
    else if (!p->expects && ends_from(t))
        set_in_from(p, false);
    p->expects = starts || (p->expects && token_is_word(t, "lateral"));
}

static void move_past(struct place *p, const struct token *t)
{
    if (t->kind == TOKEN_WORD) {
        move_past_word(p, t);
        return;
    }
    p->expects = token_is_mark(t, ',') && p->depth < DEPTH_MAX && (p->in_from >> p->depth & 1);
    if (token_is_mark(t, '(')) {
        p->depth++;
        set_in_from(p, false);
    } else if (token_is_mark(t, ')') && p->depth) {
        p->depth--;
    }
}

/* ---- the first pass ---- */

static bool is_name(const struct dialect *d, struct str word)
{
    for (size_t i = 0; i < d->name_count; i++)
        if (str_eq_nocase(d->names[i], word))
            return true;
    return false;
}

static void note_name(struct dialect *d, const struct place *p, const struct token *t)
{
    if (t->kind == TOKEN_WORD && p->expects && dialect_is_reserved(t->text) &&
        !is_name(d, t->text) && d->name_count < DIALECT_NAMES_MAX)
        d->names[d->name_count++] = t->text;
}

static int compare_offsets(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* `p` is the place before `t`, `before` the token before it. */
static void note_call(struct dialect *d, const struct place *p, const struct token *t,
                      const struct token *before, const struct token *after)
{
    if (token_is_mark(t, '(') && p->depth + 1 < DEPTH_MAX)
        d->opened_by[p->depth + 1] = token_is_word(before, "approx_percentile_cont")
                                         ? (size_t)(before->text.ptr - d->sql.ptr) + 1
                                         : 0;
    if (token_is_mark(t, ')') && p->depth < DEPTH_MAX && token_is_word(after, "within") &&
        d->opened_by[p->depth] && d->ordered_count < ORDERED_MAX)
        d->ordered[d->ordered_count++] = d->opened_by[p->depth] - 1;
}

static void take_notes(struct dialect *d)
{
    struct place p = {0};
    struct token before = {0};
    size_t at = 0;
    struct token t = lex_next(d->sql, &at);
    while (t.kind != TOKEN_END) {
        struct token after = lex_next(d->sql, &at);
        note_name(d, &p, &t);
        note_call(d, &p, &t, &before, &after);
        move_past(&p, &t);
        before = t;
        t = after;
    }
    qsort(d->ordered, d->ordered_count, sizeof d->ordered[0], compare_offsets);
}

/* ---- the second pass ---- */

static bool is_ordered(const struct dialect *d, const struct token *t)
{
    size_t at = (size_t)(t->text.ptr - d->sql.ptr);
    return bsearch(&at, d->ordered, d->ordered_count, sizeof at, compare_offsets) != NULL;
}

/* `default` begins nothing in a SELECT, so it is a name wherever it stands. */
static bool needs_quotes(const struct dialect *d, const struct place *p, const struct token *t,
                         const struct token *before, const struct token *after)
{
    if (token_is_mark(before, '.'))
        return false;
    if (p->expects)
        return dialect_is_reserved(t->text);
    return token_is_word(t, "default") || (token_is_mark(after, '.') && is_name(d, t->text));
}

static const char *unsigned_of(const struct token *t, const struct token *after)
{
    if (token_is_word(after, "unsigned"))
        for (size_t i = 0; i < ARRAY_LEN(integers); i++)
            if (token_is_word(t, integers[i].type))
                return integers[i].of_unsigned;
    return NULL;
}

/* Writes a word; true when `after` is written with it. */
static bool add_word(const struct dialect *d, const struct place *p, const struct token *t,
                     const struct token *before, const struct token *after, struct buf *out)
{
    const char *type = unsigned_of(t, after);
    bool quotes = !type && needs_quotes(d, p, t, before, after);
    if (quotes)
        buf_add_char(out, '"');
    if (type)
        buf_add_cstr(out, type);
    else if (is_ordered(d, t))
        buf_add_cstr(out, "percentile_cont");
    else
        buf_add_str(out, t->text);
    if (quotes)
        buf_add_char(out, '"');
    return type != NULL;
}

/* Everything between the tokens is copied as it is. */
static void write_anew(const struct dialect *d, struct buf *out)
{
    struct place p = {0};
    struct token before = {0};
    const char *copied = d->sql.ptr; /* up to here */
    size_t at = 0;
    struct token t = lex_next(d->sql, &at);
    while (t.kind != TOKEN_END) {
        struct token after = lex_next(d->sql, &at);
        buf_add(out, copied, (size_t)(t.text.ptr - copied));
        copied = t.text.ptr + t.text.len;
        if (t.kind != TOKEN_WORD) {
            buf_add_str(out, t.text);
        } else if (add_word(d, &p, &t, &before, &after, out)) {
            copied = after.text.ptr + after.text.len;
            t = after;
            after = lex_next(d->sql, &at);
        }
        move_past(&p, &t);
        before = t;
        t = after;
    }
    buf_add(out, copied, (size_t)(d->sql.ptr + d->sql.len - copied));
}

bool dialect_translate(struct str sql, struct arena *a, struct str *out)
{
    struct dialect d = {.sql = sql};
    struct buf text;
    bool changed = false;
    if (!sql.len)
        return false;
    buf_init(&text, GROWTH_MAX * sql.len);
    take_notes(&d);
    write_anew(&d, &text);
    if (buf_ok(&text) && !str_eq(buf_str(&text), sql)) {
        *out = arena_copy(a, buf_str(&text));
        changed = out->ptr != NULL;
    }
    buf_done(&text);
    return changed;
}
