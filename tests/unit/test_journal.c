// links: weir_fs weir_index
/* tests/unit/test_journal.c - appending, reading, repeating, filling and reopening a journal. */
#include "tests/support/journal_fixture.h"

#include <stdatomic.h>
#include <string.h>

enum { HOUR = 100 };

static void lines_come_back_in_order(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_epoch(f);
    assert_int_equal(append_text(f, 0, 1, 1, HOUR, "{\"a\":1}\n{\"a\":2}\n"), ERR_OK);
    assert_int_equal(append_text(f, 1, 1, 1, HOUR, "{\"a\":3}\n"), ERR_OK);
    assert_int_equal(append_text(f, 0, 2, 2, HOUR, "{\"b\":1}\n"), ERR_OK);
    assert_shown(f, 1, HOUR, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
    assert_shown(f, 2, HOUR, "{\"b\":1}\n");
    fixture_reopen(f);
    assert_shown(f, 1, HOUR, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
    assert_shown(f, 2, HOUR, "{\"b\":1}\n");
    assert_int_equal(f->found.rows, 4);
    assert_int_equal(f->found.torn_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_come_back_in_order, fixture_make, fixture_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
