/* index/kv.h - a small ordered key-value contract that LMDB serves now and etcd can serve later.
 *
 * Keys are byte strings of 1 to KV_KEY_MAX bytes that do not begin with NUL; values have at most
 * KV_VALUE_MAX.  Each key carries a revision (u64 > 0, growing over the whole store with each
 * transaction that changes something), so that writers can compare and swap.  Each value is stored
 * with a CRC32C of its own; a value that fails it is ERR_CORRUPT, never returned.
 *
 * A transaction is short: no file operation on the mount, no network and no wait inside one.  A
 * thread has at most one open (a second one would deadlock with growth of the map).
 * Writers are one process (the store's owner) and any number of its threads; readers are any
 * process.  A process opens a store once, after any fork.  Stale readers (killed processes) are
 * cleared before each write transaction; the map grows by itself up to map_max_bytes.
 * Leases: a store has one owner, who holds the data directory's lock for as long as it lives.
 * Errors: INVALID (a bad key), NOTFOUND, EXISTS (revision moved on), TOOBIG, FULL (disk, or the
 * map's maximum), READONLY, CORRUPT, IO.
 * Durability: KV_SYNC_FULL - after a commit returns it survives power loss; KV_SYNC_META_LATER
 * (LMDB's NOMETASYNC) - the last commits may be lost, the store stays consistent.
 */
#ifndef WEIR_INDEX_KV_H
#define WEIR_INDEX_KV_H

#include "base/bytes.h"
#include "base/err.h"

#define KV_KEY_MAX 480
#define KV_VALUE_MAX (16u << 20)

enum kv_sync { KV_SYNC_FULL, KV_SYNC_META_LATER };

enum kv_access {
    KV_OWNER,       /* the one writer */
    KV_READER,      /* another process may write meanwhile */
    KV_LONE_READER, /* nobody else has it open: not even the lock file is touched */
};

struct kv_options {
    const char *path; /* directory; an owner makes it with 0700 when it is missing */
    enum kv_access access;
    enum kv_sync sync;
    size_t map_initial_bytes; /* 0 = default 64 MiB; address space, not disk */
    size_t map_max_bytes;     /* 0 = default 64 GiB */
    unsigned max_readers;     /* 0 = default 256 */
};

struct kv;
struct kv_txn; /* owned by the thread that began it */

enum err_code kv_open(const struct kv_options *o, struct kv **out, struct err *e);
void kv_close(struct kv *kv); /* no transaction may be open; NULL is fine */

enum err_code kv_begin(struct kv *kv, bool write, struct kv_txn **out, struct err *e);
enum err_code kv_commit(struct kv_txn *t, struct err *e); /* frees t in any case */
void kv_abort(struct kv_txn *t);                          /* NULL is fine */

/* Runs fn in a write transaction and commits; an error of fn aborts and is returned.  fn is run
 * again, from the start, after the map had to grow, so it must not change anything but through `t`
 * before it succeeds. */
typedef enum err_code (*kv_change)(struct kv_txn *t, void *ctx, struct err *e);
enum err_code kv_update(struct kv *kv, kv_change fn, void *ctx, struct err *e);

/* *value points into the map: valid until the transaction ends or writes.  get: a missing key is
 * NOTFOUND; find: it is OK with *found false. */
enum err_code kv_find(struct kv_txn *t, struct str key, struct str *value, uint64_t *revision,
                      bool *found, struct err *e);
enum err_code kv_get(struct kv_txn *t, struct str key, struct str *value, uint64_t *revision,
                     struct err *e);
#define KV_ANY_REVISION UINT64_MAX /* put whatever is there; 0 = must not exist yet */
enum err_code kv_put(struct kv_txn *t, struct str key, struct str value, uint64_t if_revision,
                     struct err *e);
enum err_code kv_delete(struct kv_txn *t, struct str key, uint64_t if_revision, struct err *e);
/* Calls fn for each key from `from` (inclusive) while it starts with `prefix`, in key order, until
 * fn returns false. */
typedef bool (*kv_visit)(struct str key, struct str value, uint64_t revision, void *ctx);
enum err_code kv_list(struct kv_txn *t, struct str prefix, struct str from, kv_visit fn, void *ctx,
                      struct err *e);
/* Calls fn for the last key that starts with `prefix` and sorts before `before`, if there is one.
 */
enum err_code kv_last(struct kv_txn *t, struct str prefix, struct str before, kv_visit fn,
                      void *ctx, struct err *e);
/* Watching is polling, because LMDB does not tell: kv_revision is the store's revision now, and
 * kv_changed_since walks the keys of `prefix` and calls fn for those put after `revision`.  A
 * deletion leaves nothing to find; who must see one leaves a mark.  Threads of the owner may also
 * be told by kv_on_commit (set before they start; called after the commit, outside of it). */
uint64_t kv_revision(struct kv_txn *t);
enum err_code kv_changed_since(struct kv_txn *t, struct str prefix, uint64_t revision, kv_visit fn,
                               void *ctx, struct err *e);
void kv_on_commit(struct kv *kv, void (*fn)(uint64_t revision, void *ctx), void *ctx);
/* Force the disk (NOMETASYNC stores). */
enum err_code kv_sync_now(struct kv *kv, struct err *e);

/* A consistent copy in `dir`, which is there and empty; nobody is kept waiting. */
enum err_code kv_copy(struct kv *kv, const char *dir, struct err *e);

struct kv_stats {
    uint64_t map_bytes, used_bytes, entries;
    unsigned readers, stale_readers_cleared;
};
enum err_code kv_stats(struct kv *kv, struct kv_stats *out, struct err *e);

#endif
