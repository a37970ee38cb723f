/* fs/door/inlet.h - the open `ingest` files: bytes in any cut become whole lines for the gateway.
 *
 *   write ──► tail + bytes ──► up to the last '\n': a question at the door ──► stored: the rest is
 *                  │                                                           the new tail
 *                  └── no '\n': the tail grows; answered at once
 *
 * A write is answered
 *   OK       its lines are in the journal (not durable yet), what follows them is the tail
 *   INVALID  a line is bad: those before it are stored, the rest of the write and the tail are gone
 *   else     nothing of it was taken, and the tail is as it was (after GONE: it may have been)
 * A flush takes a tail that is a whole JSON object as a line; a release drops what is left, counted
 * and reported.
 * Owner: the session.  Any thread may call, and nothing here waits: `done` is called exactly once,
 * at once or from a thread of the door's.  Calls for one handle happen one after the other.
 * Bounds: TAILS_SLOTS_MAX handles; a tail of line_max_bytes; all tails of what `tails` takes: a
 * write that would leave more is AGAIN; calls that wait for one before them on the same handle: one
 * a caller that the kernel lets through.
 */
#ifndef WEIR_FS_DOOR_INLET_H
#define WEIR_FS_DOOR_INLET_H

#include "fs/anchor_tails.h"
#include "fs/door/door.h"

struct inlet_config {
    struct tails *tails;
    struct door *door;
    struct journal *journal;
    struct status *status;
    uint64_t mount;        /* anchor_mount */
    size_t line_max_bytes; /* WEIR_LINE_MAX; at most TAIL_BYTES_MAX has effect */
};

struct inlet;
enum err_code inlet_new(const struct inlet_config *cfg, struct inlet **out, struct err *e);
void inlet_free(struct inlet *in); /* NULL is fine */

/* Which file, and which request of the kernel's. */
struct inlet_call {
    uint64_t handle;
    uint64_t request;     /* without the bit that says so */
    bool is_resent;       /* the process that had it died */
    uint64_t stream;      /* number; 0: it was deleted */
    struct str org, name; /* as they are called; they live as long as the inlet */
};
typedef void (*inlet_done)(enum err_code code, size_t size, void *ctx);

/* False: all handles are taken. */
bool inlet_open(struct inlet *in, uint64_t request, bool is_resent, uint64_t *handle);
/* The bytes are copied. */
void inlet_write(struct inlet *in, const struct inlet_call *call, struct str bytes, inlet_done done,
                 void *ctx);
void inlet_flush(struct inlet *in, const struct inlet_call *call, inlet_done done, void *ctx);
void inlet_release(struct inlet *in, const struct inlet_call *call, inlet_done done, void *ctx);

/* The asker of that request was interrupted.  A call that waits for another one before it ends with
 * CANCELLED, before this returns; for one that asks, or has asked, it is door_cancel, and so for
 * what did not come through here. */
void inlet_cancel(struct inlet *in, uint64_t request);

#endif
