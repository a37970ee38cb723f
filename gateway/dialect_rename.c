/* gateway/dialect_rename.c - writes a statement anew with other names for some columns.
 *
 * A token is renamed where it is written exactly like the name, in quotes or not, and may be a
 * column, an alias or a table (whose name the gate takes back): not before an opening bracket,
 * where it is a call, not as a type behind `::`, and not as a reserved word, unless behind a dot.
 * Where a word that is not reserved is grammar and not a name (NULLS FIRST), DuckDB refuses what
 * comes out.
 */
#include "base/cleanup.h"
#include "gateway/dialect.h"
#include "gateway/dialect_lex.h"
#include "gateway/gate.h"

#define RENAMED_MAX (16u << 20) /* of the text that comes out */

struct reader {
    struct token before[2]; /* the last token, and the one before it */
    struct token now, after;
};

static bool is_keyword(const struct token *t)
{
    return t->kind == TOKEN_WORD && (dialect_is_reserved(t->text) || token_is_word(t, "select") ||
                                     token_is_word(t, "from") || token_is_word(t, "lateral"));
}

/* What it is called when it is a name that may be renamed; else empty. */
static struct str name_of(const struct reader *r)
{
    const struct token *t = &r->now;
    bool behind_dot = token_is_mark(&r->before[0], '.');
    bool is_type = token_is_mark(&r->before[0], ':') && token_is_mark(&r->before[1], ':');
    if ((t->kind != TOKEN_WORD && t->kind != TOKEN_NAME) || token_is_mark(&r->after, '(') ||
        is_type || (is_keyword(t) && !behind_dot))
        return STR("");
    if (t->kind == TOKEN_WORD)
        return t->text;
    return t->text.len > 2 ? (struct str){t->text.ptr + 1, t->text.len - 2} : STR("");
}

enum err_code dialect_rename(struct str sql, const struct gate_names *names, struct arena *a,
                             struct str *out, struct err *e)
{
    struct reader r = {0};
    struct buf text;
    const char *copied = sql.ptr; /* up to here */
    size_t at = 0;
    buf_init(&text, RENAMED_MAX);
    for (r.now = lex_next(sql, &at); r.now.kind != TOKEN_END; r.now = r.after) {
        r.after = lex_next(sql, &at);
        struct str name = name_of(&r), in_tree = gate_name_in_tree(names, name);
        if (in_tree.ptr != name.ptr) {
            buf_add(&text, copied, (size_t)(r.now.text.ptr - copied));
            buf_printf(&text, " \"" STR_FMT "\" ", STR_ARG(in_tree)); /* "a"b are two names */
            copied = r.now.text.ptr + r.now.text.len;
        }
        r.before[1] = r.before[0];
        r.before[0] = r.now;
    }
    buf_add(&text, copied, (size_t)(sql.ptr + sql.len - copied));
    *out = buf_ok(&text) ? arena_copy(a, buf_str(&text)) : STR("");
    buf_done(&text);
    return out->len ? ERR_OK
                    : search_error(e, API_SQL_NOT_VALID, "the query is too large to be planned");
}
