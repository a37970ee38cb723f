/* gateway/engine/part_reader.h - a sealed Parquet file read back, row after row, as text.
 *
 * Owner: one thread, with a connection of its own.  Errors: what DuckDB says of the file (IO,
 * CORRUPT), CANCELLED and TIMEOUT by the caller's watch, NOMEM, TOOBIG.
 */
#ifndef WEIR_GATEWAY_ENGINE_PART_READER_H
#define WEIR_GATEWAY_ENGINE_PART_READER_H

#include "gateway/engine/database.h"
#include "gateway/engine/text_form.h"

struct part_range {
    uint64_t first_row, rows;
};
/* What is to be known of a part beside its columns. */
struct part_shape {
    bool is_metrics, has_rare;
    const struct str *fields; /* with rare fields (rare.h): all of its fields, in their order */
    size_t field_count;
};
#define PART_ALL_ROWS ((struct part_range){0, UINT64_MAX})

/* Rows in the order of the file: their text, a chunk at a time.  False ends the reading. */
struct part_rows {
    struct str text;          /* whole lines */
    const uint32_t *line_len; /* of each, with its newline */
    const int64_t *ts_us;     /* `_timestamp` of each */
    size_t count;
};
typedef bool (*part_visit_rows)(const struct part_rows *rows, void *ctx);
enum err_code part_read_text(duckdb_connection con, struct str path, const struct part_shape *shape,
                             struct part_range range, part_visit_rows fn, void *ctx, struct err *e);

/* The value of "weir" in the file's metadata; NOTFOUND when it has none. */
enum err_code part_read_facts(duckdb_connection con, struct str path, struct buf *json,
                              struct err *e);
/* Rows of each row group, in `a`. */
enum err_code part_read_groups(duckdb_connection con, struct str path, struct arena *a,
                               uint64_t **rows, size_t *count, struct err *e);

#endif
