/* http/access.h - the metrics of requests: counts and times by endpoint, status and stream. */
#ifndef WEIR_HTTP_ACCESS_H
#define WEIR_HTTP_ACCESS_H

#include "http/call.h"

void access_init(void); /* once, before the first request */
/* `status` 0: the client went away before it had its answer (shown as 499). */
void access_record(const struct http_call *c, int status, uint64_t elapsed_ns);

#endif
