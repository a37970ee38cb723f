// links: weir_engine
/* Whoever is stopped and does not end is told of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/engine/watch.h"

#define STUCK_MS 200
#define DEADLINE_MS 20000

static _Atomic int told;

static void tell(void)
{
    told++;
}

struct fixture {
    duckdb_database db;
    struct watch watch;
    struct watch_entry entry;
    int client;
    struct err e;
};

static void begin(struct fixture *f)
{
    int pair[2];

    told = 0;
    *f = (struct fixture){0};
    assert_int_equal(duckdb_open(NULL, &f->db), DuckDBSuccess);
    assert_int_equal(duckdb_connect(f->db, &f->entry.con), DuckDBSuccess);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    f->entry.fd = pair[0];
    f->client = pair[1];
    assert_int_equal(watch_start(&f->watch, STUCK_MS, tell, &f->e), ERR_OK);
    assert_int_equal(watch_add(&f->watch, &f->entry, &f->e), ERR_OK);
}

static void end(struct fixture *f)
{
    watch_remove(&f->watch, &f->entry);
    watch_stop(&f->watch);
    close(f->entry.fd);
    duckdb_disconnect(&f->entry.con);
    duckdb_close(&f->db);
}

static void wait_until_told(void)
{
    uint64_t end_ms = clock_mono_ms() + DEADLINE_MS;

    while (told == 0 && clock_mono_ms() < end_ms)
        usleep(1000);
}

static void a_query_that_goes_on_after_its_client_left_is_told_of_once(void **state)
{
    struct fixture f;
    uint64_t left_ms;

    (void)state;
    begin(&f);
    left_ms = clock_mono_ms();
    close(f.client);
    wait_until_told();
    assert_int_equal(told, 1);
    assert_true(clock_mono_ms() - left_ms >= STUCK_MS);
    usleep(2 * STUCK_MS * 1000); /* as long again: nothing more is said */
    assert_int_equal(told, 1);
    end(&f);
}

static void a_query_that_ends_when_it_is_stopped_is_not_told_of(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    close(f.client);
    while (!atomic_load(&f.entry.cancelled))
        usleep(1000);
    watch_remove(&f.watch, &f.entry);
    usleep(2 * STUCK_MS * 1000); /* well past the time at which it would have been */
    assert_int_equal(told, 0);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_that_goes_on_after_its_client_left_is_told_of_once),
        cmocka_unit_test(a_query_that_ends_when_it_is_stopped_is_not_told_of),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
