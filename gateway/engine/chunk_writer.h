/* gateway/engine/chunk_writer.h - values of lines written into the columns of one DuckDB chunk.
 *
 * Life cycle: begin (every value of the chunk is null) -> put the present values of a row ->
 * next_row. The chunk stays DuckDB's.  Thread safety: one owner.
 */
#ifndef WEIR_GATEWAY_ENGINE_CHUNK_WRITER_H
#define WEIR_GATEWAY_ENGINE_CHUNK_WRITER_H

#include <duckdb.h>

#include "gateway/engine/lines.h"
#include "gateway/engine/request.h"

struct chunk_writer {
    void **data; /* of each column */
    uint64_t **validity;
    duckdb_vector *vector;
    idx_t rows;
    size_t text_bytes; /* of the texts that do not fit their slot */
    struct buf *plain; /* decoded escapes of one value; the caller's, kept between chunks */
    bool text_stays;   /* set by the caller: the lines outlive the chunk, so that their texts need
                          not be copied */
};

/* NOMEM.  `plain` bounds the longest text with escapes. */
enum err_code chunk_writer_begin(struct chunk_writer *w, duckdb_data_chunk chunk, size_t columns,
                                 struct buf *plain, struct err *e);
void chunk_writer_done(struct chunk_writer *w);
/* A null changes nothing.  CORRUPT when the value does not fit the type. */
enum err_code chunk_writer_put(struct chunk_writer *w, uint32_t column, enum column_type type,
                               const struct line_value *v, struct err *e);
/* A text that does not stay.  CORRUPT when it is no UTF-8. */
enum err_code chunk_writer_put_text(struct chunk_writer *w, uint32_t column, struct str text,
                                    struct err *e);
static inline void chunk_writer_next_row(struct chunk_writer *w)
{
    w->rows++;
}

#endif
