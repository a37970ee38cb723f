/* gateway/gate_calls.c - rewrites calls whose arguments the engine wants in another form.
 *
 *   approx_percentile_cont(x, p[, n])  approx_quantile(x, p): the engine has no number of centroids
 *   approx_median(x)                   approx_quantile(x, 0.5)
 *   approx_quantile(x, 0.5)            the same
 *   arrow_cast(x, 'Int64')             CAST(x AS BIGINT)
 *   arrow_cast(x, 'Timestamp(ms)')     weir_time_in(x, 1000000): numbers count in that unit
 *   struct(a, b)                       struct_pack(c0 := a, c1 := b)
 *   named_struct('a', x, 'b', y)       struct_pack(a := x, b := y)
 */
#include "base/cleanup.h"
#include "gateway/gate_internal.h"

static enum err_code refuse(struct gate *g, const char *why)
{
    return search_error(g->e, API_SQL_EXECUTE, "Search SQL execute error: %s", why);
}

/* A function takes nothing but its arguments here: no DISTINCT, FILTER or OVER. */
static bool is_plain_call(const struct json *call)
{
    return tree_is(call, "class", "FUNCTION") && !json_get(call, "distinct")->boolean &&
           json_get(call, "filter")->type == JSON_NULL;
}

/* ---- quantiles ---- */

/* Fractions go as they were written: approx_quantile takes decimals and floats, but no doubles. */
static void leave_decimals(struct gate *g, struct json *v)
{
    const struct json *child = tree_is(v, "class", "CAST") ? json_get(v, "child") : NULL;
    if (child && tree_is(json_get(json_get(child, "value"), "type"), "id", "DECIMAL")) {
        tree_replace(v, tree_take(g->a, child));
        return;
    }
    for (struct json *c = v->first; c; c = c->next)
        leave_decimals(g, c);
}

enum err_code gate_rewrite_quantile(struct gate *g, struct json *call)
{
    struct json *name = json_get(call, "function_name"), *arguments = json_get(call, "children");
    bool median = str_eq_nocase(name->text, STR("approx_median"));
    if (arguments->count > 1)
        leave_decimals(g, arguments->first->next);
    if (str_eq_nocase(name->text, STR("approx_quantile")))
        return ERR_OK;
    size_t count = arguments->count;
    if (median ? count != 1 : count != 2 && count != 3)
        return refuse(g, median ? "approx_median takes one argument"
                                : "approx_percentile_cont takes a value and a fraction");
    struct json *taken = build_array(g->a);
    if (!taken)
        return gate_no_memory(g->e);
    json_append(taken, tree_take(g->a, arguments->first));
    json_append(taken, median ? build_cast(g->a, build_text(g->a, STR("0.5")), "FLOAT")
                              : tree_take(g->a, arguments->first->next));
    name->text = STR("approx_quantile");
    tree_replace(arguments, taken);
    return g->a->failed ? gate_no_memory(g->e) : ERR_OK;
}

/* ---- arrow_cast ---- */

static const struct {
    const char *arrow, *engine;
} types[] = {
    {"Boolean", "BOOLEAN"},  {"Int8", "TINYINT"},      {"Int16", "SMALLINT"},
    {"Int32", "INTEGER"},    {"Int64", "BIGINT"},      {"UInt8", "UTINYINT"},
    {"UInt16", "USMALLINT"}, {"UInt32", "UINTEGER"},   {"UInt64", "UBIGINT"},
    {"Float16", "FLOAT"},    {"Float32", "FLOAT"},     {"Float64", "DOUBLE"},
    {"Utf8", "VARCHAR"},     {"LargeUtf8", "VARCHAR"}, {"Utf8View", "VARCHAR"},
    {"Binary", "BLOB"},      {"LargeBinary", "BLOB"},  {"BinaryView", "BLOB"},
    {"Date32", "DATE"},      {"Date64", "DATE"},
};

static const struct {
    const char *name;
    int64_t ns;
} units[] = {
    {"Second", 1000000000}, {"s", 1000000000},     {"Millisecond", 1000000},
    {"ms", 1000000},        {"Microsecond", 1000}, {"µs", 1000},
    {"us", 1000},           {"Nanosecond", 1},     {"ns", 1},
};

/* "Timestamp(Microsecond, None)", "Timestamp(ms)": the unit, or 0.  All times here are UTC. */
static int64_t timestamp_unit_ns(struct str type)
{
    struct str head = STR("Timestamp("), unit, zone;
    if (!str_starts(type, head) || type.ptr[type.len - 1] != ')')
        return 0;
    type = (struct str){type.ptr + head.len, type.len - head.len - 1};
    str_cut(type, ',', &unit, &zone);
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (str_eq(str_trim(unit), str_from(units[i].name)))
            return units[i].ns;
    return 0;
}

static struct json *cast_to(struct gate *g, struct json *value, struct str type)
{
    int64_t unit_ns = timestamp_unit_ns(type);
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq(type, str_from(types[i].arrow)))
            return build_cast(g->a, value, types[i].engine);
    if (!unit_ns)
        return NULL;
    struct json *arguments = build_array(g->a);
    json_append(arguments, value);
    json_append(arguments, build_i64(g->a, unit_ns));
    return build_function(g->a, "weir_time_in", arguments);
}

enum err_code gate_rewrite_arrow_cast(struct gate *g, struct json *call)
{
    const struct json *arguments = json_get(call, "children");
    struct str type, alias = json_get(call, "alias")->text;
    if (!is_plain_call(call) || arguments->count != 2 ||
        !gate_constant_text(arguments->last, &type))
        return refuse(g, "arrow_cast takes a value and the name of a type");
    struct json *cast = cast_to(g, tree_take(g->a, arguments->first), type);
    if (g->a->failed)
        return gate_no_memory(g->e);
    if (!cast)
        return search_error(g->e, API_SQL_EXECUTE,
                            "Search SQL execute error: arrow_cast does not know the type %.*s",
                            STR_ARG(type));
    json_get(cast, "alias")->text = alias;
    tree_replace(call, cast);
    return ERR_OK;
}

/* ---- structs ---- */

/* struct_pack takes the names of its members from the aliases of its arguments. */
static enum err_code add_member(struct gate *g, struct json *members, struct str name,
                                const struct json *value)
{
    struct json *copy = tree_take(g->a, value);
    if (!copy || !name.ptr)
        return gate_no_memory(g->e);
    json_get(copy, "alias")->text = name;
    json_append(members, copy);
    return ERR_OK;
}

static enum err_code add_numbered(struct gate *g, const struct json *arguments,
                                  struct json *members)
{
    enum err_code rc = ERR_OK;
    unsigned n = 0;
    for (const struct json *v = arguments->first; v && !rc; v = v->next) {
        char *name = arena_printf(g->a, "c%u", n++);
        rc = name ? add_member(g, members, str_from(name), v) : gate_no_memory(g->e);
    }
    return rc;
}

static enum err_code add_named(struct gate *g, const struct json *arguments, struct json *members)
{
    enum err_code rc = ERR_OK;
    struct str name;
    for (const struct json *v = arguments->first; v && !rc; v = v->next->next) {
        if (!v->next || !gate_constant_text(v, &name) || !name.len)
            return refuse(g, "named_struct takes pairs of a constant name and a value");
        rc = add_member(g, members, name, v->next);
    }
    return rc;
}

enum err_code gate_rewrite_struct(struct gate *g, struct json *call)
{
    struct json *name = json_get(call, "function_name"), *arguments = json_get(call, "children");
    struct json *members = build_array(g->a);
    if (!members)
        return gate_no_memory(g->e);
    if (!is_plain_call(call) || !arguments->count)
        return refuse(g, "a struct needs members");
    enum err_code rc = str_eq_nocase(name->text, STR("struct"))
                           ? add_numbered(g, arguments, members)
                           : add_named(g, arguments, members);
    if (rc)
        return rc;
    name->text = STR("struct_pack");
    tree_replace(arguments, members);
    return ERR_OK;
}
