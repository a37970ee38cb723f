/* gateway/catalog.c - the streams and schemas of meta, held in memory.
 *
 * Look-ups go to the cache; changes go to meta first and then replace the entry of the cache,
 * unless a newer one is there already.
 */
#include "gateway/catalog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "gateway/catalog_cache.h"

#define RECORD_ARENA_MAX ((size_t)64 << 20)
#define LIST_ARENA_MAX ((size_t)1 << 30) /* names of millions of streams */

struct catalog {
    struct meta *meta;                /* immutable */
    struct catalog_hash_key hash_key; /* of entries; immutable */
    struct catalog_cache *cache;
};

enum err_code catalog_open(struct meta *m, size_t memory_max, struct catalog **out, struct err *e)
{
    struct catalog *c = calloc(1, sizeof *c);
    enum err_code rc;

    if (!c)
        return err_set(e, ERR_NOMEM, "catalog");
    c->meta = m;
    rc = getentropy(&c->hash_key, sizeof c->hash_key) == 0
             ? catalog_cache_new(memory_max, &c->cache, e)
             : err_sys(e, errno, "catalog: a hash key");
    if (!rc)
        *out = c;
    else
        catalog_close(c);
    return rc;
}

void catalog_close(struct catalog *c)
{
    if (!c)
        return;
    catalog_cache_free(c->cache);
    free(c);
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
    const struct meta_creation *create; /* NULL: nothing is created */
};

static enum err_code ask_meta(struct meta *m, const struct load *l, struct arena *a,
                              struct meta_stream **s, struct err *e)
{
    if (l->create)
        return meta_stream_create(m, l->create, a, s, e);
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
    uint64_t mark = catalog_cache_mark(c->cache);
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
        catalog_cache_forget(c->cache, l->merge_into);
    if (!rc)
        *out = catalog_cache_put(c->cache, en, mark);
    return rc;
}

static enum err_code find_or_load(struct catalog *c, struct str org, enum stream_type type,
                                  struct str name, bool make, const struct catalog_stream **out,
                                  struct err *e)
{
    struct load l = {.org = org, .name = name, .type = type, .make = make};
    const struct catalog_stream *cached;

    if (org.len > NAME_MAX_BYTES || name.len > NAME_MAX_BYTES)
        return err_set(e, ERR_INVALID, "a name of more than %d bytes", NAME_MAX_BYTES);
    if (org.len + name.len > NAMES_MAX_BYTES)
        return err_set(e, ERR_INVALID,
                       "the names of an organization and its stream have at most %d bytes together",
                       NAMES_MAX_BYTES);
    cached = catalog_cache_find(c->cache, org, type, name);
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

enum err_code catalog_create(struct catalog *c, const struct meta_creation *n,
                             const struct catalog_stream **out, struct err *e)
{
    struct load l = {.create = n};

    return load(c, &l, out, e);
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
        catalog_cache_forget(c->cache, s);
    return rc;
}

enum err_code catalog_was_deleted(struct catalog *c, uint64_t number, bool *deleted, struct err *e)
{
    return meta_stream_was_deleted(c->meta, number, deleted, e);
}

bool catalog_has_room(const struct catalog_stream *s, size_t new_fields, size_t name_bytes)
{
    size_t fields = s ? s->field_count : 1;
    size_t bytes = s ? s->name_bytes : sizeof "_timestamp" - 1;

    return fields + new_fields <= FIELDS_MAX && bytes + name_bytes <= FIELD_NAMES_MAX_BYTES;
}

void catalog_say_no_room(char *dst, size_t size)
{
    snprintf(dst, size, "Too many columns: a stream may have %d, and %u bytes of names", FIELDS_MAX,
             FIELD_NAMES_MAX_BYTES);
}

bool catalog_org_exists(struct catalog *c, struct str org)
{
    bool found = false;

    return meta_org_find(c->meta, org, &found, NULL) == ERR_OK && found;
}

enum err_code catalog_org_make(struct catalog *c, struct str org, struct err *e)
{
    return catalog_org_exists(c, org) ? ERR_OK : meta_org_make(c->meta, org, e);
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
