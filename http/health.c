/* http/health.c - cached probes of the processes behind the gateway. */
#include "http/health.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "fs/control/control.h"

#define PROBE_MEMORY_MAX ((size_t)4 << 20)

struct health {
    struct control_client *control; /* immutable */
    struct query_service *query;    /* immutable */
    pthread_mutex_t lock;           /* guards the rest */
    pthread_cond_t probed;
    bool probing;
    uint64_t checked_ms; /* 0: never */
    struct err last;     /* code OK: healthy */
};

struct health *health_new(struct control_client *control, struct query_service *query)
{
    struct health *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->control = control;
    h->query = query;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->probed, NULL);
    return h;
}

void health_free(struct health *h)
{
    if (!h)
        return;
    pthread_cond_destroy(&h->probed);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static enum err_code probe(const struct health *h, struct err *e)
{
    struct arena arena;
    struct json *reply;
    arena_init(&arena, PROBE_MEMORY_MAX);
    enum err_code rc = control_call(h->control, CONTROL_STATS, STR("{}"),
                                    clock_mono_ms() + HEALTH_PROBE_MS, &arena, &reply, e);
    arena_done(&arena);
    if (rc != ERR_OK)
        return err_wrap(e, "fs process");
    return query_ping(h->query, e) == ERR_OK ? ERR_OK : err_wrap(e, "engine process");
}

static void probe_unlocked(struct health *h)
{
    struct err found = {0};
    h->probing = true;
    pthread_mutex_unlock(&h->lock);
    probe(h, &found);
    pthread_mutex_lock(&h->lock);
    h->last = found;
    h->checked_ms = clock_mono_ms();
    h->probing = false;
    pthread_cond_broadcast(&h->probed);
}

enum err_code health_check(struct health *h, struct err *e)
{
    pthread_mutex_lock(&h->lock);
    uint64_t age_ms = h->checked_ms ? clock_mono_ms() - h->checked_ms : UINT64_MAX;
    if (h->probing && age_ms > HEALTH_STALE_MS)
        while (h->probing)
            pthread_cond_wait(&h->probed, &h->lock);
    else if (!h->probing && age_ms > HEALTH_FRESH_MS)
        probe_unlocked(h);
    struct err last = h->last;
    pthread_mutex_unlock(&h->lock);
    return last.code == ERR_OK ? ERR_OK : err_set(e, ERR_GONE, "%s", last.msg);
}
