/* http/reply.h - filling a reply: JSON, plain text, and errors in the reference's envelope. */
#ifndef WEIR_HTTP_REPLY_H
#define WEIR_HTTP_REPLY_H

#include "http/call.h"

void reply_init(struct reply *r);
void reply_done(struct reply *r);  /* frees the body */
void reply_clear(struct reply *r); /* as after init, memory of the body kept */

/* The value is cut at the header's size; more than REPLY_HEADERS_MAX headers are a bug. */
void reply_header(struct reply *r, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Empties the body and sets status and type; the caller writes JSON into r->body. */
void reply_json(struct reply *r, int status);
void reply_text(struct reply *r, int status, const char *text);
/* {"code":…,"message":…} by the error's code; 401 is the plain text `Unauthorized Access`, and what
 * is wrong with the form of a body (NOTJSON, SHAPE, UNSUPPORTED) is plain text too. 503 gets
 * Retry-After. */
void reply_error(struct reply *r, const struct err *e);
/* {"code":status,"message":message} */
void reply_envelope(struct reply *r, int status, const char *message);

#endif
