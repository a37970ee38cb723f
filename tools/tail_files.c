/* tools/tail_files.c - which files of a stream are watched, and how far each was read. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"
#include "fs/name.h"
#include "tools/mounted.h"
#include "tools/tail.h"

#define RECENT_HOURS 6 /* before this one: records are taken when they are five hours late */
#define FILES_MAX (1u << 24)
#define FDS_MAX (1 << 16)    /* the node has ANCHOR_OPENS_MAX for all readers */
#define CHUNK_MAX (1u << 30) /* a line is far shorter: WEIR_LINE_MAX */
#define OUTPUT_MAX (1u << 30)

/* How long after a look at all hours the next one comes, as times what that one took: when there is
 * something new, and when there is not.  The first is far below the minute (WEIR_REPLACED_KEEP)
 * that the lines of a file can still be read after it was sealed. */
#define PAUSE_CHANGED 10
#define PAUSE_CHANGED_MAX_MS 20000
#define PAUSE_IDLE 100
#define PAUSE_IDLE_MAX_MS 60000

int32_t tail_recent_hour(void)
{
    return hour_of_us(clock_wall_us()) - RECENT_HOURS;
}

/* ---- the files that are known ---- */

static int by_id(const void *a, const void *b)
{
    const struct tail_file *x = a, *y = b;

    return ulid_cmp(&x->id, &y->id);
}

static struct tail_file *find_among(const struct tail *t, size_t count, const struct ulid *id)
{
    struct tail_file key = {.id = *id};

    return count ? bsearch(&key, t->files, count, sizeof key, by_id) : NULL;
}

struct tail_file *tail_find(const struct tail *t, const struct ulid *id)
{
    return find_among(t, t->count, id);
}

static bool make_room(struct tail *t)
{
    if (t->count < t->cap)
        return true;
    size_t cap = t->cap ? t->cap * 2 : 64;
    struct tail_file *more = cap <= FILES_MAX ? realloc(t->files, cap * sizeof *more) : NULL;
    if (!more)
        return false;
    t->files = more;
    t->cap = cap;
    return true;
}

/* ---- a look at the hours ---- */

struct scan {
    struct tail *t;
    const struct mounted_hour *hour;
    bool is_first;
    size_t known; /* files before it; the new ones stand behind them until it is over */
    size_t cut_off;
    enum err_code rc;
    struct err *e;
};

/* At the begin half of the descriptors are left for the files that come. */
static int open_watched(struct scan *s, const char *path)
{
    int max = s->is_first ? s->t->fds_max / 2 : s->t->fds_max;
    int fd = sys_open(path, O_RDONLY, 0);

    if (fd >= max) {
        sys_close(fd);
        fd = -1;
        errno = EMFILE;
    }
    if (fd >= 0)
        s->t->first_open = 0;
    else if (errno == EMFILE && !s->is_first)
        s->t->is_behind = true;
    return fd;
}

/* What stands in it now counts as read. */
static void open_first(struct scan *s, struct tail_file *f, const char *path)
{
    struct stat st;

    f->fd = open_watched(s, path);
    if (f->fd >= 0 && sys_fstat(f->fd, &st) == 0) {
        f->read_bytes = f->began_bytes = (uint64_t)st.st_size;
        return;
    }
    if (errno != ENOENT) { /* else it has just been sealed */
        s->t->unfollowed++;
        s->t->unfollowed_errno = errno;
    }
    cleanup_fd(&f->fd);
    f->fd = -1;
    f->is_done = true;
}

static void open_active(struct scan *s, struct tail_file *f, const char *hour_path,
                        const char *name)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s/%s", hour_path, name) >= PATH_MAX)
        return;
    if (s->is_first)
        open_first(s, f, path);
    else
        f->fd = open_watched(s, path);
}

/* A part that was sealed before it was seen as lines: all of it is new, and reads as text/. */
static void open_sealed(struct scan *s, struct tail_file *f, const struct mounted_hour *h)
{
    char path[PATH_MAX], name[NAME_DATA_MAX];

    name_format_data(&f->id, name);
    f->is_replaced = true;
    if (s->is_first ||
        snprintf(path, sizeof path, "%s/text/%s/%s", s->t->stream_path, h->under, name) >= PATH_MAX)
        f->is_done = true;
    else
        f->fd = open_watched(s, path);
}

static struct tail_file *know(struct scan *s, const struct ulid *id)
{
    struct tail *t = s->t;
    struct tail_file *f = find_among(t, s->known, id);

    if (f || !make_room(t))
        return f;
    f = &t->files[t->count++];
    *f = (struct tail_file){.id = *id, .hour = s->hour->hour, .fd = -1};
    return f;
}

static bool see_file(const char *name, void *ctx)
{
    struct scan *s = ctx;
    const struct mounted_hour *h = s->hour;
    struct ulid id;
    bool is_lines = name_parse_data(str_from(name), &id);
    struct tail_file *f;

    if (!is_lines && !name_parse_part(str_from(name), &id))
        return true;
    f = know(s, &id);
    if (!f) {
        s->rc = err_set(s->e, ERR_NOMEM, "more files than can be watched");
        return false;
    }
    if (f->is_done)
        return true;
    if (is_lines && f->fd < 0)
        open_active(s, f, h->path, name);
    else if (!is_lines && f->fd < 0 && f->read_bytes == 0)
        open_sealed(s, f, h);
    else if (!is_lines && f->fd < 0) {
        s->cut_off++;
        f->is_done = true;
    }
    f->is_replaced |= !is_lines;
    return true;
}

static bool see_hour(const struct mounted_hour *h, void *ctx)
{
    struct scan *s = ctx;
    enum err_code rc;

    s->hour = h;
    rc = mounted_names(h->path, see_file, s, s->e);
    if (rc)
        s->rc = rc;
    return !s->rc;
}

static void say_cut_off(size_t count)
{
    if (count == 1)
        fputs("weir tail: a file was sealed while the mount was away; its last lines may be left "
              "out\n",
              stderr);
    else if (count)
        fprintf(
            stderr,
            "weir tail: %zu files were sealed while the mount was away; their last lines may be "
            "left out\n",
            count);
}

/* The newest hours first: they get the descriptors, if there are not enough. */
static enum err_code scan(struct tail *t, int32_t from, bool is_first, struct err *e)
{
    struct scan s = {.t = t, .is_first = is_first, .known = t->count, .e = e};
    enum err_code rc = mounted_hours(t->stream_path, from, INT32_MAX, true, see_hour, &s, e);

    if (t->count != s.known)
        qsort(t->files, t->count, sizeof *t->files, by_id);
    say_cut_off(s.cut_off);
    return rc ? rc : s.rc;
}

static enum err_code scan_all(struct tail *t, const struct stat *dir, bool is_first, struct err *e)
{
    uint64_t began_ms = clock_mono_ms();

    t->is_behind = false;
    enum err_code rc = scan(t, INT32_MIN, is_first, e);
    t->all.dir_time = dir->st_mtim; /* as it was before */
    t->all.ended_ms = clock_mono_ms();
    t->all.took_ms = t->all.ended_ms - began_ms;
    t->is_behind |= rc != ERR_OK;
    return rc;
}

static uint64_t at_most(uint64_t value, uint64_t max)
{
    return value < max ? value : max;
}

static bool all_are_due(const struct tail *t, const struct stat *dir)
{
    const struct tail_all *a = &t->all;
    uint64_t passed = clock_mono_ms() - a->ended_ms;
    bool is_changed = t->is_behind || dir->st_mtim.tv_sec != a->dir_time.tv_sec ||
                      dir->st_mtim.tv_nsec != a->dir_time.tv_nsec;

    return passed >= (is_changed ? at_most(a->took_ms * PAUSE_CHANGED, PAUSE_CHANGED_MAX_MS)
                                 : at_most(a->took_ms * PAUSE_IDLE, PAUSE_IDLE_MAX_MS));
}

enum err_code tail_look(struct tail *t, struct err *e)
{
    struct stat dir;

    if (stat(t->stream_path, &dir) != 0) {
        t->is_behind = true;
        return err_sys(e, errno, "%s", t->stream_path);
    }
    if (all_are_due(t, &dir))
        return scan_all(t, &dir, false, e);
    return scan(t, tail_recent_hour(), false, e);
}

/* ---- the begin and the end ---- */

static int raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return FDS_MAX;
    if (limit.rlim_cur != limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    rlim_t most = limit.rlim_cur - limit.rlim_cur / 4;
    return most < FDS_MAX ? (int)most : FDS_MAX;
}

enum err_code tail_init(struct tail *t, const char *stream_path, const struct log_line_form *form,
                        bool is_to_follow, struct err *e)
{
    struct stat dir;

    *t = (struct tail){.stream_path = stream_path, .form = *form, .first_hour = INT32_MIN};
    buf_init(&t->out, OUTPUT_MAX);
    buf_init(&t->chunk, CHUNK_MAX);
    t->fds_max = raise_descriptor_limit();
    if (stat(stream_path, &dir) != 0)
        return err_sys(e, errno, "%s", stream_path);
    if (is_to_follow)
        return scan_all(t, &dir, true, e);
    t->first_hour = tail_recent_hour();
    return scan(t, t->first_hour, true, e);
}

void tail_done(struct tail *t)
{
    for (size_t i = 0; i < t->count; i++)
        cleanup_fd(&t->files[i].fd);
    free(t->files);
    buf_done(&t->out);
    buf_done(&t->chunk);
}
