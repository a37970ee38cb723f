/* gateway/engine/reason.c - classifies DuckDB's errors.
 *
 * The database runs with errors_as_json, so an error names its subtype and, for a missing thing,
 * what kind of thing it was:
 *   {"exception_type":"Catalog","exception_message":"…","error_subtype":"MISSING_ENTRY","type":"Table"}
 */
#include "gateway/engine/reason.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/json.h"

#define REASON_MEMORY_MAX (1u << 20)

enum err_code reason_set(struct err *e, enum err_code code, enum search_code detail,
                         const char *fmt, ...)
{
    char msg[ERR_MSG_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    err_set(e, code, "%s", msg);
    if (e)
        e->detail = (int)detail;
    return code;
}

/* By the kind of DuckDB's exception, which errors of preparing give only by name; what is not here
 * is an execution error of the query. */
static const struct {
    duckdb_error_type type;
    const char *name;
    enum err_code code;
    enum search_code detail;
} kinds[] = {
    {DUCKDB_ERROR_PARSER, "Parser", ERR_INVALID, SEARCH_SQL_NOT_VALID},
    {DUCKDB_ERROR_SYNTAX, "Syntax", ERR_INVALID, SEARCH_SQL_NOT_VALID},
    {DUCKDB_ERROR_CONVERSION, "Conversion", ERR_INVALID, SEARCH_NO_COMPATIBLE_TYPE},
    {DUCKDB_ERROR_MISMATCH_TYPE, "Mismatch Type", ERR_INVALID, SEARCH_NO_COMPATIBLE_TYPE},
    {DUCKDB_ERROR_INVALID_TYPE, "Invalid type", ERR_INVALID, SEARCH_NO_COMPATIBLE_TYPE},
    {DUCKDB_ERROR_BINDER, "Binder", ERR_INVALID, SEARCH_EXECUTE_ERROR},
    {DUCKDB_ERROR_PERMISSION, "Permission", ERR_INVALID, SEARCH_SQL_NOT_VALID},
    {DUCKDB_ERROR_OUT_OF_MEMORY, "Out of Memory", ERR_NOMEM, SEARCH_EXECUTE_ERROR},
    {DUCKDB_ERROR_INTERRUPT, "INTERRUPT", ERR_CANCELLED, SEARCH_CANCELLED},
    {DUCKDB_ERROR_IO, "IO", ERR_IO, SEARCH_EXECUTE_ERROR},
    {DUCKDB_ERROR_FATAL, "FATAL", ERR_IO, SEARCH_EXECUTE_ERROR},
    {DUCKDB_ERROR_INTERNAL, "INTERNAL", ERR_IO, SEARCH_EXECUTE_ERROR},
    {DUCKDB_ERROR_INVALID, "Invalid", ERR_IO, SEARCH_EXECUTE_ERROR}, /* in a Parquet's headers */
};

static int detail_of_missing(struct str kind)
{
    if (str_eq(kind, STR("Table")))
        return SEARCH_STREAM_NOT_FOUND;
    if (str_eq(kind, STR("Type")))
        return SEARCH_NO_COMPATIBLE_TYPE;
    return SEARCH_FUNCTION_NOT_DEFINED; /* "Scalar Function", "Aggregate Function", … */
}

/* The binder names no subtype for this; its texts are those of the pinned version. */
static int detail_of_binder_text(struct str text)
{
    if (str_starts(text, STR("Referenced table")))
        return SEARCH_FIELD_NOT_FOUND;
    return SEARCH_EXECUTE_ERROR;
}

static int detail_of_document(const struct json *doc, duckdb_error_type type, struct str text,
                              int detail)
{
    struct str subtype = json_str(json_get(doc, "error_subtype"), STR(""));
    if (str_eq(subtype, STR("COLUMN_NOT_FOUND")))
        return SEARCH_FIELD_NOT_FOUND;
    if (str_eq(subtype, STR("NO_MATCHING_FUNCTION")))
        return SEARCH_EXECUTE_ERROR;
    if (str_eq(subtype, STR("SYNTAX_ERROR")))
        return SEARCH_SQL_NOT_VALID;
    if (str_eq(subtype, STR("MISSING_ENTRY")))
        return detail_of_missing(json_str(json_get(doc, "type"), STR("")));
    return type == DUCKDB_ERROR_BINDER ? detail_of_binder_text(text) : detail;
}

/* Some texts have a plain "Parser Error: " before the document. */
static struct json *parse_document(const char *text, struct arena *a)
{
    struct json *doc = NULL;
    const char *brace = strchr(text, '{');
    if (!brace || json_parse(str_from(brace), a, &doc, NULL) != ERR_OK)
        return NULL;
    return json_get(doc, "exception_message") ? doc : NULL;
}

/* The row of the table, or ARRAY_LEN(kinds).  INVALID is also what the type is when nobody told. */
static size_t find_kind(duckdb_error_type type, const struct json *doc)
{
    struct str name = json_str(json_get(doc, "exception_type"), STR(""));
    size_t i = 0;
    while (i < ARRAY_LEN(kinds) && (type == DUCKDB_ERROR_INVALID || kinds[i].type != type) &&
           !str_eq(str_from(kinds[i].name), name))
        i++;
    return i;
}

/* A file that cannot be opened just now: DuckDB tells the number of the system's error. */
static bool is_transient(const struct json *doc)
{
    uint64_t sys;
    return str_to_u64(json_str(json_get(doc, "errno"), STR("")), &sys) && sys == EAGAIN;
}

enum err_code reason_from_duckdb(struct err *e, duckdb_error_type type, const char *text)
{
    struct arena a;
    enum err_code code = ERR_INVALID;
    int detail = SEARCH_EXECUTE_ERROR;
    arena_init(&a, REASON_MEMORY_MAX);
    const struct json *doc = parse_document(text ? text : "", &a);
    struct str message = str_from(text ? text : "DuckDB gave no reason");
    size_t kind = find_kind(type, doc);
    if (kind < ARRAY_LEN(kinds)) {
        type = kinds[kind].type;
        code = kinds[kind].code;
        detail = (int)kinds[kind].detail;
    }
    if (doc) {
        message = json_str(json_get(doc, "exception_message"), message);
        detail = detail_of_document(doc, type, message, detail);
        if (code == ERR_IO && is_transient(doc))
            code = ERR_AGAIN;
    }
    reason_set(e, code, (enum search_code)detail, STR_FMT, STR_ARG(message));
    arena_done(&a);
    return code;
}
