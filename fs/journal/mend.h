/* fs/journal/mend.h - what recovery writes: copies of damage, zeros over a torn tail, kept lines.
 *
 * Owner: the thread that opens the journal.
 */
#ifndef WEIR_FS_JOURNAL_MEND_H
#define WEIR_FS_JOURNAL_MEND_H

#include "fs/journal/replay.h"

/* Copy bytes [from, to) of a segment to lost_found_dir/<seq>-<from>.<kind>; a copy that is there is
 * enough (corrupt bytes are found again at each start), else the name gets a number. */
enum err_code mend_set_aside(const struct journal *j, const struct segment *s, uint32_t from,
                             uint32_t to, const char *kind, struct err *e);
/* Overwrite with zeros what is not zero in [from, to). */
enum err_code mend_zero(const struct segment *s, uint32_t from, uint32_t to, struct err *e);
/* Append the saved lines as a batch of their own and end all open ones; durable on return.  The
 * syncer runs. */
enum err_code mend_settle(struct journal *j, struct replay *r, struct err *e);

#endif
