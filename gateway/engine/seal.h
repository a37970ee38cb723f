/* gateway/engine/seal.h - answers a SEAL, a TEXT and a FACTS request on its connection.
 *
 *   SEAL: decode -> rows into memory (seal_rows.h) -> COPY TO <staging>/<part>.parquet
 *         -> read it back, compare rows, times, text by row group and its sum -> fsync
 *         -> <part>.sum -> SEALED
 * Whatever fails, nothing stays in staging.
 */
#ifndef WEIR_GATEWAY_ENGINE_SEAL_H
#define WEIR_GATEWAY_ENGINE_SEAL_H

#include "gateway/engine/run.h"
#include "gateway/engine/seal_request.h"

/* Each sends everything but the ERROR message. */
enum err_code seal_answer(const struct run_context *ctx, const struct seal_request *r,
                          struct err *e);
enum err_code text_answer(const struct run_context *ctx, const struct text_request *r,
                          struct err *e);
enum err_code facts_answer(const struct run_context *ctx, struct str path, struct err *e);

#endif
