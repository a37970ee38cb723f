/* fs/journal/recover.c - the start: from segment files to a journal that takes appends.
 *
 *   1. list and open the files; those after the last one in use were prepared, and are removed
 *   2. per segment in use, in order: its table, or without one its frames
 *   3. the newest, if it has no table, up to its torn tail, which is set aside and zeroed
 *   4. begin the threads; make durable what was perhaps not, through the usual path
 *   5. settle: keep the lines that are to be kept, end what is incomplete
 * A journal that is only read stops after 3 and writes nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"
#include "fs/journal/mend.h"

enum { SEGMENTS_MAX = 1 << 20, IMAGE_BYTES = 1 << 20 };

struct candidate {
    uint32_t seq;
    int fd;
    off_t file_bytes;
    enum err_code header_code; /* OK, NOTFOUND (zeros) or CORRUPT */
    struct segment_header header;
    struct segment *segment; /* in use: the files' */
    bool has_table;
    uint32_t table_at, table_len;
    uint32_t limit; /* frames end here at the latest */
};

struct recovery {
    struct journal *j;
    struct replay replay;
    struct candidate *list;
    size_t count, cap, used; /* the first `used` are in use */
    uint64_t file_bytes;     /* of all */
    uint32_t synced_end;     /* of the newest: frames below were durable when it was written */
    uint32_t good_end;       /* of the newest: where its last good frame ends */
    uint32_t torn_end;       /* of the newest: where its torn tail ends; good_end = none */
    bool is_resumable;       /* the newest takes more frames */
    struct image *image;     /* being filled with frames that are perhaps not durable */
};

/* ---- 1. files ---- */

static bool add_candidate(struct recovery *r, uint32_t seq)
{
    if (r->count == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 64;
        struct candidate *bigger = realloc(r->list, cap * sizeof *bigger);
        if (!bigger || cap > SEGMENTS_MAX)
            return false;
        r->list = bigger;
        r->cap = cap;
    }
    r->list[r->count++] = (struct candidate){.seq = seq, .fd = -1};
    return true;
}

static int by_seq(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* It was on its way to be used again. */
static void remove_freed(const struct recovery *r, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", r->j->cfg.dir, name);
    sys_unlink(path); /* else the next start tries again */
}

static enum err_code list_files(struct recovery *r, struct err *e)
{
    DIR *dir = opendir(r->j->cfg.dir);
    bool ok = true;
    uint32_t seq;
    if (!dir && errno == ENOENT && r->j->cfg.read_only)
        return ERR_OK;
    if (!dir)
        return err_sys(e, errno, "list %s", r->j->cfg.dir);
    for (struct dirent *ent; ok && (ent = readdir(dir)) != NULL;) {
        if (segment_parse_name(ent->d_name, &seq))
            ok = add_candidate(r, seq);
        else if (segment_parse_free_name(ent->d_name) && !r->j->cfg.read_only)
            remove_freed(r, ent->d_name);
    }
    closedir(dir);
    if (!ok)
        return err_set(e, ERR_NOMEM, "no memory for the list of segments");
    if (r->count)
        qsort(r->list, r->count, sizeof *r->list, by_seq);
    return ERR_OK;
}

static enum err_code open_candidate(struct recovery *r, struct candidate *c, struct err *e)
{
    char path[PATH_MAX];
    struct stat st;
    segment_path(r->j->cfg.dir, c->seq, path);
    c->fd = sys_open(path, (r->j->cfg.read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW, 0);
    if (c->fd < 0 || sys_fstat(c->fd, &st) < 0)
        return err_sys(e, errno, "open %s", path);
    c->file_bytes = st.st_size;
    r->file_bytes += (uint64_t)st.st_size;
    c->header_code = segment_read_header(c->fd, c->seq, &c->header, e);
    if (c->header_code != ERR_OK && c->header_code != ERR_NOTFOUND && c->header_code != ERR_CORRUPT)
        return c->header_code;
    if (c->file_bytes > UINT32_MAX)
        return err_set(e, ERR_CORRUPT, "%s is larger than a segment can be", path);
    struct segment s = {.seq = c->seq, .fd = c->fd};
    c->has_table = segment_read_footer(&s, &c->table_at, &c->table_len);
    c->limit = (uint32_t)c->file_bytes - (c->has_table ? SEGMENT_FOOTER_LEN : 0);
    return ERR_OK;
}

/* Has the header of this file been lost, but not its frames?  Only the one that follows a closed
 * segment can have been in use. */
static enum err_code holds_frames(const struct candidate *c, bool *answer, struct err *e)
{
    struct scan scan;
    struct scan_item item = {.kind = SCAN_BAD};
    enum err_code rc = ERR_OK;
    segment_scan_init(&scan, c->fd, c->seq, c->limit, false);
    while (!rc && item.kind == SCAN_BAD)
        rc = scan_next(&scan, &item, e);
    *answer = !rc && item.kind == SCAN_FRAME;
    scan_done(&scan);
    return rc;
}

static enum err_code find_used(struct recovery *r, struct err *e)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->list[i].header_code != ERR_NOTFOUND && r->list[i].file_bytes >= SEGMENT_HEADER_LEN)
            r->used = i + 1;
    }
    struct candidate *next = r->used < r->count ? &r->list[r->used] : NULL;
    bool holds = false;
    if (!next || r->used == 0 || !r->list[r->used - 1].has_table)
        return ERR_OK;
    enum err_code rc = holds_frames(next, &holds, e);
    if (holds)
        r->used++;
    return rc;
}

static enum err_code own_segment(struct recovery *r, struct candidate *c, struct err *e)
{
    uint32_t size = c->header_code == ERR_OK ? c->header.size_bytes : r->j->cfg.segment_bytes;
    struct segment *s = segment_new(c->seq, c->fd, size);
    if (s)
        c->fd = -1;
    if (!s || !files_add_segment(&r->j->files, s)) {
        segment_unref(s);
        return err_set(e, ERR_NOMEM, "no memory for a segment");
    }
    s->counted_bytes = (uint64_t)c->file_bytes;
    c->segment = s;
    return ERR_OK;
}

/* ---- 2. and 3. one segment ---- */

/* The journal opens also when something could not be mended. */
static void note(struct recovery *r, enum err_code code, const struct err *why)
{
    if (code && r->replay.found->mend.code == ERR_OK)
        r->replay.found->mend = *why;
}

static enum err_code set_aside(struct recovery *r, const struct candidate *c, uint32_t from,
                               uint32_t to, const char *kind)
{
    struct err why = {0};
    if (r->j->cfg.on_damage)
        r->j->cfg.on_damage(c->seq, from, to, kind, r->j->cfg.ctx);
    if (r->j->cfg.read_only)
        return ERR_OK;
    enum err_code rc = mend_set_aside(r->j, c->segment, from, to, kind, &why);
    note(r, rc, &why);
    return rc;
}

/* What its own frames say was durable: the highest synced_to. */
static enum err_code find_synced(struct recovery *r, const struct candidate *c, struct err *e)
{
    struct scan scan;
    struct scan_item item;
    enum err_code rc;
    uint64_t synced = frame_position(c->seq, SEGMENT_HEADER_LEN);
    segment_scan_init(&scan, c->segment->fd, c->seq, c->limit, false);
    while ((rc = scan_next(&scan, &item, e)) == ERR_OK && item.kind != SCAN_END) {
        if (item.kind == SCAN_FRAME && item.frame.synced_to > synced)
            synced = item.frame.synced_to;
    }
    scan_done(&scan);
    r->synced_end = synced >> 32 == c->seq ? (uint32_t)synced : c->limit;
    return rc;
}

/* Frames that may not be durable yet are kept in memory like those of an append. */
static enum err_code keep_in_memory(struct recovery *r, const struct scan_item *item,
                                    const struct candidate *c, struct err *e)
{
    if (r->image && r->image->len + item->bytes.len > IMAGE_BYTES) {
        sync_push(r->j, r->image);
        r->image = NULL;
    }
    if (!r->image)
        r->image = image_new(item->bytes.len);
    if (!r->image || !image_reserve(r->image, item->bytes.len))
        return err_set(e, ERR_NOMEM, "no memory to replay the journal");
    if (r->image->len == 0) {
        r->image->seq = c->seq;
        r->image->at = item->at;
    }
    memcpy(r->image->data + r->image->len, item->bytes.ptr, item->bytes.len);
    r->image->len += item->bytes.len;
    return ERR_OK;
}

static enum err_code good_frame(struct recovery *r, const struct candidate *c, bool is_newest,
                                const struct scan_item *item, struct err *e)
{
    enum err_code rc = replay_frame(&r->replay, item, e);
    r->good_end = r->torn_end = item->end;
    if (!rc && is_newest && item->at >= r->synced_end && !r->j->cfg.read_only)
        rc = keep_in_memory(r, item, c, e);
    return rc;
}

/* Damage below what was durable. */
static enum err_code corrupt_item(struct recovery *r, const struct candidate *c,
                                  const struct scan_item *item, struct err *e)
{
    replay_corrupt(&r->replay, item);
    r->good_end = r->torn_end = item->end;
    set_aside(r, c, item->at, item->end, "corrupt");
    return item->kind == SCAN_BAD ? ERR_OK : replay_frame(&r->replay, item, e);
}

/* From the first bad frame that was not durable. */
static enum err_code torn_item(struct recovery *r, const struct scan_item *item, struct err *e)
{
    bool keep = r->j->cfg.node_died;
    enum err_code rc = ERR_OK;
    if (r->torn_end == r->good_end)
        rc = replay_finish(&r->replay, keep, e);
    r->torn_end = item->end;
    if (rc || item->kind == SCAN_BAD)
        return rc;
    return replay_torn_frame(&r->replay, item, keep, e);
}

static uint32_t older_seq(const struct candidate *c)
{
    return c->header_code == ERR_OK ? c->header.older_seq : 0;
}

/* Of what a recycled file holds behind its last good frame, only that counts as damage which was
 * durable, or begins as a frame of this generation does: the rest is what it held before. */
static enum err_code cut_old(const struct recovery *r, const struct candidate *c,
                             struct scan_item *item, struct err *e)
{
    uint32_t room = item->end - item->at;
    char header[FRAME_HEADER_LEN];
    struct frame f;
    size_t len = 0;
    if (item->at < r->synced_end) {
        item->end = r->synced_end < item->end ? r->synced_end : item->end;
        return ERR_OK;
    }
    item->end = item->at;
    if (room < sizeof header)
        return ERR_OK;
    enum err_code rc = sys_read_full(c->segment->fd, header, sizeof header, item->at, e);
    if (!rc)
        len = frame_peek(header, room);
    AUTO_FREE char *bytes = len ? malloc(len) : NULL;
    if (len && !bytes)
        return err_set(e, ERR_NOMEM, "no memory to replay the journal");
    if (len)
        rc = sys_read_full(c->segment->fd, bytes, len, item->at, e);
    if (!rc && len && !frame_decode((struct str){bytes, len}, older_seq(c), item->at, &f))
        item->end = item->at + (uint32_t)len;
    return rc;
}

static enum err_code scan_segment(struct recovery *r, struct candidate *c, bool is_newest,
                                  struct err *e)
{
    struct scan scan;
    struct scan_item item;
    enum err_code rc = ERR_OK;
    bool is_torn = false;
    r->synced_end = c->limit;
    if (is_newest || older_seq(c))
        rc = find_synced(r, c, e);
    table_reset(&r->j->table, c->seq);
    r->good_end = r->torn_end = SEGMENT_HEADER_LEN;
    segment_scan_init(&scan, c->segment->fd, c->seq, c->limit, true);
    while (!rc && (rc = scan_next(&scan, &item, e)) == ERR_OK && item.kind != SCAN_END) {
        bool is_bad = item.kind == SCAN_BAD || item.is_damaged;
        if (item.kind == SCAN_BAD && item.is_last && older_seq(c))
            rc = cut_old(r, c, &item, e);
        if (rc || item.end == item.at)
            break;
        is_torn = is_torn || (is_bad && item.at >= r->synced_end);
        if (is_torn)
            rc = torn_item(r, &item, e);
        else if (is_bad)
            rc = corrupt_item(r, c, &item, e);
        else
            rc = good_frame(r, c, is_newest, &item, e);
    }
    scan_done(&scan);
    return rc;
}

/* The publish records of a segment whose frames are not scanned. */
static enum err_code replay_published(struct recovery *r, const struct candidate *c,
                                      struct str places, struct err *e)
{
    enum err_code rc = ERR_OK;
    for (size_t i = 0; !rc && i < places.len; i += TABLE_PUBLISH_LEN) {
        uint32_t at = get_u32(places.ptr + i), len = get_u32(places.ptr + i + 4);
        struct frame f;
        if (at > c->limit || len > c->limit - at)
            continue;
        AUTO_FREE char *bytes = malloc(len);
        if (!bytes)
            return err_set(e, ERR_NOMEM, "no memory for a publish record");
        rc = sys_read_full(c->segment->fd, bytes, len, at, e);
        if (!rc && frame_decode((struct str){bytes, len}, c->seq, at, &f) &&
            f.kind == FRAME_PUBLISH) {
            rc = replay_publish(&r->replay, &f, c->seq, at, at + len, e);
        } else if (!rc) {
            r->replay.found->corrupt_frames++;
            r->replay.found->corrupt_bytes += len;
            set_aside(r, c, at, at + len, "corrupt");
        }
    }
    return rc;
}

/* The table, when it can be trusted; *applied tells. */
static enum err_code try_table(struct recovery *r, const struct candidate *c, bool *applied,
                               struct err *e)
{
    struct frame f;
    struct str publishes;
    *applied = false;
    if (!c->has_table || c->table_at + c->table_len > c->limit)
        return ERR_OK;
    AUTO_FREE char *bytes = malloc(c->table_len);
    if (!bytes)
        return err_set(e, ERR_NOMEM, "no memory for the table of a segment");
    enum err_code rc = sys_read_full(c->segment->fd, bytes, c->table_len, c->table_at, e);
    if (rc || !frame_decode((struct str){bytes, c->table_len}, c->seq, c->table_at, &f) ||
        f.kind != FRAME_TABLE || !table_is_known((struct str){f.tail, f.tail_len}))
        return rc;
    *applied = true;
    r->good_end = r->torn_end = c->table_at + c->table_len;
    table_reset(&r->j->table, c->seq);
    rc = replay_table(&r->replay, (struct str){f.tail, f.tail_len},
                      frame_position(c->seq, r->good_end), &publishes, e);
    return rc ? rc : replay_published(r, c, publishes, e);
}

static void apply_header(struct recovery *r, const struct candidate *c)
{
    struct batches *b = &r->j->batches;
    if (c->header_code != ERR_OK)
        return;
    replay_epoch(&r->replay, c->header.epoch);
    if (c->header.next_serial > b->next_serial)
        b->next_serial = c->header.next_serial;
    r->j->files.next_number = c->header.next_file; /* in order of segments; numbers may wrap */
}

/* A segment's header says from where on the one before it is void. */
static void apply_voids(struct recovery *r)
{
    for (size_t i = 1; i < r->used; i++) {
        const struct segment_header *h = &r->list[i].header;
        size_t before = i;
        while (before > 0 && r->list[before].seq != h->prev_seq)
            before--;
        struct candidate *c = &r->list[before];
        if (r->list[i].header_code == ERR_OK && c->seq == h->prev_seq && h->prev_end < c->limit)
            c->limit = h->prev_end;
    }
}

static enum err_code replay_segment(struct recovery *r, size_t i, struct err *e)
{
    struct candidate *c = &r->list[i];
    bool is_newest = i + 1 == r->used, applied = false;
    apply_header(r, c);
    enum err_code rc = r->j->cfg.check_all ? ERR_OK : try_table(r, c, &applied, e);
    if (rc || applied)
        return rc;
    r->is_resumable = is_newest && c->header_code == ERR_OK && !c->has_table;
    return scan_segment(r, c, is_newest, e);
}

static enum err_code replay_all(struct recovery *r, struct err *e)
{
    enum err_code rc = ERR_OK;
    apply_voids(r);
    for (size_t i = 0; !rc && i < r->used; i++) {
        rc = own_segment(r, &r->list[i], e);
        if (!rc)
            rc = replay_segment(r, i, e);
        if (rc)
            return err_wrap(e, "segment %u", r->list[i].seq);
    }
    if (!rc)
        rc = replay_finish(&r->replay, r->j->cfg.node_died, e);
    if (!rc && !files_settle(&r->j->files, clock_mono_ms()))
        rc = err_set(e, ERR_NOMEM, "no memory for the files of the journal");
    return rc;
}

/* ---- 3. the torn tail, 4. the threads ---- */

/* Whether the newest segment can take frames again where its good ones end. */
static bool mend_tail(struct recovery *r, const struct candidate *c)
{
    struct err why = {0};
    uint32_t from = r->good_end, to = r->torn_end;
    r->replay.found->torn_bytes += to - from;
    if (to > from && set_aside(r, c, from, to, "torn"))
        return false; /* the next segment's header voids it where it is */
    if (!r->is_resumable || r->j->cfg.read_only)
        return false;
    enum err_code rc = mend_zero(c->segment, from, to, &why);
    note(r, rc, &why);
    return rc == ERR_OK;
}

static void resume(struct recovery *r, const struct candidate *c)
{
    struct journal *j = r->j;
    uint32_t synced = r->synced_end < r->good_end ? r->synced_end : r->good_end;
    j->current = c->segment;
    j->state = CURRENT_GOOD;
    if (r->image)
        sync_push(j, r->image);
    r->image = NULL;
    atomic_store(&j->sync.synced, frame_position(c->seq, synced));
}

/* The next append begins another segment; this one must be durable before. */
static enum err_code leave(struct recovery *r, const struct candidate *c, struct err *e)
{
    struct journal *j = r->j;
    image_free_list(sync_take_images(j));
    if (sys_fdatasync(c->segment->fd) < 0)
        return err_sys(e, errno, "sync segment %u", c->seq);
    atomic_store(&j->sync.synced, frame_position(c->seq, r->good_end));
    return ERR_OK;
}

static enum err_code end_newest(struct recovery *r, struct err *e)
{
    struct journal *j = r->j;
    enum err_code rc = ERR_OK;
    if (r->used == 0)
        return ERR_OK;
    struct candidate *c = &r->list[r->used - 1];
    c->segment->end = r->good_end;
    j->void_seq = c->seq;
    j->void_from = r->good_end;
    bool can_resume = mend_tail(r, c);
    if (j->cfg.read_only)
        return ERR_OK;
    if (can_resume)
        resume(r, c);
    else
        rc = leave(r, c, e);
    j->sync.written = frame_position(c->seq, r->good_end);
    return rc;
}

/* Files that were prepared and, as far as can be told, not begun.  After a power cut one may hold
 * frames whose header never reached the disk: none is used again. */
static void remove_prepared(struct recovery *r)
{
    char path[PATH_MAX];
    struct err why = {0};
    for (size_t i = r->used; i < r->count; i++) {
        segment_path(r->j->cfg.dir, r->list[i].seq, path);
        if (sys_unlink(path) == 0)
            r->file_bytes -= (uint64_t)r->list[i].file_bytes;
        else
            note(r, err_sys(&why, errno, "remove %s", path), &why);
    }
}

static enum err_code start_threads(struct recovery *r, struct err *e)
{
    struct journal *j = r->j;
    remove_prepared(r);
    struct segpool_config cfg = {.dir = j->cfg.dir,
                                 .segment_bytes = j->cfg.segment_bytes,
                                 .max_bytes = j->cfg.max_bytes,
                                 .reserve_bytes = j->cfg.disk_reserve_bytes,
                                 .first_seq = r->count ? r->list[r->count - 1].seq + 1 : 1,
                                 .used_bytes = r->file_bytes};
    j->pool = segpool_new(&cfg);
    if (!j->pool)
        return err_set(e, ERR_NOMEM, "no memory for the segment pool");
    enum err_code rc = segpool_start(j->pool, e);
    return rc ? rc : sync_start(j, e);
}

/* What was found complete may be answered again: it must be durable first. */
static void settle(struct recovery *r)
{
    struct err why = {0};
    enum err_code rc = journal_sync(r->j, &why);
    if (!rc && (r->replay.unsettled || r->replay.saved))
        rc = mend_settle(r->j, &r->replay, &why);
    note(r, rc, &why);
}

static void recovery_done(struct recovery *r)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->list[i].fd >= 0)
            close(r->list[i].fd);
    }
    free(r->list);
    image_free(r->image);
    replay_done(&r->replay);
}

static enum err_code recover(struct recovery *r, struct err *e)
{
    enum err_code rc = list_files(r, e);
    for (size_t i = 0; !rc && i < r->count; i++)
        rc = open_candidate(r, &r->list[i], e);
    if (!rc)
        rc = find_used(r, e);
    if (!rc)
        rc = replay_all(r, e);
    if (!rc)
        rc = end_newest(r, e);
    if (rc || r->j->cfg.read_only)
        return rc;
    rc = start_threads(r, e);
    if (rc)
        return rc;
    settle(r);
    return freer_start(r->j, e);
}

enum err_code journal_recover(struct journal *j, struct journal_recovery *found, struct err *e)
{
    struct recovery r = {.j = j};
    replay_init(&r.replay, j, found);
    enum err_code rc = recover(&r, e);
    found->segments = r.used;
    found->files = j->files.shown_count;
    found->rows = j->files.row_count;
    recovery_done(&r);
    return rc;
}
