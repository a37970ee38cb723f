/* http/spool.h - bodies that are too large for memory: nameless files, read as memory.
 *
 * A file has no name (O_TMPFILE, else a name that is gone at once), so a kill leaves nothing; what
 * is left of a kill between making and unlinking a name is removed at spool_open.  All files
 * together hold at most total_bytes, there are at most files_max of them, and none grows while the
 * disk has less than twice disk_reserve_bytes free: large bodies never take what small ones need.
 * A view is a mapping of the file.  What was read of it stays in the page cache, but is taken out
 * of the process every SPOOL_TRIM_MS by a thread of the spool, so that the views of many large
 * bodies, each gone through from its begin to its end, cost little memory.
 * Errors: AGAIN (past total_bytes or files_max), FULL (the disk, or its reserve), IO, NOMEM.
 * Thread safety: the spool: any thread.  A file: one owner at a time.
 */
#ifndef WEIR_HTTP_SPOOL_H
#define WEIR_HTTP_SPOOL_H

#include "base/bytes.h"
#include "base/err.h"

#define SPOOL_TRIM_MS 5

struct spool_config {
    const char *dir; /* there already; the caller's */
    uint64_t total_bytes, disk_reserve_bytes;
    unsigned files_max;
};
struct spool;
enum err_code spool_open(const struct spool_config *cfg, struct spool **out, struct err *e);
void spool_close(struct spool *s); /* after all its files; NULL is fine */

struct spool_file {
    struct spool *spool; /* NULL: not open */
    int fd;
    uint64_t bytes;
    void *map; /* of `bytes`, once it was viewed; then the struct stays where it is */
    struct spool_file *prev, *next; /* the spool's */
};
enum err_code spool_file_open(struct spool *s, struct spool_file *f, struct err *e);
/* Appends; not after spool_file_view.  After an error the file can only be closed. */
enum err_code spool_file_add(struct spool_file *f, struct str bytes, struct err *e);
enum err_code spool_file_view(struct spool_file *f, struct str *out, struct err *e);
void spool_file_close(struct spool_file *f); /* gives the space back; a zeroed one is fine */

#endif
