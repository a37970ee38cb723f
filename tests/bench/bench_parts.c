// links: weir_fs weir_index
/* tests/bench/bench_parts.c - makes many sealed parts of one: for figures of a node that is old.
 *
 * usage: bench_parts DATADIR COUNT
 * The data directory of a stopped node with at least one sealed part of logs.  The first of them is
 * repeated in the hours before it, PER_HOUR times in each: links to its files, records in the
 * index.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/sealed/files.h"

enum { PER_HOUR = 500, AT_ONCE = 1000, LINKS_MAX = 30000, TEXT_MAX = 1 << 16 };
#define HOUR_US INT64_C(3600000000)

struct first {
    struct part part; /* its texts in `text` */
    char text[TEXT_MAX];
    struct part_group groups[64];
    bool found;
};

static _Noreturn void fail(const char *what, const struct err *e)
{
    fprintf(stderr, "bench_parts: %s: %s\n", what, e ? e->msg : "");
    exit(1);
}

static struct str keep(struct first *f, size_t *used, struct str s)
{
    if (*used + s.len > sizeof f->text)
        fail("the part's names are too long", NULL);
    memcpy(f->text + *used, s.ptr, s.len);
    struct str kept = {f->text + *used, s.len};
    *used += s.len;
    return kept;
}

static bool take_first(const struct part *p, void *ctx)
{
    struct first *f = ctx;
    size_t used = 0;
    if (p->type != STREAM_LOGS || p->group_count > 64)
        return true;
    f->part = *p;
    f->part.org = keep(f, &used, p->org);
    f->part.name = keep(f, &used, p->name);
    f->part.node = keep(f, &used, p->node);
    f->part.object = keep(f, &used, p->object);
    for (size_t i = 0; i < p->group_count; i++)
        f->groups[i] = part_group_at(p, i);
    f->part.groups = f->groups;
    f->part.packed = (struct str){0};
    f->found = true;
    return false;
}

/* <id>.parquet and <id>.sum of one part, from those of another; a new original now and then,
 * because a file has a limited number of links. */
static void link_files(const struct sealed_files *files, char from[SEALED_PATH_MAX],
                       const struct part *to, unsigned number)
{
    static const char *const endings[] = {".parquet", ".sum"};
    char path[SEALED_PATH_MAX], old[SEALED_PATH_MAX + 8], new[SEALED_PATH_MAX + 8], *slash;
    if (!sealed_files_path(files, &to->id, to->hour, path))
        fail("no path", NULL);
    slash = strrchr(path, '/');
    *slash = 0;
    mkdir(path, 0700);
    *slash = '/';
    for (size_t i = 0; i < 2; i++) {
        snprintf(old, sizeof old, "%.*s%s", (int)(strlen(from) - 8), from, endings[i]);
        snprintf(new, sizeof new, "%.*s%s", (int)(strlen(path) - 8), path, endings[i]);
        if (number % LINKS_MAX == LINKS_MAX - 1) {
            char command[2 * SEALED_PATH_MAX + 32];
            snprintf(command, sizeof command, "cp '%s' '%s'", old, new);
            if (system(command) != 0)
                fail(command, NULL);
        } else if (link(old, new) != 0) {
            fail(new, NULL);
        }
    }
    if (number % LINKS_MAX == LINKS_MAX - 1)
        memcpy(from, path, sizeof path);
}

static void repeat(struct parts *index, const struct sealed_files *files, const struct first *f,
                   unsigned count)
{
    static struct part made[AT_ONCE];
    char from[SEALED_PATH_MAX];
    struct err e = {0};
    uint64_t segment, offset;
    size_t n = 0;
    if (!sealed_files_path(files, &f->part.id, f->part.hour, from))
        fail("no path", NULL);
    for (unsigned i = 0; i < count; i++) {
        int32_t back = (int32_t)(i / PER_HOUR) + 1;
        struct part *p = &made[n++];
        *p = f->part;
        p->id = ulid_new();
        p->hour -= back;
        p->min_ts_us -= back * HOUR_US;
        p->max_ts_us -= back * HOUR_US;
        link_files(files, from, p, i);
        if (n < AT_ONCE && i + 1 < count)
            continue;
        if (parts_position(index, &segment, &offset, &e) ||
            parts_put(index, made, n, segment, offset, &e))
            fail("index", &e);
        n = 0;
    }
}

int main(int argc, char **argv)
{
    static struct first f;
    struct parts *index;
    struct sealed_files files = {0};
    struct err e = {0};
    char path[PATH_MAX];
    if (argc != 3) {
        fputs("usage: bench_parts DATADIR COUNT\n", stderr);
        return 2;
    }
    snprintf(path, sizeof path, "%s/index", argv[1]);
    if (parts_open(path, KV_OWNER, &index, &e) || sealed_files_init(&files, argv[1], false, &e) ||
        parts_each(index, take_first, &f, &e))
        fail(argv[1], &e);
    if (!f.found)
        fail("no sealed part of logs", NULL);
    repeat(index, &files, &f, (unsigned)strtoul(argv[2], NULL, 10));
    sealed_files_done(&files);
    parts_close(index);
    return 0;
}
