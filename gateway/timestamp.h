/* gateway/timestamp.h - the time of a record (reference §1.15).
 *
 * Numbers are told apart by magnitude: nanoseconds, microseconds, milliseconds or seconds; zero
 * means now.  Strings are such a number, `YYYY-MM-DD[ T]HH:MM:SS`, RFC 3339 with T, or RFC 2822.
 * Unit: microseconds since the epoch, UTC.
 */
#ifndef WEIR_GATEWAY_TIMESTAMP_H
#define WEIR_GATEWAY_TIMESTAMP_H

#include "base/bytes.h"

/* Both return false for what is no time. */
bool timestamp_from_number(struct str text, int64_t now_us, int64_t *out_us);
bool timestamp_from_string(struct str text, int64_t now_us, int64_t *out_us);

struct timestamp_window {
    int64_t now_us, past_us, future_us;
    int64_t past_hours, future_hours; /* as they are named in the reason */
};
/* Is `us` within?  Else the reason is written. */
bool timestamp_in_window(const struct timestamp_window *w, int64_t us, char *reason, size_t size);

#endif
