/* tools/cmd_children.c - the processes below the supervisor: each puts its layers together. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "fs/fs.h"
#include "gateway/engine/engine.h"
#include "tools/command.h"
#include "tools/gateway_process.h"
#include "tools/node.h"

#define CONFIG_TEXT_MAX (1u << 20)

struct child_options {
    int ready_fd, fuse_fd, anchor_fd;
    bool node_died, snapshots_live, read_only, no_gateway;
    const char *scratch_dir;
};

static const struct option options[] = {
    {"ready-fd", required_argument, NULL, 'r'},
    {"fuse-fd", required_argument, NULL, 'f'},
    {"anchor-fd", required_argument, NULL, 'a'},
    {"node-died", no_argument, NULL, 'd'},
    {"snapshots-live", no_argument, NULL, 'l'},
    {"read-only", no_argument, NULL, 'o'},
    {"scratch", required_argument, NULL, 's'},
    {"no-gateway", no_argument, NULL, 'n'},
    {NULL, 0, NULL, 0},
};

static bool parse_options(int argc, char **argv, struct child_options *o)
{
    *o = (struct child_options){.ready_fd = -1, .fuse_fd = -1, .anchor_fd = -1};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'r':
            o->ready_fd = atoi(optarg);
            break;
        case 'f':
            o->fuse_fd = atoi(optarg);
            break;
        case 'a':
            o->anchor_fd = atoi(optarg);
            break;
        case 'l':
            o->snapshots_live = true;
            break;
        case 'd':
            o->node_died = true;
            break;
        case 'n':
            o->no_gateway = true;
            break;
        case 'o':
            o->read_only = true;
            break;
        case 's':
            o->scratch_dir = optarg;
            break;
        default:
            return false;
        }
    }
    return true;
}

static bool begin(int argc, char **argv, struct child_options *o, struct node *n)
{
    char name[16];
    struct err e;

    umask(077);
    snprintf(name, sizeof name, "weir-%s", argv[0]);
    prctl(PR_SET_NAME, name); /* what ps and top show */
    if (!parse_options(argc, argv, o))
        return false;
    if (node_init(n, argv[0], &e) || (o->scratch_dir && node_use_scratch(n, o->scratch_dir, &e))) {
        log_write(LOG_ERROR, "cannot start", "reason", e.msg, (char *)0);
        node_done(n);
        return false;
    }
    return true;
}

int cmd_fs(int argc, char **argv)
{
    struct child_options o;
    struct node n;
    struct buf config;
    int code;

    if (!begin(argc, argv, &o, &n))
        return EXIT_CONFIG;
    buf_init(&config, CONFIG_TEXT_MAX);
    settings_print_json(n.settings, &config);
    struct fs_config cfg = {
        .data_dir = n.data_dir,
        .mount_dir = n.mount_dir,
        .dev_fuse_fd = o.fuse_fd,
        .anchor_fd = o.anchor_fd,
        .ready_fd = o.ready_fd,
        .node_uid = getuid(),
        .owner_uid = n.owner_uid,
        .owner_gid = n.owner_gid,
        .journal_max_bytes = n.journal_max_bytes,
        .disk_reserve_bytes = n.disk_reserve_bytes,
        .segment_bytes = NODE_SEGMENT_BYTES,
        .roll_bytes = (uint64_t)settings_i64(n.settings, SET_MAX_FILE_SIZE_ON_DISK),
        .line_max_bytes = (size_t)settings_i64(n.settings, SET_LINE_MAX),
        .ingest_pending_max_bytes = (uint64_t)settings_i64(n.settings, SET_INGEST_PENDING_MAX),
        .ingest_tails_max_bytes = (uint64_t)settings_i64(n.settings, SET_INGEST_TAILS_MAX),
        .ingest_wait_ms = (uint64_t)settings_i64(n.settings, SET_INGEST_WAIT),
        .fsync_disabled = settings_bool(n.settings, SET_WAL_FSYNC_DISABLED),
        .node_died = o.node_died,
        .snapshots_live = o.snapshots_live,
        .read_only = o.read_only,
        .scratch_dir = n.scratch_dir,
        .replaced_keep_us = (uint64_t)settings_i64(n.settings, SET_REPLACED_KEEP) * 1000,
        .replaced_max_bytes = (uint64_t)settings_i64(n.settings, SET_REPLACED_MAX),
        .fuse_features = settings_text(n.settings, SET_FUSE_FEATURES),
        .commit_files = o.no_gateway ? 0 : n.commit_files,
        .threads = n.fuse_threads,
        .node_name = n.name,
        .version = WEIR_VERSION,
        .config_json = buf_ok(&config) ? config.data : "{}\n",
    };
    code = fs_run(&cfg);
    buf_done(&config);
    node_done(&n);
    return code;
}

int cmd_engine(int argc, char **argv)
{
    struct child_options o;
    struct node n;
    int code;

    if (!begin(argc, argv, &o, &n))
        return EXIT_CONFIG;
    struct engine_config cfg = {
        .socket_path = n.engine_socket,
        .mount_dir = n.mount_dir,
        .staging_dir = n.staging_dir,
        .temp_dir = n.tmp_dir,
        .memory_bytes = n.engine_memory_bytes,
        .threads = n.engine_threads,
        .max_queries = (unsigned)settings_i64(n.settings, SET_QUERY_CONCURRENCY),
        .ready_fd = o.ready_fd,
    };
    code = engine_run(&cfg);
    node_done(&n);
    return code;
}

int cmd_gateway(int argc, char **argv)
{
    struct child_options o;
    struct node n;
    int code;

    if (!begin(argc, argv, &o, &n))
        return EXIT_CONFIG;
    code = gateway_run(&n, o.ready_fd);
    node_done(&n);
    return code;
}
