/* tools/cmd_fsck.c - `weir fsck`: what is in a data directory, and is it what was written? */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "fs/fsck.h"
#include "tools/cli.h"
#include "tools/command.h"
#include "tools/console.h"
#include "tools/node.h"
#include "tools/scratch.h"
#include "tools/supervisor.h"

#define OUTPUT_MAX (1u << 20)
#define WIDTH 80
#define TEXT_COLUMN 6 /* "note  " */
#define PROGRESS_EVERY_MS 200

struct fsck_options {
    const char *data;
    int color;
    bool quick, json;
};

static const struct cli_option options[] = {
    {.name = "data",
     .kind = CLI_TEXT,
     .at = offsetof(struct fsck_options, data),
     .value = "DIR",
     .help = "the data directory (default $ZO_DATA_DIR, else ./data/weir)"},
    {.name = "quick",
     .letter = 'q',
     .kind = CLI_FLAG,
     .at = offsetof(struct fsck_options, quick),
     .help = "of sealed files only whether they are there with the right size"},
    {.name = "json",
     .kind = CLI_FLAG,
     .at = offsetof(struct fsck_options, json),
     .help = "one JSON object a finding, and one with the sums at the end"},
    CLI_COLOR_ROW(struct fsck_options),
    CLI_END,
};

static const struct {
    const char *name;
    enum style style;
} levels[] = {[FSCK_NOTE] = {"note", STYLE_CYAN},
              [FSCK_WARN] = {"warn", STYLE_YELLOW},
              [FSCK_BAD] = {"bad", STYLE_RED}};

struct checker {
    const struct fsck_options *o;
    struct paint paint;
    uint64_t shown_ms; /* the progress; 0: it is not on the terminal */
};

static void clear_progress(struct checker *k)
{
    if (k->shown_ms)
        fputs("\r\033[K", stderr);
    k->shown_ms = 0;
}

static void show_progress(uint64_t parts, void *ctx)
{
    struct checker *k = ctx;
    uint64_t now = clock_mono_ms();

    if (!isatty(STDERR_FILENO) || now - k->shown_ms < PROGRESS_EVERY_MS)
        return;
    k->shown_ms = now;
    fprintf(stderr, "\r%" PRIu64 " sealed files checked ", parts);
}

static void print_json(enum fsck_level level, const char *saw, const char *mend)
{
    struct buf out;
    struct json_writer w = {.out = &out};

    buf_init(&out, OUTPUT_MAX);
    jw_object(&w);
    jw_kcstr(&w, "level", levels[level].name);
    jw_kcstr(&w, "saw", saw);
    jw_kcstr(&w, "mend", mend);
    jw_end(&w);
    buf_add_char(&out, '\n');
    console_flush(&out);
    buf_done(&out);
}

static void print_finding(enum fsck_level level, const char *saw, const char *mend, void *ctx)
{
    struct checker *k = ctx;
    struct buf out;

    clear_progress(k);
    if (k->o->json) {
        print_json(level, saw, mend);
        return;
    }
    buf_init(&out, OUTPUT_MAX);
    paint_begin(&out, k->paint, levels[level].style);
    buf_printf(&out, "%-4s", levels[level].name);
    paint_end(&out, k->paint, levels[level].style);
    buf_add_cstr(&out, "  ");
    console_flush(&out);
    buf_done(&out);
    cli_wrap(stdout, str_from(saw), TEXT_COLUMN, WIDTH);
    printf("%*s-> ", TEXT_COLUMN, "");
    cli_wrap(stdout, str_from(mend), TEXT_COLUMN + 3, WIDTH);
}

static void print_sums_json(const struct fsck_report *r)
{
    struct buf out;
    struct json_writer w = {.out = &out};

    buf_init(&out, OUTPUT_MAX);
    jw_object(&w);
    jw_ku64(&w, "streams", r->streams);
    jw_ku64(&w, "segments", r->journal.segments);
    jw_ku64(&w, "frames", r->journal.frames);
    jw_ku64(&w, "active_rows", r->journal.rows);
    jw_ku64(&w, "corrupt_frames", r->journal.corrupt_frames);
    jw_ku64(&w, "torn_bytes", r->journal.torn_bytes);
    jw_ku64(&w, "parts", r->parts);
    jw_ku64(&w, "sealed_rows", r->part_rows);
    jw_ku64(&w, "sealed_bytes", r->part_bytes);
    jw_ku64(&w, "damaged", r->damaged);
    jw_ku64(&w, "missing", r->missing);
    jw_ku64(&w, "unknown", r->unknown);
    jw_ku64(&w, "staged", r->staged);
    jw_ku64(&w, "set_aside", r->set_aside);
    jw_ku64(&w, "bad", r->told[FSCK_BAD]);
    jw_ku64(&w, "warn", r->told[FSCK_WARN]);
    jw_end(&w);
    buf_add_char(&out, '\n');
    console_flush(&out);
    buf_done(&out);
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void print_sums(const struct fsck_report *r)
{
    char bytes[8];
    bool any = r->told[FSCK_NOTE] || r->told[FSCK_WARN] || r->told[FSCK_BAD];

    console_format_size(r->part_bytes, bytes);
    printf("%smeta     %" PRIu64 " stream%s\n", any ? "\n" : "", r->streams, plural(r->streams));
    printf("journal  %" PRIu64 " segment%s, %" PRIu64 " frame%s\n", r->journal.segments,
           plural(r->journal.segments), r->journal.frames, plural(r->journal.frames));
    printf("parts    %" PRIu64 " sealed file%s, %" PRIu64 " row%s, %s bytes\n", r->parts,
           plural(r->parts), r->part_rows, plural(r->part_rows), bytes);
    if (r->told[FSCK_BAD])
        printf("\n%" PRIu64 " finding%s of damage\n", r->told[FSCK_BAD], plural(r->told[FSCK_BAD]));
    else
        puts("\nsound");
}

static int check(const struct fsck_options *o, const struct node *n, const char *scratch_dir)
{
    struct checker k = {.o = o, .paint = {console_has_color(o->color, STDOUT_FILENO)}};
    struct fsck_config cfg = {.data_dir = n->data_dir,
                              .scratch_dir = scratch_dir,
                              .segment_bytes = NODE_SEGMENT_BYTES,
                              .is_quick = o->quick,
                              .tell = print_finding,
                              .progress = show_progress,
                              .ctx = &k};
    struct fsck_report report;
    struct err e = {0};
    enum err_code rc = fsck_run(&cfg, &report, &e);

    clear_progress(&k);
    if (rc) {
        console_complain("weir fsck: %s\n", e.msg);
        return 1;
    }
    if (o->json)
        print_sums_json(&report);
    else
        print_sums(&report);
    return report.told[FSCK_BAD] || fflush(stdout) != 0 ? 1 : 0;
}

static int run(int argc, char **argv)
{
    struct fsck_options o = {0};
    struct node n = {0};
    struct scratch scratch = {.fd = -1};
    struct err e = {0};
    int code, lock_fd = -1;

    if (!cli_parse(&command_fsck, &argc, &argv, &o, &code))
        return code;
    if (o.data)
        setenv("ZO_DATA_DIR", o.data, 1);
    if (node_init(&n, "fsck", &e) || node_check_data_dir(&n, &e) ||
        node_lock_unchanged(&n, &lock_fd, &e) || scratch_make(&scratch, &e)) {
        console_complain("weir fsck: %s\n", e.msg);
        code = EXIT_CONFIG;
    } else {
        code = check(&o, &n, scratch.path);
    }
    scratch_remove(&scratch);
    if (lock_fd >= 0)
        close(lock_fd);
    node_done(&n);
    return code;
}

const struct cli_command command_fsck = {
    .name = "fsck",
    .arguments = "",
    .summary = "check a data directory and say how to mend it",
    .about =
        "Reads everything in the data directory of a stopped node: every record of meta, every "
        "frame of the journal, every sealed file against its checksum, and the index against both. "
        "It changes nothing. Each finding comes with how to mend it.\n\n"
        "note: as it should be after a crash, warn: nothing is lost, bad: data is damaged, missing "
        "or not shown.",
    .examples = "weir fsck --data /var/lib/weir\n"
                "weir fsck --quick --json | jq -c 'select(.level == \"bad\")'",
    .exit_codes = "0 sound\n1 something is damaged, missing or not shown\n"
                  "2 the command line is wrong\n"
                  "78 the settings are wrong, or there is no data directory, or it is in use",
    .options = options,
    .run = run,
};
