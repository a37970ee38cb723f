/* fs/journal/segment_table.c - the table at the end of a segment.
 *
 * Body of the TABLE frame, little-endian:
 *    0  u32 version 2   4  u32 streams   8  u32 files   12  u32 extents   16  u32 workers
 *   20  u32 open batches   24  u64 epoch   32  u64 next_serial   40  u32 publish records
 *   44  u32 requests
 *   48  streams: declarations as in STREAM frames
 *       files:   declaration as in FILE frames, u64 rows, i64 min_ts_us, max_ts_us,
 *                first_append_us, last_append_us (of what was shown while this segment was current)
 *       extents: u32 file, u32 seq, u32 at, u32 len, u64 offset in the file, u32 rows, u32 zero; in
 *                the order shown (len 0: nothing to show; places below the offset were given out
 *                before)
 *       workers: as in WORKERS frames
 *       publish records: u32 at, u32 len of each PUBLISH frame, in order
 *       open batches: u64 epoch, u64 number, u64 serial, u32 worker, u32 next_part, u32 next_run,
 *                u32 runs; per run u64 stream, i64 min_ts_us, i64 max_ts_us, i32 hour, u32 lines,
 *                len, seq, at, run, skip, u32 flags (of the first run: 1 = a part was refused)
 *       requests: as in REQUESTS frames
 * Extents may point into an earlier segment: a batch is placed where its last frame is.  They may
 * name files that are not declared, because those were forgotten.  The open
 * batches are all of the journal's at that moment, so only the newest table's count.
 */
#include "fs/journal/segment_table.h"

#include <stdlib.h>

enum {
    TABLE_VERSION = 2,
    TABLE_HEADER_LEN = 48,
    OPEN_LEN = 40,
    OPEN_RUN_LEN = 56,
    OPEN_REFUSED = 1,
    GROW_MIN = 64,
    EXTENTS_BYTES_MAX = 256 << 20,
    PUBLISHES_BYTES_MAX = 16 << 20
};

void table_init(struct segment_table *t)
{
    *t = (struct segment_table){.bytes = TABLE_HEADER_LEN};
    buf_init(&t->extents, EXTENTS_BYTES_MAX);
    buf_init(&t->publishes, PUBLISHES_BYTES_MAX);
}

void table_done(struct segment_table *t)
{
    buf_done(&t->extents);
    buf_done(&t->publishes);
    free(t->streams);
    free(t->entries);
}

void table_reset(struct segment_table *t, uint32_t seq)
{
    buf_clear(&t->extents);
    buf_clear(&t->publishes);
    t->seq = seq;
    t->is_broken = false;
    t->stream_count = t->entry_count = 0;
    t->bytes = TABLE_HEADER_LEN;
}

static void *grown(void *array, size_t count, size_t *cap, size_t elem_size)
{
    if (count < *cap)
        return array;
    size_t want = *cap ? *cap * 2 : GROW_MIN;
    void *bigger = realloc(array, want * elem_size);
    if (bigger)
        *cap = want;
    return bigger;
}

void table_add_stream(struct segment_table *t, struct jstream *s)
{
    const struct jstream **streams;
    if (s->declared_in == t->seq)
        return;
    s->declared_in = t->seq;
    streams = grown(t->streams, t->stream_count, &t->stream_cap, sizeof(struct jstream *));
    if (!streams) {
        t->is_broken = true;
        return;
    }
    t->streams = streams;
    t->streams[t->stream_count++] = s;
    t->bytes += 16 + s->org.len + s->name.len + 7;
}

void table_add_file(struct segment_table *t, struct jfile *f)
{
    if (f->declared_in == t->seq)
        return;
    f->declared_in = t->seq;
    f->table_index = UINT32_MAX;
    struct table_entry *entries = grown(t->entries, t->entry_count, &t->entry_cap, sizeof *entries);
    if (!entries) {
        t->is_broken = true;
        return;
    }
    t->entries = entries;
    f->table_index = (uint32_t)t->entry_count;
    t->entries[t->entry_count++] = (struct table_entry){.file = f->number};
    t->bytes += TABLE_FILE_LEN;
}

void table_add_extent(struct segment_table *t, const struct jfile *f, const struct run_place *run)
{
    char x[TABLE_EXTENT_LEN] = {0};
    put_u32(x, f->number);
    put_u32(x + 4, run->seq);
    put_u32(x + 8, run->at);
    put_u32(x + 12, run->len);
    put_u64(x + 16, run->offset);
    put_u32(x + 24, run->rows);
    buf_add(&t->extents, x, sizeof x);
    if (!buf_ok(&t->extents))
        t->is_broken = true;
    t->bytes += sizeof x;
}

void table_add_passed(struct segment_table *t, const struct jfile *f)
{
    if (f->declared_in != t->seq)
        t->is_broken = true;
    table_add_extent(t, f, &(struct run_place){.seq = t->seq, .offset = f->next_place});
}

void table_add_publish(struct segment_table *t, uint32_t at, uint32_t len)
{
    char x[TABLE_PUBLISH_LEN];
    put_u32(x, at);
    put_u32(x + 4, len);
    buf_add(&t->publishes, x, sizeof x);
    if (!buf_ok(&t->publishes))
        t->is_broken = true;
    t->bytes += sizeof x;
}

void table_add_facts(struct segment_table *t, const struct jfile *f,
                     const struct shown_facts *facts)
{
    if (f->declared_in != t->seq || f->table_index >= t->entry_count) {
        t->is_broken = true;
        return;
    }
    struct shown_facts *sum = &t->entries[f->table_index].facts;
    if (sum->rows == 0) {
        *sum = *facts;
        return;
    }
    sum->rows += facts->rows;
    if (facts->min_ts_us < sum->min_ts_us)
        sum->min_ts_us = facts->min_ts_us;
    if (facts->max_ts_us > sum->max_ts_us)
        sum->max_ts_us = facts->max_ts_us;
    if (facts->first_append_us < sum->first_append_us)
        sum->first_append_us = facts->first_append_us;
    if (facts->last_append_us > sum->last_append_us)
        sum->last_append_us = facts->last_append_us;
}

/* ---- encoding ---- */

static void encode_streams(const struct segment_table *t, struct buf *out)
{
    char decl[STREAM_DECL_MAX];
    for (size_t i = 0; i < t->stream_count; i++) {
        const struct jstream *s = t->streams[i];
        size_t n =
            stream_decl_encode(decl, &(struct stream_decl){s->number, s->type, s->org, s->name});
        buf_add(out, decl, n);
    }
}

static uint32_t encode_files(const struct segment_table *t, const struct files *files,
                             struct buf *out)
{
    char x[TABLE_FILE_LEN];
    uint32_t count = 0;
    for (size_t i = 0; i < t->entry_count; i++) {
        const struct jfile *f = files_by_number(files, t->entries[i].file);
        if (!f)
            continue;
        const struct shown_facts *facts = &t->entries[i].facts;
        file_decl_encode(
            x, &(struct file_decl){f->number, f->id, f->stream->number, f->hour, !f->is_open});
        put_u64(x + FILE_DECL_LEN, facts->rows);
        put_u64(x + FILE_DECL_LEN + 8, (uint64_t)facts->min_ts_us);
        put_u64(x + FILE_DECL_LEN + 16, (uint64_t)facts->max_ts_us);
        put_u64(x + FILE_DECL_LEN + 24, (uint64_t)facts->first_append_us);
        put_u64(x + FILE_DECL_LEN + 32, (uint64_t)facts->last_append_us);
        buf_add(out, x, sizeof x);
        count++;
    }
    return count;
}

static void encode_open(const struct attempt *a, struct buf *out)
{
    char x[OPEN_RUN_LEN] = {0};
    put_u64(x, a->id.epoch);
    put_u64(x + 8, a->id.number);
    put_u64(x + 16, a->serial);
    put_u32(x + 24, a->id.worker);
    put_u32(x + 28, a->next_part);
    put_u32(x + 32, a->next_run);
    put_u32(x + 36, (uint32_t)a->count);
    buf_add(out, x, OPEN_LEN);
    for (size_t i = 0; i < a->count; i++) {
        const struct run_ref *r = &a->refs[i];
        put_u64(x, r->stream);
        put_u64(x + 8, (uint64_t)r->min_ts_us);
        put_u64(x + 16, (uint64_t)r->max_ts_us);
        put_u32(x + 24, (uint32_t)r->hour);
        put_u32(x + 28, r->lines);
        put_u32(x + 32, r->len);
        put_u32(x + 36, r->seq);
        put_u32(x + 40, r->at);
        put_u32(x + 44, r->run);
        put_u32(x + 48, r->skip);
        put_u32(x + 52, i == 0 && a->is_refused ? OPEN_REFUSED : 0);
        buf_add(out, x, OPEN_RUN_LEN);
    }
}

static uint32_t encode_all_open(const struct batches *b, struct buf *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < JOURNAL_WORKERS_MAX; i++) {
        if (!b->workers[i].open)
            continue;
        encode_open(b->workers[i].open, out);
        count++;
    }
    return count;
}

void table_encode(const struct segment_table *t, const struct files *files, const struct batches *b,
                  uint64_t synced, struct buf *out)
{
    char header[TABLE_HEADER_LEN] = {0};
    put_u32(header, TABLE_VERSION);
    put_u32(header + 4, (uint32_t)t->stream_count);
    put_u32(header + 12, (uint32_t)(t->extents.len / TABLE_EXTENT_LEN));
    put_u64(header + 24, b->epoch);
    put_u64(header + 32, b->next_serial);
    put_u32(header + 40, (uint32_t)(t->publishes.len / TABLE_PUBLISH_LEN));
    size_t begin = out->len;
    buf_add(out, header, sizeof header);
    encode_streams(t, out);
    uint32_t file_count = encode_files(t, files, out);
    buf_add_str(out, buf_str(&t->extents));
    size_t workers_at = out->len;
    batches_encode_last(b, synced, out);
    uint32_t workers = (uint32_t)((out->len - workers_at) / WORKER_LAST_LEN);
    buf_add_str(out, buf_str(&t->publishes));
    uint32_t open = encode_all_open(b, out);
    size_t requests_at = out->len;
    requests_encode(&b->requests, synced, JOURNAL_REQUESTS_MAX, out);
    if (!buf_ok(out))
        return;
    put_u32(out->data + begin + 8, file_count);
    put_u32(out->data + begin + 16, workers);
    put_u32(out->data + begin + 20, open);
    put_u32(out->data + begin + 44, (uint32_t)((out->len - requests_at) / FRAME_REQUEST_LEN));
}

/* ---- applying ---- */

/* What is left of the body. */
struct cursor {
    const char *p;
    size_t left;
};

static const char *take(struct cursor *c, uint64_t count, size_t each)
{
    const char *p = c->p;
    if (count > c->left / each)
        return NULL;
    c->p += count * each;
    c->left -= count * each;
    return p;
}

static bool apply_streams(struct cursor *c, uint32_t count, struct files *files)
{
    struct stream_decl d;
    size_t used;
    for (uint32_t i = 0; i < count; i++) {
        if (!stream_decl_decode((struct str){c->p, c->left}, &d, &used) || !files_stream(files, &d))
            return false;
        take(c, used, 1);
    }
    return true;
}

static bool apply_file(const char *p, struct files *files)
{
    struct file_decl d;
    if (!file_decl_decode((struct str){p, TABLE_FILE_LEN}, &d))
        return false;
    struct jfile *f = files_declare(files, &d);
    if (!f)
        return false;
    files_add_facts_locked(files, f,
                           &(struct shown_facts){
                               get_u64(p + FILE_DECL_LEN),
                               (int64_t)get_u64(p + FILE_DECL_LEN + 8),
                               (int64_t)get_u64(p + FILE_DECL_LEN + 16),
                               (int64_t)get_u64(p + FILE_DECL_LEN + 24),
                               (int64_t)get_u64(p + FILE_DECL_LEN + 32),
                           });
    return true;
}

static bool apply_extents(const char *p, uint32_t count, struct files *files)
{
    for (uint32_t i = 0; i < count; i++, p += TABLE_EXTENT_LEN) {
        struct jfile *f = files_by_number(files, get_u32(p));
        struct run_place run = {get_u32(p + 4), get_u32(p + 8), get_u32(p + 12), get_u32(p + 24),
                                get_u64(p + 16)};
        if (f && !files_reserve(files, f, 1))
            return false;
        if (f && run.len > 0)
            files_show_locked(files, f, &run);
        else if (f)
            files_pass_place(f, run.offset);
    }
    return true;
}

static bool apply_open(struct cursor *c, struct batches *b)
{
    const char *p = take(c, 1, OPEN_LEN);
    if (!p)
        return false;
    struct batch_id id = {get_u64(p), get_u32(p + 24), get_u64(p + 8)};
    uint32_t count = get_u32(p + 36);
    const char *run = take(c, count, OPEN_RUN_LEN);
    struct attempt *a = attempt_new(&id, get_u64(p + 16));
    if (!run || id.worker >= JOURNAL_WORKERS_MAX || !a || !attempt_reserve(a, count)) {
        attempt_free(a);
        return false;
    }
    a->next_part = get_u32(p + 28);
    a->next_run = get_u32(p + 32);
    a->is_refused = count && (get_u32(run + 52) & OPEN_REFUSED);
    for (; a->count < count; a->count++, run += OPEN_RUN_LEN)
        a->refs[a->count] = (struct run_ref){.stream = get_u64(run),
                                             .min_ts_us = (int64_t)get_u64(run + 8),
                                             .max_ts_us = (int64_t)get_u64(run + 16),
                                             .hour = (int32_t)get_u32(run + 24),
                                             .lines = get_u32(run + 28),
                                             .len = get_u32(run + 32),
                                             .seq = get_u32(run + 36),
                                             .at = get_u32(run + 40),
                                             .run = get_u32(run + 44),
                                             .skip = get_u32(run + 48)};
    attempt_free(b->workers[id.worker].open);
    b->workers[id.worker].open = a;
    return true;
}

bool table_shows(struct str body, uint32_t seq, uint32_t at)
{
    struct cursor c = {body.ptr, body.len};
    const char *h = take(&c, 1, TABLE_HEADER_LEN);
    struct stream_decl d;
    size_t used;
    for (uint32_t i = 0; h && i < get_u32(h + 4); i++) {
        if (!stream_decl_decode((struct str){c.p, c.left}, &d, &used))
            return false;
        take(&c, used, 1);
    }
    if (!h || !take(&c, get_u32(h + 8), TABLE_FILE_LEN))
        return false;
    uint32_t count = get_u32(h + 12);
    const char *p = take(&c, count, TABLE_EXTENT_LEN);
    for (uint32_t i = 0; p && i < count; i++, p += TABLE_EXTENT_LEN)
        if (get_u32(p + 4) == seq && at >= get_u32(p + 8) && at - get_u32(p + 8) < get_u32(p + 12))
            return true;
    return false;
}

bool table_is_known(struct str body)
{
    return body.len >= TABLE_HEADER_LEN && get_u32(body.ptr) == TABLE_VERSION;
}

bool table_apply(struct str body, struct files *files, struct batches *b, struct str *publishes)
{
    struct cursor c = {body.ptr, body.len};
    const char *h = take(&c, 1, TABLE_HEADER_LEN);
    if (!h || get_u32(h) != TABLE_VERSION || !apply_streams(&c, get_u32(h + 4), files))
        return false;
    uint32_t file_count = get_u32(h + 8), extent_count = get_u32(h + 12);
    const char *file = take(&c, file_count, TABLE_FILE_LEN);
    const char *extents = take(&c, extent_count, TABLE_EXTENT_LEN);
    const char *workers = take(&c, get_u32(h + 16), WORKER_LAST_LEN);
    publishes->len = (size_t)get_u32(h + 40) * TABLE_PUBLISH_LEN;
    publishes->ptr = take(&c, get_u32(h + 40), TABLE_PUBLISH_LEN);
    if (!file || !extents || !workers || !publishes->ptr)
        return false;
    for (uint32_t i = 0; i < file_count; i++, file += TABLE_FILE_LEN) {
        if (!apply_file(file, files))
            return false;
    }
    if (!apply_extents(extents, extent_count, files))
        return false;
    batches_new_epoch(b, get_u64(h + 24));
    batches_drop_open(b);
    if (get_u64(h + 32) > b->next_serial)
        b->next_serial = get_u64(h + 32);
    if (!batches_decode_last(b, (struct str){workers, (size_t)get_u32(h + 16) * WORKER_LAST_LEN}))
        return false;
    for (uint32_t i = 0; i < get_u32(h + 20); i++) {
        if (!apply_open(&c, b))
            return false;
    }
    const char *requests = take(&c, get_u32(h + 44), FRAME_REQUEST_LEN);
    return requests &&
           requests_decode(&b->requests,
                           (struct str){requests, (size_t)get_u32(h + 44) * FRAME_REQUEST_LEN});
}
