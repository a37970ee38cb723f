/* tools/console.c - colours, sizes and times for people. */
#include "tools/console.h"

#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/utf8.h"

#define COMPLAINT_MAX (1u << 20)
#define CHAR_SHOWN_MAX 4 /* bytes that one becomes: \\x1b */

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

/* Wide ones take two columns, combining ones none; what the C library does not know counts as one.
 */
static size_t count_columns(uint32_t cp)
{
    static locale_t unicode;
    static bool is_known;
    locale_t before;
    int columns;

    if (cp < 0x7f)
        return 1;
    if (!is_known)
        unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    is_known = true;
    if (!unicode)
        return 1;
    before = uselocale(unicode);
    columns = wcwidth((wchar_t)cp);
    uselocale(before);
    return columns < 0 ? 1 : (size_t)columns;
}

size_t console_add_char(struct buf *out, const char **p, const char *end)
{
    const char *from = *p;
    uint32_t cp;
    size_t n = utf8_decode(from, end, &cp);

    *p += n ? n : 1;
    if (n && cp == '\n') {
        buf_add_cstr(out, "\\n");
        return 2;
    }
    if (n == 0 || cp < 0x20 || (cp >= 0x7f && cp < 0xa0)) {
        buf_printf(out, "\\x%02x", (unsigned)(n ? cp : (unsigned char)*from));
        return 4;
    }
    buf_add(out, from, n);
    return count_columns(cp);
}

void console_add_visible(struct buf *out, struct str text)
{
    const char *p = text.ptr, *end = text.ptr + text.len;

    while (p < end)
        console_add_char(out, &p, end);
}

void console_complain(const char *fmt, ...)
{
    AUTO_FREE char *text = malloc(COMPLAINT_MAX);
    struct buf out;
    va_list args;

    if (!text)
        return;
    text[0] = '\0';
    va_start(args, fmt);
    if (vsnprintf(text, COMPLAINT_MAX, fmt, args) >= (int)COMPLAINT_MAX)
        text[COMPLAINT_MAX - 2] = '\n';
    va_end(args);
    buf_init(&out, (size_t)COMPLAINT_MAX * CHAR_SHOWN_MAX);
    for (const char *p = text, *end = text + strlen(text); p < end;) {
        if (*p == '\n' || *p == '\t')
            buf_add_char(&out, *p++);
        else
            console_add_char(&out, &p, end);
    }
    fwrite(out.data, 1, out.len, stderr);
    buf_done(&out);
}

bool console_flush(struct buf *out)
{
    bool done = buf_ok(out) && fwrite(out->data ? out->data : "", 1, out->len, stdout) == out->len;

    buf_clear(out);
    return done && fflush(stdout) == 0;
}
