/* base/err.h - one error value, and the one table of what each code means outside.
 *
 * An `struct err` lives in the caller.  A function that can fail returns an `enum err_code`
 * (ERR_OK is 0) and takes `struct err *e` last; on failure it fills *e, on success it leaves *e
 * alone.  Each layer wraps once with the object's name (err_wrap); the outermost layer logs once.
 * The table in err.c maps each code to its HTTP status and errno, so http/ and fs/ cannot disagree.
 * Thread safety: values only, no shared state.  `e` may be NULL where the caller wants the code
 * only.
 */
#ifndef WEIR_BASE_ERR_H
#define WEIR_BASE_ERR_H

#include <stddef.h>

enum err_code {
    ERR_OK = 0,
    ERR_INVALID,      /* the caller's input is wrong                          400 EINVAL */
    ERR_NOTJSON,      /* a body that had to be JSON is none                   400 EINVAL */
    ERR_SHAPE,        /* JSON, but not the members and types that are needed  422 EINVAL */
    ERR_UNAUTHORIZED, /* no or wrong credentials                              401 EACCES */
    ERR_FORBIDDEN,    /* known, but not allowed                               403 EPERM */
    ERR_NOTFOUND,     /* the named thing is not there                         404 ENOENT */
    ERR_EXISTS,       /* it is there already, or the revision moved on        409 EEXIST */
    ERR_TOOBIG,       /* over a named limit of one request or object          413 EFBIG */
    ERR_UNSUPPORTED,  /* a media type or encoding that is not spoken          415 EOPNOTSUPP */
    ERR_AGAIN,        /* over a named limit of the moment: try again          503 EAGAIN */
    ERR_FULL,         /* disk or journal is full                              503 ENOSPC */
    ERR_READONLY,     /* this part of the tree is never written               403 EROFS */
    ERR_STALE,        /* the thing has been replaced                          410 ESTALE */
    ERR_CANCELLED,    /* the client went away                                 499 EINTR */
    ERR_TIMEOUT,      /* past its deadline                                    408 ETIMEDOUT */
    ERR_IO,           /* the system refused; `sys` says how                   500 EIO */
    ERR_CORRUPT,      /* bytes that fail their checksum or shape              500 EIO */
    ERR_NOMEM,        /* an arena or buffer met its maximum, or malloc failed 503 ENOMEM */
    ERR_UNIMPL,       /* a place that a later version fills                   501 ENOSYS */
    ERR_GONE,         /* the process on the other side is away                503 EIO */
    ERR_CODE_COUNT
};

#define ERR_MSG_MAX 512

struct err {
    enum err_code code;
    int sys;               /* errno of the system call, or 0 */
    int detail;            /* a protocol's own number, such as OpenObserve's 2xxxx; 0 when none */
    char msg[ERR_MSG_MAX]; /* UTF-8, no newline at the end; cut with "..." when too long */
};

/* Fill *e and return code, so that `return err_set(e, ERR_INVALID, "...")` reads well. */
enum err_code err_set(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a failed system call: appends ": <strerror(sys)>"; ENOSPC/EDQUOT become ERR_FULL,
 * ENOENT ERR_NOTFOUND, EEXIST ERR_EXISTS, EROFS ERR_READONLY, ESTALE ERR_STALE, EAGAIN ERR_AGAIN,
 * ENOMEM ERR_NOMEM, everything else ERR_IO. */
enum err_code err_sys(struct err *e, int sys, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Put "<prefix>: " before the message.  Returns e->code (ERR_IO without an e). */
enum err_code err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const char *err_name(enum err_code code);      /* "INVALID", ... */
int err_http_status(enum err_code code);       /* 200 for ERR_OK */
int err_errno(enum err_code code);             /* 0 for ERR_OK */
enum err_code err_from_name(const char *name); /* ERR_IO for a name that is not known */

#endif
