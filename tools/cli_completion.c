/* tools/cli_completion.c - prints completion for bash and zsh from the tables of the commands.
 *
 * Names of streams are asked of `weir ls --names` at the moment of the completion, so that they are
 * those of the mount.
 */
#include "tools/cli.h"

/* ---- bash ---- */

static void put_bash_words(const struct cli_command *c, FILE *to)
{
    fputs("--help", to);
    for (const struct cli_option *o = c->options; o && o->name; o++)
        fprintf(to, " --%s", o->name);
}

/* The cases of options that take a value, for one command. */
static void put_bash_values(const struct cli_command *c, FILE *to)
{
    for (const struct cli_option *o = c->options; o && o->name; o++) {
        if (o->kind == CLI_FLAG)
            continue;
        fprintf(to, "        %s:--%s) ", c->name, o->name);
        if (o->choices)
            fprintf(to, "words='%s' ;;\n", o->choices);
        else if (o->value && strcmp(o->value, "DIR") == 0)
            fputs("compopt -o dirnames; return ;;\n", to);
        else
            fputs("return ;;\n", to);
    }
}

static void put_bash_arguments(const struct cli_command *c, FILE *to)
{
    switch (c->completes) {
    case CLI_STREAMS:
        fprintf(to, "        %s) words=$(weir ls --names 2>/dev/null) ;;\n", c->name);
        break;
    case CLI_DIRS:
        fprintf(to, "        %s) compopt -o dirnames; return ;;\n", c->name);
        break;
    case CLI_OTHER:
        if (c->words)
            fprintf(to, "        %s) words='%s' ;;\n", c->name, c->words);
        break;
    case CLI_NO_ARGUMENTS:
        break;
    }
}

static void put_names(const struct cli_command *const *commands, FILE *to)
{
    for (const char *gap = ""; *commands; commands++) {
        if ((*commands)->hidden)
            continue;
        fprintf(to, "%s%s", gap, (*commands)->name);
        gap = " ";
    }
}

static bool has_table(const struct cli_command *c)
{
    return !c->hidden;
}

void cli_print_bash(const struct cli_command *const *commands, FILE *to)
{
    fputs("# bash completion of weir, printed by `weir completion bash`\n"
          "_weir()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=''\n"
          "    local command=${COMP_WORDS[1]}\n"
          "    if [[ $word == '=' ]]; then word=''; fi\n"
          "    if [[ $before == '=' ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
          "    if (( COMP_CWORD == 1 )); then\n"
          "        COMPREPLY=($(compgen -W '--help --version ",
          to);
    put_names(commands, to);
    fputs("' -- \"$word\"))\n        return\n    fi\n    case $command:$before in\n", to);
    for (const struct cli_command *const *c = commands; *c; c++)
        if (has_table(*c))
            put_bash_values(*c, to);
    fputs("    *)\n        case $command:$word in\n", to);
    for (const struct cli_command *const *c = commands; *c; c++) {
        if (!has_table(*c))
            continue;
        fprintf(to, "        %s:-*) words='", (*c)->name);
        put_bash_words(*c, to);
        fputs("' ;;\n", to);
    }
    fputs("        *)\n            case $command in\n", to);
    for (const struct cli_command *const *c = commands; *c; c++)
        if (has_table(*c))
            put_bash_arguments(*c, to);
    fputs("            esac ;;\n        esac ;;\n    esac\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
          "}\ncomplete -F _weir weir\n",
          to);
}

/* ---- zsh ---- */

/* Text inside '…[…]…': quotes end the string, brackets and colons have a meaning. */
static void put_zsh_text(const char *text, FILE *to)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", to);
        else if (strchr("[]:\\", *text))
            fprintf(to, "\\%c", *text);
        else
            fputc(*text, to);
    }
}

static void put_zsh_option(const struct cli_option *o, FILE *to)
{
    if (o->letter)
        fprintf(to, "            '(-%c --%s)'{-%c,--%s%s}'[", o->letter, o->name, o->letter,
                o->name, o->kind == CLI_FLAG ? "" : "=");
    else
        fprintf(to, "            '--%s%s[", o->name, o->kind == CLI_FLAG ? "" : "=");
    put_zsh_text(o->help, to);
    fputc(']', to);
    if (o->kind != CLI_FLAG) {
        fputc(':', to);
        put_zsh_text(o->value ? o->value : "value", to);
        if (o->choices)
            fprintf(to, ":(%s)", o->choices);
        else
            fputs(o->value && strcmp(o->value, "DIR") == 0 ? ":_directories" : ": ", to);
    }
    fputs("' \\\n", to);
}

static void put_zsh_arguments(const struct cli_command *c, FILE *to)
{
    switch (c->completes) {
    case CLI_STREAMS:
        fputs("            '*:stream:($(weir ls --names 2>/dev/null))' \\\n", to);
        break;
    case CLI_DIRS:
        fputs("            '*:folder:_directories' \\\n", to);
        break;
    case CLI_OTHER:
        fprintf(to, "            '*:argument:(%s)' \\\n", c->words ? c->words : "");
        break;
    case CLI_NO_ARGUMENTS:
        break;
    }
}

void cli_print_zsh(const struct cli_command *const *commands, FILE *to)
{
    fputs("#compdef weir\n# zsh completion of weir, printed by `weir completion zsh`\n"
          "_weir()\n{\n    local -a commands\n    commands=(\n",
          to);
    for (const struct cli_command *const *c = commands; *c; c++) {
        if (!has_table(*c))
            continue;
        fprintf(to, "        '%s:", (*c)->name);
        put_zsh_text((*c)->summary, to);
        fputs("'\n", to);
    }
    fputs("    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n"
          "        return\n    fi\n    local name=$words[2]\n    shift words\n"
          "    (( CURRENT-- ))\n    case $name in\n",
          to);
    for (const struct cli_command *const *c = commands; *c; c++) {
        if (!has_table(*c))
            continue;
        fprintf(to, "    %s)\n        _arguments \\\n", (*c)->name);
        for (const struct cli_option *o = (*c)->options; o && o->name; o++)
            put_zsh_option(o, to);
        put_zsh_arguments(*c, to);
        fputs("            '(-h --help)'{-h,--help}'[print a summary]'\n        ;;\n", to);
    }
    fputs("    esac\n}\nif [[ $funcstack[1] == _weir ]]; then _weir \"$@\"; else compdef _weir "
          "weir; fi\n",
          to);
}
