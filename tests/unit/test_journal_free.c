// links: weir_fs weir_index
/* tests/unit/test_journal_free.c - files are published, their frames freed, slow ones moved. */
#include "tests/support/journal_fixture.h"

#include <string.h>

#include "base/clock.h"

enum { HOUR = 100, PARTS_MAX = 4096 };

/* What journal_open announced. */
struct announced {
    struct ulid parts[PARTS_MAX];
    uint64_t positions[PARTS_MAX];
    char records[PARTS_MAX][32];
    struct ulid files[PARTS_MAX];
    size_t count;
};

static enum err_code announce(const struct journal_publish *p, uint64_t position, void *ctx,
                              struct err *e)
{
    struct announced *a = ctx;
    (void)e;
    assert_true(a->count < PARTS_MAX);
    assert_true(p->record.len < sizeof a->records[0]);
    a->parts[a->count] = p->part;
    a->positions[a->count] = position;
    a->files[a->count] = p->files[0];
    memcpy(a->records[a->count], p->record.ptr, p->record.len);
    a->records[a->count][p->record.len] = '\0';
    a->count++;
    return ERR_OK;
}

static void announce_to(struct fixture *f, struct announced *a)
{
    a->count = 0;
    f->cfg.on_published = announce;
    f->cfg.ctx = a;
}

static bool take_first(const struct journal_file *file, void *ctx)
{
    *(struct journal_file *)ctx = *file;
    return false;
}

static struct journal_file first_file(struct fixture *f)
{
    struct journal_file file = {0};
    journal_file_list(f->j, take_first, &file);
    return file;
}

static void roll(struct fixture *f, const struct ulid *id, struct journal_file *out)
{
    struct err e = {0};
    if (journal_roll_file(f->j, id, out, &e))
        fail_msg("%s", e.msg);
}

static uint64_t publish(struct fixture *f, const struct ulid *files, size_t count,
                        const char *record)
{
    struct journal_publish p = {ulid_new(), files, count, str_from(record)};
    struct err e = {0};
    uint64_t position = 0;
    if (journal_publish(f->j, &p, &position, &e))
        fail_msg("%s", e.msg);
    return position;
}

static void a_rolled_file_takes_no_more_lines(void **state)
{
    struct fixture *f = *state;
    struct journal_file first, second;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_OK);
    first = first_file(f);
    assert_true(first.open);
    roll(f, &first.id, &first);
    assert_false(first.open);
    assert_int_equal(first.size, 2);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "b\n"), ERR_OK);
    roll(f, &first.id, &second);
    assert_int_equal(second.size, 2);
    struct shown s = shown_of(f, 1, HOUR);
    assert_int_equal(s.files, 2);
    assert_string_equal(s.text.data, "a\nb\n");
    buf_done(&s.text);
}

static void a_published_file_is_read_but_not_listed(void **state)
{
    struct fixture *f = *state;
    static struct announced told;
    struct journal_file file;
    char text[8];
    size_t got;
    struct err e;
    announce_to(f, &told);
    f->cfg.replaced_keep_us = 60000000;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_OK);
    file = first_file(f);
    roll(f, &file.id, &file);
    uint64_t position = publish(f, &file.id, 1, "the record");
    for (int again = 0; again < 3; again++) {
        assert_shown(f, 1, HOUR, "");
        assert_int_equal(journal_file_get(f->j, &file.id, &file, &e), ERR_OK);
        assert_true(file.replaced);
        assert_int_equal(journal_read(f->j, &file.id, 0, text, sizeof text, &got, &e), ERR_OK);
        assert_int_equal(got, 2);
        assert_memory_equal(text, "a\n", 2);
        assert_int_equal(told.count, again ? 1 : 0);
        if (again) {
            assert_string_equal(told.records[0], "the record");
            assert_int_equal(told.positions[0], position);
        }
        told.count = 0;
        fixture_reopen(f);
    }
}

static void only_closed_files_of_one_part_are_published(void **state)
{
    struct fixture *f = *state;
    struct journal_file a, b;
    struct ulid both[2], nobody = ulid_new();
    struct journal_publish p = {.part = ulid_new(), .record = STR("r")};
    uint64_t position = 0, again = 0;
    struct err e;
    f->cfg.replaced_keep_us = 60000000;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "a\n"), ERR_OK);
    a = first_file(f);
    p.files = &a.id;
    p.file_count = 1;
    assert_int_equal(journal_publish(f->j, &p, &position, &e), ERR_INVALID);
    roll(f, &a.id, &a);
    assert_int_equal(append_text(f, 0, 2, 1, HOUR, "b\n"), ERR_OK);
    p.files = &nobody;
    assert_int_equal(journal_publish(f->j, &p, &position, &e), ERR_NOTFOUND);
    p.file_count = 0;
    assert_int_equal(journal_publish(f->j, &p, &position, &e), ERR_INVALID);
    p.files = &a.id;
    p.file_count = 1;
    assert_int_equal(journal_publish(f->j, &p, &position, &e), ERR_OK);
    assert_int_equal(journal_publish(f->j, &p, &again, &e), ERR_OK);
    assert_int_equal(again, position);
    b = first_file(f);
    roll(f, &b.id, &b);
    both[0] = a.id;
    both[1] = b.id;
    p.files = both;
    p.file_count = 2;
    assert_int_equal(journal_publish(f->j, &p, &position, &e), ERR_INVALID);
    p.part = ulid_new();
    assert_int_equal(journal_publish(f->j, &p, &position, &e), ERR_INVALID);
    p.files = &b.id;
    p.file_count = 1;
    assert_int_equal(journal_publish(f->j, &p, &position, &e), ERR_OK);
    assert_shown(f, 1, HOUR, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_make, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_rolled_file_takes_no_more_lines),
        TEST(a_published_file_is_read_but_not_listed),
        TEST(only_closed_files_of_one_part_are_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
