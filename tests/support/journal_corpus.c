/* tests/support/journal_corpus.c - makes the kept corpora of fuzz_batch and fuzz_frame.
 *
 * usage: journal_corpus tests/fuzz/corpus      to be run again when a format changes
 * Valid messages and segments by the project's own encoders, then the same cut, with flipped bits,
 * and with numbers that lie.  The first byte of each file is the target's mode.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/sys.h"
#include "fs/journal/segment.h"
#include "fs/journal/segment_table.h"

enum {
    SEQ = 1,
    MOUNT = 77,
    HOUR = 490000,
    REPAIR = 1,
    TORN = 2,
    KEEP = 4,
    SEGMENT_ROOM = 64 << 10
};

static const char *root;

static void save(const char *target, const char *name, int mode, const char *bytes, size_t len)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", root, target);
    if (sys_mkdirs(path, 0755, NULL))
        exit(1);
    snprintf(path, sizeof path, "%s/%s/%s", root, target, name);
    FILE *f = fopen(path, "wb");
    if (!f || fputc(mode, f) == EOF || fwrite(bytes, 1, len, f) != len || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

/* ---- batches ---- */

static size_t encode(const struct batch_part *p, char *dst)
{
    struct err e;
    size_t len = 0;
    if (batch_encode(p, dst, &len, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        exit(1);
    }
    return len;
}

static struct batch_run run_of(uint64_t stream, enum stream_type type, const char *name,
                               uint32_t lines, const char *text)
{
    return (struct batch_run){.stream = stream,
                              .type = type,
                              .org = STR("default"),
                              .name = str_from(name),
                              .hour = HOUR,
                              .lines = lines,
                              .min_ts_us = INT64_C(1764000000000000),
                              .max_ts_us = INT64_C(1764000000000500),
                              .bytes = str_from(text)};
}

static void save_valid_batches(char *msg)
{
    struct batch_run r[] = {run_of(1, STREAM_LOGS, "app", 2, "{\"a\":1}\n{\"a\":2}\n"),
                            run_of(2, STREAM_METRICS, "up", 1, "{\"value\":1}\n"),
                            run_of(3, STREAM_TRACES, "default", 1, "{}\n")};
    struct batch_part one = {{7, 1, 1}, 0, 1, BATCH_LAST, r, 1, {0}};
    struct batch_part all = {{7, 2, 9}, 0, 1, BATCH_LAST | BATCH_NO_SYNC, r, 3, {0}};
    struct batch_part first = {{7, 3, 2}, 0, 0, 0, r, 2, {0}};
    struct batch_part second = {{7, 3, 2}, 1, 2, BATCH_LAST, r + 2, 1, {0}};
    struct batch_part none = {{7, 4, 1}, 0, 1, BATCH_LAST, r, 0, {0}};
    struct batch_part written = {
        {7, 5, 1}, 0, 1, BATCH_LAST | BATCH_NO_SYNC, r, 1, {MOUNT, 1234, ERR_INVALID}};
    save("fuzz_batch", "one_run", 0, msg, encode(&one, msg));
    save("fuzz_batch", "three_runs", 0, msg, encode(&all, msg));
    save("fuzz_batch", "first_of_two", 0, msg, encode(&first, msg));
    save("fuzz_batch", "last_of_two", 0, msg, encode(&second, msg));
    save("fuzz_batch", "no_run", 0, msg, encode(&none, msg));
    save("fuzz_batch", "of_a_request", 0, msg, encode(&written, msg));
}

static void save_lying_batches(char *msg)
{
    static const struct {
        const char *name;
        size_t at, width;
        uint64_t value;
    } LIES[] = {{"many_runs", 36, 4, UINT32_MAX},
                {"runs_len", 40, 4, 0xfffffff8},
                {"payload_len", 44, 4, UINT32_MAX},
                {"part", 20, 4, 20},
                {"parts", 32, 4, 3},
                {"flags", 6, 2, 0x8001},
                {"request_of_no_mount", 56, 8, 1234},
                {"mount_of_no_request", 48, 8, MOUNT},
                {"answer", 64, 4, 99},
                {"answer_of_no_request", 64, 4, 1},
                {"stream_zero", 80, 8, 0},
                {"type", 80 + 12, 1, 9},
                {"org_len", 80 + 13, 1, 255},
                {"name_len", 80 + 14, 1, 0},
                {"lines", 80 + 16, 4, 3},
                {"lines_none", 80 + 16, 4, 0},
                {"bytes", 80 + 20, 4, 0xffffffff},
                {"bytes_none", 80 + 20, 4, 0},
                {"times", 80 + 32, 8, UINT64_C(1) << 63},
                {"bytes_cut", 80 + 20, 4, 15}};
    struct batch_run r[] = {run_of(1, STREAM_LOGS, "app", 2, "{\"a\":1}\n{\"a\":2}\n"),
                            run_of(2, STREAM_LOGS, "web", 1, "{\"b\":1}\n")};
    struct batch_part p = {{7, 1, 1}, 0, 1, BATCH_LAST, r, 2, {0}};
    for (size_t i = 0; i < sizeof LIES / sizeof *LIES; i++) {
        size_t len = encode(&p, msg);
        memcpy(msg + LIES[i].at, &LIES[i].value, LIES[i].width);
        save("fuzz_batch", LIES[i].name, REPAIR, msg, len);
    }
    size_t len = encode(&p, msg);
    save("fuzz_batch", "cut_header", 0, msg, BATCH_HEADER_LEN - 1);
    save("fuzz_batch", "cut_table", 0, msg, BATCH_HEADER_LEN + 50);
    save("fuzz_batch", "cut_payload", 0, msg, len - 1);
    msg[BATCH_HEADER_LEN + 4] ^= 4;
    save("fuzz_batch", "flipped_table", 0, msg, len);
    msg[BATCH_HEADER_LEN + 4] ^= 4;
    msg[len - 1] ^= 1;
    save("fuzz_batch", "flipped_newline", 0, msg, len);
}

/* ---- segments ---- */

struct image {
    char bytes[SEGMENT_ROOM];
    size_t len;
};

static size_t add_frame(struct image *img, const struct frame *f, struct str payload,
                        struct str tail)
{
    size_t at = img->len;
    frame_encode(img->bytes + at, f, payload, tail);
    frame_number(img->bytes + at, f->serial, f->run);
    img->len += frame_size(f->line_count, payload.len, tail.len);
    frame_finish(img->bytes + at, frame_position(SEQ, (uint32_t)(SEGMENT_HEADER_LEN + at)), SEQ,
                 (uint32_t)(SEGMENT_HEADER_LEN + at));
    return at;
}

static void add_tail(struct image *img, enum frame_kind kind, const char *tail, size_t len)
{
    add_frame(img, &(struct frame){.kind = kind, .batch = {.epoch = 7}}, STR(""),
              (struct str){tail, len});
}

static const struct stream_decl STREAMS[] = {{1, STREAM_LOGS, {"default", 7}, {"app", 3}},
                                             {2, STREAM_TRACES, {"org", 3}, {"web", 3}}};

static struct file_decl file_of(uint32_t number, bool is_closed)
{
    struct file_decl d = {.number = number, .stream = number, .hour = HOUR, .is_closed = is_closed};
    memset(d.id.b, (int)number, sizeof d.id.b);
    return d;
}

static void add_declarations(struct image *img)
{
    char text[FILE_DECL_LEN + STREAM_DECL_MAX];
    for (uint32_t i = 0; i < 2; i++) {
        add_tail(img, FRAME_STREAM, text, stream_decl_encode(text, &STREAMS[i]));
        struct file_decl d = file_of(i + 1, false);
        file_decl_encode(text, &d);
        add_tail(img, FRAME_FILE, text,
                 FILE_DECL_LEN + stream_decl_encode(text + FILE_DECL_LEN, &STREAMS[i]));
    }
}

static void add_workers(struct image *img)
{
    char text[2 * WORKER_LAST_LEN];
    worker_last_encode(text, &(struct worker_last){7, 5, 0, ERR_OK});
    worker_last_encode(text + WORKER_LAST_LEN, &(struct worker_last){7, 2, 9, ERR_IO});
    add_tail(img, FRAME_WORKERS, text, sizeof text);
    add_tail(img, FRAME_EPOCH, NULL, 0);
    char requests[3 * FRAME_REQUEST_LEN];
    request_encode(requests, &(struct batch_request){MOUNT, 1230, ERR_OK});
    request_encode(requests + FRAME_REQUEST_LEN, &(struct batch_request){MOUNT + 1, 2, ERR_OK});
    request_encode(requests + 2 * FRAME_REQUEST_LEN,
                   &(struct batch_request){MOUNT, 1230 + 2 * JOURNAL_REQUESTS_MAX, ERR_OK});
    add_tail(img, FRAME_REQUESTS, requests, sizeof requests);
}

static struct frame data_of(uint32_t worker, uint32_t run, uint64_t stream, uint32_t lines)
{
    return (struct frame){.kind = FRAME_DATA,
                          .batch = {7, worker, 6},
                          .serial = 3 + worker,
                          .run = run,
                          .stream = stream,
                          .hour = HOUR,
                          .appended_us = INT64_C(1764000000000900),
                          .min_ts_us = INT64_C(1764000000000000),
                          .max_ts_us = INT64_C(1764000000000500),
                          .line_count = lines};
}

/* A batch of two runs, the second with the places of both and a request.  Returns where its payload
 * begins. */
static size_t add_batch(struct image *img)
{
    char places[2 * FRAME_PLACE_LEN + FRAME_REQUEST_LEN];
    struct frame first = data_of(1, 0, 1, 3), last = data_of(1, 1, 2, 1);
    last.flags = FRAME_LAST | FRAME_REQUEST;
    place_encode(places, &(struct place){1, 24, 0});
    place_encode(places + FRAME_PLACE_LEN, &(struct place){2, 3, 0});
    request_encode(places + 2 * FRAME_PLACE_LEN, &(struct batch_request){MOUNT, 1234, ERR_INVALID});
    size_t at = add_frame(img, &first, STR("{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n"), STR(""));
    add_frame(img, &last, STR("{}\n"), (struct str){places, sizeof places});
    return at + frame_payload_at(3);
}

static void add_open_batch(struct image *img)
{
    struct frame f = data_of(2, 0, 1, 1);
    add_frame(img, &f, STR("{\"open\":true}\n"), STR(""));
}

/* The table of two files, of which one shows an extent, with a worker's answer and an open batch.
 */
static void add_table(struct image *img)
{
    struct files files;
    struct batches batches;
    struct segment_table table;
    struct buf body;
    files_init(&files);
    table_init(&table);
    table_reset(&table, SEQ);
    buf_init(&body, SEGMENT_ROOM);
    if (!batches_init(&batches))
        exit(1);
    batches_new_epoch(&batches, 7);
    for (uint32_t i = 0; i < 2; i++) {
        struct file_decl d = file_of(i + 1, i > 0);
        table_add_stream(&table, files_stream(&files, &STREAMS[i]));
        table_add_file(&table, files_declare(&files, &d));
    }
    struct jfile *file = files_by_number(&files, 1);
    table_add_extent(&table, file, &(struct run_place){SEQ, SEGMENT_HEADER_LEN + 700, 24, 3, 0});
    table_add_publish(&table, SEGMENT_HEADER_LEN, FRAME_HEADER_LEN);
    table_add_facts(&table, file, &(struct shown_facts){3, 10, 20, 30, 30});
    batches.requests.mount = MOUNT;
    batches_complete(&batches, &(struct batch_id){7, 0, 5},
                     &(struct batch_request){MOUNT, 1232, ERR_OK}, 0);
    struct batch_part part = {.id = {7, 2, 6}};
    struct attempt *a = batches_attempt(&batches, &part);
    if (!a || !attempt_reserve(a, 1))
        exit(1);
    a->refs[a->count++] = (struct run_ref){1, 10, 20, HOUR, 1, 14, SEQ, 5000, 0, 0};
    a->next_part = a->next_run = 1;
    table_encode(&table, &files, &batches, UINT64_MAX, &body);
    add_tail(img, FRAME_TABLE, body.data, body.len);
    buf_done(&body);
    table_done(&table);
    batches_done(&batches);
    files_done(&files);
}

static void add_settled(struct image *img)
{
    char place[FRAME_PLACE_LEN];
    struct frame saved = data_of(UINT32_MAX, 0, 1, 1), settle = {.kind = FRAME_SETTLE};
    saved.serial = settle.serial = 20;
    add_frame(img, &saved, STR("{\"saved\":1}\n"), STR(""));
    place_encode(place, &(struct place){1, 12, 24});
    add_frame(img, &settle, STR(""), (struct str){place, sizeof place});
}

/* Lines of file 1 in front of and behind what it shows, then a part that has file 2. */
static void add_moved(struct image *img)
{
    for (uint64_t place = 12; place <= 36; place += 24) {
        struct frame f = {.kind = FRAME_MOVED,
                          .batch = {.worker = 1, .number = place},
                          .stream = 1,
                          .hour = HOUR,
                          .appended_us = 30,
                          .min_ts_us = 10,
                          .max_ts_us = 20,
                          .line_count = 2};
        add_frame(img, &f, STR("{\"b\":1}\n{}\n"), STR(""));
    }
}

static void add_published(struct image *img, const char *record, uint32_t record_len)
{
    char body[PUBLISH_FIXED_LEN + PUBLISH_FILE_LEN + 32] = {0};
    struct file_decl d = file_of(2, false);
    struct ulid part = {{9}};
    publish_encode_head(body, &part, 1, record_len);
    memcpy(body + PUBLISH_FIXED_LEN, d.id.b, sizeof d.id.b);
    put_u64(body + PUBLISH_FIXED_LEN + sizeof d.id.b, 3);
    memcpy(body + PUBLISH_FIXED_LEN + PUBLISH_FILE_LEN, record, strlen(record));
    for (uint32_t copy = 0; copy < PUBLISH_COPIES; copy++)
        add_frame(img, &(struct frame){.kind = FRAME_PUBLISH, .part = copy}, STR(""),
                  (struct str){body, PUBLISH_FIXED_LEN + PUBLISH_FILE_LEN + strlen(record)});
}

static void save_segment(const char *name, int mode, const struct image *img)
{
    save("fuzz_frame", name, mode, img->bytes, img->len);
}

static void save_segments(struct image *img)
{
    *img = (struct image){0};
    add_workers(img);
    add_declarations(img);
    size_t payload = add_batch(img);
    save_segment("one_batch", 0, img);
    size_t complete = img->len;
    add_open_batch(img);
    save_segment("open_batch", 0, img);
    add_settled(img);
    char number[4] = {1};
    add_tail(img, FRAME_CLOSE, number, sizeof number);
    save_segment("settled", 0, img);
    add_table(img);
    save_segment("all_kinds", REPAIR, img);
    img->len -= 24;
    save_segment("cut_table", TORN, img);
    img->len = complete - 40;
    save_segment("cut_batch", TORN | KEEP, img);
    img->bytes[payload + 9] ^= 1;
    img->len = complete;
    save_segment("flipped_line", 0, img);
    save_segment("flipped_line_torn", TORN | KEEP, img);
    img->bytes[payload + 17] ^= 1;
    save_segment("flipped_last_line", 0, img);
    img->bytes[16] ^= 1;
    save_segment("flipped_header", 0, img);
    *img = (struct image){0};
    add_declarations(img);
    add_table(img);
    save_segment("table", 0, img);
    *img = (struct image){0};
    add_table(img);
    save_segment("table_alone", REPAIR, img);
}

static void save_freeing_segments(struct image *img)
{
    *img = (struct image){0};
    add_moved(img);
    save_segment("moved_of_no_file", 0, img);
    *img = (struct image){0};
    add_declarations(img);
    add_batch(img);
    size_t moved = img->len;
    add_moved(img);
    save_segment("moved", 0, img);
    add_published(img, "record", 6);
    save_segment("published", 0, img);
    add_published(img, "record", UINT32_MAX);
    add_table(img);
    save_segment("published_lying", REPAIR, img);
    img->bytes[moved + 16] ^= 2;
    save_segment("moved_flipped_line", TORN | KEEP, img);
}

/* Numbers that lie: in the first frame's header, or in the table that is the only frame. */
static void save_lying_segments(struct image *img)
{
    static const struct {
        const char *name;
        size_t at;
        uint32_t value;
    } LIES[] = {{"length", 4, 0xfffffff8},
                {"line_count", 96, UINT32_MAX},
                {"payload_len", 100, UINT32_MAX},
                {"tail_len", 104, 0x80000000},
                {"kind", 12, 31},
                {"table_version", 112, 3},
                {"table_streams", 112 + 4, UINT32_MAX},
                {"table_files", 112 + 8, UINT32_MAX},
                {"table_extents", 112 + 12, UINT32_MAX},
                {"table_workers", 112 + 16, 0x0aaaaaab},
                {"table_open", 112 + 20, UINT32_MAX},
                {"table_publishes", 112 + 40, UINT32_MAX},
                {"table_requests", 112 + 44, UINT32_MAX},
                {"table_name", 112 + 48 + 8, 0x00ffff00},
                {"table_file_number", 112 + 48 + 56, 1u << 22}};
    for (size_t i = 0; i < sizeof LIES / sizeof *LIES; i++) {
        *img = (struct image){0};
        add_table(img);
        put_u32(img->bytes + LIES[i].at, LIES[i].value);
        save_segment(LIES[i].name, REPAIR, img);
    }
}

int main(int argc, char **argv)
{
    static struct image img;
    static char msg[BATCH_PART_MAX];
    if (argc != 2) {
        fprintf(stderr, "usage: journal_corpus DIRECTORY\n");
        return 2;
    }
    root = argv[1];
    save_valid_batches(msg);
    save_lying_batches(msg);
    save_segments(&img);
    save_freeing_segments(&img);
    save_lying_segments(&img);
    return 0;
}
