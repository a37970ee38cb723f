/* gateway/query_parse.c - SQL text to a tree, in DuckDB's dialect or the reference's. */
#include "base/utf8.h"
#include "gateway/dialect.h"
#include "gateway/engine/client.h"
#include "gateway/query_service.h"

/* A connection is of no further use after an error. */
static enum err_code reconnect(const char *socket, uint64_t deadline_ms,
                               struct engine_client **engine, struct err *e)
{
    engine_client_close(*engine);
    *engine = NULL;
    return engine_client_open(socket, deadline_ms, engine, e);
}

/* What DuckDB refuses is tried once more in its own words; when these are no better, the error is
 * the first one, which speaks of the caller's text. */
enum err_code query_parse(const char *socket, struct engine_client **engine, struct str *sql,
                          uint64_t deadline_ms, struct arena *a, struct json **tree, struct err *e)
{
    struct str translated;
    struct err again;
    size_t good = utf8_valid_prefix(*sql);
    if (good < sql->len)
        return search_error(e, API_SQL_NOT_VALID,
                            "Search SQL not valid: invalid UTF-8 at byte %zu of the SQL", good);
    enum err_code rc = engine_client_parse(*engine, *sql, deadline_ms, a, tree, e);
    if (rc != ERR_INVALID || !dialect_translate(*sql, a, &translated))
        return rc;
    rc = reconnect(socket, deadline_ms, engine, e);
    if (rc != ERR_OK)
        return rc;
    rc = engine_client_parse(*engine, translated, deadline_ms, a, tree, &again);
    if (rc == ERR_OK)
        *sql = translated;
    else if (rc != ERR_INVALID)
        *e = again;
    return rc;
}
