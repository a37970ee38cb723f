/* http/workers.c - lanes of jobs and the threads that serve them. */
#include "http/workers.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/metrics.h"

#define RESERVED_MIN 2u /* threads that no work may take, however long it waits for others: */
#define RESERVED_MAX 4u /* a fourth as many as may work */

struct lane {
    struct job *head, **tail;
    unsigned running, running_max, queued, queued_max;
    bool is_work; /* ingest and queries: they wait for the fs process and the engine */
};

struct workers {
    struct metric_child *refused; /* immutable */
    pthread_mutex_t lock;         /* guards the rest but threads */
    pthread_cond_t work;
    struct lane lanes[LANE_COUNT];
    unsigned queued;               /* of all lanes */
    unsigned working, working_max; /* running jobs of the lanes that are work */
    bool stopping;
    unsigned thread_count;
    pthread_t threads[]; /* owned by start and stop */
};

static const struct metric_desc REFUSED = {
    .name = "zo_http_queue_refused",
    .help = "Requests answered 503 because too many waited for a worker.",
    .type = METRIC_COUNTER,
};

static bool has_place_locked(const struct workers *w, const struct lane *l)
{
    return l->running < l->running_max && (!l->is_work || w->working < w->working_max);
}

/* The next job that a thread may run now, or NULL. */
static struct job *take_locked(struct workers *w, struct lane **from)
{
    uint64_t now_ms = clock_mono_ms();
    for (int i = 0; i < LANE_COUNT; i++) {
        struct lane *l = &w->lanes[i];
        struct job *j = l->head;
        if (!j)
            continue;
        j->is_late = j->wait_until_ms != 0 && now_ms >= j->wait_until_ms;
        if (!has_place_locked(w, l) && !j->is_late)
            continue;
        l->head = j->next;
        if (!l->head)
            l->tail = &l->head;
        l->running++;
        w->working += l->is_work;
        l->queued--;
        w->queued--;
        *from = l;
        return j;
    }
    return NULL;
}

/* When the first job will have waited too long; 0 = none will. */
static uint64_t next_late_locked(const struct workers *w)
{
    uint64_t first = 0;
    for (int i = 0; i < LANE_COUNT; i++) {
        const struct job *j = w->lanes[i].head;
        if (j && j->wait_until_ms != 0 && (first == 0 || j->wait_until_ms < first))
            first = j->wait_until_ms;
    }
    return first;
}

static void *worker_main(void *arg)
{
    struct workers *w = arg;
    struct worker_tools tools = {.decoder = decoder_new()};
    struct lane *lane = NULL;
    pthread_setname_np(pthread_self(), "http-worker");
    arena_init(&tools.arena, WORKER_ARENA_MAX);
    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct job *j = take_locked(w, &lane);
        if (!j && w->stopping && w->queued == 0)
            break;
        if (!j) {
            cond_wait_until(&w->work, &w->lock, next_late_locked(w));
            continue;
        }
        pthread_mutex_unlock(&w->lock);
        j->run(j, &tools);
        arena_reset(&tools.arena);
        pthread_mutex_lock(&w->lock);
        lane->running--;
        w->working -= lane->is_work;
        if (w->stopping)
            pthread_cond_broadcast(&w->work);
        else if (w->queued) /* its place may be what an idle thread waits for */
            pthread_cond_signal(&w->work);
    }
    pthread_mutex_unlock(&w->lock);
    decoder_free(tools.decoder);
    arena_done(&tools.arena);
    return NULL;
}

bool workers_submit(struct workers *w, enum route_lane lane, struct job *j)
{
    LOCK_SCOPE(&w->lock);
    if (w->stopping)
        return false;
    struct lane *l = &w->lanes[lane];
    if (l->queued >= l->queued_max) {
        metric_add(w->refused, 1);
        return false;
    }
    j->next = NULL;
    *l->tail = j;
    l->tail = &j->next;
    l->queued++;
    w->queued++;
    pthread_cond_signal(&w->work);
    return true;
}

bool workers_wait(struct workers *w, enum route_lane lane, unsigned places)
{
    LOCK_SCOPE(&w->lock);
    return w->lanes[lane].queued > 0 || w->lanes[lane].running > places;
}

static unsigned at_least_one(unsigned n)
{
    return n > 0 ? n : 1;
}

static void open_lanes(struct workers *w, unsigned threads)
{
    w->working_max = threads;
    const unsigned most[LANE_COUNT] = {
        [LANE_SYSTEM] = at_least_one(threads / 4), [LANE_AUTH] = AUTH_VERIFICATIONS_MAX,
        [LANE_SPOOL] = at_least_one(threads / 8),  [LANE_INGEST] = threads,
        [LANE_LARGE] = at_least_one(threads / 8),  [LANE_QUERY] = at_least_one(threads / 2),
    };
    for (int i = 0; i < LANE_COUNT; i++) {
        struct lane *l = &w->lanes[i];
        l->tail = &l->head;
        l->running_max = most[i];
        l->is_work = i == LANE_INGEST || i == LANE_LARGE || i == LANE_QUERY;
        l->queued_max = i == LANE_AUTH ? WORKERS_AUTH_MAX : WORKERS_QUEUE_MAX;
    }
}

static unsigned reserved_for(unsigned threads)
{
    unsigned n = threads / 4;
    return n < RESERVED_MIN ? RESERVED_MIN : n > RESERVED_MAX ? RESERVED_MAX : n;
}

enum err_code workers_start(unsigned threads, struct workers **out, struct err *e)
{
    unsigned working = at_least_one(threads), count = working + reserved_for(working);
    struct workers *w = calloc(1, sizeof *w + count * sizeof w->threads[0]);
    if (!w)
        return err_set(e, ERR_NOMEM, "HTTP workers");
    pthread_mutex_init(&w->lock, NULL);
    cond_init(&w->work);
    w->refused = metric_only(metrics_register(&REFUSED));
    open_lanes(w, working);
    for (; w->thread_count < count; w->thread_count++) {
        int rc = pthread_create(&w->threads[w->thread_count], NULL, worker_main, w);
        if (rc != 0) {
            workers_stop(w);
            workers_free(w);
            return err_sys(e, rc, "start an HTTP worker thread");
        }
    }
    *out = w;
    return ERR_OK;
}

void workers_stop(struct workers *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->thread_count; i++)
        pthread_join(w->threads[i], NULL);
    w->thread_count = 0;
}

void workers_free(struct workers *w)
{
    if (!w)
        return;
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
