/* tools/query_history.c - `weir query` and what was asked before: kept, listed, asked again. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/cli.h"
#include "tools/command.h"
#include "tools/console.h"
#include "tools/history.h"
#include "tools/query.h"

#define HISTORY_SHOWN 20
#define WORDS_MAX 64 /* of one entry: options and the statement */

struct history_list {
    const char *text; /* NULL: all of them */
    int64_t skip;
    int64_t count;
    struct paint paint;
    struct buf out;
};

static bool is_listed(const struct history_list *l, const struct history_entry *h)
{
    return !l->text || memmem(h->words.ptr, h->words.len, l->text, strlen(l->text)) != NULL;
}

static void count_entry(const struct history_entry *h, void *ctx)
{
    struct history_list *l = ctx;

    l->count += is_listed(l, h) ? 1 : 0;
}

static void put_entry(const struct history_entry *h, void *ctx)
{
    struct history_list *l = ctx;
    char at[40];

    if (!is_listed(l, h) || l->skip-- > 0)
        return;
    console_format_time(h->at_us, at);
    paint_begin(&l->out, l->paint, STYLE_DIM);
    buf_printf(&l->out, "%5" PRId64 "  %.16s", h->number, at);
    paint_end(&l->out, l->paint, STYLE_DIM);
    buf_add_cstr(&l->out, "  weir query ");
    history_put_words(&l->out, h->words);
    buf_add_char(&l->out, '\n');
}

int query_list_history(const struct query_options *o, const char *text)
{
    struct history_list l = {.text = text, .paint = {console_has_color(o->color, STDOUT_FILENO)}};
    int64_t shown = o->size ? o->size : HISTORY_SHOWN;
    struct err e;
    int code = 0;

    buf_init(&l.out, 2 * HISTORY_TEXT_MAX);
    if (history_each(count_entry, &l, &e) == ERR_OK) {
        l.skip = l.count - shown;
        if (history_each(put_entry, &l, &e) == ERR_OK && !console_flush(&l.out))
            code = 1;
    } else {
        console_complain("weir query: history: %s\n", e.msg);
        code = 1;
    }
    if (code == 0 && l.count == 0)
        fputs("nothing; what is asked from a terminal is kept\n", stderr);
    buf_done(&l.out);
    return code;
}

/* Takes over what was asked then; what was given now counts. */
int query_recall(const char *number, int argc, char **argv, struct query_options *o,
                 struct arena *a, const char **sql)
{
    struct query_options given = *o;
    struct history_entry h;
    char *words[WORDS_MAX], **args = words;
    struct str rest, word;
    struct err e;
    int64_t n = 0;
    int count = 1, code;

    if (number && !(str_to_i64(str_from(number), &n) && n > 0))
        return cli_usage_error(&command_query, "--again '%s': expected a number", number);
    if (history_find(n, a, &h, &e)) {
        console_complain("weir query: %s\n", e.msg);
        return 1;
    }
    for (rest = h.words; rest.len && count < WORDS_MAX - 1; count++) {
        str_cut(rest, '\0', &word, &rest);
        words[count] = arena_strdup(a, word);
    }
    words[count] = NULL;
    *o = query_defaults;
    if (!cli_parse(&command_query, &count, &args, o, &code))
        return code;
    *sql = count ? args[0] : NULL;
    if (given.last_us)
        o->start_us = o->end_us = 0;
    if (given.start_us || given.end_us)
        o->last_us = 0;
    return cli_parse(&command_query, &argc, &argv, o, &code) ? 0 : code;
}

/* A URL without the user and password in it, in which there may be an '@' too. */
static const char *without_credentials(const char *url, struct arena *a)
{
    const char *scheme = url ? strstr(url, "://") : NULL;

    if (!scheme)
        return url;
    const char *host = scheme + 3;
    const char *at = memrchr(host, '@', strcspn(host, "/"));
    return at ? arena_printf(a, "%.*s%s", (int)(host - url), url, at + 1) : url;
}

/* What is asked again, as bash shows "!!". */
static void show_words(struct str words)
{
    struct paint paint = {console_has_color(COLOR_AUTO, STDERR_FILENO)};
    struct buf out;

    buf_init(&out, HISTORY_TEXT_MAX);
    paint_begin(&out, paint, STYLE_DIM);
    buf_add_cstr(&out, "weir query ");
    history_put_words(&out, words);
    paint_end(&out, paint, STYLE_DIM);
    fprintf(stderr, STR_FMT "\n", STR_ARG(buf_str(&out)));
    buf_done(&out);
}

/* With the path of a file as it is from everywhere, and the text of standard input. */
static void put_words(const struct query_options *o, struct arena *a, struct buf *out)
{
    struct query_options kept = *o;
    char path[PATH_MAX];

    kept.again = kept.history = false;
    kept.color = query_defaults.color;
    kept.url = without_credentials(o->url, a);
    if (o->file && strcmp(o->file, "-") == 0)
        kept.file = NULL;
    else if (o->file && realpath(o->file, path))
        kept.file = path;
    cli_put_options(&command_query, &kept, &query_defaults, out);
    if (kept.file)
        return;
    if (o->sql[0] == '-') /* else it would be read as an option */
        buf_add(out, "--", 3);
    buf_add(out, o->sql, strlen(o->sql) + 1);
}

void query_remember(const struct query_options *o, struct arena *a)
{
    struct buf words;
    struct err e;

    buf_init(&words, HISTORY_TEXT_MAX);
    put_words(o, a, &words);
    if (buf_ok(&words) && o->again && isatty(STDERR_FILENO))
        show_words(buf_str(&words));
    if (buf_ok(&words) && history_is_wanted() && history_add(buf_str(&words), clock_wall_us(), &e))
        console_complain("weir query: history: %s (WEIR_HISTORY= keeps none)\n", e.msg);
    buf_done(&words);
}
