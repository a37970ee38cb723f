/* gateway/catalog_cache.c - a map with a limit, swept like a clock.
 *
 * A look-up marks its entry as used.  Past the limit the sweep goes on from where it stopped: used
 * entries lose their mark, the others are dropped.
 */
#include "gateway/catalog_cache.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/metrics.h"

#define STREAMS_MAX 10000000
#define KEY_BYTES_MAX (NAMES_MAX_BYTES + 2)
#define SLOT_COST 64 /* of an entry in the map, beside its key */
#define SWEEP_ROUNDS 2

struct catalog_cache {
    size_t bytes_max; /* immutable */
    struct metric_child *bytes_shown, *drops_shown;
    pthread_rwlock_t lock; /* guards the rest */
    struct map by_name;    /* key_of() -> struct catalog_entry * */
    size_t bytes;
    size_t hand;     /* where the sweep goes on in by_name */
    uint64_t losses; /* entries that were dropped or forgotten */
};

static const struct metric_desc BYTES = {
    .name = "zo_schema_cache_bytes",
    .help = "Memory of the streams' schemas.",
    .type = METRIC_GAUGE,
};
static const struct metric_desc DROPS = {
    .name = "zo_schema_cache_drops",
    .help = "Schemas dropped from memory for others (WEIR_SCHEMA_CACHE_MAX).",
    .type = METRIC_COUNTER,
};

static struct str key_of(struct str org, enum stream_type type, struct str name,
                         char key[KEY_BYTES_MAX])
{
    size_t n = org.len;

    memcpy(key, org.ptr, n);
    key[n++] = '\0';
    key[n++] = (char)('a' + (int)type);
    memcpy(key + n, name.ptr, name.len);
    return (struct str){key, n + name.len};
}

static struct str key_of_stream(const struct catalog_stream *s, char key[KEY_BYTES_MAX])
{
    return key_of(s->org, s->type, s->name, key);
}

static size_t cost(const struct catalog_entry *en)
{
    return en->bytes + en->stream.org.len + en->stream.name.len + SLOT_COST;
}

enum err_code catalog_cache_new(size_t bytes_max, struct catalog_cache **out, struct err *e)
{
    struct catalog_cache *c = calloc(1, sizeof *c);

    if (!c)
        return err_set(e, ERR_NOMEM, "catalog");
    c->bytes_max = bytes_max;
    c->bytes_shown = metric_only(metrics_register(&BYTES));
    c->drops_shown = metric_only(metrics_register(&DROPS));
    pthread_rwlock_init(&c->lock, NULL);
    map_init(&c->by_name, STREAMS_MAX);
    *out = c;
    return ERR_OK;
}

void catalog_cache_free(struct catalog_cache *c)
{
    size_t pos = 0;
    struct str key;
    void *value;

    if (!c)
        return;
    while (map_next(&c->by_name, &pos, &key, &value))
        catalog_unref(&((struct catalog_entry *)value)->stream);
    map_done(&c->by_name);
    pthread_rwlock_destroy(&c->lock);
    free(c);
}

const struct catalog_stream *catalog_cache_find(struct catalog_cache *c, struct str org,
                                                enum stream_type type, struct str name)
{
    char key[KEY_BYTES_MAX];
    struct catalog_entry *en;

    pthread_rwlock_rdlock(&c->lock);
    en = map_find(&c->by_name, key_of(org, type, name, key));
    if (en) {
        catalog_ref(&en->stream);
        if (!atomic_load_explicit(&en->is_used, memory_order_relaxed))
            atomic_store_explicit(&en->is_used, true, memory_order_relaxed);
    }
    pthread_rwlock_unlock(&c->lock);
    return en ? &en->stream : NULL;
}

uint64_t catalog_cache_mark(struct catalog_cache *c)
{
    pthread_rwlock_rdlock(&c->lock);
    uint64_t mark = c->losses;
    pthread_rwlock_unlock(&c->lock);
    return mark;
}

/* Takes it out; the map's reference is the caller's then.  Under the lock. */
static void take_out(struct catalog_cache *c, const struct catalog_entry *en)
{
    char key[KEY_BYTES_MAX];

    map_remove(&c->by_name, key_of_stream(&en->stream, key));
    c->bytes -= cost(en);
}

/* Under the lock. */
static void sweep(struct catalog_cache *c)
{
    int rounds = 0;
    struct str key;
    void *value;

    while (c->bytes > c->bytes_max && rounds <= SWEEP_ROUNDS) {
        if (!map_next(&c->by_name, &c->hand, &key, &value)) {
            c->hand = 0;
            rounds++;
            continue;
        }
        struct catalog_entry *en = value;
        if (atomic_exchange_explicit(&en->is_used, false, memory_order_relaxed))
            continue;
        take_out(c, en);
        c->hand--; /* another may stand there now */
        c->losses++;
        metric_add(c->drops_shown, 1);
        catalog_unref(&en->stream);
    }
}

/* Whether `old` says at least as much as `en`.  Numbers grow: the higher one was made later. */
static bool is_newer_or_same(const struct catalog_entry *old, const struct catalog_entry *en)
{
    if (old->stream.number != en->stream.number)
        return old->stream.number > en->stream.number;
    return old->stream.schema_version >= en->stream.schema_version;
}

/* In the place of `old`, which may be NULL and whose reference is the caller's then; false: out of
 * memory, which only means a miss next time.  Under the lock. */
static bool put_in(struct catalog_cache *c, struct catalog_entry *en,
                   const struct catalog_entry *old)
{
    char key[KEY_BYTES_MAX];

    if (!map_put(&c->by_name, key_of_stream(&en->stream, key), en))
        return false;
    catalog_ref(&en->stream);
    /* A new one has to be found once: a look at all streams must not drive out those in use. */
    atomic_store_explicit(&en->is_used, old && atomic_load(&old->is_used), memory_order_relaxed);
    c->bytes += cost(en);
    c->bytes -= old ? cost(old) : 0;
    sweep(c);
    metric_set(c->bytes_shown, (double)c->bytes);
    return true;
}

const struct catalog_stream *catalog_cache_put(struct catalog_cache *c, struct catalog_entry *en,
                                               uint64_t mark)
{
    char key[KEY_BYTES_MAX];
    const struct catalog_stream *result = &en->stream, *unused = NULL;
    struct catalog_entry *old;

    pthread_rwlock_wrlock(&c->lock);
    old = map_find(&c->by_name, key_of_stream(&en->stream, key));
    if (old ? !is_newer_or_same(old, en) : mark == c->losses) {
        if (put_in(c, en, old))
            unused = old ? &old->stream : NULL;
    } else if (old && old->stream.number == en->stream.number) {
        result = catalog_ref(&old->stream);
        unused = &en->stream;
    }
    pthread_rwlock_unlock(&c->lock);
    catalog_unref(unused);
    return result;
}

void catalog_cache_forget(struct catalog_cache *c, const struct catalog_stream *s)
{
    char key[KEY_BYTES_MAX];
    const struct catalog_entry *cached;

    pthread_rwlock_wrlock(&c->lock);
    c->losses++; /* also when it is not here: somebody may be reading it from meta */
    cached = map_find(&c->by_name, key_of_stream(s, key));
    if (cached && cached->stream.number == s->number) {
        take_out(c, cached);
        metric_set(c->bytes_shown, (double)c->bytes);
    } else {
        cached = NULL;
    }
    pthread_rwlock_unlock(&c->lock);
    if (cached)
        catalog_unref(&cached->stream);
}
