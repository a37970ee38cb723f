/* gateway/engine/client.c - the asking side of the engine's socket. */
#include "gateway/engine/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ipc.h"

#define EVENT_MEMORY_MAX (64u << 20) /* columns and views of one event */
#define SQL_NOT_VALID 20001          /* the API's code */
#define MESSAGE_TIMEOUT_MS                                                                         \
    60000 /* a message that has begun to arrive is complete after so long                          \
           */

struct engine_client {
    int fd;
    uint64_t tag;        /* of the last request */
    size_t column_count; /* of the running query, 0 before SCHEMA */
    struct ipc_msg msg;  /* the last answer; events point into it */
    struct arena arena;  /* of the last event */
};

enum err_code engine_client_open(const char *socket_path, uint64_t deadline_ms,
                                 struct engine_client **out, struct err *e)
{
    struct engine_client *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_NOMEM, "no memory for an engine client");
    enum err_code rc = ipc_connect(socket_path, deadline_ms, &c->fd, e);
    if (rc != ERR_OK) {
        free(c);
        err_wrap(e, "engine");
        return rc;
    }
    buf_init(&c->msg.body, WIRE_BODY_MAX);
    arena_init(&c->arena, EVENT_MEMORY_MAX);
    *out = c;
    return ERR_OK;
}

bool engine_client_is_connected(const struct engine_client *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) == 0;
}

void engine_client_close(struct engine_client *c)
{
    if (!c)
        return;
    close(c->fd);
    buf_done(&c->msg.body);
    arena_done(&c->arena);
    free(c);
}

/* The ERROR message of the engine as our own error. */
static enum err_code take_error(struct engine_client *c, struct err *e)
{
    struct json *doc = NULL;
    if (json_parse(buf_str(&c->msg.body), &c->arena, &doc, e) != ERR_OK)
        return err_set(e, ERR_CORRUPT, "engine: an error that is no JSON");
    char name[32];
    struct str code = json_str(json_get(doc, "code"), STR("IO"));
    struct str message = json_str(json_get(doc, "message"), STR("unknown error"));
    int64_t detail = 0;
    json_i64(json_get(doc, "detail"), &detail);
    str_copy_to(code, name, sizeof name);
    err_set(e, err_from_name(name), STR_FMT, STR_ARG(message));
    if (e)
        e->detail = (int)detail;
    return err_from_name(name);
}

static enum err_code send_request(struct engine_client *c, enum wire_message kind, struct str body,
                                  struct err *e)
{
    if (ipc_send(c->fd, kind, ++c->tag, body, e) != ERR_OK)
        return err_wrap(e, "engine");
    return ERR_OK;
}

/* The next message of the running request; an ERROR message becomes the error. */
static enum err_code receive(struct engine_client *c, uint64_t deadline_ms, struct err *e)
{
    arena_reset(&c->arena);
    enum err_code rc = ipc_recv(c->fd, &c->msg, deadline_ms, e);
    if (rc != ERR_OK) {
        err_wrap(e, "engine");
        return rc;
    }
    if (c->msg.tag != c->tag)
        return err_set(e, ERR_CORRUPT, "engine: answer to another request");
    return c->msg.kind == WIRE_ERROR ? take_error(c, e) : ERR_OK;
}

static enum err_code unexpected(const struct engine_client *c, struct err *e)
{
    return err_set(e, ERR_CORRUPT, "engine: message of kind %u where none is due", c->msg.kind);
}

static enum err_code ask(struct engine_client *c, enum wire_message kind, struct str body,
                         enum wire_message answer, uint64_t deadline_ms, struct err *e)
{
    enum err_code rc = send_request(c, kind, body, e);
    if (rc == ERR_OK)
        rc = receive(c, deadline_ms, e);
    if (rc == ERR_OK && c->msg.kind != answer)
        rc = unexpected(c, e);
    return rc;
}

enum err_code engine_client_ping(struct engine_client *c, uint64_t deadline_ms,
                                 struct engine_pong *out, struct err *e)
{
    struct json *doc = NULL;
    enum err_code rc = ask(c, WIRE_PING, STR(""), WIRE_PONG, deadline_ms, e);
    if (rc == ERR_OK)
        rc = json_parse(buf_str(&c->msg.body), &c->arena, &doc, e);
    if (rc != ERR_OK)
        return rc;
    *out = (struct engine_pong){0};
    str_copy_to(json_str(json_get(doc, "version"), STR("")), out->version, sizeof out->version);
    json_i64(json_get(doc, "pid"), &out->pid);
    return ERR_OK;
}

static bool holds(struct str text, struct str part)
{
    return memmem(text.ptr, text.len, part.ptr, part.len) != NULL;
}

/* Why a tree that DuckDB made is none that can be worked with. */
static enum err_code refuse_tree(enum err_code why, struct str tree, size_t sql_bytes,
                                 const struct arena *a, struct err *e)
{
    /* DuckDB accepts deeper expressions than a document may have, and writes a number beyond a
     * double as no JSON; inside a literal the quotes would be escaped. */
    if (why == ERR_NOMEM)
        err_set(e, ERR_INVALID, "SQL of %zu bytes needs more than %zu MiB of memory to be planned",
                sql_bytes, a->max_bytes >> 20);
    else if (holds(tree, STR("\"value\":Infinity")) || holds(tree, STR("\"value\":-Infinity")))
        err_set(e, ERR_INVALID, "a number in the SQL is beyond the largest double");
    else
        err_set(e, ERR_INVALID, "SQL is nested too deeply");
    if (e)
        e->detail = SQL_NOT_VALID;
    return ERR_INVALID;
}

enum err_code engine_client_parse(struct engine_client *c, struct str sql, uint64_t deadline_ms,
                                  struct arena *a, struct json **tree, struct err *e)
{
    enum err_code rc = ask(c, WIRE_PARSE, sql, WIRE_TREE, deadline_ms, e);
    if (rc != ERR_OK)
        return rc;
    rc = json_parse(buf_str(&c->msg.body), a, tree, e);
    if (rc == ERR_INVALID || rc == ERR_NOMEM)
        rc = refuse_tree(rc, buf_str(&c->msg.body), sql.len, a, e);
    return rc;
}

enum err_code engine_client_facts(struct engine_client *c, struct str path, uint64_t deadline_ms,
                                  struct arena *a, struct str *json, struct err *e)
{
    enum err_code rc = ask(c, WIRE_FACTS, path, WIRE_FACTS_ARE, deadline_ms, e);
    if (rc != ERR_OK)
        return rc;
    *json = arena_copy(a, buf_str(&c->msg.body));
    return json->ptr ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for what a file says of itself");
}

enum err_code engine_client_run(struct engine_client *c, struct str request_json, struct err *e)
{
    c->column_count = 0;
    return send_request(c, WIRE_RUN, request_json, e);
}

static enum err_code take_columns(struct engine_client *c, struct engine_event *ev, struct err *e)
{
    struct json *doc = NULL;
    enum err_code rc = json_parse(buf_str(&c->msg.body), &c->arena, &doc, e);
    if (rc != ERR_OK)
        return rc;
    const struct json *list = json_get(doc, "columns");
    if (!list || list->type != JSON_ARRAY || list->count == 0 || c->column_count > 0)
        return unexpected(c, e);
    struct engine_column *columns = arena_alloc(&c->arena, list->count * sizeof *columns);
    if (!columns)
        return err_set(e, ERR_NOMEM, "no memory for %zu columns", list->count);
    size_t n = 0;
    for (const struct json *item = list->first; item; item = item->next, n++) {
        columns[n].name = json_str(json_get(item, "name"), STR(""));
        columns[n].type = json_str(json_get(item, "type"), STR(""));
    }
    c->column_count = n;
    *ev = (struct engine_event){.kind = ENGINE_COLUMNS, .columns = columns, .column_count = n};
    return ERR_OK;
}

static enum err_code take_batch(struct engine_client *c, struct engine_event *ev, struct err *e)
{
    *ev = (struct engine_event){.kind = ENGINE_BATCH};
    enum err_code rc = wire_batch_decode(buf_str(&c->msg.body), &c->arena, &ev->batch, e);
    if (rc != ERR_OK)
        return err_wrap(e, "engine");
    if (ev->batch.columns != c->column_count)
        return err_set(e, ERR_CORRUPT, "engine: batch of %u columns, not of %zu", ev->batch.columns,
                       c->column_count);
    return ERR_OK;
}

static enum err_code take_end(struct engine_client *c, struct engine_event *ev, struct err *e)
{
    struct json *doc = NULL;
    enum err_code rc = json_parse(buf_str(&c->msg.body), &c->arena, &doc, e);
    if (rc != ERR_OK)
        return rc;
    *ev = (struct engine_event){.kind = ENGINE_END};
    json_u64(json_get(doc, "rows"), &ev->rows);
    json_u64(json_get(doc, "took_us"), &ev->took_us);
    json_u64(json_get(doc, "waited_us"), &ev->waited_us);
    json_u64(json_get(doc, "scan_rows"), &ev->scan_rows);
    json_u64(json_get(doc, "scan_bytes"), &ev->scan_bytes);
    return ERR_OK;
}

/* The next message, if one comes within wait_ms. */
static enum err_code poll_message(struct engine_client *c, uint32_t wait_ms, bool *came,
                                  struct err *e)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    int ready = poll(&p, 1, (int)(wait_ms > INT32_MAX ? INT32_MAX : wait_ms));
    if (ready < 0 && errno != EINTR)
        return err_sys(e, errno, "engine: poll");
    *came = ready > 0;
    return *came ? receive(c, clock_mono_ms() + MESSAGE_TIMEOUT_MS, e) : ERR_OK;
}

enum err_code engine_client_seal(struct engine_client *c, struct str request_json, struct err *e)
{
    return send_request(c, WIRE_SEAL, request_json, e);
}

enum err_code engine_client_sealed(struct engine_client *c, uint32_t wait_ms, bool *done,
                                   struct str *part, struct err *e)
{
    enum err_code rc = poll_message(c, wait_ms, done, e);
    if (rc != ERR_OK || !*done)
        return rc;
    if (c->msg.kind != WIRE_SEALED)
        return unexpected(c, e);
    *part = buf_str(&c->msg.body);
    return ERR_OK;
}

enum err_code engine_client_next(struct engine_client *c, uint32_t wait_ms, struct engine_event *ev,
                                 struct err *e)
{
    bool came = false;
    enum err_code rc = poll_message(c, wait_ms, &came, e);
    if (rc != ERR_OK)
        return rc;
    if (!came) {
        *ev = (struct engine_event){.kind = ENGINE_WAIT};
        return ERR_OK;
    }
    switch (c->msg.kind) {
    case WIRE_SCHEMA:
        return take_columns(c, ev, e);
    case WIRE_BATCH:
        return take_batch(c, ev, e);
    case WIRE_END:
        return take_end(c, ev, e);
    default:
        return unexpected(c, e);
    }
}
