/* base/utf8.h - UTF-8 checking and decoding (RFC 3629: no surrogates, no overlong forms). */
#ifndef WEIR_BASE_UTF8_H
#define WEIR_BASE_UTF8_H

#include "base/bytes.h"

#define UTF8_BOM "\xEF\xBB\xBF" /* the byte order mark that some put in front */
bool utf8_valid(struct str s);
/* Bytes of the longest valid prefix. */
size_t utf8_valid_prefix(struct str s);
/* Decode one code point at p (p < end); returns its length, or 0 when it is invalid. */
size_t utf8_decode(const char *p, const char *end, uint32_t *cp);
/* Returns the length, 0 for a surrogate or what is past U+10FFFF. */
size_t utf8_encode(uint32_t cp, char dst[4]);
/* Bytes of the one maximal invalid part that s begins with; 0 when s begins well (or is empty). */
size_t utf8_invalid_part(struct str s);
/* Append with each maximal invalid part replaced by U+FFFD. */
void utf8_add_lossy(struct buf *out, struct str s);

#endif
