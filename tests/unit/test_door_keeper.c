// links: weir_gateway weir_fs weir_index
/* tests/unit/test_door_keeper.c - doors that do not open are tried ever more slowly, and told of.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ipc.h"
#include "fs/control/control.h"
#include "gateway/door_keeper.h"

enum { DEADLINE_MS = 20000, LOG_MAX = 65536 };

/* An fs process that takes a gateway and opens no door. */
static struct refuser {
    char dir[64], path[96];
    int listen_fd, control_fd;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *reason; /* (lock) */
    size_t refused;     /* (lock) */
} * refuser;

static int real_stderr, capture_fd;

static void answer(int fd, struct ipc_msg *m, uint32_t kind, const char *body)
{
    if (ipc_recv(fd, m, clock_mono_ms() + DEADLINE_MS, NULL) == ERR_OK)
        ipc_send(fd, kind, m->tag, str_from(body), NULL);
}

static void refuse(struct refuser *r, int fd, struct ipc_msg *m)
{
    char body[128];
    pthread_mutex_lock(&r->lock);
    snprintf(body, sizeof body, "{\"code\":\"IO\",\"message\":\"%s\"}", r->reason);
    r->refused++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    answer(fd, m, CONTROL_ERROR, body);
    close(fd);
}

/* The first connection is the gateway's own. */
static void *serve(void *arg)
{
    struct refuser *r = arg;
    struct ipc_msg m = {0};
    int fd;
    buf_init(&m.body, 65536);
    while (ipc_accept(r->listen_fd, &fd, NULL) == ERR_OK) {
        answer(fd, &m, CONTROL_REPLY, "{\"epoch\":7,\"commit_files\":1}");
        if (r->control_fd < 0)
            r->control_fd = fd;
        else
            refuse(r, fd, &m);
    }
    buf_done(&m.body);
    return NULL;
}

static struct refuser *refuser_start(const char *reason)
{
    struct refuser *r = refuser = calloc(1, sizeof *r);
    struct err e;
    assert_non_null(r);
    r->reason = reason;
    r->control_fd = -1;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    snprintf(r->dir, sizeof r->dir, "/tmp/weir-test-keeper-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->path, sizeof r->path, "%s/fs.sock", r->dir);
    assert_int_equal(ipc_listen(r->path, &r->listen_fd, &e), ERR_OK);
    assert_int_equal(pthread_create(&r->thread, NULL, serve, r), 0);
    return r;
}

static void refuser_stop(struct refuser *r)
{
    shutdown(r->listen_fd, SHUT_RDWR);
    pthread_join(r->thread, NULL);
    close(r->listen_fd);
    close(r->control_fd);
    unlink(r->path);
    rmdir(r->dir);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* From now on for that reason; until so many more were refused for it. */
static void refuse_for(struct refuser *r, const char *reason, size_t more)
{
    pthread_mutex_lock(&r->lock);
    r->reason = reason;
    for (size_t until = r->refused + more; r->refused < until;)
        pthread_cond_wait(&r->changed, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

static void capture_start(void)
{
    char path[] = "/tmp/weir-test-keeper-log-XXXXXX";
    capture_fd = mkstemp(path);
    assert_true(capture_fd >= 0);
    unlink(path);
    real_stderr = dup(STDERR_FILENO);
    dup2(capture_fd, STDERR_FILENO);
}

static const char *capture_end(void)
{
    static char text[LOG_MAX];
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    ssize_t n = pread(capture_fd, text, sizeof text - 1, 0);
    close(capture_fd);
    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static size_t occurrences(const char *text, const char *of)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, of)); at++)
        n++;
    return n;
}

static void each_reason_is_logged_once_and_the_trying_slows_down(void **state)
{
    struct refuser *r = refuser_start("no door today");
    struct keeper_config cfg = {.socket_path = r->path};
    struct keeper *k;
    struct err e;
    uint64_t began_ms;
    (void)state;
    assert_int_equal(control_open(r->path, clock_mono_ms() + DEADLINE_MS, &cfg.control, &e),
                     ERR_OK);
    capture_start();
    began_ms = clock_mono_ms();
    assert_int_equal(keeper_start(&cfg, &k, &e), ERR_OK);
    /* One thread has tried six times then, with pauses of 20, 40, 80, 160 and 320 ms. */
    refuse_for(r, "no door today", 5 * KEEPER_DOORS + 1);
    assert_true(clock_mono_ms() - began_ms >= 20 + 40 + 80 + 160 + 320);
    refuse_for(r, "nor tomorrow", 2 * KEEPER_DOORS);
    keeper_stop(k);
    const char *log = capture_end();
    /* A thread may tell of the first reason after another has told of the second. */
    assert_in_range(occurrences(log, "no door today"), 1, KEEPER_DOORS);
    assert_in_range(occurrences(log, "nor tomorrow"), 1, KEEPER_DOORS);
    control_close(cfg.control);
    refuser_stop(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reason_is_logged_once_and_the_trying_slows_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
