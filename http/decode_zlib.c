/* http/decode_zlib.c - gzip and deflate by zlib.
 *
 * gzip may have several members one after the other (RFC 1952 §2.2); deflate is taken as zlib
 * (RFC 1950) when its two header bytes say so, else as raw deflate, which some clients send.
 */
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#include "http/decode_internal.h"

enum { WINDOW_GZIP = 15 + 16, WINDOW_ZLIB = 15, WINDOW_RAW = -15, GZIP_MAGIC = 0x1f };

static void *open_stream(void)
{
    z_stream *z = calloc(1, sizeof *z);
    if (z && inflateInit2(z, WINDOW_GZIP) != Z_OK) {
        free(z);
        return NULL;
    }
    return z;
}

static void close_stream(void *state)
{
    inflateEnd(state);
    free(state);
}

static bool begin_gzip(void *state, struct str in, bool again)
{
    (void)in;
    return (again ? inflateReset(state) : inflateReset2(state, WINDOW_GZIP)) == Z_OK;
}

static bool begin_deflate(void *state, struct str in, bool again)
{
    const unsigned char *p = (const unsigned char *)in.ptr;
    bool zlib = in.len >= 2 && (p[0] & 15) == Z_DEFLATED && (p[0] << 8 | p[1]) % 31 == 0;
    (void)again;
    return inflateReset2(state, zlib ? WINDOW_ZLIB : WINDOW_RAW) == Z_OK;
}

static uInt at_most(size_t n)
{
    return n < UINT_MAX ? (uInt)n : UINT_MAX;
}

static enum unpack_verdict verdict_of(int rc, const z_stream *z, struct unpack *u)
{
    if (rc == Z_STREAM_END)
        return UNPACK_END;
    if (rc == Z_BUF_ERROR || (rc == Z_OK && u->consumed == u->in.len && z->avail_out > 0))
        return UNPACK_HUNGRY;
    if (rc == Z_OK)
        return UNPACK_MORE;
    u->why = z->msg ? z->msg : "no reason given";
    return rc == Z_MEM_ERROR ? UNPACK_NOMEM : UNPACK_BROKEN;
}

static enum unpack_verdict step(void *state, struct unpack *u)
{
    z_stream *z = state;
    union {
        const char *from;
        Bytef *to;
    } cast = {u->in.ptr + u->consumed}; /* zlib does not write through next_in */
    uInt had_in = at_most(u->in.len - u->consumed), had_out = at_most(u->room);

    z->next_in = cast.to;
    z->avail_in = had_in;
    z->next_out = (Bytef *)u->to;
    z->avail_out = had_out;
    int rc = inflate(z, Z_NO_FLUSH);
    u->consumed += had_in - z->avail_in;
    u->made += had_out - z->avail_out;
    return verdict_of(rc, z, u);
}

static bool gzip_follows(unsigned char first)
{
    return first == GZIP_MAGIC;
}

static bool nothing_follows(unsigned char first)
{
    (void)first;
    return false;
}

const struct unpacker unpack_gzip = {open_stream, close_stream, begin_gzip, step, gzip_follows};
const struct unpacker unpack_deflate = {open_stream, close_stream, begin_deflate, step,
                                        nothing_follows};
