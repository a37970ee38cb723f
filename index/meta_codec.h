/* index/meta_codec.h - the stored form of a stream record.
 *
 * Little-endian:
 *   0 u8 version 1    1 u64 number    9 i64 created_us    17 u32 schema_version
 *  21 u32 next_field_number    25 u32 field_count    29 u32 settings_len
 *  33 per field: u32 number, u8 type, u16 name_len, name       then settings_json
 */
#ifndef WEIR_INDEX_META_CODEC_H
#define WEIR_INDEX_META_CODEC_H

#include "index/meta.h"

#define STREAM_RECORD_VERSION 1

void stream_record_encode(const struct meta_stream *s, struct buf *out);
/* org, type and name come from the key and are left alone.  Everything is copied into `a`.
 * CORRUPT when the bytes do not say exactly one record. */
enum err_code stream_record_decode(struct str bytes, bool with_fields, struct arena *a,
                                   struct meta_stream *out, struct err *e);

#endif
