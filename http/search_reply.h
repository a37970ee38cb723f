/* http/search_reply.h - what every reply of a search has beside its hits (reference §2.1). */
#ifndef WEIR_HTTP_SEARCH_REPLY_H
#define WEIR_HTTP_SEARCH_REPLY_H

#include "base/json.h"
#include "gateway/query.h"
#include "http/call.h"

#define TRACE_ID_LEN 32

struct search_totals {
    int64_t total, from, size;
    const char *trace_id;
    bool is_search; /* of a statement of the caller's: by what it is ordered is said too */
};
void search_trace_id(char out[TRACE_ID_LEN + 1]);
/* The members after `hits`, with the brace that ends the object.  `failure`: why hits are missing;
 * NULL: none are. */
void search_write_rest(struct json_writer *w, const struct search_totals *t,
                       const struct query_stats *stats, const char *failure);
/* {"code":20001,"message":"…","error_detail":"","trace_id":"…"} */
void search_reply_error(struct http_call *c, const char *trace_id, const struct err *e);

#endif
