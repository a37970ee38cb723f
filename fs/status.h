/* fs/status.h - what the files of .weir say, with the counters and the last errors behind them.
 *
 * Any thread may call.  Texts are made afresh on each call; nothing here waits.
 * The last errors stand in a ring of LAST_ERRORS_MAX lines; older ones are only counted.
 */
#ifndef WEIR_FS_STATUS_H
#define WEIR_FS_STATUS_H

#include "fs/journal/journal.h"
#include "fs/registry.h"

#define LAST_ERRORS_MAX 256
#define LAST_ERROR_BYTES 400
#define GATEWAY_HEALTH_MAX 65536

enum status_file {
    STATUS_VERSION,
    STATUS_HEALTH,
    STATUS_STATS,
    STATUS_NODES,
    STATUS_CONFIG,
    STATUS_LAST_ERRORS,
    STATUS_FILE_COUNT
};
struct str status_name(enum status_file f);
bool status_find(struct str name, enum status_file *out);

/* Counters and gauges of the fs process: one row each in status.c. */
enum status_counter {
    COUNT_LOOKUPS,
    COUNT_GETATTRS,
    COUNT_OPENS,
    COUNT_READS,
    COUNT_READ_BYTES,
    COUNT_WRITES,
    COUNT_WRITE_BYTES,
    COUNT_WRITES_REFUSED,
    COUNT_FSYNCS,
    COUNT_READDIRS,
    COUNT_REFUSED_CHANGES,
    COUNT_ERRORS_REPORTED,
    COUNT_FILES_UNLISTED,
    COUNT_SNAPSHOTS_TAKEN,
    COUNT_NOTIFICATIONS_DROPPED,
    COUNT_TEXT_UNITS,
    COUNT_TEXT_BYTES,
    COUNT_TEXT_ERRORS,
    GAUGE_NODES,
    GAUGE_HANDLES,
    GAUGE_SNAPSHOTS,
    GAUGE_CONTROL_CONNECTIONS,
    STATUS_FUSE_COUNTERS, /* those above are shown as "fuse", those below as "sealed" */
    GAUGE_SEALED_PARTS = STATUS_FUSE_COUNTERS,
    GAUGE_SEALED_BYTES,
    GAUGE_SEALED_UNKNOWN,
    COUNT_PARTS_PUBLISHED,
    COUNT_SEALED_DAMAGED,
    STATUS_SEALED_COUNTERS, /* those below are shown as "ingest": writes to `ingest` files */
    COUNT_INGEST_WRITES = STATUS_SEALED_COUNTERS,
    COUNT_INGEST_BYTES,
    COUNT_INGEST_LINES,
    COUNT_INGEST_RESENT,
    COUNT_INGEST_INVALID,
    COUNT_INGEST_BUSY,
    COUNT_INGEST_FULL,
    COUNT_INGEST_TOOBIG,
    COUNT_INGEST_GONE,
    COUNT_INGEST_INTERRUPTED,
    COUNT_INGEST_FAILED,
    COUNT_INGEST_OPENS_REFUSED,
    COUNT_INGEST_TAILS_DROPPED,
    COUNT_INGEST_TAIL_BYTES_DROPPED,
    GAUGE_INGEST_HANDLES,
    GAUGE_INGEST_PENDING,
    GAUGE_INGEST_TAILS,
    STATUS_COUNTER_COUNT
};

struct status_config {
    struct journal *journal;
    struct registry *registry;
    struct journal_recovery recovery;
    const char *node_name, *version, *config_json; /* copied */
    bool read_only;
    unsigned threads;
};

struct status;
enum err_code status_new(const struct status_config *cfg, struct status **out, struct err *e);
void status_free(struct status *s); /* NULL is fine */

void status_count(struct status *s, enum status_counter c, int64_t add);
/* One line for .weir/last_errors; cut when too long. */
void status_report(struct status *s, struct str source, struct str message);
/* The gateway's own part of health.json, a JSON object; TOOBIG past GATEWAY_HEALTH_MAX. */
enum err_code status_set_gateway_health(struct status *s, struct str json, struct err *e);

/* Appended to `out`; TOOBIG past its maximum. */
enum err_code status_text(struct status *s, enum status_file f, struct buf *out, struct err *e);

#endif
