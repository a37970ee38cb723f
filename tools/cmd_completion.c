/* tools/cmd_completion.c - `weir completion` and `weir man`: texts made from the commands' tables.
 */
#include <stdio.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/command.h"

static int run_completion(int argc, char **argv)
{
    int code;

    if (!cli_parse(&command_completion, &argc, &argv, NULL, &code))
        return code;
    if (strcmp(argv[0], "bash") == 0)
        cli_print_bash(weir_commands, stdout);
    else if (strcmp(argv[0], "zsh") == 0)
        cli_print_zsh(weir_commands, stdout);
    else
        return cli_usage_error(&command_completion, "'%s': expected bash or zsh", argv[0]);
    return fflush(stdout) == 0 ? 0 : 1;
}

const struct cli_command command_completion = {
    .name = "completion",
    .arguments = "bash|zsh",
    .summary = "print the completion of a shell",
    .about = "Prints a script that completes commands, options, their values, and the names of the "
             "streams on the mount of this machine.",
    .examples = "source <(weir completion bash)\n"
                "mkdir -p ~/.zfunc && weir completion zsh > ~/.zfunc/_weir",
    .exit_codes = "0 printed\n1 could not be written\n2 the command line is wrong",
    .completes = CLI_OTHER,
    .words = "bash zsh",
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run_completion,
};

static int run_man(int argc, char **argv)
{
    int code;

    if (!cli_parse(&command_man, &argc, &argv, NULL, &code))
        return code;
    if (argc == 0) {
        cli_print_man_overview(weir_commands, stdout);
        return fflush(stdout) == 0 ? 0 : 1;
    }
    for (const struct cli_command *const *c = weir_commands; *c; c++) {
        if (strcmp((*c)->name, argv[0]) == 0) {
            cli_print_man(*c, stdout);
            return fflush(stdout) == 0 ? 0 : 1;
        }
    }
    return cli_usage_error(&command_man, "there is no command '%s'", argv[0]);
}

const struct cli_command command_man = {
    .name = "man",
    .arguments = "[COMMAND]",
    .summary = "print a man page as roff",
    .about =
        "Prints the man page of a command, or of weir itself; the installed pages are made so.",
    .examples = "weir man tail | man -l -",
    .exit_codes = "0 printed\n1 could not be written\n2 the command line is wrong",
    .completes = CLI_OTHER,
    .arguments_max = 1,
    .hidden = true,
    .run = run_man,
};
