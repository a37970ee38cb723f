/* gateway/engine/turns.h - a bounded number of threads at a time do what takes memory.
 *
 * Good for: a step of a longer work, after which others may take it.  Not for: fairness.
 * Owner: the caller's memory, from turns_init to turns_done; nobody waits or has a turn then.
 * Thread safety: any thread.
 */
#ifndef WEIR_GATEWAY_ENGINE_TURNS_H
#define WEIR_GATEWAY_ENGINE_TURNS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct turns {
    pthread_mutex_t lock;
    pthread_cond_t given_back;
    unsigned left; /* (lock) */
};
void turns_init(struct turns *t, unsigned most);
void turns_done(struct turns *t);
/* Waits for a turn.  False: *cancelled was set meanwhile, which is seen within TURNS_LOOK_MS. */
#define TURNS_LOOK_MS 50
bool turns_take(struct turns *t, const atomic_bool *cancelled);
void turns_give_back(struct turns *t);

#endif
