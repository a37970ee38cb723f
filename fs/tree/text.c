/* fs/tree/text.c - from a read to the pieces of text it needs, and back.
 *
 *   read ── next piece is in the cache ──► copied ──► ... ──► all there: answered
 *     └── else ──► waits for the piece's job
 *   job ── queued ──► rendered by a thread (again when its engine went away)
 *     └──► each read that waited goes on: the piece is held until they all have
 *
 * A piece is rendered by one job, however many reads want it.  A read that lies in one piece needs
 * no memory while it waits.
 * Lock order: text.lock, then nothing.
 */
#include "fs/tree/text.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "fs/tree/text_cache.h"
#include "fs/tree/text_engine.h"

#define RENDER_TRIES 3      /* one that dies may still take a connection: a second, and a third */
#define RENDER_PAUSE_MS 100 /* between them */

struct reading {
    struct reading *next; /* (lock) of those that wait for the same job */
    struct tree_ref ref;
    uint64_t off;
    size_t want, got;
    char *bytes; /* NULL until the first are there */
    text_done done;
    void *ctx;
};

struct job {
    struct job *next; /* (lock) in the queue */
    char key[TEXT_KEY_LEN];
    struct tree_ref ref;
    struct tree_unit unit;
    uint64_t deadline_ms;
    struct reading *waiting; /* (lock) */
};

struct text {
    struct tree *tree;     /* immutable, and so on */
    struct status *status; /* may be NULL */
    char *socket_path, *mount_dir;
    uint64_t deadline_ms;
    struct text_cache *cache;
    unsigned thread_count;
    pthread_t threads[TEXT_THREADS_MAX];
    struct text_engine engines[TEXT_THREADS_MAX];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_stopping;         /* (lock) */
    struct map jobs;          /* (lock) key -> job, queued or running */
    struct job *first, *last; /* (lock) the queue */
    size_t waiting;           /* (lock) readings of all jobs */
};

struct worker {
    struct text *text;
    struct text_engine *engine;
};

static void advance(struct text *t, struct reading *r);

/* ---- a read ends ---- */

static enum err_code outer_code(enum err_code rc)
{
    return rc == ERR_OK || rc == ERR_STALE || rc == ERR_AGAIN || rc == ERR_NOMEM ? rc : ERR_IO;
}

static void finish(struct reading *r, enum err_code rc)
{
    struct str bytes = !rc && r->got > 0 ? (struct str){r->bytes, r->got} : STR("");

    r->done(outer_code(rc), bytes, r->ctx);
    free(r->bytes);
    free(r);
}

static void report(struct text *t, enum err_code rc, const struct err *e)
{
    if (!t->status)
        return;
    status_count(t->status, COUNT_TEXT_ERRORS, 1);
    if (outer_code(rc) == ERR_IO && rc != ERR_CANCELLED)
        status_report(t->status, STR("text"), str_from(e->msg));
}

/* ---- waiting ---- */

static struct str key_of(const char key[TEXT_KEY_LEN])
{
    return (struct str){key, TEXT_KEY_LEN};
}

static struct job *queue_job_locked(struct text *t, const struct reading *r,
                                    const struct tree_unit *unit, const char key[TEXT_KEY_LEN])
{
    struct job *j = calloc(1, sizeof *j);

    if (!j)
        return NULL;
    *j =
        (struct job){.ref = r->ref, .unit = *unit, .deadline_ms = clock_mono_ms() + t->deadline_ms};
    memcpy(j->key, key, TEXT_KEY_LEN);
    if (!map_put(&t->jobs, key_of(key), j)) {
        free(j);
        return NULL;
    }
    *(t->last ? &t->last->next : &t->first) = j;
    t->last = j;
    pthread_cond_signal(&t->wake);
    return j;
}

/* The reading belongs to the job when this is OK. */
static enum err_code wait_for(struct text *t, struct reading *r, const struct tree_unit *unit)
{
    char key[TEXT_KEY_LEN];
    struct job *j;

    text_unit_key(unit, key);
    LOCK_SCOPE(&t->lock);
    if (t->is_stopping)
        return ERR_GONE;
    if (t->waiting >= TEXT_WAITING_MAX)
        return ERR_AGAIN;
    j = map_find(&t->jobs, key_of(key));
    if (!j)
        j = queue_job_locked(t, r, unit, key);
    if (!j)
        return ERR_NOMEM;
    r->next = j->waiting;
    j->waiting = r;
    t->waiting++;
    return ERR_OK;
}

/* ---- reading ---- */

static enum err_code copy_piece(struct text *t, struct reading *r, const struct tree_unit *unit,
                                struct text_held *held, struct err *e)
{
    uint64_t from = r->off + r->got - unit->at, left = unit->bytes - from;
    size_t n = r->want - r->got;
    enum err_code rc;

    if (n > left)
        n = (size_t)left;
    if (!r->bytes && !(r->bytes = malloc(r->want)))
        return err_set(e, ERR_NOMEM, "no memory for a read");
    rc = text_cache_read(t->cache, held, from, r->bytes + r->got, n, e);
    if (!rc)
        r->got += n;
    return rc;
}

/* *waits: it is a job's now. */
static enum err_code read_piece(struct text *t, struct reading *r, const struct tree_unit *unit,
                                bool *waits, struct err *e)
{
    struct text_held *held = text_cache_find(t->cache, unit);
    enum err_code rc;

    if (held) {
        rc = copy_piece(t, r, unit, held, e);
        text_cache_release(t->cache, held);
        return rc;
    }
    rc = wait_for(t, r, unit);
    *waits = rc == ERR_OK;
    return rc ? err_set(e, rc, "text: it cannot be waited for now") : ERR_OK;
}

/* As far as it goes: to its end, or to a piece that it must wait for. */
static void advance(struct text *t, struct reading *r)
{
    struct tree_unit unit;
    struct err e = {0};
    bool waits = false;
    enum err_code rc = ERR_OK;

    while (!rc && r->got < r->want) {
        rc = tree_unit_at(t->tree, &r->ref, r->off + r->got, &unit, &e);
        if (!rc && unit.bytes == 0)
            break;
        if (!rc)
            rc = read_piece(t, r, &unit, &waits, &e);
        if (waits)
            return;
    }
    if (rc)
        report(t, rc, &e);
    finish(r, rc);
}

void text_read(struct text *t, const struct tree_ref *ref, uint64_t off, size_t n, text_done done,
               void *ctx)
{
    struct reading *r = malloc(sizeof *r);

    if (!r) {
        done(ERR_NOMEM, STR(""), ctx);
        return;
    }
    *r = (struct reading){.ref = *ref, .off = off, .want = n, .done = done, .ctx = ctx};
    advance(t, r);
}

/* ---- rendering ---- */

struct filling {
    struct text_cache *cache;
    struct text_held *held;
};

static enum err_code take_text(struct str text, void *ctx, struct err *e)
{
    const struct filling *f = ctx;

    return text_cache_append(f->cache, f->held, text, e);
}

static enum err_code fill(struct worker *w, const struct job *j, const char *parquet,
                          struct text_held *held, struct err *e)
{
    struct filling f = {.cache = w->text->cache, .held = held};
    enum err_code rc =
        text_engine_ask(w->engine, parquet, &j->unit, j->deadline_ms, take_text, &f, e);

    return rc ? rc : text_cache_finish(w->text->cache, held, e);
}

static enum err_code render_once(struct worker *w, const struct job *j, const char *parquet,
                                 struct text_held **out, struct err *e)
{
    struct text_cache *cache = w->text->cache;
    struct text_held *held;
    enum err_code rc = text_cache_begin(cache, &j->unit, &held, e);

    if (rc)
        return rc;
    rc = fill(w, j, parquet, held, e);
    if (rc)
        text_cache_release(cache, held);
    else
        *out = held;
    return rc;
}

static enum err_code format_parquet(struct text *t, const struct job *j,
                                    char dst[PATH_MAX + TREE_PATH_MAX], struct err *e)
{
    char path[TREE_PATH_MAX];
    enum err_code rc = tree_part_path(t->tree, &j->ref, path, e);

    if (!rc)
        snprintf(dst, PATH_MAX + TREE_PATH_MAX, "%s%s", t->mount_dir, path);
    return rc;
}

static enum err_code render(struct worker *w, const struct job *j, struct text_held **out,
                            struct err *e)
{
    char parquet[PATH_MAX + TREE_PATH_MAX];
    enum err_code rc = format_parquet(w->text, j, parquet, e);

    if (rc)
        return rc;
    for (int tried = 1;; tried++) {
        rc = render_once(w, j, parquet, out, e);
        if ((rc != ERR_GONE && rc != ERR_AGAIN) || tried == RENDER_TRIES)
            break;
        nanosleep(&(struct timespec){.tv_nsec = RENDER_PAUSE_MS * 1000000L}, NULL);
    }
    return rc ? err_wrap(e, "%s", parquet) : ERR_OK;
}

/* Held; NULL with an error. */
static enum err_code bring(struct worker *w, const struct job *j, struct text_held **out,
                           struct err *e)
{
    struct text *t = w->text;
    enum err_code rc;

    *out = text_cache_find(t->cache, &j->unit);
    if (*out)
        return ERR_OK;
    rc = clock_mono_ms() >= j->deadline_ms ? err_set(e, ERR_TIMEOUT, "text: nobody had time for it")
                                           : render(w, j, out, e);
    if (!rc && t->status) {
        status_count(t->status, COUNT_TEXT_UNITS, 1);
        status_count(t->status, COUNT_TEXT_BYTES, (int64_t)j->unit.bytes);
    }
    return rc;
}

/* The job has left the map: nobody can join it any more. */
static void answer(struct text *t, struct job *j, enum err_code rc)
{
    for (struct reading *r = j->waiting, *next; r; r = next) {
        next = r->next;
        if (rc)
            finish(r, rc);
        else
            advance(t, r);
    }
    free(j);
}

static void close_job_locked(struct text *t, struct job *j)
{
    map_remove(&t->jobs, key_of(j->key));
    for (const struct reading *r = j->waiting; r; r = r->next)
        t->waiting--;
}

static void run_job(struct worker *w, struct job *j)
{
    struct text *t = w->text;
    struct text_held *held = NULL;
    struct err e = {0};
    enum err_code rc = bring(w, j, &held, &e);

    if (rc)
        report(t, rc, &e);
    pthread_mutex_lock(&t->lock);
    close_job_locked(t, j);
    pthread_mutex_unlock(&t->lock);
    answer(t, j, rc);
    text_cache_release(t->cache, held);
}

static struct job *next_job(struct text *t)
{
    struct job *j;

    LOCK_SCOPE(&t->lock);
    while (!t->first && !t->is_stopping)
        pthread_cond_wait(&t->wake, &t->lock);
    if (t->is_stopping)
        return NULL;
    j = t->first;
    t->first = j->next;
    if (!t->first)
        t->last = NULL;
    return j;
}

static void *work(void *arg)
{
    struct worker w = *(struct worker *)arg;

    free(arg);
    for (struct job *j; (j = next_job(w.text));)
        run_job(&w, j);
    return NULL;
}

/* ---- life ---- */

static enum err_code start_thread(struct text *t, unsigned i, struct err *e)
{
    struct worker *w = malloc(sizeof *w);
    int sys;

    if (!w)
        return err_set(e, ERR_NOMEM, "no memory for a thread that renders text");
    *w = (struct worker){.text = t, .engine = &t->engines[i]};
    text_engine_init(w->engine, t->socket_path);
    sys = pthread_create(&t->threads[i], NULL, work, w);
    if (sys) {
        text_engine_done(&t->engines[i]);
        free(w);
        return err_sys(e, sys, "start a thread that renders text");
    }
    t->thread_count++;
    return ERR_OK;
}

static enum err_code take_config(struct text *t, const struct text_config *cfg, struct err *e)
{
    t->tree = cfg->tree;
    t->status = cfg->status;
    t->socket_path = strdup(cfg->socket_path);
    t->mount_dir = strdup(cfg->mount_dir);
    t->deadline_ms = cfg->deadline_ms ? cfg->deadline_ms : TEXT_DEADLINE_MS;
    if (!t->socket_path || !t->mount_dir)
        return err_set(e, ERR_NOMEM, "no memory for paths");
    if (strlen(cfg->mount_dir) >= PATH_MAX)
        return err_set(e, ERR_INVALID, "the path of the mount is too long");
    return text_cache_new(cfg->cache_dir, cfg->cache_bytes ? cfg->cache_bytes : TEXT_CACHE_BYTES,
                          &t->cache, e);
}

enum err_code text_start(const struct text_config *cfg, struct text **out, struct err *e)
{
    unsigned wanted = cfg->threads < TEXT_THREADS_MAX ? cfg->threads : TEXT_THREADS_MAX;
    struct text *t = calloc(1, sizeof *t);
    enum err_code rc;

    if (!t)
        return err_set(e, ERR_NOMEM, "no memory for text");
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    map_init(&t->jobs, TEXT_WAITING_MAX);
    rc = take_config(t, cfg, e);
    for (unsigned i = 0; !rc && i < wanted; i++)
        rc = start_thread(t, i, e);
    if (rc) {
        text_stop(t);
        return rc;
    }
    *out = t;
    return ERR_OK;
}

static void stop_threads(struct text *t)
{
    pthread_mutex_lock(&t->lock);
    t->is_stopping = true;
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
    for (unsigned i = 0; i < t->thread_count; i++)
        text_engine_cut(&t->engines[i]);
    for (unsigned i = 0; i < t->thread_count; i++) {
        pthread_join(t->threads[i], NULL);
        text_engine_done(&t->engines[i]);
    }
}

void text_stop(struct text *t)
{
    if (!t)
        return;
    stop_threads(t);
    for (struct job *j = t->first, *next; j; j = next) {
        next = j->next;
        answer(t, j, ERR_CANCELLED);
    }
    map_done(&t->jobs);
    text_cache_free(t->cache);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t->socket_path);
    free(t->mount_dir);
    free(t);
}
