// links: weir_gateway
/* Settings: units, ranges, origins, secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "gateway/settings.h"

static enum err_code load(const char *entry, struct settings **s, struct err *e)
{
    char copy[256];
    char *env[] = {copy, NULL};

    snprintf(copy, sizeof copy, "%s", entry);
    return settings_load(env, s, e);
}

static void units_are_understood(void **state)
{
    static const struct {
        const char *entry;
        enum setting_id id;
        int64_t value;
    } cases[] = {
        {"WEIR_JOURNAL_MAX=1048576", SET_JOURNAL_MAX, 1 << 20},
        {"WEIR_JOURNAL_MAX=1M", SET_JOURNAL_MAX, 1 << 20},
        {"WEIR_JOURNAL_MAX= 1 MiB ", SET_JOURNAL_MAX, 1 << 20},
        {"ZO_QUERY_TIMEOUT=600", SET_QUERY_TIMEOUT, 600000},
        {"ZO_QUERY_TIMEOUT=10m", SET_QUERY_TIMEOUT, 600000},
        {"ZO_QUERY_TIMEOUT=1500ms", SET_QUERY_TIMEOUT, 1500},
        {"ZO_INGEST_ALLOWED_UPTO=24", SET_INGEST_ALLOWED_UPTO, 86400000},
        {"ZO_INGEST_ALLOWED_UPTO=1000000", SET_INGEST_ALLOWED_UPTO, INT64_C(3600000000000)},
        {"ZO_WAL_FSYNC_DISABLED=TRUE", SET_WAL_FSYNC_DISABLED, 1},
        {"ZO_WAL_FSYNC_DISABLED=0", SET_WAL_FSYNC_DISABLED, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct settings *s = NULL;
        struct err e;
        assert_int_equal(load(cases[i].entry, &s, &e), ERR_OK);
        assert_int_equal(settings_i64(s, cases[i].id), cases[i].value);
        assert_true(settings_is_set(s, cases[i].id));
        settings_free(s);
    }
}

static void bad_values_name_setting_and_value(void **state)
{
    static const char *const cases[] = {
        "ZO_HTTP_PORT=0",
        "ZO_HTTP_PORT=65536",
        "ZO_HTTP_PORT=5080x",
        "ZO_HTTP_PORT=7 7",
        "ZO_QUERY_TIMEOUT=0",
        "ZO_QUERY_TIMEOUT=10y",
        "WEIR_JOURNAL_MAX=-1",
        "WEIR_JOURNAL_MAX=9999999T",
        "ZO_WAL_FSYNC_DISABLED=perhaps",
        "ZO_INGEST_ALLOWED_UPTO=9223372036854775807",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct settings *s = NULL;
        struct err e;
        assert_int_equal(load(cases[i], &s, &e), ERR_INVALID);
        assert_non_null(strstr(e.msg, cases[i]));
        assert_null(s);
    }
}

static void every_default_is_in_its_own_range(void **state)
{
    char *env[] = {NULL};
    struct settings *s;
    struct err e;

    (void)state;
    assert_int_equal(settings_load(env, &s, &e), ERR_OK);
    settings_free(s);
}

static void an_empty_value_is_the_default_except_for_text(void **state)
{
    struct settings *s;
    struct err e;

    (void)state;
    assert_int_equal(load("ZO_HTTP_PORT=", &s, &e), ERR_OK);
    assert_int_equal(settings_i64(s, SET_HTTP_PORT), 5080);
    assert_false(settings_is_set(s, SET_HTTP_PORT));
    settings_free(s);
}

static void unknown_names_are_listed_and_others_ignored(void **state)
{
    char a[] = "ZO_NO_SUCH=1", b[] = "WEIR_NO_SUCH=1", c[] = "PATH=/bin";
    char *env[] = {a, b, c, NULL};
    const char *const *names;
    struct settings *s;
    struct err e;

    (void)state;
    assert_int_equal(settings_load(env, &s, &e), ERR_OK);
    assert_int_equal(settings_unknown(s, &names), 2);
    assert_string_equal(names[0], "ZO_NO_SUCH");
    assert_string_equal(names[1], "WEIR_NO_SUCH");
    settings_free(s);
}

static void secrets_are_masked_in_every_form(void **state)
{
    struct settings *s;
    struct buf out;
    struct err e;

    (void)state;
    assert_int_equal(load("ZO_ROOT_USER_PASSWORD=hunter2", &s, &e), ERR_OK);
    assert_string_equal(settings_text(s, SET_ROOT_USER_PASSWORD), "hunter2");
    buf_init(&out, 1 << 20);
    settings_print_text(s, &out, true);
    settings_print_json(s, &out);
    settings_print_markdown(s, &out);
    assert_true(buf_ok(&out));
    assert_null(strstr(out.data, "hunter2"));
    buf_done(&out);
    settings_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_are_understood),
        cmocka_unit_test(bad_values_name_setting_and_value),
        cmocka_unit_test(every_default_is_in_its_own_range),
        cmocka_unit_test(an_empty_value_is_the_default_except_for_text),
        cmocka_unit_test(unknown_names_are_listed_and_others_ignored),
        cmocka_unit_test(secrets_are_masked_in_every_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
