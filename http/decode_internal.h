/* http/decode_internal.h - one way of unpacking, as decode.c drives it. */
#ifndef WEIR_HTTP_DECODE_INTERNAL_H
#define WEIR_HTTP_DECODE_INTERNAL_H

#include "http/decode.h"

enum unpack_verdict {
    UNPACK_MORE,   /* go on: there is input left, or output was full */
    UNPACK_HUNGRY, /* all input is taken and the end has not come: it is cut off */
    UNPACK_END,    /* the end of the packed stream */
    UNPACK_BROKEN, /* `why` says what is wrong */
    UNPACK_NOMEM
};

struct unpack {
    struct str in;
    size_t consumed;
    char *to; /* room for `room` > 0 bytes; what was written is added to `made` */
    size_t room, made;
    const char *why;
};

struct unpacker {
    void *(*open)(void); /* NULL: no memory */
    void (*close)(void *state);
    /* For another body, or (again) for another member of the same one.  False: no memory. */
    bool (*begin)(void *state, struct str in, bool again);
    enum unpack_verdict (*step)(void *state, struct unpack *u);
    /* May another packed stream follow at this byte? */
    bool (*may_follow)(unsigned char first);
};
extern const struct unpacker unpack_gzip, unpack_deflate, unpack_zstd, unpack_brotli;

#endif
