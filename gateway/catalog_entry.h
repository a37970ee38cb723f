/* gateway/catalog_entry.h - one stream of the catalog in one piece of memory.
 *
 * Layout: struct catalog_entry, then its fields, the slots of the look-up by name, a mark for each
 * field that the settings name for full-text search, all texts.
 * Slots: a power of two, at least twice as many as fields; each holds an index into fields plus one
 * or 0, found by keyed SipHash and probed in a line.  Immutable after it was made; the count of
 * references is atomic.  Thread safety: any thread that holds a reference.
 */
#ifndef WEIR_GATEWAY_CATALOG_ENTRY_H
#define WEIR_GATEWAY_CATALOG_ENTRY_H

#include <stdatomic.h>

#include "gateway/catalog.h"

struct catalog_hash_key {
    uint64_t k0, k1; /* from the kernel's entropy: field names come from outside */
};

struct catalog_entry {
    struct catalog_stream stream; /* first: the two are one address */
    atomic_int refs;
    atomic_bool is_used; /* the cache's: found since its sweep came by */
    size_t bytes;        /* of this memory */
    struct catalog_hash_key hash_key;
    uint32_t slot_mask;
    uint32_t *slots;
};

/* A copy of everything that the catalog shows of `s`, with one reference.  NOMEM. */
enum err_code catalog_entry_new(const struct meta_stream *s, struct catalog_hash_key key,
                                struct catalog_entry **out, struct err *e);

#endif
