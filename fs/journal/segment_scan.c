/* fs/journal/segment_scan.c - finds frames; after a bad one, the next good one at a multiple
 * of 8. */
#include "fs/journal/segment_scan.h"

#include <errno.h>
#include <stdlib.h>

#include "base/sys.h"
#include "fs/journal/segment.h"

enum { WINDOW_BYTES = 4 << 20 };

void segment_scan_init(struct scan *s, int fd, uint32_t seq, uint32_t limit, bool check_lines)
{
    *s = (struct scan){.fd = fd,
                       .seq = seq,
                       .limit = limit & ~UINT32_C(7),
                       .at = SEGMENT_HEADER_LEN,
                       .check_lines = check_lines};
}

void scan_done(struct scan *s)
{
    free(s->window);
}

static enum err_code load(struct scan *s, uint32_t at, size_t len, struct err *e)
{
    size_t want = len > WINDOW_BYTES ? len : WINDOW_BYTES;
    if (want > s->limit - at)
        want = s->limit - at;
    if (want > s->window_cap) {
        free(s->window);
        s->window_cap = s->window_len = 0;
        s->window = malloc(want);
        if (!s->window)
            return err_set(e, ERR_NOMEM, "no memory to read a segment");
        s->window_cap = want;
    }
    s->window_at = at;
    s->window_len = 0;
    enum err_code rc = sys_read_full(s->fd, s->window, want, at, e);
    if (!rc)
        s->window_len = want;
    return rc;
}

/* Bytes [at, at + len), which lie below the limit. */
static enum err_code view(struct scan *s, uint32_t at, size_t len, const char **out, struct err *e)
{
    if (at < s->window_at || at + len > s->window_at + s->window_len) {
        enum err_code rc = load(s, at, len, e);
        if (rc)
            return rc;
    }
    *out = s->window + (at - s->window_at);
    return ERR_OK;
}

/* Is there a good frame at `at`? */
static enum err_code try_frame(struct scan *s, uint32_t at, struct scan_item *out, bool *found,
                               struct err *e)
{
    const char *p = NULL;
    *found = false;
    if (s->limit < FRAME_HEADER_LEN || at > s->limit - FRAME_HEADER_LEN)
        return ERR_OK;
    enum err_code rc = view(s, at, FRAME_HEADER_LEN, &p, e);
    size_t len = rc ? 0 : frame_peek(p, s->limit - at);
    if (rc || len == 0)
        return rc;
    rc = view(s, at, len, &p, e);
    if (rc || !frame_decode((struct str){p, len}, s->seq, at, &out->frame))
        return rc;
    out->kind = SCAN_FRAME;
    out->at = at;
    out->end = at + (uint32_t)len;
    out->bytes = (struct str){p, len};
    out->is_damaged = s->check_lines && !frame_is_whole(&out->frame);
    *found = true;
    return ERR_OK;
}

/* From `at`, which is bad: to the next good frame, or to the last byte that is not zero. */
static enum err_code skip_bad(struct scan *s, uint32_t at, struct scan_item *out, struct err *e)
{
    uint32_t last = at;
    bool found = false;
    out->kind = SCAN_BAD;
    out->at = at;
    for (uint32_t p = at; p < s->limit; p += 8) {
        const char *word = NULL;
        enum err_code rc = view(s, p, 8, &word, e);
        if (rc)
            return rc;
        if (get_u64(word) == 0)
            continue;
        struct scan_item next;
        rc = p > at && frame_may_begin(get_u64(word)) ? try_frame(s, p, &next, &found, e) : ERR_OK;
        if (rc)
            return rc;
        if (found) {
            out->end = p;
            out->is_last = false;
            return ERR_OK;
        }
        last = p + 8;
    }
    out->end = last;
    out->is_last = true;
    if (last == at)
        out->kind = SCAN_END;
    return ERR_OK;
}

enum err_code scan_next(struct scan *s, struct scan_item *out, struct err *e)
{
    bool found;
    enum err_code rc = try_frame(s, s->at, out, &found, e);
    if (!rc && !found)
        rc = skip_bad(s, s->at, out, e);
    if (!rc)
        s->at = out->end;
    return rc;
}
