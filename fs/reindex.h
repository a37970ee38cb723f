/* fs/reindex.h - makes <data>/index anew from the journal's publish records and the sealed files.
 *
 * For a data directory that nobody else uses: the caller holds its lock.  The old index is removed
 * first; cut off in the middle, it is simply run again.  Afterwards a start of the fs process finds
 * everything that it had published, and nothing twice.  Parts of streams that `meta` knows as
 * deleted are left out, and their files removed.
 */
#ifndef WEIR_FS_REINDEX_H
#define WEIR_FS_REINDEX_H

#include "base/arena.h"
#include "base/err.h"

/* What a sealed Parquet says of itself: the value of "weir" in its key-value metadata (the part of
 * PUBLISH in control.h, but for stored_bytes and sha256).  `path` is below <data>/sealed. */
typedef enum err_code (*reindex_facts)(const char *path, struct arena *a, struct str *json,
                                       void *ctx, struct err *e);
struct reindex_config {
    const char *data_dir, *node_name;
    uint32_t segment_bytes; /* of the journal */
    reindex_facts facts;
    void *ctx;
};
struct reindex_result {
    uint64_t from_journal;   /* parts that the journal has a record of */
    uint64_t from_files;     /* parts that their file told of */
    uint64_t removed;        /* files that were never published; the journal has their rows */
    uint64_t deleted;        /* files of deleted streams, which are removed */
    uint64_t unreadable;     /* files left where they are and out of the index */
    struct err last_problem; /* of one of those */
};
enum err_code reindex_run(const struct reindex_config *cfg, struct reindex_result *out,
                          struct err *e);

#endif
