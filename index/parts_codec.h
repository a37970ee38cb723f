/* index/parts_codec.h - the stored form of a part: its key, its value.
 *
 * Key:    p/<org>\0<type><name>\0<hour><id>
 *         the type is one byte, 'a' + number; the hour is 4 bytes big-endian with the sign flipped,
 *         so that keys sort by time; the id is 16 bytes
 * Value, little-endian:
 *    0 u8 version 1    1 u8 state    2 u64 stream    10 i64 min_ts    18 i64 max_ts
 *   26 u64 rows    34 u64 raw_bytes    42 u64 stored_bytes    50 u8[32] sha256
 *   82 u8 node_len    83 u16 object_len    85 node, object
 */
#ifndef WEIR_INDEX_PARTS_CODEC_H
#define WEIR_INDEX_PARTS_CODEC_H

#include "index/parts.h"

#define PART_VERSION 1
#define PART_HEADER_LEN 85
#define PART_NODE_MAX 255
#define PART_OBJECT_MAX 4096
#define PART_VALUE_MAX (PART_HEADER_LEN + PART_NODE_MAX + PART_OBJECT_MAX)

/* A key under construction; what does not fit leaves it marked too long. */
struct part_key {
    char bytes[KV_KEY_MAX];
    size_t len;
    bool too_long;
};
static inline struct str part_key_str(const struct part_key *k)
{
    return (struct str){k->bytes, k->len};
}
/* What all keys of a stream begin with. */
struct part_key part_key_stream(struct str org, enum stream_type type, struct str name);
/* The same, and the hour: where the parts of an hour begin. */
struct part_key part_key_hour(struct str org, enum stream_type type, struct str name, int32_t hour);
struct part_key part_key_of(const struct part *p);

/* TOOBIG: the node's or the object's name is too long. */
enum err_code part_encode(const struct part *p, char value[PART_VALUE_MAX], size_t *len,
                          struct err *e);
/* The texts of *p are views into key and value.  CORRUPT when the two do not say exactly one part.
 */
enum err_code part_decode(struct str key, struct str value, struct part *p, struct err *e);

#endif
