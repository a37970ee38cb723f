// links: weir_fs weir_index
/* tests/unit/test_frame.c - frames: encoded, checked, damaged bit by bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fs/journal/frame.h"

enum { SEQ = 7, OFFSET = 4096, ROOM = 4096 };

static const struct str PAYLOAD = {"{\"a\":1}\n{\"b\":22}\n\n{\"c\":333}\n", 28};
enum { LINES = 4 };

static size_t make_frame(char *dst)
{
    struct frame f = {.kind = FRAME_DATA,
                      .batch = {3, 4, 5},
                      .part = 6,
                      .stream = 8,
                      .hour = -9,
                      .appended_us = 10,
                      .min_ts_us = -11,
                      .max_ts_us = 12,
                      .line_count = LINES};
    frame_encode(dst, &f, PAYLOAD, (struct str){NULL, 0});
    frame_number(dst, 77, 13);
    return frame_size(LINES, PAYLOAD.len, 0);
}

static size_t make_last(char *dst)
{
    char places[2 * FRAME_PLACE_LEN];
    make_frame(dst);
    place_encode(places, &(struct place){1, 28, 1000});
    place_encode(places + FRAME_PLACE_LEN, &(struct place){2, 5, UINT64_C(1) << 40});
    size_t len = frame_append_tail(dst, (struct str){places, sizeof places}, 0);
    frame_finish(dst, frame_position(6, 123), SEQ, OFFSET);
    return len;
}

static void all_fields_come_back(void **state)
{
    char bytes[ROOM];
    struct frame f;
    (void)state;
    size_t len = make_last(bytes);
    assert_int_equal(len % 8, 0);
    assert_int_equal(frame_peek(bytes, len), len);
    assert_true(frame_decode((struct str){bytes, len}, SEQ, OFFSET, &f));
    assert_int_equal(f.kind, FRAME_DATA);
    assert_int_equal(f.flags, FRAME_LAST);
    assert_int_equal(f.batch.epoch, 3);
    assert_int_equal(f.batch.worker, 4);
    assert_int_equal(f.batch.number, 5);
    assert_int_equal(f.part, 6);
    assert_int_equal(f.serial, 77);
    assert_int_equal(f.run, 13);
    assert_int_equal(f.stream, 8);
    assert_int_equal(f.hour, -9);
    assert_int_equal(f.synced_to, frame_position(6, 123));
    assert_int_equal(f.appended_us, 10);
    assert_int_equal(f.min_ts_us, -11);
    assert_int_equal(f.max_ts_us, 12);
    assert_int_equal(f.line_count, LINES);
    assert_true(str_eq((struct str){f.payload, f.payload_len}, PAYLOAD));
    assert_true(frame_is_whole(&f));
    assert_int_equal(f.tail_len, 2 * FRAME_PLACE_LEN);
    assert_int_equal(place_decode(f.tail + FRAME_PLACE_LEN).offset, UINT64_C(1) << 40);
}

static void a_request_stands_after_the_places(void **state)
{
    static const struct batch_request REQUESTS[] = {{5, 6, ERR_OK}, {UINT64_MAX, 1, ERR_INVALID}};
    char bytes[ROOM], tail[2 * FRAME_PLACE_LEN + FRAME_REQUEST_LEN];
    struct batch_request got;
    struct frame f;
    (void)state;
    for (size_t i = 0; i < sizeof REQUESTS / sizeof *REQUESTS; i++) {
        memset(tail, 1, sizeof tail);
        request_encode(tail + 2 * FRAME_PLACE_LEN, &REQUESTS[i]);
        make_frame(bytes);
        size_t len = frame_append_tail(bytes, (struct str){tail, sizeof tail}, FRAME_REQUEST);
        frame_finish(bytes, 0, SEQ, OFFSET);
        assert_true(frame_decode((struct str){bytes, len}, SEQ, OFFSET, &f));
        assert_int_equal(f.flags, FRAME_LAST | FRAME_REQUEST);
        assert_int_equal(frame_places(&f).len, 2 * FRAME_PLACE_LEN);
        assert_true(frame_request(&f, &got));
        assert_int_equal(got.mount, REQUESTS[i].mount);
        assert_int_equal(got.number, REQUESTS[i].number);
        assert_int_equal(got.answer, REQUESTS[i].answer);
        frame_drop_tail(bytes);
        frame_append_tail(bytes, (struct str){tail, 2 * FRAME_PLACE_LEN}, 0);
        frame_finish(bytes, 0, SEQ, OFFSET);
        assert_true(frame_decode((struct str){bytes, len - FRAME_REQUEST_LEN}, SEQ, OFFSET, &f));
        assert_int_equal(frame_places(&f).len, 2 * FRAME_PLACE_LEN);
        assert_false(frame_request(&f, &got));
    }
}

static void a_tail_can_be_taken_off_and_put_on_again(void **state)
{
    char bytes[ROOM], again[ROOM];
    (void)state;
    size_t len = make_last(bytes);
    make_last(again);
    frame_drop_tail(again);
    assert_int_equal(frame_peek(again, ROOM), frame_size(LINES, PAYLOAD.len, 0));
    frame_append_tail(again, (struct str){bytes + len - 32, 32}, 0);
    frame_finish(again, frame_position(6, 123), SEQ, OFFSET);
    assert_memory_equal(again, bytes, len);
}

static void a_frame_is_valid_at_one_place_only(void **state)
{
    char bytes[ROOM];
    struct frame f;
    (void)state;
    struct str s = {bytes, make_last(bytes)};
    assert_false(frame_decode(s, SEQ, OFFSET + 8, &f));
    assert_false(frame_decode(s, SEQ + 1, OFFSET, &f));
    assert_true(frame_decode(s, SEQ, OFFSET, &f));
}

static uint32_t good_lines(const struct frame *f)
{
    struct frame_stretch s = {0};
    uint32_t n = 0;
    while (frame_next_stretch(f, &s)) {
        assert_memory_equal(f->payload + s.at, PAYLOAD.ptr + s.at, s.len);
        n += s.lines;
    }
    return n;
}

static void no_flipped_bit_goes_unseen(void **state)
{
    char bytes[ROOM];
    struct frame f;
    (void)state;
    size_t len = make_last(bytes), payload_at = frame_payload_at(LINES);
    for (size_t bit = 0; bit < len * 8; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        bool ok = frame_decode((struct str){bytes, len}, SEQ, OFFSET, &f);
        if (bit / 8 < payload_at) {
            assert_false(ok);
        } else if (bit / 8 < payload_at + PAYLOAD.len) {
            assert_true(ok);
            assert_false(frame_is_whole(&f));
            assert_int_equal(good_lines(&f), LINES - 1);
        } else if (bit / 8 >= payload_at + 32) { /* the tail; before it only padding */
            assert_true(ok);
            assert_false(f.has_tail);
            assert_int_equal(f.tail_len, 0);
            assert_int_equal(good_lines(&f), LINES);
        }
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
}

static void a_torn_frame_tells_its_whole_lines(void **state)
{
    static const size_t ENDS[LINES] = {8, 17, 18, 28};
    char bytes[ROOM];
    struct frame f;
    (void)state;
    size_t len = make_last(bytes), payload_at = frame_payload_at(LINES);
    for (size_t cut = PAYLOAD.len; cut-- > 0;) {
        uint32_t want = 0;
        memset(bytes + payload_at + cut, 0, len - payload_at - cut);
        while (want < LINES && ENDS[want] <= cut)
            want++;
        assert_true(frame_decode((struct str){bytes, len}, SEQ, OFFSET, &f));
        assert_int_equal(good_lines(&f), want);
    }
}

static void lengths_that_lie_are_refused(void **state)
{
    char bytes[ROOM];
    struct frame f;
    (void)state;
    size_t len = make_last(bytes);
    for (size_t room = 0; room < len; room++) {
        char *exact = malloc(room ? room : 1);
        memcpy(exact, bytes, room);
        assert_false(frame_decode((struct str){exact, room}, SEQ, OFFSET, &f));
        free(exact);
    }
    for (size_t at = 96; at < 108; at += 4) {
        uint32_t was = get_u32(bytes + at);
        put_u32(bytes + at, UINT32_MAX);
        assert_int_equal(frame_peek(bytes, len), 0);
        put_u32(bytes + at, was);
    }
}

static void declarations_come_back(void **state)
{
    char stream[STREAM_DECL_MAX], file[FILE_DECL_LEN], worker[WORKER_LAST_LEN];
    struct stream_decl s, s2 = {9, STREAM_TRACES, STR("org"), STR("a name")};
    struct file_decl d,
        d2 = {.number = 3, .id = ulid_new(), .stream = 9, .hour = -1, .is_closed = true};
    struct worker_last w, w2 = {1, 2, 3, ERR_IO};
    size_t used;
    (void)state;
    size_t n = stream_decl_encode(stream, &s2);
    assert_true(stream_decl_decode((struct str){stream, n}, &s, &used));
    assert_int_equal(used, n);
    assert_true(s.number == 9 && s.type == STREAM_TRACES && str_eq(s.org, s2.org) &&
                str_eq(s.name, s2.name));
    for (size_t cut = 0; cut < n; cut++)
        assert_false(stream_decl_decode((struct str){stream, cut}, &s, &used));
    file_decl_encode(file, &d2);
    assert_true(file_decl_decode((struct str){file, sizeof file}, &d));
    assert_true(d.number == 3 && d.stream == 9 && d.hour == -1 && d.is_closed &&
                ulid_cmp(&d.id, &d2.id) == 0);
    assert_false(file_decl_decode((struct str){file, sizeof file - 1}, &d));
    worker_last_encode(worker, &w2);
    assert_true(worker_last_decode(worker, &w));
    assert_true(w.epoch == 1 && w.number == 2 && w.worker == 3 && w.answer == ERR_IO);
    put_u32(worker + 20, ERR_CODE_COUNT);
    assert_false(worker_last_decode(worker, &w));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_fields_come_back),
        cmocka_unit_test(a_request_stands_after_the_places),
        cmocka_unit_test(a_tail_can_be_taken_off_and_put_on_again),
        cmocka_unit_test(a_frame_is_valid_at_one_place_only),
        cmocka_unit_test(no_flipped_bit_goes_unseen),
        cmocka_unit_test(a_torn_frame_tells_its_whole_lines),
        cmocka_unit_test(lengths_that_lie_are_refused),
        cmocka_unit_test(declarations_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
