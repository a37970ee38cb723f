/* http/framing.c - Content-Length and Transfer-Encoding against each other, and bytes of the head
 * that are in no header. */
#include "http/framing.h"

#include <string.h>

#define NOT_IN_PLACE "a header has a NUL in it, has no name or is folded"
#define ENDS_DIFFER "a header has a NUL or ':' at its end, or some lines end with CRLF and some not"

static void find_fault(struct framing *f, int status, const char *fault)
{
    if (f->fault)
        return;
    f->status = status;
    f->fault = fault;
}

static bool is_token(struct str name)
{
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] <= ' ' || name.ptr[i] == 0x7f)
            return false;
    return name.len > 0;
}

static bool is_digits(struct str value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return false;
    return value.len > 0;
}

/* libmicrohttpd adds the second line of a folded header to its name. */
static bool is_folded(struct str name, struct str framing)
{
    return name.len > framing.len && str_eq_nocase((struct str){name.ptr, framing.len}, framing);
}

/* Where a line ends, to some readers. */
static bool has_cr(struct str s)
{
    return s.len > 0 && memchr(s.ptr, '\r', s.len);
}

static const char *end_of(struct str s)
{
    return s.ptr + s.len;
}

/* From the end of a text to the next one each byte was CR, LF or a colon: how many?  0: not so. */
static ptrdiff_t gap_between(const char *from, const char *to)
{
    for (const char *p = from; p < to; p++)
        if (*p != '\0')
            return 0;
    return from < to ? to - from : 0;
}

static bool is_blank_between(const char *from, const char *to)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    return from == to;
}

static void tear(struct framing *f)
{
    f->is_torn = true;
    find_fault(f, 400, NOT_IN_PLACE);
}

void framing_see_first_line(struct framing *f, struct str method, struct str uri,
                            struct str version, bool stands)
{
    if (has_cr(method) || has_cr(uri))
        find_fault(f, 400, "the first line has a CR in it");
    if (!stands)
        return;
    if (!is_blank_between(end_of(method) + 1, uri.ptr) ||
        gap_between(end_of(uri), version.ptr) != 1)
        find_fault(f, 400, "the first line has a NUL in it");
    f->end = end_of(version);
}

/* Lines end with CRLF, or all with LF. */
static void see_place(struct framing *f, struct str name, struct str value)
{
    ptrdiff_t line_end = gap_between(f->end, name.ptr);
    if (f->line_end == 0)
        f->line_end = line_end;
    if (line_end < 1 || line_end > 2 || !is_blank_between(end_of(name) + 1, value.ptr))
        tear(f);
    else if (line_end != f->line_end)
        find_fault(f, 400, ENDS_DIFFER);
    f->end = end_of(value);
}

static void see_last_line(struct framing *f, const char *end)
{
    ptrdiff_t two_ends = gap_between(f->end, end);
    if (two_ends < 2 || two_ends > 4)
        tear(f);
    else if (two_ends == 3 || (f->line_end && two_ends != 2 * f->line_end))
        find_fault(f, 400, ENDS_DIFFER);
}

void framing_see(struct framing *f, struct str name, struct str value)
{
    if (f->end)
        see_place(f, name, value);
    if (!is_token(name))
        find_fault(f, 400, "the name of a header has a blank in it");
    if (has_cr(value))
        find_fault(f, 400, "a header has a CR in it");
    if (is_folded(name, STR("Content-Length")) || is_folded(name, STR("Transfer-Encoding")))
        find_fault(f, 400, "a header that says where the body ends is folded");
    if (str_eq_nocase(name, STR("Content-Length"))) {
        if (f->has_length && !str_eq(f->length, value))
            find_fault(f, 400, "two values of Content-Length");
        if (!is_digits(value))
            find_fault(f, 400, "Content-Length is no number");
        f->has_length = true;
        f->length = value;
    } else if (str_eq_nocase(name, STR("Transfer-Encoding"))) {
        if (f->has_coding)
            find_fault(f, 400, "two headers Transfer-Encoding");
        f->has_coding = true;
        f->coding = value;
    } else if (str_eq_nocase(name, STR("Content-Encoding"))) {
        if (f->has_content_coding)
            find_fault(f, 400, "two headers Content-Encoding");
        f->has_content_coding = true;
    }
}

void framing_end(struct framing *f, const char *end)
{
    if (f->end)
        see_last_line(f, end);
    if (f->has_coding && !str_eq_nocase(f->coding, STR("chunked")))
        find_fault(f, 501, "Transfer-Encoding: only chunked is spoken");
    if (f->has_coding && f->has_length)
        find_fault(f, 400, "Content-Length beside Transfer-Encoding");
}
