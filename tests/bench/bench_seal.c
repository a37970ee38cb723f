// links: weir_engine
/* What a seal costs by itself, next to DuckDB's own read_json and COPY of the same lines.
 *
 * usage: bench_seal [LOG_FILE ...]     each is wrapped into lines of a time and a text
 * First come streams of 15 and of 1,000 fields (all in each line, then few), last metrics.  One
 * line of JSON each: MB are those of the lines, a ratio above 1 says that sealing is the faster
 * one, CPU is that of the whole process.
 */
#include <duckdb.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "tests/support/seal_fixture.h"

enum {
    LINES_BYTES = 32 << 20, /* what a file has when it is sealed */
    LINES_MAX = 1 << 30,
    REPEATS = 5,
    FIELDS = 1000, /* of a wide stream */
    MEMORY_BYTES = 1 << 30,
    NAMES = 20, /* of metrics, each with SERIES series */
    SERIES = 100,
    POINTS = 600
};

struct cost {
    double wall_s, cpu_s;
    uint64_t stored_bytes, hwm_kb;
};

static void fail(const char *what)
{
    fprintf(stderr, "bench_seal: %s\n", what);
    exit(1);
}

/* ---- lines ---- */

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

#define RECORD_COLUMNS                                                                             \
    "[[\"_timestamp\",\"Int64\",1],[\"bytes\",\"Int64\",2],[\"cluster\",\"Utf8\",3],"              \
    "[\"docker_id\",\"Utf8\",4],[\"duration_ms\",\"Float64\",5],"                                  \
    "[\"kubernetes_container_name\",\"Utf8\",6],[\"kubernetes_host\",\"Utf8\",7],"                 \
    "[\"kubernetes_labels_app\",\"Utf8\",8],[\"kubernetes_labels_version\",\"Utf8\",9],"           \
    "[\"kubernetes_namespace_name\",\"Utf8\",10],[\"kubernetes_pod_name\",\"Utf8\",11],"           \
    "[\"level\",\"Utf8\",12],[\"log\",\"Utf8\",13],[\"status\",\"Int64\",14],"                     \
    "[\"stream\",\"Utf8\",15],[\"trace_id\",\"Utf8\",16]]"

/* As a Kubernetes log shipper's records are flattened. */
static void make_records(struct buf *out)
{
    uint64_t seed = 88172645463325252u;
    for (uint64_t i = 0; out->len < LINES_BYTES; i++) {
        uint64_t r = next_random(&seed);
        buf_printf(out,
                   "{\"_timestamp\":%" PRIu64
                   ",\"log\":\"10.0.%u.%u - - GET /api/v1/orders/%" PRIu64
                   "?expand=lines HTTP/1.1 %u %u upstream=%u.%03us\",",
                   1700000000000000 + i, (unsigned)(r >> 8 & 255), (unsigned)(r >> 16 & 255),
                   r >> 20, r & 16 ? 200u : 404u, (unsigned)(r >> 30 & 65535), (unsigned)(r & 3),
                   (unsigned)(r >> 5 & 511));
        buf_printf(out,
                   "\"stream\":\"%s\",\"level\":\"%s\",\"trace_id\":\"%016" PRIx64 "%016" PRIx64
                   "\",\"status\":%u,\"bytes\":%u,\"duration_ms\":%u.%u,",
                   r & 1 ? "stdout" : "stderr", r & 6 ? "info" : "error", r, r * 31,
                   r & 16 ? 200u : 404u, (unsigned)(r >> 30 & 65535), (unsigned)(r >> 9 & 1023),
                   (unsigned)(r >> 3 & 7) + 1);
        buf_printf(
            out,
            "\"kubernetes_pod_name\":\"orders-%04x-%03u\",\"kubernetes_namespace_name\":"
            "\"shop\",\"kubernetes_container_name\":\"orders\",\"kubernetes_host\":\"node-%u\",",
            (unsigned)(r >> 40 & 63), (unsigned)(r >> 50 & 255), (unsigned)(r >> 12 & 7));
        buf_printf(out,
                   "\"kubernetes_labels_app\":\"orders\",\"kubernetes_labels_version\":\"1.%u.0\","
                   "\"docker_id\":\"%016x\",\"cluster\":\"eu-west-1\"}\n",
                   (unsigned)(r >> 15 & 15), (unsigned)(r >> 40 & 63));
    }
}

static void add_wide_columns(struct buf *out)
{
    buf_add_cstr(out, "[[\"_timestamp\",\"Int64\",1]");
    for (unsigned i = 0; i < FIELDS; i++)
        buf_printf(out, ",[\"field_%03u\",\"%s\",%u]", i, i % 2 ? "Int64" : "Utf8", i + 2);
    buf_add_char(out, ']');
}

/* Every `step`-th of many fields, beginning anywhere, or always with the first. */
static void make_wide(struct buf *out, unsigned step, bool anywhere)
{
    uint64_t seed = 88172645463325252u;
    for (uint64_t ts = 1700000000000000; out->len < LINES_BYTES; ts++) {
        uint64_t r = next_random(&seed);
        buf_printf(out, "{\"_timestamp\":%" PRIu64, ts);
        for (unsigned i = anywhere ? (unsigned)(r % step) : 0; i < FIELDS; i += step) {
            unsigned value = (unsigned)(r >> (i % 40)) % 10000;
            buf_printf(out, i % 2 ? ",\"field_%03u\":%u" : ",\"field_%03u\":\"value %u\"", i,
                       value);
        }
        buf_add_cstr(out, "}\n");
    }
}

/* Ten of many fields, others in each line. */
static void make_scattered(struct buf *out)
{
    uint64_t seed = 88172645463325252u;
    for (uint64_t ts = 1700000000000000; out->len < LINES_BYTES; ts++) {
        buf_printf(out, "{\"_timestamp\":%" PRIu64, ts);
        for (unsigned first = 0; first < FIELDS; first += FIELDS / 10) {
            uint64_t r = next_random(&seed);
            unsigned i = first + (unsigned)(r % (FIELDS / 10));
            unsigned value = (unsigned)(r >> 20) % 10000;
            buf_printf(out, i % 2 ? ",\"field_%03u\":%u" : ",\"field_%03u\":\"value %u\"", i,
                       value);
        }
        buf_add_cstr(out, "}\n");
    }
}

static void read_whole(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rb");
    char piece[65536];
    if (!file)
        fail(path);
    for (size_t n; (n = fread(piece, 1, sizeof piece, file)) > 0;)
        buf_add(out, piece, n);
    fclose(file);
}

/* The lines of a log again and again. */
static void wrap_log(const char *path, struct buf *out)
{
    struct buf log;
    buf_init(&log, LINES_MAX);
    read_whole(path, &log);
    if (log.len == 0)
        fail(path);
    for (uint64_t ts = 1700000000000000; out->len < LINES_BYTES;) {
        struct str line, rest = buf_str(&log);
        while (rest.len > 0 && out->len < LINES_BYTES) {
            str_cut(rest, '\n', &line, &rest);
            buf_printf(out, "{\"_timestamp\":%" PRIu64 ",\"log\":", ts++);
            json_escape(out, str_trim(line));
            buf_add_cstr(out, "}\n");
        }
    }
    buf_done(&log);
}

static void make_samples(unsigned name, struct buf *out)
{
    for (unsigned p = 0; p < POINTS; p++)
        for (unsigned s = name * SERIES; s < (name + 1) * SERIES; s++)
            buf_printf(
                out,
                "{\"_timestamp\":%" PRIu64 ",\"__name__\":\"metric_%03u\",\"cluster\":"
                "\"eu-1\",\"container\":\"main\",\"instance\":\"10.0.%u.%u:9100\",\"job\":"
                "\"job-%u\",\"le\":\"%u\",\"namespace\":\"ns-%u\",\"node\":\"node-%u\",\"pod\":"
                "\"pod-%05u\",\"value\":%u.0}\n",
                1700000000000000 + p * UINT64_C(5000000), name, s % 50, s % 200, s % 7, s % 12,
                s % 20, s % 40, s, s * 10 + p * (s % 17));
}

/* ---- the two ways ---- */

static double cpu_of(pid_t pid)
{
    char path[64], text[1024];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(text, sizeof text, file))
        fail(path);
    fclose(file);
    if (sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
               &user, &system) != 2)
        fail(path);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static uint64_t hwm_kb_of(pid_t pid)
{
    char path[64], line[256];
    unsigned long kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lu", &kb) == 1)
            break;
    if (file)
        fclose(file);
    return kb;
}

/* The fastest of some seals of the same sources, and the processor time of an average one. */
static struct cost cost_of_seal(const struct seal_spec *spec, int repeats)
{
    struct engine_fixture f;
    struct cost c = {.wall_s = 1e9};
    if (!engine_fixture_start(&f, MEMORY_BYTES, 2))
        fail("no engine");
    for (int i = 0; i < repeats; i++) {
        struct sealed s;
        struct err e = {0};
        double cpu_s = i > 0 ? cpu_of(f.pid) : 0;
        uint64_t began_ns = clock_mono_ns();
        if (seal_fixture_seal(&f, spec, &s, &e) != ERR_OK)
            fail(e.msg);
        double took_s = (double)(clock_mono_ns() - began_ns) / 1e9;
        c.wall_s = took_s < c.wall_s ? took_s : c.wall_s;
        if (i > 0) /* the first one waits for the engine's start */
            c.cpu_s += (cpu_of(f.pid) - cpu_s) / (repeats - 1);
        json_u64(json_get(s.facts, "stored_bytes"), &c.stored_bytes);
        sealed_done(&s);
    }
    c.hwm_kb = hwm_kb_of(f.pid);
    engine_fixture_stop(&f);
    return c;
}

static double cpu_of_self(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void copy_bare(duckdb_connection con, const char *dir, struct cost *c)
{
    char sql[512];
    duckdb_result r;
    snprintf(sql, sizeof sql,
             "COPY (SELECT * FROM read_json('%s/lines.json', format='newline_delimited')) TO "
             "'%s/bare.parquet' (FORMAT parquet, COMPRESSION zstd)",
             dir, dir);
    uint64_t began_ns = clock_mono_ns();
    if (duckdb_query(con, sql, &r) != DuckDBSuccess)
        fail(duckdb_result_error(&r));
    double took_s = (double)(clock_mono_ns() - began_ns) / 1e9;
    c->wall_s = took_s < c->wall_s ? took_s : c->wall_s;
    duckdb_destroy_result(&r);
}

static struct cost run_bare(const char *dir)
{
    struct cost c = {.wall_s = 1e9};
    struct stat st;
    char path[128];
    duckdb_config config;
    duckdb_database db;
    duckdb_connection con;
    if (duckdb_create_config(&config) != DuckDBSuccess ||
        duckdb_set_config(config, "threads", "2") != DuckDBSuccess ||
        duckdb_open_ext(NULL, &db, config, NULL) != DuckDBSuccess ||
        duckdb_connect(db, &con) != DuckDBSuccess)
        fail("no DuckDB");
    double cpu_s = cpu_of_self();
    for (int i = 0; i < REPEATS; i++)
        copy_bare(con, dir, &c);
    c.cpu_s = (cpu_of_self() - cpu_s) / REPEATS;
    c.hwm_kb = hwm_kb_of(getpid());
    snprintf(path, sizeof path, "%s/bare.parquet", dir);
    if (stat(path, &st) == 0)
        c.stored_bytes = (uint64_t)st.st_size;
    return c;
}

/* In a process of its own, as the engine is. */
static struct cost cost_of_bare(const char *dir)
{
    struct cost c = {0};
    int ends[2];
    if (pipe(ends) != 0)
        fail("pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        c = run_bare(dir);
        _exit(write(ends[1], &c, sizeof c) == (ssize_t)sizeof c ? 0 : 1);
    }
    close(ends[1]);
    if (pid < 0 || read(ends[0], &c, sizeof c) != (ssize_t)sizeof c)
        fail("DuckDB's own way failed");
    close(ends[0]);
    waitpid(pid, NULL, 0);
    return c;
}

/* ---- figures ---- */

static uint64_t zstd_bytes(const char *dir)
{
    char command[128];
    unsigned long long bytes = 0;
    snprintf(command, sizeof command, "zstd -3 -q -c '%s/lines.json' | wc -c", dir);
    FILE *pipe = popen(command, "r");
    if (!pipe || fscanf(pipe, "%llu", &bytes) != 1)
        bytes = 0;
    if (pipe)
        pclose(pipe);
    return bytes;
}

static void report_lines(const char *what, struct str lines, const struct cost *seal,
                         const struct cost *bare, uint64_t zstd)
{
    double mb = (double)lines.len / 1e6;
    printf("{\"lines\":\"%s\",\"mb\":%.1f,\"seal_mb_s\":%.1f,\"bare_mb_s\":%.1f,\"ratio\":%.2f,"
           "\"seal_cpu_ms_mb\":%.2f,\"bare_cpu_ms_mb\":%.2f,\"cpu_ratio\":%.2f,",
           what, mb, mb / seal->wall_s, mb / bare->wall_s, bare->wall_s / seal->wall_s,
           seal->cpu_s * 1e3 / mb, bare->cpu_s * 1e3 / mb, bare->cpu_s / seal->cpu_s);
    printf("\"seal_mb\":%.2f,\"bare_mb\":%.2f,\"zstd_mb\":%.2f,\"of_zstd\":%.2f,\"hwm_mb\":%.0f,"
           "\"bare_hwm_mb\":%.0f}\n",
           (double)seal->stored_bytes / 1e6, (double)bare->stored_bytes / 1e6, (double)zstd / 1e6,
           zstd ? (double)seal->stored_bytes / (double)zstd : 0, (double)seal->hwm_kb / 1e3,
           (double)bare->hwm_kb / 1e3);
    fflush(stdout);
}

static void measure_lines(const char *what, struct str lines, const char *columns, int repeats)
{
    struct seal_source_spec source = {lines, NULL};
    struct seal_spec spec = {columns, &source, 1, 0};
    char dir[] = "/tmp/weir-bench-seal-XXXXXX", path[64], command[64];
    if (!mkdtemp(dir))
        fail(dir);
    snprintf(path, sizeof path, "%s/lines.json", dir);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(lines.ptr, 1, lines.len, file) != lines.len || fclose(file) != 0)
        fail(path);
    struct cost bare = cost_of_bare(dir), seal = cost_of_seal(&spec, repeats);
    report_lines(what, lines, &seal, &bare, zstd_bytes(dir));
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command) != 0)
        fail(command);
}

/* Without DuckDB, which takes minutes to guess the columns of such lines. */
static void measure_alone(const char *what, struct str lines, const char *columns, int repeats)
{
    struct seal_source_spec source = {lines, NULL};
    struct seal_spec spec = {columns, &source, 1, 0};
    struct cost c = cost_of_seal(&spec, repeats);
    double mb = (double)lines.len / 1e6;
    printf("{\"lines\":\"%s\",\"mb\":%.1f,\"seal_mb_s\":%.1f,\"seal_cpu_ms_mb\":%.2f,"
           "\"seal_mb\":%.2f,\"hwm_mb\":%.0f}\n",
           what, mb, mb / c.wall_s, c.cpu_s * 1e3 / mb, (double)c.stored_bytes / 1e6,
           (double)c.hwm_kb / 1e3);
}

static void measure_metrics(void)
{
    static struct buf lines[NAMES];
    static char names[NAMES][16];
    struct seal_source_spec sources[NAMES];
    struct seal_spec spec = {NULL, sources, NAMES, 0};
    double mb = 0, samples = (double)NAMES * SERIES * POINTS;
    for (unsigned i = 0; i < NAMES; i++) {
        buf_init(&lines[i], LINES_MAX);
        make_samples(i, &lines[i]);
        snprintf(names[i], sizeof names[i], "metric_%03u", i);
        sources[i] = (struct seal_source_spec){buf_str(&lines[i]), names[i]};
        mb += (double)lines[i].len / 1e6;
    }
    struct cost c = cost_of_seal(&spec, 2);
    printf("{\"lines\":\"metrics\",\"mb\":%.1f,\"samples\":%.0f,\"seal_mb_s\":%.1f,"
           "\"seal_cpu_ms_mb\":%.2f,\"bytes_per_sample\":%.3f,\"hwm_mb\":%.0f}\n",
           mb, samples, mb / c.wall_s, c.cpu_s * 1e3 / mb, (double)c.stored_bytes / samples,
           (double)c.hwm_kb / 1e3);
    for (unsigned i = 0; i < NAMES; i++)
        buf_done(&lines[i]);
}

static void measure_wide(struct buf *lines)
{
    struct buf columns;
    buf_init(&columns, LINES_MAX);
    add_wide_columns(&columns);
    buf_clear(lines);
    make_wide(lines, FIELDS / 10, false);
    measure_lines("narrow", buf_str(lines), columns.data, REPEATS);
    buf_clear(lines);
    make_wide(lines, 1, false);
    measure_lines("wide", buf_str(lines), columns.data, REPEATS);
    buf_clear(lines);
    make_wide(lines, FIELDS / 10, true);
    measure_lines("sparse", buf_str(lines), columns.data, REPEATS);
    buf_clear(lines);
    make_scattered(lines);
    measure_alone("scattered", buf_str(lines), columns.data, REPEATS);
    buf_done(&columns);
}

int main(int argc, char **argv)
{
    struct buf lines;
    buf_init(&lines, LINES_MAX);
    make_records(&lines);
    measure_lines("records", buf_str(&lines), RECORD_COLUMNS, REPEATS);
    measure_wide(&lines);
    for (int i = 1; i < argc; i++) {
        const char *slash = strrchr(argv[i], '/');
        buf_clear(&lines);
        wrap_log(argv[i], &lines);
        measure_lines(slash ? slash + 1 : argv[i], buf_str(&lines),
                      "[[\"_timestamp\",\"Int64\",1],[\"log\",\"Utf8\",2]]", REPEATS);
    }
    buf_done(&lines);
    measure_metrics();
    return 0;
}
