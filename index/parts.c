/* index/parts.c - the derived index of parts.
 *
 * Keys of <data>/index, and what stands under them:
 *
 *   p/...         a part (parts_codec.h); in the order (org, type, stream, hour, id)
 *   i/<id>        the p/ key of that part
 *   s/<hash>      columns (parts_schema.c)
 *   j/position    u64 segment, u64 offset: what of the journal is covered; little-endian
 */
#include "index/parts.h"

#include <stdlib.h>

#include "index/hour_versions.h"
#include "index/parts_codec.h"

#define POSITION_KEY STR("j/position")
#define POSITION_LEN 16
#define ID_KEY_LEN (2 + sizeof(struct ulid))

struct parts {
    struct kv *kv;
    struct hour_versions versions;
};

static const char *const states[] = {
    [PART_ACTIVE] = "active",
    [PART_SEALED] = "sealed",
    [PART_MIRRORED] = "mirrored",
    [PART_REMOTE] = "remote",
};

const char *part_state_name(enum part_state s)
{
    return s <= PART_REMOTE ? states[s] : "unknown";
}

enum err_code parts_open(const char *path, enum kv_access access, struct parts **out, struct err *e)
{
    struct kv_options o = {.path = path, .access = access, .sync = KV_SYNC_META_LATER};
    struct parts *p = calloc(1, sizeof *p);
    enum err_code rc;

    if (!p)
        return err_set(e, ERR_NOMEM, "open index");
    rc = kv_open(&o, &p->kv, e);
    if (rc) {
        free(p);
        err_wrap(e, "index");
        return rc;
    }
    *out = p;
    return ERR_OK;
}

void parts_close(struct parts *p)
{
    if (!p)
        return;
    kv_close(p->kv);
    free(p);
}

struct kv *parts_kv(struct parts *p)
{
    return p->kv;
}

struct id_key {
    char bytes[ID_KEY_LEN];
};

static struct id_key id_key_of(const struct ulid *id)
{
    struct id_key k = {.bytes = "i/"};

    memcpy(k.bytes + 2, id->b, sizeof id->b);
    return k;
}

static struct str id_key_str(const struct id_key *k)
{
    return (struct str){k->bytes, sizeof k->bytes};
}

struct change {
    const struct part *list;
    size_t count;
    uint64_t segment, offset;
    bool remove;
};

static void wrap_part(const struct part *p, struct err *e)
{
    char id[ULID_TEXT_LEN + 1];

    ulid_format(&p->id, id);
    err_wrap(e, "part %s", id);
}

static enum err_code put_encoded(struct kv_txn *t, const struct part *p, struct str value,
                                 struct err *e)
{
    struct part_key key = part_key_of(p);
    struct id_key by_id = id_key_of(&p->id);
    enum err_code rc = key.too_long ? err_set(e, ERR_TOOBIG, "its names are too long")
                                    : kv_put(t, part_key_str(&key), value, KV_ANY_REVISION, e);

    return rc ? rc : kv_put(t, id_key_str(&by_id), part_key_str(&key), KV_ANY_REVISION, e);
}

static enum err_code put_one(struct kv_txn *t, const struct part *p, struct err *e)
{
    struct buf value;
    enum err_code rc;

    buf_init(&value, KV_VALUE_MAX);
    rc = part_encode(p, &value, e);
    if (!rc)
        rc = put_encoded(t, p, buf_str(&value), e);
    buf_done(&value);
    if (rc)
        wrap_part(p, e);
    return rc;
}

/* What is gone already is fine: the journal may ask again after a crash. */
static enum err_code delete_key(struct kv_txn *t, struct str key, struct err *e)
{
    bool found;
    enum err_code rc = kv_find(t, key, NULL, NULL, &found, e);

    return rc || !found ? rc : kv_delete(t, key, KV_ANY_REVISION, e);
}

static enum err_code delete_one(struct kv_txn *t, const struct part *p, struct err *e)
{
    struct part_key key = part_key_of(p);
    struct id_key by_id = id_key_of(&p->id);
    enum err_code rc = delete_key(t, part_key_str(&key), e);

    if (!rc)
        rc = delete_key(t, id_key_str(&by_id), e);
    if (rc)
        wrap_part(p, e);
    return rc;
}

static enum err_code apply(struct kv_txn *t, void *ctx, struct err *e)
{
    const struct change *c = ctx;
    char position[POSITION_LEN];
    enum err_code rc = ERR_OK;

    for (size_t i = 0; !rc && i < c->count; i++)
        rc = c->remove ? delete_one(t, &c->list[i], e) : put_one(t, &c->list[i], e);
    if (rc)
        return rc;
    put_u64(position, c->segment);
    put_u64(position + 8, c->offset);
    return kv_put(t, POSITION_KEY, (struct str){position, sizeof position}, KV_ANY_REVISION, e);
}

static enum err_code change(struct parts *p, struct change *c, struct err *e)
{
    enum err_code rc = kv_update(p->kv, apply, c, e);

    for (size_t i = 0; i < c->count; i++)
        hour_versions_touch(&p->versions, c->list[i].hour);
    return rc;
}

enum err_code parts_put(struct parts *p, const struct part *list, size_t count, uint64_t segment,
                        uint64_t offset, struct err *e)
{
    return change(p, &(struct change){list, count, segment, offset, false}, e);
}

enum err_code parts_delete(struct parts *p, const struct part *list, size_t count, uint64_t segment,
                           uint64_t offset, struct err *e)
{
    return change(p, &(struct change){list, count, segment, offset, true}, e);
}

uint64_t parts_hour_version(struct parts *p, int32_t hour)
{
    return hour_versions_get(&p->versions, hour);
}

enum err_code parts_position(struct parts *p, uint64_t *segment, uint64_t *offset, struct err *e)
{
    struct kv_txn *t;
    struct str v;
    enum err_code rc = kv_begin(p->kv, false, &t, e);

    if (rc)
        return rc;
    rc = kv_get(t, POSITION_KEY, &v, NULL, e);
    if (!rc && v.len != POSITION_LEN)
        rc = err_set(e, ERR_CORRUPT, "index: the journal position is broken");
    if (!rc) {
        *segment = get_u64(v.ptr);
        *offset = get_u64(v.ptr + 8);
    }
    kv_abort(t);
    return rc;
}

/* ---- listings ---- */

/* A metric's rows stand in parts of its org that have no name of their own. */
static bool is_metric(enum stream_type type, struct str name)
{
    return type == STREAM_METRICS && name.len > 0;
}

static struct str name_in_keys(enum stream_type type, struct str name)
{
    return is_metric(type, name) ? STR("") : name;
}

struct listing {
    part_visit fn;
    void *ctx;
    struct str metric; /* only parts that hold it; empty: all */
    int32_t last_hour;
    enum err_code rc;
    struct err *e;
};

static bool visit(struct str key, struct str value, uint64_t revision, void *ctx)
{
    struct listing *l = ctx;
    struct part_name found;
    struct part p;

    (void)revision;
    l->rc = part_decode(key, value, &p, l->e);
    if (l->rc || p.hour > l->last_hour)
        return false;
    return (l->metric.len > 0 && !part_name_find(&p, l->metric, &found)) || l->fn(&p, l->ctx);
}

static enum err_code list_keys(struct parts *p, struct str prefix, struct str from,
                               struct listing *l, struct err *e)
{
    struct kv_txn *t;
    enum err_code rc = kv_begin(p->kv, false, &t, e);

    if (rc)
        return rc;
    rc = kv_list(t, prefix, from, visit, l, e);
    kv_abort(t);
    return rc ? rc : l->rc;
}

enum err_code parts_list(struct parts *p, struct str org, enum stream_type type, struct str name,
                         int32_t first_hour, int32_t last_hour, part_visit fn, void *ctx,
                         struct err *e)
{
    struct listing l = {.fn = fn,
                        .ctx = ctx,
                        .metric = is_metric(type, name) ? name : STR(""),
                        .last_hour = last_hour,
                        .e = e};
    struct str stored = name_in_keys(type, name);
    struct part_key prefix = part_key_stream(org, type, stored);
    struct part_key from = part_key_hour(org, type, stored, first_hour);

    if (from.too_long)
        return err_set(e, ERR_TOOBIG, "parts: a name is too long");
    return list_keys(p, part_key_str(&prefix), part_key_str(&from), &l, e);
}

struct last {
    int32_t first_hour;
    part_visit fn;
    void *ctx;
    enum err_code rc;
    struct err *e;
};

static bool visit_last(struct str key, struct str value, uint64_t revision, void *ctx)
{
    struct last *l = ctx;
    struct part p;

    (void)revision;
    l->rc = part_decode(key, value, &p, l->e);
    if (!l->rc && p.hour >= l->first_hour)
        l->fn(&p, l->ctx);
    return false;
}

enum err_code parts_show_last(struct parts *p, struct str org, enum stream_type type,
                              struct str name, int32_t first_hour, int32_t last_hour, part_visit fn,
                              void *ctx, struct err *e)
{
    struct str stored = name_in_keys(type, name);
    struct part_key prefix = part_key_stream(org, type, stored);
    struct part_key before = part_key_hour_end(org, type, stored, last_hour);
    struct last last = {.first_hour = first_hour, .fn = fn, .ctx = ctx, .e = e};
    struct kv_txn *t;
    enum err_code rc;

    if (before.too_long)
        return err_set(e, ERR_TOOBIG, "parts: a name is too long");
    rc = kv_begin(p->kv, false, &t, e);
    if (rc)
        return rc;
    rc = kv_last(t, part_key_str(&prefix), part_key_str(&before), visit_last, &last, e);
    kv_abort(t);
    return rc ? rc : last.rc;
}

enum err_code parts_each(struct parts *p, part_visit fn, void *ctx, struct err *e)
{
    struct listing l = {.fn = fn, .ctx = ctx, .last_hour = INT32_MAX, .e = e};

    return list_keys(p, PART_KEY_PREFIX, PART_KEY_PREFIX, &l, e);
}

struct first {
    int32_t hour;
    bool found;
};

static bool note_first(const struct part *p, void *ctx)
{
    *(struct first *)ctx = (struct first){p->hour, true};
    return false;
}

enum err_code parts_next_hour(struct parts *p, struct str org, enum stream_type type,
                              struct str name, int32_t from_hour, int32_t *hour, bool *found,
                              struct err *e)
{
    struct first first = {0};
    enum err_code rc = parts_list(p, org, type, name, from_hour, INT32_MAX, note_first, &first, e);

    if (rc)
        return rc;
    *hour = first.hour;
    *found = first.found;
    return ERR_OK;
}

/* Moves the views of *p into the arena, so that they outlive the transaction. */
static bool copy_views(struct part *p, struct arena *a)
{
    p->org = arena_copy(a, p->org);
    p->name = arena_copy(a, p->name);
    p->node = arena_copy(a, p->node);
    p->object = arena_copy(a, p->object);
    return !a->failed;
}

/* Unpacked, and free of the transaction. */
static enum err_code take_part(struct part *p, struct arena *a, struct err *e)
{
    enum err_code rc = part_unpack(p, a, e);

    return rc || copy_views(p, a) ? rc : err_set(e, ERR_NOMEM, "no memory for a part");
}

struct next {
    struct arena *a;
    struct part *out;
    bool *found;
    enum err_code rc;
    struct err *e;
};

static bool take_next(const struct part *p, void *ctx)
{
    struct next *n = ctx;
    struct part part = *p;

    n->rc = take_part(&part, n->a, n->e);
    *n->found = n->rc == ERR_OK;
    if (*n->found)
        *n->out = part;
    return false;
}

enum err_code parts_next(struct parts *p, const struct part *after, struct arena *a,
                         struct part *out, bool *found, struct err *e)
{
    struct next n = {.a = a, .out = out, .found = found, .e = e};
    struct listing l = {.fn = take_next, .ctx = &n, .last_hour = INT32_MAX, .e = e};
    char from[KV_KEY_MAX + 1] = "p/"; /* a byte longer than the key before */
    size_t len = PART_KEY_PREFIX.len;
    enum err_code rc;

    if (after) {
        struct part_key key = part_key_of(after);
        memcpy(from, key.bytes, key.len);
        from[key.len] = '\0';
        len = key.len + 1;
    }
    *found = false;
    rc = list_keys(p, PART_KEY_PREFIX, (struct str){from, len}, &l, e);
    return rc ? rc : n.rc;
}

static enum err_code get_by_id(struct kv_txn *t, const struct ulid *id, struct part *out,
                               struct err *e)
{
    struct id_key by_id = id_key_of(id);
    struct str key, value;
    enum err_code rc = kv_get(t, id_key_str(&by_id), &key, NULL, e);

    if (!rc)
        rc = kv_get(t, key, &value, NULL, e);
    return rc ? rc : part_decode(key, value, out, e);
}

enum err_code parts_find(struct parts *p, const struct ulid *id, struct arena *a, struct part *out,
                         struct err *e)
{
    struct kv_txn *t;
    struct part found;
    enum err_code rc = kv_begin(p->kv, false, &t, e);

    if (rc)
        return rc;
    rc = get_by_id(t, id, &found, e);
    if (!rc)
        rc = take_part(&found, a, e);
    kv_abort(t);
    if (!rc)
        *out = found;
    return rc;
}

enum err_code parts_show(struct parts *p, const struct ulid *id, part_visit fn, void *ctx,
                         struct err *e)
{
    struct part found;
    struct kv_txn *t;
    enum err_code rc = kv_begin(p->kv, false, &t, e);

    if (rc)
        return rc;
    rc = get_by_id(t, id, &found, e);
    if (!rc)
        fn(&found, ctx);
    kv_abort(t);
    return rc;
}

enum err_code parts_has(struct parts *p, const struct ulid *id, bool *has, struct err *e)
{
    struct id_key by_id = id_key_of(id);
    struct kv_txn *t;
    enum err_code rc = kv_begin(p->kv, false, &t, e);

    if (rc)
        return rc;
    rc = kv_find(t, id_key_str(&by_id), NULL, NULL, has, e);
    kv_abort(t);
    return rc;
}
