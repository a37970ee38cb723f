/* http/decode.c - inflating request bodies, by zlib.
 *
 * gzip may have several members one after the other (RFC 1952 §2.2); deflate is tried as zlib
 * (RFC 1950) when its two header bytes say so, else as raw deflate, which some clients send.
 * Anything after the end is an error, because it would be silently lost.
 */
#include "http/decode.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#define OUTPUT_STEP_MIN ((size_t)64 << 10)
#define EXPECTED_RATIO 4 /* first guess of output bytes for a byte of input */

enum { WINDOW_GZIP = 15 + 16, WINDOW_ZLIB = 15, WINDOW_RAW = -15 };

struct decoder {
    z_stream z;
};

struct decoder *decoder_new(void)
{
    struct decoder *d = calloc(1, sizeof *d);
    if (d && inflateInit2(&d->z, WINDOW_GZIP) != Z_OK) {
        free(d);
        return NULL;
    }
    return d;
}

void decoder_free(struct decoder *d)
{
    if (!d)
        return;
    inflateEnd(&d->z);
    free(d);
}

enum err_code decode_coding_of(struct str header, enum decode_coding *out, struct err *e)
{
    static const struct {
        const char *name;
        enum decode_coding coding;
    } spoken[] = {
        {"", CODING_IDENTITY},   {"identity", CODING_IDENTITY}, {"gzip", CODING_GZIP},
        {"x-gzip", CODING_GZIP}, {"deflate", CODING_DEFLATE},
    };
    header = str_trim(header);
    for (size_t i = 0; i < sizeof spoken / sizeof spoken[0]; i++)
        if (str_eq_nocase(header, str_from(spoken[i].name))) {
            *out = spoken[i].coding;
            return ERR_OK;
        }
    return err_set(e, ERR_UNSUPPORTED,
                   "Content-Encoding \"" STR_FMT "\" is not supported: use gzip, deflate or none",
                   (int)(header.len < 64 ? header.len : 64), header.ptr);
}

static int window_of(enum decode_coding coding, struct str in)
{
    if (coding == CODING_GZIP)
        return WINDOW_GZIP;
    const unsigned char *p = (const unsigned char *)in.ptr;
    bool zlib = in.len >= 2 && (p[0] & 15) == Z_DEFLATED && (p[0] << 8 | p[1]) % 31 == 0;
    return zlib ? WINDOW_ZLIB : WINDOW_RAW;
}

/* Makes room for more output; TOOBIG when the limit has been reached.  One byte more than the limit
 * may be produced, which tells "just at the limit" from "over it". */
static enum err_code make_room(struct buf *out, size_t start, size_t first_guess,
                               const struct decode_limits *limits, struct err *e)
{
    size_t used = out->len - start, most = limits->max_bytes + 1;
    if (used >= most)
        return err_set(e, ERR_TOOBIG, "body is larger than %zu bytes after decompression",
                       limits->max_bytes);
    if (out->cap > out->len)
        return ERR_OK;
    size_t want = used > 0 ? used * 2 : first_guess;
    if (want < OUTPUT_STEP_MIN)
        want = OUTPUT_STEP_MIN;
    if (want > most)
        want = most;
    enum err_code rc = limits->grow ? limits->grow(limits->ctx, start + want, e) : ERR_OK;
    if (rc == ERR_OK && !buf_reserve(out, want - used))
        rc = err_set(e, ERR_NOMEM, "no memory for a decompressed body of %zu bytes", want);
    return rc;
}

static void feed(z_stream *z, struct str in, size_t consumed)
{
    size_t left = in.len - consumed;
    union {
        const char *from;
        Bytef *to;
    } cast = {in.ptr + consumed}; /* zlib does not write through next_in */
    z->next_in = cast.to;
    z->avail_in = left < UINT_MAX ? (uInt)left : UINT_MAX;
}

/* One call of inflate into the room that is there. */
static int step(z_stream *z, struct str in, size_t *consumed, struct buf *out, size_t most)
{
    size_t room = out->cap - out->len;
    if (room > most)
        room = most;
    if (room > UINT_MAX)
        room = UINT_MAX;
    feed(z, in, *consumed);
    uInt had_in = z->avail_in;
    z->next_out = (Bytef *)out->data + out->len;
    z->avail_out = (uInt)room;
    int rc = inflate(z, Z_NO_FLUSH);
    *consumed += had_in - z->avail_in;
    out->len += room - z->avail_out;
    out->data[out->len] = '\0';
    return rc;
}

static enum err_code at_end(struct decoder *d, enum decode_coding coding, struct str in,
                            size_t consumed, bool *more, struct err *e)
{
    *more = false;
    if (consumed == in.len)
        return ERR_OK;
    if (coding != CODING_GZIP || (unsigned char)in.ptr[consumed] != 0x1f)
        return err_set(e, ERR_INVALID, "%zu bytes after the end of the compressed body",
                       in.len - consumed);
    *more = true;
    inflateReset(&d->z);
    return ERR_OK;
}

enum err_code decode_body(struct decoder *d, enum decode_coding coding, struct str in,
                          const struct decode_limits *limits, struct buf *out, struct err *e)
{
    size_t start = out->len, consumed = 0;
    size_t guess = in.len < SIZE_MAX / EXPECTED_RATIO ? in.len * EXPECTED_RATIO : in.len;
    bool more = true;
    if (inflateReset2(&d->z, window_of(coding, in)) != Z_OK)
        return err_set(e, ERR_NOMEM, "inflate");
    while (more) {
        enum err_code rc = make_room(out, start, guess, limits, e);
        if (rc != ERR_OK)
            return rc;
        int z = step(&d->z, in, &consumed, out, limits->max_bytes + 1 - (out->len - start));
        if (z == Z_STREAM_END)
            rc = at_end(d, coding, in, consumed, &more, e);
        else if (z == Z_BUF_ERROR || (z == Z_OK && consumed == in.len && d->z.avail_out > 0))
            rc = err_set(e, ERR_INVALID, "compressed body is cut off after %zu bytes", in.len);
        else if (z != Z_OK)
            rc = err_set(e, ERR_INVALID, "compressed body is broken at byte %zu: %s", consumed,
                         d->z.msg ? d->z.msg : "no reason given");
        if (rc != ERR_OK)
            return rc;
    }
    if (out->len - start > limits->max_bytes)
        return err_set(e, ERR_TOOBIG, "body is larger than %zu bytes after decompression",
                       limits->max_bytes);
    return ERR_OK;
}
