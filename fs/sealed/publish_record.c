/* fs/sealed/publish_record.c - publish records, to bytes and back. */
#include "fs/sealed/publish_record.h"

#include "index/parts_codec.h"

#define VERSION 1
#define HEADER_LEN 7

static enum err_code encode_all(const struct part *p, const struct part_column *columns,
                                size_t count, struct buf *out, size_t *value_len, struct err *e)
{
    struct part_key key = part_key_of(p);
    size_t before;
    enum err_code rc;

    if (key.too_long)
        return err_set(e, ERR_TOOBIG, "its names are too long");
    buf_add_str(out, part_key_str(&key));
    before = out->len;
    rc = part_encode(p, out, e);
    *value_len = out->len - before;
    return rc ? rc : columns_encode(columns, count, out, e);
}

enum err_code publish_record_encode(const struct part *p, const struct part_column *columns,
                                    size_t count, struct buf *out, struct err *e)
{
    struct part_key key = part_key_of(p);
    size_t start = out->len, value_len = 0;
    char header[HEADER_LEN] = {VERSION};
    enum err_code rc;

    buf_add(out, header, sizeof header);
    rc = encode_all(p, columns, count, out, &value_len, e);
    if (rc)
        return rc;
    if (out->len - start > JOURNAL_RECORD_MAX)
        return err_set(e, ERR_TOOBIG, "a part's record is longer than %u bytes",
                       JOURNAL_RECORD_MAX);
    put_u16(out->data + start + 1, (uint16_t)key.len);
    put_u32(out->data + start + 3, (uint32_t)value_len);
    return ERR_OK;
}

/* The next `len` bytes of *rest; false when there are fewer. */
static bool take(struct str *rest, size_t len, struct str *out)
{
    if (rest->len < len)
        return false;
    *out = (struct str){rest->ptr, len};
    *rest = (struct str){rest->ptr + len, rest->len - len};
    return true;
}

enum err_code publish_record_decode(struct str record, struct arena *a, struct part *p,
                                    struct part_column **columns, size_t *count, struct err *e)
{
    struct str rest = record, header, key, value;
    enum err_code rc;

    if (!take(&rest, HEADER_LEN, &header) || header.ptr[0] != VERSION ||
        !take(&rest, get_u16(header.ptr + 1), &key) ||
        !take(&rest, get_u32(header.ptr + 3), &value))
        return err_set(e, ERR_CORRUPT, "a publish record is broken");
    rc = part_decode(key, value, p, e);
    if (!rc)
        rc = part_unpack(p, a, e);
    return rc ? rc : columns_decode(rest, a, columns, count, e);
}
