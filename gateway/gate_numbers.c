/* gateway/gate_numbers.c - numbers that the engine reads in another way than the API promises.
 *
 *   0.1               CAST(0.1 AS DOUBLE)         a number with a point is a double, no decimal
 *   CAST(2.7 AS INT)  CAST(trunc(2.7) AS INT)     a double is cut, not rounded
 *
 * Whether an expression is a double is seen from its columns and functions; a column of a sub-query
 * is followed into it.  What cannot be told (in VISITS_MAX steps) stays as it is.
 */
#include "base/cleanup.h"
#include "gateway/gate_internal.h"

#define VISITS_MAX 1000 /* of nodes for one cast: a chain of CTEs can name its start very often */

static bool is_double(const struct json *v, const struct gate_source *sources, unsigned *left);

static bool is_one_of(const struct json *v, const char *key, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (tree_is(v, key, words[i]))
            return true;
    return false;
}

static bool is_decimal(const struct json *v)
{
    return tree_is(v, "class", "CONSTANT") &&
           tree_is(json_get(json_get(v, "value"), "type"), "id", "DECIMAL");
}

/* ---- is it a double? ---- */

static bool any_is_double(const struct json *list, const struct gate_source *sources,
                          unsigned *left)
{
    for (const struct json *v = list ? list->first : NULL; v; v = v->next)
        if (is_double(v, sources, left))
            return true;
    return false;
}

/* The item that a derived table calls `name`, and what it sees. */
static bool derived_is_double(const struct gate_source *s, struct str name, unsigned *left)
{
    const struct json *list = s->node ? json_get(s->node, "select_list") : NULL;
    if (s->renamed && s->renamed->count)
        return false;
    for (const struct json *item = list ? list->first : NULL; item; item = item->next) {
        struct str alias = json_str(json_get(item, "alias"), STR(""));
        const struct json *names = json_get(item, "column_names");
        if (str_eq_nocase(alias.len || !names ? alias : names->last->text, name))
            return is_double(item, s->behind, left);
    }
    return false;
}

static bool column_is_double(const struct json *names, const struct gate_source *sources,
                             unsigned *left)
{
    struct str name = names->last->text, table = names->count == 2 ? names->first->text : STR("");
    for (const struct gate_source *s = sources; s; s = s->next) {
        if (table.len && !str_eq_nocase(table, s->alias))
            continue;
        if (!s->stream && derived_is_double(s, name, left))
            return true;
        for (size_t i = 0; s->stream && i < s->stream->field_count; i++)
            if (str_eq_nocase(s->stream->fields[i].name, name))
                return s->stream->fields[i].type == FIELD_FLOAT64;
    }
    return false;
}

static bool is_in(const char *words, struct str name)
{
    struct str rest = str_from(words), word;
    bool more = name.len > 0;
    while (more) {
        more = str_cut(rest, ' ', &word, &rest);
        if (str_eq(word, name))
            return true;
    }
    return false;
}

static bool call_is_double(const struct json *call, const struct gate_source *sources,
                           unsigned *left)
{
    static const char always[] = "avg mean median quantile_cont stddev stddev_pop stddev_samp var "
                                 "corr sqrt cbrt ln log log2 log10 exp power pow pi degrees "
                                 "radians sin cos tan epoch random";
    static const char as_arguments[] = "+ - * / % sum min max abs round ceil floor trunc greatest "
                                       "least mode any_value approx_quantile first last lag lead "
                                       "first_value last_value nth_value";
    struct str name = json_get(call, "function_name")->text;
    return is_in(always, name) ||
           (is_in(as_arguments, name) && any_is_double(json_get(call, "children"), sources, left));
}

static bool case_is_double(const struct json *v, const struct gate_source *sources, unsigned *left)
{
    for (const struct json *c = json_get(v, "case_checks")->first; c; c = c->next)
        if (is_double(json_get(c, "then_expr"), sources, left))
            return true;
    return is_double(json_get(v, "else_expr"), sources, left);
}

static bool is_double(const struct json *v, const struct gate_source *sources, unsigned *left)
{
    static const char *const types[] = {"DOUBLE", "FLOAT", "DECIMAL"};
    if (!v || *left == 0)
        return false;
    --*left;
    if (tree_is(v, "class", "CONSTANT"))
        return is_one_of(json_get(json_get(v, "value"), "type"), "id", types, ARRAY_LEN(types));
    if (tree_is(v, "class", "CAST"))
        return is_one_of(json_get(v, "cast_type"), "id", types, ARRAY_LEN(types));
    if (tree_is(v, "class", "COLUMN_REF"))
        return column_is_double(json_get(v, "column_names"), sources, left);
    if (tree_is(v, "class", "FUNCTION") || tree_is(v, "class", "WINDOW"))
        return call_is_double(v, sources, left);
    if (tree_is(v, "class", "CASE"))
        return case_is_double(v, sources, left);
    return tree_is(v, "type", "OPERATOR_COALESCE") &&
           any_is_double(json_get(v, "children"), sources, left);
}

/* ---- rewrites ---- */

/* The child of CAST(x AS INTEGER), where it is a double, becomes trunc(x). */
static void cut_child(struct gate *g, struct json *cast, const struct gate_source *sources)
{
    static const char *const integers[] = {"TINYINT",  "SMALLINT", "INTEGER", "BIGINT",   "HUGEINT",
                                           "UTINYINT", "UINTEGER", "UBIGINT", "USMALLINT"};
    struct json *child = json_get(cast, "child");
    unsigned left = VISITS_MAX;
    if (!is_one_of(json_get(cast, "cast_type"), "id", integers, ARRAY_LEN(integers)) ||
        !is_double(child, sources, &left))
        return;
    struct json *arguments = build_array(g->a), *taken = tree_take(g->a, child);
    if (!arguments || !taken)
        return;
    json_append(arguments, taken);
    tree_replace(child, build_function(g->a, "trunc", arguments));
}

enum err_code gate_fit_numbers(struct gate *g, struct json *v, const struct gate_source *sources)
{
    if (is_decimal(v)) {
        struct str alias = json_get(v, "alias")->text;
        struct json *cast = build_cast(g->a, tree_take(g->a, v), "DOUBLE");
        if (cast) {
            json_get(cast, "alias")->text = alias;
            json_get(json_get(cast, "child"), "alias")->text = STR("");
        }
        tree_replace(v, cast);
    } else if (tree_is(v, "class", "CAST")) {
        cut_child(g, v, sources);
    }
    return g->a->failed ? gate_no_memory(g->e) : ERR_OK;
}
