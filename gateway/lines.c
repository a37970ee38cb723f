/* gateway/lines.c - records to lines: the time in front, the checks, the runs by hour.
 *
 * A line is `{"_timestamp":N` + the members + `}\n`.  The time is known only after the record has
 * been walked, so room for its usual 16 digits is left in front; another width moves the members.
 */
#include "gateway/lines.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "gateway/row_ids.h"

enum {
    TIME_DIGITS = 16, /* from 2001 to 2286 */
    TIME_TEXT_MAX = 24,
    SLACK = 256,
    PIECES_KEPT = 4096,
    OUT_KEPT = 4 << 20 /* a larger buffer is not kept for the next request */
};
static const char HEAD[] = "{\"_timestamp\":";
#define HEAD_LEN (sizeof HEAD - 1)

enum err_code lines_init(struct lines *l, struct err *e)
{
    *l = (struct lines){0};
    keys_init(&l->keys);
    buf_init(&l->out, 0);
    l->segments = calloc(SEGMENTS_MAX, sizeof *l->segments);
    if (!l->segments)
        return err_set(e, ERR_NOMEM, "no memory for the lines of a request");
    return ERR_OK;
}

void lines_done(struct lines *l)
{
    keys_done(&l->keys);
    flatten_done(&l->flatten);
    buf_done(&l->out);
    free(l->segments);
    l->segments = NULL;
}

void lines_rest(struct lines *l)
{
    lines_clear(l);
    if (l->out.cap > OUT_KEPT)
        buf_done(&l->out);
    if (l->flatten.piece_cap > PIECES_KEPT)
        flatten_done(&l->flatten);
    keys_rest(&l->keys);
}

void lines_clear(struct lines *l)
{
    buf_clear(&l->out);
    l->segment_count = 0;
}

void lines_begin(struct lines *l, const struct lines_rules *rules,
                 const struct catalog_stream *stream)
{
    l->out.max = LINES_MAX + rules->line_max_bytes + SLACK;
    l->rules = *rules;
    l->successful = l->failed = 0;
    l->reason[0] = '\0';
    lines_clear(l);
    keys_begin(&l->keys, stream);
    l->flatten.keys = &l->keys;
    l->flatten.out = &l->out;
    l->flatten.level =
        stream && stream->flatten_level ? stream->flatten_level : rules->flatten_level;
    l->store_original = stream && stream->store_original && rules->row_ids;
    l->flatten.columns_max = rules->columns_max;
    l->flatten.now_us = rules->window.now_us;
}

void lines_begin_again(struct lines *l, const struct catalog_stream *stream)
{
    const struct lines_rules rules = l->rules;
    unsigned level = l->flatten.level;
    bool store_original = l->store_original;
    lines_begin(l, &rules, stream);
    l->flatten.level = level;
    l->store_original = store_original;
    l->keys.is_settled = true;
}

/* ---- one record ---- */

static void refuse(struct lines *l, const char *reason)
{
    l->failed++;
    snprintf(l->reason, sizeof l->reason, "%s", reason);
}

/* The time and its check; the reason is in the flattener when it is false. */
static bool settle_time(struct lines *l, int64_t *us)
{
    struct flatten *f = &l->flatten;
    *us = f->time_key ? f->time_us : f->now_us;
    if (f->time_key && !f->time_is_good) {
        snprintf(f->reason, sizeof f->reason, "Can't parse timestamp");
        return false;
    }
    return timestamp_in_window(&l->rules.window, *us, f->reason, sizeof f->reason);
}

/* Close the gaps that dead pieces leave. */
static void drop_dead(struct lines *l)
{
    struct flatten *f = &l->flatten;
    size_t to = f->pieces[0].at, kept = 0;
    for (size_t i = 0; i < f->piece_count; i++) {
        struct piece p = f->pieces[i];
        size_t end = i + 1 < f->piece_count ? f->pieces[i + 1].at : l->out.len;
        if (p.is_dead)
            continue;
        memmove(l->out.data + to, l->out.data + p.at, end - p.at);
        to += end - p.at;
        f->pieces[kept++] = p;
    }
    l->out.len = to;
    f->piece_count = kept;
    f->dead_count = 0;
}

struct changes {
    size_t count, new_fields, name_bytes;
};

/* What the record would change of the stream. */
static struct changes changes_of(const struct flatten *f)
{
    struct changes c = {0};
    for (size_t i = 0; i < f->piece_count; i++) {
        const struct field *field = f->pieces[i].key->field;
        bool is_new;
        if (field->type == f->pieces[i].type)
            continue;
        c.count += keys_would_change(field, f->pieces[i].type, &is_new);
        c.new_fields += is_new;
        c.name_bytes += is_new ? field->name.len : 0;
    }
    return c;
}

/* All of them or, when there is no room for all, none: a refused record changes nothing. */
static bool store_types(struct lines *l)
{
    struct flatten *f = &l->flatten;
    const struct changes c = changes_of(f);
    if (c.count == 0)
        return true;
    if (!keys_has_room(&l->keys, c.new_fields, c.name_bytes)) {
        catalog_say_no_room(f->reason, sizeof f->reason);
        return false;
    }
    if (!keys_reserve(&l->keys, c.count)) {
        snprintf(f->reason, sizeof f->reason, "no memory for the record's fields");
        return false;
    }
    for (size_t i = 0; i < f->piece_count; i++) {
        struct field *field = f->pieces[i].key->field;
        if (field->type != f->pieces[i].type)
            keys_store(&l->keys, field, f->pieces[i].type);
    }
    return true;
}

static size_t format_time(int64_t us, char *dst)
{
    if (us < INT64_C(1000000000000000) || us > INT64_C(9999999999999999))
        return (size_t)snprintf(dst, TIME_TEXT_MAX, "%lld", (long long)us);
    for (int i = TIME_DIGITS - 1; i >= 0; i--, us /= 10)
        dst[i] = (char)('0' + us % 10);
    return TIME_DIGITS;
}

/* Write the time into the room before the members. */
static bool put_time(struct lines *l, size_t line_at, int64_t us)
{
    char digits[TIME_TEXT_MAX];
    size_t n = format_time(us, digits);
    if (n != TIME_DIGITS) {
        size_t members = line_at + HEAD_LEN + TIME_DIGITS;
        if (!buf_reserve(&l->out, TIME_TEXT_MAX))
            return false;
        memmove(l->out.data + line_at + HEAD_LEN + n, l->out.data + members, l->out.len - members);
        l->out.len = l->out.len - TIME_DIGITS + n;
    }
    memcpy(l->out.data + line_at + HEAD_LEN, digits, n);
    return true;
}

static void add_to_segment(struct lines *l, size_t line_at, int64_t us)
{
    int32_t hour = hour_of_us(us);
    size_t len = l->out.len - line_at;
    struct line_segment *last = &l->segments[l->segment_count - (l->segment_count > 0)];
    if (l->segment_count == 0 || last->hour != hour) {
        l->segments[l->segment_count++] = (struct line_segment){
            .hour = hour, .lines = 1, .at = line_at, .len = len, .min_us = us, .max_us = us};
        return;
    }
    last->lines++;
    last->len += len;
    if (us < last->min_us)
        last->min_us = us;
    if (us > last->max_us)
        last->max_us = us;
}

/* The record has been walked: check it as a whole and complete its line. */
static bool complete(struct lines *l, size_t line_at)
{
    struct flatten *f = &l->flatten;
    int64_t us;
    if (!settle_time(l, &us))
        return false;
    if (f->dead_count > 0)
        drop_dead(l);
    bool fits = put_time(l, line_at, us);
    buf_add(&l->out, "}\n", 2);
    if (!fits || !buf_ok(&l->out) || l->out.len - line_at > l->rules.line_max_bytes) {
        snprintf(f->reason, sizeof f->reason, "The record's line is longer than %zu bytes",
                 l->rules.line_max_bytes);
        return false;
    }
    if (!store_types(l))
        return false;
    add_to_segment(l, line_at, us);
    return true;
}

static const char *reason_of(const struct lines *l, enum flatten_verdict verdict)
{
    switch (verdict) {
    case FLATTEN_NO_ROOM:
        return "The record's line is too long";
    case FLATTEN_NO_KEYS:
        return "The record has too many names";
    default:
        return l->flatten.reason;
    }
}

/* A record may bring its `_original`, as one that is sent on does; its id is always ours. */
static enum flatten_verdict add_original(struct lines *l, struct str record)
{
    char id[24];
    int n = snprintf(id, sizeof id, "%llu", (unsigned long long)row_ids_next(l->rules.row_ids));
    enum flatten_verdict verdict =
        flatten_add_text(&l->flatten, STR("_original"), record, FLATTEN_RIVAL_STAYS);
    return verdict == FLATTEN_OK ? flatten_add_text(&l->flatten, STR("_o2_id"),
                                                    (struct str){id, (size_t)n}, FLATTEN_RIVAL_GOES)
                                 : verdict;
}

/* Walk the record at '{'; once more with an empty cache of keys when that was what was full.
 * Wherever it stands a record has LINES_MAX of room, for values that later ones beat are in it. */
static enum flatten_verdict walk(struct lines *l, struct scan *s, unsigned depth)
{
    const char *start = s->p;
    size_t line_at = l->out.len;
    enum flatten_verdict verdict = FLATTEN_NO_ROOM;
    size_t room = line_at + LINES_MAX + l->rules.line_max_bytes + SLACK;
    l->out.max = room > l->out.cap ? room : l->out.cap;
    for (int attempt = 0; attempt < 2; attempt++) {
        s->p = start;
        l->out.len = line_at;
        if (!buf_reserve(&l->out, HEAD_LEN + TIME_TEXT_MAX))
            return FLATTEN_NO_ROOM;
        memcpy(l->out.data + line_at, HEAD, HEAD_LEN);
        l->out.len += HEAD_LEN + TIME_DIGITS;
        verdict = flatten_record(&l->flatten, s, depth);
        if (verdict == FLATTEN_OK && l->store_original)
            verdict = add_original(l, (struct str){start, (size_t)(s->p - start)});
        if (verdict != FLATTEN_NO_KEYS)
            break;
        keys_forget(&l->keys);
    }
    return verdict;
}

/* False only when the text is no JSON.  `after`: what is wrong when something follows the record;
 * NULL: something may. */
static bool add_record(struct lines *l, struct scan *s, unsigned depth, const char *after)
{
    const char *start = s->p;
    size_t line_at = l->out.len;
    enum flatten_verdict verdict = walk(l, s, depth);
    if (verdict == FLATTEN_OK && after && scan_peek(s) >= 0) {
        scan_fail(s, s->p, after);
        verdict = FLATTEN_BROKEN;
    }
    if (verdict == FLATTEN_BROKEN) {
        l->out.failed = false;
        l->out.len = line_at;
        return false;
    }
    if (verdict == FLATTEN_OK && complete(l, line_at)) {
        l->successful++;
        return true;
    }
    refuse(l, reason_of(l, verdict));
    l->out.failed = false;
    l->out.len = line_at;
    if (verdict == FLATTEN_OK)
        return true;
    s->p = start;
    return scan_skip(s, depth);
}

static bool add_element(struct lines *l, struct scan *s, unsigned depth)
{
    if (scan_peek(s) == '{')
        return add_record(l, s, depth, NULL);
    if (!scan_skip(s, depth))
        return false;
    refuse(l, "flatten value must be an object");
    return true;
}

/* ---- the body ---- */

static bool is_full(const struct lines *l)
{
    return l->out.len >= LINES_MAX || l->segment_count == SEGMENTS_MAX;
}

static enum err_code add_array(struct lines *l, struct scan *s, lines_full full, void *ctx,
                               struct err *e)
{
    s->p++;
    if (scan_peek(s) == ']') {
        s->p++;
        return ERR_OK;
    }
    for (bool more = true; more;) {
        if (!add_element(l, s, 1) || !scan_more(s, ']', &more))
            return scan_error(s, e);
        enum err_code code = is_full(l) ? full(l, ctx, e) : ERR_OK;
        if (code)
            return code;
    }
    return ERR_OK;
}

enum err_code lines_add_json(struct lines *l, struct str body, lines_full full, void *ctx,
                             struct err *e)
{
    struct scan s;
    scan_init(&s, body);
    int c = scan_peek(&s);
    if (c == '[') {
        enum err_code code = add_array(l, &s, full, ctx, e);
        if (code)
            return code;
    } else if (c == '{') {
        if (!add_record(l, &s, 0, NULL))
            return scan_error(&s, e);
    } else if (scan_skip(&s, 0)) {
        return err_set(e, ERR_INVALID, "flatten value must be an object");
    } else {
        return scan_error(&s, e);
    }
    if (scan_peek(&s) >= 0) {
        scan_fail(&s, s.p, "trailing characters after the document");
        return scan_error(&s, e);
    }
    return ERR_OK;
}

/* One line of its own: an object and nothing else. */
static enum err_code add_line(struct lines *l, struct str line, struct err *e)
{
    struct scan s;
    scan_init(&s, line);
    int c = scan_peek(&s);
    if (c < 0)
        return ERR_OK;
    if (c != '{') {
        if (!scan_skip(&s, 0))
            return scan_error(&s, e);
        return err_set(e, ERR_INVALID, "flatten value must be an object");
    }
    return add_record(l, &s, 0, "trailing characters after the object") ? ERR_OK
                                                                        : scan_error(&s, e);
}

/* Cut the first line off, without its newline. */
static struct str take_line(struct str *body)
{
    struct str line;
    str_cut(*body, '\n', &line, body);
    return line;
}

enum err_code lines_add_ndjson(struct lines *l, struct str body, lines_full full, void *ctx,
                               struct err *e)
{
    for (size_t number = 1; body.len > 0; number++) {
        enum err_code code = add_line(l, take_line(&body), e);
        if (code)
            return err_wrap(e, "line %zu", number);
        code = is_full(l) ? full(l, ctx, e) : ERR_OK;
        if (code)
            return code;
    }
    return ERR_OK;
}

enum err_code lines_add_until_bad(struct lines *l, struct str body, lines_full full, void *ctx,
                                  size_t *bad, struct err *e)
{
    struct err why;
    *bad = 0;
    for (size_t number = 1; body.len > 0; number++) {
        enum err_code code = add_line(l, take_line(&body), &why);
        if (code)
            refuse(l, why.msg);
        if (l->failed > 0) {
            *bad = number;
            return ERR_OK;
        }
        code = is_full(l) ? full(l, ctx, e) : ERR_OK;
        if (code)
            return code;
    }
    return ERR_OK;
}

/* ---- runs ---- */

static int by_hour(const void *a, const void *b)
{
    const struct line_segment *x = a, *y = b;
    if (x->hour != y->hour)
        return x->hour < y->hour ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at); /* keeps the order of the records */
}

/* Copy the stretches of an hour together. */
static void gather(struct lines *l, char *to)
{
    size_t count = 0, at = 0;
    for (size_t i = 0; i < l->segment_count; i++) {
        struct line_segment s = l->segments[i];
        memcpy(to + at, l->out.data + s.at, s.len);
        s.at = at;
        at += s.len;
        struct line_segment *last = &l->segments[count - (count > 0)];
        if (count == 0 || last->hour != s.hour) {
            l->segments[count++] = s;
            continue;
        }
        last->len += s.len;
        last->lines += s.lines;
        last->min_us = s.min_us < last->min_us ? s.min_us : last->min_us;
        last->max_us = s.max_us > last->max_us ? s.max_us : last->max_us;
    }
    l->segment_count = count;
}

enum err_code lines_sort(struct lines *l, struct err *e)
{
    struct buf sorted;
    if (l->segment_count < 2)
        return ERR_OK;
    buf_init(&sorted, l->out.max);
    if (!buf_reserve(&sorted, l->out.len)) {
        buf_done(&sorted);
        return err_set(e, ERR_NOMEM, "no memory to sort the lines of a request by hour");
    }
    qsort(l->segments, l->segment_count, sizeof *l->segments, by_hour);
    gather(l, sorted.data);
    sorted.len = l->out.len;
    buf_done(&l->out);
    l->out = sorted;
    return ERR_OK;
}
