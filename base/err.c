/* base/err.c - the error table, with the formatting of error values. */
#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

struct code_row {
    const char *name;
    int http_status;
    int posix;
};

/* One row a code; both http/ and fs/ answer from here. */
static const struct code_row CODES[] = {
    [ERR_OK] = {.name = "OK", .http_status = 200, .posix = 0},
    [ERR_INVALID] = {.name = "INVALID", .http_status = 400, .posix = EINVAL},
    [ERR_NOTJSON] = {.name = "NOTJSON", .http_status = 400, .posix = EINVAL},
    [ERR_SHAPE] = {.name = "SHAPE", .http_status = 422, .posix = EINVAL},
    [ERR_UNAUTHORIZED] = {.name = "UNAUTHORIZED", .http_status = 401, .posix = EACCES},
    [ERR_FORBIDDEN] = {.name = "FORBIDDEN", .http_status = 403, .posix = EPERM},
    [ERR_NOTFOUND] = {.name = "NOTFOUND", .http_status = 404, .posix = ENOENT},
    [ERR_EXISTS] = {.name = "EXISTS", .http_status = 409, .posix = EEXIST},
    [ERR_TOOBIG] = {.name = "TOOBIG", .http_status = 413, .posix = EFBIG},
    [ERR_UNSUPPORTED] = {.name = "UNSUPPORTED", .http_status = 415, .posix = EOPNOTSUPP},
    [ERR_AGAIN] = {.name = "AGAIN", .http_status = 503, .posix = EAGAIN},
    [ERR_FULL] = {.name = "FULL", .http_status = 503, .posix = ENOSPC},
    [ERR_READONLY] = {.name = "READONLY", .http_status = 403, .posix = EROFS},
    [ERR_STALE] = {.name = "STALE", .http_status = 410, .posix = ESTALE},
    [ERR_CANCELLED] = {.name = "CANCELLED", .http_status = 499, .posix = EINTR},
    [ERR_TIMEOUT] = {.name = "TIMEOUT", .http_status = 408, .posix = ETIMEDOUT},
    [ERR_IO] = {.name = "IO", .http_status = 500, .posix = EIO},
    [ERR_CORRUPT] = {.name = "CORRUPT", .http_status = 500, .posix = EIO},
    [ERR_NOMEM] = {.name = "NOMEM", .http_status = 503, .posix = ENOMEM},
    [ERR_UNIMPL] = {.name = "UNIMPL", .http_status = 501, .posix = ENOSYS},
    [ERR_GONE] = {.name = "GONE", .http_status = 503, .posix = EIO},
};
static_assert(ARRAY_LEN(CODES) == ERR_CODE_COUNT, "one row a code");

static const struct code_row *row_of(enum err_code code)
{
    assert((unsigned)code < ERR_CODE_COUNT);
    return &CODES[code];
}

/* End a message that did not fit with "...", without leaving half a UTF-8 sequence before it. */
static void mark_cut(char *msg, size_t size)
{
    size_t at = size - sizeof "...";
    while (at > 0 && ((unsigned char)msg[at] & 0xC0) == 0x80)
        at--;
    memcpy(msg + at, "...", sizeof "...");
}

__attribute__((format(printf, 3, 0))) static void format_into(char *dst, size_t size,
                                                              const char *fmt, va_list args)
{
    int n = vsnprintf(dst, size, fmt, args);
    if (n < 0)
        dst[0] = '\0';
    else if ((size_t)n >= size)
        mark_cut(dst, size);
}

/* "<head>: <tail>", cut to the size of a message.  The parts may be shorter views of dst's owner.
 */
static void join_into(char dst[ERR_MSG_MAX], const char *head, const char *tail)
{
    int n = snprintf(dst, ERR_MSG_MAX, "%s: %s", head, tail);
    if (n >= ERR_MSG_MAX)
        mark_cut(dst, ERR_MSG_MAX);
}

enum err_code err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    if (!e)
        return code;
    char msg[ERR_MSG_MAX]; /* apart, because an argument may be e->msg itself */
    va_list args;
    va_start(args, fmt);
    format_into(msg, sizeof msg, fmt, args);
    va_end(args);
    e->code = code;
    e->sys = 0;
    e->detail = 0;
    memcpy(e->msg, msg, sizeof msg);
    return code;
}

static enum err_code code_of_errno(int sys)
{
    switch (sys) {
    case ENOSPC:
    case EDQUOT:
        return ERR_FULL;
    case ENOENT:
        return ERR_NOTFOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EROFS:
        return ERR_READONLY;
    case ESTALE:
        return ERR_STALE;
    case EAGAIN:
        return ERR_AGAIN;
    case ENOMEM:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}

enum err_code err_sys(struct err *e, int sys, const char *fmt, ...)
{
    enum err_code code = code_of_errno(sys);
    if (!e)
        return code;
    char head[ERR_MSG_MAX], reason[128];
    va_list args;
    va_start(args, fmt);
    format_into(head, sizeof head, fmt, args);
    va_end(args);
    e->code = code;
    e->sys = sys;
    e->detail = 0;
    join_into(e->msg, head, strerror_r(sys, reason, sizeof reason));
    return code;
}

enum err_code err_wrap(struct err *e, const char *fmt, ...)
{
    if (!e)
        return ERR_IO;
    char head[ERR_MSG_MAX], tail[ERR_MSG_MAX];
    va_list args;
    va_start(args, fmt);
    format_into(head, sizeof head, fmt, args);
    va_end(args);
    memcpy(tail, e->msg, sizeof tail);
    join_into(e->msg, head, tail);
    return e->code;
}

const char *err_name(enum err_code code)
{
    return row_of(code)->name;
}

int err_http_status(enum err_code code)
{
    return row_of(code)->http_status;
}

int err_errno(enum err_code code)
{
    return row_of(code)->posix;
}

enum err_code err_from_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(CODES); i++) {
        if (strcmp(CODES[i].name, name) == 0)
            return (enum err_code)i;
    }
    return ERR_IO;
}
