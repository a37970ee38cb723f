/* fs/control/sealing.c - the asking side of sealing: what is due, roll, publish. */
#include "fs/control/control.h"

#include <stdio.h>
#include <stdlib.h>

#define BODY_MAX ((size_t)16 << 20)
#define REPLY_MEMORY_MAX ((size_t)256 << 20)

static bool copy_text(const struct json *v, const char *key, struct arena *a, struct str *out)
{
    *out = arena_copy(a, json_str(json_get(v, key), STR("")));
    return out->ptr != NULL;
}

static bool read_sealable(const struct json *v, struct arena *a, struct sealable *out)
{
    int64_t hour = 0;
    *out = (struct sealable){.open = json_bool(json_get(v, "open"), false)};
    bool ok = json_u64(json_get(v, "stream"), &out->stream) &&
              ulid_parse(json_str(json_get(v, "id"), STR("")), &out->id) &&
              stream_type_parse(json_str(json_get(v, "type"), STR("")), &out->type) &&
              json_i64(json_get(v, "hour"), &hour) && hour >= INT32_MIN && hour <= INT32_MAX &&
              json_u64(json_get(v, "bytes"), &out->bytes) &&
              json_u64(json_get(v, "rows"), &out->rows) &&
              json_i64(json_get(v, "min_ts"), &out->min_ts_us) &&
              json_i64(json_get(v, "max_ts"), &out->max_ts_us) &&
              json_i64(json_get(v, "first_append"), &out->first_append_us) &&
              copy_text(v, "org", a, &out->org) && copy_text(v, "name", a, &out->name);

    out->hour = (int32_t)hour;
    return ok;
}

static enum err_code cannot_be_read(struct err *e)
{
    return err_set(e, ERR_CORRUPT, "the fs process sent a file that cannot be read");
}

/* Files as they are read: of these only the names stand in the arena, until the list is whole. */
struct sealable_list {
    struct arena *arena;
    struct sealable *files; /* malloc */
    size_t count, cap;
};

static enum err_code make_room(struct sealable_list *l, size_t more, struct err *e)
{
    size_t cap = l->count + more > 2 * l->cap ? l->count + more : 2 * l->cap;
    if (l->count + more <= l->cap)
        return ERR_OK;
    struct sealable *files = realloc(l->files, cap * sizeof *files);
    if (!files)
        return err_set(e, ERR_NOMEM, "no memory for %zu files", cap);
    l->files = files;
    l->cap = cap;
    return ERR_OK;
}

static enum err_code add_files(struct sealable_list *l, const struct json *reply, struct err *e)
{
    const struct json *list = json_get(reply, "files");

    if (!list || list->type != JSON_ARRAY)
        return cannot_be_read(e);
    enum err_code rc = make_room(l, list->count, e);
    for (const struct json *v = list->first; !rc && v; v = v->next)
        if (!read_sealable(v, l->arena, &l->files[l->count++]))
            rc = cannot_be_read(e);
    return rc;
}

/* The list moves into the arena, unless there is an error already. */
static enum err_code take_list(struct sealable_list *l, enum err_code rc, struct sealable **out,
                               size_t *count, struct err *e)
{
    *out = rc ? NULL : arena_alloc(l->arena, (l->count + 1) * sizeof **out);
    if (!rc && !*out)
        rc = err_set(e, ERR_NOMEM, "no memory for %zu files", l->count);
    if (!rc && l->count > 0)
        memcpy(*out, l->files, l->count * sizeof **out);
    *count = rc ? 0 : l->count;
    free(l->files);
    return rc;
}

/* The next files after those of the list; none come without more of them. */
static enum err_code ask_page(struct control_client *c, uint64_t min_bytes, int64_t before_us,
                              uint64_t limit, uint64_t deadline_ms, struct sealable_list *l,
                              bool *more, struct err *e)
{
    struct arena scratch;
    struct json *reply;
    char body[192], after[ULID_TEXT_LEN + 1];
    struct ulid first = {{0}};
    size_t before = l->count;

    ulid_format(before > 0 ? &l->files[before - 1].id : &first, after);
    int n = snprintf(
        body, sizeof body, "{\"bytes\":%llu,\"before_us\":%lld,\"limit\":%llu,\"after\":\"%s\"}",
        (unsigned long long)min_bytes, (long long)before_us, (unsigned long long)limit, after);
    arena_init(&scratch, REPLY_MEMORY_MAX);
    enum err_code rc = control_call(c, CONTROL_SEALABLE, (struct str){body, (size_t)n}, deadline_ms,
                                    &scratch, &reply, e);
    if (!rc)
        rc = add_files(l, reply, e);
    if (!rc)
        *more = json_bool(json_get(reply, "more"), false);
    if (!rc && *more && limit > 0 && l->count == before)
        rc = cannot_be_read(e);
    arena_done(&scratch);
    return rc;
}

enum err_code control_sealable(struct control_client *c, uint64_t min_bytes, int64_t before_us,
                               uint64_t limit, uint64_t deadline_ms, struct arena *a,
                               struct sealable **files, size_t *count, bool *more, struct err *e)
{
    struct sealable_list l = {.arena = a};
    enum err_code rc = ERR_OK;

    *more = true;
    for (bool first = true; !rc && *more && (first || l.count < limit); first = false)
        rc = ask_page(c, min_bytes, before_us, limit - l.count, deadline_ms, &l, more, e);
    return take_list(&l, rc, files, count, e);
}

static void write_ids(struct json_writer *w, const struct ulid *ids, size_t count)
{
    jw_key(w, STR("files"));
    jw_array(w);
    for (size_t i = 0; i < count; i++) {
        char text[ULID_TEXT_LEN + 1];
        ulid_format(&ids[i], text);
        jw_cstr(w, text);
    }
    jw_end(w);
}

enum err_code control_roll_files(struct control_client *c, const struct ulid *ids, size_t count,
                                 uint64_t deadline_ms, struct arena *a, struct sealable **out,
                                 size_t *out_count, struct err *e)
{
    struct arena scratch;
    struct json *reply;
    struct buf body;
    struct json_writer w = {.out = &body};
    struct sealable_list l = {.arena = a};

    arena_init(&scratch, REPLY_MEMORY_MAX);
    buf_init(&body, BODY_MAX);
    jw_object(&w);
    write_ids(&w, ids, count);
    jw_end(&w);
    enum err_code rc = buf_ok(&body) ? control_call(c, CONTROL_ROLL, buf_str(&body), deadline_ms,
                                                    &scratch, &reply, e)
                                     : err_set(e, ERR_TOOBIG, "too many files to close at once");
    if (!rc)
        rc = add_files(&l, reply, e);
    rc = take_list(&l, rc, out, out_count, e);
    buf_done(&body);
    arena_done(&scratch);
    return rc;
}

/* One object, whose reply says nothing; it is not to be moved. */
struct told {
    struct buf body;
    struct json_writer w;
};

static void begin_telling(struct told *t)
{
    buf_init(&t->body, BODY_MAX);
    t->w = (struct json_writer){.out = &t->body};
    jw_object(&t->w);
}

static enum err_code tell(struct control_client *c, enum control_kind kind, struct told *t,
                          const char *too_big, uint64_t deadline_ms, struct err *e)
{
    struct arena scratch;
    struct json *reply;

    jw_end(&t->w);
    arena_init(&scratch, REPLY_MEMORY_MAX);
    enum err_code rc = buf_ok(&t->body) ? control_call(c, kind, buf_str(&t->body), deadline_ms,
                                                       &scratch, &reply, e)
                                        : err_set(e, ERR_TOOBIG, "%s", too_big);
    arena_done(&scratch);
    buf_done(&t->body);
    return rc;
}

enum err_code control_discard(struct control_client *c, const struct ulid *part,
                              uint64_t deadline_ms, struct err *e)
{
    struct told t;
    char text[ULID_TEXT_LEN + 1];

    ulid_format(part, text);
    begin_telling(&t);
    jw_kcstr(&t.w, "part", text);
    return tell(c, CONTROL_DISCARD, &t, "an id is too long", deadline_ms, e);
}

enum err_code control_drop(struct control_client *c, const struct deleted_stream *s,
                           uint64_t deadline_ms, struct err *e)
{
    struct told t;

    begin_telling(&t);
    jw_ku64(&t.w, "stream", s->number);
    jw_kstr(&t.w, "org", s->org);
    jw_kcstr(&t.w, "type", stream_type_name(s->type));
    jw_kstr(&t.w, "name", s->name);
    return tell(c, CONTROL_DROP, &t, "the stream's name is too long", deadline_ms, e);
}

enum err_code control_publish(struct control_client *c, struct str part_json,
                              const struct ulid *files, size_t count, uint64_t deadline_ms,
                              struct err *e)
{
    struct told t;

    begin_telling(&t);
    jw_key(&t.w, STR("part"));
    jw_raw(&t.w, part_json);
    write_ids(&t.w, files, count);
    return tell(c, CONTROL_PUBLISH, &t, "a part of too many files or names", deadline_ms, e);
}
