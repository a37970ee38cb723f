/* fs/ops_file.c - opening, reading and syncing files.
 *
 *   what grows          direct I/O: what a reader gets is what the journal shows at that moment,
 * cut at a line end.  Pages of a growing file would let a reader that races with a stat of another
 * see zeros past the old end. sealed Parquet      kernel passthrough, else the page cache, kept
 * between opens sealed as lines     the page cache, kept between opens; rendered by an engine
 *   status, schema      a text made at open, direct I/O
 * An open handle pins its file in the journal: it reads the same bytes after the hand-over.
 * The anchor counts what is open, so that the next process of the mount knows; an OPEN or RELEASE
 * that comes again from the kernel, because this is that next process, is not counted again.
 */
#include "fs/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/* ---- open and release ---- */

static bool wants_to_write(const struct fuse_file_info *fi)
{
    return (fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC);
}

static enum err_code open_text(struct session *s, const struct tree_ref *ref,
                               struct fuse_file_info *fi)
{
    struct handle *handle;
    struct err e = {0};
    enum err_code rc = handles_open(s->handles, &fi->fh, &handle, &e);

    if (rc)
        return rc;
    buf_init(&handle->text, TREE_TEXT_MAX);
    rc = tree_text(s->tree, ref, &handle->text, &e);
    handles_put(handle);
    if (rc) {
        handles_close(s->handles, fi->fh);
        status_report(s->status, STR("fs"), str_from(e.msg));
    }
    return rc;
}

/* A file that the journal has forgotten since it was looked up is gone. */
static enum err_code pin_file(struct session *s, const struct tree_ref *ref)
{
    enum err_code rc = journal_pin(s->journal, &ref->id, JOURNAL_READER_HANDLE, NULL);

    return rc == ERR_NOTFOUND ? ERR_STALE : rc;
}

static enum err_code open_part(struct session *s, const struct tree_ref *ref, uint32_t *backing_id)
{
    struct err e = {0};
    struct part p;
    enum err_code rc = tree_part(s->tree, ref, &p, &e);

    if (!rc)
        rc = open_parts_take(s->open_parts, &p, backing_id, &e);
    if (rc && rc != ERR_STALE)
        status_report(s->status, STR("open"), str_from(e.msg));
    return rc;
}

/* What an open of this ref took. */
static void close_file(struct session *s, const struct tree_ref *ref, uint64_t fh)
{
    if (ref->kind == TREE_PART)
        open_parts_give(s->open_parts, &ref->id);
    else if (ref->kind == TREE_DATA || ref->kind == TREE_SNAPSHOT)
        journal_unpin(s->journal, &ref->id, JOURNAL_READER_HANDLE);
    else if (tree_is_text(ref))
        handles_close(s->handles, fh);
}

struct open_job {
    fuse_req_t req;
    uint64_t ino, unique;
    struct tree_ref ref;
    struct fuse_file_info fi;
    size_t read_size; /* not 0: a read of what an earlier process opened, from read_off on */
    off_t read_off;
};

/* How the kernel is to read it, unless it passes through. */
static void set_reading(const struct tree_ref *ref, struct fuse_file_info *fi)
{
    bool is_sealed = ref->kind == TREE_PART || ref->kind == TREE_TEXT;

    fi->direct_io = !is_sealed;
    fi->keep_cache = is_sealed;
    fi->noflush = 1;
}

static enum err_code open_file(struct session *s, const struct tree_ref *ref,
                               struct fuse_file_info *fi, uint32_t *backing_id)
{
    if (ref->kind == TREE_PART)
        return open_part(s, ref, backing_id);
    if (ref->kind == TREE_DATA || ref->kind == TREE_SNAPSHOT)
        return pin_file(s, ref);
    return tree_is_text(ref) ? open_text(s, ref, fi) : ERR_OK;
}

static int reply_open(fuse_req_t req, struct fuse_file_info *fi, uint32_t backing_id)
{
    char raw[PASSTHROUGH_OPEN_LEN];

    if (backing_id == 0)
        return fuse_reply_open(req, fi);
    passthrough_format_open(fi->fh, backing_id, raw);
    return fuse_reply_buf(req, raw, sizeof raw);
}

/* Open it, and leave word of that for the next process. */
static enum err_code open_and_count(struct session *s, const struct open_job *job,
                                    struct fuse_file_info *fi, uint32_t *backing_id)
{
    char record[ANCHOR_RECORD_LEN];
    enum err_code rc = open_file(s, &job->ref, fi, backing_id);

    if (rc)
        return rc;
    adopt_record(&job->ref, record);
    if (anchor_take(s->anchor, job->ino, job->unique, *backing_id, record))
        return ERR_OK;
    close_file(s, &job->ref, fi->fh);
    return ERR_AGAIN;
}

static void open_and_reply(struct open_job *job)
{
    struct session *s = session_of(job->req);
    struct fuse_file_info *fi = &job->fi;
    uint32_t backing_id = 0;
    enum err_code rc = ERR_OK;

    set_reading(&job->ref, fi);
    if (!anchor_counted(s->anchor, job->ino, job->unique, &backing_id))
        rc = open_and_count(s, job, fi, &backing_id);
    if (rc) {
        fuse_reply_err(job->req, err_errno(rc));
    } else if (reply_open(job->req, fi, backing_id) != 0) { /* the asker was killed: no release */
        anchor_undo(s->anchor, job->ino);
        close_file(s, &job->ref, fi->fh);
    }
}

static void read_data(fuse_req_t req, const struct tree_ref *ref, size_t size, off_t off);

void run_open(void *arg)
{
    struct open_job *job = arg;

    if (job->read_size > 0)
        read_data(job->req, &job->ref, job->read_size, job->read_off);
    else
        open_and_reply(job);
    free(job);
    session_thread_done();
}

/* The first use of a sealed file after a start reads all of it: not on a worker's time. */
static bool defer_open(const struct open_job *now)
{
    struct session *s = session_of(now->req);
    struct open_job *job;

    if (now->ref.kind != TREE_PART || sealed_is_checked(s->sealed, &now->ref.id))
        return false;
    job = malloc(sizeof *job);
    if (!job)
        return false;
    *job = *now;
    if (open_queue_add(s->opens, job))
        return true;
    free(job);
    return false;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct session *s = session_of(req);
    struct open_job job = {.req = req, .ino = ino, .unique = session_request(), .fi = *fi};

    status_count(s->status, COUNT_OPENS, 1);
    if (!session_ref(req, ino, &job.ref))
        return;
    if (job.ref.kind == TREE_INGEST) {
        op_ingest_open(req, ino, &job.ref, fi);
        return;
    }
    if (job.ref.kind != TREE_COMMIT && wants_to_write(fi)) {
        status_count(s->status, COUNT_REFUSED_CHANGES, 1);
        fuse_reply_err(req, EROFS);
        return;
    }
    if (!defer_open(&job))
        open_and_reply(&job);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct tree_ref ref;

    if (fi->fh && session_find(session_of(req), ino, &ref) && ref.kind == TREE_INGEST)
        op_ingest_flush(req, &ref, fi);
    else
        fuse_reply_err(req, 0);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct session *s = session_of(req);
    struct tree_ref ref;
    bool is_known = session_find(s, ino, &ref);

    if (is_known && ref.kind == TREE_INGEST) {
        op_ingest_release(req, ino, &ref, fi);
        return;
    }
    if (is_known && anchor_give(s->anchor, ino, session_request()))
        close_file(s, &ref, fi->fh);
    fuse_reply_err(req, 0);
}

/* ---- read ---- */

static void reply_part(fuse_req_t req, struct str text, size_t size, off_t off)
{
    size_t at = (size_t)off < text.len ? (size_t)off : text.len;

    fuse_reply_buf(req, text.ptr + at, text.len - at < size ? text.len - at : size);
}

static void read_text(fuse_req_t req, const struct tree_ref *ref, size_t size, off_t off,
                      uint64_t fh)
{
    struct session *s = session_of(req);
    struct handle *handle = handles_get(s->handles, fh);
    struct buf text;
    enum err_code rc;

    if (handle) {
        reply_part(req, buf_str(&handle->text), size, off);
        handles_put(handle);
        return;
    }
    buf_init(&text, TREE_TEXT_MAX); /* opened by an earlier process */
    rc = tree_text(s->tree, ref, &text, NULL);
    if (rc)
        fuse_reply_err(req, err_errno(rc));
    else
        reply_part(req, buf_str(&text), size, off);
    buf_done(&text);
}

/* Opened by an earlier process. */
static enum err_code read_unopened(struct session *s, const struct tree_ref *ref, off_t off,
                                   char *dst, size_t n, size_t *got, struct err *e)
{
    struct part p;
    enum err_code rc = tree_part(s->tree, ref, &p, e);

    return rc ? rc : open_parts_read_unopened(s->open_parts, &p, (uint64_t)off, dst, n, got, e);
}

static enum err_code read_bytes(struct session *s, const struct tree_ref *ref, off_t off, char *dst,
                                size_t n, size_t *got, struct err *e)
{
    enum err_code rc;

    if (ref->kind != TREE_PART)
        return tree_read(s->tree, ref, (uint64_t)off, dst, n, got, e);
    rc = open_parts_read(s->open_parts, &ref->id, (uint64_t)off, dst, n, got, e);
    return rc == ERR_NOTFOUND ? read_unopened(s, ref, off, dst, n, got, e) : rc;
}

static void read_data(fuse_req_t req, const struct tree_ref *ref, size_t size, off_t off)
{
    struct session *s = session_of(req);
    char *bytes = session_thread_buffer(size);
    struct err e = {0};
    enum err_code rc;
    size_t got = 0;

    if (!bytes) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    rc = read_bytes(s, ref, off, bytes, size, &got, &e);
    if (rc) {
        status_report(s->status, STR("read"), str_from(e.msg));
        fuse_reply_err(req, rc == ERR_NOTFOUND ? ESTALE : err_errno(rc));
        return;
    }
    status_count(s->status, COUNT_READ_BYTES, (int64_t)got);
    fuse_reply_buf(req, bytes, got);
}

/* At once, or from a thread of the text's. */
static void finish_lines(enum err_code rc, struct str bytes, void *ctx)
{
    fuse_req_t req = ctx;

    if (rc) {
        fuse_reply_err(req, err_errno(rc));
        return;
    }
    status_count(session_of(req)->status, COUNT_READ_BYTES, (int64_t)bytes.len);
    fuse_reply_buf(req, bytes.ptr, bytes.len);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct session *s = session_of(req);
    struct tree_ref ref;

    status_count(s->status, COUNT_READS, 1);
    if (!session_ref(req, ino, &ref))
        return;
    if (tree_is_text(&ref))
        read_text(req, &ref, size, off, fi->fh);
    else if (ref.kind == TREE_PART &&
             defer_open(
                 &(struct open_job){.req = req, .ref = ref, .read_size = size, .read_off = off}))
        return;
    else if (ref.kind == TREE_TEXT)
        text_read(s->text, &ref, (uint64_t)off, size, finish_lines, req);
    else if (ref.kind == TREE_DATA || ref.kind == TREE_SNAPSHOT || ref.kind == TREE_PART)
        read_data(req, &ref, size, off);
    else
        fuse_reply_buf(req, NULL, 0); /* a commit file shows nothing */
}

/* ---- fsync ---- */

static void finish_fsync(enum err_code rc, const struct err *e, void *ctx)
{
    (void)e;
    fuse_reply_err(ctx, err_errno(rc));
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct session *s = session_of(req);
    struct tree_ref ref;
    enum err_code rc;

    (void)datasync;
    (void)fi;
    status_count(s->status, COUNT_FSYNCS, 1);
    if (!session_ref(req, ino, &ref))
        return;
    if (ref.kind != TREE_DATA && ref.kind != TREE_COMMIT && ref.kind != TREE_INGEST) {
        fuse_reply_err(req, 0);
        return;
    }
    rc = sync_queue_add(s->syncs, finish_fsync, req, NULL);
    if (rc)
        fuse_reply_err(req, err_errno(rc));
}
