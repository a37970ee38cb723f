/* gateway/engine/check.h - what a statement reads, looked at once more before it runs.
 *
 * The gateway's gate decides what SQL may do; this is its second reader, which trusts neither the
 * gate nor DuckDB's way back from a tree to text.  It parses the very text that is about to run and
 * lets it read nothing but the views of its own request, its own CTEs and table functions that only
 * unfold their arguments.
 */
#ifndef WEIR_GATEWAY_ENGINE_CHECK_H
#define WEIR_GATEWAY_ENGINE_CHECK_H

#include "gateway/engine/parse.h"
#include "gateway/engine/request.h"

/* `sql` is one SELECT without EXPLAIN.  Tables are named weir_t<n>, as in the request; CTEs
 * weir_c<n>.  INVALID with 20002 for another table, 20005 for another table function, 20001 for
 * any other thing in FROM; TOOBIG past the buffers' maxima. */
enum err_code check_sql(duckdb_connection con, struct str sql, const struct run_request *request,
                        struct err *e);

#endif
