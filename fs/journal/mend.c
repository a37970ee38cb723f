/* fs/journal/mend.c - the writing part of recovery.
 *
 * The saved lines are DATA frames of SAVED_WORKER; the SETTLE frame after them gives them their
 * places and ends all open batches in one write, so that a crash before it changes nothing and one
 * after it repeats nothing.
 */
#include "fs/journal/mend.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"

enum { STEP_BYTES = 64 << 10, NAMES_MAX = 1000, PLACES_BYTES_MAX = 64 << 20 };

/* ---- lost+found ---- */

static enum err_code copy_range(const struct segment *s, uint32_t from, uint32_t to, int fd,
                                struct err *e)
{
    char step[STEP_BYTES];
    for (uint32_t at = from; at < to;) {
        size_t n = to - at < STEP_BYTES ? to - at : STEP_BYTES;
        enum err_code rc = sys_read_full(s->fd, step, n, at, e);
        if (!rc)
            rc = sys_write_full(fd, step, n, at - from, e);
        if (rc)
            return rc;
        at += (uint32_t)n;
    }
    if (sys_fsync(fd) < 0)
        return err_sys(e, errno, "sync");
    return ERR_OK;
}

/* Is this very range in that file already? */
static bool is_same(const char *path, const struct segment *s, uint32_t from, uint32_t size)
{
    char ours[STEP_BYTES], theirs[STEP_BYTES];
    struct stat st;
    AUTO_FD int fd = sys_open(path, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0 || sys_fstat(fd, &st) < 0 || st.st_size != size)
        return false;
    for (uint32_t at = 0; at < size;) {
        size_t n = size - at < STEP_BYTES ? size - at : STEP_BYTES;
        if (sys_read_full(s->fd, ours, n, from + at, NULL) ||
            sys_read_full(fd, theirs, n, at, NULL) || memcmp(ours, theirs, n) != 0)
            return false;
        at += (uint32_t)n;
    }
    return true;
}

/* A name that is free; *fd stays -1 when the very bytes were set aside before. */
static enum err_code open_aside(const struct journal *j, const struct segment *s, uint32_t from,
                                uint32_t size, const char *kind, int *fd, char path[PATH_MAX],
                                struct err *e)
{
    for (int i = 0; i < NAMES_MAX; i++) {
        char number[16] = "";
        if (i)
            snprintf(number, sizeof number, ".%d", i);
        snprintf(path, PATH_MAX, "%s/%010" PRIu32 "-%010" PRIu32 ".%s%s", j->cfg.lost_found_dir,
                 s->seq, from, kind, number);
        *fd = sys_open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        if (*fd >= 0)
            return ERR_OK;
        if (errno != EEXIST)
            return err_sys(e, errno, "%s", path);
        if (is_same(path, s, from, size))
            return ERR_OK;
    }
    return err_set(e, ERR_FULL, "%s: %d copies are there already", path, NAMES_MAX);
}

enum err_code mend_set_aside(const struct journal *j, const struct segment *s, uint32_t from,
                             uint32_t to, const char *kind, struct err *e)
{
    char path[PATH_MAX];
    int opened = -1;
    enum err_code rc = open_aside(j, s, from, to - from, kind, &opened, path, e);
    if (rc || opened < 0)
        return rc;
    AUTO_FD int fd = opened;
    rc = copy_range(s, from, to, fd, e);
    if (rc) {
        sys_unlink(path);
        return err_wrap(e, "%s", path);
    }
    return sys_fsync_dir(j->cfg.lost_found_dir, e);
}

/* ---- the torn tail ---- */

static bool all_zeros(const char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

enum err_code mend_zero(const struct segment *s, uint32_t from, uint32_t to, struct err *e)
{
    static const char ZEROS[STEP_BYTES];
    char step[STEP_BYTES];
    for (uint32_t at = from; at < to;) {
        size_t n = to - at < STEP_BYTES ? to - at : STEP_BYTES;
        enum err_code rc = sys_read_full(s->fd, step, n, at, e);
        if (!rc && !all_zeros(step, n))
            rc = sys_write_full(s->fd, ZEROS, n, at, e);
        if (rc)
            return rc;
        at += (uint32_t)n;
    }
    return ERR_OK;
}

/* ---- kept lines ---- */

struct settling {
    struct journal *j;
    uint64_t serial;
    struct attempt *refs; /* of what has been written */
    uint64_t position;
};

static enum err_code put_waiting(struct settling *st, struct image *img, struct err *e)
{
    bool waited = true;
    enum err_code rc = ERR_OK;
    while (!rc && waited)
        rc = journal_put_locked(st->j, img, TABLE_EXTENT_LEN, &waited, e);
    if (rc)
        image_free(img);
    else
        st->position = frame_position(st->j->current->seq, st->j->current->end);
    return rc;
}

static const char *run_bytes(struct journal *j, const struct saved_run *run, char **owned,
                             struct err *e)
{
    if (run->bytes)
        return run->bytes;
    char *copy = malloc(run->ref.len);
    const struct segment *s = files_segment(&j->files, run->ref.seq);
    if (!copy || !s || sys_read_full(s->fd, copy, run->ref.len, run->ref.at, e)) {
        free(copy);
        return NULL;
    }
    *owned = copy;
    return copy;
}

static enum err_code append_saved(struct settling *st, const struct saved_run *run, struct err *e)
{
    AUTO_FREE char *owned = NULL;
    const char *bytes = run_bytes(st->j, run, &owned, e);
    const struct run_ref *ref = &run->ref;
    size_t len = frame_size(ref->lines, ref->len, 0);
    struct image *img = bytes ? image_new(len) : NULL;
    if (!img || !attempt_reserve(st->refs, 1)) {
        image_free(img);
        return err_set(e, ERR_NOMEM, "no memory to keep lines");
    }
    struct frame f = {.kind = FRAME_DATA,
                      .batch = {.worker = SAVED_WORKER},
                      .serial = st->serial,
                      .run = (uint32_t)st->refs->count,
                      .stream = ref->stream,
                      .hour = ref->hour,
                      .appended_us = clock_wall_us(),
                      .min_ts_us = ref->min_ts_us,
                      .max_ts_us = ref->max_ts_us,
                      .line_count = ref->lines};
    frame_encode(img->data, &f, (struct str){bytes, ref->len}, (struct str){NULL, 0});
    img->len = len;
    enum err_code rc = put_waiting(st, img, e);
    if (rc)
        return rc;
    struct run_ref *kept = &st->refs->refs[st->refs->count++];
    *kept = *ref;
    kept->run = f.run;
    kept->skip = 0;
    kept->seq = (uint32_t)(st->position >> 32);
    kept->at = (uint32_t)(st->position - len) + (uint32_t)frame_payload_at(ref->lines);
    return ERR_OK;
}

static enum err_code append_settle(struct settling *st, struct err *e)
{
    struct buf places;
    struct frame f = {.kind = FRAME_SETTLE, .serial = st->serial, .appended_us = clock_wall_us()};
    buf_init(&places, PLACES_BYTES_MAX);
    enum err_code rc =
        journal_plan_locked(st->j, NULL, 0, st->refs->refs, st->refs->count, &places, e);
    struct image *img = rc ? NULL : image_new(frame_size(0, 0, places.len));
    if (!rc && !img)
        rc = err_set(e, ERR_NOMEM, "no memory to keep lines");
    if (img) {
        img->len = img->cap;
        frame_encode(img->data, &f, (struct str){NULL, 0}, buf_str(&places));
        rc = put_waiting(st, img, e);
    }
    if (!rc)
        rc = journal_show_locked(st->j, st->refs->refs, st->refs->count, buf_str(&places),
                                 f.appended_us, NULL, e);
    buf_done(&places);
    return rc;
}

static bool stream_is_known(const struct journal *j, const struct saved_run *run)
{
    return files_stream_find(&j->files, run->ref.stream) != NULL;
}

enum err_code mend_settle(struct journal *j, struct replay *r, struct err *e)
{
    struct batch_id id = {.worker = SAVED_WORKER};
    struct settling st = {.j = j, .serial = j->batches.next_serial++};
    enum err_code rc = ERR_OK;
    st.refs = attempt_new(&id, st.serial);
    if (!st.refs)
        return err_set(e, ERR_NOMEM, "no memory to keep lines");
    pthread_mutex_lock(&j->append_lock);
    j->beyond_max++;
    for (const struct saved_run *run = r->saved; !rc && run; run = run->next) {
        if (stream_is_known(j, run))
            rc = append_saved(&st, run, e);
    }
    if (!rc)
        rc = append_settle(&st, e);
    j->beyond_max--;
    pthread_mutex_unlock(&j->append_lock);
    attempt_free(st.refs);
    return rc ? rc : sync_wait(j, st.position, e);
}
