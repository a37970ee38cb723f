// links: weir_fs weir_index
/* tests/fuzz/fuzz_door.c - any bytes at a door, from either side: refused, or a message whose parts
 * lie in it, and that encodes to the same bytes again.
 * Input: u8 (bit 0: an answer, else a question), then the message's body. */
#include <stdint.h>
#include <stdlib.h>

#include "fs/door/wire.h"

enum { IS_ANSWER = 1, RESERVED_AT = 26 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact)
        abort();
}

/* Bytes that mean nothing are not kept. */
static void check_question(struct str body)
{
    char again[DOOR_ASK_HEAD_MAX];
    struct door_ask ask;
    struct str lines;
    if (!door_decode_ask(body, &ask, &lines))
        return;
    require(ask.org.len > 0 && ask.org.ptr == body.ptr + DOOR_ASK_FIXED);
    require(ask.name.ptr == ask.org.ptr + ask.org.len);
    require(lines.ptr == ask.name.ptr + ask.name.len &&
            lines.ptr + lines.len == body.ptr + body.len);
    require(ask.org.len <= NAME_MAX_BYTES && ask.name.len <= NAME_MAX_BYTES);
    size_t len = door_encode_ask(again, &ask);
    require(len + lines.len == body.len);
    require(memcmp(again, body.ptr, RESERVED_AT) == 0);
    require(memcmp(again + DOOR_ASK_FIXED, body.ptr + DOOR_ASK_FIXED, len - DOOR_ASK_FIXED) == 0);
}

static void check_answer(struct str body)
{
    char again[DOOR_ANSWER_MAX];
    struct door_answer answer;
    if (!door_decode_answer(body, &answer))
        return;
    require(answer.code < ERR_CODE_COUNT && answer.message.len <= ERR_MSG_MAX);
    require(str_eq((struct str){again, door_encode_answer(again, &answer)}, body));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *body = malloc(size); /* ends where the message does: a read past it is seen */
    require(body != NULL);
    memcpy(body + 1, data + 1, size - 1);
    struct str message = {body + 1, size - 1};
    if (data[0] & IS_ANSWER)
        check_answer(message);
    else
        check_question(message);
    free(body);
    return 0;
}
