/* fs/tree/schema.c - a stream's record as JSON. */
#include "fs/tree/schema.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/json.h"

#define RECORD_MEMORY_MAX ((size_t)64 << 20) /* FIELDS_MAX fields with long names */

struct schema {
    char *meta_dir;
    enum kv_access access; /* immutable */
    pthread_mutex_t lock;
    struct meta *meta; /* (lock) set once */
};

enum err_code schema_new(const char *meta_dir, enum kv_access access, struct schema **out,
                         struct err *e)
{
    struct schema *s = calloc(1, sizeof *s);
    char *dir = strdup(meta_dir);

    if (!s || !dir) {
        free(s);
        free(dir);
        return err_set(e, ERR_NOMEM, "no memory for the schema reader");
    }
    s->meta_dir = dir;
    s->access = access;
    pthread_mutex_init(&s->lock, NULL);
    *out = s;
    return ERR_OK;
}

void schema_free(struct schema *s)
{
    if (!s)
        return;
    meta_close(s->meta);
    pthread_mutex_destroy(&s->lock);
    free(s->meta_dir);
    free(s);
}

static enum err_code get_meta(struct schema *s, struct meta **out, struct err *e)
{
    LOCK_SCOPE(&s->lock);
    if (!s->meta) {
        enum err_code rc = meta_open(s->meta_dir, s->access, &s->meta, e);
        if (rc) {
            s->meta = NULL;
            return err_set(e, ERR_GONE, "%s cannot be read yet: %s", s->meta_dir, e ? e->msg : "");
        }
    }
    *out = s->meta;
    return ERR_OK;
}

static void write_fields(struct json_writer *w, const struct meta_stream *m)
{
    jw_key(w, STR("fields"));
    jw_array(w);
    for (size_t i = 0; i < m->field_count; i++) {
        jw_object(w);
        jw_kstr(w, "name", m->fields[i].name);
        jw_kcstr(w, "type", field_type_name(m->fields[i].type));
        jw_ku64(w, "number", m->fields[i].number);
        jw_end(w);
    }
    jw_end(w);
}

static void write_stream(struct buf *out, const struct meta_stream *m)
{
    struct json_writer w = {.out = out};

    jw_object(&w);
    jw_kstr(&w, "org", m->org);
    jw_kcstr(&w, "type", stream_type_name(m->type));
    jw_kstr(&w, "name", m->name);
    jw_ku64(&w, "number", m->number);
    jw_ki64(&w, "created_us", m->created_us);
    jw_ku64(&w, "version", m->schema_version);
    write_fields(&w, m);
    jw_key(&w, STR("settings"));
    jw_raw(&w, m->settings_json.len ? m->settings_json : STR("{}"));
    jw_end(&w);
    buf_add_char(out, '\n');
}

/* The stream's record, in `arena`. */
static enum err_code find_stream(struct schema *s, struct str org, enum stream_type type,
                                 struct str name, struct arena *arena, struct meta_stream **out,
                                 struct err *e)
{
    struct meta *meta = NULL;
    enum err_code rc = get_meta(s, &meta, e);

    return rc ? rc : meta_stream_find(meta, org, type, name, arena, out, e);
}

enum err_code schema_each_stream(struct schema *s, meta_stream_visit fn, void *ctx, struct err *e)
{
    struct meta *meta = NULL;
    enum err_code rc = get_meta(s, &meta, e);

    return rc ? rc : meta_stream_list(meta, STR(""), false, fn, ctx, e);
}

enum err_code schema_each_org(struct schema *s, meta_org_visit fn, void *ctx, struct err *e)
{
    struct meta *meta = NULL;
    enum err_code rc = get_meta(s, &meta, e);

    return rc ? rc : meta_org_list(meta, fn, ctx, e);
}

enum err_code schema_each_deleted(struct schema *s, meta_deleted_visit fn, void *ctx, struct err *e)
{
    struct meta *meta = NULL;
    enum err_code rc = get_meta(s, &meta, e);

    return rc ? rc : meta_deleted_list(meta, fn, ctx, e);
}

bool schema_exists(struct schema *s, struct str org, enum stream_type type, struct str name)
{
    struct meta_stream *m;
    struct arena arena;
    bool exists;

    arena_init(&arena, RECORD_MEMORY_MAX);
    exists = find_stream(s, org, type, name, &arena, &m, NULL) == ERR_OK;
    arena_done(&arena);
    return exists;
}

enum err_code schema_text(struct schema *s, struct str org, enum stream_type type, struct str name,
                          struct buf *out, struct err *e)
{
    struct meta_stream *m = NULL;
    struct arena arena;
    enum err_code rc;

    arena_init(&arena, RECORD_MEMORY_MAX);
    rc = find_stream(s, org, type, name, &arena, &m, e);
    if (!rc)
        write_stream(out, m);
    arena_done(&arena);
    if (!rc && !buf_ok(out))
        return err_set(e, ERR_TOOBIG, "the schema is longer than %zu bytes", out->max);
    return rc;
}
