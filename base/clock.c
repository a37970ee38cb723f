/* base/clock.c - the clocks, and the proleptic Gregorian calendar behind them. */
#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic int64_t test_wall_us;

int64_t clock_wall_us(void)
{
    int64_t fixed = atomic_load_explicit(&test_wall_us, memory_order_relaxed);
    if (fixed)
        return fixed;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * US_PER_SEC + ts.tv_nsec / 1000;
}

void clock_set_test_wall_us(int64_t us)
{
    atomic_store_explicit(&test_wall_us, us, memory_order_relaxed);
}

uint64_t clock_mono_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000;
}

static int64_t div_floor(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* The year is taken from March, so that the day that comes and goes is its last, and the lengths of
 * the months before a given one are the line (153 m + 2) / 5.  Eras of 400 years have 146,097 days.
 */
int64_t days_from_civil(int year, int month, int day)
{
    int64_t y = (int64_t)year + div_floor(month - 1, 12);
    int64_t m = month - 1 - 12 * div_floor(month - 1, 12); /* 0 = January */
    if (m < 2)
        y--;
    int64_t era = div_floor(y, 400), year_of_era = y - era * 400;
    int64_t day_of_year = (153 * ((m + 10) % 12) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468; /* days from 0000-03-01 to 1970-01-01 */
}

static void civil_from_days(int64_t days, struct civil *out)
{
    int64_t z = days + 719468;
    int64_t era = div_floor(z, 146097), day_of_era = z - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t m = (5 * day_of_year + 2) / 153; /* 0 = March */
    out->day = (int)(day_of_year - (153 * m + 2) / 5 + 1);
    out->month = (int)(m < 10 ? m + 3 : m - 9);
    out->year = (int)(year_of_era + era * 400 + (out->month <= 2));
}

void civil_from_us(int64_t us, struct civil *out)
{
    int64_t seconds = div_floor(us, US_PER_SEC), days = div_floor(seconds, 86400);
    int second_of_day = (int)(seconds - days * 86400);
    civil_from_days(days, out);
    out->hour = second_of_day / 3600;
    out->minute = second_of_day / 60 % 60;
    out->second = second_of_day % 60;
    out->micros = (int)(us - seconds * US_PER_SEC);
}

int64_t civil_to_us(const struct civil *c)
{
    int64_t seconds = days_from_civil(c->year, c->month, c->day) * 86400;
    seconds += (int64_t)c->hour * 3600 + (int64_t)c->minute * 60 + c->second;
    return seconds * US_PER_SEC + c->micros;
}
