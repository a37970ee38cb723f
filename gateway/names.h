/* gateway/names.h - names from outside made into names of ours (reference §1.16, §1.17). */
#ifndef WEIR_GATEWAY_NAMES_H
#define WEIR_GATEWAY_NAMES_H

#include "base/bytes.h"
#include "base/err.h"

/* Stream name: each run of characters outside [a-zA-Z0-9_:] becomes one '_', then lower-cased.
 * Empty (also after normalising to nothing) is INVALID; longer than NAME_MAX_BYTES is INVALID.
 * dst has 256 bytes. */
enum err_code name_stream(struct str in, char *dst, size_t *len, struct err *e);
/* Metric names keep their case: [a-zA-Z_:][a-zA-Z0-9_:]*, other characters become '_'. */
enum err_code name_metric(struct str in, char *dst, size_t *len, struct err *e);
/* Organisation: taken as it is when it is [a-zA-Z0-9_.-]{1,255} without a '.' in front (so it is
 * never a name of the tree's own, `..` or `.weir`); else INVALID. */
enum err_code name_org(struct str in, struct err *e);
/* Append one component of a field name: lower-cased; what is no letter (lower-case after folding),
 * digit or '_' becomes '_'; non-ASCII lower-case letters and digits stay. */
void name_field_add(struct buf *out, struct str component);

#endif
