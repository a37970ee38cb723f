/* http/spool.c - making, filling, mapping and counting the nameless files of large bodies.
 *
 * An error of the disk under a view would be SIGBUS, which ends the gateway: the supervisor starts
 * another one, and nothing that was acknowledged is lost.
 */
#include "http/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/metrics.h"
#include "base/sys.h"

#define NAME_PREFIX "body-"

struct spool {
    struct spool_config cfg;                         /* immutable */
    struct metric_child *bodies, *written, *refused; /* immutable */
    struct metric_child *in_use;                     /* immutable */
    atomic_ulong names;
    pthread_t trimmer;    /* owned by open and close */
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    uint64_t used_bytes;
    unsigned files;
    struct spool_file *viewed; /* a list */
    bool stopping;
};

static const struct metric_desc BODIES = {
    .name = "zo_http_spooled_bodies",
    .help = "Request bodies, as they came or decompressed, that went to <data>/tmp.",
    .type = METRIC_COUNTER,
};
static const struct metric_desc WRITTEN = {
    .name = "zo_http_spooled_bytes",
    .help = "Bytes of request bodies written to <data>/tmp.",
    .type = METRIC_COUNTER,
};
static const struct metric_desc IN_USE = {
    .name = "zo_http_spool_bytes",
    .help = "Bytes of request bodies in <data>/tmp now; at most WEIR_SPOOL_MAX.",
    .type = METRIC_GAUGE,
};
static const struct metric_desc REFUSED = {
    .name = "zo_http_spool_refused",
    .help = "Requests answered 503 for want of room in <data>/tmp or of open files, by reason.",
    .type = METRIC_COUNTER,
    .labels = {"reason"},
};

/* ---- the folder ---- */

static enum err_code remove_left_over(const char *dir, struct err *e)
{
    DIR *d = opendir(dir);
    if (!d)
        return err_sys(e, errno, "%s", dir);
    for (const struct dirent *entry; (entry = readdir(d)) != NULL;)
        if (str_starts(str_from(entry->d_name), STR(NAME_PREFIX)))
            unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
    return ERR_OK;
}

static void spool_free(struct spool *s)
{
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Pages of a view are clean: the kernel has them again at the next read. */
static void *trimmer_main(void *arg)
{
    struct spool *s = arg;
    const struct timespec pause = {.tv_nsec = SPOOL_TRIM_MS * 1000000L};
    pthread_setname_np(pthread_self(), "http-spool");
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        for (struct spool_file *f = s->viewed; f; f = f->next)
            madvise(f->map, (size_t)f->bytes, MADV_DONTNEED);
        if (!s->viewed) {
            pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

enum err_code spool_open(const struct spool_config *cfg, struct spool **out, struct err *e)
{
    enum err_code rc = remove_left_over(cfg->dir, e);
    if (rc)
        return rc;
    struct spool *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "spool");
    s->cfg = *cfg;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->bodies = metric_only(metrics_register(&BODIES));
    s->written = metric_only(metrics_register(&WRITTEN));
    s->in_use = metric_only(metrics_register(&IN_USE));
    int sys = pthread_create(&s->trimmer, NULL, trimmer_main, s);
    if (sys != 0) {
        spool_free(s);
        return err_sys(e, sys, "start a thread");
    }
    *out = s;
    return ERR_OK;
}

void spool_close(struct spool *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->trimmer, NULL);
    spool_free(s);
}

static void count_refused(const char *reason)
{
    const struct str labels[METRIC_LABELS_MAX] = {str_from(reason)};
    metric_add(metric_child(metrics_register(&REFUSED), labels), 1);
}

static bool take_bytes(struct spool *s, uint64_t n)
{
    LOCK_SCOPE(&s->lock);
    if (n > s->cfg.total_bytes - s->used_bytes)
        return false;
    s->used_bytes += n;
    metric_set(s->in_use, (double)s->used_bytes);
    return true;
}

static void give_bytes(struct spool *s, uint64_t n)
{
    LOCK_SCOPE(&s->lock);
    s->used_bytes -= n;
    metric_set(s->in_use, (double)s->used_bytes);
}

static bool take_file(struct spool *s)
{
    LOCK_SCOPE(&s->lock);
    if (s->files >= s->cfg.files_max)
        return false;
    s->files++;
    return true;
}

static void give_file(struct spool *s)
{
    LOCK_SCOPE(&s->lock);
    s->files--;
}

/* ---- one file ---- */

/* For file systems that have no nameless files. */
static int open_named(struct spool *s)
{
    char path[PATH_MAX];
    unsigned long number = atomic_fetch_add(&s->names, 1);
    int n = snprintf(path, sizeof path, "%s/" NAME_PREFIX "%ld-%lu", s->cfg.dir, (long)getpid(),
                     number);
    if (n < 0 || (size_t)n >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    AUTO_FD int fd = sys_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || sys_unlink(path) < 0)
        return -1;
    return take_fd(&fd);
}

enum err_code spool_file_open(struct spool *s, struct spool_file *f, struct err *e)
{
    if (!take_file(s)) {
        count_refused("open_files");
        return err_set(e, ERR_AGAIN, "large request bodies are at their limit (open files)");
    }
    int fd = sys_open(s->cfg.dir, O_TMPFILE | O_RDWR, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
        fd = open_named(s);
    if (fd < 0) {
        int sys = errno;
        give_file(s);
        count_refused("file");
        return err_sys(e, sys, "a file for a large body in %s", s->cfg.dir);
    }
    *f = (struct spool_file){.spool = s, .fd = fd};
    metric_add(s->bodies, 1);
    return ERR_OK;
}

static enum err_code check_reserve(const struct spool *s, struct err *e)
{
    struct statvfs disk;
    if (s->cfg.disk_reserve_bytes == 0 || statvfs(s->cfg.dir, &disk) != 0)
        return ERR_OK; /* the write will tell */
    if ((uint64_t)disk.f_bavail * disk.f_frsize / 2 >= s->cfg.disk_reserve_bytes)
        return ERR_OK;
    return err_set(e, ERR_FULL, "the disk is full (WEIR_DISK_RESERVE)");
}

enum err_code spool_file_add(struct spool_file *f, struct str bytes, struct err *e)
{
    struct spool *s = f->spool;
    if (!take_bytes(s, bytes.len)) {
        count_refused("limit");
        return err_set(e, ERR_AGAIN, "large request bodies are at their limit (WEIR_SPOOL_MAX)");
    }
    enum err_code rc = check_reserve(s, e);
    if (!rc)
        rc = sys_write_full(f->fd, bytes.ptr, bytes.len, (off_t)f->bytes, e);
    if (rc) {
        give_bytes(s, bytes.len);
        count_refused("disk");
        return err_wrap(e, "a large body in %s", s->cfg.dir);
    }
    f->bytes += bytes.len;
    metric_add(s->written, (double)bytes.len);
    return ERR_OK;
}

static void enter_view(struct spool_file *f)
{
    LOCK_SCOPE(&f->spool->lock);
    f->prev = NULL;
    f->next = f->spool->viewed;
    if (f->next)
        f->next->prev = f;
    f->spool->viewed = f;
    pthread_cond_signal(&f->spool->changed);
}

static void leave_view(struct spool_file *f)
{
    LOCK_SCOPE(&f->spool->lock);
    if (f->prev)
        f->prev->next = f->next;
    else
        f->spool->viewed = f->next;
    if (f->next)
        f->next->prev = f->prev;
}

enum err_code spool_file_view(struct spool_file *f, struct str *out, struct err *e)
{
    *out = STR("");
    if (f->bytes == 0)
        return ERR_OK;
    if (!f->map) {
        void *map = mmap(NULL, (size_t)f->bytes, PROT_READ, MAP_PRIVATE, f->fd, 0);
        if (map == MAP_FAILED)
            return err_sys(e, errno, "map a body of %llu bytes", (unsigned long long)f->bytes);
        f->map = map;
        enter_view(f);
    }
    *out = (struct str){f->map, (size_t)f->bytes};
    return ERR_OK;
}

void spool_file_close(struct spool_file *f)
{
    if (!f->spool)
        return;
    if (f->map) {
        leave_view(f);
        munmap(f->map, (size_t)f->bytes);
    }
    sys_close(f->fd);
    give_bytes(f->spool, f->bytes);
    give_file(f->spool);
    *f = (struct spool_file){0};
}
