/* http/decode.h - Content-Encoding of request bodies: gzip, deflate (zlib or raw), zstd, br,
 * identity.
 *
 * The caller is asked for room as output is produced, so a bomb stops at the limit and never costs
 * more than that, and the output need not be in memory.
 * Errors: INVALID (broken or cut off), TOOBIG (over the limit), UNSUPPORTED (another encoding),
 * what `room` returned, NOMEM.
 * Thread safety: one owner at a time a decoder; it is kept between requests to save its set-up.
 */
#ifndef WEIR_HTTP_DECODE_H
#define WEIR_HTTP_DECODE_H

#include "base/bytes.h"
#include "base/err.h"

struct decoder;
struct decoder *decoder_new(void); /* NULL: out of memory */
void decoder_free(struct decoder *d);

enum decode_coding {
    CODING_IDENTITY,
    CODING_GZIP,
    CODING_DEFLATE,
    CODING_ZSTD,
    CODING_BROTLI,
    CODING_COUNT
};
/* The value of Content-Encoding (empty: identity).  UNSUPPORTED names what is spoken. */
enum err_code decode_coding_of(struct str header, enum decode_coding *out, struct err *e);

struct decode_sink {
    size_t max_bytes; /* of the output; one byte more may be asked room for */
    enum err_code (*room)(void *ctx, char **to, size_t *room,
                          struct err *e); /* one byte at least */
    void (*made)(void *ctx, size_t n);    /* so many bytes stand in the room given last */
    void *ctx;
};
/* Not for CODING_IDENTITY. */
enum err_code decode_body(struct decoder *d, enum decode_coding coding, struct str in,
                          const struct decode_sink *sink, struct err *e);

#endif
