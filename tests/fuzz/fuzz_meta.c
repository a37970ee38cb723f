// links: weir_index
/* Stream records: whatever the bytes, an error or a record that encodes back to the same bytes. */
#include <stdint.h>
#include <stdlib.h>

#include "index/meta_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = {(const char *)data, size};
    struct meta_stream s = {0};
    struct arena a;
    struct buf again;
    struct err e;

    arena_init(&a, 16 << 20);
    buf_init(&again, 16 << 20);
    if (stream_record_decode(bytes, true, &a, &s, &e) == ERR_OK) {
        stream_record_encode(&s, &again);
        if (!str_eq(buf_str(&again), bytes))
            abort();
    }
    buf_done(&again);
    arena_done(&a);
    return 0;
}
