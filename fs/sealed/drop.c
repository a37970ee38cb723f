/* fs/sealed/drop.c - a stream is deleted: its files, its parts and their bytes go.
 *
 *   no batch is taken for it -> its directory is gone -> its files in the journal are closed and
 *   given to a part that is none, by a publish record without content -> its sealed parts leave the
 *   index, their files the disk
 *
 * That it is deleted stands in `meta` before; after a crash in between the next start does all of
 * it again.  What a query has pinned of the journal it reads to its end, and so it does the parts:
 * while somebody reads who had begun before, the stream is doomed, and the keeper takes its parts
 * away once the last of them has ended.  Samples of a deleted metric stay in the files that they
 * share with others, and are shown to nobody: parts know the numbers of their streams.
 *
 * Read-only, the directory is hidden, and the parts leave the copy of the index.
 */
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "fs/sealed/internal.h"

#define TRIES_MAX 400 /* while a seal that had begun before holds a file */
#define TRY_MS 25
#define FILES_AT_ONCE 4096 /* the journal's limit is 16 times that */
#define PARTS_AT_ONCE 256

struct own_files {
    uint64_t stream;
    struct ulid ids[FILES_AT_ONCE];
    size_t count;
};

static bool collect_file(const struct journal_file *f, void *ctx)
{
    struct own_files *o = ctx;

    if (f->stream == o->stream)
        o->ids[o->count++] = f->id;
    return o->count < FILES_AT_ONCE;
}

/* A record without content: these files are nobody's any more. */
static enum err_code publish_nothing(struct sealed *s, const struct own_files *o, struct err *e)
{
    struct journal_publish nothing = {
        .part = ulid_new(), .files = o->ids, .file_count = o->count, .record = STR("")};
    uint64_t position = 0;
    enum err_code rc = journal_roll_files(s->cfg.journal, o->ids, o->count, e);

    if (!rc)
        rc = journal_publish(s->cfg.journal, &nothing, &position, e);
    if (!rc)
        sealed_note_position(s, position);
    return rc;
}

static void wait_a_moment(void)
{
    const struct timespec t = {.tv_nsec = TRY_MS * 1000000L};

    nanosleep(&t, NULL);
}

/* INVALID: some of them are in a part that is being published; it is found in the index then. */
static enum err_code drop_files(struct sealed *s, uint64_t stream, struct err *e)
{
    AUTO_FREE struct own_files *o = malloc(sizeof *o);
    enum err_code rc = ERR_OK;

    if (!o)
        return err_set(e, ERR_NOMEM, "no memory for the files of a stream");
    for (int i = 0; i < TRIES_MAX; i++) {
        *o = (struct own_files){.stream = stream};
        journal_file_list(s->cfg.journal, collect_file, o);
        if (o->count == 0)
            return ERR_OK;
        rc = publish_nothing(s, o, e);
        if (rc && rc != ERR_INVALID && rc != ERR_NOTFOUND)
            return rc;
        if (rc)
            wait_a_moment();
    }
    return rc ? rc : err_set(e, ERR_AGAIN, "the stream still gets files");
}

static bool is_of_stream(const struct flight *f, uint64_t stream)
{
    size_t i = 0;

    while (i < f->file_count && f->files[i].stream != stream)
        i++;
    return i < f->file_count;
}

/* The files of a flight are its thread's, until it is stuck. */
static bool has_flight_locked(const struct sealed *s, uint64_t stream)
{
    const struct flight *f = s->flights;

    while (f && f->is_stuck && !is_of_stream(f, stream))
        f = f->next;
    return f != NULL;
}

/* What was on its way into the index has arrived; what is stuck may be so for long. */
static void wait_for_flights(struct sealed *s, uint64_t stream)
{
    uint64_t until_ms = clock_mono_ms() + TRIES_MAX * TRY_MS;

    LOCK_SCOPE(&s->lock);
    while (has_flight_locked(s, stream) && cond_wait_until(&s->changed, &s->lock, until_ms))
        ;
}

struct own_parts {
    const struct dropped_stream *stream;
    struct part list[PARTS_AT_ONCE];
    size_t count;
};

static bool collect_part(const struct part *p, void *ctx)
{
    struct own_parts *o = ctx;

    if (p->stream == o->stream->number)
        o->list[o->count++] = (struct part){.id = p->id,
                                            .stream = p->stream,
                                            .org = o->stream->org,
                                            .name = o->stream->name,
                                            .type = p->type,
                                            .hour = p->hour,
                                            .stored_bytes = p->stored_bytes};
    return o->count < PARTS_AT_ONCE;
}

struct wanted_part {
    uint64_t stream;
    bool found;
};

static bool look_at_part(const struct part *p, void *ctx)
{
    struct wanted_part *w = ctx;

    w->found = p->stream == w->stream;
    return !w->found;
}

/* Most streams that were ever deleted have none left. */
static enum err_code find_parts(struct sealed *s, const struct dropped_stream *d, bool *any,
                                struct err *e)
{
    struct wanted_part w = {.stream = d->number};
    enum err_code rc =
        parts_list(s->index, d->org, d->type, d->name, INT32_MIN, INT32_MAX, look_at_part, &w, e);

    *any = w.found;
    return rc;
}

static void remove_parts(struct sealed *s, const struct own_parts *o)
{
    for (size_t i = 0; i < o->count; i++) {
        if (!s->cfg.read_only)
            sealed_files_remove(&s->files, &o->list[i].id, o->list[i].hour);
        sealed_count(s, GAUGE_SEALED_PARTS, -1);
        sealed_count(s, GAUGE_SEALED_BYTES, -(int64_t)o->list[i].stored_bytes);
    }
}

static enum err_code drop_parts(struct sealed *s, const struct dropped_stream *d, struct err *e)
{
    AUTO_FREE struct own_parts *o = malloc(sizeof *o);
    enum err_code rc = ERR_OK;
    uint64_t position;

    if (!o)
        return err_set(e, ERR_NOMEM, "no memory for the parts of a stream");
    do {
        o->stream = d;
        o->count = 0;
        rc = parts_list(s->index, d->org, d->type, d->name, INT32_MIN, INT32_MAX, collect_part, o,
                        e);
        pthread_mutex_lock(&s->lock);
        position = sealed_covered_locked(s);
        pthread_mutex_unlock(&s->lock);
        if (!rc && o->count > 0)
            rc =
                parts_delete(s->index, o->list, o->count, position >> 32, position & UINT32_MAX, e);
        if (!rc)
            remove_parts(s, o);
    } while (!rc && o->count == PARTS_AT_ONCE);
    return rc;
}

/* ---- readers ---- */

void sealed_reader_begin(struct sealed *s, struct sealed_reader *r)
{
    LOCK_SCOPE(&s->lock);
    *r = (struct sealed_reader){.older = s->newest_reader, .number = ++s->last_reader};
    *(r->older ? &r->older->newer : &s->oldest) = r;
    s->newest_reader = r;
}

void sealed_reader_join(struct sealed *s, struct sealed_reader *r, struct sealed_reader *with)
{
    LOCK_SCOPE(&s->lock);
    *r = (struct sealed_reader){.older = with, .newer = with->newer, .number = with->number};
    *(r->newer ? &r->newer->older : &s->newest_reader) = r;
    with->newer = r;
}

void sealed_reader_end(struct sealed *s, struct sealed_reader *r)
{
    if (r->number == 0)
        return;
    LOCK_SCOPE(&s->lock);
    *(r->older ? &r->older->newer : &s->oldest) = r->newer;
    *(r->newer ? &r->newer->older : &s->newest_reader) = r->older;
    *r = (struct sealed_reader){0};
    if (sealed_has_ripe_locked(s))
        pthread_cond_broadcast(&s->wake);
}

/* ---- doomed streams ---- */

struct doomed {
    struct doomed *next;          /* (lock) */
    uint64_t last_reader;         /* this one and those before may read its parts */
    struct dropped_stream stream; /* its texts stand behind */
};

static struct doomed *new_doomed(const struct dropped_stream *d)
{
    struct doomed *n = malloc(sizeof *n + d->org.len + d->name.len);
    char *text;

    if (!n)
        return NULL;
    text = (char *)(n + 1);
    memcpy(text, d->org.ptr, d->org.len);
    memcpy(text + d->org.len, d->name.ptr, d->name.len);
    *n = (struct doomed){.stream = *d};
    n->stream.org = (struct str){text, d->org.len};
    n->stream.name = (struct str){text + d->org.len, d->name.len};
    return n;
}

static bool is_doomed_locked(const struct sealed *s, uint64_t stream)
{
    const struct doomed *n = s->doomed;

    while (n && n->stream.number != stream)
        n = n->next;
    return n != NULL;
}

static void put_first_locked(struct sealed *s, struct doomed *n)
{
    n->next = s->doomed;
    s->doomed = n;
    if (!n->next)
        s->last_doomed = n;
    s->doomed_count++;
}

/* The index has no room for the deletion: the keeper tries again, or the next start. */
static enum err_code doom_now(struct sealed *s, const struct dropped_stream *d, struct err *e)
{
    struct doomed *n = new_doomed(d);

    if (!n)
        return err_set(e, ERR_NOMEM, "no memory for a deleted stream");
    sealed_report(s, e);
    LOCK_SCOPE(&s->lock);
    if (is_doomed_locked(s, d->number) || s->doomed_count == SEALED_DOOMED_MAX)
        free(n);
    else
        put_first_locked(s, n);
    pthread_cond_broadcast(&s->wake);
    return ERR_OK;
}

/* *waits: somebody reads, so the keeper will drop its parts. */
static enum err_code doom(struct sealed *s, const struct dropped_stream *d, bool *waits,
                          struct err *e)
{
    struct doomed *n = new_doomed(d);

    if (!n)
        return err_set(e, ERR_NOMEM, "no memory for a deleted stream");
    LOCK_SCOPE(&s->lock);
    *waits = s->oldest != NULL;
    if (!*waits || is_doomed_locked(s, d->number)) {
        free(n);
        return ERR_OK;
    }
    if (s->doomed_count == SEALED_DOOMED_MAX) {
        free(n);
        return err_set(e, ERR_AGAIN, "%d deleted streams are being read", SEALED_DOOMED_MAX);
    }
    n->last_reader = s->last_reader;
    *(s->last_doomed ? &s->last_doomed->next : &s->doomed) = n;
    s->last_doomed = n;
    s->doomed_count++;
    return ERR_OK;
}

/* The list is in order of last_reader. */
bool sealed_has_ripe_locked(const struct sealed *s)
{
    return s->doomed && (!s->oldest || s->oldest->number > s->doomed->last_reader);
}

static struct doomed *take_ripe(struct sealed *s)
{
    struct doomed *n;

    LOCK_SCOPE(&s->lock);
    if (!sealed_has_ripe_locked(s))
        return NULL;
    n = s->doomed;
    s->doomed = n->next;
    if (!n->next)
        s->last_doomed = NULL;
    s->doomed_count--;
    return n;
}

static void put_back(struct sealed *s, struct doomed *n)
{
    LOCK_SCOPE(&s->lock);
    put_first_locked(s, n);
}

/* Until one fails: the others would fail the same way. */
void sealed_drop_ripe(struct sealed *s)
{
    struct doomed *n;
    struct err e = {0};

    while ((n = take_ripe(s))) {
        if (drop_parts(s, &n->stream, &e)) {
            err_wrap(&e, "delete stream number %llu", (unsigned long long)n->stream.number);
            sealed_report(s, &e);
            put_back(s, n);
            return;
        }
        free(n);
    }
}

void sealed_free_doomed(struct sealed *s)
{
    while (s->doomed) {
        struct doomed *n = s->doomed;
        s->doomed = n->next;
        free(n);
    }
}

/* ---- the whole ---- */

enum err_code sealed_drop_stream(struct sealed *s, const struct dropped_stream *d, struct err *e)
{
    enum err_code rc = journal_drop_stream(s->cfg.journal, d->number, e);
    bool waits = false, has_parts = false;

    if (rc)
        return rc;
    registry_drop_stream(s->cfg.registry, d->number);
    if (!s->cfg.read_only && !d->has_no_files)
        rc = drop_files(s, d->number, e);
    if (!rc)
        wait_for_flights(s, d->number);
    if (!rc && d->type != STREAM_METRICS)
        rc = find_parts(s, d, &has_parts, e);
    if (!rc && has_parts)
        rc = doom(s, d, &waits, e);
    if (!rc && has_parts && !waits) {
        rc = drop_parts(s, d, e);
        if (rc == ERR_FULL && !s->cfg.read_only)
            rc = doom_now(s, d, e);
    }
    return rc ? err_wrap(e, "delete stream number %llu", (unsigned long long)d->number) : ERR_OK;
}
