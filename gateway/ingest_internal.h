/* gateway/ingest_internal.h - what requests share, whichever door they come through. */
#ifndef WEIR_GATEWAY_INGEST_INTERNAL_H
#define WEIR_GATEWAY_INGEST_INTERNAL_H

#include "gateway/commit.h"
#include "gateway/ingest.h"
#include "gateway/lines.h"

/* Streams are shared: another request may have used up what one may have of fields (TOOBIG), or
 * have deleted it (NOTFOUND).  Then the records are judged again, by the stream as it is then. */
enum { JUDGED_AGAIN_MAX = 8 };
static inline bool is_judged_again(enum err_code code, int times)
{
    return (code == ERR_TOOBIG || code == ERR_NOTFOUND) && times < JUDGED_AGAIN_MAX;
}
/* Of the last time; the client's fault it is not. */
static inline enum err_code last_judgement(enum err_code code, struct err *e)
{
    return code == ERR_NOTFOUND
               ? err_set(e, ERR_AGAIN, "the stream was deleted meanwhile: send it again")
               : code;
}

/* What reads a body: lines_add_json or lines_add_ndjson. */
typedef enum err_code (*add_body)(struct lines *l, struct str body, lines_full full, void *ctx,
                                  struct err *e);

/* One request of logs on its way. */
struct request {
    struct ingest *in;
    add_body add;
    struct str org, name;                /* normalised */
    const struct catalog_stream *stream; /* NULL: not there yet; owned */
    struct lines *lines;                 /* owned */
    struct lines_rules rules;
    bool is_dropping; /* the lines did not fit: this pass only checks */
    uint64_t dropped_bytes;
    struct commit_room room; /* kept for the lines of both passes */
    uint64_t stored;         /* records in batches that are durable */
};

/* The stream as it is, the rules of now, and a work area; request_end also after an error. */
enum err_code request_begin(struct request *r, struct err *e);
void request_end(struct request *r);
/* lines_begin, with ids for the records where the stream wants them; errors of row_ids_reserve. */
enum err_code request_lines_begin(struct request *r, struct err *e);
/* New fields and wider types of the lines, durable in meta.  TOOBIG: others have used up what the
 * stream may have of them.  NOTFOUND: it was deleted. */
enum err_code request_merge_fields(struct request *r, struct err *e);
struct batch_run request_run(const struct request *r, const struct line_segment *s);
/* What it stored of so many bytes, or (code) why it failed, in the metrics. */
void request_count(const struct request *r, size_t body_bytes, enum err_code code);

#endif
