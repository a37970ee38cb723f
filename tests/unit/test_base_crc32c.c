/* tests/unit/test_base_crc32c.c - CRC-32C against known values and the plain table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "base/crc32c.h"

static void known_values_come_out(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32];
    memset(ones, 0xFF, sizeof ones);
    for (uint8_t i = 0; i < 32; i++) {
        up[i] = i;
        down[i] = (uint8_t)(31 - i);
    }
    const struct {
        const void *p;
        size_t n;
        uint32_t crc;
    } CASES[] = {
        {"", 0, 0},
        {"123456789", 9, 0xE3069283},
        {zeros, 32, 0x8A9136AA}, /* these four: RFC 3720, appendix B.4 */
        {ones, 32, 0x62A8AB43},
        {up, 32, 0x46DD794E},
        {down, 32, 0x113FDB5C},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        assert_int_equal(crc32c(0, CASES[i].p, CASES[i].n), CASES[i].crc);
        assert_int_equal(crc32c_portable(0, CASES[i].p, CASES[i].n), CASES[i].crc);
    }
}

static void the_instruction_agrees_with_the_table_at_every_length_and_offset(void **state)
{
    (void)state;
    static uint8_t data[16384];
    uint32_t seed = 1;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
    for (size_t n = 0; n < sizeof data - 16; n += n < 1100 ? 1 : 97) {
        size_t offset = n % 16;
        uint32_t start = (uint32_t)n * 2654435761U;
        assert_int_equal(crc32c(start, data + offset, n), crc32c_portable(start, data + offset, n));
    }
}

static void a_crc_continues_over_a_concatenation(void **state)
{
    (void)state;
    static uint8_t data[9000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 31 + i / 256);
    uint32_t whole = crc32c(0, data, sizeof data);
    for (size_t cut = 0; cut <= sizeof data; cut += 113)
        assert_int_equal(crc32c(crc32c(0, data, cut), data + cut, sizeof data - cut), whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values_come_out),
        cmocka_unit_test(the_instruction_agrees_with_the_table_at_every_length_and_offset),
        cmocka_unit_test(a_crc_continues_over_a_concatenation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
