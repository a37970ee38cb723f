/* http/framing.h - do the headers say in one way only where the body ends?
 *
 * Where two readers of the same bytes (a proxy and this server) may disagree about that, a request
 * could be hidden in the body of another.  What libmicrohttpd lets pass is judged here, header by
 * header as they stand.
 * Thread safety: pure.
 */
#ifndef WEIR_HTTP_FRAMING_H
#define WEIR_HTTP_FRAMING_H

#include "base/bytes.h"

struct framing {
    const char *fault; /* static; NULL: none */
    int status;        /* of the refusal */
    bool has_length, has_coding, has_content_coding;
    struct str length, coding;
};
void framing_see(struct framing *f, struct str name, struct str value);
void framing_end(struct framing *f);

#endif
