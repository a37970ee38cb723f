/* fs/journal/journal.c - opens, closes, and answers what is asked of a journal besides appending.
 *
 *   append.c ──► image (checksums) ──► segment, memory ──► fdatasync ──► answer
 *                write.c                │                  sync.c
 *                                       └─► files, extents ──► readers
 *                                           place.c
 *   start: tables of closed segments, frames of the newest ──► the same state: recover.c
 */
#include "fs/journal/journal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"
#include "fs/journal/internal.h"

enum { PIECES_PER_READ = 64, FILES_PER_PAGE = 64 };

/* ---- open and close ---- */

static void journal_free(struct journal *j)
{
    if (j->batches.workers)
        batches_done(&j->batches);
    table_done(&j->table);
    map_done(&j->dropped);
    files_done(&j->files);
    sync_done(&j->sync);
    freer_done(&j->freer);
    pthread_cond_destroy(&j->moved);
    pthread_mutex_destroy(&j->append_lock);
    pthread_mutex_destroy(&j->epoch_lock);
    free(j->dir);
    free(j->lost_found_dir);
    free(j);
}

static enum err_code check_config(const struct journal_config *cfg, struct err *e)
{
    if (cfg->segment_bytes < SEGMENT_BYTES_MIN || cfg->segment_bytes > SEGMENT_BYTES_MAX ||
        cfg->segment_bytes % 8 != 0)
        return err_set(e, ERR_INVALID, "segments of %u bytes: from %u to %u, a multiple of 8",
                       cfg->segment_bytes, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
    return ERR_OK;
}

static enum err_code journal_new(const struct journal_config *cfg, struct journal **out,
                                 struct err *e)
{
    struct journal *j = calloc(1, sizeof *j);
    if (!j)
        return err_set(e, ERR_NOMEM, "no memory for the journal");
    j->cfg = *cfg;
    j->cfg.dir = j->dir = strdup(cfg->dir);
    j->cfg.lost_found_dir = j->lost_found_dir = strdup(cfg->lost_found_dir);
    pthread_mutex_init(&j->epoch_lock, NULL);
    pthread_mutex_init(&j->append_lock, NULL);
    pthread_cond_init(&j->moved, NULL);
    freer_init(&j->freer);
    j->freer.is_held = cfg->hold_replaced;
    j->covered = cfg->covered;
    files_init(&j->files);
    map_init(&j->dropped, JOURNAL_DROPPED_MAX);
    j->files.roll_bytes = cfg->roll_bytes;
    table_init(&j->table);
    sync_init(&j->sync);
    if (!batches_init(&j->batches) || !j->dir || !j->lost_found_dir) {
        journal_free(j);
        return err_set(e, ERR_NOMEM, "no memory for the journal");
    }
    j->batches.requests.mount = cfg->mount;
    *out = j;
    return ERR_OK;
}

enum err_code journal_open(const struct journal_config *cfg, struct journal **out,
                           struct journal_recovery *found, struct err *e)
{
    struct journal *j = NULL;
    uint64_t began_ns = clock_mono_ns();
    enum err_code rc = check_config(cfg, e);
    if (rc)
        return rc;
    if (!cfg->read_only)
        rc = sys_mkdirs(cfg->dir, 0700, e);
    if (!rc && !cfg->read_only)
        rc = sys_mkdirs(cfg->lost_found_dir, 0700, e);
    if (!rc)
        rc = journal_new(cfg, &j, e);
    if (rc)
        return rc;
    *found = (struct journal_recovery){0};
    rc = journal_recover(j, found, e);
    found->took_us = (clock_mono_ns() - began_ns) / 1000;
    if (rc) {
        journal_close(j);
        return err_wrap(e, "journal %s", cfg->dir);
    }
    *out = j;
    return ERR_OK;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    freer_stop(j);
    sync_stop(j);
    segpool_stop(j->pool);
    journal_free(j);
}

/* ---- frames without lines ---- */

enum err_code journal_put_control_locked(struct journal *j, const struct frame *f, struct str tail,
                                         bool *waited, uint64_t *position, struct err *e)
{
    struct image *img = image_new(frame_size(0, 0, tail.len));
    if (!img)
        return err_set(e, ERR_NOMEM, "no memory for a frame");
    img->len = img->cap;
    frame_encode(img->data, f, (struct str){NULL, 0}, tail);
    j->beyond_max++;
    enum err_code rc = journal_put_locked(j, img, 0, waited, e);
    j->beyond_max--;
    if (rc || *waited)
        image_free(img);
    else
        *position = frame_position(j->current->seq, j->current->end);
    return rc;
}

/* On a full disk it is in no frame: where that one finds no room none does, so what comes later
 * stands in another segment, whose header has the epoch. */
static enum err_code give_epoch_locked(struct journal *j, uint64_t epoch, uint64_t *position,
                                       struct err *e)
{
    const struct frame f = {.kind = FRAME_EPOCH, .batch = {.epoch = epoch}};
    enum err_code rc = ERR_OK;
    bool waited = true;
    while (!rc && waited)
        rc = journal_put_control_locked(j, &f, (struct str){NULL, 0}, &waited, position, e);
    if (rc == ERR_FULL && j->state != CURRENT_POISONED) {
        *position = 0;
        rc = ERR_OK;
    }
    if (!rc)
        batches_new_epoch(&j->batches, epoch);
    return rc;
}

static enum err_code give_epoch(struct journal *j, uint64_t wanted, uint64_t *epoch, struct err *e)
{
    uint64_t position = 0;
    pthread_mutex_lock(&j->append_lock);
    uint64_t newest = j->batches.epoch;
    *epoch = wanted ? wanted : newest + 1;
    enum err_code rc = *epoch > newest ? give_epoch_locked(j, *epoch, &position, e) : ERR_OK;
    pthread_mutex_unlock(&j->append_lock);
    if (*epoch < newest)
        return err_set(e, ERR_STALE, "epoch %llu is not the newest, %llu",
                       (unsigned long long)wanted, (unsigned long long)newest);
    return rc || position == 0 ? rc : sync_wait(j, position, e);
}

enum err_code journal_epoch(struct journal *j, uint64_t wanted, uint64_t *epoch, struct err *e)
{
    if (j->cfg.read_only)
        return err_set(e, ERR_READONLY, "the journal is open for reading only");
    LOCK_SCOPE(&j->epoch_lock);
    return give_epoch(j, wanted, epoch, e);
}

bool journal_request_find(struct journal *j, uint64_t number, enum err_code *answer)
{
    uint64_t position;
    pthread_mutex_lock(&j->append_lock);
    bool is_known = requests_find(&j->batches.requests, j->cfg.mount, number, answer, &position);
    pthread_mutex_unlock(&j->append_lock);
    return is_known;
}

/* Open files of (stream, hour), or of all streams; at most CLOSE_FILES_MAX. */
static size_t collect_open(const struct journal *j, uint64_t stream, int32_t hour,
                           struct jfile *out[CLOSE_FILES_MAX])
{
    const struct files *f = &j->files;
    size_t n = 0;
    if (stream) {
        out[0] = files_open_find(f, stream, hour);
        return out[0] ? 1 : 0;
    }
    for (size_t i = 0; i < f->count && n < CLOSE_FILES_MAX; i++) {
        if (f->list[i].file && f->list[i].file->is_open)
            out[n++] = f->list[i].file;
    }
    return n;
}

/* Close some of them; *left: there may be more. */
static enum err_code roll_some(struct journal *j, uint64_t stream, int32_t hour, bool *left,
                               uint64_t *position, struct err *e)
{
    struct jfile *files[CLOSE_FILES_MAX];
    bool waited = false;
    size_t n = collect_open(j, stream, hour, files);
    *left = n > 0;
    return n > 0 ? journal_close_locked(j, files, n, &waited, position, e) : ERR_OK;
}

enum err_code journal_roll(struct journal *j, uint64_t stream, int32_t hour, struct err *e)
{
    uint64_t position = 0;
    bool left = true;
    enum err_code rc = ERR_OK;
    if (j->cfg.read_only)
        return err_set(e, ERR_READONLY, "the journal is open for reading only");
    pthread_mutex_lock(&j->append_lock);
    while (!rc && left)
        rc = roll_some(j, stream, hour, &left, &position, e);
    pthread_mutex_unlock(&j->append_lock);
    return rc ? rc : sync_wait(j, position, e);
}

enum err_code journal_sync(struct journal *j, struct err *e)
{
    pthread_mutex_lock(&j->sync.lock);
    uint64_t written = j->sync.written;
    pthread_mutex_unlock(&j->sync.lock);
    return sync_wait(j, written, e);
}

/* ---- readers ---- */

enum err_code journal_file_get(struct journal *j, const struct ulid *id, struct journal_file *out,
                               struct err *e)
{
    return files_get(&j->files, id, out, e);
}

void journal_file_list_after(struct journal *j, const struct ulid *after, journal_file_visit fn,
                             void *ctx)
{
    struct journal_file page[FILES_PER_PAGE];
    struct ulid at = *after;
    size_t n;
    while ((n = files_page(&j->files, &at, page, FILES_PER_PAGE)) > 0) {
        for (size_t i = 0; i < n; i++) {
            if (!fn(&page[i], ctx))
                return;
        }
    }
}

void journal_file_list(struct journal *j, journal_file_visit fn, void *ctx)
{
    journal_file_list_after(j, &(struct ulid){{0}}, fn, ctx);
}

static enum err_code read_pieces(const struct piece *pieces, size_t count, char *dst, size_t *done,
                                 struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        const struct piece *p = &pieces[i];
        enum err_code rc = sys_read_full(p->segment->fd, dst + *done, p->len, p->at, e);
        if (rc)
            return rc;
        *done += p->len;
    }
    return ERR_OK;
}

enum err_code journal_read(struct journal *j, const struct ulid *id, uint64_t off, void *dst,
                           size_t n, size_t *got, struct err *e)
{
    struct piece pieces[PIECES_PER_READ];
    size_t done = 0, count = 0;
    do {
        enum err_code rc =
            files_map(&j->files, id, off + done, n - done, pieces, PIECES_PER_READ, &count, e);
        if (rc)
            return rc;
        rc = read_pieces(pieces, count, dst, &done, e);
        pieces_done(pieces, count);
        if (rc)
            return rc;
    } while (count > 0 && done < n);
    *got = done;
    return ERR_OK;
}

void journal_stats(struct journal *j, struct journal_stats *out)
{
    struct segpool_stats pool = {0};
    if (j->pool)
        segpool_stats(j->pool, &pool);
    *out = (struct journal_stats){.bytes_used = pool.files_bytes,
                                  .bytes_max = j->cfg.max_bytes,
                                  .appended_bytes = atomic_load(&j->appended_bytes),
                                  .synced_bytes = atomic_load(&j->sync.synced_bytes),
                                  .batches = atomic_load(&j->batch_count),
                                  .batches_repeated = atomic_load(&j->repeated_count),
                                  .batches_refused = atomic_load(&j->refused_count),
                                  .syncs = atomic_load(&j->sync.syncs),
                                  .poisoned_segments = atomic_load(&j->poisoned_count),
                                  .published = atomic_load(&j->published_count),
                                  .moved_bytes = atomic_load(&j->moved_bytes),
                                  .freed_segments = atomic_load(&j->freed_count),
                                  .recycled_segments = atomic_load(&j->recycled_count),
                                  .replaced_bytes = atomic_load(&j->replaced_bytes)};
    pthread_rwlock_rdlock(&j->files.lock);
    out->segments = j->files.segment_count;
    uint64_t held_bytes = out->segments * j->cfg.segment_bytes;
    out->bytes_free = held_bytes < out->bytes_max ? out->bytes_max - held_bytes : 0;
    if (j->pool)
        out->bytes_free = segpool_room(j->pool, out->bytes_free);
    out->files = j->files.shown_count;
    out->rows = j->files.row_count;
    out->extents = j->files.extent_count;
    out->replaced_files = j->files.replaced_count;
    pthread_rwlock_unlock(&j->files.lock);
    pthread_mutex_lock(&j->sync.lock);
    out->waiting = j->sync.waiting;
    pthread_mutex_unlock(&j->sync.lock);
}
