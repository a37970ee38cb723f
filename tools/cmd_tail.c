/* tools/cmd_tail.c - `weir tail STREAM`: the newest lines of a stream, and those that come. */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/cli.h"
#include "tools/command.h"
#include "tools/console.h"
#include "tools/mounted.h"
#include "tools/tail.h"

#define LINES_DEFAULT 10

struct tail_options {
    const char *mount, *org;
    int64_t lines;
    int type, color;
    bool follow, json, is_short;
};

static const struct cli_option options[] = {
    {.name = "lines",
     .letter = 'n',
     .kind = CLI_NUMBER,
     .at = offsetof(struct tail_options, lines),
     .value = "N",
     .help = "how many lines (default 10)"},
    {.name = "follow",
     .letter = 'f',
     .kind = CLI_FLAG,
     .at = offsetof(struct tail_options, follow),
     .help = "go on with the lines that come, of every hour, also over a restart of the node"},
    {.name = "json",
     .kind = CLI_FLAG,
     .at = offsetof(struct tail_options, json),
     .help = "the lines as they are stored"},
    {.name = "short",
     .letter = 's',
     .kind = CLI_FLAG,
     .at = offsetof(struct tail_options, is_short),
     .help = "only time, level and message"},
    {.name = "org",
     .kind = CLI_TEXT,
     .at = offsetof(struct tail_options, org),
     .value = "ORG",
     .help = "organisation (default \"default\")"},
    {.name = "type",
     .kind = CLI_CHOICE,
     .at = offsetof(struct tail_options, type),
     .value = "TYPE",
     .choices = "logs metrics traces enrichment_tables",
     .help = "logs, metrics, traces or enrichment_tables (default logs)"},
    CLI_MOUNT_ROWS(struct tail_options),
    CLI_COLOR_ROW(struct tail_options),
    CLI_END,
};

static enum err_code tail(const struct tail_options *o, const char *stream, struct err *e)
{
    static const char *const types[] = {"logs", "logs", "metrics", "traces", "enrichment_tables"};
    struct log_line_form form = {.is_json = o->json,
                                 .is_short = o->is_short,
                                 .today_us = clock_wall_us(),
                                 .paint = {console_has_color(o->color, STDOUT_FILENO)}};
    char mount[PATH_MAX], path[PATH_MAX];
    struct mounted_stream s;
    struct tail t;
    enum err_code rc = mounted_find(o->mount, mount, e);

    if (!rc)
        rc = mounted_stream(mount, stream, o->org, types[o->type], &s, e);
    if (rc)
        return rc;
    mounted_stream_path(mount, &s, path);
    rc = tail_init(&t, path, &form, o->follow, e);
    if (!rc)
        rc = tail_last(&t, (size_t)o->lines, e);
    if (!rc && o->follow)
        rc = tail_follow(&t, e);
    tail_done(&t);
    return rc;
}

static int run(int argc, char **argv)
{
    struct tail_options o = {.org = "default", .lines = LINES_DEFAULT};
    struct err e;
    int code;

    if (!cli_parse(&command_tail, &argc, &argv, &o, &code))
        return code;
    if (o.lines > TAIL_LINES_MAX)
        return cli_usage_error(&command_tail, "--lines: at most %d", TAIL_LINES_MAX);
    if (tail(&o, argv[0], &e) == ERR_OK)
        return 0;
    console_complain("weir tail: %s\n", e.msg);
    return 1;
}

const struct cli_command command_tail = {
    .name = "tail",
    .arguments = "STREAM",
    .summary = "show the newest lines of a stream, and follow it",
    .about =
        "Prints the newest records of a stream in order of time: time (UTC), level, message, then "
        "the other fields. On a terminal the level has a colour. Sealed files are read as well as "
        "growing ones; with --follow nothing is lost when an hour ends or a file is sealed.\n\n"
        "STREAM is a name, TYPE/NAME or ORG/TYPE/NAME. The stream is read from the mount of this "
        "machine; no password is needed, only the right to read the mount.",
    .examples = "weir tail k8slogs\n"
                "weir tail -f -n 0 k8slogs\n"
                "weir tail -f --json k8slogs | jq -c 'select(.level == \"error\")'",
    .exit_codes = "0 printed\n1 no mount, no such stream, or it could not be read\n"
                  "2 the command line is wrong",
    .options = options,
    .completes = CLI_STREAMS,
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run,
};
