/* index/parts_codec.h - the stored form of a part, of a list of columns: keys, values.
 *
 * Key:    p/<org>\0<type><name>\0<hour><id>
 *         the type is one byte, 'a' + number; the hour is 4 bytes big-endian with the sign flipped,
 *         so that keys sort by time; the id is 16 bytes
 * Value, little-endian:
 *    0 u8 version 2    1 u8 state    2 u8 text_version    3 u8 node_len    4 u16 object_len
 *    6 u16 zero    8 u64 stream    16 i64 min_ts    24 i64 max_ts    32 u64 rows
 *   40 u64 raw_bytes    48 u64 stored_bytes    56 u64 text_sum    64 u64 schema    72 u8[32] sha256
 *  104 u32 groups    108 u32 names    112 node, object, then what is packed:
 *      a group, 12 bytes:  0 u32 rows    4 u64 text_bytes
 *      a name, 52 bytes:   0 u64 stream    8 u64 first_row    16 u64 rows    24 i64 min_ts
 *                         32 i64 max_ts    40 u64 text_bytes    48 u32 end of its text
 *      the texts of the names, one after the other
 *   Fixed sizes, so that one group or name is found without reading the others.
 * Columns, little-endian:
 *    0 u8 version 1    1 u32 count, then of each: u32 number, u8 type, u16 length, name;
 *      the type's highest bit is set for a rare field
 */
#ifndef WEIR_INDEX_PARTS_CODEC_H
#define WEIR_INDEX_PARTS_CODEC_H

#include "index/parts.h"

#define PART_VERSION 2
#define PART_HEADER_LEN 112
#define PART_GROUP_LEN 12
#define PART_NAME_LEN 52
#define PART_NODE_MAX 255
#define PART_OBJECT_MAX 4096
#define COLUMNS_VERSION 1
#define COLUMNS_HEADER_LEN 5
#define COLUMN_HEADER_LEN 7
#define COLUMN_RARE 0x80u

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
/* What all keys begin with, and what all keys of a stream begin with. */
#define PART_KEY_PREFIX STR("p/")
struct part_key part_key_stream(struct str org, enum stream_type type, struct str name);
/* The same, and the hour: where the parts of an hour begin. */
struct part_key part_key_hour(struct str org, enum stream_type type, struct str name, int32_t hour);
/* Not before any key of that hour. */
struct part_key part_key_hour_end(struct str org, enum stream_type type, struct str name,
                                  int32_t hour);
struct part_key part_key_of(const struct part *p);

/* Appended to `out`.  TOOBIG: past a limit above, of parts.h, or of out->max; INVALID: names that
 * are not in order. */
enum err_code part_encode(const struct part *p, struct buf *out, struct err *e);
/* The texts of *p are views into key and value; groups and names stay packed, and are not looked at
 * but for their number.  CORRUPT when the two do not say exactly one part. */
enum err_code part_decode(struct str key, struct str value, struct part *p, struct err *e);
/* Groups and names of a decoded part as arrays in `a`, every one checked.  CORRUPT, NOMEM. */
enum err_code part_unpack(struct part *p, struct arena *a, struct err *e);

/* Appended to `out`.  TOOBIG. */
enum err_code columns_encode(const struct part_column *columns, size_t count, struct buf *out,
                             struct err *e);
/* In `a`; names are views into value.  CORRUPT, NOMEM. */
enum err_code columns_decode(struct str value, struct arena *a, struct part_column **columns,
                             size_t *count, struct err *e);

#endif
