/* tests/support/engine_fixture.h - a real engine process over a temporary folder that stands for
 * the mount, and queries put to it as text.
 *
 * The engine is forked before the test program has threads of its own.  Rows come back as text: one
 * row a line, columns joined by '|', nulls as "NULL", other values as the wire has them.
 */
#ifndef WEIR_TESTS_SUPPORT_ENGINE_FIXTURE_H
#define WEIR_TESTS_SUPPORT_ENGINE_FIXTURE_H

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/engine/client.h"
#include "gateway/engine/engine.h"

enum { ENGINE_START_MS = 20000, ENGINE_ANSWER_MS = 60000, ENGINE_TEXT_MAX = 128 << 20 };

struct engine_fixture {
    char dir[64];
    char mount[96], staging[96], temp[96], socket[96];
    pid_t pid;
};

static inline bool engine_fixture_start(struct engine_fixture *f, uint64_t memory_bytes,
                                        unsigned max_queries)
{
    snprintf(f->dir, sizeof f->dir, "/tmp/weir-test-engine-XXXXXX");
    if (!mkdtemp(f->dir))
        return false;
    snprintf(f->mount, sizeof f->mount, "%s/mnt", f->dir);
    snprintf(f->staging, sizeof f->staging, "%s/staging", f->dir);
    snprintf(f->temp, sizeof f->temp, "%s/temp", f->dir);
    snprintf(f->socket, sizeof f->socket, "%s/sock", f->dir);
    if (mkdir(f->mount, 0700) || mkdir(f->staging, 0700) || mkdir(f->temp, 0700))
        return false;
    fflush(NULL);
    f->pid = fork();
    if (f->pid == 0) {
        struct engine_config cfg = {.socket_path = f->socket,
                                    .mount_dir = f->mount,
                                    .staging_dir = f->staging,
                                    .temp_dir = f->temp,
                                    .memory_bytes = memory_bytes,
                                    .threads = 2,
                                    .max_queries = max_queries,
                                    .ready_fd = -1};
        log_init("engine", LOG_WARN, false);
        exit(engine_run(&cfg)); /* not _exit: a leak checker wants its say */
    }
    return f->pid > 0;
}

/* Ends the engine by SIGTERM and removes the folder; returns the exit code. */
static inline int engine_fixture_stop(struct engine_fixture *f)
{
    int status = -1;
    char command[128];
    kill(f->pid, SIGTERM);
    waitpid(f->pid, &status, 0);
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    if (system(command) != 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Writes <mount>/<name>. */
static inline void engine_fixture_file(const struct engine_fixture *f, const char *name,
                                       struct str content)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f->mount, name);
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(content.ptr, 1, content.len, out) != content.len || fclose(out) != 0)
        abort();
}

struct engine_answer {
    struct err error;   /* code ERR_OK: none */
    struct buf columns; /* name:type, joined by '|' */
    struct buf rows;
    uint64_t row_count, batch_count, scan_rows;
};

static inline void engine_answer_done(struct engine_answer *a)
{
    buf_done(&a->columns);
    buf_done(&a->rows);
}

static inline void engine_add_value(struct buf *out, const struct wire_column *c, uint32_t row)
{
    if (wire_is_null(c, row)) {
        buf_add_cstr(out, "NULL");
        return;
    }
    switch (c->kind) {
    case WIRE_BOOL:
        buf_add_cstr(out, ((const uint8_t *)c->data)[row] ? "true" : "false");
        break;
    case WIRE_I64:
        buf_add_i64(out, ((const int64_t *)c->data)[row]);
        break;
    case WIRE_U64:
        buf_add_u64(out, ((const uint64_t *)c->data)[row]);
        break;
    case WIRE_F64:
        buf_printf(out, "%.17g", ((const double *)c->data)[row]);
        break;
    case WIRE_STR:
    case WIRE_RAW:
        buf_add_str(out, wire_text(c, row));
        break;
    }
}

static inline void engine_add_batch(struct engine_answer *a, const struct wire_batch *b)
{
    a->batch_count++;
    for (uint32_t r = 0; r < b->rows; r++) {
        for (uint32_t k = 0; k < b->columns; k++) {
            if (k > 0)
                buf_add_char(&a->rows, '|');
            engine_add_value(&a->rows, &b->column[k], r);
        }
        buf_add_char(&a->rows, '\n');
    }
}

/* Reads until the end or an error. */
static inline enum err_code engine_collect(struct engine_client *c, struct engine_answer *a)
{
    uint64_t deadline_ms = clock_mono_ms() + ENGINE_ANSWER_MS;
    struct engine_event ev;
    while (clock_mono_ms() < deadline_ms) {
        enum err_code rc = engine_client_next(c, 1000, &ev, &a->error);
        if (rc != ERR_OK)
            return rc;
        for (size_t i = 0; ev.kind == ENGINE_COLUMNS && i < ev.column_count; i++)
            buf_printf(&a->columns, "%s" STR_FMT ":" STR_FMT, i > 0 ? "|" : "",
                       STR_ARG(ev.columns[i].name), STR_ARG(ev.columns[i].type));
        if (ev.kind == ENGINE_BATCH)
            engine_add_batch(a, &ev.batch);
        if (ev.kind == ENGINE_END) {
            a->row_count = ev.rows;
            a->scan_rows = ev.scan_rows;
            return ERR_OK;
        }
    }
    return err_set(&a->error, ERR_TIMEOUT, "the engine says nothing");
}

/* Parse and start: `tables` is the JSON list of wire.h, `more` further members such as
 * ",\"timeout_ms\":100". */
static inline enum err_code engine_start(struct engine_client *c, const char *sql,
                                         const char *tables, const char *more, struct err *e)
{
    struct arena arena;
    struct json *tree = NULL;
    struct buf request;
    arena_init(&arena, ENGINE_TEXT_MAX);
    buf_init(&request, ENGINE_TEXT_MAX);
    enum err_code rc =
        engine_client_parse(c, str_from(sql), clock_mono_ms() + ENGINE_ANSWER_MS, &arena, &tree, e);
    if (rc == ERR_OK) {
        buf_add_cstr(&request, "{\"tree\":");
        json_write(&request, tree);
        buf_printf(&request, ",\"tables\":%s%s}", tables, more);
        rc = engine_client_run(c, buf_str(&request), e);
    }
    buf_done(&request);
    arena_done(&arena);
    return rc;
}

/* One whole query on a connection of its own. */
static inline enum err_code engine_ask(const struct engine_fixture *f, const char *sql,
                                       const char *tables, const char *more,
                                       struct engine_answer *a)
{
    struct engine_client *c = NULL;
    *a = (struct engine_answer){0};
    buf_init(&a->columns, ENGINE_TEXT_MAX);
    buf_init(&a->rows, ENGINE_TEXT_MAX);
    enum err_code rc =
        engine_client_open(f->socket, clock_mono_ms() + ENGINE_START_MS, &c, &a->error);
    if (rc == ERR_OK)
        rc = engine_start(c, sql, tables, more, &a->error);
    if (rc == ERR_OK)
        rc = engine_collect(c, a);
    engine_client_close(c);
    return rc;
}

#endif
