/* gateway/engine/functions.c - the macros of functions.h, one row each. */
#include "gateway/engine/functions.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "gateway/engine/database.h"

static const struct {
    const char *head; /* name and parameters; several forms are separated as DuckDB wants it */
    const char *body;
} macros[] = {
    /* text */
    {"str_match(f, v)", "contains(CAST(f AS VARCHAR), v)"},
    {"match(f, v)", "contains(CAST(f AS VARCHAR), v)"},
    {"match_field(f, v)", "contains(CAST(f AS VARCHAR), v)"},
    {"str_match_ignore_case(f, v)", "contains(lower(CAST(f AS VARCHAR)), lower(v))"},
    {"match_ignore_case(f, v)", "contains(lower(CAST(f AS VARCHAR)), lower(v))"},
    {"match_field_ignore_case(f, v)", "contains(lower(CAST(f AS VARCHAR)), lower(v))"},
    {"re_match(f, re)", "regexp_matches(CAST(f AS VARCHAR), re)"},
    {"re_matches(f, re)", "regexp_matches(CAST(f AS VARCHAR), re)"},
    {"re_not_match(f, re)", "NOT regexp_matches(CAST(f AS VARCHAR), re)"},
};

enum err_code functions_register(duckdb_connection con, struct err *e)
{
    struct buf sql;
    enum err_code rc = scalar_functions_register(con, e);
    buf_init(&sql, 64u << 10);
    for (size_t i = 0; i < ARRAY_LEN(macros) && rc == ERR_OK; i++) {
        buf_clear(&sql);
        buf_printf(&sql, "CREATE MACRO %s AS %s", macros[i].head, macros[i].body);
        rc = database_do(con, sql.data, e);
        if (rc != ERR_OK)
            err_wrap(e, "macro %s", macros[i].head);
    }
    buf_done(&sql);
    return rc;
}
