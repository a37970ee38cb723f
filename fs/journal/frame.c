/* fs/journal/frame.c - encodes and checks the frames of the journal.
 *
 * Format, little-endian, at an offset that is a multiple of 8:
 *    0  u32 magic "WFRM"            4  u32 length of the whole frame, a multiple of 8
 *    8  u32 checksum: CRC32C, seeded with (segment, offset), of bytes [12, 112) and the line table.
 *       The payload is covered by the line table, so its bytes are read once, and a torn one still
 *       tells which of its lines are whole.
 *   12  u8 kind    13  u8 flags    14  u8 encoding (0 = NDJSON)    15  u8 zero
 *   16  u64 epoch  24  u64 number  32  u32 worker   36  u32 part        (the batch)
 *   40  u64 serial 48  u32 run     52  i32 hour     56  u64 stream number
 *   64  u64 synced_to              72  i64 appended_us
 *   80  i64 min_ts_us              88  i64 max_ts_us
 *   96  u32 line_count            100  u32 payload_len   104  u32 tail_len   108  u32 tail_crc
 *  112  line table: per line u32 length with its '\n', u32 CRC32C
 *       payload, zeros to a multiple of 8
 *       tail, zeros to a multiple of 8: places, a request, declarations, a table; by kind
 * The segment's number is its generation: a file gets a new one each time it is used.
 */
#include "fs/journal/frame.h"

#include <assert.h>

#include "base/crc32c.h"

#define FRAME_MAGIC 0x4d524657u /* "WFRM" */

enum {
    AT_LENGTH = 4,
    AT_CHECKSUM = 8,
    AT_KIND = 12,
    AT_FLAGS = 13,
    AT_ENCODING = 14,
    AT_EPOCH = 16,
    AT_NUMBER = 24,
    AT_WORKER = 32,
    AT_PART = 36,
    AT_SERIAL = 40,
    AT_RUN = 48,
    AT_HOUR = 52,
    AT_STREAM = 56,
    AT_SYNCED_TO = 64,
    AT_APPENDED = 72,
    AT_MIN_TS = 80,
    AT_MAX_TS = 88,
    AT_LINE_COUNT = 96,
    AT_PAYLOAD_LEN = 100,
    AT_TAIL_LEN = 104,
    AT_TAIL_CRC = 108
};

static size_t padded(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

size_t frame_payload_at(uint32_t line_count)
{
    return FRAME_HEADER_LEN + (size_t)line_count * FRAME_LINE_LEN;
}

size_t frame_size(uint32_t line_count, size_t payload_len, size_t tail_len)
{
    return frame_payload_at(line_count) + padded(payload_len) + padded(tail_len);
}

static void encode_header(char *p, const struct frame *f, size_t payload_len, size_t tail_len)
{
    memset(p, 0, FRAME_HEADER_LEN);
    put_u32(p, FRAME_MAGIC);
    put_u32(p + AT_LENGTH, (uint32_t)frame_size(f->line_count, payload_len, tail_len));
    p[AT_KIND] = (char)f->kind;
    p[AT_FLAGS] = (char)f->flags;
    p[AT_ENCODING] = (char)f->encoding;
    put_u64(p + AT_EPOCH, f->batch.epoch);
    put_u64(p + AT_NUMBER, f->batch.number);
    put_u32(p + AT_WORKER, f->batch.worker);
    put_u32(p + AT_PART, f->part);
    put_u64(p + AT_SERIAL, f->serial);
    put_u32(p + AT_RUN, f->run);
    put_u32(p + AT_HOUR, (uint32_t)f->hour);
    put_u64(p + AT_STREAM, f->stream);
    put_u64(p + AT_APPENDED, (uint64_t)f->appended_us);
    put_u64(p + AT_MIN_TS, (uint64_t)f->min_ts_us);
    put_u64(p + AT_MAX_TS, (uint64_t)f->max_ts_us);
    put_u32(p + AT_LINE_COUNT, f->line_count);
    put_u32(p + AT_PAYLOAD_LEN, (uint32_t)payload_len);
    put_u32(p + AT_TAIL_LEN, (uint32_t)tail_len);
}

/* Copy line by line, each checksummed while it is at hand. */
static void encode_lines(char *table, char *dst, struct str payload, uint32_t line_count)
{
    const char *p = payload.ptr, *end = payload.ptr + payload.len;
    for (uint32_t i = 0; i < line_count; i++) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        assert(newline);
        size_t len = (size_t)(newline + 1 - p);
        put_u32(table, (uint32_t)len);
        put_u32(table + 4, crc32c(0, p, len));
        memcpy(dst, p, len);
        table += FRAME_LINE_LEN;
        dst += len;
        p += len;
    }
    assert(p == end);
}

static void copy_padded(char *dst, struct str s)
{
    if (s.len)
        memcpy(dst, s.ptr, s.len);
    memset(dst + s.len, 0, padded(s.len) - s.len);
}

void frame_encode(char *dst, const struct frame *f, struct str payload, struct str tail)
{
    char *body = dst + frame_payload_at(f->line_count);
    encode_header(dst, f, payload.len, tail.len);
    encode_lines(dst + FRAME_HEADER_LEN, body, payload, f->line_count);
    memset(body + payload.len, 0, padded(payload.len) - payload.len);
    copy_padded(body + padded(payload.len), tail);
}

void frame_copy(char *dst, const struct frame *f, const char *lines, struct str payload)
{
    encode_header(dst, f, payload.len, 0);
    memcpy(dst + FRAME_HEADER_LEN, lines, (size_t)f->line_count * FRAME_LINE_LEN);
    copy_padded(dst + frame_payload_at(f->line_count), payload);
}

void frame_number(char *frame, uint64_t serial, uint32_t run)
{
    put_u64(frame + AT_SERIAL, serial);
    put_u32(frame + AT_RUN, run);
}

size_t frame_append_tail(char *frame, struct str tail, int flags)
{
    size_t len = get_u32(frame + AT_LENGTH);
    assert(get_u32(frame + AT_TAIL_LEN) == 0);
    copy_padded(frame + len, tail);
    len += padded(tail.len);
    frame[AT_FLAGS] = (char)(frame[AT_FLAGS] | FRAME_LAST | flags);
    put_u32(frame + AT_TAIL_LEN, (uint32_t)tail.len);
    put_u32(frame + AT_LENGTH, (uint32_t)len);
    return len;
}

void frame_drop_tail(char *frame)
{
    size_t tail_len = padded(get_u32(frame + AT_TAIL_LEN));
    frame[AT_FLAGS] &= (char)~(FRAME_LAST | FRAME_REQUEST);
    put_u32(frame + AT_LENGTH, (uint32_t)(get_u32(frame + AT_LENGTH) - tail_len));
    put_u32(frame + AT_TAIL_LEN, 0);
}

static uint32_t checksum(const char *frame, uint32_t seq, uint32_t offset)
{
    char salt[8];
    put_u32(salt, seq);
    put_u32(salt + 4, offset);
    return crc32c(crc32c(0, salt, sizeof salt), frame + AT_KIND,
                  frame_payload_at(get_u32(frame + AT_LINE_COUNT)) - AT_KIND);
}

static uint32_t tail_crc(const char *frame)
{
    size_t payload_len = get_u32(frame + AT_PAYLOAD_LEN);
    const char *payload = frame + frame_payload_at(get_u32(frame + AT_LINE_COUNT));
    return crc32c(0, payload + padded(payload_len), padded(get_u32(frame + AT_TAIL_LEN)));
}

void frame_finish(char *frame, uint64_t synced_to, uint32_t seq, uint32_t offset)
{
    put_u64(frame + AT_SYNCED_TO, synced_to);
    put_u32(frame + AT_TAIL_CRC, tail_crc(frame));
    put_u32(frame + AT_CHECKSUM, checksum(frame, seq, offset));
}

bool frame_may_begin(uint64_t word)
{
    return (uint32_t)word == FRAME_MAGIC;
}

size_t frame_peek(const char *header, size_t room)
{
    if (room < FRAME_HEADER_LEN || get_u32(header) != FRAME_MAGIC)
        return 0;
    size_t len = get_u32(header + AT_LENGTH);
    size_t want = frame_size(get_u32(header + AT_LINE_COUNT), get_u32(header + AT_PAYLOAD_LEN),
                             get_u32(header + AT_TAIL_LEN));
    return len == want && len <= room ? len : 0;
}

/* Do the lines of the table fill the payload exactly? */
static bool table_adds_up(const struct frame *f)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < f->line_count; i++) {
        uint32_t len = get_u32(f->lines + (size_t)i * FRAME_LINE_LEN);
        if (len == 0)
            return false;
        sum += len;
    }
    return sum == f->payload_len;
}

bool frame_decode(struct str bytes, uint32_t seq, uint32_t offset, struct frame *out)
{
    if (bytes.len < FRAME_HEADER_LEN || frame_peek(bytes.ptr, bytes.len) == 0)
        return false;
    if (get_u32(bytes.ptr + AT_CHECKSUM) != checksum(bytes.ptr, seq, offset) ||
        !frame_view(bytes, out))
        return false;
    out->has_tail = get_u32(bytes.ptr + AT_TAIL_CRC) == tail_crc(bytes.ptr);
    if (!out->has_tail)
        out->tail_len = 0;
    return out->has_tail || out->kind == FRAME_DATA;
}

bool frame_view(struct str bytes, struct frame *out)
{
    const char *p = bytes.ptr;
    if (bytes.len < FRAME_HEADER_LEN || frame_peek(p, bytes.len) == 0)
        return false;
    struct frame f = {
        .kind = (enum frame_kind)(uint8_t)p[AT_KIND],
        .flags = (uint8_t)p[AT_FLAGS],
        .encoding = (uint8_t)p[AT_ENCODING],
        .batch = {get_u64(p + AT_EPOCH), get_u32(p + AT_WORKER), get_u64(p + AT_NUMBER)},
        .part = get_u32(p + AT_PART),
        .serial = get_u64(p + AT_SERIAL),
        .run = get_u32(p + AT_RUN),
        .stream = get_u64(p + AT_STREAM),
        .hour = (int32_t)get_u32(p + AT_HOUR),
        .synced_to = get_u64(p + AT_SYNCED_TO),
        .appended_us = (int64_t)get_u64(p + AT_APPENDED),
        .min_ts_us = (int64_t)get_u64(p + AT_MIN_TS),
        .max_ts_us = (int64_t)get_u64(p + AT_MAX_TS),
        .line_count = get_u32(p + AT_LINE_COUNT),
        .payload_len = get_u32(p + AT_PAYLOAD_LEN),
        .tail_len = get_u32(p + AT_TAIL_LEN),
        .lines = p + FRAME_HEADER_LEN};
    f.payload = p + frame_payload_at(f.line_count);
    f.tail = f.payload + padded(f.payload_len);
    f.has_tail = true;
    if (!table_adds_up(&f))
        return false;
    *out = f;
    return true;
}

static bool line_is_good(const struct frame *f, uint32_t line, uint32_t at, uint32_t *len)
{
    const char *entry = f->lines + (size_t)line * FRAME_LINE_LEN;
    *len = get_u32(entry);
    return crc32c(0, f->payload + at, *len) == get_u32(entry + 4);
}

bool frame_next_stretch(const struct frame *f, struct frame_stretch *s)
{
    uint32_t len = 0;
    s->len = s->lines = 0;
    while (s->next_line < f->line_count) {
        bool good = line_is_good(f, s->next_line, s->next_at, &len);
        if (good && s->lines == 0)
            s->at = s->next_at;
        s->next_line++;
        s->next_at += len;
        if (!good && s->lines)
            return true;
        if (good) {
            s->len += len;
            s->lines++;
        }
    }
    return s->lines > 0;
}

bool frame_is_whole(const struct frame *f)
{
    struct frame_stretch s = {0};
    if (!f->has_tail)
        return false;
    return f->line_count == 0 || (frame_next_stretch(f, &s) && s.lines == f->line_count);
}

/* ---- bodies ---- */

void place_encode(char dst[FRAME_PLACE_LEN], const struct place *p)
{
    put_u32(dst, p->file);
    put_u32(dst + 4, p->len);
    put_u64(dst + 8, p->offset);
}

struct place place_decode(const char src[FRAME_PLACE_LEN])
{
    return (struct place){get_u32(src), get_u32(src + 4), get_u64(src + 8)};
}

static bool has_request(const struct frame *f)
{
    return (f->flags & FRAME_REQUEST) && f->tail_len >= FRAME_REQUEST_LEN;
}

struct str frame_places(const struct frame *f)
{
    return (struct str){f->tail, f->tail_len - (has_request(f) ? FRAME_REQUEST_LEN : 0)};
}

bool frame_request(const struct frame *f, struct batch_request *out)
{
    return has_request(f) && request_decode(f->tail + f->tail_len - FRAME_REQUEST_LEN, out);
}

/* u64 mount, u64 number, u32 answer, u32 zero */
void request_encode(char dst[FRAME_REQUEST_LEN], const struct batch_request *r)
{
    put_u64(dst, r->mount);
    put_u64(dst + 8, r->number);
    put_u32(dst + 16, (uint32_t)r->answer);
    put_u32(dst + 20, 0);
}

bool request_decode(const char src[FRAME_REQUEST_LEN], struct batch_request *r)
{
    *r = (struct batch_request){get_u64(src), get_u64(src + 8), (enum err_code)get_u32(src + 16)};
    return r->mount != 0 && r->number != 0 && r->answer < ERR_CODE_COUNT;
}

/* u64 number, u8 type, u8 org_len, u8 name_len, 5 zeros, org, name, zeros to a multiple of 8 */
size_t stream_decl_encode(char dst[STREAM_DECL_MAX], const struct stream_decl *d)
{
    size_t len = padded(16 + d->org.len + d->name.len);
    assert(d->org.len <= NAME_MAX_BYTES && d->name.len <= NAME_MAX_BYTES);
    memset(dst, 0, len);
    put_u64(dst, d->number);
    dst[8] = (char)d->type;
    dst[9] = (char)d->org.len;
    dst[10] = (char)d->name.len;
    memcpy(dst + 16, d->org.ptr, d->org.len);
    memcpy(dst + 16 + d->org.len, d->name.ptr, d->name.len);
    return len;
}

bool stream_decl_decode(struct str body, struct stream_decl *d, size_t *used)
{
    if (body.len < 16)
        return false;
    size_t org_len = (uint8_t)body.ptr[9], name_len = (uint8_t)body.ptr[10];
    *used = padded(16 + org_len + name_len);
    *d = (struct stream_decl){.number = get_u64(body.ptr),
                              .type = (enum stream_type)(uint8_t)body.ptr[8],
                              .org = {body.ptr + 16, org_len},
                              .name = {body.ptr + 16 + org_len, name_len}};
    return *used <= body.len && d->number > 0 && d->type < STREAM_TYPE_COUNT && org_len && name_len;
}

/* u32 number, u8 closed, 3 zeros, 16 bytes id, u64 stream, i32 hour, u32 zero */
void file_decl_encode(char dst[FILE_DECL_LEN], const struct file_decl *d)
{
    memset(dst, 0, FILE_DECL_LEN);
    put_u32(dst, d->number);
    dst[4] = d->is_closed;
    memcpy(dst + 8, d->id.b, sizeof d->id.b);
    put_u64(dst + 24, d->stream);
    put_u32(dst + 32, (uint32_t)d->hour);
}

bool file_decl_decode(struct str body, struct file_decl *d)
{
    if (body.len < FILE_DECL_LEN)
        return false;
    *d = (struct file_decl){.number = get_u32(body.ptr),
                            .stream = get_u64(body.ptr + 24),
                            .hour = (int32_t)get_u32(body.ptr + 32),
                            .is_closed = body.ptr[4] != 0};
    memcpy(d->id.b, body.ptr + 8, sizeof d->id.b);
    return d->number > 0 && d->number < UINT32_MAX && d->stream > 0;
}

/* 16 bytes id of the part, u32 files, u32 record_len, then 16 bytes id per file, u64 size per file,
 * the record */
void publish_encode_head(char dst[PUBLISH_FIXED_LEN], const struct ulid *part, uint32_t file_count,
                         uint32_t record_len)
{
    memcpy(dst, part->b, sizeof part->b);
    put_u32(dst + 16, file_count);
    put_u32(dst + 20, record_len);
}

bool publish_decode(struct str body, struct publish_body *p)
{
    if (body.len < PUBLISH_FIXED_LEN)
        return false;
    size_t left = body.len - PUBLISH_FIXED_LEN, record_len = get_u32(body.ptr + 20);
    const char *files = body.ptr + PUBLISH_FIXED_LEN;
    p->file_count = get_u32(body.ptr + 16);
    memcpy(p->part.b, body.ptr, sizeof p->part.b);
    if (p->file_count == 0 || p->file_count > left / PUBLISH_FILE_LEN ||
        left - (size_t)p->file_count * PUBLISH_FILE_LEN != record_len)
        return false;
    p->files = (const struct ulid *)files;
    p->sizes = files + (size_t)p->file_count * sizeof(struct ulid);
    p->record = (struct str){files + (size_t)p->file_count * PUBLISH_FILE_LEN, record_len};
    return true;
}

void worker_last_encode(char dst[WORKER_LAST_LEN], const struct worker_last *w)
{
    put_u64(dst, w->epoch);
    put_u64(dst + 8, w->number);
    put_u32(dst + 16, w->worker);
    put_u32(dst + 20, (uint32_t)w->answer);
}

bool worker_last_decode(const char src[WORKER_LAST_LEN], struct worker_last *w)
{
    *w = (struct worker_last){get_u64(src), get_u64(src + 8), get_u32(src + 16),
                              (enum err_code)get_u32(src + 20)};
    return w->answer < ERR_CODE_COUNT;
}
