/* fs/ops_dir.c - listings: a snapshot of the names, read on by cookie.
 *
 * The kernel keeps the listing of an hour, and is told at each opendir whether it is still right:
 * nothing depends on a notification that may come late.
 * The snapshot is taken by the first read, not by opendir: walkers open a directory many times only
 * to stand in it. */
#include "fs/session.h"

#include <errno.h>
#include <stdlib.h>

/* One reply being filled. */
struct page {
    fuse_req_t req;
    struct session *session;
    const struct tree_ref *dir;
    char *bytes;
    size_t len, room;
    bool plus;
    uint64_t *taken; /* inodes referenced by this reply, for the case that it is not wanted */
    size_t taken_count;
};

#define PAGE_ENTRY_MIN 24 /* the smallest entry on the wire: bounds how many a reply can hold */

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct session *s = session_of(req);
    struct tree_ref ref;
    struct handle *handle;
    uint64_t version;
    enum err_code rc;

    if (!session_ref(req, ino, &ref))
        return;
    if (!tree_is_dir(&ref)) {
        fuse_reply_err(req, ENOTDIR);
        return;
    }
    rc = handles_open(s->handles, &fi->fh, &handle, NULL);
    if (rc) {
        fuse_reply_err(req, err_errno(rc));
        return;
    }
    handles_put(handle);
    if (tree_listing_version(s->tree, &ref, &version)) {
        fi->cache_readdir = 1;
        fi->keep_cache = nodes_listing_is(s->nodes, ino, version);
    }
    if (fuse_reply_open(req, fi) != 0)
        handles_close(s->handles, fi->fh);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    handles_close(session_of(req)->handles, fi->fh);
    fuse_reply_err(req, 0);
}

/* ---- filling a page ---- */

/* False: it does not fit. */
static bool put_plain(struct page *p, const char *name, uint64_t ino, mode_t mode, uint64_t cookie)
{
    struct stat st = {.st_ino = ino, .st_mode = mode};
    size_t n =
        fuse_add_direntry(p->req, p->bytes + p->len, p->room - p->len, name, &st, (off_t)cookie);

    if (n > p->room - p->len)
        return false;
    p->len += n;
    return true;
}

/* An entry whose inode number is 0 tells the kernel the name only. */
static bool put_entry(struct page *p, const char *name, const struct fuse_entry_param *entry,
                      uint64_t cookie)
{
    size_t n = fuse_add_direntry_plus(p->req, p->bytes + p->len, p->room - p->len, name, entry,
                                      (off_t)cookie);

    if (n > p->room - p->len)
        return false;
    p->len += n;
    return true;
}

static bool put_plus(struct page *p, const char *name, uint64_t ino, mode_t mode, uint64_t cookie)
{
    struct fuse_entry_param entry = {0};
    struct tree_ref child;
    bool held = tree_lookup(p->session->tree, p->dir, str_from(name), &child) &&
                session_entry(p->session, &child, &entry);

    if (!held) { /* gone since the directory was opened */
        entry = (struct fuse_entry_param){0};
        entry.attr.st_ino = ino;
        entry.attr.st_mode = mode;
    }
    if (!put_entry(p, name, &entry, cookie)) {
        if (held)
            nodes_forget(p->session->nodes, entry.ino, 1);
        return false;
    }
    if (held)
        p->taken[p->taken_count++] = entry.ino;
    return true;
}

/* `.` and `..` never take a reference. */
static bool put_dot(struct page *p, const char *name, uint64_t ino, uint64_t cookie)
{
    struct fuse_entry_param entry = {.attr = {.st_ino = ino, .st_mode = S_IFDIR}};

    return p->plus ? put_entry(p, name, &entry, cookie) : put_plain(p, name, ino, S_IFDIR, cookie);
}

static void fill_page(struct page *p, const struct listing *l, uint64_t after)
{
    uint64_t self = tree_ino(p->dir, 0);

    if (after < COOKIE_DOT && !put_dot(p, ".", self, COOKIE_DOT))
        return;
    if (after < COOKIE_DOTDOT && !put_dot(p, "..", tree_parent_ino(p->dir), COOKIE_DOTDOT))
        return;
    for (size_t i = listing_after(l, after); i < l->count; i++) {
        const struct listing_entry *e = &l->entries[i];
        const char *name = listing_name(l, i).ptr;
        bool fits = p->plus ? put_plus(p, name, e->ino, e->mode, e->cookie)
                            : put_plain(p, name, e->ino, e->mode, e->cookie);
        if (!fits)
            return;
    }
}

static void send_page(struct page *p)
{
    if (fuse_reply_buf(p->req, p->bytes, p->len) == 0)
        return;
    for (size_t i = 0; i < p->taken_count; i++)
        nodes_forget(p->session->nodes, p->taken[i], 1);
}

/* ---- reading ---- */

/* Reading from the start again is a rewind: it shows what is there now. */
static enum err_code take_listing(struct session *s, const struct tree_ref *dir,
                                  struct handle *handle, off_t off)
{
    enum err_code rc;

    if (handle->is_listed && off != 0)
        return ERR_OK;
    listing_done(&handle->listing);
    listing_init(&handle->listing);
    rc = tree_list(s->tree, dir, &handle->listing, NULL);
    handle->is_listed = rc == ERR_OK;
    return rc;
}

static enum err_code read_page(struct page *p, uint64_t fh, off_t off)
{
    struct session *s = p->session;
    struct handle *handle = handles_get(s->handles, fh);
    struct listing fresh;
    enum err_code rc;

    if (handle) {
        rc = take_listing(s, p->dir, handle, off);
        if (!rc)
            fill_page(p, &handle->listing, (uint64_t)off);
        handles_put(handle);
        return rc;
    }
    /* Opened by an earlier process: cookies mean the same in any listing. */
    listing_init(&fresh);
    rc = tree_list(s->tree, p->dir, &fresh, NULL);
    if (!rc)
        fill_page(p, &fresh, (uint64_t)off);
    listing_done(&fresh);
    return rc;
}

static void read_directory(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, uint64_t fh,
                           bool plus)
{
    struct session *s = session_of(req);
    struct tree_ref dir;
    struct page page = {.req = req, .session = s, .dir = &dir, .room = size, .plus = plus};
    enum err_code rc = ERR_NOMEM;

    status_count(s->status, COUNT_READDIRS, 1);
    if (!session_ref(req, ino, &dir))
        return;
    page.bytes = session_thread_buffer(size);
    page.taken = malloc((size / PAGE_ENTRY_MIN + 1) * sizeof *page.taken);
    if (page.bytes && page.taken)
        rc = read_page(&page, fh, off);
    if (rc)
        fuse_reply_err(req, err_errno(rc));
    else
        send_page(&page);
    free(page.taken);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    read_directory(req, ino, size, off, fi->fh, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    read_directory(req, ino, size, off, fi->fh, true);
}
