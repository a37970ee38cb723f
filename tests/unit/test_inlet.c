// links: weir_fs weir_index
/* tests/unit/test_inlet.c - bytes in any cut become lines at the door of a gateway that answers,
 * refuses, dies, or is not there. */
#include "tests/support/journal_fixture.h"

#include "base/json.h"
#include "base/utf8.h"
#include "fs/door/inlet.h"
#include "tests/support/fake_gateway.h"

enum {
    MOUNT = 77,
    LINE_MAX_BYTES = 1000,
    PENDING_MAX = 10000,
    TAILS_MAX = 1500,
    WAIT_MS = 20000,
    SHORT_WAIT_MS = 300
};

struct world {
    struct fixture *f;
    struct registry *registry;
    struct status *status;
    struct door *door;
    struct tails *tails;
    struct inlet *inlet;
    struct fake_gateway gateway;
    bool has_gateway;
    uint64_t handle, request;
};

static void make_status(struct world *w)
{
    struct err e;
    assert_int_equal(registry_new(&w->registry, &e), ERR_OK);
    struct status_config sc = {.journal = w->f->j, .registry = w->registry};
    assert_int_equal(status_new(&sc, &w->status, &e), ERR_OK);
}

static struct world *world_make(struct fixture *f, uint64_t wait_ms)
{
    struct world *w = calloc(1, sizeof *w);
    struct err e;
    assert_non_null(w);
    w->f = f;
    f->cfg.mount = MOUNT;
    fixture_open(f);
    fixture_epoch(f);
    make_status(w);
    struct door_config dc = {
        .journal = f->j, .status = w->status, .pending_max_bytes = PENDING_MAX, .wait_ms = wait_ms};
    assert_int_equal(door_start(&dc, &w->door, &e), ERR_OK);
    assert_int_equal(tails_open(-1, 0, TAILS_MAX, &w->tails, &e), ERR_OK);
    struct inlet_config ic = {.tails = w->tails,
                              .door = w->door,
                              .journal = f->j,
                              .status = w->status,
                              .mount = MOUNT,
                              .line_max_bytes = LINE_MAX_BYTES};
    assert_int_equal(inlet_new(&ic, &w->inlet, &e), ERR_OK);
    w->request = 1000;
    assert_true(inlet_open(w->inlet, w->request, false, &w->handle));
    return w;
}

static struct world *world_with_gateway(struct fixture *f)
{
    struct world *w = world_make(f, WAIT_MS);
    fake_gateway_start(&w->gateway, w->door);
    w->has_gateway = true;
    return w;
}

static void world_done(struct world *w)
{
    if (w->has_gateway)
        fake_gateway_stop(&w->gateway);
    door_close(w->door);
    inlet_free(w->inlet);
    door_free(w->door);
    tails_close(w->tails);
    status_free(w->status);
    registry_free(w->registry);
    free(w);
}

static int64_t counted(struct world *w, const char *name)
{
    struct buf text;
    struct arena arena;
    struct json *v;
    int64_t n = -1;
    buf_init(&text, 1 << 20);
    arena_init(&arena, 1 << 20);
    assert_int_equal(status_text(w->status, STATUS_STATS, &text, NULL), ERR_OK);
    assert_int_equal(json_parse(buf_str(&text), &arena, &v, NULL), ERR_OK);
    assert_true(json_i64(json_get(json_get(v, "ingest"), name), &n));
    arena_done(&arena);
    buf_done(&text);
    return n;
}

static bool is_reported(struct world *w, const char *what)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    assert_int_equal(status_text(w->status, STATUS_LAST_ERRORS, &text, NULL), ERR_OK);
    bool found = text.data && strstr(text.data, what);
    buf_done(&text);
    return found;
}

/* ---- calls ---- */

static void note(enum err_code code, size_t size, void *ctx)
{
    (void)size;
    answer_done(code, NULL, ctx);
}

static struct inlet_call next_call(struct world *w)
{
    return (struct inlet_call){.handle = w->handle,
                               .request = w->request += 2,
                               .stream = 5,
                               .org = STR("default"),
                               .name = STR("app")};
}

static enum err_code write_as(struct world *w, const struct inlet_call *call, struct str bytes)
{
    struct answer a = answer_new();
    inlet_write(w->inlet, call, bytes, note, &a);
    return answer_wait(&a);
}

static enum err_code write_bytes(struct world *w, struct str bytes)
{
    struct inlet_call call = next_call(w);
    return write_as(w, &call, bytes);
}

static enum err_code write_text(struct world *w, const char *text)
{
    return write_bytes(w, str_from(text));
}

static enum err_code flush(struct world *w)
{
    struct answer a = answer_new();
    struct inlet_call call = next_call(w);
    inlet_flush(w->inlet, &call, note, &a);
    return answer_wait(&a);
}

static enum err_code release(struct world *w)
{
    struct answer a = answer_new();
    struct inlet_call call = next_call(w);
    inlet_release(w->inlet, &call, note, &a);
    return answer_wait(&a);
}

static void assert_tail(struct world *w, const char *text)
{
    struct tail tail;
    assert_true(tails_get(w->tails, w->handle, &tail));
    if (!str_eq(tail.bytes, str_from(text)))
        fail_msg("the tail is \"" STR_FMT "\", not \"%s\"", STR_ARG(tail.bytes), text);
}

static void assert_stored(struct world *w, const char *text)
{
    pthread_mutex_lock(&w->gateway.lock);
    assert_string_equal(w->gateway.stored.data ? w->gateway.stored.data : "", text);
    pthread_mutex_unlock(&w->gateway.lock);
}

/* ---- cuts ---- */

static void every_cut_gives_the_same_lines(void **state)
{
    static const char text[] = "{\"a\":1}\n\n{\"a\":22}\n{\"b\":\"\xc3\xa4\"}\n{\"half\":";
    static const char lines[] = "{\"a\":1}\n\n{\"a\":22}\n{\"b\":\"\xc3\xa4\"}\n";
    struct world *w = world_with_gateway(*state);
    for (size_t step = 1; step < sizeof text; step++) {
        buf_clear(&w->gateway.stored);
        for (size_t at = 0; at < sizeof text - 1; at += step) {
            size_t left = sizeof text - 1 - at;
            assert_int_equal(write_bytes(w, (struct str){text + at, left < step ? left : step}),
                             ERR_OK);
        }
        assert_stored(w, lines);
        assert_tail(w, "{\"half\":");
        assert_int_equal(write_text(w, "0}\n"), ERR_OK);
        assert_tail(w, "");
    }
    assert_int_equal(counted(w, "pending_bytes"), 0);
    world_done(w);
}

static void an_empty_write_changes_nothing(void **state)
{
    struct world *w = world_with_gateway(*state);
    assert_int_equal(write_text(w, "x"), ERR_OK);
    assert_int_equal(write_text(w, ""), ERR_OK);
    assert_tail(w, "x");
    world_done(w);
}

static void what_is_larger_than_a_socket_takes_arrives_whole(void **state)
{
    struct world *w = world_with_gateway(*state);
    struct buf text;
    buf_init(&text, 4 << 20);
    for (unsigned i = 0; text.len < (2 << 20); i++)
        buf_printf(&text, "{\"line\":%u}\n", i);
    assert_int_equal(write_bytes(w, buf_str(&text)), ERR_OK);
    assert_stored(w, text.data);
    buf_done(&text);
    world_done(w);
}

/* ---- refusals ---- */

static void a_bad_line_takes_the_rest_of_the_write_and_the_tail_along(void **state)
{
    struct world *w = world_with_gateway(*state);
    assert_int_equal(write_text(w, "{\"a\""), ERR_OK);
    fake_gateway_tell(&w->gateway, false, ERR_INVALID);
    assert_int_equal(write_text(w, ":1}\n{\"b\":1}\n{\"c\""), ERR_INVALID);
    assert_tail(w, "");
    assert_int_equal(counted(w, "refused_bad_line"), 1);
    assert_true(is_reported(w, "default/app: INVALID: as told"));
    world_done(w);
}

static void a_refusal_for_now_leaves_everything_as_it_was(void **state)
{
    static const struct {
        enum err_code code;
        const char *counter;
    } CASES[] = {{ERR_AGAIN, "refused_busy"},
                 {ERR_FULL, "refused_full"},
                 {ERR_TOOBIG, "refused_too_big"},
                 {ERR_IO, "failed"}};
    struct world *w = world_with_gateway(*state);
    assert_int_equal(write_text(w, "{\"a\""), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        fake_gateway_tell(&w->gateway, false, CASES[i].code);
        assert_int_equal(write_text(w, ":1}\n{\"c\""), CASES[i].code);
        assert_tail(w, "{\"a\"");
        assert_int_equal(counted(w, CASES[i].counter), 1);
    }
    fake_gateway_tell(&w->gateway, false, ERR_OK);
    assert_int_equal(write_text(w, ":1}\n{\"c\""), ERR_OK);
    assert_stored(w, "{\"a\":1}\n");
    assert_tail(w, "{\"c\"");
    world_done(w);
}

static void a_line_past_its_maximum_is_refused_and_gone(void **state)
{
    struct world *w = world_with_gateway(*state);
    char half[LINE_MAX_BYTES + 2];
    memset(half, 'x', sizeof half);
    assert_int_equal(write_bytes(w, (struct str){half, LINE_MAX_BYTES}), ERR_OK);
    assert_int_equal(write_text(w, "x"), ERR_INVALID);
    assert_tail(w, "");
    memcpy(half, "{}\n", 3);
    char with_line[LINE_MAX_BYTES + 4];
    memset(with_line, 'x', sizeof with_line);
    memcpy(with_line, "{}\n", 3);
    assert_int_equal(write_bytes(w, (struct str){with_line, sizeof with_line}), ERR_INVALID);
    assert_stored(w, "{}\n"); /* what stood before it */
    assert_tail(w, "");
    assert_true(is_reported(w, "longer than 1000 bytes (WEIR_LINE_MAX)"));
    assert_int_equal(counted(w, "refused_bad_line"), 2);
    world_done(w);
}

static void a_deleted_stream_takes_nothing(void **state)
{
    struct world *w = world_with_gateway(*state);
    struct inlet_call call = next_call(w);
    call.stream = 0;
    assert_int_equal(write_as(w, &call, STR("{}\n")), ERR_STALE);
    assert_int_equal(w->gateway.taken, 0);
    world_done(w);
}

/* ---- closing ---- */

static void a_flush_takes_a_tail_that_is_a_whole_object(void **state)
{
    static const struct {
        const char *tail;
        bool is_whole;
    } CASES[] = {{"{\"a\":1}", true}, {" {\"a\":{}} ", true}, {"", false},
                 {"{\"a\":1", false}, {"{\"a\":1}}", false},  {"[1]", false},
                 {"17", false},       {"{", false},           {"}", false},
                 {"{}", true},        {"{\"a}", false},       {UTF8_BOM "{\"a\":1}", true},
                 {UTF8_BOM, false}};
    struct world *w = world_with_gateway(*state);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        char line[64];
        buf_clear(&w->gateway.stored);
        assert_int_equal(write_text(w, CASES[i].tail), ERR_OK);
        assert_int_equal(flush(w), ERR_OK);
        snprintf(line, sizeof line, "%s\n", CASES[i].tail);
        assert_tail(w, CASES[i].is_whole ? "" : CASES[i].tail);
        if (CASES[i].is_whole)
            assert_stored(w, line);
        assert_int_equal(write_text(w, "\n"), ERR_OK);
    }
    world_done(w);
}

static void a_flush_that_is_refused_says_so_and_keeps_the_tail(void **state)
{
    struct world *w = world_with_gateway(*state);
    assert_int_equal(write_text(w, "{}"), ERR_OK);
    fake_gateway_tell(&w->gateway, false, ERR_FULL);
    assert_int_equal(flush(w), ERR_FULL);
    assert_tail(w, "{}");
    fake_gateway_tell(&w->gateway, false, ERR_INVALID);
    assert_int_equal(flush(w), ERR_INVALID);
    assert_tail(w, "");
    world_done(w);
}

static void what_is_left_at_the_last_close_is_counted_and_reported(void **state)
{
    struct world *w = world_with_gateway(*state);
    assert_int_equal(counted(w, "handles"), 1);
    assert_int_equal(write_text(w, "{\"a\":"), ERR_OK);
    assert_int_equal(release(w), ERR_OK);
    assert_int_equal(counted(w, "tails_dropped"), 1);
    assert_int_equal(counted(w, "tail_bytes_dropped"), 5);
    assert_int_equal(counted(w, "handles"), 0);
    assert_true(is_reported(w, "5 bytes after the last newline"));
    assert_int_equal(release(w), ERR_OK); /* sent again */
    assert_int_equal(write_text(w, "{}\n"), ERR_STALE);
    assert_int_equal(counted(w, "handles"), 0);
    world_done(w);
}

static void calls_of_one_handle_wait_for_each_other(void **state)
{
    struct world *w = world_with_gateway(*state);
    struct answer answers[4] = {answer_new(), answer_new(), answer_new(), answer_new()};
    struct inlet_call call;
    fake_gateway_tell(&w->gateway, true, ERR_OK);
    call = next_call(w);
    inlet_write(w->inlet, &call, STR("{\"a\":1}\n{\"b\""), note, &answers[0]);
    fake_gateway_wait(&w->gateway, 1);
    call = next_call(w);
    inlet_write(w->inlet, &call, STR(":1}"), note, &answers[1]);
    call = next_call(w);
    inlet_flush(w->inlet, &call, note, &answers[2]);
    call = next_call(w);
    inlet_release(w->inlet, &call, note, &answers[3]);
    assert_int_equal(
        answer_count(&answers[1]) + answer_count(&answers[2]) + answer_count(&answers[3]), 0);
    fake_gateway_tell(&w->gateway, false, ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++)
        assert_int_equal(answer_wait(&answers[i]), ERR_OK);
    assert_stored(w, "{\"a\":1}\n{\"b\":1}\n");
    assert_int_equal(counted(w, "tails_dropped"), 0);
    world_done(w);
}

/* ---- sent again ---- */

static void a_write_that_the_tail_knows_is_not_added_twice(void **state)
{
    struct world *w = world_with_gateway(*state);
    struct inlet_call call = next_call(w);
    assert_int_equal(write_as(w, &call, STR("{\"a\":1}\n{\"b\"")), ERR_OK);
    call.is_resent = true;
    assert_int_equal(write_as(w, &call, STR("{\"a\":1}\n{\"b\"")), ERR_OK);
    assert_stored(w, "{\"a\":1}\n");
    assert_tail(w, "{\"b\"");
    call = next_call(w);
    assert_int_equal(write_as(w, &call, STR(":1")), ERR_OK);
    assert_int_equal(flush(w), ERR_OK);
    call.is_resent = true;
    assert_int_equal(write_as(w, &call, STR(":1")), ERR_OK);
    assert_tail(w, "{\"b\":1");
    fake_gateway_tell(&w->gateway, false, ERR_INVALID);
    call = next_call(w);
    assert_int_equal(write_as(w, &call, STR("}}\n")), ERR_INVALID);
    fake_gateway_tell(&w->gateway, false, ERR_OK);
    call.is_resent = true;
    assert_int_equal(write_as(w, &call, STR("}}\n")), ERR_INVALID);
    assert_int_equal(counted(w, "answered_from_memory"), 3);
    world_done(w);
}

static void store_request(struct world *w, uint64_t number, enum err_code answer)
{
    static uint64_t batch;
    struct batch_run r = run_of(5, 100, "{}\n");
    struct batch_part p = {.id = {w->f->epoch, 0, ++batch},
                           .parts = 1,
                           .flags = BATCH_LAST | BATCH_NO_SYNC,
                           .runs = &r,
                           .run_count = 1,
                           .request = {MOUNT, number, answer}};
    assert_int_equal(append_part(w->f->j, &p, NULL), ERR_OK);
}

/* The process was killed between the journal and the tail. */
static void a_write_that_the_journal_knows_is_answered_and_its_tail_taken(void **state)
{
    struct world *w = world_with_gateway(*state);
    struct inlet_call call;
    assert_int_equal(write_text(w, "{\"a\""), ERR_OK);
    call = next_call(w);
    store_request(w, call.request, ERR_OK);
    call.is_resent = true;
    assert_int_equal(write_as(w, &call, STR(":1}\n{\"b\"")), ERR_OK);
    assert_tail(w, "{\"b\"");
    call = next_call(w);
    store_request(w, call.request, ERR_INVALID);
    call.is_resent = true;
    assert_int_equal(write_as(w, &call, STR(":1}\nbad\n{\"c\"")), ERR_INVALID);
    assert_tail(w, "");
    assert_int_equal(w->gateway.taken, 0);
    call = next_call(w); /* nobody knows this one */
    call.is_resent = true;
    assert_int_equal(write_as(w, &call, STR("{\"d\":1}\n")), ERR_OK);
    assert_stored(w, "{\"d\":1}\n");
    world_done(w);
}

/* ---- known before the gateway says so ---- */

static void what_is_in_the_journal_is_answered_before_the_gateway_says_so(void **state)
{
    struct world *w = world_with_gateway(*state);
    struct answer a = answer_new(), b = answer_new();
    struct inlet_call call = next_call(w);
    fake_gateway_tell(&w->gateway, true, ERR_OK);
    inlet_write(w->inlet, &call, STR("{\"a\":1}\n{\"b\""), note, &a);
    fake_gateway_wait(&w->gateway, 1);
    door_stored(w->door, call.request + 100, 1);
    assert_int_equal(answer_count(&a), 0);
    door_stored(w->door, call.request, 1);
    assert_int_equal(answer_wait(&a), ERR_OK);
    door_stored(w->door, call.request, 1);
    assert_tail(w, "{\"b\"");
    assert_int_equal(counted(w, "lines_stored"), 1);
    assert_int_equal(counted(w, "pending_bytes"), 0);
    call = next_call(w);
    inlet_write(w->inlet, &call, STR(":2}\n"), note, &b);
    assert_int_equal(w->gateway.taken, 1); /* the connection is not free yet */
    fake_gateway_tell(&w->gateway, false, ERR_OK);
    assert_int_equal(answer_wait(&b), ERR_OK);
    assert_int_equal(w->gateway.taken, 2);
    assert_int_equal(counted(w, "lines_stored"), 2);
    world_done(w);
}

static void a_gateway_that_dies_after_that_is_asked_nothing_again(void **state)
{
    struct world *w = world_with_gateway(*state);
    struct answer a = answer_new();
    struct inlet_call call = next_call(w);
    fake_gateway_tell(&w->gateway, true, ERR_OK);
    inlet_write(w->inlet, &call, STR("{}\n"), note, &a);
    fake_gateway_wait(&w->gateway, 1);
    door_stored(w->door, call.request, 1);
    assert_int_equal(answer_wait(&a), ERR_OK);
    w->gateway.dies = true;
    fake_gateway_stop(&w->gateway);
    fake_gateway_start(&w->gateway, w->door);
    assert_int_equal(write_text(w, "{\"next\":1}\n"), ERR_OK);
    assert_stored(w, "{\"next\":1}\n");
    assert_int_equal(a.count, 1);
    world_done(w);
}

/* ---- gateways that die, or are not there ---- */

static void a_question_outlives_the_gateway_that_had_it(void **state)
{
    struct world *w = world_with_gateway(*state);
    struct answer a = answer_new();
    struct inlet_call call = next_call(w);
    fake_gateway_tell(&w->gateway, true, ERR_IO);
    inlet_write(w->inlet, &call, STR("{\"a\":1}\n"), note, &a);
    fake_gateway_wait(&w->gateway, 1);
    w->gateway.dies = true;
    fake_gateway_stop(&w->gateway);
    fake_gateway_start(&w->gateway, w->door);
    assert_int_equal(answer_wait(&a), ERR_OK);
    assert_stored(w, "{\"a\":1}\n");
    assert_int_equal(w->gateway.ask.request, call.request);
    assert_int_equal(w->gateway.ask.mount, MOUNT);
    assert_int_equal(w->gateway.ask.stream, 5);
    world_done(w);
}

static void what_the_dead_gateway_had_stored_is_answered(void **state)
{
    struct world *w = world_with_gateway(*state);
    struct answer a = answer_new();
    struct inlet_call call = next_call(w);
    fake_gateway_tell(&w->gateway, true, ERR_OK);
    inlet_write(w->inlet, &call, STR("{\"a\":1}\n{\"b\""), note, &a);
    fake_gateway_wait(&w->gateway, 1);
    store_request(w, call.request, ERR_OK);
    w->gateway.dies = true;
    fake_gateway_stop(&w->gateway);
    w->has_gateway = false;
    assert_int_equal(answer_wait(&a), ERR_OK);
    assert_tail(w, "{\"b\"");
    world_done(w);
}

static void without_a_gateway_a_write_fails_after_its_time(void **state)
{
    struct world *w = world_make(*state, SHORT_WAIT_MS);
    assert_int_equal(write_text(w, "{\"a\""), ERR_OK); /* needs none */
    assert_int_equal(write_text(w, ":1}\n"), ERR_GONE);
    assert_tail(w, "{\"a\"");
    assert_int_equal(counted(w, "refused_no_gateway"), 1);
    assert_int_equal(counted(w, "pending_bytes"), 0);
    fake_gateway_start(&w->gateway, w->door);
    w->has_gateway = true;
    assert_int_equal(write_text(w, ":1}\n"), ERR_OK);
    assert_stored(w, "{\"a\":1}\n");
    world_done(w);
}

static void a_gateway_that_says_nothing_is_left_after_that_time(void **state)
{
    struct world *w = world_make(*state, SHORT_WAIT_MS);
    fake_gateway_start(&w->gateway, w->door);
    w->has_gateway = true;
    fake_gateway_tell(&w->gateway, true, ERR_OK);
    assert_int_equal(write_text(w, "{}\n"), ERR_GONE);
    fake_gateway_stop(&w->gateway);
    fake_gateway_start(&w->gateway, w->door);
    assert_int_equal(write_text(w, "{}\n"), ERR_OK);
    world_done(w);
}

static void an_interrupt_ends_what_was_not_sent(void **state)
{
    struct world *w = world_make(*state, WAIT_MS);
    struct answer a = answer_new(), b = answer_new();
    struct inlet_call first = next_call(w), second = next_call(w);
    uint64_t other;
    assert_true(inlet_open(w->inlet, 2, false, &other));
    second.handle = other;
    inlet_write(w->inlet, &first, STR("{\"a\":1}\n"), note, &a);
    inlet_write(w->inlet, &second, STR("{\"b\":1}\n"), note, &b);
    door_cancel(w->door, first.request + 100);
    door_cancel(w->door, second.request);
    assert_int_equal(b.count, 1);
    assert_int_equal(b.code, ERR_CANCELLED);
    door_cancel(w->door, first.request);
    assert_int_equal(a.code, ERR_CANCELLED);
    assert_int_equal(counted(w, "interrupted"), 2);
    assert_int_equal(counted(w, "pending_bytes"), 0);
    fake_gateway_start(&w->gateway, w->door);
    w->has_gateway = true;
    fake_gateway_tell(&w->gateway, true, ERR_OK);
    a = answer_new();
    inlet_write(w->inlet, &first, STR("{\"a\":2}\n"), note, &a);
    fake_gateway_wait(&w->gateway, 1);
    door_cancel(w->door, first.request); /* too late */
    assert_int_equal(answer_count(&a), 0);
    fake_gateway_tell(&w->gateway, false, ERR_OK);
    assert_int_equal(answer_wait(&a), ERR_OK);
    assert_stored(w, "{\"a\":2}\n");
    world_done(w);
}

static void an_interrupt_ends_what_was_kept_behind_another_call(void **state)
{
    struct world *w = world_with_gateway(*state);
    struct answer answers[4] = {answer_new(), answer_new(), answer_new(), answer_new()};
    struct inlet_call calls[4];
    fake_gateway_tell(&w->gateway, true, ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        calls[i] = next_call(w);
        inlet_write(w->inlet, &calls[i], STR("{}\n"), note, &answers[i]);
    }
    inlet_cancel(w->inlet, calls[1].request);
    inlet_cancel(w->inlet, calls[3].request);
    inlet_cancel(w->inlet, calls[3].request + 100);
    assert_int_equal(answer_count(&answers[1]) + answer_count(&answers[3]), 2);
    assert_int_equal(answers[1].code, ERR_CANCELLED);
    assert_int_equal(counted(w, "interrupted"), 2);
    fake_gateway_tell(&w->gateway, false, ERR_OK);
    assert_int_equal(answer_wait(&answers[0]), ERR_OK);
    assert_int_equal(answer_wait(&answers[2]), ERR_OK);
    assert_stored(w, "{}\n{}\n");
    world_done(w);
}

/* Whether its lines are stored is not known then. */
static void an_interrupted_write_does_not_outlive_the_gateway_that_had_it(void **state)
{
    struct world *w = world_with_gateway(*state);
    struct answer before = answer_new(), after = answer_new();
    struct inlet_call first = next_call(w), second = next_call(w);
    assert_true(inlet_open(w->inlet, 2, false, &second.handle));
    fake_gateway_tell(&w->gateway, true, ERR_IO);
    inlet_write(w->inlet, &first, STR("{\"a\":1}\n"), note, &before);
    fake_gateway_wait(&w->gateway, 1);
    inlet_cancel(w->inlet, first.request);
    assert_int_equal(answer_count(&before), 0);
    w->gateway.dies = true;
    fake_gateway_stop(&w->gateway);
    assert_int_equal(answer_wait(&before), ERR_GONE);
    fake_gateway_start(&w->gateway, w->door);
    fake_gateway_tell(&w->gateway, true, ERR_IO);
    inlet_write(w->inlet, &second, STR("{\"a\":1}\n"), note, &after);
    fake_gateway_wait(&w->gateway, 1);
    w->gateway.dies = true;
    fake_gateway_stop(&w->gateway);
    w->has_gateway = false;
    inlet_cancel(w->inlet, second.request);
    assert_int_equal(answer_wait(&after), ERR_GONE);
    world_done(w);
}

static void more_than_may_wait_is_refused_at_once(void **state)
{
    struct world *w = world_with_gateway(*state);
    struct answer first = answer_new(), second = answer_new();
    char line[PENDING_MAX / 2 + 1];
    uint64_t other;
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    assert_true(inlet_open(w->inlet, 2, false, &other));
    fake_gateway_tell(&w->gateway, true, ERR_OK);
    struct inlet_call a = next_call(w), b = next_call(w);
    b.handle = other;
    inlet_write(w->inlet, &a, (struct str){line, sizeof line}, note, &first);
    inlet_write(w->inlet, &b, (struct str){line, sizeof line}, note, &second);
    assert_int_equal(answer_wait(&second), ERR_AGAIN);
    assert_int_equal(answer_count(&first), 0);
    assert_int_equal(counted(w, "refused_busy"), 1);
    assert_int_equal(counted(w, "pending_bytes"), sizeof line);
    fake_gateway_tell(&w->gateway, false, ERR_OK);
    assert_int_equal(answer_wait(&first), ERR_OK);
    assert_int_equal(write_as(w, &b, (struct str){line, sizeof line}), ERR_OK);
    world_done(w);
}

static void longer_tails_than_all_may_be_are_refused_with_nothing_taken(void **state)
{
    static const char half[LINE_MAX_BYTES] = "{\"a\":\"";
    char lines[4 + TAILS_MAX - LINE_MAX_BYTES] = "{}\n{";
    struct world *w = world_with_gateway(*state);
    struct inlet_call other = next_call(w);
    assert_true(inlet_open(w->inlet, 2, false, &other.handle));
    assert_int_equal(write_as(w, &other, (struct str){half, sizeof half}), ERR_OK);
    assert_int_equal(counted(w, "tail_bytes"), LINE_MAX_BYTES);
    assert_int_equal(write_bytes(w, (struct str){half, TAILS_MAX - LINE_MAX_BYTES + 1}), ERR_AGAIN);
    assert_int_equal(write_bytes(w, (struct str){lines, sizeof lines}), ERR_AGAIN);
    assert_int_equal(w->gateway.taken, 0);
    assert_tail(w, "");
    assert_int_equal(counted(w, "refused_busy"), 2);
    assert_int_equal(write_bytes(w, (struct str){lines, sizeof lines - 1}), ERR_OK);
    assert_int_equal(counted(w, "tail_bytes"), TAILS_MAX);
    assert_int_equal(write_text(w, "{}"), ERR_AGAIN);
    assert_int_equal(write_text(w, "{}\n"), ERR_OK); /* which ends a tail */
    assert_int_equal(counted(w, "tail_bytes"), LINE_MAX_BYTES);
    other.request += 100;
    assert_int_equal(write_as(w, &other, STR("\"}\n")), ERR_OK);
    assert_int_equal(counted(w, "tail_bytes"), 0);
    world_done(w);
}

static void what_is_not_stored_leaves_no_room_reserved(void **state)
{
    static const enum err_code CODES[] = {ERR_AGAIN, ERR_FULL, ERR_INVALID};
    struct world *w = world_with_gateway(*state);
    for (size_t i = 0; i < ARRAY_LEN(CODES); i++) {
        fake_gateway_tell(&w->gateway, false, CODES[i]);
        assert_int_equal(write_text(w, "{}\n{\"a\""), CODES[i]);
        assert_int_equal(counted(w, "tail_bytes"), 0);
    }
    world_done(w);
}

static void many_handles_share_few_doors(void **state)
{
    enum { HANDLES = 200 };
    struct world *w = world_with_gateway(*state);
    struct answer answers[HANDLES];
    for (int i = 0; i < HANDLES; i++) {
        struct inlet_call call = next_call(w);
        answers[i] = answer_new();
        assert_true(inlet_open(w->inlet, call.request, false, &call.handle));
        inlet_write(w->inlet, &call, STR("{}\n"), note, &answers[i]);
    }
    for (int i = 0; i < HANDLES; i++)
        assert_int_equal(answer_wait(&answers[i]), ERR_OK);
    assert_int_equal(w->gateway.stored.len, 3 * HANDLES);
    assert_int_equal(counted(w, "lines_stored"), HANDLES);
    world_done(w);
}

#define WITH_JOURNAL(test) cmocka_unit_test_setup_teardown(test, fixture_make, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_JOURNAL(every_cut_gives_the_same_lines),
        WITH_JOURNAL(an_empty_write_changes_nothing),
        WITH_JOURNAL(what_is_larger_than_a_socket_takes_arrives_whole),
        WITH_JOURNAL(a_bad_line_takes_the_rest_of_the_write_and_the_tail_along),
        WITH_JOURNAL(a_refusal_for_now_leaves_everything_as_it_was),
        WITH_JOURNAL(a_line_past_its_maximum_is_refused_and_gone),
        WITH_JOURNAL(a_deleted_stream_takes_nothing),
        WITH_JOURNAL(a_flush_takes_a_tail_that_is_a_whole_object),
        WITH_JOURNAL(a_flush_that_is_refused_says_so_and_keeps_the_tail),
        WITH_JOURNAL(what_is_left_at_the_last_close_is_counted_and_reported),
        WITH_JOURNAL(calls_of_one_handle_wait_for_each_other),
        WITH_JOURNAL(a_write_that_the_tail_knows_is_not_added_twice),
        WITH_JOURNAL(a_write_that_the_journal_knows_is_answered_and_its_tail_taken),
        WITH_JOURNAL(what_is_in_the_journal_is_answered_before_the_gateway_says_so),
        WITH_JOURNAL(a_gateway_that_dies_after_that_is_asked_nothing_again),
        WITH_JOURNAL(a_question_outlives_the_gateway_that_had_it),
        WITH_JOURNAL(what_the_dead_gateway_had_stored_is_answered),
        WITH_JOURNAL(without_a_gateway_a_write_fails_after_its_time),
        WITH_JOURNAL(a_gateway_that_says_nothing_is_left_after_that_time),
        WITH_JOURNAL(an_interrupt_ends_what_was_not_sent),
        WITH_JOURNAL(an_interrupt_ends_what_was_kept_behind_another_call),
        WITH_JOURNAL(an_interrupted_write_does_not_outlive_the_gateway_that_had_it),
        WITH_JOURNAL(more_than_may_wait_is_refused_at_once),
        WITH_JOURNAL(longer_tails_than_all_may_be_are_refused_with_nothing_taken),
        WITH_JOURNAL(what_is_not_stored_leaves_no_room_reserved),
        WITH_JOURNAL(many_handles_share_few_doors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
