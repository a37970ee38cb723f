/* tools/cmd_ls.c - `weir ls`: the streams of a mount, or the files of one stream. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "tools/cli.h"
#include "tools/command.h"
#include "tools/console.h"
#include "tools/mounted.h"

#define OUTPUT_MAX (64u << 20) /* it is written whenever a stream or an hour is complete */

struct ls_options {
    const char *mount, *org;
    int64_t last_us;
    int type, color;
    bool json, bytes, names;
};

static const struct cli_option options[] = {
    {.name = "org",
     .kind = CLI_TEXT,
     .at = offsetof(struct ls_options, org),
     .value = "ORG",
     .help = "of this organisation only (for a stream: default \"default\")"},
    {.name = "type",
     .kind = CLI_CHOICE,
     .at = offsetof(struct ls_options, type),
     .value = "TYPE",
     .choices = "logs metrics traces enrichment_tables",
     .help = "of this type only (for a stream: default logs)"},
    {.name = "last",
     .kind = CLI_DURATION,
     .at = offsetof(struct ls_options, last_us),
     .value = "DURATION",
     .help = "hours that hold records of this time up to now: 90s, 15m, 6h, 7d"},
    {.name = "bytes",
     .letter = 'b',
     .kind = CLI_FLAG,
     .at = offsetof(struct ls_options, bytes),
     .help = "sizes in bytes"},
    {.name = "names",
     .kind = CLI_FLAG,
     .at = offsetof(struct ls_options, names),
     .help = "only the names of the streams; those of default/logs without the way there"},
    {.name = "json",
     .kind = CLI_FLAG,
     .at = offsetof(struct ls_options, json),
     .help = "one JSON object a line"},
    CLI_MOUNT_ROWS(struct ls_options),
    CLI_COLOR_ROW(struct ls_options),
    CLI_END,
};

static const char *const types[] = {NULL, "logs", "metrics", "traces", "enrichment_tables"};

struct sums {
    uint64_t files, rows, bytes;
    int64_t min_ts_us, max_ts_us;
};

struct listing {
    const struct ls_options *o;
    char mount[PATH_MAX];
    struct mounted_stream stream;         /* the one at hand */
    struct sums sums;                     /* of it */
    uint64_t streams, files, rows, bytes; /* of all */
    int32_t from, to;
    struct paint paint;
    struct buf out;
    bool is_over; /* nobody reads, or an error */
    struct err e;
};

static void add_sums(struct sums *s, const struct mounted_file *f)
{
    if (f->rows && (!s->min_ts_us || f->min_ts_us < s->min_ts_us))
        s->min_ts_us = f->min_ts_us;
    if (f->rows && f->max_ts_us > s->max_ts_us)
        s->max_ts_us = f->max_ts_us;
    s->files++;
    s->rows += f->rows;
    s->bytes += f->bytes;
}

static void format_bytes(const struct listing *l, uint64_t bytes, char dst[24])
{
    if (l->o->bytes)
        snprintf(dst, 24, "%" PRIu64, bytes);
    else
        console_format_size(bytes, dst);
}

/* ---- files of one stream ---- */

static enum style state_style(const char *state)
{
    if (strcmp(state, "active") == 0)
        return STYLE_GREEN;
    return strcmp(state, "remote") == 0 ? STYLE_CYAN : STYLE_PLAIN;
}

static void put_file_json(struct listing *l, const struct mounted_hour *h,
                          const struct mounted_file *f)
{
    struct json_writer w = {.out = &l->out};

    jw_object(&w);
    jw_kcstr(&w, "org", l->stream.org);
    jw_kcstr(&w, "type", l->stream.type);
    jw_kcstr(&w, "stream", l->stream.name);
    jw_key(&w, STR("file"));
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", h->under, f->name);
    jw_cstr(&w, path);
    jw_kcstr(&w, "state", f->state);
    jw_ku64(&w, "rows", f->rows);
    jw_ku64(&w, "size_bytes", f->bytes);
    jw_ki64(&w, "min_ts", f->min_ts_us);
    jw_ki64(&w, "max_ts", f->max_ts_us);
    jw_end(&w);
    buf_add_char(&l->out, '\n');
}

static void put_file(struct listing *l, const struct mounted_file *f)
{
    char size[24], first[40], last[40];

    format_bytes(l, f->bytes, size);
    console_format_time(f->min_ts_us, first);
    console_format_time(f->max_ts_us, last);
    paint_begin(&l->out, l->paint, state_style(f->state));
    buf_printf(&l->out, "%-8s", f->state);
    paint_end(&l->out, l->paint, state_style(f->state));
    buf_printf(&l->out, " %8" PRIu64 " %5s  %s  %s  %s\n", f->rows, size, first + 11, last + 11,
               f->name);
}

static void put_hour_head(struct listing *l, const struct mounted_hour *h)
{
    if (l->sums.files) /* not the first one */
        buf_add_char(&l->out, '\n');
    paint_begin(&l->out, l->paint, STYLE_BOLD);
    console_add_visible(&l->out, str_from(l->stream.org));
    buf_printf(&l->out, "/%s/", l->stream.type);
    console_add_visible(&l->out, str_from(l->stream.name));
    buf_printf(&l->out, "/%s:", h->under);
    paint_end(&l->out, l->paint, STYLE_BOLD);
    buf_add_char(&l->out, '\n');
}

static bool list_hour(const struct mounted_hour *h, void *ctx)
{
    struct listing *l = ctx;
    AUTO_FREE struct mounted_file *files = NULL;
    size_t count;

    if (mounted_files(h->path, &files, &count, &l->e)) {
        l->is_over = true;
        return false;
    }
    if (count && !l->o->json)
        put_hour_head(l, h);
    for (size_t i = 0; i < count; i++) {
        if (l->o->json)
            put_file_json(l, h, &files[i]);
        else
            put_file(l, &files[i]);
        add_sums(&l->sums, &files[i]);
    }
    l->is_over = !console_flush(&l->out);
    return !l->is_over;
}

static enum err_code list_files(struct listing *l, const char *name)
{
    char path[PATH_MAX];
    const char *type = l->o->type ? types[l->o->type] : "logs";
    enum err_code rc =
        mounted_stream(l->mount, name, l->o->org ? l->o->org : "default", type, &l->stream, &l->e);
    if (rc)
        return rc;
    mounted_stream_path(l->mount, &l->stream, path);
    rc = mounted_hours(path, l->from, l->to, false, list_hour, l, &l->e);
    l->files += l->sums.files;
    l->rows += l->sums.rows;
    l->bytes += l->sums.bytes;
    return rc;
}

/* ---- streams ---- */

static bool sum_hour(const struct mounted_hour *h, void *ctx)
{
    struct listing *l = ctx;
    AUTO_FREE struct mounted_file *files = NULL;
    size_t count;

    if (mounted_files(h->path, &files, &count, &l->e)) {
        l->is_over = true;
        return false;
    }
    for (size_t i = 0; i < count; i++)
        add_sums(&l->sums, &files[i]);
    return true;
}

static void put_stream_json(struct listing *l)
{
    struct json_writer w = {.out = &l->out};

    jw_object(&w);
    jw_kcstr(&w, "org", l->stream.org);
    jw_kcstr(&w, "type", l->stream.type);
    jw_kcstr(&w, "stream", l->stream.name);
    jw_ku64(&w, "files", l->sums.files);
    jw_ku64(&w, "rows", l->sums.rows);
    jw_ku64(&w, "size_bytes", l->sums.bytes);
    jw_ki64(&w, "min_ts", l->sums.min_ts_us);
    jw_ki64(&w, "max_ts", l->sums.max_ts_us);
    jw_end(&w);
    buf_add_char(&l->out, '\n');
}

static void put_streams_head(struct listing *l)
{
    paint_text(&l->out, l->paint, STYLE_BOLD,
               STR("  files        rows   size  newest record        stream"));
    buf_add_char(&l->out, '\n');
}

static void put_stream(struct listing *l)
{
    char size[24], newest[40] = "-";

    format_bytes(l, l->sums.bytes, size);
    if (l->sums.max_ts_us)
        console_format_time(l->sums.max_ts_us, newest);
    if (l->streams == 0)
        put_streams_head(l);
    buf_printf(&l->out, "%7" PRIu64 " %11" PRIu64 "  %5s  %-19s  ", l->sums.files, l->sums.rows,
               size, newest);
    paint_begin(&l->out, l->paint, STYLE_DIM);
    console_add_visible(&l->out, str_from(l->stream.org));
    buf_printf(&l->out, "/%s/", l->stream.type);
    paint_end(&l->out, l->paint, STYLE_DIM);
    console_add_visible(&l->out, str_from(l->stream.name));
    buf_add_char(&l->out, '\n');
}

static void put_name(struct listing *l)
{
    if (strcmp(l->stream.org, "default") != 0 || strcmp(l->stream.type, "logs") != 0)
        buf_printf(&l->out, "%s/%s/", l->stream.org, l->stream.type);
    buf_printf(&l->out, "%s\n", l->stream.name);
}

static bool list_stream(const struct mounted_stream *s, void *ctx)
{
    struct listing *l = ctx;
    char path[PATH_MAX];

    l->stream = *s;
    l->sums = (struct sums){0};
    mounted_stream_path(l->mount, s, path);
    if (l->o->names)
        put_name(l);
    else if (mounted_hours(path, l->from, l->to, false, sum_hour, l, &l->e) || l->is_over)
        return !(l->is_over = true);
    else if (l->o->json)
        put_stream_json(l);
    else
        put_stream(l);
    l->streams++;
    l->files += l->sums.files;
    l->rows += l->sums.rows;
    l->bytes += l->sums.bytes;
    l->is_over = !console_flush(&l->out);
    return !l->is_over;
}

static void print_footer(const struct listing *l, bool of_one)
{
    char size[24];

    format_bytes(l, l->bytes, size);
    if (!of_one)
        fprintf(stderr, "%" PRIu64 " stream%s, ", l->streams, l->streams == 1 ? "" : "s");
    fprintf(stderr, "%" PRIu64 " file%s, %" PRIu64 " row%s, %s; times are UTC\n", l->files,
            l->files == 1 ? "" : "s", l->rows, l->rows == 1 ? "" : "s", size);
}

static int list(const struct ls_options *o, const char *name)
{
    static struct listing l; /* large; the commands have one thread */
    int32_t now = hour_of_us(clock_wall_us());
    enum err_code rc;

    l = (struct listing){.o = o, .to = INT32_MAX, .from = INT32_MIN};
    l.paint.is_on = console_has_color(o->color, STDOUT_FILENO);
    if (o->last_us)
        l.from = (int32_t)(now - (int32_t)((o->last_us + US_PER_HOUR - 1) / US_PER_HOUR));
    buf_init(&l.out, OUTPUT_MAX);
    rc = mounted_find(o->mount, l.mount, &l.e);
    if (!rc)
        rc = name ? list_files(&l, name)
                  : mounted_streams(l.mount, o->org, types[o->type], list_stream, &l, &l.e);
    buf_done(&l.out);
    if (l.e.msg[0])
        console_complain("weir ls: %s\n", l.e.msg);
    else if (!l.is_over && !o->json && !o->names)
        print_footer(&l, name != NULL);
    return rc || l.is_over ? 1 : 0;
}

static int run(int argc, char **argv)
{
    struct ls_options o = {0};
    int code;

    return cli_parse(&command_ls, &argc, &argv, &o, &code) ? list(&o, argv[0]) : code;
}

const struct cli_command command_ls = {
    .name = "ls",
    .arguments = "[STREAM]",
    .summary = "list streams, or the files of one",
    .about = "Lists the streams of a mount with their files, rows, size and newest record; with a "
             "STREAM its files: state (active, sealed, mirrored, remote), rows, size, first and "
             "last record. Times are UTC.\n\n"
             "STREAM is a name, TYPE/NAME or ORG/TYPE/NAME. The size of a sealed file is that of "
             "the Parquet file, that of an active one is that of its lines.",
    .examples = "weir ls\n"
                "weir ls k8slogs --last 6h\n"
                "weir ls metrics/cpu_usage\n"
                "weir ls --json | jq -r 'select(.rows > 1000000) | .stream'",
    .exit_codes = "0 listed\n1 no mount, no such stream, or it could not be read\n"
                  "2 the command line is wrong",
    .options = options,
    .completes = CLI_STREAMS,
    .arguments_max = 1,
    .run = run,
};
