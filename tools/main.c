/* tools/main.c - the `weir` binary: a table of commands. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "tools/command.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
    bool hidden; /* a child of the supervisor */
};

static const struct command commands[] = {
    {.name = "serve", .run = cmd_serve, .help = "run a node, by its ZO_* and WEIR_* settings"},
    {.name = "query", .run = cmd_query, .help = "ask a node in SQL: table, JSON or CSV"},
    {.name = "config", .run = cmd_config, .help = "print every setting with the value in force"},
    {.name = "reindex", .run = cmd_reindex, .help = "make <data>/index anew, of a stopped node"},
    {.name = "fs", .run = cmd_fs, .hidden = true},
    {.name = "gateway", .run = cmd_gateway, .hidden = true},
    {.name = "engine", .run = cmd_engine, .hidden = true},
};

static void print_help(FILE *to)
{
    fputs("Weir - an observability store whose storage is a filesystem\n\n"
          "usage: weir COMMAND [OPTION ...]\n\n",
          to);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (!commands[i].hidden)
            fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].help);
    }
    fputs("\nweir COMMAND --help tells more. weir --version prints the version.\n", to);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
        puts("weir " WEIR_VERSION);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "weir: there is no command '%s'; weir --help lists them\n", argv[1]);
    return EXIT_USAGE;
}
