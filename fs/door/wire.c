/* fs/door/wire.c - questions and answers of a door as bytes. */
#include "fs/door/wire.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/ipc.h"
#include "fs/control/control.h"

#define REPLY_MAX 65536

size_t door_encode_ask(char dst[DOOR_ASK_HEAD_MAX], const struct door_ask *ask)
{
    assert(ask->org.len <= NAME_MAX_BYTES && ask->name.len <= NAME_MAX_BYTES);
    memset(dst, 0, DOOR_ASK_FIXED);
    put_u64(dst, ask->stream);
    put_u64(dst + 8, ask->mount);
    put_u64(dst + 16, ask->request);
    dst[24] = (char)ask->org.len;
    dst[25] = (char)ask->name.len;
    memcpy(dst + DOOR_ASK_FIXED, ask->org.ptr, ask->org.len);
    if (ask->name.len)
        memcpy(dst + DOOR_ASK_FIXED + ask->org.len, ask->name.ptr, ask->name.len);
    return DOOR_ASK_FIXED + ask->org.len + ask->name.len;
}

bool door_decode_ask(struct str body, struct door_ask *out, struct str *lines)
{
    if (body.len < DOOR_ASK_FIXED)
        return false;
    size_t org_len = (uint8_t)body.ptr[24], name_len = (uint8_t)body.ptr[25];
    size_t head_len = DOOR_ASK_FIXED + org_len + name_len;
    if (head_len > body.len || org_len == 0)
        return false;
    *out = (struct door_ask){.stream = get_u64(body.ptr),
                             .mount = get_u64(body.ptr + 8),
                             .request = get_u64(body.ptr + 16),
                             .org = {body.ptr + DOOR_ASK_FIXED, org_len},
                             .name = {body.ptr + DOOR_ASK_FIXED + org_len, name_len}};
    *lines = (struct str){body.ptr + head_len, body.len - head_len};
    return true;
}

size_t door_encode_answer(char dst[DOOR_ANSWER_MAX], const struct door_answer *answer)
{
    size_t len = answer->message.len < ERR_MSG_MAX ? answer->message.len : ERR_MSG_MAX;
    put_u32(dst, (uint32_t)answer->code);
    put_u32(dst + 4, answer->lines);
    put_u64(dst + 8, answer->stream);
    if (len)
        memcpy(dst + DOOR_ANSWER_FIXED, answer->message.ptr, len);
    return DOOR_ANSWER_FIXED + len;
}

bool door_decode_answer(struct str body, struct door_answer *out)
{
    if (body.len < DOOR_ANSWER_FIXED || body.len > DOOR_ANSWER_MAX ||
        get_u32(body.ptr) >= ERR_CODE_COUNT)
        return false;
    *out = (struct door_answer){
        .code = (enum err_code)get_u32(body.ptr),
        .lines = get_u32(body.ptr + 4),
        .stream = get_u64(body.ptr + 8),
        .message = {body.ptr + DOOR_ANSWER_FIXED, body.len - DOOR_ANSWER_FIXED}};
    return true;
}

/* ---- opening ---- */

static enum err_code say(int fd, enum control_kind kind, const char *body, uint64_t deadline_ms,
                         struct ipc_msg *reply, struct err *e)
{
    enum err_code rc = ipc_send(fd, kind, kind, str_from(body), e);

    if (!rc)
        rc = ipc_recv(fd, reply, deadline_ms, e);
    if (rc || reply->kind == CONTROL_REPLY)
        return rc;
    return err_set(e, ERR_STALE, "the fs process opens no door: " STR_FMT,
                   STR_ARG(buf_str(&reply->body)));
}

enum err_code door_open(const char *socket_path, uint64_t epoch, uint64_t deadline_ms, int *fd,
                        struct err *e)
{
    AUTO_FD int s = -1;
    struct ipc_msg reply = {0};
    char hello[64];
    enum err_code rc = ipc_connect(socket_path, deadline_ms, &s, e);

    if (rc)
        return rc;
    buf_init(&reply.body, REPLY_MAX);
    snprintf(hello, sizeof hello, "{\"epoch\":%llu,\"pid\":%d}", (unsigned long long)epoch,
             (int)getpid());
    rc = say(s, CONTROL_HELLO, hello, deadline_ms, &reply, e);
    if (!rc)
        rc = say(s, CONTROL_DOOR, "{}", deadline_ms, &reply, e);
    buf_done(&reply.body);
    if (!rc)
        *fd = take_fd(&s);
    return rc;
}
