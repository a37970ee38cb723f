// links: weir_engine
/* Any bytes but a newline as a line: its text form, if it has one, is its own text form. */
#include <stdint.h>
#include <stdlib.h>

#include "gateway/engine/text_form.h"

enum { COLUMNS = 5, MEMORY_MAX = 1 << 20, TEXT_MAX = 8 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct run_column columns[COLUMNS] = {{{"b", 1}, COLUMN_BOOL, false},
                                                   {{"f", 1}, COLUMN_FLOAT64, false},
                                                   {{"i", 1}, COLUMN_INT64, false},
                                                   {{"s", 1}, COLUMN_UTF8, false},
                                                   {{"u", 1}, COLUMN_UINT64, false}};

static void require(bool fact)
{
    if (!fact)
        abort();
}

static int by_field(const void *a, const void *b)
{
    const struct line_value *x = a, *y = b;
    return (x->field > y->field) - (x->field < y->field);
}

/* The text form of `line`; false: it has none. */
static bool render(struct line_cursor *cursor, const struct text_form *form, struct str line,
                   struct buf *out)
{
    struct line_value values[COLUMNS];
    struct text_writer w;
    size_t count;
    if (line_find(cursor, line, values, &count, NULL) != ERR_OK)
        return false;
    qsort(values, count, sizeof values[0], by_field);
    text_writer_init(&w, form, out);
    text_begin(&w);
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++)
        ok = text_put_line_value(&w, values[i].field, columns[values[i].field].type, &values[i]);
    text_end(&w);
    text_writer_done(&w);
    return ok && buf_ok(out);
}

static void check(struct line_cursor *cursor, const struct text_form *form, struct str line)
{
    struct buf once, twice;
    buf_init(&once, TEXT_MAX);
    buf_init(&twice, TEXT_MAX);
    if (render(cursor, form, line, &once)) {
        require(!memchr(once.data, '\n', once.len - 1) && once.data[once.len - 1] == '\n');
        require(render(cursor, form, (struct str){once.data, once.len - 1}, &twice));
        require(str_eq(buf_str(&once), buf_str(&twice)));
    }
    buf_done(&once);
    buf_done(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct text_form form;
    if (size > 0 && memchr(data, '\n', size))
        return 0;
    struct line_plan *plan;
    struct line_cursor *cursor;
    struct str names[COLUMNS];
    struct str line = {(const char *)data, size};
    arena_init(&a, MEMORY_MAX);
    for (int i = 0; i < COLUMNS; i++)
        names[i] = columns[i].name;
    require(text_form_make(columns, COLUMNS, &a, &form, NULL) == ERR_OK);
    require(line_plan_new(names, COLUMNS, &plan, NULL) == ERR_OK);
    require(line_cursor_new(plan, &cursor, NULL) == ERR_OK);
    check(cursor, &form, line);
    line_cursor_free(cursor);
    line_plan_free(plan);
    arena_done(&a);
    return 0;
}
