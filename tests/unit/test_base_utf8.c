/* tests/unit/test_base_utf8.c - UTF-8: what is well-formed, and what replaces the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/utf8.h"

#define R "\xEF\xBF\xBD" /* U+FFFD */

static void every_code_point_goes_round_and_nothing_else_does(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp < 0x110100; cp++) {
        char text[4];
        size_t len = utf8_encode(cp, text);
        bool scalar = cp < 0x110000 && !(cp >= 0xD800 && cp < 0xE000);
        assert_int_equal(len > 0, scalar);
        if (!scalar)
            continue;
        uint32_t back = 0;
        assert_true(utf8_decode(text, text + len, &back) == len && back == cp);
        assert_true(utf8_valid((struct str){text, len}));
        assert_true(utf8_decode(text, text + len - 1, &back) == 0);
        assert_true(utf8_valid_prefix((struct str){text, len - 1}) == 0);
    }
}

/* The examples of the Unicode standard (tables 3-8 to 3-11) and the edges around them. */
static void bad_parts_are_cut_at_maximal_subparts(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        const char *out;
        size_t valid_prefix;
    } CASES[] = {
        {{"", 0}, "", 0},
        {{"a\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", 10}, "a" R R R R R R R R "A", 1},
        {{"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", 9}, R R R R R R R R "A", 0},
        {{"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", 9}, R R R R R "A" R R "B", 0},
        {{"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", 9}, R R R R "A", 0},
        {{"\xC3\xA9\xC3", 3}, "\xC3\xA9" R, 2},
        {{"\xF0\x9F\x98", 3}, R, 0},
        {{"\xF0\x9F\x98\x80", 4}, "\xF0\x9F\x98\x80", 4},
        {{"x\xE2\x82", 3}, "x" R, 1},
        {{"\xF5\x80\x80\x80", 4}, R R R R, 0},
        {{"\xC1\xBF", 2}, R R, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct buf out;
        buf_init(&out, 1000);
        utf8_add_lossy(&out, CASES[i].in);
        assert_string_equal(out.data ? out.data : "", CASES[i].out);
        assert_true(utf8_valid(buf_str(&out)));
        assert_int_equal(utf8_valid_prefix(CASES[i].in), CASES[i].valid_prefix);
        buf_done(&out);
    }
}

/* A fault at every place of texts of every length around the blocks of the fast path. */
static void a_fault_is_found_at_any_place_of_any_length(void **state)
{
    (void)state;
    static const struct str FAULTS[] = {{"\x80", 1}, {"\xFF", 1}, {"\xC3", 1}, {"\xE2\x82", 2}};
    char text[200];
    for (size_t len = 4; len < sizeof text; len += 3) {
        for (size_t at = 0; at + 2 <= len; at++) {
            struct str fault = FAULTS[(len + at) % ARRAY_LEN(FAULTS)];
            memset(text, 'a', len);
            assert_true(utf8_valid((struct str){text, len}));
            memcpy(text + at, fault.ptr, fault.len);
            assert_int_equal(utf8_valid_prefix((struct str){text, len}), at);
            assert_int_equal(utf8_invalid_part((struct str){text + at, len - at}), fault.len);
        }
    }
}

/* The masks of the checker and the table of the decoder are two forms of the same rules. */
static void the_checker_agrees_with_the_decoder_on_every_start_of_a_sequence(void **state)
{
    (void)state;
    static const uint8_t THIRD[] = {0x00, 0x7F, 0x80, 0x8F, 0xBF, 0xC0, 0xFF};
    static const uint8_t FOURTH[] = {0x41, 0x80, 0xBF, 0xC2, 0xF0};
    char text[12];
    memset(text, 'a', sizeof text);
    for (unsigned first = 0x80; first < 0x100; first++) {
        for (unsigned rest = 0; rest < 256 * ARRAY_LEN(THIRD) * ARRAY_LEN(FOURTH); rest++) {
            text[0] = (char)first;
            text[1] = (char)(rest % 256);
            text[2] = (char)THIRD[rest / 256 % ARRAY_LEN(THIRD)];
            text[3] = (char)FOURTH[rest / 256 / ARRAY_LEN(THIRD)];
            size_t at = 0;
            uint32_t cp;
            for (size_t len; (len = utf8_decode(text + at, text + sizeof text, &cp)) > 0;)
                at += len;
            assert_int_equal(utf8_valid_prefix((struct str){text, sizeof text}), at);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_goes_round_and_nothing_else_does),
        cmocka_unit_test(bad_parts_are_cut_at_maximal_subparts),
        cmocka_unit_test(the_checker_agrees_with_the_decoder_on_every_start_of_a_sequence),
        cmocka_unit_test(a_fault_is_found_at_any_place_of_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
