/* http/decode.h - Content-Encoding of request bodies: gzip, deflate (zlib or raw), zstd, br,
 * identity.
 *
 * Output grows as it is produced, so a bomb stops at the limit and never costs more than that; the
 * caller is asked before each growth, so that a process-wide budget can say no.
 * Errors: INVALID (broken or cut off), TOOBIG (over the limit), UNSUPPORTED (another encoding),
 * what `grow` returned, NOMEM.
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

struct decode_limits {
    size_t max_bytes; /* of the output */
    /* May the output's capacity become `cap_bytes`?  NULL: always. */
    enum err_code (*grow)(void *ctx, size_t cap_bytes, struct err *e);
    void *ctx;
};
/* Appends to `out`, whose own maximum has to be above max_bytes.  Not for CODING_IDENTITY. */
enum err_code decode_body(struct decoder *d, enum decode_coding coding, struct str in,
                          const struct decode_limits *limits, struct buf *out, struct err *e);

#endif
