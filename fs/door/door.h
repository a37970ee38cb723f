/* fs/door/door.h - asks the gateway what a FUSE handler may not wait for.
 *
 *   door_ask ──► a connection is free ──► sent at once ──► answered ──► done
 *       │                                  │   ▲
 *       │                                  │   └── the connection ended: sent again over another,
 *       └── none is ──► waits its turn ────┘       unless the journal has the lines already
 *                            │
 *                            └── deadline_ms passed, sent or not: done gets GONE
 *
 * Lines are answered already when they come back from the gateway as a batch (door_stored): the
 * writer goes on while the gateway hears of it, and says so.
 *
 * Good for: questions whose lines are stored once whatever dies (fs/journal/requests.h).
 * Owner: the session.  Any thread may call door_ask; it never waits.  `done` runs in a connection's
 * thread, in the one that watches deadlines, or in that of door_stored or door_cancel; under no
 * lock, exactly once. Bounds: pending_max_bytes of lines that are not answered (one question alone
 * may have more), DOOR_CONNECTIONS_MAX connections with one question each.
 */
#ifndef WEIR_FS_DOOR_DOOR_H
#define WEIR_FS_DOOR_DOOR_H

#include "fs/door/wire.h"
#include "fs/journal/journal.h"
#include "fs/status.h"

#define DOOR_CONNECTIONS_MAX 16
/* For a MKDIR at most: the kernel lets nobody look into its directory meanwhile. */
#define DOOR_MKDIR_WAIT_MS 3000

struct door_config {
    struct journal *journal;
    struct status *status;      /* GAUGE_INGEST_PENDING */
    uint64_t pending_max_bytes; /* WEIR_INGEST_PENDING_MAX */
    uint64_t wait_ms;           /* WEIR_INGEST_WAIT */
};

struct door;
enum err_code door_start(const struct door_config *cfg, struct door **out, struct err *e);
/* After the control server has stopped: who waits gets GONE, and so does who asks later. */
void door_close(struct door *d);
void door_free(struct door *d); /* NULL is fine; closed, and nobody asks any more */

/* The answer's message is good during the call. */
typedef void (*door_done)(const struct door_answer *answer, void *ctx);
/* The lines are those of `lines`, one after the other.  AGAIN, NOMEM: not asked, done is not
 * called. */
enum err_code door_ask(struct door *d, enum door_kind kind, const struct door_ask *ask,
                       const struct str lines[2], door_done done, void *ctx, struct err *e);

/* The asker was interrupted: a question with that request that was never sent ends with CANCELLED
 * (done runs before this returns).  One that was sent gets its answer; without a connection that
 * could bring it, it ends with GONE. */
void door_cancel(struct door *d, uint64_t request);

/* The lines of that request are in the journal, so many: what the gateway will say is known.  A
 * question with it ends with OK; the answer that comes later only frees its connection. */
void door_stored(struct door *d, uint64_t request, uint32_t lines);

/* What the thread of a connection does once it is a door, until it ends. */
void door_serve(struct door *d, int fd);

#endif
