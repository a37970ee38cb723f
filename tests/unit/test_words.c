// links: weir_engine
/* tests/unit/test_words.c - which words a text has, and when a query's words all occur. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "gateway/engine/words.h"

static void a_text_falls_into_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words; /* joined by '|' */
    } cases[] = {
        {"", ""},
        {"  ,.- ", ""},
        {"error", "error|"},
        {"GET /api/v1/items?id=42", "GET|api|v1|items|id|42|"},
        {"snake_case", "snake|case|"},
        {"Ünïcode naïve", "Ünïcode|naïve|"},
        {"проверка связи", "проверка|связи|"},
        {"发生error错误", "发|生|error|错|误|"},
        {"한국", "한|국|"},
        {"a…b«c»", "a|b|c|"},
        {"ok🔥hot", "ok|🔥|hot|"},
        {"bad\xff"
         "utf\xc3",
         "bad|utf|"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf joined;
        struct str word;
        size_t pos = 0;
        buf_init(&joined, 1 << 16);
        while (words_next(str_from(cases[i].text), &pos, &word)) {
            buf_add_str(&joined, word);
            buf_add_char(&joined, '|');
        }
        assert_true(str_eq(buf_str(&joined), str_from(cases[i].words)));
        buf_done(&joined);
    }
}

static void a_query_matches_when_all_its_words_occur(void **state)
{
    (void)state;
    static const struct {
        const char *query, *text;
        bool match;
    } cases[] = {
        {"refused", "Connection REFUSED by peer", true},
        {"peer connection", "Connection refused by peer", true},
        {"peer missing", "Connection refused by peer", false},
        {"connect", "Connection refused", false},
        {"connect*", "Connection refused", true},
        {"*ection", "Connection refused", true},
        {"*nect*", "Connection refused", true},
        {"*nect", "Connection refused", false},
        {"status=500", "status: 500", true},
        {"ÜBER", "über alles", true},
        {"ПРОВЕРКА", "проверка", true},
        {"Σίσυφος", "σίσυφοσ", true},
        {"错误", "发生错误了", true},
        {"", "anything", true},
        {"x", "", false},
        {"a", "A", true},
        {"42", "420", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct words_query q;
        assert_true(words_query_init(&q, str_from(cases[i].query)));
        if (words_match(&q, str_from(cases[i].text)) != cases[i].match)
            fail_msg("'%s' in '%s'", cases[i].query, cases[i].text);
    }
}

static void a_query_past_its_limits_is_refused(void **state)
{
    (void)state;
    struct words_query q;
    char many[2 * (WORDS_MAX + 1)], longest[WORDS_TEXT_MAX + 1];
    for (size_t i = 0; i < sizeof many; i++)
        many[i] = i % 2 ? ' ' : 'a';
    memset(longest, 'a', sizeof longest);
    assert_true(words_query_init(&q, (struct str){many, sizeof many - 2}));
    assert_int_equal(q.count, WORDS_MAX);
    assert_true(words_match(&q, STR("a")));
    assert_false(words_query_init(&q, (struct str){many, sizeof many}));
    assert_true(words_query_init(&q, (struct str){longest, WORDS_TEXT_MAX}));
    assert_false(words_query_init(&q, (struct str){longest, sizeof longest}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_falls_into_words),
        cmocka_unit_test(a_query_matches_when_all_its_words_occur),
        cmocka_unit_test(a_query_past_its_limits_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
