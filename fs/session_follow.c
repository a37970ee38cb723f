/* fs/session_follow.c - a session takes over what an earlier process of its mount had. */
#include <stdlib.h>

#include "fs/session.h"

static void restore_file(const struct adopted_file *f, void *ctx)
{
    struct session *s = ctx;

    if (f->ref.kind == TREE_PART)
        open_parts_restore(s->open_parts, &f->ref.id, f->backing_id, f->opens);
    if (f->ref.kind != TREE_DATA && f->ref.kind != TREE_SNAPSHOT)
        return;
    for (uint32_t i = 0; i < f->opens; i++)
        journal_pin(s->journal, &f->ref.id, JOURNAL_READER_HANDLE, NULL); /* else: ESTALE */
}

enum err_code session_open_anchor(struct session *s, struct err *e)
{
    unsigned features = 0;
    enum err_code rc = fuse_features_parse(s->cfg->fuse_features, &features, e);

    if (!rc)
        rc = anchor_open(s->cfg->anchor_fd, &s->anchor, e);
    if (!rc)
        follow_init(&s->follow, s->anchor, s->cfg->anchor_fd >= 0 && (features & FEATURE_RESEND));
    return rc;
}

enum err_code session_restore(struct session *s, struct err *e)
{
    enum err_code rc = adopt_new(s->anchor, s->tree, s->registry, &s->adopt, e);

    if (!rc)
        adopt_each(s->adopt, restore_file, s);
    return rc;
}

/* The kernel has its answer since an earlier process; libfuse and passthrough learn of it. */
enum err_code session_replay_init(struct session *s, struct err *e)
{
    struct str init = follow_replay(&s->follow);
    struct fuse_buf buf = {.size = init.len, .mem = malloc(init.len)};

    if (!buf.mem)
        return err_set(e, ERR_NOMEM, "no memory for INIT");
    memcpy(buf.mem, init.ptr, init.len);
    passthrough_see_request(&s->passthrough, buf.mem, buf.size);
    fuse_session_process_buf(s->fuse, &buf);
    free(buf.mem);
    return atomic_load(&s->initialised) ? ERR_OK
                                        : err_set(e, ERR_CORRUPT, "the kept INIT is not one");
}
