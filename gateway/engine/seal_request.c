/* gateway/engine/seal_request.c - the decoders of seal_request.h. */
#include "gateway/engine/seal_request.h"

#include "base/ulid.h"

static enum err_code no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "a seal request needs more memory than a request has");
}

static enum err_code decode_source(const struct json *doc, struct seal_source *s, struct err *e)
{
    *s = (struct seal_source){.path = json_str(json_get(doc, "path"), STR("")),
                              .id = json_str(json_get(doc, "id"), STR("")),
                              .name = json_str(json_get(doc, "name"), STR(""))};
    struct ulid id;
    if (s->path.len == 0 || !ulid_parse(s->id, &id) ||
        !json_u64(json_get(doc, "stream"), &s->stream) ||
        !json_u64(json_get(doc, "rows"), &s->rows) ||
        !json_u64(json_get(doc, "bytes"), &s->bytes) ||
        !json_i64(json_get(doc, "min_ts"), &s->min_ts_us) ||
        !json_i64(json_get(doc, "max_ts"), &s->max_ts_us))
        return err_set(e, ERR_INVALID, "a source lacks its path, id, stream, rows, bytes or times");
    return ERR_OK;
}

static enum err_code decode_sources(const struct json *list, struct arena *a,
                                    struct seal_request *r, struct err *e)
{
    if (!list || list->type != JSON_ARRAY || list->count == 0)
        return err_set(e, ERR_INVALID, "nothing to seal");
    if (list->count > SEAL_SOURCES_MAX)
        return err_set(e, ERR_TOOBIG, "%zu sources, more than %d", list->count, SEAL_SOURCES_MAX);
    r->sources = arena_alloc(a, list->count * sizeof *r->sources);
    if (!r->sources)
        return no_memory(e);
    enum err_code rc = ERR_OK;
    for (const struct json *item = list->first; item && !rc; item = item->next)
        rc = decode_source(item, &r->sources[r->source_count++], e);
    return rc;
}

/* ["level","Utf8",7] */
static bool decode_column(const struct json *triple, struct run_column *c, uint32_t *number)
{
    uint64_t n;
    if (!triple || triple->type != JSON_ARRAY || triple->count != 3)
        return false;
    c->name = json_str(json_at(triple, 0), STR(""));
    if (c->name.len == 0 || memchr(c->name.ptr, '\0', c->name.len) ||
        !column_type_parse(json_str(json_at(triple, 1), STR("")), &c->type) ||
        !json_u64(json_at(triple, 2), &n) || n == 0 || n > INT32_MAX)
        return false;
    *number = (uint32_t)n;
    return true;
}

static enum err_code decode_columns(const struct json *list, struct arena *a,
                                    struct seal_request *r, struct err *e)
{
    if (!list || list->type != JSON_ARRAY || list->count == 0)
        return err_set(e, ERR_INVALID, "no columns");
    r->columns = arena_alloc(a, list->count * sizeof *r->columns);
    r->numbers = arena_alloc(a, list->count * sizeof *r->numbers);
    if (!r->columns || !r->numbers)
        return no_memory(e);
    for (const struct json *item = list->first; item; item = item->next, r->column_count++)
        if (!decode_column(item, &r->columns[r->column_count], &r->numbers[r->column_count]))
            return err_set(e, ERR_INVALID, "column %zu is no [name, type, number]",
                           r->column_count);
    return ERR_OK;
}

enum err_code seal_request_decode(struct str body, struct arena *a, struct seal_request *out,
                                  struct err *e)
{
    struct json *doc;
    struct ulid id;
    enum err_code rc = json_parse(body, a, &doc, e);
    if (rc != ERR_OK)
        return err_wrap(e, "seal request");
    *out = (struct seal_request){.part = json_str(json_get(doc, "part"), STR("")),
                                 .org = json_str(json_get(doc, "org"), STR("")),
                                 .type = json_str(json_get(doc, "type"), STR("")),
                                 .name = json_str(json_get(doc, "name"), STR("")),
                                 .node = json_str(json_get(doc, "node"), STR(""))};
    out->is_metrics = str_eq(out->type, STR("metrics"));
    json_u64(json_get(doc, "timeout_ms"), &out->timeout_ms);
    if (!ulid_parse(out->part, &id) || out->org.len == 0 || out->type.len == 0 ||
        !json_u64(json_get(doc, "stream"), &out->stream) ||
        !json_i64(json_get(doc, "hour"), &out->hour))
        return err_set(e, ERR_INVALID, "seal request: part, org, type, stream or hour is missing");
    rc = decode_sources(json_get(doc, "sources"), a, out, e);
    if (rc == ERR_OK && !out->is_metrics)
        rc = decode_columns(json_get(doc, "columns"), a, out, e);
    return rc == ERR_OK ? ERR_OK : err_wrap(e, "seal request");
}

enum err_code text_request_decode(struct str body, struct arena *a, struct text_request *out,
                                  struct err *e)
{
    struct json *doc;
    enum err_code rc = json_parse(body, a, &doc, e);
    if (rc != ERR_OK)
        return err_wrap(e, "text request");
    *out = (struct text_request){.path = json_str(json_get(doc, "path"), STR(""))};
    out->by_group = json_u64(json_get(doc, "group"), &out->group);
    if (out->path.len == 0 ||
        (!out->by_group && !(json_u64(json_get(doc, "first_row"), &out->first_row) &&
                             json_u64(json_get(doc, "rows"), &out->rows))))
        return err_set(e, ERR_INVALID, "text request: a path, and a group or rows are needed");
    out->is_metrics = !out->by_group && json_bool(json_get(doc, "metrics"), false);
    return ERR_OK;
}
