/* gateway/engine/convert.h - a value of a line as the type of its column.
 *
 * A narrower value of another type is widened as the stream's schema was (true is 1).  False means
 * that the value does not fit the type: the line and the schema disagree.
 */
#ifndef WEIR_GATEWAY_ENGINE_CONVERT_H
#define WEIR_GATEWAY_ENGINE_CONVERT_H

#include "gateway/engine/lines.h"

struct int128 {
    uint64_t low;
    int64_t high;
};

bool convert_bool(const struct line_value *v, bool *out);
bool convert_i64(const struct line_value *v, int64_t *out);
bool convert_int128(const struct line_value *v, struct int128 *out); /* Int64 and UInt64 together */
/* "NaN", "+Inf", "-Inf" and "Stale" are the values a metric may have beside numbers. */
bool convert_f64(const struct line_value *v, double *out);

#endif
