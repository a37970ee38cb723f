/* gateway/span.h - the stretches of a JSON string that can be taken as they stand.
 *
 * A span ends at a quote, a backslash or a control byte, or at the end of the input.  Whether the
 * bytes beyond ASCII in it are good UTF-8 is the caller's to check, when *high says there are any.
 * Works 32 bytes a step where the processor has AVX2, 16 with SSE2, else 8.
 * Thread safety: any thread.  Nothing is read past `end` or written past `dst_end`.
 */
#ifndef WEIR_GATEWAY_SPAN_H
#define WEIR_GATEWAY_SPAN_H

#include <stdbool.h>
#include <stdint.h>

#define SPAN_ROOM 64 /* bytes of room with which a copy always moves on */

static inline bool span_stops_at(char c)
{
    return c == '"' || c == '\\' || (unsigned char)c < 0x20;
}

/* The first byte of [p, end) that ends the span, or end.  *high is only ever set, never cleared. */
const char *span_end(const char *p, const char *end, bool *high);
/* The same, and what is passed is copied to *dst, which moves along; stops early when room is
 * short, which is the case when the byte it stands at does not end a span. */
const char *span_copy(const char *p, const char *end, char **dst, const char *dst_end, bool *high);

#endif
