// links: weir_fs weir_index
/* tests/unit/test_door_mounted.c - a write through a real mount, with a gateway that stores its
 * lines and says nothing of it. */
#include "tests/support/mounted_store.h"

#include <fcntl.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/ipc.h"
#include "fs/control/control.h"
#include "fs/door/wire.h"
#include "fs/journal/batch.h"

struct writing {
    int fd;
    ssize_t wrote;
};

static uint64_t soon(void)
{
    return clock_mono_ms() + MOUNTED_READY_MS;
}

static void *write_line(void *arg)
{
    struct writing *w = arg;
    w->wrote = write(w->fd, MOUNTED_LINE, sizeof MOUNTED_LINE - 1);
    return NULL;
}

static void store_lines(const struct mounted *m, uint64_t epoch, const struct door_ask *ask,
                        struct str lines)
{
    static char message[BATCH_PART_MAX];
    char path[512];
    struct batch_run run = {.stream = ask->stream,
                            .type = STREAM_LOGS,
                            .org = ask->org,
                            .name = ask->name,
                            .hour = MOUNTED_HOUR + 1,
                            .lines = 1,
                            .min_ts_us = 1,
                            .max_ts_us = 1,
                            .bytes = lines};
    struct batch_part part = {.id = {epoch, 0, 1},
                              .parts = 1,
                              .flags = BATCH_LAST | BATCH_NO_SYNC,
                              .runs = &run,
                              .run_count = 1,
                              .request = {ask->mount, ask->request, ERR_OK}};
    size_t len;
    snprintf(path, sizeof path, "%s/.weir/commit/0", m->dir);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(batch_encode(&part, message, &len, &m->store->e), ERR_OK);
    assert_int_equal(write(fd, message, len), len);
    close(fd);
}

static void a_write_ends_when_its_lines_are_in_the_journal(void **state)
{
    mounted_or_skip();
    struct mounted *m = mounted_start("none", NULL);
    struct control_client *client;
    struct ipc_msg question = {0};
    struct door_ask ask;
    struct writing w;
    struct str lines;
    pthread_t thread;
    char path[512];
    int door;
    (void)state;
    snprintf(path, sizeof path, "%s/run/fs.sock", m->store->data);
    assert_int_equal(control_open(path, soon(), &client, &m->store->e), ERR_OK);
    assert_int_equal(door_open(path, control_epoch(client), soon(), &door, &m->store->e), ERR_OK);
    snprintf(path, sizeof path, "%s/default/logs/app/ingest", m->dir);
    w.fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_true(w.fd >= 0);
    buf_init(&question.body, DOOR_ASK_HEAD_MAX + DOOR_LINES_MAX);
    assert_int_equal(pthread_create(&thread, NULL, write_line, &w), 0);
    assert_int_equal(ipc_recv(door, &question, soon(), &m->store->e), ERR_OK);
    assert_true(door_decode_ask(buf_str(&question.body), &ask, &lines));
    store_lines(m, control_epoch(client), &ask, lines);
    pthread_join(thread, NULL);
    assert_int_equal(w.wrote, sizeof MOUNTED_LINE - 1); /* not EIO after ingest_wait_ms */
    buf_done(&question.body);
    close(w.fd);
    close(door);
    control_close(client);
    mounted_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_write_ends_when_its_lines_are_in_the_journal, mounted_clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
