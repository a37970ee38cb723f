/* fs/journal/batch.h - what the gateway writes to `.weir/commit/<n>`: one part of one batch
 * per write(2).
 *
 * A batch is the records of one request.  It is cut into runs; a run is consecutive whole lines of
 * one stream and hour.  A part is at most BATCH_PART_MAX bytes and is written by one write(2) from
 * a page-aligned buffer; a batch has at most BATCH_PARTS_MAX parts (16 MiB).  The reply to the last
 * part waits until the whole batch is durable (or only appended, with BATCH_NO_SYNC).
 *
 * Format, little-endian:
 *   0  u32 magic "WBAT"     4  u16 version 2       6  u16 flags (BATCH_LAST, BATCH_NO_SYNC)
 *   8  u64 epoch           16  u32 worker         20  u32 part (from 0)
 *  24  u64 number          32  u32 parts (in the last part: how many; else 0)
 *  36  u32 run_count       40  u32 runs_len       44  u32 payload_len
 *  48  u64 mount           56  u64 request        64  u32 answer (the same in every part)
 *  68  u32 zero
 *  72  u32 crc32c of bytes [0,72) and the run table      76  u32 zero
 *  80  run table: per run
 *        u64 stream number, i32 hour, u8 type, u8 org_len, u8 name_len, u8 zero,
 *        u32 lines, u32 bytes, i64 min_ts_us, i64 max_ts_us, org, name, zeros to a multiple of 8
 *  then the payload: the runs' lines, each ended by '\n', in the order of the table.
 * A repeated (epoch, worker, number) is answered as it was and never applied again.  So is one
 * whose request (a write to an `ingest` file, which the kernel may send again) the journal has
 * already, whatever its number.
 */
#ifndef WEIR_FS_JOURNAL_BATCH_H
#define WEIR_FS_JOURNAL_BATCH_H

#include "base/bytes.h"
#include "base/err.h"
#include "index/meta.h"

#define BATCH_PART_MAX (1u << 20)
#define BATCH_PARTS_MAX 20
#define BATCH_HEADER_LEN 80
#define BATCH_RUN_LEN 40

enum { BATCH_LAST = 1, BATCH_NO_SYNC = 2 };

struct batch_id {
    uint64_t epoch;  /* given out by the fs process (fs/control/control.h) */
    uint32_t worker; /* = n of the commit file */
    uint64_t number; /* counts up by one per worker and epoch, from 1 */
};

/* The write to an `ingest` file whose lines a batch holds. */
struct batch_request {
    uint64_t mount, number; /* (fs/anchor.h) the kernel's number of the request; 0, 0: none */
    enum err_code answer;   /* what the write is answered once the lines are in */
};

struct batch_run {
    uint64_t stream;
    enum stream_type type;
    struct str org, name;
    int32_t hour;
    uint32_t lines;
    int64_t min_ts_us, max_ts_us;
    struct str bytes; /* whole lines */
};

struct batch_part {
    struct batch_id id;
    uint32_t part, parts;
    uint16_t flags;
    struct batch_run *runs; /* views into the message */
    size_t run_count;
    struct batch_request request;
};

/* Encoding, for the gateway.  `dst` has BATCH_PART_MAX bytes; what does not fit is ERR_TOOBIG (the
 * caller cuts at line ends with batch_run_overhead). */
enum err_code batch_encode(const struct batch_part *p, char *dst, size_t *len, struct err *e);
size_t batch_run_overhead(struct str org, struct str name);
/* Decoding, for fs: checks everything, including that runs end in '\n' and hold `lines` of them.
 * runs_out has room for run_max. */
enum err_code batch_decode(struct str msg, struct batch_run *runs_out, size_t run_max,
                           struct batch_part *out, struct err *e);
#define BATCH_RUNS_MAX 16384 /* of one part */

#endif
