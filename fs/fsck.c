/* fs/fsck.c - checks a data directory that nobody uses, in this order:
 *
 *   meta     every record is read; each has a checksum
 *   index    a copy of it is opened, so that records of the journal can be put into it
 *   journal  every frame of every segment, by the same replay as at a start, in memory
 *   parts    what index and journal say is sealed: is the file there, and is it that one?
 *   files    what is in place and nobody knows of; what is staged; what was set aside before
 */
#include "fs/fsck.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file_sum.h"
#include "base/sys.h"
#include "fs/sealed/internal.h"

#define SAW_MAX 640

struct fsck {
    const struct fsck_config *cfg;
    struct fsck_report *out;
    struct sealed *sealed; /* NULL: the index cannot be read */
    struct sealed_files files;
    struct journal *journal;
    char *journal_dir, *lost_found_dir, *meta_dir, *index_dir;
};

static void tell(struct fsck *c, enum fsck_level level, const char *mend, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void tell(struct fsck *c, enum fsck_level level, const char *mend, const char *fmt, ...)
{
    char saw[SAW_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(saw, sizeof saw, fmt, args);
    va_end(args);
    c->out->told[level]++;
    c->cfg->tell(level, saw, mend, c->cfg->ctx);
}

/* ---- meta ---- */

static bool count_stream(const struct meta_stream *s, void *ctx)
{
    (void)s;
    ((struct fsck *)ctx)->out->streams++;
    return true;
}

static bool pass_record(struct str key, struct str value, uint64_t revision, void *ctx)
{
    (void)key;
    (void)value;
    (void)revision;
    (void)ctx;
    return true;
}

/* Each value is compared with its checksum on the way. */
static enum err_code read_every_record(struct kv *kv, struct err *e)
{
    struct kv_txn *txn;
    enum err_code rc = kv_begin(kv, false, &txn, e);

    if (rc)
        return rc;
    rc = kv_list(txn, STR(""), STR(""), pass_record, NULL, e);
    kv_abort(txn);
    return rc;
}

/* LMDB follows numbers on its pages without a checksum, and one that points past the end of the
 * file ends the process: a child goes first. */
static enum err_code probe_store(const char *path, struct err *e)
{
    struct kv_options o = {.path = path, .access = KV_LONE_READER};
    struct kv *kv = NULL;
    pid_t pid = fork();
    int status = 0;

    if (pid < 0)
        return err_sys(e, errno, "start a process");
    if (pid == 0) {
        enum err_code rc = ERR_OK;
        prctl(PR_SET_DUMPABLE, 0); /* an end by signal is no news */
        rc = kv_open(&o, &kv, NULL);
        _exit((int)(rc ? rc : read_every_record(kv, NULL)));
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status))
        return err_set(e, ERR_CORRUPT, "%s: a page points past the end of the file", path);
    if (WEXITSTATUS(status) == 0)
        return ERR_OK;
    if (WEXITSTATUS(status) == ERR_NOTFOUND)
        return err_set(e, ERR_NOTFOUND, "%s: there is none", path);
    return err_set(e, ERR_CORRUPT, "%s: a page or record is damaged", path);
}

static void check_meta(struct fsck *c)
{
    struct meta *meta = NULL;
    struct err e = {0};
    enum err_code rc = probe_store(c->meta_dir, &e);

    if (!rc)
        rc = meta_open(c->meta_dir, KV_LONE_READER, &meta, &e);
    if (!rc)
        rc = meta_stream_list(meta, STR(""), true, count_stream, c, &e);
    meta_close(meta);
    if (rc == ERR_NOTFOUND)
        tell(c, FSCK_NOTE, "the first start makes it", "meta: there is none yet");
    else if (rc)
        tell(
            c, FSCK_BAD,
            "restore <data>/meta from a backup; without one, remove it: streams, schemas and users "
            "begin anew, and the lines stay",
            "meta cannot be read: %s", e.msg);
}

/* ---- index and journal ---- */

static void open_index(struct fsck *c)
{
    struct sealed_config sc = {.data_dir = c->cfg->data_dir,
                               .node_name = "",
                               .read_only = true,
                               .scratch_dir = c->cfg->scratch_dir};
    struct err e = {0};
    enum err_code rc = probe_store(c->index_dir, &e);

    if (rc == ERR_NOTFOUND)
        rc = ERR_OK; /* all is in the journal, or was lost: then the files are unknown */
    if (!rc)
        rc = sealed_open(&sc, &c->sealed, &e);
    if (!rc)
        return;
    c->sealed = NULL;
    tell(c, FSCK_BAD, "weir reindex makes it anew from the journal and the sealed files",
         "the index cannot be read: %s", e.msg);
}

static enum err_code take_record(const struct journal_publish *p, uint64_t position, void *ctx,
                                 struct err *e)
{
    struct fsck *c = ctx;

    return c->sealed ? sealed_apply(p, position, c->sealed, e) : ERR_OK;
}

static void tell_damage(uint32_t segment, uint32_t from, uint32_t to, const char *kind, void *ctx)
{
    struct fsck *c = ctx;

    if (strcmp(kind, "torn") == 0)
        tell(c, FSCK_NOTE, "the next start keeps its whole lines and goes on behind them",
             "journal/%010" PRIu32 ".wal: a torn end of %" PRIu32 " bytes at %" PRIu32
             ", never acknowledged",
             segment, to - from, from);
    else
        tell(c, FSCK_BAD,
             "the next start copies it to <data>/lost+found and keeps every good frame around it; "
             "what it held can only come from the sender again",
             "journal/%010" PRIu32 ".wal: %" PRIu32 " damaged bytes at %" PRIu32, segment,
             to - from, from);
}

static void check_journal(struct fsck *c)
{
    struct journal_config jc = {.dir = c->journal_dir,
                                .lost_found_dir = c->lost_found_dir,
                                .segment_bytes = c->cfg->segment_bytes,
                                .node_died = true,
                                .read_only = true,
                                .check_all = true,
                                .on_published = take_record,
                                .on_damage = tell_damage,
                                .covered = c->sealed ? sealed_position(c->sealed) : 0,
                                .ctx = c};
    struct err e = {0};
    enum err_code rc = journal_open(&jc, &c->journal, &c->out->journal, &e);

    if (!rc && c->sealed) {
        c->sealed->cfg.journal = c->journal;
        rc = sealed_batch_flush(c->sealed, &e);
    }
    if (rc)
        tell(c, FSCK_BAD, "see the reason; copy <data>/journal before anything is changed",
             "the journal cannot be replayed: %s", e.msg);
}

/* ---- sealed parts ---- */

/* <id>.sum beside <id>.parquet. */
static void side_path(const char *path, char side[SEALED_PATH_MAX])
{
    snprintf(side, SEALED_PATH_MAX, "%.*s.sum", (int)(strlen(path) - strlen(".parquet")), path);
}

/* Is the side file good?  It is made again when not, so nothing is lost. */
static void check_sum(struct fsck *c, const struct part *p, const char *path, const char *id)
{
    struct file_sum sum = {0};
    char side[SEALED_PATH_MAX];
    struct err e = {0};
    enum err_code rc = ERR_OK;

    side_path(path, side);
    AUTO_FD int fd = sys_open(side, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0)
        rc = err_sys(&e, errno, "open");
    else
        rc = file_sum_read(fd, &sum, &e);
    if (!rc && memcmp(sum.sha256, p->sha256, sizeof sum.sha256) != 0)
        rc = err_set(&e, ERR_CORRUPT, "it is of another file");
    if (rc)
        tell(c, FSCK_WARN, "the next read of the part makes it again", "%s.sum: %s", id, e.msg);
    file_sum_done(&sum);
}

static void tell_missing(struct fsck *c, const struct part *p, const char *path,
                         const struct err *e)
{
    c->out->missing++;
    tell(c, FSCK_BAD,
         "put the file back from a backup; else weir reindex forgets the part, and its rows are "
         "lost",
         "%s: %" PRIu64 " rows of " STR_FMT "/%s/" STR_FMT ": %s", path, p->rows, STR_ARG(p->org),
         stream_type_name(p->type), STR_ARG(p->name), e->sys ? strerror(e->sys) : e->msg);
}

static enum err_code compare(struct fsck *c, const struct part *p, int fd, struct err *e)
{
    struct stat st;

    if (sys_fstat(fd, &st) != 0)
        return err_sys(e, errno, "size");
    if ((uint64_t)st.st_size != p->stored_bytes)
        return err_set(e, ERR_CORRUPT, "it has %lld bytes, and had %" PRIu64 " when it was sealed",
                       (long long)st.st_size, p->stored_bytes);
    return c->cfg->is_quick ? ERR_OK : sealed_files_check(&c->files, p, fd, SEALED_CHECK_WHOLE, e);
}

static bool check_part(const struct part *p, void *ctx)
{
    char path[SEALED_PATH_MAX], id[ULID_TEXT_LEN + 1];
    struct fsck *c = ctx;
    struct err e = {0};
    AUTO_FD int fd = -1;
    enum err_code rc;

    if (c->cfg->progress)
        c->cfg->progress(c->out->parts, c->cfg->ctx);
    c->out->parts++;
    c->out->part_rows += p->rows;
    c->out->part_bytes += p->stored_bytes;
    ulid_format(&p->id, id);
    if (p->state == PART_REMOTE)
        return true; /* it is not on this disk */
    if (!sealed_files_path(&c->files, &p->id, p->hour, path) ||
        sealed_files_open(&c->files, p, &fd, &e)) {
        tell_missing(c, p, path, &e);
        return true;
    }
    rc = compare(c, p, fd, &e);
    if (rc) {
        c->out->damaged++;
        tell(c, FSCK_BAD,
             "put the file back from a backup; else the next read moves it to <data>/lost+found, "
             "and queries say that they are partial",
             "%s: %s", path, e.msg);
    } else {
        check_sum(c, p, path, id);
    }
    return true;
}

/* ---- files ---- */

static void tell_unknown(struct fsck *c, const struct sealed_found *found, const char *path)
{
    if (sealed_was_never_published(c->sealed, found)) {
        tell(c, FSCK_NOTE, "the next start removes it; its rows are in the journal",
             "%s: was never published", path);
        return;
    }
    c->out->unknown++;
    tell(c, FSCK_BAD, "weir reindex takes it up again", "%s: is not in the index, so not shown",
         path);
}

/* Without an index a file can still be compared with its own sum. */
static void check_alone(struct fsck *c, const char *path)
{
    struct file_sum sum = {0};
    struct err e = {0};
    char side[SEALED_PATH_MAX];
    enum err_code rc;

    side_path(path, side);
    AUTO_FD int side_fd = sys_open(side, O_RDONLY | O_NOFOLLOW, 0);
    AUTO_FD int fd = sys_open(path, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0 || side_fd < 0)
        rc = err_sys(&e, errno, "open");
    else if (!(rc = file_sum_read(side_fd, &sum, &e)))
        rc = c->cfg->is_quick ? ERR_OK : file_sum_check(fd, &sum, &e);
    file_sum_done(&sum);
    c->out->parts++;
    if (!rc)
        return;
    c->out->damaged++;
    tell(c, FSCK_BAD, "put the file back from a backup", "%s: %s", path, e.msg);
}

static enum err_code see_file(const struct sealed_found *found, void *ctx, struct err *e)
{
    struct fsck *c = ctx;
    char path[SEALED_PATH_MAX];
    bool known = false;
    enum err_code rc;

    if (!sealed_files_path(&c->files, &found->id, found->hour, path))
        return ERR_OK;
    if (!c->sealed) {
        check_alone(c, path);
        return ERR_OK;
    }
    rc = parts_has(c->sealed->index, &found->id, &known, e);
    if (!rc && !known)
        tell_unknown(c, found, path);
    return rc;
}

static uint64_t count_names(const char *dir)
{
    uint64_t count = 0;
    DIR *d = opendir(dir);

    for (struct dirent *ent; d && (ent = readdir(d));)
        count += ent->d_name[0] != '.';
    if (d)
        closedir(d);
    return count;
}

static void check_leftovers(struct fsck *c)
{
    c->out->staged = count_names(c->files.staging);
    c->out->set_aside = count_names(c->lost_found_dir);
    if (c->out->staged)
        tell(c, FSCK_NOTE, "the next start removes them", "%" PRIu64 " unfinished files in %s",
             c->out->staged, c->files.staging);
    if (c->out->set_aside)
        tell(c, FSCK_WARN, "look at what can be saved, then remove them",
             "%" PRIu64 " files were found damaged before: %s", c->out->set_aside,
             c->lost_found_dir);
}

static enum err_code check_parts(struct fsck *c, struct err *e)
{
    struct err why = {0};

    if (c->sealed && parts_each(c->sealed->index, check_part, c, &why))
        tell(c, FSCK_BAD, "weir reindex makes it anew from the journal and the sealed files",
             "the index is damaged: %s", why.msg);
    return sealed_files_each(&c->files, see_file, c, e);
}

/* ---- run ---- */

static enum err_code prepare(struct fsck *c, struct err *e)
{
    if (asprintf(&c->journal_dir, "%s/journal", c->cfg->data_dir) < 0 ||
        asprintf(&c->lost_found_dir, "%s/lost+found", c->cfg->data_dir) < 0 ||
        asprintf(&c->meta_dir, "%s/meta", c->cfg->data_dir) < 0 ||
        asprintf(&c->index_dir, "%s/index", c->cfg->data_dir) < 0)
        return err_set(e, ERR_NOMEM, "no memory for paths");
    return sealed_files_init(&c->files, c->cfg->data_dir, true, e);
}

enum err_code fsck_run(const struct fsck_config *cfg, struct fsck_report *out, struct err *e)
{
    struct fsck c = {.cfg = cfg, .out = out};
    enum err_code rc;

    *out = (struct fsck_report){0};
    rc = prepare(&c, e);
    if (!rc) {
        check_meta(&c);
        open_index(&c);
        check_journal(&c);
        rc = c.journal ? check_parts(&c, e) : ERR_OK;
    }
    if (!rc)
        check_leftovers(&c);
    journal_close(c.journal);
    sealed_close(c.sealed);
    sealed_files_done(&c.files);
    free(c.journal_dir);
    free(c.lost_found_dir);
    free(c.meta_dir);
    free(c.index_dir);
    return rc ? err_wrap(e, "check %s", cfg->data_dir) : ERR_OK;
}
