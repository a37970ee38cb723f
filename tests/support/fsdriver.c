/* tests/support/fsdriver.c - a node with nothing but its filesystem: mounts, runs the fs process in
 * a child, mounts again when it dies.
 *
 * usage: weir_fsdriver MOUNT DATADIR [--read-only]
 * A new data directory gets a `meta` that knows one stream, default/logs/app, number 1.
 * Prints `ready PID` whenever a child answers.  SIGTERM ends child and mount.
 */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sys.h"
#include "fs/fs.h"
#include "index/meta.h"

#define COMMIT_FILES 8
#define WORKERS 4
#define JOURNAL_MAX (UINT64_C(1) << 30)
#define SEGMENT_BYTES (4u << 20)

struct driver {
    const char *mount_dir, *data_dir;
    bool read_only, node_died;
    int fuse_fd;
    pid_t child;
    int last_status; /* of a child that ended */
};

static volatile sig_atomic_t stopping, child_pid;

/* Here and not only in stop(): the driver may be about to wait for the child. */
static void on_term(int number)
{
    (void)number;
    stopping = 1;
    if (child_pid > 0)
        kill(child_pid, SIGTERM);
}

static int die(const char *what, const struct err *e)
{
    fprintf(stderr, "fsdriver: %s: %s\n", what, e->msg);
    return 1;
}

/* Beside the data directory, which a read-only process must not change. */
static const char *scratch_dir(const struct driver *d)
{
    static char path[PATH_MAX];
    struct err e;

    snprintf(path, sizeof path, "%s-scratch", d->data_dir);
    return d->read_only && sys_mkdirs(path, 0700, &e) == ERR_OK ? path : NULL;
}

static void run_child(const struct driver *d, int ready_fd)
{
    struct fs_config cfg = {
        .data_dir = d->data_dir,
        .mount_dir = d->mount_dir,
        .dev_fuse_fd = d->fuse_fd,
        .anchor_fd = -1,
        .ready_fd = ready_fd,
        .node_uid = geteuid(),
        .owner_uid = geteuid(),
        .owner_gid = getegid(),
        .journal_max_bytes = JOURNAL_MAX,
        .segment_bytes = SEGMENT_BYTES,
        .line_max_bytes = 1000000,
        .ingest_pending_max_bytes = 64 << 20,
        .ingest_tails_max_bytes = 64 << 20,
        .ingest_wait_ms = 1000,
        .node_died = d->node_died,
        .read_only = d->read_only,
        .scratch_dir = scratch_dir(d),
        .commit_files = COMMIT_FILES,
        .threads = WORKERS,
        .node_name = "driver",
        .version = WEIR_VERSION,
        .config_json = "{\"driver\":true}",
        .fuse_features = getenv("WEIR_FUSE_FEATURES"),
    };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGTERM, SIG_DFL);
    log_init("fs", LOG_INFO, false);
    exit(fs_run(&cfg));
}

static enum err_code start_child(struct driver *d, struct err *e)
{
    struct fs_mount_options o = {
        .mount_dir = d->mount_dir, .owner_uid = geteuid(), .owner_gid = getegid()};
    struct fs_mount_report report;
    int ready[2];
    char byte;
    enum err_code rc = fs_mount(&o, &d->fuse_fd, &report, e);

    if (rc)
        return rc;
    if (pipe(ready) != 0)
        return err_set(e, ERR_IO, "pipe");
    d->child = fork();
    if (d->child == 0) {
        close(ready[0]);
        run_child(d, ready[1]);
    }
    close(ready[1]);
    close(d->fuse_fd);
    rc = sys_read(ready[0], &byte, 1) == 1 ? ERR_OK : err_set(e, ERR_IO, "the child ended");
    close(ready[0]);
    if (!rc) {
        printf("ready %d\n", (int)d->child);
        fflush(stdout);
    }
    return rc;
}

static enum err_code make_dirs(const struct driver *d, struct err *e)
{
    static const char *const names[] = {"journal", "run", "lost+found"};
    enum err_code rc = sys_mkdirs(d->data_dir, 0711, e);

    for (size_t i = 0; !rc && !d->read_only && i < ARRAY_LEN(names); i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", d->data_dir, names[i]);
        rc = sys_mkdirs(path, 0700, e);
    }
    return rc;
}

static enum err_code make_meta(const struct driver *d, struct err *e)
{
    static const struct meta_new_field field = {.name = {"level", 5}, .type = FIELD_UTF8};
    struct meta_stream *s;
    struct arena arena;
    struct meta *meta;
    char path[4096];
    enum err_code rc;

    snprintf(path, sizeof path, "%s/meta", d->data_dir);
    if (d->read_only || access(path, F_OK) == 0)
        return ERR_OK;
    rc = meta_open(path, KV_OWNER, &meta, e);
    if (rc)
        return rc;
    arena_init(&arena, 1u << 20);
    rc = meta_stream_make(meta, STR("default"), STREAM_LOGS, STR("app"), &arena, &s, e);
    if (!rc)
        rc = meta_stream_merge_fields(meta, s->number, &field, 1, &arena, &s, e);
    arena_done(&arena);
    meta_close(meta);
    return rc;
}

/* Until told to stop: a child that dies is replaced. */
static enum err_code keep_running(struct driver *d, struct err *e)
{
    enum err_code rc = ERR_OK;
    int status;

    while (!rc && !stopping) {
        if (!d->child)
            rc = start_child(d, e);
        child_pid = (sig_atomic_t)d->child;
        if (stopping && !rc)
            break; /* the signal came before the line above */
        if (rc || waitpid(d->child, &status, 0) != d->child)
            continue;
        child_pid = 0;
        d->child = 0;
        d->last_status = status;
        d->node_died = false;
        rc = fs_unmount(d->mount_dir, e);
    }
    return rc;
}

static int stop(struct driver *d)
{
    int status = d->last_status;
    struct err e;

    if (d->child) {
        kill(d->child, SIGTERM);
        while (waitpid(d->child, &status, 0) < 0)
            ;
    }
    if (fs_unmount(d->mount_dir, &e))
        return die("unmount", &e);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
    struct driver d = {.node_died = true};
    struct sigaction term = {.sa_handler = on_term}; /* no SA_RESTART: waitpid returns */
    struct err e;
    enum err_code rc;
    int code;

    if (argc < 3) {
        fprintf(stderr, "usage: %s MOUNT DATADIR [--read-only]\n", argv[0]);
        return 2;
    }
    d.mount_dir = argv[1];
    d.data_dir = argv[2];
    d.read_only = argc > 3 && strcmp(argv[3], "--read-only") == 0;
    sigaction(SIGTERM, &term, NULL);
    rc = make_dirs(&d, &e);
    if (!rc)
        rc = make_meta(&d, &e);
    if (!rc)
        rc = keep_running(&d, &e);
    code = stop(&d);
    return rc ? die("cannot run", &e) : code;
}
