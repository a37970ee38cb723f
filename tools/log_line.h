/* tools/log_line.h - one stored line (a JSON object) as a person reads it.
 *
 *   14:05:06.123 ERROR it burns  pod=web-1 took_ms=12.5
 *
 * Time (UTC; with the date when it is not today's), level, message, then all other fields.  Which
 * field is the level and which the message is guessed from a table of usual names.
 * Owner: the caller, from init to done.  Threads: one.
 */
#ifndef WEIR_TOOLS_LOG_LINE_H
#define WEIR_TOOLS_LOG_LINE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "tools/console.h"

struct log_line_form {
    struct paint paint;
    bool is_json;  /* the line as it is stored */
    bool is_short; /* time, level and message only */
    int64_t today_us;
};

/* Appends the line and a line end.  What is no JSON object is shown as it is. */
void log_line_add(struct buf *out, struct str line, const struct log_line_form *form);
/* Its _timestamp, which stands first in every stored line; 0 when it does not. */
int64_t log_line_time(struct str line);

#endif
