/* fs/ops_commit.c - a write to a commit file: one part of a batch for the journal.
 *
 * The reply is the journal's to give, perhaps later.  An append may still wait for room in the
 * journal; so that readers always find a worker, only some of the workers append at a time:
 *
 *   worker ── fewer than append_max are in the journal ──► appends, then what waits, to the end
 *     └────── else ──► leaves the request, buffer and all, on the waiting list; reads the next one
 *
 * The kernel sends one write at a time for each commit file: that many requests wait at most.
 */
#include "fs/session.h"

#include <stdlib.h>

#define RUNS_ON_STACK 16
#define RUN_COUNT_AT 36 /* in the header of a batch (fs/journal/batch.h) */
#define RUN_BYTES_MIN BATCH_RUN_LEN

/* ---- one part ---- */

struct pending_write {
    fuse_req_t req;
    size_t size;
    uint64_t request; /* of a write to an `ingest` file whose lines all are in it; 0: none */
    uint32_t lines;
};

static void refuse_write(fuse_req_t req, enum err_code rc, const struct err *e)
{
    struct session *s = session_of(req);

    status_count(s->status, COUNT_WRITES_REFUSED, 1);
    if (e && rc != ERR_AGAIN)
        status_report(s->status, STR("commit"), str_from(e->msg));
    fuse_reply_err(req, err_errno(rc));
}

/* From the journal: perhaps at once, perhaps from its syncer when the batch is durable. */
static void finish_write(enum err_code rc, const struct err *e, void *ctx)
{
    struct pending_write *p = ctx;

    if (!rc && p->request)
        door_stored(session_of(p->req)->door, p->request, p->lines);
    if (rc)
        refuse_write(p->req, rc, e);
    else
        fuse_reply_write(p->req, p->size);
    free(p);
}

static enum err_code check_part(const struct batch_part *part, uint64_t file, struct err *e)
{
    if (part->id.worker != file)
        return err_set(e, ERR_INVALID, "commit file %llu got a batch of worker %u",
                       (unsigned long long)file, part->id.worker);
    for (size_t i = 0; i < part->run_count; i++) {
        if (!hour_has_place(part->runs[i].hour))
            return err_set(e, ERR_INVALID, "hour %d lies outside the years 0000 to 9999",
                           part->runs[i].hour);
    }
    return ERR_OK;
}

/* Who waits for those lines is told without the way through the gateway.  Only of a batch that
 * waits for no disk: it is finished by the worker that appends it, while there are doors. */
static void note_request(struct pending_write *p, const struct batch_part *part,
                         const struct session *s)
{
    const struct batch_request *r = &part->request;

    if (part->parts != 1 || !(part->flags & BATCH_NO_SYNC) || r->answer != ERR_OK ||
        r->mount != anchor_mount(s->anchor))
        return;
    p->request = r->number;
    for (size_t i = 0; i < part->run_count; i++)
        p->lines += part->runs[i].lines;
}

static enum err_code append_part(fuse_req_t req, uint64_t file, struct str message,
                                 struct batch_run *runs, size_t run_max, struct err *e)
{
    struct pending_write *pending;
    struct batch_part part;
    enum err_code rc = batch_decode(message, runs, run_max, &part, e);

    if (!rc)
        rc = check_part(&part, file, e);
    if (rc)
        return rc;
    pending = malloc(sizeof *pending);
    if (!pending)
        return err_set(e, ERR_NOMEM, "no memory for a batch");
    *pending = (struct pending_write){.req = req, .size = message.len};
    note_request(pending, &part, session_of(req));
    journal_append(session_of(req)->journal, &part, finish_write, pending);
    return ERR_OK;
}

/* What the header claims, but no more than can stand in the message; decoding checks the rest. */
static size_t claimed_runs(struct str message)
{
    size_t possible = message.len / RUN_BYTES_MIN;
    size_t claimed = message.len >= BATCH_HEADER_LEN ? get_u32(message.ptr + RUN_COUNT_AT) : 0;

    return claimed < possible ? claimed : possible;
}

static void append_message(fuse_req_t req, uint64_t file, struct str message)
{
    struct batch_run few[RUNS_ON_STACK], *runs = few;
    size_t run_max = claimed_runs(message);
    struct err e = {0};
    enum err_code rc;

    if (run_max > RUNS_ON_STACK)
        runs = calloc(run_max, sizeof *runs);
    rc = runs ? append_part(req, file, message, runs, run_max, &e)
              : err_set(&e, ERR_NOMEM, "no memory for the runs of a batch");
    if (rc)
        refuse_write(req, rc, &e);
    if (runs != few)
        free(runs);
}

/* ---- whose turn it is ---- */

struct waiting_commit {
    struct waiting_commit *next;
    fuse_req_t req;
    uint64_t file;
    struct str message;
    void *memory; /* that holds the message */
};

void commits_init(struct commits *c, unsigned workers)
{
    *c = (struct commits){
        .append_max = workers > WORKERS_FOR_READERS + 1 ? workers - WORKERS_FOR_READERS : 1};
    pthread_mutex_init(&c->lock, NULL);
}

void commits_done(struct commits *c)
{
    pthread_mutex_destroy(&c->lock);
}

/* True: the caller appends it itself. */
static bool begin_or_leave(struct commits *c, struct waiting_commit *w)
{
    struct waiting_commit *left;

    LOCK_SCOPE(&c->lock);
    if (c->appending < c->append_max || !(left = malloc(sizeof *left))) {
        c->appending++;
        return true;
    }
    *left = *w;
    left->memory = session_take_request();
    if (c->last)
        c->last->next = left;
    else
        c->first = left;
    c->last = left;
    return false;
}

/* The next one that waits; NULL: none, and the caller's turn is over. */
static struct waiting_commit *next_or_end(struct commits *c)
{
    struct waiting_commit *next;

    LOCK_SCOPE(&c->lock);
    next = c->first;
    if (!next) {
        c->appending--;
        return NULL;
    }
    c->first = next->next;
    if (!c->first)
        c->last = NULL;
    return next;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
              struct fuse_file_info *fi)
{
    struct session *s = session_of(req);
    struct waiting_commit w = {.req = req, .message = {data, size}};
    struct tree_ref ref;

    (void)off; /* commit files have no content: every write is a part of its own */
    status_count(s->status, COUNT_WRITES, 1);
    status_count(s->status, COUNT_WRITE_BYTES, (int64_t)size);
    if (!session_ref(req, ino, &ref))
        return;
    if (ref.kind == TREE_INGEST) {
        op_ingest_write(req, &ref, w.message, fi);
        return;
    }
    if (ref.kind != TREE_COMMIT) {
        refuse_write(req, ERR_READONLY, NULL);
        return;
    }
    w.file = ref.number;
    if (!begin_or_leave(&s->commits, &w))
        return;
    append_message(req, w.file, w.message);
    for (struct waiting_commit *next; (next = next_or_end(&s->commits));) {
        append_message(next->req, next->file, next->message);
        free(next->memory);
        free(next);
    }
}
