/* fs/journal/append.c - one part of a batch becomes frames.
 *
 * Outside the lock: the payload is copied and checksummed line by line.  Under it: the part is
 * admitted (batches.c), numbered, with the last part placed in files, written, shown.
 * Then readers are told, then the answer waits for the syncer.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "fs/journal/internal.h"

enum {
    GROWN_BYTES_MAX = BATCH_PARTS_MAX * BATCH_RUNS_MAX * 16,
    TAIL_BYTES_MAX = GROWN_BYTES_MAX + FRAME_REQUEST_LEN
};

struct append {
    const struct batch_part *part;
    struct image *img;
    struct run_ref *refs; /* of this part; `at` counts from the image's start */
    size_t *frame_at;     /* in the image, per run */
    size_t frames_len;    /* the image without the places */
    int64_t now_us;
    struct buf tail, grown;
    bool waits; /* for position, before it is answered */
    uint64_t position;
};

static void append_done(struct journal *j, struct append *a)
{
    if (a->img) { /* not handed over */
        sync_uncharge(j, a->img->charged);
        image_free(a->img);
    }
    free(a->refs);
    free(a->frame_at);
    buf_done(&a->tail);
    buf_done(&a->grown);
}

static size_t image_bytes(const struct batch_part *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->run_count; i++)
        n += frame_size(p->runs[i].lines, p->runs[i].bytes.len, 0);
    return n;
}

static void encode_run(struct append *a, size_t i)
{
    const struct batch_part *p = a->part;
    const struct batch_run *r = &p->runs[i];
    size_t at = a->img->len;
    struct frame f = {.kind = FRAME_DATA,
                      .encoding = ENCODING_NDJSON,
                      .batch = p->id,
                      .part = p->part,
                      .stream = r->stream,
                      .hour = r->hour,
                      .appended_us = a->now_us,
                      .min_ts_us = r->min_ts_us,
                      .max_ts_us = r->max_ts_us,
                      .line_count = r->lines};
    frame_encode(a->img->data + at, &f, r->bytes, (struct str){NULL, 0});
    a->frame_at[i] = at;
    a->refs[i] = (struct run_ref){.stream = r->stream,
                                  .min_ts_us = r->min_ts_us,
                                  .max_ts_us = r->max_ts_us,
                                  .hour = r->hour,
                                  .lines = r->lines,
                                  .len = (uint32_t)r->bytes.len,
                                  .at = (uint32_t)(at + frame_payload_at(r->lines))};
    a->img->len += frame_size(r->lines, r->bytes.len, 0);
}

static enum err_code append_init(struct journal *j, struct append *a, const struct batch_part *p,
                                 struct err *e)
{
    size_t count = p->run_count, bytes = image_bytes(p);
    *a = (struct append){.part = p, .now_us = clock_wall_us()};
    buf_init(&a->tail, TAIL_BYTES_MAX + 1);
    buf_init(&a->grown, GROWN_BYTES_MAX + 1);
    if (count == 0 || count > BATCH_RUNS_MAX)
        return err_set(e, ERR_INVALID, "a part of %zu runs", count);
    a->img = image_new(bytes + count * FRAME_PLACE_LEN);
    a->refs = malloc(count * sizeof *a->refs);
    a->frame_at = malloc(count * sizeof *a->frame_at);
    if (a->img) {
        sync_charge(j, bytes);
        a->img->charged = bytes;
    }
    if (!a->img || !a->refs || !a->frame_at)
        return err_set(e, ERR_NOMEM, "no memory for a part of a batch");
    for (size_t i = 0; i < count; i++)
        encode_run(a, i);
    a->frames_len = a->img->len;
    return ERR_OK;
}

static bool learn_streams(struct journal *j, const struct batch_part *p)
{
    for (size_t i = 0; i < p->run_count; i++) {
        const struct batch_run *r = &p->runs[i];
        struct stream_decl d = {r->stream, r->type, r->org, r->name};
        if (!files_stream(&j->files, &d))
            return false;
    }
    return true;
}

/* Places for the whole batch, at the end of the last frame, and its request. */
static enum err_code add_places(struct journal *j, struct append *a, const struct attempt *t,
                                struct err *e)
{
    size_t last = a->part->run_count - 1;
    enum err_code rc = journal_plan_locked(j, t->refs, t->count, a->refs, last + 1, &a->tail, e);
    if (rc)
        return rc;
    const struct batch_request *request = &a->part->request;
    if (request->number) {
        char record[FRAME_REQUEST_LEN];
        request_encode(record, request);
        buf_add(&a->tail, record, sizeof record);
    }
    if (!buf_ok(&a->tail) || !image_reserve(a->img, a->tail.len + 8))
        return err_set(e, ERR_NOMEM, "no memory for the places of a batch");
    frame_append_tail(a->img->data + a->frame_at[last], buf_str(&a->tail),
                      request->number ? FRAME_REQUEST : 0);
    a->img->len += a->tail.len;
    return ERR_OK;
}

/* Make the frames those of this attempt; undoes what an earlier try has added. */
static enum err_code prepare(struct journal *j, struct append *a, struct attempt *t, struct err *e)
{
    size_t count = a->part->run_count;
    if (a->img->len > a->frames_len)
        frame_drop_tail(a->img->data + a->frame_at[count - 1]);
    a->img->len = a->frames_len;
    if (!attempt_reserve(t, count) || !learn_streams(j, a->part))
        return err_set(e, ERR_NOMEM, "no memory for the runs of a batch");
    for (size_t i = 0; i < count; i++) {
        a->refs[i].run = t->next_run + (uint32_t)i;
        frame_number(a->img->data + a->frame_at[i], t->serial, a->refs[i].run);
    }
    return a->part->flags & BATCH_LAST ? add_places(j, a, t, e) : ERR_OK;
}

/* The frames are in the segment: the part is in. */
static enum err_code take_effect(struct journal *j, struct append *a, struct attempt *t,
                                 struct err *e)
{
    const struct batch_part *p = a->part;
    const struct segment *s = j->current; /* the image may be freed by now */
    uint32_t at = s->end - (uint32_t)(a->frames_len + a->tail.len);
    a->img = NULL;
    for (size_t i = 0; i < p->run_count; i++) {
        struct run_ref *r = &t->refs[t->count++];
        *r = a->refs[i];
        r->seq = s->seq;
        r->at += at;
    }
    t->is_refused = false;
    t->next_part++;
    t->next_run += (uint32_t)p->run_count;
    a->position = frame_position(s->seq, s->end);
    atomic_fetch_add(&j->appended_bytes, a->frames_len);
    if (!(p->flags & BATCH_LAST))
        return ERR_OK;
    enum err_code rc =
        journal_show_locked(j, t->refs, t->count, buf_str(&a->tail), a->now_us, &a->grown, e);
    batches_complete(&j->batches, &p->id, &p->request, a->position);
    atomic_fetch_add(&j->batch_count, 1);
    a->waits = !(p->flags & BATCH_NO_SYNC) && !j->cfg.fsync_disabled;
    return rc;
}

static size_t table_need(const struct append *a, const struct attempt *t)
{
    return (t->count + a->part->run_count) * TABLE_EXTENT_LEN;
}

static enum err_code apply_locked(struct journal *j, struct append *a, struct err *e)
{
    enum err_code code = ERR_OK;
    for (int failures = 0;;) {
        bool waited = false;
        enum admit admit = batches_admit(&j->batches, a->part, &a->position, &code, e);
        if (admit != ADMIT_APPLY) {
            if (!code)
                atomic_fetch_add(&j->repeated_count, 1);
            a->waits =
                admit == ADMIT_WAIT && !(a->part->flags & BATCH_NO_SYNC) && !j->cfg.fsync_disabled;
            return code;
        }
        code = segpool_check_room(j->pool, e);
        if (code) {
            journal_want_room_locked(j);
            return code;
        }
        struct attempt *t = batches_attempt(&j->batches, a->part);
        if (!t)
            return err_set(e, ERR_NOMEM, "no memory for a batch");
        code = prepare(j, a, t, e);
        if (!code)
            code = journal_put_locked(j, a->img, table_need(a, t), &waited, e);
        if (!code && !waited)
            return take_effect(j, a, t, e);
        if (code && (waited || j->state != CURRENT_POISONED || ++failures == APPEND_TRIES))
            return code;
    }
}

/* The parts before this one are in, and their sender may give up now: without a word recovery would
 * take them for what a power cut has left of the batch.  Not durable at once: a power cut may do
 * that all the same. */
static void note_refused_locked(struct journal *j, const struct batch_id *id)
{
    bool waited = true;
    uint64_t position;
    while (waited) {
        struct attempt *t = batches_open(&j->batches, id);
        if (!t || t->count == 0 || t->is_refused)
            return;
        const struct frame f = {.kind = FRAME_REFUSED, .batch = *id, .serial = t->serial};
        uint32_t next_part = t->next_part;
        enum err_code rc =
            journal_put_control_locked(j, &f, (struct str){NULL, 0}, &waited, &position, NULL);
        t = batches_open(&j->batches, id);
        if (rc || !t || t->serial != f.serial || t->next_part != next_part)
            return; /* nothing can be written, or it has gone on meanwhile */
        if (!waited)
            t->is_refused = true;
    }
}

static enum err_code apply(struct journal *j, struct append *a, struct err *e)
{
    pthread_mutex_lock(&j->append_lock);
    enum err_code code = apply_locked(j, a, e);
    if (code)
        note_refused_locked(j, &a->part->id);
    pthread_mutex_unlock(&j->append_lock);
    return code;
}

static void tell_readers(struct journal *j, const struct buf *grown)
{
    struct ulid id;
    if (!j->cfg.on_grow)
        return;
    for (size_t at = 0; at < grown->len; at += sizeof id.b) {
        memcpy(id.b, grown->data + at, sizeof id.b);
        j->cfg.on_grow(&id, j->cfg.ctx);
    }
}

void journal_append(struct journal *j, const struct batch_part *part, journal_done done, void *ctx)
{
    struct err e = {0};
    struct append a;
    enum err_code code = ERR_READONLY;
    if (j->cfg.read_only) {
        err_set(&e, code, "the journal is open for reading only");
        done(code, &e, ctx);
        return;
    }
    code = append_init(j, &a, part, &e);
    if (!code)
        code = apply(j, &a, &e);
    if (code)
        atomic_fetch_add(&j->refused_count, 1);
    tell_readers(j, &a.grown);
    if (!code && a.waits)
        sync_answer(j, a.position, done, ctx);
    else
        done(code, code ? &e : NULL, ctx);
    append_done(j, &a);
}
