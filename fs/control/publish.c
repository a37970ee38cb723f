/* fs/control/publish.c - answers SEALABLE, ROLL, PUBLISH and DISCARD: from an active file to a
 * sealed part.
 */
#include "base/clock.h"
#include "fs/control/control.h"
#include "fs/control/internal.h"
#include "fs/sealed/part_json.h"

/* ---- files that may be sealed ---- */

static void write_sealable(struct json_writer *w, const struct journal_file *f)
{
    char id[ULID_TEXT_LEN + 1];

    ulid_format(&f->id, id);
    jw_object(w);
    jw_ku64(w, "stream", f->stream);
    jw_kcstr(w, "id", id);
    jw_kstr(w, "org", f->org);
    jw_kstr(w, "name", f->name);
    jw_kcstr(w, "type", stream_type_name(f->type));
    jw_ki64(w, "hour", f->hour);
    jw_ku64(w, "bytes", f->size);
    jw_ku64(w, "rows", f->rows);
    jw_ki64(w, "min_ts", f->min_ts_us);
    jw_ki64(w, "max_ts", f->max_ts_us);
    jw_ki64(w, "first_append", f->first_append_us);
    jw_kbool(w, "open", f->open);
    jw_end(w);
}

struct sealable_wish {
    uint64_t min_bytes, limit;
    int64_t before_us, now_us;
    struct json_writer *w;
    uint64_t count;
    bool more;
};

static bool is_wished(const struct sealable_wish *wish, const struct journal_file *f)
{
    bool is_new = f->first_append_us > wish->before_us && f->first_append_us <= wish->now_us;

    return !f->replaced && f->rows > 0 && (!f->open || f->size >= wish->min_bytes || !is_new);
}

static bool visit_sealable(const struct journal_file *f, void *ctx)
{
    struct sealable_wish *wish = ctx;

    if (!is_wished(wish, f))
        return true;
    wish->more = wish->count == wish->limit;
    if (wish->more)
        return false;
    write_sealable(wish->w, f);
    wish->count++;
    return true;
}

static enum err_code read_wish(const struct control_request *r, struct sealable_wish *wish,
                               struct ulid *after, struct err *e)
{
    const struct json *text = json_get(r->body, "after");
    enum err_code rc = control_want_u64(r, "bytes", &wish->min_bytes, e);

    if (!rc)
        rc = control_want_u64(r, "limit", &wish->limit, e);
    if (!rc && !json_i64(json_get(r->body, "before_us"), &wish->before_us))
        rc = err_set(e, ERR_INVALID, "\"before_us\" is missing or no number");
    if (!rc && text && !ulid_parse(json_str(text, STR("")), after))
        rc = err_set(e, ERR_INVALID, "\"after\" is no id");
    if (wish->limit > CONTROL_SEALABLE_PAGE)
        wish->limit = CONTROL_SEALABLE_PAGE;
    return rc;
}

/* Ids sort by the time at which their files began, so the journal's order is the oldest first. */
enum err_code control_answer_sealable(struct control_request *r, struct err *e)
{
    struct json_writer w = {.out = r->reply};
    struct sealable_wish wish = {.w = &w, .now_us = clock_wall_us()};
    struct ulid after = {{0}};
    enum err_code rc = read_wish(r, &wish, &after, e);

    if (rc)
        return rc;
    jw_object(&w);
    jw_key(&w, STR("files"));
    jw_array(&w);
    journal_file_list_after(r->cfg->journal, &after, visit_sealable, &wish);
    jw_end(&w);
    jw_kbool(&w, "more", wish.more);
    jw_end(&w);
    return ERR_OK;
}

/* ---- closing ---- */

static enum err_code read_ids(struct control_request *r, struct ulid **out, size_t *count,
                              struct err *e)
{
    const struct json *files = json_get(r->body, "files");
    struct ulid *ids;
    size_t n = 0;

    if (!files || files->type != JSON_ARRAY || files->count == 0)
        return err_set(e, ERR_INVALID, "\"files\" is missing or empty");
    ids = arena_alloc(r->arena, files->count * sizeof *ids);
    if (!ids)
        return err_set(e, ERR_NOMEM, "no memory for %zu files", files->count);
    for (const struct json *v = files->first; v; v = v->next) {
        if (!ulid_parse(json_str(v, STR("")), &ids[n++]))
            return err_set(e, ERR_INVALID, "file %zu is no id", n - 1);
    }
    *out = ids;
    *count = n;
    return ERR_OK;
}

/* What is replaced, now or while it was being closed, is left out. */
static void write_closed(struct control_request *r, const struct ulid *ids, size_t count)
{
    struct json_writer w = {.out = r->reply};
    struct journal_file f;

    jw_object(&w);
    jw_key(&w, STR("files"));
    jw_array(&w);
    for (size_t i = 0; i < count; i++)
        if (journal_file_get(r->cfg->journal, &ids[i], &f, NULL) == ERR_OK && !f.replaced)
            write_sealable(&w, &f);
    jw_end(&w);
    jw_end(&w);
}

static enum err_code roll_files(struct control_request *r, struct err *e)
{
    struct ulid *ids = NULL;
    size_t count = 0;
    enum err_code rc = read_ids(r, &ids, &count, e);

    if (!rc && count > CONTROL_ROLL_FILES_MAX)
        rc = err_set(e, ERR_TOOBIG, "%zu files to close, and %d may be at once", count,
                     CONTROL_ROLL_FILES_MAX);
    if (!rc)
        rc = journal_roll_files(r->cfg->journal, ids, count, e);
    if (!rc)
        write_closed(r, ids, count);
    return rc;
}

static enum err_code roll_stream(struct control_request *r, struct err *e)
{
    uint64_t stream;
    int64_t hour = 0;
    enum err_code rc = control_want_u64(r, "stream", &stream, e);

    if (rc)
        return rc;
    if (stream != 0 &&
        (!json_i64(json_get(r->body, "hour"), &hour) || hour < INT32_MIN || hour > INT32_MAX))
        return err_set(e, ERR_INVALID, "\"hour\" is missing or no hour");
    return journal_roll(r->cfg->journal, stream, (int32_t)hour, e);
}

enum err_code control_answer_roll(struct control_request *r, struct err *e)
{
    return json_get(r->body, "files") ? roll_files(r, e) : roll_stream(r, e);
}

/* ---- publishing ---- */

enum err_code control_answer_publish(struct control_request *r, struct err *e)
{
    struct part_column *columns;
    size_t column_count = 0, file_count = 0;
    struct ulid *files = NULL;
    struct part part;
    enum err_code rc = r->cfg->sealed ? read_ids(r, &files, &file_count, e)
                                      : err_set(e, ERR_READONLY, "nothing can be published here");

    if (!rc)
        rc = part_from_json(json_get(r->body, "part"), PART_JSON_PUBLISHED, r->arena, &part,
                            &columns, &column_count, e);
    if (rc)
        return rc;
    return sealed_publish(r->cfg->sealed, &part, columns, column_count, files, file_count, e);
}

enum err_code control_answer_discard(struct control_request *r, struct err *e)
{
    struct ulid part;

    if (!ulid_parse(json_str(json_get(r->body, "part"), STR("")), &part))
        return err_set(e, ERR_INVALID, "\"part\" is no id");
    return r->cfg->sealed ? sealed_discard(r->cfg->sealed, &part, e) : ERR_OK;
}

enum err_code control_answer_drop(struct control_request *r, struct err *e)
{
    struct dropped_stream d = {.org = json_str(json_get(r->body, "org"), STR("")),
                               .name = json_str(json_get(r->body, "name"), STR(""))};

    if (!json_u64(json_get(r->body, "stream"), &d.number) || d.number == 0 || d.org.len == 0 ||
        d.name.len == 0 ||
        !stream_type_parse(json_str(json_get(r->body, "type"), STR("")), &d.type))
        return err_set(e, ERR_INVALID, "that is no stream");
    return r->cfg->sealed ? sealed_drop_stream(r->cfg->sealed, &d, e) : ERR_OK;
}
