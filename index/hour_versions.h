/* index/hour_versions.h - how often what belongs to an hour has changed: is a list that somebody
 * keeps still right?
 *
 * Hours share slots, so a version may move without a change of its hour, but no change goes without
 * one.  Touch after the change can be seen; who keeps a list reads the version before making it.
 * Thread safety: any thread.
 */
#ifndef WEIR_INDEX_HOUR_VERSIONS_H
#define WEIR_INDEX_HOUR_VERSIONS_H

#include <stdatomic.h>
#include <stdint.h>

#define HOUR_VERSION_SLOTS 1024u

struct hour_versions { /* zeroed */
    _Atomic uint64_t all;
    _Atomic uint64_t slots[HOUR_VERSION_SLOTS];
};

static inline void hour_versions_touch(struct hour_versions *v, int32_t hour)
{
    atomic_fetch_add(&v->slots[(uint32_t)hour % HOUR_VERSION_SLOTS], 1);
}

static inline void hour_versions_touch_all(struct hour_versions *v)
{
    atomic_fetch_add(&v->all, 1);
}

static inline uint64_t hour_versions_get(struct hour_versions *v, int32_t hour)
{
    return atomic_load(&v->slots[(uint32_t)hour % HOUR_VERSION_SLOTS]) + atomic_load(&v->all);
}

#endif
