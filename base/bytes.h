/* base/bytes.h - views of bytes, and growable buffers that always have a maximum.
 *
 * `struct str` is a borrowed view: not NUL-terminated, never freed.
 * `struct buf` owns its memory.  Invariants: len <= cap <= max; data is NULL when cap is 0;
 * data[len] is NUL whenever cap > 0, so buf.data can be handed to C string functions when the
 * content has no NUL of its own.  A growth past `max`, or a failed malloc, sets `failed`, leaves
 * len as it is, and makes every later append a no-op: check once at the end with buf_ok().
 * Life cycle: buf_init -> appends -> buf_done (frees) or buf_clear (keeps the memory).
 * Thread safety: none; one owner at a time.
 */
#ifndef WEIR_BASE_BYTES_H
#define WEIR_BASE_BYTES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *ptr;
    size_t len;
};
#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).len, (s).ptr

static inline struct str str_from(const char *cstr) /* NULL gives the empty string */
{
    return (struct str){cstr ? cstr : "", cstr ? strlen(cstr) : 0};
}
static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
bool str_eq_nocase(struct str a, struct str b); /* ASCII case only */
bool str_starts(struct str s, struct str prefix);
int str_cmp(struct str a, struct str b); /* memcmp order, then length */
struct str str_trim(struct str s);       /* ASCII white space at both ends */
/* Cut at the first `sep`: *head is before it, *rest after it (empty when there is none).
 * Returns whether `sep` was found. */
bool str_cut(struct str s, char sep, struct str *head, struct str *rest);
/* Copy into a fixed array with a final NUL; false (and a cut copy) when it does not fit. */
bool str_copy_to(struct str s, char *dst, size_t dst_size);
/* Whole string as a decimal integer; false on anything else or on overflow. */
bool str_to_i64(struct str s, int64_t *out);
bool str_to_u64(struct str s, uint64_t *out);
uint64_t str_hash(struct str s); /* FNV-1a then mixed: stable between runs; not for hostile keys */

struct buf {
    char *data;
    size_t len, cap, max;
    bool failed;
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_done(struct buf *b);  /* NULL is fine; the buffer is as after init with max 0 */
void buf_clear(struct buf *b); /* len 0, failed false, memory kept */
bool buf_grow(struct buf *b, size_t extra); /* what buf_reserve does when there is no room */
/* The short ones are in the header: a line of text is hundreds of such calls. */
static inline bool buf_reserve(struct buf *b, size_t extra) /* room for that many more bytes */
{
    return extra <= b->cap - b->len && !b->failed ? true : buf_grow(b, extra);
}
static inline void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0 || !buf_reserve(b, n))
        return;
    memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = '\0';
}
static inline void buf_add_str(struct buf *b, struct str s)
{
    buf_add(b, s.ptr, s.len);
}
static inline void buf_add_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}
void buf_add_cstr(struct buf *b, const char *s);
void buf_add_u64(struct buf *b, uint64_t v); /* decimal */
void buf_add_i64(struct buf *b, int64_t v);  /* decimal */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool buf_ok(const struct buf *b)
{
    return !b->failed;
}
static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->data ? b->data : "", b->len};
}

/* Little-endian fixed-width access, for every on-disk and on-wire format of Weir. */
static inline void put_u16(void *p, uint16_t v)
{
    memcpy(p, &v, 2);
}
static inline void put_u32(void *p, uint32_t v)
{
    memcpy(p, &v, 4);
}
static inline void put_u64(void *p, uint64_t v)
{
    memcpy(p, &v, 8);
}
static inline uint16_t get_u16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}
static inline uint32_t get_u32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static inline uint64_t get_u64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}
/* Big-endian, for keys that must sort. */
void put_be64(void *p, uint64_t v);
uint64_t get_be64(const void *p);
void put_be32(void *p, uint32_t v);
uint32_t get_be32(const void *p);

#endif
