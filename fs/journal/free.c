/* fs/journal/free.c - the freer: forgets replaced files, then frees segments, oldest first.
 *
 *   oldest segment: not current, no incomplete batch in it, covered by the index: its publish
 *   records, and those of the replaced files that read from it
 *     live bytes 0 ─► no replaced file reads from it ─► <seq>.free ─► sync of the directory ─► pool
 *     │           └─► some do, for long, or room is scarce: unlinked ─► sync of the directory
 *     │               ─► closed with the last of them
 *     └─ few live bytes, much of max_bytes used: moved to the head (move.c), then as above
 *
 * The order is what a start relies on: the frames of a file stand before its publish record, so as
 * long as any of them is found, the record is found too.  That is why a segment goes only when the
 * one before it is durably gone.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/log.h"
#include "base/sys.h"
#include "fs/journal/internal.h"

enum {
    UNREAD_KEEP_MS = 1000, /* a replaced file that nobody has open is forgotten after that */
    LINGER_MS = 3000, /* a segment waits so long for its readers, to be used again after them */
    SWEEP_MS = 200,
    RETRY_MS = 1000,
    FORGET_STEP = 256,  /* under one hold of the locks */
    DECLARE_BYTES = 400 /* about what a file and its stream take in a segment and its table */
};

void freer_init(struct freer *f)
{
    cond_init(&f->wake);
}

void freer_done(struct freer *f)
{
    pthread_cond_destroy(&f->wake);
}

void journal_wake_freer_locked(struct journal *j)
{
    j->freer.is_woken = true;
    pthread_cond_signal(&j->freer.wake);
}

void journal_let_go(struct journal *j)
{
    LOCK_SCOPE(&j->append_lock);
    j->freer.is_held = false;
    journal_wake_freer_locked(j);
}

void journal_want_room_locked(struct journal *j)
{
    j->freer.is_full = true;
    journal_wake_freer_locked(j);
}

/* ---- forgetting ---- */

/* Not before the index has its part for good: until then these may be the only rows to be read. */
static bool may_forget(const struct journal *j, const struct jfile *file, uint64_t now_ms)
{
    uint64_t keep_ms = j->cfg.replaced_keep_us / 1000, age_ms = now_ms - file->replaced_ms;
    bool is_read = file->pins[JOURNAL_READER_HANDLE] > 0 || file->was_replayed;
    if (file->pins[JOURNAL_READER_SNAPSHOT] > 0 || file->published > j->covered || j->freer.is_held)
        return false;
    return age_ms >= keep_ms || (!is_read && age_ms >= UNREAD_KEEP_MS);
}

struct forgotten {
    struct ulid ids[FORGET_STEP];
    size_t count;
};

static void forget_locked(struct journal *j, struct jfile *file, struct forgotten *out)
{
    out->ids[out->count++] = file->id;
    files_forget_locked(&j->files, file);
}

static void tell_forgotten(struct journal *j, const struct forgotten *list)
{
    for (size_t i = 0; j->cfg.on_forgotten && i < list->count; i++)
        j->cfg.on_forgotten(&list->ids[i], j->cfg.ctx);
}

static void lock_files(struct journal *j)
{
    pthread_mutex_lock(&j->append_lock);
    pthread_rwlock_wrlock(&j->files.lock);
}

static void unlock_files(struct journal *j)
{
    files_tidy_locked(&j->files);
    pthread_rwlock_unlock(&j->files.lock);
    pthread_mutex_unlock(&j->append_lock);
}

static void sweep(struct journal *j)
{
    struct forgotten list;
    do {
        uint64_t now_ms = clock_mono_ms();
        list.count = 0;
        lock_files(j);
        for (struct jfile *file = j->files.first_replaced, *next; file; file = next) {
            next = file->next_replaced;
            if (may_forget(j, file, now_ms))
                forget_locked(j, file, &list);
            if (list.count == FORGET_STEP)
                break;
        }
        unlock_files(j);
        tell_forgotten(j, &list);
    } while (list.count == FORGET_STEP);
}

static bool reads_up_to(const struct jfile *file, uint32_t seq)
{
    for (size_t i = 0; i < file->extents.count; i++) {
        if (extent_at(&file->extents, i)->seq <= seq)
            return true;
    }
    return false;
}

/* replaced_max_bytes with one segment more? */
static bool fits(const struct journal *j, const struct segment *s)
{
    return s->kept_bytes == 0 ||
           atomic_load(&j->replaced_bytes) + s->counted_bytes <= j->cfg.replaced_max_bytes;
}

/* The oldest reader of a segment that would stay for readers alone, unless a query needs it. */
static struct jfile *oldest_reader_locked(const struct journal *j, const struct segment *s)
{
    struct jfile *file = j->files.first_replaced;
    while (file && (file->pins[JOURNAL_READER_SNAPSHOT] > 0 || file->published > j->covered ||
                    !reads_up_to(file, s->seq)))
        file = file->next_replaced;
    return file;
}

static void drop_gone(struct journal *j);

/* Forget readers until the segment may be kept for those that are left.  False: queries need more
 * than that. */
static bool make_room_for_readers(struct journal *j, const struct segment *s)
{
    struct forgotten list;
    bool ok;
    do {
        list.count = 0;
        lock_files(j);
        for (ok = fits(j, s); !ok && list.count < FORGET_STEP; ok = fits(j, s)) {
            struct jfile *file = oldest_reader_locked(j, s);
            if (!file)
                break;
            forget_locked(j, file, &list);
        }
        unlock_files(j);
        tell_forgotten(j, &list);
        drop_gone(j);
        ok = fits(j, s);
    } while (!ok && list.count > 0);
    return ok;
}

/* ---- segments ---- */

static uint64_t kept_bytes(struct journal *j, const struct segment *s)
{
    pthread_rwlock_rdlock(&j->files.lock);
    uint64_t bytes = s->kept_bytes;
    pthread_rwlock_unlock(&j->files.lock);
    return bytes;
}

/* Unlinked segments that no replaced file needs any more; they are the first in the list. */
static void drop_gone(struct journal *j)
{
    for (;;) {
        struct segment *gone = NULL;
        pthread_mutex_lock(&j->append_lock);
        for (size_t i = 0; i < j->files.segment_count && !gone; i++) {
            struct segment *s = j->files.segments[i];
            if (s->place != SEGMENT_GONE)
                break;
            if (kept_bytes(j, s) == 0)
                gone = s;
        }
        if (gone)
            files_remove_segment(&j->files, gone);
        pthread_mutex_unlock(&j->append_lock);
        if (!gone)
            return;
        atomic_fetch_sub(&j->replaced_bytes, gone->counted_bytes);
        segment_unref(gone);
    }
}

static struct segment *oldest_locked(const struct journal *j)
{
    for (size_t i = 0; i < j->files.segment_count; i++) {
        struct segment *s = j->files.segments[i];
        if (s->place != SEGMENT_GONE)
            return s == j->current ? NULL : s;
    }
    return NULL;
}

/* Does the index have all that was published in it, and the parts of what reads from it?  A start
 * that finds no room in the index shows those files in place of their parts. */
static bool is_covered_locked(const struct journal *j, const struct segment *s)
{
    if (s->published_end > j->covered)
        return false;
    for (const struct jfile *f = j->files.first_replaced; f; f = f->next_replaced) {
        if (f->published > j->covered && reads_up_to(f, s->seq))
            return false;
    }
    return true;
}

static bool can_recycle(const struct journal *j, const struct segment *s)
{
    return s->size_bytes == j->cfg.segment_bytes && s->counted_bytes == s->size_bytes &&
           s->end + SEGMENT_FOOTER_LEN <= s->size_bytes;
}

/* Out of the directory, durably.  May be tried again. */
static enum err_code leave_directory(struct journal *j, struct segment *s, struct err *e)
{
    char path[PATH_MAX], free_path[PATH_MAX];
    segment_path(j->cfg.dir, s->seq, path);
    segment_free_path(j->cfg.dir, s->seq, free_path);
    if (s->place == SEGMENT_LINKED) {
        s->is_renamed = kept_bytes(j, s) == 0 && can_recycle(j, s);
        if ((s->is_renamed ? sys_rename(path, free_path) : sys_unlink(path)) < 0)
            return err_sys(e, errno, "%s: free", path);
        s->place = SEGMENT_LEAVING;
    }
    enum err_code rc = sys_fsync_dir(j->cfg.dir, e);
    if (!rc)
        s->place = SEGMENT_GONE;
    return rc;
}

/* Nobody reads it, but perhaps a read that is under way. */
static void recycle(struct journal *j, struct segment *s)
{
    char path[PATH_MAX];
    segment_free_path(j->cfg.dir, s->seq, path);
    pthread_mutex_lock(&j->append_lock);
    files_remove_segment(&j->files, s);
    pthread_mutex_unlock(&j->append_lock);
    if (atomic_load(&s->refs) == 1 && segpool_recycle(j->pool, s->seq, s->fd)) {
        s->fd = -1;
        atomic_fetch_add(&j->recycled_count, 1);
    } else {
        sys_unlink(path); /* else the next start does it */
        segpool_drop(j->pool, s->counted_bytes);
    }
    segment_unref(s);
}

static enum err_code free_segment(struct journal *j, struct segment *s, struct err *e)
{
    if (s->place == SEGMENT_LINKED && !make_room_for_readers(j, s))
        return ERR_AGAIN;
    enum err_code rc = leave_directory(j, s, e);
    if (rc)
        return rc;
    atomic_fetch_add(&j->freed_count, 1);
    if (s->is_renamed) {
        recycle(j, s);
        return ERR_OK;
    }
    segpool_drop(j->pool, s->counted_bytes);
    atomic_fetch_add(&j->replaced_bytes, s->counted_bytes);
    drop_gone(j);
    return ERR_OK;
}

/* ---- which one, and when to move ---- */

static uint64_t linked_bytes_locked(const struct journal *j)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < j->files.segment_count; i++) {
        if (j->files.segments[i]->place != SEGMENT_GONE)
            sum += j->files.segments[i]->counted_bytes;
    }
    return sum;
}

/* What it takes to have the live lines elsewhere: their frames, and declarations of their files. */
static uint64_t move_cost(const struct segment *s)
{
    uint64_t files = s->live_bytes / FRAME_HEADER_LEN; /* at most */
    return s->live_bytes + (files < s->file_count ? files : s->file_count) * DECLARE_BYTES;
}

/* Is room so scarce that what pins this segment has to make way? */
static bool is_scarce_locked(const struct journal *j, const struct segment *s)
{
    if (j->freer.is_full)
        return move_cost(s) <= s->size_bytes / 4 * 3;
    return linked_bytes_locked(j) > j->cfg.max_bytes / 2 && move_cost(s) <= s->size_bytes / 2;
}

enum verdict { VERDICT_WAIT, VERDICT_FREE, VERDICT_MOVE };

/* Most replaced files are forgotten soon, and then the segment can be used again. */
static bool may_linger_locked(const struct journal *j, struct segment *s, bool is_scarce)
{
    uint64_t now_ms = clock_mono_ms();
    if (s->lingers_from_ms == 0)
        s->lingers_from_ms = now_ms;
    return s->place == SEGMENT_LINKED && s->kept_bytes > 0 && !is_scarce &&
           j->files.first_replaced && now_ms - s->lingers_from_ms < LINGER_MS;
}

static enum verdict judge(struct journal *j, struct segment **out)
{
    enum verdict verdict = VERDICT_WAIT;
    pthread_mutex_lock(&j->append_lock);
    struct segment *s = *out = oldest_locked(j);
    if (s && is_covered_locked(j, s)) {
        bool is_scarce = is_scarce_locked(j, s);
        if (is_scarce) /* its sender is told that a part is missing, and sends all */
            batches_drop_from(&j->batches, s->seq);
        if (batches_oldest(&j->batches) <= s->seq)
            verdict = VERDICT_WAIT; /* they come to their end, or are dropped above */
        else if (s->live_bytes == 0)
            verdict = may_linger_locked(j, s, is_scarce) ? VERDICT_WAIT : VERDICT_FREE;
        else if (is_scarce)
            verdict = VERDICT_MOVE;
    }
    pthread_mutex_unlock(&j->append_lock);
    return verdict;
}

static enum err_code move_lines(struct journal *j, struct segment *s, struct err *e)
{
    bool left = true;
    enum err_code rc = ERR_OK;
    while (!rc && left)
        rc = journal_move_lines(j, s, &left, e);
    return rc;
}

/* One segment; ERR_AGAIN: nothing can be done now. */
static enum err_code free_oldest(struct journal *j, struct err *e)
{
    struct segment *s;
    enum verdict verdict = judge(j, &s);
    if (verdict == VERDICT_MOVE) {
        enum err_code rc = move_lines(j, s, e);
        if (rc)
            return rc;
        verdict = judge(j, &s);
    }
    return verdict == VERDICT_FREE ? free_segment(j, s, e) : ERR_AGAIN;
}

/* ---- the thread ---- */

static void wait_for_work(struct journal *j, bool has_failed)
{
    struct freer *f = &j->freer;
    uint64_t due_ms = clock_mono_ms() + (has_failed ? RETRY_MS : SWEEP_MS);
    pthread_mutex_lock(&j->append_lock);
    while (!f->stopping && !f->is_woken) {
        bool is_timed = has_failed || j->files.first_replaced;
        if (!cond_wait_until(&f->wake, &j->append_lock, is_timed ? due_ms : 0))
            break;
    }
    f->is_woken = false;
    pthread_mutex_unlock(&j->append_lock);
}

static bool is_stopping(struct journal *j)
{
    pthread_mutex_lock(&j->append_lock);
    bool stopping = j->freer.stopping;
    pthread_mutex_unlock(&j->append_lock);
    return stopping;
}

static void *freer_main(void *arg)
{
    struct journal *j = arg;
    bool has_failed = false, is_logged = false;
    while (!is_stopping(j)) {
        struct err e = {0};
        enum err_code rc = ERR_OK;
        wait_for_work(j, has_failed);
        sweep(j);
        drop_gone(j);
        while (!rc && !is_stopping(j))
            rc = free_oldest(j, &e);
        has_failed = rc && rc != ERR_AGAIN;
        if (has_failed && !is_logged)
            log_printf(LOG_ERROR, "journal: a segment cannot be freed: %s", e.msg);
        is_logged = has_failed;
        pthread_mutex_lock(&j->append_lock);
        j->freer.is_full = false;
        pthread_mutex_unlock(&j->append_lock);
    }
    return NULL;
}

enum err_code freer_start(struct journal *j, struct err *e)
{
    j->freer.is_woken = true;
    int sys = pthread_create(&j->freer.thread, NULL, freer_main, j);
    if (sys)
        return err_sys(e, sys, "start the journal's freer");
    j->freer.is_running = true;
    return ERR_OK;
}

void freer_stop(struct journal *j)
{
    if (!j->freer.is_running)
        return;
    pthread_mutex_lock(&j->append_lock);
    j->freer.stopping = true;
    pthread_cond_signal(&j->freer.wake);
    pthread_mutex_unlock(&j->append_lock);
    pthread_join(j->freer.thread, NULL);
    j->freer.is_running = false;
}
