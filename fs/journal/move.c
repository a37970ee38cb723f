/* fs/journal/move.c - moves the few live lines of an old segment to the head of the journal.
 *
 *   pick (append lock) ─► read, without a lock ─► look again, write (append lock) ─► durable
 *   ─► switch the extents (both locks)
 *
 * A moved frame has the lines of one extent with their checksums as they stood, and their file and
 * place, so that it means the same before, beside and after the bytes that it copies.  It is never
 * written after its file's publish record: that would outlive the record.
 */
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/sys.h"
#include "fs/journal/internal.h"

enum { STEP_BYTES = 1 << 20, STEP_EXTENTS = 4096 };

struct moved {
    uint32_t file; /* number */
    uint32_t len, rows;
    uint32_t old_at;   /* of the bytes, in the old segment */
    uint32_t frame_at; /* in the image */
    uint32_t frame_len;
    uint64_t place, stream;
    int32_t hour;
    struct shown_facts facts;
};

struct move {
    struct segment *from;
    struct moved *list;
    size_t count, cap;
    size_t bytes, max_bytes; /* about how large the image will be */
    struct image *img;
};

/* ---- pick ---- */

static bool add_moved(struct move *m, const struct jfile *file, const struct extent *x)
{
    if (m->count == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 64;
        struct moved *bigger = realloc(m->list, cap * sizeof *bigger);
        if (!bigger)
            return false;
        m->list = bigger;
        m->cap = cap;
    }
    m->list[m->count++] = (struct moved){.file = file->number,
                                         .len = x->len,
                                         .rows = x->rows,
                                         .old_at = x->at,
                                         .place = x->place,
                                         .stream = file->stream->number,
                                         .hour = file->hour,
                                         .facts = {x->rows, file->min_ts_us, file->max_ts_us,
                                                   file->first_append_us, file->last_append_us}};
    m->bytes += frame_size(x->rows, x->len, 0);
    return true;
}

/* A file on its way into a part stays where it is. */
static bool is_movable(const struct jfile *file)
{
    return file && !file->is_replaced && file->published == 0;
}

static bool is_enough(const struct move *m, const struct extent *next)
{
    return m->count > 0 && (m->count == STEP_EXTENTS ||
                            m->bytes + frame_size(next->rows, next->len, 0) > m->max_bytes);
}

static bool pick_of_file(struct move *m, const struct jfile *file, bool *left)
{
    for (size_t i = 0; i < file->extents.count; i++) {
        const struct extent *x = extent_at(&file->extents, i);
        if (x->seq != m->from->seq)
            continue;
        *left = is_enough(m, x);
        if (*left)
            return true;
        if (!add_moved(m, file, x))
            return false;
    }
    return true;
}

/* Goes on in the segment's list of files where the last step ended. */
static enum err_code pick(struct journal *j, struct move *m, bool *left, struct err *e)
{
    struct segment *s = m->from;
    bool ok = true;
    *left = false;
    pthread_mutex_lock(&j->append_lock);
    size_t i = s->next_moved;
    for (; ok && i < s->file_count; i++) {
        const struct jfile *file = files_by_number(&j->files, s->files[i]);
        if (is_movable(file))
            ok = pick_of_file(m, file, left);
        if (*left)
            break;
    }
    s->next_moved = *left ? i : 0;
    pthread_mutex_unlock(&j->append_lock);
    return ok ? ERR_OK : err_set(e, ERR_NOMEM, "no memory to move lines");
}

/* ---- read ---- */

struct source {
    char *bytes; /* of a whole frame */
    size_t cap;
};

static enum err_code read_at(struct source *src, const struct segment *s, uint32_t at, size_t len,
                             struct err *e)
{
    if (len > src->cap) {
        char *bigger = realloc(src->bytes, len);
        if (!bigger)
            return err_set(e, ERR_NOMEM, "no memory to move lines");
        src->bytes = bigger;
        src->cap = len;
    }
    return sys_read_full(s->fd, src->bytes, len, at, e);
}

/* The frame whose lines these are; *found: it is there, and as it was written. */
static enum err_code read_frame(struct source *src, const struct segment *s, const struct moved *x,
                                struct frame *f, bool *found, struct err *e)
{
    size_t payload_at = frame_payload_at(x->rows);
    *found = false;
    if (x->old_at < SEGMENT_HEADER_LEN + payload_at)
        return ERR_OK;
    uint32_t at = x->old_at - (uint32_t)payload_at;
    enum err_code rc = read_at(src, s, at, FRAME_HEADER_LEN, e);
    size_t len = rc ? 0 : frame_peek(src->bytes, s->end - at);
    if (len < payload_at + x->len)
        return rc;
    rc = read_at(src, s, at, len, e);
    *found = !rc && frame_decode((struct str){src->bytes, len}, s->seq, at, f) &&
             f->line_count == x->rows && f->payload_len == x->len &&
             (f->kind == FRAME_DATA || f->kind == FRAME_MOVED);
    return rc;
}

/* Lines of a frame that is damaged, as readers see them. */
static enum err_code read_lines(struct source *src, const struct segment *s, struct moved *x,
                                struct frame *f, struct err *e)
{
    size_t table_len = (size_t)x->rows * FRAME_LINE_LEN;
    enum err_code rc = read_at(src, s, x->old_at, table_len + x->len, e);
    if (rc)
        return rc;
    memmove(src->bytes + table_len, src->bytes, x->len);
    const char *line = src->bytes + table_len, *end = line + x->len;
    for (uint32_t i = 0; i < x->rows; i++) {
        size_t max = (size_t)(end - line) - (x->rows - 1 - i);
        const char *newline = memchr(line, '\n', max);
        size_t len = i + 1 == x->rows ? max : newline ? (size_t)(newline + 1 - line) : 1;
        put_u32(src->bytes + (size_t)i * FRAME_LINE_LEN, (uint32_t)len);
        put_u32(src->bytes + (size_t)i * FRAME_LINE_LEN + 4, crc32c(0, line, len));
        line += len;
    }
    *f = (struct frame){.min_ts_us = x->facts.min_ts_us,
                        .max_ts_us = x->facts.max_ts_us,
                        .appended_us = x->facts.first_append_us,
                        .line_count = x->rows,
                        .payload_len = x->len,
                        .lines = src->bytes,
                        .payload = src->bytes + table_len};
    return ERR_OK;
}

static bool add_frame(struct move *m, struct moved *x, const struct frame *f)
{
    size_t len = frame_size(x->rows, x->len, 0);
    if (!image_reserve(m->img, len))
        return false;
    struct frame out = {.kind = FRAME_MOVED,
                        .encoding = f->encoding,
                        .batch = {.worker = x->file, .number = x->place},
                        .stream = x->stream,
                        .hour = x->hour,
                        .appended_us = f->appended_us,
                        .min_ts_us = f->min_ts_us,
                        .max_ts_us = f->max_ts_us,
                        .line_count = x->rows};
    x->facts =
        (struct shown_facts){x->rows, f->min_ts_us, f->max_ts_us, f->appended_us, f->appended_us};
    x->frame_at = (uint32_t)m->img->len;
    x->frame_len = (uint32_t)len;
    frame_copy(m->img->data + m->img->len, &out, f->lines, (struct str){f->payload, x->len});
    m->img->len += len;
    return true;
}

static enum err_code read_all(struct move *m, struct err *e)
{
    struct source src = {0};
    enum err_code rc = ERR_OK;
    for (size_t i = 0; !rc && i < m->count; i++) {
        struct frame f;
        bool found;
        rc = read_frame(&src, m->from, &m->list[i], &f, &found, e);
        if (!rc && !found)
            rc = read_lines(&src, m->from, &m->list[i], &f, e);
        if (!rc && !add_frame(m, &m->list[i], &f))
            rc = err_set(e, ERR_NOMEM, "no memory to move lines");
    }
    free(src.bytes);
    return rc;
}

/* ---- write ---- */

static struct extent *old_extent(const struct jfile *file, const struct move *m,
                                 const struct moved *x)
{
    struct extent *extent = extent_of_place(&file->extents, x->place);
    return extent && extent->seq == m->from->seq && extent->at == x->old_at ? extent : NULL;
}

/* Drop the frames of files that were published in the meantime. */
static void look_again_locked(struct journal *j, struct move *m)
{
    size_t count = 0, len = 0;
    for (size_t i = 0; i < m->count; i++) {
        struct moved x = m->list[i];
        if (!is_movable(files_by_number(&j->files, x.file)))
            continue;
        memmove(m->img->data + len, m->img->data + x.frame_at, x.frame_len);
        x.frame_at = (uint32_t)len;
        len += x.frame_len;
        m->list[count++] = x;
    }
    m->count = count;
    m->img->len = len;
}

/* The frames are in the segment. */
static void note_written_locked(struct journal *j, struct move *m, uint32_t at, struct tracked *t)
{
    struct segment *s = j->current;
    for (size_t i = 0; i < m->count; i++) {
        const struct moved *x = &m->list[i];
        const struct jfile *file = files_by_number(&j->files, x->file);
        struct run_place run = {s->seq, at + x->frame_at + (uint32_t)frame_payload_at(x->rows),
                                x->len, x->rows, x->place};
        table_add_extent(&j->table, file, &run);
        table_add_facts(&j->table, file, &x->facts);
    }
    *t = (struct tracked){.seq = s->seq, .at = at};
    journal_track_locked(j, t);
}

/* One segment more than max_bytes may be needed to have many less soon. */
static bool may_pass_max(const struct journal *j)
{
    struct segpool_stats stats;
    segpool_stats(j->pool, &stats);
    return stats.files_bytes <= j->cfg.max_bytes;
}

/* *position stays 0 when there was nothing left to write. */
static enum err_code write_locked(struct journal *j, struct move *m, struct tracked *t,
                                  uint64_t *position, struct err *e)
{
    for (bool waited = true; waited;) {
        look_again_locked(j, m);
        if (m->count == 0)
            return ERR_OK;
        uint32_t len = (uint32_t)m->img->len;
        unsigned beyond = may_pass_max(j);
        j->beyond_max += beyond;
        enum err_code rc = journal_put_locked(j, m->img, m->count * TABLE_EXTENT_LEN, &waited, e);
        j->beyond_max -= beyond;
        if (rc)
            return rc;
        if (waited)
            continue;
        m->img = NULL;
        note_written_locked(j, m, j->current->end - len, t);
        *position = frame_position(j->current->seq, j->current->end);
    }
    return ERR_OK;
}

/* ---- switch ---- */

static void switch_one(struct journal *j, const struct move *m, const struct moved *x,
                       const struct tracked *t)
{
    struct jfile *file = files_by_number(&j->files, x->file);
    struct extent *extent = file && !file->is_replaced ? old_extent(file, m, x) : NULL;
    if (!extent)
        return;
    files_move_extent_locked(&j->files, file, extent, t->seq,
                             t->at + x->frame_at + (uint32_t)frame_payload_at(x->rows));
    atomic_fetch_add(&j->moved_bytes, x->len);
}

static enum err_code switch_extents(struct journal *j, const struct move *m, struct tracked *t,
                                    enum err_code durable, struct err *e)
{
    enum err_code rc = durable;
    pthread_mutex_lock(&j->append_lock);
    journal_untrack_locked(j, t);
    if (!rc && !files_reserve_in(&j->files, t->seq, m->count))
        rc = err_set(e, ERR_NOMEM, "no memory to move lines");
    pthread_rwlock_wrlock(&j->files.lock);
    for (size_t i = 0; !rc && i < m->count; i++)
        switch_one(j, m, &m->list[i], t);
    pthread_rwlock_unlock(&j->files.lock);
    pthread_mutex_unlock(&j->append_lock);
    return rc;
}

/* ---- one step ---- */

static enum err_code move_picked(struct journal *j, struct move *m, struct err *e)
{
    struct tracked t;
    uint64_t position = 0;
    enum err_code rc = read_all(m, e);
    if (rc)
        return rc;
    pthread_mutex_lock(&j->append_lock);
    rc = write_locked(j, m, &t, &position, e);
    pthread_mutex_unlock(&j->append_lock);
    if (rc || position == 0)
        return rc;
    return switch_extents(j, m, &t, sync_wait(j, position, e), e);
}

enum err_code journal_move_lines(struct journal *j, struct segment *s, bool *left, struct err *e)
{
    size_t max = j->cfg.segment_bytes / 8;
    struct move m = {.from = s, .max_bytes = max < STEP_BYTES ? max : STEP_BYTES};
    m.img = image_new(0);
    enum err_code rc =
        m.img ? pick(j, &m, left, e) : err_set(e, ERR_NOMEM, "no memory to move lines");
    if (!rc && m.count > 0)
        rc = move_picked(j, &m, e);
    if (rc)
        s->next_moved = 0;
    image_free(m.img);
    free(m.list);
    return rc ? err_wrap(e, "segment %u, move", s->seq) : ERR_OK;
}
