/* fs/journal/batch.c - encodes and checks the parts of batches. */
#include "fs/journal/batch.h"

#include "base/crc32c.h"

#define BATCH_MAGIC 0x54414257u /* "WBAT" */
#define BATCH_VERSION 2
#define CRC_AT 72
#define FLAGS_KNOWN (BATCH_LAST | BATCH_NO_SYNC)

static size_t padded(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

size_t batch_run_overhead(struct str org, struct str name)
{
    return padded(BATCH_RUN_LEN + org.len + name.len);
}

static void encode_run(const struct batch_run *r, char *p, size_t len)
{
    memset(p, 0, len);
    put_u64(p, r->stream);
    put_u32(p + 8, (uint32_t)r->hour);
    p[12] = (char)r->type;
    p[13] = (char)r->org.len;
    p[14] = (char)r->name.len;
    put_u32(p + 16, r->lines);
    put_u32(p + 20, (uint32_t)r->bytes.len);
    put_u64(p + 24, (uint64_t)r->min_ts_us);
    put_u64(p + 32, (uint64_t)r->max_ts_us);
    memcpy(p + BATCH_RUN_LEN, r->org.ptr, r->org.len);
    memcpy(p + BATCH_RUN_LEN + r->org.len, r->name.ptr, r->name.len);
}

static uint32_t header_crc(const char *msg, size_t runs_len)
{
    return crc32c(crc32c(0, msg, CRC_AT), msg + BATCH_HEADER_LEN, runs_len);
}

enum err_code batch_encode(const struct batch_part *p, char *dst, size_t *len, struct err *e)
{
    size_t runs_len = 0, payload_len = 0, at = BATCH_HEADER_LEN;

    for (size_t i = 0; i < p->run_count; i++) {
        const struct batch_run *r = &p->runs[i];
        if (r->org.len > NAME_MAX_BYTES || r->name.len > NAME_MAX_BYTES)
            return err_set(e, ERR_TOOBIG, "a name of more than %d bytes", NAME_MAX_BYTES);
        runs_len += batch_run_overhead(r->org, r->name);
        payload_len += r->bytes.len;
    }
    if (p->run_count > BATCH_RUNS_MAX || BATCH_HEADER_LEN + runs_len + payload_len > BATCH_PART_MAX)
        return err_set(e, ERR_TOOBIG, "a part of %zu runs and %zu bytes", p->run_count,
                       payload_len);
    put_u32(dst, BATCH_MAGIC);
    put_u16(dst + 4, BATCH_VERSION);
    put_u16(dst + 6, p->flags);
    put_u64(dst + 8, p->id.epoch);
    put_u32(dst + 16, p->id.worker);
    put_u32(dst + 20, p->part);
    put_u64(dst + 24, p->id.number);
    put_u32(dst + 32, p->parts);
    put_u32(dst + 36, (uint32_t)p->run_count);
    put_u32(dst + 40, (uint32_t)runs_len);
    put_u32(dst + 44, (uint32_t)payload_len);
    put_u64(dst + 48, p->request.mount);
    put_u64(dst + 56, p->request.number);
    put_u32(dst + 64, (uint32_t)p->request.answer);
    put_u32(dst + 68, 0);
    for (size_t i = 0; i < p->run_count; i++) {
        size_t n = batch_run_overhead(p->runs[i].org, p->runs[i].name);
        encode_run(&p->runs[i], dst + at, n);
        at += n;
    }
    put_u32(dst + CRC_AT, header_crc(dst, runs_len));
    put_u32(dst + CRC_AT + 4, 0);
    for (size_t i = 0; i < p->run_count; i++) {
        memcpy(dst + at, p->runs[i].bytes.ptr, p->runs[i].bytes.len);
        at += p->runs[i].bytes.len;
    }
    *len = at;
    return ERR_OK;
}

static uint32_t count_lines(struct str bytes)
{
    const char *p = bytes.ptr, *end = bytes.ptr + bytes.len;
    uint32_t n = 0;

    while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        n++;
        p++;
    }
    return n;
}

/* What has no meaning yet is zero, so that it can be given one. */
static bool all_zeros(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != 0)
            return false;
    }
    return true;
}

/* One run at *at of the table; its bytes are filled in by the caller. */
static enum err_code decode_run(struct str table, size_t *at, struct batch_run *r, uint32_t *bytes,
                                struct err *e)
{
    const char *p = table.ptr + *at;
    size_t left = table.len - *at, org_len, name_len, len;

    if (left < BATCH_RUN_LEN)
        return err_set(e, ERR_INVALID, "batch: the run table ends at byte %zu", *at);
    org_len = (uint8_t)p[13];
    name_len = (uint8_t)p[14];
    len = BATCH_RUN_LEN + org_len + name_len;
    if (padded(len) > left || (uint8_t)p[12] >= STREAM_TYPE_COUNT || org_len == 0 ||
        name_len == 0 || get_u64(p) == 0 || p[15] != 0 || !all_zeros(p + len, padded(len) - len) ||
        (int64_t)get_u64(p + 24) > (int64_t)get_u64(p + 32))
        return err_set(e, ERR_INVALID, "batch: the run at byte %zu is broken", *at);
    *r = (struct batch_run){.stream = get_u64(p),
                            .hour = (int32_t)get_u32(p + 8),
                            .type = (enum stream_type)(uint8_t)p[12],
                            .lines = get_u32(p + 16),
                            .min_ts_us = (int64_t)get_u64(p + 24),
                            .max_ts_us = (int64_t)get_u64(p + 32),
                            .org = {p + BATCH_RUN_LEN, org_len},
                            .name = {p + BATCH_RUN_LEN + org_len, name_len}};
    *bytes = get_u32(p + 20);
    *at += padded(len);
    return ERR_OK;
}

static enum err_code decode_header(struct str msg, struct batch_part *p, size_t *runs_len,
                                   struct err *e)
{
    const char *m = msg.ptr;
    size_t payload_len;

    if (msg.len < BATCH_HEADER_LEN || get_u32(m) != BATCH_MAGIC || get_u16(m + 4) != BATCH_VERSION)
        return err_set(e, ERR_INVALID, "batch: no batch of version %d", BATCH_VERSION);
    *runs_len = get_u32(m + 40);
    payload_len = get_u32(m + 44);
    if (msg.len > BATCH_PART_MAX || *runs_len > msg.len ||
        BATCH_HEADER_LEN + *runs_len + payload_len != msg.len)
        return err_set(e, ERR_INVALID, "batch: %zu bytes do not add up", msg.len);
    if (get_u32(m + CRC_AT) != header_crc(m, *runs_len))
        return err_set(e, ERR_INVALID, "batch: the header fails its checksum");
    *p = (struct batch_part){.id = {get_u64(m + 8), get_u32(m + 16), get_u64(m + 24)},
                             .part = get_u32(m + 20),
                             .parts = get_u32(m + 32),
                             .flags = get_u16(m + 6),
                             .run_count = get_u32(m + 36),
                             .request = {.mount = get_u64(m + 48), .number = get_u64(m + 56)}};
    bool last = p->flags & BATCH_LAST;
    if (p->flags & ~FLAGS_KNOWN || !all_zeros(m + 68, 4) || !all_zeros(m + CRC_AT + 4, 4))
        return err_set(e, ERR_INVALID, "batch: flags %#x are of another version", p->flags);
    uint32_t answer = get_u32(m + 64);
    if (answer >= ERR_CODE_COUNT || (p->request.number == 0) != (p->request.mount == 0) ||
        (p->request.number == 0 && answer != ERR_OK))
        return err_set(e, ERR_INVALID, "batch: request %llu with answer %u",
                       (unsigned long long)p->request.number, answer);
    p->request.answer = (enum err_code)answer;
    if (p->part >= BATCH_PARTS_MAX || (last ? p->parts != p->part + 1 : p->parts != 0))
        return err_set(e, ERR_INVALID, "batch: part %u of %u", p->part, p->parts);
    return ERR_OK;
}

enum err_code batch_decode(struct str msg, struct batch_run *runs_out, size_t run_max,
                           struct batch_part *out, struct err *e)
{
    struct batch_part p;
    size_t runs_len = 0, at = 0, payload_at;
    enum err_code rc = decode_header(msg, &p, &runs_len, e);

    if (rc)
        return rc;
    if (p.run_count > run_max || p.run_count > BATCH_RUNS_MAX)
        return err_set(e, ERR_INVALID, "batch: %zu runs", p.run_count);
    struct str table = {msg.ptr + BATCH_HEADER_LEN, runs_len};
    payload_at = BATCH_HEADER_LEN + runs_len;
    for (size_t i = 0; i < p.run_count; i++) {
        struct batch_run *r = &runs_out[i];
        uint32_t bytes = 0;
        rc = decode_run(table, &at, r, &bytes, e);
        if (rc)
            return rc;
        if (bytes == 0 || bytes > msg.len - payload_at)
            return err_set(e, ERR_INVALID, "batch: run %zu has %u bytes", i, bytes);
        r->bytes = (struct str){msg.ptr + payload_at, bytes};
        payload_at += bytes;
        if (r->bytes.ptr[bytes - 1] != '\n' || count_lines(r->bytes) != r->lines)
            return err_set(e, ERR_INVALID, "batch: run %zu does not hold %u whole lines", i,
                           r->lines);
    }
    if (at != runs_len || payload_at != msg.len)
        return err_set(e, ERR_INVALID, "batch: bytes left over");
    p.runs = runs_out;
    *out = p;
    return ERR_OK;
}
