/* fs/sealed/part_json.h - a part as JSON: what PUBLISH carries (fs/control/control.h) and a sealed
 * file says of itself in its metadata.
 *
 * Any thread may call.  Errors: INVALID with the member's name; NOMEM.
 */
#ifndef WEIR_FS_SEALED_PART_JSON_H
#define WEIR_FS_SEALED_PART_JSON_H

#include "base/json.h"
#include "index/parts.h"

/* What a file says of itself cannot hold its own length and SHA-256: those stay zero. */
enum part_json { PART_JSON_PUBLISHED, PART_JSON_OF_FILE };
/* Everything in `a`, which may be the document's.  State is PART_SEALED; node and object are empty;
 * the schema is the hash of the columns. */
enum err_code part_from_json(const struct json *v, enum part_json kind, struct arena *a,
                             struct part *part, struct part_column **columns, size_t *column_count,
                             struct err *e);

#endif
