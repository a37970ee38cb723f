// links: weir_fs weir_index
/* tests/unit/test_door_wire.c - questions and answers of a door come back, and no others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "fs/door/wire.h"

static const struct door_ask ASK = {
    .stream = 7, .mount = UINT64_MAX, .request = 1234, .org = {"default", 7}, .name = {"app", 3}};

/* In memory of exactly that size, so that a read past its end is seen. */
static char *exact(const char *bytes, size_t len)
{
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    return copy;
}

static void questions_come_back(void **state)
{
    char bytes[DOOR_ASK_HEAD_MAX + 8];
    struct door_ask ask;
    struct str lines;
    (void)state;
    size_t len = door_encode_ask(bytes, &ASK);
    memcpy(bytes + len, "{}\n", 3);
    assert_true(door_decode_ask((struct str){bytes, len + 3}, &ask, &lines));
    assert_int_equal(ask.stream, ASK.stream);
    assert_int_equal(ask.mount, ASK.mount);
    assert_int_equal(ask.request, ASK.request);
    assert_true(str_eq(ask.org, ASK.org) && str_eq(ask.name, ASK.name));
    assert_true(str_eq(lines, STR("{}\n")));
}

static void the_longest_names_fit(void **state)
{
    static char letters[NAME_MAX_BYTES];
    char bytes[DOOR_ASK_HEAD_MAX];
    struct door_ask ask = ASK, back;
    struct str lines;
    (void)state;
    memset(letters, 'n', sizeof letters);
    ask.org = ask.name = (struct str){letters, sizeof letters};
    assert_int_equal(door_encode_ask(bytes, &ask), DOOR_ASK_HEAD_MAX);
    assert_true(door_decode_ask((struct str){bytes, sizeof bytes}, &back, &lines));
    assert_true(str_eq(back.org, ask.org) && str_eq(back.name, ask.name));
    assert_int_equal(lines.len, 0);
}

static void questions_that_are_cut_are_refused(void **state)
{
    char bytes[DOOR_ASK_HEAD_MAX];
    struct door_ask ask;
    struct str lines;
    (void)state;
    size_t len = door_encode_ask(bytes, &ASK);
    for (size_t n = 0; n < len; n++) {
        char *cut = exact(bytes, n);
        assert_false(door_decode_ask((struct str){cut, n}, &ask, &lines));
        free(cut);
    }
    bytes[24] = 0; /* no organisation */
    assert_false(door_decode_ask((struct str){bytes, len}, &ask, &lines));
}

static void answers_come_back(void **state)
{
    static const char *const MESSAGES[] = {"", "line 3 of a write: no"};
    char bytes[DOOR_ANSWER_MAX];
    struct door_answer back;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct door_answer a = {ERR_INVALID, 5, 9, str_from(MESSAGES[i])};
        size_t len = door_encode_answer(bytes, &a);
        assert_true(door_decode_answer((struct str){bytes, len}, &back));
        assert_int_equal(back.code, a.code);
        assert_int_equal(back.lines, a.lines);
        assert_int_equal(back.stream, a.stream);
        assert_true(str_eq(back.message, a.message));
    }
}

static void a_long_message_is_cut(void **state)
{
    static char text[2 * ERR_MSG_MAX];
    char bytes[DOOR_ANSWER_MAX];
    struct door_answer a = {.code = ERR_IO, .message = {text, sizeof text}}, back;
    (void)state;
    memset(text, 'm', sizeof text);
    assert_int_equal(door_encode_answer(bytes, &a), DOOR_ANSWER_MAX);
    assert_true(door_decode_answer((struct str){bytes, sizeof bytes}, &back));
    assert_int_equal(back.message.len, ERR_MSG_MAX);
}

static void answers_of_no_known_code_are_refused(void **state)
{
    char bytes[DOOR_ANSWER_MAX + 1] = {0};
    struct door_answer a = {.code = ERR_IO}, back;
    (void)state;
    size_t len = door_encode_answer(bytes, &a);
    for (size_t n = 0; n < len; n++) {
        char *cut = exact(bytes, n);
        assert_false(door_decode_answer((struct str){cut, n}, &back));
        free(cut);
    }
    assert_false(door_decode_answer((struct str){bytes, sizeof bytes}, &back));
    put_u32(bytes, ERR_CODE_COUNT);
    assert_false(door_decode_answer((struct str){bytes, len}, &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_come_back),
        cmocka_unit_test(the_longest_names_fit),
        cmocka_unit_test(questions_that_are_cut_are_refused),
        cmocka_unit_test(answers_come_back),
        cmocka_unit_test(a_long_message_is_cut),
        cmocka_unit_test(answers_of_no_known_code_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
