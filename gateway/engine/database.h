/* gateway/engine/database.h - the engine's one in-memory database, behind the second wall.
 *
 * The wall: no file but below the mount and the staging folder, no network, no extension, no
 * setting changed after opening.  The gate of the gateway is the first wall and does not rely on
 * this one. Connections are made per query; their temporary views vanish with them. Thread safety:
 * any thread.
 */
#ifndef WEIR_GATEWAY_ENGINE_DATABASE_H
#define WEIR_GATEWAY_ENGINE_DATABASE_H

#include <duckdb.h>

#include "gateway/engine/engine.h"
#include "gateway/engine/reason.h"
#include "gateway/engine/table_scan.h"
#include "gateway/engine/turns.h"

struct seal_registry;
struct database {
    duckdb_database db;
    struct scan_registry *scans;
    struct seal_registry *seals;
    struct turns writing; /* of seals: their rows stand in memory */
    const struct engine_config *config;
};

/* Refuses a libduckdb other than the pinned version. */
enum err_code database_open(struct database *d, const struct engine_config *cfg, struct err *e);
void database_close(struct database *d); /* zeroed or opened */
enum err_code database_connect(struct database *d, duckdb_connection *out, struct err *e);

/* Run SQL of our own whose rows are of no interest. */
enum err_code database_do(duckdb_connection con, const char *sql, struct err *e);
/* The same for a long statement: while other threads work on it this one sleeps, where DuckDB's own
 * wait would keep a core busy. */
enum err_code database_do_long(duckdb_connection con, const char *sql, struct err *e);
/* One text from one text: `sql` has one parameter and gives one row of one VARCHAR.  NULL gives
 * NOTFOUND. */
enum err_code database_ask(duckdb_connection con, const char *sql, struct str parameter,
                           struct buf *answer, struct err *e);

static inline void cleanup_result(duckdb_result *r)
{
    duckdb_destroy_result(r);
}
static inline void cleanup_prepared(duckdb_prepared_statement *p)
{
    duckdb_destroy_prepare(p);
}
static inline void cleanup_connection(duckdb_connection *c)
{
    duckdb_disconnect(c);
}
static inline void cleanup_chunk(duckdb_data_chunk *c)
{
    duckdb_destroy_data_chunk(c);
}
#define AUTO_RESULT __attribute__((cleanup(cleanup_result)))
#define AUTO_PREPARED __attribute__((cleanup(cleanup_prepared)))
#define AUTO_CONNECTION __attribute__((cleanup(cleanup_connection)))
#define AUTO_CHUNK __attribute__((cleanup(cleanup_chunk)))

#endif
