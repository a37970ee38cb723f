/* gateway/timestamp.c - the time of a record. */
#include "gateway/timestamp.h"

#include <stdio.h>

#include "base/clock.h"
#include "gateway/number.h"

/* 1971-01-01 in each unit: no real time is so small in the next finer one. */
static const int64_t NANOS_ABOVE = INT64_C(31536000000000000);
static const int64_t MICROS_ABOVE = INT64_C(31536000000000);
static const int64_t MILLIS_ABOVE = INT64_C(31536000000);

#define DATE_LEN 10 /* of `YYYY-MM-DD` */

static int64_t scale(int64_t n, int64_t now_us)
{
    int64_t us;
    if (n == 0)
        return now_us;
    if (n > NANOS_ABOVE)
        return n / 1000;
    if (n > MICROS_ABOVE)
        return n;
    if (n > MILLIS_ABOVE)
        return n * 1000;
    return __builtin_mul_overflow(n, US_PER_SEC, &us) ? INT64_MIN : us;
}

bool timestamp_from_number(struct str text, int64_t now_us, int64_t *out_us)
{
    int64_t n;
    double v;
    if (!str_to_i64(text, &n)) {
        if (!number_to_f64(text, &v) || v >= 0x1p63 || v < -0x1p63)
            return false;
        n = (int64_t)v;
    }
    *out_us = scale(n, now_us);
    return true;
}

static bool is_number_text(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool digit = c >= '0' && c <= '9';
        if (!digit && c != '.' && c != 'e' && c != 'E' && c != '-' && c != '+')
            return false;
    }
    return s.len > 0;
}

/* `YYYY-MM-DD HH:MM:SS`, with T or a blank. */
static bool is_plain_civil(struct str s)
{
    static const char SHAPE[] = "0000-00-00x00:00:00";
    if (s.len != sizeof SHAPE - 1)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool ok = SHAPE[i] == '0'   ? c >= '0' && c <= '9'
                  : SHAPE[i] == 'x' ? c == 'T' || c == ' '
                                    : c == SHAPE[i];
        if (!ok)
            return false;
    }
    return true;
}

bool timestamp_from_string(struct str text, int64_t now_us, int64_t *out_us)
{
    if (is_number_text(text))
        return timestamp_from_number(text, now_us, out_us);
    bool has_t = text.len && (memchr(text.ptr, 'T', text.len) ||
                              (text.len > DATE_LEN && text.ptr[DATE_LEN] == 't'));
    bool has_blank = text.len && memchr(text.ptr, ' ', text.len);
    if (is_plain_civil(text) || (has_t && !has_blank))
        return time_parse_rfc3339(text, out_us);
    return time_parse_rfc2822(text, out_us);
}

bool timestamp_in_window(const struct timestamp_window *w, int64_t us, char *reason, size_t size)
{
    if (us < w->now_us - w->past_us) {
        snprintf(reason, size,
                 "Too old data, only last %lld hours data can be ingested. Data discarded. You can "
                 "adjust ingestion max time by setting the environment variable "
                 "ZO_INGEST_ALLOWED_UPTO=<max_hours>",
                 (long long)w->past_hours);
        return false;
    }
    if (us > w->now_us + w->future_us) {
        snprintf(reason, size,
                 "Too far data, only future %lld hours data can be ingested. Data discarded. You "
                 "can adjust ingestion max time by setting the environment variable "
                 "ZO_INGEST_ALLOWED_IN_FUTURE=<max_hours>",
                 (long long)w->future_hours);
        return false;
    }
    return true;
}
