// links: weir_gateway weir_engine weir_fs weir_index
/* tests/unit/test_query_request.c - the body of a search request, and the codes of its errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "gateway/gate.h"
#include "gateway/query.h"

#define RANGE "\"start_time\":1700000000000000,\"end_time\":1700003600000000"
#define WITH(more) "{\"query\":{\"sql\":\"SELECT 1\"," RANGE more "}}"

static struct query_service *service;
static struct arena arena;

static int open_service(void **state)
{
    static const struct query_config cfg = {
        .timeout_ms = 600000, .size_max = 10000, .default_limit = 1000};
    (void)state;
    arena_init(&arena, 1u << 20);
    return (int)query_open(&cfg, &service, NULL);
}

static int close_service(void **state)
{
    (void)state;
    query_close(service);
    arena_done(&arena);
    return 0;
}

static enum err_code parse(const char *body, const char *type, struct query_request *out,
                           struct err *e)
{
    arena_reset(&arena);
    *e = (struct err){0};
    return query_request_parse(service, str_from(body), STR("default"), str_from(type), &arena, out,
                               e);
}

static void a_request_is_read_with_its_defaults(void **state)
{
    struct query_request r;
    struct err e;
    (void)state;
    assert_int_equal(parse(WITH(""), "", &r, &e), ERR_OK);
    assert_true(str_eq(r.sql, STR("SELECT 1")));
    assert_true(str_eq(r.org, STR("default")));
    assert_int_equal(r.type, STREAM_LOGS);
    assert_int_equal(r.start_us, 1700000000000000);
    assert_int_equal(r.end_us, 1700003600000000);
    assert_int_equal(r.from, 0);
    assert_int_equal(r.size, 1000);
    assert_false(r.track_total_hits);
    assert_int_equal(r.timeout_ms, 0);
    assert_int_equal(r.histogram_interval_s, 0);
}

static void every_member_is_taken(void **state)
{
    struct query_request r;
    struct err e;
    (void)state;
    assert_int_equal(parse("{\"query\":{\"sql\":\" SELECT 2 ; \"," RANGE
                           ",\"from\":5,\"size\":-1,\"track_total_hits\":true,"
                           "\"histogram_interval\":60},\"timeout\":30,\"encoding\":\"\"}",
                           "metrics", &r, &e),
                     ERR_OK);
    assert_true(str_eq(r.sql, STR("SELECT 2 ;")));
    assert_int_equal(r.type, STREAM_METRICS);
    assert_int_equal(r.from, 5);
    assert_int_equal(r.size, -1);
    assert_true(r.track_total_hits);
    assert_int_equal(r.timeout_ms, 30000);
    assert_int_equal(r.histogram_interval_s, 60);
}

static void a_longer_timeout_than_the_servers_is_the_servers(void **state)
{
    struct query_request r;
    struct err e;
    (void)state;
    assert_int_equal(
        parse("{\"query\":{\"sql\":\"SELECT 1\"," RANGE "},\"timeout\":9999}", "", &r, &e), ERR_OK);
    assert_int_equal(r.timeout_ms, 0);
    assert_int_equal(
        parse("{\"query\":{\"sql\":\"SELECT 1\"," RANGE "},\"timeout\":-1}", "", &r, &e), ERR_OK);
    assert_int_equal(r.timeout_ms, 0);
}

static void members_without_effect_are_accepted(void **state)
{
    static const char *const bodies[] = {
        WITH(",\"sql_mode\":\"full\""),
        WITH(",\"sort_by\":\"-i\",\"query_type\":\"logs\",\"quick_mode\":true"),
        WITH(",\"uses_zo_fn\":true,\"query_fn\":\"\",\"action_id\":\"\",\"skip_wal\":true"),
        WITH(",\"query_fn\":null,\"sampling_ratio\":0.5,\"streaming_output\":true,\"foo\":1"),
        "{\"query\":{\"sql\":\"SELECT 1\"," RANGE
        "},\"aggs\":{},\"regions\":[\"a\"],\"clusters\":[],\"search_type\":\"ui\","
        "\"use_cache\":false,\"clear_cache\":true,\"agent_options\":{},\"encoding\":null,\"x\":1}",
    };
    struct query_request r;
    struct err e;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        if (parse(bodies[i], "logs", &r, &e))
            fail_msg("%s\n  %s", bodies[i], e.msg);
}

static void base64_is_decoded_in_both_alphabets(void **state)
{
    static const struct {
        const char *encoded, *sql;
    } cases[] = {
        {"U0VMRUNUIDE=", "SELECT 1"},
        {"U0VMRUNUIDE", "SELECT 1"},
        {"U0VMRUNUIDE.", "SELECT 1"},
        {"c2VsZWN0ICc/Pj4n", "select '?>>'"},
        {"c2VsZWN0ICc_Pj4n", "select '?>>'"},
        {"YQ==", "a"},
        {"YWI=", "ab"},
        {"YWJj", "abc"},
        {"w6k=", "\303\251"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query_request r;
        struct err e;
        char body[256];
        snprintf(body, sizeof body,
                 "{\"query\":{\"sql\":\"%s\"," RANGE "},\"encoding\":\"base64\"}",
                 cases[i].encoded);
        if (parse(body, "", &r, &e))
            fail_msg("%s: %s", cases[i].encoded, e.msg);
        assert_true(str_eq(r.sql, str_from(cases[i].sql)));
    }
}

static void wrong_requests_are_400_with_the_code(void **state)
{
    static const struct {
        const char *body, *type;
        int detail;
    } cases[] = {
        {"", "", 0},
        {"xx", "", 0},
        {"{\"query\":", "", 0},
        {"{\"query\":{\"sql\":\"\"," RANGE "}}", "", API_SQL_NOT_VALID},
        {"{\"query\":{\"sql\":\" \\n \"," RANGE "}}", "", API_SQL_NOT_VALID},
        {"{\"query\":{\"sql\":\"SELECT 1 \\u0000 x\"," RANGE "}}", "", API_SQL_NOT_VALID},
        {"{\"query\":{\"sql\":\"SELECT 1\"}}", "", API_INVALID_PARAMS},
        {"{\"query\":{\"sql\":\"SELECT 1\",\"start_time\":1}}", "", API_INVALID_PARAMS},
        {"{\"query\":{\"sql\":\"SELECT 1\",\"end_time\":1}}", "", API_INVALID_PARAMS},
        {"{\"query\":{\"sql\":\"SELECT 1\",\"start_time\":0,\"end_time\":0}}", "",
         API_INVALID_PARAMS},
        {"{\"query\":{\"sql\":\"SELECT 1\",\"start_time\":2,\"end_time\":1}}", "",
         API_INVALID_PARAMS},
        {WITH(",\"from\":-1"), "", API_SQL_EXECUTE},
        {WITH(",\"histogram_interval\":-5"), "", API_INVALID_PARAMS},
        {WITH(",\"query_fn\":\".a = 1\""), "", API_INVALID_PARAMS},
        {WITH(""), "nosuch", API_INVALID_PARAMS},
        {WITH(""), "LOGS", API_INVALID_PARAMS},
        {"{\"query\":{\"sql\":\"SELECT 1\"," RANGE "},\"encoding\":\"base64\"}", "", 0},
        {"{\"query\":{\"sql\":\"YWJjZ\"," RANGE "},\"encoding\":\"base64\"}", "", 0},
        {"{\"query\":{\"sql\":\"/w==\"," RANGE "},\"encoding\":\"base64\"}", "", API_SQL_NOT_VALID},
        {"{\"query\":{\"sql\":\"\"," RANGE "},\"encoding\":\"base64\"}", "", API_SQL_NOT_VALID},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query_request r;
        struct err e;
        enum err_code rc = parse(cases[i].body, cases[i].type, &r, &e);
        if (err_http_status(rc) != 400 || e.detail != cases[i].detail)
            fail_msg("%s\n  gave %d %d %s", cases[i].body, (int)rc, e.detail, e.msg);
    }
}

static void a_body_of_another_shape_is_422_in_the_references_words(void **state)
{
    static const struct {
        const char *body, *words; /* after FORM */
    } cases[] = {
        {"[]", "invalid type, expected struct Request"},
        {"5", "invalid type, expected struct Request"},
        {"{}", "missing field `query`"},
        {"{\"query\":null}", "query: invalid type: null, expected struct Query"},
        {"{\"query\":[]}", "query: invalid type: sequence, expected struct Query"},
        {"{\"query\":{" RANGE "}}", "query: missing field `sql`"},
        {"{\"query\":{\"sql\":5," RANGE "}}",
         "query.sql: invalid type: integer `5`, expected a string"},
        {"{\"query\":{\"sql\":\"SELECT 1\",\"start_time\":\"1\"}}",
         "query.start_time: invalid type: string \"1\", expected i64"},
        {"{\"query\":{\"sql\":\"SELECT 1\",\"start_time\":1.5}}",
         "query.start_time: invalid type: floating point `1.5`, expected i64"},
        {"{\"query\":{\"sql\":\"SELECT 1\",\"end_time\":99999999999999999999}}",
         "query.end_time: invalid type: floating point `99999999999999999999`, expected i64"},
        {WITH(",\"size\":\"3\""), "query.size: invalid type: string \"3\", expected i64"},
        {WITH(",\"size\":2.0"), "query.size: invalid type: floating point `2.0`, expected i64"},
        {WITH(",\"size\":null"), "query.size: invalid type: null, expected i64"},
        {WITH(",\"size\":{}"), "query.size: invalid type: map, expected i64"},
        {WITH(",\"from\":true"), "query.from: invalid type: boolean `true`, expected i64"},
        {WITH(",\"track_total_hits\":\"true\""),
         "query.track_total_hits: invalid type: string \"true\", expected a boolean"},
        {WITH(",\"quick_mode\":null"), "query.quick_mode: invalid type: null, expected a boolean"},
        {"{\"query\":{\"sql\":\"SELECT 1\"," RANGE "},\"encoding\":\"rot13\"}",
         "encoding: unknown variant `rot13`, expected `base64` or ``"},
        {"{\"query\":{\"sql\":\"SELECT 1\"," RANGE "},\"encoding\":5}",
         "encoding: invalid type: integer `5`, expected enum"},
        {"{\"query\":{\"sql\":\"SELECT 1\"," RANGE "},\"search_type\":\"bad\"}",
         "search_type: invalid SearchEventType `bad`, expected one of `ui`, `dashboards`, "
         "`reports`, `alerts`, `values`, `other`, `rum`, `derived_stream`, `search_job`"},
    };
    static const char form[] = "Failed to deserialize the JSON body into the target type: ";
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct query_request r;
        struct err e;
        enum err_code rc = parse(cases[i].body, "", &r, &e);
        if (err_http_status(rc) != 422 || !str_starts(str_from(e.msg), str_from(form)) ||
            strcmp(e.msg + strlen(form), cases[i].words) != 0)
            fail_msg("%s\n  gave %d %s", cases[i].body, (int)rc, e.msg);
    }
}

static void a_search_type_is_one_of_those_that_are_known(void **state)
{
    (void)state;
    assert_int_equal(query_search_type_check(STR(""), NULL), ERR_OK);
    assert_int_equal(query_search_type_check(STR("ui"), NULL), ERR_OK);
    assert_int_equal(query_search_type_check(STR("search_job"), NULL), ERR_OK);
    assert_int_equal(query_search_type_check(STR("ui,"), NULL), ERR_INVALID);
    assert_int_equal(query_search_type_check(STR("bad"), NULL), ERR_INVALID);
}

static void start_equal_to_end_is_an_empty_range_and_no_error(void **state)
{
    struct query_request r;
    struct err e;
    (void)state;
    assert_int_equal(
        parse("{\"query\":{\"sql\":\"SELECT 1\",\"start_time\":5,\"end_time\":5}}", "", &r, &e),
        ERR_OK);
    assert_int_equal(
        parse("{\"query\":{\"sql\":\"SELECT 1\",\"start_time\":-1,\"end_time\":-1}}", "", &r, &e),
        ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_read_with_its_defaults),
        cmocka_unit_test(every_member_is_taken),
        cmocka_unit_test(a_longer_timeout_than_the_servers_is_the_servers),
        cmocka_unit_test(members_without_effect_are_accepted),
        cmocka_unit_test(base64_is_decoded_in_both_alphabets),
        cmocka_unit_test(wrong_requests_are_400_with_the_code),
        cmocka_unit_test(a_body_of_another_shape_is_422_in_the_references_words),
        cmocka_unit_test(a_search_type_is_one_of_those_that_are_known),
        cmocka_unit_test(start_equal_to_end_is_an_empty_range_and_no_error),
    };
    return cmocka_run_group_tests(tests, open_service, close_service);
}
