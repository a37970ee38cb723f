/* gateway/span.c - finding the end of a plain stretch of a JSON string, many bytes a step.
 *
 * One step looks at a block: a mask of the bytes that end a span, a mask of those beyond ASCII.
 * The copying form stores the whole block first and then moves by as much as was plain, so it
 * needs a block of room; what it wrote beyond is overwritten by what comes next.
 */
#include "gateway/span.h"

#include <stddef.h>
#include <string.h>

/* ---- byte by byte: the last few, and every processor ---- */

static const char *end_bytes(const char *p, const char *end, bool *high)
{
    for (; p < end && !span_stops_at(*p); p++)
        *high |= (unsigned char)*p >= 0x80;
    return p;
}

static const char *copy_bytes(const char *p, const char *end, char **dst, const char *dst_end,
                              bool *high)
{
    char *d = *dst;
    for (; p < end && d < dst_end && !span_stops_at(*p); p++) {
        *high |= (unsigned char)*p >= 0x80;
        *d++ = *p;
    }
    *dst = d;
    return p;
}

#ifdef __SSE2__
#include <immintrin.h>

enum { BLOCK = 16, WIDE = 32 };

/* Of the block that ended a span: how many bytes came before, and were any of them high? */
static inline unsigned plain_before(uint32_t stops, uint32_t highs, bool *high)
{
    unsigned n = (unsigned)__builtin_ctz(stops);
    *high |= (highs & ((UINT32_C(1) << n) - 1)) != 0;
    return n;
}

static inline uint32_t stops16(__m128i v)
{
    __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), control));
}

static inline __m128i load16(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

const char *span_end(const char *p, const char *end, bool *high)
{
    for (; end - p >= BLOCK; p += BLOCK) {
        __m128i v = load16(p);
        uint32_t stops = stops16(v), highs = (uint32_t)_mm_movemask_epi8(v);
        if (stops)
            return p + plain_before(stops, highs, high);
        *high |= highs != 0;
    }
    return end_bytes(p, end, high);
}

/* Long spans, in steps of 32; gives back where fewer than that are left. */
__attribute__((target("avx2"))) static const char *
copy_wide(const char *p, const char *end, char **dst, const char *dst_end, bool *high)
{
    const __m256i quote = _mm256_set1_epi8('"'), slash = _mm256_set1_epi8('\\');
    const __m256i last_control = _mm256_set1_epi8(0x1f);
    char *d = *dst;
    uint32_t highs = 0, stops = 0;
    while (end - p >= WIDE && dst_end - d >= WIDE) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
        _mm256_storeu_si256((__m256i *)(void *)d, v);
        __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(v, last_control), v);
        __m256i either = _mm256_or_si256(_mm256_cmpeq_epi8(v, quote), _mm256_cmpeq_epi8(v, slash));
        stops = (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(either, control));
        if (stops)
            break;
        highs |= (uint32_t)_mm256_movemask_epi8(v);
        p += WIDE;
        d += WIDE;
    }
    *high |= highs != 0;
    *dst = d;
    return p; /* the last block, if any, is looked at again in steps of 16 */
}

static const char *copy_narrow(const char *p, const char *end, char **dst, const char *dst_end,
                               bool *high)
{
    char *d = *dst;
    while (end - p >= BLOCK && dst_end - d >= BLOCK) {
        __m128i v = load16(p);
        _mm_storeu_si128((__m128i *)(void *)d, v);
        uint32_t stops = stops16(v), highs = (uint32_t)_mm_movemask_epi8(v);
        if (stops) {
            unsigned n = plain_before(stops, highs, high);
            *dst = d + n;
            return p + n;
        }
        *high |= highs != 0;
        p += BLOCK;
        d += BLOCK;
    }
    *dst = d;
    return copy_bytes(p, end, dst, dst_end, high);
}

/* Most strings end within the first block; only longer ones are worth the wide loop. */
const char *span_copy(const char *p, const char *end, char **dst, const char *dst_end, bool *high)
{
    if (end - p < BLOCK || dst_end - *dst < BLOCK)
        return copy_bytes(p, end, dst, dst_end, high);
    __m128i v = load16(p);
    _mm_storeu_si128((__m128i *)(void *)*dst, v);
    uint32_t stops = stops16(v), highs = (uint32_t)_mm_movemask_epi8(v);
    if (stops) {
        unsigned n = plain_before(stops, highs, high);
        *dst += n;
        return p + n;
    }
    *high |= highs != 0;
    *dst += BLOCK;
    p += BLOCK;
    if (__builtin_cpu_supports("avx2"))
        p = copy_wide(p, end, dst, dst_end, high);
    return copy_narrow(p, end, dst, dst_end, high);
}

#else

enum { WORD = 8 };
static const uint64_t ONES = UINT64_C(0x0101010101010101), HIGHS = UINT64_C(0x8080808080808080);

/* A bit at 0x80 of each byte of v that is zero; false ones only above a true one. */
static inline uint64_t zero_bytes(uint64_t v)
{
    return (v - ONES) & ~v & HIGHS;
}

static inline uint64_t stops8(uint64_t v)
{
    uint64_t control = (v - ONES * 0x20) & ~v & HIGHS;
    return zero_bytes(v ^ (ONES * '"')) | zero_bytes(v ^ (ONES * '\\')) | control;
}

/* Moves over whole words without a stop. */
static const char *pass_words(const char *p, const char *end, bool *high)
{
    for (uint64_t v; end - p >= WORD; p += WORD) {
        memcpy(&v, p, WORD);
        if (stops8(v))
            break;
        *high |= (v & HIGHS) != 0;
    }
    return p;
}

const char *span_end(const char *p, const char *end, bool *high)
{
    return end_bytes(pass_words(p, end, high), end, high);
}

const char *span_copy(const char *p, const char *end, char **dst, const char *dst_end, bool *high)
{
    const char *room_end = end - p > dst_end - *dst ? p + (dst_end - *dst) : end;
    const char *passed = pass_words(p, room_end, high);
    memcpy(*dst, p, (size_t)(passed - p));
    *dst += passed - p;
    return copy_bytes(passed, end, dst, dst_end, high);
}
#endif
