/* gateway/dialect_lex.c - cuts SQL text into tokens. */
#include "gateway/dialect_lex.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool starts_word(char c)
{
    return c == '_' || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (unsigned char)c >= 0x80;
}

static bool is_in_word(char c)
{
    return starts_word(c) || is_digit(c) || c == '$';
}

static char byte_at(struct str s, size_t i)
{
    return i < s.len ? s.ptr[i] : '\0';
}

/* ---- blanks and comments ---- */

/* Comments nest. */
static size_t skip_block(struct str s, size_t at)
{
    unsigned depth = 0;
    do {
        if (byte_at(s, at) == '/' && byte_at(s, at + 1) == '*') {
            depth++;
            at += 2;
        } else if (byte_at(s, at) == '*' && byte_at(s, at + 1) == '/') {
            depth--;
            at += 2;
        } else {
            at++;
        }
    } while (depth && at < s.len);
    return at < s.len ? at : s.len;
}

static size_t skip_blanks(struct str s, size_t at)
{
    for (;;) {
        if (at < s.len && strchr(" \t\r\n\f\v", s.ptr[at]) && s.ptr[at]) {
            at++;
        } else if (byte_at(s, at) == '-' && byte_at(s, at + 1) == '-') {
            while (at < s.len && s.ptr[at] != '\n')
                at++;
        } else if (byte_at(s, at) == '/' && byte_at(s, at + 1) == '*') {
            at = skip_block(s, at);
        } else {
            return at;
        }
    }
}

/* ---- what may contain anything ---- */

/* From the opening quote to behind the closing one; a doubled quote, or after a backslash where
 * that escapes, is part of the text. */
static size_t quoted_end(struct str s, size_t at, bool escapes)
{
    char quote = s.ptr[at++];
    while (at < s.len) {
        if (escapes && s.ptr[at] == '\\') {
            at += 2;
        } else if (s.ptr[at] != quote) {
            at++;
        } else if (byte_at(s, at + 1) == quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    return s.len;
}

/* $tag$ ... $tag$; 0 when this is none. */
static size_t dollar_end(struct str s, size_t at)
{
    size_t open = at + 1;
    while (open < s.len && (starts_word(s.ptr[open]) || (open > at + 1 && is_digit(s.ptr[open]))))
        open++;
    if (byte_at(s, open) != '$')
        return 0;
    struct str tag = {s.ptr + at, open + 1 - at};
    const char *close = memmem(s.ptr + open + 1, s.len - open - 1, tag.ptr, tag.len);
    return close ? (size_t)(close - s.ptr) + tag.len : s.len;
}

static size_t number_end(struct str s, size_t at)
{
    while (at < s.len && (is_digit(s.ptr[at]) || is_in_word(s.ptr[at]) || s.ptr[at] == '.'))
        at++;
    return at;
}

static size_t word_end(struct str s, size_t at)
{
    while (at < s.len && is_in_word(s.ptr[at]))
        at++;
    return at;
}

/* ---- tokens ---- */

/* Sets *kind and returns where the token at `at` ends. */
static size_t token_end(struct str s, size_t at, enum token_kind *kind)
{
    char c = s.ptr[at];
    *kind = TOKEN_LITERAL;
    if (c == '\'')
        return quoted_end(s, at, false);
    if (strchr("eExXbB", c) && c && byte_at(s, at + 1) == '\'')
        return quoted_end(s, at + 1, (c | 0x20) == 'e');
    if (is_digit(c))
        return number_end(s, at);
    size_t end = c == '$' ? dollar_end(s, at) : 0;
    if (end)
        return end;
    *kind = c == '"' ? TOKEN_NAME : starts_word(c) ? TOKEN_WORD : TOKEN_MARK;
    if (*kind == TOKEN_NAME)
        return quoted_end(s, at, false);
    return *kind == TOKEN_WORD ? word_end(s, at) : at + 1;
}

struct token lex_next(struct str sql, size_t *at)
{
    struct token t = {.kind = TOKEN_END};
    size_t start = skip_blanks(sql, *at);
    *at = start;
    t.text = (struct str){sql.ptr + start, 0};
    if (start == sql.len)
        return t;
    *at = token_end(sql, start, &t.kind);
    if (*at > sql.len)
        *at = sql.len;
    t.text.len = *at - start;
    return t;
}

bool token_is_word(const struct token *t, const char *word)
{
    return t->kind == TOKEN_WORD && str_eq_nocase(t->text, str_from(word));
}

bool token_is_mark(const struct token *t, char mark)
{
    return t->kind == TOKEN_MARK && t->text.ptr[0] == mark;
}
