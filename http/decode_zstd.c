/* http/decode_zstd.c - zstd (RFC 8878) by libzstd.
 *
 * Frames may follow each other.  The window is at most 8 MiB, as the RFC asks of every decoder, so
 * a hostile header cannot make this one allocate more.
 */
#include <zstd.h>

#include "http/decode_internal.h"

enum { WINDOW_LOG_MAX = 23, FRAME_MAGIC = 0x28, SKIPPABLE_FIRST = 0x50, SKIPPABLE_LAST = 0x5f };

static void *open_stream(void)
{
    ZSTD_DCtx *z = ZSTD_createDCtx();
    if (z && ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
        ZSTD_freeDCtx(z);
        return NULL;
    }
    return z;
}

static void close_stream(void *state)
{
    ZSTD_freeDCtx(state);
}

static bool begin(void *state, struct str in, bool again)
{
    (void)in;
    (void)again;
    return !ZSTD_isError(ZSTD_DCtx_reset(state, ZSTD_reset_session_only));
}

static enum unpack_verdict step(void *state, struct unpack *u)
{
    ZSTD_inBuffer in = {u->in.ptr, u->in.len, u->consumed};
    ZSTD_outBuffer out = {u->to, u->room, 0};
    size_t rc = ZSTD_decompressStream(state, &out, &in);

    u->consumed = in.pos;
    u->made += out.pos;
    if (ZSTD_isError(rc)) {
        u->why = ZSTD_getErrorName(rc);
        return UNPACK_BROKEN;
    }
    if (rc == 0)
        return UNPACK_END;
    return in.pos == in.size && out.pos < out.size ? UNPACK_HUNGRY : UNPACK_MORE;
}

static bool may_follow(unsigned char first)
{
    return first == FRAME_MAGIC || (first >= SKIPPABLE_FIRST && first <= SKIPPABLE_LAST);
}

const struct unpacker unpack_zstd = {open_stream, close_stream, begin, step, may_follow};
