/* fs/journal/segpool.c - makes segment files ahead of their use.
 *
 *   make: create ─► allocate all (a full disk shows here, cleanly) ─► zero-fill while nobody waits
 *         ─► sync the file ─► sync the directory ─► ready
 *   or, with a freed segment at hand: zeros over its header ─► sync ─► rename ─► sync the directory
 */
#include "fs/journal/segpool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"

enum {
    AHEAD = 1,               /* files kept ready */
    READY_MAX = 4,           /* with those handed back */
    FREED_MAX = 2,           /* waiting to be used again */
    FILL_STEP = 1 << 20,     /* a waiting append is noticed after so many bytes */
    FILL_MIN = 4 << 20,      /* zero-filled even when somebody waits */
    BULK_INTERVAL_MS = 2000, /* taken more often than that: allocate only */
    DISK_CHECK_MS = 100
};

struct segpool {
    struct segpool_config cfg; /* immutable */
    pthread_t thread;
    bool is_running;
    pthread_mutex_t lock; /* guards all below that is not atomic */
    pthread_cond_t work, made;
    struct segpool_file ready[READY_MAX];
    unsigned ready_count;
    struct segpool_file freed[FREED_MAX]; /* seq is the old one */
    unsigned freed_count;
    uint32_t next_seq;
    uint64_t begun, failed; /* number of the newest try, of the newest that failed */
    uint64_t failed_ms;     /* when that found no room; 0: it may be there again */
    bool failed_beyond;     /* the disk has none, whatever max_bytes says */
    uint64_t hopes;         /* calls of expect_room */
    enum err_code failed_code;
    struct err failed_why;
    bool stopping, beyond_max, gave_up; /* gave_up: no more tries until somebody asks */
    uint64_t taken_ms;
    uint64_t disk_checked_ms;
    bool disk_is_low;
    struct segpool_stats stats;
    _Atomic bool is_wanted, is_bulk;
};

static bool disk_has_room(const struct segpool *p, uint64_t need_bytes)
{
    struct statvfs v;
    if (statvfs(p->cfg.dir, &v) < 0)
        return true; /* the write itself will tell */
    uint64_t free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    return free_bytes >= need_bytes && free_bytes - need_bytes >= p->cfg.reserve_bytes;
}

static enum err_code journal_is_full(const struct segpool *p, uint64_t used, struct err *e)
{
    return err_set(e, ERR_FULL, "the journal is full: %" PRIu64 " of %" PRIu64 " bytes", used,
                   p->cfg.max_bytes);
}

enum err_code segpool_check_room(struct segpool *p, struct err *e)
{
    LOCK_SCOPE(&p->lock);
    uint64_t now = clock_mono_ms();
    /* In whole segments: a table may reach a little past the end of its own. */
    if (p->stats.files_bytes / p->cfg.segment_bytes > p->cfg.max_bytes / p->cfg.segment_bytes)
        return journal_is_full(p, p->stats.files_bytes, e);
    if (p->disk_checked_ms == 0 || now - p->disk_checked_ms >= DISK_CHECK_MS) {
        p->disk_is_low = !disk_has_room(p, 0);
        p->disk_checked_ms = now;
    }
    if (!p->disk_is_low)
        return ERR_OK;
    return err_set(e, ERR_FULL, "the disk has less than the reserve of %" PRIu64 " bytes free",
                   p->cfg.reserve_bytes);
}

static enum err_code check_room(struct segpool *p, bool beyond_max, struct err *e)
{
    uint64_t used;
    {
        LOCK_SCOPE(&p->lock);
        used = p->stats.files_bytes;
    }
    if (beyond_max)
        return ERR_OK;
    if (used + p->cfg.segment_bytes > p->cfg.max_bytes)
        return journal_is_full(p, used, e);
    if (!disk_has_room(p, p->cfg.segment_bytes))
        return err_set(e, ERR_FULL, "the disk has no room for a segment beside its reserve");
    return ERR_OK;
}

static bool may_stop_filling(const struct segpool *p, uint64_t filled)
{
    if (atomic_load_explicit(&p->is_bulk, memory_order_relaxed))
        return true;
    return filled >= FILL_MIN && atomic_load_explicit(&p->is_wanted, memory_order_relaxed);
}

static enum err_code fill(struct segpool *p, int fd, bool *zero_filled, struct err *e)
{
    static const char ZEROS[FILL_STEP];
    uint64_t at = 0, size = p->cfg.segment_bytes;
    bool allocated = sys_fallocate(fd, 0, 0, (off_t)size) == 0;
    if (!allocated && errno != EOPNOTSUPP)
        return err_sys(e, errno, "allocate a segment");
    while (at < size && !(allocated && may_stop_filling(p, at))) {
        size_t n = size - at < FILL_STEP ? (size_t)(size - at) : FILL_STEP;
        enum err_code rc = sys_write_full(fd, ZEROS, n, (off_t)at, e);
        if (rc)
            return rc;
        at += n;
    }
    *zero_filled = at == size;
    if (sys_fdatasync(fd) < 0)
        return err_sys(e, errno, "sync a prepared segment");
    return sys_fsync_dir(p->cfg.dir, e);
}

static enum err_code make(struct segpool *p, uint32_t seq, bool beyond_max, int *out,
                          bool *zero_filled, struct err *e)
{
    char path[PATH_MAX];
    enum err_code rc = check_room(p, beyond_max, e);
    if (rc)
        return rc;
    segment_path(p->cfg.dir, seq, path);
    AUTO_FD int fd = sys_open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_sys(e, errno, "%s: create", path);
    rc = fill(p, fd, zero_filled, e);
    if (rc) {
        sys_unlink(path);
        return err_wrap(e, "%s", path);
    }
    *out = take_fd(&fd);
    return ERR_OK;
}

/* Its old footer tells its old number, as its frames do: neither is believed. */
static enum err_code renew(struct segpool *p, const struct segpool_file *old, uint32_t seq,
                           struct err *e)
{
    static const char ZEROS[SEGMENT_HEADER_LEN];
    char from[PATH_MAX], to[PATH_MAX];
    segment_free_path(p->cfg.dir, old->seq, from);
    segment_path(p->cfg.dir, seq, to);
    enum err_code rc = sys_write_full(old->fd, ZEROS, sizeof ZEROS, 0, e);
    if (!rc && sys_fdatasync(old->fd) < 0)
        rc = err_sys(e, errno, "sync a recycled segment");
    if (!rc && sys_rename(from, to) < 0)
        rc = err_sys(e, errno, "%s: rename", from);
    if (rc) {
        sys_unlink(from);
        return rc;
    }
    rc = sys_fsync_dir(p->cfg.dir, e);
    if (rc)
        sys_unlink(to);
    return rc;
}

static bool should_make(const struct segpool *p)
{
    if (atomic_load(&p->is_wanted))
        return p->ready_count == 0;
    return p->ready_count < AHEAD && !p->gave_up;
}

static void make_failed(struct segpool *p, uint64_t number, uint64_t hopes, enum err_code rc,
                        const struct err *e)
{
    p->failed = number;
    p->failed_code = rc;
    p->failed_why = *e;
    p->failed_ms = rc == ERR_FULL && hopes == p->hopes ? clock_mono_ms() : 0;
    p->gave_up = true;
}

static void expect_room(struct segpool *p)
{
    p->failed_ms = 0;
    p->hopes++;
    p->gave_up = false;
    pthread_cond_broadcast(&p->work);
}

/* Called with the lock held, as make_new; both make without it. */
static void make_from_freed(struct segpool *p)
{
    struct err e = {0};
    struct segpool_file old = p->freed[--p->freed_count];
    uint32_t seq = p->next_seq++;
    uint64_t number = ++p->begun, hopes = p->hopes;
    pthread_mutex_unlock(&p->lock);
    enum err_code rc = renew(p, &old, seq, &e);
    pthread_mutex_lock(&p->lock);
    if (rc) {
        close(old.fd);
        p->stats.files_bytes -= p->cfg.segment_bytes;
        p->failed_beyond = false;
        make_failed(p, number, hopes, rc, &e);
        return;
    }
    p->ready[p->ready_count++] = (struct segpool_file){seq, old.fd, old.seq};
    p->stats.recycled++;
}

static void make_new(struct segpool *p)
{
    struct err e = {0};
    int fd = -1;
    bool zero_filled = false, beyond_max = p->beyond_max;
    uint32_t seq = p->next_seq;
    uint64_t number = ++p->begun, hopes = p->hopes;
    pthread_mutex_unlock(&p->lock);
    enum err_code rc = make(p, seq, beyond_max, &fd, &zero_filled, &e);
    pthread_mutex_lock(&p->lock);
    p->next_seq += rc != ERR_FULL; /* who has no room tries very often, and numbers are 32 bits */
    if (rc) {
        p->failed_beyond = beyond_max;
        make_failed(p, number, hopes, rc, &e);
        return;
    }
    p->ready[p->ready_count++] = (struct segpool_file){seq, fd, 0};
    p->stats.files_bytes += p->cfg.segment_bytes;
    *(zero_filled ? &p->stats.zero_filled : &p->stats.allocated) += 1;
}

static void make_one(struct segpool *p)
{
    if (p->freed_count > 0)
        make_from_freed(p);
    else
        make_new(p);
    pthread_cond_broadcast(&p->made);
}

static void *prepare(void *arg)
{
    struct segpool *p = arg;
    pthread_mutex_lock(&p->lock);
    while (!p->stopping) {
        if (should_make(p))
            make_one(p);
        else
            pthread_cond_wait(&p->work, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

struct segpool *segpool_new(const struct segpool_config *cfg)
{
    struct segpool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->cfg = *cfg;
    p->next_seq = cfg->first_seq;
    p->stats.files_bytes = cfg->used_bytes;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->made, NULL);
    return p;
}

enum err_code segpool_start(struct segpool *p, struct err *e)
{
    int sys = pthread_create(&p->thread, NULL, prepare, p);
    if (sys)
        return err_sys(e, sys, "start the segment preparer");
    p->is_running = true;
    return ERR_OK;
}

static void stop_thread(struct segpool *p)
{
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    atomic_store(&p->is_wanted, true); /* a file being made is finished quickly */
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
}

void segpool_stop(struct segpool *p)
{
    if (!p)
        return;
    if (p->is_running)
        stop_thread(p);
    for (unsigned i = 0; i < p->ready_count; i++)
        close(p->ready[i].fd);
    for (unsigned i = 0; i < p->freed_count; i++)
        close(p->freed[i].fd);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->made);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void segpool_add(struct segpool *p, const struct segpool_file *file)
{
    LOCK_SCOPE(&p->lock);
    if (p->ready_count == READY_MAX) { /* stays on disk for the next start */
        close(file->fd);
        return;
    }
    memmove(p->ready + 1, p->ready, p->ready_count * sizeof *p->ready);
    p->ready[0] = *file;
    p->ready_count++;
}

bool segpool_recycle(struct segpool *p, uint32_t seq, int fd)
{
    LOCK_SCOPE(&p->lock);
    if (p->freed_count == FREED_MAX || p->stats.files_bytes > p->cfg.max_bytes || p->disk_is_low)
        return false;
    p->freed[p->freed_count++] = (struct segpool_file){.seq = seq, .fd = fd};
    expect_room(p);
    return true;
}

/* There was no room a moment ago: a full disk is not asked for each batch that is refused. */
static bool has_just_failed(const struct segpool *p, bool beyond_max)
{
    return p->failed_ms > 0 && p->freed_count == 0 && (p->failed_beyond || !beyond_max) &&
           clock_mono_ms() - p->failed_ms < DISK_CHECK_MS;
}

static enum err_code last_failure(const struct segpool *p, struct err *e)
{
    if (e)
        *e = p->failed_why;
    return p->failed_code;
}

/* Wait until a file is ready or a try that began after the call has failed. */
static enum err_code wait_ready(struct segpool *p, bool beyond_max, struct err *e)
{
    uint64_t before = p->begun;
    if (has_just_failed(p, beyond_max))
        return last_failure(p, e);
    atomic_store(&p->is_wanted, true);
    p->beyond_max = beyond_max;
    pthread_cond_broadcast(&p->work);
    while (p->ready_count == 0 && p->failed <= before)
        pthread_cond_wait(&p->made, &p->lock);
    atomic_store(&p->is_wanted, false);
    p->beyond_max = false;
    if (p->ready_count > 0)
        return ERR_OK;
    return last_failure(p, e);
}

enum err_code segpool_take(struct segpool *p, bool beyond_max, struct segpool_file *out,
                           struct err *e)
{
    LOCK_SCOPE(&p->lock);
    if (p->ready_count == 0) {
        enum err_code rc = wait_ready(p, beyond_max, e);
        if (rc)
            return rc;
    }
    *out = p->ready[0];
    p->ready_count--;
    memmove(p->ready, p->ready + 1, p->ready_count * sizeof *p->ready);
    uint64_t now = clock_mono_ms();
    atomic_store(&p->is_bulk, p->taken_ms && now - p->taken_ms < BULK_INTERVAL_MS);
    p->taken_ms = now;
    expect_room(p);
    return ERR_OK;
}

void segpool_drop(struct segpool *p, uint64_t bytes)
{
    LOCK_SCOPE(&p->lock);
    p->stats.files_bytes -= bytes;
    expect_room(p);
}

uint64_t segpool_room(struct segpool *p, uint64_t bytes)
{
    struct statvfs v;
    if (statvfs(p->cfg.dir, &v) < 0)
        return bytes;
    uint64_t disk = (uint64_t)v.f_bavail * v.f_frsize, reserve = p->cfg.reserve_bytes;
    uint64_t segments = disk > reserve ? (disk - reserve) / p->cfg.segment_bytes : 0;
    LOCK_SCOPE(&p->lock);
    uint64_t room = (segments + p->ready_count + p->freed_count) * p->cfg.segment_bytes;
    return room < bytes ? room : bytes;
}

void segpool_stats(struct segpool *p, struct segpool_stats *out)
{
    LOCK_SCOPE(&p->lock);
    *out = p->stats;
}
