/* tools/main.c - the `weir` binary: a list of commands. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "tools/cli.h"
#include "tools/command.h"

const struct cli_command *const weir_commands[] = {
    &command_serve,  &command_mount,      &command_query, &command_tail,
    &command_ls,     &command_config,     &command_fsck,  &command_reindex,
    &command_doctor, &command_completion, &command_man,   NULL,
};

/* Processes below the supervisor: not for people, and without options of their own to explain. */
static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} children[] = {{"fs", cmd_fs}, {"gateway", cmd_gateway}, {"engine", cmd_engine}};

static const struct cli_command *find_command(const char *name)
{
    for (const struct cli_command *const *c = weir_commands; *c; c++) {
        if (strcmp(name, (*c)->name) == 0)
            return *c;
    }
    return NULL;
}

static int no_command(const char *name)
{
    fprintf(stderr, "weir: there is no command '%s'; weir --help lists them\n", name);
    return EXIT_USAGE;
}

/* `weir help` and `weir help COMMAND`. */
static int help(const char *name)
{
    const struct cli_command *c = name ? find_command(name) : NULL;

    if (name && !c)
        return no_command(name);
    if (c)
        cli_print_help(c, stdout);
    else
        cli_print_overview(weir_commands, stdout);
    return 0;
}

static bool is_any(const char *word, const char *a, const char *b, const char *c)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

/* A full disk must not look like success, whatever the command made of it. */
static int end_output(int code)
{
    bool is_flushed = fflush(stdout) == 0;

    if (is_flushed && !ferror(stdout))
        return code;
    fprintf(stderr, "weir: standard output cannot be written%s%s\n", is_flushed ? "" : ": ",
            is_flushed ? "" : strerror(errno));
    return code ? code : 1;
}

static int run(int argc, char **argv)
{
    const struct cli_command *c;

    if (argc < 2) {
        cli_print_overview(weir_commands, stderr);
        return EXIT_USAGE;
    }
    if (is_any(argv[1], "--help", "-h", "help"))
        return help(argc > 2 ? argv[2] : NULL);
    if (is_any(argv[1], "--version", "-V", "version")) {
        puts("weir " WEIR_VERSION);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        if (strcmp(argv[1], children[i].name) == 0)
            return children[i].run(argc - 1, argv + 1);
    }
    c = find_command(argv[1]);
    return c ? c->run(argc - 1, argv + 1) : no_command(argv[1]);
}

int main(int argc, char **argv)
{
    return end_output(run(argc, argv));
}
