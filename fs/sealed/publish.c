/* fs/sealed/publish.c - one part from staging into the listing.
 *
 *   checked ─► in place ─► hidden ─► in the journal ─► in the index ─► shown
 *                                    │  from here on it will be published, if not by this call
 *
 * Up to the journal's record a failure leaves files in place that the next start removes, or the
 * next try uses; where its journal files were deleted meanwhile they go at once.  After it the part
 * is published: when the index cannot take it now, the flight is stuck and the keeper tries again;
 * its files stay listed until then.  So it goes on when the process ends meanwhile: a start that
 * finds no room for the record strands it, and lists its files, which the journal keeps whole until
 * the index covers the record.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "fs/name.h"
#include "fs/sealed/internal.h"
#include "fs/sealed/publish_record.h"

#define RETRY_MEMORY_MAX ((size_t)64 << 20)

/* ---- flights ---- */

static void free_flight(struct flight *f)
{
    buf_done(&f->record);
    free(f->files);
    free(f);
}

static struct flight *find_flight_locked(const struct sealed *s, const struct ulid *part)
{
    struct flight *f = s->flights;

    while (f && ulid_cmp(&f->part, part) != 0)
        f = f->next;
    return f;
}

static void unlink_locked(struct sealed *s, struct flight *f)
{
    struct flight **at = &s->flights;

    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
}

/* One flight a part: a request that was repeated waits for the first. */
static enum err_code begin_flight(struct sealed *s, const struct ulid *part, struct flight **out,
                                  struct err *e)
{
    struct flight *f = calloc(1, sizeof *f), *other;

    if (!f)
        return err_set(e, ERR_NOMEM, "no memory to publish");
    f->part = *part;
    buf_init(&f->record, JOURNAL_RECORD_MAX);
    LOCK_SCOPE(&s->lock);
    while ((other = find_flight_locked(s, part)) && !other->is_stuck)
        pthread_cond_wait(&s->changed, &s->lock);
    if (other) {
        free_flight(f);
        return err_set(e, ERR_AGAIN, "it is published, but the index could not take it yet");
    }
    f->floor = s->newest;
    f->next = s->flights;
    s->flights = f;
    *out = f;
    return ERR_OK;
}

static void end_flight(struct sealed *s, struct flight *f)
{
    pthread_mutex_lock(&s->lock);
    unlink_locked(s, f);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    free_flight(f);
}

static void strand_flight(struct sealed *s, struct flight *f)
{
    LOCK_SCOPE(&s->lock);
    f->is_stuck = true;
    pthread_cond_broadcast(&s->changed);
    pthread_cond_broadcast(&s->wake);
}

/* A record that is not in the index yet holds back what may be stored, and what may be freed. */
static uint64_t held_back_locked(const struct sealed *s, uint64_t position)
{
    for (const struct flight *f = s->flights; f; f = f->next) {
        if (f->floor < position)
            position = f->floor;
    }
    return position;
}

uint64_t sealed_covered_locked(const struct sealed *s)
{
    return held_back_locked(s, s->newest);
}

uint64_t sealed_held_back(struct sealed *s, uint64_t position)
{
    LOCK_SCOPE(&s->lock);
    return held_back_locked(s, position);
}

void sealed_note_position(struct sealed *s, uint64_t position)
{
    LOCK_SCOPE(&s->lock);
    if (position > s->newest)
        s->newest = position;
}

/* The same as if this flight had ended already: its part goes in with the position. */
static uint64_t position_with(struct sealed *s, struct flight *f)
{
    uint64_t position, floor = f->floor;

    LOCK_SCOPE(&s->lock);
    f->floor = UINT64_MAX;
    position = sealed_covered_locked(s);
    f->floor = floor;
    return position;
}

/* ---- is it what the journal holds? ---- */

static enum err_code find_files(struct sealed *s, struct flight *f, const struct ulid *ids,
                                size_t count, struct err *e)
{
    f->files = malloc((count + 1) * sizeof *f->files);
    if (!f->files)
        return err_set(e, ERR_NOMEM, "no memory for %zu files", count);
    for (size_t i = 0; i < count; i++) {
        enum err_code rc = journal_file_get(s->cfg.journal, &ids[i], &f->files[i], e);
        if (rc)
            return rc;
        f->file_count++;
    }
    return ERR_OK;
}

static bool belongs(const struct part *p, const struct journal_file *f)
{
    struct part_name name;

    if (f->type != p->type || f->hour != p->hour || f->open || !str_eq(f->org, p->org))
        return false;
    if (p->type == STREAM_METRICS)
        return f->rows == 0 || (part_name_find(p, f->name, &name) && name.stream == f->stream);
    return str_eq(f->name, p->name) && f->stream == p->stream && ulid_cmp(&f->id, &p->id) == 0;
}

static enum err_code compare_with_files(const struct part *p, const struct flight *f, struct err *e)
{
    int64_t min_ts_us = INT64_MAX, max_ts_us = INT64_MIN;
    uint64_t rows = 0;

    for (size_t i = 0; i < f->file_count; i++) {
        const struct journal_file *file = &f->files[i];
        if (!belongs(p, file))
            return err_set(e, ERR_CORRUPT, "file %zu is another stream's, another hour's or open",
                           i);
        rows += file->rows;
        if (file->rows > 0 && file->min_ts_us < min_ts_us)
            min_ts_us = file->min_ts_us;
        if (file->rows > 0 && file->max_ts_us > max_ts_us)
            max_ts_us = file->max_ts_us;
    }
    if (rows == 0 || rows != p->rows)
        return err_set(e, ERR_CORRUPT, "it has %llu rows, its files %llu",
                       (unsigned long long)p->rows, (unsigned long long)rows);
    if (min_ts_us != p->min_ts_us || max_ts_us != p->max_ts_us)
        return err_set(e, ERR_CORRUPT, "its times are not those of its files");
    return ERR_OK;
}

/* ---- the steps ---- */

static void show(struct sealed *s, const struct flight *f, const struct part *p)
{
    registry_replace(s->cfg.registry, f->files, f->file_count, &p->id);
    sealed_files_settle(&s->files, p);
}

static void count_published(struct sealed *s, const struct part *p)
{
    sealed_count(s, COUNT_PARTS_PUBLISHED, 1);
    sealed_count(s, GAUGE_SEALED_PARTS, 1);
    sealed_count(s, GAUGE_SEALED_BYTES, (int64_t)p->stored_bytes);
    pthread_mutex_lock(&s->lock);
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

/* The part has its record in the journal. */
static enum err_code put_and_show(struct sealed *s, struct flight *f, const struct part *p,
                                  const struct part_column *columns, size_t column_count,
                                  struct err *e)
{
    uint64_t hash;
    enum err_code rc = parts_schema_put(s->index, columns, column_count, &hash, e);

    if (!rc)
        rc = sealed_put(s, p, 1, position_with(s, f), e);
    if (rc)
        return rc;
    show(s, f, p);
    count_published(s, p);
    return ERR_OK;
}

static enum err_code write_record(struct sealed *s, struct flight *f, const struct part *p,
                                  const struct ulid *ids, struct err *e)
{
    struct journal_publish record = {
        .part = p->id, .files = ids, .file_count = f->file_count, .record = buf_str(&f->record)};
    uint64_t position = 0;
    enum err_code rc = journal_publish(s->cfg.journal, &record, &position, e);

    if (!rc)
        sealed_note_position(s, position);
    return rc;
}

static enum err_code bring_in_place(struct sealed *s, struct flight *f, const struct part *p,
                                    const struct ulid *ids, size_t count, struct err *e)
{
    enum err_code rc = find_files(s, f, ids, count, e);

    if (!rc)
        rc = compare_with_files(p, f, e);
    if (!rc)
        rc = sealed_files_check_staged(&s->files, p, e);
    return rc ? rc : sealed_files_place(&s->files, p, e);
}

/* *stuck: the flight is to be kept. */
static enum err_code publish(struct sealed *s, struct flight *f, const struct part *p,
                             const struct part_column *columns, size_t column_count,
                             const struct ulid *ids, size_t count, bool *stuck, struct err *e)
{
    enum err_code rc = publish_record_encode(p, columns, column_count, &f->record, e);

    if (!rc)
        rc = registry_hide(s->cfg.registry, &p->id, e);
    if (rc)
        return rc;
    rc = bring_in_place(s, f, p, ids, count, e);
    if (!rc)
        rc = write_record(s, f, p, ids, e);
    if (rc) {
        registry_unhide(s->cfg.registry, &p->id);
        if (rc == ERR_INVALID || rc == ERR_NOTFOUND) /* no record was tried: they were deleted */
            sealed_files_remove(&s->files, &p->id, p->hour);
        return rc;
    }
    rc = put_and_show(s, f, p, columns, column_count, e);
    *stuck = rc != ERR_OK;
    return rc;
}

/* A request that was answered before, or whose answer was lost. */
static void publish_again(struct sealed *s, struct flight *f, const struct part *p,
                          const struct ulid *ids, size_t count)
{
    if (find_files(s, f, ids, count, NULL) == ERR_OK)
        show(s, f, p);
    else
        sealed_files_settle(&s->files, p);
}

static enum err_code check_part(const struct sealed *s, const struct part *p, struct err *e)
{
    if (s->cfg.read_only)
        return err_set(e, ERR_READONLY, "the data directory is read-only");
    if (!hour_has_place(p->hour))
        return err_set(e, ERR_INVALID, "hour %d has no place", p->hour);
    if ((p->type == STREAM_METRICS) != (p->name.len == 0))
        return err_set(e, ERR_INVALID, "it has a name where it must have none, or none");
    return ERR_OK;
}

static enum err_code run_flight(struct sealed *s, struct flight *f, const struct part *p,
                                const struct part_column *columns, size_t column_count,
                                const struct ulid *ids, size_t count, bool *stuck, struct err *e)
{
    bool known = false;
    enum err_code rc = parts_has(s->index, &p->id, &known, e);

    if (rc)
        return rc;
    if (!known)
        return publish(s, f, p, columns, column_count, ids, count, stuck, e);
    publish_again(s, f, p, ids, count);
    return ERR_OK;
}

enum err_code sealed_publish(struct sealed *s, const struct part *part,
                             const struct part_column *columns, size_t column_count,
                             const struct ulid *files, size_t file_count, struct err *e)
{
    char id[ULID_TEXT_LEN + 1];
    struct part p = *part;
    struct flight *f = NULL;
    bool stuck = false;
    enum err_code rc;

    p.state = PART_SEALED;
    p.node = str_from(s->cfg.node_name);
    p.schema = parts_schema_hash(columns, column_count);
    ulid_format(&p.id, id);
    rc = check_part(s, &p, e);
    if (!rc)
        rc = begin_flight(s, &p.id, &f, e);
    if (rc)
        return err_wrap(e, "publish %s", id);
    rc = run_flight(s, f, &p, columns, column_count, files, file_count, &stuck, e);
    if (stuck)
        strand_flight(s, f);
    else
        end_flight(s, f);
    return rc ? err_wrap(e, "publish %s", id) : ERR_OK;
}

/* ---- what is not to be published ---- */

enum err_code sealed_discard(struct sealed *s, const struct ulid *part, struct err *e)
{
    struct flight *f = NULL;
    enum err_code rc = begin_flight(s, part, &f, e); /* keeps a publication away */

    if (rc)
        return rc;
    sealed_files_unstage(&s->files, part);
    end_flight(s, f);
    return ERR_OK;
}

bool sealed_is_in_flight(const struct ulid *part, void *sealed)
{
    struct sealed *s = sealed;

    LOCK_SCOPE(&s->lock);
    return find_flight_locked(s, part) != NULL;
}

enum err_code sealed_discard_all(struct sealed *s, struct err *e)
{
    return sealed_files_clear(&s->files, sealed_is_in_flight, s, e);
}

/* ---- what is stuck ---- */

static struct flight *first_stuck(struct sealed *s)
{
    struct flight *f;

    LOCK_SCOPE(&s->lock);
    for (f = s->flights; f && !f->is_stuck; f = f->next)
        ;
    return f;
}

static enum err_code retry(struct sealed *s, struct flight *f, struct err *e)
{
    struct part_column *columns;
    struct arena arena;
    struct part p;
    size_t count;
    enum err_code rc;

    arena_init(&arena, RETRY_MEMORY_MAX);
    rc = publish_record_decode(buf_str(&f->record), &arena, &p, &columns, &count, e);
    if (!rc)
        rc = put_and_show(s, f, &p, columns, count, e);
    arena_done(&arena);
    return rc;
}

/* Stuck flights are the keeper's alone.  Until one fails: the others would fail the same way. */
void sealed_retry_stuck(struct sealed *s)
{
    struct flight *f;

    while ((f = first_stuck(s))) {
        struct err e = {0};
        if (retry(s, f, &e)) {
            err_wrap(&e, "index");
            sealed_report(s, &e);
            return;
        }
        end_flight(s, f);
    }
}

/* ---- what is stuck from the beginning ---- */

static struct flight *new_stranded(const struct journal_publish *p)
{
    struct flight *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    f->part = p->part;
    f->is_stuck = true;
    buf_init(&f->record, JOURNAL_RECORD_MAX);
    buf_add_str(&f->record, p->record);
    f->files = calloc(p->file_count + 1, sizeof *f->files);
    if (!f->files || !buf_ok(&f->record)) {
        free_flight(f);
        return NULL;
    }
    for (; f->file_count < p->file_count; f->file_count++)
        f->files[f->file_count].id = p->files[f->file_count];
    return f;
}

/* A second record of the same part says nothing new. */
enum err_code sealed_strand(struct sealed *s, const struct journal_publish *p, struct err *e)
{
    struct flight *f;

    if (sealed_is_in_flight(&p->part, s))
        return ERR_OK;
    f = new_stranded(p);
    if (!f)
        return err_set(e, ERR_NOMEM, "no memory for a part that the index has no room for");
    LOCK_SCOPE(&s->lock);
    f->floor = s->newest;
    f->next = s->flights;
    s->flights = f;
    return ERR_OK;
}

/* As before the end of the process that published it: the part is hidden, its files are listed. */
static enum err_code list_again(struct sealed *s, struct flight *f, struct err *e)
{
    enum err_code rc = registry_hide(s->cfg.registry, &f->part, e);

    for (size_t i = 0; !rc && i < f->file_count; i++) {
        struct ulid id = f->files[i].id;
        rc = journal_file_get(s->cfg.journal, &id, &f->files[i], e);
        if (rc == ERR_NOTFOUND)
            return err_set(e, ERR_FULL, "the index has no room, and its lines are gone");
        if (!rc)
            rc = registry_add(s->cfg.registry, &f->files[i], e);
    }
    ulid_seed_after(&f->part);
    return rc;
}

enum err_code sealed_show_stuck(struct sealed *s, struct err *e)
{
    char id[ULID_TEXT_LEN + 1];
    struct err note;
    unsigned count = 0;

    for (struct flight *f = s->flights; f; f = f->next, count++) {
        ulid_format(&f->part, id);
        if (list_again(s, f, e))
            return err_wrap(e, "part %s, published", id);
    }
    if (count == 0)
        return ERR_OK;
    err_set(&note, ERR_FULL, "%u parts wait for room in the index: their lines are shown", count);
    sealed_report(s, &note);
    return ERR_OK;
}

void sealed_free_flights(struct sealed *s)
{
    while (s->flights) {
        struct flight *f = s->flights;
        s->flights = f->next;
        free_flight(f);
    }
}
