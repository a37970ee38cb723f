// links: weir_http
/* Headers that say in two ways where a body ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "http/framing.h"

static void what_may_be_read_in_two_ways_is_refused(void **state)
{
    static const struct {
        const char *headers[4][2];
        int status; /* 0: fine */
    } cases[] = {
        {{{"Host", "x"}}, 0},
        {{{"Content-Length", "5"}}, 0},
        {{{"Content-Length", "5"}, {"content-length", "5"}}, 0},
        {{{"Content-Length", "5"}, {"CONTENT-LENGTH", "6"}}, 400},
        {{{"Transfer-Encoding", "chunked"}}, 0},
        {{{"transfer-encoding", "CHUNKED"}, {"Trailer", "X"}}, 0},
        {{{"Transfer-Encoding", "chunked"}, {"Content-Length", "5"}}, 400},
        {{{"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}}, 400},
        {{{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}}, 400},
        {{{"Transfer-Encoding", "gzip"}}, 501},
        {{{"Transfer-Encoding", "gzip, chunked"}}, 501},
        {{{"Transfer-Encoding", "xchunked"}}, 501},
        {{{"Transfer-Encoding", "identity"}}, 501},
        {{{"Transfer-Encoding", ""}}, 501},
        {{{"Transfer-Encoding", ""}, {"Content-Length", "5"}}, 501},
        {{{"Content-Length", ""}}, 400},
        {{{"Content-Length", " 5"}}, 400},
        {{{"Content-Length5", ""}}, 400},
        {{{"Transfer-Encodingx", "chunked"}}, 400},
        {{{"Content-Length", "+5"}}, 400},
        {{{"Content-Length", "0x5"}}, 400},
        {{{"Content-Encoding", "gzip"}}, 0},
        {{{"Content-Encoding", "identity"}, {"content-encoding", "gzip"}}, 400},
        {{{"Content-Length ", "5"}}, 400},
        {{{"X Y", "5"}}, 400},
        {{{"\tX", "5"}}, 400},
        {{{"", "5"}}, 400},
        {{{"X", "a\rContent-Length: 5"}}, 400},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct framing f = {0};
        for (size_t h = 0; h < 4 && cases[i].headers[h][0]; h++)
            framing_see(&f, str_from(cases[i].headers[h][0]), str_from(cases[i].headers[h][1]));
        framing_end(&f, NULL);
        assert_int_equal(f.fault ? f.status : 0, cases[i].status);
    }
}

/* The head as libmicrohttpd leaves it: what strings it made of it, and where it ends. */
static const char *fault_of(const char *head, size_t len)
{
    struct framing f = {0};
    const char *end = head + len;
    struct str method = str_from(head), uri = str_from(memchr(head, '/', len)),
               version = str_from(memmem(head, len, "HTTP/", 5));
    framing_see_first_line(&f, method, uri, version, true);
    for (const char *p = version.ptr + version.len; p < end;) {
        while (p < end && *p == '\0')
            p++;
        struct str name = str_from(p), value;
        if (p + name.len + 1 >= end || p[name.len + 1] == '\0')
            break; /* it took this for the end, or for nothing */
        for (p += name.len + 1; *p == ' ' || *p == '\t';)
            p++;
        value = str_from(p);
        framing_see(&f, name, value);
        p += value.len;
    }
    framing_end(&f, end);
    return f.fault;
}

static void a_cr_in_the_first_line_is_refused(void **state)
{
    static const char *const lines[][2] = {{"GE\rT", "/a"}, {"GET", "/a\r"}, {"GET", "/a?\rX:y"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct framing f = {0};
        framing_see_first_line(&f, str_from(lines[i][0]), str_from(lines[i][1]), STR("HTTP/1.1"),
                               false);
        framing_end(&f, NULL);
        assert_int_equal(f.status, 400);
    }
}

static void what_is_in_no_header_is_refused(void **state)
{
#define HEAD(text) text, sizeof text - 1
    static const struct {
        const char *head;
        size_t len;
        bool is_fine;
    } cases[] = {
        {HEAD("GET\0/a\0HTTP/1.1\0\0\0\0"), true},
        {HEAD("GET\0/a\0HTTP/1.1\0\0"), true}, /* LF alone */
        {HEAD("GET\0  /a \0HTTP/1.1\0\0H\0 v\0\0\0\0"), true},
        {HEAD("GET\0/a\0HTTP/1.1\0\0H\0 v\0\0I\0\t w x\0\0\0\0"), true},
        {HEAD("GET\0/a\0HTTP/1.1\0H\0v\0I\0w\0\0"), true},
        {HEAD("GET\0/a\0HTTP/1.1\0\0H\0 v\0\0I\0 w\0\0"), false}, /* CRLF, CRLF, LF */
        {HEAD("GET\0/a\0HTTP/1.1\0H\0v\0\0I\0w\0\0"), false},     /* LF, CRLF or NUL LF, LF */
        {HEAD("GET\0/a\0HTTP/1.1\0H\0v\0\0\0"), false},           /* LF, LF, and a line `:` LF */
        {HEAD("GET\0/a\0HTTP/1.1\0\0\0"), false},
        {HEAD("GET\0x\0/a\0HTTP/1.1\0\0\0\0"), false},
        {HEAD("GET\0/a\0b\0HTTP/1.1\0\0\0\0"), false},
        {HEAD("GET\0/a\0HTTP/1.1\0\0H\0 v\0 9\0\0\0\0"), false},
        {HEAD("GET\0/a\0HTTP/1.1\0\0H\0 v\0\0\0\0\0"), false},
        {HEAD("GET\0/a\0HTTP/1.1\0\0H\0 v\0 9\0\0I\0 w\0\0\0\0"), false},
        {HEAD("GET\0/a\0HTTP/1.1\0\0H\0 v\0\0\0I\0 w\0\0\0\0"), false},
        {HEAD("GET\0/a\0HTTP/1.1\0\0H\0 v\0\0\0 x\0\0"), false},
        {HEAD("GET\0/a\0HTTP/1.1\0\0H\0 v\0\0 x\0\0\0\0"), false}, /* folded */
        {HEAD("GET\0/a\0HTTP/1.1\0\0\0abc\0x\0\0"), false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *fault = fault_of(cases[i].head, cases[i].len);
        if (!fault != cases[i].is_fine)
            fail_msg("case %zu: %s", i, fault ? fault : "no fault");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_be_read_in_two_ways_is_refused),
        cmocka_unit_test(a_cr_in_the_first_line_is_refused),
        cmocka_unit_test(what_is_in_no_header_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
