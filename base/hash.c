/* base/hash.c - SipHash-1-3, with an open-addressed map over it.
 *
 * Slots are probed in a line.  A removal moves the followers back into the hole where their probe
 * allows it, so there are no tombstones and a lookup ends at the first empty slot.
 */
#include "base/hash.h"

#include <stdlib.h>
#include <sys/random.h>

enum { MAP_CAP_MIN = 16 };

struct map_slot {
    char *key; /* owned; NULL: empty */
    size_t key_len;
    uint64_t hash;
    void *value;
};

/* ---- SipHash-1-3: Aumasson and Bernstein, with 1 round a word and 3 at the end ---- */

static inline uint64_t rotl(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t siphash13(uint64_t k0, uint64_t k1, const void *p, size_t n)
{
    const uint8_t *b = p;
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    uint64_t last = (uint64_t)n << 56;
    for (; n >= 8; b += 8, n -= 8)
        sip_word(v, get_u64(b));
    for (size_t i = 0; i < n; i++)
        last |= (uint64_t)b[i] << (8 * i);
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- the map ---- */

void map_init(struct map *m, size_t max_entries)
{
    uint64_t key[2];
    if (getentropy(key, sizeof key) != 0)
        abort(); /* a guessable key is an open door */
    *m = (struct map){.max = max_entries, .k0 = key[0], .k1 = key[1]};
}

void map_done(struct map *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->cap; i++)
        free(m->slots[i].key);
    free(m->slots);
    *m = (struct map){0};
}

static uint64_t hash_key(const struct map *m, struct str key)
{
    return siphash13(m->k0, m->k1, key.ptr, key.len);
}

/* The slot that holds `key`, or the empty one where it belongs.  cap > 0, never quite full. */
static struct map_slot *probe(const struct map *m, struct str key, uint64_t hash)
{
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct map_slot *s = &m->slots[i];
        if (!s->key)
            return s;
        if (s->hash == hash && str_eq((struct str){s->key, s->key_len}, key))
            return s;
    }
}

void *map_find(const struct map *m, struct str key)
{
    if (m->count == 0)
        return NULL;
    struct map_slot *s = probe(m, key, hash_key(m, key));
    return s->key ? s->value : NULL;
}

static bool grow(struct map *m)
{
    size_t cap = m->cap ? m->cap * 2 : MAP_CAP_MIN;
    struct map_slot *slots = calloc(cap, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < m->cap; i++) {
        if (!m->slots[i].key)
            continue;
        size_t at = m->slots[i].hash & (cap - 1);
        while (slots[at].key)
            at = (at + 1) & (cap - 1);
        slots[at] = m->slots[i];
    }
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
    return true;
}

static char *copy_key(struct str key)
{
    char *copy = malloc(key.len + 1);
    if (copy)
        str_copy_to(key, copy, key.len + 1);
    return copy;
}

bool map_put(struct map *m, struct str key, void *value)
{
    uint64_t hash = hash_key(m, key);
    struct map_slot *s = m->cap ? probe(m, key, hash) : NULL;
    if (s && s->key) {
        s->value = value;
        return true;
    }
    if (m->count >= m->max)
        return false;
    if (m->count + 1 > m->cap / 4 * 3) {
        if (!grow(m))
            return false;
        s = probe(m, key, hash);
    }
    char *copy = copy_key(key);
    if (!copy)
        return false;
    *s = (struct map_slot){.key = copy, .key_len = key.len, .hash = hash, .value = value};
    m->count++;
    return true;
}

/* Fill the hole at i from behind: a follower may move when its home is not between hole and it. */
static void close_hole(struct map *m, size_t hole)
{
    size_t mask = m->cap - 1;
    for (size_t i = (hole + 1) & mask; m->slots[i].key; i = (i + 1) & mask) {
        size_t home = m->slots[i].hash & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        m->slots[hole] = m->slots[i];
        hole = i;
    }
    m->slots[hole] = (struct map_slot){0};
}

void *map_remove(struct map *m, struct str key)
{
    struct map_slot *s = m->count ? probe(m, key, hash_key(m, key)) : NULL;
    if (!s || !s->key)
        return NULL;
    void *value = s->value;
    free(s->key);
    close_hole(m, (size_t)(s - m->slots));
    m->count--;
    return value;
}

bool map_next(const struct map *m, size_t *pos, struct str *key, void **value)
{
    for (; *pos < m->cap; (*pos)++) {
        const struct map_slot *s = &m->slots[*pos];
        if (!s->key)
            continue;
        *key = (struct str){s->key, s->key_len};
        *value = s->value;
        (*pos)++;
        return true;
    }
    return false;
}
