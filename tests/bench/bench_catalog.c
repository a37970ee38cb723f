// links: weir_gateway weir_index
/* What streams and schemas cost: look-ups in memory, durable changes on disk.
 *
 * usage: bench_catalog DIRECTORY [STREAMS]     on the disk that shall be measured
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "gateway/catalog.h"

enum { STREAMS_DEFAULT = 200, STREAMS_LIMIT = 100000, FIELDS = 15, LOOKUPS = 5000000 };

struct name {
    char text[24];
};

static struct str name_of(struct name *n, const char *prefix, size_t i)
{
    return (struct str){n->text, (size_t)snprintf(n->text, sizeof n->text, "%s%zu", prefix, i)};
}

static void fail(const struct err *e)
{
    fprintf(stderr, "bench_catalog: %s\n", e->msg);
    exit(1);
}

static void report(const char *what, uint64_t started_ns, size_t count, double per,
                   const char *unit)
{
    double us = (double)(clock_mono_ns() - started_ns) / 1e3;

    printf("%-36s %10.3f %s\n", what, us * per / (double)count, unit);
}

static void make_streams(struct catalog *c, size_t streams)
{
    uint64_t started = clock_mono_ns();
    const struct catalog_stream *s;
    struct name name;
    struct err e;

    for (size_t i = 0; i < streams; i++) {
        if (catalog_make(c, STR("default"), STREAM_LOGS, name_of(&name, "stream", i), &s, &e))
            fail(&e);
        catalog_unref(s);
    }
    report("catalog_make, new", started, streams, 1e-3, "ms");
}

static void merge_fields(struct catalog *c, size_t streams)
{
    uint64_t started = clock_mono_ns();
    const struct catalog_stream *s, *wider;
    struct meta_new_field fields[FIELDS];
    struct name names[FIELDS], name;
    struct err e;

    for (size_t i = 0; i < FIELDS; i++)
        fields[i] = (struct meta_new_field){name_of(&names[i], "kubernetes_f", i), FIELD_UTF8};
    for (size_t i = 0; i < streams; i++) {
        struct str stream = name_of(&name, "stream", i);
        if (catalog_find(c, STR("default"), STREAM_LOGS, stream, &s, &e) ||
            catalog_merge_fields(c, s, fields, FIELDS, &wider, &e))
            fail(&e);
        catalog_unref(s);
        catalog_unref(wider);
    }
    report("catalog_merge_fields, 15 new", started, streams, 1e-3, "ms");
}

static void look_up(struct catalog *c, size_t streams)
{
    struct name *names = calloc(streams, sizeof *names);
    struct str *views = calloc(streams, sizeof *views);
    const struct catalog_stream *s;
    uint64_t started;
    size_t hits = 0;
    struct err e;

    for (size_t i = 0; i < streams; i++)
        views[i] = name_of(&names[i], "stream", i);
    started = clock_mono_ns();
    for (size_t i = 0; i < LOOKUPS; i++) {
        if (catalog_find(c, STR("default"), STREAM_LOGS, views[i % streams], &s, &e))
            fail(&e);
        catalog_unref(s);
    }
    report("catalog_find and unref", started, LOOKUPS, 1e3, "ns");
    if (catalog_find(c, STR("default"), STREAM_LOGS, views[0], &s, &e))
        fail(&e);
    started = clock_mono_ns();
    for (size_t i = 0; i < LOOKUPS; i++)
        hits += catalog_field(s, s->fields[i % s->field_count].name) >= 0;
    report("catalog_field", started, hits, 1e3, "ns");
    catalog_unref(s);
    started = clock_mono_ns();
    for (size_t i = 0; i < LOOKUPS / 10; i++)
        hits += catalog_org_exists(c, STR("default"));
    report("catalog_org_exists", started, LOOKUPS / 10, 1e3, "ns");
    free(views);
    free(names);
}

int main(int argc, char **argv)
{
    size_t streams = argc > 2 ? strtoul(argv[2], NULL, 10) : STREAMS_DEFAULT;
    struct catalog *c;
    struct meta *m;
    struct err e;

    if (argc < 2 || streams == 0 || streams > STREAMS_LIMIT) {
        fprintf(stderr, "usage: bench_catalog DIRECTORY [STREAMS]\n");
        return 2;
    }
    if (meta_open(argv[1], KV_OWNER, &m, &e) || catalog_open(m, SIZE_MAX, &c, &e))
        fail(&e);
    make_streams(c, streams);
    merge_fields(c, streams);
    look_up(c, streams);
    printf("%-36s %10.0f bytes\n", "heap a stream, 15 fields",
           (double)mallinfo2().uordblks / (double)streams);
    catalog_close(c);
    meta_close(m);
    return 0;
}
