/* base/bytes.c - byte views and bounded growable buffers. */
#include "base/bytes.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "put_u32 and its kin copy native order");

enum { BUF_CAP_MIN = 64, DECIMAL_U64_MAX = 20 };

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return false;
    }
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq((struct str){s.ptr, prefix.len}, prefix);
}

int str_cmp(struct str a, struct str b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common ? memcmp(a.ptr, b.ptr, common) : 0;
    if (order)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
    while (s.len && is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

bool str_cut(struct str s, char sep, struct str *head, struct str *rest)
{
    const char *at = s.len ? memchr(s.ptr, sep, s.len) : NULL;
    if (!at) {
        *head = s;
        *rest = (struct str){s.len ? s.ptr + s.len : "", 0};
        return false;
    }
    size_t before = (size_t)(at - s.ptr);
    *head = (struct str){s.ptr, before};
    *rest = (struct str){at + 1, s.len - before - 1};
    return true;
}

bool str_copy_to(struct str s, char *dst, size_t dst_size)
{
    assert(dst_size > 0);
    size_t n = s.len < dst_size ? s.len : dst_size - 1;
    if (n)
        memcpy(dst, s.ptr, n);
    dst[n] = '\0';
    return n == s.len;
}

bool str_to_u64(struct str s, uint64_t *out)
{
    if (s.len == 0)
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(unsigned char)s.ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(v, 10U, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *out = v;
    return true;
}

bool str_to_i64(struct str s, int64_t *out)
{
    bool negative = s.len > 0 && s.ptr[0] == '-';
    uint64_t magnitude;
    if (!str_to_u64(negative ? (struct str){s.ptr + 1, s.len - 1} : s, &magnitude))
        return false;
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *out = (int64_t)(negative ? 0 - magnitude : magnitude);
    return true;
}

uint64_t str_hash(struct str s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.ptr[i]) * UINT64_C(0x100000001b3);
    /* FNV leaves its low bits weak on short strings; two multiply-shift rounds spread them. */
    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ (h >> 33);
}

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max = max_bytes};
}

void buf_done(struct buf *b)
{
    if (!b)
        return;
    free(b->data);
    *b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = '\0';
}

/* Move to a capacity of at least `need`: doubling, but never past max. */
static bool grow_to(struct buf *b, size_t need)
{
    size_t cap = b->cap < BUF_CAP_MIN / 2 ? BUF_CAP_MIN
                 : b->cap <= SIZE_MAX / 2 ? b->cap * 2
                                          : need;
    if (cap < need)
        cap = need;
    if (cap > b->max)
        cap = b->max;
    if (cap == SIZE_MAX)
        return false;
    char *data = realloc(b->data, cap + 1); /* one more for the final NUL */
    if (!data)
        return false;
    data[b->len] = '\0';
    b->data = data;
    b->cap = cap;
    return true;
}

bool buf_grow(struct buf *b, size_t extra)
{
    if (b->failed)
        return false;
    if (extra <= b->cap - b->len)
        return true;
    if (extra > b->max - b->len || !grow_to(b, b->len + extra)) {
        b->failed = true;
        return false;
    }
    return true;
}

void buf_add_cstr(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_add_u64(struct buf *b, uint64_t v)
{
    char digits[DECIMAL_U64_MAX];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_add(b, digits + at, sizeof digits - at);
}

void buf_add_i64(struct buf *b, int64_t v)
{
    if (v < 0)
        buf_add_char(b, '-');
    buf_add_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    if (n < 0)
        b->failed = true;
    else if (n > 0 && buf_reserve(b, (size_t)n))
        b->len += (size_t)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
}

void put_be64(void *p, uint64_t v)
{
    put_u64(p, __builtin_bswap64(v));
}

uint64_t get_be64(const void *p)
{
    return __builtin_bswap64(get_u64(p));
}

void put_be32(void *p, uint32_t v)
{
    put_u32(p, __builtin_bswap32(v));
}

uint32_t get_be32(const void *p)
{
    return __builtin_bswap32(get_u32(p));
}
