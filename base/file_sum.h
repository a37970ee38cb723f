/* base/file_sum.h - the side file <id>.sum of a sealed file: is it still what was written?
 *
 * SHA-256 of the whole and a CRC32C of each block, because one flipped bit in a zstd page can give
 * wrong rows without an error.  Format, little-endian:
 *    0 u64 magic "WEIRSUM1"   8 u64 file bytes   16 u32 block bytes   20 u32 blocks
 *   24 u8[32] SHA-256 of the file   56 u32 CRC32C per block   then u32 CRC32C of all before it
 * Thread safety: pure functions on descriptors.  Errors: IO, CORRUPT (says which block), NOMEM.
 */
#ifndef WEIR_BASE_FILE_SUM_H
#define WEIR_BASE_FILE_SUM_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define FILE_SUM_BLOCK (256u << 10)

struct file_sum {
    uint64_t file_bytes;
    uint8_t sha256[32];
    uint32_t *blocks; /* malloc'ed; file_sum_done */
    uint32_t block_count;
};

void file_sum_done(struct file_sum *s); /* zeroed or filled */
/* Reads the whole file from fd. */
enum err_code file_sum_of_file(int fd, struct file_sum *out, struct err *e);
enum err_code file_sum_write(int fd, const struct file_sum *s, struct err *e); /* not synced */
enum err_code file_sum_read(int fd, struct file_sum *out, struct err *e);
/* Compare a file with its sum: size, every block, the SHA-256. */
enum err_code file_sum_check(int fd, const struct file_sum *s, struct err *e);
/* Size and every block: many times faster, and finds the same accidents. */
enum err_code file_sum_check_blocks(int fd, const struct file_sum *s, struct err *e);
/* One block's bytes, as they were read. */
enum err_code file_sum_check_block(const struct file_sum *s, uint32_t block, const void *bytes,
                                   size_t len, struct err *e);

#endif
