/* fs/session_deleted.c - what `meta` says is deleted goes, in case that was cut off. */
#include "base/hash.h"
#include "fs/session.h"

#define DELETED_MEMORY_MAX ((size_t)256 << 20)

struct deleted {
    struct arena arena;
    struct dropped_stream *list;
    size_t count, cap;
};

static bool note_deleted(uint64_t number, struct str org, enum stream_type type, struct str name,
                         void *ctx)
{
    struct deleted *d = ctx;

    d->list = arena_grow(&d->arena, d->list, d->count, &d->cap, sizeof *d->list);
    if (!d->list)
        return false;
    d->list[d->count++] = (struct dropped_stream){number, arena_copy(&d->arena, org),
                                                  arena_copy(&d->arena, name), type, false};
    return true;
}

struct having_files {
    struct map numbers; /* of streams */
    bool failed;
};

static bool note_file(const struct journal_file *f, void *ctx)
{
    struct having_files *h = ctx;

    h->failed = !map_put(&h->numbers, (struct str){(const char *)&f->stream, sizeof f->stream}, h);
    return !h->failed;
}

/* Most are deleted since long ago: which ones have files is asked once for all. */
static enum err_code note_files(struct session *s, struct deleted *d, struct err *e)
{
    struct having_files h = {0};

    map_init(&h.numbers, REGISTRY_FILES_MAX);
    journal_file_list(s->journal, note_file, &h);
    for (size_t i = 0; i < d->count; i++) {
        const uint64_t *number = &d->list[i].number;
        d->list[i].has_no_files =
            !h.failed && !map_find(&h.numbers, (struct str){(const char *)number, sizeof *number});
    }
    map_done(&h.numbers);
    return h.failed ? err_set(e, ERR_NOMEM, "no memory for the files of deleted streams") : ERR_OK;
}

/* Not inside of the transaction that reads the marks. */
enum err_code session_drop_deleted(struct session *s, bool are_read, struct err *e)
{
    struct deleted d = {0};
    enum err_code rc;

    arena_init(&d.arena, DELETED_MEMORY_MAX);
    rc = schema_each_deleted(s->schema, note_deleted, &d, e);
    if (rc == ERR_GONE)
        rc = ERR_OK; /* no `meta` yet */
    else if (!rc && d.arena.failed)
        rc = err_set(e, ERR_NOMEM, "no memory for the deleted streams");
    if (!rc && d.count > 0)
        rc = note_files(s, &d, e);
    for (size_t i = 0; i < d.count && !rc; i++) {
        /* Who reads it from before this process finds its files by its name. */
        if (are_read)
            session_add_stream(s, d.list[i].number, d.list[i].org, d.list[i].type, d.list[i].name,
                               0);
        rc = sealed_drop_stream(s->sealed, &d.list[i], e);
    }
    arena_done(&d.arena);
    return rc;
}
