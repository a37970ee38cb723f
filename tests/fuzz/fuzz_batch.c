// links: weir_fs weir_index
/* tests/fuzz/fuzz_batch.c - any bytes written to a commit file: refused, or a part whose runs lie
 * in the message, and that encodes to the same bytes again.
 * Input: u8 (bit 0: put the header's checksum right first), then the message. */
#include <stdint.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "fs/journal/batch.h"

enum { REPAIR = 1, RUN_COUNT_AT = 36, RUNS_LEN_AT = 40, CHECKSUM_AT = 72 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact)
        abort();
}

/* Else no change of a header or a run table would ever come past the checksum. */
static void repair(char *msg, size_t len)
{
    if (len < BATCH_HEADER_LEN || get_u32(msg + RUNS_LEN_AT) > len - BATCH_HEADER_LEN)
        return;
    uint32_t sum =
        crc32c(crc32c(0, msg, CHECKSUM_AT), msg + BATCH_HEADER_LEN, get_u32(msg + RUNS_LEN_AT));
    put_u32(msg + CHECKSUM_AT, sum);
}

static uint32_t lines_of(struct str bytes)
{
    uint32_t lines = 0;
    for (size_t i = 0; i < bytes.len; i++)
        lines += bytes.ptr[i] == '\n';
    return lines;
}

static void check_request(const struct batch_request *r)
{
    require((r->mount == 0) == (r->number == 0) && r->answer < ERR_CODE_COUNT);
    require(r->number > 0 || r->answer == ERR_OK);
}

static void check_runs(const struct batch_part *p, struct str msg)
{
    const char *at = msg.ptr + BATCH_HEADER_LEN;
    for (size_t i = 0; i < p->run_count; i++)
        at += batch_run_overhead(p->runs[i].org, p->runs[i].name);
    for (size_t i = 0; i < p->run_count; i++) {
        const struct batch_run *r = &p->runs[i];
        require(r->bytes.ptr == at && r->bytes.len > 0);
        require(r->lines > 0 && r->lines == lines_of(r->bytes));
        require(r->bytes.ptr[r->bytes.len - 1] == '\n');
        require(r->stream > 0 && r->type < STREAM_TYPE_COUNT && r->org.len > 0 && r->name.len > 0);
        require(r->min_ts_us <= r->max_ts_us);
        at += r->bytes.len;
    }
    require(at == msg.ptr + msg.len);
}

static void encode_again(const struct batch_part *p, struct str msg)
{
    static char again[BATCH_PART_MAX];
    struct err e;
    size_t len = 0;
    require(batch_encode(p, again, &len, &e) == ERR_OK);
    require(str_eq((struct str){again, len}, msg));
}

static void decode(struct str msg)
{
    struct batch_part p;
    struct err e = {0};
    size_t claimed = msg.len >= BATCH_HEADER_LEN ? get_u32(msg.ptr + RUN_COUNT_AT) : 0;
    size_t room = claimed < BATCH_RUNS_MAX ? claimed : BATCH_RUNS_MAX;
    struct batch_run *runs = calloc(room > 0 ? room : 1, sizeof *runs);
    require(runs != NULL);
    enum err_code rc = batch_decode(msg, runs, room, &p, &e);
    if (rc == ERR_OK) {
        check_runs(&p, msg);
        check_request(&p.request);
        encode_again(&p, msg);
        require(p.run_count == 0 || batch_decode(msg, runs, room - 1, &p, &e) == ERR_INVALID);
    } else {
        require(rc == ERR_INVALID && e.msg[0] != '\0');
    }
    free(runs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *msg = malloc(size); /* exact: a read past its end is seen */
    require(msg != NULL);
    memcpy(msg + 1, data + 1, size - 1);
    if (data[0] & REPAIR)
        repair(msg + 1, size - 1);
    decode((struct str){msg + 1, size - 1});
    free(msg);
    return 0;
}
