/* tools/tail_follow.c - prints the lines that come after the begin, file by file. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"
#include "tools/tail.h"

#define READ_BYTES (1u << 20)
#define READ_EVERY_MS 50
#define LOOK_EVERY_MS 500
#define PAUSE_ALL 10 /* times what reading all files took, before it is done again */
#define PAUSE_ALL_MAX_MS 1000

struct reads {
    uint64_t all_due_ms;
};

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
            t->is_behind |= !f->is_replaced; /* a look opens it again, at the same place */
        }
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

/* Files of hours from `from` on. */
static bool read_files(struct tail *t, int32_t from)
{
    size_t first_open = t->count;

    for (size_t i = t->first_open; i < t->count; i++) {
        struct tail_file *f = &t->files[i];
        bool was_replaced = f->is_replaced; /* no line comes after that */
        if (f->fd < 0)
            continue;
        if (f->hour >= from) {
            if (!read_on(t, f))
                return false;
            if (was_replaced && f->fd >= 0) {
                cleanup_fd(&f->fd);
                f->fd = -1;
                f->is_done = true;
            }
        }
        if (f->fd >= 0 && i < first_open)
            first_open = i;
    }
    t->first_open = first_open;
    return true;
}

/* Thousands of older files may grow; the newest do not wait for them. */
static bool read_due(struct tail *t, struct reads *r)
{
    uint64_t began_ms = clock_mono_ms();

    if (began_ms < r->all_due_ms)
        return read_files(t, tail_recent_hour());
    if (!read_files(t, INT32_MIN))
        return false;
    uint64_t now_ms = clock_mono_ms(), pause_ms = (now_ms - began_ms) * PAUSE_ALL;
    r->all_due_ms = now_ms + (pause_ms < PAUSE_ALL_MAX_MS ? pause_ms : PAUSE_ALL_MAX_MS);
    return true;
}

static void say_unfollowed(const struct tail *t)
{
    if (t->unfollowed)
        fprintf(stderr, "weir tail: %zu file%s of older hours cannot be followed: %s\n",
                t->unfollowed, t->unfollowed == 1 ? "" : "s", strerror(t->unfollowed_errno));
}

static void say_away(struct tail *t, bool is_away, const struct err *e)
{
    if (is_away != t->is_away)
        console_complain("weir tail: %s%s\n", is_away ? e->msg : "the mount is back",
                         is_away ? "; waiting for it" : "");
    t->is_away = is_away;
}

enum err_code tail_follow(struct tail *t, struct err *e)
{
    uint64_t looked_ms = clock_mono_ms();
    struct reads reads = {0};

    say_unfollowed(t);
    while (read_due(t, &reads)) {
        /* A reader that is gone is known before the next line comes, which may be never. */
        if (poll(&(struct pollfd){.fd = STDOUT_FILENO}, 1, READ_EVERY_MS) > 0)
            break;
        t->form.today_us = clock_wall_us();
        if (clock_mono_ms() - looked_ms < LOOK_EVERY_MS)
            continue;
        bool is_away = tail_look(t, e) != ERR_OK;
        say_away(t, is_away, e);
        looked_ms = clock_mono_ms();
    }
    return ERR_OK;
}
