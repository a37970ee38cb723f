/* gateway/gate_groups.c - a GROUP BY over names that differ only in the case of their letters.
 *
 * DuckDB's parser takes GROUP BY Host, host for GROUP BY Host, and the tree does not show it any
 * more.  So where a stream has such fields the text is asked: each GROUP BY up to the clause after
 * it, or to the bracket that ends it.  Two columns there that differ only in case are refused.
 */
#include <string.h>

#include "base/cleanup.h"
#include "gateway/gate_internal.h"

#define GROUPS_MAX 64 /* of one GROUP BY that are compared */

/* ---- tokens ---- */

struct tokens {
    struct arena *a;
    struct str rest;
    struct str text; /* of the last one: a name without its quotes, or one byte */
    bool is_name, is_quoted;
};

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

/* From an opening quote to behind the closing one; a doubled quote stands for itself. */
static size_t quoted_len(struct str s)
{
    size_t i = 1;
    while (i < s.len && (s.ptr[i] != s.ptr[0] || (i + 1 < s.len && s.ptr[i + 1] == s.ptr[0])))
        i += s.ptr[i] == s.ptr[0] ? 2 : 1;
    return i < s.len ? i + 1 : s.len;
}

/* $tag$ ... $tag$; 0: there is none here. */
static size_t dollar_len(struct str s)
{
    size_t tag = 1;
    while (tag < s.len && s.ptr[tag] != '$' && is_name_byte(s.ptr[tag]))
        tag++;
    if (s.ptr[0] != '$' || tag >= s.len || s.ptr[tag] != '$')
        return 0;
    struct str body = {s.ptr + tag + 1, s.len - tag - 1};
    const char *end = memmem(body.ptr, body.len, s.ptr, tag + 1);
    return end ? (size_t)(end - s.ptr) + tag + 1 : s.len;
}

static struct str without_quotes(struct arena *a, struct str s)
{
    char *text = arena_alloc(a, s.len + 1);
    size_t len = 0;
    for (size_t i = 1; text && i + 1 < s.len; i++) {
        text[len++] = s.ptr[i];
        i += s.ptr[i] == '"' && s.ptr[i + 1] == '"';
    }
    return (struct str){text, text ? len : 0};
}

/* False at the end. */
static bool next_token(struct tokens *t)
{
    gate_skip_blanks(&t->rest);
    struct str s = t->rest;
    if (!s.len)
        return false;
    size_t len = 1;
    t->is_quoted = s.ptr[0] == '"';
    t->is_name = t->is_quoted || is_name_byte(s.ptr[0]);
    if (s.ptr[0] == '"' || s.ptr[0] == '\'')
        len = quoted_len(s);
    else if (dollar_len(s))
        len = dollar_len(s);
    else
        while (t->is_name && len < s.len && is_name_byte(s.ptr[len]))
            len++;
    t->text =
        t->is_quoted ? without_quotes(t->a, (struct str){s.ptr, len}) : (struct str){s.ptr, len};
    t->rest = (struct str){s.ptr + len, s.len - len};
    return true;
}

static bool is_word(const struct tokens *t, const char *word)
{
    return t->is_name && !t->is_quoted && str_eq_nocase(t->text, str_from(word));
}

static bool is_byte(const struct tokens *t, char c)
{
    return !t->is_name && t->text.len == 1 && t->text.ptr[0] == c;
}

/* ---- clauses ---- */

struct group {
    struct str whole;   /* its tokens in lower case */
    struct str columns; /* those that are names of columns, as they are written */
};
struct groups {
    struct group list[GROUPS_MAX];
    size_t count;
    struct str last; /* the name before this token, part of `columns`; empty: it was none */
};

static bool ends_clause(const struct tokens *t)
{
    static const char *const words[] = {"HAVING", "QUALIFY", "WINDOW", "ORDER",     "LIMIT",
                                        "OFFSET", "UNION",   "EXCEPT", "INTERSECT", "USING"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (is_word(t, words[i]))
            return true;
    return is_byte(t, ';');
}

static struct str join(struct arena *a, struct str one, struct str other)
{
    return str_from(arena_printf(a, STR_FMT " " STR_FMT, STR_ARG(one), STR_ARG(other)));
}

static void add_token(struct gate *g, struct groups *groups, const struct tokens *t)
{
    struct group *at = &groups->list[groups->count - 1];
    bool is_set =
        is_word(t, "ROLLUP") || is_word(t, "CUBE") || is_word(t, "GROUPING") || is_word(t, "SETS");
    if (groups->last.len && (is_byte(t, '.') || is_byte(t, '('))) /* it was none of a column */
        at->columns.len -= groups->last.len;
    groups->last = t->is_name && !is_set ? t->text : STR("");
    if (is_set || is_byte(t, '(') || is_byte(t, ')'))
        return;
    at->whole = join(g->a, at->whole, gate_lower(g->a, t->text));
    if (t->is_name)
        at->columns = join(g->a, at->columns, t->text);
}

static enum err_code check_list(struct gate *g, const struct groups *groups)
{
    for (size_t i = 0; i < groups->count; i++)
        for (size_t k = i + 1; k < groups->count; k++) {
            const struct group *one = &groups->list[i], *other = &groups->list[k];
            if (str_eq(one->whole, other->whole) && !str_eq(one->columns, other->columns))
                return search_error(g->e, API_SQL_NOT_VALID,
                                    "Search SQL not valid: GROUP BY does not tell" STR_FMT
                                    " from" STR_FMT ": name them by position, as in GROUP BY 1, 2",
                                    STR_ARG(one->columns), STR_ARG(other->columns));
        }
    return ERR_OK;
}

/* The tokens of one GROUP BY. */
static enum err_code check_clause(struct gate *g, struct tokens *t)
{
    struct groups groups = {.count = 1};
    int depth = 0;
    while (depth >= 0 && next_token(t) && !(depth == 0 && ends_clause(t))) {
        depth += is_byte(t, '(') - is_byte(t, ')');
        if (!is_byte(t, ',')) {
            add_token(g, &groups, t);
        } else if (groups.count < GROUPS_MAX) {
            groups.list[groups.count++] = (struct group){.whole = STR("")};
            groups.last = STR("");
        }
    }
    return check_list(g, &groups);
}

enum err_code gate_check_groups(struct gate *g)
{
    struct tokens t = {.a = g->a, .rest = g->o->sql};
    bool more = next_token(&t);
    while (more) {
        bool is_group = is_word(&t, "GROUP");
        more = next_token(&t);
        enum err_code rc = more && is_group && is_word(&t, "BY") ? check_clause(g, &t) : ERR_OK;
        if (rc)
            return rc;
    }
    return ERR_OK;
}
