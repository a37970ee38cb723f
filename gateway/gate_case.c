/* gateway/gate_case.c - fields of a stream whose names differ only in the case of their letters.
 *
 * Labels of a metric keep their case, and the engine does not tell `Host` from `host`.  So where a
 * stream of a statement has two such fields, every spelling but the first gets a name of its own,
 * `host~1~`; the statement is written anew with these names (dialect.h), parsed and checked once
 * more, and the answer is given the caller's names again.  The parser, ORDER BY, GROUP BY,
 * sub-queries and CTEs then do as if the engine told them apart.
 *
 * The mark is a byte that the statement does not contain, so that no name in it can be taken for
 * one of ours, and the number finds the name: a name of ours is recognised wherever it stands in
 * what the engine makes of it ("avg(cpu.host~1~)").
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "gateway/gate_internal.h"

/* ---- which names ---- */

struct spellings {
    struct map by_lower; /* the names that fields keep, in lower case */
    struct map seen;     /* all names */
    struct gate_renamed *list;
    size_t count;
};

/* True: `name` differs only in case from one before.  False also when there is no memory, which
 * *ok tells. */
static bool is_twin(struct arena *a, struct map *by_lower, struct str name, bool *ok)
{
    struct str lower = gate_lower(a, name);
    bool found = lower.ptr && map_find(by_lower, lower) != NULL;
    *ok = lower.ptr && (found || map_put(by_lower, lower, by_lower)); /* any value but NULL */
    return found;
}

/* Only names of metrics and traces keep their case. */
static bool may_have_twins(const struct catalog_stream *s)
{
    return s->type == STREAM_METRICS || s->type == STREAM_TRACES;
}

static bool has_twins(struct arena *a, const struct catalog_stream *s, bool *ok)
{
    struct map by_lower;
    bool found = false;
    map_init(&by_lower, s->field_count + 1);
    for (size_t i = 0; i < s->field_count && *ok && !found; i++)
        found = is_twin(a, &by_lower, s->fields[i].name, ok);
    map_done(&by_lower);
    return found;
}

static bool add_spelling(struct arena *a, struct spellings *sp, struct str name)
{
    bool ok = true;
    if (map_find(&sp->seen, name))
        return true;
    if (is_twin(a, &sp->by_lower, name, &ok))
        sp->list[sp->count++].written = name;
    return ok && map_put(&sp->seen, name, sp);
}

/* Of all streams: the same spelling has the same name everywhere in the statement. */
static bool collect_spellings(struct arena *a, const struct gate_result *r, struct spellings *sp)
{
    bool ok = add_spelling(a, sp, STR("_timestamp")); /* it keeps its name */
    for (size_t t = 0; t < r->table_count; t++) {
        const struct catalog_stream *s = r->tables[t].stream;
        for (size_t i = 0; i < s->field_count && ok; i++)
            ok = add_spelling(a, sp, s->fields[i].name);
    }
    return ok;
}

/* '\0': it contains them all. */
static char free_mark(struct str sql)
{
    static const char marks[] = "~^`|#@!?\\\x01\x02\x03\x04\x05\x06\x07\x0e\x0f\x10\x11\x12\x13";
    for (size_t i = 0; i < sizeof marks - 1; i++)
        if (!memchr(sql.ptr, marks[i], sql.len))
            return marks[i];
    return '\0';
}

static int by_written(const void *a, const void *b)
{
    const struct gate_renamed *left = a, *right = b;
    return str_cmp(left->written, right->written);
}

static bool make_names(struct arena *a, struct gate_names *names, struct spellings *sp)
{
    qsort(sp->list, sp->count, sizeof *sp->list, by_written);
    for (size_t i = 0; i < sp->count; i++) {
        char *text = arena_printf(a, STR_FMT "%c%zu%c", STR_ARG(sp->list[i].written), names->mark,
                                  i + 1, names->mark);
        if (!text)
            return false;
        sp->list[i].in_tree = str_from(text);
    }
    names->list = sp->list;
    names->count = sp->count;
    return true;
}

static bool tell_apart(const struct gate_result *r, struct arena *a, struct gate_names *names)
{
    size_t most = 1; /* _timestamp */
    for (size_t t = 0; t < r->table_count; t++)
        most += r->tables[t].stream->field_count;
    struct spellings sp = {.list = arena_alloc(a, most * sizeof *sp.list)};
    map_init(&sp.by_lower, most);
    map_init(&sp.seen, most);
    bool ok = sp.list && collect_spellings(a, r, &sp) && make_names(a, names, &sp);
    map_done(&sp.by_lower);
    map_done(&sp.seen);
    return ok;
}

enum err_code gate_tell_apart(const struct gate_result *r, struct str sql, struct arena *a,
                              struct gate_names *out, struct err *e)
{
    bool ok = true, twins = false;
    *out = (struct gate_names){0};
    for (size_t t = 0; t < r->table_count && ok && !twins; t++)
        twins = may_have_twins(r->tables[t].stream) && has_twins(a, r->tables[t].stream, &ok);
    if (!ok)
        return gate_no_memory(e);
    if (!twins)
        return ERR_OK;
    out->mark = free_mark(sql);
    if (!out->mark)
        return search_error(e, API_SQL_NOT_VALID,
                            "Search SQL not valid: fields of a stream differ only in the case of "
                            "their letters, and no mark is left to tell them apart by");
    return tell_apart(r, a, out) ? ERR_OK : gate_no_memory(e);
}

/* ---- there and back ---- */

static int compare_written(const void *key, const void *item)
{
    return str_cmp(*(const struct str *)key, ((const struct gate_renamed *)item)->written);
}

struct str gate_name_in_tree(const struct gate_names *n, struct str written)
{
    const struct gate_renamed *r =
        n->count ? bsearch(&written, n->list, n->count, sizeof *n->list, compare_written) : NULL;
    return r ? r->in_tree : written;
}

/* The name of ours whose number begins behind `mark`; NULL: there is none. */
static const struct gate_renamed *name_at(const struct gate_names *n, struct str text, size_t mark)
{
    size_t number = 0, at = mark + 1;
    for (; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9' && number <= n->count; at++)
        number = 10 * number + (size_t)(text.ptr[at] - '0');
    if (number == 0 || number > n->count || at == text.len || text.ptr[at] != n->mark)
        return NULL;
    const struct gate_renamed *r = &n->list[number - 1];
    bool whole = mark >= r->written.len &&
                 memcmp(text.ptr + mark - r->written.len, r->written.ptr, r->written.len) == 0;
    return whole ? r : NULL;
}

/* Where the mark of the next name of ours is; text.len: nowhere. */
static size_t next_name(const struct gate_names *n, struct str text, size_t at,
                        const struct gate_renamed **r)
{
    for (const char *mark; at < text.len; at = (size_t)(mark - text.ptr) + 1) {
        mark = memchr(text.ptr + at, n->mark, text.len - at);
        if (!mark)
            break;
        *r = name_at(n, text, (size_t)(mark - text.ptr));
        if (*r)
            return (size_t)(mark - text.ptr);
    }
    return text.len;
}

struct str gate_written(const struct gate_names *n, struct str name)
{
    const struct gate_renamed *r = NULL;
    if (!n->count)
        return name;
    next_name(n, name, 0, &r);
    return r && str_eq(name, r->in_tree) ? r->written : name;
}

/* A name that the engine has put into quotes loses them. */
struct str gate_write_back(const struct gate_names *n, struct arena *a, struct str text)
{
    const struct gate_renamed *r;
    size_t at = 0, mark = n->count ? next_name(n, text, 0, &r) : text.len;
    if (mark == text.len)
        return text;
    char *out = arena_alloc(a, text.len);
    size_t len = 0;
    for (; out && mark < text.len; mark = next_name(n, text, at, &r)) {
        size_t start = mark - r->written.len, end = start + r->in_tree.len;
        bool quoted =
            start > at && end < text.len && text.ptr[start - 1] == '"' && text.ptr[end] == '"';
        memcpy(out + len, text.ptr + at, start - quoted - at);
        len += start - quoted - at;
        memcpy(out + len, r->written.ptr, r->written.len);
        len += r->written.len;
        at = end + quoted;
    }
    if (!out)
        return STR("");
    memcpy(out + len, text.ptr + at, text.len - at);
    return (struct str){out, len + text.len - at};
}

/* ---- columns ---- */

/* The columns of a source, by their written names in lower case; equal ones as the source has them.
 */
struct gate_column {
    struct str lower, name; /* name: as in the tree */
    size_t place;
};
struct gate_columns {
    struct gate_column *list;
    size_t count;
};

static int by_lower(const void *a, const void *b)
{
    const struct gate_column *x = a, *y = b;
    int order = str_cmp(x->lower, y->lower);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

static struct gate_columns *columns_new(struct gate *g, size_t most)
{
    struct gate_columns *c = arena_zalloc(g->a, sizeof *c);
    if (c)
        c->list = arena_alloc(g->a, (most + 1) * sizeof *c->list);
    return c && c->list ? c : NULL;
}

/* Empty when the arena is full, which gate_check tells. */
static struct str lower_written(const struct gate *g, struct str name)
{
    struct str lower = gate_lower(g->a, gate_written(&g->out->names, name));
    return lower.ptr ? lower : STR("");
}

static void add_column(const struct gate *g, struct gate_columns *c, struct str name)
{
    c->list[c->count] = (struct gate_column){lower_written(g, name), name, c->count};
    c->count++;
}

static const struct gate_columns *columns_sorted(struct gate_columns *c)
{
    qsort(c->list, c->count, sizeof *c->list, by_lower);
    return c;
}

static const struct gate_columns *columns_of_stream(struct gate *g, const struct catalog_stream *s)
{
    struct gate_columns *c = columns_new(g, s->field_count);
    for (size_t i = 0; c && i < s->field_count; i++)
        add_column(g, c, s->fields[i].name);
    return c ? columns_sorted(c) : NULL;
}

/* The one source whose columns `*` gives; NULL: there is another number of them. */
static const struct gate_source *behind_star(const struct json *star,
                                             const struct gate_source *behind)
{
    struct str name = json_get(star, "relation_name")->text;
    const struct gate_source *found = NULL;
    if (json_get(star, "expr")->type != JSON_NULL || json_get(star, "rename_list")->count)
        return NULL;
    for (const struct gate_source *s = behind; s; s = s->next) {
        if (name.len && !str_eq_nocase(name, s->alias))
            continue;
        if (found)
            return NULL;
        found = s;
    }
    return found;
}

/* What an item of the select list is called; false when that is not known here. */
static bool name_of(const struct json *item, struct str *name)
{
    const struct json *names = json_get(item, "column_names");
    *name = json_str(json_get(item, "alias"), STR(""));
    if (!name->len && names)
        *name = names->last->text;
    return name->len > 0;
}

static const struct gate_columns *columns_of_list(struct gate *g, const struct json *list,
                                                  const struct gate_source *behind)
{
    if (list->count == 1 && tree_is(list->first, "class", "STAR")) {
        const struct gate_source *s = behind_star(list->first, behind);
        return s ? s->columns : NULL;
    }
    size_t most = 0;
    for (const struct json *v = list->first; v; v = v->next) {
        const struct gate_source *s = tree_is(v, "class", "STAR") ? behind_star(v, behind) : NULL;
        if (tree_is(v, "class", "STAR") && (!s || !s->columns))
            return NULL;
        most += s ? s->columns->count : 1;
    }
    struct gate_columns *c = columns_new(g, most);
    for (const struct json *v = list->first; c && v; v = v->next) {
        struct str name;
        if (!tree_is(v, "class", "STAR")) {
            if (name_of(v, &name))
                add_column(g, c, name);
            continue;
        }
        const struct gate_columns *of = behind_star(v, behind)->columns;
        for (size_t i = 0; i < of->count; i++)
            add_column(g, c, of->list[i].name);
    }
    return c ? columns_sorted(c) : NULL;
}

static const struct gate_columns *columns_of_query(struct gate *g, const struct gate_source *s)
{
    if (s->renamed && s->renamed->count) /* some of them, by position */
        return NULL;
    const struct json *node = s->node;
    while (node && tree_is(node, "type", "SET_OPERATION_NODE"))
        node = json_get(node, "left");
    const struct json *list = json_get(node, "select_list");
    return list ? columns_of_list(g, list, s->behind) : NULL;
}

void gate_note_columns(struct gate *g, struct gate_source *s)
{
    if (!g->out->names.count)
        return;
    for (size_t i = 0; s->stream && i < g->out->table_count; i++) {
        struct gate_table *t = &g->out->tables[i];
        if (t->in_tree != s->stream)
            continue;
        if (!t->columns)
            t->columns = columns_of_stream(g, s->stream);
        s->columns = t->columns;
    }
    if (s->node)
        s->columns = columns_of_query(g, s);
}

void gate_note_aliases(struct gate *g, const struct json *items, struct gate_aliases *out)
{
    *out = (struct gate_aliases){0};
    if (!g->out->names.count)
        return;
    struct gate_columns *c = columns_new(g, items->count);
    for (const struct json *v = items->first; c && v; v = v->next) {
        struct str alias = json_str(json_get(v, "alias"), STR(""));
        if (alias.len)
            add_column(g, c, alias);
    }
    out->columns = c ? columns_sorted(c) : NULL;
}

static int compare_lower(const void *key, const void *item)
{
    return str_cmp(*(const struct str *)key, ((const struct gate_column *)item)->lower);
}

/* Those of that name in any case, from the first on; NULL: there is none. */
static const struct gate_column *find_lower(const struct gate_columns *c, struct str lower)
{
    const struct gate_column *at =
        c && c->count ? bsearch(&lower, c->list, c->count, sizeof *c->list, compare_lower) : NULL;
    while (at && at > c->list && str_eq(at[-1].lower, lower))
        at--;
    return at;
}

static bool has_exactly(const struct gate_columns *c, const struct gate_column *first,
                        struct str name)
{
    for (const struct gate_column *at = first; at && at < c->list + c->count; at++) {
        if (!str_eq(at->lower, first->lower))
            break;
        if (str_eq(at->name, name))
            return true;
    }
    return false;
}

bool gate_settle_case(struct gate *g, struct json *names, const struct gate_aliases *aliases,
                      const struct gate_source *sources)
{
    struct str table = names->count == 2 ? names->first->text : STR(""), nearest = STR("");
    struct str *name = &names->last->text;
    if (!g->out->names.count || names->count > 2)
        return true;
    struct str lower = lower_written(g, *name);
    for (const struct gate_source *s = sources; s; s = s->next) {
        if (table.len && !str_eq_nocase(table, s->alias))
            continue;
        const struct gate_column *first = find_lower(s->columns, lower);
        if (!s->columns || has_exactly(s->columns, first, *name))
            return true; /* it is, or may be, a column as it is written */
        if (first)
            nearest = first->name;
    }
    if (!nearest.len)
        return false;
    /* The engine finds it as it is written, unless the nearest has another name there. */
    if (!str_eq_nocase(nearest, *name) && (table.len || !find_lower(aliases->columns, lower)))
        *name = nearest;
    return true;
}

/* ---- tables ---- */

enum err_code gate_stream_in_tree(struct gate *g, const struct catalog_stream *s,
                                  const struct catalog_stream **out)
{
    *out = s;
    if (!g->out->names.count)
        return ERR_OK;
    struct catalog_stream *copy = arena_alloc(g->a, sizeof *copy);
    struct meta_field *fields = arena_alloc(g->a, (s->field_count + 1) * sizeof *fields);
    if (!copy || !fields)
        return gate_no_memory(g->e);
    for (size_t i = 0; i < s->field_count; i++) {
        fields[i] = s->fields[i];
        fields[i].name = gate_name_in_tree(&g->out->names, s->fields[i].name);
    }
    *copy = *s;
    copy->fields = fields;
    *out = copy;
    return ERR_OK;
}
