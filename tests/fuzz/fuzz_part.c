// links: weir_index
/* Parts: whatever key and value, an error or a part that encodes back to the same bytes.
 * Input: u8 length of the key, the key, the value. */
#include <stdint.h>
#include <stdlib.h>

#include "index/parts_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char again[PART_VALUE_MAX];
    struct part_key key_again;
    struct str key, value;
    struct part p;
    struct err e;
    size_t len;

    if (size == 0 || data[0] > size - 1)
        return 0;
    key = (struct str){(const char *)data + 1, data[0]};
    value = (struct str){key.ptr + key.len, size - 1 - key.len};
    if (part_decode(key, value, &p, &e) != ERR_OK)
        return 0;
    key_again = part_key_of(&p);
    if (key_again.too_long || !str_eq(part_key_str(&key_again), key))
        abort();
    if (part_encode(&p, again, &len, &e) || !str_eq((struct str){again, len}, value))
        abort();
    return 0;
}
