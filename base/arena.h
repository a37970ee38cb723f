/* base/arena.h - memory that is freed all at once, with a limit.
 *
 * One arena a request, passed explicitly.  Chunks double from 4 KiB to 1 MiB.  An allocation past
 * `max_bytes` (or a failed malloc) returns NULL and sets `failed`.  Memory is not zeroed except by
 * arena_zalloc.  All allocations are aligned to 16.  Thread safety: none; one owner.
 */
#ifndef WEIR_BASE_ARENA_H
#define WEIR_BASE_ARENA_H

#include "base/bytes.h"

struct arena_chunk;
struct arena {
    struct arena_chunk *head;
    size_t used_bytes, max_bytes;
    bool failed;
};

void arena_init(struct arena *a, size_t max_bytes);
void arena_done(struct arena *a);  /* frees everything; NULL is fine */
void arena_reset(struct arena *a); /* frees all but one chunk */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);
char *arena_strdup(struct arena *a, struct str s);    /* NUL-terminated copy */
struct str arena_copy(struct arena *a, struct str s); /* ptr NULL when it failed */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Grow an array in the arena to hold one more element (capacity doubles; old memory stays). */
void *arena_grow(struct arena *a, void *old, size_t count, size_t *cap, size_t elem_size);

#endif
