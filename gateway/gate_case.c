/* gateway/gate_case.c - names of fields that differ only in the case of their letters.
 *
 * Labels of a metric keep their case, and the engine does not tell `Host` from `host`.  So where a
 * stream of the statement has two such fields, each spelling but the first gets a name of its own
 * in the whole tree, wherever it stands written in just these letters: host~1~ as a column, an
 * alias, in USING or EXCLUDE.  Orders, groups, sub-queries and CTEs then bind as if the engine told
 * them apart, and gate_written says what the answer calls them.  In any other case of letters a
 * name means the first spelling.
 *
 * The mark is longer than any run of `~` in the statement: no name in it can be taken for one of
 * ours.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "gateway/gate_internal.h"

struct stream_list {
    const struct catalog_stream *streams[GATE_TABLES_MAX];
    size_t count;
    bool twins; /* one of them has fields that differ only in case */
};

/* ---- the streams ---- */

/* *twins: two of its fields differ only in case. */
static enum err_code find_twins(struct gate *g, const struct catalog_stream *s, bool *twins)
{
    bool ok = true, found = false;
    struct map lower;
    if (s->type != STREAM_METRICS && s->type != STREAM_TRACES) /* theirs are lower-case */
        return ERR_OK;
    map_init(&lower, s->field_count + 1);
    for (size_t i = 0; i < s->field_count && ok && !found; i++) {
        struct str name = gate_lower(g->a, s->fields[i].name);
        found = name.ptr && map_find(&lower, name);
        ok = name.ptr && map_put(&lower, name, g);
    }
    map_done(&lower);
    *twins = *twins || found;
    return ok ? ERR_OK : gate_no_memory(g->e);
}

static enum err_code add_stream(struct gate *g, const struct json *table, struct stream_list *l)
{
    const struct catalog_stream *s;
    enum err_code rc = gate_find_stream(g, table, &s);
    if (rc == ERR_NOTFOUND || rc == ERR_INVALID)
        return ERR_OK; /* a CTE, or refused later on */
    for (size_t i = 0; !rc && i < l->count; i++)
        if (l->streams[i]->number == s->number)
            return ERR_OK;
    if (rc || l->count == ARRAY_LEN(l->streams))
        return rc;
    l->streams[l->count++] = s;
    return find_twins(g, s, &l->twins);
}

static enum err_code find_streams(struct gate *g, const struct json *v, struct stream_list *l)
{
    if (tree_is(v, "type", "BASE_TABLE"))
        return add_stream(g, v, l);
    for (const struct json *child = v->first; child; child = child->next) {
        enum err_code rc = find_streams(g, child, l);
        if (rc)
            return rc;
    }
    return ERR_OK;
}

/* ---- the names ---- */

/* The longest run of `~` in any text of the tree. */
static size_t longest_run(const struct json *v)
{
    size_t longest = 0, run = 0;
    for (size_t i = 0; v->type == JSON_STRING && i < v->text.len; i++) {
        run = v->text.ptr[i] == '~' ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    for (const struct json *child = v->first; child; child = child->next) {
        size_t below = longest_run(child);
        longest = below > longest ? below : longest;
    }
    return longest;
}

struct spellings {
    struct map lower; /* lower case -> the first spelling */
    struct map seen;  /* exact */
    struct gate_renamed *list;
    size_t count;
};

/* False: no memory. */
static bool add_spelling(struct gate *g, struct spellings *sp, const struct str *name)
{
    struct str lower = gate_lower(g->a, *name);
    if (!lower.ptr || map_find(&sp->seen, *name))
        return lower.ptr != NULL;
    bool is_first = !map_find(&sp->lower, lower);
    if (!is_first)
        sp->list[sp->count++].written = *name;
    return map_put(&sp->seen, *name, sp) && (!is_first || map_put(&sp->lower, lower, sp));
}

static int by_written(const void *a, const void *b)
{
    const struct gate_renamed *left = a, *right = b;
    return str_cmp(left->written, right->written);
}

static bool collect_spellings(struct gate *g, const struct stream_list *l, struct spellings *sp)
{
    static const struct str time = {"_timestamp", 10};
    bool ok = add_spelling(g, sp, &time); /* it keeps its name */
    for (size_t s = 0; ok && s < l->count; s++)
        for (size_t i = 0; ok && i < l->streams[s]->field_count; i++)
            ok = add_spelling(g, sp, &l->streams[s]->fields[i].name);
    return ok;
}

static bool name_spellings(struct gate *g, const struct json *node, struct spellings *sp)
{
    size_t mark_len = longest_run(node) + 1;
    char *mark = arena_alloc(g->a, mark_len);
    if (!mark)
        return false;
    memset(mark, '~', mark_len);
    for (size_t i = 0; i < sp->count; i++) {
        struct str name = sp->list[i].written;
        char *text = arena_printf(g->a, STR_FMT STR_FMT "%zu" STR_FMT, STR_ARG(name), (int)mark_len,
                                  mark, i + 1, (int)mark_len, mark);
        if (!text)
            return false;
        sp->list[i].in_tree = str_from(text);
    }
    qsort(sp->list, sp->count, sizeof *sp->list, by_written);
    return true;
}

/* Fills out->renamed. */
static enum err_code make_names(struct gate *g, const struct json *node,
                                const struct stream_list *l)
{
    size_t max = 1;
    for (size_t i = 0; i < l->count; i++)
        max += l->streams[i]->field_count;
    struct spellings sp = {.list = arena_alloc(g->a, max * sizeof *sp.list)};
    map_init(&sp.lower, max);
    map_init(&sp.seen, max);
    bool ok = sp.list && collect_spellings(g, l, &sp) && name_spellings(g, node, &sp);
    map_done(&sp.lower);
    map_done(&sp.seen);
    g->out->renamed = sp.list;
    g->out->renamed_count = ok ? sp.count : 0;
    return ok ? ERR_OK : gate_no_memory(g->e);
}

static int compare_written(const void *key, const void *item)
{
    return str_cmp(*(const struct str *)key, ((const struct gate_renamed *)item)->written);
}

/* What the tree calls `name`. */
static struct str in_tree(const struct gate *g, struct str name)
{
    const struct gate_renamed *r = g->out->renamed_count
                                       ? bsearch(&name, g->out->renamed, g->out->renamed_count,
                                                 sizeof *g->out->renamed, compare_written)
                                       : NULL;
    return r ? r->in_tree : name;
}

struct str gate_written(const struct gate_result *r, struct str name)
{
    if (!r->renamed_count || !memchr(name.ptr, '~', name.len))
        return name;
    for (size_t i = 0; i < r->renamed_count; i++)
        if (str_eq(r->renamed[i].in_tree, name))
            return r->renamed[i].written;
    return name;
}

/* ---- the tree ---- */

static void rename_text(const struct gate *g, struct json *v)
{
    if (v && v->type == JSON_STRING)
        v->text = in_tree(g, v->text);
}

static void rename_texts(const struct gate *g, struct json *list)
{
    for (struct json *v = list ? list->first : NULL; v; v = v->next)
        rename_text(g, v);
}

static void rename_star(const struct gate *g, struct json *star)
{
    rename_texts(g, json_get(star, "exclude_list"));
    for (struct json *v = json_get(star, "replace_list")->first; v; v = v->next)
        rename_text(g, json_get(v, "key"));
    for (struct json *v = json_get(star, "qualified_exclude_list")->first; v; v = v->next)
        rename_text(g, json_get(v, "column"));
    for (struct json *v = json_get(star, "rename_list")->first; v; v = v->next) {
        rename_text(g, json_get(json_get(v, "key"), "column"));
        rename_text(g, json_get(v, "value"));
    }
}

/* Names of columns that stand beside the expressions.  An alias elsewhere than in a select list is
 * a member of a struct, or a table's. */
static void rename_lists(const struct gate *g, struct json *node)
{
    static const char *const lists[] = {"using_columns",  "column_name_alias", "aliases",
                                        "expected_names", "unpivot_names",     "groups"};
    struct json *items = json_get(node, "select_list");
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        rename_texts(g, json_get(node, lists[i]));
    for (struct json *v = items ? items->first : NULL; v; v = v->next)
        rename_text(g, json_get(v, "alias"));
}

static void rename_columns(const struct gate *g, struct json *v)
{
    if (tree_is(v, "class", "COLUMN_REF"))
        rename_text(g, json_get(v, "column_names")->last);
    else if (tree_is(v, "class", "STAR"))
        rename_star(g, v);
    else if (v->type == JSON_OBJECT)
        rename_lists(g, v);
    for (struct json *child = v->first; child; child = child->next)
        rename_columns(g, child);
}

enum err_code gate_tell_cases(struct gate *g, struct json *node)
{
    struct stream_list l = {.count = 0};
    enum err_code rc = find_streams(g, node, &l);
    if (!rc && l.twins)
        rc = make_names(g, node, &l);
    if (!rc && g->out->renamed_count) {
        rename_columns(g, node);
        rc = gate_check_groups(g);
    }
    return rc;
}

/* ---- tables ---- */

enum err_code gate_stream_in_tree(struct gate *g, const struct catalog_stream *s,
                                  const struct catalog_stream **out)
{
    *out = s;
    if (!g->out->renamed_count)
        return ERR_OK;
    struct catalog_stream *copy = arena_alloc(g->a, sizeof *copy);
    struct meta_field *fields = arena_alloc(g->a, (s->field_count + 1) * sizeof *fields);
    if (!copy || !fields)
        return gate_no_memory(g->e);
    for (size_t i = 0; i < s->field_count; i++) {
        fields[i] = s->fields[i];
        fields[i].name = in_tree(g, s->fields[i].name);
    }
    *copy = *s;
    copy->fields = fields;
    *out = copy;
    return ERR_OK;
}
