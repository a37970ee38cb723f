/* fs/name.c - escaping, time directories, names of data files. */
#include "fs/name.h"

#include <assert.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define DATA_SUFFIX ".ndjson"
#define PART_SUFFIX ".parquet"
#define HASH_TEXT_LEN 17 /* "~" and 16 hexadecimal digits */

/* Names that the tree itself uses beside names from outside. */
static const struct str RESERVED[] = {{"", 0}, {".", 1}, {"..", 2}, {".weir", 5}, {".parts", 6}};

static bool is_reserved(struct str raw)
{
    for (size_t i = 0; i < ARRAY_LEN(RESERVED); i++) {
        if (str_eq(raw, RESERVED[i]))
            return true;
    }
    return false;
}

static bool needs_escape(unsigned char c)
{
    return c < 0x20 || c == 0x7f || c == '/' || c == '%';
}

static size_t put_escaped(unsigned char c, char dst[3])
{
    static const char digits[] = "0123456789ABCDEF";

    dst[0] = '%';
    dst[1] = digits[c >> 4];
    dst[2] = digits[c & 15];
    return 3;
}

/* How much of dst stays before the hash: no half escape, no half UTF-8 sequence. */
static size_t cut_before(const char *dst, size_t len)
{
    for (size_t back = 1; back <= 2 && back <= len; back++) {
        if (dst[len - back] == '%')
            return len - back;
    }
    while (len > 0 && ((unsigned char)dst[len] & 0xC0) == 0x80)
        len--;
    return len;
}

static size_t finish_with_hash(struct str raw, char dst[NAME_TEXT_MAX + 1])
{
    size_t kept = cut_before(dst, NAME_TEXT_MAX - HASH_TEXT_LEN);

    snprintf(dst + kept, HASH_TEXT_LEN + 1, "~%016llx", (unsigned long long)str_hash(raw));
    return kept + HASH_TEXT_LEN;
}

size_t name_escape(struct str raw, char dst[NAME_TEXT_MAX + 1])
{
    bool dots = is_reserved(raw);
    size_t len = 0;

    for (size_t i = 0; i < raw.len; i++) {
        unsigned char c = (unsigned char)raw.ptr[i];
        bool escaped = needs_escape(c) || (dots && c == '.');
        if (len + (escaped ? 3 : 1) > NAME_TEXT_MAX)
            return finish_with_hash(raw, dst);
        if (escaped)
            len += put_escaped(c, dst + len);
        else
            dst[len++] = (char)c;
    }
    if (len == 0)
        dst[len++] = '%'; /* the empty name: no other gives a lone percent sign */
    dst[len] = '\0';
    return len;
}

/* ---- spans ---- */

static struct civil civil_of_hour(int32_t hour)
{
    struct civil c;

    civil_from_us((int64_t)hour * US_PER_HOUR, &c);
    return c;
}

static int32_t hour_of_civil(int year, int month, int day, int hour)
{
    return (int32_t)(days_from_civil(year, month, day) * 24 + hour);
}

bool hour_has_place(int32_t hour)
{
    int year = civil_of_hour(hour).year;

    return year >= 0 && year <= 9999;
}

static struct span span_of_civil(enum span_level level, const struct civil *c)
{
    struct span s = {.level = level};

    switch (level) {
    case SPAN_YEAR:
        s.first = hour_of_civil(c->year, 1, 1, 0);
        s.last = hour_of_civil(c->year + 1, 1, 1, 0) - 1;
        break;
    case SPAN_MONTH:
        s.first = hour_of_civil(c->year, c->month, 1, 0);
        s.last = hour_of_civil(c->year, c->month + 1, 1, 0) - 1;
        break;
    case SPAN_DAY:
        s.first = hour_of_civil(c->year, c->month, c->day, 0);
        s.last = s.first + 23;
        break;
    default:
        s.first = s.last = hour_of_civil(c->year, c->month, c->day, c->hour);
        break;
    }
    return s;
}

struct span span_around(enum span_level level, int32_t hour)
{
    struct civil c = civil_of_hour(hour);

    assert(hour_has_place(hour));
    return span_of_civil(level, &c);
}

/* Exactly `digits` of them. */
static bool parse_digits(struct str s, size_t digits, int *out)
{
    int v = 0;

    if (s.len != digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        v = v * 10 + (s.ptr[i] - '0');
    }
    *out = v;
    return true;
}

static bool parse_year(struct str name, struct span *out)
{
    struct civil c = {.month = 1, .day = 1};

    if (!parse_digits(name, 4, &c.year))
        return false;
    *out = span_of_civil(SPAN_YEAR, &c);
    return true;
}

bool span_parse(const struct span *parent, struct str name, struct span *out)
{
    struct civil c;
    struct span s;
    int number;

    if (!parent)
        return parse_year(name, out);
    if (parent->level == SPAN_HOUR || !parse_digits(name, 2, &number))
        return false;
    c = civil_of_hour(parent->first);
    switch (parent->level) {
    case SPAN_YEAR:
        c.month = number;
        break;
    case SPAN_MONTH:
        c.day = number;
        break;
    default:
        c.hour = number;
        break;
    }
    /* Fields out of range carry into another parent, where they do not belong. */
    s = span_of_civil(parent->level + 1, &c);
    if (s.first < parent->first || s.last > parent->last || span_number(&s) != number)
        return false;
    *out = s;
    return true;
}

int span_number(const struct span *s)
{
    struct civil c = civil_of_hour(s->first);

    switch (s->level) {
    case SPAN_YEAR:
        return c.year;
    case SPAN_MONTH:
        return c.month;
    case SPAN_DAY:
        return c.day;
    default:
        return c.hour;
    }
}

size_t span_format(const struct span *s, char dst[8])
{
    int n = snprintf(dst, 8, s->level == SPAN_YEAR ? "%04d" : "%02d", span_number(s) % 10000);

    return (size_t)n;
}

/* ---- data files ---- */

/* Only the spelling that we write ourselves: one file has one name. */
static bool parse_id(struct str text, struct ulid *id)
{
    char again[ULID_TEXT_LEN + 1];

    if (!ulid_parse(text, id))
        return false;
    ulid_format(id, again);
    return str_eq(text, str_from(again));
}

static bool cut_suffix(struct str *name, struct str suffix)
{
    if (name->len < suffix.len ||
        memcmp(name->ptr + name->len - suffix.len, suffix.ptr, suffix.len) != 0)
        return false;
    name->len -= suffix.len;
    return true;
}

size_t name_format_data(const struct ulid *id, char dst[NAME_DATA_MAX])
{
    ulid_format(id, dst);
    memcpy(dst + ULID_TEXT_LEN, DATA_SUFFIX, sizeof DATA_SUFFIX);
    return ULID_TEXT_LEN + sizeof DATA_SUFFIX - 1;
}

bool name_parse_data(struct str name, struct ulid *id)
{
    return cut_suffix(&name, STR(DATA_SUFFIX)) && parse_id(name, id);
}

size_t name_format_part(const struct ulid *id, char dst[NAME_PART_MAX])
{
    ulid_format(id, dst);
    memcpy(dst + ULID_TEXT_LEN, PART_SUFFIX, sizeof PART_SUFFIX);
    return ULID_TEXT_LEN + sizeof PART_SUFFIX - 1;
}

bool name_parse_part(struct str name, struct ulid *id)
{
    return cut_suffix(&name, STR(PART_SUFFIX)) && parse_id(name, id);
}

size_t name_format_snapshot(const struct ulid *id, uint64_t bytes, char dst[NAME_SNAPSHOT_MAX])
{
    char text[ULID_TEXT_LEN + 1];

    ulid_format(id, text);
    return (size_t)snprintf(dst, NAME_SNAPSHOT_MAX, "%s@%llu" DATA_SUFFIX, text,
                            (unsigned long long)bytes);
}

bool name_parse_snapshot(struct str name, struct ulid *id, uint64_t *bytes)
{
    struct str id_text, digits;

    if (!cut_suffix(&name, STR(DATA_SUFFIX)) || !str_cut(name, '@', &id_text, &digits) ||
        !parse_id(id_text, id))
        return false;
    if (digits.len == 0 || (digits.len > 1 && digits.ptr[0] == '0'))
        return false;
    return str_to_u64(digits, bytes);
}
