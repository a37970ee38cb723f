/* gateway/engine/table_scan.h - the table function weir_lines(id): NDJSON files as a table.
 *
 * Only the columns that the query uses are read out of a line, and only lines in [start_us, end_us)
 * become rows.  The argument is the id of an open scan, random and known to its run alone, so no
 * SQL text can name a file.  Rows come in the order of files and lines when one thread scans.
 * A scan is opened by its run, and closed after the run's last statement is destroyed.
 * Errors while scanning stand in table_scan_error: IO (the mount refused), CORRUPT (a line that is
 * none, a text that is no UTF-8, or a value that does not fit the stream's type), TOOBIG (a line
 * past SCAN_LINE_MAX), CANCELLED.
 */
#ifndef WEIR_GATEWAY_ENGINE_TABLE_SCAN_H
#define WEIR_GATEWAY_ENGINE_TABLE_SCAN_H

#include <duckdb.h>
#include <stdatomic.h>

#include "gateway/engine/request.h"

#define SCAN_LINE_MAX (64u << 20)
#define SCANS_MAX 65536 /* open at once, all queries together */

struct scan_registry; /* one a database */
struct table_scan;

enum err_code scan_registry_new(duckdb_connection con, struct scan_registry **out, struct err *e);
void scan_registry_free(struct scan_registry *r); /* after the database; NULL is fine */

/* `dir` is where files must lie; `cancelled` is looked at while scanning.  Opens every file. */
enum err_code table_scan_open(struct scan_registry *r, const struct run_table *t, const char *dir,
                              const atomic_bool *cancelled, struct table_scan **out, struct err *e);
void table_scan_close(struct table_scan *s); /* NULL is fine */
uint64_t table_scan_id(const struct table_scan *s);
void table_scan_counts(const struct table_scan *s, uint64_t *rows,
                       uint64_t *bytes); /* adds to both */
/* The first error of the scan, ERR_OK when there is none; *e as by other functions. */
enum err_code table_scan_error(struct table_scan *s, struct err *e);

#endif
