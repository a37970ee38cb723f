/* fs/snapshots.c - choosing the files of a snapshot, remembering that it lives. */
#include "fs/snapshots.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"

struct live {
    uint64_t id, epoch;
    size_t count;
    struct notifier_name files[]; /* under which names the kernel may hold them */
};

struct snapshots {
    struct snapshots_config cfg; /* immutable */
    pthread_mutex_t lock;
    struct map live;  /* (lock) id -> struct live */
    uint64_t last_id; /* (lock) starts at the time, so that ids of earlier processes differ */
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
    pthread_mutex_init(&s->lock, NULL);
    map_init(&s->live, SNAPSHOTS_MAX);
    *out = s;
    return ERR_OK;
}

void snapshots_free(struct snapshots *s)
{
    size_t pos = 0;
    struct str key;
    void *value;

    if (!s)
        return;
    while (map_next(&s->live, &pos, &key, &value))
        free(value);
    map_done(&s->live);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- choosing files ---- */

struct ids {
    struct ulid *list;
    size_t count, cap;
    bool failed;
};

static void collect(const struct ulid *id, void *ctx)
{
    struct ids *ids = ctx;

    if (ids->count == ids->cap) {
        size_t cap = ids->cap ? ids->cap * 2 : 64;
        struct ulid *more = realloc(ids->list, cap * sizeof *more);
        if (!more) {
            ids->failed = true;
            return;
        }
        ids->list = more;
        ids->cap = cap;
    }
    ids->list[ids->count++] = *id;
}

static int32_t hour_within(int64_t us)
{
    int64_t seconds = us / US_PER_SEC;

    if (seconds / 3600 >= INT32_MAX)
        return INT32_MAX;
    return hour_of_us(us);
}

static void collect_wish(struct snapshots *s, const struct snapshot_wish *w, struct ids *ids)
{
    int32_t first = w->start_us > 0 ? hour_within(w->start_us) : INT32_MIN;
    int32_t last = w->end_us != 0 ? hour_within(w->end_us) : INT32_MAX;

    for (size_t i = 0; i < w->stream_count; i++)
        registry_each_file_of(s->cfg.registry, w->streams[i], first, last, collect, ids, NULL);
}

static bool is_wanted(const struct journal_file *f, const struct snapshot_wish *w)
{
    return f->size > 0 && f->max_ts_us >= w->start_us &&
           (w->end_us == 0 || f->min_ts_us <= w->end_us);
}

static enum err_code look_up(struct snapshots *s, const struct snapshot_wish *w,
                             const struct ids *ids, struct journal_file **files, size_t *count,
                             struct err *e)
{
    struct journal_file *list = malloc((ids->count + 1) * sizeof *list);
    size_t n = 0;

    if (!list || ids->failed) {
        free(list);
        return err_set(e, ERR_NOMEM, "no memory for a snapshot");
    }
    for (size_t i = 0; i < ids->count; i++) {
        if (journal_file_get(s->cfg.journal, &ids->list[i], &list[n], NULL) == ERR_OK &&
            is_wanted(&list[n], w))
            n++;
    }
    *files = list;
    *count = n;
    return ERR_OK;
}

/* ---- what lives ---- */

static struct live *new_live(uint64_t epoch, const struct journal_file *files, size_t count)
{
    struct live *live = malloc(sizeof *live + count * sizeof live->files[0]);

    if (!live)
        return NULL;
    live->epoch = epoch;
    live->count = count;
    for (size_t i = 0; i < count; i++)
        live->files[i] = (struct notifier_name){.id = files[i].id, .bytes = files[i].size};
    return live;
}

static enum err_code remember(struct snapshots *s, struct live *live, uint64_t *id, struct err *e)
{
    bool ok;

    pthread_mutex_lock(&s->lock);
    *id = live->id = ++s->last_id;
    ok = map_put(&s->live, key_of(id), live);
    pthread_mutex_unlock(&s->lock);
    if (!ok) {
        free(live);
        return err_set(e, ERR_AGAIN, "%d snapshots live already", SNAPSHOTS_MAX);
    }
    status_count(s->cfg.status, COUNT_SNAPSHOTS_TAKEN, 1);
    status_count(s->cfg.status, GAUGE_SNAPSHOTS, 1);
    return ERR_OK;
}

enum err_code snapshots_take(struct snapshots *s, uint64_t epoch, const struct snapshot_wish *wish,
                             uint64_t *id, struct journal_file **files, size_t *count,
                             struct err *e)
{
    struct ids ids = {0};
    struct live *live;
    enum err_code rc;

    collect_wish(s, wish, &ids);
    rc = look_up(s, wish, &ids, files, count, e);
    free(ids.list);
    if (rc)
        return rc;
    live = new_live(epoch, *files, *count);
    rc = live ? remember(s, live, id, e) : err_set(e, ERR_NOMEM, "no memory for a snapshot");
    if (rc)
        free(*files);
    return rc;
}

static void end_locked(struct snapshots *s, struct live *live)
{
    map_remove(&s->live, key_of(&live->id));
    notifier_add(s->cfg.notifier, live->files, live->count);
    status_count(s->cfg.status, GAUGE_SNAPSHOTS, -1);
    free(live);
}

void snapshots_release(struct snapshots *s, uint64_t epoch, uint64_t id)
{
    struct live *live;

    LOCK_SCOPE(&s->lock);
    live = map_find(&s->live, key_of(&id));
    if (live && live->epoch == epoch)
        end_locked(s, live);
}

static struct live *find_before_locked(struct snapshots *s, uint64_t epoch)
{
    size_t pos = 0;
    struct str key;
    void *value;

    while (map_next(&s->live, &pos, &key, &value)) {
        struct live *live = value;
        if (live->epoch < epoch)
            return live;
    }
    return NULL;
}

void snapshots_end_before(struct snapshots *s, uint64_t epoch)
{
    struct live *live;

    LOCK_SCOPE(&s->lock);
    while ((live = find_before_locked(s, epoch)))
        end_locked(s, live);
}
