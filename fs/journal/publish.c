/* fs/journal/publish.c - closes files and records that a part has their rows.
 *
 *   open ──roll──► closed ──claim──► claimed ──record durable──► replaced
 *                    ▲                  │
 *                    └── not durable ───┘
 *
 * A claimed file is named by a record that is on its way; no other part can have it.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fs/journal/internal.h"

enum { PUBLISH_BYTES_MAX = JOURNAL_RECORD_MAX + PUBLISH_FILES_MAX * PUBLISH_FILE_LEN + 4096 };

/* ---- closing ---- */
static enum err_code no_such_file(const struct ulid *id, struct err *e)
{
    char text[ULID_TEXT_LEN + 1];
    ulid_format(id, text);
    return err_set(e, ERR_NOTFOUND, "the journal has no file %s", text);
}

enum err_code journal_close_locked(struct journal *j, struct jfile *const *files, size_t count,
                                   bool *waited, uint64_t *position, struct err *e)
{
    char tail[CLOSE_FILES_MAX * 4];
    struct frame f = {.kind = FRAME_CLOSE};
    assert(count <= CLOSE_FILES_MAX);
    for (size_t i = 0; i < count; i++)
        put_u32(tail + 4 * i, files[i]->number);
    enum err_code rc =
        journal_put_control_locked(j, &f, (struct str){tail, 4 * count}, waited, position, e);
    for (size_t i = 0; !rc && !*waited && i < count; i++)
        files_close(&j->files, files[i]);
    return rc;
}

/* The open ones among ids[*next] and on, at most CLOSE_FILES_MAX; *next: the first not looked at.
 */
static size_t collect_open(const struct journal *j, const struct ulid *ids, size_t count,
                           size_t *next, struct jfile *out[CLOSE_FILES_MAX])
{
    size_t n = 0;
    for (; *next < count && n < CLOSE_FILES_MAX; ++*next) {
        struct jfile *file = files_by_id(&j->files, &ids[*next]);
        if (file && file->is_open)
            out[n++] = file;
    }
    return n;
}

/* *position stays 0 when all are closed already. */
static enum err_code close_all_locked(struct journal *j, const struct ulid *ids, size_t count,
                                      uint64_t *position, struct err *e)
{
    struct jfile *files[CLOSE_FILES_MAX];
    enum err_code rc = ERR_OK;
    for (size_t done = 0; !rc && done < count;) {
        bool waited = false;
        size_t next = done, n = collect_open(j, ids, count, &next, files);
        if (n > 0)
            rc = journal_close_locked(j, files, n, &waited, position, e);
        if (!waited)
            done = next;
    }
    return rc;
}

enum err_code journal_roll_files(struct journal *j, const struct ulid *ids, size_t count,
                                 struct err *e)
{
    uint64_t position = 0;
    if (j->cfg.read_only)
        return err_set(e, ERR_READONLY, "the journal is open for reading only");
    pthread_mutex_lock(&j->append_lock);
    enum err_code rc = close_all_locked(j, ids, count, &position, e);
    pthread_mutex_unlock(&j->append_lock);
    return rc || position == 0 ? rc : sync_wait(j, position, e);
}

enum err_code journal_roll_file(struct journal *j, const struct ulid *id, struct journal_file *out,
                                struct err *e)
{
    enum err_code rc = journal_roll_files(j, id, 1, e);
    return rc ? rc : files_get(&j->files, id, out, e);
}

/* ---- publishing ---- */

static bool is_claimed(const struct jfile *file)
{
    return file->published != 0 || file->is_replaced;
}

/* How many of the files this part has already; others must be free. */
static enum err_code check_files(const struct journal *j, const struct journal_publish *p,
                                 size_t *claimed, struct err *e)
{
    char text[ULID_TEXT_LEN + 1];
    *claimed = 0;
    for (size_t i = 0; i < p->file_count; i++) {
        const struct jfile *file = files_by_id(&j->files, &p->files[i]);
        if (!file)
            return no_such_file(&p->files[i], e);
        ulid_format(&file->id, text);
        if (file->is_open)
            return err_set(e, ERR_INVALID, "file %s is still open", text);
        if (!is_claimed(file))
            continue;
        if (ulid_cmp(&file->part, &p->part) != 0)
            return err_set(e, ERR_INVALID, "file %s is in another part already", text);
        ++*claimed;
    }
    return ERR_OK;
}

static enum err_code check_publish(const struct journal *j, const struct journal_publish *p,
                                   struct err *e)
{
    if (j->cfg.read_only)
        return err_set(e, ERR_READONLY, "the journal is open for reading only");
    if (p->file_count == 0 || p->file_count > PUBLISH_FILES_MAX)
        return err_set(e, ERR_INVALID, "a part of %zu files: from 1 to %d", p->file_count,
                       PUBLISH_FILES_MAX);
    if (p->record.len > JOURNAL_RECORD_MAX)
        return err_set(e, ERR_TOOBIG, "a publish record of %zu bytes", p->record.len);
    return ERR_OK;
}

static void encode_body(const struct journal *j, const struct journal_publish *p, struct buf *out)
{
    char head[PUBLISH_FIXED_LEN], size[8];
    publish_encode_head(head, &p->part, (uint32_t)p->file_count, (uint32_t)p->record.len);
    buf_add(out, head, sizeof head);
    buf_add(out, p->files, p->file_count * sizeof *p->files);
    for (size_t i = 0; i < p->file_count; i++) {
        put_u64(size, files_by_id(&j->files, &p->files[i])->size);
        buf_add(out, size, sizeof size);
    }
    buf_add_str(out, p->record);
}

static struct image *encode_copies(struct str body)
{
    struct frame f = {.kind = FRAME_PUBLISH, .appended_us = clock_wall_us()};
    size_t len = frame_size(0, 0, body.len);
    struct image *img = image_new(PUBLISH_COPIES * len);
    if (!img)
        return NULL;
    for (; f.part < PUBLISH_COPIES; f.part++, img->len += len)
        frame_encode(img->data + img->len, &f, (struct str){NULL, 0}, body);
    return img;
}

static enum err_code no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "no memory for a publish record");
}

/* OK with *waited: nothing is written, look again. */
static enum err_code put_record_locked(struct journal *j, const struct journal_publish *p,
                                       bool *waited, struct tracked *t, struct err *e)
{
    struct buf body;
    buf_init(&body, PUBLISH_BYTES_MAX);
    encode_body(j, p, &body);
    struct image *img = buf_ok(&body) ? encode_copies(buf_str(&body)) : NULL;
    buf_done(&body);
    if (!img)
        return no_memory(e);
    uint32_t len = (uint32_t)img->len;
    j->beyond_max++;
    enum err_code rc = journal_put_locked(j, img, PUBLISH_COPIES * TABLE_PUBLISH_LEN, waited, e);
    j->beyond_max--;
    if (rc || *waited) {
        image_free(img);
        return rc;
    }
    *t = (struct tracked){.seq = j->current->seq, .at = j->current->end - 1};
    journal_track_locked(j, t);
    j->current->published_end = frame_position(j->current->seq, j->current->end);
    for (uint32_t at = j->current->end - len; at < j->current->end; at += len / PUBLISH_COPIES)
        table_add_publish(&j->table, at, len / PUBLISH_COPIES);
    return ERR_OK;
}

static uint64_t tracked_end(const struct tracked *t)
{
    return frame_position(t->seq, t->at + 1);
}

static void claim_locked(struct journal *j, const struct journal_publish *p, uint64_t position)
{
    for (size_t i = 0; i < p->file_count; i++) {
        struct jfile *file = files_by_id(&j->files, &p->files[i]);
        file->part = p->part;
        file->published = position;
    }
}

/* *t is in the list unless all files were this part's before; then *position is that record's. */
static enum err_code begin_locked(struct journal *j, const struct journal_publish *p,
                                  struct tracked *t, uint64_t *position, struct err *e)
{
    for (bool waited = true; waited;) {
        size_t claimed;
        enum err_code rc = check_files(j, p, &claimed, e);
        if (rc)
            return rc;
        if (claimed == p->file_count) {
            *position = files_by_id(&j->files, &p->files[0])->published;
            return ERR_OK;
        }
        if (claimed > 0)
            return err_set(e, ERR_INVALID, "only some of the files are in that part already");
        rc = put_record_locked(j, p, &waited, t, e);
        if (rc)
            return rc;
    }
    *position = tracked_end(t);
    claim_locked(j, p, *position);
    return ERR_OK;
}

/* Nothing but its readers needs a replaced file. */
static void replace_locked(struct journal *j, const struct journal_publish *p)
{
    uint64_t now_ms = clock_mono_ms();
    pthread_rwlock_wrlock(&j->files.lock);
    for (size_t i = 0; i < p->file_count; i++) {
        struct jfile *file = files_by_id(&j->files, &p->files[i]);
        if (file)
            files_replace_locked(&j->files, file, now_ms);
    }
    pthread_rwlock_unlock(&j->files.lock);
    journal_wake_freer_locked(j);
}

static void end_locked(struct journal *j, const struct journal_publish *p, struct tracked *t,
                       bool is_durable, uint64_t *position)
{
    if (t->seq != 0) {
        journal_untrack_locked(j, t);
        *position = is_durable ? tracked_end(t) : 0;
        claim_locked(j, p, *position);
        if (is_durable)
            atomic_fetch_add(&j->published_count, 1);
    }
    if (is_durable)
        replace_locked(j, p);
}

enum err_code journal_publish(struct journal *j, const struct journal_publish *p,
                              uint64_t *position, struct err *e)
{
    struct tracked t = {0};
    uint64_t end = 0;
    enum err_code rc = check_publish(j, p, e);
    if (rc)
        return rc;
    pthread_mutex_lock(&j->append_lock);
    rc = begin_locked(j, p, &t, &end, e);
    pthread_mutex_unlock(&j->append_lock);
    if (rc)
        return rc;
    rc = sync_wait(j, end, e);
    pthread_mutex_lock(&j->append_lock);
    end_locked(j, p, &t, rc == ERR_OK, &end);
    pthread_mutex_unlock(&j->append_lock);
    if (!rc)
        *position = end;
    return rc;
}

void journal_covered(struct journal *j, uint64_t position)
{
    pthread_mutex_lock(&j->append_lock);
    if (position > j->covered)
        j->covered = position;
    journal_wake_freer_locked(j);
    pthread_mutex_unlock(&j->append_lock);
}

/* ---- readers ---- */

enum err_code journal_pin(struct journal *j, const struct ulid *id, enum journal_reader kind,
                          struct err *e)
{
    return files_pin(&j->files, id, kind, e);
}

void journal_unpin(struct journal *j, const struct ulid *id, enum journal_reader kind)
{
    files_unpin(&j->files, id, kind);
}
