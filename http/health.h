/* http/health.h - does everything behind the HTTP server answer?
 *
 * One probe asks the fs process and the engine; its answer is good for HEALTH_FRESH_MS.  While one
 * thread probes, others get the last answer if it is not older than HEALTH_STALE_MS, else they wait
 * for the probe.
 * Thread safety: any thread.
 */
#ifndef WEIR_HTTP_HEALTH_H
#define WEIR_HTTP_HEALTH_H

#include "base/err.h"
#include "http/server.h"

#define HEALTH_FRESH_MS 1000u
#define HEALTH_STALE_MS 5000u
#define HEALTH_PROBE_MS 1000u /* deadline of one question to the fs process */

struct health;
struct health *health_new(struct control_client *control, struct query_service *query);
void health_free(struct health *h); /* NULL is fine */
/* OK, or GONE with what is missing. */
enum err_code health_check(struct health *h, struct err *e);

#endif
