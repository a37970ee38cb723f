/* index/parts.c - the derived index of parts.
 *
 * Keys of <data>/index:
 *   p/<org>\0<type><name>\0<hour><id>   a part; type is one byte, 'a' + stream_type; hour is
 * big-endian with the sign flipped, so that keys sort by time; id 16 bytes i/<id> the p/ key of
 * that part j/position                          u64 segment, u64 offset: what of the journal is
 * covered Value of a part, little-endian: 0 u8 version 1   1 u8 state   2 u64 stream   10 i64
 * min_ts   18 i64 max_ts   26 u64 rows 34 u64 raw_bytes   42 u64 stored_bytes   50 u8[32] sha256 82
 * u8 node_len   83 u16 object_len 85 node, object
 */
#include "index/parts.h"

#include <stdlib.h>

#define VERSION 1
#define HEADER_LEN 85
#define VALUE_MAX (HEADER_LEN + 255 + 4096)

struct parts {
    struct kv *kv;
};

struct part_key {
    char bytes[KV_KEY_MAX];
    size_t len;
    bool too_long;
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
        return err_wrap(e, "index");
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

static void key_add(struct part_key *k, const void *p, size_t n)
{
    if (n > sizeof k->bytes - k->len) {
        k->too_long = true;
        return;
    }
    if (n)
        memcpy(k->bytes + k->len, p, n);
    k->len += n;
}

static void key_add_hour(struct part_key *k, int32_t hour)
{
    char be[4];

    put_be32(be, (uint32_t)hour ^ 0x80000000u);
    key_add(k, be, sizeof be);
}

static struct part_key stream_prefix(struct str org, enum stream_type type, struct str name)
{
    struct part_key k = {.bytes = "p/", .len = 2};
    char mark[2] = {'\0', (char)('a' + (int)type)};

    key_add(&k, org.ptr, org.len);
    key_add(&k, mark, sizeof mark);
    key_add(&k, name.ptr, name.len);
    key_add(&k, "", 1);
    return k;
}

static struct part_key part_key_of(const struct part *p)
{
    struct part_key k = stream_prefix(p->org, p->type, p->name);

    key_add_hour(&k, p->hour);
    key_add(&k, p->id.b, sizeof p->id.b);
    return k;
}

static struct str key_str(const struct part_key *k)
{
    return (struct str){k->bytes, k->len};
}

static void id_key(const struct ulid *id, char key[18])
{
    memcpy(key, "i/", 2);
    memcpy(key + 2, id->b, sizeof id->b);
}

static enum err_code encode(const struct part *p, char *dst, size_t *len, struct err *e)
{
    if (p->node.len > 255 || p->object.len > 4096)
        return err_set(e, ERR_TOOBIG, "part: a node or object name is too long");
    dst[0] = VERSION;
    dst[1] = (char)p->state;
    put_u64(dst + 2, p->stream);
    put_u64(dst + 10, (uint64_t)p->min_ts_us);
    put_u64(dst + 18, (uint64_t)p->max_ts_us);
    put_u64(dst + 26, p->rows);
    put_u64(dst + 34, p->raw_bytes);
    put_u64(dst + 42, p->stored_bytes);
    memcpy(dst + 50, p->sha256, sizeof p->sha256);
    dst[82] = (char)p->node.len;
    put_u16(dst + 83, (uint16_t)p->object.len);
    if (p->node.len)
        memcpy(dst + HEADER_LEN, p->node.ptr, p->node.len);
    if (p->object.len)
        memcpy(dst + HEADER_LEN + p->node.len, p->object.ptr, p->object.len);
    *len = HEADER_LEN + p->node.len + p->object.len;
    return ERR_OK;
}

/* Views into key and value. */
static enum err_code decode(struct str key, struct str v, struct part *p, struct err *e)
{
    struct str rest, name_and_tail;
    size_t tail = 4 + sizeof p->id.b;
    size_t node_len, object_len;

    *p = (struct part){0};
    if (v.len < HEADER_LEN || v.ptr[0] != VERSION || (uint8_t)v.ptr[1] > PART_REMOTE)
        return err_set(e, ERR_CORRUPT, "part: unknown version or too short");
    if (key.len < 2 + 1 + 1 + 1 + tail ||
        !str_cut((struct str){key.ptr + 2, key.len - 2}, '\0', &p->org, &rest) ||
        rest.len < 2 + tail)
        return err_set(e, ERR_CORRUPT, "part: a key is broken");
    p->type = (enum stream_type)(rest.ptr[0] - 'a');
    name_and_tail = (struct str){rest.ptr + 1, rest.len - 1};
    p->name = (struct str){name_and_tail.ptr, name_and_tail.len - tail - 1};
    p->hour = (int32_t)(get_be32(key.ptr + key.len - tail) ^ 0x80000000u);
    memcpy(p->id.b, key.ptr + key.len - sizeof p->id.b, sizeof p->id.b);
    p->state = (enum part_state)v.ptr[1];
    p->stream = get_u64(v.ptr + 2);
    p->min_ts_us = (int64_t)get_u64(v.ptr + 10);
    p->max_ts_us = (int64_t)get_u64(v.ptr + 18);
    p->rows = get_u64(v.ptr + 26);
    p->raw_bytes = get_u64(v.ptr + 34);
    p->stored_bytes = get_u64(v.ptr + 42);
    memcpy(p->sha256, v.ptr + 50, sizeof p->sha256);
    node_len = (uint8_t)v.ptr[82];
    object_len = get_u16(v.ptr + 83);
    if (HEADER_LEN + node_len + object_len != v.len || p->type >= STREAM_TYPE_COUNT)
        return err_set(e, ERR_CORRUPT, "part: bytes left over or missing");
    p->node = (struct str){v.ptr + HEADER_LEN, node_len};
    p->object = (struct str){v.ptr + HEADER_LEN + node_len, object_len};
    return ERR_OK;
}

struct change {
    const struct part *list;
    size_t count;
    uint64_t segment, offset;
    bool remove;
};

static enum err_code put_one(struct kv_txn *t, const struct part *p, struct err *e)
{
    struct part_key key = part_key_of(p);
    char value[VALUE_MAX], by_id[18];
    size_t len = 0;
    enum err_code rc;

    if (key.too_long)
        return err_set(e, ERR_TOOBIG, "part: a name is too long");
    rc = encode(p, value, &len, e);
    if (!rc)
        rc = kv_put(t, key_str(&key), (struct str){value, len}, KV_ANY_REVISION, e);
    id_key(&p->id, by_id);
    if (!rc)
        rc = kv_put(t, (struct str){by_id, sizeof by_id}, key_str(&key), KV_ANY_REVISION, e);
    return rc;
}

static enum err_code delete_one(struct kv_txn *t, const struct part *p, struct err *e)
{
    struct part_key key = part_key_of(p);
    char by_id[18];
    enum err_code rc = kv_delete(t, key_str(&key), KV_ANY_REVISION, e);

    id_key(&p->id, by_id);
    if (!rc)
        rc = kv_delete(t, (struct str){by_id, sizeof by_id}, KV_ANY_REVISION, e);
    return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

static enum err_code apply(struct kv_txn *t, void *ctx, struct err *e)
{
    const struct change *c = ctx;
    char position[16];
    enum err_code rc = ERR_OK;

    for (size_t i = 0; !rc && i < c->count; i++)
        rc = c->remove ? delete_one(t, &c->list[i], e) : put_one(t, &c->list[i], e);
    if (rc)
        return rc;
    put_u64(position, c->segment);
    put_u64(position + 8, c->offset);
    return kv_put(t, STR("j/position"), (struct str){position, sizeof position}, KV_ANY_REVISION,
                  e);
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
    rc = kv_get(t, STR("j/position"), &v, NULL, e);
    if (!rc && v.len != 16)
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
    l->rc = decode(key, value, &p, l->e);
    return !l->rc && p.hour <= l->last_hour && l->fn(&p, l->ctx);
}

enum err_code parts_list(struct parts *p, struct str org, enum stream_type type, struct str name,
                         int32_t first_hour, int32_t last_hour, part_visit fn, void *ctx,
                         struct err *e)
{
    struct listing l = {.fn = fn, .ctx = ctx, .last_hour = last_hour, .e = e};
    struct part_key prefix = stream_prefix(org, type, name), from = prefix;
    struct kv_txn *t;
    enum err_code rc;

    key_add_hour(&from, first_hour);
    if (from.too_long)
        return err_set(e, ERR_TOOBIG, "part: a name is too long");
    rc = kv_begin(p->kv, false, &t, e);
    if (rc)
        return rc;
    rc = kv_list(t, key_str(&prefix), key_str(&from), visit, &l, e);
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
    char by_id[18];
    enum err_code rc = kv_begin(p->kv, false, &t, e);

    if (rc)
        return rc;
    id_key(id, by_id);
    rc = kv_get(t, (struct str){by_id, sizeof by_id}, &key, NULL, e);
    if (!rc)
        rc = kv_get(t, key, &value, NULL, e);
    if (!rc)
        rc = decode(key, value, &found, e);
    if (!rc && !copy_views(&found, a))
        rc = err_set(e, ERR_NOMEM, "part");
    kv_abort(t);
    if (!rc)
        *out = found;
    return rc;
}
