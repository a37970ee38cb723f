/* http/framing.h - do the headers say in one way only where the body ends?
 *
 * Where two readers of the same bytes (a proxy and this server) may disagree about that, a request
 * could be hidden in the body of another.  What libmicrohttpd lets pass is judged here, header by
 * header as they stand.
 * libmicrohttpd 0.9 reads a head as C strings: a NUL ends a value, and a line that begins with NUL
 * or ':' ends the head.  It makes the strings in place (NUL stands for the colon and each byte of a
 * line's end), so what it passed over shows: there the strings do not follow one another, or the
 * ends of lines differ.  Only a NUL beside an end, or ':' beside the last, may pass for part of it.
 * Thread safety: pure.
 */
#ifndef WEIR_HTTP_FRAMING_H
#define WEIR_HTTP_FRAMING_H

#include "base/bytes.h"

struct framing {
    const char *fault; /* static; NULL: none */
    int status;        /* of the refusal */
    bool is_torn;      /* a line may be folded, so that libmicrohttpd has copied it */
    bool has_length, has_coding, has_content_coding;
    struct str length, coding;
    ptrdiff_t line_end; /* 1: LF, 2: CRLF; 0: not known */
    const char *end;    /* of what has been seen of the head; NULL: where it stands is not known */
};
/* `stands`: the head is in memory as said. */
void framing_see_first_line(struct framing *f, struct str method, struct str uri,
                            struct str version, bool stands);
void framing_see(struct framing *f, struct str name, struct str value);
/* `end`: of the head with its empty line; unused when it does not stand. */
void framing_end(struct framing *f, const char *end);

#endif
