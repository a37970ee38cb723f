/* index/kv_lmdb.c - the ordered key-value contract over LMDB.
 *
 * One unnamed database.  A value is stored as
 *   0 u64 revision   8 u32 crc32c(key, revision, value)   12 value
 * The store's own revision is the one of the key "\0rev", whose value is empty; no caller sees it.
 *
 * The map grows only while no transaction of this process is open: transactions hold `growth`
 * shared, growth holds it exclusively (writers are preferred, or a stream of readers would keep it
 * out for ever).  A write that meets a full map fails with ERR_FULL and marks the store:
 *
 *   write meets a full map -> map_is_full -> next writer begins -> killed readers were cleared: on
 *                                                               -> else the map doubles: on
 *                                                               -> at map_max_bytes: ERR_FULL
 *
 * The mark goes with each of the three, so a store at its maximum still takes deletions.
 */
#include "index/kv.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/sys.h"

#define MAP_INITIAL_DEFAULT ((size_t)64 << 20)
#define MAP_MAX_DEFAULT ((size_t)64 << 30)
#define READERS_DEFAULT 256
#define CRC_AT 8
#define VALUE_HEADER 12
#define UPDATE_TRIES_MAX 64 /* each on a map twice as large, or beside a writer that doubled it */
#define ADOPT_TRIES_MAX 16  /* times that other processes grow the map while we take it over */

static const struct str revision_key = {"\0rev", 4};

#define DISK_FULL_BYTES (1u << 20) /* of what was missing, others may have given back some */

struct kv {
    MDB_env *env;
    MDB_dbi dbi;
    bool read_only;
    size_t map_max_bytes;
    pthread_rwlock_t growth;   /* shared by transactions, exclusive to grow */
    atomic_bool map_is_full;   /* a writer met a full map, and nothing was done about it yet */
    atomic_uint stale_cleared; /* readers */
    void (*on_commit)(uint64_t revision, void *ctx); /* set before threads */
    void *on_commit_ctx;
};

struct kv_txn {
    struct kv *kv;
    MDB_txn *txn;
    bool changed;
    bool met_full_map;
    uint64_t revision; /* of the store; one more than before once `changed` */
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
    if (o->access != KV_OWNER)
        flags |= MDB_RDONLY;
    if (o->access == KV_LONE_READER)
        flags |= MDB_NOLOCK;
    mdb_env_set_maxreaders(kv->env, o->max_readers ? o->max_readers : READERS_DEFAULT);
    mdb_env_set_mapsize(kv->env, o->map_initial_bytes ? o->map_initial_bytes : MAP_INITIAL_DEFAULT);
    rc = mdb_env_open(kv->env, o->path, flags, 0600);
    if (rc)
        return lmdb_err(e, rc, o->path);
    rc = mdb_txn_begin(kv->env, NULL, o->access != KV_OWNER ? MDB_RDONLY : 0, &txn);
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

static void init_growth_lock(struct kv *kv)
{
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&kv->growth, &attr);
    pthread_rwlockattr_destroy(&attr);
}

enum err_code kv_open(const struct kv_options *o, struct kv **out, struct err *e)
{
    struct kv *kv = calloc(1, sizeof *kv);
    enum err_code rc = ERR_OK;

    if (!kv)
        return err_set(e, ERR_NOMEM, "open %s", o->path);
    kv->read_only = o->access != KV_OWNER;
    kv->map_max_bytes = o->map_max_bytes ? o->map_max_bytes : MAP_MAX_DEFAULT;
    init_growth_lock(kv);
    if (o->access == KV_OWNER)
        rc = sys_mkdirs(o->path, 0700, e);
    if (!rc)
        rc = open_env(o, kv, e);
    if (rc) {
        kv_close(kv);
        err_wrap(e, "open store");
        return rc;
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

/* Another process made the map larger: take its size over. */
static enum err_code adopt_map(struct kv *kv, struct err *e)
{
    int rc;

    pthread_rwlock_wrlock(&kv->growth);
    rc = mdb_env_set_mapsize(kv->env, 0);
    pthread_rwlock_unlock(&kv->growth);
    return rc ? lmdb_err(e, rc, "take over the LMDB map") : ERR_OK;
}

static enum err_code double_map_locked(struct kv *kv, struct err *e)
{
    MDB_envinfo info;
    size_t wanted;
    int rc;

    mdb_env_info(kv->env, &info);
    if (info.me_mapsize >= kv->map_max_bytes)
        return err_set(e, ERR_FULL, "the LMDB map is at its maximum of %zu bytes",
                       kv->map_max_bytes);
    wanted = info.me_mapsize * 2;
    rc = mdb_env_set_mapsize(kv->env, wanted < kv->map_max_bytes ? wanted : kv->map_max_bytes);
    return rc ? lmdb_err(e, rc, "grow the LMDB map") : ERR_OK;
}

static enum err_code grow_map(struct kv *kv, struct err *e)
{
    enum err_code rc = ERR_OK;

    pthread_rwlock_wrlock(&kv->growth);
    if (atomic_exchange(&kv->map_is_full, false)) /* else another writer was here first */
        rc = double_map_locked(kv, e);
    pthread_rwlock_unlock(&kv->growth);
    return rc;
}

/* A killed reader pins every page that was freed since; LMDB never looks for itself.  Tells whether
 * there was one. */
static bool clear_stale_readers(struct kv *kv)
{
    int dead = 0;

    if (mdb_reader_check(kv->env, &dead) != 0 || dead <= 0)
        return false;
    atomic_fetch_add(&kv->stale_cleared, (unsigned)dead);
    return true;
}

static enum err_code prepare_write(struct kv *kv, struct err *e)
{
    bool cleared;

    if (kv->read_only)
        return err_set(e, ERR_READONLY, "the store is open read-only");
    cleared = clear_stale_readers(kv);
    if (!atomic_load(&kv->map_is_full))
        return ERR_OK;
    if (!cleared)
        return grow_map(kv, e);
    atomic_store(&kv->map_is_full, false); /* what they held may be enough */
    return ERR_OK;
}

/* Leaves `growth` held shared when it succeeds. */
static enum err_code begin_txn(struct kv *kv, bool write, MDB_txn **txn, struct err *e)
{
    enum err_code adopted;
    int rc;

    for (int i = 0; i < ADOPT_TRIES_MAX; i++) {
        pthread_rwlock_rdlock(&kv->growth);
        rc = mdb_txn_begin(kv->env, NULL, write ? 0 : MDB_RDONLY, txn);
        if (rc == 0)
            return ERR_OK;
        pthread_rwlock_unlock(&kv->growth);
        if (rc != MDB_MAP_RESIZED)
            return lmdb_err(e, rc, "begin a transaction");
        adopted = adopt_map(kv, e);
        if (adopted)
            return adopted;
    }
    return err_set(e, ERR_AGAIN, "begin a transaction: the LMDB map grows all the time");
}

static struct str str_of(const MDB_val *v)
{
    return (struct str){v->mv_data, v->mv_size};
}

static MDB_val val_of(struct str s)
{
    return (MDB_val){s.len, (void *)(uintptr_t)s.ptr};
}

/* Over the key and all of the stored bytes but the checksum itself. */
static uint32_t value_crc(struct str key, const char *stored, size_t len)
{
    uint32_t crc = crc32c(0, key.ptr, key.len);

    crc = crc32c(crc, stored, CRC_AT);
    return crc32c(crc, stored + VALUE_HEADER, len - VALUE_HEADER);
}

static enum err_code decode_value(struct str key, struct str stored, struct str *value,
                                  uint64_t *revision, struct err *e)
{
    if (stored.len < VALUE_HEADER)
        return err_set(e, ERR_CORRUPT, "a stored value is too short");
    if (get_u32(stored.ptr + CRC_AT) != value_crc(key, stored.ptr, stored.len))
        return err_set(e, ERR_CORRUPT, "a stored value fails its checksum");
    if (value)
        *value = (struct str){stored.ptr + VALUE_HEADER, stored.len - VALUE_HEADER};
    if (revision)
        *revision = get_u64(stored.ptr);
    return ERR_OK;
}

static void note_full(struct kv_txn *t, int rc)
{
    if (rc != MDB_MAP_FULL)
        return;
    t->met_full_map = true;
    atomic_store(&t->kv->map_is_full, true);
}

/* Looks a key up, whatever it is. */
static enum err_code find_any(struct kv_txn *t, struct str key, struct str *value,
                              uint64_t *revision, bool *found, struct err *e)
{
    MDB_val k = val_of(key), v;
    int rc = mdb_get(t->txn, t->kv->dbi, &k, &v);

    *found = rc == 0;
    if (rc == MDB_NOTFOUND)
        return ERR_OK;
    return rc ? lmdb_err(e, rc, "get") : decode_value(key, str_of(&v), value, revision, e);
}

/* Stores a key, whatever it is, with the transaction's revision. */
static enum err_code put_any(struct kv_txn *t, struct str key, struct str value, struct err *e)
{
    MDB_val k = val_of(key), v = {value.len + VALUE_HEADER, NULL};
    int rc = mdb_put(t->txn, t->kv->dbi, &k, &v, MDB_RESERVE);
    char *p;

    if (rc) {
        note_full(t, rc);
        return lmdb_err(e, rc, "put");
    }
    p = v.mv_data;
    put_u64(p, t->revision);
    if (value.len)
        memcpy(p + VALUE_HEADER, value.ptr, value.len);
    put_u32(p + CRC_AT, value_crc(key, p, v.mv_size));
    return ERR_OK;
}

enum err_code kv_begin(struct kv *kv, bool write, struct kv_txn **out, struct err *e)
{
    enum err_code rc = write ? prepare_write(kv, e) : ERR_OK;
    struct kv_txn *t;
    bool found;

    if (rc)
        return rc;
    t = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_NOMEM, "begin a transaction");
    t->kv = kv;
    rc = begin_txn(kv, write, &t->txn, e);
    if (rc) {
        free(t);
        return rc;
    }
    rc = find_any(t, revision_key, NULL, &t->revision, &found, e);
    if (rc) { /* numbering from 1 again would let old revisions match */
        kv_abort(t);
        err_wrap(e, "the store's revision");
        return rc;
    }
    *out = t;
    return ERR_OK;
}

static void end_txn(struct kv_txn *t)
{
    pthread_rwlock_unlock(&t->kv->growth);
    free(t);
}

/* 0 or an errno.  Filesystems keep some for themselves that statvfs counts as free. */
static int ask_for_room(const struct kv *kv)
{
    const char *path = "";

    mdb_env_get_path(kv->env, &path);
    AUTO_FD int fd = sys_open(path, O_TMPFILE | O_WRONLY, 0600);
    return fd >= 0 && sys_fallocate(fd, 0, 0, DISK_FULL_BYTES) == 0 ? 0 : errno;
}

/* LMDB tells of a write that was cut short, as the last one on a full disk is, by EIO alone.  Where
 * room cannot be asked for, what is kept for root is root's to use. */
static bool disk_is_full(const struct kv *kv)
{
    int fd, sys = ask_for_room(kv);
    struct statvfs v;

    if (sys == 0 || sys == ENOSPC || sys == EDQUOT)
        return sys != 0;
    return mdb_env_get_fd(kv->env, &fd) == 0 && fstatvfs(fd, &v) == 0 &&
           (geteuid() == 0 ? v.f_bfree : v.f_bavail) * v.f_frsize < DISK_FULL_BYTES;
}

/* Ends the transaction in any case; *met_full_map tells whether growth would have helped. */
static enum err_code commit(struct kv_txn *t, bool *met_full_map, struct err *e)
{
    struct kv *kv = t->kv;
    uint64_t revision = t->revision;
    bool changed = t->changed;
    enum err_code rc = changed ? put_any(t, revision_key, STR(""), e) : ERR_OK;
    int committed;

    if (rc) {
        mdb_txn_abort(t->txn);
    } else if ((committed = mdb_txn_commit(t->txn))) {
        note_full(t, committed);
        rc = committed == EIO && disk_is_full(kv)
                 ? err_set(e, ERR_FULL, "commit: %s, as the disk is full", strerror(EIO))
                 : lmdb_err(e, committed, "commit");
    }
    *met_full_map = t->met_full_map;
    end_txn(t);
    if (!rc && changed && kv->on_commit)
        kv->on_commit(revision, kv->on_commit_ctx);
    return rc;
}

enum err_code kv_commit(struct kv_txn *t, struct err *e)
{
    bool met_full_map;

    return commit(t, &met_full_map, e);
}

void kv_abort(struct kv_txn *t)
{
    if (!t)
        return;
    mdb_txn_abort(t->txn);
    end_txn(t);
}

static enum err_code check_key(struct str key, struct err *e)
{
    if (key.len == 0 || key.len > KV_KEY_MAX || key.ptr[0] == '\0')
        return err_set(e, ERR_INVALID, "a key of %zu bytes", key.len);
    return ERR_OK;
}

enum err_code kv_find(struct kv_txn *t, struct str key, struct str *value, uint64_t *revision,
                      bool *found, struct err *e)
{
    enum err_code rc = check_key(key, e);

    return rc ? rc : find_any(t, key, value, revision, found, e);
}

enum err_code kv_get(struct kv_txn *t, struct str key, struct str *value, uint64_t *revision,
                     struct err *e)
{
    bool found = true;
    enum err_code rc = kv_find(t, key, value, revision, &found, e);

    return rc || found ? rc : err_set(e, ERR_NOTFOUND, "get: not found");
}

/* ERR_EXISTS when the key's revision is another than the caller believes. */
static enum err_code check_revision(struct kv_txn *t, struct str key, uint64_t if_revision,
                                    struct err *e)
{
    uint64_t now = 0;
    bool found;
    enum err_code rc;

    if (if_revision == KV_ANY_REVISION)
        return ERR_OK;
    rc = kv_find(t, key, NULL, &now, &found, e);
    if (rc)
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
    enum err_code rc = check_key(key, e);

    if (!rc && value.len > KV_VALUE_MAX)
        rc = err_set(e, ERR_TOOBIG, "a value of %zu bytes", value.len);
    if (!rc)
        rc = check_revision(t, key, if_revision, e);
    if (rc)
        return rc;
    touch(t);
    return put_any(t, key, value, e);
}

enum err_code kv_delete(struct kv_txn *t, struct str key, uint64_t if_revision, struct err *e)
{
    MDB_val k = val_of(key);
    enum err_code rc = check_key(key, e);
    int deleted;

    if (!rc)
        rc = check_revision(t, key, if_revision, e);
    if (rc)
        return rc;
    deleted = mdb_del(t->txn, t->kv->dbi, &k, NULL);
    if (deleted) {
        note_full(t, deleted);
        return lmdb_err(e, deleted, "delete");
    }
    touch(t);
    return ERR_OK;
}

enum err_code kv_list(struct kv_txn *t, struct str prefix, struct str from, kv_visit fn, void *ctx,
                      struct err *e)
{
    struct str begin = str_cmp(from, prefix) > 0 ? from : prefix;
    MDB_val k = val_of(begin), v;
    enum err_code code = ERR_OK;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(t->txn, t->kv->dbi, &cursor);

    if (rc)
        return lmdb_err(e, rc, "list");
    rc = mdb_cursor_get(cursor, &k, &v, begin.len ? MDB_SET_RANGE : MDB_FIRST);
    for (; rc == 0; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        struct str key = str_of(&k), value = {0};
        uint64_t revision = 0;
        if (!str_starts(key, prefix))
            break;
        if (str_eq(key, revision_key))
            continue;
        code = decode_value(key, str_of(&v), &value, &revision, e);
        if (code || !fn(key, value, revision, ctx))
            break;
    }
    mdb_cursor_close(cursor);
    if (!code && rc && rc != MDB_NOTFOUND)
        return lmdb_err(e, rc, "list");
    return code;
}

static int seek_before(MDB_cursor *cursor, struct str before, MDB_val *k, MDB_val *v)
{
    int rc;

    *k = val_of(before);
    rc = mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);
    if (rc == MDB_NOTFOUND)
        return mdb_cursor_get(cursor, k, v, MDB_LAST);
    return rc ? rc : mdb_cursor_get(cursor, k, v, MDB_PREV);
}

enum err_code kv_last(struct kv_txn *t, struct str prefix, struct str before, kv_visit fn,
                      void *ctx, struct err *e)
{
    enum err_code code = ERR_OK;
    struct str value = {0};
    uint64_t revision = 0;
    MDB_cursor *cursor;
    MDB_val k, v;
    int rc = mdb_cursor_open(t->txn, t->kv->dbi, &cursor);

    if (rc)
        return lmdb_err(e, rc, "list");
    rc = seek_before(cursor, before, &k, &v);
    if (rc == 0 && str_starts(str_of(&k), prefix)) {
        code = decode_value(str_of(&k), str_of(&v), &value, &revision, e);
        if (!code)
            fn(str_of(&k), value, revision, ctx);
    }
    mdb_cursor_close(cursor);
    return rc == 0 || rc == MDB_NOTFOUND ? code : lmdb_err(e, rc, "list");
}

struct since {
    uint64_t revision;
    kv_visit fn;
    void *ctx;
};

static bool visit_since(struct str key, struct str value, uint64_t revision, void *ctx)
{
    const struct since *s = ctx;

    return revision <= s->revision || s->fn(key, value, revision, s->ctx);
}

enum err_code kv_changed_since(struct kv_txn *t, struct str prefix, uint64_t revision, kv_visit fn,
                               void *ctx, struct err *e)
{
    struct since s = {revision, fn, ctx};

    return kv_list(t, prefix, prefix, visit_since, &s, e);
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

static enum err_code update_once(struct kv *kv, kv_change fn, void *ctx, bool *met_full_map,
                                 struct err *e)
{
    struct kv_txn *t;
    enum err_code rc = kv_begin(kv, true, &t, e);

    *met_full_map = false;
    if (rc)
        return rc;
    rc = fn(t, ctx, e);
    if (!rc)
        return commit(t, met_full_map, e);
    *met_full_map = t->met_full_map;
    kv_abort(t);
    return rc;
}

enum err_code kv_update(struct kv *kv, kv_change fn, void *ctx, struct err *e)
{
    bool met_full_map = true;
    enum err_code rc = ERR_OK;
    struct err last; /* of the last try; an earlier one that was mended is nobody's business */

    for (int i = 0; met_full_map && i < UPDATE_TRIES_MAX; i++)
        rc = update_once(kv, fn, ctx, &met_full_map, &last);
    if (rc && e)
        *e = last;
    return rc;
}

enum err_code kv_sync_now(struct kv *kv, struct err *e)
{
    int rc = mdb_env_sync(kv->env, 1);

    return rc ? lmdb_err(e, rc, "sync") : ERR_OK;
}

enum err_code kv_copy(struct kv *kv, const char *dir, struct err *e)
{
    int rc = mdb_env_copy(kv->env, dir);

    return rc ? lmdb_err(e, rc, "copy") : ERR_OK;
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
                             .entries = stat.ms_entries - (stat.ms_entries > 0),
                             .readers = info.me_numreaders,
                             .stale_readers_cleared = atomic_load(&kv->stale_cleared)};
    return ERR_OK;
}
