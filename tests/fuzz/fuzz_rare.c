// links: weir_engine
/* Any bytes as an object of rare fields: whatever is found lies within them, behind its name. */
#include <stdint.h>
#include <stdlib.h>

#include "gateway/engine/rare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte is the length of the name that is looked for, which follows it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t name_len = size > 0 ? data[0] : 0;
    struct str token;
    if (name_len == 0 || size < 1 + name_len)
        return 0;
    struct str name = {(const char *)data + 1, name_len};
    struct str object = {name.ptr + name_len, size - 1 - name_len};
    if (!rare_find(object, name, &token))
        return 0;
    if (token.ptr < object.ptr + name_len + 3 || token.ptr + token.len > object.ptr + object.len ||
        memcmp(token.ptr - 2 - name_len, name.ptr, name_len) != 0)
        abort();
    return 0;
}
