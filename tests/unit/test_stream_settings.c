// links: weir_gateway weir_engine weir_fs weir_index
/* tests/unit/test_stream_settings.c - changes of a stream's settings, one after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "gateway/stream_settings.h"

enum { NOW_US = 1000, MEMORY_MAX = 8 << 20 };

static struct meta_field fields[] = {
    {{"_timestamp", 10}, FIELD_INT64, 1},
    {{"level", 5}, FIELD_UTF8, 2},
    {{"n", 1}, FIELD_INT64, 3},
    {{"log", 3}, FIELD_UTF8, 4},
};
static struct meta_stream stream = {
    .fields = fields, .field_count = ARRAY_LEN(fields), .settings_json = {"{}", 2}};

typedef enum err_code (*change_fn)(const struct meta_stream *s, const struct json *change,
                                   int64_t now_us, struct arena *a, struct str *out, struct err *e);

/* The member `key` of the settings after the changes, or the error's detail and text. */
static void expect_after(change_fn change, const char *const *changes, const char *key,
                         const char *want)
{
    struct meta_stream s = stream;
    struct arena a;
    struct buf got;
    struct err e = {0};
    enum err_code rc = ERR_OK;
    struct json *body, *settings;
    arena_init(&a, MEMORY_MAX);
    buf_init(&got, MEMORY_MAX);
    for (size_t i = 0; changes[i] && rc == ERR_OK; i++) {
        assert_int_equal(json_parse(str_from(changes[i]), &a, &body, &e), ERR_OK);
        rc = change(&s, body, NOW_US, &a, &s.settings_json, &e);
    }
    if (rc != ERR_OK) {
        buf_printf(&got, "%d %s", e.detail, e.msg);
    } else {
        assert_int_equal(stream_settings_read(s.settings_json, &a, &settings, &e), ERR_OK);
        assert_non_null(json_get(settings, key));
        json_write(&got, json_get(settings, key));
    }
    if (!str_eq(buf_str(&got), str_from(want)))
        fail_msg("%s: %s\n  " STR_FMT "\n  not %s", changes[0], key, STR_ARG(buf_str(&got)), want);
    buf_done(&got);
    arena_done(&a);
}

static void a_change_touches_what_it_names(void **state)
{
    static const struct {
        const char *changes[4], *key, *want;
    } table[] = {
        {{"{}"}, "partition_time_level", "\"hourly\""},
        {{"{\"unknown\":1}"}, "data_retention", "0"},
        {{"{\"data_retention\":30}"}, "data_retention", "30"},
        {{"{\"data_retention\":30}", "{\"flatten_level\":5}"}, "data_retention", "30"},
        {{"{\"data_retention\":null}"}, "data_retention", "0"},
        {{"{\"store_original_data\":true}"}, "store_original_data", "true"},
        {{"{\"partition_time_level\":\"daily\"}"}, "partition_time_level", "\"daily\""},
        {{"{\"full_text_search_keys\":{\"add\":[\"level\",\"n\",\"level\"]}}",
          "{\"full_text_search_keys\":{\"add\":[\"n\"],\"remove\":[\"level\"]}}"},
         "full_text_search_keys",
         "[\"n\"]"},
        {{"{\"index_fields\":{\"add\":[\"level\"]}}"}, "index_updated_at", "1000"},
        {{"{\"distinct_value_fields\":{\"add\":[\"level\"]}}"},
         "distinct_value_fields",
         "[{\"name\":\"level\",\"added_ts\":1000}]"},
        {{"{\"extended_retention_days\":{\"add\":[{\"start\":1,\"end\":2},{\"start\":3,\"end\":4}]}"
          "}",
          "{\"extended_retention_days\":{\"remove\":[{\"start\":1,\"end\":2}]}}"},
         "extended_retention_days",
         "[{\"start\":3,\"end\":4}]"},
        {{"{\"partition_keys\":{\"add\":[{\"field\":\"level\"},{\"field\":\"n\",\"types\":"
          "{\"hash\":8}}]}}",
          "{\"partition_keys\":{\"remove\":[{\"field\":\"level\"},{\"field\":\"x\"}]}}"},
         "partition_keys",
         "{\"L0\":{\"field\":\"level\",\"types\":\"value\",\"disabled\":true},"
         "\"L1\":{\"field\":\"n\",\"types\":{\"hash\":8},\"disabled\":false}}"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        expect_after(stream_settings_change, table[i].changes, table[i].key, table[i].want);
}

static void a_change_that_makes_no_sense_says_why(void **state)
{
    static const struct {
        const char *changes[3], *want;
    } table[] = {
        {{"[]"}, "422 settings: invalid type: sequence, expected a map"},
        {{"{\"data_retention\":\"30\"}"}, "422 data_retention: invalid type: string, expected i64"},
        {{"{\"store_original_data\":1}"},
         "422 store_original_data: invalid type: number, expected a boolean"},
        {{"{\"partition_time_level\":\"weekly\"}"},
         "422 partition_time_level: invalid type: string, expected hourly daily unset"},
        {{"{\"full_text_search_keys\":[\"level\"]}"},
         "422 full_text_search_keys: invalid type: sequence, expected a map of `add` and "
         "`remove`"},
        {{"{\"full_text_search_keys\":{\"add\":[1]}}"},
         "422 full_text_search_keys: invalid type: number, expected a string"},
        {{"{\"index_fields\":{\"add\":[\"nosuch\"]}}"}, "0 field [nosuch] not found in schema"},
        {{"{\"partition_keys\":{\"add\":[{\"field\":\"log\"}]}}"},
         "0 field [log] can't be used for partition key"},
        {{"{\"full_text_search_keys\":{\"add\":[\"level\"]},\"partition_keys\":{\"add\":[{"
          "\"field\":\"level\"}]}}"},
         "0 field [level] can't be used for partition key"},
        {{"{\"partition_keys\":{\"add\":[{\"field\":\"n\",\"types\":{\"hash\":0}}]}}"},
         "422 partition_keys: invalid type: map, expected value, prefix or {\"hash\":n}"},
        {{"{\"extended_retention_days\":{\"add\":[{\"start\":2,\"end\":1}]}}"},
         "0 extended_retention_days: a range ends before it starts"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        expect_after(stream_settings_change, table[i].changes, "", table[i].want);
}

static const char *many_names(size_t from, size_t n)
{
    static char text[64 << 10];
    size_t len = (size_t)snprintf(text, sizeof text, "{\"distinct_value_fields\":{\"add\":[");
    for (size_t i = 0; i < n; i++)
        len +=
            (size_t)snprintf(text + len, sizeof text - len, "%s\"f%zu\"", i ? "," : "", from + i);
    snprintf(text + len, sizeof text - len, "]}}");
    return text;
}

static void a_list_has_a_limit(void **state)
{
    static const char too_many[] = "0 distinct_value_fields: more than 1000 entries";
    char half[64 << 10];
    (void)state;
    snprintf(half, sizeof half, "%s", many_names(0, SETTINGS_LIST_MAX / 2));
    const char *const one_more[] = {half, many_names(SETTINGS_LIST_MAX / 2, 501), NULL};
    expect_after(stream_settings_change, one_more, "", too_many);
    const char *const at_once[] = {many_names(0, SETTINGS_LIST_MAX + 1), NULL};
    expect_after(stream_settings_change, at_once, "", too_many);
}

/* From before there was one: it may not grow, and everything else may be changed. */
static void what_is_over_the_limit_may_become_shorter(void **state)
{
    enum { NAMES = 3000 };
    static char list[128 << 10];
    struct arena a;
    struct json *change;
    struct str text;
    struct err e;
    const char *const fine[] = {"{\"data_retention\":5}",
                                "{\"distinct_value_fields\":{\"remove\":[\"f1\",\"f2\"]}}"};
    size_t len = (size_t)snprintf(list, sizeof list, "{\"distinct_value_fields\":[");
    (void)state;
    for (int i = 0; i < NAMES; i++)
        len += (size_t)snprintf(list + len, sizeof list - len,
                                "%s{\"name\":\"f%d\",\"added_ts\":1}", i ? "," : "", i);
    snprintf(list + len, sizeof list - len, "]}");
    const struct meta_stream s = {.settings_json = str_from(list)};
    arena_init(&a, 64 << 20);
    for (size_t i = 0; i < ARRAY_LEN(fine); i++) {
        assert_int_equal(json_parse(str_from(fine[i]), &a, &change, &e), ERR_OK);
        assert_int_equal(stream_settings_change(&s, change, 1000, &a, &text, &e), ERR_OK);
    }
    assert_null(memmem(text.ptr, text.len, "\"f2\"", 4));
    assert_int_equal(json_parse(str_from(many_names(NAMES, 1)), &a, &change, &e), ERR_OK);
    assert_int_equal(stream_settings_change(&s, change, 1000, &a, &text, &e), ERR_INVALID);
    arena_done(&a);
}

static void the_older_form_replaces_lists(void **state)
{
    static const char *const changes[] = {
        "{\"partition_keys\":[\"level\",\"n\"],\"full_text_search_keys\":[\"log\"]}",
        "{\"partition_keys\":[\"n\"],\"data_retention\":3}", NULL};
    static const char *const clash[] = {"{\"partition_keys\":[\"log\"]}", NULL};
    (void)state;
    expect_after(stream_settings_replace, changes, "partition_keys",
                 "{\"L0\":{\"field\":\"n\",\"types\":\"value\",\"disabled\":false}}");
    expect_after(stream_settings_replace, changes, "full_text_search_keys", "[\"log\"]");
    expect_after(stream_settings_replace, changes, "data_retention", "3");
    expect_after(stream_settings_replace, clash, "",
                 "0 field [log] can't be used for partition key");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_touches_what_it_names),
        cmocka_unit_test(a_change_that_makes_no_sense_says_why),
        cmocka_unit_test(a_list_has_a_limit),
        cmocka_unit_test(what_is_over_the_limit_may_become_shorter),
        cmocka_unit_test(the_older_form_replaces_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
