/* tests/support/fake_engine.h - an engine that knows texts and nothing else, and misbehaves on
 * request.  One connection at a time. */
#ifndef WEIR_TESTS_FAKE_ENGINE_H
#define WEIR_TESTS_FAKE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/ipc.h"
#include "base/json.h"
#include "fs/tree/text_engine.h"

enum fake_mood {
    FAKE_GOOD,
    FAKE_DROPS,       /* closes in the middle, each time */
    FAKE_DROPS_ONCE,  /* the first time */
    FAKE_SAYS_MORE,   /* a byte too many */
    FAKE_SAYS_LESS,   /* a byte too few */
    FAKE_REFUSES,     /* ERROR */
    FAKE_TALKS_ROT,   /* a message of no known kind */
    FAKE_SAYS_NOTHING /* until the other side goes away */
};

struct fake_engine {
    char path[108];
    int listen_fd;
    pthread_t thread;
    _Atomic(enum fake_mood) mood;
    atomic_uint requests;
    atomic_bool is_stopping;
    /* What a request asks for; runs in the engine's thread. */
    struct str (*render)(const struct json *request, void *ctx);
    void *ctx;
};

static inline void fake_send_text(int fd, struct str text, size_t n)
{
    const size_t piece = 10000;

    for (size_t at = 0; at < n; at += piece) {
        struct str part = {text.ptr + at, n - at < piece ? n - at : piece};
        if (ipc_send(fd, TEXT_DATA, 1, part, NULL))
            return;
    }
}

static inline void fake_wait_for_end(int fd)
{
    struct ipc_msg m = {0};

    buf_init(&m.body, 1u << 20);
    ipc_recv(fd, &m, 0, NULL);
    buf_done(&m.body);
}

static inline void fake_answer(struct fake_engine *f, int fd, struct str text)
{
    switch (atomic_load(&f->mood)) {
    case FAKE_DROPS_ONCE:
        atomic_store(&f->mood, FAKE_GOOD);
        fake_send_text(fd, text, text.len / 2);
        return;
    case FAKE_DROPS:
        fake_send_text(fd, text, text.len / 2);
        return;
    case FAKE_SAYS_NOTHING:
        fake_wait_for_end(fd);
        return;
    case FAKE_REFUSES:
        ipc_send(fd, TEXT_ERROR, 1, STR("{\"code\":\"CORRUPT\",\"message\":\"no Parquet\"}"), NULL);
        return;
    case FAKE_TALKS_ROT:
        ipc_send(fd, 4711, 1, STR(""), NULL);
        return;
    case FAKE_SAYS_LESS:
        text.len--;
        break;
    default:
        break;
    }
    fake_send_text(fd, text, text.len);
    if (atomic_load(&f->mood) == FAKE_SAYS_MORE)
        fake_send_text(fd, STR("x"), 1);
    ipc_send(fd, TEXT_END, 1, STR("{}"), NULL);
}

static inline void fake_serve(struct fake_engine *f, int fd)
{
    struct ipc_msg m = {0};
    struct arena arena;
    struct json *request;

    buf_init(&m.body, 1u << 20);
    arena_init(&arena, 1u << 20);
    if (ipc_recv(fd, &m, 0, NULL) == ERR_OK && m.kind == TEXT_REQUEST &&
        json_parse(buf_str(&m.body), &arena, &request, NULL) == ERR_OK) {
        atomic_fetch_add(&f->requests, 1);
        fake_answer(f, fd, f->render(request, f->ctx));
    }
    arena_done(&arena);
    buf_done(&m.body);
}

static inline void *fake_run(void *arg)
{
    struct fake_engine *f = arg;

    for (;;) {
        AUTO_FD int fd = -1;
        if (ipc_accept(f->listen_fd, &fd, NULL) || atomic_load(&f->is_stopping))
            return NULL;
        fake_serve(f, fd);
    }
}

static inline void fake_start(struct fake_engine *f, const char *path)
{
    struct err e = {0};

    if (path != f->path && !str_copy_to(str_from(path), f->path, sizeof f->path))
        fail_msg("fake engine: the socket's path is too long");
    atomic_store(&f->is_stopping, false);
    if (ipc_listen(f->path, &f->listen_fd, &e) ||
        pthread_create(&f->thread, NULL, fake_run, f) != 0)
        fail_msg("fake engine: %s", e.msg);
}

static inline void fake_stop(struct fake_engine *f)
{
    atomic_store(&f->is_stopping, true);
    shutdown(f->listen_fd, SHUT_RDWR);
    pthread_join(f->thread, NULL);
    close(f->listen_fd);
    unlink(f->path);
}

#endif
