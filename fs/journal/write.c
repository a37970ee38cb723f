/* fs/journal/write.c - frames into the current segment.
 *
 * An image is the frames of one write.  Its declarations go before it, in an image of their own,
 * when the current segment does not have them yet.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/sys.h"
#include "fs/journal/internal.h"

enum { DECLS_MIN = 512 };

struct image *image_new(size_t cap)
{
    struct image *img = calloc(1, sizeof *img);
    if (img && cap) {
        img->data = malloc(cap);
        img->cap = cap;
    }
    if (img && cap && !img->data) {
        free(img);
        return NULL;
    }
    return img;
}

void image_free(struct image *img)
{
    if (img)
        free(img->data);
    free(img);
}

void image_free_list(struct image *list)
{
    while (list) {
        struct image *next = list->next;
        image_free(list);
        list = next;
    }
}

bool image_reserve(struct image *img, size_t more)
{
    size_t cap = img->cap ? img->cap : DECLS_MIN;
    if (more > UINT32_MAX || img->len + more > UINT32_MAX)
        return false;
    while (cap < img->len + more)
        cap *= 2;
    if (cap == img->cap)
        return true;
    char *data = realloc(img->data, cap);
    if (!data)
        return false;
    img->data = data;
    img->cap = cap;
    return true;
}

/* ---- room ---- */

static bool has_room(const struct journal *j, size_t need, size_t table_need)
{
    size_t table = FRAME_HEADER_LEN + j->table.bytes + table_need + SEGMENT_FOOTER_LEN;
    return j->state == CURRENT_GOOD && j->current->end + need + table <= j->current->size_bytes;
}

static bool must_pause(const struct journal *j)
{
    return j->state == CURRENT_NONE && j->broken.code != ERR_OK &&
           clock_mono_ms() - j->broken_ms < RESTART_PAUSE_MS;
}

static enum err_code broken_error(const struct journal *j, struct err *e)
{
    enum err_code code = j->broken.code == ERR_FULL ? ERR_FULL : ERR_AGAIN;
    return err_set(e, code, "the journal cannot begin a segment: %s", j->broken.msg);
}

/* Wait until the syncer has tried to move on. */
static enum err_code wait_moved(struct journal *j, struct err *e)
{
    uint64_t before = j->moves;
    if (j->state == CURRENT_GOOD && j->current->end == j->fresh_end)
        return err_set(e, ERR_TOOBIG, "frames with their declarations do not fit a segment of %u",
                       j->cfg.segment_bytes);
    if (must_pause(j))
        return broken_error(j, e);
    sync_want_move(j, true);
    while (j->moves == before)
        pthread_cond_wait(&j->moved, &j->append_lock);
    return j->broken.code == ERR_OK ? ERR_OK : broken_error(j, e);
}

/* ---- writing ---- */

static void finish_frames(struct journal *j, struct image *img)
{
    uint64_t synced = atomic_load(&j->sync.synced);
    for (size_t at = 0; at < img->len;) {
        size_t len = frame_peek(img->data + at, img->len - at);
        assert(len > 0);
        frame_finish(img->data + at, synced, img->seq, img->at + (uint32_t)at);
        at += len;
    }
}

enum err_code journal_write_locked(struct journal *j, struct image *img, struct err *e)
{
    struct segment *s = j->current;
    img->seq = s->seq;
    img->at = s->end;
    finish_frames(j, img);
    enum err_code rc = sys_write_full(s->fd, img->data, img->len, s->end, e);
    if (rc) {
        j->state = CURRENT_POISONED;
        sync_want_move(j, true);
        return rc;
    }
    s->end += (uint32_t)img->len;
    sync_push(j, img);
    return ERR_OK;
}

/* ---- declarations ---- */

static bool add_frame(struct image *img, const struct frame *f, struct str tail)
{
    size_t len = frame_size(0, 0, tail.len);
    if (!image_reserve(img, len))
        return false;
    frame_encode(img->data + img->len, f, (struct str){NULL, 0}, tail);
    img->len += len;
    return true;
}

static size_t encode_stream(char dst[STREAM_DECL_MAX], const struct jstream *s)
{
    return stream_decl_encode(dst, &(struct stream_decl){s->number, s->type, s->org, s->name});
}

static bool declare_stream(struct journal *j, struct image *out, uint64_t number)
{
    char decl[STREAM_DECL_MAX];
    struct jstream *s = files_stream_find(&j->files, number);
    assert(s);
    if (s->declared_in == j->current->seq || s->mark == j->mark)
        return true;
    s->mark = j->mark;
    struct frame f = {.kind = FRAME_STREAM, .stream = number};
    return add_frame(out, &f, (struct str){decl, encode_stream(decl, s)});
}

/* Tells its stream once more, so that one damaged frame does not hide a stream. */
static bool declare_file(struct journal *j, struct image *out, uint32_t number)
{
    char decl[FILE_DECL_LEN + STREAM_DECL_MAX];
    struct jfile *file = files_by_number(&j->files, number);
    assert(file);
    if (file->declared_in == j->current->seq || file->mark == j->mark)
        return true;
    file->mark = j->mark;
    uint64_t stream = file->stream->number;
    if (!declare_stream(j, out, stream))
        return false;
    file_decl_encode(
        decl, &(struct file_decl){file->number, file->id, stream, file->hour, !file->is_open});
    size_t len = FILE_DECL_LEN + encode_stream(decl + FILE_DECL_LEN, file->stream);
    struct frame f = {.kind = FRAME_FILE, .stream = stream, .hour = file->hour};
    return add_frame(out, &f, (struct str){decl, len});
}

static bool declare_for_frame(struct journal *j, const char *p, size_t len, struct image *out)
{
    struct frame f;
    bool ok = frame_view((struct str){p, len}, &f);
    assert(ok);
    if (f.kind == FRAME_MOVED)
        return declare_file(j, out, f.batch.worker);
    if (f.kind == FRAME_DATA && !declare_stream(j, out, f.stream))
        return false;
    size_t each = f.kind == FRAME_CLOSE ? sizeof(uint32_t) : FRAME_PLACE_LEN;
    if (f.kind != FRAME_CLOSE && f.kind != FRAME_SETTLE && !(f.flags & FRAME_LAST))
        return ok;
    struct str named = frame_places(&f);
    for (size_t at = 0; at + each <= named.len; at += each) { /* both begin with the number */
        if (!declare_file(j, out, get_u32(named.ptr + at)))
            return false;
    }
    return true;
}

/* What must be declared before these frames can follow; an empty image: nothing. */
static enum err_code declare(struct journal *j, const struct image *img, struct image **out,
                             struct err *e)
{
    struct image *decls = image_new(0);
    bool ok = decls != NULL;
    j->mark++;
    for (size_t at = 0; ok && at < img->len;) {
        size_t len = frame_peek(img->data + at, img->len - at);
        ok = declare_for_frame(j, img->data + at, len, decls);
        at += len;
    }
    if (ok) {
        *out = decls;
        return ERR_OK;
    }
    image_free(decls);
    return err_set(e, ERR_NOMEM, "no memory for declarations");
}

/* Tell the table that these declarations are in the segment. */
static void note_declared(struct journal *j, const struct image *decls)
{
    struct frame f;
    struct file_decl d;
    for (size_t at = 0; at < decls->len;) {
        size_t len = frame_peek(decls->data + at, decls->len - at);
        frame_view((struct str){decls->data + at, len}, &f);
        if (f.kind == FRAME_STREAM)
            table_add_stream(&j->table, files_stream_find(&j->files, f.stream));
        else if (file_decl_decode((struct str){f.tail, f.tail_len}, &d))
            table_add_file(&j->table, files_by_number(&j->files, d.number));
        at += len;
    }
}

/* ---- all of it ---- */

static enum err_code write_declarations(struct journal *j, struct image *decls, struct err *e)
{
    if (decls->len == 0) {
        image_free(decls);
        return ERR_OK;
    }
    note_declared(j, decls); /* before it is the syncer's; if the write fails, so has the segment */
    enum err_code rc = journal_write_locked(j, decls, e);
    if (rc)
        image_free(decls);
    return rc;
}

void journal_track_locked(struct journal *j, struct tracked *t)
{
    t->next = j->tracked;
    j->tracked = t;
}

void journal_untrack_locked(struct journal *j, struct tracked *t)
{
    struct tracked **at = &j->tracked;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
}

enum err_code journal_put_here_locked(struct journal *j, struct image *img, size_t table_need,
                                      bool *is_full, struct err *e)
{
    struct image *decls = NULL;
    enum err_code rc = declare(j, img, &decls, e);
    *is_full = false;
    if (rc)
        return rc;
    assert(decls);
    if (!has_room(j, decls->len + img->len, table_need + decls->len)) {
        image_free(decls);
        *is_full = true;
        return ERR_OK;
    }
    rc = write_declarations(j, decls, e);
    return rc ? rc : journal_write_locked(j, img, e);
}

enum err_code journal_put_locked(struct journal *j, struct image *img, size_t table_need,
                                 bool *waited, struct err *e)
{
    bool is_full = true;
    *waited = false;
    if (img->len > j->cfg.segment_bytes / 2) /* the rest is left to declarations and the table */
        return err_set(e, ERR_TOOBIG, "%zu bytes of frames do not fit a segment of %u", img->len,
                       j->cfg.segment_bytes);
    if (j->state == CURRENT_GOOD) {
        enum err_code rc = journal_put_here_locked(j, img, table_need, &is_full, e);
        if (rc || !is_full)
            return rc;
    }
    *waited = true;
    return wait_moved(j, e);
}
