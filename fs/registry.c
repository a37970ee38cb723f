/* fs/registry.c - organisations, streams, hours and files in memory, under one read-write lock. */
#include "fs/registry.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "index/hour_versions.h"

#define ORGS_MAX 100000
#define STREAM_KEY_MAX (2 * NAME_TEXT_MAX + 3) /* "<org>/<type><name>" */

struct registry {
    pthread_rwlock_t lock;
    struct map orgs;    /* by escaped name */
    struct map streams; /* by stream key */
    struct map numbers; /* by stream number: the stream that has it now */
    struct map files;   /* by id: presence only; also replaced ones, until they are forgotten */
    struct hidden_parts hidden;
    struct ulid recent[REGISTRY_RECENT_MAX]; /* [n % its length]: the n-th that was hidden */
    int64_t mtime_us;
    struct hour_versions versions;
};

/* ---- keys ---- */

static struct str number_key(const uint64_t *number)
{
    return (struct str){(const char *)number, sizeof *number};
}

static struct str file_key(const struct ulid *id)
{
    return (struct str){(const char *)id->b, sizeof id->b};
}

static struct str stream_key(struct str org, enum stream_type type, struct str name,
                             char dst[STREAM_KEY_MAX])
{
    size_t len = 0;

    memcpy(dst, org.ptr, org.len);
    len += org.len;
    dst[len++] = '/';
    dst[len++] = (char)('a' + type);
    memcpy(dst + len, name.ptr, name.len);
    return (struct str){dst, len + name.len};
}

/* ---- life ---- */

enum err_code registry_new(struct registry **out, struct err *e)
{
    struct registry *r = calloc(1, sizeof *r);

    if (!r)
        return err_set(e, ERR_NOMEM, "no memory for the tree");
    pthread_rwlock_init(&r->lock, NULL);
    map_init(&r->orgs, ORGS_MAX);
    map_init(&r->streams, REGISTRY_STREAMS_MAX);
    map_init(&r->numbers, REGISTRY_STREAMS_MAX);
    map_init(&r->files, REGISTRY_FILES_MAX);
    *out = r;
    return ERR_OK;
}

static void forget_hours(struct registry_stream *s)
{
    for (size_t i = 0; i < s->hour_count; i++)
        free(s->hours[i].files);
    free(s->hours);
    s->hours = NULL;
    s->hour_count = s->hour_cap = 0;
}

static void free_stream(struct registry_stream *s)
{
    forget_hours(s);
    free(s);
}

static void free_org(struct registry_org *org)
{
    for (int t = 0; t < STREAM_TYPE_COUNT; t++)
        free(org->types[t].list);
    free(org);
}

void registry_free(struct registry *r)
{
    size_t pos = 0;
    struct str key;
    void *value;

    if (!r)
        return;
    while (map_next(&r->streams, &pos, &key, &value))
        free_stream(value);
    for (pos = 0; map_next(&r->orgs, &pos, &key, &value);)
        free_org(value);
    map_done(&r->files);
    map_done(&r->numbers);
    map_done(&r->streams);
    map_done(&r->orgs);
    pthread_rwlock_destroy(&r->lock);
    free(r);
}

/* ---- making entries ---- */

/* Copies raw and its escaped form behind the entry of `size` bytes, in one allocation. */
static void *new_named(size_t size, struct str raw, struct str name, struct str *raw_out,
                       struct str *name_out)
{
    char *mem = calloc(1, size + raw.len + name.len + 1);

    if (!mem)
        return NULL;
    memcpy(mem + size, raw.ptr, raw.len);
    memcpy(mem + size + raw.len, name.ptr, name.len);
    *raw_out = (struct str){mem + size, raw.len};
    *name_out = (struct str){mem + size + raw.len, name.len};
    return mem;
}

static struct registry_org *make_org_locked(struct registry *r, struct str raw)
{
    char text[NAME_TEXT_MAX + 1];
    struct str name = {text, name_escape(raw, text)}, raw_copy, name_copy;
    struct registry_org *org = map_find(&r->orgs, name);

    if (org)
        return org;
    org = new_named(sizeof *org, raw, name, &raw_copy, &name_copy);
    if (!org)
        return NULL;
    org->raw = raw_copy;
    org->name = name_copy;
    if (!map_put(&r->orgs, name, org)) {
        free(org);
        return NULL;
    }
    return org;
}

/* Room for one more element; the arrays only grow. */
static bool grow(void **items, size_t count, size_t *cap, size_t elem_size)
{
    size_t want = *cap ? *cap * 2 : 4;
    void *more;

    if (count < *cap)
        return true;
    more = realloc(*items, want * elem_size);
    if (!more)
        return false;
    *items = more;
    *cap = want;
    return true;
}

static bool list_stream_locked(struct registry_org *org, struct registry_stream *s)
{
    void *list = org->types[s->type].list;
    bool ok = grow(&list, org->types[s->type].count, &org->types[s->type].cap,
                   sizeof(struct registry_stream *));

    org->types[s->type].list = list;
    if (ok)
        org->types[s->type].list[org->types[s->type].count++] = s;
    return ok;
}

static struct registry_stream *new_stream_locked(struct registry *r, struct registry_org *org,
                                                 enum stream_type type, struct str raw,
                                                 struct str name)
{
    char key[STREAM_KEY_MAX];
    struct str raw_copy, name_copy;
    struct registry_stream *s = new_named(sizeof *s, raw, name, &raw_copy, &name_copy);

    if (!s)
        return NULL;
    s->org = org;
    s->type = type;
    s->raw = raw_copy;
    s->name = name_copy;
    if (!map_put(&r->streams, stream_key(org->name, type, name, key), s)) {
        free(s);
        return NULL;
    }
    if (!list_stream_locked(org, s)) {
        map_remove(&r->streams, stream_key(org->name, type, name, key));
        free(s);
        return NULL;
    }
    return s;
}

static struct registry_stream *make_stream_locked(struct registry *r, struct str org_raw,
                                                  enum stream_type type, struct str raw)
{
    char text[NAME_TEXT_MAX + 1], key[STREAM_KEY_MAX];
    struct str name = {text, name_escape(raw, text)};
    struct registry_org *org = make_org_locked(r, org_raw);
    struct registry_stream *s;

    if (!org)
        return NULL;
    s = map_find(&r->streams, stream_key(org->name, type, name, key));
    return s ? s : new_stream_locked(r, org, type, raw, name);
}

/* A newer number takes the directory over.  False: this number is the older one. */
static bool take_number_locked(struct registry *r, struct registry_stream *s, uint64_t number)
{
    if (number < s->number)
        return false;
    if (number == s->number)
        return true;
    map_remove(&r->numbers, number_key(&s->number));
    forget_hours(s);
    hour_versions_touch_all(&r->versions);
    s->number = number;
    return map_put(&r->numbers, number_key(&number), s);
}

void registry_drop_stream(struct registry *r, uint64_t number)
{
    struct registry_stream *s;

    pthread_rwlock_wrlock(&r->lock);
    s = map_remove(&r->numbers, number_key(&number));
    if (s) {
        forget_hours(s);
        s->number = 0;
        hour_versions_touch_all(&r->versions);
    }
    pthread_rwlock_unlock(&r->lock);
}

static void touch_locked(struct registry *r, struct registry_stream *s, int64_t now_us)
{
    int64_t *of_type = &s->org->types[s->type].mtime_us;

    if (s->mtime_us < now_us)
        s->mtime_us = now_us;
    if (*of_type < now_us)
        *of_type = now_us;
    if (r->mtime_us < now_us)
        r->mtime_us = now_us;
}

/* ---- hours and files ---- */

/* The first hour that is not before `hour`. */
static size_t hour_position(const struct registry_stream *s, int32_t hour)
{
    size_t low = 0, high = s->hour_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->hours[mid].hour < hour)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct registry_hour *make_hour_locked(struct registry_stream *s, int32_t hour)
{
    size_t at = hour_position(s, hour);
    void *hours = s->hours;

    if (at < s->hour_count && s->hours[at].hour == hour)
        return &s->hours[at];
    if (!grow(&hours, s->hour_count, &s->hour_cap, sizeof *s->hours))
        return NULL;
    s->hours = hours;
    memmove(s->hours + at + 1, s->hours + at, (s->hour_count - at) * sizeof *s->hours);
    s->hours[at] = (struct registry_hour){.hour = hour};
    s->hour_count++;
    return &s->hours[at];
}

static bool insert_file_locked(struct registry_hour *h, const struct ulid *id)
{
    void *files = h->files;
    size_t at;

    if (!grow(&files, h->count, &h->cap, sizeof *h->files))
        return false;
    h->files = files;
    for (at = h->count; at > 0 && ulid_cmp(&h->files[at - 1], id) > 0; at--)
        h->files[at] = h->files[at - 1];
    h->files[at] = *id;
    h->count++;
    return true;
}

static enum err_code add_file_locked(struct registry *r, struct registry_stream *s,
                                     const struct journal_file *f, struct err *e)
{
    struct registry_hour *h = make_hour_locked(s, f->hour);

    if (!h)
        return err_set(e, ERR_NOMEM, "no memory for an hour of the tree");
    if (!map_put(&r->files, file_key(&f->id), s))
        return err_set(e, ERR_FULL, "the tree holds at most %d files", REGISTRY_FILES_MAX);
    if (!insert_file_locked(h, &f->id)) {
        map_remove(&r->files, file_key(&f->id));
        return err_set(e, ERR_NOMEM, "no memory for a file of the tree");
    }
    if (h->mtime_us < f->first_append_us)
        h->mtime_us = f->first_append_us;
    touch_locked(r, s, f->first_append_us);
    hour_versions_touch(&r->versions, f->hour);
    return ERR_OK;
}

/* ---- the hand-over to a sealed part ---- */

static size_t hidden_position(const struct hidden_parts *h, const struct ulid *part)
{
    size_t i = 0;

    while (i < h->count && ulid_cmp(&h->ids[i], part) != 0)
        i++;
    return i;
}

static bool hidden_parts_has(const struct hidden_parts *h, const struct ulid *part)
{
    return hidden_position(h, part) < h->count;
}

static bool began_since_locked(const struct registry *r, uint64_t hides, const struct ulid *part)
{
    uint64_t last = r->hidden.hides;
    uint64_t from = last - hides > REGISTRY_RECENT_MAX ? last - REGISTRY_RECENT_MAX : hides;

    for (uint64_t n = from; n < last; n++) {
        if (ulid_cmp(&r->recent[n % REGISTRY_RECENT_MAX], part) == 0)
            return true;
    }
    return false;
}

void registry_look(struct registry *r, struct hidden_parts *out)
{
    pthread_rwlock_rdlock(&r->lock);
    *out = r->hidden;
    pthread_rwlock_unlock(&r->lock);
}

bool registry_hides(struct registry *r, const struct hidden_parts *look, const struct ulid *part)
{
    bool began;

    if (hidden_parts_has(look, part))
        return true;
    pthread_rwlock_rdlock(&r->lock);
    began = began_since_locked(r, look->hides, part);
    pthread_rwlock_unlock(&r->lock);
    return began;
}

bool registry_look_holds(struct registry *r, const struct hidden_parts *look)
{
    bool holds;

    pthread_rwlock_rdlock(&r->lock);
    holds = r->hidden.hides - look->hides <= REGISTRY_RECENT_MAX;
    pthread_rwlock_unlock(&r->lock);
    return holds;
}

static void hide_locked(struct registry *r, const struct ulid *part)
{
    r->hidden.ids[r->hidden.count++] = *part;
    r->recent[r->hidden.hides++ % REGISTRY_RECENT_MAX] = *part;
}

enum err_code registry_hide(struct registry *r, const struct ulid *part, struct err *e)
{
    enum err_code rc = ERR_OK;

    pthread_rwlock_wrlock(&r->lock);
    if (r->hidden.count == REGISTRY_HIDDEN_MAX)
        rc = err_set(e, ERR_FULL, "%d parts are being published already", REGISTRY_HIDDEN_MAX);
    else if (!hidden_parts_has(&r->hidden, part))
        hide_locked(r, part);
    pthread_rwlock_unlock(&r->lock);
    return rc;
}

static void unhide_locked(struct registry *r, const struct ulid *part)
{
    size_t at = hidden_position(&r->hidden, part);

    if (at < r->hidden.count)
        r->hidden.ids[at] = r->hidden.ids[--r->hidden.count];
}

void registry_unhide(struct registry *r, const struct ulid *part)
{
    pthread_rwlock_wrlock(&r->lock);
    unhide_locked(r, part);
    hour_versions_touch_all(&r->versions); /* whose hour nobody here knows */
    pthread_rwlock_unlock(&r->lock);
}

static void drop_hour_locked(struct registry_stream *s, struct registry_hour *h)
{
    size_t at = (size_t)(h - s->hours);

    free(h->files);
    s->hour_count--;
    memmove(s->hours + at, s->hours + at + 1, (s->hour_count - at) * sizeof *s->hours);
}

static void unlist_locked(struct registry *r, const struct journal_file *f)
{
    struct registry_stream *s = map_find(&r->numbers, number_key(&f->stream));
    size_t at = s ? hour_position(s, f->hour) : 0;

    if (!s || at == s->hour_count || s->hours[at].hour != f->hour)
        return;
    struct registry_hour *h = &s->hours[at];
    for (size_t i = 0; i < h->count; i++) {
        if (ulid_cmp(&h->files[i], &f->id) != 0)
            continue;
        h->count--;
        memmove(h->files + i, h->files + i + 1, (h->count - i) * sizeof *h->files);
        break;
    }
    if (h->count == 0)
        drop_hour_locked(s, h);
    touch_locked(r, s, clock_wall_us());
}

void registry_replace(struct registry *r, const struct journal_file *files, size_t count,
                      const struct ulid *part)
{
    pthread_rwlock_wrlock(&r->lock);
    for (size_t i = 0; i < count; i++)
        unlist_locked(r, &files[i]);
    unhide_locked(r, part);
    for (size_t i = 0; i < count; i++)
        hour_versions_touch(&r->versions, files[i].hour);
    pthread_rwlock_unlock(&r->lock);
}

void registry_forget(struct registry *r, const struct ulid *id)
{
    pthread_rwlock_wrlock(&r->lock);
    map_remove(&r->files, file_key(id));
    pthread_rwlock_unlock(&r->lock);
}

uint64_t registry_hour_version(struct registry *r, int32_t hour)
{
    return hour_versions_get(&r->versions, hour);
}

bool registry_knows(struct registry *r, const struct ulid *id)
{
    bool known;

    pthread_rwlock_rdlock(&r->lock);
    known = map_find(&r->files, file_key(id)) != NULL;
    pthread_rwlock_unlock(&r->lock);
    return known;
}

static enum err_code add_locked(struct registry *r, const struct journal_file *f, struct err *e)
{
    struct registry_stream *s;

    if (map_find(&r->files, file_key(&f->id)))
        return ERR_OK;
    s = make_stream_locked(r, f->org, f->type, f->name);
    if (!s)
        return err_set(e, ERR_FULL, "no room for another stream in the tree");
    return take_number_locked(r, s, f->stream) ? add_file_locked(r, s, f, e) : ERR_OK;
}

enum err_code registry_add_stream(struct registry *r, uint64_t number, struct str org,
                                  enum stream_type type, struct str name, int64_t made_us,
                                  struct err *e)
{
    struct registry_stream *s;

    pthread_rwlock_wrlock(&r->lock);
    s = make_stream_locked(r, org, type, name);
    if (s && take_number_locked(r, s, number))
        touch_locked(r, s, made_us);
    pthread_rwlock_unlock(&r->lock);
    return s ? ERR_OK : err_set(e, ERR_FULL, "no room for another stream in the tree");
}

enum err_code registry_add_org(struct registry *r, struct str org, struct err *e)
{
    bool ok;

    pthread_rwlock_wrlock(&r->lock);
    ok = make_org_locked(r, org) != NULL;
    pthread_rwlock_unlock(&r->lock);
    return ok ? ERR_OK : err_set(e, ERR_FULL, "no room for another organisation in the tree");
}

enum err_code registry_add(struct registry *r, const struct journal_file *f, struct err *e)
{
    enum err_code rc;

    if (!hour_has_place(f->hour))
        return err_set(e, ERR_INVALID, "hour %d lies outside the years 0000 to 9999", f->hour);
    pthread_rwlock_wrlock(&r->lock);
    rc = add_locked(r, f, e);
    pthread_rwlock_unlock(&r->lock);
    return rc;
}

/* ---- finding ---- */

struct registry_org *registry_find_org(struct registry *r, struct str name)
{
    struct registry_org *org;

    pthread_rwlock_rdlock(&r->lock);
    org = map_find(&r->orgs, name);
    pthread_rwlock_unlock(&r->lock);
    return org;
}

struct registry_stream *registry_find_stream(struct registry *r, const struct registry_org *org,
                                             enum stream_type type, struct str name)
{
    char key[STREAM_KEY_MAX];
    struct registry_stream *s;

    if (name.len > NAME_TEXT_MAX)
        return NULL;
    pthread_rwlock_rdlock(&r->lock);
    s = map_find(&r->streams, stream_key(org->name, type, name, key));
    if (s && s->number == 0)
        s = NULL;
    pthread_rwlock_unlock(&r->lock);
    return s;
}

bool registry_find_raw(struct registry *r, struct str org_raw, enum stream_type type,
                       struct str raw, const struct registry_org **org,
                       const struct registry_stream **s)
{
    char org_text[NAME_TEXT_MAX + 1], text[NAME_TEXT_MAX + 1], key[STREAM_KEY_MAX];
    struct str org_name = {org_text, name_escape(org_raw, org_text)};
    struct str name = {text, name_escape(raw, text)};

    *s = NULL;
    pthread_rwlock_rdlock(&r->lock);
    *org = map_find(&r->orgs, org_name);
    if (*org && raw.len > 0)
        *s = map_find(&r->streams, stream_key(org_name, type, name, key));
    pthread_rwlock_unlock(&r->lock);
    return *org && (raw.len == 0 || *s);
}

bool registry_has_type(struct registry *r, const struct registry_org *org, enum stream_type type)
{
    bool has = false;

    pthread_rwlock_rdlock(&r->lock);
    for (size_t i = 0; i < org->types[type].count && !has; i++)
        has = org->types[type].list[i]->number != 0;
    pthread_rwlock_unlock(&r->lock);
    return has;
}

bool registry_has_span(struct registry *r, const struct registry_stream *s, const struct span *in)
{
    size_t at;
    bool has;

    pthread_rwlock_rdlock(&r->lock);
    at = hour_position(s, in->first);
    has = at < s->hour_count && s->hours[at].hour <= in->last;
    pthread_rwlock_unlock(&r->lock);
    return has;
}

uint64_t registry_stream_number(struct registry *r, const struct registry_stream *s)
{
    uint64_t number;

    pthread_rwlock_rdlock(&r->lock);
    number = s->number;
    pthread_rwlock_unlock(&r->lock);
    return number;
}

bool registry_current(struct registry *r, const struct registry_stream *s, struct ulid *id)
{
    bool found = false;

    pthread_rwlock_rdlock(&r->lock);
    for (size_t i = s->hour_count; i > 0 && !found; i--) {
        const struct registry_hour *h = &s->hours[i - 1];
        found = h->count > 0;
        if (found)
            *id = h->files[h->count - 1];
    }
    pthread_rwlock_unlock(&r->lock);
    return found;
}

/* ---- times ---- */

int64_t registry_mtime_root(struct registry *r)
{
    int64_t us;

    pthread_rwlock_rdlock(&r->lock);
    us = r->mtime_us;
    pthread_rwlock_unlock(&r->lock);
    return us;
}

int64_t registry_mtime_type(struct registry *r, const struct registry_org *org,
                            enum stream_type type)
{
    int64_t us;

    pthread_rwlock_rdlock(&r->lock);
    us = org->types[type].mtime_us;
    pthread_rwlock_unlock(&r->lock);
    return us;
}

int64_t registry_mtime_org(struct registry *r, const struct registry_org *org)
{
    int64_t us = 0;

    pthread_rwlock_rdlock(&r->lock);
    for (int t = 0; t < STREAM_TYPE_COUNT; t++) {
        if (org->types[t].mtime_us > us)
            us = org->types[t].mtime_us;
    }
    pthread_rwlock_unlock(&r->lock);
    return us;
}

int64_t registry_mtime_stream(struct registry *r, const struct registry_stream *s)
{
    int64_t us;

    pthread_rwlock_rdlock(&r->lock);
    us = s->mtime_us;
    pthread_rwlock_unlock(&r->lock);
    return us;
}

int64_t registry_mtime_span(struct registry *r, const struct registry_stream *s,
                            const struct span *in)
{
    int64_t us = 0;

    pthread_rwlock_rdlock(&r->lock);
    for (size_t i = hour_position(s, in->first); i < s->hour_count && s->hours[i].hour <= in->last;
         i++) {
        if (s->hours[i].mtime_us > us)
            us = s->hours[i].mtime_us;
    }
    pthread_rwlock_unlock(&r->lock);
    return us;
}

/* ---- listings ---- */

void registry_each_org(struct registry *r, registry_org_fn fn, void *ctx)
{
    size_t pos = 0;
    struct str key;
    void *value;

    pthread_rwlock_rdlock(&r->lock);
    while (map_next(&r->orgs, &pos, &key, &value))
        fn(value, ctx);
    pthread_rwlock_unlock(&r->lock);
}

void registry_each_stream(struct registry *r, const struct registry_org *org, enum stream_type type,
                          registry_stream_fn fn, void *ctx)
{
    pthread_rwlock_rdlock(&r->lock);
    for (size_t i = 0; i < org->types[type].count; i++) {
        if (org->types[type].list[i]->number != 0)
            fn(org->types[type].list[i], ctx);
    }
    pthread_rwlock_unlock(&r->lock);
}

void registry_each_stream_ever(struct registry *r, registry_stream_fn fn, void *ctx)
{
    size_t pos = 0;
    struct str key;
    void *stream;

    pthread_rwlock_rdlock(&r->lock);
    while (map_next(&r->streams, &pos, &key, &stream))
        fn(stream, ctx);
    pthread_rwlock_unlock(&r->lock);
}

void registry_each_span(struct registry *r, const struct registry_stream *s, const struct span *in,
                        registry_span_fn fn, void *ctx)
{
    enum span_level level = in ? in->level + 1 : SPAN_YEAR;
    size_t i;

    pthread_rwlock_rdlock(&r->lock);
    i = in ? hour_position(s, in->first) : 0;
    while (i < s->hour_count && (!in || s->hours[i].hour <= in->last)) {
        struct span span = span_around(level, s->hours[i].hour);
        fn(&span, ctx);
        i = hour_position(s, span.last + 1);
    }
    pthread_rwlock_unlock(&r->lock);
}

static void each_file_locked(const struct registry_stream *s, int32_t first, int32_t last,
                             registry_file_fn fn, void *ctx)
{
    for (size_t i = hour_position(s, first); i < s->hour_count && s->hours[i].hour <= last; i++) {
        for (size_t k = 0; k < s->hours[i].count; k++)
            fn(&s->hours[i].files[k], ctx);
    }
}

void registry_each_file(struct registry *r, const struct registry_stream *s, int32_t first,
                        int32_t last, registry_file_fn fn, void *ctx, struct hidden_parts *hidden)
{
    pthread_rwlock_rdlock(&r->lock);
    each_file_locked(s, first, last, fn, ctx);
    if (hidden)
        *hidden = r->hidden;
    pthread_rwlock_unlock(&r->lock);
}

void registry_each_file_of(struct registry *r, const uint64_t *numbers, size_t count, int32_t first,
                           int32_t last, registry_file_fn fn, void *ctx,
                           struct hidden_parts *hidden)
{
    pthread_rwlock_rdlock(&r->lock);
    for (size_t i = 0; i < count; i++) {
        const struct registry_stream *s = map_find(&r->numbers, number_key(&numbers[i]));
        if (s)
            each_file_locked(s, first, last, fn, ctx);
    }
    if (hidden)
        *hidden = r->hidden;
    pthread_rwlock_unlock(&r->lock);
}

struct registry_stream *registry_stream_of(struct registry *r, uint64_t number)
{
    struct registry_stream *s;

    pthread_rwlock_rdlock(&r->lock);
    s = map_find(&r->numbers, number_key(&number));
    pthread_rwlock_unlock(&r->lock);
    return s;
}

void registry_counts(struct registry *r, struct registry_counts *out)
{
    pthread_rwlock_rdlock(&r->lock);
    *out = (struct registry_counts){
        .orgs = r->orgs.count, .streams = r->streams.count, .files = r->files.count};
    pthread_rwlock_unlock(&r->lock);
}
