/* gateway/engine/parse.c - calls DuckDB's parser; the text is always a parameter, never pasted. */
#include "gateway/engine/parse.h"

#include "base/json.h"

#define FAILURE_MEMORY_MAX (1u << 20)

/* {"error":true,"error_type":"parser","error_message":"…","error_subtype":"…","position":"18"} */
static enum err_code parse_failure(struct str answer, struct err *e)
{
    struct arena a;
    struct json *doc = NULL;
    arena_init(&a, FAILURE_MEMORY_MAX);
    struct err ignored;
    if (json_parse(answer, &a, &doc, &ignored) != ERR_OK) {
        arena_done(&a);
        return reason_set(e, ERR_INVALID, SEARCH_SQL_NOT_VALID, "SQL not valid");
    }
    struct str message = json_str(json_get(doc, "error_message"), STR("SQL not valid"));
    struct str position = json_str(json_get(doc, "position"), STR(""));
    reason_set(e, ERR_INVALID, SEARCH_SQL_NOT_VALID, STR_FMT "%s" STR_FMT, STR_ARG(message),
               position.len > 0 ? " at byte " : "", STR_ARG(position));
    arena_done(&a);
    return ERR_INVALID;
}

enum err_code parse_sql(duckdb_connection con, struct str sql, struct buf *tree, struct err *e)
{
    size_t start = tree->len;
    if (sql.len == 0)
        return reason_set(e, ERR_INVALID, SEARCH_SQL_NOT_VALID, "SQL is empty");
    if (memchr(sql.ptr, '\0', sql.len)) /* the parser would stop there */
        return reason_set(e, ERR_INVALID, SEARCH_SQL_NOT_VALID, "SQL contains a NUL byte");
    enum err_code rc = database_ask(con, "SELECT json_serialize_sql(?::VARCHAR)", sql, tree, e);
    if (rc != ERR_OK)
        return rc;
    struct str answer = {tree->data + start, tree->len - start};
    if (!str_starts(answer, STR("{\"error\":false")))
        return parse_failure(answer, e);
    return ERR_OK;
}

enum err_code parse_render(duckdb_connection con, struct str tree, struct buf *sql, struct err *e)
{
    return database_ask(con, "SELECT json_deserialize_sql(?::JSON)", tree, sql, e);
}
