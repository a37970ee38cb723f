/* tools/cmd_serve.c - `weir serve`: checks the settings, then supervises the node's processes. */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "gateway/auth.h"
#include "tools/cli.h"
#include "tools/command.h"
#include "tools/node.h"
#include "tools/supervisor.h"

/* What this version cannot do is refused; what is merely unwise is said. */
static enum err_code check_settings(const struct node *n, struct err *e)
{
    const struct settings *s = n->settings;
    const char *const *unknown;
    size_t count = settings_unknown(s, &unknown);

    for (size_t i = 0; i < count; i++)
        log_write(LOG_WARN, "a setting is not known and has no effect", "name", unknown[i],
                  (char *)0);
    if (!settings_bool(s, SET_LOCAL_MODE) || strcmp(settings_text(s, SET_NODE_ROLE), "all") != 0)
        return err_set(e, ERR_INVALID,
                       "ZO_LOCAL_MODE=%s ZO_NODE_ROLE=%s: this version runs as one "
                       "node with the role all",
                       settings_text(s, SET_LOCAL_MODE), settings_text(s, SET_NODE_ROLE));
    if (!settings_bool(s, SET_WAL_LINE_MODE_ENABLED))
        return err_set(e, ERR_INVALID,
                       "ZO_WAL_LINE_MODE_ENABLED=false: this version has line mode only");
    if (settings_i64(s, SET_JOURNAL_MAX) &&
        settings_i64(s, SET_JOURNAL_MAX) < NODE_JOURNAL_MIN_BYTES)
        return err_set(e, ERR_INVALID, "WEIR_JOURNAL_MAX=%s: at least 128M, or 0 for the default",
                       settings_text(s, SET_JOURNAL_MAX));
    if (auth_password_is_known_default(settings_text(s, SET_ROOT_USER_PASSWORD)))
        log_write(LOG_WARN, "ZO_ROOT_USER_PASSWORD is a published default: change it", (char *)0);
    if (settings_bool(s, SET_WAL_FSYNC_DISABLED))
        log_write(LOG_WARN,
                  "ZO_WAL_FSYNC_DISABLED=true: acknowledged records of the last seconds "
                  "are lost in a power cut",
                  (char *)0);
    return ERR_OK;
}

static int run(int argc, char **argv)
{
    struct node n;
    struct err e;
    int code;

    if (!cli_parse(&command_serve, &argc, &argv, NULL, &code))
        return code;
    umask(066); /* the data directory is passed through on the way to the mount, nothing is read */
    if (node_init(&n, "weir", &e) || check_settings(&n, &e)) {
        log_write(LOG_ERROR, "cannot start", "reason", e.msg, (char *)0);
        node_done(&n);
        return EXIT_CONFIG;
    }
    log_write(LOG_INFO, "starting", "version", WEIR_VERSION, "data", n.data_dir, "mount",
              n.mount_dir, "node", n.name, (char *)0);
    code = supervise(&n, SUPERVISE_NODE);
    node_done(&n);
    return code;
}

const struct cli_command command_serve = {
    .name = "serve",
    .arguments = "",
    .summary = "run a node, by its ZO_* and WEIR_* settings",
    .about = "Runs a node in the foreground, by its ZO_* and WEIR_* settings (weir config lists "
             "them). SIGTERM or Ctrl-C drains and stops it.",
    .examples = "ZO_ROOT_USER_EMAIL=root@example.com ZO_ROOT_USER_PASSWORD=… \\\n"
                "    ZO_DATA_DIR=/var/lib/weir weir serve",
    .exit_codes = "0 stopped\n1 failed\n2 the command line is wrong\n"
                  "78 a setting or this machine makes a start impossible",
    .run = run,
};
