/* tests/unit/test_base_ipc.c - framed messages over UNIX sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ipc.h"

enum { DEADLINE_MS = 10000, BODY_MAX = 8 << 20 };

struct place {
    char dir[64];
    char socket[96];
};

static int make_place(void **state)
{
    static struct place p;
    snprintf(p.dir, sizeof p.dir, "/tmp/weir-test-ipc-XXXXXX");
    if (!mkdtemp(p.dir))
        return -1;
    snprintf(p.socket, sizeof p.socket, "%s/s", p.dir);
    *state = &p;
    return 0;
}

static int remove_place(void **state)
{
    const struct place *p = *state;
    unlink(p->socket);
    return rmdir(p->dir);
}

static uint64_t soon(void)
{
    return clock_mono_ms() + DEADLINE_MS;
}

static void make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

struct sending {
    int fd;
    size_t body_bytes;
};

static void *send_big(void *arg)
{
    const struct sending *s = arg;
    char *body = malloc(s->body_bytes + 1);
    for (size_t i = 0; i < s->body_bytes; i++)
        body[i] = (char)(i * 7);
    enum err_code rc = ipc_send(s->fd, 9, 1, (struct str){body, s->body_bytes}, NULL);
    free(body);
    return rc ? arg : NULL;
}

static void messages_of_any_size_arrive_whole(void **state)
{
    (void)state;
    static const size_t SIZES[] = {0, 1, 15, 65536, BODY_MAX};
    int fds[2];
    make_pair(fds);
    struct ipc_msg m;
    buf_init(&m.body, BODY_MAX);
    for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
        struct sending s = {fds[0], SIZES[i]};
        pthread_t thread;
        struct err e;
        void *failed;
        assert_int_equal(pthread_create(&thread, NULL, send_big, &s), 0);
        assert_int_equal(ipc_recv(fds[1], &m, soon(), &e), ERR_OK);
        pthread_join(thread, &failed);
        assert_null(failed);
        assert_true(m.kind == 9 && m.tag == 1 && m.body.len == SIZES[i]);
        for (size_t at = 0; at < m.body.len; at++)
            assert_true(m.body.data[at] == (char)(at * 7));
    }
    buf_done(&m.body);
    close(fds[0]);
    close(fds[1]);
}

static void the_frame_is_as_documented(void **state)
{
    (void)state;
    int fds[2];
    uint8_t got[64];
    static const uint8_t WANT[] = {3, 0, 0, 0, 7, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 'a', 'b', 'c'};
    make_pair(fds);
    assert_int_equal(ipc_send(fds[0], 7, 0x0102030405060708, STR("abc"), NULL), ERR_OK);
    assert_int_equal(recv(fds[1], got, sizeof got, 0), sizeof WANT);
    assert_memory_equal(got, WANT, sizeof WANT);
    close(fds[0]);
    close(fds[1]);
}

static void a_body_over_the_receivers_maximum_is_refused(void **state)
{
    (void)state;
    int fds[2];
    struct err e;
    struct ipc_msg m;
    make_pair(fds);
    buf_init(&m.body, 3);
    assert_int_equal(ipc_send(fds[0], 1, 2, STR("abc"), &e), ERR_OK);
    assert_int_equal(ipc_recv(fds[1], &m, soon(), &e), ERR_OK);
    assert_string_equal(m.body.data, "abc");
    assert_int_equal(ipc_send(fds[0], 1, 2, STR("abcd"), &e), ERR_OK);
    assert_int_equal(ipc_recv(fds[1], &m, soon(), &e), ERR_TOOBIG);
    assert_int_equal(m.body.len, 0);
    buf_done(&m.body);
    close(fds[0]);
    close(fds[1]);
}

static void the_other_sides_end_is_gone_and_silence_a_timeout(void **state)
{
    (void)state;
    int fds[2];
    struct err e;
    struct ipc_msg m;
    make_pair(fds);
    buf_init(&m.body, 100);
    assert_int_equal(ipc_recv(fds[1], &m, clock_mono_ms() + 20, &e), ERR_TIMEOUT);
    assert_int_equal(send(fds[0], "\x05\0\0\0\1\0\0\0", 8, 0), 8); /* half a header */
    assert_int_equal(ipc_recv(fds[1], &m, clock_mono_ms() + 20, &e), ERR_TIMEOUT);
    close(fds[0]);
    assert_int_equal(ipc_recv(fds[1], &m, soon(), &e), ERR_GONE);
    assert_int_equal(ipc_send(fds[1], 1, 1, STR("x"), &e), ERR_GONE); /* and no SIGPIPE */
    close(fds[1]);
    buf_done(&m.body);
}

static void a_socket_is_private_and_a_dead_one_is_replaced(void **state)
{
    const struct place *p = *state;
    struct err e;
    struct stat st;
    int listener = -1, client = -1, server = -1, second = -1;
    assert_int_equal(ipc_connect(p->socket, 0, &client, &e), ERR_GONE);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(ipc_listen(p->socket, &listener, &e), ERR_OK);
        assert_int_equal(stat(p->socket, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(ipc_listen(p->socket, &second, &e), ERR_EXISTS);
        assert_int_equal(second, -1);
        assert_int_equal(ipc_connect(p->socket, soon(), &client, &e), ERR_OK);
        for (int i = 0; i < 2; i++) { /* the first is the try of the second listener */
            assert_int_equal(ipc_accept(listener, &server, &e), ERR_OK);
            close(i == 0 ? server : -1);
        }
        assert_int_equal(ipc_send(client, 1, 1, STR("x"), &e), ERR_OK);
        close(server);
        close(client);
        close(listener); /* the file stays, as after a kill */
        assert_int_equal(ipc_connect(p->socket, 0, &client, &e), ERR_GONE);
    }
}

static void *listen_after_a_while(void *arg)
{
    static int listener;
    const struct place *p = arg;
    struct err e;
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    unlink(p->socket);
    listener = -1;
    return ipc_listen(p->socket, &listener, &e) == ERR_OK ? &listener : NULL;
}

static void connecting_waits_for_a_listener_that_starts(void **state)
{
    struct place *p = *state;
    struct err e;
    int client = -1;
    void *listener;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, listen_after_a_while, p), 0);
    assert_int_equal(ipc_connect(p->socket, soon(), &client, &e), ERR_OK);
    pthread_join(thread, &listener);
    assert_non_null(listener);
    close(client);
    close(*(int *)listener);
}

static void a_path_too_long_for_a_socket_is_told(void **state)
{
    (void)state;
    char path[200];
    int fd = -1;
    struct err e;
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(ipc_listen(path, &fd, &e), ERR_INVALID);
    assert_int_equal(ipc_connect(path, 0, &fd, &e), ERR_INVALID);
    assert_int_equal(ipc_listen("/nonexistent/dir/s", &fd, &e), ERR_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_any_size_arrive_whole),
        cmocka_unit_test(the_frame_is_as_documented),
        cmocka_unit_test(a_body_over_the_receivers_maximum_is_refused),
        cmocka_unit_test(the_other_sides_end_is_gone_and_silence_a_timeout),
        cmocka_unit_test(a_socket_is_private_and_a_dead_one_is_replaced),
        cmocka_unit_test(connecting_waits_for_a_listener_that_starts),
        cmocka_unit_test(a_path_too_long_for_a_socket_is_told),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
