/* gateway/engine/request.h - the RUN request of wire.h, decoded.
 *
 * Everything stands in the arena that it was decoded into.  Immutable afterwards.
 */
#ifndef WEIR_GATEWAY_ENGINE_REQUEST_H
#define WEIR_GATEWAY_ENGINE_REQUEST_H

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"

enum column_type { COLUMN_BOOL, COLUMN_INT64, COLUMN_UINT64, COLUMN_FLOAT64, COLUMN_UTF8 };

struct run_column {
    struct str name;
    enum column_type type;
    bool is_rare; /* of a run_schema: it stands in RARE_COLUMN (rare.h) */
};
struct run_schema { /* what sealed files have */
    struct run_column *columns;
    size_t column_count;
};
struct run_parquet {
    struct str path;
    size_t schema;     /* index into the table's */
    struct str metric; /* only its rows are meant; empty: all */
};
struct run_table {
    struct str name;
    struct run_column *columns;
    struct str *as; /* what SQL calls each of them */
    size_t column_count;
    struct str *lines; /* paths of NDJSON files */
    size_t line_count;
    struct run_parquet *parquet;
    size_t parquet_count;
    struct run_schema *schemas;
    size_t schema_count;
    int64_t start_us, end_us; /* 0 = no bound */
};
enum run_explain { EXPLAIN_NONE, EXPLAIN_PLAN, EXPLAIN_ANALYZE };
struct run_request {
    struct json *tree;
    enum run_explain explain;
    struct run_table *tables;
    size_t table_count;
    uint64_t limit_rows; /* 0 = none */
    uint64_t timeout_ms; /* 0 = none */
    uint64_t wait_ms;    /* for a slot; 0 = as long as timeout_ms */
};

#define RUN_TABLES_MAX 64
#define RUN_FILES_MAX 100000 /* of one table */

/* INVALID when it is not such a request. */
enum err_code run_request_decode(struct str body, struct arena *a, struct run_request *out,
                                 struct err *e);
const char *column_type_sql(enum column_type t);  /* DuckDB's name of the type */
const char *column_type_name(enum column_type t); /* the schema's: "Utf8", ... */
bool column_type_parse(struct str s, enum column_type *out);

#endif
