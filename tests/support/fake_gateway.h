/* tests/support/fake_gateway.h - the other end of a door: takes questions, answers as it is told.
 */
#ifndef WEIR_TESTS_FAKE_GATEWAY_H
#define WEIR_TESTS_FAKE_GATEWAY_H

#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ipc.h"
#include "fs/door/door.h"

#define FAKE_LINES_MAX ((size_t)64 << 20)

struct fake_gateway {
    struct door *door;
    int fds[2]; /* ours, the door's */
    pthread_t serving, answering;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* (lock) */
    bool is_holding;    /* questions are taken, not answered */
    bool dies;          /* after storing, without an answer */
    enum err_code code; /* of every answer */
    struct buf stored;  /* lines of all questions that were answered OK, or stored before it died */
    size_t taken;       /* questions */
    struct door_ask ask; /* the newest; names are not kept */
};

static inline void *fake_serve(void *arg)
{
    struct fake_gateway *g = arg;
    door_serve(g->door, g->fds[1]);
    shutdown(g->fds[1], SHUT_RDWR); /* as the control server does */
    return NULL;
}

/* False: no answer is to be given. */
static inline bool fake_take(struct fake_gateway *g, const struct ipc_msg *m, enum err_code *code)
{
    struct str lines;
    pthread_mutex_lock(&g->lock);
    assert_true(door_decode_ask(buf_str(&m->body), &g->ask, &lines));
    g->ask.org = g->ask.name = (struct str){NULL, 0};
    g->taken++;
    pthread_cond_broadcast(&g->changed);
    while (g->is_holding)
        pthread_cond_wait(&g->changed, &g->lock);
    *code = g->code;
    if (*code == ERR_OK)
        buf_add_str(&g->stored, lines);
    bool dies = g->dies;
    pthread_mutex_unlock(&g->lock);
    return !dies;
}

static inline void *fake_answer(void *arg)
{
    struct fake_gateway *g = arg;
    char bytes[DOOR_ANSWER_MAX];
    struct ipc_msg m = {0};
    enum err_code code;
    buf_init(&m.body, DOOR_ASK_HEAD_MAX + DOOR_LINES_MAX);
    while (ipc_recv(g->fds[0], &m, 0, NULL) == ERR_OK && fake_take(g, &m, &code)) {
        struct door_answer a = {.code = code, .lines = 1, .message = STR("as told")};
        struct str body = {bytes, door_encode_answer(bytes, &a)};
        if (ipc_send(g->fds[0], DOOR_ANSWER, m.tag, body, NULL))
            break;
    }
    shutdown(g->fds[0], SHUT_RDWR);
    buf_done(&m.body);
    return NULL;
}

static inline void fake_gateway_start(struct fake_gateway *g, struct door *door)
{
    *g = (struct fake_gateway){.door = door};
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->changed, NULL);
    buf_init(&g->stored, FAKE_LINES_MAX);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, g->fds), 0);
    assert_int_equal(pthread_create(&g->serving, NULL, fake_serve, g), 0);
    assert_int_equal(pthread_create(&g->answering, NULL, fake_answer, g), 0);
}

static inline void fake_gateway_tell(struct fake_gateway *g, bool is_holding, enum err_code code)
{
    pthread_mutex_lock(&g->lock);
    g->is_holding = is_holding;
    g->code = code;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

/* Until it has taken so many questions. */
static inline void fake_gateway_wait(struct fake_gateway *g, size_t taken)
{
    pthread_mutex_lock(&g->lock);
    while (g->taken < taken)
        pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static inline void fake_gateway_stop(struct fake_gateway *g)
{
    fake_gateway_tell(g, false, ERR_OK);
    shutdown(g->fds[0], SHUT_RDWR);
    pthread_join(g->answering, NULL);
    pthread_join(g->serving, NULL);
    close(g->fds[0]);
    close(g->fds[1]);
    buf_done(&g->stored);
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->lock);
}

#endif
