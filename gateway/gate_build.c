/* gateway/gate_build.c - makes new pieces of an SQL tree, as DuckDB itself would write them.
 *
 * Each builder returns NULL when the arena is full, and takes NULL parts as that failure, so that
 * calls nest and the result is checked once.
 */
#include "gateway/gate_internal.h"

#define NO_LOCATION "18446744073709551615" /* what DuckDB writes for a node without a place */

void tree_set(struct arena *a, struct json *object, const char *key, struct json *v)
{
    if (object && v)
        json_set(a, object, str_from(key), v);
}

void tree_replace(struct json *slot, const struct json *with)
{
    if (!with)
        return;
    struct json *next = slot->next;
    struct str key = slot->key;
    *slot = *with;
    slot->next = next;
    slot->key = key;
}

struct json *tree_take(struct arena *a, const struct json *slot)
{
    struct json *copy = slot ? json_new(a, slot->type) : NULL;
    if (!copy)
        return NULL;
    *copy = *slot;
    copy->next = NULL;
    copy->key = STR("");
    return copy;
}

bool tree_is(const struct json *object, const char *key, const char *text)
{
    return str_eq(json_str(json_get(object, key), STR("")), str_from(text));
}

enum err_code gate_no_memory(struct err *e)
{
    err_set(e, ERR_INVALID, "the query is too large to be planned");
    if (e)
        e->detail = API_SQL_NOT_VALID;
    return ERR_INVALID;
}

static void set_text(struct arena *a, struct json *object, const char *key, const char *text)
{
    tree_set(a, object, key, json_new_str(a, str_from(text)));
}

static void set_flag(struct arena *a, struct json *object, const char *key, bool v)
{
    tree_set(a, object, key, json_new_bool(a, v));
}

static void set_null(struct arena *a, struct json *object, const char *key)
{
    tree_set(a, object, key, json_new(a, JSON_NULL));
}

static void set_location(struct arena *a, struct json *object)
{
    struct json *number = json_new(a, JSON_NUMBER);
    if (number)
        number->text = STR(NO_LOCATION);
    tree_set(a, object, "query_location", number);
}

static struct json *expression(struct arena *a, const char *class_name, const char *type)
{
    struct json *v = json_new(a, JSON_OBJECT);
    set_text(a, v, "class", class_name);
    set_text(a, v, "type", type);
    set_text(a, v, "alias", "");
    set_location(a, v);
    return v;
}

struct json *build_array(struct arena *a)
{
    return json_new(a, JSON_ARRAY);
}

static struct json *empty_order(struct arena *a)
{
    struct json *v = json_new(a, JSON_OBJECT);
    set_text(a, v, "type", "ORDER_MODIFIER");
    tree_set(a, v, "orders", build_array(a));
    return v;
}

struct json *build_function(struct arena *a, const char *name, struct json *children)
{
    struct json *v = children ? expression(a, "FUNCTION", "FUNCTION") : NULL;
    set_text(a, v, "function_name", name);
    set_text(a, v, "schema", "");
    tree_set(a, v, "children", children);
    set_null(a, v, "filter");
    tree_set(a, v, "order_bys", empty_order(a));
    set_flag(a, v, "distinct", false);
    set_flag(a, v, "is_operator", false);
    set_flag(a, v, "export_state", false);
    set_text(a, v, "catalog", "");
    return v;
}

struct json *build_column(struct arena *a, struct str qualifier, struct str name)
{
    struct json *v = expression(a, "COLUMN_REF", "COLUMN_REF");
    struct json *names = build_array(a);
    if (!names)
        return NULL;
    if (qualifier.len)
        json_append(names, json_new_str(a, qualifier));
    json_append(names, json_new_str(a, name));
    tree_set(a, v, "column_names", names);
    return v;
}

static struct json *type_of(struct arena *a, const char *id)
{
    struct json *v = json_new(a, JSON_OBJECT);
    set_text(a, v, "id", id);
    set_null(a, v, "type_info");
    return v;
}

static struct json *constant(struct arena *a, const char *type_id, struct json *content)
{
    struct json *v = content ? expression(a, "CONSTANT", "VALUE_CONSTANT") : NULL;
    struct json *value = json_new(a, JSON_OBJECT);
    tree_set(a, value, "type", type_of(a, type_id));
    set_flag(a, value, "is_null", false);
    tree_set(a, value, "value", content);
    tree_set(a, v, "value", value);
    return v;
}

struct json *build_text(struct arena *a, struct str text)
{
    return constant(a, "VARCHAR", json_new_str(a, text));
}

struct json *build_i64(struct arena *a, int64_t value)
{
    return constant(a, "BIGINT", json_new_i64(a, value));
}

struct json *build_cast(struct arena *a, struct json *child, const char *type_id)
{
    struct json *v = child ? expression(a, "CAST", "OPERATOR_CAST") : NULL;
    tree_set(a, v, "child", child);
    tree_set(a, v, "cast_type", type_of(a, type_id));
    set_flag(a, v, "try_cast", false);
    return v;
}

struct json *build_order_desc(struct arena *a, struct json *by)
{
    struct json *term = by ? json_new(a, JSON_OBJECT) : NULL;
    set_text(a, term, "type", "DESCENDING");
    set_text(a, term, "null_order", "ORDER_DEFAULT");
    tree_set(a, term, "expression", by);
    struct json *v = term ? empty_order(a) : NULL;
    struct json *orders = json_get(v, "orders");
    if (orders)
        json_append(orders, term);
    return v;
}

struct json *build_limit(struct arena *a, struct json *limit, struct json *offset)
{
    struct json *v = json_new(a, JSON_OBJECT);
    set_text(a, v, "type", "LIMIT_MODIFIER");
    tree_set(a, v, "limit", limit ? limit : json_new(a, JSON_NULL));
    tree_set(a, v, "offset", offset ? offset : json_new(a, JSON_NULL));
    return v;
}

static struct json *subquery_ref(struct arena *a, struct json *statement)
{
    struct json *v = statement ? json_new(a, JSON_OBJECT) : NULL;
    set_text(a, v, "type", "SUBQUERY");
    set_text(a, v, "alias", "counted");
    set_null(a, v, "sample");
    set_location(a, v);
    tree_set(a, v, "subquery", statement);
    tree_set(a, v, "column_name_alias", build_array(a));
    return v;
}

struct json *build_select(struct arena *a, struct json *list, struct json *statement)
{
    struct json *v = json_new(a, JSON_OBJECT), *ctes = json_new(a, JSON_OBJECT);
    set_text(a, v, "type", "SELECT_NODE");
    tree_set(a, v, "modifiers", build_array(a));
    tree_set(a, ctes, "map", build_array(a));
    tree_set(a, v, "cte_map", ctes);
    tree_set(a, v, "select_list", list);
    tree_set(a, v, "from_table", subquery_ref(a, statement));
    set_null(a, v, "where_clause");
    tree_set(a, v, "group_expressions", build_array(a));
    tree_set(a, v, "group_sets", build_array(a));
    set_text(a, v, "aggregate_handling", "STANDARD_HANDLING");
    set_null(a, v, "having");
    set_null(a, v, "sample");
    set_null(a, v, "qualify");
    return v;
}
