/* base/clock.h - the times Weir knows, each in one unit.
 *
 * Wall time is microseconds since the Unix epoch, UTC, as the API uses it (int64_t ..._us).
 * Durations and deadlines are monotonic: nanoseconds (uint64_t ..._ns) or milliseconds.
 * Hours: an `hour` is hours since the epoch (int32_t), the partition of every stream.
 * Thread safety: all functions may be called from any thread.
 */
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#define US_PER_SEC INT64_C(1000000)
#define US_PER_HOUR (INT64_C(3600) * US_PER_SEC)

int64_t clock_wall_us(void);
uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);
/* For tests: a fixed wall time (0 = the real clock again). */
void clock_set_test_wall_us(int64_t us);

static inline int32_t hour_of_us(int64_t us) /* rounds down, also before 1970 */
{
    int64_t h = us / US_PER_HOUR;
    return (int32_t)(us % US_PER_HOUR < 0 ? h - 1 : h);
}

struct civil {
    int year;       /* -9999 .. 9999 */
    int month, day; /* 1-based */
    int hour, minute, second, micros;
};
void civil_from_us(int64_t us, struct civil *out);
int64_t civil_to_us(const struct civil *c); /* fields may be out of range: they carry */
int64_t days_from_civil(int year, int month, int day);
/* "2026-01-02T03:04:05.123456Z" into dst (at least 40 bytes). */
void time_format_rfc3339(int64_t us, char *dst, size_t dst_size);
/* RFC 3339 with T or blank, fraction of any length (cut to µs), Z or offset, or no zone (UTC);
 * false when the whole string is not one. */
bool time_parse_rfc3339(struct str s, int64_t *out_us);
bool time_parse_rfc2822(struct str s, int64_t *out_us);

#endif
