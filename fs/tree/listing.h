/* fs/tree/listing.h - what a directory held when it was opened, with cookies that mean the same
 * later.
 *
 * A cookie belongs to a name, not to a place in the array: reading on from a cookie gives what
 * sorts after it, also in a listing taken anew (a rewind, another open, another process), so that
 * nothing is shown twice and no name that stayed is missed.
 *   cookie  1 `.`   2 `..`   3..255 fixed names   256+n the directory of time with number n
 *           2^61 + high bits of the id: data files, in order of time
 *           2^61 + hash of the name: organisations, streams
 * Owner: one opendir.  Thread safety: none (the handle locks).
 */
#ifndef WEIR_FS_TREE_LISTING_H
#define WEIR_FS_TREE_LISTING_H

#include <sys/types.h>

#include "base/bytes.h"
#include "base/ulid.h"

#define LISTING_ENTRIES_MAX 20000000
#define LISTING_NAMES_MAX ((size_t)4 << 30)
enum { COOKIE_DOT = 1, COOKIE_DOTDOT = 2, COOKIE_FIXED = 3, COOKIE_NUMBER = 256 };

struct listing_entry {
    uint64_t cookie;
    uint64_t ino;
    size_t name_at; /* in names */
    uint32_t name_len;
    mode_t mode; /* the type bits */
};

struct listing {
    struct listing_entry *entries;
    size_t count, cap;
    struct buf names;
    bool failed; /* no memory, or past a maximum */
};

void listing_init(struct listing *l);
void listing_done(struct listing *l);

uint64_t cookie_of_id(const struct ulid *id);
uint64_t cookie_of_name(struct str name);
void listing_add(struct listing *l, struct str name, uint64_t cookie, uint64_t ino, mode_t mode);
/* Sort, and make the cookies differ.  Once, after the last add. */
void listing_finish(struct listing *l);
/* The index of the first entry after the cookie; count when there is none. */
size_t listing_after(const struct listing *l, uint64_t cookie);
struct str listing_name(const struct listing *l, size_t i);

#endif
