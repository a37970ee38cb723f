/* gateway/dialect_lex.h - SQL text as tokens, by the rules of DuckDB's scanner.
 *
 * Blanks and comments are no tokens.  A literal that does not end reaches to the end of the text.
 * Thread safety: values only.
 */
#ifndef WEIR_GATEWAY_DIALECT_LEX_H
#define WEIR_GATEWAY_DIALECT_LEX_H

#include "base/bytes.h"

enum token_kind {
    TOKEN_END,
    TOKEN_WORD,    /* a name or a keyword, not quoted */
    TOKEN_NAME,    /* "name" */
    TOKEN_LITERAL, /* 'text', E'text', $tag$text$tag$, a number */
    TOKEN_MARK     /* one byte of anything else */
};
struct token {
    enum token_kind kind;
    struct str text;
};

/* The next token at or after *at; *at moves behind it. */
struct token lex_next(struct str sql, size_t *at);
bool token_is_word(const struct token *t, const char *word); /* in any case */
bool token_is_mark(const struct token *t, char mark);

#endif
