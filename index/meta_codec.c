/* index/meta_codec.c - encodes and decodes stream records. */
#include "index/meta_codec.h"

#define HEADER_LEN 33
#define FIELD_HEADER_LEN 7

static void add_u16(struct buf *out, uint16_t v)
{
    char bytes[2];

    put_u16(bytes, v);
    buf_add(out, bytes, sizeof bytes);
}

static void add_u32(struct buf *out, uint32_t v)
{
    char bytes[4];

    put_u32(bytes, v);
    buf_add(out, bytes, sizeof bytes);
}

static void add_u64(struct buf *out, uint64_t v)
{
    char bytes[8];

    put_u64(bytes, v);
    buf_add(out, bytes, sizeof bytes);
}

void stream_record_encode(const struct meta_stream *s, struct buf *out)
{
    buf_add_char(out, STREAM_RECORD_VERSION);
    add_u64(out, s->number);
    add_u64(out, (uint64_t)s->created_us);
    add_u32(out, s->schema_version);
    add_u32(out, s->next_field_number);
    add_u32(out, (uint32_t)s->field_count);
    add_u32(out, (uint32_t)s->settings_json.len);
    for (size_t i = 0; i < s->field_count; i++) {
        const struct meta_field *f = &s->fields[i];
        add_u32(out, f->number);
        buf_add_char(out, (char)f->type);
        add_u16(out, (uint16_t)f->name.len);
        buf_add_str(out, f->name);
    }
    buf_add_str(out, s->settings_json);
}

/* One field at *p; the name stays a view into the record. */
static bool decode_field(const char **p, const char *end, struct meta_field *f)
{
    uint8_t type;
    uint16_t len;

    if (end - *p < FIELD_HEADER_LEN)
        return false;
    f->number = get_u32(*p);
    type = (uint8_t)(*p)[4];
    len = get_u16(*p + 5);
    *p += FIELD_HEADER_LEN;
    if (type >= FIELD_TYPE_COUNT || end - *p < len)
        return false;
    f->type = (enum field_type)type;
    f->name = (struct str){*p, len};
    *p += len;
    return true;
}

static enum err_code decode_fields(const char **p, const char *end, uint32_t count,
                                   bool with_fields, struct arena *a, struct meta_stream *s,
                                   struct err *e)
{
    struct meta_field *fields = NULL, f;

    if (with_fields) {
        fields = arena_alloc(a, (size_t)count * sizeof *fields + 1);
        if (!fields)
            return err_set(e, ERR_NOMEM, "a stream record of %u fields", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!decode_field(p, end, &f))
            return err_set(e, ERR_CORRUPT, "stream record: field %u is broken", i);
        if (!with_fields)
            continue;
        f.name = arena_copy(a, f.name);
        if (!f.name.ptr)
            return err_set(e, ERR_NOMEM, "a stream record of %u fields", count);
        fields[i] = f;
    }
    s->fields = fields;
    s->field_count = with_fields ? count : 0;
    return ERR_OK;
}

enum err_code stream_record_decode(struct str bytes, bool with_fields, struct arena *a,
                                   struct meta_stream *out, struct err *e)
{
    const char *p = bytes.ptr, *end = bytes.ptr + bytes.len;
    struct meta_stream s = *out;
    uint32_t count, settings_len;
    enum err_code rc;

    if (bytes.len < HEADER_LEN || p[0] != STREAM_RECORD_VERSION)
        return err_set(e, ERR_CORRUPT, "stream record: unknown version or too short");
    s.number = get_u64(p + 1);
    s.created_us = (int64_t)get_u64(p + 9);
    s.schema_version = get_u32(p + 17);
    s.next_field_number = get_u32(p + 21);
    count = get_u32(p + 25);
    settings_len = get_u32(p + 29);
    if (count > FIELDS_MAX || settings_len > bytes.len)
        return err_set(e, ERR_CORRUPT, "stream record: %u fields", count);
    p += HEADER_LEN;
    rc = decode_fields(&p, end, count, with_fields, a, &s, e);
    if (rc)
        return rc;
    if ((size_t)(end - p) != settings_len)
        return err_set(e, ERR_CORRUPT, "stream record: bytes left over or missing");
    s.settings_json = arena_copy(a, (struct str){p, settings_len});
    if (!s.settings_json.ptr)
        return err_set(e, ERR_NOMEM, "a stream record");
    *out = s;
    return ERR_OK;
}
