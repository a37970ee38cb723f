/* fs/snapshots.c - choosing what a snapshot holds, remembering that it lives. */
#include "fs/snapshots.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"

#define LOOKS_MAX 1000 /* at one stream, while parts of it are being published */

struct live {
    struct live *next; /* of those that are ended together */
    uint64_t id, epoch;
    struct sealed_reader reader; /* of its parts */
    size_t count;
    struct notifier_name *files; /* under which names the kernel may hold them */
};

struct snapshots {
    struct snapshots_config cfg; /* immutable */
    pthread_mutex_t lock;
    struct map live;  /* (lock) id -> struct live */
    uint64_t last_id; /* (lock) starts at the time, so that ids of earlier processes differ */
    bool is_held;     /* (lock) cfg.held reads */
};

static struct str key_of(const uint64_t *id)
{
    return (struct str){(const char *)id, sizeof *id};
}

enum err_code snapshots_new(const struct snapshots_config *cfg, struct snapshots **out,
                            struct err *e)
{
    struct snapshots *s = calloc(1, sizeof *s);

    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for snapshots");
    s->cfg = *cfg;
    s->last_id = (uint64_t)clock_wall_us();
    s->is_held = cfg->held != NULL;
    pthread_mutex_init(&s->lock, NULL);
    map_init(&s->live, SNAPSHOTS_MAX);
    *out = s;
    return ERR_OK;
}

/* Unpins nothing. */
static void free_live(struct snapshots *s, struct live *live)
{
    if (s->cfg.sealed)
        sealed_reader_end(s->cfg.sealed, &live->reader);
    free(live->files);
    free(live);
}

void snapshots_free(struct snapshots *s)
{
    size_t pos = 0;
    struct str key;
    void *value;

    if (!s)
        return;
    while (map_next(&s->live, &pos, &key, &value))
        free_live(s, value);
    map_done(&s->live);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- choosing ---- */

/* One stream of a wish, looked at. */
struct look {
    struct snapshots *s;
    const struct snapshot_wish *wish;
    struct snapshot_content *out;
    const struct registry_stream *stream;
    uint64_t number;
    struct hidden_parts hidden;
    struct ulid *ids; /* the files that are listed */
    size_t count, cap;
    bool failed; /* no memory */
};

static bool grow(void *list, size_t count, size_t *cap, size_t size)
{
    size_t more = *cap ? *cap * 2 : 64;
    void *old, *bigger;

    if (count < *cap)
        return true;
    memcpy(&old, list, sizeof old);
    bigger = realloc(old, more * size);
    if (!bigger)
        return false;
    memcpy(list, &bigger, sizeof bigger);
    *cap = more;
    return true;
}

static void collect_file(const struct ulid *id, void *ctx)
{
    struct look *l = ctx;

    l->failed = l->failed || !grow(&l->ids, l->count, &l->cap, sizeof *l->ids);
    if (!l->failed)
        l->ids[l->count++] = *id;
}

static bool overlaps(const struct snapshot_wish *w, int64_t min_ts_us, int64_t max_ts_us)
{
    return max_ts_us >= w->start_us && (w->end_us == 0 || min_ts_us <= w->end_us);
}

/* *gone: it was replaced and forgotten since it was listed. */
static enum err_code take_file(struct look *l, const struct ulid *id, bool *gone, struct err *e)
{
    struct journal *j = l->s->cfg.journal;
    struct snapshot_content *c = l->out;
    struct journal_file *f;
    enum err_code rc;

    if (!grow(&c->files, c->file_count, &c->file_cap, sizeof *c->files))
        return err_set(e, ERR_NOMEM, "no memory for a snapshot");
    f = &c->files[c->file_count];
    rc = journal_pin(j, id, JOURNAL_READER_SNAPSHOT, e);
    *gone = rc == ERR_NOTFOUND;
    if (rc)
        return *gone ? ERR_OK : rc;
    rc = journal_file_get(j, id, f, e);
    if (rc || f->size == 0 || !overlaps(l->wish, f->min_ts_us, f->max_ts_us))
        journal_unpin(j, id, JOURNAL_READER_SNAPSHOT);
    else
        c->file_count++;
    return rc;
}

static void unpin_from(struct snapshots *s, struct snapshot_content *c, size_t first)
{
    for (size_t i = first; i < c->file_count; i++)
        journal_unpin(s->cfg.journal, &c->files[i].id, JOURNAL_READER_SNAPSHOT);
    c->file_count = first;
}

/* What the part holds of the look's stream; false: nothing of the time that is asked for. */
static bool describe(const struct look *l, const struct part *p, struct snapshot_part *out)
{
    struct part_name name = {.stream = p->stream,
                             .rows = p->rows,
                             .min_ts_us = p->min_ts_us,
                             .max_ts_us = p->max_ts_us,
                             .text_bytes = p->raw_bytes};

    if (p->type == STREAM_METRICS && !part_name_find(p, l->stream->raw, &name))
        return false;
    *out = (struct snapshot_part){.stream = l->stream,
                                  .number = name.stream,
                                  .id = p->id,
                                  .hour = p->hour,
                                  .stored_bytes = p->stored_bytes,
                                  .text_bytes = name.text_bytes,
                                  .rows = name.rows,
                                  .schema = p->schema,
                                  .min_ts_us = name.min_ts_us,
                                  .max_ts_us = name.max_ts_us};
    return name.stream == l->number && overlaps(l->wish, name.min_ts_us, name.max_ts_us);
}

static bool collect_part(const struct part *p, void *ctx)
{
    struct look *l = ctx;
    struct snapshot_content *c = l->out;

    if (registry_hides(l->s->cfg.registry, &l->hidden, &p->id))
        return true;
    l->failed = !grow(&c->parts, c->part_count, &c->part_cap, sizeof *c->parts);
    if (!l->failed && describe(l, p, &c->parts[c->part_count]))
        c->part_count++;
    return !l->failed;
}

static int32_t hour_within(int64_t us)
{
    int64_t seconds = us / US_PER_SEC;

    if (seconds / 3600 >= INT32_MAX)
        return INT32_MAX;
    if (seconds / 3600 <= INT32_MIN)
        return INT32_MIN;
    return hour_of_us(us);
}

static enum err_code list_parts(struct look *l, int32_t first, int32_t last, struct err *e)
{
    const struct registry_stream *s = l->stream;
    enum err_code rc;

    if (!l->s->cfg.sealed)
        return ERR_OK;
    rc = parts_list(sealed_index(l->s->cfg.sealed), s->org->raw, s->type, s->raw, first, last,
                    collect_part, l, e);
    return rc || !l->failed ? rc : err_set(e, ERR_NOMEM, "no memory for a snapshot");
}

/* *again: something was replaced in the middle, so that a row may be missing. */
static enum err_code look_once(struct look *l, bool *again, struct err *e)
{
    const struct snapshot_wish *w = l->wish;
    int32_t first = w->start_us > 0 ? hour_within(w->start_us) : INT32_MIN;
    int32_t last = w->end_us != 0 ? hour_within(w->end_us) : INT32_MAX;
    enum err_code rc = ERR_OK;

    l->count = 0;
    *again = false;
    registry_each_file_of(l->s->cfg.registry, &l->number, 1, first, last, collect_file, l,
                          &l->hidden);
    if (l->failed)
        return err_set(e, ERR_NOMEM, "no memory for a snapshot");
    for (size_t i = 0; !rc && !*again && i < l->count; i++)
        rc = take_file(l, &l->ids[i], again, e);
    if (!rc && !*again)
        rc = list_parts(l, first, last, e);
    *again = *again || !registry_look_holds(l->s->cfg.registry, &l->hidden);
    return rc;
}

static enum err_code look_at_stream(struct snapshots *s, const struct snapshot_wish *wish,
                                    uint64_t number, struct snapshot_content *out, struct err *e)
{
    struct look l = {.s = s, .wish = wish, .out = out, .number = number};
    size_t files = out->file_count, parts = out->part_count;
    bool again = true;
    enum err_code rc = ERR_OK;

    l.stream = registry_stream_of(s->cfg.registry, number);
    if (!l.stream)
        return ERR_OK;
    for (int i = 0; !rc && again && i < LOOKS_MAX; i++) {
        unpin_from(s, out, files);
        out->part_count = parts;
        rc = look_once(&l, &again, e);
    }
    free(l.ids);
    if (!rc && again)
        rc = err_set(e, ERR_AGAIN, "parts are published faster than they can be listed");
    return rc;
}

void snapshot_content_done(struct snapshot_content *c)
{
    free(c->files);
    free(c->parts);
    *c = (struct snapshot_content){0};
}

/* ---- what lives ---- */

static struct live *new_live(struct snapshots *s, uint64_t epoch)
{
    struct live *live = calloc(1, sizeof *live);

    if (!live)
        return NULL;
    live->epoch = epoch;
    if (s->cfg.sealed)
        sealed_reader_begin(s->cfg.sealed, &live->reader);
    return live;
}

static enum err_code name_files(struct live *live, const struct snapshot_content *c, struct err *e)
{
    live->files = malloc((c->file_count + 1) * sizeof *live->files);
    if (!live->files)
        return err_set(e, ERR_NOMEM, "no memory for a snapshot");
    live->count = c->file_count;
    for (size_t i = 0; i < c->file_count; i++)
        live->files[i] = (struct notifier_name){.id = c->files[i].id, .bytes = c->files[i].size};
    return ERR_OK;
}

static enum err_code remember(struct snapshots *s, struct live *live, uint64_t *id, struct err *e)
{
    bool ok;

    pthread_mutex_lock(&s->lock);
    *id = live->id = ++s->last_id;
    ok = map_put(&s->live, key_of(id), live);
    pthread_mutex_unlock(&s->lock);
    if (!ok)
        return err_set(e, ERR_AGAIN, "%d snapshots live already", SNAPSHOTS_MAX);
    status_count(s->cfg.status, COUNT_SNAPSHOTS_TAKEN, 1);
    status_count(s->cfg.status, GAUGE_SNAPSHOTS, 1);
    return ERR_OK;
}

/* The reader begins before anything is looked at (sealed.h). */
enum err_code snapshots_take(struct snapshots *s, uint64_t epoch, const struct snapshot_wish *wish,
                             struct snapshot_content *out, struct err *e)
{
    struct live *live = new_live(s, epoch);
    struct snapshot_content c = {0};
    enum err_code rc = ERR_OK;

    if (!live)
        return err_set(e, ERR_NOMEM, "no memory for a snapshot");
    for (size_t i = 0; !rc && i < wish->stream_count; i++)
        rc = look_at_stream(s, wish, wish->streams[i], &c, e);
    if (!rc)
        rc = name_files(live, &c, e);
    if (!rc)
        rc = remember(s, live, &c.id, e);
    if (rc) {
        unpin_from(s, &c, 0);
        free_live(s, live);
        snapshot_content_done(&c);
        return rc;
    }
    *out = c;
    return ERR_OK;
}

static void unpin_live(struct snapshots *s, const struct live *live)
{
    for (size_t i = 0; i < live->count; i++)
        journal_unpin(s->cfg.journal, &live->files[i].id, JOURNAL_READER_SNAPSHOT);
}

/* It has left the map. */
static void end(struct snapshots *s, struct live *live)
{
    unpin_live(s, live);
    notifier_add(s->cfg.notifier, live->files, live->count);
    status_count(s->cfg.status, GAUGE_SNAPSHOTS, -1);
    free_live(s, live);
}

static struct live *take(struct snapshots *s, uint64_t epoch, uint64_t id)
{
    struct live *live;

    LOCK_SCOPE(&s->lock);
    live = map_find(&s->live, key_of(&id));
    if (!live || live->epoch != epoch)
        return NULL;
    map_remove(&s->live, key_of(&id));
    return live;
}

void snapshots_release(struct snapshots *s, uint64_t epoch, uint64_t id)
{
    struct live *live = take(s, epoch, id);

    if (live)
        end(s, live);
}

/* ---- of an earlier process ---- */

/* Replaced and forgotten files are left out: who opens one gets ESTALE. */
static void pin_files(struct snapshots *s, struct live *live, const struct notifier_name *files,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (journal_pin(s->cfg.journal, &files[i].id, JOURNAL_READER_SNAPSHOT, NULL) == ERR_OK)
            live->files[live->count++] = files[i];
    }
}

static enum err_code adopt_locked(struct snapshots *s, struct live *live, struct err *e)
{
    if (!s->is_held)
        return err_set(e, ERR_AGAIN, "snapshots were declared already");
    if (map_find(&s->live, key_of(&live->id)))
        return err_set(e, ERR_EXISTS, "snapshot %llu was declared already",
                       (unsigned long long)live->id);
    if (!map_put(&s->live, key_of(&live->id), live))
        return err_set(e, ERR_FULL, "%d snapshots live already", SNAPSHOTS_MAX);
    if (s->cfg.sealed)
        sealed_reader_join(s->cfg.sealed, &live->reader, s->cfg.held);
    return ERR_OK;
}

enum err_code snapshots_declare(struct snapshots *s, uint64_t epoch, uint64_t id,
                                const struct notifier_name *files, size_t count, struct err *e)
{
    struct live *live = calloc(1, sizeof *live);
    enum err_code rc;

    if (live)
        live->files = malloc((count + 1) * sizeof *live->files);
    if (!live || !live->files) {
        free(live);
        return err_set(e, ERR_NOMEM, "no memory for a snapshot");
    }
    live->id = id;
    live->epoch = epoch;
    pin_files(s, live, files, count);
    pthread_mutex_lock(&s->lock);
    rc = adopt_locked(s, live, e);
    pthread_mutex_unlock(&s->lock);
    if (rc) {
        unpin_live(s, live);
        free_live(s, live);
        return rc;
    }
    status_count(s->cfg.status, GAUGE_SNAPSHOTS, 1);
    return ERR_OK;
}

void snapshots_declared(struct snapshots *s)
{
    bool was_held;

    pthread_mutex_lock(&s->lock);
    was_held = s->is_held;
    s->is_held = false;
    pthread_mutex_unlock(&s->lock);
    if (!was_held)
        return;
    if (s->cfg.sealed)
        sealed_reader_end(s->cfg.sealed, s->cfg.held);
    journal_let_go(s->cfg.journal);
}

/* A list of those of older epochs, out of the map. */
static struct live *take_before(struct snapshots *s, uint64_t epoch)
{
    struct live *first = NULL;
    size_t pos = 0;
    struct str key;
    void *value;

    LOCK_SCOPE(&s->lock);
    while (map_next(&s->live, &pos, &key, &value)) {
        struct live *live = value;
        if (live->epoch < epoch) {
            live->next = first;
            first = live;
        }
    }
    for (struct live *live = first; live; live = live->next)
        map_remove(&s->live, key_of(&live->id));
    return first;
}

void snapshots_end_before(struct snapshots *s, uint64_t epoch)
{
    for (struct live *live = take_before(s, epoch), *next; live; live = next) {
        next = live->next;
        end(s, live);
    }
}
