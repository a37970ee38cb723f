/* gateway/number.h - the one form in which a number stands in a line.
 *
 * Integers that fit 64 bits are their decimal digits (`-0` is 0).  Other numbers are the shortest
 * text that reads back to the same double, as f64_format writes it.  Integers beyond 64 bits,
 * numbers beyond a double, and those of more than NUMBER_TEXT_MAX characters are strings of their
 * digits.
 */
#ifndef WEIR_GATEWAY_NUMBER_H
#define WEIR_GATEWAY_NUMBER_H

#include "gateway/scan.h"
#include "index/meta.h"

#define NUMBER_TEXT_MAX 1000

/* At '-' or a digit.  False: no number (s->why is set), or no room in `out` (it is not). */
bool number_write(struct scan *s, struct buf *out, enum field_type *type);
/* False when it is no number of a double's range, or longer than NUMBER_TEXT_MAX. */
bool number_to_f64(struct str text, double *out);

#endif
