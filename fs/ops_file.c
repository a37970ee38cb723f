/* fs/ops_file.c - opening, reading and syncing files.
 *
 * All files of this version are opened with direct I/O: what a reader gets is what the journal
 * shows at that moment, cut at a line end.  Pages of a growing file would let a reader that races
 * with a stat of another see zeros past the old end.
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
    buf_init(&handle->text, STATUS_TEXT_MAX);
    rc = tree_text(s->tree, ref, &handle->text, &e);
    handles_put(handle);
    if (rc) {
        handles_close(s->handles, fi->fh);
        status_report(s->status, STR("fs"), str_from(e.msg));
    }
    return rc;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct session *s = session_of(req);
    enum err_code rc = ERR_OK;
    struct tree_ref ref;

    status_count(s->status, COUNT_OPENS, 1);
    if (!session_ref(req, ino, &ref))
        return;
    if (ref.kind != TREE_COMMIT && wants_to_write(fi)) {
        status_count(s->status, COUNT_REFUSED_CHANGES, 1);
        fuse_reply_err(req, EROFS);
        return;
    }
    fi->direct_io = 1;
    fi->noflush = 1;
    if (tree_is_text(&ref))
        rc = open_text(s, &ref, fi);
    if (rc)
        fuse_reply_err(req, err_errno(rc));
    else if (fuse_reply_open(req, fi) != 0 && tree_is_text(&ref))
        handles_close(s->handles, fi->fh);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    (void)fi;
    fuse_reply_err(req, 0);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    if (fi->fh)
        handles_close(session_of(req)->handles, fi->fh);
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
    buf_init(&text, STATUS_TEXT_MAX); /* opened by an earlier process */
    rc = tree_text(s->tree, ref, &text, NULL);
    if (rc)
        fuse_reply_err(req, err_errno(rc));
    else
        reply_part(req, buf_str(&text), size, off);
    buf_done(&text);
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
    rc = tree_read(s->tree, ref, (uint64_t)off, bytes, size, &got, &e);
    if (rc) {
        status_report(s->status, STR("read"), str_from(e.msg));
        fuse_reply_err(req, rc == ERR_NOTFOUND ? ESTALE : err_errno(rc));
        return;
    }
    status_count(s->status, COUNT_READ_BYTES, (int64_t)got);
    fuse_reply_buf(req, bytes, got);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct tree_ref ref;

    status_count(session_of(req)->status, COUNT_READS, 1);
    if (!session_ref(req, ino, &ref))
        return;
    if (tree_is_text(&ref))
        read_text(req, &ref, size, off, fi->fh);
    else if (ref.kind == TREE_DATA || ref.kind == TREE_SNAPSHOT)
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
    if (ref.kind != TREE_DATA && ref.kind != TREE_COMMIT) {
        fuse_reply_err(req, 0);
        return;
    }
    rc = sync_queue_add(s->syncs, finish_fsync, req, NULL);
    if (rc)
        fuse_reply_err(req, err_errno(rc));
}
