/* base/hash.h - a hash map from byte strings to pointers, keyed SipHash-1-3 so that names from
 * outside cannot pile up in one bucket.
 *
 * Keys are copied; values are the caller's.  Open addressing, grows at 3/4, at most `max` entries.
 * Thread safety: none (the owner locks).
 */
#ifndef WEIR_BASE_HASH_H
#define WEIR_BASE_HASH_H

#include "base/bytes.h"

struct map_slot;
struct map {
    struct map_slot *slots;
    size_t count, cap, max;
    uint64_t k0, k1;
};

void map_init(struct map *m, size_t max_entries);
void map_done(struct map *m);
void *map_find(const struct map *m, struct str key); /* NULL: missing */
/* False when full or out of memory.  An existing key's value is replaced. */
bool map_put(struct map *m, struct str key, void *value);
void *map_remove(struct map *m, struct str key); /* the value, or NULL */
/* Iterate: start with *pos = 0; false at the end.  When the map is changed in between, entries may
 * be seen twice or not at all; *pos - 1 is where the last one stood. */
bool map_next(const struct map *m, size_t *pos, struct str *key, void **value);
uint64_t siphash13(uint64_t k0, uint64_t k1, const void *p, size_t n);

#endif
