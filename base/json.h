/* base/json.h - JSON documents as a tree in an arena, and a writer into a buffer.
 *
 * For requests, replies and control messages; the hot path of ingest has its own scanner.
 * The reader is yajl (RFC 8259, UTF-8 checked, depth at most JSON_DEPTH_MAX); numbers keep their
 * text, so 64-bit integers and long decimals pass unharmed.  Duplicate keys are kept in order;
 * json_get returns the last, as most programs do.  Strings may contain NUL.
 * The tree is immutable after parsing except through the json_set / json_new functions, which
 * allocate in the same arena.  json.c is the one owner of <yajl/...>.
 */
#ifndef WEIR_BASE_JSON_H
#define WEIR_BASE_JSON_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

#define JSON_DEPTH_MAX 512

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
    enum json_type type;
    bool boolean;
    struct str text;    /* string: decoded value; number: the digits as written */
    struct json *first; /* array, object: children in order */
    struct json *last;
    struct json *next; /* sibling */
    struct str key;    /* of a member of an object */
    size_t count;
};

/* One document; trailing white space allowed, anything else after it is an error.
 * The error names the byte offset: "invalid JSON at byte 17: …". */
enum err_code json_parse(struct str text, struct arena *a, struct json **out, struct err *e);

struct json *json_get(const struct json *object, const char *key); /* NULL: missing, or no object */
struct json *json_at(const struct json *array, size_t i);
/* With defaults: `v` may be NULL. */
struct str json_str(const struct json *v, struct str def);
bool json_i64(const struct json *v,
              int64_t *out); /* integer number (or integral like 5.0); else false */
bool json_u64(const struct json *v, uint64_t *out);
bool json_f64(const struct json *v, double *out);
bool json_bool(const struct json *v, bool def);

struct json *json_new(struct arena *a, enum json_type type);
struct json *json_new_str(struct arena *a, struct str s);
struct json *json_new_i64(struct arena *a, int64_t v);
struct json *json_new_bool(struct arena *a, bool v);
void json_append(struct json *array, struct json *item);
/* Add or replace a member (key is copied). */
void json_set(struct arena *a, struct json *object, struct str key, struct json *value);
struct json *json_clone(struct arena *a, const struct json *v);

void json_write(struct buf *out, const struct json *v); /* compact, keys in order */

/* Streaming writer: commas and colons are put by the caller's sequence of calls.
 *   struct json_writer w = {.out = &b}; jw_object(&w); jw_key(&w, STR("a")); jw_i64(&w, 1);
 * jw_end(&w); */
struct json_writer {
    struct buf *out;
    unsigned depth;
    bool comma[64];
    bool is_object[64];
    bool after_key;
};
void jw_object(struct json_writer *w);
void jw_array(struct json_writer *w);
void jw_end(struct json_writer *w);
void jw_key(struct json_writer *w, struct str key);
void jw_str(struct json_writer *w, struct str v); /* invalid UTF-8 becomes U+FFFD */
void jw_cstr(struct json_writer *w, const char *v);
void jw_i64(struct json_writer *w, int64_t v);
void jw_u64(struct json_writer *w, uint64_t v);
void jw_f64(struct json_writer *w, double v); /* shortest that reads back; NaN, Inf: null */
void jw_bool(struct json_writer *w, bool v);
void jw_null(struct json_writer *w);
void jw_raw(struct json_writer *w, struct str json);
void jw_value(struct json_writer *w, const struct json *v);
/* key + value in one */
void jw_kstr(struct json_writer *w, const char *key, struct str v);
void jw_kcstr(struct json_writer *w, const char *key, const char *v);
void jw_ki64(struct json_writer *w, const char *key, int64_t v);
void jw_ku64(struct json_writer *w, const char *key, uint64_t v);
void jw_kbool(struct json_writer *w, const char *key, bool v);
void jw_kf64(struct json_writer *w, const char *key, double v);

void json_escape(struct buf *out, struct str s); /* with the quotes; invalid UTF-8 -> U+FFFD */
/* Shortest decimal that reads back to the same double, as OpenObserve prints it: integral values
 * get ".0", and below 10^-5 or from 10^16 on there is an exponent ("1e-6").  dst >= 32 bytes, with
 * a final NUL.  Returns the length.  Not for NaN or Inf. */
size_t f64_format(double v, char *dst);

#endif
