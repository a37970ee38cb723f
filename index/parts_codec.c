/* index/parts_codec.c - keys and values of parts, to bytes and back. */
#include "index/parts_codec.h"

#include <assert.h>

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
    struct part_key k = {.bytes = "p/", .len = PREFIX_LEN};
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

struct part_key part_key_hour_end(struct str org, enum stream_type type, struct str name,
                                  int32_t hour)
{
    struct part_key k = part_key_hour(org, type, name, hour);
    struct ulid last;

    memset(last.b, 0xff, sizeof last.b);
    key_add(&k, last.b, sizeof last.b);
    return k;
}

struct part_key part_key_of(const struct part *p)
{
    struct part_key k = part_key_hour(p->org, p->type, p->name, p->hour);

    key_add(&k, p->id.b, sizeof p->id.b);
    return k;
}

/* ---- one group, one name ---- */

static struct part_group get_group(const char *at)
{
    return (struct part_group){.rows = get_u32(at), .text_bytes = get_u64(at + 4)};
}

static void put_group(char *at, const struct part_group *g)
{
    put_u32(at, g->rows);
    put_u64(at + 4, g->text_bytes);
}

static void put_name(char *at, const struct part_name *n, uint32_t end)
{
    put_u64(at, n->stream);
    put_u64(at + 8, n->first_row);
    put_u64(at + 16, n->rows);
    put_u64(at + 24, (uint64_t)n->min_ts_us);
    put_u64(at + 32, (uint64_t)n->max_ts_us);
    put_u64(at + 40, n->text_bytes);
    put_u32(at + 48, end);
}

static const char *name_row(const struct part *p, size_t i)
{
    return p->packed.ptr + p->group_count * PART_GROUP_LEN + i * PART_NAME_LEN;
}

static uint32_t name_end(const struct part *p, size_t i)
{
    return get_u32(name_row(p, i) + 48);
}

/* The text of a name; empty where the ends make no sense (part_unpack says so). */
static struct str name_text(const struct part *p, size_t i)
{
    const char *texts = name_row(p, p->name_count);
    size_t room = p->packed.len - (size_t)(texts - p->packed.ptr);
    uint32_t from = i > 0 ? name_end(p, i - 1) : 0, to = name_end(p, i);

    return from <= to && to <= room ? (struct str){texts + from, to - from} : STR("");
}

struct part_group part_group_at(const struct part *p, size_t i)
{
    assert(i < p->group_count);
    return p->groups ? p->groups[i] : get_group(p->packed.ptr + i * PART_GROUP_LEN);
}

struct part_name part_name_at(const struct part *p, size_t i)
{
    const char *at;

    assert(i < p->name_count);
    if (p->names)
        return p->names[i];
    at = name_row(p, i);
    return (struct part_name){.stream = get_u64(at),
                              .name = name_text(p, i),
                              .first_row = get_u64(at + 8),
                              .rows = get_u64(at + 16),
                              .min_ts_us = (int64_t)get_u64(at + 24),
                              .max_ts_us = (int64_t)get_u64(at + 32),
                              .text_bytes = get_u64(at + 40)};
}

bool part_name_find(const struct part *p, struct str name, struct part_name *out)
{
    size_t low = 0, high = p->name_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = str_cmp(p->names ? p->names[mid].name : name_text(p, mid), name);
        if (order == 0) {
            *out = part_name_at(p, mid);
            return true;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

/* ---- the value ---- */

static enum err_code check_limits(const struct part *p, struct err *e)
{
    if (p->node.len > PART_NODE_MAX || p->object.len > PART_OBJECT_MAX)
        return err_set(e, ERR_TOOBIG, "a node or object name is too long");
    if (p->group_count > PART_GROUPS_MAX || p->name_count > PART_NAMES_MAX)
        return err_set(e, ERR_TOOBIG, "it has %zu row groups and %zu names", p->group_count,
                       p->name_count);
    return ERR_OK;
}

static void encode_header(const struct part *p, char *at)
{
    at[0] = PART_VERSION;
    at[1] = (char)p->state;
    at[2] = (char)p->text_version;
    at[3] = (char)(uint8_t)p->node.len;
    put_u16(at + 4, (uint16_t)p->object.len);
    put_u16(at + 6, 0);
    put_u64(at + 8, p->stream);
    put_u64(at + 16, (uint64_t)p->min_ts_us);
    put_u64(at + 24, (uint64_t)p->max_ts_us);
    put_u64(at + 32, p->rows);
    put_u64(at + 40, p->raw_bytes);
    put_u64(at + 48, p->stored_bytes);
    put_u64(at + 56, p->text_sum);
    put_u64(at + 64, p->schema);
    memcpy(at + 72, p->sha256, sizeof p->sha256);
    put_u32(at + 104, (uint32_t)p->group_count);
    put_u32(at + 108, (uint32_t)p->name_count);
}

static void encode_groups(const struct part *p, struct buf *out)
{
    char at[PART_GROUP_LEN];

    for (size_t i = 0; i < p->group_count; i++) {
        struct part_group g = part_group_at(p, i);
        put_group(at, &g);
        buf_add(out, at, sizeof at);
    }
}

static enum err_code encode_names(const struct part *p, struct buf *out, struct err *e)
{
    struct str last = {0};
    size_t end = 0;

    for (size_t i = 0; i < p->name_count; i++) {
        struct part_name n = part_name_at(p, i);
        char at[PART_NAME_LEN];
        if (i > 0 && str_cmp(last, n.name) >= 0)
            return err_set(e, ERR_INVALID, "its names are not in order");
        if (n.name.len > UINT32_MAX - end)
            return err_set(e, ERR_TOOBIG, "its names are too long");
        end += n.name.len;
        put_name(at, &n, (uint32_t)end);
        buf_add(out, at, sizeof at);
        last = n.name;
    }
    for (size_t i = 0; i < p->name_count; i++)
        buf_add_str(out, part_name_at(p, i).name);
    return ERR_OK;
}

enum err_code part_encode(const struct part *p, struct buf *out, struct err *e)
{
    char header[PART_HEADER_LEN];
    enum err_code rc = check_limits(p, e);

    if (rc)
        return rc;
    encode_header(p, header);
    buf_add(out, header, sizeof header);
    buf_add_str(out, p->node);
    buf_add_str(out, p->object);
    encode_groups(p, out);
    rc = encode_names(p, out, e);
    if (!rc && !buf_ok(out))
        rc = err_set(e, ERR_TOOBIG, "its record is longer than %zu bytes", out->max);
    return rc;
}

static bool decode_key(struct str key, struct part *p)
{
    struct str rest;
    const char *tail;
    uint8_t type;

    if (!str_starts(key, PART_KEY_PREFIX) || key.len > KV_KEY_MAX ||
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

static void decode_header(const char *at, struct part *p)
{
    p->state = (enum part_state)at[1];
    p->text_version = (uint8_t)at[2];
    p->stream = get_u64(at + 8);
    p->min_ts_us = (int64_t)get_u64(at + 16);
    p->max_ts_us = (int64_t)get_u64(at + 24);
    p->rows = get_u64(at + 32);
    p->raw_bytes = get_u64(at + 40);
    p->stored_bytes = get_u64(at + 48);
    p->text_sum = get_u64(at + 56);
    p->schema = get_u64(at + 64);
    memcpy(p->sha256, at + 72, sizeof p->sha256);
    p->group_count = get_u32(at + 104);
    p->name_count = get_u32(at + 108);
}

/* Node, object and what is packed, none of them past the end. */
static bool cut_tail(struct str v, struct part *p)
{
    size_t node_len = (uint8_t)v.ptr[3], object_len = get_u16(v.ptr + 4);
    size_t fixed = PART_HEADER_LEN + node_len + object_len, packed;

    if (object_len > PART_OBJECT_MAX || p->group_count > PART_GROUPS_MAX ||
        p->name_count > PART_NAMES_MAX || v.len < fixed)
        return false;
    packed = p->group_count * PART_GROUP_LEN + p->name_count * PART_NAME_LEN;
    p->node = (struct str){v.ptr + PART_HEADER_LEN, node_len};
    p->object = (struct str){v.ptr + PART_HEADER_LEN + node_len, object_len};
    p->packed = (struct str){v.ptr + fixed, v.len - fixed};
    if (packed > p->packed.len)
        return false;
    return p->packed.len - packed == (p->name_count > 0 ? name_end(p, p->name_count - 1) : 0);
}

static bool decode_value(struct str v, struct part *p)
{
    if (v.len < PART_HEADER_LEN || v.ptr[0] != PART_VERSION || (uint8_t)v.ptr[1] > PART_REMOTE ||
        get_u16(v.ptr + 6) != 0)
        return false;
    decode_header(v.ptr, p);
    return cut_tail(v, p);
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

static bool names_are_sound(const struct part *p)
{
    for (size_t i = 0; i < p->name_count; i++) {
        if (i > 0 && (name_end(p, i) < name_end(p, i - 1) ||
                      str_cmp(name_text(p, i - 1), name_text(p, i)) >= 0))
            return false;
    }
    return true;
}

enum err_code part_unpack(struct part *p, struct arena *a, struct err *e)
{
    struct part_group *groups = arena_alloc(a, (p->group_count + 1) * sizeof *groups);
    struct part_name *names = arena_alloc(a, (p->name_count + 1) * sizeof *names);

    if (!groups || !names)
        return err_set(e, ERR_NOMEM, "no memory for %zu names of a part", p->name_count);
    if (!names_are_sound(p))
        return err_set(e, ERR_CORRUPT, "the names of a part are broken");
    for (size_t i = 0; i < p->group_count; i++)
        groups[i] = part_group_at(p, i);
    for (size_t i = 0; i < p->name_count; i++) {
        names[i] = part_name_at(p, i);
        names[i].name = arena_copy(a, names[i].name);
    }
    if (a->failed)
        return err_set(e, ERR_NOMEM, "no memory for the names of a part");
    p->groups = groups;
    p->names = names;
    p->packed = STR("");
    return ERR_OK;
}
