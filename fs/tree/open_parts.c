/* fs/tree/open_parts.c - open sealed files by id, counted.
 *
 *   not there ── first take: opened, given to the kernel or kept ──► open ── last give ─┐
 *       ▲                                                                               │
 *       └───────────────────────────────────────────────────────────────────────────────┘
 *
 * A file that an earlier process read for the kernel is restored without a descriptor; the next
 * take opens it.
 *
 * Opening may read the whole file to check it, so it is done without the lock; of two threads that
 * open the same file the second throws its own away.
 */
#include "fs/tree/open_parts.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/sys.h"

struct opened {
    struct ulid id;
    unsigned users;
    int fd;              /* -1: the kernel has it, or it was restored */
    uint32_t backing_id; /* 0: fd is read by us */
};

struct open_parts {
    struct sealed *sealed;           /* immutable */
    struct passthrough *passthrough; /* immutable */
    pthread_mutex_t lock;
    struct map files; /* (lock) id -> opened */
};

static struct str key_of(const struct ulid *id)
{
    return (struct str){(const char *)id->b, sizeof id->b};
}

/* Each file that the kernel does not take costs a descriptor. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* else open files are refused earlier */
}

enum err_code open_parts_new(struct sealed *sealed, struct passthrough *passthrough,
                             struct open_parts **out, struct err *e)
{
    struct open_parts *o = calloc(1, sizeof *o);

    if (!o)
        return err_set(e, ERR_NOMEM, "no memory for open files");
    o->sealed = sealed;
    o->passthrough = passthrough;
    pthread_mutex_init(&o->lock, NULL);
    map_init(&o->files, OPEN_PARTS_MAX);
    raise_descriptor_limit();
    *out = o;
    return ERR_OK;
}

static void close_file(struct open_parts *o, struct opened *f)
{
    if (!f)
        return;
    if (f->backing_id)
        passthrough_take_back(o->passthrough, f->backing_id);
    cleanup_fd(&f->fd);
    free(f);
}

void open_parts_free(struct open_parts *o)
{
    size_t pos = 0;
    struct str key;
    void *value;

    if (!o)
        return;
    while (map_next(&o->files, &pos, &key, &value))
        close_file(o, value);
    map_done(&o->files);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

/* ---- take and give ---- */

static struct opened *use_locked(struct open_parts *o, const struct ulid *id)
{
    struct opened *f = map_find(&o->files, key_of(id));

    if (f)
        f->users++;
    return f;
}

static struct opened *use(struct open_parts *o, const struct ulid *id)
{
    LOCK_SCOPE(&o->lock);
    return use_locked(o, id);
}

static enum err_code open_file(struct open_parts *o, const struct part *p, struct opened **out,
                               struct err *e)
{
    struct opened *f = calloc(1, sizeof *f);
    enum err_code rc;

    if (!f)
        return err_set(e, ERR_NOMEM, "no memory for an open file");
    *f = (struct opened){.id = p->id, .users = 1, .fd = -1};
    rc = sealed_open_file(o->sealed, p, &f->fd, e);
    if (rc) {
        free(f);
        return rc;
    }
    if (o->passthrough && passthrough_give(o->passthrough, f->fd, &f->backing_id, NULL) == ERR_OK) {
        cleanup_fd(&f->fd);
        f->fd = -1;
    }
    *out = f;
    return ERR_OK;
}

/* *mine is given up, unless it became the one. */
static enum err_code insert(struct open_parts *o, struct opened **mine, uint32_t *backing_id,
                            struct err *e)
{
    struct opened *f;

    LOCK_SCOPE(&o->lock);
    f = use_locked(o, &(*mine)->id);
    if (!f && !map_put(&o->files, key_of(&(*mine)->id), *mine))
        return err_set(e, ERR_AGAIN, "%d sealed files are open already", OPEN_PARTS_MAX);
    if (!f) {
        f = *mine;
        *mine = NULL;
    }
    *backing_id = f->backing_id;
    return ERR_OK;
}

/* `f` is in use.  One that was restored gets its descriptor; else the use is given up. */
static enum err_code reopen(struct open_parts *o, struct opened *f, const struct part *p,
                            struct err *e)
{
    AUTO_FD int fd = -1;
    enum err_code rc;

    pthread_mutex_lock(&o->lock);
    bool is_open = f->backing_id != 0 || f->fd >= 0;
    pthread_mutex_unlock(&o->lock);
    if (is_open)
        return ERR_OK;
    rc = sealed_open_file(o->sealed, p, &fd, e);
    if (rc) {
        open_parts_give(o, &p->id);
        return rc;
    }
    pthread_mutex_lock(&o->lock);
    if (f->fd < 0)
        f->fd = take_fd(&fd);
    pthread_mutex_unlock(&o->lock);
    return ERR_OK;
}

void open_parts_restore(struct open_parts *o, const struct ulid *id, uint32_t backing_id,
                        unsigned users)
{
    struct opened *f = calloc(1, sizeof *f);

    if (!f)
        return;
    *f = (struct opened){.id = *id, .users = users, .fd = -1, .backing_id = backing_id};
    LOCK_SCOPE(&o->lock);
    if (!map_put(&o->files, key_of(id), f))
        free(f);
}

enum err_code open_parts_take(struct open_parts *o, const struct part *p, uint32_t *backing_id,
                              struct err *e)
{
    struct opened *f = use(o, &p->id);
    enum err_code rc;

    if (f) {
        *backing_id = f->backing_id;
        return reopen(o, f, p, e);
    }
    rc = open_file(o, p, &f, e);
    if (rc)
        return rc;
    rc = insert(o, &f, backing_id, e);
    close_file(o, f);
    return rc;
}

void open_parts_give(struct open_parts *o, const struct ulid *id)
{
    struct opened *f;

    pthread_mutex_lock(&o->lock);
    f = map_find(&o->files, key_of(id));
    if (f && --f->users == 0)
        map_remove(&o->files, key_of(id));
    else
        f = NULL;
    pthread_mutex_unlock(&o->lock);
    close_file(o, f);
}

size_t open_parts_count(struct open_parts *o)
{
    LOCK_SCOPE(&o->lock);
    return o->files.count;
}

/* ---- read ---- */

static enum err_code read_file(int fd, uint64_t off, char *dst, size_t n, size_t *got,
                               struct err *e)
{
    for (*got = 0; *got < n;) {
        ssize_t k = sys_pread(fd, dst + *got, n - *got, (off_t)(off + *got));
        if (k < 0)
            return err_sys(e, errno, "read a sealed file");
        if (k == 0)
            break;
        *got += (size_t)k;
    }
    return ERR_OK;
}

enum err_code open_parts_read(struct open_parts *o, const struct ulid *id, uint64_t off, void *dst,
                              size_t n, size_t *got, struct err *e)
{
    enum err_code rc = ERR_NOTFOUND;
    struct opened *f;
    int fd;

    *got = 0;
    pthread_mutex_lock(&o->lock);
    f = use_locked(o, id);
    fd = f ? f->fd : -1;
    pthread_mutex_unlock(&o->lock);
    if (fd >= 0)
        rc = read_file(fd, off, dst, n, got, e);
    if (f)
        open_parts_give(o, id);
    return rc == ERR_NOTFOUND ? err_set(e, rc, "a file that is not open here") : rc;
}

static enum err_code read_beside_kernel(struct open_parts *o, const struct part *p, uint64_t off,
                                        void *dst, size_t n, size_t *got, struct err *e)
{
    AUTO_FD int fd = -1;
    enum err_code rc = sealed_open_file(o->sealed, p, &fd, e);

    return rc ? rc : read_file(fd, off, dst, n, got, e);
}

enum err_code open_parts_read_unopened(struct open_parts *o, const struct part *p, uint64_t off,
                                       void *dst, size_t n, size_t *got, struct err *e)
{
    struct opened *f = use(o, &p->id);
    bool is_ours = f && f->backing_id == 0;
    enum err_code rc = is_ours ? reopen(o, f, p, e) : ERR_OK;

    *got = 0;
    if (rc)
        return rc;
    rc = is_ours ? open_parts_read(o, &p->id, off, dst, n, got, e)
                 : read_beside_kernel(o, p, off, dst, n, got, e);
    if (f)
        open_parts_give(o, &p->id);
    return rc;
}
