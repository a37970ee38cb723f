/* base/cond.h - condition variables whose waits end at a time of the monotonic clock.
 *
 * Thread safety: as pthread_cond_*; the mutex is held around cond_wait_until.
 */
#ifndef WEIR_BASE_COND_H
#define WEIR_BASE_COND_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

void cond_init(pthread_cond_t *c); /* ended by pthread_cond_destroy */

/* Waits until a signal, or until clock_mono_ms() is `until_ms`; 0: for a signal alone.  False: the
 * time has come.  May return true without a signal, as pthread_cond_wait. */
bool cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, uint64_t until_ms);

#endif
