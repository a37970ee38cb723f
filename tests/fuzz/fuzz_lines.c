// links: weir_engine
/* tests/fuzz/fuzz_lines.c - any bytes as lines of a file: values stay inside their line,
 * conversions refuse or succeed, and a second look at the same lines, with keys learned, finds the
 * same. */
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "gateway/engine/convert.h"
#include "gateway/engine/words.h"

enum { FIELDS = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct str names[FIELDS] = {{"_timestamp", 10}, {"a", 1}, {"log", 3}, {"q\"", 2}};

static void require(bool fact)
{
    if (!fact)
        abort();
}

static void look_at(const struct line_value *v, struct str line)
{
    struct int128 wide;
    int64_t i64;
    double f64;
    bool flag;
    require(v->field < FIELDS);
    require(v->text.ptr >= line.ptr && v->text.ptr + v->text.len <= line.ptr + line.len);
    if (convert_i64(v, &i64))
        require(convert_int128(v, &wide));
    convert_f64(v, &f64);
    convert_bool(v, &flag);
    char *plain = malloc(v->text.len + 1);
    require(plain != NULL);
    size_t n = line_unescape(v->text, plain);
    require(n <= v->text.len);
    struct words_query q;
    if (words_query_init(&q, (struct str){plain, n}))
        require(words_match(&q, (struct str){plain, n}));
    free(plain);
}

/* The number of values, or -1 for a line that is none. */
static int find(struct line_cursor *c, struct str line)
{
    struct line_value values[FIELDS];
    size_t count = 0;
    struct err e;
    if (line_find(c, line, values, &count, &e) != ERR_OK) {
        require(e.code == ERR_CORRUPT);
        return -1;
    }
    require(count <= FIELDS);
    for (size_t i = 0; i < count; i++)
        look_at(&values[i], line);
    return (int)count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct line_plan *plan = NULL;
    struct line_cursor *cursor = NULL;
    struct err e;
    require(line_plan_new(names, FIELDS, &plan, &e) == ERR_OK);
    require(line_cursor_new(plan, &cursor, &e) == ERR_OK);
    struct str rest = {(const char *)data, size}, line;
    bool more = size > 0;
    while (more) {
        more = str_cut(rest, '\n', &line, &rest);
        int first = find(cursor, line);
        require(find(cursor, line) == first);
    }
    line_cursor_free(cursor);
    line_plan_free(plan);
    return 0;
}
