/* gateway/engine/check.c - walks the tree of a statement for what stands in its FROM clauses.
 *
 * An item of FROM is the one object of a tree that has a "type" and a "sample" and neither a
 * "class" (expressions) nor a "select_list" (queries).  Scopes play no part: a name of the form
 * weir_c<n> means a CTE wherever it stands, for nothing else of the engine has such a name.
 */
#include "gateway/engine/check.h"

#include "base/cleanup.h"
#include "base/json.h"

#define TREE_BYTES_MAX (64u << 20)   /* of the tree as text */
#define TREE_MEMORY_MAX (256u << 20) /* of the tree as objects */

struct check {
    const struct run_request *request;
    const struct json *document;
    struct err *e;
};

static enum err_code check_value(const struct check *c, const struct json *v);

static bool is(const struct json *object, const char *key, const char *text)
{
    return str_eq(json_str(json_get(object, key), STR("")), str_from(text));
}

/* <prefix> and digits, nothing else. */
static bool is_numbered(struct str name, const char *prefix)
{
    struct str head = str_from(prefix);
    if (!str_starts(name, head) || name.len == head.len)
        return false;
    for (size_t i = head.len; i < name.len; i++)
        if (name.ptr[i] < '0' || name.ptr[i] > '9')
            return false;
    return true;
}

static bool is_table(const struct check *c, struct str name)
{
    if (!is_numbered(name, "weir_t"))
        return false;
    for (size_t i = 0; i < c->request->table_count; i++)
        if (str_eq(c->request->tables[i].name, name))
            return true;
    return false;
}

/* Does a WITH of the tree declare the name? */
static bool is_declared(const struct json *v, struct str name)
{
    const struct json *ctes = json_get(json_get(v, "cte_map"), "map");
    for (const struct json *entry = ctes ? ctes->first : NULL; entry; entry = entry->next)
        if (str_eq(json_str(json_get(entry, "key"), STR("")), name))
            return true;
    for (const struct json *child = v->first; child; child = child->next)
        if (is_declared(child, name))
            return true;
    return false;
}

static enum err_code check_base_table(const struct check *c, const struct json *ref)
{
    struct str name = json_str(json_get(ref, "table_name"), STR(""));
    bool bare = is(ref, "catalog_name", "") && is(ref, "schema_name", "");
    if (bare && is_table(c, name))
        return ERR_OK;
    if (bare && is_numbered(name, "weir_c") && is_declared(c->document, name))
        return ERR_OK;
    return reason_set(c->e, ERR_INVALID, SEARCH_STREAM_NOT_FOUND, STR_FMT, STR_ARG(name));
}

static enum err_code check_table_function(const struct check *c, const struct json *ref)
{
    static const char *const allowed[] = {"unnest", "range", "generate_series", "json_each",
                                          "json_tree"};
    const struct json *call = json_get(ref, "function");
    struct str name = json_str(json_get(call, "function_name"), STR(""));
    bool known = is(call, "class", "FUNCTION") && is(call, "catalog", "") &&
                 (is(call, "schema", "") || is(call, "schema", "main"));
    for (size_t i = 0; known && i < ARRAY_LEN(allowed); i++)
        if (str_eq_nocase(name, str_from(allowed[i])))
            return ERR_OK;
    return reason_set(c->e, ERR_INVALID, SEARCH_FUNCTION_NOT_DEFINED, STR_FMT, STR_ARG(name));
}

/* An item of FROM by itself; what stands inside it is walked by the caller. */
static enum err_code check_ref(const struct check *c, const struct json *ref)
{
    static const char *const others[] = {"JOIN", "SUBQUERY", "EXPRESSION_LIST", "PIVOT", "EMPTY"};
    if (is(ref, "type", "BASE_TABLE"))
        return check_base_table(c, ref);
    if (is(ref, "type", "TABLE_FUNCTION"))
        return check_table_function(c, ref);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (is(ref, "type", others[i]))
            return ERR_OK;
    return reason_set(c->e, ERR_INVALID, SEARCH_SQL_NOT_VALID, STR_FMT " is not allowed",
                      STR_ARG(json_str(json_get(ref, "type"), STR("a FROM without a type"))));
}

static bool is_ref(const struct json *v)
{
    return json_get(v, "sample") && json_get(v, "type") && !json_get(v, "class") &&
           !json_get(v, "select_list");
}

static enum err_code check_value(const struct check *c, const struct json *v)
{
    enum err_code rc = is_ref(v) ? check_ref(c, v) : ERR_OK;
    for (const struct json *child = v->first; child && rc == ERR_OK; child = child->next)
        rc = check_value(c, child);
    return rc;
}

static enum err_code check_document(const struct run_request *request, const struct json *document,
                                    struct err *e)
{
    const struct json *statements = json_get(document, "statements");
    struct check c = {.request = request, .document = document, .e = e};
    if (!statements || statements->count != 1)
        return reason_set(e, ERR_INVALID, SEARCH_SQL_NOT_VALID, "not one statement");
    return check_value(&c, document);
}

enum err_code check_sql(duckdb_connection con, struct str sql, const struct run_request *request,
                        struct err *e)
{
    struct buf text;
    struct arena a;
    struct json *document = NULL;
    buf_init(&text, TREE_BYTES_MAX);
    arena_init(&a, TREE_MEMORY_MAX);
    enum err_code rc = parse_sql(con, sql, &text, e);
    if (rc == ERR_OK)
        rc = json_parse(buf_str(&text), &a, &document, e);
    if (rc == ERR_OK)
        rc = check_document(request, document, e);
    arena_done(&a);
    buf_done(&text);
    return rc;
}
