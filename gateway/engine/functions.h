/* gateway/engine/functions.h - the SQL functions of the API that DuckDB lacks.
 *
 * Registered once, before the database is locked.  Scalar functions are in C where speed or typing
 * asks for it, the others are macros; all give NULL for NULL.
 */
#ifndef WEIR_GATEWAY_ENGINE_FUNCTIONS_H
#define WEIR_GATEWAY_ENGINE_FUNCTIONS_H

#include <duckdb.h>

#include "base/err.h"

enum err_code functions_register(duckdb_connection con, struct err *e);
/* The C scalar functions alone; functions_register calls it. */
enum err_code scalar_functions_register(duckdb_connection con, struct err *e);

#endif
