/* gateway/line.h - strings as they stand in a line: one escaping, valid UTF-8, no raw control
 * bytes.
 *
 * Only quote, backslash and control bytes are escaped (\n \t \r \b \f, else \u00XX).
 * Both return false when the JSON is bad (s->why is set) or `out` met its maximum (it is not).
 */
#ifndef WEIR_GATEWAY_LINE_H
#define WEIR_GATEWAY_LINE_H

#include "gateway/scan.h"

/* At '"': the string, with its quotes. */
bool line_string(struct scan *s, struct buf *out);
/* Any value as a string that holds its compact JSON.  `depth` containers are open around it. */
bool line_text(struct scan *s, unsigned depth, struct buf *out);

#endif
