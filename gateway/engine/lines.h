/* gateway/engine/lines.h - finds the wanted fields of one NDJSON line.
 *
 * Good for: the normalised lines of the mount: one flat object, unique keys.  Not for: checking a
 * line; what follows the last wanted field is not read.  White space between tokens is accepted.
 * A value is found, not converted: it points into the line.  Nested values are one raw value.
 * A plan is immutable once made and shared by threads; a cursor belongs to one thread and learns
 * the order of keys, so that most keys cost one memcmp. Errors: CORRUPT with the byte offset in the
 * line; NOMEM.
 */
#ifndef WEIR_GATEWAY_ENGINE_LINES_H
#define WEIR_GATEWAY_ENGINE_LINES_H

#include "base/bytes.h"
#include "base/err.h"

enum line_kind {
    LINE_STRING,  /* text between the quotes, without a backslash */
    LINE_ESCAPED, /* text between the quotes, with escapes: line_unescape */
    LINE_NUMBER,
    LINE_TRUE,
    LINE_FALSE,
    LINE_NULL,
    LINE_NESTED /* an array or object as it stands */
};
struct line_value {
    struct str text;
    uint32_t field; /* index into the plan's names */
    enum line_kind kind;
};

struct line_plan;
struct line_cursor;
/* `names` are copied; at most LINE_FIELDS_MAX. */
#define LINE_FIELDS_MAX 65536
enum err_code line_plan_new(const struct str *names, size_t count, struct line_plan **out,
                            struct err *e);
void line_plan_free(struct line_plan *p); /* NULL is fine */
enum err_code line_cursor_new(const struct line_plan *p, struct line_cursor **out, struct err *e);
void line_cursor_free(struct line_cursor *c); /* NULL is fine */

/* `line` is without its newline.  `out` has room for as many values as the plan has names; they
 * come in the line's order, each field at most once. */
enum err_code line_find(struct line_cursor *c, struct str line, struct line_value *out,
                        size_t *count, struct err *e);

/* Member after member of a line, whatever their names. */
struct line_members {
    struct str line;
    size_t at;
    bool is_broken; /* the line is no flat object */
};
/* False at the end, or when it is broken.  *key is the text between the quotes, as written; the
 * value's `field` is not set. */
bool line_members_next(struct line_members *m, struct str *key, struct line_value *v);

/* Decode the escapes of `text`.  `dst` has text.len bytes; the result is never longer.  Returns its
 * length.  A lone surrogate becomes U+FFFD, an unknown escape stands for its character. */
size_t line_unescape(struct str text, char *dst);

#endif
