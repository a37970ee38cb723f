/* tests/fuzz/fuzz_json.c - any bytes: JSON that parses is written, parses again, and is written the
 * same; what does not parse says where. */
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/utf8.h"

enum { ARENA_MAX = 16 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact)
        abort();
}

static void check_error(const struct err *e, size_t size)
{
    static const char HEAD[] = "invalid JSON at byte ";
    require(e->code == ERR_INVALID || e->code == ERR_NOMEM);
    if (e->code == ERR_INVALID) {
        require(strncmp(e->msg, HEAD, sizeof HEAD - 1) == 0);
        require(strtoul(e->msg + sizeof HEAD - 1, NULL, 10) <= size);
    }
}

/* Every scalar converts or refuses; none may crash. */
static void visit(const struct json *v)
{
    int64_t i;
    uint64_t u;
    double d;
    json_i64(v, &i);
    json_u64(v, &u);
    if (json_f64(v, &d)) {
        char text[32];
        f64_format(d, text);
        require(strtod(text, NULL) == d);
    }
    require(utf8_valid(v->text) && utf8_valid(v->key));
    size_t count = 0;
    for (const struct json *child = v->first; child; child = child->next, count++)
        visit(child);
    require(count == v->count);
}

static void round_trip(struct arena *a, const struct json *v)
{
    struct buf once, twice;
    struct json *again;
    struct err e;
    buf_init(&once, ARENA_MAX);
    buf_init(&twice, ARENA_MAX);
    json_write(&once, v);
    if (buf_ok(&once)) {
        enum err_code rc = json_parse(buf_str(&once), a, &again, &e);
        require(rc == ERR_OK || rc == ERR_NOMEM);
        if (rc == ERR_OK) {
            json_write(&twice, again);
            require(str_eq(buf_str(&once), buf_str(&twice)));
        }
    }
    buf_done(&once);
    buf_done(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct json *v = NULL;
    struct err e = {0};
    arena_init(&a, ARENA_MAX);
    if (json_parse((struct str){(const char *)data, size}, &a, &v, &e) == ERR_OK) {
        visit(v);
        round_trip(&a, v);
        struct json *copy = json_clone(&a, v);
        if (copy)
            visit(copy);
    } else {
        check_error(&e, size);
    }
    arena_done(&a);
    return 0;
}
