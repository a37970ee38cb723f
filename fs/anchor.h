/* fs/anchor.h - what of a mount outlives the fs process that serves it.
 *
 * One memfd a mount.  The supervisor makes it before the mount's first fs process and closes it
 * with the mount; each fs process of that mount maps it.  A process that follows a dead one finds
 * here the INIT that the kernel sends only once, and which files the kernel holds open and how it
 * reads them.
 * Good for: state that a killed process must not take along.  Not for: a node that died.
 * Owner: the supervisor of the descriptor, the session of the mapping.  One process maps it for
 * writing at a time; in it any thread may call.
 * Every change is one store that is seen whole or not at all, so a process may be killed anywhere.
 * Bounds: ANCHOR_INIT_MAX, ANCHOR_OPENS_MAX.  Pages that were never written take no memory.
 * Errors: NOMEM, IO, CORRUPT (not made by anchor_create of this version).   Layout: anchor.c.
 */
#ifndef WEIR_FS_ANCHOR_H
#define WEIR_FS_ANCHOR_H

#include <sys/types.h>

#include "base/bytes.h"
#include "base/err.h"

#define ANCHOR_INIT_MAX 4096
#define ANCHOR_OPENS_MAX 262144
#define ANCHOR_RECORD_LEN 56

/* ---- the supervisor ---- */

enum err_code anchor_create(int *fd, struct err *e); /* close-on-exec */
/* Has a process answered the mount's INIT?  Only then can another one follow it. */
bool anchor_was_answered(int fd);

/* ---- the fs process ---- */

struct anchor;
/* fd may be closed afterwards.  -1: memory of this process alone, for a mount without a supervisor.
 */
enum err_code anchor_open(int fd, struct anchor **out, struct err *e);
void anchor_close(struct anchor *a); /* NULL is fine */

/* A number of this mount that no other mount has, now or later: with it the kernel's number of a
 * request names that request for ever. */
uint64_t anchor_mount(const struct anchor *a);
/* Which fs process of this mount this is: 0, 1, … */
uint64_t anchor_generation(const struct anchor *a);

/* INIT as the kernel sent it, header and all: kept when it comes, and good once it was answered. */
void anchor_put_init(struct anchor *a,
                     struct str message); /* TOOBIG is ignored: nobody can follow */
void anchor_answered(struct anchor *a);
/* What an earlier process answered; empty: this is the mount's first. */
struct str anchor_init(const struct anchor *a);

/* Where tails_bytes of the memory stand (fs/anchor_tails.h). */
off_t anchor_tails_at(void);

/* ---- files that the kernel holds open ----
 *
 * A slot for each inode that is open, by its number: what it stands for (`record`, the caller's
 * format), how often it is open, and the number under which the kernel reads it by passthrough
 * (backing_id; 0: through us).  `unique`: of the OPEN or RELEASE; the same one again, which the
 * kernel sends when the process that had it died, is counted once. */

struct anchor_open {
    uint64_t ino;
    uint32_t backing_id, opens;
    char record[ANCHOR_RECORD_LEN];
};
/* One more open; the first one sets backing_id and record.  False: no room. */
bool anchor_take(struct anchor *a, uint64_t ino, uint64_t unique, uint32_t backing_id,
                 const char record[ANCHOR_RECORD_LEN]);
/* Was that OPEN counted already, by a process that died before it could answer? */
bool anchor_counted(struct anchor *a, uint64_t ino, uint64_t unique, uint32_t *backing_id);
/* One open fewer.  False: that RELEASE was counted already. */
bool anchor_give(struct anchor *a, uint64_t ino, uint64_t unique);
/* The newest open of it is taken back: nobody heard of it. */
void anchor_undo(struct anchor *a, uint64_t ino);
/* What is open; fn returns false to stop, and must not call the anchor. */
void anchor_each(struct anchor *a, bool (*fn)(const struct anchor_open *o, void *ctx), void *ctx);

#endif
