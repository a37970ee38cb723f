/* gateway/engine/table_scan_state.h - what table_scan.c keeps and lines_table.c reads.  For these
 * two alone. */
#ifndef WEIR_GATEWAY_ENGINE_TABLE_SCAN_STATE_H
#define WEIR_GATEWAY_ENGINE_TABLE_SCAN_STATE_H

#include <pthread.h>

#include "base/hash.h"
#include "gateway/engine/table_scan.h"
#include "gateway/engine/unit_reader.h"

struct scan_registry {
    pthread_mutex_t lock;
    struct map scans; /* guarded by lock: id -> struct table_scan */
    size_t open_max;  /* immutable: files of lines of all scans that stay open; the others are
                       * opened when they are read */
    _Atomic size_t open_count;
};

struct table_scan {
    struct scan_registry *registry;
    uint64_t id;
    const struct run_table *table; /* of the run's arena */
    const atomic_bool *cancelled;
    struct unit_file *files; /* immutable once open */
    size_t file_count;
    uint64_t total_bytes;
    _Atomic uint64_t rows, bytes; /* read so far */
    pthread_mutex_t error_lock;
    struct err error; /* guarded by error_lock */
};

struct table_scan *table_scan_find(struct scan_registry *r, uint64_t id); /* NULL: none is open */
void table_scan_fail(struct table_scan *s, const struct err *e); /* the first error stays */

/* Make weir_lines known to the database. */
enum err_code lines_table_register(duckdb_connection con, struct scan_registry *r, struct err *e);

#endif
