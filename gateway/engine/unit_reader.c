/* gateway/engine/unit_reader.c - the reader of unit_reader.h. */
#include "gateway/engine/unit_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/sys.h"

#define READ_BYTES (512u << 10) /* one read, and the first size of the buffer */

#define PATH_TEXT_MAX 4096

static bool path_is_below(struct str path, const char *dir)
{
    struct str base = str_from(dir);
    if (!str_starts(path, base) || path.len <= base.len || path.ptr[base.len] != '/')
        return false;
    return !memmem(path.ptr, path.len, "/../", 4) && !memchr(path.ptr, '\0', path.len);
}

static enum err_code name_below(struct str path, const char *dir, char name[PATH_TEXT_MAX],
                                struct err *e)
{
    if (!path_is_below(path, dir))
        return err_set(e, ERR_FORBIDDEN, "file '" STR_FMT "' is not below %s", STR_ARG(path), dir);
    if (!str_copy_to(path, name, PATH_TEXT_MAX))
        return err_set(e, ERR_INVALID, "path of %zu bytes is too long", path.len);
    return ERR_OK;
}

enum err_code unit_file_open(struct unit_file *f, struct str path, const char *dir, struct err *e)
{
    char name[PATH_TEXT_MAX];
    enum err_code rc = name_below(path, dir, name, e);
    if (rc != ERR_OK)
        return rc;
    struct stat st;
    AUTO_FD int fd = sys_open(name, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0 || sys_fstat(fd, &st) != 0)
        return err_sys(e, errno, "%s", name);
    *f = (struct unit_file){take_fd(&fd), (uint64_t)st.st_size, path};
    return ERR_OK;
}

enum err_code unit_file_look(struct unit_file *f, struct str path, const char *dir, struct err *e)
{
    char name[PATH_TEXT_MAX];
    struct stat st;
    enum err_code rc = name_below(path, dir, name, e);
    if (rc != ERR_OK)
        return rc;
    if (lstat(name, &st) != 0)
        return err_sys(e, errno, "%s", name);
    *f = (struct unit_file){-1, (uint64_t)st.st_size, path};
    return ERR_OK;
}

void unit_reader_init(struct unit_reader *r, size_t line_max)
{
    *r = (struct unit_reader){.line_max = line_max, .own_fd = -1};
}

void unit_reader_done(struct unit_reader *r)
{
    cleanup_fd(&r->own_fd);
    free(r->buf);
    *r = (struct unit_reader){.own_fd = -1};
}

/* Units of one file follow each other: it stays open. */
static enum err_code take_file(struct unit_reader *r, const struct unit_file *f, struct err *e)
{
    char name[PATH_TEXT_MAX];
    if (f == r->file && (f->fd >= 0 || r->own_fd >= 0))
        return ERR_OK;
    cleanup_fd(&r->own_fd);
    r->own_fd = -1;
    r->file = f;
    if (f->fd >= 0)
        return ERR_OK;
    str_copy_to(f->path, name, sizeof name); /* it was not too long */
    r->own_fd = sys_open(name, O_RDONLY | O_NOFOLLOW, 0);
    return r->own_fd >= 0 ? ERR_OK : err_sys(e, errno, "%s", name);
}

/* Room for at least one more byte behind `filled`. */
static enum err_code make_room(struct unit_reader *r, struct err *e)
{
    if (r->pos > 0) {
        memmove(r->buf, r->buf + r->pos, r->filled - r->pos);
        r->filled -= r->pos;
        r->pos = 0;
    }
    if (r->filled < r->cap)
        return ERR_OK;
    if (r->cap >= r->line_max)
        return err_set(e, ERR_TOOBIG, STR_FMT ": line at byte %llu is longer than %zu bytes",
                       STR_ARG(r->file->path), (unsigned long long)r->at, r->line_max);
    size_t cap = r->cap ? 2 * r->cap : READ_BYTES;
    char *buf = realloc(r->buf, cap);
    if (!buf)
        return err_set(e, ERR_NOMEM, "no memory for a line of %zu bytes", cap);
    r->buf = buf;
    r->cap = cap;
    return ERR_OK;
}

/* More bytes behind `filled`; false in *more at the end of the file. */
static enum err_code read_more(struct unit_reader *r, bool *more, struct err *e)
{
    uint64_t from = r->at + (r->filled - r->pos);
    *more = from < r->file->size_bytes;
    if (!*more)
        return ERR_OK;
    enum err_code rc = make_room(r, e);
    if (rc != ERR_OK)
        return rc;
    size_t want = r->cap - r->filled;
    if (want > r->file->size_bytes - from)
        want = (size_t)(r->file->size_bytes - from);
    ssize_t n =
        sys_pread(r->own_fd >= 0 ? r->own_fd : r->file->fd, r->buf + r->filled, want, (off_t)from);
    if (n < 0)
        return err_sys(e, errno, STR_FMT ": read at byte %llu", STR_ARG(r->file->path),
                       (unsigned long long)from);
    if (n == 0)
        return err_set(e, ERR_CORRUPT, STR_FMT ": ends at byte %llu, not at %llu",
                       STR_ARG(r->file->path), (unsigned long long)from,
                       (unsigned long long)r->file->size_bytes);
    r->filled += (size_t)n;
    return ERR_OK;
}

/* The bytes up to the next newline or the end of the file; *line is empty and NULL at its end. */
static enum err_code take_line(struct unit_reader *r, struct str *line, struct err *e)
{
    size_t searched = 0;
    for (;;) {
        size_t left = r->filled - r->pos;
        const char *p = r->buf ? r->buf + r->pos : NULL;
        const char *newline = left > searched ? memchr(p + searched, '\n', left - searched) : NULL;
        if (newline) {
            *line = (struct str){p, (size_t)(newline - p)};
            r->pos += line->len + 1;
            r->at += line->len + 1;
            return ERR_OK;
        }
        searched = left;
        bool more;
        enum err_code rc = read_more(r, &more, e);
        if (rc != ERR_OK)
            return rc;
        if (!more) {
            *line = (struct str){left > 0 ? p : NULL, left};
            r->pos += left;
            r->at += left;
            return ERR_OK;
        }
    }
}

enum err_code unit_reader_start(struct unit_reader *r, const struct unit_file *f, uint64_t offset,
                                uint64_t end, struct err *e)
{
    enum err_code rc = take_file(r, f, e);
    if (rc != ERR_OK)
        return rc;
    r->end = end;
    r->pos = r->filled = 0;
    r->at = offset;
    if (offset == 0)
        return ERR_OK;
    /* The line that reaches into the unit is the one before's; if a line ends right before the
     * unit, only that newline is skipped. */
    struct str tail;
    r->at = offset - 1;
    return take_line(r, &tail, e);
}

enum err_code unit_reader_next(struct unit_reader *r, struct str *line, struct err *e)
{
    if (r->at >= r->end) {
        *line = (struct str){NULL, 0};
        return ERR_OK;
    }
    return take_line(r, line, e);
}
