/* gateway/names.c - names from outside made into names of ours. */
#include "gateway/names.h"

#include "base/cleanup.h"
#include "base/utf8.h"
#include "index/meta.h"

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char to_lower(char c)
{
    return (char)(is_upper(c) ? c + ('a' - 'A') : c);
}

static bool is_name_char(char c)
{
    return is_lower(c) || is_upper(c) || is_digit(c) || c == '_' || c == ':';
}

enum err_code name_stream(struct str in, char *dst, size_t *len, struct err *e)
{
    size_t n = 0;
    bool in_run = false; /* of characters that become one '_' together */
    if (in.len == 0)
        return err_set(e, ERR_INVALID, "Stream name is empty");
    for (size_t i = 0; i < in.len; i++) {
        bool plain = is_name_char(in.ptr[i]);
        if (!plain && in_run)
            continue;
        in_run = !plain;
        if (n == NAME_MAX_BYTES)
            return err_set(e, ERR_INVALID, "Stream name is longer than %d bytes", NAME_MAX_BYTES);
        dst[n++] = plain ? to_lower(in.ptr[i]) : '_';
    }
    dst[n] = '\0';
    *len = n;
    return ERR_OK;
}

enum err_code name_metric(struct str in, char *dst, size_t *len, struct err *e)
{
    if (in.len == 0)
        return err_set(e, ERR_INVALID, "Metric name is empty");
    bool shifted = is_digit(in.ptr[0]); /* a digit may not be the first */
    if (in.len + shifted > NAME_MAX_BYTES)
        return err_set(e, ERR_INVALID, "Metric name is longer than %d bytes", NAME_MAX_BYTES);
    size_t n = 0;
    if (shifted)
        dst[n++] = '_';
    for (size_t i = 0; i < in.len; i++)
        dst[n++] = is_name_char(in.ptr[i]) ? in.ptr[i] : '_';
    dst[n] = '\0';
    *len = n;
    return ERR_OK;
}

static bool is_org_char(char c)
{
    return is_lower(c) || is_upper(c) || is_digit(c) || c == '_' || c == '-' || c == '.';
}

enum err_code name_org(struct str in, struct err *e)
{
    if (in.len == 0 || in.len > NAME_MAX_BYTES)
        return err_set(e, ERR_INVALID, "Organization name must have 1 to %d bytes", NAME_MAX_BYTES);
    bool good = in.ptr[0] != '.';
    for (size_t i = 0; i < in.len && good; i++)
        good = is_org_char(in.ptr[i]);
    return good ? ERR_OK
                : err_set(e, ERR_INVALID,
                          "Organization name may hold letters, digits, '_', '-' and, but not in "
                          "front, '.'");
}

/* ---- field names ---- */

struct keep_range {
    uint32_t first, last, step;
};
struct lower_range {
    uint32_t first, last, step;
    int32_t offset;
};

static const struct keep_range KEEP[] = {
#define FOLD_KEEP(first, last, step) {first, last, step},
#include "gateway/name_fold.tbl"
#undef FOLD_KEEP
};
static const struct lower_range LOWER[] = {
#define FOLD_LOWER(first, last, step, offset) {first, last, step, offset},
#include "gateway/name_fold.tbl"
#undef FOLD_LOWER
};

/* The lower-case form of a character beyond ASCII; itself when it has none. */
static uint32_t fold(uint32_t cp)
{
    size_t low = 0, high = ARRAY_LEN(LOWER);
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct lower_range *r = &LOWER[mid];
        if (cp < r->first)
            high = mid;
        else if (cp > r->last)
            low = mid + 1;
        else
            return (cp - r->first) % r->step == 0 ? (uint32_t)((int32_t)cp + r->offset) : cp;
    }
    return cp;
}

static bool is_kept(uint32_t cp)
{
    size_t low = 0, high = ARRAY_LEN(KEEP);
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct keep_range *r = &KEEP[mid];
        if (cp < r->first)
            high = mid;
        else if (cp > r->last)
            low = mid + 1;
        else
            return (cp - r->first) % r->step == 0;
    }
    return false;
}

static void add_wide(struct buf *out, uint32_t cp)
{
    char bytes[4];
    uint32_t folded = fold(cp);
    if (folded < 0x80 || is_kept(folded)) /* the Kelvin sign is a k */
        buf_add(out, bytes, utf8_encode(folded, bytes));
    else
        buf_add_char(out, '_');
}

void name_field_add(struct buf *out, struct str component)
{
    const char *p = component.ptr, *end = p + component.len;
    while (p < end) {
        if ((unsigned char)*p < 0x80) {
            char c = to_lower(*p++);
            buf_add_char(out, is_lower(c) || is_digit(c) ? c : '_');
            continue;
        }
        uint32_t cp;
        size_t len = utf8_decode(p, end, &cp);
        if (len == 0) { /* not UTF-8: one byte at a time */
            buf_add_char(out, '_');
            p++;
            continue;
        }
        add_wide(out, cp);
        p += len;
    }
}
