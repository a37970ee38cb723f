/* index/parts.c - the derived index of parts.
 *
 * Keys of <data>/index, and what stands under them:
 *
 *   p/...         a part (parts_codec.h); in the order (org, type, stream, hour, id)
 *   i/<id>        the p/ key of that part
 *   j/position    u64 segment, u64 offset: what of the journal is covered; little-endian
 */
#include "index/parts.h"

#include <stdlib.h>

#include "index/parts_codec.h"

#define POSITION_KEY STR("j/position")
#define POSITION_LEN 16
#define ID_KEY_LEN (2 + sizeof(struct ulid))

struct parts {
    struct kv *kv;
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

enum err_code parts_open(const char *path, bool read_only, struct parts **out, struct err *e)
{
    struct kv_options o = {.path = path, .read_only = read_only, .sync = KV_SYNC_META_LATER};
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

static enum err_code put_one(struct kv_txn *t, const struct part *p, struct err *e)
{
    struct part_key key = part_key_of(p);
    struct id_key by_id = id_key_of(&p->id);
    char value[PART_VALUE_MAX];
    size_t len = 0;
    enum err_code rc = part_encode(p, value, &len, e);

    if (!rc && key.too_long)
        rc = err_set(e, ERR_TOOBIG, "its names are too long");
    if (!rc)
        rc = kv_put(t, part_key_str(&key), (struct str){value, len}, KV_ANY_REVISION, e);
    if (!rc)
        rc = kv_put(t, id_key_str(&by_id), part_key_str(&key), KV_ANY_REVISION, e);
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

enum err_code parts_put(struct parts *p, const struct part *list, size_t count, uint64_t segment,
                        uint64_t offset, struct err *e)
{
    struct change c = {list, count, segment, offset, false};

    return kv_update(p->kv, apply, &c, e);
}

enum err_code parts_delete(struct parts *p, const struct part *list, size_t count, uint64_t segment,
                           uint64_t offset, struct err *e)
{
    struct change c = {list, count, segment, offset, true};

    return kv_update(p->kv, apply, &c, e);
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

struct listing {
    part_visit fn;
    void *ctx;
    int32_t last_hour;
    enum err_code rc;
    struct err *e;
};

static bool visit(struct str key, struct str value, uint64_t revision, void *ctx)
{
    struct listing *l = ctx;
    struct part p;

    (void)revision;
    l->rc = part_decode(key, value, &p, l->e);
    return !l->rc && p.hour <= l->last_hour && l->fn(&p, l->ctx);
}

enum err_code parts_list(struct parts *p, struct str org, enum stream_type type, struct str name,
                         int32_t first_hour, int32_t last_hour, part_visit fn, void *ctx,
                         struct err *e)
{
    struct listing l = {.fn = fn, .ctx = ctx, .last_hour = last_hour, .e = e};
    struct part_key prefix = part_key_stream(org, type, name);
    struct part_key from = part_key_hour(org, type, name, first_hour);
    struct kv_txn *t;
    enum err_code rc;

    if (from.too_long)
        return err_set(e, ERR_TOOBIG, "parts: a name is too long");
    rc = kv_begin(p->kv, false, &t, e);
    if (rc)
        return rc;
    rc = kv_list(t, part_key_str(&prefix), part_key_str(&from), visit, &l, e);
    kv_abort(t);
    return rc ? rc : l.rc;
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

enum err_code parts_find(struct parts *p, const struct ulid *id, struct arena *a, struct part *out,
                         struct err *e)
{
    struct str key, value;
    struct kv_txn *t;
    struct part found;
    struct id_key by_id = id_key_of(id);
    enum err_code rc = kv_begin(p->kv, false, &t, e);

    if (rc)
        return rc;
    rc = kv_get(t, id_key_str(&by_id), &key, NULL, e);
    if (!rc)
        rc = kv_get(t, key, &value, NULL, e);
    if (!rc)
        rc = part_decode(key, value, &found, e);
    if (!rc && !copy_views(&found, a))
        rc = err_set(e, ERR_NOMEM, "part");
    kv_abort(t);
    if (!rc)
        *out = found;
    return rc;
}
