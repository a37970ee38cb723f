/* fs/sealed/scrub.c - reads every sealed file now and then, so that damage is found while another
 * copy may still be good.
 *
 * Parts go by in the order of the index, SCRUB_BYTES_PER_SEC at most; a part that comes in behind
 * the place that was reached is met by the next pass.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/log.h"
#include "fs/sealed/internal.h"

#define PART_MEMORY_MAX ((size_t)64 << 20)

/* False: it is time to end. */
static bool rest(struct sealed *s, uint64_t seconds)
{
    uint64_t until_ms = clock_mono_ms() + seconds * 1000;

    LOCK_SCOPE(&s->lock);
    while (!s->stopping && cond_wait_until(&s->wake, &s->lock, until_ms))
        ;
    return !s->stopping;
}

static void scrub_one(struct sealed *s, const struct part *p)
{
    AUTO_FD int fd = -1;
    struct err e = {0};

    if (sealed_files_open(&s->files, p, &fd, NULL) == ERR_OK)
        sealed_check_file(s, p, fd, SEALED_CHECK_WHOLE, &e);
}

/* The part after *at, which it becomes; the memory is that of `next`.  False: the pass is over. */
static bool step(struct sealed *s, struct part *at, const struct part *after, struct arena *next)
{
    struct err e = {0};
    bool found = false;

    if (parts_next(s->index, after, next, at, &found, &e)) {
        err_wrap(&e, "scrub");
        sealed_report(s, &e);
        return false;
    }
    return found;
}

/* Rests when that many bytes have earned it; *bytes is what is left over. */
static bool rest_after(struct sealed *s, uint64_t *bytes)
{
    uint64_t seconds = *bytes / SCRUB_BYTES_PER_SEC;

    *bytes %= SCRUB_BYTES_PER_SEC;
    return rest(s, seconds);
}

/* Two arenas take turns, because the key of one part finds the next. */
bool sealed_scrub_pass(struct sealed *s)
{
    struct arena arenas[2];
    struct part at, *last = NULL;
    uint64_t bytes = 0;
    bool go_on = true;
    int turn = 0;

    for (int i = 0; i < 2; i++)
        arena_init(&arenas[i], PART_MEMORY_MAX);
    while (go_on && step(s, &at, last, &arenas[turn])) {
        scrub_one(s, &at);
        bytes += at.stored_bytes;
        last = &at;
        turn = !turn;
        arena_reset(&arenas[turn]);
        go_on = rest_after(s, &bytes);
    }
    for (int i = 0; i < 2; i++)
        arena_done(&arenas[i]);
    return go_on;
}

static void *scrub(void *arg)
{
    struct sealed *s = arg;
    uint64_t pause = SCRUB_FIRST_SEC;

    while (rest(s, pause) && sealed_scrub_pass(s))
        pause = SCRUB_PASS_SEC;
    return NULL;
}

enum err_code sealed_scrubber_start(struct sealed *s, struct err *e)
{
    int sys = pthread_create(&s->scrubber, NULL, scrub, s);

    if (sys)
        return err_sys(e, sys, "start the scrubbing thread");
    s->has_scrubber = true;
    return ERR_OK;
}

void sealed_scrubber_stop(struct sealed *s)
{
    if (s->has_scrubber)
        pthread_join(s->scrubber, NULL);
    s->has_scrubber = false;
}
