/* base/ulid.h - ULIDs: 48 bits of milliseconds, 80 of randomness, in Crockford's base 32.
 *
 * ulid_new is monotonic within a process: a clock that jumps back keeps the last millisecond and
 * counts up, so ids stay unique and ordered.  Text is 26 upper-case characters.
 * Source: github.com/ulid/spec.  Thread safety: any thread.
 */
#ifndef WEIR_BASE_ULID_H
#define WEIR_BASE_ULID_H

#include "base/bytes.h"

#define ULID_TEXT_LEN 26

struct ulid {
    uint8_t b[16]; /* big-endian: memcmp order is time order */
};

struct ulid ulid_new(void);
void ulid_seed_after(const struct ulid *last); /* later ids sort after `last` (used at start) */
void ulid_format(const struct ulid *u, char dst[ULID_TEXT_LEN + 1]);
bool ulid_parse(struct str s, struct ulid *out); /* lower case accepted; overflow refused */
int ulid_cmp(const struct ulid *a, const struct ulid *b);

#endif
