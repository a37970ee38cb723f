/* tools/tail.h - the end of a stream, and what comes after it.
 *
 * A stream's newest lines stand in files of several hours: sealed ones (read as text/), which never
 * change, and active ones, which grow at their end.  `struct tail` opens the active files of the
 * last hours first and keeps how long they were; tail_last prints what stood below, tail_follow
 * what comes above, so that between the two nothing is lost and nothing shown twice.
 *
 *   a file:  new ──► open ──► replaced ──► done         open: its id ends in .ndjson
 *                     │ ▲                                replaced: in .parquet; read to its end
 *                     └─┘ the mount goes away and comes back: opened again at the same place
 *
 * Memory: the lines asked for (LINES_MAX at most), and an entry a file of the watched hours.
 * Threads: one.  Errors: IO, NOMEM, TOOBIG (a line or the lines together).
 */
#ifndef WEIR_TOOLS_TAIL_H
#define WEIR_TOOLS_TAIL_H

#include <limits.h>

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
    struct buf out, chunk;
    bool is_away; /* the mount; said once */
};

enum err_code tail_init(struct tail *t, const char *stream_path, const struct log_line_form *form,
                        struct err *e);
void tail_done(struct tail *t);
/* Prints the newest `lines` lines in order of time. */
enum err_code tail_last(struct tail *t, size_t lines, struct err *e);
/* Prints lines as they come; returns when standard output is closed (OK) or on an error. */
enum err_code tail_follow(struct tail *t, struct err *e);

/* ---- tail_files.c ---- */
struct tail_file *tail_find(const struct tail *t, const struct ulid *id);
/* Looks for files of the watched hours; in the first look the files that grow count as read to
 * where they are, and the others as read. */
enum err_code tail_scan(struct tail *t, bool is_first, struct err *e);
int32_t tail_first_hour(void); /* of those that are watched */

#endif
