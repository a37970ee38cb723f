/* tools/cli.h - what a command of the `weir` binary is called with, written once.
 *
 * Each command has one `struct cli_command`; the parser, --help, the man pages and the completions
 * of bash and zsh are all made from it.  Options land in a struct of the command's own (`at` is an
 * offsetof), of the type that the kind names.
 * Memory: static tables and argv; nothing is owned.  Threads: the main one.
 */
#ifndef WEIR_TOOLS_CLI_H
#define WEIR_TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/bytes.h"

enum cli_kind {
    CLI_FLAG,     /* bool */
    CLI_TEXT,     /* const char * */
    CLI_COUNT,    /* int64_t, above 0 */
    CLI_NUMBER,   /* int64_t, 0 or more */
    CLI_DURATION, /* int64_t, microseconds; 90s, 15m, 6h, 7d */
    CLI_TIME,     /* int64_t, microseconds since 1970; or RFC 3339 */
    CLI_CHOICE    /* int: the word's place among the choices, from 1 on; 0 = not given */
};

struct cli_option {
    const char *name; /* without the dashes; NULL ends a table */
    char letter;      /* of the short form, or 0 */
    enum cli_kind kind;
    size_t at;           /* offset in the struct of options */
    const char *value;   /* what help calls the value; "DIR" completes folders */
    const char *choices; /* CLI_CHOICE: words with blanks between */
    const char *help;
};

enum cli_argument { CLI_NO_ARGUMENTS, CLI_STREAMS, CLI_DIRS, CLI_OTHER }; /* for completion */

struct cli_command {
    const char *name;
    const char *arguments; /* after the options in the synopsis, or "" */
    const char *summary;   /* one line, no full stop */
    const char *about;     /* paragraphs with an empty line between; a line with two blanks in front
                              stands as it is */
    const char *examples;  /* lines */
    const char *exit_codes; /* "0 answered\n1 failed": lines of number, blank, meaning */
    const struct cli_option *options;
    enum cli_argument completes;
    const char *words; /* CLI_OTHER: arguments that completion offers, or NULL */
    unsigned arguments_min, arguments_max;
    bool hidden; /* from the list of commands */
    int (*run)(int argc, char **argv);
};

/* The rows that commands share. */
#define CLI_COLOR_ROW(type)                                                                        \
    {                                                                                              \
        .name = "color", .kind = CLI_CHOICE, .at = offsetof(type, color), .value = "WHEN",         \
        .choices = "auto always never",                                                            \
        .help = "colours: auto (on a terminal, unless NO_COLOR is set), always or never"           \
    }
#define CLI_MOUNT_ROWS(type)                                                                       \
    {                                                                                              \
        .name = "mount", .kind = CLI_TEXT, .at = offsetof(type, mount), .value = "DIR",            \
        .help = "the mount; by default that of the settings, else the only one of this machine"    \
    }

#define CLI_END                                                                                    \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* May be called again.  Fills *options and leaves the arguments at *argv, *argc of them.  False:
 * the command is over (help was asked for, or the command line is wrong) with *exit_code. */
bool cli_parse(const struct cli_command *c, int *argc, char ***argv, void *options, int *exit_code);
/* The options that differ from `defaults`, as words "--name=value", each with a final NUL. */
void cli_put_options(const struct cli_command *c, const void *options, const void *defaults,
                     struct buf *out);
/* "weir NAME: message" and the pointer to --help, on standard error; EXIT_USAGE. */
int cli_usage_error(const struct cli_command *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- cli_help.c ---- */
void cli_print_help(const struct cli_command *c, FILE *to);
void cli_print_overview(const struct cli_command *const *commands, FILE *to);
/* Words of `text` in lines of at most `width`, each but the first after `indent` blanks; control
 * bytes are shown as escapes. */
void cli_wrap(FILE *to, struct str text, size_t indent, size_t width);

/* ---- cli_man.c: roff with the man macros ---- */
void cli_print_man(const struct cli_command *c, FILE *to);
void cli_print_man_overview(const struct cli_command *const *commands, FILE *to);

/* ---- cli_completion.c ---- */
void cli_print_bash(const struct cli_command *const *commands, FILE *to);
void cli_print_zsh(const struct cli_command *const *commands, FILE *to);

#endif
