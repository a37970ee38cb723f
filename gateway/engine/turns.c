/* gateway/engine/turns.c - a counting semaphore that can be given up. */
#include "gateway/engine/turns.h"

#include <time.h>

#include "base/cleanup.h"

void turns_init(struct turns *t, unsigned most)
{
    pthread_condattr_t attr;

    t->left = most;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->given_back, &attr);
    pthread_condattr_destroy(&attr);
}

void turns_done(struct turns *t)
{
    pthread_cond_destroy(&t->given_back);
    pthread_mutex_destroy(&t->lock);
}

static struct timespec next_look(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += TURNS_LOOK_MS * 1000000L;
    at.tv_sec += at.tv_nsec / 1000000000L;
    at.tv_nsec %= 1000000000L;
    return at;
}

bool turns_take(struct turns *t, const atomic_bool *cancelled)
{
    LOCK_SCOPE(&t->lock);
    while (t->left == 0 && !atomic_load(cancelled)) {
        struct timespec until = next_look();
        pthread_cond_timedwait(&t->given_back, &t->lock, &until);
    }
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
