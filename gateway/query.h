/* gateway/query.h - SQL in, rows out (reference §2).
 *
 * query_run parses by the engine, gates and rewrites the tree (gate.h), takes a snapshot, runs, and
 * calls the sink with batches as they come; it never gathers a result.
 * Errors carry the reference's code in e->detail (20001 …).  Thread safety: any thread.
 */
#ifndef WEIR_GATEWAY_QUERY_H
#define WEIR_GATEWAY_QUERY_H

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "gateway/catalog.h"
#include "gateway/engine/wire.h"

struct control_client;
struct query_config {
    struct catalog *catalog;
    struct control_client *control;
    const char *mount_dir, *engine_socket;
    uint64_t memory_bytes;  /* a query */
    uint64_t timeout_ms;    /* ZO_QUERY_TIMEOUT */
    uint64_t wait_ms;       /* WEIR_QUERY_WAIT */
    uint64_t size_max;      /* WEIR_QUERY_SIZE_MAX */
    uint64_t default_limit; /* ZO_QUERY_DEFAULT_LIMIT */
    const char *fts_extra;  /* ZO_FEATURE_FULLTEXT_EXTRA_FIELDS */
};
struct query_service;
enum err_code query_open(const struct query_config *cfg, struct query_service **out, struct err *e);
void query_close(struct query_service *q);

struct query_request {
    struct str org;
    enum stream_type type;
    struct str sql;               /* decoded */
    int64_t start_us, end_us;     /* [start, end) */
    int64_t from, size;           /* size <= 0: the SQL's own LIMIT, else the default */
    bool ui_histogram;            /* the counts over time of what the SQL selects, not its rows */
    bool track_total_hits;        /* with size 0: the one hit is {"zo_sql_num": count} */
    int64_t histogram_interval_s; /* for a histogram() without one; 0 = by the range */
    uint64_t timeout_ms;          /* 0 = the server's, which is also the most */
    uint64_t waited_us;           /* for its turn, before this call */
    bool (*cancelled)(void *ctx); /* asked now and then; may be NULL */
    void *cancelled_ctx;
};
/* Parses a request body (reference §2.1): no JSON at all is NOTJSON, a missing member or one of
 * another type SHAPE; missing or reversed range, empty SQL and bad base64 are INVALID with the
 * reference's code.  A missing size is the default limit. */
enum err_code query_request_parse(struct query_service *q, struct str body, struct str org,
                                  struct str type, struct arena *a, struct query_request *out,
                                  struct err *e);

/* SQL that came as base64, of either alphabet; INVALID says where it is none. */
enum err_code query_decode_base64(struct str in, struct arena *a, struct str *out, struct err *e);
/* The `search_type` of a query string; empty is fine. */
enum err_code query_search_type_check(struct str name, struct err *e);

struct query_column {
    struct str name;
};
struct query_order {
    struct str by;
    bool is_descending;
};
struct query_stats {
    uint64_t rows, scan_files, scan_bytes, scan_records;
    uint64_t took_us, waited_us; /* with those of the request; of these, for its turn */
    int64_t total;               /* track_total_hits, else = rows */
    bool has_histogram_interval;
    int64_t histogram_interval_s;
    const struct query_order *order; /* by what the rows are ordered, in the caller's arena */
    size_t order_count;
    bool is_histogram_eligible; /* counts over time would say something about the rows */
    int64_t limit;              /* a constant LIMIT of the SQL; 0: none */
    bool is_capped;             /* no size and no LIMIT, and the default limit was met */
    char partial[ERR_MSG_MAX];  /* which damaged files were left out; "": none */
    unsigned range_hours;       /* max_query_range of a stream, where it cut the range; else 0 */
    int64_t start_us, end_us;   /* the range then */
};
struct query_sink {
    /* Called once before any batch, then per batch; false ends the query (the client went away). */
    bool (*columns)(void *ctx, const struct query_column *c, size_t n);
    bool (*batch)(void *ctx, const struct wire_batch *b);
    /* What was given is void, all comes again: a file was damaged.  false, or NULL: it is too late
     * for that, and the query fails. */
    bool (*again)(void *ctx);
    void *ctx;
};
enum err_code query_run(struct query_service *q, const struct query_request *r, struct arena *a,
                        const struct query_sink *sink, struct query_stats *stats, struct err *e);

/* How a page asks a search in pieces (reference §2.6): the ranges in the order in which it wants
 * them, and what they hold together. */
#define QUERY_RANGES_MAX 256
struct query_range {
    int64_t start_us, end_us;
};
struct query_partition {
    size_t files;
    uint64_t records, bytes, stored_bytes;
    unsigned max_query_hours; /* the strictest of its streams; 0: none */
    int64_t limit;            /* of the SQL; 0: none */
    bool is_descending, is_histogram_eligible, has_histogram_interval;
    int64_t histogram_interval_s;
    size_t count;
    struct query_range range[QUERY_RANGES_MAX];
};
enum err_code query_partition(struct query_service *q, const struct query_request *r,
                              struct query_partition *out, struct err *e);
/* As query_request_parse, of the body of a _search_partition. */
enum err_code query_partition_parse(struct query_service *q, struct str body, struct str org,
                                    struct str type, struct arena *a, struct query_request *out,
                                    struct err *e);
/* Writes one batch as JSON objects separated by commas (nulls left out); *first tells whether a
 * comma is due and is updated. */
void query_write_hits(struct buf *out, const struct query_column *c, const struct wire_batch *b,
                      bool *first);
/* Is the engine there? */
enum err_code query_ping(struct query_service *q, struct err *e);

#endif
