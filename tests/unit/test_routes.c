// links: weir_http
/* Which path and method finds which route. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "http/routes.h"

struct found {
    enum route_outcome outcome;
    struct route_match match;
    char path[512];
};

static void look(struct found *f, const char *base, const char *method, const char *path)
{
    snprintf(f->path, sizeof f->path, "%s", path);
    f->outcome = route_match(f->path, strlen(path), str_from(method), str_from(base), &f->match);
}

static void a_path_finds_its_route_and_its_names(void **state)
{
    static const struct {
        const char *method, *path, *pattern, *org, *stream;
    } cases[] = {
        {"GET", "/healthz", "/healthz", "", ""},
        {"HEAD", "/healthz", "/healthz", "", ""},
        {"GET", "/", "/", "", ""},
        {"POST", "/api/default/app/_json", "/api/{org}/{stream}/_json", "default", "app"},
        {"POST", "/api/default/a%20b%2Fc/_json", "/api/{org}/{stream}/_json", "default", "a b/c"},
        {"POST", "/api/d%65fault/%C3%A9/_json", "/api/{org}/{stream}/_json", "default", "\xC3\xA9"},
        {"POST", "/api/default//_json", "/api/{org}/{stream}/_json", "default", ""},
        {"POST", "/api/o/_search", "/api/{org}/_search", "o", ""},
        {"GET", "/api/organizations", "/api/organizations", "", ""},
        {"GET", "/api/o/streams", "/api/{org}/streams", "o", ""},
        {"GET", "/api/o/streams/s/schema", "/api/{org}/streams/{stream}/schema", "o", "s"},
        {"GET", "/api/o/s/schema", "/api/{org}/{stream}/schema", "o", "s"},
        {"POST", "/api/o/streams/_json", "/api/{org}/{stream}/_json", "o", "streams"},
        {"POST", "http://example.com:5080/api/o/_search", "/api/{org}/_search", "o", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct found f;
        look(&f, "", cases[i].method, cases[i].path);
        if (f.outcome != ROUTE_FOUND)
            fail_msg("%s %s is not found", cases[i].method, cases[i].path);
        assert_string_equal(f.match.route->path, cases[i].pattern);
        assert_true(str_eq(f.match.org, str_from(cases[i].org)));
        assert_true(str_eq(f.match.stream, str_from(cases[i].stream)));
    }
}

static void what_is_no_route_says_why(void **state)
{
    static const struct {
        const char *method, *path;
        enum route_outcome outcome;
        const char *allow;
    } cases[] = {
        {"GET", "/nosuch", ROUTE_UNKNOWN, ""},
        {"GET", "", ROUTE_UNKNOWN, ""},
        {"GET", "healthz", ROUTE_UNKNOWN, ""},
        {"GET", "*", ROUTE_UNKNOWN, ""},
        {"GET", "http://", ROUTE_UNKNOWN, ""},
        {"GET", "/healthz/", ROUTE_UNKNOWN, ""},
        {"POST", "/api/a/b/c/_json", ROUTE_UNKNOWN, ""},
        {"POST", "/api/a/b/_json/", ROUTE_UNKNOWN, ""},
        {"POST", "/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a", ROUTE_UNKNOWN, ""},
        {"POST", "/healthz", ROUTE_WRONG_METHOD, "GET,HEAD"},
        {"GET", "/api/a/b/_json", ROUTE_WRONG_METHOD, "POST"},
        {"get", "/healthz", ROUTE_WRONG_METHOD, "GET,HEAD"},
        {"OPTIONS", "/api/a/_search", ROUTE_OPTIONS, "POST"},
        {"OPTIONS", "/nosuch", ROUTE_UNKNOWN, ""},
        {"POST", "/api/a/%/_json", ROUTE_BAD_PATH, ""},
        {"POST", "/api/a/%2/_json", ROUTE_BAD_PATH, ""},
        {"POST", "/api/a/%zz/_json", ROUTE_BAD_PATH, ""},
        {"POST", "/api/a/x%00y/_json", ROUTE_BAD_PATH, ""},
        {"POST", "/api/a/%ff/_json", ROUTE_BAD_PATH, ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct found f;
        look(&f, "", cases[i].method, cases[i].path);
        if (f.outcome != cases[i].outcome)
            fail_msg("%s %s: outcome %d", cases[i].method, cases[i].path, (int)f.outcome);
        assert_null(f.match.route);
        assert_string_equal(f.match.allow, cases[i].allow);
    }
}

static void paths_stand_below_the_base_uri(void **state)
{
    struct found f;
    (void)state;
    look(&f, "/weir", "GET", "/weir/healthz");
    assert_int_equal(f.outcome, ROUTE_FOUND);
    look(&f, "/weir", "GET", "/weir/api/nosuch");
    assert_true(f.match.below_api);
    look(&f, "/weir", "GET", "/healthz");
    assert_int_equal(f.outcome, ROUTE_UNKNOWN);
    look(&f, "/weir", "GET", "/weirhealthz");
    assert_int_equal(f.outcome, ROUTE_UNKNOWN);
}

static void an_escaped_slash_does_not_make_a_segment(void **state)
{
    struct found f;
    (void)state;
    look(&f, "", "POST", "/api/default/_search%2F");
    assert_int_equal(f.outcome, ROUTE_UNKNOWN);
    assert_true(str_eq(f.match.org, STR("default")));
    look(&f, "", "GET", "/api%2Fnosuch");
    assert_false(f.match.below_api);
}

/* A row that forgets its credentials is open to everybody. */
static void every_route_below_api_and_node_asks_for_credentials(void **state)
{
    const struct route *r;
    (void)state;
    for (size_t i = 0; (r = route_at(i)) != NULL; i++) {
        assert_non_null(r->run);
        if (strncmp(r->path, "/api/", 5) == 0)
            assert_int_not_equal(r->auth, AUTH_NONE);
        if (strncmp(r->path, "/node/", 6) == 0)
            assert_int_equal(r->auth, AUTH_ROOT);
    }
}

/* Of the lane of the system it could take every thread. */
static void a_login_waits_where_credentials_are_verified(void **state)
{
    struct found f;
    (void)state;
    look(&f, "", "POST", "/auth/login");
    assert_int_equal(f.outcome, ROUTE_FOUND);
    assert_int_equal(f.match.route->lane, LANE_AUTH);
}

static void no_two_rows_are_the_same(void **state)
{
    const struct route *a, *b;
    (void)state;
    for (size_t i = 0; (a = route_at(i)) != NULL; i++)
        for (size_t k = i + 1; (b = route_at(k)) != NULL; k++)
            assert_false(strcmp(a->path, b->path) == 0 && strcmp(a->method, b->method) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_finds_its_route_and_its_names),
        cmocka_unit_test(what_is_no_route_says_why),
        cmocka_unit_test(paths_stand_below_the_base_uri),
        cmocka_unit_test(an_escaped_slash_does_not_make_a_segment),
        cmocka_unit_test(every_route_below_api_and_node_asks_for_credentials),
        cmocka_unit_test(a_login_waits_where_credentials_are_verified),
        cmocka_unit_test(no_two_rows_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
