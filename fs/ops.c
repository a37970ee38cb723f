/* fs/ops.c - the table of handlers, with the refusals: the tree is read-only. */
#include "fs/session.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_WRITE_BYTES BATCH_PART_MAX
#define MAX_BACKGROUND 128
#define CONGESTION_THRESHOLD 96

static void init(void *userdata, struct fuse_conn_info *conn)
{
    struct session *s = userdata;

    conn->max_write = MAX_WRITE_BYTES;
    conn->max_background = MAX_BACKGROUND;
    conn->congestion_threshold = CONGESTION_THRESHOLD;
    conn->time_gran = 1000; /* microseconds */
    conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                              FUSE_CAP_WRITEBACK_CACHE);
    conn->want |= conn->capable & (FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_AUTO_INVAL_DATA);
    atomic_store(&s->initialised, true);
}

static void refuse(fuse_req_t req)
{
    status_count(session_of(req)->status, COUNT_REFUSED_CHANGES, 1);
    fuse_reply_err(req, EROFS);
}

#define TIMES                                                                                      \
    (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |                         \
     FUSE_SET_ATTR_MTIME_NOW | FUSE_SET_ATTR_CTIME)

static void refuse_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                           struct fuse_file_info *fi)
{
    struct tree_ref ref;

    (void)fi;
    if (!session_ref(req, ino, &ref))
        return;
    /* `> commit/0` truncates, which means nothing there; ftruncate of what is empty already. */
    if (ref.kind == TREE_COMMIT && to_set == FUSE_SET_ATTR_SIZE)
        op_getattr(req, ino, NULL);
    else if (ref.kind == TREE_INGEST && (to_set & FUSE_SET_ATTR_SIZE) && attr->st_size != 0)
        fuse_reply_err(req, EINVAL);
    else if (ref.kind == TREE_INGEST && (to_set & ~TIMES) == FUSE_SET_ATTR_SIZE)
        op_getattr(req, ino, NULL);
    else
        refuse(req);
}

static void refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                         dev_t rdev)
{
    (void)parent, (void)name, (void)mode, (void)rdev;
    refuse(req);
}

static void refuse_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    (void)parent, (void)name;
    refuse(req);
}

static void refuse_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
    (void)link, (void)parent, (void)name;
    refuse(req);
}

static void refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
                          fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
    (void)parent, (void)name, (void)new_parent, (void)new_name, (void)flags;
    refuse(req);
}

static void refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
    (void)ino, (void)new_parent, (void)new_name;
    refuse(req);
}

static void refuse_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                          struct fuse_file_info *fi)
{
    (void)parent, (void)name, (void)mode, (void)fi;
    refuse(req);
}

static void refuse_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                            size_t size, int flags)
{
    (void)ino, (void)name, (void)value, (void)size, (void)flags;
    refuse(req);
}

static void refuse_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    (void)ino, (void)name;
    refuse(req);
}

static void refuse_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                             struct fuse_file_info *fi)
{
    (void)ino, (void)mode, (void)off, (void)len, (void)fi;
    refuse(req);
}

const struct fuse_lowlevel_ops session_ops = {
    .init = init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .statfs = op_statfs,
    .access = op_access,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .releasedir = op_releasedir,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .flush = op_flush,
    .fsync = op_fsync,
    .release = op_release,
    .setattr = refuse_setattr,
    .mknod = refuse_mknod,
    .mkdir = op_mkdir,
    .unlink = refuse_remove,
    .rmdir = refuse_remove,
    .symlink = refuse_symlink,
    .rename = refuse_rename,
    .link = refuse_link,
    .create = refuse_create,
    .setxattr = refuse_setxattr,
    .removexattr = refuse_removexattr,
    .fallocate = refuse_fallocate,
};

/* ---- helpers ---- */

bool session_find(struct session *s, fuse_ino_t ino, struct tree_ref *out)
{
    if (nodes_find(s->nodes, ino, out))
        return true;
    if (!adopt_find(s->adopt, ino, out))
        return false;
    nodes_adopt(s->nodes, ino, out);
    return true;
}

bool session_ref(fuse_req_t req, fuse_ino_t ino, struct tree_ref *out)
{
    if (session_find(session_of(req), ino, out))
        return true;
    fuse_reply_err(req, ESTALE);
    return false;
}

uint64_t session_shown_ino(const struct tree_ref *ref, fuse_ino_t ino)
{
    struct tree_ref first = *ref;

    if (ref->kind != TREE_INGEST || ref->number == 0)
        return ino;
    first.number = 0;
    return tree_ino(&first, 0);
}

bool session_entry(struct session *s, const struct tree_ref *ref, struct fuse_entry_param *out)
{
    *out = (struct fuse_entry_param){0};
    if (!tree_stat(s->tree, ref, &out->attr))
        return false;
    tree_timeouts(ref, &out->entry_timeout, &out->attr_timeout);
    out->ino = nodes_take(s->nodes, ref);
    out->attr.st_ino = session_shown_ino(ref, out->ino);
    return out->ino != 0;
}

static _Thread_local struct {
    char *data;
    size_t cap;
} thread_buffer;

char *session_thread_buffer(size_t size)
{
    if (size > thread_buffer.cap) {
        free(thread_buffer.data);
        thread_buffer.data = malloc(size);
        thread_buffer.cap = thread_buffer.data ? size : 0;
    }
    return thread_buffer.data;
}

void session_thread_done(void)
{
    free(thread_buffer.data);
    thread_buffer.data = NULL;
    thread_buffer.cap = 0;
}
