/* gateway/query_shape.c - has the body of a search or a partition the members that it needs?
 *
 * The reference's reader is strict where it knows a member, and its words for what is wrong are
 * kept (without line and column): null is no integer, 2.0 neither.  Members without a row are not
 * looked at.
 */
#include "base/cleanup.h"
#include "gateway/query_service.h"

enum shape { SHAPE_OBJECT, SHAPE_STRING, SHAPE_INTEGER, SHAPE_BOOL, SHAPE_ENCODING, SHAPE_ORIGIN };

struct member {
    const char *parent; /* NULL: the document */
    const char *name;
    enum shape shape;
    bool required;
};

static const struct member OF_SEARCH[] = {
    {.name = "query", .shape = SHAPE_OBJECT, .required = true},
    {.parent = "query", .name = "sql", .shape = SHAPE_STRING, .required = true},
    {.parent = "query", .name = "from", .shape = SHAPE_INTEGER},
    {.parent = "query", .name = "size", .shape = SHAPE_INTEGER},
    {.parent = "query", .name = "start_time", .shape = SHAPE_INTEGER},
    {.parent = "query", .name = "end_time", .shape = SHAPE_INTEGER},
    {.parent = "query", .name = "histogram_interval", .shape = SHAPE_INTEGER},
    {.parent = "query", .name = "track_total_hits", .shape = SHAPE_BOOL},
    {.parent = "query", .name = "quick_mode", .shape = SHAPE_BOOL},
    {.name = "encoding", .shape = SHAPE_ENCODING},
    {.name = "timeout", .shape = SHAPE_INTEGER},
    {.name = "search_type", .shape = SHAPE_ORIGIN},
};

static const struct member OF_PARTITION[] = {
    {.name = "sql", .shape = SHAPE_STRING, .required = true},
    {.name = "start_time", .shape = SHAPE_INTEGER, .required = true},
    {.name = "end_time", .shape = SHAPE_INTEGER, .required = true},
    {.name = "histogram_interval", .shape = SHAPE_INTEGER},
    {.name = "encoding", .shape = SHAPE_ENCODING},
};

static const char *const WANTED[] = {
    [SHAPE_OBJECT] = "struct Query", [SHAPE_STRING] = "a string", [SHAPE_INTEGER] = "i64",
    [SHAPE_BOOL] = "a boolean",      [SHAPE_ENCODING] = "enum",   [SHAPE_ORIGIN] = "a string",
};

static const char ORIGINS[] = "ui,dashboards,reports,alerts,values,other,rum,derived_stream,"
                              "search_job";
#define ORIGINS_IN_WORDS                                                                           \
    "`ui`, `dashboards`, `reports`, `alerts`, `values`, `other`, `rum`, `derived_stream`, "        \
    "`search_job`"
#define FORM "Failed to deserialize the JSON body into the target type: "

static bool is_origin(struct str name)
{
    struct str rest = str_from(ORIGINS), part;
    bool more = true;
    while (more) {
        more = str_cut(rest, ',', &part, &rest);
        if (str_eq(part, name))
            return true;
    }
    return false;
}

enum err_code query_search_type_check(struct str name, struct err *e)
{
    if (!name.len || is_origin(name))
        return ERR_OK;
    return err_set(e, ERR_INVALID, "invalid SearchEventType `%.*s`, expected one of %s",
                   STR_ARG(name), ORIGINS_IN_WORDS);
}

static bool is_integer(const struct json *v)
{
    int64_t ignored;
    return v->type == JSON_NUMBER && !memchr(v->text.ptr, '.', v->text.len) &&
           json_i64(v, &ignored);
}

static bool has_shape(const struct json *v, enum shape shape)
{
    switch (shape) {
    case SHAPE_OBJECT:
        return v->type == JSON_OBJECT;
    case SHAPE_INTEGER:
        return is_integer(v);
    case SHAPE_BOOL:
        return v->type == JSON_BOOL;
    case SHAPE_ORIGIN:
    case SHAPE_ENCODING:
        return v->type == JSON_STRING || v->type == JSON_NULL;
    case SHAPE_STRING:
        break;
    }
    return v->type == JSON_STRING;
}

/* What stands there, as in `invalid type: null`. */
static enum err_code wrong_type(struct err *e, const struct member *m, const struct json *v)
{
    const char *dot = m->parent ? "." : "", *parent = m->parent ? m->parent : "";
    const char *wanted = WANTED[m->shape];
    bool has_point = v->type == JSON_NUMBER && !is_integer(v);
    switch (v->type) {
    case JSON_NUMBER:
        return err_set(e, ERR_SHAPE, FORM "%s%s%s: invalid type: %s `%.*s`, expected %s", parent,
                       dot, m->name, has_point ? "floating point" : "integer", STR_ARG(v->text),
                       wanted);
    case JSON_STRING:
        return err_set(e, ERR_SHAPE, FORM "%s%s%s: invalid type: string \"%.*s\", expected %s",
                       parent, dot, m->name, STR_ARG(v->text), wanted);
    case JSON_BOOL:
        return err_set(e, ERR_SHAPE, FORM "%s%s%s: invalid type: boolean `%s`, expected %s", parent,
                       dot, m->name, v->boolean ? "true" : "false", wanted);
    case JSON_NULL:
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    const char *what = v->type == JSON_ARRAY ? "sequence" : v->type == JSON_OBJECT ? "map" : "null";
    return err_set(e, ERR_SHAPE, FORM "%s%s%s: invalid type: %s, expected %s", parent, dot, m->name,
                   what, wanted);
}

static enum err_code check_value(const struct member *m, const struct json *v, struct err *e)
{
    if (!has_shape(v, m->shape))
        return wrong_type(e, m, v);
    if (m->shape == SHAPE_ENCODING && v->text.len && !str_eq(v->text, STR("base64")))
        return err_set(e, ERR_SHAPE, FORM "%s: unknown variant `%.*s`, expected `base64` or ``",
                       m->name, STR_ARG(v->text));
    if (m->shape == SHAPE_ORIGIN && v->type == JSON_STRING && !is_origin(v->text))
        return err_set(e, ERR_SHAPE, FORM "%s: invalid SearchEventType `%.*s`, expected one of %s",
                       m->name, STR_ARG(v->text), ORIGINS_IN_WORDS);
    return ERR_OK;
}

static enum err_code check_member(const struct member *m, const struct json *document,
                                  struct err *e)
{
    const struct json *parent = m->parent ? json_get(document, m->parent) : document;
    const struct json *v = json_get(parent, m->name);
    if (v)
        return check_value(m, v, e);
    if (!m->required)
        return ERR_OK;
    return err_set(e, ERR_SHAPE, FORM "%s%smissing field `%s`", m->parent ? m->parent : "",
                   m->parent ? ": " : "", m->name);
}

static enum err_code check_members(const struct member *members, size_t count,
                                   const struct json *document, struct err *e)
{
    if (document->type != JSON_OBJECT)
        return err_set(e, ERR_SHAPE, FORM "invalid type, expected struct Request");
    for (size_t i = 0; i < count; i++) {
        enum err_code rc = check_member(&members[i], document, e);
        if (rc)
            return rc;
    }
    return ERR_OK;
}

enum err_code query_shape_check(const struct json *document, struct err *e)
{
    return check_members(OF_SEARCH, ARRAY_LEN(OF_SEARCH), document, e);
}

enum err_code query_partition_shape_check(const struct json *document, struct err *e)
{
    return check_members(OF_PARTITION, ARRAY_LEN(OF_PARTITION), document, e);
}
