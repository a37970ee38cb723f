/* fs/tree/text_engine.c - one request to an engine, from connecting to the last byte. */
#include "fs/tree/text_engine.h"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ipc.h"
#include "base/json.h"

#define CONNECT_MAX_MS 10000 /* an engine that ended is back long before */
#define CONNECT_PAUSE_MS 20
#define REQUEST_MAX ((size_t)64 << 10)
#define ERROR_MEMORY_MAX ((size_t)1 << 20)

void text_engine_init(struct text_engine *t, const char *socket_path)
{
    *t = (struct text_engine){.socket_path = socket_path, .fd = -1};
    pthread_mutex_init(&t->lock, NULL);
}

void text_engine_done(struct text_engine *t)
{
    pthread_mutex_destroy(&t->lock);
}

void text_engine_cut(struct text_engine *t)
{
    LOCK_SCOPE(&t->lock);
    atomic_store(&t->is_cut, true);
    if (t->fd >= 0)
        shutdown(t->fd, SHUT_RDWR);
}

/* ---- the connection ---- */

static enum err_code cut_off(struct err *e)
{
    return err_set(e, ERR_CANCELLED, "the session ends");
}

static enum err_code hold(struct text_engine *t, int *fd, struct err *e)
{
    LOCK_SCOPE(&t->lock);
    if (atomic_load(&t->is_cut))
        return cut_off(e);
    t->fd = take_fd(fd);
    return ERR_OK;
}

static void let_go(struct text_engine *t)
{
    LOCK_SCOPE(&t->lock);
    cleanup_fd(&t->fd);
    t->fd = -1;
}

static enum err_code connect_once(struct text_engine *t, struct err *e)
{
    AUTO_FD int fd = -1;
    enum err_code rc = ipc_connect(t->socket_path, 0, &fd, e);

    return rc ? rc : hold(t, &fd, e);
}

static enum err_code connect_to(struct text_engine *t, uint64_t deadline_ms, struct err *e)
{
    uint64_t until_ms = clock_mono_ms() + CONNECT_MAX_MS;
    enum err_code rc;

    if (until_ms > deadline_ms)
        until_ms = deadline_ms;
    for (;;) {
        rc = connect_once(t, e);
        if (rc != ERR_GONE)
            return rc;
        if (atomic_load(&t->is_cut))
            return cut_off(e);
        if (clock_mono_ms() >= until_ms)
            return err_set(e, ERR_TIMEOUT, "no engine listens at %s", t->socket_path);
        nanosleep(&(struct timespec){.tv_nsec = CONNECT_PAUSE_MS * 1000000L}, NULL);
    }
}

/* ---- messages ---- */

static void write_request(struct buf *out, const char *parquet, const struct tree_unit *unit,
                          uint64_t left_ms)
{
    struct json_writer w = {.out = out};

    jw_object(&w);
    jw_kcstr(&w, "path", parquet);
    if (unit->rows > 0) {
        jw_ku64(&w, "first_row", unit->first_row);
        jw_ku64(&w, "rows", unit->rows);
        jw_kbool(&w, "metrics", true); /* only of a metric are rows asked for */
    } else {
        jw_ku64(&w, "group", unit->group);
    }
    jw_ku64(&w, "timeout_ms", left_ms);
    jw_end(&w);
}

static enum err_code send_request(struct text_engine *t, const char *parquet,
                                  const struct tree_unit *unit, uint64_t deadline_ms, struct err *e)
{
    uint64_t now_ms = clock_mono_ms();
    struct buf body;
    enum err_code rc;

    if (now_ms >= deadline_ms)
        return err_set(e, ERR_TIMEOUT, "no answer in time");
    buf_init(&body, REQUEST_MAX);
    write_request(&body, parquet, unit, deadline_ms - now_ms);
    rc = buf_ok(&body) ? ipc_send(t->fd, TEXT_REQUEST, 1, buf_str(&body), e)
                       : err_set(e, ERR_TOOBIG, "the path of the file is too long");
    buf_done(&body);
    return rc;
}

/* {"code":"CORRUPT","message":"..."} */
static enum err_code take_error(struct str body, struct err *e)
{
    struct arena arena;
    struct json *doc;
    char name[32];
    enum err_code rc;

    arena_init(&arena, ERROR_MEMORY_MAX);
    rc = json_parse(body, &arena, &doc, NULL);
    if (rc || !str_copy_to(json_str(json_get(doc, "code"), STR("")), name, sizeof name)) {
        rc = err_set(e, ERR_CORRUPT, "an answer that makes no sense");
    } else {
        struct str message = json_str(json_get(doc, "message"), STR("no reason given"));
        rc = err_set(e, err_from_name(name), STR_FMT, STR_ARG(message));
    }
    arena_done(&arena);
    return rc;
}

static enum err_code receive(struct text_engine *t, uint64_t deadline_ms, text_take take, void *ctx,
                             struct err *e)
{
    struct ipc_msg m = {0};
    enum err_code rc;

    buf_init(&m.body, TEXT_ANSWER_MAX);
    for (;;) {
        rc = ipc_recv(t->fd, &m, deadline_ms, e);
        if (rc || m.kind == TEXT_END)
            break;
        if (m.kind == TEXT_DATA)
            rc = take(buf_str(&m.body), ctx, e);
        else
            rc = m.kind == TEXT_ERROR ? take_error(buf_str(&m.body), e)
                                      : err_set(e, ERR_CORRUPT, "a message of kind %u", m.kind);
        if (rc)
            break;
    }
    buf_done(&m.body);
    return rc;
}

enum err_code text_engine_ask(struct text_engine *t, const char *parquet,
                              const struct tree_unit *unit, uint64_t deadline_ms, text_take take,
                              void *ctx, struct err *e)
{
    enum err_code rc = connect_to(t, deadline_ms, e);

    if (rc)
        return rc;
    rc = send_request(t, parquet, unit, deadline_ms, e);
    if (!rc)
        rc = receive(t, deadline_ms, take, ctx, e);
    let_go(t);
    return rc && atomic_load(&t->is_cut) ? cut_off(e) : rc;
}
