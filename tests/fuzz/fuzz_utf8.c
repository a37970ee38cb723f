/* tests/fuzz/fuzz_utf8.c - any bytes: the checker, the decoder and the replacement agree. */
#include <stdint.h>
#include <stdlib.h>

#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = {(const char *)data, size};
    size_t at = 0;
    for (size_t len; at < size; at += len) {
        uint32_t cp;
        char back[4];
        len = utf8_decode(s.ptr + at, s.ptr + size, &cp);
        if (len == 0)
            break;
        require(utf8_encode(cp, back) == len && memcmp(back, s.ptr + at, len) == 0);
    }
    require(utf8_valid_prefix(s) == at && utf8_valid(s) == (at == size));
    require((utf8_invalid_part((struct str){s.ptr + at, size - at}) > 0) == (at < size));
    struct buf out;
    buf_init(&out, 3 * size);
    utf8_add_lossy(&out, s);
    require(buf_ok(&out) && utf8_valid(buf_str(&out)));
    require(at < size || str_eq(buf_str(&out), s));
    buf_done(&out);
    return 0;
}
