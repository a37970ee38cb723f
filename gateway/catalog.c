/* gateway/catalog.c - the streams and schemas of meta, held in memory.
 *
 * `by_name` maps (org, type, name) to the newest entry; the map holds one reference.  Look-ups take
 * the lock shared for a hash and a count; changes go to meta first, without the lock, and then
 * replace the entry unless a newer one is there already.
 * Locks: `lock` is a leaf.
 */
#include "gateway/catalog.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/hash.h"
#include "gateway/catalog_entry.h"

#define STREAMS_MAX 10000000
#define RECORD_ARENA_MAX ((size_t)64 << 20)
#define KEY_BYTES_MAX (2 * NAME_MAX_BYTES + 2)
#define LIST_ARENA_MAX ((size_t)1 << 30) /* names of STREAMS_MAX streams */

struct catalog {
    struct meta *meta;                /* immutable */
    struct catalog_hash_key hash_key; /* of entries; immutable */
    pthread_rwlock_t lock;
    struct map by_name; /* guarded by lock: key of stream_key() -> struct catalog_entry * */
};

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

enum err_code catalog_open(struct meta *m, struct catalog **out, struct err *e)
{
    struct catalog *c = calloc(1, sizeof *c);

    if (!c)
        return err_set(e, ERR_NOMEM, "catalog");
    if (getentropy(&c->hash_key, sizeof c->hash_key) != 0) {
        enum err_code rc = err_sys(e, errno, "catalog: a hash key");
        free(c);
        return rc;
    }
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
        catalog_unref(&((struct catalog_entry *)value)->stream);
    map_done(&c->by_name);
    pthread_rwlock_destroy(&c->lock);
    free(c);
}

static const struct catalog_stream *find_cached(struct catalog *c, struct str key)
{
    struct catalog_entry *en;

    pthread_rwlock_rdlock(&c->lock);
    en = map_find(&c->by_name, key);
    if (en)
        catalog_ref(&en->stream);
    pthread_rwlock_unlock(&c->lock);
    return en ? &en->stream : NULL;
}

/* Whether `old` says at least as much as `en`.  Numbers grow: the higher one was made later. */
static bool is_newer_or_same(const struct catalog_entry *old, const struct catalog_entry *en)
{
    if (old->stream.number != en->stream.number)
        return old->stream.number > en->stream.number;
    return old->stream.schema_version >= en->stream.schema_version;
}

/* Makes `en` the one that look-ups find, unless that would be a step back.  Takes over the caller's
 * reference and gives one back: to the newest entry of the stream that `en` is about. */
static const struct catalog_stream *publish(struct catalog *c, struct str key,
                                            struct catalog_entry *en)
{
    const struct catalog_stream *result = &en->stream, *unused = NULL;
    struct catalog_entry *old;

    pthread_rwlock_wrlock(&c->lock);
    old = map_find(&c->by_name, key);
    if (!old || !is_newer_or_same(old, en)) {
        if (map_put(&c->by_name, key, en)) {
            catalog_ref(&en->stream); /* the map's; a full map only means a miss next time */
            unused = old ? &old->stream : NULL;
        }
    } else if (old->stream.number == en->stream.number) {
        result = catalog_ref(&old->stream);
        unused = &en->stream;
    }
    pthread_rwlock_unlock(&c->lock);
    catalog_unref(unused);
    return result;
}

/* The stream `s` is deleted in meta: the next look-up asks there again. */
static void forget(struct catalog *c, const struct catalog_stream *s)
{
    char key_bytes[KEY_BYTES_MAX];
    struct str key = stream_key(s->org, s->type, s->name, key_bytes);
    const struct catalog_entry *cached;

    pthread_rwlock_wrlock(&c->lock);
    cached = map_find(&c->by_name, key);
    if (cached && cached->stream.number == s->number)
        map_remove(&c->by_name, key);
    else
        cached = NULL;
    pthread_rwlock_unlock(&c->lock);
    if (cached)
        catalog_unref(&cached->stream);
}

/* What to ask meta for. */
struct load {
    struct str org, name;
    enum stream_type type;
    const struct catalog_stream *merge_into; /* NULL: find or make */
    const struct meta_new_field *fields;
    size_t field_count;
    meta_settings_change change; /* of the settings of merge_into; NULL: its fields */
    void *change_ctx;
    bool make;
};

static enum err_code ask_meta(struct meta *m, const struct load *l, struct arena *a,
                              struct meta_stream **s, struct err *e)
{
    if (l->change)
        return meta_stream_change_settings(m, l->merge_into->number, l->change, l->change_ctx, a, s,
                                           e);
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
    char key[KEY_BYTES_MAX];
    struct catalog_entry *en;
    struct meta_stream *s;
    struct arena record;
    enum err_code rc;

    arena_init(&record, RECORD_ARENA_MAX);
    rc = ask_meta(c->meta, l, &record, &s, e);
    if (!rc)
        rc = catalog_entry_new(s, c->hash_key, &en, e);
    arena_done(&record);
    if (rc == ERR_NOTFOUND && l->merge_into)
        forget(c, l->merge_into);
    if (!rc)
        *out = publish(c, stream_key(en->stream.org, en->stream.type, en->stream.name, key), en);
    return rc;
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
    if (org.len + name.len > NAMES_MAX_BYTES)
        return err_set(e, ERR_INVALID,
                       "the names of an organization and its stream have at most %d bytes together",
                       NAMES_MAX_BYTES);
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

enum err_code catalog_change_settings(struct catalog *c, const struct catalog_stream *s,
                                      meta_settings_change fn, void *ctx,
                                      const struct catalog_stream **out, struct err *e)
{
    struct load l = {.org = s->org,
                     .name = s->name,
                     .type = s->type,
                     .merge_into = s,
                     .change = fn,
                     .change_ctx = ctx};

    return load(c, &l, out, e);
}

enum err_code catalog_delete(struct catalog *c, const struct catalog_stream *s, struct err *e)
{
    enum err_code rc = meta_stream_delete(c->meta, s->number, e);

    if (!rc || rc == ERR_NOTFOUND)
        forget(c, s);
    return rc;
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
    arena_init(&l.names, LIST_ARENA_MAX);
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
