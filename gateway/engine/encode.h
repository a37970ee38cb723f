/* gateway/engine/encode.h - DuckDB's chunks as BATCH messages.
 *
 * Life cycle: init with the result's columns -> encode ranges of rows -> done.
 * Memory: the encoder keeps its buffers between batches; together they are bounded by the maximum
 * of one message.  Thread safety: one owner.
 */
#ifndef WEIR_GATEWAY_ENGINE_ENCODE_H
#define WEIR_GATEWAY_ENGINE_ENCODE_H

#include "gateway/engine/values.h"
#include "gateway/engine/wire.h"

struct encode_column; /* buffers of one column */
struct encoder {
    struct arena arena; /* the types */
    struct arena chunk; /* of one chunk: views, validity */
    struct value_type *types;
    struct value_view *views;
    struct encode_column *columns;
    uint32_t column_count;
    struct buf body; /* the last message */
};

enum err_code encoder_init(struct encoder *n, duckdb_result *result, struct err *e);
void encoder_done(struct encoder *n); /* zeroed or initialised */
/* The SCHEMA message, in n->body. */
enum err_code encoder_schema(struct encoder *n, duckdb_result *result, struct err *e);
/* Look at another chunk; it must live while its rows are encoded. */
enum err_code encoder_chunk(struct encoder *n, duckdb_data_chunk chunk, struct err *e);
/* Rows [from, from + count) as a BATCH in n->body.  TOOBIG when they are longer than `max_bytes`.
 */
enum err_code encoder_rows(struct encoder *n, idx_t from, idx_t count, size_t max_bytes,
                           struct err *e);

#endif
