/* fs/sealed/files.c - puts the files of parts in place, finds them, compares them with their sums.
 */
#include "fs/sealed/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file_sum.h"
#include "base/sys.h"
#include "fs/name.h"

#define PARQUET ".parquet"
#define SUM ".sum"
#define PENDING ".pending"
#define HOUR_DIR_LEN 10 /* YYYYMMDDHH */
#define DIR_MODE 0700
#define FILE_MODE 0600
#define DATA_DIR_MAX (SEALED_PATH_MAX - 128) /* leaves room for the longest path below it */

struct path {
    char text[SEALED_PATH_MAX];
};

/* ---- names ---- */

static void format_hour(int32_t hour, char dst[HOUR_DIR_LEN + 1])
{
    size_t len = 0;

    for (int level = SPAN_YEAR; level <= SPAN_HOUR; level++) {
        struct span span = span_around((enum span_level)level, hour);
        len += span_format(&span, dst + len);
    }
}

static bool parse_hour(const char *name, int32_t *hour)
{
    static const size_t lens[] = {4, 2, 2, 2};
    struct span span = {0};
    size_t at = 0;

    if (strlen(name) != HOUR_DIR_LEN)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        struct span parent = span;
        if (!span_parse(i > 0 ? &parent : NULL, (struct str){name + at, lens[i]}, &span))
            return false;
        at += lens[i];
    }
    *hour = span.first;
    return true;
}

static struct path in_dir(const char *dir, const struct ulid *id, const char *suffix)
{
    char text[ULID_TEXT_LEN + 1];
    struct path p;

    ulid_format(id, text);
    if (snprintf(p.text, sizeof p.text, "%s/%s%s", dir, text, suffix) >= (int)sizeof p.text)
        p.text[0] = '\0'; /* no such path: opening it fails */
    return p;
}

static struct path hour_dir(const struct sealed_files *f, int32_t hour)
{
    char text[HOUR_DIR_LEN + 8];
    struct path p;

    format_hour(hour, text);
    snprintf(p.text, sizeof p.text, "%s/%s", f->sealed, text);
    return p;
}

static struct path in_place(const struct sealed_files *f, const struct ulid *id, int32_t hour,
                            const char *suffix)
{
    struct path dir = hour_dir(f, hour);

    return in_dir(dir.text, id, suffix);
}

bool sealed_files_path(const struct sealed_files *f, const struct ulid *id, int32_t hour,
                       char dst[SEALED_PATH_MAX])
{
    struct path p;

    if (!hour_has_place(hour))
        return false;
    p = in_place(f, id, hour, PARQUET);
    return str_copy_to(str_from(p.text), dst, SEALED_PATH_MAX);
}

bool sealed_files_has(const struct sealed_files *f, const struct ulid *id, int32_t hour)
{
    char path[SEALED_PATH_MAX];

    return sealed_files_path(f, id, hour, path) && access(path, F_OK) == 0;
}

/* "<ULID><suffix>", in our own spelling. */
static bool parse_name(const char *name, const char *suffix, struct ulid *id)
{
    char again[ULID_TEXT_LEN + 1];

    if (strlen(name) < ULID_TEXT_LEN || strcmp(name + ULID_TEXT_LEN, suffix) != 0 ||
        !ulid_parse((struct str){name, ULID_TEXT_LEN}, id))
        return false;
    ulid_format(id, again);
    return memcmp(again, name, ULID_TEXT_LEN) == 0;
}

/* ---- life ---- */

static char *below(const char *data_dir, const char *name)
{
    char *path = NULL;

    return asprintf(&path, "%s/%s", data_dir, name) < 0 ? NULL : path;
}

enum err_code sealed_files_init(struct sealed_files *f, const char *data_dir, bool read_only,
                                struct err *e)
{
    *f = (struct sealed_files){.read_only = read_only};
    if (strlen(data_dir) > DATA_DIR_MAX)
        return err_set(e, ERR_INVALID, "the path of the data directory is too long");
    f->staging = below(data_dir, "staging");
    f->sealed = below(data_dir, "sealed");
    f->lost_found = below(data_dir, "lost+found");
    if (f->staging && f->sealed && f->lost_found)
        return ERR_OK;
    sealed_files_done(f);
    return err_set(e, ERR_NOMEM, "no memory for paths");
}

void sealed_files_done(struct sealed_files *f)
{
    free(f->staging);
    free(f->sealed);
    free(f->lost_found);
    *f = (struct sealed_files){0};
}

/* Calls fn for each name of a directory but its own two; a missing directory is empty. */
typedef enum err_code (*name_fn)(const char *dir, const char *name, void *ctx, struct err *e);
static enum err_code each_name(const char *dir, name_fn fn, void *ctx, struct err *e)
{
    DIR *d = opendir(dir);
    enum err_code rc = ERR_OK;
    struct dirent *entry;

    if (!d)
        return errno == ENOENT ? ERR_OK : err_sys(e, errno, "%s: open directory", dir);
    for (errno = 0; !rc && (entry = readdir(d)); errno = 0) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = fn(dir, entry->d_name, ctx, e);
    }
    if (!rc && errno)
        rc = err_sys(e, errno, "%s: read directory", dir);
    closedir(d);
    return rc;
}

struct clearing {
    bool (*keep)(const struct ulid *id, void *ctx);
    void *ctx;
};

static bool is_kept(const struct clearing *c, const char *name)
{
    struct ulid id;

    return c->keep && (parse_name(name, PARQUET, &id) || parse_name(name, SUM, &id)) &&
           c->keep(&id, c->ctx);
}

static enum err_code clear_name(const char *dir, const char *name, void *ctx, struct err *e)
{
    struct path p;

    if (is_kept(ctx, name))
        return ERR_OK;
    snprintf(p.text, sizeof p.text, "%s/%s", dir, name);
    return sys_unlink(p.text) == 0 || errno == ENOENT ? ERR_OK
                                                      : err_sys(e, errno, "%s: remove", p.text);
}

enum err_code sealed_files_prepare(struct sealed_files *f, struct err *e)
{
    enum err_code rc = sys_mkdirs(f->staging, DIR_MODE, e);

    if (!rc)
        rc = sys_mkdirs(f->sealed, DIR_MODE, e);
    return rc ? rc : sealed_files_clear(f, NULL, NULL, e);
}

enum err_code sealed_files_clear(const struct sealed_files *f,
                                 bool (*keep)(const struct ulid *id, void *ctx), void *ctx,
                                 struct err *e)
{
    struct clearing c = {keep, ctx};

    return each_name(f->staging, clear_name, &c, e);
}

void sealed_files_unstage(const struct sealed_files *f, const struct ulid *id)
{
    struct path parquet = in_dir(f->staging, id, PARQUET);
    struct path sum = in_dir(f->staging, id, SUM);

    sys_unlink(parquet.text);
    sys_unlink(sum.text);
}

/* ---- putting in place ---- */

/* Where the piece is now: in staging, or in place after an earlier try. */
static struct path find_piece(const struct sealed_files *f, const struct part *p,
                              const char *suffix)
{
    struct path staged = in_dir(f->staging, &p->id, suffix);

    return access(staged.text, F_OK) == 0 ? staged : in_place(f, &p->id, p->hour, suffix);
}

/* Opened and durable. */
static enum err_code open_durable(const struct path *p, int *out, struct err *e)
{
    AUTO_FD int fd = sys_open(p->text, O_RDONLY | O_NOFOLLOW, 0);

    if (fd < 0)
        return err_sys(e, errno, "%s", p->text);
    if (sys_fdatasync(fd) != 0)
        return err_sys(e, errno, "%s: sync", p->text);
    *out = take_fd(&fd);
    return ERR_OK;
}

static enum err_code compare_staged(const struct part *p, int fd, int sum_fd, struct err *e)
{
    struct file_sum sum = {0};
    struct stat st;
    enum err_code rc = file_sum_read(sum_fd, &sum, e);

    if (rc)
        return rc;
    if (sys_fstat(fd, &st) != 0)
        rc = err_sys(e, errno, "stat");
    else if ((uint64_t)st.st_size != p->stored_bytes || sum.file_bytes != p->stored_bytes)
        rc = err_set(e, ERR_CORRUPT, "it has %lld bytes in place of %llu", (long long)st.st_size,
                     (unsigned long long)p->stored_bytes);
    else if (memcmp(sum.sha256, p->sha256, sizeof sum.sha256) != 0)
        rc = err_set(e, ERR_CORRUPT, "its SHA-256 is another");
    file_sum_done(&sum);
    return rc;
}

enum err_code sealed_files_check_staged(const struct sealed_files *f, const struct part *p,
                                        struct err *e)
{
    struct path parquet = find_piece(f, p, PARQUET), sum = find_piece(f, p, SUM);
    AUTO_FD int fd = -1;
    AUTO_FD int sum_fd = -1;
    enum err_code rc = open_durable(&parquet, &fd, e);

    if (!rc)
        rc = open_durable(&sum, &sum_fd, e);
    if (!rc)
        rc = compare_staged(p, fd, sum_fd, e);
    return rc ? err_wrap(e, "staged file") : ERR_OK;
}

static enum err_code make_hour_dir(const struct sealed_files *f, const char *dir, struct err *e)
{
    if (sys_mkdir(dir, DIR_MODE) == 0)
        return sys_fsync_dir(f->sealed, e);
    return errno == EEXIST ? ERR_OK : err_sys(e, errno, "%s: make directory", dir);
}

static enum err_code mark_pending(const struct sealed_files *f, const struct part *p,
                                  const char *dir, struct err *e)
{
    struct path mark = in_place(f, &p->id, p->hour, PENDING);
    int fd = sys_open(mark.text, O_WRONLY | O_CREAT | O_NOFOLLOW, FILE_MODE);

    if (fd < 0 || sys_close(fd) != 0)
        return err_sys(e, errno, "%s: create", mark.text);
    return sys_fsync_dir(dir, e);
}

static enum err_code move_piece(const struct sealed_files *f, const struct part *p,
                                const char *suffix, struct err *e)
{
    struct path from = in_dir(f->staging, &p->id, suffix);
    struct path to = in_place(f, &p->id, p->hour, suffix);

    if (sys_rename(from.text, to.text) == 0)
        return ERR_OK;
    if (errno == ENOENT && access(to.text, F_OK) == 0)
        return ERR_OK;
    return err_sys(e, errno, "%s: move to %s", from.text, to.text);
}

/* The sum goes first, so that a Parquet in place always has it.  Only the directory they come to is
 * synced: what a power cut brings back in staging is removed at start. */
enum err_code sealed_files_place(const struct sealed_files *f, const struct part *p, struct err *e)
{
    struct path dir = hour_dir(f, p->hour);
    enum err_code rc = make_hour_dir(f, dir.text, e);

    if (!rc && p->type == STREAM_METRICS)
        rc = mark_pending(f, p, dir.text, e);
    if (!rc)
        rc = move_piece(f, p, SUM, e);
    if (!rc)
        rc = move_piece(f, p, PARQUET, e);
    return rc ? rc : sys_fsync_dir(dir.text, e);
}

/* What cannot be removed now is removed at the next start. */
void sealed_files_settle(const struct sealed_files *f, const struct part *p)
{
    sealed_files_unstage(f, &p->id);
    if (p->type == STREAM_METRICS)
        sealed_files_unmark(f, &p->id, p->hour);
}

void sealed_files_unmark(const struct sealed_files *f, const struct ulid *id, int32_t hour)
{
    struct path mark = in_place(f, id, hour, PENDING);

    sys_unlink(mark.text);
}

/* The Parquet goes first: without it the others mean nothing. */
void sealed_files_remove(const struct sealed_files *f, const struct ulid *id, int32_t hour)
{
    static const char *const suffixes[] = {PARQUET, SUM, PENDING};

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        struct path p = in_place(f, id, hour, suffixes[i]);
        sys_unlink(p.text);
    }
}

/* ---- reading ---- */

/* A process that has no descriptor left says nothing about the file: the asker is to come again. */
static enum err_code cannot_open(const struct path *path, struct err *e)
{
    int sys = errno;

    if (sys == EMFILE || sys == ENFILE)
        return err_set(e, ERR_AGAIN, "%s: too many files are open", path->text);
    return err_sys(e, sys, "%s", path->text);
}

enum err_code sealed_files_open(const struct sealed_files *f, const struct part *p, int *fd,
                                struct err *e)
{
    struct path path;
    int opened;

    if (!hour_has_place(p->hour))
        return err_set(e, ERR_NOTFOUND, "hour %d has no place", p->hour);
    path = in_place(f, &p->id, p->hour, PARQUET);
    opened = sys_open(path.text, O_RDONLY | O_NOFOLLOW, 0);
    if (opened < 0)
        return cannot_open(&path, e);
    *fd = opened;
    return ERR_OK;
}

static enum err_code read_sum(const struct path *path, struct file_sum *sum, struct err *e)
{
    AUTO_FD int fd = sys_open(path->text, O_RDONLY | O_NOFOLLOW, 0);

    return fd < 0 ? cannot_open(path, e) : file_sum_read(fd, sum, e);
}

static enum err_code write_sum(const struct path *path, const struct file_sum *sum, struct err *e)
{
    AUTO_FD int fd = sys_open(path->text, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, FILE_MODE);

    if (fd < 0)
        return err_sys(e, errno, "%s", path->text);
    return file_sum_write(fd, sum, e);
}

/* Of no further use: kept aside, for whoever wants to save what can be saved. */
static void set_aside(const struct sealed_files *f, const struct part *p)
{
    static const char *const suffixes[] = {PARQUET, SUM};

    if (f->read_only || sys_mkdirs(f->lost_found, DIR_MODE, NULL))
        return;
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        struct path from = in_place(f, &p->id, p->hour, suffixes[i]);
        struct path to = in_dir(f->lost_found, &p->id, suffixes[i]);
        sys_rename(from.text, to.text);
    }
}

/* Without a sum to compare with: the whole against the SHA-256 of the index. */
static enum err_code check_whole(const struct sealed_files *f, const struct part *p,
                                 const struct path *sum_path, int fd, struct err *e)
{
    struct file_sum sum = {0};
    enum err_code rc = file_sum_of_file(fd, &sum, e);

    if (rc)
        return rc;
    if (memcmp(sum.sha256, p->sha256, sizeof sum.sha256) != 0)
        rc = err_set(e, ERR_CORRUPT, "its SHA-256 is another");
    else if (!f->read_only)
        write_sum(sum_path, &sum, NULL); /* at worst the next check is as slow as this one */
    file_sum_done(&sum);
    return rc;
}

static enum err_code compare(const struct sealed_files *f, const struct part *p, int fd,
                             enum sealed_check how, struct err *e)
{
    struct path path = in_place(f, &p->id, p->hour, SUM);
    struct file_sum sum = {0};
    enum err_code rc = read_sum(&path, &sum, e);

    if (rc == ERR_CORRUPT || rc == ERR_NOTFOUND ||
        (!rc && memcmp(sum.sha256, p->sha256, sizeof sum.sha256) != 0))
        rc = check_whole(f, p, &path, fd, e);
    else if (!rc)
        rc = how == SEALED_CHECK_WHOLE ? file_sum_check(fd, &sum, e)
                                       : file_sum_check_blocks(fd, &sum, e);
    file_sum_done(&sum);
    return rc;
}

enum err_code sealed_files_check(const struct sealed_files *f, const struct part *p, int fd,
                                 enum sealed_check how, struct err *e)
{
    enum err_code rc = compare(f, p, fd, how, e);

    if (rc == ERR_CORRUPT)
        set_aside(f, p);
    return rc;
}

/* ---- what is there ---- */

/* What one folder holds of a part. */
struct on_disk {
    struct ulid id;
    unsigned has; /* a bit for each of SUFFIXES */
};
enum { HAS_PARQUET = 1, HAS_SUM = 2, HAS_PENDING = 4 };
static const char *const SUFFIXES[] = {PARQUET, SUM, PENDING};

struct hour_content {
    struct on_disk *list;
    size_t count, cap;
};

static enum err_code note_name(const char *dir, const char *name, void *ctx, struct err *e)
{
    struct hour_content *c = ctx;
    struct on_disk found = {0};

    (void)dir;
    for (size_t i = 0; i < ARRAY_LEN(SUFFIXES) && !found.has; i++)
        found.has = parse_name(name, SUFFIXES[i], &found.id) ? 1u << i : 0;
    if (!found.has)
        return ERR_OK;
    if (c->count == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 256;
        struct on_disk *bigger = realloc(c->list, cap * sizeof *bigger);
        if (!bigger)
            return err_set(e, ERR_NOMEM, "no memory for the names of %s", dir);
        c->list = bigger;
        c->cap = cap;
    }
    c->list[c->count++] = found;
    return ERR_OK;
}

static int by_id(const void *a, const void *b)
{
    const struct on_disk *x = a, *y = b;

    return ulid_cmp(&x->id, &y->id);
}

/* One entry a part, by one pass over the names: a look for each file would cost a start more than
 * all the rest. */
static void merge_names(struct hour_content *c)
{
    size_t kept = 0;

    if (c->count == 0)
        return;
    qsort(c->list, c->count, sizeof *c->list, by_id);
    for (size_t i = 1; i < c->count; i++) {
        if (ulid_cmp(&c->list[i].id, &c->list[kept].id) == 0)
            c->list[kept].has |= c->list[i].has;
        else
            c->list[++kept] = c->list[i];
    }
    c->count = kept + 1;
}

struct walk {
    const struct sealed_files *f;
    sealed_found_fn fn;
    void *ctx;
};

/* Side files without their Parquet are of no use to anybody. */
static void remove_orphans(const char *dir, const struct on_disk *d)
{
    for (size_t i = 0; i < ARRAY_LEN(SUFFIXES); i++)
        if (d->has & 1u << i)
            sys_unlink(in_dir(dir, &d->id, SUFFIXES[i]).text);
}

static enum err_code visit_parts(const struct walk *w, const char *dir, int32_t hour,
                                 const struct hour_content *c, struct err *e)
{
    enum err_code rc = ERR_OK;

    for (size_t i = 0; i < c->count && !rc; i++) {
        const struct on_disk *d = &c->list[i];
        struct sealed_found found = {
            .id = d->id, .hour = hour, .is_pending = (d->has & HAS_PENDING) != 0};
        if (d->has & HAS_PARQUET)
            rc = w->fn(&found, w->ctx, e);
        else if (!w->f->read_only)
            remove_orphans(dir, d);
    }
    return rc;
}

static enum err_code visit_hour(const char *dir, const char *name, void *ctx, struct err *e)
{
    struct hour_content content = {0};
    struct path path;
    int32_t hour;
    enum err_code rc;

    if (!parse_hour(name, &hour))
        return ERR_OK;
    snprintf(path.text, sizeof path.text, "%s/%s", dir, name);
    rc = each_name(path.text, note_name, &content, e);
    if (!rc) {
        merge_names(&content);
        rc = visit_parts(ctx, path.text, hour, &content, e);
    }
    free(content.list);
    return rc;
}

enum err_code sealed_files_each(const struct sealed_files *f, sealed_found_fn fn, void *ctx,
                                struct err *e)
{
    struct walk w = {.f = f, .fn = fn, .ctx = ctx};

    return each_name(f->sealed, visit_hour, &w, e);
}
