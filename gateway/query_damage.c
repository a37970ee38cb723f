/* gateway/query_damage.c - sealed files that cannot be read any more, and what a query does
 * without.
 *
 * The fs process checks a file before its first open and refuses with EIO what is damaged; so the
 * files of a query that failed are opened one after the other.  What was found is remembered, so
 * that the next query leaves it out from the start, before it has sent a row; it is opened again
 * then, because a good copy may have come back.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/file_sum.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/sys.h"
#include "fs/control/control.h"
#include "gateway/query_service.h"

#define DAMAGED_MAX 10000 /* remembered; more are found again by each query */
#define PATH_TEXT_MAX 4352

struct damage {
    pthread_mutex_t lock;
    struct map parts; /* (lock) id -> nothing */
};

struct damage *query_damage_new(void)
{
    struct damage *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    pthread_mutex_init(&d->lock, NULL);
    map_init(&d->parts, DAMAGED_MAX);
    return d;
}

void query_damage_free(struct damage *d)
{
    map_done(&d->parts);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* ---- what is remembered ---- */

static struct str key_of(const struct ulid *id)
{
    return (struct str){(const char *)id->b, sizeof id->b};
}

static bool is_known(struct damage *d, const struct ulid *id)
{
    LOCK_SCOPE(&d->lock);
    return map_find(&d->parts, key_of(id)) != NULL;
}

static bool has_known(struct damage *d)
{
    LOCK_SCOPE(&d->lock);
    return d->parts.count > 0;
}

static void note(struct damage *d, const struct snapshot_file *f, bool is_damaged)
{
    char id[ULID_TEXT_LEN + 1];
    bool is_new;
    pthread_mutex_lock(&d->lock);
    is_new = is_damaged && !map_find(&d->parts, key_of(&f->id));
    if (is_new)
        map_put(&d->parts, key_of(&f->id), d); /* no room: it is found again */
    else if (!is_damaged)
        map_remove(&d->parts, key_of(&f->id));
    pthread_mutex_unlock(&d->lock);
    ulid_format(&f->id, id);
    if (is_new)
        log_write(LOG_ERROR, "queries do without a damaged file", "part", id, (char *)0);
}

/* ---- leaving out ---- */

static bool has_other_sum(int fd)
{
    struct file_sum sum = {0};
    char want[2 * sizeof sum.sha256], have[2 * sizeof sum.sha256 + 1];
    if (fgetxattr(fd, "user.weir.sha256", want, sizeof want) != (ssize_t)sizeof want)
        return false;
    enum err_code rc = file_sum_of_file(fd, &sum, NULL);
    for (size_t i = 0; i < sizeof sum.sha256; i++)
        snprintf(have + 2 * i, 3, "%02x", sum.sha256[i]);
    file_sum_done(&sum);
    return rc == ERR_IO || (!rc && memcmp(want, have, sizeof want) != 0);
}

/* The engine's error begins with the path of the file that it could not read. */
static bool is_blamed(const struct snapshot_file *f, const struct err *e)
{
    char id[ULID_TEXT_LEN + 1];
    ulid_format(&f->id, id);
    return e && e->code == ERR_CORRUPT && strstr(e->msg, id);
}

static bool is_damaged(const struct query_config *cfg, const struct snapshot_file *f,
                       const struct err *e)
{
    char path[PATH_TEXT_MAX];
    snprintf(path, sizeof path, "%s/" STR_FMT, cfg->mount_dir, STR_ARG(f->path));
    AUTO_FD int fd = sys_open(path, O_RDONLY, 0);
    if (fd < 0)
        return errno == EIO;
    return is_blamed(f, e) && has_other_sum(fd);
}

/* The first by name, the others by number. */
static void describe(struct query_plan *p)
{
    char id[ULID_TEXT_LEN + 1] = "";
    uint64_t files = 0, rows = 0;
    for (size_t i = 0; i < p->snapshot->file_count; i++) {
        if (!p->left_out[i])
            continue;
        if (files++ == 0)
            ulid_format(&p->snapshot->files[i].id, id);
        rows += p->snapshot->files[i].rows;
    }
    snprintf(p->partial, sizeof p->partial,
             "sealed file %s.parquet%s damaged: %llu rows are left out", id,
             files > 1 ? " and others are" : " is", (unsigned long long)rows);
}

/* Looks at what the plan reads; *e: why it failed, NULL: only at what is remembered. */
static bool leave_out(struct query_service *q, struct query_plan *p, const struct query_request *r,
                      const struct err *e)
{
    struct damage *d = query_service_damage(q);
    bool any = false;
    for (size_t i = 0; p->snapshot && i < p->snapshot->file_count; i++) {
        const struct snapshot_file *f = &p->snapshot->files[i];
        if (!f->is_sealed || (!e && !is_known(d, &f->id)) || !query_plan_reads(p, r, f))
            continue;
        bool bad = is_damaged(query_service_config(q), f, e);
        note(d, f, bad);
        p->left_out[i] = bad;
        any = any || bad;
    }
    if (any)
        describe(p);
    return any;
}

void query_damage_recall(struct query_service *q, struct query_plan *p,
                         const struct query_request *r)
{
    if (has_known(query_service_damage(q)))
        leave_out(q, p, r, NULL);
}

bool query_damage_found(struct query_service *q, struct query_plan *p,
                        const struct query_request *r, const struct err *e)
{
    return leave_out(q, p, r, e);
}
