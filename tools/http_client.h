/* tools/http_client.h - one HTTP request to a node, for the commands.
 *
 * Owner of libcurl in tools/.  Errors: GONE (nobody listens), TIMEOUT, TOOBIG (body->max), IO.
 */
#ifndef WEIR_TOOLS_HTTP_CLIENT_H
#define WEIR_TOOLS_HTTP_CLIENT_H

#include "base/bytes.h"
#include "base/err.h"

struct http_request {
    const char *method; /* "GET", "POST" */
    const char *url;
    const char *user, *password; /* Basic; user NULL = none */
    const char *content_type;    /* of the body; NULL = none */
    struct str body;
    long timeout_s;
    /* Called about ten times a second while waiting; may be NULL. */
    void (*progress)(void *ctx, uint64_t received_bytes);
    void *progress_ctx;
};
enum err_code http_request(const struct http_request *r, long *status, struct buf *body,
                           struct err *e);

#endif
