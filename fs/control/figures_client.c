/* fs/control/figures_client.c - the asking side of FIGURES. */
#include "fs/control/control.h"

#define BODY_MAX ((size_t)16 << 20) /* as the fs process takes */
#define REPLY_MEMORY_MAX ((size_t)1 << 30)

static void write_question(struct buf *out, struct str org, const struct figures *list,
                           size_t count)
{
    struct json_writer w = {.out = out};

    jw_object(&w);
    jw_kstr(&w, "org", org);
    jw_key(&w, STR("streams"));
    jw_array(&w);
    for (size_t i = 0; i < count; i++)
        jw_u64(&w, list[i].stream);
    jw_end(&w);
    jw_end(&w);
}

static bool take_u64(const struct json **v, uint64_t *out)
{
    bool ok = *v && json_u64(*v, out);

    *v = *v ? (*v)->next : NULL;
    return ok;
}

static bool take_i64(const struct json **v, int64_t *out)
{
    bool ok = *v && json_i64(*v, out);

    *v = *v ? (*v)->next : NULL;
    return ok;
}

static bool read_one(const struct json *row, struct figures *list, size_t count)
{
    const struct json *v = row->type == JSON_ARRAY ? row->first : NULL;
    struct figures f = {0};
    bool ok = take_u64(&v, &f.stream) && take_u64(&v, &f.files) && take_u64(&v, &f.rows) &&
              take_u64(&v, &f.text_bytes) && take_u64(&v, &f.sealed_bytes) &&
              take_i64(&v, &f.min_ts_us) && take_i64(&v, &f.max_ts_us);
    struct figures *at = ok ? figures_find(list, count, f.stream) : NULL;

    if (at)
        *at = f;
    return at != NULL;
}

static enum err_code read_all(const struct json *reply, struct figures *list, size_t count,
                              struct err *e)
{
    const struct json *rows = json_get(reply, "streams");
    bool ok = rows && rows->type == JSON_ARRAY;

    for (size_t i = 0; i < count; i++)
        list[i] = (struct figures){.stream = list[i].stream};
    for (const struct json *v = ok ? rows->first : NULL; ok && v; v = v->next)
        ok = read_one(v, list, count);
    return ok ? ERR_OK : err_set(e, ERR_CORRUPT, "the fs process sent what cannot be read");
}

enum err_code control_figures(struct control_client *c, struct str org, struct figures *list,
                              size_t count, uint64_t deadline_ms, struct err *e)
{
    struct arena scratch;
    struct json *reply;
    struct buf body;

    buf_init(&body, BODY_MAX);
    arena_init(&scratch, REPLY_MEMORY_MAX);
    write_question(&body, org, list, count);
    enum err_code rc = buf_ok(&body) ? control_call(c, CONTROL_FIGURES, buf_str(&body), deadline_ms,
                                                    &scratch, &reply, e)
                                     : err_set(e, ERR_TOOBIG, "%zu streams are too many", count);
    if (!rc)
        rc = read_all(reply, list, count, e);
    arena_done(&scratch);
    buf_done(&body);
    return rc ? err_wrap(e, "figures of streams") : ERR_OK;
}
