/* fs/adopt.h - what inode numbers that the kernel has from an earlier process of this mount stand
 * for.
 *
 * Files that are open stand in the anchor, each with a record made here.  Directories, in which
 * somebody may stand without having them open, are looked for in the tree when an unknown number
 * comes: first those down to the streams, and only if it is none of them those of time, but not of
 * metrics, which may be millions.  Anything else is not found: the kernel then asks for its path.
 * Owner: the session.  Any thread may call adopt_find.  At most ADOPT_DIRS_MAX directories.
 */
#ifndef WEIR_FS_ADOPT_H
#define WEIR_FS_ADOPT_H

#include "fs/anchor.h"
#include "fs/tree/tree.h"

#define ADOPT_DIRS_MAX 1000000

void adopt_record(const struct tree_ref *ref, char record[ANCHOR_RECORD_LEN]);

struct adopt;
/* After the registry knows what there is; of a mount's first process it holds nothing. */
enum err_code adopt_new(struct anchor *anchor, struct tree *tree, struct registry *registry,
                        struct adopt **out, struct err *e);
void adopt_free(struct adopt *a); /* NULL is fine */
bool adopt_find(struct adopt *a, uint64_t ino, struct tree_ref *out);

struct adopted_file {
    struct tree_ref ref;
    uint32_t backing_id, opens;
};
/* What was open when this process began and is still there. */
typedef void (*adopt_fn)(const struct adopted_file *f, void *ctx);
void adopt_each(const struct adopt *a, adopt_fn fn, void *ctx);

#endif
