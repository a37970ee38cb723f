/* gateway/engine/turns.c - a counting semaphore that can be given up. */
#include "gateway/engine/turns.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"

void turns_init(struct turns *t, unsigned most)
{
    t->left = most;
    pthread_mutex_init(&t->lock, NULL);
    cond_init(&t->given_back);
}

void turns_done(struct turns *t)
{
    pthread_cond_destroy(&t->given_back);
    pthread_mutex_destroy(&t->lock);
}

bool turns_take(struct turns *t, const atomic_bool *cancelled)
{
    LOCK_SCOPE(&t->lock);
    while (t->left == 0 && !atomic_load(cancelled))
        cond_wait_until(&t->given_back, &t->lock, clock_mono_ms() + TURNS_LOOK_MS);
    if (atomic_load(cancelled))
        return false;
    t->left--;
    return true;
}

void turns_give_back(struct turns *t)
{
    LOCK_SCOPE(&t->lock);
    t->left++;
    pthread_cond_signal(&t->given_back);
}
