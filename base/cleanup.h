/* base/cleanup.h - scope-bound release of what a function owns.
 *
 * `AUTO_FD int fd = open(...)` closes at the end of the scope; ownership leaves by take_fd(&fd).
 * Modules define their own AUTO_* beside their own types.
 */
#ifndef WEIR_BASE_CLEANUP_H
#define WEIR_BASE_CLEANUP_H

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
static inline void cleanup_free(void *p)
{
    void *mem;
    __builtin_memcpy(&mem, p, sizeof mem);
    free(mem);
}
static inline void cleanup_unlock(pthread_mutex_t **m)
{
    if (*m)
        pthread_mutex_unlock(*m);
}
static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

#define AUTO_FD __attribute__((cleanup(cleanup_fd)))
#define AUTO_FREE __attribute__((cleanup(cleanup_free)))
/* Holds `m` until the end of the scope. */
#define LOCK_CAT2(a, b) a##b
#define LOCK_CAT(a, b) LOCK_CAT2(a, b)
#define LOCK_SCOPE(m)                                                                              \
    pthread_mutex_t *LOCK_CAT(lock_scope_, __LINE__)                                               \
        __attribute__((unused, cleanup(cleanup_unlock))) = (pthread_mutex_lock(m), (m))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
