/* gateway/flatten.c - walking one record: keys to fields, values to text.
 *
 * The walk keeps a stack of open objects; each level knows its key and the key read last, whose
 * successor in the record before is the first guess for the next one.
 */
#include "gateway/flatten.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "gateway/line.h"
#include "gateway/number.h"
#include "gateway/timestamp.h"

enum {
    PIECES_MIN = 64,
    COPY_STEP = 16, /* leads are copied in steps of so many bytes */
    SCALAR_ROOM = 64
};

struct level {
    struct key *key;  /* whose object this is */
    struct key *last; /* read last in it; NULL at its start */
};

struct walk {
    struct flatten *f;
    struct scan *s;
    unsigned outer; /* containers open around the record */
    unsigned top;   /* index of the innermost level */
    enum flatten_verdict verdict;
    struct level levels[SCAN_DEPTH_MAX];
};

void flatten_done(struct flatten *f)
{
    free(f->pieces);
    f->pieces = NULL;
    f->piece_cap = 0;
}

static bool stop(struct walk *w, enum flatten_verdict verdict)
{
    w->verdict = verdict;
    return false;
}

/* A scanner's or writer's call failed: bad JSON, or no room? */
static bool stop_scan(struct walk *w)
{
    return stop(w, w->s->why ? FLATTEN_BROKEN : FLATTEN_NO_ROOM);
}

/* ---- keys ---- */

static inline bool same_bytes(const char *a, const char *b, size_t n)
{
    if (n < 8) {
        for (size_t i = 0; i < n; i++) {
            if (a[i] != b[i])
                return false;
        }
        return true;
    }
    size_t at = 0;
    for (; at + 8 <= n; at += 8) {
        if (get_u64(a + at) != get_u64(b + at))
            return false;
    }
    return get_u64(a + n - 8) == get_u64(b + n - 8);
}

/* Does the key at the quote s->p equal the guess? */
static inline bool is_guess(const struct scan *s, const struct key *guess)
{
    size_t len = guess->raw.len;
    return (size_t)(s->end - s->p) > len + 1 && s->p[len + 1] == '"' &&
           same_bytes(s->p + 1, guess->raw.ptr, len);
}

static void stop_key(struct walk *w)
{
    bool too_long = w->f->keys->is_name_too_long;
    if (too_long)
        snprintf(w->f->reason, sizeof w->f->reason, "A name is longer than %d bytes",
                 FIELD_NAME_MAX);
    stop(w, too_long ? FLATTEN_REFUSED : FLATTEN_NO_KEYS);
}

static struct key *look_up(struct walk *w, struct level *level)
{
    struct str raw;
    if (!scan_string(w->s, &raw)) {
        stop_scan(w);
        return NULL;
    }
    struct key *key = keys_get(w->f->keys, level->key, raw);
    if (!key) {
        stop_key(w);
        return NULL;
    }
    if (level->last)
        level->last->next = key;
    else
        level->key->first = key;
    return key;
}

/* The next key and its ':'. */
static struct key *take_key(struct walk *w)
{
    struct scan *s = w->s;
    struct level *level = &w->levels[w->top];
    struct key *key = level->last ? level->last->next : level->key->first;
    if (scan_peek(s) != '"') {
        scan_fail(s, s->p, "expected a key in quotes");
        stop_scan(w);
        return NULL;
    }
    if (key && is_guess(s, key))
        s->p += key->raw.len + 2;
    else if (!(key = look_up(w, level)))
        return NULL;
    level->last = key;
    if (!scan_colon(s)) {
        stop_scan(w);
        return NULL;
    }
    return key;
}

/* ---- the time ---- */

/* The text of a string value, taken out of the way of the line again. */
static bool read_time_string(struct walk *w, bool *good, int64_t *us)
{
    struct buf *out = w->f->out;
    size_t at = out->len;
    if (!line_string(w->s, out))
        return stop_scan(w);
    struct str text = {out->data + at + 1, out->len - at - 2};
    *good = timestamp_from_string(text, w->f->now_us, us);
    out->len = at;
    return true;
}

static bool read_time(struct walk *w, int c, bool *good, int64_t *us)
{
    struct scan_number n;
    *good = false;
    if (c == '"')
        return read_time_string(w, good, us);
    if (c == '-' || (c >= '0' && c <= '9')) {
        if (!scan_number(w->s, &n))
            return stop_scan(w);
        *good = timestamp_from_number(n.text, w->f->now_us, us);
        return true;
    }
    return scan_skip(w->s, w->outer + w->top + 1) || stop_scan(w);
}

static bool take_time(struct walk *w, struct key *key, int c)
{
    struct flatten *f = w->f;
    bool good;
    int64_t us = 0;
    if (!read_time(w, c, &good, &us))
        return false;
    if (f->time_key && keys_order(key, f->time_key) < 0)
        return true; /* such as `@timestamp` beside `_timestamp` */
    f->time_key = key;
    f->time_is_good = good;
    f->time_us = us;
    return true;
}

/* ---- members ---- */

static bool pieces_grow(struct flatten *f)
{
    size_t cap = f->piece_cap ? f->piece_cap * 2 : PIECES_MIN;
    struct piece *pieces = realloc(f->pieces, cap * sizeof *pieces);
    if (!pieces)
        return false;
    f->pieces = pieces;
    f->piece_cap = cap;
    return true;
}

/* What the field has got in this record does not count. */
static void drop_earlier(struct flatten *f, const struct field *field)
{
    f->pieces[field->piece].is_dead = true;
    f->dead_count++;
}

/* The field has a value in this record already.  True: the new one counts. */
static bool beats_earlier(struct flatten *f, const struct key *key)
{
    if (keys_order(key, f->pieces[key->field->piece].key) < 0)
        return false;
    drop_earlier(f, key->field);
    return true;
}

static inline void copy_lead(struct buf *out, const struct key *key)
{
    char *dst = out->data + out->len;
    for (uint32_t at = 0; at < key->lead_len; at += COPY_STEP)
        memcpy(dst + at, key->lead + at, COPY_STEP);
    out->len += key->lead_len;
}

static bool put_word(struct walk *w, struct str word)
{
    struct buf *out = w->f->out;
    if (!scan_word(w->s, word))
        return stop_scan(w);
    memcpy(out->data + out->len, word.ptr, word.len);
    out->len += word.len;
    return true;
}

static bool put_value(struct walk *w, int c, enum field_type *type)
{
    struct buf *out = w->f->out;
    *type = FIELD_UTF8;
    switch (c) {
    case '"':
        return line_string(w->s, out) || stop_scan(w);
    case '{':
    case '[':
        return line_text(w->s, w->outer + w->top + 1, out) || stop_scan(w);
    case 't':
        *type = FIELD_BOOL;
        return put_word(w, STR("true"));
    case 'f':
        *type = FIELD_BOOL;
        return put_word(w, STR("false"));
    default:
        if (c != '-' && (c < '0' || c > '9')) {
            scan_fail_value(w->s);
            return stop_scan(w);
        }
        return number_write(w->s, out, type) || stop_scan(w);
    }
}

static bool too_many_columns(struct walk *w)
{
    snprintf(w->f->reason, sizeof w->f->reason,
             "Too many columns: a record may have %u (ZO_COLS_PER_RECORD_LIMIT)",
             w->f->columns_max);
    return stop(w, FLATTEN_REFUSED);
}

/* One value that becomes a column. */
static bool take_member(struct walk *w, struct key *key, int c)
{
    struct flatten *f = w->f;
    if (key->is_timestamp)
        return take_time(w, key, c);
    struct field *field = key->field ? key->field : keys_field(f->keys, key);
    if (!field)
        return stop(w, FLATTEN_NO_KEYS);
    if (field->record == f->record && !beats_earlier(f, key))
        return scan_skip(w->s, w->outer + w->top + 1) || stop_scan(w);
    if (f->piece_count - f->dead_count >= f->columns_max)
        return too_many_columns(w);
    if (f->piece_count == f->piece_cap && !pieces_grow(f))
        return stop(w, FLATTEN_NO_ROOM);
    if (!buf_reserve(f->out, key->lead_len + SCALAR_ROOM))
        return stop(w, FLATTEN_NO_ROOM);
    field->record = f->record;
    field->piece = f->piece_count;
    struct piece *piece = &f->pieces[f->piece_count++];
    *piece = (struct piece){.key = key, .at = f->out->len};
    copy_lead(f->out, key);
    return put_value(w, c, &piece->type);
}

/* ---- the walk ---- */

/* At a bracket: does the container close at once?  Then it is passed. */
static bool pass_empty(struct scan *s)
{
    const char *open = s->p++;
    if (scan_peek(s) == (*open == '{' ? '}' : ']')) {
        s->p++;
        return true;
    }
    s->p = open;
    return false;
}

/* May another container be opened here?  So the innermost level always has a place in `levels`. */
static bool may_nest(struct walk *w)
{
    if (w->outer + w->top + 1 < SCAN_DEPTH_MAX)
        return true;
    scan_fail(w->s, w->s->p, "nested too deep");
    return stop_scan(w);
}

/* A key and what is behind its colon.  *entered: an object was opened, a key comes next. */
static bool take_pair(struct walk *w, bool *entered)
{
    struct key *key = take_key(w);
    *entered = false;
    if (!key)
        return false;
    int c = scan_peek(w->s);
    if (c == 'n')
        return scan_word(w->s, STR("null")) || stop_scan(w);
    if (c != '{' && c != '[')
        return take_member(w, key, c);
    if (!may_nest(w))
        return false;
    if (pass_empty(w->s))
        return true;
    *entered = c == '{' && (w->f->level == 0 || w->top + 1 < w->f->level);
    if (!*entered)
        return take_member(w, key, c);
    w->s->p++;
    w->levels[++w->top] = (struct level){.key = key};
    return true;
}

/* Behind a value: close objects until a ',' says that a key comes.  *done: the record is closed. */
static bool take_end(struct walk *w, bool *done)
{
    bool more = false;
    *done = false;
    for (;;) {
        if (!scan_more(w->s, '}', &more))
            return stop_scan(w);
        if (more)
            return true;
        if (w->top == 0) {
            *done = true;
            return true;
        }
        w->top--;
    }
}

static void reset(struct flatten *f)
{
    f->record++;
    f->piece_count = f->dead_count = 0;
    f->time_key = NULL;
    f->time_is_good = false;
    f->reason[0] = '\0';
}

enum flatten_verdict flatten_record(struct flatten *f, struct scan *s, unsigned depth)
{
    struct walk w; /* not initialised as a whole: the levels are many */
    reset(f);
    w.f = f;
    w.s = s;
    w.outer = depth;
    w.top = 0;
    w.levels[0] = (struct level){.key = &f->keys->root};
    if (pass_empty(s))
        return FLATTEN_OK;
    s->p++;
    for (bool entered, done = false; !done;) {
        if (!take_pair(&w, &entered) || (!entered && !take_end(&w, &done)))
            return w.verdict;
    }
    return FLATTEN_OK;
}

enum flatten_verdict flatten_add_text(struct flatten *f, struct str name, struct str text,
                                      enum flatten_rival rival)
{
    struct key *key = keys_get(f->keys, &f->keys->root, name);
    struct field *field = key ? key->field ? key->field : keys_field(f->keys, key) : NULL;
    if (!field)
        return FLATTEN_NO_KEYS;
    if (field->record == f->record) {
        if (rival == FLATTEN_RIVAL_STAYS)
            return FLATTEN_OK;
        drop_earlier(f, field);
    }
    if (f->piece_count == f->piece_cap && !pieces_grow(f))
        return FLATTEN_NO_ROOM;
    if (!buf_reserve(f->out, key->lead_len + SCALAR_ROOM))
        return FLATTEN_NO_ROOM;
    field->record = f->record;
    field->piece = f->piece_count;
    f->pieces[f->piece_count++] = (struct piece){.key = key, .at = f->out->len, .type = FIELD_UTF8};
    copy_lead(f->out, key);
    json_escape(f->out, text);
    return buf_ok(f->out) ? FLATTEN_OK : FLATTEN_NO_ROOM;
}
