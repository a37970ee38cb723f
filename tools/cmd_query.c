/* tools/cmd_query.c - `weir query SQL`: asks a node and prints the rows. */
#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "gateway/gate.h"
#include "tools/command.h"
#include "tools/http_client.h"
#include "tools/table.h"

#define REPLY_MAX (UINT64_C(2) << 30)
#define REPLY_ARENA_MAX (UINT64_C(8) << 30)
#define REQUEST_MAX (64u << 20)
#define URL_MAX (64u << 10)
#define CELL_MAX_TERMINAL 60
#define PROGRESS_AFTER_MS 1000

static const char usage[] =
    "usage: weir query [OPTION ...] SQL\n\n"
    "Asks a node in SQL and prints the rows: a table on a terminal, JSON lines into\n"
    "a pipe.\n\n"
    "  --last DURATION  time range up to now: 90s, 15m, 6h, 7d  (default 24h)\n"
    "  --from T --to T  time range [from, to): 2026-11-23T09:00:00Z, or\n"
    "                   microseconds since 1970\n"
    "  --org ORG        organisation  (default \"default\")\n"
    "  --type TYPE      logs, metrics, traces or enrichment_tables  (default logs)\n"
    "  --size N         rows at most, when the SQL has no LIMIT  (default 1000)\n"
    "  --format FORM    table, json or csv\n"
    "  --url URL        the node  (default $WEIR_URL, else http://127.0.0.1:5080)\n"
    "  --user EMAIL     (default $ZO_ROOT_USER_EMAIL)\n"
    "  --timeout S      seconds to wait  (default 600)\n\n"
    "The password is $ZO_ROOT_USER_PASSWORD.\n\n"
    "examples:\n"
    "  weir query 'SELECT level, count(*) AS n FROM k8slogs GROUP BY level'\n"
    "  weir query --last 1h --format csv 'SELECT * FROM k8slogs' > last-hour.csv\n\n"
    "exit codes: 0 answered, 1 refused or failed, 2 the command line is wrong\n";

enum form { FORM_AUTO, FORM_TABLE, FORM_JSON, FORM_CSV };

struct query_options {
    const char *sql, *org, *type, *url, *user, *password;
    int64_t start_us, end_us, size;
    long timeout_s;
    enum form form;
    bool range_given;
};

enum {
    OPT_LAST = 256,
    OPT_FROM,
    OPT_TO,
    OPT_ORG,
    OPT_TYPE,
    OPT_SIZE,
    OPT_FORMAT,
    OPT_URL,
    OPT_USER,
    OPT_TIMEOUT
};

static const struct option options[] = {
    {"last", required_argument, NULL, OPT_LAST},
    {"from", required_argument, NULL, OPT_FROM},
    {"to", required_argument, NULL, OPT_TO},
    {"org", required_argument, NULL, OPT_ORG},
    {"type", required_argument, NULL, OPT_TYPE},
    {"size", required_argument, NULL, OPT_SIZE},
    {"format", required_argument, NULL, OPT_FORMAT},
    {"url", required_argument, NULL, OPT_URL},
    {"user", required_argument, NULL, OPT_USER},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* What the options expect that do not take any text. */
static const char *expected(int option)
{
    switch (option) {
    case OPT_LAST:
        return "a duration such as 90s, 15m, 6h, 7d";
    case OPT_FROM:
    case OPT_TO:
        return "a time such as 2026-11-23T09:00:00Z, or microseconds since 1970";
    case OPT_FORMAT:
        return "table, json or csv";
    default:
        return "a number above 0";
    }
}

static bool parse_duration(const char *text, int64_t *us)
{
    size_t len = strlen(text);
    int64_t n, factor;

    if (len < 2 || !str_to_i64((struct str){text, len - 1}, &n) || n < 0)
        return false;
    switch (text[len - 1]) {
    case 's':
        factor = US_PER_SEC;
        break;
    case 'm':
        factor = 60 * US_PER_SEC;
        break;
    case 'h':
        factor = US_PER_HOUR;
        break;
    case 'd':
        factor = 24 * US_PER_HOUR;
        break;
    default:
        return false;
    }
    return !__builtin_mul_overflow(n, factor, us);
}

static bool parse_time(const char *text, int64_t *us)
{
    return str_to_i64(str_from(text), us) || time_parse_rfc3339(str_from(text), us);
}

static bool parse_form(const char *text, enum form *out)
{
    static const char *const names[] = {
        [FORM_TABLE] = "table", [FORM_JSON] = "json", [FORM_CSV] = "csv"};

    for (int i = FORM_TABLE; i <= FORM_CSV; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum form)i;
            return true;
        }
    }
    return false;
}

static bool take_option(int c, const char *value, struct query_options *o, int64_t *last_us)
{
    int64_t seconds;

    o->range_given |= c == OPT_LAST || c == OPT_FROM || c == OPT_TO;
    switch (c) {
    case OPT_LAST:
        return parse_duration(value, last_us);
    case OPT_FROM:
        return parse_time(value, &o->start_us);
    case OPT_TO:
        return parse_time(value, &o->end_us);
    case OPT_ORG:
        o->org = value;
        return true;
    case OPT_TYPE:
        o->type = value;
        return true;
    case OPT_SIZE:
        return str_to_i64(str_from(value), &o->size) && o->size > 0;
    case OPT_FORMAT:
        return parse_form(value, &o->form);
    case OPT_URL:
        o->url = value;
        return true;
    case OPT_USER:
        o->user = value;
        return true;
    case OPT_TIMEOUT:
        if (!str_to_i64(str_from(value), &seconds) || seconds < 1)
            return false;
        o->timeout_s = (long)seconds;
        return true;
    default:
        return false;
    }
}

static int usage_error(void)
{
    fputs("weir query --help tells more\n", stderr);
    return EXIT_USAGE + 1;
}

/* 0 to go on; else the exit code, plus one so that success can end the command too. */
static int parse_options(int argc, char **argv, struct query_options *o, int64_t *last_us)
{
    static char name[] = "weir query"; /* what getopt begins its messages with */
    int which = 0;

    argv[0] = name;
    for (int c; (c = getopt_long(argc, argv, "h", options, &which)) != -1;) {
        if (c == 'h') {
            fputs(usage, stdout);
            return 1;
        }
        if (c == '?')
            return usage_error();
        if (!take_option(c, optarg, o, last_us)) {
            fprintf(stderr, "weir query: --%s '%s': expected %s\n", options[which].name, optarg,
                    expected(c));
            return usage_error();
        }
    }
    return 0;
}

static int parse_command_line(int argc, char **argv, struct query_options *o)
{
    int64_t last_us = 24 * US_PER_HOUR;
    const char *env_url = getenv("WEIR_URL");
    int ended;

    *o = (struct query_options){.org = "default",
                                .type = "logs",
                                .size = 1000,
                                .timeout_s = 600,
                                .url = env_url ? env_url : "http://127.0.0.1:5080",
                                .user = getenv("ZO_ROOT_USER_EMAIL"),
                                .password = getenv("ZO_ROOT_USER_PASSWORD")};
    ended = parse_options(argc, argv, o, &last_us);
    if (ended)
        return ended;
    if (optind + 1 != argc) {
        fputs("weir query: expected one SQL text, in quotes\n", stderr);
        return usage_error();
    }
    o->sql = argv[optind];
    if (!o->end_us)
        o->end_us = clock_wall_us() + US_PER_SEC;
    if (!o->start_us)
        o->start_us = o->end_us - last_us;
    if (o->form == FORM_AUTO)
        o->form = isatty(STDOUT_FILENO) ? FORM_TABLE : FORM_JSON;
    return 0;
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
    if (status == 401 && !(o->user && o->password))
        return "set ZO_ROOT_USER_EMAIL and ZO_ROOT_USER_PASSWORD to the node's user";
    if (status == 401)
        return "the user and password are those of the node's first start";
    if (code == API_STREAM_NOT_FOUND)
        return "ls <mount>/<org>/logs shows the streams; --org and --type name others";
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
    }
    fprintf(stderr, "weir query: HTTP %ld: " STR_FMT "%s" STR_FMT "\n", status, STR_ARG(message),
            detail.len ? ": " : "", STR_ARG(detail));
    next_step = advice(o, status, code);
    if (next_step)
        fprintf(stderr, "%s\n", next_step);
    arena_done(&a);
    return 1;
}

static size_t terminal_width(void)
{
    struct winsize size;

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static void print_footer(const struct query_options *o, size_t rows, int64_t took_ms)
{
    fprintf(stderr, "%zu row%s in %lld ms\n", rows, rows == 1 ? "" : "s", (long long)took_ms);
    if (!rows && !o->range_given)
        fputs("asked were the last 24 hours; --last 30d or --from reaches further back\n", stderr);
}

static int print_hits(const struct query_options *o, struct str reply)
{
    struct table_options form = {.cell_max = isatty(STDOUT_FILENO) ? CELL_MAX_TERMINAL : 0,
                                 .width = terminal_width(),
                                 .color = isatty(STDOUT_FILENO) && !getenv("NO_COLOR")};
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
        table_print(&out, hits, &form);
        (void)json_i64(json_get(doc, "took"), &took);
        fwrite(out.data, 1, out.len, stdout);
        print_footer(o, hits->count, took);
    } else {
        (o->form == FORM_CSV ? table_print_csv : table_print_json)(&out, hits);
        fwrite(out.data, 1, out.len, stdout);
    }
    if (fflush(stdout) != 0 || !buf_ok(&out))
        code = 1;
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
    fprintf(stderr, "weir query: %s\n", e->msg);
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
                             .timeout_s = o->timeout_s,
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

int cmd_query(int argc, char **argv)
{
    struct query_options o;
    int ended = parse_command_line(argc, argv, &o);

    return ended ? ended - 1 : ask(&o);
}
