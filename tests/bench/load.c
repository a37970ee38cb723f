/* tests/bench/load.c - an HTTP load for figures: paced single records, or bodies as fast as they
 * go.
 *
 * usage: load paced PORT AUTH CONNECTIONS RATE SECONDS STREAMS
 *        load bulk  PORT AUTH CONNECTIONS BODY_BYTES TOTAL_MB [STREAMS]
 * bulk takes turns among BODIES different bodies; with STREAMS, it also takes turns among so many
 * streams, and a refused body is sent again, as clients do.
 * AUTH is the base64 of user:password.  paced: latency is counted from the moment a request was
 * due, so that a stalled server is not flattered.  Prints one JSON object.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1024
#define BODIES 64
#define RETRY_NS 20000000

struct load {
    int port;
    const char *auth;
    unsigned connections, rate, seconds, streams;
    uint64_t total_bytes;
    uint64_t start_ns;
    struct body {
        char *text;
        size_t len, records;
    } bodies[BODIES];
    bool again; /* a refused body is sent again */
    _Atomic uint64_t next, begun_bytes, sent_bytes, errors, records;
};

struct worker {
    struct load *load;
    pthread_t thread;
    int fd;
    uint64_t *latency_ns;
    size_t count, cap;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int connect_to(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        perror("connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static bool send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* Reads one reply with a Content-Length; returns its status, or 0. */
static int read_reply(int fd)
{
    char text[8192];
    size_t len = 0;

    while (len < sizeof text - 1) {
        ssize_t n = recv(fd, text + len, sizeof text - 1 - len, 0);
        char *end, *length;
        if (n <= 0)
            return 0;
        len += (size_t)n;
        text[len] = '\0';
        end = strstr(text, "\r\n\r\n");
        length = end ? strcasestr(text, "content-length:") : NULL;
        if (length && len >= (size_t)(end + 4 - text) + strtoul(length + 15, NULL, 10))
            return atoi(text + 9);
    }
    return 0;
}

static bool request(struct worker *w, const char *stream, const char *body, size_t len)
{
    char head[512];
    int n = snprintf(
        head, sizeof head,
        "POST /api/default/%s/_json HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %s\r\n"
        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
        stream, w->load->auth, len);

    if (!send_all(w->fd, head, (size_t)n) || !send_all(w->fd, body, len))
        return false;
    return read_reply(w->fd) == 200;
}

static void note_latency(struct worker *w, uint64_t ns)
{
    if (w->count == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 1024;
        w->latency_ns = realloc(w->latency_ns, w->cap * sizeof *w->latency_ns);
        if (!w->latency_ns)
            abort();
    }
    w->latency_ns[w->count++] = ns;
}

static void *run_paced(void *arg)
{
    struct worker *w = arg;
    struct load *l = w->load;
    uint64_t total = (uint64_t)l->rate * l->seconds;

    for (uint64_t i; (i = atomic_fetch_add(&l->next, 1)) < total;) {
        uint64_t due = l->start_ns + i * 1000000000u / l->rate, now = now_ns();
        char body[512], stream[32];
        int len;
        if (now < due) {
            struct timespec pause = {.tv_sec = (time_t)((due - now) / 1000000000u),
                                     .tv_nsec = (long)((due - now) % 1000000000u)};
            nanosleep(&pause, NULL);
        }
        snprintf(stream, sizeof stream, "load%u", (unsigned)(i % l->streams));
        len = snprintf(body, sizeof body,
                       "[{\"seq\":%llu,\"level\":\"info\",\"log\":\"GET /healthz 200 in 3 "
                       "ms\",\"pod\":\"api-%u\"}]",
                       (unsigned long long)i, (unsigned)(i % 16));
        if (!request(w, stream, body, (size_t)len))
            atomic_fetch_add(&l->errors, 1);
        note_latency(w, now_ns() - due);
    }
    return NULL;
}

/* False: refused; with `again`, only when the connection is lost. */
static bool send_body(struct worker *w, const char *stream, const struct body *b)
{
    while (!request(w, stream, b->text, b->len)) {
        atomic_fetch_add(&w->load->errors, 1);
        if (!w->load->again)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
    }
    return true;
}

static void *run_bulk(void *arg)
{
    struct worker *w = arg;
    struct load *l = w->load;
    size_t size = l->bodies[0].len;

    while (atomic_fetch_add(&l->begun_bytes, size) < l->total_bytes) {
        uint64_t i = atomic_fetch_add(&l->next, 1);
        const struct body *b = &l->bodies[i % BODIES];
        char stream[32];
        snprintf(stream, sizeof stream, l->streams > 1 ? "bulk%u" : "bulk",
                 (unsigned)(i % l->streams));
        if (!send_body(w, stream, b))
            continue;
        atomic_fetch_add(&l->records, b->records);
        atomic_fetch_add(&l->sent_bytes, b->len);
    }
    return NULL;
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* A record of 15 fields as a Kubernetes log shipper sends it. */
static size_t write_record(char *dst, size_t room, uint64_t r)
{
    return (size_t)snprintf(
        dst, room,
        "{\"log\":\"10.0.%u.%u - - GET /api/v1/orders/%llu?expand=lines HTTP/1.1 %u %u "
        "upstream=%u.%03us\","
        "\"stream\":\"%s\",\"level\":\"%s\",\"trace_id\":\"%016llx%016llx\",\"status\":%u,"
        "\"bytes\":%u,"
        "\"duration_ms\":%u.%u,\"kubernetes\":{\"pod_name\":\"orders-%04llx-%03u\",\"namespace_"
        "name\":\"shop\","
        "\"container_name\":\"orders\",\"host\":\"node-%u\",\"labels\":{\"app\":\"orders\","
        "\"version\":\"1.%u.0\"}},"
        "\"docker_id\":\"%016llx\",\"cluster\":\"eu-west-1\"}",
        (unsigned)(r >> 8 & 255), (unsigned)(r >> 16 & 255), (unsigned long long)(r >> 20),
        r & 16 ? 200u : 404u, (unsigned)(r >> 30 & 65535), (unsigned)(r & 3),
        (unsigned)(r >> 5 & 511), r & 1 ? "stdout" : "stderr", r & 6 ? "info" : "error",
        (unsigned long long)r, (unsigned long long)(r * 31), r & 16 ? 200u : 404u,
        (unsigned)(r >> 30 & 65535), (unsigned)(r >> 9 & 1023), (unsigned)(r >> 3 & 7) + 1,
        (unsigned long long)(r >> 40 & 63), (unsigned)(r >> 50 & 255), (unsigned)(r >> 12 & 7),
        (unsigned)(r >> 15 & 15), (unsigned long long)(r >> 40 & 63));
}

static void make_body(struct body *b, size_t bytes, uint64_t *seed)
{
    size_t cap = bytes + 4096;

    b->text = malloc(cap);
    if (!b->text)
        abort();
    b->text[b->len++] = '[';
    while (b->len < bytes) {
        if (b->records++)
            b->text[b->len++] = ',';
        b->len += write_record(b->text + b->len, cap - b->len, next_random(seed));
    }
    b->text[b->len++] = ']';
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void print_latency(struct worker *workers, unsigned count)
{
    size_t total = 0;
    uint64_t *all;

    for (unsigned i = 0; i < count; i++)
        total += workers[i].count;
    all = malloc((total + 1) * sizeof *all);
    if (!all || total == 0)
        return;
    total = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(all + total, workers[i].latency_ns, workers[i].count * sizeof *all);
        total += workers[i].count;
    }
    qsort(all, total, sizeof *all, by_value);
    printf("\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,",
           (double)all[total / 2] / 1e6, (double)all[total * 9 / 10] / 1e6,
           (double)all[total * 99 / 100] / 1e6, (double)all[total - 1] / 1e6);
    free(all);
}

int main(int argc, char **argv)
{
    static struct worker workers[CONNECTIONS_MAX];
    struct load l = {.rate = 1, .streams = 1};
    bool paced = argc == 8 && strcmp(argv[1], "paced") == 0;

    if (!paced && !((argc == 7 || argc == 8) && strcmp(argv[1], "bulk") == 0)) {
        fputs("usage: load paced PORT AUTH CONNECTIONS RATE SECONDS STREAMS\n"
              "       load bulk PORT AUTH CONNECTIONS BODY_BYTES TOTAL_MB [STREAMS]\n",
              stderr);
        return 2;
    }
    l.port = atoi(argv[2]);
    l.auth = argv[3];
    l.connections = (unsigned)atoi(argv[4]);
    if (l.connections < 1 || l.connections > CONNECTIONS_MAX)
        return 2;
    if (paced) {
        l.rate = (unsigned)atoi(argv[5]);
        l.seconds = (unsigned)atoi(argv[6]);
        l.streams = (unsigned)atoi(argv[7]);
    } else {
        uint64_t seed = 88172645463325252u;
        l.total_bytes = strtoull(argv[6], NULL, 10) * 1000000u;
        l.again = argc == 8;
        l.streams = argc == 8 ? (unsigned)atoi(argv[7]) : 1;
        for (int i = 0; i < BODIES; i++)
            make_body(&l.bodies[i], strtoul(argv[5], NULL, 10), &seed);
    }
    for (unsigned i = 0; i < l.connections; i++)
        workers[i] = (struct worker){.load = &l, .fd = connect_to(l.port)};
    l.start_ns = now_ns();
    for (unsigned i = 0; i < l.connections; i++)
        pthread_create(&workers[i].thread, NULL, paced ? run_paced : run_bulk, &workers[i]);
    for (unsigned i = 0; i < l.connections; i++)
        pthread_join(workers[i].thread, NULL);

    double took = (double)(now_ns() - l.start_ns) / 1e9;
    printf("{");
    if (paced)
        print_latency(workers, l.connections);
    else
        printf("\"body_bytes\":%zu,\"records\":%llu,\"mb_per_s\":%.1f,\"records_per_s\":%.0f,",
               l.bodies[0].len, (unsigned long long)l.records, (double)l.sent_bytes / 1e6 / took,
               (double)l.records / took);
    printf("\"seconds\":%.2f,\"errors\":%llu}\n", took, (unsigned long long)l.errors);
    return l.errors && !l.again ? 1 : 0;
}
