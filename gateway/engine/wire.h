/* gateway/engine/wire.h - what gateway and engine say to each other over <data>/run/engine.sock.
 *
 * base/ipc.h frames; one connection a query; closing it cancels the query.
 *   PARSE  body: SQL text            -> TREE  body: DuckDB's json_serialize_sql document
 *   RUN    body: JSON (below)        -> SCHEMA {"columns":[{"name":"…","type":"BIGINT"},…]}
 *                                       then BATCH …, then END {"rows":n,"took_us":t,
 *                                       "waited_us":for a slot,
 *                                       "scan_rows":lines read,"scan_bytes":bytes read}
 *                                       (of NDJSON; DuckDB does not tell what it read of Parquet)
 *   SEAL   body: JSON (below)        -> SEALED body: JSON (below)
 *   TEXT   body: JSON (below)        -> TEXT_DATA … (at most TEXT_DATA_MAX bytes each), then END
 *   FACTS  body: a path              -> FACTS_ARE body: what the file says of itself, the "part"
 *                                       of PUBLISH without stored_bytes and sha256
 *   PING                             -> PONG {"version":"v1.5.x","pid":n}
 *   any                              -> ERROR {"code":"INVALID","detail":20001,"message":"…"}
 *                                       A RUN that met a sealed file that is missing or cannot be
 *                                       read: CORRUPT, and the message begins with the file's path
 *                                       and ": "
 * A connection may carry PARSE first and then RUN.
 *
 * RUN: {"tree": <document>, "explain": "" | "EXPLAIN" | "EXPLAIN ANALYZE",
 *       "tables":[{"name":"weir_t0",
 *                  "columns":[{"name":"level","type":"Utf8"},…],   the stream's fields that the
 *                          tree may mean, in order;
 *                          types are Boolean, Int64, UInt64 (read as 128 bits), Float64, Utf8;
 *                          "as": what the tree calls it, when that is not its name
 *                  "files":[{"path":"<mount>/.weir/at/<id>@<bytes>.ndjson","format":"ndjson"},…],
 *                  "start_us":a, "end_us":b}],                     rows in [a, b); 0 = no bound
 *       "macros":[…reserved…],
 *       "limit_rows": n,          more rows are an error, 0 = none
 *       "memory_bytes": m,        reserved: one limit holds for all queries of an engine together
 *       "timeout_ms": t,          from the arrival of the request, waiting for a slot included
 *       "wait_ms": t}             for a slot: AGAIN past it, 0 = as long as timeout_ms
 * The engine makes one temporary view a table and runs the tree over them.
 *
 * Files are listed oldest first, which makes the latest rows fast.  One of format "parquet" has
 * "schema": index into the table's "schemas", which lists the columns that the file really has:
 * [[["level","Utf8"],["took","Int64"],["user","Utf8","rare"]],…]; they are cast to the table's.
 * A rare one has no column of its own (rare.h).
 * A metrics file also has "name": only the rows of that name are read, labels become columns.
 *
 * SEAL: {"part":"ULID","org":"…","type":"logs","name":"…","stream":n,"hour":h,"node":"…",
 *        "sources":[{"path":"…/.weir/at/<id>@<bytes>.ndjson","id":"ULID","stream":n,"name":"…",
 *                    "rows":R,"bytes":B,"min_ts":t,"max_ts":t}],  as fs counts them
 *        "columns":[["level","Utf8",number],…]}             the stream's; not for metrics
 *   Writes <staging>/<part>.parquet and .sum, synced; reads the Parquet back and compares rows,
 *   min, max and the sum of the text with the sources'.  Any difference is CORRUPT, and nothing
 *   stays in staging.  SEALED: the "part" object of PUBLISH in fs/control/control.h.
 *   {"timeout_ms"} as in RUN.
 * TEXT: {"path":"<mount>/…/<id>.parquet","group":g}         the text of one row group, or
 *       {"path":"…","first_row":a,"rows":n}                 of some rows; with "metrics":true they
 *   are one name's of a metrics part, and what the part says of its other names is not read
 *
 * BATCH, little-endian, the Arrow layout of each column with a header in place of Flatbuffers:
 *   u32 rows, u32 columns, then per column, each piece padded to 8 bytes:
 *     u32 kind (enum wire_kind), u32 nulls (0 none, 1 some, 2 all), u64 data_len,
 *     when all are null nothing more, and data_len is 0; else
 *     validity bitmap (some: (rows+7)/8 bytes, bit 1 = present, LSB first),
 *     WIRE_STR, WIRE_RAW: u32 offsets[rows+1], then data_len bytes;
 *     WIRE_BOOL: rows bytes;  WIRE_I64, WIRE_U64, WIRE_F64: 8 * rows bytes.
 * WIRE_RAW holds JSON text to be copied into the reply: nested values, integers past 64 bits and
 * decimals.  Times become WIRE_STR as `2023-01-15T14:00:00[.ffffff]` without a zone.
 * The kind of a column may change from batch to batch (128-bit integers that fit are WIRE_I64).
 * The data of a null is zero, or empty.  A batch has at most WIRE_ROWS_MAX rows.
 */
#ifndef WEIR_GATEWAY_ENGINE_WIRE_H
#define WEIR_GATEWAY_ENGINE_WIRE_H

#include "base/bytes.h"
#include "base/err.h"

enum wire_message {
    WIRE_PARSE = 1,
    WIRE_RUN,
    WIRE_PING,
    WIRE_SEAL,
    WIRE_TEXT,
    WIRE_FACTS,
    WIRE_TREE = 50,
    WIRE_SCHEMA,
    WIRE_BATCH,
    WIRE_END,
    WIRE_PONG,
    WIRE_SEALED,
    WIRE_TEXT_DATA,
    WIRE_FACTS_ARE,
    WIRE_ERROR = 99
};
#define WIRE_BODY_MAX (64u << 20)
#define WIRE_ROWS_MAX 65536u
#define TEXT_DATA_MAX (1u << 20)

enum wire_kind { WIRE_BOOL = 1, WIRE_I64, WIRE_U64, WIRE_F64, WIRE_STR, WIRE_RAW };

struct wire_column {
    enum wire_kind kind;
    const uint8_t *validity; /* NULL: no nulls */
    const void *data;        /* array of the kind; for STR and RAW the bytes */
    const uint32_t *offsets; /* STR, RAW */
    bool all_null;           /* to encode: the other members are not looked at, but for kind;
                                decoded: a column of kind BOOL whose values are null */
};
struct wire_batch {
    uint32_t rows, columns;
    struct wire_column *column; /* in memory of the caller's arena */
};

struct arena;
/* Views into `body` (8-byte aligned), fully checked: no offset leaves the message. */
enum err_code wire_batch_decode(struct str body, struct arena *a, struct wire_batch *out,
                                struct err *e);
/* Append the BATCH body of `b`.  Each message starts in an empty buffer, so that pieces stay
 * aligned.  TOOBIG when it does not fit out->max. */
enum err_code wire_batch_encode(const struct wire_batch *b, struct buf *out, struct err *e);
static inline bool wire_is_null(const struct wire_column *c, uint32_t row)
{
    return c->validity && !(c->validity[row >> 3] >> (row & 7) & 1);
}
static inline struct str wire_text(const struct wire_column *c, uint32_t row)
{
    return (struct str){(const char *)c->data + c->offsets[row],
                        c->offsets[row + 1] - c->offsets[row]};
}

#endif
