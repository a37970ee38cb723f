/* tools/tail_last.c - the newest lines of a stream, from the end of its files.
 *
 * Hours are taken from the newest back until there are enough lines; within an hour the files
 * overlap in time, so each gives its last lines and the newest of all are kept.  A file whose
 * newest record is older than the oldest line kept is not opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "fs/name.h"
#include "tools/mounted.h"
#include "tools/tail.h"

#define BLOCK_FIRST (64u << 10)
#define LINES_BYTES_MAX (UINT64_C(2) << 30)

struct line {
    int64_t time_us;
    uint64_t order; /* of two with the same time: as they were read */
    char *text;     /* malloc'ed */
    size_t len;
};

struct last {
    struct tail *t;
    struct line *lines;
    size_t count, cap, wanted;
    uint64_t bytes, order;
    enum err_code rc;
    struct err *e;
};

static int by_time(const void *a, const void *b)
{
    const struct line *x = a, *y = b;

    if (x->time_us != y->time_us)
        return x->time_us < y->time_us ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Sorts and keeps the newest. */
static void cut(struct last *l)
{
    size_t extra;

    if (l->count)
        qsort(l->lines, l->count, sizeof *l->lines, by_time);
    extra = l->count > l->wanted ? l->count - l->wanted : 0;
    for (size_t i = 0; i < extra; i++) {
        l->bytes -= l->lines[i].len;
        free(l->lines[i].text);
    }
    memmove(l->lines, l->lines + extra, (l->count - extra) * sizeof *l->lines);
    l->count -= extra;
}

static enum err_code keep(struct last *l, struct str text)
{
    struct line line = {.time_us = log_line_time(text), .order = l->order++, .len = text.len};

    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 256;
        struct line *more = realloc(l->lines, cap * sizeof *more);
        if (!more)
            return err_set(l->e, ERR_NOMEM, "lines");
        l->lines = more;
        l->cap = cap;
    }
    l->bytes += text.len;
    if (l->bytes > LINES_BYTES_MAX)
        return err_set(l->e, ERR_TOOBIG,
                       "the lines asked for take more than 2 GiB; -n asks for less");
    line.text = malloc(text.len + 1);
    if (!line.text)
        return err_set(l->e, ERR_NOMEM, "a line");
    memcpy(line.text, text.ptr, text.len);
    l->lines[l->count++] = line;
    return ERR_OK;
}

/* Where the last `wanted` lines of `bytes` begin; 0 also when there are fewer. */
static size_t begin_of_last(struct str bytes, size_t wanted, size_t *found)
{
    size_t at = bytes.len;

    *found = 0;
    while (at > 0) {
        const char *end = memrchr(bytes.ptr, '\n', at - 1);
        if (!end) {
            at = 0;
            break;
        }
        at = (size_t)(end - bytes.ptr) + 1;
        if (++*found == wanted)
            return at;
    }
    return at;
}

/* The last `wanted` lines of the first `size` bytes, read from the end in blocks that grow. */
static enum err_code take_from(struct last *l, int fd, uint64_t size)
{
    struct buf *chunk = &l->t->chunk;
    uint64_t block = BLOCK_FIRST;
    struct str bytes, line;
    size_t at, found;

    for (;;) {
        if (block > size)
            block = size;
        buf_clear(chunk);
        if (!buf_reserve(chunk, block + 1))
            return err_set(l->e, ERR_TOOBIG, "the lines asked for are too long; -n asks for less");
        enum err_code rc = sys_read_full(fd, chunk->data, block, (off_t)(size - block), l->e);
        if (rc)
            return rc;
        bytes = (struct str){chunk->data, block};
        at = begin_of_last(bytes, l->wanted, &found);
        if (found >= l->wanted || block == size)
            break;
        block *= 4;
    }
    bytes = (struct str){bytes.ptr + at, bytes.len - at};
    while (bytes.len) {
        str_cut(bytes, '\n', &line, &bytes);
        enum err_code rc = keep(l, line);
        if (rc)
            return rc;
    }
    return ERR_OK;
}

/* An active file is read by the handle that follows it, below where following begins. */
static enum err_code take_file(struct last *l, const struct mounted_hour *h,
                               const struct mounted_file *f)
{
    char path[PATH_MAX], name[NAME_DATA_MAX];
    struct ulid id;
    struct stat st;
    struct tail_file *known;
    bool is_lines = name_parse_data(str_from(f->name), &id);

    if (!is_lines && !name_parse_part(str_from(f->name), &id))
        return ERR_OK;
    known = tail_find(l->t, &id);
    if (known && known->fd >= 0)
        return take_from(l, known->fd, known->began_bytes);
    if (!known && h->hour >= l->t->first_hour)
        return ERR_OK; /* it came after the begin */
    name_format_data(&id, name);
    if (snprintf(path, sizeof path, "%s/%s%s/%s", l->t->stream_path, is_lines ? "" : "text/",
                 h->under, name) >= PATH_MAX)
        return ERR_OK;
    AUTO_FD int fd = sys_open(path, O_RDONLY, 0);
    if (fd < 0 || sys_fstat(fd, &st) != 0)
        return errno == ENOENT ? ERR_OK : err_sys(l->e, errno, "%s", path);
    return take_from(l, fd, (uint64_t)st.st_size);
}

static int by_newest(const void *a, const void *b)
{
    const struct mounted_file *x = a, *y = b;

    return x->max_ts_us > y->max_ts_us ? -1 : x->max_ts_us < y->max_ts_us;
}

static bool take_hour(const struct mounted_hour *h, void *ctx)
{
    struct last *l = ctx;
    AUTO_FREE struct mounted_file *files = NULL;
    size_t count;

    l->rc = mounted_files(h->path, &files, &count, l->e);
    if (count)
        qsort(files, count, sizeof *files, by_newest);
    for (size_t i = 0; !l->rc && i < count; i++) {
        if (l->count == l->wanted && files[i].max_ts_us < l->lines[0].time_us)
            break;
        l->rc = take_file(l, h, &files[i]);
        cut(l);
    }
    return !l->rc && l->count < l->wanted;
}

enum err_code tail_last(struct tail *t, size_t lines, struct err *e)
{
    struct last l = {.t = t, .wanted = lines, .e = e};
    enum err_code rc = ERR_OK;

    if (lines)
        rc = mounted_hours(t->stream_path, INT32_MIN, INT32_MAX, true, take_hour, &l, e);
    if (!rc)
        rc = l.rc;
    for (size_t i = 0; i < l.count; i++) {
        if (!rc)
            log_line_add(&t->out, (struct str){l.lines[i].text, l.lines[i].len}, &t->form);
        free(l.lines[i].text);
    }
    free(l.lines);
    if (!rc && !console_flush(&t->out))
        rc = err_set(e, ERR_IO, "the lines cannot be written");
    return rc;
}
