/* gateway/engine/convert.c - the conversions of convert.h. */
#include "gateway/engine/convert.h"

#include <math.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define STALE_NAN UINT64_C(0x7ff0000000000002) /* Prometheus' staleness marker */
#define NUMBER_TEXT_MAX 400                    /* longer numbers are read by a copy on the heap */

bool convert_bool(const struct line_value *v, bool *out)
{
    *out = v->kind == LINE_TRUE;
    return v->kind == LINE_TRUE || v->kind == LINE_FALSE;
}

/* `5.0` and `1e3` are integers too. */
static bool integral_from_text(const struct line_value *v, int64_t *out)
{
    double d;
    if (!convert_f64(v, &d) || d != floor(d) || d < -9.0e18 || d > 9.0e18)
        return false;
    *out = (int64_t)d;
    return true;
}

bool convert_i64(const struct line_value *v, int64_t *out)
{
    if (v->kind == LINE_NUMBER)
        return str_to_i64(v->text, out) || integral_from_text(v, out);
    bool flag;
    if (!convert_bool(v, &flag))
        return false;
    *out = flag;
    return true;
}

bool convert_int128(const struct line_value *v, struct int128 *out)
{
    int64_t i;
    uint64_t u;
    if (v->kind == LINE_NUMBER && str_to_u64(v->text, &u)) {
        *out = (struct int128){u, 0};
        return true;
    }
    if (!convert_i64(v, &i))
        return false;
    *out = (struct int128){(uint64_t)i, i < 0 ? -1 : 0};
    return true;
}

/* A decimal of at most 15 digits and a power of ten up to 22 are both exact doubles, so that one
 * multiplication or division rounds once (Clinger). */
static bool f64_exact(struct str s, double *out)
{
    static const double pow10[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    size_t i = s.len > 0 && s.ptr[0] == '-' ? 1 : 0, digits = 0, fraction = 0;
    bool after_point = false, negative = i == 1;
    uint64_t mantissa = 0;
    for (; i < s.len; i++) {
        if (s.ptr[i] == '.' && !after_point) {
            after_point = true;
            continue;
        }
        if (s.ptr[i] < '0' || s.ptr[i] > '9' || ++digits > 15)
            return false;
        mantissa = mantissa * 10 + (uint64_t)(s.ptr[i] - '0');
        fraction += after_point;
    }
    if (digits == 0)
        return false;
    double d = (double)mantissa / pow10[fraction];
    *out = negative ? -d : d;
    return true;
}

static bool f64_general(struct str s, double *out)
{
    char fixed[NUMBER_TEXT_MAX];
    AUTO_FREE char *heap = NULL;
    char *text = fixed, *end;
    if (s.len >= sizeof fixed && !(text = heap = malloc(s.len + 1)))
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    *out = strtod(text, &end);
    return s.len > 0 && end == text + s.len;
}

static bool f64_special(struct str s, double *out)
{
    uint64_t stale = STALE_NAN;
    if (str_eq(s, STR("NaN")))
        *out = NAN;
    else if (str_eq(s, STR("+Inf")))
        *out = INFINITY;
    else if (str_eq(s, STR("-Inf")))
        *out = -INFINITY;
    else if (str_eq(s, STR("Stale")))
        memcpy(out, &stale, sizeof stale);
    else
        return false;
    return true;
}

bool convert_f64(const struct line_value *v, double *out)
{
    bool flag;
    if (v->kind == LINE_NUMBER)
        return f64_exact(v->text, out) || f64_general(v->text, out);
    if (v->kind == LINE_STRING)
        return f64_special(v->text, out);
    if (!convert_bool(v, &flag))
        return false;
    *out = flag;
    return true;
}
