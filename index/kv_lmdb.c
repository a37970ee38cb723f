/* index/kv_lmdb.c - the ordered key-value contract over LMDB.
 *
 * One unnamed database.  A value is stored as
 *   0 u64 revision   8 u32 crc32c(key, revision, value)   12 value
 * and the store's revision under the key "\0rev" (u64), which no caller sees.
 *
 * The map grows only while no transaction of this process is open: transactions hold `growth`
 * shared, growth holds it exclusively.  A write that meets a full map fails with ERR_FULL and
 * marks the store; the next kv_begin of a writer doubles the map, so that a caller which replays
 * its closure succeeds (kv_update does that).
 */
#include "index/kv.h"

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/sys.h"

#define MAP_INITIAL_DEFAULT ((size_t)64 << 20)
#define MAP_MAX_DEFAULT ((size_t)64 << 30)
#define READERS_DEFAULT 256
#define VALUE_HEADER 12

static const struct str revision_key = {"\0rev", 4};

struct kv {
    MDB_env *env;
    MDB_dbi dbi;
    bool read_only;
    size_t map_max_bytes;
    pthread_rwlock_t growth; /* shared by transactions, exclusive to grow */
    atomic_bool map_is_full;
    atomic_uint stale_cleared;
    void (*on_commit)(uint64_t revision, void *ctx); /* set before threads */
    void *on_commit_ctx;
};

struct kv_txn {
    struct kv *kv;
    MDB_txn *txn;
    bool write;
    uint64_t
        revision; /* of the store; grows by one in a write transaction that changes something */
    bool changed;
};

static enum err_code lmdb_err(struct err *e, int rc, const char *what)
{
    switch (rc) {
    case MDB_NOTFOUND:
        return err_set(e, ERR_NOTFOUND, "%s: not found", what);
    case MDB_MAP_FULL:
        return err_set(e, ERR_FULL, "%s: the LMDB map is full", what);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
        return err_set(e, ERR_CORRUPT, "%s: %s", what, mdb_strerror(rc));
    case MDB_BAD_VALSIZE:
        return err_set(e, ERR_TOOBIG, "%s: key or value too large", what);
    default:
        if (rc > 0)
            return err_sys(e, rc, "%s", what);
        return err_set(e, ERR_IO, "%s: %s", what, mdb_strerror(rc));
    }
}

static enum err_code open_env(const struct kv_options *o, struct kv *kv, struct err *e)
{
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD;
    MDB_txn *txn;
    int rc = mdb_env_create(&kv->env);

    if (rc)
        return lmdb_err(e, rc, o->path);
    if (o->sync == KV_SYNC_META_LATER)
        flags |= MDB_NOMETASYNC;
    if (o->read_only)
        flags |= MDB_RDONLY;
    mdb_env_set_maxreaders(kv->env, o->max_readers ? o->max_readers : READERS_DEFAULT);
    mdb_env_set_mapsize(kv->env, o->map_initial_bytes ? o->map_initial_bytes : MAP_INITIAL_DEFAULT);
    rc = mdb_env_open(kv->env, o->path, flags, 0600);
    if (rc)
        return lmdb_err(e, rc, o->path);
    rc = mdb_txn_begin(kv->env, NULL, o->read_only ? MDB_RDONLY : 0, &txn);
    if (rc)
        return lmdb_err(e, rc, o->path);
    rc = mdb_dbi_open(txn, NULL, 0, &kv->dbi);
    if (rc) {
        mdb_txn_abort(txn);
        return lmdb_err(e, rc, o->path);
    }
    rc = mdb_txn_commit(txn);
    return rc ? lmdb_err(e, rc, o->path) : ERR_OK;
}

enum err_code kv_open(const struct kv_options *o, struct kv **out, struct err *e)
{
    struct kv *kv = calloc(1, sizeof *kv);
    enum err_code rc = ERR_OK;

    if (!kv)
        return err_set(e, ERR_NOMEM, "open %s", o->path);
    kv->read_only = o->read_only;
    kv->map_max_bytes = o->map_max_bytes ? o->map_max_bytes : MAP_MAX_DEFAULT;
    pthread_rwlock_init(&kv->growth, NULL);
    if (!o->read_only)
        rc = sys_mkdirs(o->path, 0700, e);
    if (!rc)
        rc = open_env(o, kv, e);
    if (rc) {
        kv_close(kv);
        return err_wrap(e, "open store");
    }
    *out = kv;
    return ERR_OK;
}

void kv_close(struct kv *kv)
{
    if (!kv)
        return;
    if (kv->env)
        mdb_env_close(kv->env);
    pthread_rwlock_destroy(&kv->growth);
    free(kv);
}

/* Doubles the map, or takes over what another process made of it (size 0). */
static enum err_code grow_map(struct kv *kv, bool adopt, struct err *e)
{
    MDB_envinfo info;
    size_t wanted;
    int rc;

    pthread_rwlock_wrlock(&kv->growth);
    mdb_env_info(kv->env, &info);
    wanted = adopt ? 0 : info.me_mapsize * 2;
    if (wanted > kv->map_max_bytes) {
        pthread_rwlock_unlock(&kv->growth);
        return err_set(e, ERR_FULL, "the LMDB map is at its maximum of %zu bytes",
                       kv->map_max_bytes);
    }
    rc = mdb_env_set_mapsize(kv->env, wanted);
    if (!rc)
        atomic_store(&kv->map_is_full, false);
    pthread_rwlock_unlock(&kv->growth);
    return rc ? lmdb_err(e, rc, "grow the LMDB map") : ERR_OK;
}

/* A killed reader pins every page that was freed since; LMDB never looks for itself. */
static void clear_stale_readers(struct kv *kv)
{
    int dead = 0;

    if (mdb_reader_check(kv->env, &dead) == 0 && dead > 0)
        atomic_fetch_add(&kv->stale_cleared, (unsigned)dead);
}

static void read_revision(struct kv_txn *t)
{
    MDB_val key = {revision_key.len, (void *)(uintptr_t)revision_key.ptr}, value;

    t->revision = 0;
    if (mdb_get(t->txn, t->kv->dbi, &key, &value) == 0 && value.mv_size == 8)
        t->revision = get_u64(value.mv_data);
}

enum err_code kv_begin(struct kv *kv, bool write, struct kv_txn **out, struct err *e)
{
    struct kv_txn *t;
    enum err_code grown;
    int rc;

    if (write && kv->read_only)
        return err_set(e, ERR_READONLY, "the store is open read-only");
    if (write && atomic_load(&kv->map_is_full) && (grown = grow_map(kv, false, e)))
        return grown;
    t = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_NOMEM, "begin a transaction");
    *t = (struct kv_txn){.kv = kv, .write = write};
    if (write)
        clear_stale_readers(kv);
    for (;;) {
        pthread_rwlock_rdlock(&kv->growth);
        rc = mdb_txn_begin(kv->env, NULL, write ? 0 : MDB_RDONLY, &t->txn);
        if (rc != MDB_MAP_RESIZED)
            break;
        pthread_rwlock_unlock(&kv->growth);
        if ((grown = grow_map(kv, true, e))) {
            free(t);
            return grown;
        }
    }
    if (rc) {
        pthread_rwlock_unlock(&kv->growth);
        free(t);
        return lmdb_err(e, rc, "begin a transaction");
    }
    read_revision(t);
    *out = t;
    return ERR_OK;
}

static void end_txn(struct kv_txn *t)
{
    pthread_rwlock_unlock(&t->kv->growth);
    free(t);
}

static void note_full(struct kv *kv, int rc)
{
    if (rc == MDB_MAP_FULL)
        atomic_store(&kv->map_is_full, true);
}

enum err_code kv_commit(struct kv_txn *t, struct err *e)
{
    struct kv *kv = t->kv;
    uint64_t revision = t->revision;
    bool changed = t->changed;
    int rc = 0;

    if (changed) {
        MDB_val key = {revision_key.len, (void *)(uintptr_t)revision_key.ptr};
        MDB_val value = {sizeof revision, &revision};
        rc = mdb_put(t->txn, kv->dbi, &key, &value, 0);
    }
    if (rc)
        mdb_txn_abort(t->txn);
    else
        rc = mdb_txn_commit(t->txn);
    note_full(kv, rc);
    end_txn(t);
    if (rc)
        return lmdb_err(e, rc, "commit");
    if (changed && kv->on_commit)
        kv->on_commit(revision, kv->on_commit_ctx);
    return ERR_OK;
}

void kv_abort(struct kv_txn *t)
{
    if (!t)
        return;
    mdb_txn_abort(t->txn);
    end_txn(t);
}

static uint32_t value_crc(struct str key, uint64_t revision, struct str value)
{
    uint32_t crc = crc32c(0, key.ptr, key.len);

    crc = crc32c(crc, &revision, sizeof revision);
    return crc32c(crc, value.ptr, value.len);
}

static enum err_code decode_value(struct str key, const MDB_val *raw, struct str *value,
                                  uint64_t *revision, struct err *e)
{
    const char *p = raw->mv_data;
    uint64_t rev;
    struct str v;

    if (raw->mv_size < VALUE_HEADER)
        return err_set(e, ERR_CORRUPT, "a stored value is too short");
    rev = get_u64(p);
    v = (struct str){p + VALUE_HEADER, raw->mv_size - VALUE_HEADER};
    if (get_u32(p + 8) != value_crc(key, rev, v))
        return err_set(e, ERR_CORRUPT, "a stored value fails its checksum");
    if (value)
        *value = v;
    if (revision)
        *revision = rev;
    return ERR_OK;
}

static enum err_code check_key(struct str key, struct err *e)
{
    if (key.len == 0 || key.len > KV_KEY_MAX || key.ptr[0] == '\0')
        return err_set(e, ERR_INVALID, "a key of %zu bytes", key.len);
    return ERR_OK;
}

enum err_code kv_get(struct kv_txn *t, struct str key, struct str *value, uint64_t *revision,
                     struct err *e)
{
    MDB_val k = {key.len, (void *)(uintptr_t)key.ptr}, v;
    enum err_code rc = check_key(key, e);
    int found;

    if (rc)
        return rc;
    found = mdb_get(t->txn, t->kv->dbi, &k, &v);
    return found ? lmdb_err(e, found, "get") : decode_value(key, &v, value, revision, e);
}

/* ERR_EXISTS when the key's revision is another than the caller believes. */
static enum err_code check_revision(struct kv_txn *t, struct str key, uint64_t if_revision,
                                    struct err *e)
{
    uint64_t now = 0;
    enum err_code rc;

    if (if_revision == KV_ANY_REVISION)
        return ERR_OK;
    rc = kv_get(t, key, NULL, &now, e);
    if (rc && rc != ERR_NOTFOUND)
        return rc;
    if (now != if_revision)
        return err_set(e, ERR_EXISTS, "the value has changed meanwhile");
    return ERR_OK;
}

static void touch(struct kv_txn *t)
{
    if (!t->changed)
        t->revision++;
    t->changed = true;
}

enum err_code kv_put(struct kv_txn *t, struct str key, struct str value, uint64_t if_revision,
                     struct err *e)
{
    MDB_val k = {key.len, (void *)(uintptr_t)key.ptr};
    MDB_val v = {value.len + VALUE_HEADER, NULL};
    enum err_code rc = check_key(key, e);
    char *p;
    int put;

    if (rc || (rc = check_revision(t, key, if_revision, e)))
        return rc;
    if (value.len > KV_VALUE_MAX)
        return err_set(e, ERR_TOOBIG, "a value of %zu bytes", value.len);
    touch(t);
    put = mdb_put(t->txn, t->kv->dbi, &k, &v, MDB_RESERVE);
    note_full(t->kv, put);
    if (put)
        return lmdb_err(e, put, "put");
    p = v.mv_data;
    put_u64(p, t->revision);
    put_u32(p + 8, value_crc(key, t->revision, value));
    if (value.len)
        memcpy(p + VALUE_HEADER, value.ptr, value.len);
    return ERR_OK;
}

enum err_code kv_delete(struct kv_txn *t, struct str key, uint64_t if_revision, struct err *e)
{
    MDB_val k = {key.len, (void *)(uintptr_t)key.ptr};
    enum err_code rc = check_key(key, e);
    int del;

    if (rc || (rc = check_revision(t, key, if_revision, e)))
        return rc;
    touch(t);
    del = mdb_del(t->txn, t->kv->dbi, &k, NULL);
    note_full(t->kv, del);
    return del ? lmdb_err(e, del, "delete") : ERR_OK;
}

enum err_code kv_list(struct kv_txn *t, struct str prefix, struct str from, kv_visit fn, void *ctx,
                      struct err *e)
{
    struct str begin = str_cmp(from, prefix) > 0 ? from : prefix;
    MDB_val k = {begin.len, (void *)(uintptr_t)begin.ptr}, v;
    enum err_code code = ERR_OK;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(t->txn, t->kv->dbi, &cursor);

    if (rc)
        return lmdb_err(e, rc, "list");
    rc = mdb_cursor_get(cursor, &k, &v, begin.len ? MDB_SET_RANGE : MDB_FIRST);
    for (; rc == 0; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        struct str key = {k.mv_data, k.mv_size}, value;
        uint64_t revision;
        if (!str_starts(key, prefix))
            break;
        if (str_eq(key, revision_key))
            continue;
        code = decode_value(key, &v, &value, &revision, e);
        if (code || !fn(key, value, revision, ctx))
            break;
    }
    mdb_cursor_close(cursor);
    if (!code && rc && rc != MDB_NOTFOUND)
        return lmdb_err(e, rc, "list");
    return code;
}

uint64_t kv_revision(struct kv_txn *t)
{
    return t->revision;
}

void kv_on_commit(struct kv *kv, void (*fn)(uint64_t revision, void *ctx), void *ctx)
{
    kv->on_commit = fn;
    kv->on_commit_ctx = ctx;
}

enum err_code kv_update(struct kv *kv,
                        enum err_code (*fn)(struct kv_txn *t, void *ctx, struct err *e), void *ctx,
                        struct err *e)
{
    struct kv_txn *t;
    enum err_code rc;

    /* Each further try runs on a map twice as large; the map's maximum ends it. */
    do {
        rc = kv_begin(kv, true, &t, e);
        if (rc)
            return rc;
        rc = fn(t, ctx, e);
        if (rc)
            kv_abort(t);
        else
            rc = kv_commit(t, e);
    } while (rc == ERR_FULL && atomic_load(&kv->map_is_full));
    return rc;
}

enum err_code kv_sync_now(struct kv *kv, struct err *e)
{
    int rc = mdb_env_sync(kv->env, 1);

    return rc ? lmdb_err(e, rc, "sync") : ERR_OK;
}

enum err_code kv_stats(struct kv *kv, struct kv_stats *out, struct err *e)
{
    MDB_envinfo info;
    MDB_stat stat;
    int rc = mdb_env_info(kv->env, &info);

    if (!rc)
        rc = mdb_env_stat(kv->env, &stat);
    if (rc)
        return lmdb_err(e, rc, "stat");
    *out = (struct kv_stats){.map_bytes = info.me_mapsize,
                             .used_bytes = (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize,
                             .entries = stat.ms_entries,
                             .readers = info.me_numreaders,
                             .stale_readers_cleared = atomic_load(&kv->stale_cleared)};
    return ERR_OK;
}
