/* gateway/engine/seal_rows.h - the rows of a part in memory, in the order in which they are sealed.
 *
 *   load: every line is read once: checked against the columns, rendered in its text form for the
 *         sum and the sizes, and kept (logs: the line; metrics: name, labels, time and value)
 *   fill: hands the rows to DuckDB, chunk by chunk
 * Logs and traces are sorted by (_timestamp, place), metrics by (name, labels, _timestamp, place).
 * Memory: the lines and 32 bytes a row; metrics 32 bytes a row and each label set once.
 * Owner: one seal.  Errors: CORRUPT names file and line; TOOBIG; CANCELLED; IO; NOMEM.
 */
#ifndef WEIR_GATEWAY_ENGINE_SEAL_ROWS_H
#define WEIR_GATEWAY_ENGINE_SEAL_ROWS_H

#include <duckdb.h>
#include <stdatomic.h>

#include "gateway/engine/seal_request.h"

#define SEAL_GROUP_ROWS 131072u /* of a row group, at most; a multiple of DuckDB's chunk */
#define SEAL_GROUP_CELLS                                                                           \
    (SEAL_GROUP_ROWS * 64u) /* rows times columns: DuckDB keeps 16 bytes each */
#define SEAL_TEXT_MAX ((size_t)4 << 30)

struct seal_name { /* metrics: what there is of one name */
    const struct seal_source *source;
    uint64_t first_row, rows, text_bytes;
    int64_t min_ts_us, max_ts_us;
};
struct seal_facts {
    uint64_t rows, text_bytes, text_sum;
    int64_t min_ts_us, max_ts_us;
    uint64_t group_rows;   /* of each row group but the last */
    uint64_t *group_bytes; /* text of each row group */
    size_t group_count;
    struct seal_name *names; /* metrics, in order */
    size_t name_count;
    /* Columns of more words than this have no dictionary; UINT64_MAX: as DuckDB decides.  DuckDB's
     * dictionary takes -0.0 for 0.0 and one NaN for another, which would change values. */
    uint64_t dictionary_limit;
};
struct seal_column {
    struct run_column column; /* as the rows are filled */
    uint32_t number;
    const char *cast; /* SQL type it is stored as; NULL: as it is */
    bool is_rare;     /* it stands in RARE_COLUMN (rare.h) */
};

struct seal_rows;
enum err_code seal_rows_load(const struct seal_request *r, const char *mount_dir,
                             const atomic_bool *cancelled, struct seal_rows **out, struct err *e);
void seal_rows_free(struct seal_rows *s); /* NULL is fine */
/* They are written: facts, fields and columns stay, and nothing can be filled any more. */
void seal_rows_drop(struct seal_rows *s);
const struct seal_facts *seal_rows_facts(const struct seal_rows *s);
/* The fields of the part, in the stream's order. */
const struct seal_column *seal_rows_fields(const struct seal_rows *s, size_t *count);
/* The columns of the Parquet: the fields that are not rare, and last RARE_COLUMN, if any is. */
const struct seal_column *seal_rows_columns(const struct seal_rows *s, size_t *count);
/* Rows [first, first + up to one chunk) into `chunk`; sets its size. */
enum err_code seal_rows_fill(struct seal_rows *s, duckdb_data_chunk chunk, uint64_t first,
                             struct err *e);

#endif
