/* base/utf8.c - UTF-8 by the table of well-formed sequences (Unicode 15, table 3-7).
 *
 * A lead byte fixes the length and the range of the second byte; further bytes are 80..BF.  What
 * fails is cut as Unicode recommends ("maximal subpart"): the longest start of a well-formed
 * sequence is one error, so that every decoder that follows the practice counts the same U+FFFD.
 */
#include "base/utf8.h"

static const char REPLACEMENT[] = "\xEF\xBF\xBD";

enum { ASCII_BLOCK = 32 };
static const uint64_t HIGH_BITS = UINT64_C(0x8080808080808080);

struct lead {
    uint8_t len;                    /* 0: never a lead byte */
    uint8_t second_min, second_max; /* of the second byte */
};

static struct lead lead_of(uint8_t b)
{
    if (b < 0x80)
        return (struct lead){1, 0, 0};
    if (b < 0xC2)
        return (struct lead){0, 0, 0};
    if (b < 0xE0)
        return (struct lead){2, 0x80, 0xBF};
    if (b < 0xF0)
        return (struct lead){3, b == 0xE0 ? 0xA0 : 0x80, b == 0xED ? 0x9F : 0xBF};
    if (b < 0xF5)
        return (struct lead){4, b == 0xF0 ? 0x90 : 0x80, b == 0xF4 ? 0x8F : 0xBF};
    return (struct lead){0, 0, 0};
}

/* Look at the sequence at p (n > 0).  True: well-formed, *len long.  False: *len is the length of
 * the maximal subpart, at least 1. */
static bool scan(const uint8_t *p, size_t n, size_t *len)
{
    struct lead lead = lead_of(p[0]);
    *len = 1;
    if (lead.len < 2)
        return lead.len == 1;
    if (n < 2 || p[1] < lead.second_min || p[1] > lead.second_max)
        return false;
    for (*len = 2; *len < lead.len; (*len)++) {
        if (*len == n || (p[*len] & 0xC0) != 0x80)
            return false;
    }
    return true;
}

static const uint8_t *bytes_of(struct str s)
{
    return (const uint8_t *)s.ptr;
}

/* Skip ASCII, a block at a time; a block's loads are independent, which the processor likes. */
static size_t skip_ascii(const uint8_t *p, size_t at, size_t n)
{
    while (n - at >= ASCII_BLOCK) {
        const uint8_t *q = p + at;
        uint64_t any = get_u64(q) | get_u64(q + 8) | get_u64(q + 16) | get_u64(q + 24);
        if (any & HIGH_BITS)
            break;
        at += ASCII_BLOCK;
    }
    while (n - at >= 8 && !(get_u64(p + at) & HIGH_BITS))
        at += 8;
    return at;
}

/* The length of the well-formed sequence of two to four bytes that `w` begins with (first byte
 * lowest), or 0.  The same table as lead_of, seen as masks. */
static size_t sequence_in(uint32_t w)
{
    if ((w & 0xC0E0) == 0x80C0)
        return w & 0x1E ? 2 : 0; /* C0 and C1 would be overlong */
    if ((w & 0xC0C0F0) == 0x8080E0) {
        uint32_t edge = w & 0x200F; /* E0 needs A0..BF behind it, ED needs 80..9F */
        return edge != 0x0000 && edge != 0x200D ? 3 : 0;
    }
    if ((w & 0xC0C0C0F8) == 0x808080F0) {
        uint32_t plane = (w & 7) << 2 | (w >> 12 & 3);
        return plane >= 1 && plane <= 16 ? 4 : 0;
    }
    return 0;
}

/* Go through mixed text, a sequence and the ASCII before it a step, until eight bytes are all ASCII
 * or anything is left for a closer look. */
static size_t skip_mixed(const uint8_t *p, size_t at, size_t n)
{
    while (n - at >= 8) {
        uint64_t w = get_u64(p + at), high = w & HIGH_BITS;
        if (!high)
            break;
        unsigned ascii = (unsigned)__builtin_ctzll(high) / 8;
        at += ascii;
        if (ascii > 4) /* the sequence may not be all in w */
            continue;
        size_t len = sequence_in((uint32_t)(w >> (8 * ascii)));
        if (len == 0)
            break;
        at += len;
    }
    return at;
}

size_t utf8_valid_prefix(struct str s)
{
    const uint8_t *p = bytes_of(s);
    for (size_t at = 0, len;; at += len) {
        size_t before;
        do {
            before = at;
            at = skip_mixed(p, skip_ascii(p, at, s.len), s.len);
        } while (at > before);
        if (at == s.len || !scan(p + at, s.len - at, &len))
            return at;
    }
}

bool utf8_valid(struct str s)
{
    return utf8_valid_prefix(s) == s.len;
}

size_t utf8_invalid_part(struct str s)
{
    size_t len;
    return s.len == 0 || scan(bytes_of(s), s.len, &len) ? 0 : len;
}

size_t utf8_decode(const char *p, const char *end, uint32_t *cp)
{
    const uint8_t *b = (const uint8_t *)p;
    size_t len;
    if (p >= end || !scan(b, (size_t)(end - p), &len))
        return 0;
    static const uint8_t PAYLOAD[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t v = b[0] & PAYLOAD[len];
    for (size_t i = 1; i < len; i++)
        v = v << 6 | (b[i] & 0x3F);
    *cp = v;
    return len;
}

size_t utf8_encode(uint32_t cp, char dst[4])
{
    if (cp < 0x80) {
        dst[0] = (char)cp;
        return 1;
    }
    size_t len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000))
        return 0;
    static const uint8_t MARK[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = len - 1; i > 0; i--, cp >>= 6)
        dst[i] = (char)(0x80 | (cp & 0x3F));
    dst[0] = (char)(MARK[len] | cp);
    return len;
}

void utf8_add_lossy(struct buf *out, struct str s)
{
    while (s.len) {
        size_t good = utf8_valid_prefix(s);
        buf_add(out, s.ptr, good);
        s = (struct str){s.ptr + good, s.len - good};
        size_t bad = utf8_invalid_part(s);
        if (bad)
            buf_add(out, REPLACEMENT, sizeof REPLACEMENT - 1);
        s = (struct str){s.ptr + bad, s.len - bad};
    }
}
