/* tools/cmd_doctor.c - `weir doctor`: will a node run here, and if not, how to mend it. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "tools/cli.h"
#include "tools/command.h"
#include "tools/console.h"
#include "tools/doctor.h"

#define OUTPUT_MAX (1u << 20)
#define WIDTH 80
#define TEXT_COLUMN 18 /* "warn  open files  " */

struct doctor_options {
    bool json;
    int color;
};

static const struct cli_option options[] = {
    {.name = "json",
     .kind = CLI_FLAG,
     .at = offsetof(struct doctor_options, json),
     .help = "one JSON object a line: check, verdict, saw, mend"},
    CLI_COLOR_ROW(struct doctor_options),
    CLI_END,
};

static const struct {
    const char *name;
    enum style style;
} verdicts[] = {[VERDICT_OK] = {"ok", STYLE_GREEN},
                [VERDICT_NOTE] = {"note", STYLE_CYAN},
                [VERDICT_WARN] = {"warn", STYLE_YELLOW},
                [VERDICT_BAD] = {"bad", STYLE_RED}};

void finding_seen(struct finding *f, enum verdict v, const char *fmt, ...)
{
    va_list args;

    f->verdict = v;
    f->mend[0] = '\0';
    va_start(args, fmt);
    vsnprintf(f->saw, sizeof f->saw, fmt, args);
    va_end(args);
}

void finding_mend(struct finding *f, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(f->mend, sizeof f->mend, fmt, args);
    va_end(args);
}

struct report {
    const struct doctor_options *o;
    struct paint paint;
    unsigned counts[ARRAY_LEN(verdicts)];
};

static void print_json(const char *name, const struct finding *f)
{
    struct buf out;
    struct json_writer w = {.out = &out};

    buf_init(&out, OUTPUT_MAX);
    jw_object(&w);
    jw_kcstr(&w, "check", name);
    jw_kcstr(&w, "verdict", verdicts[f->verdict].name);
    jw_kcstr(&w, "saw", f->saw);
    if (f->mend[0])
        jw_kcstr(&w, "mend", f->mend);
    jw_end(&w);
    buf_add_char(&out, '\n');
    console_flush(&out);
    buf_done(&out);
}

static void print_finding(const struct report *r, const char *name, const struct finding *f)
{
    struct buf out;

    buf_init(&out, OUTPUT_MAX);
    paint_begin(&out, r->paint, verdicts[f->verdict].style);
    buf_printf(&out, "%-4s", verdicts[f->verdict].name);
    paint_end(&out, r->paint, verdicts[f->verdict].style);
    buf_printf(&out, "  %-10s  ", name);
    console_flush(&out);
    cli_wrap(stdout, str_from(f->saw), TEXT_COLUMN, WIDTH);
    if (f->mend[0]) {
        printf("%*s-> ", TEXT_COLUMN, "");
        cli_wrap(stdout, str_from(f->mend), TEXT_COLUMN + 3, WIDTH);
    }
    buf_done(&out);
}

static void run_checks(struct report *r, const struct check *checks, const struct node *n)
{
    for (; checks->name; checks++) {
        struct finding f = {0};
        checks->run(n, &f);
        r->counts[f.verdict]++;
        if (r->o->json)
            print_json(checks->name, &f);
        else
            print_finding(r, checks->name, &f);
    }
}

static void print_summary(const struct report *r)
{
    unsigned bad = r->counts[VERDICT_BAD], warn = r->counts[VERDICT_WARN];

    if (bad)
        printf("\n%u thing%s to mend before a node can run\n", bad, bad == 1 ? "" : "s");
    else if (warn)
        printf("\na node can run; %u warning%s\n", warn, warn == 1 ? "" : "s");
    else
        puts("\na node can run");
}

/* Settings that cannot be read leave nothing else to look at. */
static int say_settings_are_bad(struct report *r, const struct err *e)
{
    struct finding f;

    finding_seen(&f, VERDICT_BAD, "%.300s", e->msg);
    finding_mend(&f, "weir config --help-texts says what each setting takes");
    if (r->o->json)
        print_json("settings", &f);
    else
        print_finding(r, "settings", &f);
    return 1;
}

static int run(int argc, char **argv)
{
    struct doctor_options o = {0};
    struct report r = {.o = &o};
    struct node n;
    struct err e = {0};
    int code;

    if (!cli_parse(&command_doctor, &argc, &argv, &o, &code))
        return code;
    r.paint.is_on = console_has_color(o.color, STDOUT_FILENO);
    if (node_init(&n, "doctor", &e)) {
        code = say_settings_are_bad(&r, &e);
    } else {
        run_checks(&r, doctor_machine_checks, &n);
        run_checks(&r, doctor_data_checks, &n);
        if (!o.json)
            print_summary(&r);
        code = r.counts[VERDICT_BAD] ? 1 : 0;
    }
    node_done(&n);
    return fflush(stdout) == 0 ? code : 1;
}

const struct cli_command command_doctor = {
    .name = "doctor",
    .arguments = "",
    .summary = "check whether a node can run here, and say how to mend it",
    .about =
        "Looks at /dev/fuse, rights, kernel, limits, memory, settings, data directory, disk and "
        "port, as the user and with the settings that the node would have; makes a trial mount in "
        "/tmp and takes it away again. What is not well comes with how to mend it.\n\n"
        "ok, note: less than it could be, warn: will hurt some day, bad: a start fails.",
    .examples = "weir doctor\n"
                "sudo ZO_DATA_DIR=/var/lib/weir weir doctor\n"
                "weir doctor --json | jq -r 'select(.mend) | .check + \": \" + .mend'",
    .exit_codes = "0 a node can run\n1 something has to be mended first\n"
                  "2 the command line is wrong",
    .options = options,
    .run = run,
};
