/* http/decode.c - unpacking request bodies: the output's growth and its limits.
 *
 * How a coding is unpacked stands in decode_zlib.c, decode_zstd.c and decode_brotli.c.  Anything
 * after the end is an error, because it would be silently lost.
 */
#include "http/decode.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "http/decode_internal.h"

#define OUTPUT_STEP_MIN ((size_t)64 << 10)
#define EXPECTED_RATIO 4 /* first guess of output bytes for a byte of input */

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

/* One step into the room that is there. */
static enum unpack_verdict step(const struct unpacker *with, void *state, struct unpack *u,
                                struct buf *out, size_t most)
{
    size_t room = out->cap - out->len;

    u->to = out->data + out->len;
    u->room = room < most ? room : most;
    u->made = 0;
    enum unpack_verdict verdict = with->step(state, u);
    out->len += u->made;
    out->data[out->len] = '\0';
    return verdict;
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
                          const struct decode_limits *limits, struct buf *out, struct err *e)
{
    const struct unpacker *with = UNPACKERS[coding];
    struct unpack u = {.in = in};
    size_t start = out->len;
    size_t guess = in.len < SIZE_MAX / EXPECTED_RATIO ? in.len * EXPECTED_RATIO : in.len;
    enum err_code rc = begin(d, coding, in, e);

    for (bool more = true; !rc && more;) {
        rc = make_room(out, start, guess, limits, e);
        if (rc)
            break;
        enum unpack_verdict verdict =
            step(with, d->states[coding], &u, out, limits->max_bytes + 1 - (out->len - start));
        rc = verdict == UNPACK_END ? at_end(with, d->states[coding], &u, &more, e)
                                   : judge(verdict, &u, e);
    }
    if (!rc && out->len - start > limits->max_bytes)
        rc = err_set(e, ERR_TOOBIG, "body is larger than %zu bytes after decompression",
                     limits->max_bytes);
    return rc;
}
