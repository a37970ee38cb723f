/* tools/cmd_mount.c - `weir mount`: a data directory as a tree of files, without a node. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "fs/fs.h"
#include "tools/cli.h"
#include "tools/command.h"
#include "tools/node.h"
#include "tools/scratch.h"
#include "tools/supervisor.h"

struct mount_options {
    const char *data;
    bool read_only, bucket;
};

static const struct cli_option options[] = {
    {.name = "data",
     .kind = CLI_TEXT,
     .at = offsetof(struct mount_options, data),
     .value = "DIR",
     .help = "the data directory (default $ZO_DATA_DIR, else ./data/weir)"},
    {.name = "read-only",
     .letter = 'r',
     .kind = CLI_FLAG,
     .at = offsetof(struct mount_options, read_only),
     .help = "change nothing in it; the journal is replayed in memory"},
    {.name = "bucket",
     .kind = CLI_FLAG,
     .at = offsetof(struct mount_options, bucket),
     .help = "a bucket instead of a data directory: not in this version"},
    CLI_END,
};

static bool is_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* The folder to mount on is made when it is missing, but not in what is to stay as it is. */
static enum err_code check_mount_point(const struct node *n, const struct mount_options *o,
                                       struct err *e)
{
    if (o->read_only && is_below(n->mount_dir, n->data_dir) && access(n->mount_dir, F_OK) != 0 &&
        !fs_is_mounted(n->mount_dir))
        return err_set(e, ERR_INVALID, "%s is not there, and --read-only makes nothing in %s",
                       n->mount_dir, n->data_dir);
    return ERR_OK;
}

static enum err_code make_scratch(struct node *n, struct scratch *s, struct err *e)
{
    enum err_code rc = scratch_make(s, e);

    if (!rc)
        rc = node_use_scratch(n, s->path, e);
    if (!rc)
        rc = sys_mkdirs(n->staging_dir, 0700, e);
    return rc ? rc : sys_mkdirs(n->tmp_dir, 0700, e);
}

static int show(struct node *n, const struct mount_options *o)
{
    struct scratch scratch = {.fd = -1};
    struct err e;
    int code = EXIT_CONFIG;

    if (node_check_data_dir(n, &e) || check_mount_point(n, o, &e) ||
        (o->read_only && make_scratch(n, &scratch, &e))) {
        log_write(LOG_ERROR, "cannot mount", "reason", e.msg, (char *)0);
    } else {
        log_write(LOG_INFO, "starting", "version", WEIR_VERSION, "data", n->data_dir, "mount",
                  n->mount_dir, "read_only", o->read_only ? "yes" : "no", (char *)0);
        code = supervise(n, o->read_only ? SUPERVISE_READ_ONLY : SUPERVISE_MOUNT);
    }
    scratch_remove(&scratch);
    return code;
}

static int run(int argc, char **argv)
{
    struct mount_options o = {0};
    struct node n = {0};
    struct err e;
    int code;

    if (!cli_parse(&command_mount, &argc, &argv, &o, &code))
        return code;
    if (o.bucket)
        return cli_usage_error(&command_mount, "--bucket: this version knows no buckets yet, only "
                                               "data directories (--data)");
    umask(066);
    /* The processes below come to the same paths by the same environment. */
    if (o.data)
        setenv("ZO_DATA_DIR", o.data, 1);
    setenv("WEIR_MOUNT_DIR", argv[0], 1);
    if (node_init(&n, "weir", &e)) {
        log_write(LOG_ERROR, "cannot mount", "reason", e.msg, (char *)0);
        code = EXIT_CONFIG;
    } else {
        code = show(&n, &o);
    }
    node_done(&n);
    return code;
}

const struct cli_command command_mount = {
    .name = "mount",
    .arguments = "MOUNTPOINT",
    .summary = "show a data directory as files, without a node",
    .about =
        "Mounts the data directory of a stopped node, or a copy of one, and stays in the "
        "foreground. Ctrl-C, SIGTERM and fusermount3 -u MOUNTPOINT end it and take the mount away. "
        "weir ls, weir tail and every tool that reads files work on it; SQL and new lines need a "
        "node.\n\n"
        "With --read-only not a byte of the directory is changed: for backups, for a disk of "
        "another machine, for a look before a repair. Without it the mount owns the directory as a "
        "node does, and mends the end of its journal after a crash.",
    .examples = "weir mount --data /var/lib/weir --read-only /mnt/weir\n"
                "weir mount --data backup/weir -r /tmp/look &\n"
                "weir ls --mount /tmp/look",
    .exit_codes = "0 unmounted\n1 failed\n2 the command line is wrong\n"
                  "78 no data directory, or it is in use, or this machine cannot mount",
    .options = options,
    .completes = CLI_DIRS,
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run,
};
