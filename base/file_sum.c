/* base/file_sum.c - sums of files: made, written, read back, compared. */
#include "base/file_sum.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/sys.h"

#define MAGIC UINT64_C(0x314d555352494557) /* "WEIRSUM1" */
#define HEADER_LEN 56
#define CRC_LEN 4
#define BLOCKS_MAX (1u << 22) /* a file of 1 TiB */

_Static_assert(SHA256_DIGEST_SIZE == sizeof((struct file_sum *)0)->sha256, "a SHA-256");

void file_sum_done(struct file_sum *s)
{
    free(s->blocks);
    *s = (struct file_sum){0};
}

static uint64_t blocks_of(uint64_t file_bytes)
{
    return file_bytes / FILE_SUM_BLOCK + (file_bytes % FILE_SUM_BLOCK != 0);
}

static size_t block_bytes(uint64_t file_bytes, uint64_t block)
{
    uint64_t left = file_bytes - block * FILE_SUM_BLOCK;

    return left < FILE_SUM_BLOCK ? (size_t)left : FILE_SUM_BLOCK;
}

static enum err_code file_size(int fd, uint64_t *out, struct err *e)
{
    struct stat st;

    if (sys_fstat(fd, &st) != 0)
        return err_sys(e, errno, "stat");
    *out = (uint64_t)st.st_size;
    return blocks_of(*out) <= BLOCKS_MAX
               ? ERR_OK
               : err_set(e, ERR_TOOBIG, "a file of %llu bytes", (unsigned long long)*out);
}

static bool alloc_blocks(struct file_sum *s)
{
    s->block_count = (uint32_t)blocks_of(s->file_bytes);
    s->blocks = malloc((s->block_count + 1) * sizeof *s->blocks);
    return s->blocks != NULL;
}

/* Reads every block of the file; `seen` may refuse it.  sha256 may be NULL: is not wanted. */
typedef enum err_code (*seen_block)(void *ctx, uint32_t block, const char *bytes, size_t len,
                                    struct err *e);
static enum err_code each_block(int fd, uint64_t file_bytes, uint8_t sha256[32], seen_block seen,
                                void *ctx, struct err *e)
{
    AUTO_FREE char *bytes = malloc(FILE_SUM_BLOCK);
    struct sha256_ctx sha;
    enum err_code rc = ERR_OK;

    if (!bytes)
        return err_set(e, ERR_NOMEM, "no memory to read a file");
    sha256_init(&sha);
    for (uint64_t i = 0; !rc && i < blocks_of(file_bytes); i++) {
        size_t len = block_bytes(file_bytes, i);
        rc = sys_read_full(fd, bytes, len, (off_t)(i * FILE_SUM_BLOCK), e);
        if (!rc)
            rc = seen(ctx, (uint32_t)i, bytes, len, e);
        if (!rc && sha256)
            sha256_update(&sha, len, (const uint8_t *)bytes);
    }
    if (!rc && sha256)
        sha256_digest(&sha, SHA256_DIGEST_SIZE, sha256);
    return rc;
}

static enum err_code note_block(void *ctx, uint32_t block, const char *bytes, size_t len,
                                struct err *e)
{
    struct file_sum *s = ctx;

    (void)e;
    s->blocks[block] = crc32c(0, bytes, len);
    return ERR_OK;
}

enum err_code file_sum_of_file(int fd, struct file_sum *out, struct err *e)
{
    struct file_sum s = {0};
    enum err_code rc = file_size(fd, &s.file_bytes, e);

    if (!rc && !alloc_blocks(&s))
        rc = err_set(e, ERR_NOMEM, "no memory for the sum of a file");
    if (!rc)
        rc = each_block(fd, s.file_bytes, s.sha256, note_block, &s, e);
    if (rc) {
        file_sum_done(&s);
        return rc;
    }
    *out = s;
    return ERR_OK;
}

enum err_code file_sum_write(int fd, const struct file_sum *s, struct err *e)
{
    size_t len = HEADER_LEN + (size_t)s->block_count * CRC_LEN;
    AUTO_FREE char *image = malloc(len + CRC_LEN);

    if (!image)
        return err_set(e, ERR_NOMEM, "no memory for the sum of a file");
    put_u64(image, MAGIC);
    put_u64(image + 8, s->file_bytes);
    put_u32(image + 16, FILE_SUM_BLOCK);
    put_u32(image + 20, s->block_count);
    memcpy(image + 24, s->sha256, sizeof s->sha256);
    for (uint32_t i = 0; i < s->block_count; i++)
        put_u32(image + HEADER_LEN + (size_t)i * CRC_LEN, s->blocks[i]);
    put_u32(image + len, crc32c(0, image, len));
    return sys_write_full(fd, image, len + CRC_LEN, 0, e);
}

static bool header_is_sound(const char *image, size_t len)
{
    uint64_t file_bytes = get_u64(image + 8);

    return get_u64(image) == MAGIC && get_u32(image + 16) == FILE_SUM_BLOCK &&
           get_u32(image + 20) == blocks_of(file_bytes) &&
           len == HEADER_LEN + (uint64_t)get_u32(image + 20) * CRC_LEN + CRC_LEN &&
           get_u32(image + len - CRC_LEN) == crc32c(0, image, len - CRC_LEN);
}

static enum err_code decode(const char *image, size_t len, struct file_sum *out, struct err *e)
{
    struct file_sum s = {0};

    if (!header_is_sound(image, len))
        return err_set(e, ERR_CORRUPT, "the sum itself is damaged");
    s.file_bytes = get_u64(image + 8);
    memcpy(s.sha256, image + 24, sizeof s.sha256);
    if (!alloc_blocks(&s))
        return err_set(e, ERR_NOMEM, "no memory for the sum of a file");
    for (uint32_t i = 0; i < s.block_count; i++)
        s.blocks[i] = get_u32(image + HEADER_LEN + (size_t)i * CRC_LEN);
    *out = s;
    return ERR_OK;
}

enum err_code file_sum_read(int fd, struct file_sum *out, struct err *e)
{
    AUTO_FREE char *image = NULL;
    uint64_t len = 0;
    enum err_code rc = file_size(fd, &len, e);

    if (rc)
        return rc;
    if (len < HEADER_LEN + CRC_LEN || len > HEADER_LEN + (uint64_t)BLOCKS_MAX * CRC_LEN + CRC_LEN)
        return err_set(e, ERR_CORRUPT, "the sum itself is damaged: %llu bytes",
                       (unsigned long long)len);
    image = malloc((size_t)len);
    if (!image)
        return err_set(e, ERR_NOMEM, "no memory for the sum of a file");
    rc = sys_read_full(fd, image, (size_t)len, 0, e);
    return rc ? rc : decode(image, (size_t)len, out, e);
}

enum err_code file_sum_check_block(const struct file_sum *s, uint32_t block, const void *bytes,
                                   size_t len, struct err *e)
{
    if (block >= s->block_count || len != block_bytes(s->file_bytes, block))
        return err_set(e, ERR_CORRUPT, "block %u of %u has another length", block, s->block_count);
    if (crc32c(0, bytes, len) != s->blocks[block])
        return err_set(e, ERR_CORRUPT, "block %u of %u is damaged", block, s->block_count);
    return ERR_OK;
}

static enum err_code compare_block(void *ctx, uint32_t block, const char *bytes, size_t len,
                                   struct err *e)
{
    return file_sum_check_block(ctx, block, bytes, len, e);
}

static enum err_code compare_all(int fd, const struct file_sum *s, uint8_t sha256[32],
                                 struct err *e)
{
    struct file_sum sums = *s;
    uint64_t bytes = 0;
    enum err_code rc = file_size(fd, &bytes, e);

    if (rc)
        return rc;
    if (bytes != s->file_bytes)
        return err_set(e, ERR_CORRUPT, "it has %llu bytes in place of %llu",
                       (unsigned long long)bytes, (unsigned long long)s->file_bytes);
    return each_block(fd, bytes, sha256, compare_block, &sums, e);
}

enum err_code file_sum_check_blocks(int fd, const struct file_sum *s, struct err *e)
{
    return compare_all(fd, s, NULL, e);
}

enum err_code file_sum_check(int fd, const struct file_sum *s, struct err *e)
{
    uint8_t sha256[SHA256_DIGEST_SIZE];
    enum err_code rc = compare_all(fd, s, sha256, e);

    if (!rc && memcmp(sha256, s->sha256, sizeof sha256) != 0)
        rc = err_set(e, ERR_CORRUPT, "its SHA-256 is another");
    return rc;
}
