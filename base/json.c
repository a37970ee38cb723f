/* base/json.c - JSON text to a tree in an arena and back, the reading by yajl.
 *
 * The text is copied into the arena once; keys, numbers and strings without escapes are views of
 * that copy.  So the text of a number is always followed by a byte that no number contains (a
 * delimiter or the final NUL), also in trees built by json_new_i64, and strtod can stop there.
 *
 * Two things that yajl does not refuse are checked before it runs: UTF-8 that is not well-formed,
 * and \u escapes of half a surrogate pair.
 */
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <yajl/yajl_parse.h>

#include "base/utf8.h"

/* ---- the tree ---- */

struct json *json_new(struct arena *a, enum json_type type)
{
    struct json *v = arena_zalloc(a, sizeof *v);
    if (v)
        v->type = type;
    return v;
}

struct json *json_new_str(struct arena *a, struct str s)
{
    struct str text = arena_copy(a, s);
    struct json *v = text.ptr ? json_new(a, JSON_STRING) : NULL;
    if (v)
        v->text = text;
    return v;
}

struct json *json_new_i64(struct arena *a, int64_t number)
{
    const char *text = arena_printf(a, "%lld", (long long)number);
    struct json *v = text ? json_new(a, JSON_NUMBER) : NULL;
    if (v)
        v->text = str_from(text);
    return v;
}

struct json *json_new_bool(struct arena *a, bool boolean)
{
    struct json *v = json_new(a, JSON_BOOL);
    if (v)
        v->boolean = boolean;
    return v;
}

void json_append(struct json *parent, struct json *item)
{
    if (!parent || !item) /* the arena has noted the failure */
        return;
    if (parent->last)
        parent->last->next = item;
    else
        parent->first = item;
    parent->last = item;
    parent->count++;
}

static struct json *find_last(const struct json *object, struct str key, struct json **before)
{
    struct json *found = NULL, *previous = NULL;
    *before = NULL;
    for (struct json *v = object->first; v; previous = v, v = v->next) {
        if (str_eq(v->key, key)) {
            found = v;
            *before = previous;
        }
    }
    return found;
}

static void replace_member(struct json *object, struct json *old, struct json *before,
                           struct json *value)
{
    value->key = old->key;
    value->next = old->next;
    if (before)
        before->next = value;
    else
        object->first = value;
    if (object->last == old)
        object->last = value;
}

void json_set(struct arena *a, struct json *object, struct str key, struct json *value)
{
    if (!object || !value)
        return;
    struct json *before, *old = find_last(object, key, &before);
    if (old) {
        if (old != value)
            replace_member(object, old, before, value);
        return;
    }
    struct str copy = arena_copy(a, key);
    if (!copy.ptr)
        return;
    value->key = copy;
    json_append(object, value);
}

struct json *json_clone(struct arena *a, const struct json *v)
{
    struct json *copy = v ? json_new(a, v->type) : NULL;
    if (!copy)
        return NULL;
    copy->boolean = v->boolean;
    copy->text = arena_copy(a, v->text);
    if (!copy->text.ptr)
        return NULL;
    for (const struct json *child = v->first; child; child = child->next) {
        struct json *child_copy = json_clone(a, child);
        struct str key = arena_copy(a, child->key);
        if (!child_copy || !key.ptr)
            return NULL;
        child_copy->key = key;
        json_append(copy, child_copy);
    }
    return copy;
}

struct json *json_get(const struct json *object, const char *key)
{
    struct json *before;
    if (!object || object->type != JSON_OBJECT)
        return NULL;
    return find_last(object, str_from(key), &before);
}

struct json *json_at(const struct json *array, size_t i)
{
    if (!array || array->type != JSON_ARRAY || i >= array->count)
        return NULL;
    struct json *v = array->first;
    while (i-- > 0)
        v = v->next;
    return v;
}

struct str json_str(const struct json *v, struct str def)
{
    return v && v->type == JSON_STRING ? v->text : def;
}

bool json_bool(const struct json *v, bool def)
{
    return v && v->type == JSON_BOOL ? v->boolean : def;
}

bool json_f64(const struct json *v, double *out)
{
    if (!v || v->type != JSON_NUMBER)
        return false;
    double d = strtod(v->text.ptr, NULL);
    if (!isfinite(d)) /* 1e999 */
        return false;
    *out = d;
    return true;
}

/* 5.0 and 1e3 are integers too; past 2^53 a double may stand for a neighbour, so no further. */
static bool small_integral(const struct json *v, int64_t *out)
{
    double d;
    if (!json_f64(v, &d) || fabs(d) > 0x1p53 || d != floor(d))
        return false;
    *out = (int64_t)d;
    return true;
}

bool json_i64(const struct json *v, int64_t *out)
{
    if (!v || v->type != JSON_NUMBER)
        return false;
    return str_to_i64(v->text, out) || small_integral(v, out);
}

bool json_u64(const struct json *v, uint64_t *out)
{
    int64_t small;
    if (!v || v->type != JSON_NUMBER)
        return false;
    if (str_to_u64(v->text, out))
        return true;
    if (!small_integral(v, &small) || small < 0)
        return false;
    *out = (uint64_t)small;
    return true;
}

/* ---- checks before yajl ---- */

static bool hex4(const char *p, const char *end, unsigned *out)
{
    if (end - p < 4)
        return false;
    unsigned v = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i], low = c | 0x20;
        if (c >= '0' && c <= '9')
            v = v << 4 | (unsigned)(c - '0');
        else if (low >= 'a' && low <= 'f')
            v = v << 4 | (unsigned)(low - 'a' + 10);
        else
            return false;
    }
    *out = v;
    return true;
}

/* The length of the escape at p (a backslash); 0 when it is half a surrogate pair.  Escapes that
 * are wrong otherwise are left to yajl. */
static size_t check_escape(const char *p, const char *end)
{
    unsigned high, low;
    if (end - p < 2 || p[1] != 'u' || !hex4(p + 2, end, &high) || (high & 0xF800) != 0xD800)
        return 2;
    bool pair = (high & 0xFC00) == 0xD800 && end - p >= 8 && p[6] == '\\' && p[7] == 'u' &&
                hex4(p + 8, end, &low) && (low & 0xFC00) == 0xDC00;
    return pair ? 12 : 0;
}

/* Where the first half pair stands, or text.len. */
static size_t find_half_surrogate(struct str text)
{
    const char *p = text.ptr, *end = text.ptr + text.len;
    while (p < end && (p = memchr(p, '\\', (size_t)(end - p))) != NULL) {
        size_t len = check_escape(p, end);
        if (len == 0)
            return (size_t)(p - text.ptr);
        p += len;
    }
    return text.len;
}

/* ---- the parser's callbacks ---- */

struct parse {
    struct arena *arena;
    struct str text; /* the arena's copy */
    struct json *root;
    struct json *stack[JSON_DEPTH_MAX]; /* open arrays and objects */
    size_t depth;
    struct str key; /* of the member whose value comes next */
    yajl_handle yajl;
    size_t good_bytes; /* up to the end of the last token that was right, commas and colons apart */
    bool too_deep;
};

enum { STOP = 0, GO_ON = 1 };

static void mark_good(struct parse *p)
{
    p->good_bytes = yajl_get_bytes_consumed(p->yajl);
}

static int put_value(struct parse *p, struct json *v)
{
    if (!v)
        return STOP;
    mark_good(p);
    if (p->depth == 0) {
        p->root = v;
        return GO_ON;
    }
    v->key = p->key;
    p->key = (struct str){0};
    json_append(p->stack[p->depth - 1], v);
    return GO_ON;
}

/* A view of the copy stays; what yajl had to decode is copied. */
static struct str keep(struct parse *p, const unsigned char *s, size_t n)
{
    struct str v = {(const char *)s, n};
    uintptr_t at = (uintptr_t)s, from = (uintptr_t)p->text.ptr;
    return at >= from && at < from + p->text.len ? v : arena_copy(p->arena, v);
}

static int put_text(struct parse *p, enum json_type type, struct str text)
{
    struct json *v = text.ptr ? json_new(p->arena, type) : NULL;
    if (v)
        v->text = text;
    return put_value(p, v);
}

static int open_container(struct parse *p, enum json_type type)
{
    if (p->depth == JSON_DEPTH_MAX) {
        p->too_deep = true;
        return STOP;
    }
    struct json *v = json_new(p->arena, type);
    int go = put_value(p, v);
    if (go)
        p->stack[p->depth++] = v;
    return go;
}

static int on_null(void *ctx)
{
    struct parse *p = ctx;
    return put_value(p, json_new(p->arena, JSON_NULL));
}

static int on_boolean(void *ctx, int boolean)
{
    struct parse *p = ctx;
    return put_value(p, json_new_bool(p->arena, boolean != 0));
}

static int on_number(void *ctx, const char *s, size_t n)
{
    struct parse *p = ctx;
    return put_text(p, JSON_NUMBER, keep(p, (const unsigned char *)s, n));
}

static int on_string(void *ctx, const unsigned char *s, size_t n)
{
    struct parse *p = ctx;
    return put_text(p, JSON_STRING, keep(p, s, n));
}

static int on_map_key(void *ctx, const unsigned char *s, size_t n)
{
    struct parse *p = ctx;
    p->key = keep(p, s, n);
    mark_good(p);
    return p->key.ptr ? GO_ON : STOP;
}

static int on_start_map(void *ctx)
{
    return open_container(ctx, JSON_OBJECT);
}

static int on_start_array(void *ctx)
{
    return open_container(ctx, JSON_ARRAY);
}

static int on_end(void *ctx)
{
    struct parse *p = ctx;
    p->depth--;
    mark_good(p);
    return GO_ON;
}

static const yajl_callbacks CALLBACKS = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_start_map,
    .yajl_map_key = on_map_key,
    .yajl_end_map = on_end,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end,
};

static void free_yajl(yajl_handle *h)
{
    if (*h)
        yajl_free(*h);
}

static enum err_code invalid(struct err *e, size_t at, const char *reason)
{
    return err_set(e, ERR_INVALID, "invalid JSON at byte %zu: %s", at, reason);
}

static size_t skip_space(struct str text, size_t at, size_t end)
{
    while (at < end && memchr(" \t\r\n", text.ptr[at], 4))
        at++;
    return at;
}

/* Where the wrong token begins; yajl only tells where it stopped reading (`end`).  Between the last
 * good token and the wrong one there may be one comma or colon. */
static size_t wrong_token(const struct parse *p, size_t end)
{
    size_t at = skip_space(p->text, p->good_bytes, end);
    if (at + 1 < end && (p->text.ptr[at] == ',' || p->text.ptr[at] == ':'))
        at = skip_space(p->text, at + 1, end);
    return at;
}

/* yajl says "lexical error: ..." of a byte, "parse error: ..." of a token, and ends with a newline.
 */
static enum err_code invalid_by_yajl(const struct parse *p, size_t end, size_t skipped,
                                     struct err *e)
{
    unsigned char *words = yajl_get_error(p->yajl, 0, NULL, 0);
    struct str kind, reason;
    str_cut(str_from((const char *)words), ':', &kind, &reason);
    size_t at = wrong_token(p, end);
    reason = str_trim(reason);
    bool inside = str_starts(kind, STR("lexical")) && end > at + 1;
    if (inside || str_starts(reason, STR("premature EOF")))
        at = end;
    err_set(e, ERR_INVALID, "invalid JSON at byte %zu: " STR_FMT, skipped + at, STR_ARG(reason));
    if (words)
        yajl_free_error(p->yajl, words);
    return ERR_INVALID;
}

/* yajl takes \f and \v for white space, and does not mind a string that begins after the document
 * and never ends.  The offset of the first such byte, or the length. */
static size_t find_what_yajl_takes(struct str s)
{
    size_t quote = s.len;
    bool inside = false;

    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '"') {
            inside = !inside;
            quote = i;
        } else if (inside && c == '\\') {
            i++;
        } else if (!inside && (c == '\f' || c == '\v')) {
            return i;
        }
    }
    return inside ? quote : s.len;
}

static enum err_code run_yajl(struct parse *p, size_t skipped, struct err *e)
{
    yajl_handle h __attribute__((cleanup(free_yajl))) = yajl_alloc(&CALLBACKS, NULL, p);
    if (!h)
        return err_set(e, ERR_NOMEM, "parse JSON: out of memory");
    p->yajl = h;
    yajl_config(h, yajl_dont_validate_strings, 1); /* done before */
    yajl_status status = yajl_parse(h, (const unsigned char *)p->text.ptr, p->text.len);
    size_t end = yajl_get_bytes_consumed(h);
    if (status == yajl_status_ok) {
        status = yajl_complete_parse(h);
        end = p->text.len;
    }
    if (p->arena->failed)
        return err_set(e, ERR_NOMEM, "parse JSON: over the limit of %zu bytes of memory",
                       p->arena->max_bytes);
    if (p->too_deep)
        return err_set(e, ERR_INVALID, "invalid JSON at byte %zu: nested deeper than %d",
                       skipped + end - 1, JSON_DEPTH_MAX);
    return status == yajl_status_ok ? ERR_OK : invalid_by_yajl(p, end, skipped, e);
}

enum err_code json_parse(struct str text, struct arena *a, struct json **out, struct err *e)
{
    size_t skipped = str_starts(text, STR(UTF8_BOM)) ? sizeof UTF8_BOM - 1 : 0;
    size_t bad = utf8_valid_prefix(text);
    if (bad < text.len)
        return invalid(e, bad, "not UTF-8");
    bad = find_half_surrogate(text);
    if (bad < text.len)
        return invalid(e, bad, "half a surrogate pair");
    bad = find_what_yajl_takes(text);
    struct str body = {text.ptr + skipped, text.len - skipped};
    struct parse p = {.arena = a, .text = arena_copy(a, body)};
    if (!p.text.ptr)
        return err_set(e, ERR_NOMEM, "parse JSON: %zu bytes are over the limit of memory",
                       text.len);
    enum err_code rc = run_yajl(&p, skipped, e);
    if (rc)
        return rc;
    if (bad < text.len)
        return invalid(e, bad, text.ptr[bad] == '"' ? "a string without an end" : "no white space");
    if (!p.root)
        return invalid(e, text.len, "empty document");
    *out = p.root;
    return ERR_OK;
}

void json_write(struct buf *out, const struct json *v)
{
    switch (v->type) {
    case JSON_NULL:
        buf_add_cstr(out, "null");
        return;
    case JSON_BOOL:
        buf_add_cstr(out, v->boolean ? "true" : "false");
        return;
    case JSON_NUMBER:
        buf_add_str(out, v->text);
        return;
    case JSON_STRING:
        json_escape(out, v->text);
        return;
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    bool object = v->type == JSON_OBJECT;
    buf_add_char(out, object ? '{' : '[');
    for (const struct json *child = v->first; child; child = child->next) {
        if (child != v->first)
            buf_add_char(out, ',');
        if (object) {
            json_escape(out, child->key);
            buf_add_char(out, ':');
        }
        json_write(out, child);
    }
    buf_add_char(out, object ? '}' : ']');
}
