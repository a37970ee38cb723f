// links: weir_http
/* Which origins browsers may ask from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "http/cors.h"

static void an_origin_is_allowed_when_it_is_listed_or_nothing_is(void **state)
{
    static const struct {
        const char *setting, *origin, *allowed;
    } cases[] = {
        {"", "http://a.example", "*"},
        {"", "", "*"},
        {"  ", "http://a.example", "*"},
        {"http://a.example", "http://a.example", "http://a.example"},
        {"http://a.example", "HTTP://A.example", "HTTP://A.example"},
        {"http://a.example/", "http://a.example", "http://a.example"},
        {"https://b.example, http://a.example", "http://a.example", "http://a.example"},
        {"http://a.example", "http://a.example.evil", ""},
        {"http://a.example", "http://a.exampl", ""},
        {"http://a.example", "null", ""},
        {"http://a.example", "", ""},
        {",", "http://a.example", ""},
        {",", "", ""},
        {"http://a.example,*", "http://b.example", "*"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str got = cors_allowed_origin(cases[i].setting, str_from(cases[i].origin));
        assert_true(str_eq(got, str_from(cases[i].allowed)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_origin_is_allowed_when_it_is_listed_or_nothing_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
