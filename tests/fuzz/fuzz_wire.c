// links: weir_engine
/* tests/fuzz/fuzz_wire.c - any bytes as a batch: what decodes can be read to its end, and is
 * encoded to a batch that decodes to the same values. */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "gateway/engine/wire.h"

enum { ARENA_MAX = 16 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact)
        abort();
}

/* Touches every value, so that a sanitizer sees one outside the message. */
static uint64_t sum_of(const struct wire_batch *b)
{
    uint64_t sum = b->rows;
    for (uint32_t k = 0; k < b->columns; k++) {
        const struct wire_column *c = &b->column[k];
        for (uint32_t r = 0; r < b->rows; r++) {
            sum = sum * 31 + wire_is_null(c, r);
            if (c->kind == WIRE_STR || c->kind == WIRE_RAW) {
                struct str text = wire_text(c, r);
                sum += text.len > 0 ? (uint64_t)(text.ptr[0] + text.ptr[text.len - 1]) : 0;
            } else if (c->kind == WIRE_BOOL) {
                sum += ((const uint8_t *)c->data)[r];
            } else {
                sum += ((const uint64_t *)c->data)[r];
            }
        }
    }
    return sum;
}

static void encode_again(const struct wire_batch *b, struct arena *a)
{
    struct buf body;
    struct wire_batch again;
    struct err e;
    buf_init(&body, ARENA_MAX);
    if (wire_batch_encode(b, &body, &e) == ERR_OK) {
        enum err_code rc = wire_batch_decode(buf_str(&body), a, &again, &e);
        require(rc == ERR_OK || rc == ERR_NOMEM);
        require(rc != ERR_OK || sum_of(&again) == sum_of(b));
    }
    buf_done(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct wire_batch b;
    struct err e;
    arena_init(&a, ARENA_MAX);
    char *body = malloc(size > 0 ? size : 1); /* aligned, and exact */
    require(body != NULL);
    if (size > 0)
        memcpy(body, data, size);
    if (wire_batch_decode((struct str){body, size}, &a, &b, &e) == ERR_OK) {
        sum_of(&b);
        encode_again(&b, &a);
    }
    free(body);
    arena_done(&a);
    return 0;
}
