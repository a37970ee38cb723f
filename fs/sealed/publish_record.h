/* fs/sealed/publish_record.h - what the journal keeps of a published part, so that the index can be
 * made again from it.
 *
 * Little-endian:  0 u8 version 1   1 u16 length of the key   3 u32 length of the value
 *                 7 key, value (index/parts_codec.h), then the columns
 */
#ifndef WEIR_FS_SEALED_PUBLISH_RECORD_H
#define WEIR_FS_SEALED_PUBLISH_RECORD_H

#include "fs/journal/journal.h"
#include "index/parts.h"

/* Appended to `out`.  TOOBIG past JOURNAL_RECORD_MAX, or what part_encode refuses. */
enum err_code publish_record_encode(const struct part *p, const struct part_column *columns,
                                    size_t count, struct buf *out, struct err *e);
/* In `a`; the texts are views into record.  CORRUPT, NOMEM. */
enum err_code publish_record_decode(struct str record, struct arena *a, struct part *p,
                                    struct part_column **columns, size_t *count, struct err *e);

#endif
