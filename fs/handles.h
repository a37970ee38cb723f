/* fs/handles.h - what an open directory or status file holds: a listing taken at the first
 * read, or a text made at open.
 *
 * A handle is a number, never a pointer: a number of an earlier process is simply not found, and
 * the caller makes the content anew.  Numbers start at a different place in each process.
 * Owner: the session.  Any thread may call; a handle's content is used under its own lock
 * (handles_get locks, handles_put unlocks).  At most HANDLES_MAX are open; past that AGAIN.
 */
#ifndef WEIR_FS_HANDLES_H
#define WEIR_FS_HANDLES_H

#include "fs/status.h"
#include "fs/tree/listing.h"

#define HANDLES_MAX 65536

struct handle {
    struct listing listing;
    struct buf text;
    bool is_listed; /* the listing was taken: at the first read, anew at a rewind */
};

struct handles;
/* Counts what is open in the status' GAUGE_HANDLES. */
enum err_code handles_new(struct status *status, struct handles **out, struct err *e);
void handles_free(struct handles *h); /* NULL is fine; closes what is open */

/* Empty content, locked: the caller fills it, then handles_put. */
enum err_code handles_open(struct handles *h, uint64_t *number, struct handle **out, struct err *e);
struct handle *handles_get(struct handles *h, uint64_t number); /* NULL: not of this process */
void handles_put(struct handle *handle);
void handles_close(struct handles *h, uint64_t number);

#endif
