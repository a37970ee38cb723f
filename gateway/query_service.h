/* gateway/query_service.h - what the files of the query side share among themselves. */
#ifndef WEIR_GATEWAY_QUERY_SERVICE_H
#define WEIR_GATEWAY_QUERY_SERVICE_H

#include "gateway/gate.h"
#include "gateway/query.h"

const struct query_config *query_service_config(const struct query_service *q);

/* query_plan.c: a statement, gated, with the files that it reads. */
struct query_plan {
    struct arena *a;
    const char *explain; /* "", "EXPLAIN", "EXPLAIN ANALYZE" */
    struct gate_result gate;
    struct query_streams *streams; /* held for as long as the plan */
    struct snapshot *snapshot;     /* NULL: it reads no stream */
    bool *left_out;                /* of each of its files: damaged, and not read */
    char partial[ERR_MSG_MAX];     /* why rows are missing; "": none are */
    int64_t start_us;              /* of the range: the request's, or later */
    unsigned range_hours;          /* the restriction that made it later; 0: none */
};
struct engine_client;
struct snapshot_file;
/* Parses by the engine, gates, takes the snapshot.  query_plan_done lets go of all of it, also
 * after a failure. */
enum err_code query_plan_make(struct query_service *q, const struct query_request *r,
                              struct engine_client **engine, uint64_t deadline_ms, struct arena *a,
                              struct query_plan *out, struct err *e);
void query_plan_done(struct query_service *q, struct query_plan *p);
bool query_plan_reads(const struct query_plan *p, const struct query_request *r,
                      const struct snapshot_file *f);
/* What is left: to the end, and to wait for a slot of the engine; each at least 1. */
struct query_times {
    uint64_t timeout_ms, wait_ms;
};
/* The RUN request of `document`, which is the plan's own or its count. */
enum err_code query_plan_request(struct query_service *q, const struct query_plan *p,
                                 const struct query_request *r, const struct json *document,
                                 const struct query_times *left, struct buf *out, struct err *e);
/* A file could not be read: because its stream was deleted meanwhile?  Then *e says so. */
bool query_plan_lost_stream(struct query_service *q, const struct query_plan *p, struct err *e);
/* The reference's words for the code in e->detail, and the caller's names instead of ours. */
enum err_code query_reference_error(const struct query_plan *p, struct err *e);

/* query_shape.c: has the body of a search, of a partition, the members and types that it needs? */
enum err_code query_shape_check(const struct json *document, struct err *e);
enum err_code query_partition_shape_check(const struct json *document, struct err *e);

/* query_parse.c: the tree of *sql, which becomes the text that was taken.  *engine may be another
 * connection afterwards, or NULL. */
enum err_code query_parse(const char *socket, struct engine_client **engine, struct str *sql,
                          uint64_t deadline_ms, struct arena *a, struct json **tree, struct err *e);

/* query_partition.c: adds the ranges of `whole` to *p, whose bytes and direction are known. */
#define QUERY_PIECE_BYTES                                                                          \
    (UINT64_C(1) << 30) /* of lines: a page should see something in seconds                        \
                         */
enum query_cut { CUT_NOT, CUT_BY_TIME, CUT_BY_BUCKET };
void query_partition_cut(struct query_partition *p, enum query_cut how, int64_t bucket_us,
                         struct query_range whole);

/* query_damage.c: sealed files that are damaged are left out of the plan, with a word of it in
 * p->partial. */
struct damage;
struct damage *query_damage_new(void);
void query_damage_free(struct damage *d);
struct damage *query_service_damage(struct query_service *q);
/* Those that an earlier query met, as far as they still are. */
void query_damage_recall(struct query_service *q, struct query_plan *p,
                         const struct query_request *r);
/* After the failure *e: is there any that the plan still read? */
bool query_damage_found(struct query_service *q, struct query_plan *p,
                        const struct query_request *r, const struct err *e);

/* query_names.c: the columns of a result under names that differ, as the caller calls them. */
struct engine_column;
enum err_code query_column_names(const struct engine_column *columns, size_t n,
                                 const struct query_plan *p, struct arena *a,
                                 struct query_column **out, struct err *e);

#endif
