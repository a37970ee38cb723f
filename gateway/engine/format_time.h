/* gateway/engine/format_time.h - a time as text, by the format strings of the API.
 *
 * These are the ones of strftime(3), with fractions of a second (%f, %3f, %.3f, ...) and zones with
 * colons (%:z) besides; names are English.  Thread safety: values only.
 */
#ifndef WEIR_GATEWAY_ENGINE_FORMAT_TIME_H
#define WEIR_GATEWAY_ENGINE_FORMAT_TIME_H

#include "base/bytes.h"
#include "base/err.h"

/* Appends `us` since the epoch, as clocks show it `offset_s` seconds east of UTC.  INVALID for a
 * format that is none, TOOBIG past the buffer's maximum. */
enum err_code format_time(int64_t us, int64_t offset_s, struct str format, struct buf *out,
                          struct err *e);

#endif
