// links: weir_gateway weir_fs weir_index
/* Names of streams, metrics, organisations and fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "gateway/names.h"
#include "index/meta.h"

static void stream_names_are_normalised(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"K8sLogs", "k8slogs"}, {"gi_array", "gi_array"},
        {"a/b=c", "a_b_c"},     {"gi--..!!x", "gi_x"},
        {"1gi", "1gi"},         {"_gi", "_gi"},
        {"---", "_"},           {"gi\xC3\xA9", "gi_"},
        {"gi\"dq", "gi_dq"},    {"job:Rate5m", "job:rate5m"},
        {"select", "select"},   {"a b  c", "a_b_c"},
        {"a__b", "a__b"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char dst[256];
        size_t len;
        assert_int_equal(name_stream(str_from(cases[i].in), dst, &len, NULL), ERR_OK);
        assert_string_equal(dst, cases[i].out);
        assert_int_equal(len, strlen(dst));
    }
}

static void empty_and_overlong_stream_names_are_refused(void **state)
{
    char dst[256], longest[NAME_MAX_BYTES + 1];
    size_t len;
    struct err e;
    (void)state;
    memset(longest, 'G', sizeof longest);
    assert_int_equal(name_stream(STR(""), dst, &len, &e), ERR_INVALID);
    assert_string_equal(e.msg, "Stream name is empty");
    assert_int_equal(name_stream((struct str){longest, sizeof longest}, dst, &len, &e),
                     ERR_INVALID);
    assert_int_equal(name_stream((struct str){longest, NAME_MAX_BYTES}, dst, &len, &e), ERR_OK);
    assert_int_equal(len, NAME_MAX_BYTES);
}

static void metric_names_keep_their_case(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"node_CPU:rate", "node_CPU:rate"},
        {"http.server.duration", "http_server_duration"},
        {"2xx", "_2xx"},
        {"a-b", "a_b"},
    };
    char dst[256];
    size_t len;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(name_metric(str_from(cases[i].in), dst, &len, NULL), ERR_OK);
        assert_string_equal(dst, cases[i].out);
    }
    assert_int_equal(name_metric(STR(""), dst, &len, NULL), ERR_INVALID);
}

static void organisations_are_taken_as_they_are_or_not_at_all(void **state)
{
    (void)state;
    assert_int_equal(name_org(STR("default"), NULL), ERR_OK);
    assert_int_equal(name_org(STR("My-Org_2"), NULL), ERR_OK);
    assert_int_equal(name_org(STR("new-org.x"), NULL), ERR_OK);
    assert_int_equal(name_org(STR(""), NULL), ERR_INVALID);
    assert_int_equal(name_org(STR("a b"), NULL), ERR_INVALID);
    assert_int_equal(name_org(STR("../etc"), NULL), ERR_INVALID);
    assert_int_equal(name_org(STR("a:b"), NULL), ERR_INVALID);
    assert_int_equal(name_org(STR("."), NULL), ERR_INVALID);
    assert_int_equal(name_org(STR(".weir"), NULL), ERR_INVALID);
    assert_int_equal(name_org(STR("a%2Fb"), NULL), ERR_INVALID);
    assert_int_equal(name_org(STR("a\xC3\xA9"), NULL), ERR_INVALID);
}

static void field_names_are_normalised(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"Kubernetes.Pod-Name", "kubernetes_pod_name"},
        {"camelCase", "camelcase"},
        {"@at", "_at"},
        {"a__b", "a__b"},
        {"1digit", "1digit"},
        {"sp ace", "sp_ace"},
        {"tab\tx", "tab_x"},
        {"with\"quote", "with_quote"},
        {"\xC3\xA9", "\xC3\xA9"}, /* é stays */
        {"\xC3\x80"
         "B",
         "\xC3\xA0"
         "b"},                              /* À is folded */
        {"\xE6\x97\xA5\xE6\x9C\xAC", "__"}, /* no case, no digit: one _ a character */
        {"emoji\xF0\x9F\x98\x80", "emoji_"},
        {"\xD0\x96\xD1\x8F", "\xD0\xB6\xD1\x8F"},
        {"x\xC2\xB2", "x\xC2\xB2"},               /* superscript two is a digit */
        {"\xF0\x90\x90\x80", "\xF0\x90\x90\xA8"}, /* Deseret */
        {"\xE2\x84\xAA", "k"},                    // Kelvin
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out;
        buf_init(&out, 256);
        name_field_add(&out, str_from(cases[i].in));
        buf_add(&out, "", 1);
        assert_string_equal(out.data, cases[i].out);
        buf_done(&out);
    }
}

static void a_field_name_never_leaves_its_limit(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 4);
    name_field_add(&out, STR("abcdef"));
    assert_false(buf_ok(&out));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_names_are_normalised),
        cmocka_unit_test(empty_and_overlong_stream_names_are_refused),
        cmocka_unit_test(metric_names_keep_their_case),
        cmocka_unit_test(organisations_are_taken_as_they_are_or_not_at_all),
        cmocka_unit_test(field_names_are_normalised),
        cmocka_unit_test(a_field_name_never_leaves_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
