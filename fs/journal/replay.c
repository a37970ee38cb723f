/* fs/journal/replay.c - applies what a segment holds, in order.
 *
 * A batch that is not complete ends in one of five ways:
 *   superseded   the same worker went on to another attempt or epoch: dropped
 *   refused      its sender was told so: dropped, unless that was before a corrupt place
 *   settled      an earlier recovery dealt with it: dropped
 *   torn         it is open at the end: dropped when only the fs process died (it will be sent
 *                again), else its good lines are kept
 *   bereft       its last frame may be what a corrupt place held: its lines are kept
 */
#include "fs/journal/replay.h"

#include <stdlib.h>

#include "base/cleanup.h"

void replay_init(struct replay *r, struct journal *j, struct journal_recovery *found)
{
    *r = (struct replay){.j = j, .found = found};
}

static void free_saved(struct replay *r)
{
    while (r->saved) {
        struct saved_run *next = r->saved->next;
        free(r->saved->bytes);
        free(r->saved);
        r->saved = next;
    }
    r->saved_last = NULL;
}

void replay_done(struct replay *r)
{
    free_saved(r);
    attempt_free(r->saved_open);
}

static enum err_code no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "no memory to replay the journal");
}

static struct saved_run *save_run(struct replay *r, const struct run_ref *ref)
{
    struct saved_run *run = calloc(1, sizeof *run);
    if (!run)
        return NULL;
    run->ref = *ref;
    if (r->saved_last)
        r->saved_last->next = run;
    else
        r->saved = run;
    r->saved_last = run;
    return run;
}

static bool save_attempt(struct replay *r, const struct attempt *a)
{
    for (size_t i = 0; i < a->count; i++) {
        if (!save_run(r, &a->refs[i]))
            return false;
    }
    return true;
}

/* An attempt will not be completed by what follows. */
static bool retire(struct replay *r, struct worker *w)
{
    struct attempt *a = w->open;
    bool ok = true;
    w->open = NULL;
    if (a && a->last_position < r->corrupt_position) {
        ok = save_attempt(r, a);
        r->unsettled++;
    }
    attempt_free(a);
    return ok;
}

static bool retire_all(struct replay *r)
{
    bool ok = true;
    for (uint32_t i = 0; i < JOURNAL_WORKERS_MAX; i++)
        ok = retire(r, &r->j->batches.workers[i]) && ok;
    return ok;
}

void replay_corrupt(struct replay *r, const struct scan_item *item)
{
    r->found->corrupt_frames++;
    r->found->corrupt_bytes += item->end - item->at;
    if (item->kind == SCAN_BAD)
        r->corrupt_position = frame_position(r->j->table.seq, item->end);
}

void replay_epoch(struct replay *r, uint64_t epoch)
{
    if (epoch <= r->j->batches.epoch)
        return;
    retire_all(r);
    batches_new_epoch(&r->j->batches, epoch);
}

/* ---- batches ---- */

static bool add_refs(struct attempt *a, const struct scan_item *item, uint32_t seq)
{
    const struct frame *f = &item->frame;
    struct frame_stretch s = {0};
    uint32_t payload_at = item->at + (uint32_t)frame_payload_at(f->line_count);
    struct run_ref ref = {.stream = f->stream,
                          .min_ts_us = f->min_ts_us,
                          .max_ts_us = f->max_ts_us,
                          .hour = f->hour,
                          .seq = seq,
                          .run = f->run};
    while (frame_next_stretch(f, &s)) {
        if (!attempt_reserve(a, 1))
            return false;
        ref.lines = s.lines;
        ref.len = s.len;
        ref.at = payload_at + s.at;
        ref.skip = s.at;
        a->refs[a->count++] = ref;
    }
    a->next_run = f->run + 1;
    a->next_part = f->part + 1;
    return true;
}

/* Places of runs that are lost leave no hole for later ones to be mistaken for repeats. */
static void pass_places(struct journal *j, struct str places)
{
    for (size_t at = 0; at + FRAME_PLACE_LEN <= places.len; at += FRAME_PLACE_LEN) {
        struct place p = place_decode(places.ptr + at);
        struct jfile *file = files_by_number(&j->files, p.file);
        uint64_t before = file ? file->next_place : 0;
        if (!file || p.offset > UINT64_MAX - p.len)
            continue;
        files_pass_place(file, p.offset + p.len);
        if (file->next_place > before)
            table_add_passed(&j->table, file);
    }
}

/* A complete batch is shown; one whose places are of no use is kept as lines. */
static enum err_code complete(struct replay *r, struct attempt *a, const struct frame *last,
                              struct err *e)
{
    struct str places = frame_places(last);
    enum err_code rc =
        journal_show_locked(r->j, a->refs, a->count, places, last->appended_us, NULL, e);
    if (rc == ERR_CORRUPT) {
        r->unsettled++;
        rc = save_attempt(r, a) ? ERR_OK : no_memory(e);
    }
    pass_places(r->j, places);
    return rc;
}

static enum err_code replay_saved(struct replay *r, const struct scan_item *item, uint32_t seq,
                                  struct err *e)
{
    const struct frame *f = &item->frame;
    if (r->saved_open && r->saved_open->serial != f->serial) {
        attempt_free(r->saved_open);
        r->saved_open = NULL;
    }
    if (!r->saved_open)
        r->saved_open = attempt_new(&f->batch, f->serial);
    return r->saved_open && add_refs(r->saved_open, item, seq) ? ERR_OK : no_memory(e);
}

static enum err_code replay_data(struct replay *r, const struct scan_item *item, uint32_t seq,
                                 struct err *e)
{
    const struct frame *f = &item->frame;
    struct batches *b = &r->j->batches;
    if (f->batch.worker == SAVED_WORKER)
        return replay_saved(r, item, seq, e);
    replay_epoch(r, f->batch.epoch);
    if (f->batch.worker >= JOURNAL_WORKERS_MAX || f->batch.epoch < b->epoch)
        return ERR_OK;
    struct worker *w = &b->workers[f->batch.worker];
    if (w->epoch == f->batch.epoch && f->batch.number <= w->number)
        return ERR_OK; /* applied already */
    if (w->open && w->open->serial != f->serial && !retire(r, w))
        return no_memory(e);
    if (!w->open)
        w->open = attempt_new(&f->batch, f->serial);
    if (!w->open || !add_refs(w->open, item, seq))
        return no_memory(e);
    w->open->is_refused = false;
    w->open->last_position = frame_position(seq, item->end);
    if (!(f->flags & FRAME_LAST))
        return ERR_OK;
    struct batch_request request;
    bool has_request = frame_request(f, &request);
    enum err_code rc = complete(r, w->open, f, e);
    batches_complete(b, &f->batch, has_request ? &request : NULL, frame_position(seq, item->end));
    return rc;
}

static void replay_refused(struct replay *r, const struct scan_item *item)
{
    const struct frame *f = &item->frame;
    struct attempt *a = batches_open(&r->j->batches, &f->batch);
    if (!a || a->serial != f->serial)
        return;
    a->is_refused = true;
    a->last_position = frame_position(r->j->table.seq, item->end);
}

/* ---- moved lines ---- */

static enum err_code save_moved(struct replay *r, const struct scan_item *item, struct err *e)
{
    struct attempt *a = attempt_new(&item->frame.batch, 0);
    bool ok = a && add_refs(a, item, r->j->table.seq) && save_attempt(r, a);
    attempt_free(a);
    r->unsettled++;
    return ok ? ERR_OK : no_memory(e);
}

/* What was moved after its file was published would be an error of ours. */
static enum err_code replay_moved(struct replay *r, const struct scan_item *item, struct err *e)
{
    const struct frame *f = &item->frame;
    struct files *files = &r->j->files;
    struct jfile *file = files_by_number(files, f->batch.worker);
    struct frame_stretch s = {0};
    uint32_t payload_at = item->at + (uint32_t)frame_payload_at(f->line_count);
    if (!file) /* its declaration is lost */
        return save_moved(r, item, e);
    while (!file->published && frame_next_stretch(f, &s)) {
        struct run_place run = {r->j->table.seq, payload_at + s.at, s.len, s.lines,
                                f->batch.number + s.at};
        struct shown_facts facts = {s.lines, f->min_ts_us, f->max_ts_us, f->appended_us,
                                    f->appended_us};
        if (!files_reserve(files, file, 1))
            return no_memory(e);
        if (!files_show_locked(files, file, &run))
            continue;
        files_add_facts_locked(files, file, &facts);
        table_add_extent(&r->j->table, file, &run);
        table_add_facts(&r->j->table, file, &facts);
    }
    return ERR_OK;
}

/* ---- the other kinds ---- */

static enum err_code learn_stream(struct replay *r, struct str body, struct err *e)
{
    struct stream_decl d;
    size_t used;
    if (!stream_decl_decode(body, &d, &used))
        return ERR_OK;
    struct jstream *s = files_stream(&r->j->files, &d);
    if (!s)
        return no_memory(e);
    table_add_stream(&r->j->table, s);
    return ERR_OK;
}

static enum err_code replay_stream(struct replay *r, const struct frame *f, struct err *e)
{
    return learn_stream(r, (struct str){f->tail, f->tail_len}, e);
}

static enum err_code replay_file(struct replay *r, const struct frame *f, struct err *e)
{
    struct file_decl d;
    struct str body = {f->tail, f->tail_len};
    if (!file_decl_decode(body, &d))
        return ERR_OK;
    enum err_code rc =
        learn_stream(r, (struct str){body.ptr + FILE_DECL_LEN, body.len - FILE_DECL_LEN}, e);
    if (rc || !files_stream_find(&r->j->files, d.stream))
        return rc;
    struct jfile *file = files_declare(&r->j->files, &d);
    if (!file)
        return no_memory(e);
    table_add_file(&r->j->table, file);
    return ERR_OK;
}

static void replay_close(struct replay *r, const struct frame *f)
{
    for (size_t at = 0; at + 4 <= f->tail_len; at += 4) {
        struct jfile *file = files_by_number(&r->j->files, get_u32(f->tail + at));
        if (file)
            files_close(&r->j->files, file);
    }
}

static enum err_code replay_settle(struct replay *r, const struct frame *f, struct err *e)
{
    enum err_code rc = ERR_OK;
    free_saved(r);
    r->unsettled = 0;
    if (r->saved_open && r->saved_open->serial == f->serial)
        rc = complete(r, r->saved_open, f, e);
    attempt_free(r->saved_open);
    r->saved_open = NULL;
    batches_drop_open(&r->j->batches);
    return rc;
}

/* They are replaced when all is replayed (files_settle). */
static void note_published(struct journal *j, const struct publish_body *p, uint64_t position)
{
    struct segment *s = files_segment(&j->files, (uint32_t)(position >> 32));
    if (s && s->published_end < position)
        s->published_end = position;
    for (uint32_t i = 0; i < p->file_count; i++) {
        struct jfile *file = files_by_id(&j->files, &p->files[i]);
        if (!file)
            continue;
        file->part = p->part;
        file->published = position;
        file->published_size = get_u64(p->sizes + (size_t)i * sizeof(uint64_t));
        files_close(&j->files, file);
    }
}

enum err_code replay_publish(struct replay *r, const struct frame *f, uint32_t seq, uint32_t at,
                             uint32_t end, struct err *e)
{
    struct publish_body p;
    const struct journal_config *cfg = &r->j->cfg;
    uint32_t copies_after = f->part < PUBLISH_COPIES ? PUBLISH_COPIES - 1 - f->part : 0;
    uint64_t position = frame_position(seq, end) + (uint64_t)copies_after * (end - at);
    if (!publish_decode((struct str){f->tail, f->tail_len}, &p))
        return ERR_OK;
    table_add_publish(&r->j->table, at, end - at);
    note_published(r->j, &p, position);
    if (!cfg->on_published || ulid_cmp(&p.part, &r->published) == 0)
        return ERR_OK;
    r->published = p.part;
    struct journal_publish record = {p.part, p.files, p.file_count, p.record};
    return cfg->on_published(&record, position, cfg->ctx, e);
}

enum err_code replay_frame(struct replay *r, const struct scan_item *item, struct err *e)
{
    const struct frame *f = &item->frame;
    struct batches *b = &r->j->batches;
    r->found->frames++;
    if (f->serial >= b->next_serial)
        b->next_serial = f->serial + 1;
    switch (f->kind) {
    case FRAME_DATA:
        return replay_data(r, item, r->j->table.seq, e);
    case FRAME_STREAM:
        return replay_stream(r, f, e);
    case FRAME_FILE:
        return replay_file(r, f, e);
    case FRAME_WORKERS:
        batches_decode_last(b, (struct str){f->tail, f->tail_len});
        return ERR_OK;
    case FRAME_EPOCH:
        replay_epoch(r, f->batch.epoch);
        return ERR_OK;
    case FRAME_REFUSED:
        replay_refused(r, item);
        return ERR_OK;
    case FRAME_CLOSE:
        replay_close(r, f);
        return ERR_OK;
    case FRAME_SETTLE:
        return replay_settle(r, f, e);
    case FRAME_PUBLISH:
        return replay_publish(r, f, r->j->table.seq, item->at, item->end, e);
    case FRAME_MOVED:
        return replay_moved(r, item, e);
    case FRAME_REQUESTS:
        return requests_decode(&b->requests, (struct str){f->tail, f->tail_len}) ? ERR_OK
                                                                                 : no_memory(e);
    case FRAME_TABLE:
    case FRAME_KIND_END:
        break;
    }
    return ERR_OK; /* a kind of a later version */
}

/* ---- tables ---- */

/* The table says what became of an attempt of the segments before: it was completed, or it is still
 * open and the table has it too.  Else it has ended, as at retire. */
static bool settle_attempt(struct replay *r, struct attempt *a, struct str table)
{
    struct worker before = {.open = a};
    const struct attempt *now = batches_open(&r->j->batches, &a->id);
    bool goes_on = now && now->serial == a->serial;
    if (!goes_on && (a->count == 0 || !table_shows(table, a->refs[0].seq, a->refs[0].at)))
        return retire(r, &before);
    attempt_free(a);
    return true;
}

enum err_code replay_table(struct replay *r, struct str body, uint64_t position,
                           struct str *publishes, struct err *e)
{
    struct batches *b = &r->j->batches;
    AUTO_FREE struct attempt **before = calloc(JOURNAL_WORKERS_MAX, sizeof *before);
    if (!before)
        return no_memory(e);
    for (uint32_t i = 0; i < JOURNAL_WORKERS_MAX; i++) {
        before[i] = b->workers[i].open;
        b->workers[i].open = NULL;
    }
    bool ok = table_apply(body, &r->j->files, b, publishes);
    for (uint32_t i = 0; i < JOURNAL_WORKERS_MAX; i++) {
        if (b->workers[i].open)
            b->workers[i].open->last_position = position;
        if (before[i])
            ok = settle_attempt(r, before[i], body) && ok;
    }
    return ok ? ERR_OK : no_memory(e);
}

/* ---- the torn end ---- */

static enum err_code save_torn_lines(struct replay *r, const struct frame *f, struct err *e)
{
    struct frame_stretch s = {0};
    while (frame_next_stretch(f, &s)) {
        struct run_ref ref = {.stream = f->stream,
                              .min_ts_us = f->min_ts_us,
                              .max_ts_us = f->max_ts_us,
                              .hour = f->hour,
                              .lines = s.lines,
                              .len = s.len};
        struct saved_run *run = save_run(r, &ref);
        if (run)
            run->bytes = malloc(s.len);
        if (!run || !run->bytes)
            return no_memory(e);
        memcpy(run->bytes, f->payload + s.at, s.len);
    }
    return ERR_OK;
}

enum err_code replay_torn_frame(struct replay *r, const struct scan_item *item, bool keep,
                                struct err *e)
{
    const struct frame *f = &item->frame;
    if (f->flags & FRAME_LAST)
        r->found->torn_batches++;
    if (f->kind == FRAME_STREAM)
        return replay_stream(r, f, e);
    return keep && f->kind == FRAME_DATA && f->batch.worker != SAVED_WORKER
               ? save_torn_lines(r, f, e)
               : ERR_OK;
}

enum err_code replay_finish(struct replay *r, bool keep, struct err *e)
{
    struct batches *b = &r->j->batches;
    for (uint32_t i = 0; i < JOURNAL_WORKERS_MAX; i++) {
        struct attempt *a = b->workers[i].open;
        bool is_bereft = a && a->last_position < r->corrupt_position;
        if (!a || (a->is_refused && !is_bereft))
            continue;
        r->unsettled++;
        r->found->torn_batches++;
        if ((keep || is_bereft) && !save_attempt(r, a))
            return no_memory(e);
    }
    if (r->saved_open) /* of an earlier recovery that did not come to its end */
        r->unsettled++;
    batches_drop_open(b);
    return ERR_OK;
}
