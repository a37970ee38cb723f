/* http/cors.h - which origins browsers may ask from (reference §0.2).
 *
 * The setting is a list of origins separated by commas; empty allows any.
 * Thread safety: pure.
 */
#ifndef WEIR_HTTP_CORS_H
#define WEIR_HTTP_CORS_H

#include "base/bytes.h"

#define CORS_METHODS "HEAD,GET,POST,PUT,OPTIONS,DELETE,PATCH"
#define CORS_HEADERS                                                                               \
    "authorization,accept,content-type,content-encoding,traceparent,tracestate,"                   \
    "x-openobserve-span-id,x-openobserve-trace-id,x-openobserve-sampled"

/* The value of Access-Control-Allow-Origin for a request from `origin` (empty: it names none);
 * empty: none is sent. */
struct str cors_allowed_origin(const char *setting, struct str origin);
/* Does the answer depend on the origin? */
bool cors_varies(const char *setting);

#endif
