// links: weir_fs weir_index
/* tests/unit/test_batch.c - parts of batches: what was encoded comes back, hostile ones are refused
 * with the reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/crc32c.h"
#include "fs/journal/batch.h"

enum { RUNS = 3, HOUR = 490000, CHECKSUM_AT = 72, RUNS_LEN_AT = 40 };

static char message[BATCH_PART_MAX];
static struct batch_run decoded[BATCH_RUNS_MAX];

static struct batch_run run_of(uint64_t stream, enum stream_type type, const char *name,
                               uint32_t lines, const char *text)
{
    return (struct batch_run){.stream = stream,
                              .type = type,
                              .org = STR("default"),
                              .name = str_from(name),
                              .hour = HOUR - (int32_t)stream,
                              .lines = lines,
                              .min_ts_us = -5,
                              .max_ts_us = (int64_t)stream,
                              .bytes = str_from(text)};
}

static void fill(struct batch_run runs[RUNS])
{
    runs[0] = run_of(1, STREAM_LOGS, "app", 2, "{\"a\":1}\n{\"a\":2}\n");
    runs[1] = run_of(UINT64_MAX, STREAM_TRACES, "a-name-of-some-length", 1, "\n");
    runs[2] = run_of(3, STREAM_METRICS, "u", 3, "{}\n{}\n{}\n");
}

static size_t encode(const struct batch_part *p)
{
    struct err e = {0};
    size_t len = 0;
    if (batch_encode(p, message, &len, &e))
        fail_msg("%s", e.msg);
    return len;
}

static size_t encode_sample(void)
{
    struct batch_run runs[RUNS];
    fill(runs);
    return encode(&(struct batch_part){{7, 4, 9}, 0, 1, BATCH_LAST, runs, RUNS, {0}});
}

/* In memory of exactly that size, so that a read past its end is seen. */
static enum err_code decode_exact(const char *msg, size_t len, size_t run_max, struct err *e)
{
    struct batch_part p;
    char *exact = malloc(len ? len : 1);
    assert_non_null(exact);
    memcpy(exact, msg, len);
    *e = (struct err){0};
    enum err_code rc = batch_decode((struct str){exact, len}, decoded, run_max, &p, e);
    free(exact);
    return rc;
}

static void assert_same_run(const struct batch_run *a, const struct batch_run *b)
{
    assert_int_equal(a->stream, b->stream);
    assert_int_equal(a->type, b->type);
    assert_true(str_eq(a->org, b->org));
    assert_true(str_eq(a->name, b->name));
    assert_int_equal(a->hour, b->hour);
    assert_int_equal(a->lines, b->lines);
    assert_int_equal(a->min_ts_us, b->min_ts_us);
    assert_int_equal(a->max_ts_us, b->max_ts_us);
    assert_true(str_eq(a->bytes, b->bytes));
}

static void what_was_encoded_comes_back(void **state)
{
    static const struct {
        struct batch_id id;
        uint32_t part, parts;
        uint16_t flags;
        size_t first, count;
        struct batch_request request;
    } CASES[] = {
        {{1, 0, 1}, 0, 1, BATCH_LAST, 0, RUNS, {0}},
        {{UINT64_MAX, UINT32_MAX, UINT64_MAX},
         0,
         1,
         BATCH_LAST | BATCH_NO_SYNC,
         1,
         1,
         {9, 8, ERR_OK}},
        {{2, 3, 4}, 0, 0, 0, 0, 2, {UINT64_MAX, UINT64_MAX, ERR_INVALID}},
        {{2, 3, 4}, 7, 0, BATCH_NO_SYNC, 2, 1, {0}},
        {{2, 3, 4}, BATCH_PARTS_MAX - 1, BATCH_PARTS_MAX, BATCH_LAST, 0, 1, {0}},
        {{2, 3, 4}, 0, 1, BATCH_LAST, 0, 0, {0}},
    };
    struct batch_run runs[RUNS];
    struct batch_part p;
    struct err e = {0};
    (void)state;
    fill(runs);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct batch_part want = {CASES[i].id,     CASES[i].part,         CASES[i].parts,
                                  CASES[i].flags,  runs + CASES[i].first, CASES[i].count,
                                  CASES[i].request};
        size_t len = encode(&want);
        if (batch_decode((struct str){message, len}, decoded, CASES[i].count, &p, &e))
            fail_msg("case %zu: %s", i, e.msg);
        assert_int_equal(p.id.epoch, want.id.epoch);
        assert_int_equal(p.id.worker, want.id.worker);
        assert_int_equal(p.id.number, want.id.number);
        assert_int_equal(p.part, want.part);
        assert_int_equal(p.parts, want.parts);
        assert_int_equal(p.flags, want.flags);
        assert_int_equal(p.run_count, want.run_count);
        assert_int_equal(p.request.mount, want.request.mount);
        assert_int_equal(p.request.number, want.request.number);
        assert_int_equal(p.request.answer, want.request.answer);
        for (size_t k = 0; k < want.run_count; k++)
            assert_same_run(&p.runs[k], &want.runs[k]);
    }
}

static void the_longest_names_come_back(void **state)
{
    static char letters[NAME_MAX_BYTES];
    struct batch_run run = run_of(1, STREAM_LOGS, "app", 1, "{}\n");
    struct batch_part p, want = {{1, 1, 1}, 0, 1, BATCH_LAST, &run, 1, {0}};
    struct err e = {0};
    (void)state;
    memset(letters, 'n', sizeof letters);
    run.org = run.name = (struct str){letters, sizeof letters};
    size_t len = encode(&want);
    assert_int_equal(batch_decode((struct str){message, len}, decoded, 1, &p, &e), ERR_OK);
    assert_same_run(&p.runs[0], &run);
    assert_int_equal(len, BATCH_HEADER_LEN + batch_run_overhead(run.org, run.name) + 3);
}

/* What is wrong with a message whose checksum is right. */
static void numbers_that_lie_are_refused(void **state)
{
    static const struct {
        const char *what;
        size_t at, width;
        uint64_t value;
        const char *reason;
    } CASES[] = {
        {"magic", 0, 4, 0x54414258, "batch: no batch of version 2"},
        {"version", 4, 2, 1, "batch: no batch of version 2"},
        {"an unknown flag", 6, 2, 0x8001, "batch: flags 0x8001 are of another version"},
        {"what must be zero", 68, 4, 1, "batch: flags 0x1 are of another version"},
        {"what must be zero at the end", 76, 4, 1, "batch: flags 0x1 are of another version"},
        {"a request of no mount", 56, 8, 6, "batch: request 6 with answer 0"},
        {"a mount of no request", 48, 8, 6, "batch: request 0 with answer 0"},
        {"an answer to no request", 64, 4, 1, "batch: request 0 with answer 1"},
        {"an unknown answer", 64, 4, ERR_CODE_COUNT, "batch: request 0 with answer"},
        {"too high a part", 20, 4, BATCH_PARTS_MAX, "batch: part 20 of 1"},
        {"a last part of more", 32, 4, 2, "batch: part 0 of 2"},
        {"a count in a part that is not the last", 6, 2, 0, "batch: part 0 of 1"},
        {"fewer runs", 36, 4, RUNS - 1, "batch: bytes left over"},
        {"more runs", 36, 4, RUNS + 1, "batch: the run table ends at byte 176"},
        {"most runs", 36, 4, UINT32_MAX, "batch: 4294967295 runs"},
        {"a longer table", 40, 4, 184, "do not add up"},
        {"the longest table", 40, 4, UINT32_MAX, "do not add up"},
        {"a longer payload", 44, 4, 100, "do not add up"},
        {"the longest payload", 44, 4, UINT32_MAX, "do not add up"},
        {"no stream", 80, 8, 0, "batch: the run at byte 0 is broken"},
        {"an unknown type", 92, 1, STREAM_TYPE_COUNT, "batch: the run at byte 0 is broken"},
        {"no org", 93, 1, 0, "batch: the run at byte 0 is broken"},
        {"no name", 94, 1, 0, "batch: the run at byte 0 is broken"},
        {"a name past the table", 136 + 14, 1, 200, "batch: the run at byte 56 is broken"},
        {"a byte that must be zero", 95, 1, 1, "batch: the run at byte 0 is broken"},
        {"padding that is not zero", 80 + 50, 1, 1, "batch: the run at byte 0 is broken"},
        {"a first time after the last", 104, 8, 2, "batch: the run at byte 0 is broken"},
        {"more lines", 96, 4, 3, "batch: run 0 does not hold 3 whole lines"},
        {"no lines", 96, 4, 0, "batch: run 0 does not hold 0 whole lines"},
        {"bytes that end within a line", 100, 4, 15, "batch: run 0 does not hold 2 whole lines"},
        {"no bytes", 100, 4, 0, "batch: run 0 has 0 bytes"},
        {"more bytes than there are", 100, 4, 27, "batch: run 0 has 27 bytes"},
        {"most bytes", 100, 4, UINT32_MAX, "batch: run 0 has 4294967295 bytes"},
    };
    struct err e;
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        size_t len = encode_sample();
        memcpy(message + CASES[i].at, &CASES[i].value, CASES[i].width);
        uint32_t runs_len = get_u32(message + RUNS_LEN_AT);
        if (runs_len < len)
            put_u32(message + CHECKSUM_AT,
                    crc32c(crc32c(0, message, CHECKSUM_AT), message + BATCH_HEADER_LEN, runs_len));
        if (decode_exact(message, len, BATCH_RUNS_MAX, &e) != ERR_INVALID ||
            !strstr(e.msg, CASES[i].reason))
            fail_msg("%s: \"%s\" instead of \"%s\"", CASES[i].what, e.msg, CASES[i].reason);
    }
}

static void a_part_that_is_cut_or_too_long_is_refused(void **state)
{
    struct err e;
    (void)state;
    size_t len = encode_sample();
    assert_int_equal(decode_exact(message, len, RUNS, &e), ERR_OK);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(decode_exact(message, cut, RUNS, &e), ERR_INVALID);
    message[len] = '\n';
    assert_int_equal(decode_exact(message, len + 1, RUNS, &e), ERR_INVALID);
}

static void no_flipped_bit_of_header_or_table_goes_unseen(void **state)
{
    struct err e;
    (void)state;
    size_t len = encode_sample(), table_end = BATCH_HEADER_LEN + get_u32(message + RUNS_LEN_AT);
    for (size_t bit = 0; bit < table_end * 8; bit++) {
        message[bit / 8] ^= (char)(1 << bit % 8);
        if (decode_exact(message, len, BATCH_RUNS_MAX, &e) != ERR_INVALID)
            fail_msg("bit %zu of byte %zu", bit % 8, bit / 8);
        message[bit / 8] ^= (char)(1 << bit % 8);
    }
}

static void more_runs_than_there_is_room_for_are_refused(void **state)
{
    struct err e;
    (void)state;
    size_t len = encode_sample();
    assert_int_equal(decode_exact(message, len, RUNS - 1, &e), ERR_INVALID);
    assert_string_equal(e.msg, "batch: 3 runs");
}

/* The largest parts that fit, and one byte or one run more. */
static void a_part_is_as_large_as_its_maximum_and_not_larger(void **state)
{
    static char text[BATCH_PART_MAX];
    static struct batch_run runs[BATCH_RUNS_MAX + 1];
    struct batch_run run = run_of(1, STREAM_LOGS, "app", 1, "");
    struct batch_part p = {{1, 1, 1}, 0, 1, BATCH_LAST, &run, 1, {0}};
    struct err e = {0};
    size_t len = 0,
           most = BATCH_PART_MAX - BATCH_HEADER_LEN - batch_run_overhead(run.org, run.name);
    (void)state;
    memset(text, 'x', sizeof text);
    text[most - 1] = text[most] = '\n';
    run.bytes = (struct str){text, most};
    len = encode(&p);
    assert_int_equal(len, BATCH_PART_MAX);
    assert_int_equal(decode_exact(message, len, 1, &e), ERR_OK);
    run.bytes.len++;
    assert_int_equal(batch_encode(&p, message, &len, &e), ERR_TOOBIG);

    for (size_t i = 0; i <= BATCH_RUNS_MAX; i++)
        runs[i] = run_of(i + 1, STREAM_LOGS, "a", 1, "\n");
    p.runs = runs;
    p.run_count = BATCH_RUNS_MAX;
    len = encode(&p);
    assert_int_equal(decode_exact(message, len, BATCH_RUNS_MAX, &e), ERR_OK);
    p.run_count++;
    assert_int_equal(batch_encode(&p, message, &len, &e), ERR_TOOBIG);
}

static void names_that_are_too_long_are_not_encoded(void **state)
{
    static char letters[NAME_MAX_BYTES + 1];
    struct batch_run run = run_of(1, STREAM_LOGS, "app", 1, "{}\n");
    struct batch_part p = {{1, 1, 1}, 0, 1, BATCH_LAST, &run, 1, {0}};
    struct err e = {0};
    size_t len = 0;
    (void)state;
    run.name = (struct str){letters, sizeof letters};
    assert_int_equal(batch_encode(&p, message, &len, &e), ERR_TOOBIG);
    run.name = run.org;
    run.org = (struct str){letters, sizeof letters};
    assert_int_equal(batch_encode(&p, message, &len, &e), ERR_TOOBIG);
    assert_string_equal(e.msg, "a name of more than 255 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_encoded_comes_back),
        cmocka_unit_test(the_longest_names_come_back),
        cmocka_unit_test(numbers_that_lie_are_refused),
        cmocka_unit_test(a_part_that_is_cut_or_too_long_is_refused),
        cmocka_unit_test(no_flipped_bit_of_header_or_table_goes_unseen),
        cmocka_unit_test(more_runs_than_there_is_room_for_are_refused),
        cmocka_unit_test(a_part_is_as_large_as_its_maximum_and_not_larger),
        cmocka_unit_test(names_that_are_too_long_are_not_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
