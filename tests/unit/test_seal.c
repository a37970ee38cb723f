// links: weir_engine
/* tests/unit/test_seal.c - lines become Parquet by a real engine process: the same bytes come back
 * as text, and whatever is wrong leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/file_sum.h"
#include "base/sys.h"
#include "base/utf8.h"
#include "tests/support/seal_checks.h"

/* But for the sums of what was sealed: the fixture moves the Parquet alone. */
static size_t staged_files(const struct engine_fixture *f, bool with_sums)
{
    size_t count = 0;
    DIR *dir = opendir(f->staging);
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir));)
        count += d->d_name[0] != '.' && (with_sums || !strstr(d->d_name, ".sum"));
    closedir(dir);
    return count;
}

/* ---- the text ---- */

static void the_text_of_a_file_is_its_lines(void **state)
{
    (void)state;
    struct sealed s = seal_lines(str_from(ALL_LINES), ALL_COLUMNS);
    struct str all = str_from(ALL_LINES), head, rest;
    str_cut(all, '\n', &head, &rest);
    expect_text(&s, "\"group\":0", all);
    expect_text(&s, "\"first_row\":0,\"rows\":1", (struct str){all.ptr, head.len + 1});
    expect_text(&s, "\"first_row\":1,\"rows\":1000", rest);
    expect_text(&s, "\"first_row\":7,\"rows\":1", STR(""));
    uint64_t bytes = 0;
    assert_true(json_u64(json_get(s.facts, "text_bytes"), &bytes) && bytes == all.len);
    sealed_done(&s);
}

static void every_code_point_is_sealed_and_comes_back_byte_for_byte(void **state)
{
    (void)state;
    struct buf lines;
    buf_init(&lines, TEXT_MAX);
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        char utf8[4];
        if (cp >= 0xD800 && cp <= 0xDFFF)
            continue;
        if (cp % 4096 == 0)
            buf_printf(&lines, "{\"_timestamp\":%u,\"s\":\"", cp / 4096 + 1);
        static const char shorts[] = "\b\f\n\r\t";
        const char *letter = cp > 0 && cp < 0x20 ? strchr(shorts, (int)cp) : NULL;
        if (letter)
            buf_printf(&lines, "\\%c", "bfnrt"[letter - shorts]);
        else if (cp < 0x20)
            buf_printf(&lines, "\\u%04x", cp);
        else if (cp == '"' || cp == '\\')
            buf_printf(&lines, "\\%c", (int)cp);
        else
            buf_add(&lines, utf8, utf8_encode(cp, utf8));
        if (cp % 4096 == 4095 || cp == 0xD7FF)
            buf_add_cstr(&lines, "\"}\n");
    }
    struct str text = buf_str(&lines);
    struct sealed s = seal_lines(text, "[[\"_timestamp\",\"Int64\",1],[\"s\",\"Utf8\",2]]");
    expect_text(&s, "\"group\":0", text);
    sealed_done(&s);
    buf_done(&lines);
}

static void lines_out_of_order_are_sorted_by_time_and_keep_their_place(void **state)
{
    (void)state;
    struct sealed s =
        seal_lines(STR("{\"_timestamp\":30,\"a\":1}\n{\"_timestamp\":10,\"a\":2}\n{\"a\":3,\"_"
                       "timestamp\":30}\n"
                       "{\"a\":4,\"_timestamp\":20}\n{\"_timestamp\":10,\"a\":5}\n"),
                   "[[\"_timestamp\",\"Int64\",1],[\"a\",\"Int64\",2]]");
    expect_text(&s, "\"group\":0",
                STR("{\"_timestamp\":10,\"a\":2}\n{\"_timestamp\":10,\"a\":5}\n"
                    "{\"_timestamp\":20,\"a\":4}\n{\"_timestamp\":30,\"a\":1}\n"
                    "{\"_timestamp\":30,\"a\":3}\n"));
    sealed_done(&s);
}

static void row_groups_are_rendered_alone_and_cut_by_time(void **state)
{
    (void)state;
    enum { GROUP = 131072, ROWS = 2 * GROUP + 500 };
    struct buf lines, group, tables;
    buf_init(&lines, TEXT_MAX);
    buf_init(&group, TEXT_MAX);
    buf_init(&tables, TEXT_MAX);
    add_many_lines(&lines, 0, ROWS);
    struct sealed s = seal_lines(buf_str(&lines), MANY_COLUMNS);
    const struct sealed *files[] = {&s};
    assert_int_equal(json_get(s.facts, "groups")->count, 3);
    for (unsigned g = 0; g < 3; g++) {
        char range[32];
        uint64_t bytes = 0;
        buf_clear(&group);
        add_many_lines(&group, g * GROUP, g < 2 ? GROUP : 500);
        snprintf(range, sizeof range, "\"group\":%u", g);
        expect_text(&s, range, buf_str(&group));
        assert_true(json_u64(json_at(json_at(json_get(s.facts, "groups"), g), 1), &bytes));
        assert_int_equal(bytes, group.len);
    }
    add_sealed_table(&tables, MANY_COLUMNS, files, 1, true,
                     ",\"start_us\":1000010,\"end_us\":1000020");
    struct engine_answer a = answer_of("select n from weir_t0", &tables);
    assert_int_equal(a.row_count, 10);
    engine_answer_done(&a);
    buf_done(&lines);
    buf_done(&group);
    buf_done(&tables);
    sealed_done(&s);
}

static void metrics_are_sorted_by_name_series_and_time(void **state)
{
    (void)state;
    struct sealed s = seal_metrics();
    expect_text(&s, "\"group\":0",
                STR("{\"_timestamp\":5,\"__name__\":\"alerts\",\"value\":-0.0}\n"
                    "{\"_timestamp\":15,\"__name__\":\"alerts\",\"value\":\"+Inf\"}\n"
                    "{\"_timestamp\":10,\"__name__\":\"cpu\",\"Job\":\"x\",\"host\":\"a\\\"q\","
                    "\"value\":\"NaN\"}\n"
                    "{\"_timestamp\":10,\"__name__\":\"cpu\",\"host\":\"b\",\"value\":\"Stale\"}\n"
                    "{\"_timestamp\":20,\"__name__\":\"cpu\",\"host\":\"b\",\"value\":1.5}\n"));
    const struct json *names = json_get(s.facts, "names");
    assert_int_equal(names->count, 2);
    const struct json *cpu = json_at(names, 1);
    uint64_t first = 0, rows = 0, bytes = 0, stream = 0;
    json_u64(json_get(cpu, "first_row"), &first);
    json_u64(json_get(cpu, "rows"), &rows);
    json_u64(json_get(cpu, "text_bytes"), &bytes);
    json_u64(json_get(cpu, "stream"), &stream);
    assert_true(str_eq(json_str(json_get(cpu, "name"), STR("")), STR("cpu")));
    assert_true(first == 2 && rows == 3 && stream == 1 && bytes == sizeof CPU_LINES - 1);
    static const char *const ways[] = {"\"first_row\":0,\"rows\":2",
                                       "\"first_row\":0,\"rows\":2,\"metrics\":true"};
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        expect_text(&s, ways[i],
                    STR("{\"_timestamp\":5,\"__name__\":\"alerts\",\"value\":-0.0}\n"
                        "{\"_timestamp\":15,\"__name__\":\"alerts\",\"value\":\"+Inf\"}\n"));
    sealed_done(&s);
}

/* DuckDB's dictionaries take one zero for the other, and one NaN for another. */
static void zeros_keep_their_sign_in_columns_of_few_values(void **state)
{
    (void)state;
    struct buf lines;
    buf_init(&lines, TEXT_MAX);
    for (int i = 0; i < 5000; i++)
        buf_printf(&lines, "{\"_timestamp\":%d,\"v\":%s}\n", i + 1, i % 3 ? "0.0" : "-0.0");
    struct sealed s =
        seal_lines(buf_str(&lines), "[[\"_timestamp\",\"Int64\",1],[\"v\",\"Float64\",2]]");
    expect_text(&s, "\"group\":0", buf_str(&lines));
    sealed_done(&s);
    buf_done(&lines);
}

static void add_special_samples(struct buf *lines, const char *name, unsigned series,
                                unsigned points, unsigned values)
{
    static const char *const specials[] = {"\"NaN\"", "\"Stale\"", "-0.0", "0.0"};
    for (unsigned s = 0; s < series; s++)
        for (unsigned p = 0; p < points; p++) {
            unsigned n = s * points + p;
            buf_printf(lines,
                       "{\"_timestamp\":%u,\"__name__\":\"%s\",\"host\":\"%05u\",\"value\":", p + 1,
                       name, s);
            if (n % 5 == 0)
                buf_add_cstr(lines, specials[n / 5 % 4]);
            else
                buf_printf(lines, "%u.0", n % values);
            buf_add_cstr(lines, "}\n");
        }
}

static void special_values_of_samples_are_kept_apart(void **state)
{
    (void)state;
    static const struct {
        unsigned series, points, values;
    } cases[] = {
        {50, 20, 7}, {3000, 2, 7}, {3000, 2, 2500}, {20, 1000, 15000}, {1000, 300, 100000}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf lines;
        struct sealed s;
        struct err e = {0};
        buf_init(&lines, TEXT_MAX);
        add_special_samples(&lines, "m", cases[i].series, cases[i].points, cases[i].values);
        struct seal_source_spec source = {buf_str(&lines), "m"};
        struct seal_spec spec = {NULL, &source, 1, 0};
        if (seal_fixture_seal(&fixture, &spec, &s, &e) != ERR_OK)
            fail_msg("case %zu: %s", i, e.msg);
        expect_text(&s, "\"first_row\":0,\"rows\":1000000", buf_str(&lines));
        sealed_done(&s);
        buf_done(&lines);
    }
}

/* ---- what is refused ---- */

static void lines_that_cannot_be_sealed_whole_are_corrupt_and_leave_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *lines, *says;
        int64_t extra_rows;
    } cases[] = {
        {"{\"_timestamp\":1,\"i\":\"text\"}\n", "'i' is no Int64", 0},
        {"{\"_timestamp\":1,\"i\":1.5}\n", "'i' is no Int64", 0},
        {"{\"_timestamp\":1,\"i\":9223372036854775808}\n", "'i' is no Int64", 0},
        {"{\"_timestamp\":1}\n{\"_timestamp\":2,\"b\":2}\n", "line 2", 0},
        {"{\"_timestamp\":1,\"u\":18446744073709551616}\n", "'u' is no UInt64", 0},
        {"{\"_timestamp\":1,\"f\":\"x\"}\n", "'f' is no Float64", 0},
        {"{\"_timestamp\":1,\"unknown\":5}\n", "schema lacks", 0},
        {"{\"i\":5}\n", "no _timestamp", 0},
        {"not json\n", "line 1", 0},
        {"{\"_timestamp\":1}\n", "where the journal has 2", 1},
        {"{\"_timestamp\":1}\n{\"_timestamp\":2}\n", "where the journal has 1", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sealed s;
        struct err e = {0};
        struct seal_source_spec source = {str_from(cases[i].lines), NULL};
        struct seal_spec spec = {ALL_COLUMNS, &source, 1, cases[i].extra_rows};
        assert_int_equal(seal_fixture_seal(&fixture, &spec, &s, &e), ERR_CORRUPT);
        if (!strstr(e.msg, cases[i].says) || !strstr(e.msg, ".ndjson"))
            fail_msg("'%s' says nothing of '%s'", e.msg, cases[i].says);
        sealed_done(&s);
    }
    assert_int_equal(staged_files(&fixture, false), 0);
}

static void only_files_of_the_mount_are_sealed_or_shown(void **state)
{
    (void)state;
    static const struct {
        enum wire_message kind;
        const char *body;
    } cases[] = {
        {WIRE_TEXT, "{\"path\":\"/etc/passwd\",\"group\":0}"},
        {WIRE_TEXT, "{\"path\":\"%s/../staging/x.parquet\",\"group\":0}"},
        {WIRE_TEXT, "{\"path\":\"%s/missing.parquet\",\"group\":0}"},
        {WIRE_TEXT, "{\"path\":\"%s/missing.parquet\"}"},
        {WIRE_TEXT, "[]"},
        {WIRE_TEXT, ""},
        {WIRE_SEAL, "{}"},
        {WIRE_SEAL, "{\"part\":\"../../etc/x\"}"},
        {WIRE_FACTS, "/etc/passwd"},
        {WIRE_FACTS, "%s/missing.parquet"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char body[512];
        struct err e = {0};
        struct buf out;
        const char *hole = strstr(cases[i].body, "%s");
        int before = hole ? (int)(hole - cases[i].body) : (int)strlen(cases[i].body);
        int n = snprintf(body, sizeof body, "%.*s%s%s", before, cases[i].body,
                         hole ? fixture.mount : "", hole ? hole + 2 : "");
        buf_init(&out, TEXT_MAX);
        if (seal_fixture_ask(&fixture, cases[i].kind, (struct str){body, (size_t)n}, WIRE_END, &out,
                             &e) == ERR_OK)
            fail_msg("'%s' was answered", body);
        buf_done(&out);
    }
}

/* ---- the disk ---- */

struct faults { /* shared with the engine */
    uint64_t fail_at, seen;
};

static int fail_one(struct sys_fault *f, void *ctx)
{
    struct faults *faults = ctx;
    faults->seen = f->number;
    return f->number == faults->fail_at ? EIO : 0;
}

static enum err_code seal_by(const struct engine_fixture *f, struct err *e)
{
    struct sealed s;
    struct seal_source_spec source = {str_from(ALL_LINES), NULL};
    struct seal_spec spec = {ALL_COLUMNS, &source, 1, 0};
    enum err_code rc = seal_fixture_seal(f, &spec, &s, e);
    sealed_done(&s);
    return rc;
}

static void whatever_call_fails_nothing_stays_in_staging(void **state)
{
    (void)state;
    enum { CALLS_MAX = 200, CALLS_MIN = 8 };
    struct faults *faults =
        mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned failures = 0;
    assert_true(faults != MAP_FAILED);
    do {
        struct engine_fixture f;
        struct err e = {0};
        faults->fail_at++;
        faults->seen = 0;
        sys_fault_set(fail_one, faults);
        bool started = engine_fixture_start(&f, MEMORY_BYTES, QUERIES);
        sys_fault_set(NULL, NULL);
        assert_true(started);
        enum err_code rc = seal_by(&f, &e);
        failures += rc != ERR_OK;
        assert_int_equal(staged_files(&f, true), rc == ERR_OK ? 1 : 0);
        engine_fixture_stop(&f);
    } while (faults->seen >= faults->fail_at && faults->fail_at < CALLS_MAX);
    assert_true(faults->fail_at < CALLS_MAX && failures >= CALLS_MIN);
    munmap(faults, sizeof *faults);
}

static void a_disk_without_room_leaves_nothing_in_staging(void **state)
{
    (void)state;
    struct rlimit before, small;
    struct engine_fixture f;
    struct err e = {0};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){1000, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool started = engine_fixture_start(&f, MEMORY_BYTES, QUERIES);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(started);
    assert_int_equal(seal_by(&f, &e), ERR_IO);
    assert_int_equal(staged_files(&f, true), 0);
    engine_fixture_stop(&f);
}

/* ---- the file ---- */

static void the_side_file_and_the_metadata_say_what_was_sealed(void **state)
{
    (void)state;
    struct sealed s = seal_lines(str_from(ALL_LINES), ALL_COLUMNS);
    char sum_path[PATH_MAX];
    struct file_sum sum;
    struct err e = {0};
    struct buf facts, hex;
    snprintf(sum_path, sizeof sum_path, "%s/%s.sum", fixture.staging, s.id);
    AUTO_FD int sum_fd = open(sum_path, O_RDONLY | O_CLOEXEC);
    AUTO_FD int fd = open(s.parquet, O_RDONLY | O_CLOEXEC);
    assert_true(sum_fd >= 0 && fd >= 0);
    assert_int_equal(file_sum_read(sum_fd, &sum, &e), ERR_OK);
    assert_int_equal(file_sum_check(fd, &sum, &e), ERR_OK);
    buf_init(&hex, 65);
    for (int i = 0; i < 32; i++)
        buf_printf(&hex, "%02x", sum.sha256[i]);
    assert_true(str_eq(json_str(json_get(s.facts, "sha256"), STR("")), buf_str(&hex)));
    file_sum_done(&sum);
    buf_done(&hex);
    buf_init(&facts, TEXT_MAX);
    assert_int_equal(
        seal_fixture_ask(&fixture, WIRE_FACTS, str_from(s.parquet), WIRE_FACTS_ARE, &facts, &e),
        ERR_OK);
    /* The file knows all but its own size and checksum. */
    static const char tail[] = ",\"stored_bytes\":";
    const char *cut = strstr(s.part.data, tail);
    assert_non_null(cut);
    assert_int_equal(facts.len, (size_t)(cut - s.part.data) + 1);
    assert_memory_equal(facts.data, s.part.data, facts.len - 1);
    buf_done(&facts);
    sealed_done(&s);
}

static void the_sum_of_the_text_does_not_depend_on_the_order_of_lines(void **state)
{
    (void)state;
    static const char columns[] = "[[\"_timestamp\",\"Int64\",1],[\"a\",\"Utf8\",2]]";
    struct sealed s[] = {
        seal_lines(STR("{\"_timestamp\":1,\"a\":\"x\"}\n{\"_timestamp\":1,\"a\":\"y\"}\n"),
                   columns),
        seal_lines(STR("{\"a\":\"y\",\"_timestamp\":1}\n{\"_timestamp\":1,\"a\":\"x\"}\n"),
                   columns),
        seal_lines(STR("{\"_timestamp\":1,\"a\":\"x\"}\n{\"_timestamp\":1,\"a\":\"z\"}\n"),
                   columns),
    };
    struct str sums[3];
    for (int i = 0; i < 3; i++)
        sums[i] = json_str(json_get(s[i].facts, "text_sum"), STR(""));
    assert_true(sums[0].len == 16 && str_eq(sums[0], sums[1]) && !str_eq(sums[0], sums[2]));
    for (int i = 0; i < 3; i++)
        sealed_done(&s[i]);
}

static void names_that_mean_something_to_duckdb_are_only_names(void **state)
{
    (void)state;
    static const char columns[] =
        "[[\"_timestamp\",\"Int64\",1],[\"file_row_number\",\"Int64\",2],[\"filename\",\"Utf8\",3],"
        "[\"labels\",\"Utf8\",4],[\"select\",\"Utf8\",5],[\"a\\\"b'c\",\"Utf8\",6]]";
    static const char lines[] =
        "{\"_timestamp\":1,\"file_row_number\":100,\"filename\":\"f\",\"labels\":\"l\","
        "\"select\":\"s\",\"a\\\"b'c\":\"q\"}\n{\"_timestamp\":2,\"file_row_number\":0}\n";
    struct sealed s = seal_lines(str_from(lines), columns);
    struct str first, second;
    str_cut(str_from(lines), '\n', &first, &second);
    expect_text(&s, "\"group\":0", str_from(lines));
    expect_text(&s, "\"first_row\":1,\"rows\":1", second);
    sealed_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_of_a_file_is_its_lines),
        cmocka_unit_test(every_code_point_is_sealed_and_comes_back_byte_for_byte),
        cmocka_unit_test(lines_out_of_order_are_sorted_by_time_and_keep_their_place),
        cmocka_unit_test(row_groups_are_rendered_alone_and_cut_by_time),
        cmocka_unit_test(metrics_are_sorted_by_name_series_and_time),
        cmocka_unit_test(zeros_keep_their_sign_in_columns_of_few_values),
        cmocka_unit_test(special_values_of_samples_are_kept_apart),
        cmocka_unit_test(lines_that_cannot_be_sealed_whole_are_corrupt_and_leave_nothing),
        cmocka_unit_test(only_files_of_the_mount_are_sealed_or_shown),
        cmocka_unit_test(whatever_call_fails_nothing_stays_in_staging),
        cmocka_unit_test(a_disk_without_room_leaves_nothing_in_staging),
        cmocka_unit_test(the_side_file_and_the_metadata_say_what_was_sealed),
        cmocka_unit_test(the_sum_of_the_text_does_not_depend_on_the_order_of_lines),
        cmocka_unit_test(names_that_mean_something_to_duckdb_are_only_names),
    };
    return cmocka_run_group_tests(tests, start_engine, stop_engine);
}
