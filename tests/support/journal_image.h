/* tests/support/journal_image.h - a segment of a fixture's journal as bytes, to be spoilt. */
#ifndef WEIR_TESTS_JOURNAL_IMAGE_H
#define WEIR_TESTS_JOURNAL_IMAGE_H

#include <fcntl.h>

#include "base/sys.h"
#include "fs/journal/segment.h"
#include "fs/journal/segment_scan.h"
#include "tests/support/journal_fixture.h"

enum { HOUR = 100, FRAMES_MAX = 256 };

struct image_of {
    char path[PATH_MAX];
    struct buf bytes;
    struct {
        uint32_t at, end;
        struct frame frame; /* views into bytes */
    } frames[FRAMES_MAX];
    size_t count;
};

/* The caller frees img->bytes. */
static inline void load_segment(struct fixture *f, uint32_t seq, struct image_of *img)
{
    struct err e = {0};
    segment_path(f->dir, seq, img->path);
    buf_init(&img->bytes, FIXTURE_TEXT_MAX);
    assert_int_equal(sys_read_file(img->path, &img->bytes, &e), ERR_OK);
    img->count = 0;
    for (uint32_t at = SEGMENT_HEADER_LEN; img->count < FRAMES_MAX;) {
        struct str rest = {img->bytes.data + at, img->bytes.len - at};
        if (!frame_decode(rest, seq, at, &img->frames[img->count].frame))
            break;
        img->frames[img->count].at = at;
        at += (uint32_t)frame_peek(rest.ptr, rest.len);
        img->frames[img->count++].end = at;
    }
}

static inline void store(const struct image_of *img, const char *bytes)
{
    struct err e = {0};
    AUTO_FD int fd = sys_open(img->path, O_WRONLY, 0);
    assert_true(fd >= 0);
    assert_int_equal(sys_write_full(fd, bytes, img->bytes.len, 0, &e), ERR_OK);
}

#endif
