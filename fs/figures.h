/* fs/figures.h - how much there is of each stream of an organisation, files and parts together.
 *
 * Good for: listings of streams: the parts that metrics share are gone through once, however many
 * metrics are asked for.  Not for: reading what is counted (snapshots.h): nothing is pinned.
 * A row counts once: the registry is asked first, then the index (registry.h).
 * Any thread may call.  Units: bytes; microseconds since the epoch.
 * Errors: AGAIN (parts are published faster than they can be listed), NOMEM, those of parts.h.
 */
#ifndef WEIR_FS_FIGURES_H
#define WEIR_FS_FIGURES_H

#include "base/bytes.h"
#include "base/err.h"

struct journal;
struct registry;
struct sealed;

struct figures {
    uint64_t stream;      /* number */
    uint64_t files, rows; /* files and parts that hold rows of it */
    uint64_t text_bytes;  /* as lines */
    /* As Parquet: of a part that metrics share, in proportion to their lines. */
    uint64_t sealed_bytes;
    int64_t min_ts_us, max_ts_us; /* of no rows: 0 */
};

struct figures_config {
    struct journal *journal;
    struct registry *registry;
    struct sealed *sealed; /* NULL: there are no parts */
};
/* Fills list[i] for the stream list[i].stream; in order of number, each once.  A stream that is
 * not there, or is of another organisation (its name as it came), has nothing.  The list belongs to
 * the caller; after an error its figures mean nothing. */
enum err_code figures_take(const struct figures_config *cfg, struct str org, struct figures *list,
                           size_t count, struct err *e);
/* In a list in order of number; NULL: it is not there. */
struct figures *figures_find(struct figures *list, size_t count, uint64_t stream);

#endif
