/* fs/sealed/sealed.c - the store of sealed parts: opened before the journal, made consistent with
 * it, read from.
 *
 *   open:   the index -> the journal is opened and hands over each publish record (apply.c)
 *   start:  the rest of them -> staging is emptied -> what lies in place is compared with the
 *           index:
 *             in the index, or on its way                      fine
 *             pending, or the journal still has its file       never published: removed
 *             else                                             counted: `weir reindex` takes it in
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/cond.h"
#include "base/log.h"
#include "base/sys.h"
#include "fs/sealed/internal.h"

/* ---- what others count ---- */

void sealed_count(struct sealed *s, enum status_counter c, int64_t add)
{
    if (s->cfg.status)
        status_count(s->cfg.status, c, add);
}

void sealed_report(struct sealed *s, const struct err *e)
{
    log_write(LOG_ERROR, "sealed parts", "reason", e->msg, (char *)0);
    if (s->cfg.status)
        status_report(s->cfg.status, STR("sealed"), str_from(e->msg));
}

/* ---- life ---- */

static void init_locks(struct sealed *s)
{
    pthread_mutex_init(&s->lock, NULL);
    cond_init(&s->changed);
    cond_init(&s->wake);
}

static enum err_code take_config(struct sealed *s, const struct sealed_config *cfg, struct err *e)
{
    s->cfg = *cfg;
    s->cfg.data_dir = strdup(cfg->data_dir);
    s->cfg.node_name = strdup(cfg->node_name ? cfg->node_name : "");
    s->batch = calloc(1, sizeof *s->batch);
    s->checked = calloc(CHECKED_SLOTS, sizeof *s->checked);
    if (!s->cfg.data_dir || !s->cfg.node_name || !s->batch || !s->checked)
        return err_set(e, ERR_NOMEM, "no memory for the sealed parts");
    arena_init(&s->batch->arena, BATCH_MEMORY_MAX);
    return sealed_files_init(&s->files, cfg->data_dir, cfg->read_only, e);
}

static void remove_scratch(const char *dir)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    char path[PATH_MAX];

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static enum err_code make_scratch(struct sealed *s, struct err *e)
{
    if (asprintf(&s->scratch_dir, "%s/index", s->cfg.scratch_dir) < 0) {
        s->scratch_dir = NULL;
        return err_set(e, ERR_NOMEM, "no memory for a path");
    }
    remove_scratch(s->scratch_dir); /* that of a process before this one */
    return sys_mkdir(s->scratch_dir, 0700) == 0 ? ERR_OK
                                                : err_sys(e, errno, "make %s", s->scratch_dir);
}

/* A store that must not be changed is copied: records of the journal are put into the copy. */
static enum err_code copy_index(struct sealed *s, const char *path, struct err *e)
{
    struct parts *original;
    enum err_code rc = make_scratch(s, e);

    if (rc || access(path, F_OK) != 0)
        return rc;
    rc = parts_open(path, KV_LONE_READER, &original, e);
    if (rc)
        return rc;
    rc = kv_copy(parts_kv(original), s->scratch_dir, e);
    parts_close(original);
    return rc;
}

static enum err_code open_index(struct sealed *s, struct err *e)
{
    char *path = NULL;
    uint64_t segment, offset;
    enum err_code rc = ERR_OK;

    if (asprintf(&path, "%s/index", s->cfg.data_dir) < 0)
        return err_set(e, ERR_NOMEM, "no memory for a path");
    if (s->cfg.read_only)
        rc = copy_index(s, path, e);
    if (!rc)
        rc = parts_open(s->scratch_dir ? s->scratch_dir : path, KV_OWNER, &s->index, e);
    free(path);
    if (rc)
        return rc;
    rc = parts_position(s->index, &segment, &offset, e);
    if (rc == ERR_NOTFOUND)
        return ERR_OK;
    if (!rc)
        s->newest = s->covered = s->batch->position = segment << 32 | offset;
    return rc;
}

enum err_code sealed_open(const struct sealed_config *cfg, struct sealed **out, struct err *e)
{
    struct sealed *s = calloc(1, sizeof *s);
    enum err_code rc;

    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for the sealed parts");
    init_locks(s);
    rc = take_config(s, cfg, e);
    if (!rc)
        rc = open_index(s, e);
    if (rc) {
        sealed_close(s);
        return rc;
    }
    *out = s;
    return ERR_OK;
}

static void stop_threads(struct sealed *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->wake);
    pthread_mutex_unlock(&s->lock);
    sealed_scrubber_stop(s);
    sealed_keeper_stop(s);
}

void sealed_close(struct sealed *s)
{
    if (!s)
        return;
    stop_threads(s);
    sealed_free_flights(s);
    sealed_free_doomed(s);
    sealed_batch_free(s);
    parts_close(s->index);
    if (s->scratch_dir)
        remove_scratch(s->scratch_dir);
    sealed_files_done(&s->files);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    pthread_cond_destroy(&s->wake);
    free(s->scratch_dir);
    free(s->checked);
    free((void *)(uintptr_t)s->cfg.data_dir);
    free((void *)(uintptr_t)s->cfg.node_name);
    free(s);
}

uint64_t sealed_position(const struct sealed *s)
{
    return s->covered;
}

struct parts *sealed_index(struct sealed *s)
{
    return s->index;
}

/* ---- what lies in place ---- */

struct reconciled {
    struct sealed *s;
    uint64_t removed, unknown;
};

bool sealed_was_never_published(struct sealed *s, const struct sealed_found *found)
{
    struct journal_file f;

    return found->is_pending ||
           (journal_file_get(s->cfg.journal, &found->id, &f, NULL) == ERR_OK && !f.replaced);
}

static enum err_code reconcile_one(const struct sealed_found *found, void *ctx, struct err *e)
{
    struct reconciled *r = ctx;
    bool known = false;
    enum err_code rc = parts_has(r->s->index, &found->id, &known, e);

    if (rc)
        return rc;
    if (!known && sealed_is_in_flight(&found->id, r->s))
        return ERR_OK;
    if (known && found->is_pending) {
        sealed_files_unmark(&r->s->files, &found->id, found->hour);
    } else if (!known && sealed_was_never_published(r->s, found)) {
        sealed_files_remove(&r->s->files, &found->id, found->hour);
        r->removed++;
    } else if (!known) {
        r->unknown++;
    }
    return ERR_OK;
}

static enum err_code reconcile(struct sealed *s, struct err *e)
{
    struct reconciled r = {.s = s};
    enum err_code rc = sealed_files_prepare(&s->files, e);

    if (!rc)
        rc = sealed_files_each(&s->files, reconcile_one, &r, e);
    if (rc)
        return rc;
    if (r.removed > 0)
        log_printf(LOG_INFO, "sealed parts: %llu that were never published are removed",
                   (unsigned long long)r.removed);
    if (r.unknown > 0) {
        struct err note;
        err_set(&note, ERR_NOTFOUND,
                "%llu sealed files are not in the index and are not shown: run weir reindex",
                (unsigned long long)r.unknown);
        sealed_report(s, &note);
        sealed_count(s, GAUGE_SEALED_UNKNOWN, (int64_t)r.unknown);
    }
    return ERR_OK;
}

static bool count_part(const struct part *p, void *ctx)
{
    struct sealed *s = ctx;

    ulid_seed_after(&p->id); /* new ids come after it, also when the clock has gone back */
    sealed_count(s, GAUGE_SEALED_PARTS, 1);
    sealed_count(s, GAUGE_SEALED_BYTES, (int64_t)p->stored_bytes);
    return true;
}

enum err_code sealed_start(struct sealed *s, struct journal *j, struct registry *r,
                           struct status *st, struct err *e)
{
    enum err_code rc;

    s->cfg.journal = j;
    s->cfg.registry = r;
    s->cfg.status = st;
    rc = sealed_apply_rest(s, e);
    if (!rc)
        rc = sealed_show_stuck(s, e);
    if (!rc && !s->cfg.read_only)
        rc = reconcile(s, e);
    if (!rc)
        rc = parts_each(s->index, count_part, s, e);
    if (rc || s->cfg.read_only)
        return rc;
    rc = sealed_keeper_start(s, e);
    return rc ? rc : sealed_scrubber_start(s, e);
}

/* ---- reading ---- */

static struct ulid *checked_slot(struct sealed *s, const struct ulid *id)
{
    return &s->checked[str_hash((struct str){(const char *)id->b, sizeof id->b}) % CHECKED_SLOTS];
}

bool sealed_is_checked(struct sealed *s, const struct ulid *id)
{
    LOCK_SCOPE(&s->lock);
    return ulid_cmp(checked_slot(s, id), id) == 0;
}

static void note_checked(struct sealed *s, const struct ulid *id)
{
    LOCK_SCOPE(&s->lock);
    *checked_slot(s, id) = *id;
}

enum err_code sealed_check_file(struct sealed *s, const struct part *p, int fd,
                                enum sealed_check how, struct err *e)
{
    enum err_code rc = sealed_files_check(&s->files, p, fd, how, e);
    char id[ULID_TEXT_LEN + 1];

    if (rc != ERR_CORRUPT)
        return rc;
    sealed_count(s, COUNT_SEALED_DAMAGED, 1);
    ulid_format(&p->id, id);
    err_wrap(e, "sealed file %s", id);
    if (e)
        sealed_report(s, e);
    return rc;
}

static enum err_code check_once(struct sealed *s, const struct part *p, int fd, struct err *e)
{
    enum err_code rc;

    if (sealed_is_checked(s, &p->id))
        return ERR_OK;
    rc = sealed_check_file(s, p, fd, SEALED_CHECK_QUICK, e);
    if (!rc)
        note_checked(s, &p->id);
    return rc;
}

enum err_code sealed_open_file(struct sealed *s, const struct part *p, int *fd, struct err *e)
{
    AUTO_FD int opened = -1;
    enum err_code rc = sealed_files_open(&s->files, p, &opened, e);

    if (rc == ERR_NOTFOUND) /* it is in the index: lost, or set aside as damaged */
        return err_set(e, ERR_CORRUPT, "its file is gone");
    if (!rc)
        rc = check_once(s, p, opened, e);
    if (rc)
        return rc;
    *fd = take_fd(&opened);
    return ERR_OK;
}
