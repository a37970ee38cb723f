/* tools/cmd_config.c - `weir config`: every setting with the value in force and where it comes
 * from. */
#include <stdbool.h>
#include <stdio.h>

#include "gateway/settings.h"
#include "tools/cli.h"
#include "tools/command.h"

#define OUTPUT_MAX (4u << 20)

extern char **environ;

struct config_options {
    bool help_texts, json, markdown;
};

static const struct cli_option options[] = {
    {.name = "help-texts",
     .kind = CLI_FLAG,
     .at = offsetof(struct config_options, help_texts),
     .help = "with what each one is for"},
    {.name = "json",
     .kind = CLI_FLAG,
     .at = offsetof(struct config_options, json),
     .help = "as one JSON object"},
    {.name = "markdown",
     .kind = CLI_FLAG,
     .at = offsetof(struct config_options, markdown),
     .help = "the table of defaults, as in the README"},
    CLI_END,
};

static void print_unknown(const struct settings *s)
{
    const char *const *names;
    size_t count = settings_unknown(s, &names);

    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "weir config: %s is no setting and has no effect\n", names[i]);
}

static int print(const struct config_options *o)
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
    if (o->json)
        settings_print_json(s, &out);
    else if (o->markdown)
        settings_print_markdown(s, &out);
    else
        settings_print_text(s, &out, o->help_texts);
    if (!buf_ok(&out) || fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
        code = 1;
    print_unknown(s);
    buf_done(&out);
    settings_free(s);
    return code;
}

static int run(int argc, char **argv)
{
    struct config_options o = {0};
    int code;

    if (!cli_parse(&command_config, &argc, &argv, &o, &code))
        return code;
    if (o.json && o.markdown)
        return cli_usage_error(&command_config, "--json and --markdown exclude each other");
    return print(&o);
}

const struct cli_command command_config = {
    .name = "config",
    .arguments = "",
    .summary = "print every setting with the value in force",
    .about = "Prints every setting: name, value in force, and whether it comes from the "
             "environment or is the default. Secrets are masked.",
    .examples = "ZO_HTTP_PORT=5090 weir config | grep PORT",
    .exit_codes = "0 printed\n1 could not be written\n2 the command line is wrong\n"
                  "78 a setting is wrong",
    .options = options,
    .run = run,
};
