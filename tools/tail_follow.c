/* tools/tail_follow.c - prints the lines that come after the begin, file by file. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"
#include "tools/tail.h"

#define READ_BYTES (1u << 20)
#define READ_EVERY_MS 50
#define SCAN_EVERY_MS 500

/* Prints the whole lines of `bytes`; returns how many bytes those are. */
static size_t print_lines(struct tail *t, struct str bytes)
{
    size_t done = 0;

    for (const char *end; (end = memchr(bytes.ptr + done, '\n', bytes.len - done)) != NULL;) {
        size_t len = (size_t)(end - bytes.ptr) - done;
        log_line_add(&t->out, (struct str){bytes.ptr + done, len}, &t->form);
        done += len + 1;
    }
    return done;
}

/* Reads one file to its end.  False: standard output is closed. */
static bool read_on(struct tail *t, struct tail_file *f)
{
    size_t want = READ_BYTES;

    for (;;) {
        buf_clear(&t->chunk);
        if (!buf_reserve(&t->chunk, want))
            return false;
        ssize_t n = sys_pread(f->fd, t->chunk.data, want, (off_t)f->read_bytes);
        if (n < 0 && errno != EAGAIN) {
            cleanup_fd(&f->fd);
            f->fd = -1;
        } /* the next look opens it again, at the same place */
        if (n <= 0)
            return true;
        size_t done = print_lines(t, (struct str){t->chunk.data, (size_t)n});
        if (!done && (size_t)n < want)
            return true;
        want = done ? READ_BYTES : want * 2; /* a line longer than what was read */
        f->read_bytes += done;
        if (!console_flush(&t->out))
            return false;
    }
}

static bool read_all(struct tail *t)
{
    for (size_t i = 0; i < t->count; i++) {
        struct tail_file *f = &t->files[i];
        bool was_replaced = f->is_replaced; /* no line comes after that */
        if (f->fd < 0)
            continue;
        if (!read_on(t, f))
            return false;
        if (was_replaced && f->fd >= 0) {
            cleanup_fd(&f->fd);
            f->fd = -1;
            f->is_done = true;
        }
    }
    return true;
}

/* Files of hours that are no longer watched stay known only while they are open. */
static void forget_old(struct tail *t)
{
    int32_t first = tail_first_hour();
    size_t kept = 0;

    for (size_t i = 0; i < t->count; i++) {
        if (t->files[i].hour >= first || t->files[i].fd >= 0)
            t->files[kept++] = t->files[i];
    }
    t->count = kept;
}

static void say_away(struct tail *t, bool is_away, const struct err *e)
{
    if (is_away != t->is_away)
        fprintf(stderr, "weir tail: %s%s\n", is_away ? e->msg : "the mount is back",
                is_away ? "; waiting for it" : "");
    t->is_away = is_away;
}

enum err_code tail_follow(struct tail *t, struct err *e)
{
    uint64_t scanned_ms = clock_mono_ms();

    while (read_all(t)) {
        struct stat st;
        /* A reader that is gone is known before the next line comes, which may be never. */
        if (poll(&(struct pollfd){.fd = STDOUT_FILENO}, 1, READ_EVERY_MS) > 0)
            break;
        t->form.today_us = clock_wall_us();
        if (clock_mono_ms() - scanned_ms < SCAN_EVERY_MS)
            continue;
        scanned_ms = clock_mono_ms();
        bool is_away = stat(t->stream_path, &st) != 0;
        if (is_away)
            (void)err_sys(e, errno, "%s", t->stream_path);
        else
            is_away = tail_scan(t, false, e) != ERR_OK;
        say_away(t, is_away, e);
        forget_old(t);
    }
    return ERR_OK;
}
