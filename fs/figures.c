/* fs/figures.c - one look at the registry, then the files of that look, then the parts. */
#include "fs/figures.h"

#include <stdlib.h>

#include "base/arena.h"
#include "fs/registry.h"
#include "fs/sealed/sealed.h"

#define LOOKS_MAX 1000               /* while parts are being published */
#define MEMORY_MAX ((size_t)1 << 30) /* ids of REGISTRY_FILES_MAX files, in an array that grew */
/* A part's names are gone through unless there are so many of them for each one that is wanted. */
#define WALK_SHARE 16

struct look {
    const struct figures_config *cfg;
    struct figures *list; /* the caller's */
    size_t count;
    bool *is_there; /* of each in the list: parts also name streams that are deleted */
    struct arena arena;
    const struct registry_stream **streams; /* of the organisation */
    uint64_t *numbers;                      /* theirs */
    size_t stream_count, metric_count;      /* metrics stand in front */
    struct ulid *ids;                       /* the files that are listed */
    size_t id_count, id_cap;
    struct hidden_parts hidden;
};

static enum err_code no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "no memory for the figures of streams");
}

static int by_number(const void *a, const void *b)
{
    const struct figures *x = a, *y = b;

    return (x->stream > y->stream) - (x->stream < y->stream);
}

struct figures *figures_find(struct figures *list, size_t count, uint64_t stream)
{
    const struct figures wanted = {.stream = stream};

    return count > 0 ? bsearch(&wanted, list, count, sizeof *list, by_number) : NULL;
}

/* ---- adding up ---- */

static void add(struct look *l, uint64_t stream, const struct figures *more)
{
    struct figures *f = figures_find(l->list, l->count, stream);

    if (!f || !l->is_there[f - l->list] || more->rows == 0)
        return;
    if (f->files++ == 0 || more->min_ts_us < f->min_ts_us)
        f->min_ts_us = more->min_ts_us;
    if (f->files == 1 || more->max_ts_us > f->max_ts_us)
        f->max_ts_us = more->max_ts_us;
    f->rows += more->rows;
    f->text_bytes += more->text_bytes;
    f->sealed_bytes += more->sealed_bytes;
}

static void add_name(struct look *l, const struct part *p, const struct part_name *n)
{
    double share = p->raw_bytes > 0 ? (double)n->text_bytes / (double)p->raw_bytes : 0;

    add(l, n->stream,
        &(struct figures){.rows = n->rows,
                          .text_bytes = n->text_bytes,
                          .sealed_bytes = (uint64_t)(share * (double)p->stored_bytes + 0.5),
                          .min_ts_us = n->min_ts_us,
                          .max_ts_us = n->max_ts_us});
}

static bool add_part(const struct part *p, void *ctx)
{
    struct look *l = ctx;

    if (!registry_hides(l->cfg->registry, &l->hidden, &p->id))
        add(l, p->stream,
            &(struct figures){.rows = p->rows,
                              .text_bytes = p->raw_bytes,
                              .sealed_bytes = p->stored_bytes,
                              .min_ts_us = p->min_ts_us,
                              .max_ts_us = p->max_ts_us});
    return true;
}

static bool add_shared_part(const struct part *p, void *ctx)
{
    struct look *l = ctx;
    struct part_name n;

    if (registry_hides(l->cfg->registry, &l->hidden, &p->id))
        return true;
    if (l->metric_count < p->name_count / WALK_SHARE) {
        for (size_t i = 0; i < l->metric_count; i++)
            if (part_name_find(p, l->streams[i]->raw, &n))
                add_name(l, p, &n);
        return true;
    }
    for (size_t i = 0; i < p->name_count; i++) {
        n = part_name_at(p, i);
        add_name(l, p, &n);
    }
    return true;
}

/* ---- looking ---- */

static void take_streams(struct look *l, struct str org, bool metrics)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct registry_stream *s = registry_stream_of(l->cfg->registry, l->list[i].stream);
        if (!s || !str_eq(s->org->raw, org) || (s->type == STREAM_METRICS) != metrics)
            continue;
        l->streams[l->stream_count] = s;
        l->numbers[l->stream_count++] = l->list[i].stream;
        l->is_there[i] = true;
    }
}

static enum err_code begin(struct look *l, struct str org, struct err *e)
{
    l->streams = arena_alloc(&l->arena, (l->count + 1) * sizeof(struct registry_stream *));
    l->numbers = arena_alloc(&l->arena, (l->count + 1) * sizeof *l->numbers);
    l->is_there = arena_zalloc(&l->arena, l->count + 1);
    if (!l->streams || !l->numbers || !l->is_there)
        return no_memory(e);
    take_streams(l, org, true);
    l->metric_count = l->stream_count;
    take_streams(l, org, false);
    return ERR_OK;
}

static void collect_file(const struct ulid *id, void *ctx)
{
    struct look *l = ctx;
    struct ulid *more = arena_grow(&l->arena, l->ids, l->id_count, &l->id_cap, sizeof *l->ids);

    if (!more)
        return; /* the arena says so */
    l->ids = more;
    l->ids[l->id_count++] = *id;
}

/* *again: one was replaced and forgotten since the look. */
static enum err_code add_files(struct look *l, bool *again, struct err *e)
{
    for (size_t i = 0; i < l->id_count; i++) {
        struct journal_file f;
        enum err_code rc = journal_file_get(l->cfg->journal, &l->ids[i], &f, e);
        *again = rc == ERR_NOTFOUND;
        if (rc)
            return *again ? ERR_OK : rc;
        add(l, f.stream,
            &(struct figures){.rows = f.rows,
                              .text_bytes = f.size,
                              .min_ts_us = f.min_ts_us,
                              .max_ts_us = f.max_ts_us});
    }
    return ERR_OK;
}

static enum err_code add_parts(struct look *l, struct str org, struct err *e)
{
    struct parts *index = l->cfg->sealed ? sealed_index(l->cfg->sealed) : NULL;
    enum err_code rc = ERR_OK;

    if (index && l->metric_count > 0)
        rc = parts_list(index, org, STREAM_METRICS, STR(""), INT32_MIN, INT32_MAX, add_shared_part,
                        l, e);
    for (size_t i = l->metric_count; index && !rc && i < l->stream_count; i++)
        rc = parts_list(index, org, l->streams[i]->type, l->streams[i]->raw, INT32_MIN, INT32_MAX,
                        add_part, l, e);
    return rc;
}

/* *again: something was replaced in the middle, so that a row may be missing. */
static enum err_code look_once(struct look *l, struct str org, bool *again, struct err *e)
{
    struct registry *r = l->cfg->registry;

    *again = false;
    l->id_count = 0;
    for (size_t i = 0; i < l->count; i++)
        l->list[i] = (struct figures){.stream = l->list[i].stream};
    registry_each_file_of(r, l->numbers, l->stream_count, INT32_MIN, INT32_MAX, collect_file, l,
                          &l->hidden);
    if (l->arena.failed)
        return no_memory(e);
    enum err_code rc = add_files(l, again, e);
    if (!rc && !*again)
        rc = add_parts(l, org, e);
    *again = *again || !registry_look_holds(r, &l->hidden);
    return rc;
}

enum err_code figures_take(const struct figures_config *cfg, struct str org, struct figures *list,
                           size_t count, struct err *e)
{
    struct look l = {.cfg = cfg, .list = list, .count = count};
    bool again = true;

    arena_init(&l.arena, MEMORY_MAX);
    enum err_code rc = begin(&l, org, e);
    for (int i = 0; !rc && again && i < LOOKS_MAX; i++)
        rc = look_once(&l, org, &again, e);
    arena_done(&l.arena);
    if (!rc && again)
        rc = err_set(e, ERR_AGAIN, "parts are published faster than they can be listed");
    return rc;
}
