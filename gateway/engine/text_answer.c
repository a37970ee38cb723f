/* gateway/engine/text_answer.c - a sealed file's rows as lines, and what it says of itself. */
#include <stdio.h>

#include "base/clock.h"
#include "base/ipc.h"
#include "base/sys.h"
#include "gateway/engine/part_reader.h"
#include "gateway/engine/seal.h"
#include "gateway/engine/unit_reader.h"
#include "gateway/engine/wire.h"

#define FACTS_MAX (16u << 20)
#define ARENA_MAX ((size_t)64 << 20)
#define TEXT_TIMEOUT_MS 120000

struct sending {
    const struct run_context *ctx;
    struct watch_entry watch;
    duckdb_connection con;
    uint64_t rows;
    enum err_code code;
    struct err *e;
};

/* Whole messages of at most TEXT_DATA_MAX. */
static bool send_rows(const struct part_rows *rows, void *ctx)
{
    struct sending *s = ctx;
    struct str left = rows->text;
    while (left.len > 0 && s->code == ERR_OK) {
        size_t n = left.len < TEXT_DATA_MAX ? left.len : TEXT_DATA_MAX;
        s->code =
            ipc_send(s->ctx->fd, WIRE_TEXT_DATA, s->ctx->tag, (struct str){left.ptr, n}, s->e);
        left = (struct str){left.ptr + n, left.len - n};
    }
    s->rows += rows->count;
    if (s->code == ERR_OK)
        s->code = watch_verdict(&s->watch, s->e);
    return s->code == ERR_OK;
}

static enum err_code range_of(struct sending *s, const struct text_request *r, struct arena *a,
                              struct part_range *out, struct err *e)
{
    uint64_t *rows;
    size_t count;
    if (!r->by_group) {
        *out = (struct part_range){r->first_row, r->rows};
        return ERR_OK;
    }
    enum err_code rc = part_read_groups(s->con, r->path, a, &rows, &count, e);
    if (rc != ERR_OK)
        return rc;
    if (r->group >= count)
        return err_set(e, ERR_INVALID, "row group %llu of %zu", (unsigned long long)r->group,
                       count);
    *out = (struct part_range){0, rows[r->group]};
    for (size_t i = 0; i < r->group; i++)
        out->first_row += rows[i];
    return ERR_OK;
}

/* The names of the "columns" of the part's facts: [["level","Utf8",7],["rid","Utf8",9,"rare"],…] */
static enum err_code read_fields(const struct json *columns, struct arena *a,
                                 struct part_shape *out, struct err *e)
{
    size_t count = columns && columns->type == JSON_ARRAY ? columns->count : 0;
    struct str *names = arena_alloc(a, (count + 1) * sizeof *names);
    if (!names)
        return err_set(e, ERR_NOMEM, "no memory for %zu fields", count);
    for (const struct json *c = count ? columns->first : NULL; c; c = c->next) {
        names[out->field_count++] = json_str(json_at(c, 0), STR(""));
        out->has_rare = out->has_rare || json_at(c, 3);
    }
    out->fields = names;
    return ERR_OK;
}

static enum err_code read_shape(duckdb_connection con, struct str path, struct arena *a,
                                struct part_shape *out, struct err *e)
{
    struct buf text;
    struct json *facts;
    buf_init(&text, FACTS_MAX);
    enum err_code rc = part_read_facts(con, path, &text, e);
    if (rc == ERR_OK)
        rc = json_parse(buf_str(&text), a, &facts, e);
    if (rc == ERR_OK) {
        out->is_metrics = str_eq(json_str(json_get(facts, "type"), STR("")), STR("metrics"));
        rc = read_fields(json_get(facts, "columns"), a, out, e);
    }
    buf_done(&text);
    return rc;
}

/* The wall lets DuckDB read below the mount and staging only; so do we. */
static enum err_code check_path(const struct run_context *ctx, struct str path, struct err *e)
{
    struct unit_file file;
    enum err_code rc = unit_file_open(&file, path, ctx->db->config->mount_dir, e);
    if (rc == ERR_OK)
        sys_close(file.fd);
    return rc;
}

static enum err_code send_text(struct sending *s, const struct text_request *r, struct err *e)
{
    struct arena a;
    struct part_range range = PART_ALL_ROWS;
    struct part_shape shape = {0};
    arena_init(&a, ARENA_MAX);
    enum err_code rc = check_path(s->ctx, r->path, e);
    if (r->is_metrics)
        shape.is_metrics = true;
    else if (rc == ERR_OK)
        rc = read_shape(s->con, r->path, &a, &shape, e);
    if (rc == ERR_OK)
        rc = range_of(s, r, &a, &range, e);
    if (rc == ERR_OK)
        rc = part_read_text(s->con, r->path, &shape, range, send_rows, s, e);
    arena_done(&a);
    return rc == ERR_OK ? s->code : rc;
}

static enum err_code send_end(const struct sending *s, uint64_t began_ns, struct err *e)
{
    char body[96];
    int n =
        snprintf(body, sizeof body, "{\"rows\":%llu,\"took_us\":%llu}", (unsigned long long)s->rows,
                 (unsigned long long)((clock_mono_ns() - began_ns) / 1000));
    return ipc_send(s->ctx->fd, WIRE_END, s->ctx->tag, (struct str){body, (size_t)n}, e);
}

enum err_code text_answer(const struct run_context *ctx, const struct text_request *r,
                          struct err *e)
{
    uint64_t began_ns = clock_mono_ns();
    struct sending s = {.ctx = ctx, .e = e, .watch = {.fd = ctx->fd}};
    s.watch.deadline_ms = ctx->started_ms + TEXT_TIMEOUT_MS;
    enum err_code rc = database_connect(ctx->db, &s.con, e);
    if (rc != ERR_OK)
        return rc;
    s.watch.con = s.con;
    rc = watch_add(ctx->watch, &s.watch, e);
    if (rc == ERR_OK) {
        rc = send_text(&s, r, e);
        watch_remove(ctx->watch, &s.watch);
    }
    if (rc == ERR_OK)
        rc = send_end(&s, began_ns, e);
    duckdb_disconnect(&s.con);
    return rc;
}

enum err_code facts_answer(const struct run_context *ctx, struct str path, struct err *e)
{
    AUTO_CONNECTION duckdb_connection con = NULL;
    struct buf text;
    buf_init(&text, FACTS_MAX);
    enum err_code rc = check_path(ctx, path, e);
    if (rc == ERR_OK)
        rc = database_connect(ctx->db, &con, e);
    if (rc == ERR_OK)
        rc = part_read_facts(con, path, &text, e);
    if (rc == ERR_OK)
        rc = ipc_send(ctx->fd, WIRE_FACTS_ARE, ctx->tag, buf_str(&text), e);
    buf_done(&text);
    return rc;
}
