/* gateway/engine/seal_rows_internal.h - what the two kinds of rows share.  For seal_*.c alone. */
#ifndef WEIR_GATEWAY_ENGINE_SEAL_ROWS_INTERNAL_H
#define WEIR_GATEWAY_ENGINE_SEAL_ROWS_INTERNAL_H

#include "gateway/engine/seal_rows.h"
#include "gateway/engine/text_form.h"

#define SEAL_LINE_MAX (64u << 20)

struct seal_rows {
    const struct seal_request *request;
    struct arena arena;
    struct seal_facts facts;
    struct seal_column *fields, *columns; /* as seal_rows_fields, seal_rows_columns */
    size_t field_count, column_count;
    struct text_form form; /* of the lines as they are read */
    struct text_writer writer;
    struct buf line, plain; /* scratch */
    const struct row_kind *kind;
    void *state;
};

struct row_kind {
    /* `bytes`: of all sources together. */
    enum err_code (*open)(struct seal_rows *s, uint64_t bytes, struct err *e);
    /* One line of source `source`; tells its time. */
    enum err_code (*add)(struct seal_rows *s, size_t source, struct str line, int64_t *ts_us,
                         struct err *e);
    enum err_code (*finish)(struct seal_rows *s, struct err *e); /* sorts, sets facts, columns */
    enum err_code (*fill)(struct seal_rows *s, duckdb_data_chunk chunk, uint64_t first,
                          struct err *e);
    void (*close)(struct seal_rows *s);
};
extern const struct row_kind seal_log_rows, seal_sample_rows;

/* The line in s->line is the row's text: counts it into the facts; its length with '\n'. */
uint32_t seal_count_text(struct seal_rows *s);
/* Make room for another element of an array that doubles; false: no memory. */
bool seal_grow(void **array, size_t count, size_t *cap, size_t elem_size);
/* Room for the groups, once the columns are known; the text of row i is added by seal_add_group. */
enum err_code seal_begin_groups(struct seal_rows *s, struct err *e);
static inline void seal_add_group(struct seal_rows *s, uint64_t row, uint32_t text_len)
{
    s->facts.group_bytes[row / s->facts.group_rows] += text_len;
}

#endif
