/* fs/tree/open_parts.h - the sealed files that programs have open, each with one way of reading it.
 *
 * The kernel wants one way for all opens of an inode until the last is closed, and one backing file
 * for all that pass through; so the first open decides and the others follow.
 * Owner: the session.  Any thread may call.  At most OPEN_PARTS_MAX files; past that AGAIN.
 * Errors: those of sealed_open_file.
 */
#ifndef WEIR_FS_TREE_OPEN_PARTS_H
#define WEIR_FS_TREE_OPEN_PARTS_H

#include "fs/passthrough.h"
#include "fs/sealed/sealed.h"

#define OPEN_PARTS_MAX 262144

struct open_parts;
/* `passthrough` may be NULL: all files are read by open_parts_read. */
enum err_code open_parts_new(struct sealed *sealed, struct passthrough *passthrough,
                             struct open_parts **out, struct err *e);
void open_parts_free(struct open_parts *o); /* closes what is open; NULL is fine */

/* One more open; *backing_id is 0 when it is read by open_parts_read. */
enum err_code open_parts_take(struct open_parts *o, const struct part *p, uint32_t *backing_id,
                              struct err *e);
/* As an earlier process of the mount left it: the next opens follow that way.  No memory: the file
 * is opened as if nobody had it. */
void open_parts_restore(struct open_parts *o, const struct ulid *id, uint32_t backing_id,
                        unsigned users);
void open_parts_give(struct open_parts *o, const struct ulid *id);
/* NOTFOUND: nobody has it open, or the kernel reads it.  *got is short at the end of the file only.
 */
enum err_code open_parts_read(struct open_parts *o, const struct ulid *id, uint64_t off, void *dst,
                              size_t n, size_t *got, struct err *e);
/* What open_parts_read did not find, as an earlier process opened it.  Nothing is taken by it. */
enum err_code open_parts_read_unopened(struct open_parts *o, const struct part *p, uint64_t off,
                                       void *dst, size_t n, size_t *got, struct err *e);
size_t open_parts_count(struct open_parts *o);

#endif
