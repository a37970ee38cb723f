// links: weir_http
/* Connections that are late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/deadline.h"

struct fixture {
    struct deadlines *all;
    int fds[2]; /* ours, the client's */
    struct deadline *one;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err e;
    assert_int_equal(deadlines_start(600000, &f->all, &e), ERR_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f->fds), 0);
    f->one = deadlines_add(f->all, f->fds[0]);
    assert_non_null(f->one);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    deadlines_remove(f->all, f->one);
    deadlines_stop(f->all);
    close(f->fds[0]);
    close(f->fds[1]);
    free(f);
    return 0;
}

static void the_late_one_gets_408_with_its_length_and_the_end(void **state)
{
    struct fixture *f = *state;
    char reply[1024];
    size_t len = 0;
    ssize_t n;
    deadline_set(f->one, clock_mono_ms() + 1);
    while ((n = read(f->fds[1], reply + len, sizeof reply - 1 - len)) > 0)
        len += (size_t)n;
    assert_int_equal(n, 0);
    reply[len] = '\0';
    assert_int_equal(strncmp(reply, "HTTP/1.1 408 ", 13), 0);
    const char *length = strstr(reply, "Content-Length: "), *body = strstr(reply, "\r\n\r\n");
    assert_true(length && body);
    assert_int_equal(strtoul(length + 16, NULL, 10), strlen(body + 4));
    assert_false(deadline_met(f->one));
}

static void what_is_in_time_is_met_once_and_left_alone(void **state)
{
    struct fixture *f = *state;
    deadline_set(f->one, clock_mono_ms() + 600000);
    assert_true(deadline_met(f->one));
    assert_int_equal(recv(f->fds[1], &(char){0}, 1, MSG_DONTWAIT), -1);
}

static void who_has_no_deadline_is_left_alone_while_others_end(void **state)
{
    struct fixture *f = *state;
    int other[2];
    char byte;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other), 0);
    struct deadline *late = deadlines_add(f->all, other[0]);
    deadline_set(late, 1);
    assert_int_equal(read(other[1], &byte, 1), 1);
    deadlines_remove(f->all, late);
    close(other[0]);
    close(other[1]);
    assert_int_equal(recv(f->fds[1], &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(atomic_load(&f->one->refused_status), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_late_one_gets_408_with_its_length_and_the_end),
        CASE(what_is_in_time_is_met_once_and_left_alone),
        CASE(who_has_no_deadline_is_left_alone_while_others_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
