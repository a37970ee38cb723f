// links: weir_fs weir_index
/* Names, spans, listings, the registry and mountinfo: the parts of the tree that need no mount. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "fs/mountinfo.h"
#include "fs/name.h"
#include "fs/registry.h"
#include "fs/tree/listing.h"

/* ---- names ---- */

static void names_from_outside_are_escaped(void **state)
{
    static const struct {
        const char *raw;
        size_t len;
        const char *want;
    } cases[] = {
        {"app", 3, "app"},
        {"K8s Logs-1", 10, "K8s Logs-1"},
        {"\xc3\xa4\xe2\x82\xac", 5, "\xc3\xa4\xe2\x82\xac"},
        {"a/b", 3, "a%2Fb"},
        {"a%2Fb", 5, "a%252Fb"},
        {"a\0b", 3, "a%00b"},
        {"tab\there\x7f", 9, "tab%09here%7F"},
        {".", 1, "%2E"},
        {"..", 2, "%2E%2E"},
        {"...", 3, "..."},
        {".hidden", 7, ".hidden"},
        {".weir", 5, "%2Eweir"},
        {".parts", 6, "%2Eparts"},
        {"", 0, "%"},
    };
    char dst[NAME_TEXT_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = name_escape((struct str){cases[i].raw, cases[i].len}, dst);
        assert_string_equal(dst, cases[i].want);
        assert_int_equal(len, strlen(cases[i].want));
    }
}

static void a_name_of_255_bytes_stays_whole(void **state)
{
    char raw[NAME_TEXT_MAX], dst[NAME_TEXT_MAX + 1];

    (void)state;
    memset(raw, 'x', sizeof raw);
    assert_int_equal(name_escape((struct str){raw, sizeof raw}, dst), NAME_TEXT_MAX);
    assert_memory_equal(dst, raw, sizeof raw);
}

static void longer_names_are_cut_and_stay_different(void **state)
{
    char raw[300], one[NAME_TEXT_MAX + 1], two[NAME_TEXT_MAX + 1];

    (void)state;
    memset(raw, 'x', sizeof raw);
    assert_true(name_escape((struct str){raw, sizeof raw}, one) <= NAME_TEXT_MAX);
    raw[299] = 'y';
    assert_true(name_escape((struct str){raw, sizeof raw}, two) <= NAME_TEXT_MAX);
    assert_string_not_equal(one, two);
    assert_int_equal(one[strlen(one) - 17], '~');
    assert_memory_equal(one, two, 238);
}

static void a_cut_leaves_no_half_escape_and_no_half_character(void **state)
{
    char raw[300], dst[NAME_TEXT_MAX + 1];

    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        memset(raw, 'x', sizeof raw);
        for (size_t i = shift; i + 3 <= sizeof raw; i += 3)
            memcpy(raw + i, "\xe2\x82\xac", 3);
        name_escape((struct str){raw, sizeof raw}, dst);
        const char *tilde = strrchr(dst, '~');
        assert_non_null(tilde);
        assert_int_equal((tilde - dst - (long)shift) % 3, 0);

        memset(raw, 'x', sizeof raw);
        memset(raw + shift, '/', sizeof raw - shift);
        name_escape((struct str){raw, sizeof raw}, dst);
        tilde = strrchr(dst, '~');
        assert_non_null(tilde);
        assert_int_equal((tilde - dst - (long)shift) % 3, 0);
    }
}

static void data_names_are_read_back(void **state)
{
    struct ulid id = ulid_new(), back;
    char text[NAME_DATA_MAX];
    size_t len = name_format_data(&id, text);

    (void)state;
    assert_int_equal(len, strlen(text));
    assert_true(name_parse_data((struct str){text, len}, &back));
    assert_memory_equal(&id, &back, sizeof id);
}

static void snapshot_names_are_read_back(void **state)
{
    static const uint64_t sizes[] = {0, 1, 4096, UINT64_C(1) << 40, UINT64_MAX};
    struct ulid id = ulid_new(), back;
    char text[NAME_SNAPSHOT_MAX];
    uint64_t bytes;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t len = name_format_snapshot(&id, sizes[i], text);
        assert_int_equal(len, strlen(text));
        assert_true(name_parse_snapshot((struct str){text, len}, &back, &bytes));
        assert_memory_equal(&id, &back, sizeof id);
        assert_int_equal(bytes, sizes[i]);
    }
}

static void other_spellings_name_nothing(void **state)
{
    static const char *const names[] = {
        "01arz3ndektsv4rrffq69g5fav.ndjson",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV.parquet",
        "01ARZ3NDEKTSV4RRFFQ69G5FA.ndjson",
        "81ARZ3NDEKTSV4RRFFQ69G5FAV.ndjson",
        ".ndjson",
        "",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV@.ndjson",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV@01.ndjson",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV@-1.ndjson",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV@18446744073709551616.ndjson",
        "01arz3ndektsv4rrffq69g5fav@1.ndjson",
        "@1.ndjson",
    };
    struct ulid id;
    uint64_t bytes;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_false(name_parse_data(str_from(names[i]), &id));
        assert_false(name_parse_snapshot(str_from(names[i]), &id, &bytes));
    }
}

/* ---- spans ---- */

/* Walk "2026/02/28/23" down; the number of levels that exist. */
static int walk(const char *path, struct span *out)
{
    struct str rest = str_from(path), part;
    const struct span *parent = NULL;
    int levels = 0;

    while (rest.len > 0) {
        struct span child;
        str_cut(rest, '/', &part, &rest);
        if (!span_parse(parent, part, &child))
            return levels;
        *out = child;
        parent = out;
        levels++;
    }
    return levels;
}

static void directories_of_time_cover_their_hours(void **state)
{
    static const struct {
        const char *path;
        const char *first, *last; /* hours, as RFC 3339 */
    } cases[] = {
        {"1970", "1970-01-01T00:00:00Z", "1970-12-31T23:00:00Z"},
        {"2024/02", "2024-02-01T00:00:00Z", "2024-02-29T23:00:00Z"},
        {"2026/12", "2026-12-01T00:00:00Z", "2026-12-31T23:00:00Z"},
        {"2026/02/28", "2026-02-28T00:00:00Z", "2026-02-28T23:00:00Z"},
        {"2026/02/28/23", "2026-02-28T23:00:00Z", "2026-02-28T23:00:00Z"},
        {"1969/12/31/23", "1969-12-31T23:00:00Z", "1969-12-31T23:00:00Z"},
        {"0000/01/01/00", "0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"},
        {"9999/12/31/23", "9999-12-31T23:00:00Z", "9999-12-31T23:00:00Z"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span s;
        int64_t first, last;
        char name[8];
        assert_true(walk(cases[i].path, &s) > 0);
        assert_true(time_parse_rfc3339(str_from(cases[i].first), &first));
        assert_true(time_parse_rfc3339(str_from(cases[i].last), &last));
        assert_int_equal(s.first, hour_of_us(first));
        assert_int_equal(s.last, hour_of_us(last));
        struct span again = span_around(s.level, s.last);
        assert_int_equal(again.first, s.first);
        assert_int_equal(again.last, s.last);
        span_format(&s, name);
        assert_string_equal(name, cases[i].path + strlen(cases[i].path) - strlen(name));
    }
}

static void impossible_dates_name_nothing(void **state)
{
    static const struct {
        const char *path;
        int levels; /* that exist */
    } cases[] = {
        {"202", 0},
        {"20260", 0},
        {"+026", 0},
        {"2026/00", 1},
        {"2026/13", 1},
        {"2026/1", 1},
        {"2026/02/29", 2},
        {"2026/02/00", 2},
        {"2026/04/31", 2},
        {"2026/01/01/24", 3},
        {"2026/01/01/-1", 3},
        {"2026/01/01/0", 3},
        {"2026/01/01/00/00", 4},
    };
    struct span s;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(walk(cases[i].path, &s), cases[i].levels);
}

static void hours_of_five_digit_years_have_no_place(void **state)
{
    int64_t us;

    (void)state;
    assert_true(time_parse_rfc3339(STR("9999-12-31T23:59:59Z"), &us));
    assert_true(hour_has_place(hour_of_us(us)));
    assert_false(hour_has_place(hour_of_us(us) + 1));
    assert_true(time_parse_rfc3339(STR("0000-01-01T00:00:00Z"), &us));
    assert_true(hour_has_place(hour_of_us(us)));
    assert_false(hour_has_place(hour_of_us(us) - 1));
    assert_false(hour_has_place(INT32_MAX));
    assert_false(hour_has_place(INT32_MIN));
}

/* ---- listings ---- */

static void a_listing_is_read_on_after_any_cookie(void **state)
{
    struct listing l;
    char name[16];

    (void)state;
    listing_init(&l);
    for (int i = 0; i < 1000; i++) {
        int n = snprintf(name, sizeof name, "stream%d", i);
        listing_add(&l, (struct str){name, (size_t)n},
                    cookie_of_name((struct str){name, (size_t)n}), (uint64_t)i + 2, S_IFDIR);
    }
    listing_finish(&l);
    assert_false(l.failed);
    assert_int_equal(listing_after(&l, 0), 0);
    for (size_t i = 0; i < l.count; i++) {
        assert_true((int64_t)l.entries[i].cookie > COOKIE_DOTDOT);
        assert_int_equal(listing_after(&l, l.entries[i].cookie), i + 1);
    }
    listing_done(&l);
}

static void equal_cookies_are_told_apart(void **state)
{
    struct listing l;

    (void)state;
    listing_init(&l);
    listing_add(&l, STR("b"), 300, 2, S_IFREG);
    listing_add(&l, STR("a"), 300, 3, S_IFREG);
    listing_add(&l, STR("c"), 301, 4, S_IFREG);
    listing_finish(&l);
    assert_true(str_eq(listing_name(&l, 0), STR("a")));
    assert_true(str_eq(listing_name(&l, 1), STR("b")));
    assert_true(str_eq(listing_name(&l, 2), STR("c")));
    assert_true(l.entries[0].cookie < l.entries[1].cookie);
    assert_true(l.entries[1].cookie < l.entries[2].cookie);
    listing_done(&l);
}

static void cookies_of_ids_follow_time(void **state)
{
    struct ulid earlier, later;

    (void)state;
    assert_true(ulid_parse(STR("01ARZ3NDEKTSV4RRFFQ69G5FAV"), &earlier));
    assert_true(ulid_parse(STR("01ARZ3NDEMTSV4RRFFQ69G5FAV"), &later));
    assert_true(cookie_of_id(&earlier) < cookie_of_id(&later));
    assert_true(cookie_of_id(&later) <= INT64_MAX);
}

/* ---- registry ---- */

static struct registry *new_registry(void)
{
    struct registry *r;

    assert_int_equal(registry_new(&r, NULL), ERR_OK);
    return r;
}

static struct journal_file file_of(const char *org, const char *name, uint64_t number, int32_t hour)
{
    return (struct journal_file){.id = ulid_new(),
                                 .stream = number,
                                 .org = str_from(org),
                                 .name = str_from(name),
                                 .type = STREAM_LOGS,
                                 .hour = hour,
                                 .first_append_us = INT64_C(1000) + hour,
                                 .open = true};
}

static struct journal_file add(struct registry *r, const char *org, const char *name,
                               uint64_t number, int32_t hour)
{
    struct journal_file f = file_of(org, name, number, hour);

    assert_int_equal(registry_add(r, &f, NULL), ERR_OK);
    return f;
}

static const struct registry_stream *find(struct registry *r, const char *org, const char *name)
{
    const struct registry_org *o = registry_find_org(r, str_from(org));

    return o ? registry_find_stream(r, o, STREAM_LOGS, str_from(name)) : NULL;
}

static void count_file(const struct ulid *id, void *ctx)
{
    int *count = ctx;

    (void)id;
    ++*count;
}

static int files_of(struct registry *r, uint64_t number, int32_t first, int32_t last)
{
    int count = 0;

    registry_each_file_of(r, &number, 1, first, last, count_file, &count, NULL);
    return count;
}

static void files_are_found_by_stream_and_hour(void **state)
{
    struct registry *r = new_registry();

    (void)state;
    for (int32_t hour = 0; hour < 100; hour++) {
        add(r, "default", "app", 7, (hour * 37) % 100);
        add(r, "default", "db", 8, hour);
    }
    assert_int_equal(files_of(r, 7, INT32_MIN, INT32_MAX), 100);
    assert_int_equal(files_of(r, 7, 10, 19), 10);
    assert_int_equal(files_of(r, 7, 100, INT32_MAX), 0);
    assert_int_equal(files_of(r, 9, INT32_MIN, INT32_MAX), 0);
    registry_free(r);
}

static void a_file_added_twice_is_there_once(void **state)
{
    struct registry *r = new_registry();
    struct journal_file f = add(r, "default", "app", 7, 5);

    (void)state;
    assert_true(registry_knows(r, &f.id));
    assert_int_equal(registry_add(r, &f, NULL), ERR_OK);
    assert_int_equal(files_of(r, 7, INT32_MIN, INT32_MAX), 1);
    registry_free(r);
}

static void current_is_the_last_file_of_the_newest_hour(void **state)
{
    struct registry *r = new_registry();
    struct journal_file newest;
    struct ulid id;

    (void)state;
    add(r, "default", "app", 7, 5);
    add(r, "default", "app", 7, 9);
    newest = add(r, "default", "app", 7, 9);
    add(r, "default", "app", 7, 8);
    assert_true(registry_current(r, find(r, "default", "app"), &id));
    assert_memory_equal(&id, &newest.id, sizeof id);
    registry_free(r);
}

static void names_are_found_as_they_stand_in_paths(void **state)
{
    struct registry *r = new_registry();

    (void)state;
    add(r, "a/b", "..", 7, 5);
    assert_null(find(r, "a/b", ".."));
    assert_non_null(find(r, "a%2Fb", "%2E%2E"));
    registry_free(r);
}

static void a_stream_made_again_takes_the_directory_over(void **state)
{
    struct registry *r = new_registry();
    struct journal_file late = file_of("default", "app", 7, 6);

    (void)state;
    add(r, "default", "app", 7, 5);
    add(r, "default", "app", 12, 5);
    assert_int_equal(registry_add(r, &late, NULL), ERR_OK);
    assert_int_equal(files_of(r, 7, INT32_MIN, INT32_MAX), 0);
    assert_int_equal(files_of(r, 12, INT32_MIN, INT32_MAX), 1);
    assert_int_equal(registry_stream_number(r, find(r, "default", "app")), 12);
    registry_free(r);
}

static void collect_span(const struct span *s, void *ctx)
{
    struct buf *out = ctx;
    char text[8];

    span_format(s, text);
    buf_printf(out, "%s ", text);
}

static void spans_are_listed_level_by_level(void **state)
{
    struct registry *r = new_registry();
    const struct registry_stream *s;
    struct buf out;
    struct span year, month;
    int64_t us;

    (void)state;
    buf_init(&out, 4096);
    assert_true(time_parse_rfc3339(STR("2025-12-31T22:00:00Z"), &us));
    for (int i = 0; i < 5; i++)
        add(r, "default", "app", 7, hour_of_us(us) + i);
    s = find(r, "default", "app");
    registry_each_span(r, s, NULL, collect_span, &out);
    assert_string_equal(out.data, "2025 2026 ");
    assert_true(span_parse(NULL, STR("2026"), &year));
    assert_true(span_parse(&year, STR("01"), &month));
    buf_clear(&out);
    registry_each_span(r, s, &year, collect_span, &out);
    registry_each_span(r, s, &month, collect_span, &out);
    assert_string_equal(out.data, "01 01 ");
    assert_true(registry_has_span(r, s, &month));
    assert_true(span_parse(&year, STR("02"), &month));
    assert_false(registry_has_span(r, s, &month));
    buf_done(&out);
    registry_free(r);
}

static void an_hour_without_a_place_is_refused(void **state)
{
    struct registry *r = new_registry();
    struct journal_file f = file_of("default", "app", 7, INT32_MAX);

    (void)state;
    assert_int_equal(registry_add(r, &f, NULL), ERR_INVALID);
    assert_null(find(r, "default", "app"));
    registry_free(r);
}

static void a_new_file_changes_the_time_of_its_directories(void **state)
{
    struct registry *r = new_registry();
    struct span year;
    const struct registry_stream *s;
    int64_t before;

    (void)state;
    add(r, "default", "app", 7, 5);
    s = find(r, "default", "app");
    before = registry_mtime_stream(r, s);
    add(r, "default", "app", 7, 500000);
    assert_true(registry_mtime_stream(r, s) > before);
    assert_int_equal(registry_mtime_stream(r, s), registry_mtime_root(r));
    assert_true(span_parse(NULL, STR("1970"), &year));
    assert_int_equal(registry_mtime_span(r, s, &year), before);
    registry_free(r);
}

/* ---- mountinfo ---- */

static void lines_of_mountinfo_are_understood(void **state)
{
    static const struct {
        const char *line, *point;
        unsigned major, minor;
        bool is_weir;
    } cases[] = {
        {"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n", "/mnt2", 98, 0, false},
        {"99 25 0:52 / /data/weir/mnt rw,nosuid - fuse.weir weir rw,user_id=0\n", "/data/weir/mnt",
         0, 52, true},
        {"99 25 0:52 / /with\\040blank\\134 rw shared:7 master:1 - fuse.weir weir rw",
         "/with blank\\", 0, 52, true},
        {"99 25 0:52 / /weir - fuse.sshfs fuse.weir rw", "/weir", 0, 52, false},
    };
    struct mount_entry entry;
    struct buf point;

    (void)state;
    buf_init(&point, 4096);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        entry = (struct mount_entry){0};
        assert_true(mountinfo_parse(str_from(cases[i].line), &point, &entry));
        assert_string_equal(point.data, cases[i].point);
        assert_int_equal(entry.major, cases[i].major);
        assert_int_equal(entry.minor, cases[i].minor);
        assert_int_equal(entry.is_weir, cases[i].is_weir);
    }
    assert_false(mountinfo_parse(STR("36 35 98:0 / /mnt2 rw"), &point, &entry));
    assert_false(mountinfo_parse(STR("36 35 x:0 / /mnt2 rw - ext3 a rw"), &point, &entry));
    assert_false(mountinfo_parse(STR(""), &point, &entry));
    buf_done(&point);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_from_outside_are_escaped),
        cmocka_unit_test(a_name_of_255_bytes_stays_whole),
        cmocka_unit_test(longer_names_are_cut_and_stay_different),
        cmocka_unit_test(a_cut_leaves_no_half_escape_and_no_half_character),
        cmocka_unit_test(data_names_are_read_back),
        cmocka_unit_test(snapshot_names_are_read_back),
        cmocka_unit_test(other_spellings_name_nothing),
        cmocka_unit_test(directories_of_time_cover_their_hours),
        cmocka_unit_test(impossible_dates_name_nothing),
        cmocka_unit_test(hours_of_five_digit_years_have_no_place),
        cmocka_unit_test(a_listing_is_read_on_after_any_cookie),
        cmocka_unit_test(equal_cookies_are_told_apart),
        cmocka_unit_test(cookies_of_ids_follow_time),
        cmocka_unit_test(files_are_found_by_stream_and_hour),
        cmocka_unit_test(a_file_added_twice_is_there_once),
        cmocka_unit_test(current_is_the_last_file_of_the_newest_hour),
        cmocka_unit_test(names_are_found_as_they_stand_in_paths),
        cmocka_unit_test(a_stream_made_again_takes_the_directory_over),
        cmocka_unit_test(spans_are_listed_level_by_level),
        cmocka_unit_test(an_hour_without_a_place_is_refused),
        cmocka_unit_test(a_new_file_changes_the_time_of_its_directories),
        cmocka_unit_test(lines_of_mountinfo_are_understood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
