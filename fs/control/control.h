/* fs/control/control.h - how the gateway asks the fs process, over <data>/run/fs.sock.
 *
 * Messages are base/ipc.h frames whose bodies are JSON; each request gets one reply with its tag.
 * Requests (kind: body -> reply):
 *   HELLO    {"epoch":E or 0, "pid":P}        -> {"epoch":E, "commit_files":N, "version":"…"}
 *            with an epoch also "snapshots":[[id,[["ULID",bytes],…]],…]: those that live, with
 * their active files; nothing that one of them may need goes before a fs process that follows
 *            another has heard them all, or an epoch has begun.  A connection beside says nothing
 *            of them
 *   SNAPSHOT {"streams":[n,…], "start_us":a, "end_us":b}
 *            -> {"snapshot":id, "files":[{"stream":n,"id":"ULID","hour":h,"bytes":B,"rows":R,
 *                "min_ts":t,"max_ts":t,"state":"active"}, …]}     an end_us of 0 = no bound
 *            a sealed part has "state":"sealed", "path" below the mount, "bytes" of Parquet,
 *            "text_bytes", "schema":"hex", for metrics "name" (rows, min_ts, max_ts, text_bytes are
 *            that name's), and stands once for each stream asked for; the reply then has
 *            "schemas":{"hex":[["field","Int64"],["other","Utf8","rare"],…],…}; rare: it
 *            has no column, but stands in the one of rare fields (gateway/engine/rare.h)
 *   RELEASE  {"snapshot":id}                  -> {}
 *   STATS    {}                               -> what .weir/stats.json shows
 *   ROLL     {"stream":n,"hour":h}            -> {}
 *   ROLL     {"files":["ULID",…]}             -> {"files":[a file as of SEALABLE,…]}: those that
 *                                                are not replaced, closed now or before; one sync
 *                                                for all; at most CONTROL_ROLL_FILES_MAX
 *   SEALABLE {"bytes":B, "before_us":t, "limit":n, "after":"ULID"}
 *            -> {"files":[{"stream":n,"id":"ULID","org":"…","name":"…","type":"logs","hour":h,
 *                "bytes":B,"rows":R,"min_ts":t,"max_ts":t,"first_append":t,"open":true},…],
 *                "more":false}
 *            files not yet replaced of at least B bytes, or begun at or before t (or in the
 *            future: the clock was set back since), or closed; the oldest first, of those above
 *            "after" (may be missing); at most CONTROL_SEALABLE_PAGE of them, whatever the limit
 *   PUBLISH  {"part":{"id","org","type","name","stream","hour","min_ts","max_ts","rows",
 *                     "text_bytes","text_version","text_sum":"hex16","stored_bytes",
 *                     "sha256":"hex64","groups":[[rows,text_bytes],…],
 *                     "columns":[["field","Int64",number],…],    a rare one: …,number,"rare"]
 *                     "names":[{"stream","name","first_row","rows","min_ts","max_ts",
 *                               "text_bytes"},…]},
 *             "files":["ULID",…]}             -> {}
 *            takes <data>/staging/<id>.parquet and its .sum; the same again is OK; CORRUPT when
 *            what is staged is not what the request says, or rows and files disagree
 *   DISCARD  {"part":"ULID"}                 -> {}
 *            its seal failed: what is staged of it is removed, unless it is being published; a
 *            HELLO that begins an epoch does so for all parts
 *   REPORT   {"source":"…","message":"…"}     -> {}      (a line for .weir/last_errors)
 *   HEALTH   {…}                              -> {}      (gateway's own part of .weir/health.json)
 *   DROP     {"stream":n,"org":"…","type":"…","name":"…"} -> {}
 *            the stream is deleted in `meta`: see sealed_drop_stream; again: OK.  A HELLO that
 *            begins an epoch does so for all that have a mark of deletion
 *   FIGURES  {"org":"…","streams":[n,…]} in order
 *            -> {"streams":[[n,files,rows,text_bytes,sealed_bytes,min_ts,max_ts],…]}: of those of
 *            that organisation that have rows (fs/figures.h)
 *   DOOR     {}                               -> {}
 *            from now on the fs process asks on this connection (fs/door/wire.h)
 * An error reply has kind CONTROL_ERROR and {"code":"NAME","message":"…"}.
 * Snapshots belong to the connection's epoch and are dropped when it ends for good.
 */
#ifndef WEIR_FS_CONTROL_CONTROL_H
#define WEIR_FS_CONTROL_CONTROL_H

#include "base/arena.h"
#include "base/json.h"
#include "base/ulid.h"
#include "fs/figures.h"
#include "index/meta.h"

enum control_kind {
    CONTROL_HELLO = 1,
    CONTROL_SNAPSHOT,
    CONTROL_RELEASE,
    CONTROL_STATS,
    CONTROL_ROLL,
    CONTROL_REPORT,
    CONTROL_HEALTH,
    CONTROL_SEALABLE,
    CONTROL_PUBLISH,
    CONTROL_DISCARD,
    CONTROL_DROP,
    CONTROL_DOOR,
    CONTROL_FIGURES,
    CONTROL_REPLY = 100,
    CONTROL_ERROR = 101
};

/* The client: one connection, reconnects by itself (again HELLO with its epoch) for as long as the
 * deadline of a call allows.  Any thread may call; calls are serialised. */
struct control_client;
enum err_code control_open(const char *socket_path, uint64_t deadline_ms,
                           struct control_client **out, struct err *e);
void control_close(struct control_client *c);
uint64_t control_epoch(struct control_client *c);
unsigned control_commit_files(struct control_client *c);

/* A second connection of the gateway that `beside` belongs to: the same epoch, so that a call that
 * waits for the disk (ROLL, PUBLISH) does not hold up the snapshots of queries. */
enum err_code control_open_beside(struct control_client *beside, uint64_t deadline_ms,
                                  struct control_client **out, struct err *e);

struct snapshot_file {
    uint64_t stream;
    struct ulid id;
    int32_t hour;
    uint64_t bytes, rows;
    int64_t min_ts_us, max_ts_us;
    bool is_sealed;  /* the members below are of sealed parts only */
    struct str path; /* below the mount */
    struct str name; /* metrics: whose rows are meant */
    uint64_t text_bytes;
    uint32_t schema; /* index into snapshot.schemas */
};
struct snapshot_schema {
    struct str hash;
    const struct json *columns; /* [["field","Int64"],…] */
};
struct snapshot {
    uint64_t id;
    struct snapshot_file *files; /* in the arena */
    size_t file_count;
    struct snapshot_schema *schemas;
    size_t schema_count;
};
enum err_code control_snapshot(struct control_client *c, const uint64_t *streams, size_t count,
                               int64_t start_us, int64_t end_us, uint64_t deadline_ms,
                               struct arena *a, struct snapshot *out, struct err *e);
void control_release(struct control_client *c, uint64_t snapshot_id);
/* figures_take, there: one request, and no snapshot. */
enum err_code control_figures(struct control_client *c, struct str org, struct figures *list,
                              size_t count, uint64_t deadline_ms, struct err *e);
enum err_code control_call(struct control_client *c, enum control_kind kind, struct str body,
                           uint64_t deadline_ms, struct arena *a, struct json **reply,
                           struct err *e);

/* ---- sealing ---- */

struct sealable {
    uint64_t stream;
    struct ulid id;
    struct str org, name;
    enum stream_type type;
    int32_t hour;
    uint64_t bytes, rows;
    int64_t min_ts_us, max_ts_us, first_append_us;
    bool open;
};
/* Files not yet replaced of at least min_bytes, or begun at or before before_us (or in the future,
 * as the clock had it), or closed: the oldest first, at most `limit`; *more: there are others.
 * Asked a page at a time, so that memory and reply are bounded however many files there are: only
 * the arena of the answer has to hold them all, CONTROL_SEALABLE_BYTES each at most. */
#define CONTROL_SEALABLE_PAGE 4096
#define CONTROL_SEALABLE_BYTES (sizeof(struct sealable) + 2 * (size_t)(NAME_MAX_BYTES + 17))
enum err_code control_sealable(struct control_client *c, uint64_t min_bytes, int64_t before_us,
                               uint64_t limit, uint64_t deadline_ms, struct arena *a,
                               struct sealable **files, size_t *count, bool *more, struct err *e);
/* Close files, at most CONTROL_ROLL_FILES_MAX; *out is what they hold for good, in the order of
 * ids; those that are replaced already are left out. */
#define CONTROL_ROLL_FILES_MAX 8192
enum err_code control_roll_files(struct control_client *c, const struct ulid *ids, size_t count,
                                 uint64_t deadline_ms, struct arena *a, struct sealable **out,
                                 size_t *out_count, struct err *e);
/* The part's seal failed, and what is staged of it is of no use. */
enum err_code control_discard(struct control_client *c, const struct ulid *part,
                              uint64_t deadline_ms, struct err *e);
/* The stream is deleted in `meta`. */
struct deleted_stream {
    uint64_t number;
    struct str org, name;
    enum stream_type type;
};
enum err_code control_drop(struct control_client *c, const struct deleted_stream *s,
                           uint64_t deadline_ms, struct err *e);
/* `part_json`: what the engine answered to SEAL. */
enum err_code control_publish(struct control_client *c, struct str part_json,
                              const struct ulid *files, size_t count, uint64_t deadline_ms,
                              struct err *e);

#endif
