/* http/api_stream.h - what the handlers of streams share. */
#ifndef WEIR_HTTP_API_STREAM_H
#define WEIR_HTTP_API_STREAM_H

#include "gateway/catalog.h"
#include "http/call.h"

/* Of the query string: `type`, logs when it is missing or empty.  INVALID: there is no such type.
 */
enum err_code call_stream_type(struct http_call *c, enum stream_type *type, struct err *e);
/* The name of the path as streams of that type are called; INVALID. */
enum err_code call_stream_name(struct http_call *c, enum stream_type type, char *dst,
                               struct str *name, struct err *e); /* NAME_MAX_BYTES + 1 */
/* The stream of path and query string, a reference; NOTFOUND. */
enum err_code call_stream(struct http_call *c, const struct catalog_stream **out, struct err *e);

#endif
