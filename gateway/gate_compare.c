/* gateway/gate_compare.c - a text field against a number, and the other way round.
 *
 * The engine would read the text of every row as a number, where one row that is none ends the
 * query.  As in the reference, both sides are texts:
 *   status = 200      status = CAST(200 AS VARCHAR)      status is Utf8; also <, IN, BETWEEN
 *   took = 'slow'     CAST(took AS VARCHAR) = 'slow'     took is a number; only =, <>, IN
 * A text that is a number stays as it is, for the engine reads it once.  Fields are looked up in
 * the streams of the FROM around them; what comes out of a sub-query is left to the engine.
 */
#include "base/cleanup.h"
#include "gateway/gate_internal.h"

static const struct meta_field *field_of_stream(const struct catalog_stream *s, struct str name)
{
    for (size_t i = 0; i < s->field_count; i++)
        if (str_eq_nocase(s->fields[i].name, name))
            return &s->fields[i];
    return NULL;
}

/* The field that a column means; NULL when that is not certain. */
static const struct meta_field *field_of(const struct json *column,
                                         const struct gate_source *sources)
{
    if (!tree_is(column, "class", "COLUMN_REF"))
        return NULL;
    const struct json *names = json_get(column, "column_names");
    struct str name = names->last->text;
    struct str alias = names->count == 2 ? names->first->text : STR("");
    const struct meta_field *found = NULL;
    if (names->count > 2)
        return NULL;
    for (const struct gate_source *s = sources; s; s = s->next) {
        if (alias.len && !str_eq_nocase(s->alias, alias))
            continue;
        const struct meta_field *f = s->stream ? field_of_stream(s->stream, name) : NULL;
        if (!s->stream || (f && found))
            return NULL;
        found = f ? f : found;
    }
    return found;
}

/* ---- constants ---- */

static bool is_number(const struct json *v)
{
    static const char *const types[] = {"INTEGER",  "BIGINT",  "HUGEINT",
                                        "UHUGEINT", "DECIMAL", "DOUBLE"};
    if (tree_is(v, "class", "FUNCTION") && tree_is(v, "function_name", "-") &&
        json_get(v, "children")->count == 1)
        return is_number(json_get(v, "children")->first);
    if (tree_is(v, "class", "CAST") && tree_is(json_get(v, "cast_type"), "id", "DOUBLE"))
        return tree_is(json_get(v, "child"), "class", "CONSTANT") &&
               is_number(json_get(v, "child")); /* gate_numbers.c made it */
    const struct json *value = tree_is(v, "class", "CONSTANT") ? json_get(v, "value") : NULL;
    const struct json *type = json_get(value, "type");
    for (size_t i = 0; value && i < ARRAY_LEN(types); i++)
        if (tree_is(type, "id", types[i]))
            return !json_get(value, "is_null")->boolean;
    return false;
}

static bool reads_as_number(struct str text)
{
    bool digit = false;
    text = str_trim(text);
    for (size_t i = 0; i < text.len; i++) {
        if (!memchr("0123456789+-.eE_", text.ptr[i], 16))
            return false;
        digit = digit || (text.ptr[i] >= '0' && text.ptr[i] <= '9');
    }
    return digit;
}

static bool is_other_text(const struct json *v)
{
    const struct json *value = tree_is(v, "class", "CONSTANT") ? json_get(v, "value") : NULL;
    const struct json *content = json_get(value, "value");
    return value && tree_is(json_get(value, "type"), "id", "VARCHAR") && content &&
           content->type == JSON_STRING && !reads_as_number(content->text);
}

/* ---- comparisons ---- */

static void make_text(struct gate *g, struct json *v)
{
    tree_replace(v, build_cast(g->a, tree_take(g->a, v), "VARCHAR"));
}

static bool is_text_field(const struct meta_field *f)
{
    return f && f->type == FIELD_UTF8;
}

/* Its numbers are texts to whoever compares them with one; a time never is. */
static bool is_number_field(const struct meta_field *f)
{
    return f && (f->type == FIELD_INT64 || f->type == FIELD_UINT64 || f->type == FIELD_FLOAT64) &&
           !str_eq(f->name, STR("_timestamp"));
}

/* `column` IN (`list`): one text among numbers makes texts of them all. */
static void fit_list(struct gate *g, struct json *column, struct json *list,
                     const struct gate_source *sources)
{
    const struct meta_field *f = field_of(column, sources);
    bool to_text = false;
    for (struct json *v = list; v; v = v->next) {
        if (is_text_field(f) && is_number(v))
            make_text(g, v);
        to_text = to_text || (is_number_field(f) && is_other_text(v));
    }
    if (!to_text)
        return;
    make_text(g, column);
    for (struct json *v = list; v; v = v->next)
        if (is_number(v))
            make_text(g, v);
}

static void fit_pair(struct gate *g, struct json *column, struct json *other, bool equality,
                     const struct gate_source *sources)
{
    const struct meta_field *f = field_of(column, sources);
    if (is_text_field(f) && is_number(other))
        make_text(g, other);
    else if (equality && is_number_field(f) && is_other_text(other))
        make_text(g, column);
}

static void fit_comparison(struct gate *g, struct json *v, const struct gate_source *sources)
{
    struct json *left = json_get(v, "left"), *right = json_get(v, "right");
    bool equality = tree_is(v, "type", "COMPARE_EQUAL") || tree_is(v, "type", "COMPARE_NOTEQUAL") ||
                    tree_is(v, "type", "COMPARE_DISTINCT_FROM") ||
                    tree_is(v, "type", "COMPARE_NOT_DISTINCT_FROM");
    fit_pair(g, left, right, equality, sources);
    fit_pair(g, right, left, equality, sources);
}

enum err_code gate_fit_types(struct gate *g, struct json *v, const struct gate_source *sources)
{
    if (tree_is(v, "class", "COMPARISON")) {
        fit_comparison(g, v, sources);
    } else if (tree_is(v, "class", "BETWEEN")) {
        fit_pair(g, json_get(v, "input"), json_get(v, "lower"), false, sources);
        fit_pair(g, json_get(v, "input"), json_get(v, "upper"), false, sources);
    } else if (tree_is(v, "type", "COMPARE_IN") || tree_is(v, "type", "COMPARE_NOT_IN")) {
        struct json *column = json_get(v, "children")->first;
        if (column)
            fit_list(g, column, column->next, sources);
    }
    return g->a->failed ? gate_no_memory(g->e) : ERR_OK;
}
