/* index/parts_schema.c - the columns of sealed files, stored once for all parts that share them.
 *
 * Keys of <data>/index:   s/<hash>   8 bytes big-endian -> the columns (parts_codec.h)
 * The hash is SipHash-1-3 of the encoding under a fixed key, so that it is the same in every store.
 */
#include "base/hash.h"
#include "index/parts_codec.h"

#define HASH_KEY0 UINT64_C(0x7765697220636f6c)
#define HASH_KEY1 UINT64_C(0x756d6e7320763031)
#define SCHEMA_KEY_LEN 10

struct schema_key {
    char bytes[SCHEMA_KEY_LEN];
};

static struct schema_key schema_key_of(uint64_t hash)
{
    struct schema_key k = {.bytes = "s/"};

    put_be64(k.bytes + 2, hash);
    return k;
}

static struct str schema_key_str(const struct schema_key *k)
{
    return (struct str){k->bytes, sizeof k->bytes};
}

enum err_code columns_encode(const struct part_column *columns, size_t count, struct buf *out,
                             struct err *e)
{
    char head[COLUMN_HEADER_LEN] = {COLUMNS_VERSION};

    if (count > FIELDS_MAX)
        return err_set(e, ERR_TOOBIG, "%zu columns", count);
    put_u32(head + 1, (uint32_t)count);
    buf_add(out, head, COLUMNS_HEADER_LEN);
    for (size_t i = 0; i < count; i++) {
        if (columns[i].name.len > FIELD_NAME_MAX_BYTES)
            return err_set(e, ERR_TOOBIG, "a column's name is too long");
        put_u32(head, columns[i].number);
        head[4] = (char)((unsigned)columns[i].type | (columns[i].is_rare ? COLUMN_RARE : 0));
        put_u16(head + 5, (uint16_t)columns[i].name.len);
        buf_add(out, head, COLUMN_HEADER_LEN);
        buf_add_str(out, columns[i].name);
    }
    return buf_ok(out) ? ERR_OK
                       : err_set(e, ERR_TOOBIG, "columns of more than %zu bytes", out->max);
}

/* The next column; false when there is not a whole one. */
static bool take_column(struct str *rest, struct part_column *c)
{
    size_t len;
    unsigned type;

    if (rest->len < COLUMN_HEADER_LEN)
        return false;
    type = (uint8_t)rest->ptr[4];
    if ((type & ~COLUMN_RARE) >= FIELD_TYPE_COUNT)
        return false;
    len = get_u16(rest->ptr + 5);
    if (rest->len - COLUMN_HEADER_LEN < len)
        return false;
    *c = (struct part_column){.name = {rest->ptr + COLUMN_HEADER_LEN, len},
                              .type = (enum field_type)(type & ~COLUMN_RARE),
                              .number = get_u32(rest->ptr),
                              .is_rare = (type & COLUMN_RARE) != 0};
    *rest = (struct str){c->name.ptr + len, rest->len - COLUMN_HEADER_LEN - len};
    return true;
}

enum err_code columns_decode(struct str value, struct arena *a, struct part_column **columns,
                             size_t *count, struct err *e)
{
    struct part_column *list;
    struct str rest;
    size_t n;

    if (value.len < COLUMNS_HEADER_LEN || value.ptr[0] != COLUMNS_VERSION ||
        (n = get_u32(value.ptr + 1)) > FIELDS_MAX)
        return err_set(e, ERR_CORRUPT, "the columns of a part are broken");
    list = arena_alloc(a, (n + 1) * sizeof *list);
    if (!list)
        return err_set(e, ERR_NOMEM, "no memory for %zu columns", n);
    rest = (struct str){value.ptr + COLUMNS_HEADER_LEN, value.len - COLUMNS_HEADER_LEN};
    for (size_t i = 0; i < n; i++) {
        if (!take_column(&rest, &list[i]))
            return err_set(e, ERR_CORRUPT, "column %zu of a part is broken", i);
    }
    if (rest.len > 0)
        return err_set(e, ERR_CORRUPT, "the columns of a part are broken");
    *columns = list;
    *count = n;
    return ERR_OK;
}

/* ---- the store ---- */

static uint64_t hash_of(struct str encoded)
{
    uint64_t hash = siphash13(HASH_KEY0, HASH_KEY1, encoded.ptr, encoded.len);

    return hash ? hash : 1; /* 0 is no schema */
}

uint64_t parts_schema_hash(const struct part_column *columns, size_t count)
{
    struct buf encoded;
    uint64_t hash;

    buf_init(&encoded, KV_VALUE_MAX);
    hash = columns_encode(columns, count, &encoded, NULL) ? 0 : hash_of(buf_str(&encoded));
    buf_done(&encoded);
    return hash;
}

/* Known already: true.  Another list under the same hash is CORRUPT: it would be taken for ours. */
static enum err_code find_same(struct kv *kv, struct str key, struct str encoded, bool *known,
                               struct err *e)
{
    struct kv_txn *t;
    struct str value;
    enum err_code rc = kv_begin(kv, false, &t, e);

    if (rc)
        return rc;
    rc = kv_find(t, key, &value, NULL, known, e);
    if (!rc && *known && !str_eq(value, encoded))
        rc = err_set(e, ERR_CORRUPT, "two lists of columns have one hash");
    kv_abort(t);
    return rc;
}

struct put {
    struct str key, value;
};

static enum err_code put_value(struct kv_txn *t, void *ctx, struct err *e)
{
    const struct put *p = ctx;

    return kv_put(t, p->key, p->value, KV_ANY_REVISION, e);
}

static enum err_code put_encoded(struct kv *kv, struct str encoded, uint64_t hash, struct err *e)
{
    struct schema_key key = schema_key_of(hash);
    struct put put = {schema_key_str(&key), encoded};
    bool known = false;
    enum err_code rc = find_same(kv, put.key, encoded, &known, e);

    return rc || known ? rc : kv_update(kv, put_value, &put, e);
}

enum err_code parts_schema_put(struct parts *p, const struct part_column *columns, size_t count,
                               uint64_t *hash, struct err *e)
{
    struct buf encoded;
    uint64_t found = 0;
    enum err_code rc;

    buf_init(&encoded, KV_VALUE_MAX);
    rc = columns_encode(columns, count, &encoded, e);
    if (!rc) {
        found = hash_of(buf_str(&encoded));
        rc = put_encoded(parts_kv(p), buf_str(&encoded), found, e);
    }
    buf_done(&encoded);
    if (rc)
        return err_wrap(e, "index: columns");
    *hash = found;
    return ERR_OK;
}

/* Names move into the arena, so that they outlive the transaction. */
static enum err_code decode_copy(struct str value, struct arena *a, struct part_column **columns,
                                 size_t *count, struct err *e)
{
    struct str copy = arena_copy(a, value);

    return copy.ptr ? columns_decode(copy, a, columns, count, e)
                    : err_set(e, ERR_NOMEM, "no memory for columns");
}

enum err_code parts_schema_get(struct parts *p, uint64_t hash, struct arena *a,
                               struct part_column **columns, size_t *count, struct err *e)
{
    struct schema_key key = schema_key_of(hash);
    struct kv_txn *t;
    struct str value;
    enum err_code rc = kv_begin(parts_kv(p), false, &t, e);

    if (rc)
        return rc;
    rc = kv_get(t, schema_key_str(&key), &value, NULL, e);
    if (!rc)
        rc = decode_copy(value, a, columns, count, e);
    kv_abort(t);
    return rc;
}
