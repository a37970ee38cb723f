/* gateway/engine/reason.h - DuckDB's errors as ours, with the API's search codes in `detail`. */
#ifndef WEIR_GATEWAY_ENGINE_REASON_H
#define WEIR_GATEWAY_ENGINE_REASON_H

#include <duckdb.h>

#include "base/err.h"

/* The search codes of the API that the engine gives. */
enum search_code {
    SEARCH_SQL_NOT_VALID = 20001,
    SEARCH_STREAM_NOT_FOUND = 20002,
    SEARCH_FIELD_NOT_FOUND = 20004,
    SEARCH_FUNCTION_NOT_DEFINED = 20005,
    SEARCH_NO_COMPATIBLE_TYPE = 20007,
    SEARCH_EXECUTE_ERROR = 20008,
    SEARCH_CANCELLED = 20009,
    SEARCH_TIMEOUT = 20010
};

/* err_set with a search code. */
enum err_code reason_set(struct err *e, enum err_code code, enum search_code detail,
                         const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* `text` is DuckDB's message: JSON when errors_as_json is on, else plain. */
enum err_code reason_from_duckdb(struct err *e, duckdb_error_type type, const char *text);

#endif
