/* gateway/gate_ui_histogram.c - makes of a search the counts over time that a page draws above it.
 *
 *   SELECT … FROM t WHERE c …   SELECT histogram(_timestamp) AS zo_sql_key, count(*) AS zo_sql_num
 *                               FROM t WHERE c GROUP BY zo_sql_key ORDER BY zo_sql_key DESC
 */
#include "gateway/gate_internal.h"

static const struct gate_order newest_first[] = {{.by = {"zo_sql_key", 10}, .is_descending = true}};

static struct json *named(struct arena *a, struct json *expression, struct str name)
{
    tree_set(a, expression, "alias", json_new_str(a, name));
    return expression;
}

static struct json *select_list(struct arena *a)
{
    struct json *list = build_array(a), *time = build_array(a);
    if (!list || !time)
        return NULL;
    json_append(time, build_column(a, STR(""), STR("_timestamp")));
    json_append(list, named(a, build_function(a, "histogram", time), STR("zo_sql_key")));
    json_append(list, named(a, build_function(a, "count_star", build_array(a)), STR("zo_sql_num")));
    return list;
}

static struct json *key(struct arena *a)
{
    return build_column(a, STR(""), STR("zo_sql_key"));
}

/* [[0]]: one set, of the first expression. */
static struct json *first_expression(struct arena *a)
{
    struct json *sets = build_array(a), *set = build_array(a);
    if (!sets || !set)
        return NULL;
    json_append(set, json_new_i64(a, 0));
    json_append(sets, set);
    return sets;
}

static struct json *array_of(struct arena *a, struct json *item)
{
    struct json *array = build_array(a);
    if (array)
        json_append(array, item);
    return array;
}

enum err_code gate_make_ui_histogram(struct gate *g, struct json *node)
{
    struct arena *a = g->a;
    if (!g->out->is_histogram_eligible)
        return search_error(g->e, API_NO_HISTOGRAM, "Search histogram not available");
    struct json *columns = select_list(a), *groups = array_of(a, key(a));
    struct json *sets = first_expression(a);
    struct json *order = array_of(a, build_order_desc(a, key(a)));
    struct json *nothing = json_new(a, JSON_NULL);
    if (a->failed)
        return gate_no_memory(g->e);
    tree_replace(json_get(node, "select_list"), columns);
    tree_replace(json_get(node, "group_expressions"), groups);
    tree_replace(json_get(node, "group_sets"), sets);
    tree_replace(json_get(node, "modifiers"), order);
    json_get(node, "aggregate_handling")->text = STR("STANDARD_HANDLING");
    tree_replace(json_get(node, "having"), nothing);
    tree_replace(json_get(node, "qualify"), nothing);
    g->out->order = newest_first;
    g->out->order_count = 1;
    return ERR_OK;
}
