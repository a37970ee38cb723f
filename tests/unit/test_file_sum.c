/* Sums of files: what was written is known again, and every damage is seen. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/file_sum.h"
#include "tests/support/scratch.h"

struct fixture {
    struct scratch dir;
    char path[96], sum_path[96];
    int fd, sum_fd;
    struct file_sum sum;
    struct err e;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->dir = scratch_make();
    snprintf(f->path, sizeof f->path, "%s/file", f->dir.path);
    snprintf(f->sum_path, sizeof f->sum_path, "%s/file.sum", f->dir.path);
    f->fd = open(f->path, O_RDWR | O_CREAT, 0600);
    f->sum_fd = open(f->sum_path, O_RDWR | O_CREAT, 0600);
    *state = f;
    return f->fd < 0 || f->sum_fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    file_sum_done(&f->sum);
    close(f->fd);
    close(f->sum_fd);
    scratch_remove(&f->dir);
    free(f);
    return 0;
}

static void fill(struct fixture *f, size_t bytes)
{
    AUTO_FREE char *text = malloc(bytes + 1);

    for (size_t i = 0; i < bytes; i++)
        text[i] = (char)(i * 31 + i / 7);
    assert_int_equal(ftruncate(f->fd, 0), 0);
    assert_int_equal(pwrite(f->fd, text, bytes, 0), bytes);
}

static void flip(int fd, off_t at)
{
    char byte;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

/* The sum as it stands after a way through its file. */
static void sum_through_file(struct fixture *f)
{
    struct file_sum made = {0};

    file_sum_done(&f->sum);
    assert_int_equal(file_sum_of_file(f->fd, &made, &f->e), ERR_OK);
    assert_int_equal(ftruncate(f->sum_fd, 0), 0);
    assert_int_equal(file_sum_write(f->sum_fd, &made, &f->e), ERR_OK);
    assert_int_equal(file_sum_read(f->sum_fd, &f->sum, &f->e), ERR_OK);
    assert_true(made.file_bytes == f->sum.file_bytes && made.block_count == f->sum.block_count);
    assert_memory_equal(made.sha256, f->sum.sha256, sizeof made.sha256);
    if (made.block_count > 0)
        assert_memory_equal(made.blocks, f->sum.blocks, made.block_count * sizeof *made.blocks);
    file_sum_done(&made);
}

static void files_of_every_length_are_known_again(void **state)
{
    static const struct {
        size_t bytes;
        uint32_t blocks;
    } cases[] = {{0, 0},
                 {1, 1},
                 {FILE_SUM_BLOCK - 1, 1},
                 {FILE_SUM_BLOCK, 1},
                 {FILE_SUM_BLOCK + 1, 2},
                 {3 * FILE_SUM_BLOCK + 17, 4}};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fill(f, cases[i].bytes);
        sum_through_file(f);
        assert_int_equal(f->sum.block_count, cases[i].blocks);
        assert_int_equal(file_sum_check(f->fd, &f->sum, &f->e), ERR_OK);
    }
}

static void the_sha256_is_the_usual_one(void **state)
{
    static const uint8_t abc[32] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea,
                                    0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
                                    0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c,
                                    0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    struct fixture *f = *state;

    assert_int_equal(pwrite(f->fd, "abc", 3, 0), 3);
    sum_through_file(f);
    assert_memory_equal(f->sum.sha256, abc, sizeof abc);
}

static void one_flipped_bit_is_found_in_its_block(void **state)
{
    static const off_t places[] = {0, FILE_SUM_BLOCK - 1, FILE_SUM_BLOCK, 2 * FILE_SUM_BLOCK + 99};
    struct fixture *f = *state;

    fill(f, 2 * FILE_SUM_BLOCK + 100);
    sum_through_file(f);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        char words[32];
        flip(f->fd, places[i]);
        assert_int_equal(file_sum_check(f->fd, &f->sum, &f->e), ERR_CORRUPT);
        assert_int_equal(file_sum_check_blocks(f->fd, &f->sum, &f->e), ERR_CORRUPT);
        snprintf(words, sizeof words, "block %d of 3", (int)(places[i] / FILE_SUM_BLOCK));
        assert_non_null(strstr(f->e.msg, words));
        flip(f->fd, places[i]);
        assert_int_equal(file_sum_check(f->fd, &f->sum, &f->e), ERR_OK);
        assert_int_equal(file_sum_check_blocks(f->fd, &f->sum, &f->e), ERR_OK);
    }
}

static void a_longer_or_shorter_file_is_damaged(void **state)
{
    struct fixture *f = *state;

    fill(f, 5000);
    sum_through_file(f);
    assert_int_equal(ftruncate(f->fd, 4999), 0);
    assert_int_equal(file_sum_check(f->fd, &f->sum, &f->e), ERR_CORRUPT);
    assert_int_equal(ftruncate(f->fd, 5001), 0);
    assert_int_equal(file_sum_check(f->fd, &f->sum, &f->e), ERR_CORRUPT);
}

static void a_block_is_checked_as_it_was_read(void **state)
{
    static char block[FILE_SUM_BLOCK];
    struct fixture *f = *state;

    fill(f, FILE_SUM_BLOCK + 10);
    sum_through_file(f);
    assert_int_equal(pread(f->fd, block, 10, FILE_SUM_BLOCK), 10);
    assert_int_equal(file_sum_check_block(&f->sum, 1, block, 10, &f->e), ERR_OK);
    assert_int_equal(file_sum_check_block(&f->sum, 1, block, 9, &f->e), ERR_CORRUPT);
    assert_int_equal(file_sum_check_block(&f->sum, 2, block, 10, &f->e), ERR_CORRUPT);
    assert_int_equal(file_sum_check_block(&f->sum, 0, block, FILE_SUM_BLOCK, &f->e), ERR_CORRUPT);
}

static void a_damaged_sum_is_not_believed(void **state)
{
    struct fixture *f = *state;
    struct file_sum out = {0};
    off_t len;

    fill(f, FILE_SUM_BLOCK + 10);
    sum_through_file(f);
    len = lseek(f->sum_fd, 0, SEEK_END);
    for (off_t at = 0; at < len; at++) {
        flip(f->sum_fd, at);
        assert_int_equal(file_sum_read(f->sum_fd, &out, &f->e), ERR_CORRUPT);
        flip(f->sum_fd, at);
    }
    for (off_t n = len - 1; n >= 0; n--) {
        assert_int_equal(ftruncate(f->sum_fd, n), 0);
        assert_int_equal(file_sum_read(f->sum_fd, &out, &f->e), ERR_CORRUPT);
    }
    assert_null(out.blocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_of_every_length_are_known_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_sha256_is_the_usual_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_flipped_bit_is_found_in_its_block, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_longer_or_shorter_file_is_damaged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_block_is_checked_as_it_was_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_sum_is_not_believed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
