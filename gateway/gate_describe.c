/* gateway/gate_describe.c - what the reply says of a statement: by what its rows are ordered, and
 * whether a histogram of them makes sense.
 *
 * The order is that of the outermost ORDER BY, as far as its terms are columns; where there is none
 * gate_page.c may add one.  As in the reference a LIMIT, DISTINCT, a join, a set operation or a CTE
 * leaves no histogram.
 */
#include "gateway/gate_internal.h"

struct json *gate_find_modifier(const struct json *node, const char *type)
{
    for (struct json *m = json_get(node, "modifiers")->first; m; m = m->next)
        if (tree_is(m, "type", type))
            return m;
    return NULL;
}

static enum err_code note_order(struct gate *g, const struct json *orders)
{
    struct gate_order *list = arena_alloc(g->a, (orders->count + 1) * sizeof *list);
    if (!list)
        return gate_no_memory(g->e);
    for (const struct json *term = orders->first; term; term = term->next) {
        const struct json *names = json_get(json_get(term, "expression"), "column_names");
        if (names)
            list[g->out->order_count++] = (struct gate_order){
                .by = names->last->text, .is_descending = tree_is(term, "type", "DESCENDING")};
    }
    g->out->order = list;
    return ERR_OK;
}

static bool has_distinct_call(const struct json *v)
{
    const struct json *distinct = v->type == JSON_OBJECT ? json_get(v, "distinct") : NULL;
    if (distinct && distinct->type == JSON_BOOL && distinct->boolean)
        return true;
    for (const struct json *child = v->first; child; child = child->next)
        if (has_distinct_call(child))
            return true;
    return false;
}

static bool has_histogram_in_it(const struct json *node)
{
    return tree_is(node, "type", "SELECT_NODE") &&
           !json_get(json_get(node, "cte_map"), "map")->count &&
           !gate_find_modifier(node, "LIMIT_MODIFIER") &&
           !gate_find_modifier(node, "LIMIT_PERCENT_MODIFIER") &&
           !gate_find_modifier(node, "DISTINCT_MODIFIER") &&
           !tree_is(json_get(node, "from_table"), "type", "JOIN") && !has_distinct_call(node);
}

enum err_code gate_describe(struct gate *g, const struct json *node)
{
    const struct json *order = gate_find_modifier(node, "ORDER_MODIFIER");
    const struct json *limit = json_get(gate_find_modifier(node, "LIMIT_MODIFIER"), "limit");
    g->out->is_histogram_eligible = has_histogram_in_it(node);
    g->out->has_limit = limit && tree_is(limit, "class", "CONSTANT");
    json_i64(json_get(json_get(limit, "value"), "value"), &g->out->limit);
    return order ? note_order(g, json_get(order, "orders")) : ERR_OK;
}
