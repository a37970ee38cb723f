/* http/framing.c - Content-Length and Transfer-Encoding against each other. */
#include "http/framing.h"

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

void framing_see(struct framing *f, struct str name, struct str value)
{
    if (!is_token(name))
        find_fault(f, 400, "the name of a header has a blank in it");
    if (str_eq_nocase(name, STR("Content-Length"))) {
        if (f->length.len > 0 && !str_eq(f->length, value))
            find_fault(f, 400, "two values of Content-Length");
        f->length = value;
    } else if (str_eq_nocase(name, STR("Transfer-Encoding"))) {
        if (f->coding.len > 0)
            find_fault(f, 400, "two headers Transfer-Encoding");
        f->coding = value;
    }
}

void framing_end(struct framing *f)
{
    if (f->coding.len > 0 && !str_eq_nocase(f->coding, STR("chunked")))
        find_fault(f, 501, "Transfer-Encoding: only chunked is spoken");
    if (f->coding.len > 0 && f->length.len > 0)
        find_fault(f, 400, "Content-Length beside Transfer-Encoding");
}
