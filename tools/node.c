/* tools/node.c - works out paths, sizes and counts from the settings. */
#include "tools/node.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "fs/fs.h"
#include "gateway/seal.h"

#define JOURNAL_MAX_DEFAULT (UINT64_C(8) << 30)
#define ENGINE_MEMORY_DEFAULT_MAX (UINT64_C(4) << 30)
#define SETTINGS_ARENA_MAX (1u << 20)
#define HTTP_WORKERS_DEFAULT 32
#define HTTP_IO_THREADS_MAX 4
#define FUSE_THREADS_DEFAULT 8

extern char **environ;

/* An absolute path without doubled or final slashes; it need not exist. */
static const char *absolute(struct arena *a, const char *path)
{
    char cwd[PATH_MAX];
    char *joined, *to;

    while (path[0] == '.' && path[1] == '/')
        path += 2;
    if (path[0] == '/')
        joined = arena_strdup(a, str_from(path));
    else
        joined = arena_printf(a, "%s/%s", getcwd(cwd, sizeof cwd) ? cwd : "", path);
    if (!joined)
        return NULL;
    to = joined;
    for (const char *from = joined; *from; from++) {
        if (from[0] == '/' && (from[1] == '/' || (from[1] == '\0' && to != joined)))
            continue;
        *to++ = *from;
    }
    *to = '\0';
    return joined;
}

static uint64_t disk_bytes(const char *path)
{
    struct statvfs vfs;
    char *parent = strdup(path);
    uint64_t total = 0;

    /* The folder may not be there yet: ask for the nearest one that is. */
    while (parent && statvfs(parent, &vfs) != 0) {
        char *slash = strrchr(parent, '/');
        if (!slash || slash == parent)
            break;
        *slash = '\0';
    }
    if (parent && statvfs(parent, &vfs) == 0)
        total = (uint64_t)vfs.f_blocks * vfs.f_frsize;
    free(parent);
    return total;
}

static uint64_t journal_max(const struct node *n)
{
    uint64_t set = (uint64_t)settings_i64(n->settings, SET_JOURNAL_MAX);
    uint64_t quarter;

    if (set)
        return set;
    quarter = disk_bytes(n->data_dir) / 4;
    if (quarter == 0 || quarter > JOURNAL_MAX_DEFAULT)
        return JOURNAL_MAX_DEFAULT;
    return quarter > NODE_JOURNAL_MIN_BYTES ? quarter : NODE_JOURNAL_MIN_BYTES;
}

static uint64_t engine_memory(const struct settings *s)
{
    uint64_t set = (uint64_t)settings_i64(s, SET_QUERY_MEMORY_MAX);
    uint64_t quarter = (uint64_t)get_phys_pages() * (uint64_t)sysconf(_SC_PAGESIZE) / 4;

    if (set)
        return set;
    return quarter < ENGINE_MEMORY_DEFAULT_MAX ? quarter : ENGINE_MEMORY_DEFAULT_MAX;
}

/* The id a setting names, else the one of the person behind sudo, else our own. */
static int64_t owner_id(const struct settings *s, enum setting_id id, const char *sudo_name,
                        int64_t own)
{
    int64_t set = settings_i64(s, id), value;
    const char *sudo = getenv(sudo_name);

    if (set >= 0)
        return set;
    if (own == 0 && sudo && str_to_i64(str_from(sudo), &value) && value >= 0)
        return value;
    return own;
}

static unsigned pick(const struct settings *s, enum setting_id id, unsigned fallback)
{
    int64_t set = settings_i64(s, id);

    return set > 0 ? (unsigned)set : fallback;
}

/* One a core: the engine lets half of them hold lines in memory at a time. */
static unsigned seal_threads(unsigned cores)
{
    return cores < SEAL_WORKERS_MAX ? cores : SEAL_WORKERS_MAX;
}

static void work_out_counts(struct node *n)
{
    const struct settings *s = n->settings;
    int cores = get_nprocs();

    n->cores = cores > 0 ? (unsigned)cores : 1;
    n->commit_files = (unsigned)settings_i64(s, SET_COMMIT_FILES);
    n->fuse_threads = pick(s, SET_FUSE_THREADS, FUSE_THREADS_DEFAULT);
    n->http_workers = pick(s, SET_HTTP_WORKER_NUM, HTTP_WORKERS_DEFAULT);
    n->http_io_threads = pick(s, SET_HTTP_IO_THREADS,
                              n->cores < HTTP_IO_THREADS_MAX ? n->cores : HTTP_IO_THREADS_MAX);
    n->engine_threads = pick(s, SET_QUERY_THREAD_NUM, n->cores);
    n->seal_threads = pick(s, SET_FILE_MOVE_THREAD_NUM, seal_threads(n->cores));
    n->engine_memory_bytes = engine_memory(s);
    n->journal_max_bytes = journal_max(n);
    n->disk_reserve_bytes = (uint64_t)settings_i64(s, SET_DISK_RESERVE);
    n->owner_uid = (uid_t)owner_id(s, SET_MOUNT_UID, "SUDO_UID", getuid());
    n->owner_gid = (gid_t)owner_id(s, SET_MOUNT_GID, "SUDO_GID", getgid());
}

static void work_out_paths(struct node *n)
{
    const char *mount_dir = settings_text(n->settings, SET_MOUNT_DIR);
    struct arena *a = &n->arena;

    n->data_dir = absolute(a, settings_text(n->settings, SET_DATA_DIR));
    n->mount_dir = mount_dir[0] ? absolute(a, mount_dir) : arena_printf(a, "%s/mnt", n->data_dir);
    n->journal_dir = arena_printf(a, "%s/journal", n->data_dir);
    n->meta_dir = arena_printf(a, "%s/meta", n->data_dir);
    n->index_dir = arena_printf(a, "%s/index", n->data_dir);
    n->run_dir = arena_printf(a, "%s/run", n->data_dir);
    n->staging_dir = arena_printf(a, "%s/staging", n->data_dir);
    n->lost_found_dir = arena_printf(a, "%s/lost+found", n->data_dir);
    n->tmp_dir = arena_printf(a, "%s/tmp", n->data_dir);
    n->lock_path = arena_printf(a, "%s/lock", n->data_dir);
    n->fs_socket = arena_printf(a, "%s/fs.sock", n->run_dir);
    n->engine_socket = arena_printf(a, "%s/engine.sock", n->run_dir);
}

static const char *node_name(struct node *n)
{
    const char *set = settings_text(n->settings, SET_INSTANCE_NAME);
    char host[HOST_NAME_MAX + 1] = "weir";

    if (set[0])
        return set;
    (void)gethostname(host, sizeof host - 1);
    return arena_strdup(&n->arena, str_from(host));
}

enum err_code node_init(struct node *n, const char *process, struct err *e)
{
    enum log_level level = LOG_INFO;
    enum err_code rc;

    memset(n, 0, sizeof *n);
    arena_init(&n->arena, SETTINGS_ARENA_MAX);
    rc = settings_load(environ, &n->settings, e);
    if (rc)
        return rc;
    if (!log_level_parse(settings_text(n->settings, SET_LOG_LEVEL), &level))
        return err_set(e, ERR_INVALID, "RUST_LOG=%s: expected debug, info, warn or error",
                       settings_text(n->settings, SET_LOG_LEVEL));
    log_init(process, level, settings_bool(n->settings, SET_LOG_JSON_FORMAT));
    work_out_paths(n);
    work_out_counts(n);
    n->name = node_name(n);
    if (n->arena.failed)
        return err_set(e, ERR_NOMEM, "settings");
    return ERR_OK;
}

void node_done(struct node *n)
{
    settings_free(n->settings);
    arena_done(&n->arena);
    n->settings = NULL;
}

enum err_code node_use_scratch(struct node *n, const char *dir, struct err *e)
{
    struct arena *a = &n->arena;

    n->scratch_dir = n->run_dir = arena_strdup(a, str_from(dir));
    n->staging_dir = arena_printf(a, "%s/staging", dir);
    n->tmp_dir = arena_printf(a, "%s/tmp", dir);
    n->fs_socket = NULL;
    n->engine_socket = arena_printf(a, "%s/engine.sock", dir);
    return a->failed ? err_set(e, ERR_NOMEM, "no memory for paths") : ERR_OK;
}

enum err_code node_check_data_dir(const struct node *n, struct err *e)
{
    if (access(n->data_dir, R_OK | X_OK) != 0)
        return err_sys(e, errno, "%s", n->data_dir);
    if (access(n->journal_dir, F_OK) != 0)
        return err_sys(e, errno, "%s is no data directory: %s", n->data_dir, n->journal_dir);
    if (access(n->journal_dir, R_OK | X_OK) != 0)
        return err_sys(e, errno, "%s", n->journal_dir);
    return ERR_OK;
}

enum err_code node_check_places(const struct node *n, struct err *e)
{
    size_t mount_len = strlen(n->mount_dir);

    if (strncmp(n->data_dir, n->mount_dir, mount_len) == 0 &&
        (n->data_dir[mount_len] == '/' || n->data_dir[mount_len] == '\0'))
        return err_set(e, ERR_INVALID,
                       "ZO_DATA_DIR %s lies on the mount %s: the store cannot stand on itself",
                       n->data_dir, n->mount_dir);
    return ERR_OK;
}

enum err_code node_check_mount_dir(const struct node *n, struct err *e)
{
    bool full = false;
    DIR *dir;

    if (!settings_text(n->settings, SET_MOUNT_DIR)[0] || fs_is_mounted(n->mount_dir))
        return ERR_OK;
    dir = opendir(n->mount_dir);
    if (!dir)
        return ERR_OK; /* it is made, or the mount says why not */
    for (struct dirent *d; !full && (d = readdir(dir));)
        full = strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
    closedir(dir);
    if (!full)
        return ERR_OK;
    return err_set(e, ERR_INVALID,
                   "WEIR_MOUNT_DIR %s is not empty: the mount would hide that; name another folder",
                   n->mount_dir);
}

enum err_code node_make_dirs(const struct node *n, struct err *e)
{
    const char *const inside[] = {n->journal_dir, n->meta_dir,       n->index_dir, n->run_dir,
                                  n->staging_dir, n->lost_found_dir, n->tmp_dir};
    enum err_code rc = node_check_places(n, e);

    if (!rc)
        rc = sys_mkdirs(n->data_dir, 0711, e);
    for (size_t i = 0; !rc && i < sizeof inside / sizeof inside[0]; i++)
        rc = sys_mkdirs(inside[i], 0700, e);
    return rc ? err_wrap(e, "data directory") : ERR_OK;
}
