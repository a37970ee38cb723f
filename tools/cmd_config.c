/* tools/cmd_config.c - `weir config`: every setting with the value in force and where it comes
 * from. */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

#include "gateway/settings.h"
#include "tools/command.h"

#define OUTPUT_MAX (4u << 20)

extern char **environ;

static const char usage[] =
    "usage: weir config [--help-texts] [--json | --markdown]\n\n"
    "Prints every setting: name, value in force, and whether it comes from the\n"
    "environment or is the default.  Secrets are masked.\n\n"
    "  --help-texts  with what each one is for\n"
    "  --json        as one JSON object\n"
    "  --markdown    the table of defaults, as in the README\n\n"
    "example: ZO_HTTP_PORT=5090 weir config | grep PORT\n";

enum form { FORM_TEXT, FORM_JSON, FORM_MARKDOWN };

static const struct option options[] = {
    {"json", no_argument, NULL, 'j'},
    {"markdown", no_argument, NULL, 'm'},
    {"help-texts", no_argument, NULL, 't'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void print_unknown(const struct settings *s)
{
    const char *const *names;
    size_t count = settings_unknown(s, &names);

    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "weir config: %s is no setting and has no effect\n", names[i]);
}

static int print(enum form form, bool with_help)
{
    struct settings *s;
    struct buf out;
    struct err e;
    int code = 0;

    if (settings_load(environ, &s, &e)) {
        fprintf(stderr, "weir config: %s\n", e.msg);
        return EXIT_CONFIG;
    }
    buf_init(&out, OUTPUT_MAX);
    switch (form) {
    case FORM_TEXT:
        settings_print_text(s, &out, with_help);
        break;
    case FORM_JSON:
        settings_print_json(s, &out);
        break;
    case FORM_MARKDOWN:
        settings_print_markdown(s, &out);
        break;
    }
    if (!buf_ok(&out) || fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
        code = 1;
    print_unknown(s);
    buf_done(&out);
    settings_free(s);
    return code;
}

int cmd_config(int argc, char **argv)
{
    static char name[] = "weir config"; /* what getopt begins its messages with */
    enum form form = FORM_TEXT;
    bool with_help = false;

    argv[0] = name;
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (c) {
        case 'j':
            form = FORM_JSON;
            break;
        case 'm':
            form = FORM_MARKDOWN;
            break;
        case 't':
            with_help = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "weir config: there is nothing named '%s' to print\n", argv[optind]);
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    return print(form, with_help);
}
