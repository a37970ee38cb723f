/* fs/journal/sync.c - the syncer: makes frames durable, answers who waits, keeps what is not
 * durable in memory.
 *
 * Group commit: while one fdatasync runs, appends go on; the next one covers all of them.  The
 * thread works when somebody waits, when UNSYNCED_MAX is half used, or BACKGROUND_SYNC_MS after
 * the first frame nobody waits for.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/cond.h"
#include "base/log.h"
#include "base/sys.h"
#include "fs/journal/internal.h"

void sync_init(struct sync_state *s)
{
    pthread_mutex_init(&s->lock, NULL);
    cond_init(&s->wake);
    pthread_cond_init(&s->drained, NULL);
}

void sync_done(struct sync_state *s)
{
    image_free_list(s->first);
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->drained);
    pthread_mutex_destroy(&s->lock);
}

/* ---- what is not durable ---- */

void sync_charge(struct journal *j, size_t bytes)
{
    struct sync_state *s = &j->sync;
    pthread_mutex_lock(&s->lock);
    s->waiting_for_room++;
    while (s->charged_bytes > 0 && s->charged_bytes + bytes > UNSYNCED_MAX) {
        pthread_cond_signal(&s->wake);
        pthread_cond_wait(&s->drained, &s->lock);
    }
    s->waiting_for_room--;
    s->charged_bytes += bytes;
    pthread_mutex_unlock(&s->lock);
}

void sync_uncharge(struct journal *j, size_t bytes)
{
    struct sync_state *s = &j->sync;
    pthread_mutex_lock(&s->lock);
    s->charged_bytes -= bytes;
    pthread_cond_broadcast(&s->drained);
    pthread_mutex_unlock(&s->lock);
}

void sync_push(struct journal *j, struct image *img)
{
    struct sync_state *s = &j->sync;
    img->next = NULL;
    pthread_mutex_lock(&s->lock);
    if (s->last)
        s->last->next = img;
    else
        s->first = img;
    s->last = img;
    s->written = frame_position(img->seq, img->at + (uint32_t)img->len);
    if (s->last == s->first || s->charged_bytes > UNSYNCED_MAX / 2)
        pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

struct image *sync_take_images(struct journal *j)
{
    struct sync_state *s = &j->sync;
    pthread_mutex_lock(&s->lock);
    struct image *list = s->first;
    s->first = s->last = NULL;
    pthread_mutex_unlock(&s->lock);
    return list;
}

/* Cut off the images that end at or before `position`. */
static struct image *pop_images_locked(struct sync_state *s, uint64_t position)
{
    struct image *list = s->first, **tail = &list;
    while (*tail &&
           frame_position((*tail)->seq, (*tail)->at + (uint32_t)(*tail)->len) <= position) {
        s->charged_bytes -= (*tail)->charged;
        tail = &(*tail)->next;
    }
    s->first = *tail;
    *tail = NULL;
    if (!s->first)
        s->last = NULL;
    return list;
}

/* ---- who waits ---- */

/* Cut out the waiters that are (not) `after` the position. */
static struct waiter *pop_waiters_locked(struct sync_state *s, uint64_t position, bool after)
{
    struct waiter *out = NULL, **out_tail = &out, **at = &s->first_waiter;
    s->last_waiter = NULL;
    while (*at) {
        struct waiter *w = *at;
        if ((w->position > position) == after) {
            *at = w->next;
            w->next = NULL;
            *out_tail = w;
            out_tail = &w->next;
            s->waiting--;
        } else {
            s->last_waiter = w;
            at = &w->next;
        }
    }
    return out;
}

/* Answered by sync_flush, when no lock is held. */
static void make_ready(struct sync_state *s, struct waiter *list, enum err_code code)
{
    struct waiter **tail = &s->ready;
    while (*tail)
        tail = &(*tail)->next;
    *tail = list;
    for (; list; list = list->next)
        list->code = code;
}

void sync_flush(struct journal *j)
{
    struct waiter *list = j->sync.ready;
    j->sync.ready = NULL;
    while (list) {
        struct waiter *next = list->next;
        list->done(list->code, list->code ? &j->sync.why : NULL, list->ctx);
        free(list);
        list = next;
    }
}

void sync_settle(struct journal *j, uint64_t position)
{
    struct sync_state *s = &j->sync;
    pthread_mutex_lock(&s->lock);
    if (position > atomic_load(&s->synced))
        atomic_store(&s->synced, position);
    struct image *images = pop_images_locked(s, position);
    for (const struct image *img = images; img; img = img->next)
        atomic_fetch_add(&s->synced_bytes, img->len);
    make_ready(s, pop_waiters_locked(s, position, false), ERR_OK);
    pthread_cond_broadcast(&s->drained);
    pthread_mutex_unlock(&s->lock);
    image_free_list(images);
}

void sync_fail(struct journal *j)
{
    struct sync_state *s = &j->sync;
    pthread_mutex_lock(&s->lock);
    uint64_t synced = atomic_load(&s->synced);
    s->failed_after = synced;
    s->failed_to = s->written;
    s->written = synced;
    struct image *images = pop_images_locked(s, UINT64_MAX);
    make_ready(s, pop_waiters_locked(s, synced, true), ERR_IO);
    pthread_cond_broadcast(&s->drained);
    pthread_mutex_unlock(&s->lock);
    image_free_list(images);
    err_set(&s->why, ERR_IO, "the journal could not be made durable: %s", j->broken.msg);
}

/* OK: durable already; AGAIN: it will be; else it never will. */
static enum err_code durable_locked(const struct sync_state *s, uint64_t position)
{
    if (position > s->failed_after && position <= s->failed_to)
        return ERR_IO;
    return position <= atomic_load(&s->synced) ? ERR_OK : ERR_AGAIN;
}

static bool add_waiter_locked(struct sync_state *s, uint64_t position, journal_done done, void *ctx)
{
    struct waiter *w = s->waiting < WAITERS_MAX ? malloc(sizeof *w) : NULL;
    if (!w)
        return false;
    *w = (struct waiter){.position = position, .done = done, .ctx = ctx};
    if (s->last_waiter)
        s->last_waiter->next = w;
    else
        s->first_waiter = w;
    s->last_waiter = w;
    s->waiting++;
    pthread_cond_signal(&s->wake);
    return true;
}

void sync_answer(struct journal *j, uint64_t position, journal_done done, void *ctx)
{
    struct sync_state *s = &j->sync;
    struct err e = {0};
    pthread_mutex_lock(&s->lock);
    enum err_code rc = durable_locked(s, position);
    bool queued = rc == ERR_AGAIN && add_waiter_locked(s, position, done, ctx);
    pthread_mutex_unlock(&s->lock);
    if (queued)
        return;
    if (rc == ERR_AGAIN)
        err_set(&e, rc, "over %d answers wait for the disk", WAITERS_MAX);
    else if (rc)
        err_set(&e, rc, "the journal could not be made durable");
    done(rc, rc ? &e : NULL, ctx);
}

struct blocked {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool is_answered;
    enum err_code code;
    struct err e;
};

static void unblock(enum err_code code, const struct err *e, void *ctx)
{
    struct blocked *b = ctx;
    pthread_mutex_lock(&b->lock);
    b->code = code;
    if (e)
        b->e = *e;
    b->is_answered = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
}

enum err_code sync_wait(struct journal *j, uint64_t position, struct err *e)
{
    struct blocked b = {.code = ERR_OK};
    pthread_mutex_init(&b.lock, NULL);
    pthread_cond_init(&b.cond, NULL);
    sync_answer(j, position, unblock, &b);
    pthread_mutex_lock(&b.lock);
    while (!b.is_answered)
        pthread_cond_wait(&b.cond, &b.lock);
    pthread_mutex_unlock(&b.lock);
    pthread_cond_destroy(&b.cond);
    pthread_mutex_destroy(&b.lock);
    if (b.code && e)
        *e = b.e;
    return b.code;
}

/* ---- the thread ---- */

void sync_want_move(struct journal *j, bool wanted)
{
    pthread_mutex_lock(&j->sync.lock);
    j->sync.move_wanted = wanted;
    pthread_cond_signal(&j->sync.wake);
    pthread_mutex_unlock(&j->sync.lock);
}

static bool sync_is_urgent(const struct sync_state *s)
{
    return s->first_waiter || s->waiting_for_room || s->stopping ||
           s->charged_bytes > UNSYNCED_MAX / 2;
}

/* Sleep until there is work, or the first frame has waited long enough. */
static void wait_for_work_locked(struct sync_state *s)
{
    uint64_t due_ms = clock_mono_ms() + BACKGROUND_SYNC_MS;
    while (!s->move_wanted && !s->stopping && !(s->first && sync_is_urgent(s))) {
        if (!s->first) {
            pthread_cond_wait(&s->wake, &s->lock);
            return; /* a frame's wait begins now */
        }
        if (!cond_wait_until(&s->wake, &s->lock, due_ms))
            return;
    }
}

struct work {
    bool sync, move, stop;
    uint64_t target;
};

static struct work next_work(struct sync_state *s)
{
    struct work w = {0};
    pthread_mutex_lock(&s->lock);
    bool was_idle = !s->first;
    wait_for_work_locked(s);
    w.move = s->move_wanted;
    w.sync = s->first && (!was_idle || w.move || sync_is_urgent(s));
    w.stop = s->stopping && !w.move && !s->first;
    w.target = s->written;
    pthread_mutex_unlock(&s->lock);
    return w;
}

static void move(struct journal *j)
{
    pthread_mutex_lock(&j->append_lock);
    journal_move_locked(j);
    pthread_mutex_unlock(&j->append_lock);
}

/* A failed sync is never tried again on that segment.  Returns whether it moved to another. */
static bool sync_current(struct journal *j, uint64_t target)
{
    atomic_fetch_add(&j->sync.syncs, 1);
    if (sys_fdatasync(j->current->fd) == 0) {
        sync_settle(j, target);
        return false;
    }
    int sys = errno;
    log_printf(LOG_ERROR, "journal: sync of segment %u failed: %s; writing again elsewhere",
               j->current->seq, strerror(sys));
    pthread_mutex_lock(&j->append_lock);
    j->state = CURRENT_POISONED;
    journal_move_locked(j);
    pthread_mutex_unlock(&j->append_lock);
    return true;
}

static void *sync_main(void *arg)
{
    struct journal *j = arg;
    for (;;) {
        struct work w = next_work(&j->sync);
        if (w.stop)
            return NULL;
        bool moved = w.sync && sync_current(j, w.target);
        if (w.move && !moved)
            move(j);
        sync_flush(j);
    }
}

enum err_code sync_start(struct journal *j, struct err *e)
{
    int sys = pthread_create(&j->sync.thread, NULL, sync_main, j);
    if (sys)
        return err_sys(e, sys, "start the syncer");
    j->sync.is_running = true;
    return ERR_OK;
}

void sync_stop(struct journal *j)
{
    if (!j->sync.is_running)
        return;
    pthread_mutex_lock(&j->sync.lock);
    j->sync.stopping = true;
    pthread_cond_signal(&j->sync.wake);
    pthread_mutex_unlock(&j->sync.lock);
    pthread_join(j->sync.thread, NULL);
    j->sync.is_running = false;
}
