/* gateway/row_ids.c - an atomic of the last id, and the end that meta has. */
#include "gateway/row_ids.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "index/meta.h"

#define KEY "row_ids_end"
#define ARENA_MAX 65536

#define AHEAD (UINT64_C(10000) << ROW_ID_BITS) /* ten seconds */
#define AHEAD_MIN (AHEAD / 2)

struct row_ids {
    struct meta *meta;    /* immutable, the caller's */
    pthread_mutex_t lock; /* of who moves the end */
    _Atomic uint64_t last, end;
};

static uint64_t id_of_now(void)
{
    return (uint64_t)(clock_wall_us() / 1000) << ROW_ID_BITS;
}

static enum err_code read_end(struct meta *m, uint64_t *end, struct err *e)
{
    struct arena a;
    struct str value;
    arena_init(&a, ARENA_MAX);
    enum err_code code = meta_value_get(m, STR(KEY), &a, &value, e);
    if (!code && !str_to_u64(value, end))
        code = err_set(e, ERR_CORRUPT, "'" KEY "' is no number");
    arena_done(&a);
    if (code && code != ERR_NOTFOUND)
        return err_wrap(e, "ids of records");
    return ERR_OK;
}

enum err_code row_ids_open(struct meta *m, struct row_ids **out, struct err *e)
{
    uint64_t end = 0;
    enum err_code code = read_end(m, &end, e);
    if (code)
        return code;
    struct row_ids *ids = calloc(1, sizeof *ids);
    if (!ids)
        return err_set(e, ERR_NOMEM, "ids of records");
    ids->meta = m;
    pthread_mutex_init(&ids->lock, NULL);
    atomic_init(&ids->last, end);
    atomic_init(&ids->end, end);
    *out = ids;
    return ERR_OK;
}

void row_ids_close(struct row_ids *ids)
{
    if (!ids)
        return;
    pthread_mutex_destroy(&ids->lock);
    free(ids);
}

/* The least that the next id may be. */
static uint64_t next_least(struct row_ids *ids)
{
    uint64_t now = id_of_now(), last = atomic_load(&ids->last);
    return now > last ? now : last + 1;
}

enum err_code row_ids_reserve(struct row_ids *ids, struct err *e)
{
    char text[24];
    if (atomic_load(&ids->end) >= next_least(ids) + AHEAD_MIN)
        return ERR_OK;
    LOCK_SCOPE(&ids->lock);
    uint64_t least = next_least(ids);
    if (atomic_load(&ids->end) >= least + AHEAD_MIN)
        return ERR_OK;
    uint64_t end = least + AHEAD;
    snprintf(text, sizeof text, "%llu", (unsigned long long)end);
    enum err_code code = meta_value_put(ids->meta, STR(KEY), str_from(text), e);
    if (code)
        return err_wrap(e, "ids of records");
    atomic_store(&ids->end, end);
    return ERR_OK;
}

/* Near the end the clock stands, for as long as nothing is reserved: the requests that reserved
 * before have more than two milliards of ids left. */
uint64_t row_ids_next(struct row_ids *ids)
{
    uint64_t now = id_of_now(), last = atomic_load(&ids->last), id;
    if (now + AHEAD_MIN / 2 >= atomic_load(&ids->end))
        now = 0;
    do
        id = now > last ? now : last + 1;
    while (!atomic_compare_exchange_weak(&ids->last, &last, id));
    return id;
}
