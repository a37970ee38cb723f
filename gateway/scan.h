/* gateway/scan.h - the hot JSON scanner: moves over a body once, value by value.
 *
 * Strict RFC 8259: UTF-8 is checked, control bytes in strings, half surrogate pairs and leading
 * zeros are refused; a leading BOM is skipped.  Nesting is at most SCAN_DEPTH_MAX, no recursion.
 * Every function leaves `p` behind what it took and returns true, or sets `why` and leaves `p` at
 * the offending byte and returns false; then scan_error makes the message with the byte offset.
 * Owner: one thread.  The body is borrowed and never written; nothing is read past its end.
 */
#ifndef WEIR_GATEWAY_SCAN_H
#define WEIR_GATEWAY_SCAN_H

#include "base/bytes.h"
#include "base/err.h"

#define SCAN_DEPTH_MAX 512 /* as JSON_DEPTH_MAX of base/json.h */

struct scan {
    const char *begin, *p, *end;
    const char *why; /* what is wrong, once something is */
};

void scan_init(struct scan *s, struct str body);
bool scan_fail(struct scan *s, const char *at, const char *why); /* returns false */
enum err_code scan_error(const struct scan *s, struct err *e);

/* Skip white space; the next byte, or -1 at the end. */
static inline int scan_peek(struct scan *s)
{
    while (s->p < s->end) {
        unsigned char c = (unsigned char)*s->p;
        if (__builtin_expect(c > ' ', 1))
            return c;
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            return c;
        s->p++;
    }
    return -1;
}

/* At '"': the bytes between the quotes as they stand, checked. */
bool scan_string(struct scan *s, struct str *raw);
/* Behind a backslash (*p < end): one escape, with the second half of a surrogate pair.  False: bad.
 */
bool scan_escape(struct scan *s, const char **p, uint32_t *cp);
/* Decode a raw string that scan_string has checked. */
void scan_decode(struct str raw, struct buf *out);

struct scan_number {
    struct str text;
    bool is_integer;
};
bool scan_number(struct scan *s, struct scan_number *out);
/* true, false or null: exactly `word`. */
bool scan_word(struct scan *s, struct str word);
/* A member's key in quotes with its ':' ; the ':' alone; behind a value, the ',' or the closing
 * bracket. */
bool scan_key(struct scan *s, struct str *raw);
bool scan_colon(struct scan *s);
bool scan_more(struct scan *s, char close, bool *more);
/* Any value, when `depth` containers are open around it. */
bool scan_skip(struct scan *s, unsigned depth);
/* What a byte that starts no value, or is missing, is called. */
bool scan_fail_value(struct scan *s);

#endif
