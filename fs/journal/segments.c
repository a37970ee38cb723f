/* fs/journal/segments.c - leaving one segment for the next.
 *
 *   full:      take a prepared file ─► table ─► sync the old ─► begin the new
 *   poisoned:  take a file ─► begin it, its header voids the old from its last durable byte on
 *              ─► write again from memory what was not durable ─► sync ─► answer
 *              if any of it fails: who waited gets ERR_IO, and appends are refused until a segment
 *              can be begun, which is tried again once RESTART_PAUSE_MS have passed
 *   none:      begin one
 *
 * A segment that holds frames written again has no table: a start scans it.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "fs/journal/internal.h"
#include "fs/journal/replay.h"

enum {
    TABLE_BYTES_MAX = 1 << 30,
    WORKERS_BYTES_MAX = JOURNAL_WORKERS_MAX * WORKER_LAST_LEN,
    REQUESTS_BYTES_MAX = JOURNAL_REQUESTS_MAX * FRAME_REQUEST_LEN,
    REQUESTS_SHARE = 8 /* of a segment, at most, is what it repeats of them */
};

/* ---- begin ---- */

static void discard_file(struct journal *j, uint32_t seq)
{
    char path[PATH_MAX];
    segment_path(j->cfg.dir, seq, path);
    if (sys_unlink(path) == 0)
        segpool_drop(j->pool, j->cfg.segment_bytes);
}

/* What the new segment repeats of earlier ones, durable there. */
struct repeated {
    struct buf workers, requests;
};

static void repeated_init(struct repeated *r, const struct journal *j)
{
    uint64_t synced = atomic_load(&j->sync.synced);
    uint32_t max = j->cfg.segment_bytes / REQUESTS_SHARE / FRAME_REQUEST_LEN;
    buf_init(&r->workers, WORKERS_BYTES_MAX + 1);
    buf_init(&r->requests, REQUESTS_BYTES_MAX + 1);
    batches_encode_last(&j->batches, synced, &r->workers);
    requests_encode(&j->batches.requests, synced, max, &r->requests);
}

static void repeated_done(struct repeated *r)
{
    buf_done(&r->workers);
    buf_done(&r->requests);
}

static void put_frame(const struct journal *j, struct image *img, enum frame_kind kind,
                      const struct buf *body)
{
    struct frame f = {.kind = kind, .batch = {.epoch = j->batches.epoch}};
    frame_encode(img->data + img->len, &f, (struct str){NULL, 0}, buf_str(body));
    img->len += frame_size(0, 0, body->len);
}

/* NULL: no memory. */
static struct image *repeated_image(const struct journal *j)
{
    struct repeated r;
    repeated_init(&r, j);
    bool ok = buf_ok(&r.workers) && buf_ok(&r.requests);
    struct image *img =
        ok ? image_new(frame_size(0, 0, r.workers.len) + frame_size(0, 0, r.requests.len)) : NULL;
    if (img) {
        put_frame(j, img, FRAME_WORKERS, &r.workers);
        if (r.requests.len > 0)
            put_frame(j, img, FRAME_REQUESTS, &r.requests);
    }
    repeated_done(&r);
    return img;
}

/* One image: what is handed to the syncer must not be followed by a failure of the beginning. */
static enum err_code write_repeated(struct journal *j, struct err *e)
{
    struct image *img = repeated_image(j);
    if (!img)
        return err_set(e, ERR_NOMEM, "no memory for a segment's beginning");
    enum err_code rc = journal_write_locked(j, img, e);
    if (rc)
        image_free(img);
    return rc;
}

static enum err_code write_beginning(struct journal *j, const struct segpool_file *file,
                                     uint64_t epoch, struct err *e)
{
    struct segment_header h = {.size_bytes = j->cfg.segment_bytes,
                               .seq = file->seq,
                               .prev_seq = j->void_seq,
                               .prev_end = j->void_from,
                               .epoch = epoch,
                               .next_serial = j->batches.next_serial,
                               .next_file = j->files.next_number,
                               .begun_us = clock_wall_us(),
                               .older_seq = file->older_seq};
    enum err_code rc = segment_write_header(file->fd, &h, e);
    return rc ? rc : write_repeated(j, e);
}

/* The new segment failed; nothing points into it. */
static void drop_current(struct journal *j)
{
    struct segment *s = j->current;
    j->current = NULL;
    j->state = CURRENT_NONE;
    files_remove_segment(&j->files, s);
    discard_file(j, s->seq);
    segment_unref(s);
}

/* Make a taken file the current segment; on failure there is none, and the file is gone.  Frames
 * with lines of an epoch before `epoch` must not follow: they would be taken for late. */
static enum err_code begin(struct journal *j, const struct segpool_file *file, uint64_t epoch,
                           struct err *e)
{
    struct segment *s = segment_new(file->seq, file->fd, j->cfg.segment_bytes);
    if (!s || !files_add_segment(&j->files, s)) {
        if (!s)
            close(file->fd);
        segment_unref(s);
        discard_file(j, file->seq);
        j->state = CURRENT_NONE;
        return err_set(e, ERR_NOMEM, "no memory for a segment");
    }
    j->current = s;
    j->state = CURRENT_GOOD;
    table_reset(&j->table, file->seq);
    enum err_code rc = write_beginning(j, file, epoch, e);
    if (rc)
        drop_current(j);
    else
        j->fresh_end = s->end;
    return rc;
}

static enum err_code take_and_begin(struct journal *j, uint64_t epoch, struct err *e)
{
    struct segpool_file file;
    enum err_code rc = segpool_take(j->pool, j->beyond_max > 0, &file, e);
    return rc ? rc : begin(j, &file, epoch, e);
}

/* ---- full ---- */

static enum err_code write_table(struct journal *j, struct err *e)
{
    struct segment *s = j->current;
    struct buf body;
    struct frame f = {.kind = FRAME_TABLE, .batch = {.epoch = j->batches.epoch}};
    enum err_code rc = ERR_NOMEM;
    buf_init(&body, TABLE_BYTES_MAX);
    table_encode(&j->table, &j->files, &j->batches, atomic_load(&j->sync.synced), &body);
    size_t len = frame_size(0, 0, body.len);
    char *frame = buf_ok(&body) ? malloc(len) : NULL;
    if (frame) {
        frame_encode(frame, &f, (struct str){NULL, 0}, buf_str(&body));
        frame_finish(frame, atomic_load(&j->sync.synced), s->seq, s->end);
        rc = sys_write_full(s->fd, frame, len, s->end, e);
    }
    if (!rc)
        rc = segment_write_footer(s, s->end, (uint32_t)len, e);
    if (!rc)
        s->end += (uint32_t)len;
    free(frame);
    buf_done(&body);
    return rc;
}

/* Before the table is written all frames must be durable: it tells which answers are. */
static enum err_code sync_now(struct journal *j, struct err *e)
{
    uint64_t target = j->sync.written;
    atomic_fetch_add(&j->sync.syncs, 1);
    if (sys_fdatasync(j->current->fd) < 0)
        return err_sys(e, errno, "sync segment %u", j->current->seq);
    sync_settle(j, target);
    return ERR_OK;
}

/* A table that cannot be written costs a scan at the next start, no more. */
static enum err_code close_current(struct journal *j, struct err *e)
{
    enum err_code rc = sync_now(j, e);
    if (rc)
        return rc;
    j->void_seq = j->current->seq;
    j->void_from = j->current->end;
    if (j->table.is_broken || write_table(j, e))
        return ERR_OK;
    if (sys_fdatasync(j->current->fd) < 0)
        return ERR_OK; /* the new header voids the table */
    j->void_from = j->current->end;
    return ERR_OK;
}

/* ---- poisoned ---- */

struct moving {
    struct image *todo;
    struct relocation *done; /* of the images that are in the new segment, not yet synced */
    size_t done_count, done_cap;
    uint64_t reached; /* old position up to which all is in the new segment */
};

static bool note_moved(struct moving *m, const struct relocation *r)
{
    if (m->done_count == m->done_cap) {
        size_t cap = m->done_cap ? m->done_cap * 2 : 64;
        struct relocation *bigger = realloc(m->done, cap * sizeof *bigger);
        if (!bigger)
            return false;
        m->done = bigger;
        m->done_cap = cap;
    }
    m->done[m->done_count++] = *r;
    return true;
}

/* A segment goes only once the index covers its publish records. */
static void note_published(struct segment *s, const struct image *img)
{
    struct frame f;
    for (size_t at = 0, len; at < img->len; at += len) {
        len = frame_peek(img->data + at, img->len - at);
        if (frame_view((struct str){img->data + at, len}, &f) && f.kind == FRAME_PUBLISH)
            s->published_end = frame_position(s->seq, img->at + (uint32_t)(at + len));
    }
}

/* Write images until the current segment is full; the list keeps those that did not fit. */
static enum err_code write_again(struct journal *j, struct moving *m, struct err *e)
{
    while (m->todo) {
        struct image *img = m->todo, *next = img->next;
        struct relocation r = {.old_seq = img->seq, .from = img->at, .len = (uint32_t)img->len};
        bool is_full;
        enum err_code rc = journal_put_here_locked(j, img, 0, &is_full, e);
        if (rc || is_full)
            return rc;
        m->todo = next;
        m->reached = frame_position(r.old_seq, r.from + r.len);
        note_published(j->current, img);
        r.new_seq = img->seq;
        r.to = img->at;
        if (!note_moved(m, &r))
            return err_set(e, ERR_NOMEM, "no memory to move frames");
    }
    return ERR_OK;
}

/* Of what is to be written again: a newer epoch may have been given out since. */
static uint64_t oldest_epoch(const struct journal *j, const struct image *todo)
{
    uint64_t oldest = j->batches.epoch;
    for (const struct image *img = todo; img; img = img->next) {
        struct frame f;
        for (size_t at = 0, len; at < img->len; at += len) {
            len = frame_peek(img->data + at, img->len - at);
            if (frame_view((struct str){img->data + at, len}, &f) && f.kind == FRAME_DATA &&
                f.batch.worker != SAVED_WORKER && f.batch.epoch < oldest)
                oldest = f.batch.epoch;
        }
    }
    return oldest;
}

static enum err_code move_some(struct journal *j, struct moving *m, struct err *e)
{
    enum err_code rc = take_and_begin(j, oldest_epoch(j, m->todo), e);
    if (rc)
        return rc;
    j->table.is_broken = true;
    m->done_count = 0;
    rc = write_again(j, m, e);
    if (!rc && m->todo && m->done_count == 0)
        rc = err_set(e, ERR_TOOBIG, "frames do not fit a segment of %u", j->cfg.segment_bytes);
    if (!rc && sys_fdatasync(j->current->fd) < 0)
        rc = err_sys(e, errno, "sync segment %u", j->current->seq);
    if (rc) {
        if (j->current)
            drop_current(j);
        return rc;
    }
    if (!files_relocate(&j->files, m->done, m->done_count)) {
        drop_current(j);
        return err_set(e, ERR_NOMEM, "no memory to move frames");
    }
    batches_relocate(&j->batches, m->done, m->done_count);
    for (struct tracked *t = j->tracked; t; t = t->next)
        relocate(m->done, m->done_count, &t->seq, &t->at);
    sync_settle(j, m->todo ? m->reached : j->sync.written);
    j->void_seq = j->current->seq;
    j->void_from = j->current->end;
    return ERR_OK;
}

static void give_up(struct journal *j, struct moving *m)
{
    while (m->todo) {
        struct image *next = m->todo->next;
        sync_uncharge(j, m->todo->charged);
        image_free(m->todo);
        m->todo = next;
    }
    batches_fail_after(&j->batches, atomic_load(&j->sync.synced));
    sync_fail(j);
}

static enum err_code move_undurable(struct journal *j, struct err *e)
{
    struct moving m = {.todo = sync_take_images(j)};
    uint64_t synced = atomic_load(&j->sync.synced);
    enum err_code rc = ERR_OK;
    j->void_seq = j->current->seq;
    j->void_from = synced >> 32 == j->current->seq ? (uint32_t)synced : SEGMENT_HEADER_LEN;
    j->beyond_max++;
    atomic_fetch_add(&j->poisoned_count, 1);
    do
        rc = move_some(j, &m, e);
    while (!rc && m.todo);
    j->beyond_max--;
    if (rc) {
        j->broken = *e;
        give_up(j, &m);
    }
    free(m.done);
    return rc;
}

/* ---- which of them ---- */

static enum err_code leave_full(struct journal *j, struct err *e)
{
    struct segpool_file file;
    enum err_code rc = segpool_take(j->pool, j->beyond_max > 0, &file, e);
    if (rc)
        return rc; /* small appends may still fit */
    rc = close_current(j, e);
    if (!rc)
        return begin(j, &file, j->batches.epoch, e);
    j->state = CURRENT_POISONED;
    segpool_add(j->pool, &file);
    return move_undurable(j, e);
}

void journal_move_locked(struct journal *j)
{
    struct err e = {0};
    enum err_code rc;
    if (j->state == CURRENT_GOOD)
        rc = leave_full(j, &e);
    else if (j->state == CURRENT_POISONED)
        rc = move_undurable(j, &e);
    else
        rc = take_and_begin(j, j->batches.epoch, &e);
    j->broken = e;
    j->broken.code = rc;
    if (rc)
        j->broken_ms = clock_mono_ms();
    sync_want_move(j, false);
    j->moves++;
    if (rc == ERR_FULL)
        journal_want_room_locked(j);
    else
        journal_wake_freer_locked(j);
    pthread_cond_broadcast(&j->moved);
}
