/* gateway/engine/tables.h - the tables of a RUN request as views.
 *
 * A view is the union of its lines (weir_lines) and, for each schema that its sealed files have,
 * one branch over those files: every column cast to the table's type, a column that they lack is
 * NULL, and rows outside of the range are left out.  Nothing is read yet.
 */
#ifndef WEIR_GATEWAY_ENGINE_TABLES_H
#define WEIR_GATEWAY_ENGINE_TABLES_H

#include "gateway/engine/database.h"

/* `s` gives the lines; TOOBIG, INVALID, or what DuckDB says of a file. */
enum err_code tables_make_view(duckdb_connection con, const struct run_table *t,
                               const struct table_scan *s, struct buf *sql, struct err *e);
/* A query over `t` failed as *e says: was it a sealed file that cannot be read?  If it was, *e
 * becomes CORRUPT, its text begins with the file's path, and the answer is true.  DuckDB does not
 * always name the file, so that each may be read to find it. */
bool tables_blame_file(duckdb_connection con, const struct run_table *t, struct err *e);

#endif
