// links: weir_gateway weir_fs weir_index
/* How fast bodies become lines: scan, flatten and write, on one thread, without commit.
 *
 * usage: bench_ingest [SECONDS]       1 MB bodies of 15-field Kubernetes-like records and two
 * others
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "gateway/lines.h"

enum { BODY_BYTES = 1000000, RECORD_ROOM = 8192 };

static unsigned next_random(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33);
}

static const char *pick(const char *const *words, size_t n)
{
    return words[next_random() % n];
}
#define PICK(words) pick(words, sizeof(words) / sizeof *(words))

static const char *const LEVELS[] = {"info", "info", "info", "warn", "error", "debug"};
static const char *const SPACES[] = {"default", "kube-system", "monitoring", "payments"};
static const char *const APPS[] = {"checkout", "cart-service", "frontend", "ingress-nginx", "etcd"};
static const char *const LOGS[] = {
    "GET /api/v1/products/66VCHSJNUP HTTP/1.1 200 4523 \\\"Mozilla/5.0 (X11; Linux x86_64)\\\"",
    "I0311 12:44:01.118273       1 leaderelection.go:278] successfully renewed lease",
    "payment went through: transaction_id=9f0c6a2e-5d1b-4c8e-8a40-1f2b3c4d5e6f amount=129.95 EUR",
    "connection to upstream timed out after 5000 ms, retrying (attempt 2 of 5)\\n",
    "level=warn component=scraper msg=\\\"scrape pool is slow\\\" targets=112 took=4.2s",
};

/* 15 fields after flattening, most of them below `kubernetes`, as Fluent Bit sends them. */
static void add_kubernetes(struct buf *b, int64_t us)
{
    const char *app = PICK(APPS);
    buf_printf(b,
               "{\"_timestamp\":%lld,\"log\":\"%s\",\"stream\":\"%s\",\"level\":\"%s\","
               "\"kubernetes\":{\"pod_name\":\"%s-7d9f8b6c5d-x%03u\",\"namespace_name\":\"%s\","
               "\"pod_id\":\"0b1c2d3e-4f50-6172-8394-%012u\",\"container_name\":\"%s\","
               "\"container_image\":\"registry.example.com/%s:1.%u.%u\",\"host\":\"node-%02u\","
               "\"labels\":{\"app\":\"%s\",\"pod-template-hash\":\"7d9f8b6c5d\"}},"
               "\"took_ms\":%u.%02u,\"bytes\":%u,\"ok\":%s}",
               (long long)us, PICK(LOGS), next_random() % 4 ? "stdout" : "stderr", PICK(LEVELS),
               app, next_random() % 1000, PICK(SPACES), next_random() % 1000000, app, app,
               next_random() % 20, next_random() % 100, next_random() % 32, app,
               next_random() % 3000, next_random() % 90 + 10, next_random() % 100000,
               next_random() % 10 ? "true" : "false");
}

/* Sparse: ten of a thousand columns, never in the same order. */
static void add_sparse(struct buf *b, int64_t us)
{
    buf_printf(b, "{\"_timestamp\":%lld", (long long)us);
    for (int i = 0; i < 10; i++)
        buf_printf(b, ",\"column_number_%u\":%u", next_random() % 100 * 10 + (unsigned)i,
                   next_random());
    buf_add_char(b, '}');
}

/* Text that is mostly beyond ASCII. */
static void add_wide_text(struct buf *b, int64_t us)
{
    buf_printf(b, "{\"_timestamp\":%lld,\"message\":\"", (long long)us);
    for (int i = 0; i < 12; i++)
        buf_add_cstr(b,
                     "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E \xD0\xBF\xD1\x80\xD0\xB8 caf\xC3\xA9 ");
    buf_add_cstr(b, "\"}");
}

typedef void (*add_record)(struct buf *b, int64_t us);

static const struct bench_case {
    const char *name;
    add_record add;
    size_t body_bytes; /* at least; whole records */
} CASES[] = {
    {"kubernetes", add_kubernetes, BODY_BYTES},
    {"one-record", add_kubernetes, 1},
    {"sparse", add_sparse, BODY_BYTES},
    {"wide-text", add_wide_text, BODY_BYTES},
};

static struct buf make_body(add_record add, size_t bytes, int64_t now_us)
{
    struct buf b;
    buf_init(&b, BODY_BYTES + RECORD_ROOM);
    buf_add_char(&b, '[');
    for (int64_t i = 0; b.len <= bytes; i++) {
        if (i)
            buf_add_char(&b, ',');
        add(&b, now_us - 1000000 + i);
    }
    buf_add_char(&b, ']');
    return b;
}

static enum err_code nothing_is_full(struct lines *l, void *ctx, struct err *e)
{
    (void)ctx;
    (void)e;
    lines_clear(l);
    return ERR_OK;
}

/* The thread's own time, so that what else the machine does counts less. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void measure(const struct bench_case *c, double seconds)
{
    int64_t now = clock_wall_us();
    struct buf body = make_body(c->add, c->body_bytes, now);
    struct lines_rules rules = {
        .window = {.now_us = now, .past_us = 5 * US_PER_HOUR, .future_us = 24 * US_PER_HOUR},
        .flatten_level = 3,
        .columns_max = 1000,
        .line_max_bytes = 1000000,
    };
    struct lines l;
    struct err e;
    uint64_t begin = cpu_ns(), took = 0, rounds = 0;
    if (lines_init(&l, &e))
        exit(1);
    for (; (double)took < seconds * 1e9; took = cpu_ns() - begin, rounds++) {
        lines_begin(&l, &rules, NULL);
        if (lines_add_json(&l, buf_str(&body), nothing_is_full, NULL, &e) || l.failed) {
            fprintf(stderr, "%s: %s %s\n", c->name, e.msg, l.reason);
            exit(1);
        }
    }
    printf("%-12s %6.0f MB/s  %5.0f ns a record  (%llu records of %zu bytes a body)\n", c->name,
           (double)body.len * (double)rounds * 1e3 / (double)took,
           (double)took / (double)(rounds * l.successful), (unsigned long long)l.successful,
           body.len / l.successful);
    lines_done(&l);
    buf_done(&body);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 2;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        if (argc < 3 || strcmp(argv[2], CASES[i].name) == 0)
            measure(&CASES[i], seconds);
    }
    return 0;
}
