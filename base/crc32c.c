/* base/crc32c.c - CRC-32C by the fastest way this processor has.
 *
 * One CRC instruction takes three cycles to answer but starts every cycle, so on x86-64 three
 * neighbouring blocks are computed at once and joined: crc(AB) = crc(A) * x^(8|B|) mod P ^ crc(B).
 * The product is one carry-less multiplication; the CRC instruction then reduces its 64 bits, which
 * multiplies by x^33 more (32 of the reduction, 1 of the reflected order), hence the exponent
 * 8|B| - 33 in the constants.  Elsewhere: one stream of ARMv8 instructions, or slicing by eight.
 */
#include "base/crc32c.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/bytes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

typedef uint32_t crc_fn(uint32_t state, const uint8_t *p, size_t n);

/* ---- by table ---- */

enum { SLICES = 8 };
static const uint32_t POLY_REFLECTED = 0x82F63B78;

static uint32_t slice_table[SLICES][256]; /* immutable after its pthread_once */
static pthread_once_t slice_once = PTHREAD_ONCE_INIT;

static void slice_table_fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t v = i;
        for (int bit = 0; bit < 8; bit++)
            v = (v >> 1) ^ (v & 1 ? POLY_REFLECTED : 0);
        slice_table[0][i] = v;
    }
    for (int s = 1; s < SLICES; s++) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t v = slice_table[s - 1][i];
            slice_table[s][i] = (v >> 8) ^ slice_table[0][v & 0xFF];
        }
    }
}

static uint32_t crc_by_table(uint32_t state, const uint8_t *p, size_t n)
{
    pthread_once(&slice_once, slice_table_fill);
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t v = get_u64(p) ^ state;
        state = 0;
        for (int s = 0; s < SLICES; s++)
            state ^= slice_table[SLICES - 1 - s][v >> (8 * s) & 0xFF];
    }
    for (; n; p++, n--)
        state = (state >> 8) ^ slice_table[0][(state ^ *p) & 0xFF];
    return state;
}

/* ---- by instruction ---- */

#if defined(__x86_64__)

enum { BLOCK_LONG = 1360, BLOCK_SHORT = 168 }; /* three of them a round; multiples of eight */

/* x^(8 * bytes - 33) mod P, reflected: moves a CRC over that many bytes. */
static const uint32_t MOVE_1_LONG = 0x3F70CC6F, MOVE_2_LONG = 0x5AA1F3CF;
static const uint32_t MOVE_1_SHORT = 0x1B3D8F29, MOVE_2_SHORT = 0xA60CE07B;

#define TARGET __attribute__((target("sse4.2,pclmul")))

TARGET static inline uint64_t move(uint64_t state, uint32_t by)
{
    __m128i a = _mm_cvtsi64_si128((long long)state), b = _mm_cvtsi32_si128((int)by);
    return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(a, b, 0));
}

/* Three blocks at p, joined. */
TARGET static inline uint64_t three_blocks(uint64_t state, const uint8_t *p, size_t block,
                                           uint32_t move_1, uint32_t move_2)
{
    uint64_t a = state, b = 0, c = 0;
    for (size_t i = 0; i < block; i += 8) {
        a = _mm_crc32_u64(a, get_u64(p + i));
        b = _mm_crc32_u64(b, get_u64(p + block + i));
        c = _mm_crc32_u64(c, get_u64(p + 2 * block + i));
    }
    return c ^ _mm_crc32_u64(0, move(a, move_2) ^ move(b, move_1));
}

TARGET static uint32_t crc_by_instruction(uint32_t state, const uint8_t *p, size_t n)
{
    uint64_t s = state;
    for (; n >= 3 * BLOCK_LONG; p += 3 * BLOCK_LONG, n -= 3 * BLOCK_LONG)
        s = three_blocks(s, p, BLOCK_LONG, MOVE_1_LONG, MOVE_2_LONG);
    for (; n >= 3 * BLOCK_SHORT; p += 3 * BLOCK_SHORT, n -= 3 * BLOCK_SHORT)
        s = three_blocks(s, p, BLOCK_SHORT, MOVE_1_SHORT, MOVE_2_SHORT);
    for (; n >= 8; p += 8, n -= 8)
        s = _mm_crc32_u64(s, get_u64(p));
    for (; n; p++, n--)
        s = _mm_crc32_u8((uint32_t)s, *p);
    return (uint32_t)s;
}

static crc_fn *choose(void)
{
    bool able = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
    return able ? crc_by_instruction : crc_by_table;
}

#elif defined(__aarch64__)

/* As assembly, because not every clang declares the intrinsics when they are not the baseline. */
static inline uint32_t crc_word(uint32_t state, uint64_t word)
{
    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(state) : "r"(word));
    return state;
}

static inline uint32_t crc_byte(uint32_t state, uint8_t byte)
{
    __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(state) : "r"(byte));
    return state;
}

static uint32_t crc_by_instruction(uint32_t state, const uint8_t *p, size_t n)
{
    for (; n >= 8; p += 8, n -= 8)
        state = crc_word(state, get_u64(p));
    for (; n; p++, n--)
        state = crc_byte(state, *p);
    return state;
}

static crc_fn *choose(void)
{
    return getauxval(AT_HWCAP) & HWCAP_CRC32 ? crc_by_instruction : crc_by_table;
}

#else

static crc_fn *choose(void)
{
    return crc_by_table;
}

#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
    static _Atomic(crc_fn *) chosen; /* several threads may choose at once: they choose the same */
    crc_fn *fn = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (!fn) {
        fn = choose();
        atomic_store_explicit(&chosen, fn, memory_order_relaxed);
    }
    return ~fn(~crc, p, n);
}

uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n)
{
    return ~crc_by_table(~crc, p, n);
}
