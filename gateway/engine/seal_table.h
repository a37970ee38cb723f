/* gateway/engine/seal_table.h - the table function weir_seal(id): rows in memory as a table.
 *
 * The argument is the id of rows that are being sealed, random and known to their seal alone.  The
 * rows come in their order, by one thread.  An error while filling stands in seal_table_error.
 */
#ifndef WEIR_GATEWAY_ENGINE_SEAL_TABLE_H
#define WEIR_GATEWAY_ENGINE_SEAL_TABLE_H

#include "gateway/engine/seal_rows.h"

#define SEALS_MAX 64 /* open at once */

struct seal_registry; /* one a database */
struct seal_table;

enum err_code seal_registry_new(duckdb_connection con, struct seal_registry **out, struct err *e);
void seal_registry_free(struct seal_registry *r); /* after the database; NULL is fine */
/* `rows` and `cancelled` must outlive the table. */
enum err_code seal_table_open(struct seal_registry *r, struct seal_rows *rows,
                              const atomic_bool *cancelled, struct seal_table **out, struct err *e);
void seal_table_close(struct seal_table *t); /* NULL is fine */
uint64_t seal_table_id(const struct seal_table *t);
enum err_code seal_table_error(const struct seal_table *t, struct err *e);

#endif
