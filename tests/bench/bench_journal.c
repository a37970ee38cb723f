// links: weir_fs weir_index
/* tests/bench/bench_journal.c - what the journal does without FUSE and HTTP above it.
 *
 * usage: bench_journal [DIRECTORY]     default: a new directory in the current one
 * Prints appended and durable bytes a second, batches a second with group commit, their latency,
 * and how long a start takes over what was written.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/journal.h"

enum {
    HOUR = 480000,
    LINE_BYTES = 500,
    BULK_THREADS = 4,
    BULK_TEXT = 1 << 20,
    SMALL_THREADS = 64,
    SMALL_SECONDS = 3,
    SMALL_LATENCIES = 1 << 16
};

struct bench {
    struct journal *j;
    uint64_t epoch;
    uint64_t batches; /* of each bulk thread */
    uint64_t deadline_ns;
};

struct thread {
    struct bench *b;
    pthread_t id;
    uint32_t worker;
    uint64_t done;
    uint64_t *latency_ns; /* SMALL_LATENCIES of them */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool is_answered;
    enum err_code code;
};

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "bench_journal: %s: %s\n", what, e->msg);
    exit(1);
}

static void answered(enum err_code code, const struct err *e, void *ctx)
{
    struct thread *t = ctx;
    if (code)
        die("append", e);
    pthread_mutex_lock(&t->lock);
    t->is_answered = true;
    pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->lock);
}

static void append(struct thread *t, const char *text, size_t len, uint32_t lines)
{
    struct batch_run r = {.stream = 1 + t->worker,
                          .type = STREAM_LOGS,
                          .org = STR("default"),
                          .name = STR("bench"),
                          .hour = HOUR,
                          .lines = lines,
                          .min_ts_us = 1,
                          .max_ts_us = 2,
                          .bytes = {text, len}};
    struct batch_part p = {{t->b->epoch, t->worker, t->done + 1}, 0, 1, BATCH_LAST, &r, 1};
    t->is_answered = false;
    journal_append(t->b->j, &p, answered, t);
    pthread_mutex_lock(&t->lock);
    while (!t->is_answered)
        pthread_cond_wait(&t->cond, &t->lock);
    pthread_mutex_unlock(&t->lock);
    t->done++;
}

static char *lines_text(size_t bytes, uint32_t *lines)
{
    char *text = malloc(bytes);
    *lines = 0;
    for (size_t at = 0; at < bytes; at += LINE_BYTES, ++*lines) {
        size_t n = bytes - at < LINE_BYTES ? bytes - at : LINE_BYTES;
        memset(text + at, 'a' + (int)(*lines % 26), n - 1);
        text[at + n - 1] = '\n';
    }
    return text;
}

static void *bulk(void *arg)
{
    struct thread *t = arg;
    uint32_t lines;
    char *text = lines_text(BULK_TEXT, &lines);
    while (t->done < t->b->batches)
        append(t, text, BULK_TEXT, lines);
    free(text);
    return NULL;
}

static void *small(void *arg)
{
    struct thread *t = arg;
    uint32_t lines;
    char *text = lines_text(300, &lines);
    for (;;) {
        uint64_t began = clock_mono_ns();
        if (began >= t->b->deadline_ns)
            break;
        append(t, text, 300, lines);
        t->latency_ns[t->done % SMALL_LATENCIES] = clock_mono_ns() - began;
    }
    free(text);
    return NULL;
}

static double run_threads(struct bench *b, struct thread *t, uint32_t count, void *(*fn)(void *))
{
    uint64_t began = clock_mono_ns();
    for (uint32_t i = 0; i < count; i++) {
        t[i] = (struct thread){.b = b, .worker = i};
        t[i].latency_ns = calloc(SMALL_LATENCIES, sizeof *t[i].latency_ns);
        pthread_mutex_init(&t[i].lock, NULL);
        pthread_cond_init(&t[i].cond, NULL);
        pthread_create(&t[i].id, NULL, fn, &t[i]);
    }
    for (uint32_t i = 0; i < count; i++)
        pthread_join(t[i].id, NULL);
    return (double)(clock_mono_ns() - began) / 1e9;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void print_latency(const struct thread *t, uint32_t count)
{
    uint64_t *all = calloc((size_t)count * SMALL_LATENCIES, sizeof *all);
    size_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (size_t k = 0; k < SMALL_LATENCIES; k++) {
            if (t[i].latency_ns[k])
                all[n++] = t[i].latency_ns[k];
        }
    }
    qsort(all, n, sizeof *all, by_value);
    printf("  latency: p50 %.2f ms, p99 %.2f ms, max %.2f ms\n", (double)all[n / 2] / 1e6,
           (double)all[n * 99 / 100] / 1e6, (double)all[n - 1] / 1e6);
    free(all);
}

static void print_stats(struct journal *j)
{
    struct journal_stats s;
    struct rusage usage;
    journal_stats(j, &s);
    getrusage(RUSAGE_SELF, &usage);
    printf("  %" PRIu64 " segments, %" PRIu64 " syncs, %" PRIu64 " extents, max resident %ld MiB\n",
           s.segments, s.syncs, s.extents, usage.ru_maxrss / 1024);
}

static void open_journal(struct bench *b, struct journal_config *cfg, const char *what)
{
    struct journal_recovery found;
    struct err e = {0};
    uint64_t began = clock_mono_ns();
    if (journal_open(cfg, &b->j, &found, &e))
        die("open", &e);
    printf("%s: open in %.1f ms, of it %.1f recovery of %" PRIu64 " segments, %" PRIu64 " rows\n",
           what, (double)(clock_mono_ns() - began) / 1e6, (double)found.took_us / 1e3,
           found.segments, found.rows);
}

static void new_epoch(struct bench *b)
{
    struct err e = {0};
    if (journal_epoch(b->j, 0, &b->epoch, &e))
        die("epoch", &e);
}

static void bench_bulk(struct bench *b, uint64_t total_mb)
{
    struct thread t[BULK_THREADS];
    new_epoch(b);
    b->batches = total_mb / BULK_THREADS;
    double seconds = run_threads(b, t, BULK_THREADS, bulk);
    printf("bulk: %" PRIu64 " MiB in 1 MiB batches from %d threads, durable: %.0f MB/s\n", total_mb,
           BULK_THREADS, (double)total_mb * 1.048576 / seconds);
    print_stats(b->j);
    for (int i = 0; i < BULK_THREADS; i++)
        free(t[i].latency_ns);
}

static void bench_small(struct bench *b, uint32_t threads)
{
    struct thread t[SMALL_THREADS];
    uint64_t batches = 0;
    new_epoch(b);
    b->deadline_ns = clock_mono_ns() + (uint64_t)SMALL_SECONDS * 1000000000;
    double seconds = run_threads(b, t, threads, small);
    for (uint32_t i = 0; i < threads; i++)
        batches += t[i].done;
    printf("small: 300-byte batches from %u threads, each durable: %.0f a second\n", threads,
           (double)batches / seconds);
    print_latency(t, threads);
    print_stats(b->j);
    for (uint32_t i = 0; i < threads; i++)
        free(t[i].latency_ns);
}

int main(int argc, char **argv)
{
    char root[4000] = "bench-journal-XXXXXX", dir[4096], lost[4096], command[4200];
    struct bench b = {0};
    if (argc > 1)
        snprintf(root, sizeof root, "%s/bench-journal-XXXXXX", argv[1]);
    if (!mkdtemp(root))
        return 1;
    snprintf(dir, sizeof dir, "%s/journal", root);
    snprintf(lost, sizeof lost, "%s/lost+found", root);
    struct journal_config cfg = {.dir = dir,
                                 .lost_found_dir = lost,
                                 .max_bytes = UINT64_C(16) << 30,
                                 .segment_bytes = 64u << 20};
    open_journal(&b, &cfg, "empty");
    bench_small(&b, 1);
    bench_small(&b, SMALL_THREADS);
    bench_bulk(&b, 4096);
    journal_close(b.j);
    open_journal(&b, &cfg, "after that");
    print_stats(b.j);
    journal_close(b.j);
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) == 0 ? 0 : 1;
}
