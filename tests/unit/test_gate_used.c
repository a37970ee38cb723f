// links: weir_gateway weir_engine weir_fs weir_index
/* tests/unit/test_gate_used.c - which fields of a stream a statement may mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "gateway/gate_internal.h"
#include "tests/support/gate_fixture.h"

static int open_fixture(void **state)
{
    static struct fixture f;
    *state = &f;
    if (fixture_open(&f) == ERR_OK) {
        f.options = fixture_options();
        return 0;
    }
    print_error("%s\n", f.err.msg);
    return -1;
}

static int close_fixture(void **state)
{
    fixture_close(*state);
    return 0;
}

/* "*", or the names of the fields of all tables that are used. */
static void describe_used(const struct gate_result *r, struct buf *out)
{
    bool all = true;
    for (size_t t = 0; t < r->table_count; t++)
        for (size_t i = 0; i < r->tables[t].stream->field_count; i++) {
            bool used = gate_uses(r, &r->tables[t], i);
            all = all && used;
            if (used)
                buf_printf(out, "%s" STR_FMT, out->len ? " " : "",
                           STR_ARG(r->tables[t].stream->fields[i].name));
        }
    if (!all)
        return;
    buf_clear(out);
    buf_add_char(out, '*');
}

static void a_statement_uses_what_it_names_and_in_doubt_all(void **state)
{
    static const struct {
        const char *sql, *used;
    } table[] = {
        {"SELECT count(*) FROM plain", "_timestamp"},
        {"SELECT count(*) AS host FROM plain", "_timestamp"},
        {"SELECT host FROM plain", "_timestamp host"},
        {"SELECT HOST FROM plain p WHERE p.\"Value\" > 1", "_timestamp value host"},
        {"SELECT 1 FROM plain GROUP BY host HAVING max(value) > 2", "_timestamp value host"},
        {"SELECT count(*) FROM plain WHERE host IN (SELECT value FROM plain)",
         "_timestamp value host"},
        {"SELECT count(*) FROM plain a JOIN plain b USING (host)", "_timestamp host"},
        {"WITH c AS (SELECT host AS h FROM plain) SELECT h FROM c", "_timestamp host"},
        {"SELECT count(*) FROM plain a NATURAL JOIN plain b", "*"},
        {"SELECT t.b FROM plain t(_timestamp, b)", "*"},
        {"WITH c(h) AS (SELECT host FROM plain) SELECT x FROM c d(x)", "_timestamp host"},
        {"SELECT x FROM (SELECT host FROM plain) s(x)", "_timestamp host"},
        {"SELECT * FROM plain", "*"},
        {"SELECT plain.* FROM plain", "*"},
        {"SELECT * EXCLUDE (host) FROM plain", "*"},
        {"SELECT plain FROM plain", "*"},
        {"SELECT P FROM plain p", "*"},
        {"SELECT count(h) FROM (SELECT host AS h FROM plain) s", "_timestamp host"},
        {"SELECT count(*) FROM (SELECT * FROM plain) s", "*"},
        {"SELECT \"Host\" FROM metrics.cased", "_timestamp Host"},
    };
    struct fixture *f = *state;
    struct buf used;
    buf_init(&used, 1u << 16);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        buf_clear(&used);
        if (fixture_check(f, table[i].sql))
            fail_msg("%s: %s", table[i].sql, f->err.msg);
        describe_used(&f->result, &used);
        buf_add_char(&used, '\0');
        if (strcmp(used.data, table[i].used) != 0)
            fail_msg("%s: %s, not %s", table[i].sql, used.data, table[i].used);
    }
    buf_done(&used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_statement_uses_what_it_names_and_in_doubt_all),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
