/* tools/console.c - colours, sizes and times for people. */
#include "tools/console.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

bool console_has_color(int when, int fd)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

    if (when == COLOR_ALWAYS || when == COLOR_NEVER)
        return when == COLOR_ALWAYS;
    return isatty(fd) && !(no_color && no_color[0]) && !(term && strcmp(term, "dumb") == 0);
}

size_t console_width(void)
{
    struct winsize size;

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void paint_begin(struct buf *out, struct paint p, enum style s)
{
    static const char *const codes[] = {
        [STYLE_BOLD] = "1",    [STYLE_DIM] = "2",    [STYLE_RED] = "31",
        [STYLE_YELLOW] = "33", [STYLE_GREEN] = "32", [STYLE_CYAN] = "36"};

    if (p.is_on && s != STYLE_PLAIN)
        buf_printf(out, "\033[%sm", codes[s]);
}

void paint_end(struct buf *out, struct paint p, enum style s)
{
    if (p.is_on && s != STYLE_PLAIN)
        buf_add_cstr(out, "\033[0m");
}

void paint_text(struct buf *out, struct paint p, enum style s, struct str text)
{
    paint_begin(out, p, s);
    buf_add_str(out, text);
    paint_end(out, p, s);
}

void console_format_size(uint64_t bytes, char dst[8])
{
    static const char units[] = "BKMGTPE";
    double value = (double)bytes;
    size_t unit = 0;

    for (; value >= 1023.5 && units[unit + 1]; unit++)
        value /= 1024;
    if (unit == 0)
        snprintf(dst, 8, "%u", (unsigned)bytes);
    else
        snprintf(dst, 8, value < 9.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
}

void console_format_time(int64_t us, char dst[40])
{
    struct civil c;

    civil_from_us(us, &c);
    snprintf(dst, 40, "%04d-%02d-%02d %02d:%02d:%02d", c.year, c.month, c.day, c.hour, c.minute,
             c.second);
}

void console_add_visible(struct buf *out, struct str text)
{
    const char *p = text.ptr, *end = text.ptr + text.len;

    while (p < end) {
        uint32_t cp;
        size_t n = utf8_decode(p, end, &cp);
        if (n == 0 || cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
            buf_printf(out, cp == '\n' && n ? "\\n" : "\\x%02x",
                       (unsigned)(n ? cp : (unsigned char)*p));
        else
            buf_add(out, p, n);
        p += n ? n : 1;
    }
}

bool console_flush(struct buf *out)
{
    bool done = buf_ok(out) && fwrite(out->data ? out->data : "", 1, out->len, stdout) == out->len;

    buf_clear(out);
    return done && fflush(stdout) == 0;
}
