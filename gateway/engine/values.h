/* gateway/engine/values.h - DuckDB's values as text or JSON.
 *
 * A value_type is a column's type, decoded once a query; a value_view is one chunk's vector of it,
 * with the views of its children.  Both live in the arena they were made in.
 * Text: times as `2023-01-15T14:00:00[.ffffff]`, dates `2023-01-15`, blobs as hex, UUIDs, intervals
 * `1 year 2 days 03:04:05`.  JSON: numbers and booleans plain, text quoted, lists as arrays,
 * structs and maps as objects (a map's key as its text), unions as their value, NaN and infinities
 * null.
 */
#ifndef WEIR_GATEWAY_ENGINE_VALUES_H
#define WEIR_GATEWAY_ENGINE_VALUES_H

#include <duckdb.h>

#include "base/arena.h"
#include "base/err.h"

#define VALUE_DEPTH_MAX 64 /* nesting of a type */

struct value_type {
    duckdb_type id;
    duckdb_type storage; /* DECIMAL, ENUM: how the number is stored */
    uint8_t scale;       /* DECIMAL */
    size_t array_len;    /* ARRAY */
    struct str *words;   /* ENUM: the dictionary */
    size_t word_count;
    struct value_type *children; /* LIST, ARRAY: 1; MAP: key, value; STRUCT, UNION: members */
    struct str *names;           /* STRUCT: of the members */
    size_t child_count;
};

struct value_view {
    const struct value_type *type;
    const void *data;
    const uint64_t *validity;    /* NULL: no nulls */
    struct value_view *children; /* as the type's; UNION: the tag, then the members */
    size_t child_count;
};

/* INVALID 20007 for a type that has no JSON form (BIT, BIGNUM, GEOMETRY, ...): cast it to VARCHAR.
 */
enum err_code value_type_decode(duckdb_logical_type type, struct arena *a, struct value_type *out,
                                struct err *e);
/* The type's name as SQL writes it, such as "BIGINT" or "VARCHAR[]". */
void value_type_name(struct buf *out, const struct value_type *t);
enum err_code value_view_make(duckdb_vector v, const struct value_type *t, struct arena *a,
                              struct value_view *out, struct err *e);

bool value_is_null(const struct value_view *v, idx_t row);
void value_write_text(struct buf *out, const struct value_view *v, idx_t row); /* not null */
void value_write_json(struct buf *out, const struct value_view *v, idx_t row); /* null: null */
struct str value_string(const struct value_view *v, idx_t row); /* VARCHAR, BLOB: its bytes */
/* 128-bit value as 64 bits; false when it does not fit. */
bool value_int128_fits(const struct value_view *v, idx_t row, int64_t *out);
double value_f64(const struct value_view *v, idx_t row); /* FLOAT, DOUBLE */

#endif
