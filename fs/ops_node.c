/* fs/ops_node.c - names, attributes and extended attributes. */
#include "fs/session.h"

#include <errno.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* The kernel lets one append at a time into an inode, and burns a core on who waits.  So each
 * lookup of an ingest file gives one of several inodes, which are the same file: writers that
 * opened it by its path share one with few others. */
#define INGEST_LANES 32

static void choose_lane(struct session *s, struct tree_ref *ref)
{
    if (ref->kind == TREE_INGEST)
        ref->number = atomic_fetch_add(&s->lookups_of_ingest, 1) % INGEST_LANES;
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct session *s = session_of(req);
    struct tree_ref dir, child;
    struct fuse_entry_param entry;

    status_count(s->status, COUNT_LOOKUPS, 1);
    if (!session_ref(req, parent, &dir))
        return;
    bool is_there = tree_lookup(s->tree, &dir, str_from(name), &child);
    if (is_there)
        choose_lane(s, &child);
    if (!is_there || !session_entry(s, &child, &entry)) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    if (fuse_reply_entry(req, &entry) != 0)
        nodes_forget(s->nodes, entry.ino, 1); /* the asker was killed: the kernel has no inode */
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
    nodes_forget(session_of(req)->nodes, ino, count);
    fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    struct nodes *nodes = session_of(req)->nodes;

    for (size_t i = 0; i < count; i++)
        nodes_forget(nodes, forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct session *s = session_of(req);
    struct tree_ref ref;
    struct stat st;
    double entry_seconds, attr_seconds;

    (void)fi;
    status_count(s->status, COUNT_GETATTRS, 1);
    if (!session_ref(req, ino, &ref))
        return;
    if (!tree_stat(s->tree, &ref, &st)) {
        fuse_reply_err(req, ESTALE);
        return;
    }
    st.st_ino = session_shown_ino(&ref, ino);
    tree_timeouts(&ref, &entry_seconds, &attr_seconds);
    fuse_reply_attr(req, &st, attr_seconds);
}

/* The disk below the data directory: what can still come in. */
void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct statvfs vfs;

    (void)ino;
    if (fstatvfs(session_of(req)->data_dir_fd, &vfs) != 0) {
        fuse_reply_err(req, errno);
        return;
    }
    vfs.f_namemax = NAME_TEXT_MAX;
    fuse_reply_statfs(req, &vfs);
}

/* Asked only where the kernel does not check the modes itself. */
void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
    struct tree_ref ref;

    if (!session_ref(req, ino, &ref))
        return;
    bool is_written = ref.kind == TREE_COMMIT || ref.kind == TREE_INGEST || ref.kind == TREE_ROOT ||
                      ref.kind == TREE_TYPE;
    fuse_reply_err(req, (mask & W_OK) && !is_written ? EROFS : 0);
}

static void reply_bytes(fuse_req_t req, const char *bytes, size_t len, size_t room)
{
    if (room == 0)
        fuse_reply_xattr(req, len);
    else if (len > room)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, bytes, len);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct session *s = session_of(req);
    char value[TREE_XATTR_MAX];
    struct tree_ref ref;
    enum err_code rc;
    size_t len;

    /* Asked for each line of `ls -l`, which does not ask again where they cannot be. */
    if (str_starts(str_from(name), STR("system.")) ||
        str_eq(str_from(name), STR("security.selinux"))) {
        fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    /* Asked before many a write and open; there are none. */
    if (str_starts(str_from(name), STR("security."))) {
        fuse_reply_err(req, ENODATA);
        return;
    }
    if (!session_ref(req, ino, &ref))
        return;
    rc = tree_xattr(s->tree, &ref, str_from(name), value, &len);
    if (rc)
        fuse_reply_err(req, rc == ERR_NOTFOUND ? ENODATA : err_errno(rc));
    else
        reply_bytes(req, value, len, size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    char names[TREE_XATTR_MAX];
    struct tree_ref ref;

    if (session_ref(req, ino, &ref))
        reply_bytes(req, names, tree_xattr_names(session_of(req)->tree, &ref, names), size);
}
