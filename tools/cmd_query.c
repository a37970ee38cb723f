/* tools/cmd_query.c - `weir query SQL`: asks a node and prints the rows. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/sys.h"
#include "gateway/gate.h"
#include "tools/cli.h"
#include "tools/command.h"
#include "tools/console.h"
#include "tools/http_client.h"
#include "tools/query.h"
#include "tools/table.h"

#define REPLY_MAX (UINT64_C(2) << 30)
#define REPLY_ARENA_MAX (UINT64_C(8) << 30)
#define REQUEST_MAX (64u << 20)
#define URL_MAX (64u << 10)
#define PROGRESS_AFTER_MS 1000
#define LAST_DEFAULT_US (24 * US_PER_HOUR)
#define SIZE_DEFAULT 1000
#define ARGUMENTS_MAX (1u << 20)

const struct query_options query_defaults = {.org = "default", .timeout_s = 600};

static const struct cli_option options[] = {
    {.name = "last",
     .kind = CLI_DURATION,
     .at = offsetof(struct query_options, last_us),
     .value = "DURATION",
     .help = "time range up to now: 90s, 15m, 6h, 7d (default 24h)"},
    {.name = "from",
     .kind = CLI_TIME,
     .at = offsetof(struct query_options, start_us),
     .value = "TIME",
     .help = "begin of the range: 2026-11-23T09:00:00Z, or microseconds since 1970"},
    {.name = "to",
     .kind = CLI_TIME,
     .at = offsetof(struct query_options, end_us),
     .value = "TIME",
     .help = "its end, itself not in the range (default now)"},
    {.name = "org",
     .kind = CLI_TEXT,
     .at = offsetof(struct query_options, org),
     .value = "ORG",
     .help = "organisation (default \"default\")"},
    {.name = "type",
     .kind = CLI_CHOICE,
     .at = offsetof(struct query_options, type_choice),
     .value = "TYPE",
     .choices = "logs metrics traces enrichment_tables",
     .help = "logs, metrics, traces or enrichment_tables (default logs)"},
    {.name = "size",
     .letter = 'n',
     .kind = CLI_COUNT,
     .at = offsetof(struct query_options, size),
     .value = "N",
     .help = "rows at most, when the SQL has no LIMIT (default 1000)"},
    {.name = "file",
     .letter = 'f',
     .kind = CLI_TEXT,
     .at = offsetof(struct query_options, file),
     .value = "FILE",
     .help = "read the SQL from a file; - is standard input"},
    {.name = "format",
     .kind = CLI_CHOICE,
     .at = offsetof(struct query_options, form),
     .value = "FORM",
     .choices = "table json csv",
     .help = "table, json or csv (default: table on a terminal, json into a pipe)"},
    {.name = "no-header",
     .kind = CLI_FLAG,
     .at = offsetof(struct query_options, no_header),
     .help = "leave out the names of the columns"},
    {.name = "url",
     .kind = CLI_TEXT,
     .at = offsetof(struct query_options, url),
     .value = "URL",
     .help = "the node (default $WEIR_URL, else this machine's at $ZO_HTTP_PORT or 5080)"},
    {.name = "user",
     .kind = CLI_TEXT,
     .at = offsetof(struct query_options, user),
     .value = "EMAIL",
     .help = "(default $ZO_ROOT_USER_EMAIL)"},
    {.name = "timeout",
     .kind = CLI_COUNT,
     .at = offsetof(struct query_options, timeout_s),
     .value = "SECONDS",
     .help = "how long to wait (default 600)"},
    {.name = "again",
     .letter = 'a',
     .kind = CLI_FLAG,
     .at = offsetof(struct query_options, again),
     .help = "ask once more what was asked last, or the number N of the history; options that are "
             "given beside it count"},
    {.name = "history",
     .kind = CLI_FLAG,
     .at = offsetof(struct query_options, history),
     .help =
         "list what was asked from a terminal, the newest last; TEXT: only what holds it; -n N: "
         "how many (default 20)"},
    CLI_COLOR_ROW(struct query_options),
    CLI_END,
};

/* The SQL of a file, or of standard input, stays in memory to the end of the process. */
static enum err_code read_sql(const char *path, struct buf *out, struct err *e)
{
    enum err_code rc = ERR_OK;

    if (strcmp(path, "-") != 0)
        rc = sys_read_file(path, out, e);
    else
        rc = sys_read_file("/dev/stdin", out, e);
    if (!rc && memchr(out->data ? out->data : "", '\0', out->len))
        rc = err_set(e, ERR_INVALID, "%s: holds a NUL byte", path);
    return rc;
}

/* The settings that a node on this machine has been started with name its port too. */
static const char *default_url(char *dst, size_t size)
{
    const char *url = getenv("WEIR_URL"), *port = getenv("ZO_HTTP_PORT");
    const char *address = getenv("ZO_HTTP_ADDR");

    if (url)
        return url;
    if (!address || !address[0] || strcmp(address, "0.0.0.0") == 0)
        address = "127.0.0.1";
    snprintf(dst, size, strchr(address, ':') ? "http://[%s]:%s" : "http://%s:%s", address,
             port && port[0] ? port : "5080");
    return dst;
}

static void settle(struct query_options *o)
{
    static const char *const types[] = {"logs", "logs", "metrics", "traces", "enrichment_tables"};
    o->type = types[o->type_choice];
    o->password = getenv("ZO_ROOT_USER_PASSWORD");
    o->range_given = o->last_us || o->start_us || o->end_us;
    if (!o->user)
        o->user = getenv("ZO_ROOT_USER_EMAIL");
    if (!o->url)
        o->url = default_url(o->url_text, sizeof o->url_text);
    if (!o->size)
        o->size = SIZE_DEFAULT;
    if (!o->end_us)
        o->end_us = clock_wall_us() + US_PER_SEC;
    if (!o->start_us)
        o->start_us = o->end_us - (o->last_us ? o->last_us : LAST_DEFAULT_US);
    if (o->form == FORM_AUTO)
        o->form = isatty(STDOUT_FILENO) ? FORM_TABLE : FORM_JSON;
}

static void write_request(struct buf *out, const struct query_options *o)
{
    struct json_writer w = {.out = out};

    jw_object(&w);
    jw_key(&w, STR("query"));
    jw_object(&w);
    jw_kcstr(&w, "sql", o->sql);
    jw_ki64(&w, "start_time", o->start_us);
    jw_ki64(&w, "end_time", o->end_us);
    jw_ki64(&w, "size", o->size);
    jw_end(&w);
    jw_end(&w);
}

static void add_escaped(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr("-_.~", c))
            buf_add_char(out, *text);
        else
            buf_printf(out, "%%%02X", c);
    }
}

struct progress {
    uint64_t began_ms;
    bool shown;
};

static void show_progress(void *ctx, uint64_t received)
{
    struct progress *p = ctx;
    uint64_t took = clock_mono_ms() - p->began_ms;

    if (took < PROGRESS_AFTER_MS || !isatty(STDERR_FILENO))
        return;
    p->shown = true;
    fprintf(stderr, "\r%5.1f s, %llu KiB received ", (double)took / 1000,
            (unsigned long long)(received >> 10));
}

/* The next step after an error, or NULL. */
static const char *advice(const struct query_options *o, long status, int64_t code)
{
    if (status == 401 && !(o->user && o->user[0] && o->password && o->password[0]))
        return "set ZO_ROOT_USER_EMAIL and ZO_ROOT_USER_PASSWORD to the node's user";
    if (status == 401)
        return "the user and password are those of the node's first start";
    if (code == API_STREAM_NOT_FOUND)
        return "weir ls shows the streams; --org and --type name others";
    if (code == API_FIELD_NOT_FOUND)
        return "the stream's schema.json lists its fields; text stands in 'single quotes'";
    return NULL;
}

static int print_error(const struct query_options *o, struct str reply, long status)
{
    struct arena a;
    struct json *doc;
    struct str message = str_trim(reply), detail = STR("");
    const char *next_step;
    int64_t code = 0;

    arena_init(&a, REPLY_ARENA_MAX);
    if (json_parse(reply, &a, &doc, NULL) == ERR_OK) {
        message = json_str(json_get(doc, "message"), message);
        detail = json_str(json_get(doc, "error_detail"), detail);
        (void)json_i64(json_get(doc, "code"), &code);
        if (memmem(message.ptr, message.len, detail.ptr, detail.len)) /* said already */
            detail = STR("");
    }
    console_complain("weir query: HTTP %ld: " STR_FMT "%s" STR_FMT "\n", status, STR_ARG(message),
                     detail.len ? ": " : "", STR_ARG(detail));
    next_step = advice(o, status, code);
    if (next_step)
        fprintf(stderr, "%s\n", next_step);
    arena_done(&a);
    return 1;
}

static void print_footer(const struct query_options *o, size_t rows, int64_t took_ms, bool is_cut)
{
    fprintf(stderr, "%zu row%s in %lld ms%s\n", rows, rows == 1 ? "" : "s", (long long)took_ms,
            is_cut ? "; columns are cut, --format json shows all" : "");
    if (!rows && !o->range_given)
        fputs("asked were the last 24 hours; --last 30d or --from reaches further back\n", stderr);
}

/* The answer is not all of it: whoever reads only stdout must not be the only one not to know. */
static void print_reasons(const struct json *reasons)
{
    for (const struct json *r = reasons ? reasons->first : NULL; r; r = r->next)
        console_complain("weir query: the answer is incomplete: " STR_FMT "\n",
                         STR_ARG(json_str(r, STR(""))));
}

static int print_hits(const struct query_options *o, struct str reply)
{
    struct table_options form = {.width = console_width(),
                                 .color = console_has_color(o->color, STDOUT_FILENO),
                                 .no_header = o->no_header};
    struct arena a;
    struct json *doc, *hits;
    struct buf out;
    struct err e;
    int code = 0;

    arena_init(&a, REPLY_ARENA_MAX);
    buf_init(&out, REPLY_MAX * 2);
    if (json_parse(reply, &a, &doc, &e) || !(hits = json_get(doc, "hits"))) {
        fprintf(stderr, "weir query: the reply has no hits\n");
        code = 1;
    } else if (o->form == FORM_TABLE) {
        int64_t took = 0;
        bool is_cut = table_print(&out, hits, &form);
        (void)json_i64(json_get(doc, "took"), &took);
        fwrite(out.data, 1, out.len, stdout);
        print_footer(o, hits->count, took, is_cut);
    } else {
        if (o->form == FORM_CSV)
            table_print_csv(&out, hits, &form);
        else
            table_print_json(&out, hits);
        fwrite(out.data, 1, out.len, stdout);
    }
    if (fflush(stdout) != 0 || !buf_ok(&out))
        code = 1;
    if (code == 0 && json_bool(json_get(doc, "is_partial"), false))
        print_reasons(json_get(doc, "function_error"));
    buf_done(&out);
    arena_done(&a);
    return code;
}

/* <url>/api/<org>/_search?type=<type>; what the caller named is escaped. */
static void write_url(struct buf *out, const struct query_options *o)
{
    struct str url = str_from(o->url);

    while (url.len && url.ptr[url.len - 1] == '/')
        url.len--;
    buf_add_str(out, url);
    buf_add_cstr(out, "/api/");
    add_escaped(out, o->org);
    buf_add_cstr(out, "/_search?type=");
    add_escaped(out, o->type);
    buf_add(out, "", 1);
}

static int print_failure(enum err_code rc, const struct err *e)
{
    console_complain("weir query: %s\n", e->msg);
    if (rc == ERR_GONE)
        fputs("is a node running there? weir serve starts one, --url names another\n", stderr);
    if (rc == ERR_TIMEOUT)
        fputs("--timeout waits longer, --last asks for less\n", stderr);
    return 1;
}

static int ask(const struct query_options *o)
{
    struct progress progress = {.began_ms = clock_mono_ms()};
    struct buf url, request, reply;
    long status = 0;
    struct err e;
    int code;

    buf_init(&url, URL_MAX);
    buf_init(&request, REQUEST_MAX);
    buf_init(&reply, REPLY_MAX);
    write_request(&request, o);
    write_url(&url, o);
    struct http_request r = {.method = "POST",
                             .url = buf_ok(&url) ? url.data : "",
                             .user = o->user,
                             .password = o->password,
                             .content_type = "application/json",
                             .body = buf_str(&request),
                             .timeout_s = (long)o->timeout_s,
                             .progress = show_progress,
                             .progress_ctx = &progress};
    enum err_code rc = http_request(&r, &status, &reply, &e);
    if (progress.shown)
        fputs("\r\033[K", stderr);
    if (rc)
        code = print_failure(rc, &e);
    else if (status == 200)
        code = print_hits(o, buf_str(&reply));
    else
        code = print_error(o, buf_str(&reply), status);
    buf_done(&url);
    buf_done(&request);
    buf_done(&reply);
    return code;
}

/* ---- run ---- */

static int check_options(const struct query_options *o, const char *sql)
{
    if ((sql != NULL) == (o->file != NULL))
        return cli_usage_error(&command_query, "expected one SQL text, in quotes, or --file");
    if (o->last_us && o->start_us)
        return cli_usage_error(&command_query, "expected --last or --from, not both");
    return 0;
}

static int ask_and_remember(struct query_options *o, const char *sql, struct arena *a)
{
    int code = check_options(o, sql);
    struct buf text;
    struct err e;

    if (code)
        return code;
    buf_init(&text, REQUEST_MAX / 2);
    if (o->file && read_sql(o->file, &text, &e)) {
        console_complain("weir query: %s\n", e.msg);
        code = 1;
    } else {
        o->sql = !o->file ? sql : text.data ? text.data : "";
        query_remember(o, a);
        settle(o);
        code = ask(o);
    }
    buf_done(&text);
    return code;
}

static int run(int argc, char **argv)
{
    struct query_options o = query_defaults;
    int all = argc, code = 0;
    char **given = argv;
    const char *sql;
    struct arena a;

    if (!cli_parse(&command_query, &argc, &argv, &o, &code))
        return code;
    sql = argc ? argv[0] : NULL;
    if (o.history)
        return query_list_history(&o, sql);
    arena_init(&a, ARGUMENTS_MAX);
    if (o.again)
        code = query_recall(sql, all, given, &o, &a, &sql);
    if (!code)
        code = ask_and_remember(&o, sql, &a);
    arena_done(&a);
    return code;
}

const struct cli_command command_query = {
    .name = "query",
    .arguments = "SQL | --again [N] | --history [TEXT]",
    .summary = "ask a node in SQL: table, JSON or CSV",
    .about = "Asks a node in SQL and prints the rows: a table on a terminal, JSON lines into a "
             "pipe.\n\nThe password is $ZO_ROOT_USER_PASSWORD.\n\nWhat is asked from a terminal is "
             "kept with its options, but without passwords, in "
             "~/.local/state/weir/query_history ($XDG_STATE_HOME): the last 1000. WEIR_HISTORY "
             "names another file, which also gets what scripts ask; empty, nothing is kept.",
    .examples = "weir query 'SELECT level, count(*) AS n FROM k8slogs GROUP BY level'\n"
                "weir query --last 1h --format csv 'SELECT * FROM k8slogs' > last-hour.csv\n"
                "weir query --file report.sql --last 7d\n"
                "weir query --history k8slogs\n"
                "weir query --again 12 --last 7d",
    .exit_codes = "0 answered\n1 refused or failed\n2 the command line is wrong",
    .options = options,
    .completes = CLI_OTHER,
    .arguments_max = 1,
    .run = run,
};
