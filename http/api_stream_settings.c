/* http/api_stream_settings.c - makes streams by name, and changes their settings. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "gateway/keys.h"
#include "gateway/names.h"
#include "gateway/stream_settings.h"
#include "http/api.h"
#include "http/api_stream.h"
#include "http/reply.h"

#define NO_JSON 400 /* detail of an error: the body is none */

static enum err_code reply_done_with(struct http_call *c, const char *message)
{
    reply_envelope(c->reply, 200, message);
    return ERR_OK;
}

/* What the reference answers with plain text: a body that is no JSON (400) or of the wrong shape
 * (422).  Every other error goes on as it is. */
static enum err_code reply_misshapen(struct http_call *c, enum err_code rc, const struct err *e)
{
    char text[ERR_MSG_MAX + 80];
    if (rc != ERR_INVALID || (e->detail != SETTINGS_SHAPE && e->detail != NO_JSON))
        return rc;
    if (e->detail == NO_JSON) {
        reply_text(c->reply, 400, e->msg);
        return ERR_OK;
    }
    snprintf(text, sizeof text, "Failed to deserialize the JSON body into the target type: %s",
             e->msg);
    reply_text(c->reply, 422, text);
    return ERR_OK;
}

static enum err_code misshapen(struct err *e, const char *what)
{
    err_set(e, ERR_INVALID, "%s", what);
    e->detail = SETTINGS_SHAPE;
    return ERR_INVALID;
}

static enum err_code parse_body(struct http_call *c, struct json **out, struct err *e)
{
    enum err_code rc = json_parse(c->body, c->arena, out, e);
    if (rc == ERR_OK)
        return ERR_OK;
    e->detail = NO_JSON;
    return err_wrap(e, "Failed to parse the request body as JSON");
}

/* ---- settings ---- */

typedef enum err_code (*make_settings)(const struct meta_stream *s, const struct json *change,
                                       int64_t now_us, struct arena *a, struct str *out,
                                       struct err *e);
struct change {
    make_settings make;
    const struct json *body;
};

static enum err_code apply(const struct meta_stream *s, struct arena *a, struct str *settings,
                           void *ctx, struct err *e)
{
    const struct change *change = ctx;
    return change->make(s, change->body, clock_wall_us(), a, settings, e);
}

static enum err_code change_settings(struct http_call *c, make_settings make, struct err *e)
{
    const struct catalog_stream *s, *changed = NULL;
    struct change change = {.make = make};
    struct json *body;
    enum err_code rc = parse_body(c, &body, e);
    if (rc == ERR_OK)
        rc = call_stream(c, &s, e);
    if (rc != ERR_OK)
        return reply_misshapen(c, rc, e);
    change.body = body;
    rc = catalog_change_settings(c->cfg->catalog, s, apply, &change, &changed, e);
    catalog_unref(s);
    catalog_unref(changed);
    if (rc == ERR_NOTFOUND)
        return err_set(e, ERR_NOTFOUND, "stream not found");
    return rc == ERR_OK ? reply_done_with(c, "") : reply_misshapen(c, rc, e);
}

enum err_code api_stream_settings(struct http_call *c, struct err *e)
{
    return change_settings(c, stream_settings_change, e);
}

enum err_code api_stream_settings_all(struct http_call *c, struct err *e)
{
    return change_settings(c, stream_settings_replace, e);
}

/* ---- a new stream ---- */

struct creation {
    enum stream_type type;
    struct str name;
    struct meta_new_field *fields;
    size_t field_count;
    const struct json *settings;
};

/* The columns that Weir fills itself have one type. */
static bool is_type_of_own(enum stream_type stream, const struct meta_new_field *f)
{
    bool is_metric = stream == STREAM_METRICS;
    if (str_eq(f->name, STR("_timestamp")))
        return f->type == FIELD_INT64;
    if (is_metric && str_eq(f->name, STR("value")))
        return f->type == FIELD_FLOAT64;
    return !is_metric || f->type == FIELD_UTF8; /* labels */
}

/* The name that records have, too. */
static enum err_code name_of_field(enum stream_type stream, struct str given, struct arena *a,
                                   struct str *out, struct err *e)
{
    struct buf name;
    char label[NAME_MAX_BYTES + 1];
    size_t len;
    if (stream == STREAM_METRICS) {
        enum err_code rc = name_metric(given, label, &len, e);
        if (rc != ERR_OK)
            return err_wrap(e, "fields");
        *out = arena_copy(a, (struct str){label, len});
        return out->ptr ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for the fields");
    }
    buf_init(&name, FIELD_NAME_MAX);
    name_field_add(&name, given);
    bool fits = buf_ok(&name);
    *out = arena_copy(a, buf_str(&name));
    buf_done(&name);
    if (!fits)
        return err_set(e, ERR_INVALID, "fields: a name is longer than %d bytes", FIELD_NAME_MAX);
    return out->ptr ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for the fields");
}

static enum err_code read_field(enum stream_type stream, const struct json *v, struct arena *a,
                                struct meta_new_field *f, struct err *e)
{
    struct str type = json_str(json_get(v, "type"), STR(""));
    struct str name = json_str(json_get(v, "name"), STR(""));
    if (v->type != JSON_OBJECT || name.len == 0 || !json_get(v, "type"))
        return misshapen(e, "fields: each is {\"name\":…,\"type\":…}");
    if (!field_type_parse(type, &f->type))
        return err_set(e, ERR_INVALID, "invalid data type: " STR_FMT, STR_ARG(type));
    enum err_code rc = name_of_field(stream, name, a, &f->name, e);
    if (rc == ERR_OK && !is_type_of_own(stream, f))
        return err_set(e, ERR_INVALID, "fields: " STR_FMT " cannot be " STR_FMT, STR_ARG(f->name),
                       STR_ARG(type));
    return rc;
}

/* Streams that are made by hand have no distinct fields unless they ask for them. */
static const struct json *settings_of_new(struct arena *a, const struct json *given)
{
    struct json *settings = given ? json_clone(a, given) : json_new(a, JSON_OBJECT);
    if (settings && settings->type == JSON_OBJECT && !json_get(settings, "enable_distinct_fields"))
        json_set(a, settings, STR("enable_distinct_fields"), json_new_bool(a, false));
    return settings;
}

/* With `_timestamp`, which every stream has. */
static enum err_code check_room(const struct creation *n, struct err *e)
{
    size_t fields = 1, name_bytes = strlen("_timestamp");
    for (size_t i = 0; i < n->field_count; i++) {
        bool is_timestamp = str_eq(n->fields[i].name, STR("_timestamp"));
        fields += !is_timestamp;
        name_bytes += is_timestamp ? 0 : n->fields[i].name.len;
    }
    if (fields > FIELDS_MAX || name_bytes > FIELD_NAMES_MAX_BYTES)
        return err_set(e, ERR_INVALID, "a stream has at most %d fields, with %u bytes of names",
                       FIELDS_MAX, FIELD_NAMES_MAX_BYTES);
    return ERR_OK;
}

static enum err_code read_creation(struct http_call *c, const struct json *body,
                                   struct creation *out, struct err *e)
{
    const struct json *fields = json_get(body, "fields");
    enum err_code rc = ERR_OK;
    if (!fields || fields->type != JSON_ARRAY)
        return misshapen(e, "missing field `fields`");
    if (fields->count > FIELDS_MAX)
        return err_set(e, ERR_INVALID, "a stream has at most %d fields", FIELDS_MAX);
    out->settings = settings_of_new(c->arena, json_get(body, "settings"));
    out->fields = arena_alloc(c->arena, (fields->count + 1) * sizeof *out->fields);
    if (!out->fields)
        return err_set(e, ERR_NOMEM, "no memory for %zu fields", fields->count);
    for (const struct json *f = fields->first; f && rc == ERR_OK; f = f->next)
        rc = read_field(out->type, f, c->arena, &out->fields[out->field_count++], e);
    return rc == ERR_OK ? check_room(out, e) : rc;
}

/* Everything that may be wrong with the settings is found before the stream is made. */
static enum err_code check_settings(struct http_call *c, const struct creation *n, struct err *e)
{
    struct meta_field *fields = arena_alloc(c->arena, (n->field_count + 1) * sizeof *fields);
    struct meta_stream like = {.settings_json = STR("{}"), .fields = fields};
    struct str text;
    if (!fields)
        return err_set(e, ERR_NOMEM, "no memory for %zu fields", n->field_count);
    for (size_t i = 0; i < n->field_count; i++)
        fields[like.field_count++] = (struct meta_field){n->fields[i].name, n->fields[i].type, 0};
    return stream_settings_replace(&like, n->settings, 0, c->arena, &text, e);
}

static enum err_code create(struct http_call *c, const struct creation *n, struct err *e)
{
    const struct catalog_stream *s = NULL;
    struct change change = {stream_settings_replace, n->settings};
    const struct meta_creation creation = {.org = c->org,
                                           .name = n->name,
                                           .type = n->type,
                                           .fields = n->fields,
                                           .field_count = n->field_count,
                                           .settings = apply,
                                           .ctx = &change};
    enum err_code rc = check_settings(c, n, e);
    if (rc == ERR_OK)
        rc = catalog_create(c->cfg->catalog, &creation, &s, e);
    catalog_unref(s);
    return rc == ERR_EXISTS ? err_set(e, ERR_INVALID, "stream already exists") : rc;
}

enum err_code api_stream_create(struct http_call *c, struct err *e)
{
    char name[NAME_MAX_BYTES + 1];
    struct creation n = {0};
    struct json *body;
    enum err_code rc = name_org(c->org, e);
    if (rc == ERR_OK)
        rc = call_stream_type(c, &n.type, e);
    if (rc == ERR_OK)
        rc = parse_body(c, &body, e);
    if (rc == ERR_OK)
        rc = call_stream_name(c, n.type, name, &n.name, e);
    if (rc == ERR_OK)
        rc = read_creation(c, body, &n, e);
    if (rc == ERR_OK)
        rc = create(c, &n, e);
    return rc == ERR_OK ? reply_done_with(c, "stream created") : reply_misshapen(c, rc, e);
}
