/* tests/support/seal_fixture.h - seals lines by a real engine process, and asks for what was
 * sealed.
 *
 * The source stands below the folder that is the mount; what was sealed is moved there, as the fs
 * process would.  Built on engine_fixture.h.
 */
#ifndef WEIR_TESTS_SUPPORT_SEAL_FIXTURE_H
#define WEIR_TESTS_SUPPORT_SEAL_FIXTURE_H

#include <limits.h>

#include "base/ipc.h"
#include "base/ulid.h"
#include "tests/support/engine_fixture.h"

struct seal_source_spec { /* a file of lines; `name` is the metric's, or NULL */
    struct str lines;
    const char *name;
};
struct seal_spec {
    const char *columns; /* [["level","Utf8",1],...]; NULL: a metrics part */
    const struct seal_source_spec *sources;
    size_t source_count;
    int64_t extra_rows; /* a lie about the rows of the first source */
};
struct sealed {
    char id[ULID_TEXT_LEN + 1];
    char parquet[PATH_MAX]; /* on the mount */
    struct buf part;        /* the answer */
    struct arena arena;
    struct json *facts; /* `part`, decoded */
};

static inline void sealed_done(struct sealed *s)
{
    buf_done(&s->part);
    arena_done(&s->arena);
}

static inline void seal_fixture_id(char dst[ULID_TEXT_LEN + 1])
{
    struct ulid id = ulid_new();
    ulid_format(&id, dst);
}

struct line_facts {
    uint64_t rows;
    int64_t min_ts, max_ts;
};

/* As the journal counts them: the time is taken from the text. */
static inline struct line_facts seal_fixture_count(struct str lines)
{
    struct line_facts f = {0, INT64_MAX, INT64_MIN};
    struct str line;
    while (lines.len > 0) {
        str_cut(lines, '\n', &line, &lines);
        char text[32];
        static const char key[] = "\"_timestamp\":";
        const char *at = memmem(line.ptr, line.len, key, sizeof key - 1);
        int64_t ts = 0;
        if (at) {
            struct str rest = {at + sizeof key - 1,
                               line.len - (size_t)(at - line.ptr) - sizeof key + 1};
            str_copy_to(rest, text, sizeof text);
            ts = strtoll(text, NULL, 10);
        }
        f.rows++;
        f.min_ts = ts < f.min_ts ? ts : f.min_ts;
        f.max_ts = ts > f.max_ts ? ts : f.max_ts;
    }
    return f;
}

static inline void seal_fixture_source(const struct engine_fixture *f, const struct seal_spec *spec,
                                       size_t i, struct json_writer *w)
{
    const struct seal_source_spec *src = &spec->sources[i];
    struct line_facts facts = seal_fixture_count(src->lines);
    char id[ULID_TEXT_LEN + 1], name[64], path[PATH_MAX];
    seal_fixture_id(id);
    snprintf(name, sizeof name, "%s@%zu.ndjson", id, src->lines.len);
    snprintf(path, sizeof path, "%s/%s", f->mount, name);
    engine_fixture_file(f, name, src->lines);
    jw_object(w);
    jw_kcstr(w, "path", path);
    jw_kcstr(w, "id", id);
    jw_ku64(w, "stream", i + 1);
    jw_kcstr(w, "name", src->name ? src->name : "app");
    jw_ku64(w, "rows", (uint64_t)((int64_t)facts.rows + (i == 0 ? spec->extra_rows : 0)));
    jw_ku64(w, "bytes", src->lines.len);
    jw_ki64(w, "min_ts", facts.min_ts);
    jw_ki64(w, "max_ts", facts.max_ts);
    jw_end(w);
}

static inline void seal_fixture_request(const struct engine_fixture *f,
                                        const struct seal_spec *spec, const char *part,
                                        struct buf *out)
{
    struct json_writer w = {.out = out};
    jw_object(&w);
    jw_kcstr(&w, "part", part);
    jw_kcstr(&w, "org", "default");
    jw_kcstr(&w, "type", spec->columns ? "logs" : "metrics");
    jw_kcstr(&w, "name", spec->columns ? "app" : "");
    jw_ku64(&w, "stream", 1);
    jw_ki64(&w, "hour", 490000);
    jw_kcstr(&w, "node", "n1");
    jw_key(&w, STR("sources"));
    jw_array(&w);
    for (size_t i = 0; i < spec->source_count; i++)
        seal_fixture_source(f, spec, i, &w);
    jw_end(&w);
    jw_key(&w, STR("columns"));
    jw_raw(&w, str_from(spec->columns ? spec->columns : "[]"));
    jw_ku64(&w, "timeout_ms", ENGINE_ANSWER_MS);
    jw_end(&w);
}

static inline enum err_code seal_fixture_await(struct engine_client *c, struct sealed *out,
                                               struct err *e)
{
    uint64_t deadline_ms = clock_mono_ms() + ENGINE_ANSWER_MS;
    bool done = false;
    struct str part = {0};
    while (!done && clock_mono_ms() < deadline_ms) {
        enum err_code rc = engine_client_sealed(c, 1000, &done, &part, e);
        if (rc != ERR_OK)
            return rc;
    }
    if (!done)
        return err_set(e, ERR_TIMEOUT, "the engine says nothing");
    buf_add_str(&out->part, part);
    return json_parse(buf_str(&out->part), &out->arena, &out->facts, e);
}

/* Seals and moves the Parquet to the mount.  `out` is to be done with in any case. */
static inline enum err_code seal_fixture_seal(const struct engine_fixture *f,
                                              const struct seal_spec *spec, struct sealed *out,
                                              struct err *e)
{
    struct engine_client *c = NULL;
    struct buf request;
    char staged[PATH_MAX];
    *out = (struct sealed){0};
    buf_init(&request, ENGINE_TEXT_MAX);
    buf_init(&out->part, ENGINE_TEXT_MAX);
    arena_init(&out->arena, ENGINE_TEXT_MAX);
    seal_fixture_id(out->id);
    snprintf(staged, sizeof staged, "%s/%s.parquet", f->staging, out->id);
    snprintf(out->parquet, sizeof out->parquet, "%s/%s.parquet", f->mount, out->id);
    seal_fixture_request(f, spec, out->id, &request);
    enum err_code rc = engine_client_open(f->socket, clock_mono_ms() + ENGINE_START_MS, &c, e);
    if (rc == ERR_OK)
        rc = engine_client_seal(c, buf_str(&request), e);
    if (rc == ERR_OK)
        rc = seal_fixture_await(c, out, e);
    engine_client_close(c);
    buf_done(&request);
    if (rc == ERR_OK && rename(staged, out->parquet) != 0)
        abort();
    return rc;
}

/* One message and all that comes until one of kind `last`: the bodies of the others, joined. */
static inline enum err_code seal_fixture_ask(const struct engine_fixture *f, enum wire_message kind,
                                             struct str body, enum wire_message last,
                                             struct buf *out, struct err *e)
{
    int fd = -1;
    struct ipc_msg m = {0};
    buf_init(&m.body, ENGINE_TEXT_MAX);
    enum err_code rc = ipc_connect(f->socket, clock_mono_ms() + ENGINE_START_MS, &fd, e);
    if (rc == ERR_OK)
        rc = ipc_send(fd, kind, 7, body, e);
    while (rc == ERR_OK) {
        rc = ipc_recv(fd, &m, clock_mono_ms() + ENGINE_ANSWER_MS, e);
        if (rc == ERR_OK && m.kind == WIRE_ERROR)
            rc = err_set(e, ERR_IO, STR_FMT, STR_ARG(buf_str(&m.body)));
        if (rc == ERR_OK && (m.kind != last || kind == WIRE_FACTS))
            buf_add_str(out, buf_str(&m.body));
        if (rc == ERR_OK && m.kind == last)
            break;
    }
    if (fd >= 0)
        close(fd);
    buf_done(&m.body);
    return rc;
}

/* `range` is "\"group\":0" or "\"first_row\":0,\"rows\":5". */
static inline enum err_code seal_fixture_text(const struct engine_fixture *f, const char *path,
                                              const char *range, struct buf *out, struct err *e)
{
    char body[PATH_MAX + 128];
    int n = snprintf(body, sizeof body, "{\"path\":\"%s\",%s}", path, range);
    return seal_fixture_ask(f, WIRE_TEXT, (struct str){body, (size_t)n}, WIRE_END, out, e);
}

#endif
