/* gateway/engine/table_scan.c - the open scans of all queries. */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "gateway/engine/table_scan_state.h"

static struct str id_key(const uint64_t *id)
{
    return (struct str){(const char *)id, sizeof *id};
}

static void give_places(struct scan_registry *r, size_t n)
{
    atomic_fetch_sub(&r->open_count, n);
}

static bool take_place(struct scan_registry *r)
{
    if (atomic_fetch_add(&r->open_count, 1) < r->open_max)
        return true;
    give_places(r, 1);
    return false;
}

/* The last half of what the process may open is for DuckDB, and for readers of files that do not
 * stay open. */
static size_t places(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (size_t)(limit.rlim_cur / 2) : 0;
}

static enum err_code files_open(struct table_scan *s, const char *dir, struct err *e)
{
    const struct run_table *t = s->table;
    s->files = calloc(t->line_count + 1, sizeof *s->files);
    if (!s->files)
        return err_set(e, ERR_NOMEM, "no memory for %zu files", t->line_count);
    for (size_t i = 0; i < t->line_count; i++) {
        bool stays = take_place(s->registry);
        enum err_code rc = stays ? unit_file_open(&s->files[i], t->lines[i], dir, e)
                                 : unit_file_look(&s->files[i], t->lines[i], dir, e);
        if (rc != ERR_OK) {
            give_places(s->registry, stays);
            return rc;
        }
        s->file_count++;
        s->total_bytes += s->files[i].size_bytes;
    }
    return ERR_OK;
}

static enum err_code registry_add(struct scan_registry *r, struct table_scan *s, struct err *e)
{
    LOCK_SCOPE(&r->lock);
    do {
        if (getentropy(&s->id, sizeof s->id) != 0)
            return err_sys(e, errno, "getentropy");
    } while (map_find(&r->scans, id_key(&s->id)));
    if (!map_put(&r->scans, id_key(&s->id), s))
        return err_set(e, ERR_AGAIN, "more than %d tables are being read", SCANS_MAX);
    return ERR_OK;
}

struct table_scan *table_scan_find(struct scan_registry *r, uint64_t id)
{
    LOCK_SCOPE(&r->lock);
    return map_find(&r->scans, id_key(&id));
}

enum err_code table_scan_open(struct scan_registry *r, const struct run_table *t, const char *dir,
                              const atomic_bool *cancelled, struct table_scan **out, struct err *e)
{
    struct table_scan *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for a scan");
    s->registry = r;
    s->table = t;
    s->cancelled = cancelled;
    pthread_mutex_init(&s->error_lock, NULL);
    enum err_code rc = files_open(s, dir, e);
    if (rc == ERR_OK)
        rc = registry_add(r, s, e);
    if (rc != ERR_OK) {
        table_scan_close(s);
        return rc;
    }
    *out = s;
    return ERR_OK;
}

void table_scan_close(struct table_scan *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->registry->lock);
    if (map_find(&s->registry->scans, id_key(&s->id)) == s)
        map_remove(&s->registry->scans, id_key(&s->id));
    pthread_mutex_unlock(&s->registry->lock);
    size_t stayed = 0;
    for (size_t i = 0; i < s->file_count; i++) {
        if (s->files[i].fd < 0)
            continue;
        sys_close(s->files[i].fd);
        stayed++;
    }
    give_places(s->registry, stayed);
    free(s->files);
    pthread_mutex_destroy(&s->error_lock);
    free(s);
}

uint64_t table_scan_id(const struct table_scan *s)
{
    return s->id;
}

void table_scan_counts(const struct table_scan *s, uint64_t *rows, uint64_t *bytes)
{
    *rows += atomic_load(&s->rows);
    *bytes += atomic_load(&s->bytes);
}

enum err_code table_scan_error(struct table_scan *s, struct err *e)
{
    LOCK_SCOPE(&s->error_lock);
    if (s->error.code != ERR_OK && e)
        *e = s->error;
    return s->error.code;
}

void table_scan_fail(struct table_scan *s, const struct err *e)
{
    LOCK_SCOPE(&s->error_lock);
    if (s->error.code == ERR_OK)
        s->error = *e;
}

enum err_code scan_registry_new(duckdb_connection con, struct scan_registry **out, struct err *e)
{
    struct scan_registry *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_NOMEM, "no memory for the table function weir_lines");
    pthread_mutex_init(&r->lock, NULL);
    map_init(&r->scans, SCANS_MAX);
    r->open_max = places();
    enum err_code rc = lines_table_register(con, r, e);
    if (rc != ERR_OK) {
        scan_registry_free(r);
        return rc;
    }
    *out = r;
    return ERR_OK;
}

void scan_registry_free(struct scan_registry *r)
{
    if (!r)
        return;
    map_done(&r->scans);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
