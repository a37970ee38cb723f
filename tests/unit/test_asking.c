// links: weir_fs weir_index
/* tests/unit/test_asking.c - an interrupt ends a request that waits, whenever it comes.
 *
 * The messages are the kernel's, the handler is the test's: it writes to a handle of an inlet that
 * has no gateway. */
#include "tests/support/journal_fixture.h"

#include <errno.h>
#include <linux/fuse.h>
#include <sys/eventfd.h>

#include "fs/door/asking.h"

enum { WAIT_MS = 20000, REPLIES_MAX = 16 };

struct reply {
    uint64_t unique;
    int error;
};

static struct world {
    struct session session;
    struct registry *registry;
    struct fuse_session *fuse;
    uint64_t handle, unique; /* of the request that is handled */
    struct str bytes;        /* that it writes */
    struct reply replies[REPLIES_MAX];
    size_t count;
} * world;

/* ---- the handler ---- */

struct writing {
    struct asking asking; /* first */
    enum err_code code;
};

static void reply(struct asking *a)
{
    fuse_reply_err(a->req, err_errno(((struct writing *)a)->code));
    free(a);
}

static void take_answer(enum err_code code, size_t size, void *ctx)
{
    struct writing *w = ctx;
    (void)size;
    w->code = code;
    asking_answered(&w->asking);
}

static void handle(fuse_req_t req, fuse_ino_t ino, int mask)
{
    struct writing *w = calloc(1, sizeof *w);
    struct inlet_call call = {.handle = world->handle,
                              .request = world->unique,
                              .stream = 5,
                              .org = STR("default"),
                              .name = STR("app")};
    (void)ino, (void)mask;
    assert_non_null(w);
    asking_begin(&w->asking, req, call.request, reply);
    inlet_write(world->session.inlet, &call, world->bytes, take_answer, w);
    asking_asked(&w->asking);
}

static const struct fuse_lowlevel_ops OPS = {.access = handle};

/* ---- the kernel ---- */

static ssize_t take_reply(int fd, struct iovec *iov, int count, void *ctx)
{
    const struct fuse_out_header *head = iov[0].iov_base;
    (void)fd, (void)count, (void)ctx;
    assert_true(world->count < REPLIES_MAX);
    world->replies[world->count++] = (struct reply){head->unique, head->error};
    return (ssize_t)head->len;
}

static ssize_t no_read(int fd, void *buf, size_t len, void *ctx)
{
    (void)fd, (void)buf, (void)len, (void)ctx;
    return -ENOSYS;
}

static void send_message(uint32_t opcode, uint64_t unique, const void *body, size_t len)
{
    char bytes[256];
    struct fuse_in_header head = {
        .len = (uint32_t)(sizeof head + len), .opcode = opcode, .unique = unique, .nodeid = 1};
    struct fuse_buf buf = {.mem = bytes, .size = head.len};
    assert_true(head.len <= sizeof bytes);
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, body, len);
    world->unique = unique;
    fuse_session_process_buf(world->fuse, &buf);
}

static void send_request(uint64_t unique, const char *bytes)
{
    struct fuse_access_in body = {0};
    world->bytes = str_from(bytes);
    send_message(FUSE_ACCESS, unique, &body, sizeof body);
}

static void send_interrupt(uint64_t unique)
{
    struct fuse_interrupt_in body = {.unique = unique};
    send_message(FUSE_INTERRUPT, unique | 1, &body, sizeof body);
}

static void assert_replied(size_t count, uint64_t unique, int error)
{
    assert_int_equal(world->count, count);
    assert_int_equal(world->replies[count - 1].unique, unique);
    assert_int_equal(world->replies[count - 1].error, -error);
}

/* ---- life ---- */

static void start_fuse(struct world *w)
{
    static const struct fuse_custom_io io = {.writev = take_reply, .read = no_read};
    char *argv[] = {(char[]){"test"}, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    struct fuse_init_in init = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION};
    w->fuse = fuse_session_new(&args, &OPS, sizeof OPS, &w->session);
    assert_non_null(w->fuse);
    assert_int_equal(fuse_session_custom_io(w->fuse, &io, eventfd(0, EFD_CLOEXEC)), 0);
    send_message(FUSE_INIT, 2, &init, sizeof init);
    assert_replied(1, 2, 0);
    w->count = 0;
    fuse_opt_free_args(&args);
}

static int world_make(void **state)
{
    struct world *w = world = calloc(1, sizeof *w);
    struct session *s = &w->session;
    struct fixture *f;
    struct err e;
    assert_non_null(w);
    assert_int_equal(fixture_make(state), 0);
    f = *state;
    fixture_open(f);
    assert_int_equal(registry_new(&w->registry, &e), ERR_OK);
    struct status_config sc = {.journal = f->j, .registry = w->registry};
    assert_int_equal(status_new(&sc, &s->status, &e), ERR_OK);
    struct door_config dc = {
        .journal = f->j, .status = s->status, .pending_max_bytes = 1 << 20, .wait_ms = WAIT_MS};
    assert_int_equal(door_start(&dc, &s->door, &e), ERR_OK);
    assert_int_equal(tails_open(-1, 0, 1 << 20, &s->tails, &e), ERR_OK);
    struct inlet_config ic = {.tails = s->tails,
                              .door = s->door,
                              .journal = f->j,
                              .status = s->status,
                              .line_max_bytes = 1000};
    assert_int_equal(inlet_new(&ic, &s->inlet, &e), ERR_OK);
    assert_true(inlet_open(s->inlet, 1000, false, &w->handle));
    start_fuse(w);
    return 0;
}

static int world_remove(void **state)
{
    struct world *w = world;
    door_close(w->session.door);
    fuse_session_destroy(w->fuse);
    inlet_free(w->session.inlet);
    door_free(w->session.door);
    tails_close(w->session.tails);
    status_free(w->session.status);
    registry_free(w->registry);
    free(w);
    return fixture_remove(state);
}

/* ---- tests ---- */

static void an_interrupt_that_comes_later_ends_it(void **state)
{
    (void)state;
    send_request(10, "{}\n");
    assert_int_equal(world->count, 0);
    send_interrupt(10);
    assert_replied(1, 10, EINTR);
}

static void an_interrupt_that_came_before_ends_it(void **state)
{
    (void)state;
    send_interrupt(10);
    send_request(10, "{}\n");
    assert_replied(1, 10, EINTR);
}

static void an_interrupt_ends_what_waits_behind_another_call(void **state)
{
    (void)state;
    send_request(10, "{\"a\":1}\n");
    send_request(12, "{\"b\":1}\n");
    send_request(14, "{\"c\":1}\n");
    send_interrupt(12);
    assert_replied(1, 12, EINTR);
    send_interrupt(16);
    send_request(16, "{\"d\":1}\n");
    assert_replied(2, 16, EINTR);
    send_interrupt(10);
    assert_replied(3, 10, EINTR);
    send_interrupt(14);
    assert_replied(4, 14, EINTR);
}

static void what_is_answered_at_once_is_not_interrupted(void **state)
{
    (void)state;
    send_interrupt(10);
    send_request(10, "{\"a\"");
    assert_replied(1, 10, 0);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, world_make, world_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(an_interrupt_that_comes_later_ends_it),
        WITH_WORLD(an_interrupt_that_came_before_ends_it),
        WITH_WORLD(an_interrupt_ends_what_waits_behind_another_call),
        WITH_WORLD(what_is_answered_at_once_is_not_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
