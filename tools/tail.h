/* tools/tail.h - the end of a stream, and what comes after it.
 *
 * A stream's newest lines stand in files of several hours: sealed ones (read as text/), which never
 * change, and active ones, which grow at their end.  `struct tail` opens the active files first, of
 * all hours when it is to follow, else of the last ones, and keeps how long they were; tail_last
 * prints what stood below, tail_follow what comes above, so that between the two nothing is lost
 * and nothing shown twice.
 *
 *   a file:  new ──► open ──► replaced ──► done         open: its id ends in .ndjson
 *                     │ ▲                                replaced: in .parquet; read to its end
 *                     └─┘ the mount goes away and comes back: opened again at the same place
 *
 * A record of any age may come, so a file may begin in any hour.  The last hours are looked through
 * twice a second; all of them, of which there may be tens of thousands, when the time of the
 * stream's directory says that there is something new, and now and then without (a clock that went
 * back leaves that time as it was).
 *
 * Memory: the lines asked for (LINES_MAX at most), and an entry a file of those hours.
 * Threads: one.  Errors: IO, NOMEM, TOOBIG (a line or the lines together).
 */
#ifndef WEIR_TOOLS_TAIL_H
#define WEIR_TOOLS_TAIL_H

#include <limits.h>
#include <time.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/ulid.h"
#include "tools/log_line.h"

#define TAIL_LINES_MAX 1000000

struct tail_file {
    struct ulid id;
    int32_t hour;
    int fd;                           /* -1: not open */
    uint64_t read_bytes, began_bytes; /* of an active file: shown so far; its size at the begin */
    bool is_replaced, is_done;
};

struct tail {
    const char *stream_path;
    struct log_line_form form;
    struct tail_file *files; /* in order of id */
    size_t count, cap;
    size_t first_open;  /* no file before it is open */
    int32_t first_hour; /* files of older hours are known only when a look at all of them came */
    int fds_max;        /* descriptors for files; the others are for looking */
    struct tail_all {   /* the last look at all hours */
        struct timespec dir_time;
        uint64_t took_ms, ended_ms;
    } all;
    size_t unfollowed; /* files that could not be opened at the begin */
    int unfollowed_errno;
    bool is_away;   /* the mount; said once */
    bool is_behind; /* a file has to be opened that may stand in any hour */
    struct buf out, chunk;
};

/* A tail that is not to follow looks into the last hours only. */
enum err_code tail_init(struct tail *t, const char *stream_path, const struct log_line_form *form,
                        bool is_to_follow, struct err *e);
void tail_done(struct tail *t);
/* Prints the newest `lines` lines in order of time. */
enum err_code tail_last(struct tail *t, size_t lines, struct err *e);
/* Prints lines as they come; returns when standard output is closed (OK) or on an error. */
enum err_code tail_follow(struct tail *t, struct err *e);

/* ---- tail_files.c ---- */
struct tail_file *tail_find(const struct tail *t, const struct ulid *id);
int32_t tail_recent_hour(void); /* the first of the last hours */
/* Looks for new files, in the last hours or, when that is due, in all. */
enum err_code tail_look(struct tail *t, struct err *e);

#endif
