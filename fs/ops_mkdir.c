/* fs/ops_mkdir.c - mkdir: a stream of logs, or an organisation, made by the gateway.
 *
 *   <mount>/<org>, <mount>/<org>/logs/<stream>; an organisation has its `logs` at once
 * Elsewhere EROFS.  The name must be in the form that ingest would give it, else EINVAL: the
 * directory would have another name than was asked for.
 *
 * A request that the kernel sends again was perhaps done for the process that died, so what is
 * there then counts as made.
 */
#include "fs/door/asking.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"

struct making {
    struct asking asking; /* first */
    struct tree_ref parent;
    enum err_code code;
    bool is_resent;
    size_t name_len;
    char name[];
};

static struct str name_of(const struct making *m)
{
    return (struct str){m->name, m->name_len};
}

/* What the gateway has made stands in the tree from now on. */
static enum err_code enter(const struct making *m, uint64_t stream, struct err *e)
{
    struct registry *r = session_of(m->asking.req)->registry;

    if (m->parent.kind == TREE_ROOT)
        return registry_add_org(r, name_of(m), e);
    return registry_add_stream(r, stream, m->parent.org->raw, STREAM_LOGS, name_of(m),
                               clock_wall_us(), e);
}

static void reply_entry(fuse_req_t req, const struct tree_ref *child)
{
    struct session *s = session_of(req);
    struct fuse_entry_param entry;

    if (!session_entry(s, child, &entry))
        fuse_reply_err(req, EIO);
    else if (fuse_reply_entry(req, &entry) != 0)
        nodes_forget(s->nodes, entry.ino, 1);
}

static void reply_made(const struct making *m)
{
    struct tree_ref child;

    if (tree_lookup(session_of(m->asking.req)->tree, &m->parent, name_of(m), &child))
        reply_entry(m->asking.req, &child);
    else
        fuse_reply_err(m->asking.req, EIO);
}

static void reply(struct asking *a)
{
    struct making *m = (struct making *)a;

    if (m->code)
        fuse_reply_err(a->req, err_errno(m->code));
    else
        reply_made(m);
    free(m);
}

static void take_answer(const struct door_answer *a, void *ctx)
{
    struct making *m = ctx;
    struct err e = {0};
    enum err_code rc = a->code;

    /* There already, but not seen here yet: its first line would have shown it. */
    if (rc == ERR_OK || rc == ERR_EXISTS)
        rc = enter(m, a->stream, &e);
    else
        str_copy_to(a->message, e.msg, sizeof e.msg);
    if (rc)
        status_report(session_of(m->asking.req)->status, STR("mkdir"), str_from(e.msg));
    m->code = rc || m->is_resent ? rc : a->code;
    asking_answered(&m->asking);
}

static void ask_gateway(fuse_req_t req, const struct tree_ref *parent, struct str name)
{
    static const struct str no_lines[2];
    struct session *s = session_of(req);
    struct making *m = malloc(sizeof *m + name.len);
    bool is_org = parent->kind == TREE_ROOT;
    enum err_code rc = m ? ERR_OK : ERR_NOMEM;

    if (!rc) {
        *m = (struct making){
            .parent = *parent, .is_resent = session_is_resent(), .name_len = name.len};
        memcpy(m->name, name.ptr, name.len);
        struct door_ask ask = {.request = session_request(),
                               .org = is_org ? name : parent->org->raw,
                               .name = is_org ? STR("") : name};
        asking_begin(&m->asking, req, session_request(), reply);
        rc = door_ask(s->door, DOOR_MKDIR, &ask, no_lines, take_answer, m, NULL);
    }
    if (!rc) {
        asking_asked(&m->asking);
        return;
    }
    free(m);
    fuse_reply_err(req, err_errno(rc));
}

static bool can_be_made_in(const struct tree_ref *dir)
{
    return dir->kind == TREE_ROOT || (dir->kind == TREE_TYPE && dir->type == STREAM_LOGS);
}

/* Not `.weir`, which stands beside the organisations. */
static bool may_be_made(const struct tree_ref *child)
{
    return child->kind == TREE_ORG || (child->kind == TREE_STREAM && child->type == STREAM_LOGS);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct session *s = session_of(req);
    struct tree_ref dir, child;

    (void)mode;
    if (!session_ref(req, parent, &dir))
        return;
    if (tree_lookup(s->tree, &dir, str_from(name), &child)) {
        if (session_is_resent() && may_be_made(&child))
            reply_entry(req, &child);
        else
            fuse_reply_err(req, EEXIST);
    } else if (!session_takes_changes(s) || !can_be_made_in(&dir)) {
        status_count(s->status, COUNT_REFUSED_CHANGES, 1);
        fuse_reply_err(req, EROFS);
    } else if (strlen(name) > NAME_MAX_BYTES) {
        fuse_reply_err(req, ENAMETOOLONG);
    } else {
        ask_gateway(req, &dir, str_from(name));
    }
}
