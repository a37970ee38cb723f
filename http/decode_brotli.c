/* http/decode_brotli.c - br (RFC 7932) by libbrotlidec, whose decoders cannot be used again. */
#include <brotli/decode.h>
#include <stdlib.h>

#include "http/decode_internal.h"

struct holder {
    BrotliDecoderState *brotli;
};

static void *open_stream(void)
{
    return calloc(1, sizeof(struct holder));
}

static void close_stream(void *state)
{
    struct holder *h = state;
    BrotliDecoderDestroyInstance(h->brotli);
    free(h);
}

static bool begin(void *state, struct str in, bool again)
{
    struct holder *h = state;
    (void)in;
    (void)again;
    BrotliDecoderDestroyInstance(h->brotli);
    h->brotli = BrotliDecoderCreateInstance(NULL, NULL, NULL);
    return h->brotli != NULL;
}

static enum unpack_verdict step(void *state, struct unpack *u)
{
    struct holder *h = state;
    const uint8_t *next_in = (const uint8_t *)u->in.ptr + u->consumed;
    uint8_t *next_out = (uint8_t *)u->to;
    size_t left_in = u->in.len - u->consumed, left_out = u->room;
    BrotliDecoderResult rc =
        BrotliDecoderDecompressStream(h->brotli, &left_in, &next_in, &left_out, &next_out, NULL);

    u->consumed = u->in.len - left_in;
    u->made += u->room - left_out;
    if (rc == BROTLI_DECODER_RESULT_SUCCESS)
        return UNPACK_END;
    if (rc == BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT)
        return UNPACK_HUNGRY;
    if (rc == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT)
        return UNPACK_MORE;
    u->why = BrotliDecoderErrorString(BrotliDecoderGetErrorCode(h->brotli));
    return UNPACK_BROKEN;
}

static bool nothing_follows(unsigned char first)
{
    (void)first;
    return false;
}

const struct unpacker unpack_brotli = {open_stream, close_stream, begin, step, nothing_follows};
