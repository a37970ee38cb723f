/* gateway/engine/parse.h - SQL text to DuckDB's tree and back.
 *
 * Errors: INVALID 20001 with the reason and the place in the text; TOOBIG past the buffers' maxima.
 */
#ifndef WEIR_GATEWAY_ENGINE_PARSE_H
#define WEIR_GATEWAY_ENGINE_PARSE_H

#include "gateway/engine/database.h"

/* The json_serialize_sql document of `sql`, appended to `tree`. */
enum err_code parse_sql(duckdb_connection con, struct str sql, struct buf *tree, struct err *e);
/* The SQL text of such a document, appended to `sql`. */
enum err_code parse_render(duckdb_connection con, struct str tree, struct buf *sql, struct err *e);

#endif
