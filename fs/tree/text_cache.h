/* fs/tree/text_cache.h - rendered text in a file that has no name, the least recently used goes
 * first.
 *
 * The file stands on disk, or in memory where nothing may be written; either way its pages are the
 * kernel's to drop, not part of this process.  A unit is filled by one thread and seen by others
 * once it is whole; who holds one keeps it from being dropped.
 * At most max_bytes are kept, and beyond that what is being filled or held at the moment.  On a full
 * disk up to 64 MiB are in memory instead.
 * Owner: text.c.  Any thread may call.
 * Errors: FULL, IO, NOMEM, TOOBIG (past TEXT_UNIT_MAX), CORRUPT (not as much text as announced).
 */
#ifndef WEIR_FS_TREE_TEXT_CACHE_H
#define WEIR_FS_TREE_TEXT_CACHE_H

#include "base/err.h"
#include "fs/tree/tree.h"

#define TEXT_UNIT_MAX (UINT64_C(4) << 30)

/* What tells units apart. */
#define TEXT_KEY_LEN 25
void text_unit_key(const struct tree_unit *u, char key[TEXT_KEY_LEN]);

struct text_cache;
struct text_held;
/* `dir` NULL: in memory. */
enum err_code text_cache_new(const char *dir, uint64_t max_bytes, struct text_cache **out,
                             struct err *e);
void text_cache_free(struct text_cache *c); /* nothing is held any more; NULL is fine */

/* A whole unit, held; NULL when it is not there. */
struct text_held *text_cache_find(struct text_cache *c, const struct tree_unit *unit);
void text_cache_release(struct text_cache *c, struct text_held *h); /* NULL is fine */
/* `off` counts from the unit's beginning; off + n is within it. */
enum err_code text_cache_read(struct text_cache *c, const struct text_held *h, uint64_t off,
                              void *dst, size_t n, struct err *e);

/* Room for a unit, held; then its text in order; then it is whole, or released unfinished and
 * dropped by that. */
enum err_code text_cache_begin(struct text_cache *c, const struct tree_unit *unit,
                               struct text_held **out, struct err *e);
enum err_code text_cache_append(struct text_cache *c, struct text_held *h, struct str text,
                                struct err *e);
/* CORRUPT: less text than announced.  Of two threads that filled the same unit one is kept. */
enum err_code text_cache_finish(struct text_cache *c, struct text_held *h, struct err *e);

/* Bytes of blocks in use. */
uint64_t text_cache_used(struct text_cache *c);

#endif
