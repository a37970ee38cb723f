/* fs/reindex.c - the index anew: the journal is replayed without being changed and hands over its
 * publish records, then every sealed file that is not known by them is asked what it is.
 */
#include "fs/reindex.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file_sum.h"
#include "base/sys.h"
#include "fs/sealed/internal.h"
#include "fs/sealed/part_json.h"
#include "fs/sealed/publish_record.h"
#include "fs/tree/schema.h"

#define DELETED_MEMORY_MAX ((size_t)256 << 20)

struct reindex {
    const struct reindex_config *cfg;
    struct reindex_result *out;
    struct sealed *sealed;
    struct journal *journal;
    char *journal_dir, *lost_found_dir, *meta_dir;
    struct arena arena;
    uint64_t *deleted; /* numbers of streams, in order; in the arena */
    size_t deleted_count, deleted_cap;
};

static enum err_code remove_old(const char *data_dir, struct err *e)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        AUTO_FREE char *path = NULL;
        if (asprintf(&path, "%s/index/%s", data_dir, names[i]) < 0)
            return err_set(e, ERR_NOMEM, "no memory for a path");
        if (sys_unlink(path) != 0 && errno != ENOENT)
            return err_sys(e, errno, "%s: remove", path);
    }
    return ERR_OK;
}

/* ---- deleted streams ---- */

static bool note_deleted(uint64_t number, struct str org, enum stream_type type, struct str name,
                         void *ctx)
{
    struct reindex *r = ctx;

    (void)org;
    (void)type;
    (void)name;
    r->deleted =
        arena_grow(&r->arena, r->deleted, r->deleted_count, &r->deleted_cap, sizeof *r->deleted);
    if (!r->deleted)
        return false;
    r->deleted[r->deleted_count++] = number;
    return true;
}

static enum err_code list_deleted(struct reindex *r, struct err *e)
{
    struct schema *schema = NULL;
    enum err_code rc = schema_new(r->meta_dir, KV_LONE_READER, &schema, e);

    if (!rc)
        rc = schema_each_deleted(schema, note_deleted, r, e);
    schema_free(schema);
    if (rc == ERR_GONE)
        return ERR_OK; /* no `meta` yet */
    return !rc && r->arena.failed ? err_set(e, ERR_NOMEM, "no memory for the deleted streams") : rc;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* A metrics part has no number of its own, and is kept for its other names.  The list is in order.
 */
static bool is_deleted(const struct reindex *r, const struct part *p)
{
    return r->deleted_count > 0 &&
           bsearch(&p->stream, r->deleted, r->deleted_count, sizeof *r->deleted, by_value);
}

/* ---- from the journal ---- */

static enum err_code is_record_deleted(struct reindex *r, const struct journal_publish *p,
                                       bool *deleted, struct err *e)
{
    struct part_column *columns;
    struct arena arena;
    struct part part;
    size_t count;
    enum err_code rc;

    if (p->record.len == 0)
        return ERR_OK;
    arena_init(&arena, BATCH_MEMORY_MAX);
    rc = publish_record_decode(p->record, &arena, &part, &columns, &count, e);
    if (!rc)
        *deleted = is_deleted(r, &part);
    arena_done(&arena);
    return rc;
}

/* Of a deleted stream only the position counts. */
static enum err_code take_record(const struct journal_publish *p, uint64_t position, void *ctx,
                                 struct err *e)
{
    struct reindex *r = ctx;
    struct journal_publish nothing = *p;
    bool deleted = false;
    enum err_code rc = is_record_deleted(r, p, &deleted, e);

    if (rc)
        return err_wrap(e, "a publish record");
    nothing.record = STR("");
    if (deleted || p->record.len == 0)
        return sealed_apply(&nothing, position, r->sealed, e);
    r->out->from_journal++;
    return sealed_apply(p, position, r->sealed, e);
}

static enum err_code open_both(struct reindex *r, struct err *e)
{
    struct sealed_config sc = {.data_dir = r->cfg->data_dir, .node_name = r->cfg->node_name};
    struct journal_config jc = {.dir = r->journal_dir,
                                .lost_found_dir = r->lost_found_dir,
                                .segment_bytes = r->cfg->segment_bytes,
                                .read_only = true,
                                .on_published = take_record,
                                .ctx = r};
    struct journal_recovery found;
    enum err_code rc = sealed_open(&sc, &r->sealed, e);

    if (!rc)
        rc = journal_open(&jc, &r->journal, &found, e);
    if (rc)
        return rc;
    r->sealed->cfg.journal = r->journal;
    return sealed_batch_flush(r->sealed, e);
}

/* ---- from the files ---- */

static enum err_code read_file(const struct sealed_files *f, struct part *p, struct err *e)
{
    AUTO_FD int fd = -1;
    struct file_sum sum;
    enum err_code rc = sealed_files_open(f, p, &fd, e);

    if (!rc)
        rc = file_sum_of_file(fd, &sum, e);
    if (rc)
        return rc;
    p->stored_bytes = sum.file_bytes;
    memcpy(p->sha256, sum.sha256, sizeof p->sha256);
    file_sum_done(&sum);
    return sealed_files_check(f, p, fd, SEALED_CHECK_QUICK, e);
}

static enum err_code ask_file(struct reindex *r, const struct sealed_found *found, struct arena *a,
                              struct part *p, struct part_column **columns, size_t *count,
                              struct err *e)
{
    const struct sealed_files *files = &r->sealed->files;
    char path[SEALED_PATH_MAX];
    struct json *v;
    struct str text;
    enum err_code rc;

    if (!sealed_files_path(files, &found->id, found->hour, path))
        return err_set(e, ERR_INVALID, "hour %d has no place", found->hour);
    rc = r->cfg->facts(path, a, &text, r->cfg->ctx, e);
    if (!rc)
        rc = json_parse(text, a, &v, e);
    if (!rc)
        rc = part_from_json(v, PART_JSON_OF_FILE, a, p, columns, count, e);
    if (!rc && (ulid_cmp(&p->id, &found->id) != 0 || p->hour != found->hour))
        rc = err_set(e, ERR_CORRUPT, "it says that it is another part");
    if (!rc)
        rc = read_file(files, p, e);
    p->node = str_from(r->cfg->node_name);
    return rc ? err_wrap(e, "%s", path) : ERR_OK;
}

/* What cannot be read is counted; only the index itself may end the run. */
static enum err_code adopt(struct reindex *r, const struct sealed_found *found, struct err *e)
{
    struct part_column *columns;
    struct err problem = {0};
    struct part p;
    size_t count;
    enum err_code rc = ask_file(r, found, &r->sealed->batch->arena, &p, &columns, &count, &problem);

    if (rc) {
        r->out->unreadable++;
        r->out->last_problem = problem;
        return ERR_OK;
    }
    if (is_deleted(r, &p)) {
        sealed_files_remove(&r->sealed->files, &found->id, found->hour);
        r->out->deleted++;
        return ERR_OK;
    }
    r->out->from_files++;
    return sealed_batch_add(r->sealed, &p, columns, count, e);
}

static enum err_code visit_file(const struct sealed_found *found, void *ctx, struct err *e)
{
    struct reindex *r = ctx;
    bool known = false;
    enum err_code rc = parts_has(r->sealed->index, &found->id, &known, e);

    if (rc || known)
        return rc;
    if (!sealed_was_never_published(r->sealed, found))
        return adopt(r, found, e);
    sealed_files_remove(&r->sealed->files, &found->id, found->hour);
    r->out->removed++;
    return ERR_OK;
}

static enum err_code rebuild(struct reindex *r, struct err *e)
{
    enum err_code rc = open_both(r, e);

    if (!rc)
        rc = sealed_files_each(&r->sealed->files, visit_file, r, e);
    if (!rc)
        rc = sealed_batch_flush(r->sealed, e);
    return rc ? rc : kv_sync_now(parts_kv(r->sealed->index), e);
}

enum err_code reindex_run(const struct reindex_config *cfg, struct reindex_result *out,
                          struct err *e)
{
    struct reindex r = {.cfg = cfg, .out = out};
    enum err_code rc = remove_old(cfg->data_dir, e);

    *out = (struct reindex_result){0};
    if (!rc && (asprintf(&r.journal_dir, "%s/journal", cfg->data_dir) < 0 ||
                asprintf(&r.lost_found_dir, "%s/lost+found", cfg->data_dir) < 0 ||
                asprintf(&r.meta_dir, "%s/meta", cfg->data_dir) < 0))
        rc = err_set(e, ERR_NOMEM, "no memory for paths");
    arena_init(&r.arena, DELETED_MEMORY_MAX);
    if (!rc)
        rc = list_deleted(&r, e);
    if (!rc)
        rc = rebuild(&r, e);
    journal_close(r.journal);
    sealed_close(r.sealed);
    free(r.journal_dir);
    free(r.lost_found_dir);
    free(r.meta_dir);
    arena_done(&r.arena);
    return rc ? err_wrap(e, "reindex") : ERR_OK;
}
