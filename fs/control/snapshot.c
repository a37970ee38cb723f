/* fs/control/snapshot.c - answers SNAPSHOT and RELEASE, and hears which snapshots live. */
#include <stdio.h>
#include <stdlib.h>

#include "fs/control/internal.h"
#include "fs/name.h"

static enum err_code read_wish(const struct control_request *r, struct snapshot_wish *wish,
                               struct err *e)
{
    uint64_t *numbers;
    size_t n;
    enum err_code rc = control_want_streams(r, &numbers, &n, e);

    if (rc)
        return rc;
    *wish = (struct snapshot_wish){.streams = numbers, .stream_count = n};
    if (!json_i64(json_get(r->body, "start_us"), &wish->start_us) ||
        !json_i64(json_get(r->body, "end_us"), &wish->end_us))
        return err_set(e, ERR_INVALID, "\"start_us\" or \"end_us\" is missing or no number");
    return ERR_OK;
}

static void write_id(struct json_writer *w, const struct ulid *id)
{
    char text[ULID_TEXT_LEN + 1];

    ulid_format(id, text);
    jw_kcstr(w, "id", text);
}

static void write_file(struct json_writer *w, const struct journal_file *f)
{
    jw_object(w);
    jw_ku64(w, "stream", f->stream);
    write_id(w, &f->id);
    jw_ki64(w, "hour", f->hour);
    jw_ku64(w, "bytes", f->size);
    jw_ku64(w, "rows", f->rows);
    jw_ki64(w, "min_ts", f->min_ts_us);
    jw_ki64(w, "max_ts", f->max_ts_us);
    jw_kcstr(w, "state", "active");
    jw_end(w);
}

/* ---- sealed parts ---- */

static void write_hash(char dst[17], uint64_t hash)
{
    snprintf(dst, 17, "%016llx", (unsigned long long)hash);
}

/* Where the part stands below the mount as long as the snapshot lives, whatever becomes of its
 * stream. */
static void write_path(struct json_writer *w, const struct snapshot_part *p)
{
    char text[sizeof ".weir/at/" + NAME_PART_MAX] = ".weir/at/";

    name_format_part(&p->id, text + strlen(text));
    jw_kcstr(w, "path", text);
}

static void write_part(struct json_writer *w, const struct snapshot_part *p)
{
    char hash[17];

    write_hash(hash, p->schema);
    jw_object(w);
    jw_ku64(w, "stream", p->number);
    write_id(w, &p->id);
    jw_ki64(w, "hour", p->hour);
    jw_ku64(w, "bytes", p->stored_bytes);
    jw_ku64(w, "rows", p->rows);
    jw_ki64(w, "min_ts", p->min_ts_us);
    jw_ki64(w, "max_ts", p->max_ts_us);
    jw_kcstr(w, "state", "sealed");
    write_path(w, p);
    jw_ku64(w, "text_bytes", p->text_bytes);
    jw_kcstr(w, "schema", hash);
    if (p->stream->type == STREAM_METRICS)
        jw_kstr(w, "name", p->stream->raw);
    jw_end(w);
}

static enum err_code write_schema(struct control_request *r, struct json_writer *w, uint64_t hash,
                                  struct err *e)
{
    struct part_column *columns;
    size_t count;
    char text[17];
    enum err_code rc =
        parts_schema_get(sealed_index(r->cfg->sealed), hash, r->arena, &columns, &count, e);

    write_hash(text, hash);
    if (rc)
        return err_wrap(e, "columns %s", text);
    jw_key(w, str_from(text));
    jw_array(w);
    for (size_t i = 0; i < count; i++) {
        jw_array(w);
        jw_str(w, columns[i].name);
        jw_cstr(w, field_type_name(columns[i].type));
        if (columns[i].is_rare)
            jw_cstr(w, "rare");
        jw_end(w);
    }
    jw_end(w);
    return ERR_OK;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Each list of columns once, however many parts have it. */
static enum err_code write_schemas(struct control_request *r, struct json_writer *w,
                                   const struct snapshot_content *c, struct err *e)
{
    uint64_t *hashes = arena_alloc(r->arena, (c->part_count + 1) * sizeof *hashes);
    enum err_code rc = ERR_OK;

    if (!hashes)
        return err_set(e, ERR_NOMEM, "no memory for a snapshot");
    for (size_t i = 0; i < c->part_count; i++)
        hashes[i] = c->parts[i].schema;
    qsort(hashes, c->part_count, sizeof *hashes, by_value);
    jw_key(w, STR("schemas"));
    jw_object(w);
    for (size_t i = 0; !rc && i < c->part_count; i++) {
        if (i == 0 || hashes[i] != hashes[i - 1])
            rc = write_schema(r, w, hashes[i], e);
    }
    jw_end(w);
    return rc;
}

static enum err_code write_content(struct control_request *r, const struct snapshot_content *c,
                                   struct err *e)
{
    struct json_writer w = {.out = r->reply};
    enum err_code rc;

    jw_object(&w);
    jw_ku64(&w, "snapshot", c->id);
    jw_key(&w, STR("files"));
    jw_array(&w);
    for (size_t i = 0; i < c->file_count; i++)
        write_file(&w, &c->files[i]);
    for (size_t i = 0; i < c->part_count; i++)
        write_part(&w, &c->parts[i]);
    jw_end(&w);
    rc = write_schemas(r, &w, c, e);
    jw_end(&w);
    return rc;
}

enum err_code control_answer_snapshot(struct control_request *r, struct err *e)
{
    struct snapshot_content content = {0};
    struct snapshot_wish wish;
    enum err_code rc = control_want_epoch(r, e);

    if (!rc)
        rc = read_wish(r, &wish, e);
    if (!rc)
        rc = snapshots_take(r->cfg->snapshots, *r->epoch, &wish, &content, e);
    if (rc)
        return rc;
    rc = write_content(r, &content, e);
    if (rc || !buf_ok(r->reply)) /* nobody will ever release it */
        snapshots_release(r->cfg->snapshots, *r->epoch, content.id);
    else
        *r->unheard = content.id;
    snapshot_content_done(&content);
    return rc;
}

enum err_code control_answer_release(struct control_request *r, struct err *e)
{
    uint64_t id;
    enum err_code rc = control_want_u64(r, "snapshot", &id, e);

    if (!rc)
        snapshots_release(r->cfg->snapshots, *r->epoch, id);
    return rc;
}

/* ---- those of an earlier process ---- */

/* [id, [["ULID", bytes], …]] */
static enum err_code hear_one(struct control_request *r, uint64_t epoch, const struct json *v,
                              struct err *e)
{
    const struct json *list = v->type == JSON_ARRAY && v->first ? v->first->next : NULL;
    struct notifier_name *files;
    uint64_t id;
    size_t n = 0;

    if (!list || list->type != JSON_ARRAY || !json_u64(v->first, &id))
        return err_set(e, ERR_INVALID, "a snapshot is no [id, files]");
    files = arena_alloc(r->arena, (list->count + 1) * sizeof *files);
    if (!files)
        return err_set(e, ERR_NOMEM, "no memory for %zu files of a snapshot", list->count);
    for (const struct json *f = list->first; f; f = f->next, n++) {
        if (f->type != JSON_ARRAY || !f->first ||
            !ulid_parse(json_str(f->first, STR("")), &files[n].id) ||
            !json_u64(f->first->next, &files[n].bytes))
            return err_set(e, ERR_INVALID, "a file of snapshot %llu is no [id, bytes]",
                           (unsigned long long)id);
    }
    return snapshots_declare(r->cfg->snapshots, epoch, id, files, n, e);
}

/* One that was heard before, because the first HELLO's reply was lost, is heard again. */
enum err_code control_hear_snapshots(struct control_request *r, uint64_t epoch, struct err *e)
{
    const struct json *all = json_get(r->body, "snapshots");
    uint64_t asked = 0;
    enum err_code rc = ERR_OK;

    json_u64(json_get(r->body, "epoch"), &asked);
    if (all && all->type != JSON_ARRAY)
        return err_set(e, ERR_INVALID, "\"snapshots\" is no array");
    for (const struct json *v = all ? all->first : NULL; v && !rc; v = v->next) {
        rc = hear_one(r, epoch, v, e);
        if (rc == ERR_FULL) /* its query fails, which says why */
            status_report(r->cfg->status, STR("snapshots"), str_from(e->msg));
        if (rc == ERR_EXISTS || rc == ERR_AGAIN || rc == ERR_FULL)
            rc = ERR_OK;
    }
    if (!rc && (all || asked == 0))
        snapshots_declared(r->cfg->snapshots);
    return rc;
}
