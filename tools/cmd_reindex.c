/* tools/cmd_reindex.c - `weir reindex`: makes <data>/index anew from the journal and the sealed
 * files.
 *
 * The files are asked by an engine of this command's own, which may read below <data>/sealed and
 * nowhere else.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/reindex.h"
#include "gateway/engine/client.h"
#include "gateway/engine/engine.h"
#include "tools/cli.h"
#include "tools/command.h"
#include "tools/console.h"
#include "tools/node.h"
#include "tools/supervisor.h"

#define ENGINE_START_MS 30000
#define ANSWER_MS 60000
#define ENGINE_MEMORY_BYTES ((uint64_t)512 << 20)

struct asker {
    char socket[PATH_MAX], sealed[PATH_MAX];
    pid_t engine;
    struct engine_client *client;
};

static int run_engine(const struct node *n, const struct asker *a)
{
    struct engine_config cfg = {
        .socket_path = a->socket,
        .mount_dir = a->sealed,
        .staging_dir = a->sealed,
        .temp_dir = n->tmp_dir,
        .memory_bytes = ENGINE_MEMORY_BYTES,
        .threads = 1,
        .max_queries = 1,
        .ready_fd = -1,
    };
    return engine_run(&cfg);
}

static enum err_code start_engine(const struct node *n, struct asker *a, struct err *e)
{
    if (snprintf(a->socket, sizeof a->socket, "%s/reindex.sock", n->run_dir) >= PATH_MAX ||
        snprintf(a->sealed, sizeof a->sealed, "%s/sealed", n->data_dir) >= PATH_MAX)
        return err_set(e, ERR_INVALID, "the data directory's path is too long");
    fflush(NULL);
    a->engine = fork();
    if (a->engine < 0)
        return err_sys(e, errno, "start an engine");
    if (a->engine == 0) {
        log_init("reindex", LOG_WARN, settings_bool(n->settings, SET_LOG_JSON_FORMAT));
        _exit(run_engine(n, a));
    }
    return engine_client_open(a->socket, clock_mono_ms() + ENGINE_START_MS, &a->client, e);
}

static void stop_engine(struct asker *a)
{
    engine_client_close(a->client);
    if (a->engine <= 0)
        return;
    kill(a->engine, SIGTERM);
    while (waitpid(a->engine, NULL, 0) < 0 && errno == EINTR)
        ;
}

static enum err_code ask_facts(const char *path, struct arena *a, struct str *json, void *ctx,
                               struct err *e)
{
    struct asker *asker = ctx;
    char full[PATH_MAX];
    int n = path[0] == '/' ? snprintf(full, sizeof full, "%s", path)
                           : snprintf(full, sizeof full, "%s/%s", asker->sealed, path);
    if (n >= (int)sizeof full)
        return err_set(e, ERR_INVALID, "%s: the path is too long", path);
    return engine_client_facts(asker->client, str_from(full), clock_mono_ms() + ANSWER_MS, a, json,
                               e);
}

static int report(const struct reindex_result *r)
{
    printf("%llu parts from the journal, %llu from sealed files\n",
           (unsigned long long)r->from_journal, (unsigned long long)r->from_files);
    if (r->removed)
        printf("%llu files removed that were never published; their rows are in the journal\n",
               (unsigned long long)r->removed);
    if (r->deleted)
        printf("%llu files of deleted streams removed\n", (unsigned long long)r->deleted);
    if (r->unreadable == 0)
        return 0;
    console_complain("weir reindex: %llu files could not be read and are left out: %s\n",
                     (unsigned long long)r->unreadable, r->last_problem.msg);
    return 1;
}

static enum err_code reindex(const struct node *n, struct reindex_result *result, struct err *e)
{
    struct asker asker = {0};
    struct reindex_config cfg = {.data_dir = n->data_dir,
                                 .node_name = n->name,
                                 .segment_bytes = NODE_SEGMENT_BYTES,
                                 .facts = ask_facts,
                                 .ctx = &asker};
    enum err_code rc = start_engine(n, &asker, e);
    if (!rc)
        rc = reindex_run(&cfg, result, e);
    stop_engine(&asker);
    return rc;
}

static int reindex_node(struct node *n)
{
    struct reindex_result result = {0};
    struct err e = {0};
    int lock_fd = -1;

    if (access(n->data_dir, F_OK) != 0) {
        console_complain("weir reindex: %s: %s\n", n->data_dir, strerror(errno));
        return EXIT_CONFIG;
    }
    if (node_make_dirs(n, &e) || node_lock(n, &lock_fd, &e)) {
        console_complain("weir reindex: %s\n", e.msg);
        return EXIT_CONFIG;
    }
    enum err_code rc = reindex(n, &result, &e);
    close(lock_fd);
    if (rc) {
        console_complain("weir reindex: %s\n", e.msg);
        return 1;
    }
    return report(&result);
}

static int run(int argc, char **argv)
{
    struct node n;
    struct err e;
    int code;

    if (!cli_parse(&command_reindex, &argc, &argv, NULL, &code))
        return code;
    if (node_init(&n, "reindex", &e)) {
        console_complain("weir reindex: %s\n", e.msg);
        code = EXIT_CONFIG;
    } else {
        code = reindex_node(&n);
    }
    node_done(&n);
    return code;
}

const struct cli_command command_reindex = {
    .name = "reindex",
    .arguments = "",
    .summary = "make <data>/index anew, of a stopped node",
    .about = "Removes the index of the data directory (ZO_DATA_DIR) and makes it anew from the "
             "journal and the sealed files. For when the index was lost or damaged; the node must "
             "not be running.",
    .examples = "ZO_DATA_DIR=/var/lib/weir weir reindex",
    .exit_codes = "0 done\n1 failed, or some files could not be read\n2 the command line is wrong\n"
                  "78 the settings are wrong, or the directory is in use",
    .run = run,
};
