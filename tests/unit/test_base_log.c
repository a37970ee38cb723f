/* tests/unit/test_base_log.c - log lines as text and as JSON, read back through a pipe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

/* Standard error is a file while a test logs. */
static int real_stderr = -1, capture_fd = -1;

static void capture_start(bool json, enum log_level level)
{
    clock_set_test_wall_us(INT64_C(1767323045123456)); /* 2026-01-02T03:04:05.123456Z */
    log_init("gateway", level, json);
    char path[] = "/tmp/weir-test-log-XXXXXX";
    capture_fd = mkstemp(path);
    assert_true(capture_fd >= 0);
    unlink(path);
    real_stderr = dup(STDERR_FILENO);
    dup2(capture_fd, STDERR_FILENO);
}

static char *capture_end(void)
{
    static char text[65536];
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    ssize_t n = pread(capture_fd, text, sizeof text - 1, 0);
    close(capture_fd);
    clock_set_test_wall_us(0);
    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static void text_lines_are_one_fact_each(void **state)
{
    (void)state;
    capture_start(false, LOG_INFO);
    log_write(LOG_INFO, "listening", "address", "127.0.0.1", "port", "5080", (char *)0);
    log_write(LOG_WARN, "odd values", "empty", "", "blank", "a b", "quote", "a\"b", "null",
              (char *)0, (char *)0);
    log_write(LOG_ERROR, "two\nlines\x1b[0m", "bytes", "\xFF\n", (char *)0);
    log_printf(LOG_INFO, "%d streams", 3);
    log_write(LOG_DEBUG, "not shown", (char *)0);
    assert_string_equal(capture_end(),
                        "2026-01-02T03:04:05.123456Z INFO  gateway: listening address=127.0.0.1 "
                        "port=5080\n"
                        "2026-01-02T03:04:05.123456Z WARN  gateway: odd values empty=\"\" "
                        "blank=\"a b\" quote=\"a\\\"b\" null=\"\"\n"
                        "2026-01-02T03:04:05.123456Z ERROR gateway: two\\x0alines\\x1b[0m "
                        "bytes=\"\xEF\xBF\xBD\\n\"\n"
                        "2026-01-02T03:04:05.123456Z INFO  gateway: 3 streams\n");
}

static void json_lines_are_json(void **state)
{
    (void)state;
    capture_start(true, LOG_DEBUG);
    log_write(LOG_DEBUG, "a \"message\"\n", "key", "v\t", (char *)0);
    assert_string_equal(capture_end(),
                        "{\"time\":\"2026-01-02T03:04:05.123456Z\",\"level\":\"debug\","
                        "\"process\":\"gateway\",\"message\":\"a \\\"message\\\"\\n\","
                        "\"key\":\"v\\t\"}\n");
}

static void long_values_are_cut_and_marked(void **state)
{
    (void)state;
    static char value[10001];
    memset(value, 'v', sizeof value - 1);
    capture_start(false, LOG_INFO);
    log_write(LOG_INFO, "m", "k", value, (char *)0);
    log_printf(LOG_INFO, "%s", value);
    char *text = capture_end(), *first_end = strchr(text, '\n');
    assert_int_equal(first_end - text, 47 + 4096 + 3);
    assert_memory_equal(first_end - 3, "...", 3);
    assert_string_equal(text + strlen(text) - 4, "...\n");
    capture_start(true, LOG_INFO);
    log_write(LOG_INFO, "m", "k", value, (char *)0);
    text = capture_end();
    struct arena a;
    struct json *v = NULL;
    arena_init(&a, 1 << 20);
    assert_int_equal(json_parse(str_from(text), &a, &v, NULL), ERR_OK);
    assert_int_equal(json_str(json_get(v, "k"), STR("")).len, 4096 + 3);
    arena_done(&a);
}

static void warnings_and_errors_are_counted_also_when_hidden(void **state)
{
    (void)state;
    unsigned long warnings, errors, warnings_before, errors_before;
    log_counts(&warnings_before, &errors_before);
    capture_start(false, LOG_ERROR);
    log_write(LOG_WARN, "w", (char *)0);
    log_printf(LOG_ERROR, "e");
    log_printf(LOG_INFO, "i");
    char *text = capture_end();
    assert_non_null(strstr(text, ": e\n"));
    assert_null(strstr(text, ": w\n"));
    log_counts(&warnings, &errors);
    assert_int_equal(warnings - warnings_before, 1);
    assert_int_equal(errors - errors_before, 1);
}

static void levels_are_read_in_the_usual_spellings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        enum log_level level;
    } CASES[] = {
        {"debug", true, LOG_DEBUG},
        {"INFO", true, LOG_INFO},
        {"warn", true, LOG_WARN},
        {"warning", true, LOG_WARN},
        {"error", true, LOG_ERROR},
        {"trace", true, LOG_DEBUG},
        {"info,foo=warn", true, LOG_INFO},
        {" warn , x", true, LOG_WARN},
        {"", false, 0},
        {"loud", false, 0},
        {"foo=warn", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        enum log_level level = LOG_INFO;
        assert_int_equal(log_level_parse(CASES[i].text, &level), CASES[i].good);
        if (CASES[i].good)
            assert_int_equal(level, CASES[i].level);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines_are_one_fact_each),
        cmocka_unit_test(json_lines_are_json),
        cmocka_unit_test(long_values_are_cut_and_marked),
        cmocka_unit_test(warnings_and_errors_are_counted_also_when_hidden),
        cmocka_unit_test(levels_are_read_in_the_usual_spellings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
