/* gateway/commit.c - batches into the mount's commit files, once each, whatever dies in between.
 *
 *   free ── commit_begin ──► planning ── commit_finish ──► sending part 0 … last ──► free
 *                               │                             │      ▲
 *                          commit_abort                 error │      │ the same number again, from
 *                               ▼                             ▼      │ part 0, through a file
 *                              free                        waiting ──┘ opened anew
 *
 * Waiting ends with an error when retry_ms are over.
 * A part is planned when its runs are added and encoded when it is sent, so a batch can be sent as
 * often as it takes from the caller's lines, through one buffer per worker.
 */
#include "gateway/commit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/metrics.h"
#include "base/sys.h"
#include "fs/control/control.h"
#include "fs/journal/frame.h"

enum {
    PAGE = 4096,
    PATH_MAX_BYTES = 4096,
    PIECES_MIN = 16,
    RETRY_FIRST_MS = 5,
    RETRY_LAST_MS = 100, /* the pause doubles up to this */
    END_SHARE = 16,      /* unused ends of segments, and the tables there */
    RUN_BYTES = 512,     /* of its frame, its place, and the declaration of its file */
    STATS_MEMORY_MAX = 1 << 20
};

struct worker {
    uint32_t index;  /* n of .weir/commit/<n>; immutable */
    int fd;          /* -1: to be opened; the borrower's */
    uint64_t epoch;  /* the borrower's */
    uint64_t number; /* of the last batch in this epoch; the borrower's */
    char *buffer;    /* BATCH_PART_MAX bytes, page-aligned; the borrower's */
    bool is_busy;    /* under the pool's lock */
};

struct commit_pool {
    struct commit_config cfg; /* immutable */
    char *mount_dir;
    pthread_mutex_t lock;
    pthread_cond_t freed;
    struct worker *workers;
    uint64_t kept_bytes;    /* under the lock, as the next two: of commit_rooms */
    uint64_t sending_bytes; /* of batches on their way */
    uint64_t sent_bytes;    /* of those that came to their end, ever */
    struct metric_child *retries;
};

struct commit {
    struct commit_pool *pool;
    struct worker *worker;
    struct batch_run *pieces; /* runs, cut where a part was full */
    size_t count, cap;
    size_t part_first[BATCH_PARTS_MAX]; /* its first piece */
    unsigned parts;
    size_t used_bytes; /* of the last part */
    struct batch_request request;
    struct commit_room *room; /* borrowed; NULL: none is kept */
};

static const struct metric_desc RETRIES = {
    .name = "weir_commit_retries",
    .help = "batches sent again because the filesystem process was away or had lost a part",
    .type = METRIC_COUNTER,
};

/* ---- the pool ---- */

static enum err_code workers_make(struct commit_pool *p, struct err *e)
{
    p->workers = calloc(p->cfg.workers, sizeof *p->workers);
    if (!p->workers)
        return err_set(e, ERR_NOMEM, "no memory for %u commit workers", p->cfg.workers);
    for (unsigned i = 0; i < p->cfg.workers; i++)
        p->workers[i] = (struct worker){.index = i, .fd = -1};
    for (unsigned i = 0; i < p->cfg.workers; i++) {
        p->workers[i].buffer = aligned_alloc(PAGE, BATCH_PART_MAX);
        if (!p->workers[i].buffer)
            return err_set(e, ERR_NOMEM, "no memory for the buffer of commit worker %u", i);
    }
    return ERR_OK;
}

enum err_code commit_pool_open(const struct commit_config *cfg, struct commit_pool **out,
                               struct err *e)
{
    struct commit_pool *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "no memory for the commit workers");
    p->cfg = *cfg;
    pthread_mutex_init(&p->lock, NULL);
    cond_init(&p->freed);
    p->retries = metric_only(metrics_register(&RETRIES));
    p->mount_dir = strdup(cfg->mount_dir);
    enum err_code code =
        p->mount_dir ? workers_make(p, e) : err_set(e, ERR_NOMEM, "no memory for a path");
    if (code) {
        commit_pool_close(p);
        return code;
    }
    *out = p;
    return ERR_OK;
}

void commit_pool_close(struct commit_pool *p)
{
    if (!p)
        return;
    for (unsigned i = 0; p->workers && i < p->cfg.workers; i++) {
        assert(!p->workers[i].is_busy);
        cleanup_fd(&p->workers[i].fd);
        free(p->workers[i].buffer);
    }
    pthread_cond_destroy(&p->freed);
    pthread_mutex_destroy(&p->lock);
    free(p->workers);
    free(p->mount_dir);
    free(p);
}

static struct worker *take_free_locked(struct commit_pool *p)
{
    for (unsigned i = 0; i < p->cfg.workers; i++) {
        if (!p->workers[i].is_busy) {
            p->workers[i].is_busy = true;
            return &p->workers[i];
        }
    }
    return NULL;
}

/* NULL when none became free in time. */
static struct worker *worker_borrow(struct commit_pool *p)
{
    uint64_t deadline_ms = clock_mono_ms() + p->cfg.wait_ms;
    LOCK_SCOPE(&p->lock);
    struct worker *w;
    while (!(w = take_free_locked(p))) {
        if (!cond_wait_until(&p->freed, &p->lock, deadline_ms))
            return take_free_locked(p);
    }
    return w;
}

static void worker_give_back(struct commit_pool *p, struct worker *w)
{
    LOCK_SCOPE(&p->lock);
    w->is_busy = false;
    pthread_cond_signal(&p->freed);
}

/* ---- planning ---- */

size_t commit_line_max(void)
{
    static char longest[NAME_MAX_BYTES];
    struct str name = {longest, sizeof longest};
    return BATCH_PART_MAX - BATCH_HEADER_LEN - batch_run_overhead(name, name);
}

enum err_code commit_begin(struct commit_pool *p, struct commit_room *room, struct commit **out,
                           struct err *e)
{
    struct commit *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_NOMEM, "no memory for a batch");
    c->pool = p;
    c->room = room;
    c->worker = worker_borrow(p);
    if (!c->worker) {
        free(c);
        return err_set(e, ERR_AGAIN, "all %u commit workers are busy", p->cfg.workers);
    }
    c->parts = 1;
    c->used_bytes = BATCH_HEADER_LEN;
    *out = c;
    return ERR_OK;
}

void commit_carry(struct commit *c, const struct batch_request *request)
{
    c->request = *request;
}

static size_t runs_in_last_part(const struct commit *c)
{
    return c->count - c->part_first[c->parts - 1];
}

static bool open_part(struct commit *c)
{
    if (c->parts == BATCH_PARTS_MAX)
        return false;
    c->part_first[c->parts++] = c->count;
    c->used_bytes = BATCH_HEADER_LEN;
    return true;
}

/* How many of these bytes, whole lines, fit into `room`? */
static size_t whole_lines(struct str bytes, size_t room)
{
    if (bytes.len <= room)
        return bytes.len;
    const char *last = memrchr(bytes.ptr, '\n', room);
    return last ? (size_t)(last - bytes.ptr) + 1 : 0;
}

/* How many of these bytes go into the last part? */
static size_t fitting(const struct commit *c, struct str bytes, size_t overhead)
{
    if (runs_in_last_part(c) == BATCH_RUNS_MAX || c->used_bytes + overhead >= BATCH_PART_MAX)
        return 0;
    return whole_lines(bytes, BATCH_PART_MAX - c->used_bytes - overhead);
}

static uint32_t count_lines(struct str s)
{
    uint32_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += s.ptr[i] == '\n';
    return n;
}

static bool add_piece(struct commit *c, const struct batch_run *run, struct str bytes)
{
    if (c->count == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : PIECES_MIN;
        struct batch_run *pieces = realloc(c->pieces, cap * sizeof *pieces);
        if (!pieces)
            return false;
        c->pieces = pieces;
        c->cap = cap;
    }
    struct batch_run *piece = &c->pieces[c->count++];
    *piece = *run; /* the times of a cut run still bound each piece of it */
    piece->bytes = bytes;
    if (bytes.len < run->bytes.len)
        piece->lines = count_lines(bytes);
    return true;
}

/* Spread a run over parts; *run is left with what was not planned.  TOOBIG: the batch is full, or a
 * single line is too large. */
static enum err_code plan_run(struct commit *c, struct batch_run *run, struct err *e)
{
    size_t overhead = batch_run_overhead(run->org, run->name);
    while (run->bytes.len > 0) {
        struct str bytes = run->bytes;
        size_t n = fitting(c, bytes, overhead);
        if (n == 0) {
            if (!whole_lines(bytes, BATCH_PART_MAX - BATCH_HEADER_LEN - overhead))
                return err_set(e, ERR_TOOBIG, "a line is longer than a part of a batch");
            if (!open_part(c))
                return err_set(e, ERR_TOOBIG, "a batch has at most %d parts", BATCH_PARTS_MAX);
            continue;
        }
        if (!add_piece(c, run, (struct str){bytes.ptr, n}))
            return err_set(e, ERR_NOMEM, "no memory for the runs of a batch");
        c->used_bytes += overhead + n;
        run->bytes = (struct str){bytes.ptr + n, bytes.len - n};
        run->lines -= c->pieces[c->count - 1].lines;
    }
    return ERR_OK;
}

enum err_code commit_add(struct commit *c, struct batch_run *run, struct err *e)
{
    size_t before = c->count;
    assert(run->bytes.len > 0 && run->bytes.ptr[run->bytes.len - 1] == '\n');
    enum err_code code = plan_run(c, run, e);
    return code == ERR_TOOBIG && c->count > before ? ERR_OK : code;
}

/* ---- room ---- */

/* What the fs process says is free; UINT64_MAX: it does not answer. */
static uint64_t journal_room(const struct commit_pool *p)
{
    struct arena a;
    struct json *stats;
    uint64_t room = UINT64_MAX;
    if (!p->cfg.control)
        return room;
    arena_init(&a, STATS_MEMORY_MAX);
    if (control_call(p->cfg.control, CONTROL_STATS, STR("{}"), clock_mono_ms() + p->cfg.wait_ms, &a,
                     &stats, NULL) == ERR_OK)
        json_u64(json_get(json_get(stats, "journal"), "bytes_free"), &room);
    arena_done(&a);
    return room;
}

uint64_t commit_cost(uint64_t bytes, uint64_t lines, uint64_t runs)
{
    uint64_t frames = bytes + lines * FRAME_LINE_LEN + runs * RUN_BYTES;
    return frames + frames / END_SHARE;
}

/* Adds `bytes` to *account, kept_bytes or sending_bytes, if the journal has room for them besides;
 * `own` are those of kept_bytes that are theirs.  Batches that are being sent count whole, those
 * that came to their end while it was asked too. */
static enum err_code claim_room(struct commit_pool *p, uint64_t bytes, uint64_t own,
                                uint64_t *account, struct err *e)
{
    pthread_mutex_lock(&p->lock);
    uint64_t sent_before = p->sent_bytes;
    pthread_mutex_unlock(&p->lock);
    uint64_t room = journal_room(p);
    LOCK_SCOPE(&p->lock);
    uint64_t taken = p->kept_bytes - own + p->sending_bytes + (p->sent_bytes - sent_before);
    if (taken > room || bytes > room - taken)
        return err_set(e, ERR_FULL,
                       "the journal has room for %llu bytes, and the request takes %llu "
                       "(WEIR_JOURNAL_MAX, WEIR_DISK_RESERVE)",
                       (unsigned long long)(taken < room ? room - taken : 0),
                       (unsigned long long)bytes);
    p->kept_bytes -= own;
    *account += bytes;
    return ERR_OK;
}

enum err_code commit_keep_room(struct commit_pool *p, uint64_t bytes, struct commit_room *out,
                               struct err *e)
{
    *out = (struct commit_room){0};
    enum err_code code = claim_room(p, bytes, 0, &p->kept_bytes, e);
    if (!code)
        *out = (struct commit_room){p, bytes};
    return code;
}

void commit_give_room(struct commit_room *r)
{
    if (!r->pool)
        return;
    LOCK_SCOPE(&r->pool->lock);
    r->pool->kept_bytes -= r->bytes;
    *r = (struct commit_room){0};
}

/* Of what is kept for its request; else only others' room is to be left alone. */
static enum err_code take_room(struct commit *c, uint64_t bytes, struct err *e)
{
    struct commit_pool *p = c->pool;
    uint64_t kept = c->room ? c->room->bytes : 0, own = kept < bytes ? kept : bytes;
    enum err_code code = ERR_OK;
    pthread_mutex_lock(&p->lock);
    bool ask = own < bytes && p->kept_bytes > own;
    if (!ask) {
        p->kept_bytes -= own;
        p->sending_bytes += bytes;
    }
    pthread_mutex_unlock(&p->lock);
    if (ask)
        code = claim_room(p, bytes, own, &p->sending_bytes, e);
    if (!code && own)
        c->room->bytes -= own;
    return code;
}

static void leave_room(struct commit_pool *p, uint64_t bytes)
{
    LOCK_SCOPE(&p->lock);
    p->sending_bytes -= bytes;
    p->sent_bytes += bytes;
}

/* ---- sending ---- */

static enum err_code open_file(struct commit_pool *p, struct worker *w, struct err *e)
{
    char path[PATH_MAX_BYTES];
    if (w->fd >= 0)
        return ERR_OK;
    snprintf(path, sizeof path, "%s/.weir/commit/%u", p->mount_dir, w->index);
    w->fd = sys_open(path, O_WRONLY, 0);
    return w->fd >= 0 ? ERR_OK : err_sys(e, errno, "open %s", path);
}

static enum err_code send_part(struct commit *c, unsigned part, struct err *e)
{
    struct worker *w = c->worker;
    bool is_last = part + 1 == c->parts;
    bool no_sync = c->pool->cfg.no_sync || c->request.number;
    size_t first = c->part_first[part], end = is_last ? c->count : c->part_first[part + 1], len;
    struct batch_part message = {
        .id = {.epoch = w->epoch, .worker = w->index, .number = w->number},
        .part = part,
        .parts = is_last ? c->parts : 0,
        .flags = (uint16_t)((is_last ? BATCH_LAST : 0) | (no_sync ? BATCH_NO_SYNC : 0)),
        .runs = c->pieces + first,
        .run_count = end - first,
        .request = c->request,
    };
    enum err_code code = batch_encode(&message, w->buffer, &len, e);
    if (code)
        return code;
    ssize_t wrote = sys_write(w->fd, w->buffer, len);
    if (wrote < 0 && errno == ENOSPC)
        return err_set(e, ERR_FULL,
                       "the journal is full (WEIR_JOURNAL_MAX), or the disk (WEIR_DISK_RESERVE)");
    if (wrote < 0)
        return err_sys(e, errno, "write part %u of a batch to commit file %u", part, w->index);
    if ((size_t)wrote != len)
        return err_sys(e, EIO, "short write to commit file %u", w->index);
    return ERR_OK;
}

static enum err_code send_batch(struct commit *c, struct err *e)
{
    enum err_code code = open_file(c->pool, c->worker, e);
    for (unsigned part = 0; !code && part < c->parts; part++)
        code = send_part(c, part, e);
    return code;
}

/* Could the same batch get through later?  The process behind the mount is away or starting, or it
 * has lost a part. */
static bool is_worth_retrying(const struct err *e)
{
    switch (e->sys) {
    case EIO:
    case ENOTCONN:
    case ECONNABORTED:
    case EAGAIN:
    case ENODEV:
    case ENXIO:
    case ESTALE:
    case ENOENT:
        return true;
    default:
        return false;
    }
}

static void pause_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static enum err_code send_until_done(struct commit *c, struct err *e)
{
    struct worker *w = c->worker;
    uint64_t deadline = clock_mono_ms() + c->pool->cfg.retry_ms;
    struct err why = {0}; /* also where the caller wants none: `sys` decides */
    for (unsigned wait = RETRY_FIRST_MS;;
         wait = wait * 2 < RETRY_LAST_MS ? wait * 2 : RETRY_LAST_MS) {
        enum err_code code = send_batch(c, &why);
        if (!code)
            return ERR_OK;
        if (why.sys == EPERM) /* journal_drop_stream; the next request makes the stream anew */
            return err_set(e, ERR_AGAIN, "the stream was deleted meanwhile: send it again");
        if (!is_worth_retrying(&why))
            return err_set(e, why.code, "commit: %s", why.msg);
        if (clock_mono_ms() >= deadline)
            return err_set(e, ERR_AGAIN, "commit, tried for %u ms: %s", c->pool->cfg.retry_ms,
                           why.msg);
        metric_add(c->pool->retries, 1);
        cleanup_fd(&w->fd);
        w->fd = -1;
        pause_ms(wait);
    }
}

/* The number of this batch; a new epoch counts from 1 again. */
static void take_number(struct commit *c)
{
    const struct commit_config *cfg = &c->pool->cfg;
    struct worker *w = c->worker;
    uint64_t epoch = cfg->control ? control_epoch(cfg->control) : cfg->epoch;
    if (epoch != w->epoch) {
        w->epoch = epoch;
        w->number = 0;
    }
    w->number++;
}

void commit_abort(struct commit *c)
{
    if (!c)
        return;
    worker_give_back(c->pool, c->worker);
    free(c->pieces);
    free(c);
}

static uint64_t cost_of(const struct commit *c)
{
    uint64_t bytes = 0, lines = 0;
    for (size_t i = 0; i < c->count; i++) {
        bytes += c->pieces[i].bytes.len;
        lines += c->pieces[i].lines;
    }
    return commit_cost(bytes, lines, c->count);
}

enum err_code commit_finish(struct commit *c, struct err *e)
{
    enum err_code code = ERR_OK;
    uint64_t bytes = cost_of(c);
    if (bytes > 0)
        code = take_room(c, bytes, e);
    if (bytes > 0 && !code) {
        take_number(c);
        code = send_until_done(c, e);
        leave_room(c->pool, bytes);
    }
    commit_abort(c);
    return code;
}
