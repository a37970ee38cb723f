// links: weir_fs weir_index
/* tests/fuzz/fuzz_frame.c - any bytes as the frames of a segment: what they replay to holds
 * together, and a start from the table of that segment comes to the same.
 * Input: u8 mode (enum mode), then the bytes from SEGMENT_HEADER_LEN on. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/journal/replay.h"

enum {
    SEQ = 1,
    INPUT_MAX = 1 << 20,
    TABLE_MAX = 64 << 20,
    SYNCED_TO_AT = 64, /* in a frame's header */
    PIECES = 3,
    MOUNT = 77 /* whose requests are remembered */
};
enum mode {
    REPAIR = 1, /* put the checksums right first: else no change would ever come past them */
    TORN = 2,   /* the first bad frame begins the torn tail: it was never durable */
    KEEP = 4    /* the node died: lines of torn batches are kept */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact)
        abort();
}

/* ---- a segment ---- */

static void repair(char *frames, size_t len)
{
    for (size_t at = 0, n; at + FRAME_HEADER_LEN <= len; at += n ? n : 8) {
        n = frame_peek(frames + at, len - at);
        if (n)
            frame_finish(frames + at, get_u64(frames + at + SYNCED_TO_AT), SEQ,
                         (uint32_t)(SEGMENT_HEADER_LEN + at));
    }
}

static int segment_of(const uint8_t *data, size_t len, bool is_repaired)
{
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("fuzz_frame", MFD_CLOEXEC);
    char *frames = malloc(len ? len : 1);
    require(fd >= 0 && frames != NULL);
    memcpy(frames, data, len);
    if (is_repaired)
        repair(frames, len);
    require(ftruncate(fd, 0) == 0 && ftruncate(fd, (off_t)(SEGMENT_HEADER_LEN + len)) == 0);
    require(pwrite(fd, frames, len, SEGMENT_HEADER_LEN) == (ssize_t)len);
    free(frames);
    return fd;
}

/* ---- one frame ---- */

static void check_frame(const struct frame *f)
{
    struct frame_stretch s = {0};
    uint32_t lines = 0, end = 0;
    while (frame_next_stretch(f, &s)) {
        require(s.lines > 0 && s.len >= s.lines);
        require(s.at >= end && s.len <= f->payload_len - s.at);
        end = s.at + s.len;
        lines += s.lines;
    }
    require(lines <= f->line_count);
    require(frame_is_whole(f) == (f->has_tail && lines == f->line_count));
    require(f->has_tail || f->tail_len == 0);
}

/* ---- what was replayed ---- */

struct state {
    struct journal j;
    struct journal_recovery found;
    struct replay r;
    bool is_over; /* a limit was met, or memory was short */
};

static struct state *state_new(void)
{
    struct state *s = calloc(1, sizeof *s);
    require(s != NULL && batches_init(&s->j.batches));
    s->j.batches.requests.mount = MOUNT;
    struct segment *segment = segment_new(SEQ, -1, SEGMENT_BYTES_MAX);
    files_init(&s->j.files);
    require(segment != NULL && files_add_segment(&s->j.files, segment));
    table_init(&s->j.table);
    table_reset(&s->j.table, SEQ);
    replay_init(&s->r, &s->j, &s->found);
    return s;
}

static void state_free(struct state *s)
{
    replay_done(&s->r);
    table_done(&s->j.table);
    batches_done(&s->j.batches);
    files_done(&s->j.files);
    free(s);
}

/* Extents follow each other without a gap, and readers are given all of them. */
static void check_file(struct files *files, const struct jfile *f)
{
    struct piece pieces[PIECES];
    uint64_t size = 0;
    size_t count = 1;
    struct err e;
    for (size_t i = 0; i < f->extents.count; i++) {
        require(extent_at(&f->extents, i)->shown_at == size);
        size += extent_at(&f->extents, i)->len;
    }
    require(size == f->size);
    if (f->rows == 0 || map_find(&files->by_id, (struct str){(const char *)f->id.b, 16}) != f)
        return;
    for (uint64_t off = 0; off < size;) {
        require(files_map(files, &f->id, off, SIZE_MAX, pieces, PIECES, &count, &e) == ERR_OK);
        require(count > 0 && pieces[0].len > 0);
        for (size_t i = 0; i < count; i++)
            off += pieces[i].len;
        pieces_done(pieces, count);
        require(off <= size);
    }
}

static void check_files(struct files *files)
{
    uint64_t rows = 0, extents = 0, replaced = 0, live = 0, kept = 0;
    for (size_t i = 0; i < files->count; i++) {
        const struct jfile *f = files->list[i].file;
        if (!f) /* forgotten */
            continue;
        check_file(files, f);
        rows += f->is_replaced ? 0 : f->rows;
        replaced += f->is_replaced;
        extents += f->extents.count;
        for (size_t k = 0; k < f->extents.count; k++) {
            const struct extent *x = extent_at(&f->extents, k);
            *(f->is_replaced ? &kept : &live) += frame_size(x->rows, x->len, 0);
        }
        const struct jfile *holder =
            files_by_number(files, f->number); /* f, a later one, or gone */
        require(!holder || holder->number == f->number);
        require(files_stream_find(files, f->stream->number) == f->stream);
        require(!f->is_open || files_open_find(files, f->stream->number, f->hour) == f);
        require(!f->is_open || !f->is_replaced);
    }
    require(rows == files->row_count && extents == files->extent_count);
    require(replaced == files->replaced_count);
    require(live == files->segments[0]->live_bytes && kept == files->segments[0]->kept_bytes);
}

static void settle(struct state *s)
{
    require(files_settle(&s->j.files, 0));
    check_files(&s->j.files);
}

static void apply_table(struct state *s, const struct frame *f)
{
    char *body = malloc(f->tail_len ? f->tail_len : 1); /* exact: a read past its end is seen */
    struct err e;
    require(body != NULL);
    memcpy(body, f->tail, f->tail_len);
    struct str publishes;
    s->is_over = replay_table(&s->r, (struct str){body, f->tail_len}, frame_position(SEQ, 0),
                              &publishes, &e) != ERR_OK;
    free(body);
}

static void replay_item(struct state *s, struct scan_item *item, bool is_torn, unsigned mode)
{
    struct err e = {0};
    enum err_code rc = ERR_OK;
    char *bytes = malloc(item->bytes.len);
    require(bytes != NULL);
    memcpy(bytes, item->bytes.ptr, item->bytes.len);
    item->bytes.ptr = bytes;
    require(frame_decode(item->bytes, SEQ, item->at, &item->frame));
    check_frame(&item->frame);
    require(item->is_damaged == !frame_is_whole(&item->frame));
    if (is_torn)
        rc = replay_torn_frame(&s->r, item, mode & KEEP, &e);
    else
        rc = replay_frame(&s->r, item, &e);
    require(rc == ERR_OK || rc == ERR_NOMEM);
    s->is_over = rc != ERR_OK;
    free(bytes);
}

/* As fs/journal/recover.c does it. */
static struct state *replay(int fd, uint32_t limit, unsigned mode, bool with_tables)
{
    struct state *s = state_new();
    struct scan scan;
    struct scan_item item;
    struct err e;
    uint32_t at = SEGMENT_HEADER_LEN;
    bool is_torn = false;
    segment_scan_init(&scan, fd, SEQ, limit, true);
    while (!s->is_over) {
        require(scan_next(&scan, &item, &e) == ERR_OK);
        if (item.kind == SCAN_END)
            break;
        require(item.at == at && item.end > at && item.end <= limit);
        at = item.end;
        bool is_bad = item.kind == SCAN_BAD || item.is_damaged;
        if (is_bad && !is_torn && mode & TORN) {
            is_torn = true;
            require(replay_finish(&s->r, mode & KEEP, &e) == ERR_OK);
        }
        if (is_bad && !is_torn)
            replay_corrupt(&s->r, &item);
        if (item.kind == SCAN_BAD)
            continue;
        if (with_tables && item.frame.kind == FRAME_TABLE)
            apply_table(s, &item.frame);
        else
            replay_item(s, &item, is_torn, mode);
    }
    scan_done(&scan);
    return s;
}

/* ---- the table ---- */

static void same_file(const struct jfile *a, const struct jfile *b)
{
    require(a->number == b->number && ulid_cmp(&a->id, &b->id) == 0);
    require(a->stream->number == b->stream->number && a->hour == b->hour);
    require(a->is_open == b->is_open && a->size == b->size && a->rows == b->rows);
    require(a->published == b->published && a->is_replaced == b->is_replaced);
    require(a->min_ts_us == b->min_ts_us && a->max_ts_us == b->max_ts_us);
    require(a->first_append_us == b->first_append_us && a->last_append_us == b->last_append_us);
    require(a->next_place == b->next_place && a->extents.count == b->extents.count);
    for (size_t i = 0; i < a->extents.count; i++) {
        const struct extent *x = extent_at(&a->extents, i), *y = extent_at(&b->extents, i);
        require(x->shown_at == y->shown_at && x->seq == y->seq);
        require(x->at == y->at && x->len == y->len);
        require(x->place == y->place && x->rows == y->rows);
    }
}

static void same_attempt(const struct attempt *a, const struct attempt *b)
{
    require(a->id.epoch == b->id.epoch && a->id.worker == b->id.worker);
    require(a->id.number == b->id.number && a->serial == b->serial);
    require(a->next_part == b->next_part && a->next_run == b->next_run && a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        const struct run_ref *x = &a->refs[i], *y = &b->refs[i];
        require(x->stream == y->stream && x->hour == y->hour && x->lines == y->lines);
        require(x->min_ts_us == y->min_ts_us && x->max_ts_us == y->max_ts_us);
        require(x->len == y->len && x->seq == y->seq && x->at == y->at);
        require(x->run == y->run && x->skip == y->skip);
    }
}

static void same_batches(const struct batches *a, const struct batches *b)
{
    require(a->epoch == b->epoch);
    for (uint32_t i = 0; i < JOURNAL_WORKERS_MAX; i++) {
        const struct worker *v = &a->workers[i], *w = &b->workers[i];
        require(v->number == w->number && (v->number == 0 || v->epoch == w->epoch));
        require(v->answer == w->answer || v->number == 0);
        require((v->open != NULL) == (w->open != NULL));
        if (v->open)
            same_attempt(v->open, w->open);
    }
}

static void same_requests(const struct requests *a, const struct requests *b)
{
    struct buf x, y;
    buf_init(&x, TABLE_MAX);
    buf_init(&y, TABLE_MAX);
    requests_encode(a, UINT64_MAX, JOURNAL_REQUESTS_MAX, &x);
    requests_encode(b, UINT64_MAX, JOURNAL_REQUESTS_MAX, &y);
    require(str_eq(buf_str(&x), buf_str(&y)));
    for (size_t at = 0; at < x.len; at += FRAME_REQUEST_LEN) {
        struct batch_request r;
        enum err_code answer;
        uint64_t position;
        require(request_decode(x.data + at, &r));
        require(requests_find(b, r.mount, r.number, &answer, &position) && answer == r.answer);
    }
    buf_done(&x);
    buf_done(&y);
}

/* As fs/journal/recover.c does it. */
static void apply_publishes(struct state *s, struct str places, int fd)
{
    for (size_t i = 0; i < places.len; i += TABLE_PUBLISH_LEN) {
        uint32_t at = get_u32(places.ptr + i), len = get_u32(places.ptr + i + 4);
        struct frame f;
        struct err e;
        char *bytes = malloc(len);
        require(bytes != NULL && pread(fd, bytes, len, at) == (ssize_t)len);
        require(frame_decode((struct str){bytes, len}, SEQ, at, &f) && f.kind == FRAME_PUBLISH);
        require(replay_publish(&s->r, &f, SEQ, at, at + len, &e) == ERR_OK);
        free(bytes);
    }
}

/* No journal names a file in a publish record before it declares it, but any bytes may. */
static bool knows_as_published(const struct files *a, const struct files *b)
{
    bool is_same = a->count == b->count;
    for (size_t i = 0; is_same && i < a->count; i++)
        is_same = a->list[i].file->published == b->list[i].file->published;
    return is_same;
}

static void same_files(const struct files *a, const struct files *b)
{
    require(a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        const struct jfile *x = a->list[i].file, *y = b->list[i].file;
        require((x != NULL) == (y != NULL));
        if (x)
            same_file(x, y);
    }
}

static void check_table(struct state *s, int fd)
{
    struct state *again = state_new();
    struct str publishes = {NULL, 0};
    struct buf body;
    buf_init(&body, TABLE_MAX);
    table_encode(&s->j.table, &s->j.files, &s->j.batches, UINT64_MAX, &body);
    require(buf_ok(&body) && table_is_known(buf_str(&body)));
    require(table_apply(buf_str(&body), &again->j.files, &again->j.batches, &publishes));
    require(publishes.len == s->j.table.publishes.len);
    apply_publishes(again, publishes, fd);
    bool is_same = knows_as_published(&s->j.files, &again->j.files);
    if (is_same)
        same_files(&s->j.files, &again->j.files);
    settle(s);
    settle(again);
    if (is_same)
        same_files(&s->j.files, &again->j.files);
    same_batches(&s->j.batches, &again->j.batches);
    same_requests(&s->j.batches.requests, &again->j.batches.requests);
    buf_done(&body);
    state_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > INPUT_MAX)
        return 0;
    unsigned mode = data[0];
    int fd = segment_of(data + 1, size - 1, mode & REPAIR);
    uint32_t limit = (uint32_t)(SEGMENT_HEADER_LEN + size - 1);
    struct err e;

    struct state *s = replay(fd, limit, mode, false);
    if (!s->is_over)
        check_table(s, fd);
    state_free(s);
    s = replay(fd, limit, mode, true);
    if (!s->is_over)
        require(replay_finish(&s->r, mode & KEEP, &e) == ERR_OK);
    if (!s->is_over)
        settle(s);
    state_free(s);
    return 0;
}
