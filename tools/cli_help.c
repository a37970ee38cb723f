/* tools/cli_help.c - prints --help from the table of a command, for a terminal of 80 columns. */
#include "tools/cli.h"

#include "tools/console.h"

#define WIDTH 80
#define HELP_COLUMN_MAX 26 /* where the help of options begins, at most */
#define WORD_MAX (64u << 10)

void cli_wrap(FILE *to, struct str text, size_t indent, size_t width)
{
    size_t column = indent;
    struct str word;
    struct buf shown;

    buf_init(&shown, WORD_MAX);
    while (text.len) {
        str_cut(text, ' ', &word, &text);
        buf_clear(&shown);
        console_add_visible(&shown, word);
        word = buf_str(&shown);
        if (column > indent && column + 1 + word.len > width) {
            fprintf(to, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', to);
            column++;
        }
        fwrite(word.ptr, 1, word.len, to);
        column += word.len;
    }
    fputc('\n', to);
    buf_done(&shown);
}

static void print_about(const char *about, FILE *to)
{
    struct str rest = str_from(about), line;

    while (rest.len) {
        str_cut(rest, '\n', &line, &rest);
        if (str_starts(line, STR("  ")))
            fprintf(to, STR_FMT "\n", STR_ARG(line));
        else
            cli_wrap(to, line, 0, WIDTH);
    }
}

static size_t option_width(const struct cli_option *o)
{
    return strlen("  -x, --") + strlen(o->name) + (o->value ? 1 + strlen(o->value) : 0) + 2;
}

static void print_option(const struct cli_option *o, size_t column, FILE *to)
{
    char head[64], letter[8] = "    ";
    int width;

    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    width = snprintf(head, sizeof head, "  %s--%s%s%s", letter, o->name, o->value ? " " : "",
                     o->value ? o->value : "");
    if (width + 2 > (int)column)
        fprintf(to, "%s\n%*s", head, (int)column, "");
    else
        fprintf(to, "%-*s", (int)column, head);
    cli_wrap(to, str_from(o->help), column, WIDTH);
}

static void print_options(const struct cli_option *options, FILE *to)
{
    static const struct cli_option help = {.name = "help", .letter = 'h', .help = "this text"};
    size_t column = option_width(&help);

    for (const struct cli_option *o = options; o && o->name; o++) {
        if (option_width(o) > column && option_width(o) <= HELP_COLUMN_MAX)
            column = option_width(o);
    }
    fputs("\noptions:\n", to);
    for (const struct cli_option *o = options; o && o->name; o++)
        print_option(o, column, to);
    print_option(&help, column, to);
}

static void print_lines(const char *title, const char *text, FILE *to)
{
    struct str rest = str_from(text), line;

    fprintf(to, "\n%s:\n", title);
    while (rest.len) {
        str_cut(rest, '\n', &line, &rest);
        fprintf(to, "  " STR_FMT "\n", STR_ARG(line));
    }
}

void cli_print_help(const struct cli_command *c, FILE *to)
{
    fprintf(to, "usage: weir %s%s%s%s\n\n", c->name, c->options ? " [OPTION ...]" : "",
            c->arguments[0] ? " " : "", c->arguments);
    print_about(c->about, to);
    print_options(c->options, to);
    print_lines("examples", c->examples, to);
    print_lines("exit codes", c->exit_codes, to);
}

void cli_print_overview(const struct cli_command *const *commands, FILE *to)
{
    fputs("Weir - an observability store whose storage is a filesystem\n\n"
          "usage: weir COMMAND [OPTION ...]\n\n",
          to);
    for (; *commands; commands++) {
        if (!(*commands)->hidden)
            fprintf(to, "  %-10s  %s\n", (*commands)->name, (*commands)->summary);
    }
    fputs("\nweir COMMAND --help tells more. weir --version prints the version.\n", to);
}
