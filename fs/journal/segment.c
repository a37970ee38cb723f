/* fs/journal/segment.c - the file <data>/journal/<seq>.wal: header, footer and name.
 *
 * Format, little-endian:
 *     0  header page, 4096 bytes:
 *         0  u64 magic "WEIRWAL1"     8  u32 version 2      12  u32 size_bytes
 *        16  u32 seq (generation)    20  u32 prev_seq       24  u32 prev_end   28  u32 next_file
 *        32  u64 epoch               40  u64 next_serial    48  i64 begun_us
 *        56  u32 older_seq           60  u32 CRC32C of [0,60)    64  zeros
 *  4096  frames (frame.c), each at a multiple of 8, without a gap, in this order:
 *         WORKERS   the newest number of each worker and its answer, as of the segment's beginning
 *         REQUESTS  the newest requests and their answers, likewise; left out when there is none
 *         then as they come: STREAM before the first frame of that stream in this segment, FILE
 *         before the first place in that file in this segment, DATA, MOVED, EPOCH, CLOSE, SETTLE,
 *         PUBLISH
 *         TABLE     once, at the end (segment_table.c); it may reach past size_bytes
 *        zeros, or what older_seq left: frames of that generation and pieces of them
 *   end  footer, the last 32 bytes of the file: u64 magic "WEIRTAB1", u32 seq, u32 table_at,
 *        u32 table_len, u32 CRC32C of these 20 bytes, 8 zeros
 *
 * Life of a file:
 *
 *   preparing ──► prepared ──► current ──► closed: has its table, nothing is appended
 *   (zero-fill)   (no header)  (header)│     │
 *        ▲                             └─► poisoned: a write or sync failed; void from the next
 *        │                                 │ segment's prev_end on, no table
 *        └── <seq>.free ◄── renamed ───────┴─► unlinked: replaced files still read from it
 *
 * A segment begins only after all frames of the one before are durable.  So a bad frame in any but
 * the newest is corruption; in the newest it is corruption below the highest synced_to of its
 * frames, else the torn tail of what was never acknowledged.
 */
#include "fs/journal/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <stdlib.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/sys.h"

#define HEADER_MAGIC UINT64_C(0x314c415752494557) /* "WEIRWAL1" */
#define FOOTER_MAGIC UINT64_C(0x3142415452494557) /* "WEIRTAB1" */
enum { HEADER_VERSION = 2, HEADER_CRC_AT = 60, FOOTER_CRC_AT = 20, NUMBER_LEN = 10 };

struct segment *segment_new(uint32_t seq, int fd, uint32_t size_bytes)
{
    struct segment *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->seq = seq;
    s->fd = fd;
    s->size_bytes = size_bytes;
    s->counted_bytes = size_bytes;
    s->end = SEGMENT_HEADER_LEN;
    atomic_init(&s->refs, 1);
    return s;
}

void segment_ref(struct segment *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

void segment_unref(struct segment *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return;
    if (s->fd >= 0)
        close(s->fd);
    free(s->files);
    free(s);
}

void segment_path(const char *dir, uint32_t seq, char dst[PATH_MAX])
{
    snprintf(dst, PATH_MAX, "%s/%010" PRIu32 ".wal", dir, seq);
}

void segment_free_path(const char *dir, uint32_t seq, char dst[PATH_MAX])
{
    snprintf(dst, PATH_MAX, "%s/%010" PRIu32 ".free", dir, seq);
}

bool segment_parse_free_name(const char *name)
{
    return strlen(name) == NUMBER_LEN + 5 && strcmp(name + NUMBER_LEN, ".free") == 0;
}

bool segment_parse_name(const char *name, uint32_t *seq)
{
    struct str s = str_from(name);
    uint64_t v;
    if (s.len != NUMBER_LEN + 4 || memcmp(s.ptr + NUMBER_LEN, ".wal", 4) != 0)
        return false;
    s.len = NUMBER_LEN;
    if (!str_to_u64(s, &v) || v == 0 || v > UINT32_MAX)
        return false;
    *seq = (uint32_t)v;
    return true;
}

enum err_code segment_write_header(int fd, const struct segment_header *h, struct err *e)
{
    char page[SEGMENT_HEADER_LEN] = {0};
    put_u64(page, HEADER_MAGIC);
    put_u32(page + 8, HEADER_VERSION);
    put_u32(page + 12, h->size_bytes);
    put_u32(page + 16, h->seq);
    put_u32(page + 20, h->prev_seq);
    put_u32(page + 24, h->prev_end);
    put_u32(page + 28, h->next_file);
    put_u64(page + 32, h->epoch);
    put_u64(page + 40, h->next_serial);
    put_u64(page + 48, (uint64_t)h->begun_us);
    put_u32(page + 56, h->older_seq);
    put_u32(page + HEADER_CRC_AT, crc32c(0, page, HEADER_CRC_AT));
    return sys_write_full(fd, page, sizeof page, 0, e);
}

static bool all_zeros(const char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

enum err_code segment_read_header(int fd, uint32_t seq, struct segment_header *h, struct err *e)
{
    char page[SEGMENT_HEADER_LEN];
    enum err_code rc = sys_read_full(fd, page, sizeof page, 0, e);
    if (rc)
        return rc;
    if (all_zeros(page, sizeof page))
        return err_set(e, ERR_NOTFOUND, "segment %" PRIu32 " has not begun", seq);
    *h = (struct segment_header){.size_bytes = get_u32(page + 12),
                                 .seq = get_u32(page + 16),
                                 .prev_seq = get_u32(page + 20),
                                 .prev_end = get_u32(page + 24),
                                 .next_file = get_u32(page + 28),
                                 .epoch = get_u64(page + 32),
                                 .next_serial = get_u64(page + 40),
                                 .begun_us = (int64_t)get_u64(page + 48),
                                 .older_seq = get_u32(page + 56)};
    if (get_u64(page) != HEADER_MAGIC || get_u32(page + 8) != HEADER_VERSION || h->seq != seq ||
        h->size_bytes < SEGMENT_BYTES_MIN || h->size_bytes > SEGMENT_BYTES_MAX ||
        get_u32(page + HEADER_CRC_AT) != crc32c(0, page, HEADER_CRC_AT))
        return err_set(e, ERR_CORRUPT, "segment %" PRIu32 ": the header fails its checksum", seq);
    return ERR_OK;
}

enum err_code segment_write_footer(const struct segment *s, uint32_t table_at, uint32_t table_len,
                                   struct err *e)
{
    char f[SEGMENT_FOOTER_LEN] = {0};
    uint64_t end = (uint64_t)table_at + table_len + SEGMENT_FOOTER_LEN;
    uint64_t at = (end > s->size_bytes ? end : s->size_bytes) - SEGMENT_FOOTER_LEN;
    put_u64(f, FOOTER_MAGIC);
    put_u32(f + 8, s->seq);
    put_u32(f + 12, table_at);
    put_u32(f + 16, table_len);
    put_u32(f + FOOTER_CRC_AT, crc32c(0, f, FOOTER_CRC_AT));
    return sys_write_full(s->fd, f, sizeof f, (off_t)at, e);
}

bool segment_read_footer(const struct segment *s, uint32_t *table_at, uint32_t *table_len)
{
    char f[SEGMENT_FOOTER_LEN];
    struct stat st;
    if (sys_fstat(s->fd, &st) < 0 || st.st_size < SEGMENT_HEADER_LEN + SEGMENT_FOOTER_LEN ||
        sys_read_full(s->fd, f, sizeof f, st.st_size - SEGMENT_FOOTER_LEN, NULL))
        return false;
    *table_at = get_u32(f + 12);
    *table_len = get_u32(f + 16);
    return get_u64(f) == FOOTER_MAGIC && get_u32(f + 8) == s->seq &&
           get_u32(f + FOOTER_CRC_AT) == crc32c(0, f, FOOTER_CRC_AT) &&
           (uint64_t)*table_at + *table_len + SEGMENT_FOOTER_LEN <= (uint64_t)st.st_size;
}
