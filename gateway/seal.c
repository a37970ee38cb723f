/* gateway/seal.c - the scheduler, its jobs, and who waits for them.
 *
 *   queued ──► running ──► gone (its files are replaced and no longer listed)
 *     ▲           └──────► failed: waits retry_ms, doubled each time ──┐
 *     └────────────────────────────────────────────────────────────────┘
 *
 * The journal's list of files is the truth: a job is made again whenever its files are still
 * listed, so a job that is lost (a restart, no memory, SEAL_JOBS_MAX) costs one round. Threads: the
 * scheduler, and cfg.workers workers.  One lock guards jobs and queue; no call to another process
 * is made under it.
 */
#include "gateway/seal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metrics.h"
#include "fs/control/control.h"
#include "gateway/seal_job.h"

#define ROUND_MS 250 /* how often due files are looked for */
#define LOOK_REST 4  /* a rest is at least so many times as long as the look before it */
#define REST_MS_MAX 10000
#define FULL_ROUND_MS 5000 /* how often all files are: small metrics files add up */
#define STATS_ROUND_MS 1000
#define CALL_MS 30000
#define JOBS_ENOUGH 1000 /* with so many there is no need to look for more */
#define RETRY_MS_MIN 500
#define RETRY_MS_MAX 60000
#define DUE_MAX 20000 /* files of one look; more wait for the next */
#define LIST_MEMORY_MAX ((size_t)512 << 20)
#define FULL_MAX (LIST_MEMORY_MAX / CONTROL_SEALABLE_BYTES - 1) /* of one look at all */
#define KEY_MAX 300
/* One part of metrics: less than what the engine, a publication and its record can take. */
#define UNIT_FILES_MAX CONTROL_ROLL_FILES_MAX
#define UNIT_BYTES_MAX (UINT64_C(512) << 20)

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_FAILED };

struct seal_entry {
    struct seal_entry *next; /* in the queue */
    enum job_state state;
    unsigned attempts;
    uint64_t retry_at_ms, failed_at_ms;
    struct seal_unit unit; /* points into this allocation */
    size_t key_len;
    char key[KEY_MAX];
};

struct sealer {
    struct seal_config cfg; /* immutable */
    struct control_client *control;
    pthread_t scheduler, workers[SEAL_WORKERS_MAX];
    unsigned worker_count;
    bool has_scheduler;
    atomic_bool stopping; /* what runs is cancelled */
    bool draining;        /* (lock) nothing is queued any more */
    unsigned running;     /* (lock) jobs */
    pthread_mutex_t lock;
    pthread_cond_t work, progress;                    /* there is a job; a job has ended */
    pthread_cond_t stop;                              /* the scheduler's rest is over early */
    struct map jobs;                                  /* (lock) by key */
    struct seal_entry *first, *last;                  /* (lock) the queue */
    uint64_t last_failed_ms;                          /* (lock) */
    struct err last_error;                            /* (lock) */
    bool has_metrics;                                 /* the scheduler's: a metrics file was seen */
    uint64_t full_at_ms, stats_at_ms, pressure_bytes; /* the scheduler's */
    struct metric *parts, *rows, *bytes, *failures, *seconds, *waiting;
};

/* ---- metrics ---- */

static const double SECONDS[] = {0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100};

static void register_metrics(struct sealer *s)
{
    static const struct metric_desc descs[] = {
        {.name = "weir_seal_parts", .help = "parts sealed", .type = METRIC_COUNTER},
        {.name = "weir_seal_rows", .help = "rows sealed", .type = METRIC_COUNTER},
        {.name = "weir_seal_bytes",
         .help = "bytes of text sealed (in), of Parquet written (out)",
         .type = METRIC_COUNTER,
         .labels = {"side"}},
        {.name = "weir_seal_failures",
         .help = "seals that failed and are tried again",
         .type = METRIC_COUNTER},
        {.name = "weir_seal_seconds",
         .help = "from closing the files to publishing the part",
         .type = METRIC_HISTOGRAM,
         .buckets = SECONDS,
         .bucket_count = ARRAY_LEN(SECONDS)},
        {.name = "weir_seal_waiting",
         .help = "seals queued, running or failed",
         .type = METRIC_GAUGE},
    };
    struct metric **const at[] = {&s->parts,    &s->rows,    &s->bytes,
                                  &s->failures, &s->seconds, &s->waiting};
    for (size_t i = 0; i < ARRAY_LEN(at); i++)
        *at[i] = metrics_register(&descs[i]);
}

static void count_done(struct sealer *s, const struct seal_done *done, uint64_t began_ns)
{
    struct str in = STR("in"), out = STR("out");

    metric_add(metric_only(s->parts), (double)done->parts);
    metric_add(metric_only(s->rows), (double)done->rows);
    metric_add(metric_child(s->bytes, &in), (double)done->text_bytes);
    metric_add(metric_child(s->bytes, &out), (double)done->stored_bytes);
    metric_observe(metric_only(s->seconds), (double)(clock_mono_ns() - began_ns) / 1e9);
}

/* ---- jobs; the lock is held ---- */

static struct str key_of(const struct seal_entry *j)
{
    return (struct str){j->key, j->key_len};
}

static size_t make_key(const struct seal_unit *u, char key[KEY_MAX])
{
    if (u->type != STREAM_METRICS) {
        memcpy(key, u->files[0].b, sizeof u->files[0].b);
        return sizeof u->files[0].b;
    }
    int n = snprintf(key, KEY_MAX, "metrics/%d/" STR_FMT, u->hour, STR_ARG(u->org));
    return n < KEY_MAX ? (size_t)n : KEY_MAX - 1;
}

static struct seal_entry *new_entry(const struct seal_unit *u)
{
    size_t ids = u->file_count * sizeof *u->files;
    struct seal_entry *j = calloc(1, sizeof *j + ids + u->org.len);
    if (!j)
        return NULL;
    char *tail = (char *)(j + 1);
    memcpy(tail, u->files, ids);
    memcpy(tail + ids, u->org.ptr, u->org.len);
    j->unit = *u;
    j->unit.files = (const struct ulid *)(const void *)tail;
    j->unit.org = (struct str){tail + ids, u->org.len};
    j->key_len = make_key(u, j->key);
    return j;
}

static void enqueue_locked(struct sealer *s, struct seal_entry *j)
{
    j->state = JOB_QUEUED;
    j->next = NULL;
    if (s->last)
        s->last->next = j;
    else
        s->first = j;
    s->last = j;
    pthread_cond_signal(&s->work);
}

static void drop_locked(struct sealer *s, struct seal_entry *j)
{
    map_remove(&s->jobs, key_of(j));
    free(j);
    metric_add(metric_only(s->waiting), -1);
}

/* A failed job starts over with the files as they are listed now. */
static bool take_over_locked(struct sealer *s, struct seal_entry *old, struct seal_entry *j)
{
    if (old->state != JOB_FAILED || clock_mono_ms() < old->retry_at_ms)
        return false;
    j->attempts = old->attempts;
    drop_locked(s, old);
    return true;
}

/* Whose files were gone when it was to be tried again: a publication was late, or a stream deleted.
 */
static struct seal_entry *find_forgotten_locked(const struct sealer *s)
{
    uint64_t now = clock_mono_ms();
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&s->jobs, &pos, &key, &value)) {
        struct seal_entry *j = value;
        if (j->state == JOB_FAILED && now > j->retry_at_ms + RETRY_MS_MAX)
            return j;
    }
    return NULL;
}

static void drop_forgotten(struct sealer *s)
{
    struct seal_entry *j;
    LOCK_SCOPE(&s->lock);
    while ((j = find_forgotten_locked(s)))
        drop_locked(s, j);
}

/* Somebody waits: what has failed is tried again at once, and fails with its reason if it must. */
static void retry_now(struct sealer *s)
{
    size_t pos = 0;
    struct str key;
    void *value;
    LOCK_SCOPE(&s->lock);
    while (map_next(&s->jobs, &pos, &key, &value)) {
        struct seal_entry *j = value;
        if (j->state == JOB_FAILED)
            j->retry_at_ms = clock_mono_ms();
    }
}

/* Make a job of the unit, unless there is one; no memory: the next round tries again. */
static void offer(struct sealer *s, const struct seal_unit *u)
{
    struct seal_entry *j = new_entry(u);
    if (!j)
        return;
    LOCK_SCOPE(&s->lock);
    struct seal_entry *old = map_find(&s->jobs, key_of(j));
    if ((old && !take_over_locked(s, old, j)) || !map_put(&s->jobs, key_of(j), j)) {
        free(j);
        return;
    }
    metric_add(metric_only(s->waiting), 1);
    enqueue_locked(s, j);
}

/* ---- what is due ---- */

struct look { /* one list of the journal's files */
    struct arena arena;
    struct sealable *files;
    size_t count;
    bool more;
};

static enum err_code look_at(struct sealer *s, uint64_t min_bytes, int64_t before_us,
                             uint64_t limit, struct look *l, struct err *e)
{
    arena_init(&l->arena, LIST_MEMORY_MAX);
    enum err_code rc =
        control_sealable(s->control, min_bytes, before_us, limit, clock_mono_ms() + CALL_MS,
                         &l->arena, &l->files, &l->count, &l->more, e);
    if (rc)
        arena_done(&l->arena);
    return rc;
}

static struct seal_unit unit_of(const struct sealable *f)
{
    return (struct seal_unit){
        .type = f->type, .hour = f->hour, .org = f->org, .files = &f->id, .file_count = 1};
}

/* Files that are closed together. */
struct closing {
    struct ulid *ids;
    size_t count;
};

static void close_these(struct sealer *s, struct closing *c)
{
    struct arena a;
    struct sealable *closed;
    size_t count;

    if (c->count == 0)
        return;
    arena_init(&a, LIST_MEMORY_MAX);
    control_roll_files(s->control, c->ids, c->count, clock_mono_ms() + CALL_MS, &a, &closed, &count,
                       NULL); /* its job closes what this could not */
    arena_done(&a);
    c->count = 0;
}

/* What is due is closed at once, with one sync for many files: how long a file waits for a worker
 * must not make it larger. */
static void close_due(struct sealer *s, const struct look *l, uint64_t bytes_wanted)
{
    struct closing c = {.ids = malloc(CONTROL_ROLL_FILES_MAX * sizeof *c.ids)};
    uint64_t bytes = 0;

    if (!c.ids)
        return;
    for (size_t i = 0; i < l->count && bytes < bytes_wanted; i++) {
        const struct sealable *f = &l->files[i];
        bytes += f->bytes;
        if (f->open && f->type != STREAM_METRICS)
            c.ids[c.count++] = f->id;
        if (c.count == CONTROL_ROLL_FILES_MAX)
            close_these(s, &c);
    }
    close_these(s, &c);
    free(c.ids);
}

static int by_group(const void *a, const void *b)
{
    const struct sealable *x = a, *y = b;
    int order = str_cmp(x->org, y->org);
    if (order == 0)
        order = x->hour < y->hour ? -1 : x->hour > y->hour;
    return order ? order : ulid_cmp(&x->id, &y->id);
}

static bool same_group(const struct sealable *a, const struct sealable *b)
{
    return a->hour == b->hour && str_eq(a->org, b->org);
}

/* The oldest of the group, as many as one part may have; the others are offered after them. */
static size_t unit_size(const struct sealable *files, size_t count)
{
    uint64_t bytes = files[0].bytes;
    size_t n = 1;
    while (n < count && n < UNIT_FILES_MAX && bytes + files[n].bytes <= UNIT_BYTES_MAX)
        bytes += files[n++].bytes;
    return n;
}

static void offer_group(struct sealer *s, const struct sealable *files, size_t count)
{
    count = unit_size(files, count);
    struct ulid *ids = malloc(count * sizeof *ids);
    if (!ids)
        return;
    for (size_t i = 0; i < count; i++)
        ids[i] = files[i].id;
    offer(s, &(struct seal_unit){.type = STREAM_METRICS,
                                 .hour = files[0].hour,
                                 .org = files[0].org,
                                 .files = ids,
                                 .file_count = count});
    free(ids);
}

/* A first line from the future was written before the clock was set back. */
static bool is_begun(const struct sealable *f, int64_t before_us)
{
    return f->first_append_us <= before_us || f->first_append_us > clock_wall_us();
}

static bool group_is_due(const struct sealer *s, const struct sealable *files, size_t count,
                         int64_t before_us)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += files[i].bytes;
        if (!files[i].open || is_begun(&files[i], before_us))
            return true;
    }
    return bytes >= s->cfg.file_bytes;
}

/* The metrics among the files, an organisation and hour at a time; reorders them. */
static void offer_metrics(struct sealer *s, struct look *l, int64_t before_us)
{
    size_t n = 0;
    for (size_t i = 0; i < l->count; i++)
        if (l->files[i].type == STREAM_METRICS)
            l->files[n++] = l->files[i];
    qsort(l->files, n, sizeof *l->files, by_group);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && same_group(&l->files[i], &l->files[end]);)
            end++;
        if (group_is_due(s, &l->files[i], end - i, before_us))
            offer_group(s, &l->files[i], end - i);
    }
}

/* Offers logs and traces; says whether there are metrics among the files. */
static bool offer_single(struct sealer *s, const struct look *l, uint64_t bytes_wanted)
{
    bool metrics = false;
    uint64_t bytes = 0;
    close_due(s, l, bytes_wanted);
    for (size_t i = 0; i < l->count && bytes < bytes_wanted; i++) {
        const struct sealable *f = &l->files[i];
        bytes += f->bytes;
        metrics = metrics || f->type == STREAM_METRICS;
        if (f->type == STREAM_METRICS)
            continue;
        struct seal_unit u = unit_of(f);
        offer(s, &u);
    }
    return metrics;
}

/* How many bytes are to be sealed, the oldest first, before the journal is comfortable again. */
static void ask_pressure(struct sealer *s)
{
    struct arena a;
    struct json *stats;
    uint64_t used = 0, max = 0;

    if (clock_mono_ms() < s->stats_at_ms)
        return;
    s->stats_at_ms = clock_mono_ms() + STATS_ROUND_MS;
    s->pressure_bytes = 0;
    arena_init(&a, LIST_MEMORY_MAX);
    if (control_call(s->control, CONTROL_STATS, STR("{}"), clock_mono_ms() + CALL_MS, &a, &stats,
                     NULL) == ERR_OK) {
        const struct json *j = json_get(stats, "journal");
        json_u64(json_get(j, "bytes_used"), &used);
        json_u64(json_get(j, "bytes_max"), &max);
    }
    arena_done(&a);
    if (used > max / 2)
        s->pressure_bytes = used - max / 4;
}

static enum err_code round_due(struct sealer *s, int64_t before_us, struct err *e)
{
    struct look l;
    enum err_code rc = look_at(s, s->cfg.file_bytes, before_us, DUE_MAX, &l, e);
    if (rc)
        return rc;
    if (offer_single(s, &l, UINT64_MAX)) {
        s->has_metrics = true;
        s->full_at_ms = 0;
    }
    arena_done(&l.arena);
    return ERR_OK;
}

static enum err_code round_full(struct sealer *s, int64_t before_us, struct err *e)
{
    struct look l;
    if (clock_mono_ms() < s->full_at_ms && s->pressure_bytes == 0)
        return ERR_OK;
    s->full_at_ms = clock_mono_ms() + FULL_ROUND_MS;
    drop_forgotten(s);
    enum err_code rc = look_at(s, 0, before_us, FULL_MAX, &l, e);
    if (rc)
        return rc;
    if (s->pressure_bytes > 0) {
        offer_single(s, &l, s->pressure_bytes);
        before_us = INT64_MAX;
    }
    offer_metrics(s, &l, before_us);
    arena_done(&l.arena);
    s->pressure_bytes = 0;
    return ERR_OK;
}

static size_t jobs_waiting(struct sealer *s)
{
    LOCK_SCOPE(&s->lock);
    return s->jobs.count;
}

/* A look at very many files takes seconds, which the seals need more. */
static uint64_t rest_after(uint64_t took_ms, enum err_code rc)
{
    uint64_t rest_ms = took_ms * LOOK_REST;
    if (rc)
        return RETRY_MS_MIN;
    if (rest_ms > REST_MS_MAX)
        return REST_MS_MAX;
    return rest_ms > ROUND_MS ? rest_ms : ROUND_MS;
}

static void *schedule(void *arg)
{
    struct sealer *s = arg;
    while (!atomic_load(&s->stopping)) {
        struct err e = {0};
        int64_t before_us = clock_wall_us() - s->cfg.age_us;
        uint64_t began_ms = clock_mono_ms();
        enum err_code rc = ERR_OK;
        if (jobs_waiting(s) < JOBS_ENOUGH) {
            ask_pressure(s);
            rc = round_due(s, before_us, &e);
            if (!rc)
                rc = round_full(s, before_us, &e);
        }
        if (rc && !atomic_load(&s->stopping))
            log_write(LOG_WARN, "cannot look for files to seal", "reason", e.msg, (char *)0);
        uint64_t now_ms = clock_mono_ms();
        LOCK_SCOPE(&s->lock);
        if (!s->draining)
            cond_wait_until(&s->stop, &s->lock, now_ms + rest_after(now_ms - began_ms, rc));
        if (s->draining)
            return NULL;
    }
    return NULL;
}

/* ---- workers ---- */

static bool is_stopping(void *ctx)
{
    return atomic_load(&((struct sealer *)ctx)->stopping);
}

static struct seal_entry *take_job(struct sealer *s)
{
    LOCK_SCOPE(&s->lock);
    while (!s->first && !s->draining)
        pthread_cond_wait(&s->work, &s->lock);
    struct seal_entry *j = atomic_load(&s->stopping) ? NULL : s->first;
    if (j) {
        s->first = j->next;
        if (!s->first)
            s->last = NULL;
        j->state = JOB_RUNNING;
        s->running++;
    }
    return j;
}

static void fail_locked(struct sealer *s, struct seal_entry *j, const struct err *e)
{
    uint64_t pause = RETRY_MS_MIN;
    for (unsigned i = 0; i < j->attempts && pause < RETRY_MS_MAX; i++)
        pause *= 2;
    j->attempts++;
    j->state = JOB_FAILED;
    j->failed_at_ms = clock_mono_ms();
    j->retry_at_ms = j->failed_at_ms + (pause < RETRY_MS_MAX ? pause : RETRY_MS_MAX);
    s->last_failed_ms = j->failed_at_ms;
    s->last_error = *e;
}

static void end_job(struct sealer *s, struct seal_entry *j, const struct err *e)
{
    LOCK_SCOPE(&s->lock);
    s->running--;
    if (e)
        fail_locked(s, j, e);
    else
        drop_locked(s, j);
    pthread_cond_broadcast(&s->progress);
}

static void report_failure(struct sealer *s, const struct seal_entry *j, const struct err *e)
{
    char id[ULID_TEXT_LEN + 1];
    if (atomic_load(&s->stopping))
        return;
    ulid_format(&j->unit.files[0], id);
    metric_add(metric_only(s->failures), 1);
    log_write(LOG_ERROR, "a seal failed, and will be tried again", "file", id, "reason", e->msg,
              (char *)0);
}

static void *work(void *arg)
{
    struct sealer *s = arg;
    struct seal_worker w = {
        .cfg = &s->cfg, .control = s->control, .is_stopping = is_stopping, .ctx = s};
    struct seal_entry *j;
    while ((j = take_job(s))) {
        struct seal_done done;
        struct err e = {0};
        uint64_t began_ns = clock_mono_ns();
        enum err_code rc = seal_job_run(&w, &j->unit, &done, &e);
        if (rc)
            report_failure(s, j, &e);
        else if (done.parts)
            count_done(s, &done, began_ns);
        end_job(s, j, rc ? &e : NULL);
    }
    seal_worker_done(&w);
    return NULL;
}

/* ---- flush ---- */

static size_t count_begun(const struct look *l, int64_t t0_us)
{
    size_t n = 0;
    for (size_t i = 0; i < l->count; i++)
        n += is_begun(&l->files[i], t0_us);
    return n;
}

/* Offers what is due at t0; *left: how many files there still are that were begun before.  Those
 * that others begin and close meanwhile are not waited for. */
static enum err_code flush_round(struct sealer *s, int64_t t0_us, size_t *left, struct err *e)
{
    struct look l;
    enum err_code rc = look_at(s, UINT64_MAX, t0_us, FULL_MAX, &l, e);
    if (rc)
        return rc;
    *left = count_begun(&l, t0_us);
    offer_single(s, &l, UINT64_MAX);
    offer_metrics(s, &l, t0_us);
    arena_done(&l.arena);
    return ERR_OK;
}

static enum err_code failed_since(struct sealer *s, uint64_t since_ms, struct err *e)
{
    LOCK_SCOPE(&s->lock);
    if (s->last_failed_ms < since_ms)
        return ERR_OK;
    return err_set(e, s->last_error.code, "a seal failed: %s", s->last_error.msg);
}

/* Why a flush must not go on; OK: it may. */
static enum err_code flush_verdict(struct sealer *s, uint64_t began_ms, uint64_t deadline_ms,
                                   bool (*cancelled)(void *ctx), void *ctx, size_t left,
                                   struct err *e)
{
    enum err_code rc = failed_since(s, began_ms, e);
    if (!rc && atomic_load(&s->stopping))
        rc = err_set(e, ERR_CANCELLED, "the node is stopping");
    if (!rc && cancelled && cancelled(ctx))
        rc = err_set(e, ERR_CANCELLED, "the client went away");
    if (!rc && clock_mono_ms() >= deadline_ms)
        rc = err_set(e, ERR_TIMEOUT, "%zu files are not sealed yet", left);
    return rc;
}

/* True once half of the jobs are done: looking at all files after each one would cost more than the
 * seals. */
static bool await_half(struct sealer *s, size_t *goal)
{
    LOCK_SCOPE(&s->lock);
    bool is_first = *goal == SIZE_MAX;
    if (is_first)
        *goal = s->jobs.count / 2;
    if (is_first || s->jobs.count > *goal)
        cond_wait_until(&s->progress, &s->lock, clock_mono_ms() + ROUND_MS);
    return s->jobs.count <= *goal;
}

enum err_code seal_flush(struct sealer *s, uint64_t deadline_ms, bool (*cancelled)(void *ctx),
                         void *ctx, struct err *e)
{
    int64_t t0_us = clock_wall_us();
    uint64_t began_ms = clock_mono_ms();
    retry_now(s);
    for (;;) {
        size_t left = 0, goal = SIZE_MAX;
        enum err_code rc = flush_round(s, t0_us, &left, e);
        if (!rc && left == 0)
            return ERR_OK;
        for (bool half = false; !rc && !half;) {
            half = await_half(s, &goal);
            rc = flush_verdict(s, began_ms, deadline_ms, cancelled, ctx, left, e);
        }
        if (rc)
            return rc;
    }
}

/* ---- life ---- */

static enum err_code start_threads(struct sealer *s, struct err *e)
{
    int sys = pthread_create(&s->scheduler, NULL, schedule, s);
    if (sys)
        return err_sys(e, sys, "start the sealing scheduler");
    s->has_scheduler = true;
    for (unsigned i = 0; i < s->cfg.workers; i++) {
        sys = pthread_create(&s->workers[i], NULL, work, s);
        if (sys)
            return err_sys(e, sys, "start sealing worker %u", i);
        s->worker_count++;
    }
    return ERR_OK;
}

enum err_code seal_open(const struct seal_config *cfg, struct sealer **out, struct err *e)
{
    struct sealer *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for sealing");
    s->cfg = *cfg;
    if (s->cfg.workers < 1)
        s->cfg.workers = 1;
    if (s->cfg.workers > SEAL_WORKERS_MAX)
        s->cfg.workers = SEAL_WORKERS_MAX;
    pthread_mutex_init(&s->lock, NULL);
    cond_init(&s->work);
    cond_init(&s->progress);
    cond_init(&s->stop);
    map_init(&s->jobs, SEAL_JOBS_MAX);
    register_metrics(s);
    enum err_code rc = control_open_beside(cfg->control, clock_mono_ms() + CALL_MS, &s->control, e);
    if (!rc)
        rc = start_threads(s, e);
    if (rc) {
        seal_close(s);
        return err_wrap(e, "sealing");
    }
    *out = s;
    return ERR_OK;
}

static void drain(struct sealer *s)
{
    uint64_t ms = s->cfg.drain_ms < SEAL_DRAIN_MS_MAX ? s->cfg.drain_ms : SEAL_DRAIN_MS_MAX;
    uint64_t deadline_ms = clock_mono_ms() + ms;
    LOCK_SCOPE(&s->lock);
    s->draining = true;
    pthread_cond_broadcast(&s->work);
    pthread_cond_broadcast(&s->stop);
    while (s->worker_count > 0 && (s->first || s->running > 0) &&
           cond_wait_until(&s->progress, &s->lock, deadline_ms))
        ;
    atomic_store(&s->stopping, true);
    pthread_cond_broadcast(&s->progress);
}

static void stop_threads(struct sealer *s)
{
    drain(s);
    if (s->has_scheduler)
        pthread_join(s->scheduler, NULL);
    for (unsigned i = 0; i < s->worker_count; i++)
        pthread_join(s->workers[i], NULL);
}

void seal_close(struct sealer *s)
{
    size_t pos = 0;
    struct str key;
    void *job;

    if (!s)
        return;
    stop_threads(s);
    while (map_next(&s->jobs, &pos, &key, &job))
        free(job);
    map_done(&s->jobs);
    control_close(s->control);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->progress);
    pthread_cond_destroy(&s->stop);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
