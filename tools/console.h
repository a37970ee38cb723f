/* tools/console.h - what people like to read: colours where they are wanted, sizes, times.
 *
 * Threads: the main one.  Nothing is owned. */
#ifndef WEIR_TOOLS_CONSOLE_H
#define WEIR_TOOLS_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum color_when { COLOR_DEFAULT, COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER }; /* as in CLI_COLOR_ROW */

/* Are colours wanted on this descriptor?  `when` is an enum color_when.  Auto: on a terminal that
 * is not "dumb", unless NO_COLOR is set. */
bool console_has_color(int when, int fd);
/* Columns of the terminal on standard output; 0 when it is none. */
size_t console_width(void);

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_RED, STYLE_YELLOW, STYLE_GREEN, STYLE_CYAN };

/* How a thing is shown; a plain one when `is_on` is false. */
struct paint {
    bool is_on;
};
void paint_begin(struct buf *out, struct paint p, enum style s);
void paint_end(struct buf *out, struct paint p, enum style s);
void paint_text(struct buf *out, struct paint p, enum style s, struct str text);

/* "999", "1.2K", "34M": powers of 1024, as ls -h writes them.  dst: at least 8 bytes. */
void console_format_size(uint64_t bytes, char dst[8]);
/* "2026-11-23 14:05:06", UTC; dst: at least 40 bytes. */
void console_format_time(int64_t us, char dst[40]);
/* Bytes from outside: control bytes are shown as escapes, so that a terminal obeys nobody. */
void console_add_visible(struct buf *out, struct str text);
/* A message with names or texts of others in it, on standard error: so too, but for newlines and
 * tabs.  What is longer than 1 MiB is cut. */
void console_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The next character of it, which *p is moved behind; returns how many columns it takes. */
size_t console_add_char(struct buf *out, const char **p, const char *end);

/* Writes all to standard output and empties the buffer; false: nobody reads any more. */
bool console_flush(struct buf *out);

#endif
