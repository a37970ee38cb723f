/* base/f64.c - doubles as the shortest decimal text that reads back.
 *
 * Fifteen digits of any decimal survive a double, and 17 always tell one double from the next, so
 * 15, 16 and 17 are tried in turn.  Between 10^-5 and 10^15 that is exact arithmetic: a double is
 * m / 2^s, and with p digits wanted, k of them behind the point, m * 10^k / 2^s is rounded to an
 * integer d; d / 10^k reads back when it misses v by less than half the gap to the next double.
 * There s <= 69 and k <= 21, so that everything fits 128 bits.  Outside, printf and strtod do it
 * (a power of two may keep one digit more than it needs there).
 *
 * The layout is that of OpenObserve (Rust's ryu): "12.5", "3.0", "0.00001", "1e-6", "1e16".
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

enum {
    DIGITS_MIN = 15,
    DIGITS_MAX = 17,
    MANTISSA_BITS = 52,
    EXPONENT_BIAS = 1023,
    PLAIN_POINT_MIN = -4, /* outside of these: with an exponent */
    PLAIN_POINT_MAX = 16,
};
static const double EXACT_MIN = 1e-5, EXACT_MAX = 1e15;

__extension__ typedef unsigned __int128 u128;

/* 0.<digits> * 10^point, without zeros at the end. */
struct decimal {
    char digits[DIGITS_MAX + 1];
    size_t count;
    int point;
};

static void strip_zeros(struct decimal *d)
{
    while (d->count > 1 && d->digits[d->count - 1] == '0')
        d->count--;
}

static u128 power_of_ten(int k)
{
    static const uint64_t POWERS[] = {1,         10,         100,         1000,
                                      10000,     100000,     1000000,     10000000,
                                      100000000, 1000000000, 10000000000, 100000000000};
    return k <= 11 ? (u128)POWERS[k] : (u128)POWERS[11] * POWERS[k - 11];
}

/* How many digits stand before the point; for 0.01234 it is -1.  The doubles below are at or above
 * the powers they name, and none lies between, so that the comparisons are exact. */
static int digits_before_point(double v)
{
    static const double POWERS[] = {1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e0,  1e1,  1e2,  1e3,  1e4, 1e5,
                                    1e6,  1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    int i = 0;
    while (v >= POWERS[i + 1])
        i++;
    return i - 4;
}

static void set_digits(struct decimal *out, uint64_t d, int point)
{
    size_t count = 0;
    for (uint64_t rest = d; rest; rest /= 10)
        count++;
    out->count = count;
    out->point = point;
    for (size_t i = count; i-- > 0; d /= 10)
        out->digits[i] = (char)('0' + d % 10);
    strip_zeros(out);
}

/* x / 2^s to the nearest integer, a tie to the even one. */
static uint64_t shift_rounded(u128 x, int s)
{
    u128 half = ((u128)1 << s) >> 1, up = x + half;
    uint64_t d = (uint64_t)(up >> s);
    bool tie = half && (up & (2 * half - 1)) == 0;
    return tie ? d & ~UINT64_C(1) : d;
}

/* v in [EXACT_MIN, EXACT_MAX). */
static void decimal_exactly(double v, struct decimal *out)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    uint64_t hidden = UINT64_C(1) << MANTISSA_BITS, m = (bits & (hidden - 1)) | hidden;
    int s = MANTISSA_BITS + EXPONENT_BIAS - (int)(bits >> MANTISSA_BITS);
    int point = digits_before_point(v);
    for (int p = DIGITS_MIN; p <= DIGITS_MAX; p++) {
        u128 ten = power_of_ten(p - point), exact = m * ten;
        uint64_t d = shift_rounded(exact, s);
        u128 back = (u128)d << s;
        u128 miss = back > exact ? back - exact : exact - back;
        if (m == hidden && back < exact) /* the next double below is only half as far */
            miss *= 2;
        if (2 * miss >= ten && p < DIGITS_MAX)
            continue;
        /* 9.99… may have become 10.0. */
        set_digits(out, d, point + (d >= (uint64_t)power_of_ten(p)));
        return;
    }
}

/* Any v; subnormals may need fewer digits than 15. */
static void decimal_by_printf(double v, struct decimal *out)
{
    char text[32];
    for (int p = v < 0x1p-1022 ? 1 : DIGITS_MIN; p <= DIGITS_MAX; p++) {
        snprintf(text, sizeof text, "%.*e", p - 1, v);
        if (strtod(text, NULL) == v)
            break;
    }
    const char *c = text;
    out->count = 0;
    for (; *c != 'e'; c++) {
        if (*c != '.')
            out->digits[out->count++] = *c;
    }
    out->point = atoi(c + 1) + 1;
    strip_zeros(out);
}

static char *add_digits(char *to, const char *digits, size_t count)
{
    memcpy(to, digits, count);
    return to + count;
}

static char *add_zeros(char *to, int count)
{
    for (; count > 0; count--)
        *to++ = '0';
    return to;
}

/* "1.234e-7" */
static char *write_with_exponent(const struct decimal *d, char *to)
{
    *to++ = d->digits[0];
    if (d->count > 1) {
        *to++ = '.';
        to = add_digits(to, d->digits + 1, d->count - 1);
    }
    return to + snprintf(to, sizeof "e-324", "e%d", d->point - 1);
}

/* "1234000.0", "12.34" or "0.0001234" */
static char *write_plain(const struct decimal *d, char *to)
{
    if (d->point <= 0) {
        to = add_zeros(add_digits(to, "0.", 2), -d->point);
        return add_digits(to, d->digits, d->count);
    }
    size_t before = d->count < (size_t)d->point ? d->count : (size_t)d->point;
    to = add_zeros(add_digits(to, d->digits, before), d->point - (int)before);
    *to++ = '.';
    if (before == d->count)
        return add_zeros(to, 1);
    return add_digits(to, d->digits + before, d->count - before);
}

size_t f64_format(double v, char *dst)
{
    assert(isfinite(v));
    struct decimal d = {.digits = "0", .count = 1, .point = 1};
    double magnitude = fabs(v);
    char *to = dst;
    if (signbit(v))
        *to++ = '-';
    if (magnitude >= EXACT_MIN && magnitude < EXACT_MAX)
        decimal_exactly(magnitude, &d);
    else if (magnitude > 0)
        decimal_by_printf(magnitude, &d);
    bool plain = d.point >= PLAIN_POINT_MIN && d.point <= PLAIN_POINT_MAX;
    to = plain ? write_plain(&d, to) : write_with_exponent(&d, to);
    *to = '\0';
    return (size_t)(to - dst);
}
