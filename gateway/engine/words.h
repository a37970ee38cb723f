/* gateway/engine/words.h - the words of a text, and whether all words of a query occur in another.
 *
 * A word is a run of letters and digits, of ASCII or of Unicode; a character of a script that is
 * written without blanks (Han, kana, Hangul, Thai, ...) or an emoji is a word alone.  Case is
 * folded one character to one character by fixed tables, so every machine finds the same words. In
 * a query `ab*`, `*ab` and `*ab*` stand for words that begin with, end with or contain `ab`.
 * Invalid UTF-8 separates words.  Thread safety: values only.
 */
#ifndef WEIR_GATEWAY_ENGINE_WORDS_H
#define WEIR_GATEWAY_ENGINE_WORDS_H

#include "base/bytes.h"

#define WORDS_MAX 64        /* of one query */
#define WORDS_TEXT_MAX 4096 /* folded bytes of one query */

struct query_word {
    struct str folded; /* into words_query.text */
    bool open_start, open_end;
};
struct words_query {
    struct query_word word[WORDS_MAX];
    size_t count;
    char text[WORDS_TEXT_MAX];
};

/* False when the query is past one of the limits. */
bool words_query_init(struct words_query *q, struct str text);
/* Every word of the query occurs; a query without words matches every text. */
bool words_match(const struct words_query *q, struct str text);
/* The next word at or after *pos; *pos moves behind it.  False at the end. */
bool words_next(struct str text, size_t *pos, struct str *word);

#endif
