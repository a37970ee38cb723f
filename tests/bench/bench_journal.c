// links: weir_fs weir_index
/* tests/bench/bench_journal.c - what the journal does without FUSE and HTTP above it, next to what
 * the disk does for a plain loop of write and fdatasync.
 *
 * usage: bench_journal [DIRECTORY]     default: a new directory in the current one
 * Prints one line of JSON for each measure, in this order:
 *   raw      writes of one frame and of 1 MB, each synced, over a zero-filled file and into a new
 * one journal  for 1 and for 1000 streams: batches of one line from 1 and from 64 threads, and of 1
 * MB from 4 threads, each durable before the next start    opening what was written
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "fs/journal/frame.h"
#include "fs/journal/journal.h"

enum {
    HOUR = 480000,
    STREAMS = 1000,
    SMALL_BYTES = 300,
    SMALL_THREADS = 64,
    BULK_BYTES = 1000000,
    BULK_LINE_BYTES = 500,
    BULK_THREADS = 4,
    MEASURE_MS = 4000,
    LATENCIES = 1 << 16, /* kept of each thread; later ones overwrite the first */
    RAW_BYTES = 256 << 20
};

struct bench {
    char dir[4096], lost[4096], raw[4096];
    struct journal *j;
    uint64_t epoch, deadline_ns;
    uint32_t streams;
};

struct thread {
    struct bench *b;
    pthread_t id;
    uint32_t worker;
    size_t batch_bytes, line_bytes;
    uint64_t done;
    uint64_t *latency_ns; /* LATENCIES of them */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool is_answered;
};

struct latencies {
    double p50_ms, p99_ms, max_ms;
};

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "bench_journal: %s: %s\n", what, e->msg);
    exit(1);
}

static void *allocate(size_t bytes)
{
    void *p = calloc(1, bytes);
    if (!p)
        die("start", &(struct err){.msg = "no memory"});
    return p;
}

static double seconds_since(uint64_t began_ns)
{
    return (double)(clock_mono_ns() - began_ns) / 1e9;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static struct latencies latencies_of(uint64_t *ns, size_t n)
{
    if (n == 0)
        return (struct latencies){0};
    qsort(ns, n, sizeof *ns, by_value);
    return (struct latencies){(double)ns[n / 2] / 1e6, (double)ns[n * 99 / 100] / 1e6,
                              (double)ns[n - 1] / 1e6};
}

/* ---- the disk by itself ---- */

static int open_raw(const struct bench *b, bool is_zero_filled)
{
    struct err e = {0};
    int fd = sys_open(b->raw, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (fd < 0)
        die("open", &(struct err){.msg = "the raw file"});
    char *zeros = allocate(1 << 20);
    for (off_t at = 0; is_zero_filled && at < RAW_BYTES; at += 1 << 20) {
        if (sys_write_full(fd, zeros, 1 << 20, at, &e))
            die("zero-fill", &e);
    }
    free(zeros);
    if (sys_fdatasync(fd) < 0)
        die("zero-fill", &(struct err){.msg = "fdatasync"});
    return fd;
}

static void bench_raw(const struct bench *b, size_t bytes, bool is_zero_filled)
{
    int fd = open_raw(b, is_zero_filled);
    char *data = memset(allocate(bytes), 'r', bytes);
    uint64_t *ns = allocate(LATENCIES * sizeof *ns), count = 0, began = clock_mono_ns();
    struct err e = {0};
    off_t at = 0;
    while (seconds_since(began) * 1000 < MEASURE_MS) {
        uint64_t start = clock_mono_ns();
        if (at + (off_t)bytes > RAW_BYTES)
            at = is_zero_filled ? 0 : at;
        if (sys_write_full(fd, data, bytes, at, &e))
            die("write", &e);
        if (sys_fdatasync(fd) < 0)
            die("write", &(struct err){.msg = "fdatasync"});
        at += (off_t)bytes;
        ns[count++ % LATENCIES] = clock_mono_ns() - start;
    }
    double seconds = seconds_since(began);
    struct latencies l = latencies_of(ns, count < LATENCIES ? count : LATENCIES);
    printf("{\"raw\": \"%s\", \"bytes\": %zu, \"writes_s\": %.0f, \"mb_s\": %.1f, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.1f}\n",
           is_zero_filled ? "zero-filled" : "new", bytes, (double)count / seconds,
           (double)(count * bytes) / 1e6 / seconds, l.p50_ms, l.p99_ms, l.max_ms);
    fflush(stdout);
    free(ns);
    free(data);
    close(fd);
    unlink(b->raw);
}

/* ---- appending ---- */

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

static void append(struct thread *t, struct batch_run *runs, size_t count)
{
    struct batch_part p = {
        {t->b->epoch, t->worker, t->done + 1}, 0, 1, BATCH_LAST, runs, count, {0}};
    uint64_t began = clock_mono_ns();
    t->is_answered = false;
    journal_append(t->b->j, &p, answered, t);
    pthread_mutex_lock(&t->lock);
    while (!t->is_answered)
        pthread_cond_wait(&t->cond, &t->lock);
    pthread_mutex_unlock(&t->lock);
    t->latency_ns[t->done % LATENCIES] = clock_mono_ns() - began;
    t->done++;
}

static char *lines_text(size_t bytes, size_t line_bytes)
{
    char *text = allocate(bytes);
    for (size_t at = 0; at < bytes; at += line_bytes) {
        memset(text + at, 'a' + (int)(at / line_bytes % 26), line_bytes - 1);
        text[at + line_bytes - 1] = '\n';
    }
    return text;
}

static void set_stream(struct batch_run *r, uint32_t stream, char name[16])
{
    snprintf(name, 16, "bench%" PRIu32, stream);
    r->stream = 1 + stream;
    r->name = str_from(name);
}

/* A batch of one run goes to another stream each time; a larger one has a run for each stream. */
static void *append_batches(void *arg)
{
    struct thread *t = arg;
    size_t lines = t->batch_bytes / t->line_bytes;
    uint32_t streams = t->b->streams, count = streams < lines ? streams : 1;
    char *text = lines_text(t->batch_bytes, t->line_bytes), (*names)[16] = allocate(count * 16);
    struct batch_run *runs = allocate(count * sizeof *runs);
    for (uint32_t i = 0; i < count; i++) {
        size_t len = t->batch_bytes / count;
        runs[i] = (struct batch_run){.type = STREAM_LOGS,
                                     .org = STR("default"),
                                     .hour = HOUR,
                                     .lines = (uint32_t)(lines / count),
                                     .min_ts_us = 1,
                                     .max_ts_us = 2,
                                     .bytes = {text + i * len, len}};
        set_stream(&runs[i], i, names[i]);
    }
    while (clock_mono_ns() < t->b->deadline_ns) {
        if (count == 1)
            set_stream(&runs[0], (uint32_t)(t->done * SMALL_THREADS + t->worker) % streams,
                       names[0]);
        append(t, runs, count);
    }
    free(runs);
    free(names);
    free(text);
    return NULL;
}

static void run_threads(struct bench *b, struct thread *t, uint32_t count, const struct thread *as)
{
    for (uint32_t i = 0; i < count; i++) {
        t[i] = *as;
        t[i].b = b;
        t[i].worker = i;
        t[i].latency_ns = allocate(LATENCIES * sizeof *t[i].latency_ns);
        pthread_mutex_init(&t[i].lock, NULL);
        pthread_cond_init(&t[i].cond, NULL);
        if (pthread_create(&t[i].id, NULL, append_batches, &t[i]) != 0)
            die("start", &(struct err){.msg = "a thread"});
    }
    for (uint32_t i = 0; i < count; i++)
        pthread_join(t[i].id, NULL);
}

static struct latencies latencies_of_all(const struct thread *t, uint32_t count, uint64_t *batches)
{
    uint64_t *all = allocate((size_t)count * LATENCIES * sizeof *all);
    size_t n = 0;
    *batches = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t kept = t[i].done < LATENCIES ? t[i].done : LATENCIES;
        memcpy(all + n, t[i].latency_ns, kept * sizeof *all);
        n += kept;
        *batches += t[i].done;
    }
    struct latencies l = latencies_of(all, n);
    free(all);
    return l;
}

static void bench_append(struct bench *b, uint32_t threads, size_t batch_bytes, size_t line_bytes)
{
    static struct thread t[SMALL_THREADS];
    struct thread as = {.batch_bytes = batch_bytes, .line_bytes = line_bytes};
    struct journal_stats before, after;
    struct err e = {0};
    uint64_t batches;
    if (journal_epoch(b->j, 0, &b->epoch, &e))
        die("epoch", &e);
    journal_stats(b->j, &before);
    uint64_t began = clock_mono_ns();
    b->deadline_ns = began + (uint64_t)MEASURE_MS * 1000000;
    run_threads(b, t, threads, &as);
    double seconds = seconds_since(began);
    journal_stats(b->j, &after);
    struct latencies l = latencies_of_all(t, threads, &batches);
    printf("{\"journal\": \"%" PRIu32 " streams\", \"threads\": %" PRIu32 ", \"bytes\": %zu, "
           "\"appends_s\": %.0f, \"mb_s\": %.1f, \"syncs_s\": %.0f, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.1f}\n",
           b->streams, threads, batch_bytes, (double)batches / seconds,
           (double)(batches * batch_bytes) / 1e6 / seconds,
           (double)(after.syncs - before.syncs) / seconds, l.p50_ms, l.p99_ms, l.max_ms);
    fflush(stdout);
    for (uint32_t i = 0; i < threads; i++)
        free(t[i].latency_ns);
}

/* ---- all of it ---- */

static void open_journal(struct bench *b, struct journal_recovery *found)
{
    struct journal_config cfg = {.dir = b->dir,
                                 .lost_found_dir = b->lost,
                                 .max_bytes = UINT64_C(32) << 30,
                                 .segment_bytes = 64u << 20};
    struct err e = {0};
    if (journal_open(&cfg, &b->j, found, &e))
        die("open", &e);
}

static void bench_start(struct bench *b)
{
    struct journal_recovery found;
    struct journal_stats s;
    struct rusage usage;
    uint64_t began = clock_mono_ns();
    open_journal(b, &found);
    double seconds = seconds_since(began);
    journal_stats(b->j, &s);
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"start\": \"after that\", \"seconds\": %.3f, \"segments\": %" PRIu64
           ", \"rows\": %" PRIu64 ", \"extents\": %" PRIu64 ", \"max_resident_mb\": %ld}\n",
           seconds, found.segments, found.rows, s.extents, usage.ru_maxrss / 1024);
    journal_close(b->j);
}

int main(int argc, char **argv)
{
    char root[4000] = "bench-journal-XXXXXX", command[4200];
    struct journal_recovery found;
    struct bench b = {0};
    size_t frame_bytes = frame_size(1, SMALL_BYTES, FRAME_PLACE_LEN);
    if (argc > 1)
        snprintf(root, sizeof root, "%s/bench-journal-XXXXXX", argv[1]);
    if (!mkdtemp(root))
        return 1;
    snprintf(b.dir, sizeof b.dir, "%s/journal", root);
    snprintf(b.lost, sizeof b.lost, "%s/lost+found", root);
    snprintf(b.raw, sizeof b.raw, "%s/raw", root);
    for (int is_zero_filled = 1; is_zero_filled >= 0; is_zero_filled--) {
        bench_raw(&b, frame_bytes, is_zero_filled);
        bench_raw(&b, BULK_BYTES, is_zero_filled);
    }
    open_journal(&b, &found);
    for (b.streams = 1; b.streams <= STREAMS; b.streams *= STREAMS) {
        bench_append(&b, 1, SMALL_BYTES, SMALL_BYTES);
        bench_append(&b, SMALL_THREADS, SMALL_BYTES, SMALL_BYTES);
        bench_append(&b, BULK_THREADS, BULK_BYTES, BULK_LINE_BYTES);
    }
    journal_close(b.j);
    bench_start(&b);
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) == 0 ? 0 : 1;
}
