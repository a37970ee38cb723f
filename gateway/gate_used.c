/* gateway/gate_used.c - which fields of a stream a statement can mean: those that it names.
 *
 * The engine binds every column of a table, and the time grows faster than their number: a count
 * over a stream of 50,000 fields took ten seconds.  Most statements name a few.  In doubt the
 * answer is all: with a star, a natural join, a PIVOT, a column by its position, a stream whose
 * columns get other names, or a row as a whole (a column that is called like a table).
 */
#include <stdlib.h>

#include "gateway/gate_internal.h"

struct name_list {
    struct str *names; /* NULL while they are counted */
    size_t count;
};
struct collection {
    struct arena *a;
    struct name_list columns; /* all names in references to columns */
    struct name_list singles; /* those that stand alone */
    struct name_list aliases; /* of tables */
    bool all;
};

struct str gate_lower(struct arena *a, struct str s)
{
    char *text = arena_alloc(a, s.len + 1);
    for (size_t i = 0; text && i < s.len; i++)
        text[i] = (char)(s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? s.ptr[i] | 0x20 : s.ptr[i]);
    return (struct str){text, text ? s.len : 0};
}

static void add_name(struct collection *c, struct name_list *l, struct str name)
{
    if (l->names)
        l->names[l->count] = gate_lower(c->a, name);
    l->count++;
}

static void add_columns(struct collection *c, const struct json *list)
{
    for (const struct json *n = list ? list->first : NULL; n; n = n->next)
        add_name(c, &c->columns, n->text);
}

/* `a`, `t.a` or `t.a.member`: the first of several may be a table, and is none of its fields. */
static void note_column(struct collection *c, const struct json *names)
{
    add_columns(c, names);
    if (names->count == 1)
        add_name(c, &c->singles, names->first->text);
}

static void note_expression(struct collection *c, const struct json *node)
{
    if (tree_is(node, "class", "COLUMN_REF"))
        note_column(c, json_get(node, "column_names"));
    else if (tree_is(node, "class", "STAR") || tree_is(node, "class", "POSITIONAL_REFERENCE"))
        c->all = true;
}

/* FROM weir_t0 AS t(a, b): its first two columns. */
static bool is_renamed_stream(const struct json *node)
{
    const struct json *names = json_get(node, "column_name_alias");
    return names && names->count && tree_is(node, "type", "BASE_TABLE") &&
           str_starts(json_get(node, "table_name")->text, STR("weir_t"));
}

static void note_table(struct collection *c, const struct json *node)
{
    struct str alias = json_str(json_get(node, "alias"), STR(""));
    if (alias.len > 0)
        add_name(c, &c->aliases, alias);
    add_columns(c, json_get(node, "using_columns"));
    if (tree_is(node, "ref_type", "NATURAL") || tree_is(node, "type", "PIVOT") ||
        is_renamed_stream(node))
        c->all = true;
}

/* The depth has been checked. */
static void collect(struct collection *c, const struct json *node)
{
    if (node->type == JSON_OBJECT) {
        if (json_get(node, "class"))
            note_expression(c, node);
        else
            note_table(c, node);
    }
    if (node->type == JSON_OBJECT || node->type == JSON_ARRAY)
        for (const struct json *child = node->first; child; child = child->next)
            collect(c, child);
}

static int by_text(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static bool has(const struct str *sorted, size_t count, struct str name)
{
    return bsearch(&name, sorted, count, sizeof *sorted, by_text) != NULL;
}

static bool make_room(struct arena *a, struct name_list *l)
{
    l->names = arena_alloc(a, (l->count + 1) * sizeof *l->names);
    l->count = 0;
    return l->names != NULL;
}

enum err_code gate_note_used(struct gate *g)
{
    struct collection c = {.a = g->a};
    collect(&c, g->out->document);
    if (!make_room(g->a, &c.columns) || !make_room(g->a, &c.singles) ||
        !make_room(g->a, &c.aliases))
        return gate_no_memory(g->e);
    collect(&c, g->out->document);
    if (g->a->failed)
        return gate_no_memory(g->e);
    qsort(c.columns.names, c.columns.count, sizeof *c.columns.names, by_text);
    qsort(c.singles.names, c.singles.count, sizeof *c.singles.names, by_text);
    for (size_t i = 0; i < c.aliases.count; i++)
        c.all = c.all || has(c.singles.names, c.singles.count, c.aliases.names[i]);
    g->out->used = (struct gate_used){c.all, c.columns.names, c.columns.count};
    return ERR_OK;
}

bool gate_uses(const struct gate_result *r, const struct gate_table *t, size_t field)
{
    struct str name = t->in_tree->fields[field].name;
    char lower[FIELD_NAME_MAX_BYTES + GATE_MARKED_BYTES];
    if (r->used.all || str_eq(name, STR("_timestamp")))
        return true;
    for (size_t i = 0; i < name.len; i++)
        lower[i] =
            (char)(name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? name.ptr[i] | 0x20 : name.ptr[i]);
    return has(r->used.names, r->used.count, (struct str){lower, name.len});
}
