// links: weir_http
/* Compressed bodies from outside: never more than the limit, never a read past the end. */
#include <assert.h>
#include <stdint.h>

#include "http/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 64 << 10, PIECE = 1000 };

struct output {
    char piece[PIECE];
    size_t len;
};

static enum err_code room(void *ctx, char **to, size_t *n, struct err *e)
{
    (void)e;
    *to = ((struct output *)ctx)->piece;
    *n = PIECE;
    return ERR_OK;
}

static void made(void *ctx, size_t n)
{
    assert(n <= PIECE);
    ((struct output *)ctx)->len += n;
}

/* The first byte chooses the coding. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct decoder *decoder;
    struct output out = {.len = 0};
    const struct decode_sink sink = {
        .max_bytes = MAX_BYTES, .room = room, .made = made, .ctx = &out};
    struct err e = {0};
    if (size == 0)
        return 0;
    if (!decoder)
        decoder = decoder_new();
    static const enum decode_coding codings[] = {CODING_DEFLATE, CODING_GZIP, CODING_ZSTD,
                                                 CODING_BROTLI};
    enum decode_coding coding = codings[data[0] & 3];
    struct str in = {(const char *)data + 1, size - 1};
    enum err_code rc = decode_body(decoder, coding, in, &sink, &e);
    assert(rc == ERR_OK || rc == ERR_INVALID || rc == ERR_TOOBIG);
    assert(rc == ERR_OK || e.code == rc);
    assert(out.len <= MAX_BYTES + 1 && (rc != ERR_OK || out.len <= MAX_BYTES));
    return 0;
}
