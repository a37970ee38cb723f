/* base/time_text.c - times as text: RFC 3339 in both directions, RFC 2822 inwards. */
#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"

void time_format_rfc3339(int64_t us, char *dst, size_t dst_size)
{
    struct civil c;
    civil_from_us(us, &c);
    snprintf(dst, dst_size, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", c.year, c.month, c.day, c.hour,
             c.minute, c.second, c.micros);
}

/* ---- a cursor over the text: each take_* moves it and says whether it found what it wants ---- */

static bool at_end(const struct str *s)
{
    return s->len == 0;
}

static char peek(const struct str *s)
{
    return s->len ? s->ptr[0] : '\0';
}

static void skip(struct str *s, size_t n)
{
    s->ptr += n;
    s->len -= n;
}

static bool take_char(struct str *s, char c)
{
    if (at_end(s) || s->ptr[0] != c)
        return false;
    skip(s, 1);
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Between min and max digits, as many as there are. */
static bool take_digits(struct str *s, size_t min, size_t max, int *out)
{
    size_t n = 0;
    int v = 0;
    for (; n < max && n < s->len && is_digit(s->ptr[n]); n++)
        v = v * 10 + (s->ptr[n] - '0');
    if (n < min)
        return false;
    skip(s, n);
    *out = v;
    return true;
}

static bool take_number(struct str *s, size_t digits, int min, int max, int *out)
{
    return take_digits(s, digits, digits, out) && *out >= min && *out <= max;
}

static int days_in_month(int year, int month)
{
    return (int)(days_from_civil(year, month + 1, 1) - days_from_civil(year, month, 1));
}

static bool day_exists(const struct civil *c)
{
    return c->day >= 1 && c->day <= days_in_month(c->year, c->month);
}

/* ---- RFC 3339 ---- */

static bool take_date(struct str *s, struct civil *c)
{
    return take_number(s, 4, 0, 9999, &c->year) && take_char(s, '-') &&
           take_number(s, 2, 1, 12, &c->month) && take_char(s, '-') &&
           take_number(s, 2, 1, 31, &c->day) && day_exists(c);
}

/* A leap second (60) is allowed and carries into the next minute. */
static bool take_clock(struct str *s, struct civil *c)
{
    return take_number(s, 2, 0, 23, &c->hour) && take_char(s, ':') &&
           take_number(s, 2, 0, 59, &c->minute) && take_char(s, ':') &&
           take_number(s, 2, 0, 60, &c->second);
}

/* ".123…": digits past the sixth are dropped. */
static bool take_fraction(struct str *s, int *micros)
{
    *micros = 0;
    if (!take_char(s, '.'))
        return true;
    size_t n = 0;
    for (int unit = 100000; n < s->len && is_digit(s->ptr[n]); n++, unit /= 10)
        *micros += (s->ptr[n] - '0') * unit;
    skip(s, n);
    return n > 0;
}

/* "Z", "+hh:mm" or nothing, up to the end of the text. */
static bool take_rfc3339_zone(struct str *s, int *offset_minutes)
{
    *offset_minutes = 0;
    if (at_end(s))
        return true;
    if (take_char(s, 'Z') || take_char(s, 'z'))
        return at_end(s);
    int sign = peek(s) == '-' ? -1 : 1, hours, minutes;
    if (!take_char(s, '+') && !take_char(s, '-'))
        return false;
    if (!take_number(s, 2, 0, 23, &hours) || !take_char(s, ':') ||
        !take_number(s, 2, 0, 59, &minutes))
        return false;
    *offset_minutes = sign * (hours * 60 + minutes);
    return at_end(s);
}

bool time_parse_rfc3339(struct str s, int64_t *out_us)
{
    struct civil c = {0};
    int offset_minutes;
    if (!take_date(&s, &c))
        return false;
    if (!take_char(&s, 'T') && !take_char(&s, 't') && !take_char(&s, ' '))
        return false;
    if (!take_clock(&s, &c) || !take_fraction(&s, &c.micros) ||
        !take_rfc3339_zone(&s, &offset_minutes))
        return false;
    c.minute -= offset_minutes;
    *out_us = civil_to_us(&c);
    return true;
}

/* ---- RFC 2822: "Fri, 21 Nov 1997 09:55:06 -0600" ---- */

static const char *const DAYS[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const MONTHS[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static const struct zone_row {
    const char *name;
    int offset_hours;
} ZONES[] = {
    {"UT", 0},   {"GMT", 0},  {"Z", 0},    {"EST", -5}, {"EDT", -4}, {"CST", -6},
    {"CDT", -5}, {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7},
};

/* The text behind a comment that starts at s, whose ")" may be nested and escaped; false when the
 * comment does not end. */
static bool take_comment(struct str *s)
{
    size_t depth = 0, i = 0;
    for (; i < s->len; i++) {
        if (s->ptr[i] == '\\')
            i++;
        else if (s->ptr[i] == '(')
            depth++;
        else if (s->ptr[i] == ')' && --depth == 0)
            break;
    }
    if (i >= s->len)
        return false;
    skip(s, i + 1);
    return true;
}

/* Folding white space with comments; false when there was none (or a comment without an end). */
static bool take_blanks(struct str *s)
{
    size_t before = s->len;
    for (;;) {
        char c = peek(s);
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
            skip(s, 1);
        else if (c != '(')
            return s->len < before;
        else if (!take_comment(s))
            return false;
    }
}

static struct str take_word(struct str *s)
{
    size_t n = 0;
    while (n < s->len &&
           ((s->ptr[n] >= 'A' && s->ptr[n] <= 'Z') || (s->ptr[n] >= 'a' && s->ptr[n] <= 'z')))
        n++;
    struct str word = {s->ptr, n};
    skip(s, n);
    return word;
}

static int index_of(struct str word, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq_nocase(word, str_from(names[i])))
            return (int)i;
    }
    return -1;
}

/* Two digits are 1950 to 2049, three count from 1900 (RFC 2822, section 4.3). */
static bool take_year(struct str *s, int *year)
{
    size_t before = s->len;
    if (!take_digits(s, 2, 4, year))
        return false;
    size_t digits = before - s->len;
    if (digits == 2)
        *year += *year < 50 ? 2000 : 1900;
    else if (digits == 3)
        *year += 1900;
    return true;
}

/* "hh:mm" with or without ":ss". */
static bool take_short_clock(struct str *s, struct civil *c)
{
    if (!take_number(s, 2, 0, 23, &c->hour) || !take_char(s, ':') ||
        !take_number(s, 2, 0, 59, &c->minute))
        return false;
    c->second = 0;
    return !take_char(s, ':') || take_number(s, 2, 0, 60, &c->second);
}

/* A military letter (any but J) tells nothing reliable and counts as UTC, as the RFC says. */
static bool take_rfc2822_zone(struct str *s, int *offset_minutes)
{
    int sign = peek(s) == '-' ? -1 : 1, hours, minutes;
    if (take_char(s, '+') || take_char(s, '-')) {
        if (!take_number(s, 2, 0, 99, &hours) || !take_number(s, 2, 0, 59, &minutes))
            return false;
        *offset_minutes = sign * (hours * 60 + minutes);
        return true;
    }
    struct str word = take_word(s);
    for (size_t i = 0; i < ARRAY_LEN(ZONES); i++) {
        if (str_eq_nocase(word, str_from(ZONES[i].name))) {
            *offset_minutes = ZONES[i].offset_hours * 60;
            return true;
        }
    }
    *offset_minutes = 0;
    return word.len == 1 && word.ptr[0] != 'J' && word.ptr[0] != 'j';
}

/* "Fri," when there is one; *weekday is -1 without. */
static bool take_weekday(struct str *s, int *weekday)
{
    *weekday = -1;
    struct str word = take_word(s);
    if (word.len == 0)
        return true;
    *weekday = index_of(word, DAYS, ARRAY_LEN(DAYS));
    take_blanks(s);
    return *weekday >= 0 && take_char(s, ',');
}

static bool take_mail_date(struct str *s, struct civil *c)
{
    if (!take_digits(s, 1, 2, &c->day) || !take_blanks(s))
        return false;
    c->month = 1 + index_of(take_word(s), MONTHS, ARRAY_LEN(MONTHS));
    return c->month >= 1 && take_blanks(s) && take_year(s, &c->year) && day_exists(c);
}

static int weekday_of(const struct civil *c)
{
    int64_t days = days_from_civil(c->year, c->month, c->day); /* day 0 was a Thursday */
    return (int)(((days + 4) % 7 + 7) % 7);
}

bool time_parse_rfc2822(struct str s, int64_t *out_us)
{
    struct civil c = {0};
    int weekday, offset_minutes;
    take_blanks(&s);
    if (!take_weekday(&s, &weekday))
        return false;
    take_blanks(&s);
    if (!take_mail_date(&s, &c) || (weekday >= 0 && weekday != weekday_of(&c)))
        return false;
    if (!take_blanks(&s) || !take_short_clock(&s, &c) || !take_blanks(&s) ||
        !take_rfc2822_zone(&s, &offset_minutes))
        return false;
    take_blanks(&s);
    if (!at_end(&s))
        return false;
    c.minute -= offset_minutes;
    *out_us = civil_to_us(&c);
    return true;
}
