/* fs/snapshots.h - which files, at which length, and which sealed parts each running query reads.
 *
 * A snapshot belongs to an epoch of the gateway and lives until it is released or a newer epoch
 * begins.  Those that an earlier fs process gave out are declared by the gateway that reads them;
 * until it has spoken nothing that one may need is freed.
 * Bytes of files below their shown size never change, so a snapshot needs no copy; its
 * files are pinned in the journal, so that they can be read after they were replaced; its parts can
 * be opened (as .weir/at/<id>.parquet) until it ends, also when their stream is deleted.
 * A row is in it once: of each stream the registry is asked first, then the index (registry.h).
 * Owner: the session.  Any thread may call.  At most SNAPSHOTS_MAX live; past that AGAIN.
 */
#ifndef WEIR_FS_SNAPSHOTS_H
#define WEIR_FS_SNAPSHOTS_H

#include "fs/journal/journal.h"
#include "fs/notifier.h"
#include "fs/registry.h"
#include "fs/sealed/sealed.h"
#include "fs/status.h"

#define SNAPSHOTS_MAX 65536

struct snapshots;
struct snapshots_config {
    struct journal *journal;
    struct registry *registry;
    struct sealed *sealed;      /* NULL: there are no sealed parts */
    struct status *status;      /* GAUGE_SNAPSHOTS counts what lives */
    struct notifier *notifier;  /* is told of the files of a snapshot that ended */
    struct sealed_reader *held; /* NULL, or: an earlier process gave out snapshots that live; reads
                                   on behalf of all of them until they are declared */
};
enum err_code snapshots_new(const struct snapshots_config *cfg, struct snapshots **out,
                            struct err *e);
/* Before `sealed` is closed; tells the notifier nothing more.  NULL is fine. */
void snapshots_free(struct snapshots *s);

struct snapshot_wish {
    const uint64_t *streams;
    size_t stream_count;
    int64_t start_us, end_us; /* 0 = no bound; both included */
};
struct snapshot_part { /* of a metrics part: what it holds of the one name */
    const struct registry_stream *stream;
    uint64_t number; /* the stream's */
    struct ulid id;
    int32_t hour;
    uint64_t stored_bytes, text_bytes, rows, schema;
    int64_t min_ts_us, max_ts_us;
};
struct snapshot_content { /* snapshot_content_done */
    uint64_t id;
    struct journal_file *files; /* each as it is now */
    size_t file_count, file_cap;
    struct snapshot_part *parts;
    size_t part_count, part_cap;
};
void snapshot_content_done(struct snapshot_content *c); /* zeroed or filled */
/* What may hold rows of the wish. */
enum err_code snapshots_take(struct snapshots *s, uint64_t epoch, const struct snapshot_wish *wish,
                             struct snapshot_content *out, struct err *e);
/* Unknown ids (of an earlier process, or released before) are fine. */
void snapshots_release(struct snapshots *s, uint64_t epoch, uint64_t id);
/* A snapshot that an earlier process gave out lives on under its id; of its files those that are
 * still there.  EXISTS: it was declared already; after snapshots_declared: AGAIN; past
 * SNAPSHOTS_MAX FULL. */
enum err_code snapshots_declare(struct snapshots *s, uint64_t epoch, uint64_t id,
                                const struct notifier_name *files, size_t count, struct err *e);
/* No more will be: what was held for them may go.  Again: nothing. */
void snapshots_declared(struct snapshots *s);
/* The epochs before this one have ended for good. */
void snapshots_end_before(struct snapshots *s, uint64_t epoch);

#endif
