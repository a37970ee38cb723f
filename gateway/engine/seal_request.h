/* gateway/engine/seal_request.h - the SEAL and TEXT requests of wire.h, decoded.
 *
 * Everything stands in the arena that it was decoded into.  INVALID when it is not such a request.
 */
#ifndef WEIR_GATEWAY_ENGINE_SEAL_REQUEST_H
#define WEIR_GATEWAY_ENGINE_SEAL_REQUEST_H

#include "gateway/engine/request.h"

#define SEAL_SOURCES_MAX 100000

struct seal_source { /* a file of lines, and what the journal says of it */
    struct str path, id, name;
    uint64_t stream, rows, bytes;
    int64_t min_ts_us, max_ts_us;
};
struct seal_request {
    struct str part, org, type, name, node;
    uint64_t stream;
    int64_t hour;
    bool is_metrics;
    struct seal_source *sources;
    size_t source_count;
    struct run_column *columns; /* the stream's; none for metrics */
    uint32_t *numbers;          /* of those fields */
    size_t column_count;
    uint64_t timeout_ms; /* 0 = none */
};
enum err_code seal_request_decode(struct str body, struct arena *a, struct seal_request *out,
                                  struct err *e);

struct text_request { /* some rows of a Parquet file */
    struct str path;
    bool by_group;
    uint64_t group;           /* by_group */
    uint64_t first_row, rows; /* else */
    bool is_metrics;          /* else: the rows are one metric's */
};
enum err_code text_request_decode(struct str body, struct arena *a, struct text_request *out,
                                  struct err *e);

#endif
