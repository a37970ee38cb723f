/* gateway/number.c - numbers into their one form. */
#include "gateway/number.h"

#include <math.h>
#include <stdlib.h>

#include "base/json.h"

enum {
    SURE_I64_DIGITS = 18, /* always fit */
    EXACT_DIGITS = 15,    /* decimals of so many digits survive a double */
    FORMAT_ROOM = 40
};

bool number_to_f64(struct str text, double *out)
{
    char copy[NUMBER_TEXT_MAX + 1];
    char *end;
    if (text.len == 0 || text.len > NUMBER_TEXT_MAX)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *out = strtod(copy, &end);
    return end == copy + text.len && isfinite(*out);
}

static void add(struct buf *out, const char *p, size_t n)
{
    memcpy(out->data + out->len, p, n); /* the caller has made room */
    out->len += n;
}

static void add_as_text(struct buf *out, struct str digits)
{
    add(out, "\"", 1);
    add(out, digits.ptr, digits.len);
    add(out, "\"", 1);
}

static enum field_type write_integer(struct str text, struct buf *out)
{
    bool negative = text.ptr[0] == '-';
    int64_t i64;
    uint64_t u64;
    enum field_type type = FIELD_INT64;
    if (negative && text.len == 2 && text.ptr[1] == '0')
        text = (struct str){text.ptr + 1, 1};
    if (text.len - negative > SURE_I64_DIGITS && !str_to_i64(text, &i64)) {
        if (negative || !str_to_u64(text, &u64)) {
            add_as_text(out, text);
            return FIELD_UTF8;
        }
        type = FIELD_UINT64;
    }
    add(out, text.ptr, text.len);
    return type;
}

/* Is this decimal already what f64_format would write?  Few digits, a plain magnitude, no exponent
 * and no zero too many: then the conversion and back is spared. */
static bool is_canonical(struct str text)
{
    const char *p = text.ptr, *end = p + text.len;
    if (*p == '-')
        p++;
    const char *point = memchr(p, '.', (size_t)(end - p));
    if (!point || end - p > EXACT_DIGITS + 1)
        return false;
    const char *last = end - 1;
    bool fraction_is_zero = last == point + 1 && *last == '0';
    if (*last < '0' || *last > '9' || (*last == '0' && !fraction_is_zero))
        return false;
    if (*p == '0' && !fraction_is_zero && point[1] == '0')
        return false; /* small: let f64_format decide about an exponent */
    return !memchr(point, 'e', (size_t)(end - point)) && !memchr(point, 'E', (size_t)(end - point));
}

static enum field_type write_decimal(struct str text, struct buf *out)
{
    double v;
    if (is_canonical(text)) {
        add(out, text.ptr, text.len);
        return FIELD_FLOAT64;
    }
    if (!number_to_f64(text, &v)) {
        add_as_text(out, text);
        return FIELD_UTF8;
    }
    out->len += f64_format(v, out->data + out->len);
    return FIELD_FLOAT64;
}

bool number_write(struct scan *s, struct buf *out, enum field_type *type)
{
    struct scan_number n;
    if (!scan_number(s, &n) || !buf_reserve(out, n.text.len + FORMAT_ROOM))
        return false;
    *type = n.is_integer ? write_integer(n.text, out) : write_decimal(n.text, out);
    return true;
}
