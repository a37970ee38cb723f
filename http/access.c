/* http/access.c - what /metrics says about requests.
 *
 * Organisation and stream are labels of successful requests only, so that nobody can make children
 * of the metrics by asking for names that do not exist.
 */
#include "http/access.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "base/metrics.h"
#include "http/routes.h"

#define STATUS_CLIENT_GONE 499

static const double RESPONSE_BUCKETS_S[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                            0.25,  0.5,    1,     2.5,  5,     10};
static const struct metric_desc INCOMING = {
    .name = "zo_http_incoming_requests",
    .help = "HTTP requests answered.",
    .type = METRIC_COUNTER,
    .labels = {"endpoint", "status", "organization", "stream", "stream_type"},
};
static const struct metric_desc RESPONSE_TIME = {
    .name = "zo_http_response_time",
    .help = "Seconds from a request's headers to the end of its reply.",
    .type = METRIC_HISTOGRAM,
    .labels = {"endpoint", "status", "organization", "stream", "stream_type"},
    .buckets = RESPONSE_BUCKETS_S,
    .bucket_count = (int)ARRAY_LEN(RESPONSE_BUCKETS_S),
};
static struct metric *incoming, *response_time; /* immutable after access_init */

void access_init(void)
{
    incoming = metrics_register(&INCOMING);
    response_time = metrics_register(&RESPONSE_TIME);
}

void access_record(const struct http_call *c, int status, uint64_t elapsed_ns)
{
    char number[16];
    int shown = status ? status : STATUS_CLIENT_GONE;
    bool good = shown >= 200 && shown < 300;
    snprintf(number, sizeof number, "%d", shown);
    const struct str labels[METRIC_LABELS_MAX] = {
        str_from(c->route ? c->route->path : "other"),
        str_from(number),
        good ? c->org : STR(""),
        good ? str_from(c->seen_stream) : STR(""),
        str_from(c->seen_type),
    };
    metric_add(metric_child(incoming, labels), 1);
    metric_observe(metric_child(response_time, labels), (double)elapsed_ns / 1e9);
}
