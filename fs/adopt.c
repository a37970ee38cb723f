/* fs/adopt.c - records of open files read back, and directories found by walking the tree.
 *
 * A record, in the byte order of the machine:
 *    0  u8 kind   1  u8 type   2  u8 view   3  u8 level of the span   4  i32 first hour of the span
 *    8  u64 inode number of the organisation   16  u64 of the stream   (0: it has none)
 *   24  id, 16 bytes   40  u64 number   48  zeros
 * Numbers of directories come from their paths, so they name the same one in each process.
 */
#include "fs/adopt.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/hash.h"

struct known { /* organisations and streams by the number of their directory */
    struct map orgs, streams;
    bool failed;
};

struct adopt {
    struct tree *tree;
    struct map files; /* immutable: ino -> struct adopted_file, owned */
    bool is_first;    /* immutable: there was no earlier process */
    pthread_mutex_t lock;
    enum walk { WALK_NONE, WALK_STREAMS, WALK_TIMES } walked; /* (lock) */
    struct map dirs; /* (lock) ino -> struct tree_ref, owned */
};

static struct str key_of(const uint64_t *ino)
{
    return (struct str){(const char *)ino, sizeof *ino};
}

/* ---- records ---- */

static uint64_t org_ino(const struct registry_org *org)
{
    struct tree_ref ref = {.kind = TREE_ORG, .org = org};

    return org ? tree_ino(&ref, 0) : 0;
}

static uint64_t stream_ino(const struct registry_stream *s)
{
    struct tree_ref ref = {.kind = TREE_STREAM};

    if (!s)
        return 0;
    ref.type = s->type;
    ref.org = s->org;
    ref.stream = s;
    return tree_ino(&ref, 0);
}

void adopt_record(const struct tree_ref *ref, char record[ANCHOR_RECORD_LEN])
{
    memset(record, 0, ANCHOR_RECORD_LEN);
    record[0] = (char)ref->kind;
    record[1] = (char)ref->type;
    record[2] = (char)ref->view;
    record[3] = (char)ref->span.level;
    put_u32(record + 4, (uint32_t)ref->span.first);
    put_u64(record + 8, org_ino(ref->org));
    put_u64(record + 16, stream_ino(ref->stream));
    memcpy(record + 24, ref->id.b, sizeof ref->id.b);
    put_u64(record + 40, ref->number);
}

/* False: its organisation or stream is gone. */
static bool read_record(const struct known *k, const char *record, struct tree_ref *out)
{
    uint64_t org = get_u64(record + 8), stream = get_u64(record + 16);
    int32_t first = (int32_t)get_u32(record + 4);

    *out = (struct tree_ref){.kind = (enum tree_kind)(unsigned char)record[0],
                             .type = (enum stream_type)(unsigned char)record[1],
                             .view = (enum tree_view)(unsigned char)record[2],
                             .number = get_u64(record + 40)};
    memcpy(out->id.b, record + 24, sizeof out->id.b);
    if (out->kind == TREE_SPAN)
        out->span = span_around((enum span_level)(unsigned char)record[3], first);
    out->org = org ? map_find(&k->orgs, key_of(&org)) : NULL;
    out->stream = stream ? map_find(&k->streams, key_of(&stream)) : NULL;
    return (!org || out->org) && (!stream || out->stream);
}

/* ---- what the registry knows ---- */

static void note_stream(const struct registry_stream *s, void *ctx)
{
    struct known *k = ctx;
    uint64_t ino = stream_ino(s);

    k->failed |= !map_put(&k->streams, key_of(&ino), (void *)(uintptr_t)s);
}

static void note_org(const struct registry_org *org, void *ctx)
{
    struct known *k = ctx;
    uint64_t ino = org_ino(org);

    k->failed |= !map_put(&k->orgs, key_of(&ino), (void *)(uintptr_t)org);
}

static void gather_known(struct registry *r, struct known *k)
{
    map_init(&k->orgs, REGISTRY_STREAMS_MAX);
    map_init(&k->streams, REGISTRY_STREAMS_MAX);
    registry_each_org(r, note_org, k);
    registry_each_stream_ever(r, note_stream, k); /* what is deleted may be read still */
}

struct reading {
    struct adopt *adopt;
    const struct known *known;
    bool failed;
};

static bool read_open(const struct anchor_open *o, void *ctx)
{
    struct reading *r = ctx;
    struct adopted_file *f = malloc(sizeof *f);

    r->failed = !f;
    if (r->failed)
        return false;
    *f = (struct adopted_file){.backing_id = o->backing_id, .opens = o->opens};
    if (!read_record(r->known, o->record, &f->ref)) {
        free(f);
        return true;
    }
    r->failed = !map_put(&r->adopt->files, key_of(&o->ino), f);
    if (r->failed)
        free(f);
    return !r->failed;
}

static enum err_code read_opens(struct adopt *a, struct anchor *anchor, struct registry *registry,
                                struct err *e)
{
    struct known known = {0};
    struct reading r = {.adopt = a, .known = &known};

    gather_known(registry, &known);
    if (!known.failed)
        anchor_each(anchor, read_open, &r);
    map_done(&known.orgs);
    map_done(&known.streams);
    return known.failed || r.failed ? err_set(e, ERR_NOMEM, "no memory for what was open") : ERR_OK;
}

enum err_code adopt_new(struct anchor *anchor, struct tree *tree, struct registry *registry,
                        struct adopt **out, struct err *e)
{
    struct adopt *a = calloc(1, sizeof *a);
    enum err_code rc = a ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for what was open");

    if (rc)
        return rc;
    a->tree = tree;
    a->is_first = anchor_init(anchor).len == 0;
    pthread_mutex_init(&a->lock, NULL);
    map_init(&a->files, ANCHOR_OPENS_MAX);
    map_init(&a->dirs, ADOPT_DIRS_MAX);
    if (!a->is_first)
        rc = read_opens(a, anchor, registry, e);
    if (rc) {
        adopt_free(a);
        return rc;
    }
    *out = a;
    return ERR_OK;
}

static void free_values(struct map *m)
{
    size_t pos = 0;
    struct str key;
    void *value;

    while (map_next(m, &pos, &key, &value))
        free(value);
    map_done(m);
}

void adopt_free(struct adopt *a)
{
    if (!a)
        return;
    free_values(&a->files);
    free_values(&a->dirs);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* ---- directories ---- */

static void note_dir_locked(struct adopt *a, uint64_t ino, const struct tree_ref *ref)
{
    struct tree_ref *copy = malloc(sizeof *copy);

    if (!copy)
        return; /* who stands there gets ESTALE */
    *copy = *ref;
    if (map_find(&a->dirs, key_of(&ino)) || !map_put(&a->dirs, key_of(&ino), copy))
        free(copy);
}

/* What is below a directory that was noted, in this walk or a later one. */
static bool is_walked(const struct tree_ref *dir, enum walk walk)
{
    bool is_of_time = dir->kind == TREE_STREAM || dir->kind == TREE_PARTS ||
                      dir->kind == TREE_TEXTS || dir->kind == TREE_SPAN;
    bool is_metric = dir->kind == TREE_STREAM && dir->type == STREAM_METRICS;
    bool is_hour = dir->kind == TREE_SPAN && dir->span.level == SPAN_HOUR;

    return !is_of_time || (walk == WALK_TIMES && !is_metric && !is_hour);
}

static void walk_locked(struct adopt *a, const struct tree_ref *dir, enum walk walk)
{
    struct listing l;
    struct tree_ref child;

    listing_init(&l);
    if (tree_list(a->tree, dir, &l, NULL) == ERR_OK) {
        for (size_t i = 0; i < l.count; i++) {
            if (!S_ISDIR(l.entries[i].mode) ||
                !tree_lookup(a->tree, dir, listing_name(&l, i), &child))
                continue;
            note_dir_locked(a, l.entries[i].ino, &child);
            if (is_walked(&child, walk))
                walk_locked(a, &child, walk);
        }
    }
    listing_done(&l);
}

static bool find_dir(struct adopt *a, uint64_t ino, struct tree_ref *out)
{
    struct tree_ref root = tree_root();
    const struct tree_ref *found;

    LOCK_SCOPE(&a->lock);
    found = map_find(&a->dirs, key_of(&ino));
    while (!found && a->walked < WALK_TIMES) {
        a->walked++;
        walk_locked(a, &root, a->walked);
        found = map_find(&a->dirs, key_of(&ino));
    }
    if (found)
        *out = *found;
    return found != NULL;
}

bool adopt_find(struct adopt *a, uint64_t ino, struct tree_ref *out)
{
    const struct adopted_file *f;

    if (a->is_first)
        return false;
    f = map_find(&a->files, key_of(&ino));
    if (!f)
        return find_dir(a, ino, out);
    *out = f->ref;
    return true;
}

void adopt_each(const struct adopt *a, adopt_fn fn, void *ctx)
{
    size_t pos = 0;
    struct str key;
    void *value;

    while (map_next(&a->files, &pos, &key, &value))
        fn(value, ctx);
}
