/* gateway/gate_page.c - which part of the rows the caller gets, when the SQL does not say it.
 *
 * A LIMIT in the SQL stands and overrides `size` and `from`; without one the outermost query gets
 * LIMIT size OFFSET from.  A plain SELECT over one stream (no GROUP BY, aggregate, DISTINCT or
 * ORDER BY) gets ORDER BY _timestamp DESC: newest first.
 */
#include "base/cleanup.h"
#include "gateway/gate_internal.h"

static const struct gate_order newest_first[] = {{.by = {"_timestamp", 10}, .is_descending = true}};

/* An aggregate of this query itself, not of a sub-query or a window. */
static bool has_aggregate(const struct json *v)
{
    if (v->type == JSON_OBJECT) {
        if (tree_is(v, "class", "SUBQUERY") || tree_is(v, "class", "WINDOW"))
            return false;
        if (tree_is(v, "class", "FUNCTION")) {
            const struct gate_function *f = gate_function_find(json_get(v, "function_name")->text);
            if (f && f->uses & USE_AGGREGATE)
                return true;
        }
    }
    for (const struct json *child = v->first; child; child = child->next)
        if (has_aggregate(child))
            return true;
    return false;
}

static bool is_plain_select(const struct json *node)
{
    return tree_is(node, "type", "SELECT_NODE") && !json_get(node, "group_expressions")->count &&
           !json_get(node, "group_sets")->count &&
           tree_is(node, "aggregate_handling", "STANDARD_HANDLING") &&
           json_get(node, "having")->type == JSON_NULL &&
           !gate_find_modifier(node, "DISTINCT_MODIFIER") &&
           !gate_find_modifier(node, "ORDER_MODIFIER") &&
           tree_is(json_get(node, "from_table"), "type", "BASE_TABLE") &&
           !has_aggregate(json_get(node, "select_list"));
}

static void order_newest_first(struct gate *g, struct json *node)
{
    const struct gate_source *s = g->outermost;
    if (!is_plain_select(node) || !s || !s->stream)
        return;
    if (json_get(json_get(node, "from_table"), "column_name_alias")->count)
        return; /* _timestamp may have another name there */
    struct json *order = build_order_desc(g->a, build_column(g->a, s->alias, STR("_timestamp")));
    struct json *modifiers = json_get(node, "modifiers"), *rest = modifiers->first;
    if (!order)
        return;
    order->next = rest; /* before LIMIT */
    modifiers->first = order;
    if (!rest)
        modifiers->last = order;
    modifiers->count++;
    g->out->order = newest_first;
    g->out->order_count = ARRAY_LEN(newest_first);
}

static bool is_null_constant(const struct json *v)
{
    return v->type == JSON_NULL ||
           (tree_is(v, "class", "CONSTANT") && json_get(json_get(v, "value"), "is_null")->boolean);
}

static enum err_code check_written_limit(struct gate *g, const struct json *limit)
{
    int64_t n;
    const struct json *content = json_get(json_get(limit, "value"), "value");
    if (!tree_is(limit, "class", "CONSTANT") || !content)
        return ERR_OK; /* computed: the engine counts rows */
    bool number = content->type == JSON_NUMBER && json_i64(content, &n);
    if (number && n < 0)
        return search_error(g->e, API_SQL_EXECUTE,
                            "Search SQL execute error: LIMIT must not be negative");
    if (!number || (uint64_t)n > g->o->size_max)
        return search_error(g->e, API_SQL_NOT_VALID,
                            "Search SQL not valid: LIMIT must be a number between 0 and %llu",
                            (unsigned long long)g->o->size_max);
    return ERR_OK;
}

static uint64_t wanted_rows(const struct gate *g)
{
    return g->o->size > 0 ? (uint64_t)g->o->size : g->o->default_limit;
}

static enum err_code limit_rows(struct gate *g, struct json *node)
{
    if (gate_find_modifier(node, "LIMIT_PERCENT_MODIFIER"))
        return ERR_OK;
    struct json *written = gate_find_modifier(node, "LIMIT_MODIFIER");
    if (written && !is_null_constant(json_get(written, "limit")))
        return check_written_limit(g, json_get(written, "limit"));
    struct json *rows = build_i64(g->a, (int64_t)wanted_rows(g));
    if (written) { /* an OFFSET alone */
        tree_set(g->a, written, "limit", rows);
        return ERR_OK;
    }
    struct json *skip = g->o->from > 0 ? build_i64(g->a, g->o->from) : NULL;
    json_append(json_get(node, "modifiers"), build_limit(g->a, rows, skip));
    return ERR_OK;
}

enum err_code gate_page(struct gate *g, struct json *node)
{
    order_newest_first(g, node);
    return limit_rows(g, node);
}

/* ---- the count ---- */

/* A clone without the modifiers that change the order or the part, but not the number of rows. */
static struct json *uncut(const struct json *node, struct arena *a)
{
    struct json *copy = json_clone(a, node);
    struct json *old = json_get(copy, "modifiers"), *kept = build_array(a);
    for (struct json *m = old ? old->first : NULL, *next; m; m = next) {
        next = m->next;
        m->next = NULL;
        if (tree_is(m, "type", "DISTINCT_MODIFIER"))
            json_append(kept, m);
    }
    if (copy)
        tree_replace(old, kept);
    return copy;
}

static struct json *object_of(struct arena *a, const char *key, struct json *value)
{
    struct json *v = value ? json_new(a, JSON_OBJECT) : NULL;
    tree_set(a, v, key, value);
    return v;
}

static struct json *statement_of(struct arena *a, struct json *node)
{
    struct json *v = object_of(a, "node", node);
    tree_set(a, v, "named_param_map", build_array(a));
    return v;
}

static struct json *count_list(struct arena *a)
{
    struct json *list = build_array(a);
    struct json *call = build_function(a, "count_star", build_array(a));
    tree_set(a, call, "alias", json_new_str(a, STR("zo_sql_num")));
    json_append(list, call);
    return list;
}

struct json *gate_count_document(const struct json *document, struct arena *a)
{
    const struct json *node = json_get(json_at(json_get(document, "statements"), 0), "node");
    struct json *outer = build_select(a, count_list(a), statement_of(a, uncut(node, a)));
    struct json *statements = build_array(a);
    json_append(statements, statement_of(a, outer));
    struct json *v = object_of(a, "statements", statements);
    tree_set(a, v, "error", json_new_bool(a, false));
    return a->failed ? NULL : v;
}
