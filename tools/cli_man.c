/* tools/cli_man.c - prints man pages from the tables of the commands.
 *
 * Only the portable man macros are used: .TH .SH .TP .B .PP .EX .EE .  In text a backslash is
 * written \e, a hyphen \-, and a line that begins with a full stop or a quote gets \& in front.
 */
#include "tools/cli.h"

#include "tools/command.h"

static void put_text(FILE *to, struct str text)
{
    if (text.len && (text.ptr[0] == '.' || text.ptr[0] == '\''))
        fputs("\\&", to);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\\')
            fputs("\\e", to);
        else if (text.ptr[i] == '-')
            fputs("\\-", to);
        else if (text.ptr[i] == '\'')
            fputs("\\(aq", to);
        else
            fputc(text.ptr[i], to);
    }
}

static void put_cstr(FILE *to, const char *text)
{
    put_text(to, str_from(text));
}

static void put_heading(FILE *to, const char *page)
{
    fputs(".TH ", to);
    for (const char *p = page; *p; p++)
        fputc(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p, to);
    fprintf(to, " 1 \"\" \"weir %s\" \"Weir\"\n.SH NAME\n", WEIR_VERSION);
    put_cstr(to, page);
    fputs(" \\- ", to);
}

/* Lines that stand as they are, until the first one that does not; returns the rest. */
static struct str put_example(FILE *to, struct str text)
{
    struct str line, rest = text;

    fputs(".PP\n.EX\n", to);
    while (rest.len && str_starts(rest, STR("  "))) {
        str_cut(rest, '\n', &line, &rest);
        put_text(to, line);
        fputc('\n', to);
    }
    fputs(".EE\n", to);
    return rest;
}

static void put_paragraphs(FILE *to, const char *text)
{
    struct str rest = str_from(text), line;
    bool is_new = false;

    while (rest.len) {
        if (str_starts(rest, STR("  "))) {
            rest = put_example(to, rest);
            is_new = rest.len > 0;
            continue;
        }
        str_cut(rest, '\n', &line, &rest);
        if (!line.len) {
            is_new = rest.len && !str_starts(rest, STR("  "));
            continue;
        }
        if (is_new)
            fputs(".PP\n", to);
        is_new = false;
        put_text(to, line);
        fputc('\n', to);
    }
}

static void put_option(FILE *to, const struct cli_option *o)
{
    fputs(".TP\n", to);
    if (o->letter)
        fprintf(to, "\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", to);
    put_cstr(to, o->name);
    fputs("\\fR", to);
    if (o->value) {
        fputs(" \\fI", to);
        put_cstr(to, o->value);
        fputs("\\fR", to);
    }
    fputc('\n', to);
    put_cstr(to, o->help);
    fputc('\n', to);
}

static void put_exit_codes(FILE *to, const char *codes)
{
    struct str rest = str_from(codes), line, number;

    fputs(".SH EXIT STATUS\n", to);
    while (rest.len) {
        str_cut(rest, '\n', &line, &rest);
        str_cut(line, ' ', &number, &line);
        fprintf(to, ".TP\n.B " STR_FMT "\n", STR_ARG(number));
        put_text(to, line);
        fputc('\n', to);
    }
}

static void put_literal(FILE *to, const char *title, const char *text)
{
    struct str rest = str_from(text), line;

    fprintf(to, ".SH %s\n.EX\n", title);
    while (rest.len) {
        str_cut(rest, '\n', &line, &rest);
        put_text(to, line);
        fputc('\n', to);
    }
    fputs(".EE\n", to);
}

void cli_print_man(const struct cli_command *c, FILE *to)
{
    static const struct cli_option help = {
        .name = "help", .letter = 'h', .help = "print a summary"};
    char page[64];

    snprintf(page, sizeof page, "weir-%s", c->name);
    put_heading(to, page);
    put_cstr(to, c->summary);
    fputs("\n.SH SYNOPSIS\n.B weir ", to);
    put_cstr(to, c->name);
    fputs("\n", to);
    if (c->options)
        fputs("[\\fIOPTION\\fR ...]\n", to);
    put_cstr(to, c->arguments);
    fputs(c->arguments[0] ? "\n.SH DESCRIPTION\n" : ".SH DESCRIPTION\n", to);
    put_paragraphs(to, c->about);
    fputs(".SH OPTIONS\n", to);
    for (const struct cli_option *o = c->options; o && o->name; o++)
        put_option(to, o);
    put_option(to, &help);
    put_exit_codes(to, c->exit_codes);
    put_literal(to, "EXAMPLES", c->examples);
    fputs(".SH SEE ALSO\n.BR weir (1)\n", to);
}

void cli_print_man_overview(const struct cli_command *const *commands, FILE *to)
{
    put_heading(to, "weir");
    fputs("an observability store whose storage is a filesystem\n.SH SYNOPSIS\n"
          ".B weir\n\\fICOMMAND\\fR [\\fIOPTION\\fR ...]\n.SH DESCRIPTION\n"
          "Logs and metrics come in over HTTP, become lines in files on a mount, are sealed to\n"
          "Parquet, and are asked in SQL. Every tool that reads files reads the same data.\n"
          ".SH COMMANDS\n",
          to);
    for (const struct cli_command *const *c = commands; *c; c++) {
        if ((*c)->hidden)
            continue;
        fprintf(to, ".TP\n.BR weir\\-%s (1)\n", (*c)->name);
        put_cstr(to, (*c)->summary);
        fputc('\n', to);
    }
    fputs(".SH ENVIRONMENT\nEvery setting is a variable named ZO_* or WEIR_*;\n"
          ".BR weir\\-config (1)\nlists them with the values in force.\n"
          ".TP\n.B NO_COLOR\nwhen set, no colours unless \\-\\-color=always asks for them\n"
          ".TP\n.B WEIR_URL\nthe node that the commands ask over HTTP\n",
          to);
}
