/* tests/support/commit_files.h - plain files in the place of `.weir/commit/<n>`, and what was
 * written to them, read as the filesystem would: a batch counts when all its parts came in order.
 */
#ifndef WEIR_TESTS_SUPPORT_COMMIT_FILES_H
#define WEIR_TESTS_SUPPORT_COMMIT_FILES_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sys.h"
#include "fs/journal/batch.h"

enum { STORED_MAX = 64 << 20, STORED_RUNS_MAX = 100000 };

struct stored_run {
    uint64_t stream;
    int32_t hour;
    uint32_t lines;
    int64_t min_us, max_us;
    struct batch_id id;
    struct batch_request request;
    uint16_t flags;
};

/* What the filesystem would hold. */
struct stored {
    struct buf lines; /* of all batches, in order */
    struct stored_run *runs;
    size_t run_count;
    size_t batches, parts, dropped_parts;
};

struct commit_dir {
    char path[64];
};

static inline void commit_dir_path(const struct commit_dir *d, unsigned n, char *dst, size_t size)
{
    snprintf(dst, size, "%s/.weir/commit/%u", d->path, n);
}

static inline void commit_dir_make(struct commit_dir *d, unsigned files)
{
    char path[128];
    struct err e;
    snprintf(d->path, sizeof d->path, "/tmp/weir-commit-XXXXXX");
    assert_non_null(mkdtemp(d->path));
    snprintf(path, sizeof path, "%s/.weir/commit", d->path);
    assert_int_equal(sys_mkdirs(path, 0700, &e), ERR_OK);
    for (unsigned i = 0; i < files; i++) {
        commit_dir_path(d, i, path, sizeof path);
        int fd = sys_open(path, O_CREAT | O_WRONLY, 0600);
        assert_true(fd >= 0);
        sys_close(fd);
    }
}

static inline void commit_dir_remove(struct commit_dir *d)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", d->path);
    assert_int_equal(system(command), 0);
}

static inline void stored_add_part(struct stored *s, const struct batch_part *p)
{
    for (size_t i = 0; i < p->run_count; i++) {
        const struct batch_run *r = &p->runs[i];
        assert_true(s->run_count < STORED_RUNS_MAX);
        s->runs[s->run_count++] = (struct stored_run){.stream = r->stream,
                                                      .hour = r->hour,
                                                      .lines = r->lines,
                                                      .min_us = r->min_ts_us,
                                                      .max_us = r->max_ts_us,
                                                      .id = p->id,
                                                      .request = p->request,
                                                      .flags = p->flags};
        buf_add_str(&s->lines, r->bytes);
    }
    s->parts++;
}

/* The state of one commit file: parts of the batch that is coming in. */
struct stored_batch {
    uint64_t done_number;
    uint32_t next_part;
    size_t lines_at, runs_at, parts_at; /* to go back to when it begins anew */
};

static inline void stored_take(struct stored *s, struct stored_batch *b, const struct batch_part *p)
{
    if (p->part == 0) { /* begun anew: what came before was not whole */
        s->dropped_parts += s->parts - b->parts_at;
        s->lines.len = b->lines_at;
        s->run_count = b->runs_at;
        s->parts = b->parts_at;
        b->next_part = 0;
    }
    assert_int_equal(p->part, b->next_part);
    b->next_part++;
    if (p->id.number > b->done_number)
        stored_add_part(s, p);
    if (!(p->flags & BATCH_LAST))
        return;
    assert_int_equal(p->parts, b->next_part);
    s->batches += p->id.number > b->done_number;
    b->done_number = p->id.number;
    b->next_part = 0;
    b->lines_at = s->lines.len;
    b->runs_at = s->run_count;
    b->parts_at = s->parts;
}

static inline void stored_read(const struct commit_dir *d, unsigned n, struct stored *s)
{
    char path[128];
    struct buf file;
    struct err e;
    struct stored_batch b = {
        .lines_at = s->lines.len, .runs_at = s->run_count, .parts_at = s->parts};
    struct batch_run *runs = calloc(BATCH_RUNS_MAX, sizeof *runs);
    assert_non_null(runs);
    commit_dir_path(d, n, path, sizeof path);
    buf_init(&file, STORED_MAX);
    assert_int_equal(sys_read_file(path, &file, &e), ERR_OK);
    for (size_t at = 0, len; at < file.len; at += len) {
        struct batch_part part;
        len = BATCH_HEADER_LEN + get_u32(file.data + at + 40) + get_u32(file.data + at + 44);
        assert_true(len <= BATCH_PART_MAX && at + len <= file.len);
        if (batch_decode((struct str){file.data + at, len}, runs, BATCH_RUNS_MAX, &part, &e))
            fail_msg("%s", e.msg);
        assert_int_equal(part.id.worker, n);
        stored_take(s, &b, &part);
    }
    buf_done(&file);
    free(runs);
}

static inline void stored_init(struct stored *s)
{
    *s = (struct stored){0};
    buf_init(&s->lines, STORED_MAX);
    s->runs = calloc(STORED_RUNS_MAX, sizeof *s->runs);
    assert_non_null(s->runs);
}

static inline void stored_done(struct stored *s)
{
    buf_done(&s->lines);
    free(s->runs);
}

#endif
