// links: weir_http
/* Headers that say in two ways where a body ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct framing f = {0};
        for (size_t h = 0; h < 4 && cases[i].headers[h][0]; h++)
            framing_see(&f, str_from(cases[i].headers[h][0]), str_from(cases[i].headers[h][1]));
        framing_end(&f);
        assert_int_equal(f.fault ? f.status : 0, cases[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_be_read_in_two_ways_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
