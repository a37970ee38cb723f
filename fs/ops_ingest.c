/* fs/ops_ingest.c - opens of, writes to and closes of `ingest` files.
 *
 * Open as an append-only file is: for writing only with O_APPEND or O_TRUNC, else EPERM.  So `>>`,
 * `>`, tee, cp, dd and Python's "a" and "w" work, and whoever means to write at an offset
 * (rsync --inplace, dd conv=notrunc) learns it before the first byte.  Offsets mean nothing, and
 * reading shows nothing.
 */
#include "fs/door/asking.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

static bool opens_for_writing(const struct fuse_file_info *fi)
{
    return (fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC);
}

static struct inlet_call call_of(fuse_req_t req, const struct tree_ref *ref,
                                 const struct fuse_file_info *fi)
{
    return (struct inlet_call){.handle = fi->fh,
                               .request = session_request(),
                               .is_resent = session_is_resent(),
                               .stream =
                                   registry_stream_number(session_of(req)->registry, ref->stream),
                               .org = ref->org->raw,
                               .name = ref->stream->raw};
}

static void refuse_open(fuse_req_t req, const struct tree_ref *ref, int sys, const char *why)
{
    struct session *s = session_of(req);
    char text[ERR_MSG_MAX];

    snprintf(text, sizeof text, STR_FMT "/" STR_FMT ": %s", STR_ARG(ref->org->name),
             STR_ARG(ref->stream->name), why);
    status_count(s->status, COUNT_INGEST_OPENS_REFUSED, 1);
    status_report(s->status, STR("ingest"), str_from(text));
    fuse_reply_err(req, sys);
}

static void forget(enum err_code code, size_t size, void *ctx)
{
    (void)code, (void)size, (void)ctx;
}

/* The number of a handle is never 0, which is that of opens for reading. */
void op_ingest_open(fuse_req_t req, fuse_ino_t ino, const struct tree_ref *ref,
                    struct fuse_file_info *fi)
{
    struct session *s = session_of(req);
    char record[ANCHOR_RECORD_LEN];
    bool writes = opens_for_writing(fi);

    fi->direct_io = 1;
    fi->noflush = !writes;
    fi->fh = 0;
    if (writes && !(fi->flags & (O_APPEND | O_TRUNC))) {
        refuse_open(req, ref, EPERM, "open for writing without O_APPEND or O_TRUNC");
        return;
    }
    if (writes && !inlet_open(s->inlet, session_request(), session_is_resent(), &fi->fh)) {
        refuse_open(req, ref, ENFILE, "as many handles are open as there can be");
        return;
    }
    adopt_record(ref, record);
    struct inlet_call call = call_of(req, ref, fi); /* a reply frees the request */
    bool is_counted = anchor_take(s->anchor, ino, call.request, 0, record);
    if (is_counted && fuse_reply_open(req, fi) == 0)
        return;
    if (is_counted)
        anchor_undo(s->anchor, ino); /* the asker was killed: no release will come */
    else
        refuse_open(req, ref, ENFILE, "as many files are open as there can be");
    if (call.handle)
        inlet_release(s->inlet, &call, forget, NULL);
}

/* ---- writes and flushes ---- */

struct waiting {
    struct asking asking; /* first */
    enum err_code code;
    size_t size;
};

/* NULL: replied. */
static struct waiting *wait_for(fuse_req_t req, void (*reply)(struct asking *a))
{
    struct waiting *w = malloc(sizeof *w);

    if (!w) {
        status_count(session_of(req)->status, COUNT_INGEST_BUSY, 1);
        fuse_reply_err(req, ENOMEM);
        return NULL;
    }
    asking_begin(&w->asking, req, session_request(), reply);
    return w;
}

/* From the inlet: at once, or from a thread of the door's. */
static void take_answer(enum err_code code, size_t size, void *ctx)
{
    struct waiting *w = ctx;

    w->code = code;
    w->size = size;
    asking_answered(&w->asking);
}

static void reply_write(struct asking *a)
{
    struct waiting *w = (struct waiting *)a;

    if (w->code == ERR_OK) {
        fuse_reply_write(a->req, w->size);
    } else {
        status_count(session_of(a->req)->status, COUNT_WRITES_REFUSED, 1);
        fuse_reply_err(a->req, err_errno(w->code));
    }
    free(w);
}

static void reply_flush(struct asking *a)
{
    struct waiting *w = (struct waiting *)a;

    fuse_reply_err(a->req, err_errno(w->code));
    free(w);
}

void op_ingest_write(fuse_req_t req, const struct tree_ref *ref, struct str bytes,
                     const struct fuse_file_info *fi)
{
    struct inlet_call call = call_of(req, ref, fi);
    struct waiting *w = wait_for(req, reply_write);

    if (!w)
        return;
    inlet_write(session_of(req)->inlet, &call, bytes, take_answer, w);
    asking_asked(&w->asking);
}

void op_ingest_flush(fuse_req_t req, const struct tree_ref *ref, const struct fuse_file_info *fi)
{
    struct inlet_call call = call_of(req, ref, fi);
    struct waiting *w = wait_for(req, reply_flush);

    if (!w)
        return;
    inlet_flush(session_of(req)->inlet, &call, take_answer, w);
    asking_asked(&w->asking);
}

/* ---- the last close ---- */

struct releasing {
    fuse_req_t req;
    uint64_t ino, request;
};

/* Last the inode: the next process finds a handle by it. */
static void finish_release(enum err_code code, size_t size, void *ctx)
{
    struct releasing *r = ctx;

    (void)code, (void)size;
    anchor_give(session_of(r->req)->anchor, r->ino, r->request);
    fuse_reply_err(r->req, 0);
    free(r);
}

void op_ingest_release(fuse_req_t req, fuse_ino_t ino, const struct tree_ref *ref,
                       const struct fuse_file_info *fi)
{
    struct inlet_call call = call_of(req, ref, fi);
    struct releasing *r = malloc(sizeof *r);

    if (!r) {
        fuse_reply_err(req, ENOMEM); /* nobody sees it; the handle stays until the mount ends */
        return;
    }
    *r = (struct releasing){req, ino, session_request()};
    if (fi->fh)
        inlet_release(session_of(req)->inlet, &call, finish_release, r);
    else
        finish_release(ERR_OK, 0, r);
}

/* ---- life ---- */

enum err_code session_open_inlet(struct session *s, struct err *e)
{
    const struct fs_config *cfg = s->cfg;
    struct door_config dc = {.journal = s->journal,
                             .status = s->status,
                             .pending_max_bytes = cfg->ingest_pending_max_bytes,
                             .wait_ms = cfg->ingest_wait_ms};
    struct inlet_config ic = {.journal = s->journal,
                              .status = s->status,
                              .mount = anchor_mount(s->anchor),
                              .line_max_bytes = cfg->line_max_bytes};
    enum err_code rc =
        tails_open(cfg->anchor_fd, anchor_tails_at(), cfg->ingest_tails_max_bytes, &s->tails, e);

    if (!rc)
        rc = door_start(&dc, &s->door, e);
    ic.tails = s->tails;
    ic.door = s->door;
    return rc ? rc : inlet_new(&ic, &s->inlet, e);
}

void session_close_inlet(struct session *s)
{
    inlet_free(s->inlet);
    door_free(s->door);
    tails_close(s->tails);
}
