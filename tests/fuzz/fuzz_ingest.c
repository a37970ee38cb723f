// links: weir_gateway weir_fs weir_index
/* Whatever the body, the lines are lines: each one a flat JSON object with unique, normalised keys
 * and its time in front, in hours that fit, as many as were counted; and the next body, which gets
 * the same work area, is stored. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"
#include "gateway/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY_MAX = 64 << 20 };
static const int64_t NOW = INT64_C(1795387861799233);

#define REQUIRE(what)                                                                              \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "violated: %s\n", #what);                                              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static enum err_code drop(struct lines *l, void *ctx, struct err *e)
{
    (void)ctx;
    (void)e;
    lines_clear(l);
    return ERR_OK;
}

static void check_line(struct str line, const struct line_segment *s, struct arena *a)
{
    struct json *object;
    struct map seen;
    struct err e;
    int64_t us;
    REQUIRE(utf8_valid(line));
    REQUIRE(json_parse(line, a, &object, &e) == ERR_OK);
    REQUIRE(object->type == JSON_OBJECT && object->first);
    REQUIRE(str_eq(object->first->key, STR("_timestamp")) && json_i64(object->first, &us));
    REQUIRE(us >= s->min_us && us <= s->max_us && hour_of_us(us) == s->hour);
    map_init(&seen, FIELDS_MAX);
    for (struct json *v = object->first; v; v = v->next) {
        REQUIRE(v->type == JSON_STRING || v->type == JSON_NUMBER || v->type == JSON_BOOL);
        REQUIRE(v->key.len > 0 && !map_find(&seen, v->key));
        REQUIRE(map_put(&seen, v->key, v));
    }
    map_done(&seen);
}

static void check_segment(const struct lines *l, const struct line_segment *s)
{
    struct str rest = {l->out.data + s->at, s->len}, line;
    uint32_t lines = 0;
    struct arena a;
    arena_init(&a, MEMORY_MAX);
    for (; rest.len > 0; lines++) {
        REQUIRE(str_cut(rest, '\n', &line, &rest));
        check_line(line, s, &a);
        arena_reset(&a);
    }
    REQUIRE(lines == s->lines);
    arena_done(&a);
}

static void check_next(struct lines *l, const struct lines_rules *rules)
{
    struct err e;
    lines_rest(l);
    lines_begin(l, rules, NULL);
    REQUIRE(lines_add_json(l, STR("[{\"k\\u0061\":1},{\"plain\":2}]"), drop, NULL, &e) == ERR_OK);
    REQUIRE(l->successful == 2 && l->failed == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lines_rules rules = {
        .window = {.now_us = NOW, .past_us = 50 * US_PER_HOUR, .future_us = 24 * US_PER_HOUR},
        .columns_max = 100,
        .line_max_bytes = 1 << 16,
    };
    static struct lines l; /* reused, as the gateway does */
    struct err e;
    uint64_t lines = 0;
    if (!l.segments)
        REQUIRE(lines_init(&l, &e) == ERR_OK);
    rules.flatten_level = size ? data[size - 1] % 4 : 0;
    lines_begin(&l, &rules, NULL);
    if (lines_add_json(&l, (struct str){(const char *)data, size}, drop, NULL, &e)) {
        check_next(&l, &rules);
        return 0;
    }
    REQUIRE(lines_sort(&l, &e) == ERR_OK);
    for (size_t i = 0; i < l.segment_count; i++) {
        check_segment(&l, &l.segments[i]);
        lines += l.segments[i].lines;
        REQUIRE(i == 0 || l.segments[i].hour > l.segments[i - 1].hour);
    }
    REQUIRE(lines == l.successful);
    check_next(&l, &rules);
    return 0;
}
