/* gateway/engine/client.h - one query's conversation with the engine process (wire.h).
 *
 * Good for: parse, then run one tree, reading batches as they come.  Not for: two queries on one
 * client, or two threads on one client.
 * Life cycle: open -> ping | parse (any number of times) -> run -> next until ENGINE_END -> close.
 * After an error or ENGINE_END only close is left; closing earlier cancels the query in the engine.
 * What an event points to belongs to the client and is valid until the next call on it.
 * Deadlines are monotonic milliseconds (clock_mono_ms), 0 = none.  Never touches the mount.
 * Errors: GONE (the engine is away or died under the query), TIMEOUT, and what the engine says:
 * INVALID with the reference's code in e->detail (20001, 20002, 20004, 20005, 20007, 20008),
 * TIMEOUT 20010, CANCELLED 20009, NOMEM, TOOBIG (limit_rows, a row past WIRE_BODY_MAX), IO,
 * CORRUPT (the message begins with the path of the sealed file that cannot be read, and ": ").
 */
#ifndef WEIR_GATEWAY_ENGINE_CLIENT_H
#define WEIR_GATEWAY_ENGINE_CLIENT_H

#include "base/arena.h"
#include "base/json.h"
#include "gateway/engine/wire.h"

struct engine_client;

enum err_code engine_client_open(const char *socket_path, uint64_t deadline_ms,
                                 struct engine_client **out, struct err *e);
/* Is the engine of an idle connection still there?  It may go the moment after. */
bool engine_client_is_connected(const struct engine_client *c);
void engine_client_close(struct engine_client *c); /* NULL is fine; cancels what runs */

struct engine_pong {
    char version[32]; /* of libduckdb */
    int64_t pid;
};
enum err_code engine_client_ping(struct engine_client *c, uint64_t deadline_ms,
                                 struct engine_pong *out, struct err *e);

/* DuckDB's json_serialize_sql document of `sql`, in `a`; a syntax error is INVALID 20001 and says
 * where, as is what is too large for `a`, too deep, or a number beyond a double.  All statements of
 * the text are in the tree: that there is exactly one is the gate's check. */
enum err_code engine_client_parse(struct engine_client *c, struct str sql, uint64_t deadline_ms,
                                  struct arena *a, struct json **tree, struct err *e);

/* Send the RUN request of wire.h; its own "timeout_ms" is the query's deadline. */
enum err_code engine_client_run(struct engine_client *c, struct str request_json, struct err *e);

enum engine_event_kind {
    ENGINE_WAIT, /* nothing came within wait_ms: look whether the query is still wanted, ask again
                  */
    ENGINE_COLUMNS, /* once, before any batch */
    ENGINE_BATCH,
    ENGINE_END /* the result is complete */
};
struct engine_column {
    struct str name, type; /* type is DuckDB's, such as "BIGINT" */
};
struct engine_event {
    enum engine_event_kind kind;
    const struct engine_column *columns; /* ENGINE_COLUMNS */
    size_t column_count;
    struct wire_batch batch;           /* ENGINE_BATCH: checked, and as wide as the columns */
    uint64_t rows, took_us, waited_us; /* ENGINE_END */
    uint64_t scan_rows, scan_bytes;    /* ENGINE_END: lines and bytes read from the tables' files */
};
enum err_code engine_client_next(struct engine_client *c, uint32_t wait_ms, struct engine_event *ev,
                                 struct err *e);

/* Send the SEAL request of wire.h.  The answer is waited for by engine_client_sealed, which tells
 * within wait_ms whether it has come (*done); *part, the "part" object of SEALED as text, belongs
 * to the client.  Closing the client before cancels the seal. */
enum err_code engine_client_seal(struct engine_client *c, struct str request_json, struct err *e);
enum err_code engine_client_sealed(struct engine_client *c, uint32_t wait_ms, bool *done,
                                   struct str *part, struct err *e);

/* What a sealed file says of itself (FACTS), copied into `a`.  NOTFOUND: nothing. */
enum err_code engine_client_facts(struct engine_client *c, struct str path, uint64_t deadline_ms,
                                  struct arena *a, struct str *json, struct err *e);

#endif
