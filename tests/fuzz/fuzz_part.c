// links: weir_index
/* Parts and columns: whatever key and value, an error or something that encodes back to the same
 * bytes.  Input: u8 length of the key, the key, the value. */
#include <stdint.h>
#include <stdlib.h>

#include "index/parts_codec.h"

#define MEMORY_MAX ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void look_at_all(const struct part *p)
{
    struct part_name found;

    for (size_t i = 0; i < p->group_count; i++)
        part_group_at(p, i);
    for (size_t i = 0; i < p->name_count; i++)
        part_name_find(p, part_name_at(p, i).name, &found);
}

static void try_part(struct str key, struct str value, struct arena *a)
{
    struct part_key key_again;
    struct buf again;
    struct part p;
    struct err e;

    if (part_decode(key, value, &p, &e) != ERR_OK)
        return;
    look_at_all(&p);
    if (part_unpack(&p, a, &e) != ERR_OK)
        return;
    key_again = part_key_of(&p);
    require(!key_again.too_long && str_eq(part_key_str(&key_again), key));
    buf_init(&again, KV_VALUE_MAX);
    require(part_encode(&p, &again, &e) == ERR_OK && str_eq(buf_str(&again), value));
    buf_done(&again);
}

static void try_columns(struct str value, struct arena *a)
{
    struct part_column *columns;
    struct buf again;
    struct err e;
    size_t count;

    if (columns_decode(value, a, &columns, &count, &e) != ERR_OK)
        return;
    buf_init(&again, KV_VALUE_MAX);
    require(columns_encode(columns, count, &again, &e) == ERR_OK && str_eq(buf_str(&again), value));
    buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str key, value;
    struct arena a;

    if (size == 0 || data[0] > size - 1)
        return 0;
    key = (struct str){(const char *)data + 1, data[0]};
    value = (struct str){key.ptr + key.len, size - 1 - key.len};
    arena_init(&a, MEMORY_MAX);
    try_part(key, value, &a);
    try_columns(value, &a);
    arena_done(&a);
    return 0;
}
