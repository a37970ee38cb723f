/* tools/cli.c - reads a command line by the table of its command. */
#include "tools/cli.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "tools/command.h"

#define OPTIONS_MAX 32 /* of one command */
#define FIRST_ID 256   /* what getopt returns for row 0; below are the letters */

int cli_usage_error(const struct cli_command *c, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "weir %s: ", c->name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nweir %s --help tells more\n", c->name);
    return EXIT_USAGE;
}

static const struct {
    char letter;
    int64_t us;
} duration_units[] = {
    {'s', US_PER_SEC}, {'m', 60 * US_PER_SEC}, {'h', US_PER_HOUR}, {'d', 24 * US_PER_HOUR}};

static bool parse_duration(const char *text, int64_t *us)
{
    size_t len = strlen(text);
    int64_t n;

    if (len < 2 || !str_to_i64((struct str){text, len - 1}, &n) || n < 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(duration_units); i++) {
        if (duration_units[i].letter == text[len - 1])
            return !__builtin_mul_overflow(n, duration_units[i].us, us);
    }
    return false;
}

static bool parse_choice(const char *choices, const char *text, int *out)
{
    struct str rest = str_from(choices), word;

    for (int place = 1; rest.len; place++) {
        str_cut(rest, ' ', &word, &rest);
        if (str_eq(word, str_from(text))) {
            *out = place;
            return true;
        }
    }
    return false;
}

static bool take(const struct cli_option *o, const char *value, void *options)
{
    void *at = (char *)options + o->at;

    switch (o->kind) {
    case CLI_FLAG:
        *(bool *)at = true;
        return true;
    case CLI_TEXT:
        *(const char **)at = value;
        return true;
    case CLI_COUNT:
        return str_to_i64(str_from(value), at) && *(int64_t *)at > 0;
    case CLI_NUMBER:
        return str_to_i64(str_from(value), at) && *(int64_t *)at >= 0;
    case CLI_DURATION:
        return parse_duration(value, at);
    case CLI_TIME:
        return str_to_i64(str_from(value), at) || time_parse_rfc3339(str_from(value), at);
    case CLI_CHOICE:
        return parse_choice(o->choices, value, at);
    }
    return false;
}

static const char *expected(const struct cli_option *o)
{
    switch (o->kind) {
    case CLI_DURATION:
        return "a duration such as 90s, 15m, 6h, 7d";
    case CLI_TIME:
        return "a time such as 2026-11-23T09:00:00Z, or microseconds since 1970";
    case CLI_CHOICE:
        return o->choices;
    case CLI_NUMBER:
        return "0 or a number above";
    default:
        return "a number above 0";
    }
}

/* The rows as getopt wants them; `letters` has room for two characters a row. */
static void for_getopt(const struct cli_option *rows, struct option *longs, char *letters)
{
    size_t n = 0;

    for (; rows && rows[n].name && n < OPTIONS_MAX; n++) {
        bool valued = rows[n].kind != CLI_FLAG;
        longs[n] = (struct option){rows[n].name, valued ? required_argument : no_argument, NULL,
                                   FIRST_ID + (int)n};
        if (rows[n].letter) {
            *letters++ = rows[n].letter;
            if (valued)
                *letters++ = ':';
        }
    }
    longs[n] = (struct option){"help", no_argument, NULL, 'h'};
    longs[n + 1] = (struct option){0};
    *letters++ = 'h';
    *letters = '\0';
}

static const struct cli_option *row_of(const struct cli_command *c, int id)
{
    if (id >= FIRST_ID)
        return &c->options[id - FIRST_ID];
    for (const struct cli_option *o = c->options; o && o->name; o++) {
        if (o->letter == id)
            return o;
    }
    return NULL;
}

static bool check_arguments(const struct cli_command *c, int given, char **argv, int *exit_code)
{
    if (given < (int)c->arguments_min)
        *exit_code = cli_usage_error(c, "expected %s", c->arguments);
    else if (given > (int)c->arguments_max)
        *exit_code = cli_usage_error(c, "'%s' is one argument too many", argv[c->arguments_max]);
    else
        return true;
    return false;
}

bool cli_parse(const struct cli_command *c, int *argc, char ***argv, void *options, int *exit_code)
{
    struct option longs[OPTIONS_MAX + 2];
    char letters[2 * OPTIONS_MAX + 2], name[64];
    int id;

    snprintf(name, sizeof name, "weir %s", c->name);
    (*argv)[0] = name; /* what getopt begins its messages with */
    for_getopt(c->options, longs, letters);
    optind = 0;
    while ((id = getopt_long(*argc, *argv, letters, longs, NULL)) != -1) {
        const struct cli_option *o = row_of(c, id);
        if (id == 'h') {
            cli_print_help(c, stdout);
            *exit_code = 0;
            return false;
        }
        if (!o) { /* getopt has said what is wrong */
            fprintf(stderr, "weir %s --help tells more\n", c->name);
            *exit_code = EXIT_USAGE;
            return false;
        }
        if (!take(o, optarg, options)) {
            *exit_code = cli_usage_error(c, "--%s '%s': expected %s%s", o->name, optarg,
                                         o->kind == CLI_CHOICE ? "one of: " : "", expected(o));
            return false;
        }
    }
    *argc -= optind;
    *argv += optind;
    return check_arguments(c, *argc, *argv, exit_code);
}

/* ---- back into words ---- */

static bool differs(const struct cli_option *o, const char *at, const char *def)
{
    switch (o->kind) {
    case CLI_FLAG:
        return *(const bool *)at != *(const bool *)def;
    case CLI_TEXT: /* of argv: the same text at two places was given twice */
        return *(const char *const *)at != *(const char *const *)def;
    case CLI_CHOICE:
        return *(const int *)(const void *)at != *(const int *)(const void *)def;
    default:
        return *(const int64_t *)(const void *)at != *(const int64_t *)(const void *)def;
    }
}

static void put_duration(struct buf *out, int64_t us)
{
    for (size_t i = ARRAY_LEN(duration_units); i-- > 0;) {
        if (us % duration_units[i].us == 0) {
            buf_printf(out, "%" PRId64 "%c", us / duration_units[i].us, duration_units[i].letter);
            return;
        }
    }
}

static void put_choice(struct buf *out, const char *choices, int place)
{
    struct str rest = str_from(choices), word = {0};

    for (int i = 0; i < place; i++)
        str_cut(rest, ' ', &word, &rest);
    buf_add_str(out, word);
}

static void put_value(struct buf *out, const struct cli_option *o, const void *at)
{
    char time[40];

    switch (o->kind) {
    case CLI_FLAG:
        break;
    case CLI_TEXT:
        buf_add_cstr(out, *(const char *const *)at);
        break;
    case CLI_COUNT:
    case CLI_NUMBER:
        buf_add_i64(out, *(const int64_t *)at);
        break;
    case CLI_DURATION:
        put_duration(out, *(const int64_t *)at);
        break;
    case CLI_TIME:
        time_format_rfc3339(*(const int64_t *)at, time, sizeof time);
        buf_add_cstr(out, time);
        break;
    case CLI_CHOICE:
        put_choice(out, o->choices, *(const int *)at);
        break;
    }
}

void cli_put_options(const struct cli_command *c, const void *options, const void *defaults,
                     struct buf *out)
{
    for (const struct cli_option *o = c->options; o && o->name; o++) {
        const char *at = (const char *)options + o->at;
        if (!differs(o, at, (const char *)defaults + o->at))
            continue;
        buf_printf(out, "--%s%s", o->name, o->kind == CLI_FLAG ? "" : "=");
        put_value(out, o, at);
        buf_add_char(out, '\0');
    }
}
