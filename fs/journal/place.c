/* fs/journal/place.c - gives the runs of a complete batch their places in files, all at once.
 *
 * plan: places are chosen, written into the last frame; show: after that write, readers see them.
 * Both happen under the same hold of the append lock, so places in a file follow each other
 * without a gap in the order of their frames.
 */
#include "fs/journal/internal.h"

/* Make room for one extent more of this file in this pass. */
static bool reserve_one(struct journal *j, struct jfile *file)
{
    if (file->mark != j->mark) {
        file->mark = j->mark;
        file->planned_place = file->next_place;
        file->planned_extents = 0;
    }
    return files_reserve(&j->files, file, ++file->planned_extents);
}

/* Where the lines of a run stand, or will if it is not written yet. */
static uint32_t segment_of(const struct journal *j, const struct run_ref *r)
{
    if (r->seq != 0)
        return r->seq;
    return j->current ? j->current->seq : 0;
}

static bool plan_runs(struct journal *j, const struct run_ref *refs, size_t count, struct buf *tail)
{
    char text[FRAME_PLACE_LEN];
    for (size_t i = 0; i < count; i++) {
        const struct jstream *s = files_stream_find(&j->files, refs[i].stream);
        struct jfile *file = s ? files_open_for(&j->files, s, refs[i].hour) : NULL;
        if (!file || !reserve_one(j, file) ||
            !files_reserve_in(&j->files, segment_of(j, &refs[i]), count - i))
            return false;
        place_encode(text, &(struct place){file->number, refs[i].len, file->planned_place});
        file->planned_place += refs[i].len;
        buf_add(tail, text, sizeof text);
    }
    return buf_ok(tail);
}

static struct str number_key(const uint64_t *number)
{
    return (struct str){(const char *)number, sizeof *number};
}

static enum err_code check_dropped(const struct journal *j, const struct run_ref *refs,
                                   size_t count, struct err *e)
{
    if (j->dropped.count == 0)
        return ERR_OK;
    for (size_t i = 0; i < count; i++)
        if (map_find(&j->dropped, number_key(&refs[i].stream)))
            return err_set(e, ERR_FORBIDDEN, "stream number %llu is deleted",
                           (unsigned long long)refs[i].stream);
    return ERR_OK;
}

enum err_code journal_drop_stream(struct journal *j, uint64_t number, struct err *e)
{
    pthread_mutex_lock(&j->append_lock);
    bool ok = map_put(&j->dropped, number_key(&number), j);
    pthread_mutex_unlock(&j->append_lock);
    return ok ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for another deleted stream");
}

enum err_code journal_plan_locked(struct journal *j, const struct run_ref *first,
                                  size_t first_count, const struct run_ref *second,
                                  size_t second_count, struct buf *tail, struct err *e)
{
    enum err_code rc = check_dropped(j, first, first_count, e);
    if (!rc)
        rc = check_dropped(j, second, second_count, e);
    if (rc)
        return rc;
    j->mark++;
    buf_clear(tail);
    if (plan_runs(j, first, first_count, tail) && plan_runs(j, second, second_count, tail))
        return ERR_OK;
    return err_set(e, ERR_NOMEM, "no memory for the places of a batch");
}

/* The place of a run and its file; false when the places do not name a known file for it. */
static bool find_place(struct journal *j, const struct run_ref *r, struct str places,
                       struct place *place, struct jfile **file)
{
    if ((uint64_t)r->run * FRAME_PLACE_LEN + FRAME_PLACE_LEN > places.len)
        return false;
    *place = place_decode(places.ptr + (size_t)r->run * FRAME_PLACE_LEN);
    *file = files_by_number(&j->files, place->file);
    return *file && (*file)->stream->number == r->stream && (*file)->hour == r->hour &&
           (uint64_t)r->skip + r->len <= place->len;
}

static enum err_code reserve_all(struct journal *j, const struct run_ref *refs, size_t count,
                                 struct str places, struct err *e)
{
    struct place place;
    struct jfile *file;
    j->mark++;
    for (size_t i = 0; i < count; i++) {
        if (!find_place(j, &refs[i], places, &place, &file))
            return err_set(e, ERR_CORRUPT, "a batch has no place for its run %u", refs[i].run);
        if (!reserve_one(j, file) || !files_reserve_in(&j->files, refs[i].seq, count - i))
            return err_set(e, ERR_NOMEM, "no memory for the extents of a batch");
    }
    return ERR_OK;
}

static void show_one(struct journal *j, const struct run_ref *r, const struct place *place,
                     struct jfile *file, int64_t appended_us)
{
    struct run_place run = {r->seq, r->at, r->len, r->lines, place->offset + r->skip};
    struct shown_facts facts = {r->lines, r->min_ts_us, r->max_ts_us, appended_us, appended_us};
    if (!files_show_locked(&j->files, file, &run))
        return;
    files_add_facts_locked(&j->files, file, &facts);
    table_add_extent(&j->table, file, &run);
    table_add_facts(&j->table, file, &facts);
}

enum err_code journal_show_locked(struct journal *j, const struct run_ref *refs, size_t count,
                                  struct str places, int64_t appended_us, struct buf *grown,
                                  struct err *e)
{
    struct place place;
    struct jfile *file;
    enum err_code rc = reserve_all(j, refs, count, places, e);
    if (rc)
        return rc;
    j->mark++;
    pthread_rwlock_wrlock(&j->files.lock);
    for (size_t i = 0; i < count; i++) {
        if (!find_place(j, &refs[i], places, &place, &file))
            continue; /* never: reserve_all has found all of them */
        show_one(j, &refs[i], &place, file, appended_us);
        if (grown && file->mark != j->mark)
            buf_add(grown, file->id.b, sizeof file->id.b);
        file->mark = j->mark;
    }
    pthread_rwlock_unlock(&j->files.lock);
    return ERR_OK;
}
