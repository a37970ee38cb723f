/* index/meta.c - organisations, users and values of the installation.
 *
 * Keys of <data>/meta, and what stands under them; numbers in keys are big-endian, in values
 * little-endian:
 *
 *   o/<org>                   u64 created_us
 *   s/<org>\0<type><name>     a stream record (meta_codec.h); the type is one byte, 'a' + number
 *   n/<u64 number>            the s/ key of that stream
 *   d/<u64 number>            deletion mark: the s/ key the stream had, then u64 deleted_us
 *   c/stream                  u64 the last stream number given out
 *   u/<email>                 a user's JSON
 *   v/<key>                   a value of the installation
 */
#include "index/meta.h"

#include <stdlib.h>

#include "base/clock.h"
#include "index/meta_internal.h"

static const char *const stream_types[STREAM_TYPE_COUNT] = {
    [STREAM_LOGS] = "logs",
    [STREAM_METRICS] = "metrics",
    [STREAM_TRACES] = "traces",
    [STREAM_ENRICHMENT] = "enrichment_tables",
};
static const char *const field_types[FIELD_TYPE_COUNT] = {
    [FIELD_BOOL] = "Boolean",    [FIELD_INT64] = "Int64", [FIELD_UINT64] = "UInt64",
    [FIELD_FLOAT64] = "Float64", [FIELD_UTF8] = "Utf8",
};

const char *stream_type_name(enum stream_type t)
{
    return t < STREAM_TYPE_COUNT ? stream_types[t] : "unknown";
}

bool stream_type_parse(struct str s, enum stream_type *out)
{
    for (int i = 0; i < STREAM_TYPE_COUNT; i++) {
        if (str_eq(s, str_from(stream_types[i]))) {
            *out = (enum stream_type)i;
            return true;
        }
    }
    return false;
}

const char *field_type_name(enum field_type t)
{
    return t < FIELD_TYPE_COUNT ? field_types[t] : "unknown";
}

bool field_type_parse(struct str s, enum field_type *out)
{
    for (int i = 0; i < FIELD_TYPE_COUNT; i++) {
        if (str_eq(s, str_from(field_types[i]))) {
            *out = (enum field_type)i;
            return true;
        }
    }
    return false;
}

/* The types are declared from narrow to wide, and each holds what those before it hold. */
enum field_type field_type_widen(enum field_type a, enum field_type b)
{
    return a > b ? a : b;
}

struct str meta_key_str(const struct meta_key *k)
{
    return (struct str){k->bytes, k->len};
}

enum err_code meta_key_check(const struct meta_key *k, struct err *e)
{
    return k->too_long ? err_set(e, ERR_TOOBIG, "a name is too long") : ERR_OK;
}

void meta_key_add(struct meta_key *k, struct str part)
{
    if (part.len > sizeof k->bytes - k->len) {
        k->too_long = true;
        return;
    }
    if (part.len)
        memcpy(k->bytes + k->len, part.ptr, part.len);
    k->len += part.len;
}

struct meta_key meta_key_of(char family, struct str text)
{
    struct meta_key k = {.bytes = {family, '/'}, .len = 2};

    meta_key_add(&k, text);
    return k;
}

struct meta_key meta_key_number(char family, uint64_t number)
{
    char bytes[8];

    put_be64(bytes, number);
    return meta_key_of(family, (struct str){bytes, sizeof bytes});
}

struct meta_key meta_key_stream(struct str org, enum stream_type type, struct str name)
{
    struct meta_key k = meta_key_of('s', org);
    char mark[2] = {'\0', (char)('a' + (int)type)};

    meta_key_add(&k, (struct str){mark, sizeof mark});
    meta_key_add(&k, name);
    return k;
}

bool meta_key_stream_parse(struct str key, struct str *org, enum stream_type *type,
                           struct str *name)
{
    struct str rest;
    int t;

    if (!str_starts(key, STR("s/")))
        return false;
    if (!str_cut((struct str){key.ptr + 2, key.len - 2}, '\0', org, &rest) || rest.len < 1)
        return false;
    t = rest.ptr[0] - 'a';
    if (t < 0 || t >= STREAM_TYPE_COUNT)
        return false;
    *type = (enum stream_type)t;
    *name = (struct str){rest.ptr + 1, rest.len - 1};
    return true;
}

enum err_code meta_open(const char *path, enum kv_access access, struct meta **out, struct err *e)
{
    struct kv_options o = {.path = path, .access = access, .sync = KV_SYNC_FULL};
    struct meta *m = calloc(1, sizeof *m);
    enum err_code rc;

    if (!m)
        return err_set(e, ERR_NOMEM, "open meta");
    rc = kv_open(&o, &m->kv, e);
    if (rc) {
        free(m);
        err_wrap(e, "meta");
        return rc;
    }
    *out = m;
    return ERR_OK;
}

void meta_close(struct meta *m)
{
    if (!m)
        return;
    kv_close(m->kv);
    free(m);
}

struct kv *meta_kv(struct meta *m)
{
    return m->kv;
}

enum err_code meta_org_find(struct meta *m, struct str org, bool *found, struct err *e)
{
    struct meta_key key = meta_key_of('o', org);
    struct kv_txn *t;
    enum err_code rc = meta_key_check(&key, e);

    if (rc || (rc = kv_begin(m->kv, false, &t, e)))
        return rc;
    rc = kv_find(t, meta_key_str(&key), NULL, NULL, found, e);
    kv_abort(t);
    if (rc)
        err_wrap(e, "organisation " STR_FMT, STR_ARG(org));
    return rc;
}

enum err_code meta_org_put(struct kv_txn *t, struct str org, struct err *e)
{
    struct meta_key key = meta_key_of('o', org);
    char created[8];
    bool found = false;
    enum err_code rc = meta_key_check(&key, e);

    if (!rc)
        rc = kv_find(t, meta_key_str(&key), NULL, NULL, &found, e);
    if (rc || found)
        return rc;
    put_u64(created, (uint64_t)clock_wall_us());
    return kv_put(t, meta_key_str(&key), (struct str){created, sizeof created}, 0, e);
}

static enum err_code make_org(struct kv_txn *t, void *ctx, struct err *e)
{
    return meta_org_put(t, *(const struct str *)ctx, e);
}

enum err_code meta_org_make(struct meta *m, struct str org, struct err *e)
{
    enum err_code rc = kv_update(m->kv, make_org, &org, e);

    if (rc)
        err_wrap(e, "organisation " STR_FMT, STR_ARG(org));
    return rc;
}

struct org_visit {
    meta_org_visit fn;
    void *ctx;
};

static bool visit_org(struct str key, struct str value, uint64_t revision, void *ctx)
{
    const struct org_visit *v = ctx;
    int64_t created = value.len == 8 ? (int64_t)get_u64(value.ptr) : 0;

    (void)revision;
    return v->fn((struct str){key.ptr + 2, key.len - 2}, created, v->ctx);
}

enum err_code meta_org_list(struct meta *m, meta_org_visit fn, void *ctx, struct err *e)
{
    struct org_visit visit = {fn, ctx};
    struct kv_txn *t;
    enum err_code rc = kv_begin(m->kv, false, &t, e);

    if (rc)
        return rc;
    rc = kv_list(t, STR("o/"), STR(""), visit_org, &visit, e);
    kv_abort(t);
    return rc;
}

/* One value by key, copied. */
static enum err_code get_copy(struct meta *m, const struct meta_key *key, struct arena *a,
                              struct str *value, uint64_t *revision, struct err *e)
{
    struct kv_txn *t;
    struct str v;
    enum err_code rc = meta_key_check(key, e);

    if (rc || (rc = kv_begin(m->kv, false, &t, e)))
        return rc;
    rc = kv_get(t, meta_key_str(key), &v, revision, e);
    if (!rc) {
        *value = arena_copy(a, v);
        if (!value->ptr)
            rc = err_set(e, ERR_NOMEM, "a value of %zu bytes", v.len);
    }
    kv_abort(t);
    return rc;
}

struct put_args {
    const struct meta_key *key;
    struct str value;
    uint64_t if_revision;
};

static enum err_code put_value(struct kv_txn *t, void *ctx, struct err *e)
{
    const struct put_args *p = ctx;

    return kv_put(t, meta_key_str(p->key), p->value, p->if_revision, e);
}

static enum err_code put_copy(struct meta *m, const struct meta_key *key, struct str value,
                              uint64_t if_revision, struct err *e)
{
    struct put_args args = {key, value, if_revision};
    enum err_code rc = meta_key_check(key, e);

    return rc ? rc : kv_update(m->kv, put_value, &args, e);
}

enum err_code meta_user_get(struct meta *m, struct str email, struct arena *a, struct str *json,
                            uint64_t *revision, struct err *e)
{
    struct meta_key key = meta_key_of('u', email);

    return get_copy(m, &key, a, json, revision, e);
}

enum err_code meta_user_put(struct meta *m, struct str email, struct str json, uint64_t if_revision,
                            struct err *e)
{
    struct meta_key key = meta_key_of('u', email);

    return put_copy(m, &key, json, if_revision, e);
}

enum err_code meta_value_get(struct meta *m, struct str key, struct arena *a, struct str *value,
                             struct err *e)
{
    struct meta_key k = meta_key_of('v', key);

    return get_copy(m, &k, a, value, NULL, e);
}

enum err_code meta_value_put(struct meta *m, struct str key, struct str value, struct err *e)
{
    struct meta_key k = meta_key_of('v', key);

    return put_copy(m, &k, value, KV_ANY_REVISION, e);
}

enum err_code meta_revision(struct meta *m, uint64_t *out, struct err *e)
{
    struct kv_txn *t;
    enum err_code rc = kv_begin(m->kv, false, &t, e);

    if (rc)
        return rc;
    *out = kv_revision(t);
    kv_abort(t);
    return ERR_OK;
}
