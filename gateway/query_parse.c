/* gateway/query_parse.c - SQL text to a tree, with one word that streams have and DuckDB reserves.
 *
 * `default` is what many collectors call their stream, and the reference takes FROM default as a
 * name.  DuckDB's parser stops at it; where it says that it stopped at this very word, the word is
 * put in quotes and the text is parsed again.
 */
#include <stdlib.h>

#include "gateway/engine/client.h"
#include "gateway/query_service.h"

#define DEFAULT_WORDS_MAX 8 /* in one statement; the next one is a syntax error */

static bool is_word_byte(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* Is `default` at `at`, as a whole word? */
static bool is_default_at(struct str sql, size_t at)
{
    struct str word = STR("default");
    size_t end = at + word.len;
    return end <= sql.len && str_eq_nocase((struct str){sql.ptr + at, word.len}, word) &&
           (at == 0 || !is_word_byte(sql.ptr[at - 1])) &&
           (end == sql.len || !is_word_byte(sql.ptr[end]));
}

/* Is the error a stop at the word `default`, or at the dot behind it?  *at: where the word is. */
static bool stopped_at_default(const struct err *e, struct str sql, size_t *at)
{
    const char *place = strstr(e->msg, " at byte ");
    if (e->detail != API_SQL_NOT_VALID || !place)
        return false;
    *at = strtoul(place + strlen(" at byte "), NULL, 10);
    if (*at < sql.len && sql.ptr[*at] == '.' && *at >= strlen("default"))
        *at -= strlen("default");
    return *at < sql.len && is_default_at(sql, *at);
}

static enum err_code quote_word(struct str *sql, size_t at, size_t len, struct arena *a,
                                struct err *e)
{
    char *text = arena_alloc(a, sql->len + 2);
    if (!text)
        return err_set(e, ERR_TOOBIG, "the query is too large");
    memcpy(text, sql->ptr, at);
    text[at] = '"';
    memcpy(text + at + 1, sql->ptr + at, len);
    text[at + len + 1] = '"';
    memcpy(text + at + len + 2, sql->ptr + at + len, sql->len - at - len);
    *sql = (struct str){text, sql->len + 2};
    return ERR_OK;
}

/* A connection is of no further use after an error. */
static enum err_code reconnect(const char *socket, uint64_t deadline_ms,
                               struct engine_client **engine, struct err *e)
{
    engine_client_close(*engine);
    *engine = NULL;
    return engine_client_open(socket, deadline_ms, engine, e);
}

enum err_code query_parse(const char *socket, struct engine_client **engine, struct str sql,
                          uint64_t deadline_ms, struct arena *a, struct json **tree, struct err *e)
{
    enum err_code rc = engine_client_parse(*engine, sql, deadline_ms, a, tree, e);
    size_t at;
    for (int n = 0; rc && n < DEFAULT_WORDS_MAX && stopped_at_default(e, sql, &at); n++) {
        rc = quote_word(&sql, at, strlen("default"), a, e);
        if (!rc)
            rc = reconnect(socket, deadline_ms, engine, e);
        if (!rc)
            rc = engine_client_parse(*engine, sql, deadline_ms, a, tree, e);
    }
    return rc;
}
