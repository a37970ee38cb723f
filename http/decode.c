/* http/decode.c - unpacking request bodies: the output and its limit.
 *
 * How a coding is unpacked stands in decode_zlib.c, decode_zstd.c and decode_brotli.c.  Anything
 * after the end is an error, because it would be silently lost.
 */
#include "http/decode.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "http/decode_internal.h"

static const struct unpacker *const UNPACKERS[CODING_COUNT] = {
    [CODING_GZIP] = &unpack_gzip,
    [CODING_DEFLATE] = &unpack_deflate,
    [CODING_ZSTD] = &unpack_zstd,
    [CODING_BROTLI] = &unpack_brotli,
};

struct decoder {
    void *states[CODING_COUNT]; /* made at the first body of that coding */
};

struct decoder *decoder_new(void)
{
    return calloc(1, sizeof(struct decoder));
}

void decoder_free(struct decoder *d)
{
    if (!d)
        return;
    for (int i = 0; i < CODING_COUNT; i++)
        if (d->states[i])
            UNPACKERS[i]->close(d->states[i]);
    free(d);
}

enum err_code decode_coding_of(struct str header, enum decode_coding *out, struct err *e)
{
    static const struct {
        const char *name;
        enum decode_coding coding;
    } spoken[] = {
        {"", CODING_IDENTITY},   {"identity", CODING_IDENTITY}, {"gzip", CODING_GZIP},
        {"x-gzip", CODING_GZIP}, {"deflate", CODING_DEFLATE},   {"zstd", CODING_ZSTD},
        {"br", CODING_BROTLI},
    };
    header = str_trim(header);
    for (size_t i = 0; i < ARRAY_LEN(spoken); i++)
        if (str_eq_nocase(header, str_from(spoken[i].name))) {
            *out = spoken[i].coding;
            return ERR_OK;
        }
    return err_set(e, ERR_UNSUPPORTED,
                   "Content-Encoding \"" STR_FMT
                   "\" is not supported: use gzip, deflate, zstd, br or none",
                   (int)(header.len < 64 ? header.len : 64), header.ptr);
}

static enum err_code too_big(const struct decode_sink *sink, struct err *e)
{
    return err_set(e, ERR_TOOBIG, "body is larger than %zu bytes after decompression",
                   sink->max_bytes);
}

/* One step into the sink.  One byte more than the limit may be produced, which tells "just at the
 * limit" from "over it". */
static enum err_code step(const struct unpacker *with, void *state, struct unpack *u,
                          const struct decode_sink *sink, size_t *used,
                          enum unpack_verdict *verdict, struct err *e)
{
    size_t most = sink->max_bytes + 1 - *used;
    if (most == 0)
        return too_big(sink, e);
    enum err_code rc = sink->room(sink->ctx, &u->to, &u->room, e);
    if (rc)
        return rc;
    if (u->room > most)
        u->room = most;
    u->made = 0;
    *verdict = with->step(state, u);
    sink->made(sink->ctx, u->made);
    *used += u->made;
    return ERR_OK;
}

static enum err_code at_end(const struct unpacker *with, void *state, const struct unpack *u,
                            bool *more, struct err *e)
{
    *more = u->consumed < u->in.len;
    if (!*more)
        return ERR_OK;
    if (!with->may_follow((unsigned char)u->in.ptr[u->consumed]))
        return err_set(e, ERR_INVALID, "%zu bytes after the end of the compressed body",
                       u->in.len - u->consumed);
    return with->begin(state, u->in, true) ? ERR_OK : err_set(e, ERR_NOMEM, "decompression");
}

static enum err_code judge(enum unpack_verdict verdict, const struct unpack *u, struct err *e)
{
    switch (verdict) {
    case UNPACK_HUNGRY:
        return err_set(e, ERR_INVALID, "compressed body is cut off after %zu bytes", u->in.len);
    case UNPACK_BROKEN:
        return err_set(e, ERR_INVALID, "compressed body is broken at byte %zu: %s", u->consumed,
                       u->why);
    case UNPACK_NOMEM:
        return err_set(e, ERR_NOMEM, "decompression");
    default:
        return ERR_OK;
    }
}

static enum err_code begin(struct decoder *d, enum decode_coding coding, struct str in,
                           struct err *e)
{
    void **state = &d->states[coding];
    if (!*state)
        *state = UNPACKERS[coding]->open();
    return *state && UNPACKERS[coding]->begin(*state, in, false)
               ? ERR_OK
               : err_set(e, ERR_NOMEM, "decompression");
}

enum err_code decode_body(struct decoder *d, enum decode_coding coding, struct str in,
                          const struct decode_sink *sink, struct err *e)
{
    const struct unpacker *with = UNPACKERS[coding];
    struct unpack u = {.in = in};
    enum unpack_verdict verdict = UNPACK_MORE;
    size_t used = 0;
    enum err_code rc = begin(d, coding, in, e);

    for (bool more = true; !rc && more;) {
        rc = step(with, d->states[coding], &u, sink, &used, &verdict, e);
        if (!rc)
            rc = verdict == UNPACK_END ? at_end(with, d->states[coding], &u, &more, e)
                                       : judge(verdict, &u, e);
    }
    return !rc && used > sink->max_bytes ? too_big(sink, e) : rc;
}
