/* gateway/engine/format_time.c - writes a time by a format, one specifier after the other.
 *
 *   %[-_0]X          a number: `numbers`; the flag is its padding: none, blanks, zeros
 *   %a %A %b %h %B   names of days and months;  %p AM, %P am;  %n, %t, %%
 *   %F %T %c ...     shorthands: `shorthands`
 *   %f %3f %6f %9f   the fraction: nanoseconds, or so many digits
 *   %.f %.3f ...     the same behind a dot; %.f has 0, 3 or 6 digits, as many as it needs
 *   %z %:z %::z      +0930, +09:30, +09:30:00;  %Z is UTC, or as %:z
 */
#include "gateway/engine/format_time.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define DAY_US (24 * US_PER_HOUR)
#define YEAR_MAX 9999 /* of either sign */
#define OFFSET_S_MAX 86400

struct moment {
    struct civil civil; /* local, as all that follows */
    int64_t seconds;    /* of UTC */
    int64_t offset_s;
    int day;     /* of the year, from 0 */
    int weekday; /* from Sunday */
    int iso_year, iso_week;
};

static const char *const months[] = {"January",   "February", "March",    "April",
                                     "May",       "June",     "July",     "August",
                                     "September", "October",  "November", "December"};
static const char *const weekdays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};

static const struct {
    char letter;
    const char *format;
} shorthands[] = {
    {'D', "%m/%d/%y"},       {'x', "%m/%d/%y"},    {'F', "%Y-%m-%d"}, {'v', "%e-%b-%Y"},
    {'R', "%H:%M"},          {'T', "%H:%M:%S"},    {'X', "%H:%M:%S"}, {'r', "%I:%M:%S %p"},
    {'c', "%a %b %e %T %Y"}, {'+', "%FT%T%.f%:z"},
};

static const struct {
    char letter, padding;
    int width;
} numbers[] = {
    {'Y', '0', 4}, {'C', '0', 2}, {'y', '0', 2}, {'m', '0', 2}, {'d', '0', 2}, {'e', ' ', 2},
    {'w', '0', 1}, {'u', '0', 1}, {'U', '0', 2}, {'W', '0', 2}, {'G', '0', 4}, {'g', '0', 2},
    {'V', '0', 2}, {'j', '0', 3}, {'H', '0', 2}, {'k', ' ', 2}, {'I', '0', 2}, {'l', ' ', 2},
    {'M', '0', 2}, {'S', '0', 2}, {'s', '0', 1},
};

/* ---- the moment ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Weeks of ISO 8601 begin on Monday and belong to the year of their Thursday. */
static void set_iso_week(struct moment *m, int64_t days)
{
    int64_t thursday = days - (m->weekday + 6) % 7 + 3;
    struct civil c;
    civil_from_us(thursday * DAY_US, &c);
    m->iso_year = c.year;
    m->iso_week = (int)((thursday - days_from_civil(c.year, 1, 1)) / 7) + 1;
}

static void moment_of(int64_t us, int64_t offset_s, struct moment *m)
{
    int64_t local = us + offset_s * US_PER_SEC, days = floor_div(local, DAY_US);
    *m = (struct moment){.seconds = floor_div(us, US_PER_SEC), .offset_s = offset_s};
    civil_from_us(local, &m->civil);
    m->day = (int)(days - days_from_civil(m->civil.year, 1, 1));
    m->weekday = (int)(days + 4 - 7 * floor_div(days + 4, 7)); /* 1970-01-01 was a Thursday */
    set_iso_week(m, days);
}

/* ---- specifiers ---- */

static int64_t value_of(const struct moment *m, char letter)
{
    const struct civil *c = &m->civil;
    switch (letter) {
    case 'Y':
        return c->year;
    case 'C':
        return floor_div(c->year, 100);
    case 'y':
        return c->year - 100 * floor_div(c->year, 100);
    case 'm':
        return c->month;
    case 'd':
    case 'e':
        return c->day;
    case 'w':
        return m->weekday;
    case 'u':
        return m->weekday ? m->weekday : 7;
    case 'U':
        return (m->day + 7 - m->weekday) / 7;
    case 'W':
        return (m->day + 7 - (m->weekday + 6) % 7) / 7;
    case 'G':
        return m->iso_year;
    case 'g':
        return m->iso_year - 100 * floor_div(m->iso_year, 100);
    case 'V':
        return m->iso_week;
    case 'j':
        return m->day + 1;
    case 'H':
    case 'k':
        return c->hour;
    case 'I':
    case 'l':
        return (c->hour + 11) % 12 + 1;
    case 'M':
        return c->minute;
    case 'S':
        return c->second;
    default: /* 's' */
        return m->seconds;
    }
}

static bool add_number(const struct moment *m, char flag, char letter, struct buf *out)
{
    size_t i = 0;
    while (i < ARRAY_LEN(numbers) && numbers[i].letter != letter)
        i++;
    if (i == ARRAY_LEN(numbers))
        return false;
    char padding = flag == '_' ? ' ' : flag == '0' ? '0' : numbers[i].padding;
    int width = flag == '-' ? 1 : numbers[i].width;
    long long value = value_of(m, letter);
    if (padding == '0')
        buf_printf(out, "%0*lld", width, value);
    else
        buf_printf(out, "%*lld", width, value);
    return true;
}

static bool add_word(const struct moment *m, char letter, struct buf *out)
{
    const char *month = months[m->civil.month - 1], *weekday = weekdays[m->weekday];
    switch (letter) {
    case 'a':
        buf_add(out, weekday, 3);
        return true;
    case 'A':
        buf_add_cstr(out, weekday);
        return true;
    case 'b':
    case 'h':
        buf_add(out, month, 3);
        return true;
    case 'B':
        buf_add_cstr(out, month);
        return true;
    case 'p':
        buf_add_cstr(out, m->civil.hour < 12 ? "AM" : "PM");
        return true;
    case 'P':
        buf_add_cstr(out, m->civil.hour < 12 ? "am" : "pm");
        return true;
    case 'n':
        buf_add_char(out, '\n');
        return true;
    case 't':
        buf_add_char(out, '\t');
        return true;
    case '%':
        buf_add_char(out, '%');
        return true;
    default:
        return false;
    }
}

static void add_zone(const struct moment *m, unsigned colons, struct buf *out)
{
    int64_t s = m->offset_s < 0 ? -m->offset_s : m->offset_s;
    buf_printf(out, "%c%02lld%s%02lld", m->offset_s < 0 ? '-' : '+', (long long)(s / 3600),
               colons ? ":" : "", (long long)(s / 60 % 60));
    if (colons > 1)
        buf_printf(out, ":%02lld", (long long)(s % 60));
}

/* `digits` is 0 where the format does not say. */
static void add_fraction(const struct moment *m, bool dot, size_t digits, struct buf *out)
{
    char text[16];
    snprintf(text, sizeof text, "%06u000", (unsigned)m->civil.micros % 1000000u);
    if (!digits && dot)
        digits = m->civil.micros == 0 ? 0 : m->civil.micros % 1000 == 0 ? 3 : 6;
    else if (!digits)
        digits = 9;
    if (dot && digits)
        buf_add_char(out, '.');
    buf_add(out, text, digits);
}

/* The longer specifiers: [.][369]f, :z, ::z, z, Z.  The length of the one at the start, or 0. */
static size_t add_long(const struct moment *m, struct str s, struct buf *out)
{
    size_t i = 0, digits = 0, colons = 0;
    bool dot = s.ptr[0] == '.';
    while (i < s.len && s.ptr[i] == ':' && colons < 2)
        colons += s.ptr[i++] == ':';
    if (i < s.len && s.ptr[i] == 'z') {
        add_zone(m, (unsigned)colons, out);
        return i + 1;
    }
    if (s.ptr[0] == 'Z') {
        if (m->offset_s)
            add_zone(m, 1, out);
        else
            buf_add_cstr(out, "UTC");
        return 1;
    }
    i = dot;
    if (i < s.len && (s.ptr[i] == '3' || s.ptr[i] == '6' || s.ptr[i] == '9'))
        digits = (size_t)(s.ptr[i++] - '0');
    if (i == s.len || s.ptr[i] != 'f')
        return 0;
    add_fraction(m, dot, digits, out);
    return i + 1;
}

static const char *shorthand_of(char letter)
{
    for (size_t i = 0; i < ARRAY_LEN(shorthands); i++)
        if (shorthands[i].letter == letter)
            return shorthands[i].format;
    return NULL;
}

static bool add_formatted(const struct moment *m, struct str format, struct buf *out);

/* What stands behind a %; its length, or 0 when it is none. */
static size_t add_specifier(const struct moment *m, struct str s, struct buf *out)
{
    bool has_flag = s.len > 1 && strchr("-_0", s.ptr[0]);
    size_t at = has_flag;
    if (!s.len)
        return 0;
    if (add_number(m, has_flag ? s.ptr[0] : '\0', s.ptr[at], out))
        return at + 1;
    if (has_flag)
        return 0;
    const char *shorthand = shorthand_of(s.ptr[0]);
    if (shorthand)
        return add_formatted(m, str_from(shorthand), out) ? 1 : 0;
    return add_word(m, s.ptr[0], out) ? 1 : add_long(m, s, out);
}

static bool add_formatted(const struct moment *m, struct str format, struct buf *out)
{
    for (size_t i = 0; i < format.len; i++) {
        if (format.ptr[i] != '%') {
            buf_add_char(out, format.ptr[i]);
            continue;
        }
        size_t len = add_specifier(m, (struct str){format.ptr + i + 1, format.len - i - 1}, out);
        if (!len)
            return false;
        i += len;
    }
    return true;
}

enum err_code format_time(int64_t us, int64_t offset_s, struct str format, struct buf *out,
                          struct err *e)
{
    struct moment m;
    if (us < days_from_civil(-YEAR_MAX, 1, 2) * DAY_US ||
        us >= days_from_civil(YEAR_MAX, 12, 31) * DAY_US || offset_s < -OFFSET_S_MAX ||
        offset_s > OFFSET_S_MAX)
        return err_set(e, ERR_INVALID, "the time is out of range");
    moment_of(us, offset_s, &m);
    if (!add_formatted(&m, format, out))
        return err_set(e, ERR_INVALID, "'" STR_FMT "' is no format of a time",
                       format.len > 100 ? 100 : (int)format.len, format.ptr);
    return buf_ok(out) ? ERR_OK : err_set(e, ERR_TOOBIG, "the text of a time is too long");
}
