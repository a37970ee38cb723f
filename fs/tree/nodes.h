/* fs/tree/nodes.h - the inodes that the kernel holds, each with what it stands for.
 *
 * Every reply that carries an entry takes one reference (nodes_take); FORGET gives them back.  An
 * inode that is not held is not here: the kernel never asks for it.
 * Owner: the session.  Any thread may call.  At most NODES_MAX are held; past that NOMEM.
 */
#ifndef WEIR_FS_TREE_NODES_H
#define WEIR_FS_TREE_NODES_H

#include "fs/tree/tree.h"

#define NODES_MAX 50000000

struct nodes;
/* Counts what is held in the status' GAUGE_NODES. */
enum err_code nodes_new(struct status *status, struct nodes **out, struct err *e);
void nodes_free(struct nodes *n); /* NULL is fine */

/* One more reference; 0 when there is no room. */
uint64_t nodes_take(struct nodes *n, const struct tree_ref *ref);
/* The kernel holds this inode from an earlier process, which knows how many references it has: all
 * are given back by the first FORGET that gives back no fewer than were taken here. */
void nodes_adopt(struct nodes *n, uint64_t ino, const struct tree_ref *ref);
/* False: the kernel does not hold it (or it is of an earlier process). */
bool nodes_find(struct nodes *n, uint64_t ino, struct tree_ref *out);
/* A directory is opened whose listing has this version (tree_listing_version): was it the same when
 * it was opened last, so that what the kernel kept of it is right? */
bool nodes_listing_is(struct nodes *n, uint64_t ino, uint64_t version);
void nodes_forget(struct nodes *n, uint64_t ino, uint64_t count);

#endif
