/* gateway/seal_job.c - the steps of seal_job.h. */
#include "gateway/seal_job.h"

#include <stdio.h>

#include "base/clock.h"
#include "fs/control/control.h"
#include "gateway/engine/client.h"

#define JOB_MEMORY_MAX ((size_t)256 << 20)
#define REQUEST_MAX ((size_t)64 << 20)
#define CALL_MS 60000   /* a ROLL or a PUBLISH */
#define CONNECT_MS 5000 /* to the engine */
#define DISCARD_MS 5000
#define SEAL_MS 600000 /* one Parquet file */
#define LOOK_MS 200    /* how often a running seal looks whether to stop */
#define PATH_TEXT_MAX 4352

struct job {
    struct seal_worker *w;
    const struct seal_unit *unit;
    struct arena arena;
    struct sealable *sources; /* in the arena, closed */
    struct ulid *ids;         /* theirs */
    size_t count;
    const struct catalog_stream *stream; /* not for metrics; one reference */
    struct ulid part;
    struct buf request;
    uint64_t rows, bytes;
};

/* ---- closing ---- */

/* Its files are nobody's; the fs process may not have heard of it, or is at it. */
static enum err_code drop_deleted(struct job *j, const struct sealable *s, struct err *e)
{
    const struct deleted_stream deleted = {
        .number = s->stream, .org = s->org, .name = s->name, .type = s->type};
    enum err_code rc = control_drop(j->w->control, &deleted, clock_mono_ms() + CALL_MS, e);
    return rc ? err_wrap(e, "files of the deleted stream " STR_FMT, STR_ARG(s->name)) : ERR_OK;
}

/* Leaves out the files of streams that are deleted.  Only the mark says so: a name may be gone for
 * other reasons. */
static enum err_code leave_deleted_out(struct job *j, struct err *e)
{
    size_t kept = 0;
    for (size_t i = 0; i < j->count; i++) {
        bool deleted;
        enum err_code rc =
            catalog_was_deleted(j->w->cfg->catalog, j->sources[i].stream, &deleted, e);
        if (!rc && deleted)
            rc = drop_deleted(j, &j->sources[i], e);
        if (rc)
            return rc;
        if (!deleted)
            j->sources[kept++] = j->sources[i];
    }
    j->count = kept;
    return ERR_OK;
}

/* What is sealed already is not among them. */
static enum err_code roll_all(struct job *j, struct err *e)
{
    const struct seal_unit *u = j->unit;
    enum err_code rc =
        control_roll_files(j->w->control, u->files, u->file_count, clock_mono_ms() + CALL_MS,
                           &j->arena, &j->sources, &j->count, e);

    if (!rc)
        rc = leave_deleted_out(j, e);
    if (rc)
        return err_wrap(e, "close files");
    j->ids = arena_alloc(&j->arena, (j->count + 1) * sizeof *j->ids);
    if (!j->ids)
        return err_set(e, ERR_NOMEM, "no memory to seal %zu files", j->count);
    j->rows = j->bytes = 0;
    for (size_t i = 0; i < j->count; i++) {
        j->ids[i] = j->sources[i].id;
        j->rows += j->sources[i].rows;
        j->bytes += j->sources[i].bytes;
    }
    return j->w->is_stopping(j->w->ctx) ? err_set(e, ERR_CANCELLED, "stopping") : ERR_OK;
}

/* ---- the request ---- */

static enum err_code find_stream(struct job *j, struct err *e)
{
    const struct sealable *s = &j->sources[0];
    enum err_code rc = catalog_find(j->w->cfg->catalog, s->org, s->type, s->name, &j->stream, e);

    if (!rc && j->stream->number != s->stream)
        return err_set(e, ERR_NOTFOUND, "stream " STR_FMT " is another one now", STR_ARG(s->name));
    return rc ? err_wrap(e, "stream") : ERR_OK;
}

static void write_id(struct json_writer *w, const char *key, const struct ulid *id)
{
    char text[ULID_TEXT_LEN + 1];

    ulid_format(id, text);
    jw_kcstr(w, key, text);
}

static void write_source(struct job *j, struct json_writer *w, const struct sealable *s)
{
    char id[ULID_TEXT_LEN + 1], path[PATH_TEXT_MAX];

    ulid_format(&s->id, id);
    snprintf(path, sizeof path, "%s/.weir/at/%s@%llu.ndjson", j->w->cfg->mount_dir, id,
             (unsigned long long)s->bytes);
    jw_object(w);
    jw_kcstr(w, "path", path);
    jw_kcstr(w, "id", id);
    jw_ku64(w, "stream", s->stream);
    jw_kstr(w, "name", s->name);
    jw_ku64(w, "rows", s->rows);
    jw_ku64(w, "bytes", s->bytes);
    jw_ki64(w, "min_ts", s->min_ts_us);
    jw_ki64(w, "max_ts", s->max_ts_us);
    jw_end(w);
}

static void write_columns(struct json_writer *w, const struct catalog_stream *s)
{
    jw_key(w, STR("columns"));
    jw_array(w);
    for (size_t i = 0; i < s->field_count; i++) {
        jw_array(w);
        jw_str(w, s->fields[i].name);
        jw_cstr(w, field_type_name(s->fields[i].type));
        jw_u64(w, s->fields[i].number);
        jw_end(w);
    }
    jw_end(w);
}

static enum err_code write_request(struct job *j, struct err *e)
{
    const struct sealable *first = &j->sources[0];
    bool is_metrics = j->unit->type == STREAM_METRICS;
    struct json_writer w = {.out = &j->request};

    buf_clear(&j->request);
    jw_object(&w);
    write_id(&w, "part", &j->part);
    jw_kstr(&w, "org", first->org);
    jw_kcstr(&w, "type", stream_type_name(first->type));
    jw_kstr(&w, "name", is_metrics ? STR("") : first->name);
    jw_ku64(&w, "stream", is_metrics ? 0 : first->stream);
    jw_ki64(&w, "hour", first->hour);
    jw_kcstr(&w, "node", j->w->cfg->node_name);
    jw_key(&w, STR("sources"));
    jw_array(&w);
    for (size_t i = 0; i < j->count; i++)
        write_source(j, &w, &j->sources[i]);
    jw_end(&w);
    if (!is_metrics)
        write_columns(&w, j->stream);
    jw_ku64(&w, "timeout_ms", SEAL_MS);
    jw_end(&w);
    return buf_ok(&j->request) ? ERR_OK : err_set(e, ERR_TOOBIG, "the seal's request is too large");
}

/* ---- engine and publication ---- */

static enum err_code connect_engine(struct seal_worker *w, struct err *e)
{
    if (w->engine && engine_client_is_connected(w->engine))
        return ERR_OK;
    seal_worker_done(w); /* of an engine that is gone */
    return engine_client_open(w->cfg->engine_socket, clock_mono_ms() + CONNECT_MS, &w->engine, e);
}

static enum err_code await_sealed(struct job *j, struct str *part, struct err *e)
{
    struct seal_worker *w = j->w;
    uint64_t deadline_ms = clock_mono_ms() + SEAL_MS;
    bool is_done = false;
    enum err_code rc = engine_client_seal(w->engine, buf_str(&j->request), e);

    while (!rc && !is_done) {
        if (w->is_stopping(w->ctx))
            return err_set(e, ERR_CANCELLED, "stopping");
        if (clock_mono_ms() > deadline_ms)
            return err_set(e, ERR_TIMEOUT, "the engine took longer than %d s", SEAL_MS / 1000);
        rc = engine_client_sealed(w->engine, LOOK_MS, &is_done, part, e);
    }
    return rc;
}

static enum err_code publish(struct job *j, struct str part, struct err *e)
{
    return control_publish(j->w->control, part, j->ids, j->count, clock_mono_ms() + CALL_MS, e);
}

/* The engine that wrote it may be gone, or PUBLISH was refused.  If this fails too, the next epoch
 * removes it. */
static void discard(struct job *j)
{
    control_discard(j->w->control, &j->part, clock_mono_ms() + DISCARD_MS, NULL);
}

static enum err_code seal_and_publish(struct job *j, struct seal_done *done, struct err *e)
{
    struct str part = {0};
    struct json *facts;
    uint64_t stored = 0;
    enum err_code rc = connect_engine(j->w, e);

    if (!rc) {
        rc = await_sealed(j, &part, e);
        if (!rc && json_parse(part, &j->arena, &facts, NULL) == ERR_OK)
            json_u64(json_get(facts, "stored_bytes"), &stored);
        if (!rc)
            rc = publish(j, part, e);
        if (rc) {
            seal_worker_done(j->w); /* a connection after an error is of no further use */
            discard(j);
        }
    }
    if (!rc)
        *done = (struct seal_done){.parts = 1,
                                   .files = j->count,
                                   .rows = j->rows,
                                   .text_bytes = j->bytes,
                                   .stored_bytes = stored};
    return rc;
}

void seal_worker_done(struct seal_worker *w)
{
    engine_client_close(w->engine);
    w->engine = NULL;
}

/* A log or trace part goes by the id of its one file; a metrics part has one of its own. */
static enum err_code prepare(struct job *j, struct err *e)
{
    if (j->unit->type == STREAM_METRICS) {
        j->part = ulid_new();
    } else {
        j->part = j->ids[0];
        enum err_code rc = find_stream(j, e);
        if (rc)
            return rc;
    }
    return write_request(j, e);
}

static enum err_code run_rolled(struct job *j, struct seal_done *done, struct err *e)
{
    if (j->count == 0)
        return ERR_OK;
    enum err_code rc = prepare(j, e);
    return rc ? rc : seal_and_publish(j, done, e);
}

/* Whatever failed: was it files of a stream that was deleted meanwhile?  The others have to be
 * sealed without them. */
static bool has_lost_files(struct job *j)
{
    size_t before = j->count;
    return roll_all(j, NULL) == ERR_OK && j->count < before;
}

enum err_code seal_job_run(struct seal_worker *w, const struct seal_unit *unit,
                           struct seal_done *done, struct err *e)
{
    struct job j = {.w = w, .unit = unit};

    *done = (struct seal_done){0};
    arena_init(&j.arena, JOB_MEMORY_MAX);
    buf_init(&j.request, REQUEST_MAX);
    enum err_code rc = roll_all(&j, e);
    if (!rc)
        rc = run_rolled(&j, done, e);
    while (rc && has_lost_files(&j))
        rc = run_rolled(&j, done, e);
    catalog_unref(j.stream);
    buf_done(&j.request);
    arena_done(&j.arena);
    return rc;
}
