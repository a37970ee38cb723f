/* gateway/gate_titles.c - what the answer calls an expression that has no alias.
 *
 *   SELECT avg(i), i + 1, upper(level), 1 FROM logs
 *   avg(logs.i)    logs.i + Int64(1)    upper(logs.level)    Int64(1)
 *
 * These are the reference's names, which clients read as keys of a hit.  Only columns, constants,
 * calls and arithmetic have one; anything else is called as the engine likes.
 */
#include "base/cleanup.h"
#include "gateway/gate_internal.h"

#define TITLE_MAX 1024
#define DEPTH_MAX 32
#define DECIMALS_MAX 38 /* of the engine's decimals */

struct title {
    struct buf text;
    const struct gate_source *sources;
    bool unknown; /* something has no name of the reference's */
};

static void add(struct title *t, const struct json *v, unsigned depth);

/* ---- columns and constants ---- */

static bool has_column(const struct gate_source *s, struct str name)
{
    for (size_t i = 0; i < s->stream->field_count; i++)
        if (str_eq_nocase(s->stream->fields[i].name, name))
            return true;
    return false;
}

static void add_column(struct title *t, const struct json *names)
{
    struct str name = names->last->text, table = names->count == 2 ? names->first->text : STR("");
    const struct gate_source *found = NULL;
    for (const struct gate_source *s = t->sources; s; s = s->next) {
        bool fits = table.len ? str_eq_nocase(table, s->alias)
                              : !t->sources->next || (s->stream && has_column(s, name));
        found = fits ? s : found;
    }
    t->unknown = t->unknown || !found || !found->alias.len || names->count > 2;
    if (found)
        buf_printf(&t->text, STR_FMT "." STR_FMT, STR_ARG(found->alias), STR_ARG(name));
}

/* 1234 with two decimals is 12.34. */
static void add_decimal(struct title *t, const struct json *type, struct str digits)
{
    int64_t scale = 0;
    json_i64(json_get(json_get(type, "type_info"), "scale"), &scale);
    if (scale > DECIMALS_MAX)
        t->unknown = true;
    size_t behind = scale > 0 && scale <= DECIMALS_MAX ? (size_t)scale : 0;
    size_t whole = digits.len > behind ? digits.len - behind : 0;
    buf_printf(&t->text, "%.*s", (int)whole, digits.ptr);
    buf_add_cstr(&t->text, whole ? "." : "0.");
    for (size_t i = digits.len; i < behind; i++)
        buf_add_char(&t->text, '0');
    buf_printf(&t->text, "%.*s", (int)(digits.len - whole), digits.ptr + whole);
    if (!behind)
        buf_add_char(&t->text, '0');
}

static void add_constant(struct title *t, const struct json *value)
{
    const struct json *type = json_get(value, "type"), *content = json_get(value, "value");
    if (json_get(value, "is_null")->boolean || !content) {
        buf_add_cstr(&t->text, "NULL");
    } else if (tree_is(type, "id", "VARCHAR") && content->type == JSON_STRING) {
        buf_printf(&t->text, "Utf8(\"" STR_FMT "\")", STR_ARG(content->text));
    } else if (content->type != JSON_NUMBER) {
        t->unknown = true;
    } else if (tree_is(type, "id", "INTEGER") || tree_is(type, "id", "BIGINT")) {
        buf_printf(&t->text, "Int64(" STR_FMT ")", STR_ARG(content->text));
    } else if (tree_is(type, "id", "DECIMAL")) {
        buf_add_cstr(&t->text, "Float64(");
        add_decimal(t, type, content->text);
        buf_add_char(&t->text, ')');
    } else {
        t->unknown = true;
    }
}

/* true and false are casts of 't' and 'f'. */
static void add_cast(struct title *t, const struct json *v)
{
    const struct json *word = json_get(json_get(json_get(v, "child"), "value"), "value");
    struct str letter = json_str(word, STR(""));
    bool boolean = tree_is(json_get(v, "cast_type"), "id", "BOOLEAN");
    if (boolean && (str_eq(letter, STR("t")) || str_eq(letter, STR("f"))))
        buf_printf(&t->text, "Boolean(%s)", letter.ptr[0] == 't' ? "true" : "false");
    else
        t->unknown = true;
}

/* ---- calls ---- */

/* How strongly an operator binds; 0: it is none of arithmetic. */
static unsigned strength(const struct json *v)
{
    static const char *const operators[] = {NULL, "+-", "*/%"};
    if (!tree_is(v, "class", "FUNCTION") || !json_get(v, "is_operator")->boolean ||
        json_get(v, "children")->count != 2)
        return 0;
    struct str name = json_get(v, "function_name")->text;
    for (unsigned i = 1; i < ARRAY_LEN(operators) && name.len == 1; i++)
        if (strchr(operators[i], name.ptr[0]))
            return i;
    return 0;
}

static void add_side(struct title *t, const struct json *v, unsigned least, unsigned depth)
{
    unsigned own = strength(v);
    bool brackets = own && own < least;
    if (brackets)
        buf_add_char(&t->text, '(');
    add(t, v, depth);
    if (brackets)
        buf_add_char(&t->text, ')');
}

static void add_operation(struct title *t, const struct json *v, unsigned depth)
{
    const struct json *sides = json_get(v, "children");
    add_side(t, sides->first, strength(v), depth);
    buf_printf(&t->text, " " STR_FMT " ", STR_ARG(json_get(v, "function_name")->text));
    add_side(t, sides->last, strength(v) + 1, depth);
}

static void add_call(struct title *t, const struct json *v, unsigned depth)
{
    struct str name = json_get(v, "function_name")->text;
    if (str_eq(name, STR("count_star"))) {
        buf_add_cstr(&t->text, "count(*)");
        return;
    }
    buf_printf(&t->text, STR_FMT "(%s", STR_ARG(name),
               json_get(v, "distinct")->boolean ? "DISTINCT " : "");
    for (const struct json *child = json_get(v, "children")->first; child; child = child->next) {
        add(t, child, depth);
        if (child->next)
            buf_add_char(&t->text, ',');
    }
    buf_add_char(&t->text, ')');
    t->unknown = t->unknown || json_get(v, "filter")->type != JSON_NULL ||
                 json_get(json_get(v, "order_bys"), "orders")->count;
}

static void add(struct title *t, const struct json *v, unsigned depth)
{
    bool call = tree_is(v, "class", "FUNCTION");
    if (depth > DEPTH_MAX)
        t->unknown = true;
    else if (tree_is(v, "class", "COLUMN_REF"))
        add_column(t, json_get(v, "column_names"));
    else if (tree_is(v, "class", "CONSTANT"))
        add_constant(t, json_get(v, "value"));
    else if (tree_is(v, "class", "CAST"))
        add_cast(t, v);
    else if (call && strength(v))
        add_operation(t, v, depth + 1);
    else if (call && !json_get(v, "is_operator")->boolean)
        add_call(t, v, depth + 1);
    else
        t->unknown = true;
}

struct str gate_title(struct gate *g, const struct json *item, const struct gate_source *sources)
{
    struct title t = {.sources = sources};
    struct str title = STR("");
    if (json_get(item, "column_names"))
        return title;
    buf_init(&t.text, TITLE_MAX);
    add(&t, item, 0);
    if (!t.unknown && buf_ok(&t.text) && t.text.len)
        title = arena_copy(g->a, buf_str(&t.text));
    buf_done(&t.text);
    return title.ptr ? title : STR("");
}
