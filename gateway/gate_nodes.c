/* gateway/gate_nodes.c - the shapes that an SQL tree may consist of.
 *
 * Every object of a tree belongs to a family; within a family its tag ("class" or "type") picks one
 * shape, and the shape lists all members with their kinds.  An object passes when it has exactly
 * these members, each once and of its kind.  A new version of DuckDB that adds a member or a node
 * therefore fails closed, and whatever reads the tree afterwards may rely on every member.
 *
 * Left out on purpose: SHOW_REF (SHOW, DESCRIBE, SUMMARIZE), PARAMETER, DEFAULT, COLUMN_DATA,
 * DELIM_GET, BOUND_*, AT (time travel), ENUM and extension types, PIVOT over an enum.
 */
#include "base/cleanup.h"
#include "gateway/gate_internal.h"

enum family {
    EXPRESSION,
    TABLE_REF,
    QUERY_NODE,
    STATEMENT,
    CTE_MAP,
    CTE_ENTRY,
    CTE_INFO,
    MODIFIER,
    ORDER_LIST, /* the ORDER_MODIFIER of an aggregate */
    ORDER_TERM,
    CASE_CHECK,
    REPLACEMENT,
    RENAMING,
    COLUMN_NAME,
    SAMPLE,
    PIVOT_COLUMN,
    PIVOT_ENTRY,
    VALUE,
    WIDE_INTEGER,
    TYPE,
    TYPE_INFO,
    CHILD_TYPE,
    DOCUMENT
};

enum kind {
    ONE,    /* an object of the family */
    OPT,    /* the same, or null */
    LIST,   /* an array of such objects */
    GRID,   /* an array of such arrays */
    WORD,   /* one of the words, separated by '|' */
    NAME,   /* the same, in any case */
    TEXT,   /* any string */
    TEXTS,  /* an array of strings */
    NAMES,  /* the same, not empty */
    BLANK,  /* the empty string */
    NUMBER, /* any number */
    SETS,   /* an array of arrays of numbers */
    FLAG,   /* true or false */
    OFF,    /* false */
    NIL,    /* null */
    NONE,   /* an empty array */
    SCALAR  /* the content of a constant: string, number, bool, or a WIDE_INTEGER; may be missing */
};

struct member {
    const char *name;
    enum kind kind;
    enum family family; /* ONE, OPT, LIST, GRID */
    const char *words;  /* WORD, NAME */
};

struct shape {
    enum family family;
    const char *tags; /* '|'-separated values of the family's tag; NULL: the family has one shape */
    const struct member *members;
    size_t count;
};

#define SHAPE(fam, tag_words, array)                                                               \
    {                                                                                              \
        .family = (fam), .tags = (tag_words), .members = (array), .count = ARRAY_LEN(array)        \
    }
#define EXPRESSION_HEAD(class_words, type_words)                                                   \
    {"class", WORD, 0, class_words}, {"type", WORD, 0, type_words}, {"alias", TEXT, 0, NULL},      \
    {                                                                                              \
        "query_location", NUMBER, 0, NULL                                                          \
    }
#define REF_HEAD(type_word)                                                                        \
    {"type", WORD, 0, type_word}, {"alias", TEXT, 0, NULL}, {"sample", OPT, SAMPLE, NULL},         \
    {                                                                                              \
        "query_location", NUMBER, 0, NULL                                                          \
    }
#define NODE_HEAD(type_word)                                                                       \
    {"type", WORD, 0, type_word}, {"modifiers", LIST, MODIFIER, NULL},                             \
    {                                                                                              \
        "cte_map", ONE, CTE_MAP, NULL                                                              \
    }
#define INFO_HEAD(type_word)                                                                       \
    {"type", WORD, 0, type_word}, {"alias", BLANK, 0, NULL},                                       \
    {                                                                                              \
        "extension_info", NIL, 0, NULL                                                             \
    }

#define COMPARISONS                                                                                \
    "COMPARE_EQUAL|COMPARE_NOTEQUAL|COMPARE_LESSTHAN|COMPARE_GREATERTHAN|"                         \
    "COMPARE_LESSTHANOREQUALTO|COMPARE_GREATERTHANOREQUALTO|COMPARE_DISTINCT_FROM|"                \
    "COMPARE_NOT_DISTINCT_FROM"
#define BOUNDARIES                                                                                 \
    "UNBOUNDED_PRECEDING|UNBOUNDED_FOLLOWING|CURRENT_ROW_RANGE|CURRENT_ROW_ROWS|"                  \
    "CURRENT_ROW_GROUPS|EXPR_PRECEDING_ROWS|EXPR_FOLLOWING_ROWS|EXPR_PRECEDING_RANGE|"             \
    "EXPR_FOLLOWING_RANGE|EXPR_PRECEDING_GROUPS|EXPR_FOLLOWING_GROUPS"

/* Expressions. */
static const struct member between[] = {
    EXPRESSION_HEAD("BETWEEN", "COMPARE_BETWEEN"),
    {"input", ONE, EXPRESSION, NULL},
    {"lower", ONE, EXPRESSION, NULL},
    {"upper", ONE, EXPRESSION, NULL},
};
static const struct member case_of[] = {
    EXPRESSION_HEAD("CASE", "CASE_EXPR"),
    {"case_checks", LIST, CASE_CHECK, NULL},
    {"else_expr", ONE, EXPRESSION, NULL},
};
static const struct member cast[] = {
    EXPRESSION_HEAD("CAST", "OPERATOR_CAST"),
    {"child", ONE, EXPRESSION, NULL},
    {"cast_type", ONE, TYPE, NULL},
    {"try_cast", FLAG, 0, NULL},
};
static const struct member collate[] = {
    EXPRESSION_HEAD("COLLATE", "COLLATE"),
    {"child", ONE, EXPRESSION, NULL},
    {"collation", NAME, 0, "nocase|noaccent|nfc|binary|nocase.noaccent|noaccent.nocase"},
};
static const struct member column_ref[] = {
    EXPRESSION_HEAD("COLUMN_REF", "COLUMN_REF"),
    {"column_names", NAMES, 0, NULL},
};
static const struct member comparison[] = {
    EXPRESSION_HEAD("COMPARISON", COMPARISONS),
    {"left", ONE, EXPRESSION, NULL},
    {"right", ONE, EXPRESSION, NULL},
};
static const struct member conjunction[] = {
    EXPRESSION_HEAD("CONJUNCTION", "CONJUNCTION_AND|CONJUNCTION_OR"),
    {"children", LIST, EXPRESSION, NULL},
};
static const struct member constant[] = {
    EXPRESSION_HEAD("CONSTANT", "VALUE_CONSTANT"),
    {"value", ONE, VALUE, NULL},
};
static const struct member function[] = {
    EXPRESSION_HEAD("FUNCTION", "FUNCTION"),
    {"function_name", TEXT, 0, NULL},
    {"schema", WORD, 0, "|main"},
    {"children", LIST, EXPRESSION, NULL},
    {"filter", OPT, EXPRESSION, NULL},
    {"order_bys", ONE, ORDER_LIST, NULL},
    {"distinct", FLAG, 0, NULL},
    {"is_operator", FLAG, 0, NULL},
    {"export_state", OFF, 0, NULL},
    {"catalog", BLANK, 0, NULL},
};
static const struct member lambda[] = {
    EXPRESSION_HEAD("LAMBDA", "LAMBDA"),
    {"lhs", ONE, EXPRESSION, NULL},
    {"expr", ONE, EXPRESSION, NULL},
};
static const struct member operator[] = {
    EXPRESSION_HEAD("OPERATOR",
                    "ARRAY_EXTRACT|ARRAY_SLICE|ARRAY_CONSTRUCTOR|COMPARE_IN|COMPARE_NOT_IN|"
                    "GROUPING_FUNCTION|OPERATOR_COALESCE|OPERATOR_IS_NOT_NULL|OPERATOR_IS_NULL|"
                    "OPERATOR_NOT|OPERATOR_NULLIF|OPERATOR_TRY|OPERATOR_UNPACK|STRUCT_EXTRACT"),
    {"children", LIST, EXPRESSION, NULL},
};
static const struct member positional[] = {
    EXPRESSION_HEAD("POSITIONAL_REFERENCE", "POSITIONAL_REFERENCE"),
    {"index", NUMBER, 0, NULL},
};
static const struct member star[] = {
    EXPRESSION_HEAD("STAR", "STAR"),
    {"relation_name", TEXT, 0, NULL},
    {"exclude_list", TEXTS, 0, NULL},
    {"replace_list", LIST, REPLACEMENT, NULL},
    {"columns", FLAG, 0, NULL},
    {"expr", OPT, EXPRESSION, NULL},
    {"qualified_exclude_list", LIST, COLUMN_NAME, NULL},
    {"rename_list", LIST, RENAMING, NULL},
};
static const struct member subquery[] = {
    EXPRESSION_HEAD("SUBQUERY", "SUBQUERY"),
    {"subquery_type", WORD, 0, "SCALAR|EXISTS|NOT_EXISTS|ANY"},
    {"subquery", ONE, STATEMENT, NULL},
    {"child", OPT, EXPRESSION, NULL},
    {"comparison_type", WORD, 0, "INVALID|" COMPARISONS},
};
static const struct member window[] = {
    EXPRESSION_HEAD("WINDOW",
                    "WINDOW_AGGREGATE|WINDOW_RANK|WINDOW_RANK_DENSE|WINDOW_NTILE|"
                    "WINDOW_PERCENT_RANK|WINDOW_CUME_DIST|WINDOW_ROW_NUMBER|WINDOW_FIRST_VALUE|"
                    "WINDOW_LAST_VALUE|WINDOW_LEAD|WINDOW_LAG|WINDOW_NTH_VALUE|WINDOW_FILL"),
    {"function_name", TEXT, 0, NULL},
    {"schema", WORD, 0, "|main"},
    {"catalog", BLANK, 0, NULL},
    {"children", LIST, EXPRESSION, NULL},
    {"partitions", LIST, EXPRESSION, NULL},
    {"orders", LIST, ORDER_TERM, NULL},
    {"start", WORD, 0, BOUNDARIES},
    {"end", WORD, 0, BOUNDARIES},
    {"start_expr", OPT, EXPRESSION, NULL},
    {"end_expr", OPT, EXPRESSION, NULL},
    {"offset_expr", OPT, EXPRESSION, NULL},
    {"default_expr", OPT, EXPRESSION, NULL},
    {"ignore_nulls", FLAG, 0, NULL},
    {"filter_expr", OPT, EXPRESSION, NULL},
    {"exclude_clause", WORD, 0, "NO_OTHER|CURRENT_ROW|GROUP|TIES"},
    {"distinct", FLAG, 0, NULL},
    {"arg_orders", LIST, ORDER_TERM, NULL},
};

/* What may stand in FROM. */
static const struct member base_table[] = {
    REF_HEAD("BASE_TABLE"),          {"schema_name", TEXT, 0, NULL},
    {"table_name", TEXT, 0, NULL},   {"column_name_alias", TEXTS, 0, NULL},
    {"catalog_name", TEXT, 0, NULL}, {"at_clause", NIL, 0, NULL},
};
static const struct member empty_ref[] = {REF_HEAD("EMPTY")};
static const struct member expression_list[] = {
    REF_HEAD("EXPRESSION_LIST"),
    {"expected_names", TEXTS, 0, NULL},
    {"expected_types", NONE, 0, NULL},
    {"values", GRID, EXPRESSION, NULL},
};
static const struct member join[] = {
    REF_HEAD("JOIN"),
    {"left", ONE, TABLE_REF, NULL},
    {"right", ONE, TABLE_REF, NULL},
    {"condition", OPT, EXPRESSION, NULL},
    {"join_type", WORD, 0, "INNER|LEFT|RIGHT|OUTER|FULL|SEMI|ANTI|MARK|SINGLE"},
    {"ref_type", WORD, 0, "REGULAR|NATURAL|CROSS|POSITIONAL|ASOF"},
    {"using_columns", TEXTS, 0, NULL},
    {"delim_flipped", FLAG, 0, NULL},
    {"duplicate_eliminated_columns", NONE, 0, NULL},
};
static const struct member pivot[] = {
    REF_HEAD("PIVOT"),
    {"source", ONE, TABLE_REF, NULL},
    {"aggregates", LIST, EXPRESSION, NULL},
    {"unpivot_names", TEXTS, 0, NULL},
    {"pivots", LIST, PIVOT_COLUMN, NULL},
    {"groups", TEXTS, 0, NULL},
    {"column_name_alias", TEXTS, 0, NULL},
    {"include_nulls", FLAG, 0, NULL},
};
static const struct member subquery_ref[] = {
    REF_HEAD("SUBQUERY"),
    {"subquery", ONE, STATEMENT, NULL},
    {"column_name_alias", TEXTS, 0, NULL},
};
static const struct member table_function[] = {
    REF_HEAD("TABLE_FUNCTION"),
    {"function", ONE, EXPRESSION, NULL},
    {"column_name_alias", TEXTS, 0, NULL},
    {"with_ordinality", WORD, 0, "WITHOUT_ORDINALITY|WITH_ORDINALITY"},
};

/* Queries. */
static const struct member select_node[] = {
    NODE_HEAD("SELECT_NODE"),
    {"select_list", LIST, EXPRESSION, NULL},
    {"from_table", ONE, TABLE_REF, NULL},
    {"where_clause", OPT, EXPRESSION, NULL},
    {"group_expressions", LIST, EXPRESSION, NULL},
    {"group_sets", SETS, 0, NULL},
    {"aggregate_handling", WORD, 0, "STANDARD_HANDLING|FORCE_AGGREGATES|NO_AGGREGATES_ALLOWED"},
    {"having", OPT, EXPRESSION, NULL},
    {"sample", OPT, SAMPLE, NULL},
    {"qualify", OPT, EXPRESSION, NULL},
};
static const struct member set_operation_node[] = {
    NODE_HEAD("SET_OPERATION_NODE"),
    {"setop_type", WORD, 0, "UNION|EXCEPT|INTERSECT|UNION_BY_NAME"},
    {"left", ONE, QUERY_NODE, NULL},
    {"right", ONE, QUERY_NODE, NULL},
    {"setop_all", FLAG, 0, NULL},
};
static const struct member recursive_cte_node[] = {
    NODE_HEAD("RECURSIVE_CTE_NODE"),
    {"cte_name", TEXT, 0, NULL},
    {"union_all", FLAG, 0, NULL},
    {"left", ONE, QUERY_NODE, NULL},
    {"right", ONE, QUERY_NODE, NULL},
    {"aliases", TEXTS, 0, NULL},
    {"key_targets", LIST, EXPRESSION, NULL},
};
static const struct member statement[] = {
    {"node", ONE, QUERY_NODE, NULL},
    {"named_param_map", NONE, 0, NULL},
};
static const struct member document_of[] = {
    {"error", OFF, 0, NULL},
    {"statements", LIST, STATEMENT, NULL},
};
static const struct member cte_map[] = {{"map", LIST, CTE_ENTRY, NULL}};
static const struct member cte_entry[] = {
    {"key", TEXT, 0, NULL},
    {"value", ONE, CTE_INFO, NULL},
};
static const struct member cte_info[] = {
    {"aliases", TEXTS, 0, NULL},
    {"query", ONE, STATEMENT, NULL},
    {"materialized", WORD, 0,
     "CTE_MATERIALIZE_DEFAULT|CTE_MATERIALIZE_ALWAYS|CTE_MATERIALIZE_NEVER"},
    {"key_targets", LIST, EXPRESSION, NULL},
};

/* Modifiers and small parts. */
static const struct member limit_modifier[] = {
    {"type", WORD, 0, "LIMIT_MODIFIER|LIMIT_PERCENT_MODIFIER"},
    {"limit", OPT, EXPRESSION, NULL},
    {"offset", OPT, EXPRESSION, NULL},
};
static const struct member distinct_modifier[] = {
    {"type", WORD, 0, "DISTINCT_MODIFIER"},
    {"distinct_on_targets", LIST, EXPRESSION, NULL},
};
static const struct member order_modifier[] = {
    {"type", WORD, 0, "ORDER_MODIFIER"},
    {"orders", LIST, ORDER_TERM, NULL},
};
static const struct member order_term[] = {
    {"type", WORD, 0, "ORDER_DEFAULT|ASCENDING|DESCENDING"},
    {"null_order", WORD, 0, "ORDER_DEFAULT|NULLS FIRST|NULLS LAST|NULLS_FIRST|NULLS_LAST"},
    {"expression", ONE, EXPRESSION, NULL},
};
static const struct member case_check[] = {
    {"when_expr", ONE, EXPRESSION, NULL},
    {"then_expr", ONE, EXPRESSION, NULL},
};
static const struct member replacement[] = {
    {"key", TEXT, 0, NULL},
    {"value", ONE, EXPRESSION, NULL},
};
static const struct member renaming[] = {
    {"key", ONE, COLUMN_NAME, NULL},
    {"value", TEXT, 0, NULL},
};
static const struct member column_name[] = {
    {"catalog", BLANK, 0, NULL},
    {"schema", BLANK, 0, NULL},
    {"table", TEXT, 0, NULL},
    {"column", TEXT, 0, NULL},
};
static const struct member sample[] = {
    {"sample_size", ONE, VALUE, NULL},
    {"is_percentage", FLAG, 0, NULL},
    {"method", WORD, 0, "System|Bernoulli|Reservoir"},
    {"seed", NUMBER, 0, NULL},
};
static const struct member pivot_column[] = {
    {"pivot_expressions", LIST, EXPRESSION, NULL},
    {"unpivot_names", TEXTS, 0, NULL},
    {"entries", LIST, PIVOT_ENTRY, NULL},
    {"pivot_enum", BLANK, 0, NULL},
};
static const struct member pivot_entry[] = {
    {"values", LIST, VALUE, NULL},
    {"star_expr", OPT, EXPRESSION, NULL},
    {"alias", TEXT, 0, NULL},
};

/* Values and types. */
static const struct member value[] = {
    {"type", ONE, TYPE, NULL},
    {"is_null", FLAG, 0, NULL},
    {"value", SCALAR, 0, NULL},
};
static const struct member wide_integer[] = {
    {"upper", NUMBER, 0, NULL},
    {"lower", NUMBER, 0, NULL},
};
static const struct member type_of[] = {
    {"id", WORD, 0,
     "NULL|BOOLEAN|TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|UTINYINT|USMALLINT|UINTEGER|UBIGINT|"
     "UHUGEINT|FLOAT|DOUBLE|DECIMAL|VARCHAR|BLOB|BIT|UUID|DATE|TIME|TIME WITH TIME ZONE|"
     "TIMESTAMP|TIMESTAMP_S|TIMESTAMP_MS|TIMESTAMP_NS|TIMESTAMP WITH TIME ZONE|INTERVAL|STRUCT|"
     "LIST|MAP|ARRAY|UNBOUND"},
    {"type_info", OPT, TYPE_INFO, NULL},
};
static const struct member decimal_info[] = {
    INFO_HEAD("DECIMAL_TYPE_INFO"),
    {"width", NUMBER, 0, NULL},
    {"scale", NUMBER, 0, NULL},
};
static const struct member list_info[] = {
    INFO_HEAD("LIST_TYPE_INFO"),
    {"child_type", ONE, TYPE, NULL},
};
static const struct member array_info[] = {
    INFO_HEAD("ARRAY_TYPE_INFO"),
    {"child_type", ONE, TYPE, NULL},
    {"size", NUMBER, 0, NULL},
};
static const struct member struct_info[] = {
    INFO_HEAD("STRUCT_TYPE_INFO"),
    {"child_types", LIST, CHILD_TYPE, NULL},
};
static const struct member unbound_info[] = {
    INFO_HEAD("UNBOUND_TYPE_INFO"),
    {"name", NAME, 0, "json|uint"},
    {"catalog", BLANK, 0, NULL},
    {"schema", BLANK, 0, NULL},
    {"user_type_modifiers", NONE, 0, NULL},
};
static const struct member child_type[] = {
    {"first", TEXT, 0, NULL},
    {"second", ONE, TYPE, NULL},
};

static const struct shape shapes[] = {
    SHAPE(EXPRESSION, "BETWEEN", between),
    SHAPE(EXPRESSION, "CASE", case_of),
    SHAPE(EXPRESSION, "CAST", cast),
    SHAPE(EXPRESSION, "COLLATE", collate),
    SHAPE(EXPRESSION, "COLUMN_REF", column_ref),
    SHAPE(EXPRESSION, "COMPARISON", comparison),
    SHAPE(EXPRESSION, "CONJUNCTION", conjunction),
    SHAPE(EXPRESSION, "CONSTANT", constant),
    SHAPE(EXPRESSION, "FUNCTION", function),
    SHAPE(EXPRESSION, "LAMBDA", lambda),
    SHAPE(EXPRESSION, "OPERATOR", operator),
    SHAPE(EXPRESSION, "POSITIONAL_REFERENCE", positional),
    SHAPE(EXPRESSION, "STAR", star),
    SHAPE(EXPRESSION, "SUBQUERY", subquery),
    SHAPE(EXPRESSION, "WINDOW", window),
    SHAPE(TABLE_REF, "BASE_TABLE", base_table),
    SHAPE(TABLE_REF, "EMPTY", empty_ref),
    SHAPE(TABLE_REF, "EXPRESSION_LIST", expression_list),
    SHAPE(TABLE_REF, "JOIN", join),
    SHAPE(TABLE_REF, "PIVOT", pivot),
    SHAPE(TABLE_REF, "SUBQUERY", subquery_ref),
    SHAPE(TABLE_REF, "TABLE_FUNCTION", table_function),
    SHAPE(QUERY_NODE, "SELECT_NODE", select_node),
    SHAPE(QUERY_NODE, "SET_OPERATION_NODE", set_operation_node),
    SHAPE(QUERY_NODE, "RECURSIVE_CTE_NODE", recursive_cte_node),
    SHAPE(MODIFIER, "LIMIT_MODIFIER|LIMIT_PERCENT_MODIFIER", limit_modifier),
    SHAPE(MODIFIER, "DISTINCT_MODIFIER", distinct_modifier),
    SHAPE(MODIFIER, "ORDER_MODIFIER", order_modifier),
    SHAPE(TYPE_INFO, "DECIMAL_TYPE_INFO", decimal_info),
    SHAPE(TYPE_INFO, "LIST_TYPE_INFO", list_info),
    SHAPE(TYPE_INFO, "ARRAY_TYPE_INFO", array_info),
    SHAPE(TYPE_INFO, "STRUCT_TYPE_INFO", struct_info),
    SHAPE(TYPE_INFO, "UNBOUND_TYPE_INFO", unbound_info),
    SHAPE(STATEMENT, NULL, statement),
    SHAPE(CTE_MAP, NULL, cte_map),
    SHAPE(CTE_ENTRY, NULL, cte_entry),
    SHAPE(CTE_INFO, NULL, cte_info),
    SHAPE(ORDER_LIST, NULL, order_modifier),
    SHAPE(ORDER_TERM, NULL, order_term),
    SHAPE(CASE_CHECK, NULL, case_check),
    SHAPE(REPLACEMENT, NULL, replacement),
    SHAPE(RENAMING, NULL, renaming),
    SHAPE(COLUMN_NAME, NULL, column_name),
    SHAPE(SAMPLE, NULL, sample),
    SHAPE(PIVOT_COLUMN, NULL, pivot_column),
    SHAPE(PIVOT_ENTRY, NULL, pivot_entry),
    SHAPE(VALUE, NULL, value),
    SHAPE(WIDE_INTEGER, NULL, wide_integer),
    SHAPE(TYPE, NULL, type_of),
    SHAPE(CHILD_TYPE, NULL, child_type),
    SHAPE(DOCUMENT, NULL, document_of),
};

/* What is refused with a text of its own: what stood in the tag or in a member. */
static const struct {
    const char *found, *says;
} refusals[] = {
    {"SHOW_REF", "SHOW, DESCRIBE and SUMMARIZE are not allowed"},
    {"PARAMETER", "parameters ($1, ?) are not allowed"},
    {"DEFAULT", "DEFAULT is not allowed here"},
    {"at_clause", "AT (VERSION or TIMESTAMP) is not allowed"},
    {"schema", "a function takes no qualifier"},
    {"catalog", "a function takes no qualifier"},
    {"export_state", "EXPORT_STATE is not allowed"},
    {"pivot_enum", "PIVOT needs an IN list of values"},
    {"collation", "this collation is not allowed"},
    {"id", "this type is not allowed"},
    {"name", "this type is not allowed"},
};

static enum err_code refuse(struct err *e, const char *found)
{
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        if (strcmp(refusals[i].found, found) == 0)
            return search_error(e, API_SQL_NOT_VALID, "Search SQL not valid: %s", refusals[i].says);
    return search_error(e, API_SQL_NOT_VALID, "Search SQL not valid: %.64s is not allowed", found);
}

static bool one_of(const char *words, struct str s, bool any_case)
{
    for (;;) {
        const char *end = strchrnul(words, '|');
        struct str word = {words, (size_t)(end - words)};
        if (any_case ? str_eq_nocase(s, word) : str_eq(s, word))
            return true;
        if (!*end)
            return false;
        words = end + 1;
    }
}

static const struct shape *shape_find(enum family family, const struct json *object)
{
    struct str tag = json_str(json_get(object, family == EXPRESSION ? "class" : "type"), STR(""));
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        if (shapes[i].family == family && (!shapes[i].tags || one_of(shapes[i].tags, tag, false)))
            return &shapes[i];
    return NULL;
}

static enum err_code check_object(enum family family, const struct json *v, unsigned depth,
                                  struct err *e);

static enum err_code check_list(enum family family, const struct json *v, bool grid, unsigned depth,
                                struct err *e)
{
    if (!v || v->type != JSON_ARRAY)
        return refuse(e, "a list that is none");
    for (const struct json *item = v->first; item; item = item->next) {
        enum err_code rc = grid ? check_list(family, item, false, depth + 1, e)
                                : check_object(family, item, depth + 1, e);
        if (rc)
            return rc;
    }
    return ERR_OK;
}

static bool all_of(const struct json *v, enum json_type type)
{
    if (v->type != JSON_ARRAY)
        return false;
    for (const struct json *item = v->first; item; item = item->next)
        if (item->type != type)
            return false;
    return true;
}

static bool number_sets(const struct json *v)
{
    if (!all_of(v, JSON_ARRAY))
        return false;
    for (const struct json *set = v->first; set; set = set->next)
        if (!all_of(set, JSON_NUMBER))
            return false;
    return true;
}

/* Kinds that hold no other objects. */
static bool plain_member_fits(const struct member *m, const struct json *v)
{
    switch (m->kind) {
    case WORD:
    case NAME:
        return v->type == JSON_STRING && one_of(m->words, v->text, m->kind == NAME);
    case TEXT:
        return v->type == JSON_STRING;
    case TEXTS:
        return all_of(v, JSON_STRING);
    case NAMES:
        return v->count > 0 && all_of(v, JSON_STRING);
    case BLANK:
        return v->type == JSON_STRING && v->text.len == 0;
    case NUMBER:
        return v->type == JSON_NUMBER;
    case SETS:
        return number_sets(v);
    case FLAG:
        return v->type == JSON_BOOL;
    case OFF:
        return v->type == JSON_BOOL && !v->boolean;
    case NIL:
        return v->type == JSON_NULL;
    case NONE:
        return v->type == JSON_ARRAY && v->count == 0;
    case SCALAR:
        return v->type == JSON_STRING || v->type == JSON_NUMBER || v->type == JSON_BOOL;
    case ONE:
    case OPT:
    case LIST:
    case GRID:
        break;
    }
    return false;
}

static enum err_code check_member(const struct member *m, const struct json *v, unsigned depth,
                                  struct err *e)
{
    switch (m->kind) {
    case OPT:
        if (v->type == JSON_NULL)
            return ERR_OK;
        return check_object(m->family, v, depth, e);
    case ONE:
        return check_object(m->family, v, depth, e);
    case LIST:
    case GRID:
        return check_list(m->family, v, m->kind == GRID, depth, e);
    default:
        if (m->kind == SCALAR && v->type == JSON_OBJECT)
            return check_object(WIDE_INTEGER, v, depth, e);
        return plain_member_fits(m, v) ? ERR_OK : refuse(e, m->name);
    }
}

static const struct member *member_find(const struct shape *s, struct str key)
{
    for (size_t i = 0; i < s->count; i++)
        if (str_eq(key, str_from(s->members[i].name)))
            return &s->members[i];
    return NULL;
}

static enum err_code check_object(enum family family, const struct json *v, unsigned depth,
                                  struct err *e)
{
    if (depth > GATE_DEPTH_MAX)
        return refuse(e, "nesting this deep");
    if (!v || v->type != JSON_OBJECT)
        return refuse(e, "a node that is none");
    const struct shape *s = shape_find(family, v);
    if (!s) {
        char tag[64];
        const char *member = family == EXPRESSION ? "class" : "type";
        str_copy_to(json_str(json_get(v, member), STR("an unknown node")), tag, sizeof tag);
        return refuse(e, tag);
    }
    uint32_t seen = 0;
    for (const struct json *child = v->first; child; child = child->next) {
        const struct member *m = member_find(s, child->key);
        if (!m || (seen >> (m - s->members) & 1))
            return refuse(e, "an unknown member");
        seen |= 1u << (m - s->members);
        enum err_code rc = check_member(m, child, depth + 1, e);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < s->count; i++)
        if (!(seen >> i & 1) && s->members[i].kind != SCALAR)
            return refuse(e, "a node with a missing member");
    return ERR_OK;
}

enum err_code gate_check_shape(const struct json *document, struct err *e)
{
    const struct json *statements = json_get(document, "statements");
    if (statements && statements->type == JSON_ARRAY && statements->count != 1)
        return search_error(e, API_SQL_NOT_VALID,
                            "Search SQL not valid: exactly one statement is allowed, not %zu",
                            statements->count);
    return check_object(DOCUMENT, document, 0, e);
}
