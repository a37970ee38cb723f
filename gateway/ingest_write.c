/* gateway/ingest_write.c - one write to an `ingest` file: its lines in one batch, or none.
 *
 * The stream is there already, and the write says under which number: a stream of that name that
 * was deleted and made again is another one.
 */
#include "gateway/ingest_internal.h"

/* Its lines are one batch, so many hours in turn are put in order before they are too many. */
static enum err_code gather_hours(struct lines *l, void *ctx, struct err *e)
{
    (void)ctx;
    enum err_code code = lines_sort(l, e);
    if (!code && (l->out.len >= LINES_MAX || l->segment_count > SEGMENTS_MAX / 2))
        code = err_set(e, ERR_TOOBIG, "the lines of one write fill more than a batch");
    return code;
}

/* In one batch, or not at all. */
static enum err_code store_write(struct request *r, const struct batch_request *request,
                                 struct err *e)
{
    struct lines *l = r->lines;
    struct commit *c;
    enum err_code code = lines_sort(l, e);
    if (!code)
        code = commit_begin(ingest_config_of(r->in)->commits, NULL, &c, e);
    if (code)
        return code;
    commit_carry(c, request);
    for (size_t i = 0; i < l->segment_count && !code; i++) {
        struct batch_run run = request_run(r, &l->segments[i]);
        code = commit_add(c, &run, e);
        if (!code && run.bytes.len > 0)
            code = err_set(e, ERR_TOOBIG, "the lines of one write fill more than a batch");
    }
    if (!code)
        return commit_finish(c, e);
    commit_abort(c);
    return code;
}

static enum err_code run_write(struct request *r, const struct ingest_write *w, struct err *e)
{
    struct batch_request request = {.mount = w->mount, .number = w->request};
    struct lines *l = r->lines;
    size_t bad = 0;
    enum err_code code = request_lines_begin(r, e);
    if (!code)
        code = lines_add_until_bad(l, w->lines, gather_hours, NULL, &bad, e);
    if (!code && l->successful > 0) {
        request.answer = bad ? ERR_INVALID : ERR_OK;
        code = request_merge_fields(r, e);
        if (!code)
            code = store_write(r, &request, e);
    }
    if (code || !bad)
        return code;
    return err_set(e, ERR_INVALID, "line %zu of a write: %s", bad, l->reason);
}

static void count_write(const struct request *r, size_t bytes, enum err_code code)
{
    request_count(r, bytes,
                  code == ERR_INVALID ? ERR_OK : code); /* its bad line is a failed record */
}

/* Is that why a write failed? */
static bool was_deleted(const struct request *r, const struct ingest_write *w)
{
    bool deleted = false;
    return catalog_was_deleted(ingest_config_of(r->in)->catalog, w->stream, &deleted, NULL) ==
               ERR_OK &&
           deleted;
}

enum err_code ingest_lines(struct ingest *in, const struct ingest_write *w, uint64_t *stored,
                           struct err *e)
{
    struct request r = {.in = in, .org = w->org, .name = w->name};
    enum err_code code = request_begin(&r, e);
    bool is_gone = !code && (!r.stream || r.stream->number != w->stream);
    *stored = 0;
    if (!code && !is_gone) {
        code = run_write(&r, w, e);
        count_write(&r, w->lines.len, code);
        *stored = code && code != ERR_INVALID ? 0 : r.lines->successful;
        is_gone = (code == ERR_AGAIN || code == ERR_NOTFOUND) && was_deleted(&r, w);
    }
    if (is_gone)
        code =
            err_set(e, ERR_STALE, "stream number %llu is deleted", (unsigned long long)w->stream);
    request_end(&r);
    return code;
}
