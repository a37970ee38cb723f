/* gateway/catalog.c - the streams and schemas of meta, held in memory.
 *
 * `by_name` maps (org, type, name) to the newest entry; the map holds one reference.  Look-ups take
 * the lock shared for a hash and a count; changes go to meta first, without the lock, and then
 * replace the entry unless a newer one is there already.
 * Locks: `lock` is a leaf.
 */
#include "gateway/catalog.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/hash.h"

#define STREAMS_MAX 10000000
#define ENTRY_ARENA_MAX ((size_t)64 << 20)
#define KEY_BYTES_MAX (2 * NAME_MAX_BYTES + 16)

struct catalog {
    struct meta *meta;
    pthread_rwlock_t lock;
    struct map by_name; /* guarded by lock: key of stream_key() -> struct entry * */
};

struct entry {
    struct catalog_stream stream; /* first: the two are one address */
    struct arena arena;
    struct map fields; /* name -> index + 1 */
    atomic_int refs;
};

static struct entry *entry_of(const struct catalog_stream *s)
{
    return (struct entry *)(uintptr_t)s;
}

static struct str stream_key(struct str org, enum stream_type type, struct str name,
                             char key[KEY_BYTES_MAX])
{
    size_t n = 0;

    if (org.len > NAME_MAX_BYTES || name.len > NAME_MAX_BYTES)
        return (struct str){key, 0};
    memcpy(key, org.ptr, org.len);
    n = org.len;
    key[n++] = '\0';
    key[n++] = (char)('a' + (int)type);
    memcpy(key + n, name.ptr, name.len);
    return (struct str){key, n + name.len};
}

static void entry_free(struct entry *en)
{
    map_done(&en->fields);
    arena_done(&en->arena);
    free(en);
}

/* An entry whose arena already holds `s`. */
static enum err_code entry_new(struct entry *en, const struct meta_stream *s, struct err *e)
{
    map_init(&en->fields, FIELDS_MAX);
    atomic_init(&en->refs, 1);
    en->stream = (struct catalog_stream){.number = s->number,
                                         .org = s->org,
                                         .name = s->name,
                                         .type = s->type,
                                         .schema_version = s->schema_version,
                                         .fields = s->fields,
                                         .field_count = s->field_count};
    for (size_t i = 0; i < s->field_count; i++) {
        if (!map_put(&en->fields, s->fields[i].name, (void *)(uintptr_t)(i + 1)))
            return err_set(e, ERR_NOMEM, "schema of " STR_FMT, STR_ARG(s->name));
    }
    return ERR_OK;
}

const struct catalog_stream *catalog_ref(const struct catalog_stream *s)
{
    atomic_fetch_add_explicit(&entry_of(s)->refs, 1, memory_order_relaxed);
    return s;
}

void catalog_unref(const struct catalog_stream *s)
{
    if (s && atomic_fetch_sub_explicit(&entry_of(s)->refs, 1, memory_order_acq_rel) == 1)
        entry_free(entry_of(s));
}

int catalog_field(const struct catalog_stream *s, struct str name)
{
    return (int)(uintptr_t)map_find(&entry_of(s)->fields, name) - 1;
}

enum err_code catalog_open(struct meta *m, struct catalog **out, struct err *e)
{
    struct catalog *c = calloc(1, sizeof *c);

    if (!c)
        return err_set(e, ERR_NOMEM, "catalog");
    c->meta = m;
    pthread_rwlock_init(&c->lock, NULL);
    map_init(&c->by_name, STREAMS_MAX);
    *out = c;
    return ERR_OK;
}

void catalog_close(struct catalog *c)
{
    size_t pos = 0;
    struct str key;
    void *value;

    if (!c)
        return;
    while (map_next(&c->by_name, &pos, &key, &value))
        catalog_unref(&((struct entry *)value)->stream);
    map_done(&c->by_name);
    pthread_rwlock_destroy(&c->lock);
    free(c);
}

static const struct catalog_stream *find_cached(struct catalog *c, struct str key)
{
    struct entry *en;

    pthread_rwlock_rdlock(&c->lock);
    en = map_find(&c->by_name, key);
    if (en)
        catalog_ref(&en->stream);
    pthread_rwlock_unlock(&c->lock);
    return en ? &en->stream : NULL;
}

/* Makes `en` the one that look-ups find, unless a newer version is there.  Takes the caller's
 * reference; gives one to the newest entry back. */
static const struct catalog_stream *publish(struct catalog *c, struct str key, struct entry *en)
{
    struct entry *old;

    pthread_rwlock_wrlock(&c->lock);
    old = map_find(&c->by_name, key);
    if (old && old->stream.number == en->stream.number &&
        old->stream.schema_version >= en->stream.schema_version) {
        catalog_ref(&old->stream);
        pthread_rwlock_unlock(&c->lock);
        entry_free(en);
        return &old->stream;
    }
    catalog_ref(&en->stream);
    if (!map_put(&c->by_name, key, en)) {
        pthread_rwlock_unlock(&c->lock);
        catalog_unref(&en->stream); /* not cached: the caller's reference is the only one */
        return &en->stream;
    }
    pthread_rwlock_unlock(&c->lock);
    if (old)
        catalog_unref(&old->stream);
    return &en->stream;
}

/* What to ask meta for; the answer is copied into the new entry's arena. */
struct load {
    struct str org, name;
    enum stream_type type;
    const struct catalog_stream *merge_into; /* NULL: find or make */
    const struct meta_new_field *fields;
    size_t field_count;
    bool make;
};

static enum err_code ask_meta(struct meta *m, const struct load *l, struct arena *a,
                              struct meta_stream **s, struct err *e)
{
    if (l->merge_into)
        return meta_stream_merge_fields(m, l->merge_into->number, l->fields, l->field_count, a, s,
                                        e);
    if (l->make)
        return meta_stream_make(m, l->org, l->type, l->name, a, s, e);
    return meta_stream_find(m, l->org, l->type, l->name, a, s, e);
}

static enum err_code load(struct catalog *c, const struct load *l,
                          const struct catalog_stream **out, struct err *e)
{
    struct entry *en = calloc(1, sizeof *en);
    char key[KEY_BYTES_MAX];
    struct meta_stream *s;
    enum err_code rc;

    if (!en)
        return err_set(e, ERR_NOMEM, "stream " STR_FMT, STR_ARG(l->name));
    arena_init(&en->arena, ENTRY_ARENA_MAX);
    rc = ask_meta(c->meta, l, &en->arena, &s, e);
    if (!rc)
        rc = entry_new(en, s, e);
    if (rc) {
        entry_free(en);
        return rc;
    }
    *out = publish(c, stream_key(s->org, s->type, s->name, key), en);
    return ERR_OK;
}

static enum err_code find_or_load(struct catalog *c, struct str org, enum stream_type type,
                                  struct str name, bool make, const struct catalog_stream **out,
                                  struct err *e)
{
    struct load l = {.org = org, .name = name, .type = type, .make = make};
    char key_bytes[KEY_BYTES_MAX];
    struct str key = stream_key(org, type, name, key_bytes);
    const struct catalog_stream *cached;

    if (!key.len)
        return err_set(e, ERR_INVALID, "a name of more than %d bytes", NAME_MAX_BYTES);
    cached = find_cached(c, key);
    if (cached) {
        *out = cached;
        return ERR_OK;
    }
    return load(c, &l, out, e);
}

enum err_code catalog_find(struct catalog *c, struct str org, enum stream_type type,
                           struct str name, const struct catalog_stream **out, struct err *e)
{
    return find_or_load(c, org, type, name, false, out, e);
}

enum err_code catalog_make(struct catalog *c, struct str org, enum stream_type type,
                           struct str name, const struct catalog_stream **out, struct err *e)
{
    return find_or_load(c, org, type, name, true, out, e);
}

enum err_code catalog_merge_fields(struct catalog *c, const struct catalog_stream *s,
                                   const struct meta_new_field *fields, size_t count,
                                   const struct catalog_stream **out, struct err *e)
{
    struct load l = {.org = s->org,
                     .name = s->name,
                     .type = s->type,
                     .merge_into = s,
                     .fields = fields,
                     .field_count = count};

    return load(c, &l, out, e);
}

bool catalog_org_exists(struct catalog *c, struct str org)
{
    bool found = false;

    return meta_org_find(c->meta, org, &found, NULL) == ERR_OK && found;
}

bool catalog_org_make(struct catalog *c, struct str org)
{
    return catalog_org_exists(c, org) || meta_org_make(c->meta, org, NULL) == ERR_OK;
}

struct list {
    struct catalog *catalog;
    catalog_visit fn;
    void *ctx;
    struct arena names;
    struct name {
        struct str org, name;
        enum stream_type type;
    } * items;
    size_t count, cap;
};

static bool collect(const struct meta_stream *s, void *ctx)
{
    struct list *l = ctx;

    l->items = arena_grow(&l->names, l->items, l->count, &l->cap, sizeof *l->items);
    if (!l->items)
        return false;
    l->items[l->count++] =
        (struct name){arena_copy(&l->names, s->org), arena_copy(&l->names, s->name), s->type};
    return true;
}

enum err_code catalog_list(struct catalog *c, struct str org, catalog_visit fn, void *ctx,
                           struct err *e)
{
    struct list l = {.catalog = c, .fn = fn, .ctx = ctx};
    bool more = true;
    enum err_code rc;

    /* Names first: fn must not run inside a transaction. */
    arena_init(&l.names, (size_t)1 << 30);
    rc = meta_stream_list(c->meta, org, false, collect, &l, e);
    if (!rc && l.names.failed)
        rc = err_set(e, ERR_NOMEM, "a list of streams");
    for (size_t i = 0; !rc && more && i < l.count; i++) {
        const struct catalog_stream *s;
        enum err_code found =
            catalog_find(c, l.items[i].org, l.items[i].type, l.items[i].name, &s, e);
        if (found == ERR_NOTFOUND)
            continue; /* deleted meanwhile */
        rc = found;
        if (!rc) {
            more = fn(s, ctx);
            catalog_unref(s);
        }
    }
    arena_done(&l.names);
    return rc;
}
