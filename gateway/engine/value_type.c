/* gateway/engine/value_type.c - types and views of values.h: the shape of DuckDB's vectors. */
#include "base/cleanup.h"
#include "gateway/engine/values.h"

/* Types without parts; those with parts are decoded by a function of their own. */
static const char *const plain_names[] = {
    [DUCKDB_TYPE_BOOLEAN] = "BOOLEAN",
    [DUCKDB_TYPE_TINYINT] = "TINYINT",
    [DUCKDB_TYPE_SMALLINT] = "SMALLINT",
    [DUCKDB_TYPE_INTEGER] = "INTEGER",
    [DUCKDB_TYPE_BIGINT] = "BIGINT",
    [DUCKDB_TYPE_UTINYINT] = "UTINYINT",
    [DUCKDB_TYPE_USMALLINT] = "USMALLINT",
    [DUCKDB_TYPE_UINTEGER] = "UINTEGER",
    [DUCKDB_TYPE_UBIGINT] = "UBIGINT",
    [DUCKDB_TYPE_FLOAT] = "FLOAT",
    [DUCKDB_TYPE_DOUBLE] = "DOUBLE",
    [DUCKDB_TYPE_TIMESTAMP] = "TIMESTAMP",
    [DUCKDB_TYPE_TIMESTAMP_S] = "TIMESTAMP_S",
    [DUCKDB_TYPE_TIMESTAMP_MS] = "TIMESTAMP_MS",
    [DUCKDB_TYPE_TIMESTAMP_NS] = "TIMESTAMP_NS",
    [DUCKDB_TYPE_TIMESTAMP_TZ] = "TIMESTAMP WITH TIME ZONE",
    [DUCKDB_TYPE_DATE] = "DATE",
    [DUCKDB_TYPE_TIME] = "TIME",
    [DUCKDB_TYPE_TIME_TZ] = "TIME WITH TIME ZONE",
    [DUCKDB_TYPE_INTERVAL] = "INTERVAL",
    [DUCKDB_TYPE_HUGEINT] = "HUGEINT",
    [DUCKDB_TYPE_UHUGEINT] = "UHUGEINT",
    [DUCKDB_TYPE_VARCHAR] = "VARCHAR",
    [DUCKDB_TYPE_BLOB] = "BLOB",
    [DUCKDB_TYPE_UUID] = "UUID",
    [DUCKDB_TYPE_SQLNULL] = "NULL",
};

static enum err_code no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "result needs more memory for its columns than a query has");
}

static enum err_code type_decode(duckdb_logical_type type, unsigned depth, struct arena *a,
                                 struct value_type *out, struct err *e);

/* Takes ownership of `type`. */
static enum err_code child_decode(duckdb_logical_type type, unsigned depth, struct arena *a,
                                  struct value_type *out, struct err *e)
{
    enum err_code rc = type_decode(type, depth + 1, a, out, e);
    duckdb_destroy_logical_type(&type);
    return rc;
}

/* Takes ownership of `name`, DuckDB's memory. */
static struct str take_name(char *name, struct arena *a)
{
    struct str copy = arena_copy(a, str_from(name));
    duckdb_free(name);
    return copy;
}

static enum err_code decode_enum(duckdb_logical_type type, struct arena *a, struct value_type *out,
                                 struct err *e)
{
    out->storage = duckdb_enum_internal_type(type);
    out->word_count = duckdb_enum_dictionary_size(type);
    out->words = arena_zalloc(a, (out->word_count + 1) * sizeof *out->words);
    if (!out->words)
        return no_memory(e);
    for (size_t i = 0; i < out->word_count; i++)
        out->words[i] = take_name(duckdb_enum_dictionary_value(type, i), a);
    return ERR_OK;
}

static bool make_children(struct value_type *out, size_t count, struct arena *a)
{
    out->child_count = count;
    out->children = arena_zalloc(a, (count + 1) * sizeof *out->children);
    out->names = arena_zalloc(a, (count + 1) * sizeof *out->names);
    return out->children && out->names;
}

static enum err_code decode_list(duckdb_logical_type type, unsigned depth, struct arena *a,
                                 struct value_type *out, struct err *e)
{
    bool is_array = out->id == DUCKDB_TYPE_ARRAY;
    if (!make_children(out, 1, a))
        return no_memory(e);
    if (is_array)
        out->array_len = duckdb_array_type_array_size(type);
    return child_decode(is_array ? duckdb_array_type_child_type(type)
                                 : duckdb_list_type_child_type(type),
                        depth, a, &out->children[0], e);
}

static enum err_code decode_map(duckdb_logical_type type, unsigned depth, struct arena *a,
                                struct value_type *out, struct err *e)
{
    if (!make_children(out, 2, a))
        return no_memory(e);
    enum err_code rc = child_decode(duckdb_map_type_key_type(type), depth, a, &out->children[0], e);
    if (rc == ERR_OK)
        rc = child_decode(duckdb_map_type_value_type(type), depth, a, &out->children[1], e);
    return rc;
}

static enum err_code decode_members(duckdb_logical_type type, unsigned depth, struct arena *a,
                                    struct value_type *out, struct err *e)
{
    bool is_union = out->id == DUCKDB_TYPE_UNION;
    size_t count =
        is_union ? duckdb_union_type_member_count(type) : duckdb_struct_type_child_count(type);
    if (!make_children(out, count, a))
        return no_memory(e);
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < count && rc == ERR_OK; i++) {
        out->names[i] = take_name(is_union ? duckdb_union_type_member_name(type, i)
                                           : duckdb_struct_type_child_name(type, i),
                                  a);
        rc = child_decode(is_union ? duckdb_union_type_member_type(type, i)
                                   : duckdb_struct_type_child_type(type, i),
                          depth, a, &out->children[i], e);
    }
    return rc;
}

static enum err_code refuse_type(struct err *e)
{
    err_set(e, ERR_INVALID, "result has a type that is not shown: cast it to VARCHAR");
    if (e)
        e->detail = 20007;
    return ERR_INVALID;
}

static enum err_code type_decode(duckdb_logical_type type, unsigned depth, struct arena *a,
                                 struct value_type *out, struct err *e)
{
    *out = (struct value_type){.id = duckdb_get_type_id(type)};
    if (depth > VALUE_DEPTH_MAX)
        return refuse_type(e);
    switch (out->id) {
    case DUCKDB_TYPE_DECIMAL:
        out->storage = duckdb_decimal_internal_type(type);
        out->scale = duckdb_decimal_scale(type);
        return ERR_OK;
    case DUCKDB_TYPE_ENUM:
        return decode_enum(type, a, out, e);
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
        return decode_list(type, depth, a, out, e);
    case DUCKDB_TYPE_MAP:
        return decode_map(type, depth, a, out, e);
    case DUCKDB_TYPE_STRUCT:
    case DUCKDB_TYPE_UNION:
        return decode_members(type, depth, a, out, e);
    default:
        break;
    }
    if ((size_t)out->id >= ARRAY_LEN(plain_names) || !plain_names[out->id])
        return refuse_type(e);
    return ERR_OK;
}

enum err_code value_type_decode(duckdb_logical_type type, struct arena *a, struct value_type *out,
                                struct err *e)
{
    return type_decode(type, 0, a, out, e);
}

static void members_name(struct buf *out, const struct value_type *t)
{
    buf_add_cstr(out, t->id == DUCKDB_TYPE_UNION ? "UNION(" : "STRUCT(");
    for (size_t i = 0; i < t->child_count; i++) {
        buf_printf(out, "%s\"" STR_FMT "\" ", i > 0 ? ", " : "", STR_ARG(t->names[i]));
        value_type_name(out, &t->children[i]);
    }
    buf_add_char(out, ')');
}

void value_type_name(struct buf *out, const struct value_type *t)
{
    switch (t->id) {
    case DUCKDB_TYPE_LIST:
        value_type_name(out, &t->children[0]);
        buf_add_cstr(out, "[]");
        return;
    case DUCKDB_TYPE_ARRAY:
        value_type_name(out, &t->children[0]);
        buf_printf(out, "[%zu]", t->array_len);
        return;
    case DUCKDB_TYPE_MAP:
        buf_add_cstr(out, "MAP(");
        value_type_name(out, &t->children[0]);
        buf_add_cstr(out, ", ");
        value_type_name(out, &t->children[1]);
        buf_add_char(out, ')');
        return;
    case DUCKDB_TYPE_STRUCT:
    case DUCKDB_TYPE_UNION:
        members_name(out, t);
        return;
    case DUCKDB_TYPE_ENUM:
        buf_add_cstr(out, "ENUM");
        return;
    case DUCKDB_TYPE_DECIMAL:
        buf_add_cstr(out, "DECIMAL");
        return;
    default:
        buf_add_cstr(out, plain_names[t->id]);
    }
}

static enum err_code make_views(struct value_view *out, size_t count, struct arena *a,
                                struct err *e)
{
    out->child_count = count;
    out->children = arena_zalloc(a, (count + 1) * sizeof *out->children);
    return out->children ? ERR_OK : no_memory(e);
}

/* A map is a list of structs of key and value. */
static enum err_code view_map(duckdb_vector v, struct arena *a, struct value_view *out,
                              struct err *e)
{
    duckdb_vector entries = duckdb_list_vector_get_child(v);
    enum err_code rc = make_views(out, 2, a, e);
    for (idx_t i = 0; i < 2 && rc == ERR_OK; i++)
        rc = value_view_make(duckdb_struct_vector_get_child(entries, i), &out->type->children[i], a,
                             &out->children[i], e);
    return rc;
}

/* A union is a struct of the tag and the members. */
static enum err_code view_union(duckdb_vector v, struct arena *a, struct value_view *out,
                                struct err *e)
{
    static const struct value_type tag = {.id = DUCKDB_TYPE_UTINYINT};
    enum err_code rc = make_views(out, out->type->child_count + 1, a, e);
    if (rc == ERR_OK)
        rc = value_view_make(duckdb_struct_vector_get_child(v, 0), &tag, a, &out->children[0], e);
    for (idx_t i = 0; i < out->type->child_count && rc == ERR_OK; i++)
        rc = value_view_make(duckdb_struct_vector_get_child(v, i + 1), &out->type->children[i], a,
                             &out->children[i + 1], e);
    return rc;
}

static enum err_code view_struct(duckdb_vector v, struct arena *a, struct value_view *out,
                                 struct err *e)
{
    enum err_code rc = make_views(out, out->type->child_count, a, e);
    for (idx_t i = 0; i < out->type->child_count && rc == ERR_OK; i++)
        rc = value_view_make(duckdb_struct_vector_get_child(v, i), &out->type->children[i], a,
                             &out->children[i], e);
    return rc;
}

static enum err_code view_list(duckdb_vector child, struct arena *a, struct value_view *out,
                               struct err *e)
{
    enum err_code rc = make_views(out, 1, a, e);
    if (rc == ERR_OK)
        rc = value_view_make(child, &out->type->children[0], a, &out->children[0], e);
    return rc;
}

enum err_code value_view_make(duckdb_vector v, const struct value_type *t, struct arena *a,
                              struct value_view *out, struct err *e)
{
    *out = (struct value_view){.type = t, .validity = duckdb_vector_get_validity(v)};
    switch (t->id) {
    case DUCKDB_TYPE_STRUCT:
        return view_struct(v, a, out, e);
    case DUCKDB_TYPE_UNION:
        return view_union(v, a, out, e);
    case DUCKDB_TYPE_ARRAY:
        return view_list(duckdb_array_vector_get_child(v), a, out, e);
    case DUCKDB_TYPE_LIST:
        out->data = duckdb_vector_get_data(v);
        return view_list(duckdb_list_vector_get_child(v), a, out, e);
    case DUCKDB_TYPE_MAP:
        out->data = duckdb_vector_get_data(v);
        return view_map(v, a, out, e);
    default:
        out->data = duckdb_vector_get_data(v);
        return ERR_OK;
    }
}
