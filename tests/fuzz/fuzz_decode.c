// links: weir_http
/* Compressed bodies from outside: never more than the limit, never a read past the end. */
#include <assert.h>
#include <stdint.h>

#include "http/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte chooses the coding. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct decoder *decoder;
    const struct decode_limits limits = {.max_bytes = 64 << 10};
    struct err e = {0};
    struct buf out;
    if (size == 0)
        return 0;
    if (!decoder)
        decoder = decoder_new();
    buf_init(&out, limits.max_bytes + 1);
    static const enum decode_coding codings[] = {CODING_DEFLATE, CODING_GZIP, CODING_ZSTD,
                                                 CODING_BROTLI};
    enum decode_coding coding = codings[data[0] & 3];
    struct str in = {(const char *)data + 1, size - 1};
    enum err_code rc = decode_body(decoder, coding, in, &limits, &out, &e);
    assert(rc == ERR_OK || rc == ERR_INVALID || rc == ERR_TOOBIG);
    assert(rc == ERR_OK || e.code == rc);
    assert(rc != ERR_OK || out.len <= limits.max_bytes);
    buf_done(&out);
    return 0;
}
