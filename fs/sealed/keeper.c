/* fs/sealed/keeper.c - makes the index durable now and then, so that the journal may free what the
 * index covers; before that it ends what others had to leave. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "fs/sealed/internal.h"

static void cover(struct sealed *s)
{
    struct err e = {0};
    uint64_t position, told;

    pthread_mutex_lock(&s->lock);
    position = sealed_covered_locked(s);
    told = s->covered;
    pthread_mutex_unlock(&s->lock);
    if (position == told)
        return;
    if (kv_sync_now(parts_kv(s->index), &e)) {
        err_wrap(&e, "index");
        sealed_report(s, &e);
        return;
    }
    journal_covered(s->cfg.journal, position);
    pthread_mutex_lock(&s->lock);
    s->covered = position;
    pthread_mutex_unlock(&s->lock);
}

/* A while after the first of some publications, so that one sync serves them all. */
static bool wait_a_while(struct sealed *s)
{
    LOCK_SCOPE(&s->lock);
    while (!s->stopping && !s->flights && s->covered == s->newest && !sealed_has_ripe_locked(s))
        pthread_cond_wait(&s->wake, &s->lock);
    uint64_t until_ms = clock_mono_ms() + KEEPER_MS;
    while (!s->stopping && cond_wait_until(&s->wake, &s->lock, until_ms))
        ;
    return !s->stopping;
}

static void *keep(void *arg)
{
    struct sealed *s = arg;

    while (wait_a_while(s)) {
        sealed_retry_stuck(s);
        sealed_drop_ripe(s);
        cover(s);
    }
    return NULL;
}

enum err_code sealed_keeper_start(struct sealed *s, struct err *e)
{
    int sys = pthread_create(&s->keeper, NULL, keep, s);

    if (sys)
        return err_sys(e, sys, "start the index's thread");
    s->has_keeper = true;
    return ERR_OK;
}

void sealed_keeper_stop(struct sealed *s)
{
    if (!s->has_keeper)
        return;
    pthread_join(s->keeper, NULL);
    s->has_keeper = false;
    sealed_retry_stuck(s);
    sealed_drop_ripe(s);
    cover(s);
}
