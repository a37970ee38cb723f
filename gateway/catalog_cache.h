/* gateway/catalog_cache.h - the entries of the catalog that are in memory, by name, up to a limit
 * of bytes.
 *
 * The cache holds a reference of each; what has not been found for a round goes first.  A reader's
 * reference keeps an entry that the cache has dropped.
 * Thread safety: any thread; the lock inside is a leaf.
 */
#ifndef WEIR_GATEWAY_CATALOG_CACHE_H
#define WEIR_GATEWAY_CATALOG_CACHE_H

#include "gateway/catalog_entry.h"

struct catalog_cache;

enum err_code catalog_cache_new(size_t bytes_max, struct catalog_cache **out, struct err *e);
void catalog_cache_free(struct catalog_cache *c); /* NULL is fine */
/* A reference, or NULL. */
const struct catalog_stream *catalog_cache_find(struct catalog_cache *c, struct str org,
                                                enum stream_type type, struct str name);
/* How often something was dropped or forgotten: what is read from meta after this may be put with
 * it. */
uint64_t catalog_cache_mark(struct catalog_cache *c);
/* Makes `en` the one that look-ups find, unless that would be a step back, or could be: something
 * was lost since `mark`.  Takes over the caller's reference and gives one back: to the newest
 * entry of the stream that `en` is about. */
const struct catalog_stream *catalog_cache_put(struct catalog_cache *c, struct catalog_entry *en,
                                               uint64_t mark);
/* The stream `s` is deleted in meta: it is not found any more. */
void catalog_cache_forget(struct catalog_cache *c, const struct catalog_stream *s);

#endif
