/* fs/door/wire.h - what goes over a door: a connection to fs.sock on which the fs process asks and
 * the gateway answers.
 *
 * The gateway says HELLO with its epoch, then DOOR (fs/control/control.h); after that reply the
 * roles are reversed: one question at a time, each answered with its tag.  Messages are frames of
 * base/ipc.h:
 *   DOOR_LINES, DOOR_MKDIR   u64 stream number, u64 mount, u64 request, u8 org_len, u8 name_len,
 *                            6 zeros, org, name, then (LINES) whole lines
 *   DOOR_ANSWER              u32 code (enum err_code), u32 lines, u64 stream number, message
 * Both ends are of one build.  Thread safety: pure functions.
 */
#ifndef WEIR_FS_DOOR_WIRE_H
#define WEIR_FS_DOOR_WIRE_H

#include "fs/journal/batch.h"

enum door_kind {
    DOOR_LINES = 200, /* store them; INVALID: those before the first bad one are stored */
    DOOR_MKDIR,       /* make the stream; without a name the organisation.  EXISTS, INVALID */
    DOOR_ANSWER = 300
};

#define DOOR_ASK_FIXED 32
#define DOOR_ASK_HEAD_MAX (DOOR_ASK_FIXED + 2 * NAME_MAX_BYTES)
/* Of one question; a write and a tail are at most half. */
#define DOOR_LINES_MAX ((size_t)4 << 20)
#define DOOR_ANSWER_FIXED 16
#define DOOR_ANSWER_MAX (DOOR_ANSWER_FIXED + ERR_MSG_MAX)

struct door_ask {
    uint64_t stream; /* 0: none yet */
    uint64_t mount, request;
    struct str org, name; /* as they are called, not escaped */
};
/* The head of a question; lines follow it.  Names are at most NAME_MAX_BYTES. */
size_t door_encode_ask(char dst[DOOR_ASK_HEAD_MAX], const struct door_ask *ask);
bool door_decode_ask(struct str body, struct door_ask *out, struct str *lines);

struct door_answer {
    enum err_code code;
    uint32_t lines;  /* stored */
    uint64_t stream; /* of MKDIR */
    struct str message;
};
size_t door_encode_answer(char dst[DOOR_ANSWER_MAX], const struct door_answer *answer);
bool door_decode_answer(struct str body, struct door_answer *out);

/* The gateway's: a connection to fs.sock made a door.  STALE: a newer gateway has another epoch. */
enum err_code door_open(const char *socket_path, uint64_t epoch, uint64_t deadline_ms, int *fd,
                        struct err *e);

#endif
