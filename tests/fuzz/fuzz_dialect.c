// links: weir_gateway weir_engine weir_fs weir_index
/* tests/fuzz/fuzz_dialect.c - any text into the translator: every literal that
 * went in comes out, in the same order. */
#include <stdlib.h>

#include "gateway/dialect.h"
#include "gateway/dialect_lex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct token next_literal(struct str sql, size_t *at)
{
    struct token t;
    do
        t = lex_next(sql, at);
    while (t.kind == TOKEN_WORD || t.kind == TOKEN_MARK || t.kind == TOKEN_NAME);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str sql = {(const char *)data, size}, out;
    struct arena a;
    arena_init(&a, 8u << 20);
    if (dialect_translate(sql, &a, &out)) {
        size_t from = 0, to = 0;
        struct token was, is;
        do {
            was = next_literal(sql, &from);
            is = next_literal(out, &to);
            if (was.kind != is.kind || !str_eq(was.text, is.text))
                abort();
        } while (was.kind != TOKEN_END);
        if (out.len > 2 * size)
            abort();
    }
    arena_done(&a);
    return 0;
}
