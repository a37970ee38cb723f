/* fs/sealed/part_json.c - reads the JSON of a part. */
#include "fs/sealed/part_json.h"

#include <stdlib.h>

static enum err_code bad(const char *what, struct err *e)
{
    return err_set(e, ERR_INVALID, "part: \"%s\" is missing or makes no sense", what);
}

/* ---- scalars ---- */

static bool read_hex(const struct json *v, uint8_t *out, size_t bytes)
{
    struct str text = json_str(v, STR(""));

    if (text.len != 2 * bytes)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        char pair[3] = {text.ptr[2 * i], text.ptr[2 * i + 1], '\0'};
        if (strspn(pair, "0123456789abcdefABCDEF") != 2)
            return false;
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

static bool read_sum(const struct json *v, uint64_t *out)
{
    uint8_t bytes[8];

    if (!read_hex(v, bytes, sizeof bytes))
        return false;
    *out = get_be64(bytes);
    return true;
}

static bool read_text(const struct json *v, struct str *out)
{
    *out = json_str(v, STR(""));
    return v && v->type == JSON_STRING;
}

/* A NUL ends a name in the keys of the index. */
static bool read_key_name(const struct json *v, struct str *out)
{
    return read_text(v, out) && !memchr(out->ptr, '\0', out->len);
}

static bool read_hour(const struct json *v, int32_t *out)
{
    int64_t hour;

    if (!json_i64(v, &hour) || hour < INT32_MIN || hour > INT32_MAX)
        return false;
    *out = (int32_t)hour;
    return true;
}

static enum err_code read_identity(const struct json *v, struct part *p, struct err *e)
{
    if (!ulid_parse(json_str(json_get(v, "id"), STR("")), &p->id))
        return bad("id", e);
    if (!read_key_name(json_get(v, "org"), &p->org) || p->org.len == 0)
        return bad("org", e);
    if (!stream_type_parse(json_str(json_get(v, "type"), STR("")), &p->type))
        return bad("type", e);
    if (!read_key_name(json_get(v, "name"), &p->name) ||
        (p->name.len == 0) != (p->type == STREAM_METRICS))
        return bad("name", e);
    if (!json_u64(json_get(v, "stream"), &p->stream))
        return bad("stream", e);
    return read_hour(json_get(v, "hour"), &p->hour) ? ERR_OK : bad("hour", e);
}

static enum err_code read_facts(const struct json *v, struct part *p, struct err *e)
{
    uint64_t version;

    if (!json_i64(json_get(v, "min_ts"), &p->min_ts_us))
        return bad("min_ts", e);
    if (!json_i64(json_get(v, "max_ts"), &p->max_ts_us))
        return bad("max_ts", e);
    if (!json_u64(json_get(v, "rows"), &p->rows))
        return bad("rows", e);
    if (!json_u64(json_get(v, "text_bytes"), &p->raw_bytes))
        return bad("text_bytes", e);
    if (!json_u64(json_get(v, "text_version"), &version) || version == 0 || version > UINT8_MAX)
        return bad("text_version", e);
    p->text_version = (uint8_t)version;
    return read_sum(json_get(v, "text_sum"), &p->text_sum) ? ERR_OK : bad("text_sum", e);
}

static enum err_code read_file(const struct json *v, struct part *p, struct err *e)
{
    if (!json_u64(json_get(v, "stored_bytes"), &p->stored_bytes))
        return bad("stored_bytes", e);
    return read_hex(json_get(v, "sha256"), p->sha256, sizeof p->sha256) ? ERR_OK : bad("sha256", e);
}

/* ---- lists ---- */

/* An array (absent: empty) of at most `max`, and room for its elements. */
static enum err_code open_list(const struct json *v, const char *key, size_t max, size_t size,
                               struct arena *a, const struct json **first, void **room,
                               struct err *e)
{
    const struct json *list = json_get(v, key);
    size_t count = list ? list->count : 0;

    if (list && list->type != JSON_ARRAY)
        return bad(key, e);
    if (count > max)
        return err_set(e, ERR_TOOBIG, "part: %zu %s", count, key);
    *first = list ? list->first : NULL;
    *room = arena_alloc(a, (count + 1) * size);
    return *room ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for a part");
}

static bool read_group(const struct json *v, struct part_group *g)
{
    uint64_t rows;

    if (v->type != JSON_ARRAY || v->count != 2 || !json_u64(v->first, &rows) || rows > UINT32_MAX ||
        !json_u64(v->last, &g->text_bytes))
        return false;
    g->rows = (uint32_t)rows;
    return true;
}

static enum err_code read_groups(const struct json *v, struct arena *a, struct part *p,
                                 struct err *e)
{
    const struct json *item;
    void *room;
    enum err_code rc =
        open_list(v, "groups", PART_GROUPS_MAX, sizeof(struct part_group), a, &item, &room, e);

    if (rc)
        return rc;
    p->groups = room;
    for (; item; item = item->next) {
        if (!read_group(item, (struct part_group *)room + p->group_count++))
            return bad("groups", e);
    }
    return ERR_OK;
}

static bool read_name(const struct json *v, struct part_name *n)
{
    return read_text(json_get(v, "name"), &n->name) &&
           json_u64(json_get(v, "stream"), &n->stream) &&
           json_u64(json_get(v, "first_row"), &n->first_row) &&
           json_u64(json_get(v, "rows"), &n->rows) &&
           json_i64(json_get(v, "min_ts"), &n->min_ts_us) &&
           json_i64(json_get(v, "max_ts"), &n->max_ts_us) &&
           json_u64(json_get(v, "text_bytes"), &n->text_bytes);
}

static enum err_code read_names(const struct json *v, struct arena *a, struct part *p,
                                struct err *e)
{
    const struct json *item;
    void *room;
    enum err_code rc =
        open_list(v, "names", PART_NAMES_MAX, sizeof(struct part_name), a, &item, &room, e);

    if (rc)
        return rc;
    p->names = room;
    for (; item; item = item->next) {
        struct part_name *n = (struct part_name *)room + p->name_count++;
        if (!read_name(item, n) || (p->name_count > 1 && str_cmp(n[-1].name, n->name) >= 0))
            return bad("names", e);
    }
    return ERR_OK;
}

static bool read_column(const struct json *v, struct part_column *c)
{
    uint64_t number;

    const struct json *mark = json_at(v, 3);

    if (v->type != JSON_ARRAY || v->count < 3 || v->count > 4 || !read_text(v->first, &c->name) ||
        !field_type_parse(json_str(v->first->next, STR("")), &c->type) ||
        !json_u64(json_at(v, 2), &number) || number > UINT32_MAX)
        return false;
    c->number = (uint32_t)number;
    c->is_rare = mark != NULL;
    return !mark || str_eq(json_str(mark, STR("")), STR("rare"));
}

static enum err_code read_columns(const struct json *v, struct arena *a,
                                  struct part_column **columns, size_t *count, struct err *e)
{
    const struct json *item;
    void *room;
    size_t n = 0;
    enum err_code rc =
        open_list(v, "columns", FIELDS_MAX, sizeof(struct part_column), a, &item, &room, e);

    if (rc)
        return rc;
    for (; item; item = item->next) {
        if (!read_column(item, (struct part_column *)room + n++))
            return bad("columns", e);
    }
    *columns = room;
    *count = n;
    return ERR_OK;
}

/* ---- sense ---- */

/* Row groups and names each add up to the rows of the file; metrics may do without groups. */
static enum err_code check_sums(const struct part *p, struct err *e)
{
    uint64_t rows = 0, bytes = 0, next = 0;

    for (size_t i = 0; i < p->group_count; i++) {
        rows += p->groups[i].rows;
        bytes += p->groups[i].text_bytes;
    }
    if ((p->group_count > 0 || p->type != STREAM_METRICS) &&
        (rows != p->rows || bytes != p->raw_bytes))
        return err_set(e, ERR_INVALID, "part: its row groups do not add up");
    for (size_t i = 0; i < p->name_count; i++) {
        if (p->names[i].first_row != next)
            return err_set(e, ERR_INVALID, "part: its names do not add up");
        next += p->names[i].rows;
    }
    return next == (p->type == STREAM_METRICS ? p->rows : 0)
               ? ERR_OK
               : err_set(e, ERR_INVALID, "part: its names do not add up");
}

enum err_code part_from_json(const struct json *v, enum part_json kind, struct arena *a,
                             struct part *part, struct part_column **columns, size_t *column_count,
                             struct err *e)
{
    struct part p = {.state = PART_SEALED, .node = STR(""), .object = STR("")};
    enum err_code rc = read_identity(v, &p, e);

    if (!rc)
        rc = read_facts(v, &p, e);
    if (!rc && kind == PART_JSON_PUBLISHED)
        rc = read_file(v, &p, e);
    if (!rc)
        rc = read_groups(v, a, &p, e);
    if (!rc)
        rc = read_names(v, a, &p, e);
    if (!rc)
        rc = read_columns(v, a, columns, column_count, e);
    if (!rc)
        rc = check_sums(&p, e);
    if (rc)
        return rc;
    p.schema = parts_schema_hash(*columns, *column_count);
    *part = p;
    return ERR_OK;
}
