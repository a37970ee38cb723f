/* index/meta_stream.c - streams: a number for life, fields with numbers for life, deletion marks.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "index/meta_codec.h"
#include "index/meta_internal.h"

#define TIMESTAMP_FIELD_NUMBER 1

/* Reads and decodes the record under an s/ key. */
static enum err_code read_stream(struct kv_txn *t, struct str key, bool with_fields,
                                 struct arena *a, struct meta_stream *out, struct err *e)
{
    struct meta_stream s = {0};
    struct str org, name, value;
    enum err_code rc;

    if (!meta_key_stream_parse(key, &org, &s.type, &name))
        return err_set(e, ERR_CORRUPT, "a stream key is broken");
    rc = kv_get(t, key, &value, NULL, e);
    if (rc)
        return rc;
    rc = stream_record_decode(value, with_fields, a, &s, e);
    if (rc)
        return rc;
    s.org = arena_copy(a, org);
    s.name = arena_copy(a, name);
    if (!s.org.ptr || !s.name.ptr)
        return err_set(e, ERR_NOMEM, "a stream record");
    *out = s;
    return ERR_OK;
}

static enum err_code write_stream(struct kv_txn *t, const struct meta_stream *s, struct err *e)
{
    struct meta_key key = meta_key_stream(s->org, s->type, s->name);
    struct buf record;
    enum err_code rc;

    buf_init(&record, KV_VALUE_MAX);
    stream_record_encode(s, &record);
    rc = buf_ok(&record) ? kv_put(t, meta_key_str(&key), buf_str(&record), KV_ANY_REVISION, e)
                         : err_set(e, ERR_TOOBIG, "a schema of %zu fields", s->field_count);
    buf_done(&record);
    return rc;
}

static enum err_code find_in(struct meta *m, struct str key, struct arena *a,
                             struct meta_stream **out, struct err *e)
{
    struct meta_stream *s = arena_zalloc(a, sizeof *s);
    struct kv_txn *t;
    enum err_code rc;

    if (!s)
        return err_set(e, ERR_NOMEM, "a stream record");
    rc = kv_begin(m->kv, false, &t, e);
    if (rc)
        return rc;
    rc = read_stream(t, key, true, a, s, e);
    kv_abort(t);
    if (!rc)
        *out = s;
    return rc;
}

enum err_code meta_stream_find(struct meta *m, struct str org, enum stream_type type,
                               struct str name, struct arena *a, struct meta_stream **out,
                               struct err *e)
{
    struct meta_key key = meta_key_stream(org, type, name);
    enum err_code rc = meta_key_check(&key, e);

    if (!rc)
        rc = find_in(m, meta_key_str(&key), a, out, e);
    if (rc)
        err_wrap(e, "stream " STR_FMT "/" STR_FMT, STR_ARG(org), STR_ARG(name));
    return rc;
}

/* The s/ key of a number, as a view into the map. */
static enum err_code key_of_number(struct kv_txn *t, uint64_t number, struct str *key,
                                   struct err *e)
{
    struct meta_key k = meta_key_number('n', number);

    return kv_get(t, meta_key_str(&k), key, NULL, e);
}

enum err_code meta_stream_by_number(struct meta *m, uint64_t number, struct arena *a,
                                    struct meta_stream **out, struct err *e)
{
    struct meta_stream *s = arena_zalloc(a, sizeof *s);
    struct kv_txn *t;
    struct str key;
    enum err_code rc;

    if (!s)
        return err_set(e, ERR_NOMEM, "a stream record");
    rc = kv_begin(m->kv, false, &t, e);
    if (rc)
        return rc;
    rc = key_of_number(t, number, &key, e);
    if (!rc)
        rc = read_stream(t, key, true, a, s, e);
    kv_abort(t);
    if (rc) {
        err_wrap(e, "stream number %llu", (unsigned long long)number);
        return rc;
    }
    *out = s;
    return ERR_OK;
}

static enum err_code next_number(struct kv_txn *t, uint64_t *number, struct err *e)
{
    struct meta_key key = meta_key_of('c', STR("stream"));
    uint64_t last = 0;
    char stored[8];
    struct str value;
    bool found;
    enum err_code rc = kv_find(t, meta_key_str(&key), &value, NULL, &found, e);

    if (rc)
        return rc;
    if (found && value.len != sizeof stored)
        return err_set(e, ERR_CORRUPT, "the counter of streams is broken");
    if (found)
        last = get_u64(value.ptr);
    *number = last + 1;
    put_u64(stored, *number);
    return kv_put(t, meta_key_str(&key), (struct str){stored, sizeof stored}, KV_ANY_REVISION, e);
}

struct make_args {
    struct str org, name;
    enum stream_type type;
    bool exists;     /* there already */
    uint64_t number; /* of the new one */
};

static enum err_code make_stream(struct kv_txn *t, void *ctx, struct err *e)
{
    struct make_args *m = ctx;
    struct meta_key key = meta_key_stream(m->org, m->type, m->name), by_number;
    struct meta_field timestamp = {STR("_timestamp"), FIELD_INT64, TIMESTAMP_FIELD_NUMBER};
    struct meta_stream s = {.org = m->org,
                            .name = m->name,
                            .type = m->type,
                            .created_us = clock_wall_us(),
                            .schema_version = 1,
                            .fields = &timestamp,
                            .field_count = 1,
                            .next_field_number = TIMESTAMP_FIELD_NUMBER + 1,
                            .settings_json = STR("{}")};
    enum err_code rc = kv_find(t, meta_key_str(&key), NULL, NULL, &m->exists, e);

    if (rc || m->exists)
        return rc;
    rc = meta_org_put(t, m->org, e);
    if (!rc)
        rc = next_number(t, &s.number, e);
    if (!rc)
        rc = write_stream(t, &s, e);
    if (rc)
        return rc;
    m->number = s.number;
    by_number = meta_key_number('n', s.number);
    return kv_put(t, meta_key_str(&by_number), meta_key_str(&key), 0, e);
}

static enum err_code check_names(struct str org, struct str name, struct err *e)
{
    if (org.len == 0 || name.len == 0)
        return err_set(e, ERR_INVALID, "an empty name");
    if (org.len > NAME_MAX_BYTES || name.len > NAME_MAX_BYTES)
        return err_set(e, ERR_INVALID, "a name of more than %d bytes", NAME_MAX_BYTES);
    if (org.len + name.len > NAMES_MAX_BYTES)
        return err_set(e, ERR_INVALID, "organisation and stream have more than %d bytes together",
                       NAMES_MAX_BYTES);
    return ERR_OK;
}

enum err_code meta_stream_make(struct meta *m, struct str org, enum stream_type type,
                               struct str name, struct arena *a, struct meta_stream **out,
                               struct err *e)
{
    struct make_args args = {.org = org, .name = name, .type = type};
    enum err_code rc = check_names(org, name, e);

    if (!rc)
        rc = kv_update(m->kv, make_stream, &args, e);
    if (rc) {
        err_wrap(e, "make stream " STR_FMT "/" STR_FMT, STR_ARG(org), STR_ARG(name));
        return rc;
    }
    return meta_stream_find(m, org, type, name, a, out, e);
}

struct merge_args {
    uint64_t number;
    const struct meta_new_field *fields;
    size_t count;
    struct arena *arena;
    struct meta_stream *result;
};

/* A schema that grows in memory. */
struct merging {
    struct meta_stream *stream;
    struct meta_field *fields; /* room for all old and all new ones */
    size_t count;
    size_t name_bytes;  /* of all of them */
    struct map by_name; /* -> in fields */
    bool changed;
};

static enum err_code add_field(struct merging *g, const struct meta_new_field *n, struct arena *a,
                               struct err *e)
{
    struct meta_field *f = &g->fields[g->count];

    if (g->count >= FIELDS_MAX)
        return err_set(e, ERR_TOOBIG, "a stream has at most %d fields", FIELDS_MAX);
    if (n->name.len > FIELD_NAME_MAX_BYTES)
        return err_set(e, ERR_TOOBIG, "a field name of %zu bytes", n->name.len);
    g->name_bytes += n->name.len;
    if (g->name_bytes > FIELD_NAMES_MAX_BYTES)
        return err_set(e, ERR_TOOBIG, "a stream's fields have at most %u bytes of names",
                       FIELD_NAMES_MAX_BYTES);
    *f = (struct meta_field){arena_copy(a, n->name), n->type, g->stream->next_field_number};
    if (!f->name.ptr || !map_put(&g->by_name, f->name, f))
        return err_set(e, ERR_NOMEM, "a schema of %zu fields", g->count);
    g->stream->next_field_number++;
    g->count++;
    g->changed = true;
    return ERR_OK;
}

static enum err_code merge_field(struct merging *g, const struct meta_new_field *n, struct arena *a,
                                 struct err *e)
{
    struct meta_field *f = map_find(&g->by_name, n->name);
    enum field_type wide;

    if (!f)
        return add_field(g, n, a, e);
    wide = field_type_widen(f->type, n->type);
    if (wide == f->type)
        return ERR_OK;
    if (f->number == TIMESTAMP_FIELD_NUMBER)
        return err_set(e, ERR_INVALID, STR_FMT " cannot be anything but a time", STR_ARG(f->name));
    f->type = wide;
    f->number = g->stream->next_field_number++;
    g->changed = true;
    return ERR_OK;
}

/* Takes over the fields that are there already. */
static enum err_code begin_merging(struct merging *g, size_t more, struct arena *a, struct err *e)
{
    const struct meta_stream *s = g->stream;

    g->count = s->field_count;
    g->fields = arena_alloc(a, (g->count + more + 1) * sizeof *g->fields);
    if (!g->fields)
        return err_set(e, ERR_NOMEM, "a schema of %zu fields", g->count);
    if (g->count)
        memcpy(g->fields, s->fields, g->count * sizeof *g->fields);
    for (size_t i = 0; i < g->count; i++) {
        g->name_bytes += g->fields[i].name.len;
        if (!map_put(&g->by_name, g->fields[i].name, &g->fields[i]))
            return err_set(e, ERR_NOMEM, "a schema of %zu fields", g->count);
    }
    return ERR_OK;
}

/* Applies the new fields to the record in memory; *changed tells whether anything did change. */
static enum err_code merge_into(struct meta_stream *s, const struct merge_args *m, bool *changed,
                                struct err *e)
{
    struct merging g = {.stream = s};
    enum err_code rc;

    map_init(&g.by_name, FIELDS_MAX);
    rc = begin_merging(&g, m->count, m->arena, e);
    for (size_t i = 0; !rc && i < m->count; i++)
        rc = merge_field(&g, &m->fields[i], m->arena, e);
    map_done(&g.by_name);
    s->fields = g.fields;
    s->field_count = g.count;
    *changed = g.changed;
    return rc;
}

static enum err_code merge_fields(struct kv_txn *t, void *ctx, struct err *e)
{
    struct merge_args *m = ctx;
    struct meta_stream s;
    struct str key;
    bool changed = false;
    enum err_code rc = key_of_number(t, m->number, &key, e);

    if (!rc)
        rc = read_stream(t, key, true, m->arena, &s, e);
    if (!rc)
        rc = merge_into(&s, m, &changed, e);
    if (!rc && changed) {
        s.schema_version++;
        rc = write_stream(t, &s, e);
    }
    if (!rc)
        *m->result = s;
    return rc;
}

enum err_code meta_stream_merge_fields(struct meta *m, uint64_t number,
                                       const struct meta_new_field *fields, size_t count,
                                       struct arena *a, struct meta_stream **out, struct err *e)
{
    struct merge_args args = {number, fields, count, a, arena_zalloc(a, sizeof **out)};
    enum err_code rc;

    if (!args.result)
        return err_set(e, ERR_NOMEM, "a stream record");
    rc = kv_update(m->kv, merge_fields, &args, e);
    if (rc) {
        err_wrap(e, "fields of stream number %llu", (unsigned long long)number);
        return rc;
    }
    *out = args.result;
    return ERR_OK;
}

struct settings_args {
    uint64_t number;
    meta_settings_change fn;
    void *ctx;
    struct arena *arena;
    struct meta_stream *result;
};

static enum err_code change_settings(struct kv_txn *t, void *ctx, struct err *e)
{
    struct settings_args *m = ctx;
    struct meta_stream s;
    struct str key;
    enum err_code rc = key_of_number(t, m->number, &key, e);

    if (!rc)
        rc = read_stream(t, key, true, m->arena, &s, e);
    if (!rc)
        rc = m->fn(&s, m->arena, &s.settings_json, m->ctx, e);
    if (rc)
        return rc;
    s.schema_version++;
    *m->result = s;
    return write_stream(t, &s, e);
}

enum err_code meta_stream_change_settings(struct meta *m, uint64_t number, meta_settings_change fn,
                                          void *ctx, struct arena *a, struct meta_stream **out,
                                          struct err *e)
{
    struct settings_args args = {number, fn, ctx, a, arena_zalloc(a, sizeof **out)};
    enum err_code rc;

    if (!args.result)
        return err_set(e, ERR_NOMEM, "a stream record");
    rc = kv_update(m->kv, change_settings, &args, e);
    if (!rc)
        *out = args.result;
    return rc;
}

struct create_args {
    struct make_args make;
    struct merge_args merge;
    struct settings_args settings;
};

static enum err_code create_stream(struct kv_txn *t, void *ctx, struct err *e)
{
    struct create_args *c = ctx;
    enum err_code rc = make_stream(t, &c->make, e);

    if (!rc && c->make.exists)
        rc = err_set(e, ERR_EXISTS, "stream already exists");
    c->merge.number = c->settings.number = c->make.number;
    if (!rc)
        rc = merge_fields(t, &c->merge, e);
    return rc ? rc : change_settings(t, &c->settings, e);
}

enum err_code meta_stream_create(struct meta *m, const struct meta_creation *n, struct arena *a,
                                 struct meta_stream **out, struct err *e)
{
    struct meta_stream *result = arena_zalloc(a, sizeof *result);
    struct create_args args = {
        .make = {.org = n->org, .name = n->name, .type = n->type},
        .merge = {.fields = n->fields, .count = n->field_count, .arena = a, .result = result},
        .settings = {.fn = n->settings, .ctx = n->ctx, .arena = a, .result = result}};
    enum err_code rc = check_names(n->org, n->name, e);

    if (!rc && !result)
        rc = err_set(e, ERR_NOMEM, "a stream record");
    if (!rc)
        rc = kv_update(m->kv, create_stream, &args, e);
    if (!rc)
        *out = result;
    return rc;
}

#define LIST_ARENA_MAX (256u << 20)

struct list_args {
    meta_stream_visit fn;
    void *ctx;
    bool with_fields;
    struct arena arena;
    enum err_code rc;
    struct err *e;
};

static bool visit_stream(struct str key, struct str value, uint64_t revision, void *ctx)
{
    struct list_args *l = ctx;
    struct meta_stream s = {0};

    (void)revision;
    arena_reset(&l->arena);
    if (!meta_key_stream_parse(key, &s.org, &s.type, &s.name)) {
        l->rc = err_set(l->e, ERR_CORRUPT, "a stream key is broken");
        return false;
    }
    l->rc = stream_record_decode(value, l->with_fields, &l->arena, &s, l->e);
    return !l->rc && l->fn(&s, l->ctx);
}

enum err_code meta_stream_list(struct meta *m, struct str org, bool with_fields,
                               meta_stream_visit fn, void *ctx, struct err *e)
{
    struct list_args l = {.fn = fn, .ctx = ctx, .with_fields = with_fields, .e = e};
    struct meta_key prefix = meta_key_of('s', org);
    struct kv_txn *t;
    enum err_code rc;

    if (org.len)
        meta_key_add(&prefix, (struct str){"", 1}); /* "ab" is no prefix of "abc" then */
    rc = meta_key_check(&prefix, e);
    if (!rc)
        rc = kv_begin(m->kv, false, &t, e);
    if (rc)
        return rc;
    arena_init(&l.arena, LIST_ARENA_MAX);
    rc = kv_list(t, meta_key_str(&prefix), STR(""), visit_stream, &l, e);
    arena_done(&l.arena);
    kv_abort(t);
    return rc ? rc : l.rc;
}

static enum err_code delete_stream(struct kv_txn *t, void *ctx, struct err *e)
{
    uint64_t number = *(const uint64_t *)ctx;
    struct meta_key by_number = meta_key_number('n', number);
    struct meta_key mark = meta_key_number('d', number);
    struct meta_key key = {.len = 0};
    char value[META_KEY_MAX + 8];
    struct str found;
    enum err_code rc = key_of_number(t, number, &found, e);

    if (rc)
        return rc;
    meta_key_add(&key, found); /* the view ends with the next write */
    rc = meta_key_check(&key, e);
    if (rc)
        return rc;
    memcpy(value, key.bytes, key.len);
    put_u64(value + key.len, (uint64_t)clock_wall_us());
    rc = kv_put(t, meta_key_str(&mark), (struct str){value, key.len + 8}, KV_ANY_REVISION, e);
    if (!rc)
        rc = kv_delete(t, meta_key_str(&by_number), KV_ANY_REVISION, e);
    if (!rc)
        rc = kv_delete(t, meta_key_str(&key), KV_ANY_REVISION, e);
    return rc;
}

enum err_code meta_stream_delete(struct meta *m, uint64_t number, struct err *e)
{
    enum err_code rc = kv_update(m->kv, delete_stream, &number, e);

    if (rc)
        err_wrap(e, "delete stream number %llu", (unsigned long long)number);
    return rc;
}

enum err_code meta_stream_was_deleted(struct meta *m, uint64_t number, bool *deleted, struct err *e)
{
    struct meta_key mark = meta_key_number('d', number);
    struct kv_txn *t;
    enum err_code rc = kv_begin(m->kv, false, &t, e);

    if (rc)
        return rc;
    rc = kv_find(t, meta_key_str(&mark), NULL, NULL, deleted, e);
    kv_abort(t);
    return rc;
}

struct deleted_args {
    meta_deleted_visit fn;
    void *ctx;
    enum err_code rc;
    struct err *e;
};

static bool visit_deleted(struct str key, struct str value, uint64_t revision, void *ctx)
{
    struct deleted_args *l = ctx;
    struct str org, name;
    enum stream_type type;

    (void)revision;
    if (key.len != 10 || value.len < 8 ||
        !meta_key_stream_parse((struct str){value.ptr, value.len - 8}, &org, &type, &name)) {
        l->rc = err_set(l->e, ERR_CORRUPT, "a deletion mark is broken");
        return false;
    }
    return l->fn(get_be64(key.ptr + 2), org, type, name, l->ctx); /* "d/", the number */
}

enum err_code meta_deleted_list(struct meta *m, meta_deleted_visit fn, void *ctx, struct err *e)
{
    struct deleted_args l = {.fn = fn, .ctx = ctx, .e = e};
    struct meta_key prefix = meta_key_of('d', STR(""));
    struct kv_txn *t;
    enum err_code rc = kv_begin(m->kv, false, &t, e);

    if (rc)
        return rc;
    rc = kv_list(t, meta_key_str(&prefix), STR(""), visit_deleted, &l, e);
    kv_abort(t);
    return rc ? rc : l.rc;
}
