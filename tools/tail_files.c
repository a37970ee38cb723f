/* tools/tail_files.c - which files of a stream are watched, and how far each was read. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"
#include "fs/name.h"
#include "tools/mounted.h"
#include "tools/tail.h"

#define WATCHED_HOURS 6 /* before this one: records are taken when they are five hours late */
#define FILES_MAX (1u << 20)
#define CHUNK_MAX (1u << 30) /* a line is far shorter: WEIR_LINE_MAX */
#define OUTPUT_MAX (1u << 30)

int32_t tail_first_hour(void)
{
    return hour_of_us(clock_wall_us()) - WATCHED_HOURS;
}

/* Where `id` is, or would be. */
static size_t place_of(const struct tail *t, const struct ulid *id)
{
    size_t low = 0, high = t->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (ulid_cmp(&t->files[mid].id, id) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct tail_file *tail_find(const struct tail *t, const struct ulid *id)
{
    size_t at = place_of(t, id);

    return at < t->count && ulid_cmp(&t->files[at].id, id) == 0 ? &t->files[at] : NULL;
}

static struct tail_file *insert(struct tail *t, const struct ulid *id, int32_t hour)
{
    size_t at = place_of(t, id);

    if (t->count == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;
        struct tail_file *more = cap <= FILES_MAX ? realloc(t->files, cap * sizeof *more) : NULL;
        if (!more)
            return NULL;
        t->files = more;
        t->cap = cap;
    }
    memmove(&t->files[at + 1], &t->files[at], (t->count - at) * sizeof *t->files);
    t->files[at] = (struct tail_file){.id = *id, .hour = hour, .fd = -1};
    t->count++;
    return &t->files[at];
}

struct scan {
    struct tail *t;
    const struct mounted_hour *hour;
    bool is_first;
    enum err_code rc;
    struct err *e;
};

static void open_active(struct scan *s, struct tail_file *f, const char *hour_path,
                        const char *name)
{
    char path[PATH_MAX];
    struct stat st;

    if (snprintf(path, sizeof path, "%s/%s", hour_path, name) >= PATH_MAX)
        return;
    f->fd = sys_open(path, O_RDONLY, 0);
    if (f->fd >= 0 && s->is_first && sys_fstat(f->fd, &st) == 0)
        f->read_bytes = f->began_bytes = (uint64_t)st.st_size;
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
        f->fd = sys_open(path, O_RDONLY, 0);
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
    f = tail_find(s->t, &id);
    if (!f && !(f = insert(s->t, &id, h->hour))) {
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
        fputs(
            "weir tail: a file was sealed while the mount was away; its last lines are left out\n",
            stderr);
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

enum err_code tail_scan(struct tail *t, bool is_first, struct err *e)
{
    struct scan s = {.t = t, .is_first = is_first, .e = e};
    enum err_code rc =
        mounted_hours(t->stream_path, tail_first_hour(), INT32_MAX, false, see_hour, &s, e);

    return rc ? rc : s.rc;
}

enum err_code tail_init(struct tail *t, const char *stream_path, const struct log_line_form *form,
                        struct err *e)
{
    *t = (struct tail){.stream_path = stream_path, .form = *form};
    buf_init(&t->out, OUTPUT_MAX);
    buf_init(&t->chunk, CHUNK_MAX);
    return tail_scan(t, true, e);
}

void tail_done(struct tail *t)
{
    for (size_t i = 0; i < t->count; i++)
        cleanup_fd(&t->files[i].fd);
    free(t->files);
    buf_done(&t->out);
    buf_done(&t->chunk);
}
