/* gateway/row_ids.h - the ids (`_o2_id`) of records in streams that keep each record as it came.
 *
 * An id is the wall clock's milliseconds << ROW_ID_BITS, or one more than the id before where the
 * clock stands or has gone back.  So ids grow, and none is given twice, also over a restart: meta
 * holds an end that no id has reached, and the first one after a start is behind it.  The end is
 * moved on a few seconds at a time, so that most requests do not write.
 * Source: openobserve-api reference, internal columns.
 * Owner: the gateway; outlives what gives ids.  Thread safety: any thread.
 */
#ifndef WEIR_GATEWAY_ROW_IDS_H
#define WEIR_GATEWAY_ROW_IDS_H

#include <stdint.h>

#include "base/err.h"

#define ROW_ID_BITS 20 /* below the milliseconds */

struct meta;
struct row_ids;
/* Errors are those of meta. */
enum err_code row_ids_open(struct meta *m, struct row_ids **out, struct err *e);
void row_ids_close(struct row_ids *ids); /* NULL is fine */

/* Before the ids of a request: an end that is far enough is durable after it.  Errors are those of
 * meta; then no id may be taken. */
enum err_code row_ids_reserve(struct row_ids *ids, struct err *e);
uint64_t row_ids_next(struct row_ids *ids);

#endif
