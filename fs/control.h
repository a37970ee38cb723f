/* fs/control.h - how the gateway asks the fs process, over <data>/run/fs.sock.
 *
 * Messages are base/ipc.h frames whose bodies are JSON; each request gets one reply with its tag.
 * Requests (kind: body -> reply):
 *   HELLO    {"epoch":E or 0, "pid":P}        -> {"epoch":E, "commit_files":N, "version":"…"}
 *   SNAPSHOT {"streams":[n,…], "start_us":a, "end_us":b}
 *            -> {"snapshot":id, "files":[{"stream":n,"id":"ULID","hour":h,"bytes":B,"rows":R,
 *                "min_ts":t,"max_ts":t,"state":"active"}, …]}     an end_us of 0 = no bound
 *            a sealed part has "state":"sealed", "path" below the mount, "bytes" of Parquet,
 *            "text_bytes", "schema":"hex", for metrics "name" (rows, min_ts, max_ts, text_bytes are
 *            that name's), and stands once for each stream asked for; the reply then has
 *            "schemas":{"hex":[["field","Int64"],…],…}
 *   RELEASE  {"snapshot":id}                  -> {}
 *   STATS    {}                               -> what .weir/stats.json shows
 *   ROLL     {"stream":n,"hour":h}            -> {}
 *   ROLL     {"file":"ULID"}                  -> a file as of SEALABLE; closed now, or before
 *   SEALABLE {"bytes":B, "before_us":t, "limit":n}
 *            -> {"files":[{"stream":n,"id":"ULID","org":"…","name":"…","type":"logs","hour":h,
 *                "bytes":B,"rows":R,"min_ts":t,"max_ts":t,"first_append":t,"open":true},…],
 *                "more":false}
 *            files not yet replaced of at least B bytes, or begun at or before t, or closed; the
 *            oldest first
 *   PUBLISH  {"part":{"id","org","type","name","stream","hour","min_ts","max_ts","rows",
 *                     "text_bytes","text_version","text_sum":"hex16","stored_bytes",
 *                     "sha256":"hex64","groups":[[rows,text_bytes],…],
 *                     "columns":[["field","Int64",number],…],
 *                     "names":[{"stream","name","first_row","rows","min_ts","max_ts",
 *                               "text_bytes"},…]},
 *             "files":["ULID",…]}             -> {}
 *            takes <data>/staging/<id>.parquet and its .sum; the same again is OK; CORRUPT when
 *            what is staged is not what the request says, or rows and files disagree
 *   REPORT   {"source":"…","message":"…"}     -> {}      (a line for .weir/last_errors)
 *   HEALTH   {…}                              -> {}      (gateway's own part of .weir/health.json)
 * An error reply has kind CONTROL_ERROR and {"code":"NAME","message":"…"}.
 * Snapshots belong to the connection's epoch and are dropped when it ends for good.
 */
#ifndef WEIR_FS_CONTROL_H
#define WEIR_FS_CONTROL_H

#include "base/arena.h"
#include "base/json.h"
#include "base/ulid.h"
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

struct snapshot_file {
    uint64_t stream;
    struct ulid id;
    int32_t hour;
    uint64_t bytes, rows;
    int64_t min_ts_us, max_ts_us;
};
struct snapshot {
    uint64_t id;
    struct snapshot_file *files; /* in the arena */
    size_t file_count;
};
enum err_code control_snapshot(struct control_client *c, const uint64_t *streams, size_t count,
                               int64_t start_us, int64_t end_us, uint64_t deadline_ms,
                               struct arena *a, struct snapshot *out, struct err *e);
void control_release(struct control_client *c, uint64_t snapshot_id);
enum err_code control_call(struct control_client *c, enum control_kind kind, struct str body,
                           uint64_t deadline_ms, struct arena *a, struct json **reply,
                           struct err *e);

#endif
