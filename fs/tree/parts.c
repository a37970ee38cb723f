/* fs/tree/parts.c - sealed parts as the directories of the tree show them, read from the index.
 *
 * One short transaction each; nothing of the index is kept.
 */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "fs/tree/internal.h"

#define ULID_MS_SHIFT 16 /* of the first eight bytes: 48 bits of milliseconds */
#define SEAL_DELAY_MAX_US                                                                          \
    (US_PER_HOUR) /* how long after its beginning a file still takes lines                         \
                   */

static struct parts *index_of(struct tree *t)
{
    return t->cfg.sealed ? sealed_index(t->cfg.sealed) : NULL;
}

/* What is not there is no error. */
static void report(struct tree *t, enum err_code rc, const struct err *e)
{
    if (rc && rc != ERR_NOTFOUND)
        status_report(t->cfg.status, STR("index"), str_from(e->msg));
}

static struct str name_of(const struct tree_ref *ref)
{
    return ref->stream ? ref->stream->raw : STR("");
}

static uint64_t number_of(struct tree *t, const struct tree_ref *ref)
{
    return ref->stream ? registry_stream_number(t->cfg.registry, ref->stream) : 0;
}

bool tree_part_rows(const struct part *p, const struct registry_stream *s, uint64_t number,
                    struct part_name *rows)
{
    if (s && p->type == STREAM_METRICS)
        return part_name_find(p, s->raw, rows) && rows->stream == number;
    *rows = (struct part_name){.stream = p->stream,
                               .rows = p->rows,
                               .min_ts_us = p->min_ts_us,
                               .max_ts_us = p->max_ts_us,
                               .text_bytes = p->raw_bytes};
    return p->stream == number;
}

/* ---- directories ---- */

struct visible {
    const struct registry_stream *stream;
    uint64_t number;
    part_visit fn;
    void *ctx;
};

static bool visit_visible(const struct part *p, void *ctx)
{
    const struct visible *v = ctx;
    struct part_name rows;

    return !tree_part_rows(p, v->stream, v->number, &rows) || v->fn(p, v->ctx);
}

void tree_each_part(struct tree *t, const struct tree_ref *dir, int32_t first, int32_t last,
                    part_visit fn, void *ctx)
{
    struct visible v = {.stream = dir->stream, .number = number_of(t, dir), .fn = fn, .ctx = ctx};
    struct err e = {0};

    if (!index_of(t))
        return;
    report(t,
           parts_list(index_of(t), dir->org->raw, dir->type, name_of(dir), first, last,
                      visit_visible, &v, &e),
           &e);
}

struct found_hour {
    int32_t hour;
    bool found;
};

static bool note_hour(const struct part *p, void *ctx)
{
    *(struct found_hour *)ctx = (struct found_hour){.hour = p->hour, .found = true};
    return false;
}

bool tree_first_hour(struct tree *t, const struct tree_ref *dir, int32_t first, int32_t last,
                     int32_t *hour)
{
    struct found_hour found = {0};

    tree_each_part(t, dir, first, last, note_hour, &found);
    *hour = found.hour;
    return found.found;
}

bool tree_has_part(struct tree *t, const struct tree_ref *dir)
{
    int32_t hour;

    return tree_first_hour(t, dir, INT32_MIN, INT32_MAX, &hour);
}

struct membership {
    struct tree *tree;
    const struct tree_ref *hour;
    bool is_in;
};

static bool check_membership(const struct part *p, void *ctx)
{
    struct membership *m = ctx;
    const struct tree_ref *dir = m->hour;
    struct part_name rows;

    m->is_in = p->hour == dir->span.first && p->type == dir->type &&
               str_eq(p->org, dir->org->raw) &&
               tree_part_rows(p, dir->stream, number_of(m->tree, dir), &rows);
    return false;
}

bool tree_hour_has(struct tree *t, const struct tree_ref *hour, const struct ulid *id)
{
    struct membership m = {.tree = t, .hour = hour};
    struct err e = {0};

    if (index_of(t))
        report(t, parts_show(index_of(t), id, check_membership, &m, &e), &e);
    return m.is_in;
}

struct owner {
    struct registry *registry;
    struct tree_ref *ref;
    bool is_found;
};

static bool find_owner(const struct part *p, void *ctx)
{
    struct owner *o = ctx;

    o->ref->type = p->type;
    o->is_found =
        registry_find_raw(o->registry, p->org, p->type, p->name, &o->ref->org, &o->ref->stream);
    return false;
}

bool tree_find_part(struct tree *t, const struct ulid *id, struct tree_ref *out)
{
    struct owner o = {.registry = t->cfg.registry, .ref = out};
    struct err e = {0};

    if (index_of(t))
        report(t, parts_show(index_of(t), id, find_owner, &o, &e), &e);
    return o.is_found;
}

/* ---- times ---- */

/* The last write to it, as far as the part tells: its last record's time, but not of records that
 * carry times of their own, long before or after they came. */
int64_t tree_part_mtime(const struct part *p)
{
    int64_t began_us = (int64_t)(get_be64(p->id.b) >> ULID_MS_SHIFT) * 1000;

    return p->max_ts_us > began_us && p->max_ts_us - began_us <= SEAL_DELAY_MAX_US ? p->max_ts_us
                                                                                   : began_us;
}

static bool note_mtime(const struct part *p, void *ctx)
{
    *(int64_t *)ctx = tree_part_mtime(p);
    return false;
}

int64_t tree_parts_mtime(struct tree *t, const struct tree_ref *dir, int32_t first, int32_t last)
{
    struct err e = {0};
    int64_t us = 0;

    if (index_of(t))
        report(t,
               parts_show_last(index_of(t), dir->org->raw, dir->type, name_of(dir), first, last,
                               note_mtime, &us, &e),
               &e);
    return us;
}

/* ---- files ---- */

struct shown {
    struct tree *tree;
    const struct tree_ref *ref;
    tree_part_fn fn;
    void *ctx;
    bool is_there;
};

static bool show_part(const struct part *p, void *ctx)
{
    struct shown *s = ctx;
    struct part_name rows;

    /* The Parquet of a deleted stream can be opened as long as it is in the index (sealed.h). */
    s->is_there = tree_part_rows(p, s->ref->stream, number_of(s->tree, s->ref), &rows) ||
                  s->ref->kind == TREE_PART;
    if (s->is_there)
        s->fn(p, &rows, s->ctx);
    return false;
}

bool tree_with_part(struct tree *t, const struct tree_ref *ref, tree_part_fn fn, void *ctx)
{
    struct shown s = {.tree = t, .ref = ref, .fn = fn, .ctx = ctx};
    struct err e = {0};

    assert(ref->kind == TREE_PART || ref->kind == TREE_TEXT);
    if (index_of(t))
        report(t, parts_show(index_of(t), &ref->id, show_part, &s, &e), &e);
    return s.is_there;
}

static enum err_code gone(const struct tree_ref *ref, struct err *e)
{
    char id[ULID_TEXT_LEN + 1];

    ulid_format(&ref->id, id);
    return err_set(e, ERR_STALE, "part %s is gone", id);
}

static void copy_facts(const struct part *p, const struct part_name *rows, void *ctx)
{
    struct part *out = ctx;

    (void)rows;
    *out = *p;
    out->org = out->name = out->node = out->object = out->packed = STR("");
    out->group_count = out->name_count = 0;
}

enum err_code tree_part(struct tree *t, const struct tree_ref *ref, struct part *out, struct err *e)
{
    return tree_with_part(t, ref, copy_facts, out) ? ERR_OK : gone(ref, e);
}

struct wanted {
    uint64_t off;
    struct tree_unit *unit;
};

/* The row group that holds the byte; groups without text hold none. */
static void find_group(const struct part *p, uint64_t off, struct tree_unit *unit)
{
    for (size_t i = 0; i < p->group_count; i++) {
        uint64_t bytes = part_group_at(p, i).text_bytes;
        if (off - unit->at < bytes) {
            unit->group = i;
            unit->bytes = bytes;
            return;
        }
        unit->at += bytes;
    }
}

/* How much text each piece of a metric's rows has is not known before they are rendered, so they
 * are one unit. */
static void find_unit(const struct part *p, const struct part_name *rows, void *ctx)
{
    const struct wanted *w = ctx;

    *w->unit = (struct tree_unit){.part = p->id};
    if (p->type != STREAM_METRICS) {
        find_group(p, w->off, w->unit);
    } else if (w->off < rows->text_bytes) {
        w->unit->first_row = rows->first_row;
        w->unit->rows = rows->rows;
        w->unit->bytes = rows->text_bytes;
    }
}

enum err_code tree_unit_at(struct tree *t, const struct tree_ref *ref, uint64_t off,
                           struct tree_unit *out, struct err *e)
{
    struct wanted w = {.off = off, .unit = out};

    assert(ref->kind == TREE_TEXT);
    return tree_with_part(t, ref, find_unit, &w) ? ERR_OK : gone(ref, e);
}

enum err_code tree_part_path(struct tree *t, const struct tree_ref *ref, char dst[TREE_PATH_MAX],
                             struct err *e)
{
    struct tree_ref hour = tree_child(ref, TREE_SPAN);
    struct part p;
    enum err_code rc = tree_part(t, ref, &p, e);
    size_t len;

    if (rc)
        return rc;
    hour.view = ref->type == STREAM_METRICS ? VIEW_PARTS : VIEW_DATA;
    hour.span = span_around(SPAN_HOUR, p.hour);
    len = tree_dir_path(&hour, dst);
    dst[len++] = '/';
    name_format_part(&ref->id, dst + len);
    return ERR_OK;
}
