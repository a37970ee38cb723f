/* index/parts_codec.c - encodes and decodes keys and values of parts. */
#include "index/parts_codec.h"

#include <assert.h>

#define PREFIX "p/"
#define PREFIX_LEN 2
#define TAIL_LEN (4 + 16) /* hour, id */

static_assert(PREFIX_LEN + 1 + 1 + NAMES_MAX_BYTES + 1 + TAIL_LEN <= KV_KEY_MAX,
              "the names of a stream fit into the key of its parts");
static_assert(sizeof(struct ulid) == 16, "an id is 16 bytes in keys");

static void key_add(struct part_key *k, const void *p, size_t n)
{
    if (n > sizeof k->bytes - k->len) {
        k->too_long = true;
        return;
    }
    if (n)
        memcpy(k->bytes + k->len, p, n);
    k->len += n;
}

struct part_key part_key_stream(struct str org, enum stream_type type, struct str name)
{
    struct part_key k = {.bytes = PREFIX, .len = PREFIX_LEN};
    char mark[2] = {'\0', (char)('a' + (int)type)};

    key_add(&k, org.ptr, org.len);
    key_add(&k, mark, sizeof mark);
    key_add(&k, name.ptr, name.len);
    key_add(&k, "", 1);
    return k;
}

struct part_key part_key_hour(struct str org, enum stream_type type, struct str name, int32_t hour)
{
    struct part_key k = part_key_stream(org, type, name);
    char be[4];

    put_be32(be, (uint32_t)hour ^ 0x80000000u);
    key_add(&k, be, sizeof be);
    return k;
}

struct part_key part_key_of(const struct part *p)
{
    struct part_key k = part_key_hour(p->org, p->type, p->name, p->hour);

    key_add(&k, p->id.b, sizeof p->id.b);
    return k;
}

enum err_code part_encode(const struct part *p, char value[PART_VALUE_MAX], size_t *len,
                          struct err *e)
{
    if (p->node.len > PART_NODE_MAX || p->object.len > PART_OBJECT_MAX)
        return err_set(e, ERR_TOOBIG, "a node or object name is too long");
    value[0] = PART_VERSION;
    value[1] = (char)p->state;
    put_u64(value + 2, p->stream);
    put_u64(value + 10, (uint64_t)p->min_ts_us);
    put_u64(value + 18, (uint64_t)p->max_ts_us);
    put_u64(value + 26, p->rows);
    put_u64(value + 34, p->raw_bytes);
    put_u64(value + 42, p->stored_bytes);
    memcpy(value + 50, p->sha256, sizeof p->sha256);
    value[82] = (char)(uint8_t)p->node.len;
    put_u16(value + 83, (uint16_t)p->object.len);
    if (p->node.len)
        memcpy(value + PART_HEADER_LEN, p->node.ptr, p->node.len);
    if (p->object.len)
        memcpy(value + PART_HEADER_LEN + p->node.len, p->object.ptr, p->object.len);
    *len = PART_HEADER_LEN + p->node.len + p->object.len;
    return ERR_OK;
}

static bool decode_key(struct str key, struct part *p)
{
    struct str rest;
    const char *tail;
    uint8_t type;

    if (!str_starts(key, (struct str){PREFIX, PREFIX_LEN}) || key.len > KV_KEY_MAX ||
        !str_cut((struct str){key.ptr + PREFIX_LEN, key.len - PREFIX_LEN}, '\0', &p->org, &rest) ||
        rest.len < 1 + 1 + TAIL_LEN)
        return false;
    type = (uint8_t)(rest.ptr[0] - 'a');
    tail = key.ptr + key.len - TAIL_LEN;
    if (type >= STREAM_TYPE_COUNT || tail[-1] != '\0')
        return false;
    p->type = (enum stream_type)type;
    p->name = (struct str){rest.ptr + 1, rest.len - 1 - 1 - TAIL_LEN};
    p->hour = (int32_t)(get_be32(tail) ^ 0x80000000u);
    memcpy(p->id.b, tail + 4, sizeof p->id.b);
    return true;
}

static bool decode_value(struct str v, struct part *p)
{
    size_t node_len, object_len;

    if (v.len < PART_HEADER_LEN || v.ptr[0] != PART_VERSION || (uint8_t)v.ptr[1] > PART_REMOTE)
        return false;
    p->state = (enum part_state)v.ptr[1];
    p->stream = get_u64(v.ptr + 2);
    p->min_ts_us = (int64_t)get_u64(v.ptr + 10);
    p->max_ts_us = (int64_t)get_u64(v.ptr + 18);
    p->rows = get_u64(v.ptr + 26);
    p->raw_bytes = get_u64(v.ptr + 34);
    p->stored_bytes = get_u64(v.ptr + 42);
    memcpy(p->sha256, v.ptr + 50, sizeof p->sha256);
    node_len = (uint8_t)v.ptr[82];
    object_len = get_u16(v.ptr + 83);
    if (object_len > PART_OBJECT_MAX || PART_HEADER_LEN + node_len + object_len != v.len)
        return false;
    p->node = (struct str){v.ptr + PART_HEADER_LEN, node_len};
    p->object = (struct str){v.ptr + PART_HEADER_LEN + node_len, object_len};
    return true;
}

enum err_code part_decode(struct str key, struct str value, struct part *p, struct err *e)
{
    struct part decoded = {0};

    if (!decode_key(key, &decoded))
        return err_set(e, ERR_CORRUPT, "the key of a part is broken");
    if (!decode_value(value, &decoded))
        return err_set(e, ERR_CORRUPT, "the record of a part is broken");
    *p = decoded;
    return ERR_OK;
}
