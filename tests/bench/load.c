/* tests/bench/load.c - an HTTP load for figures: paced single records, or bodies as fast as they go.
 *
 * usage: load paced PORT AUTH CONNECTIONS RATE SECONDS STREAMS
 *        load bulk  PORT AUTH CONNECTIONS BODY_BYTES TOTAL_MB
 * AUTH is the base64 of user:password.  paced: latency is counted from the moment a request was due,
 * so that a stalled server is not flattered.  Prints one JSON object.
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

struct load {
    int port;
    const char *auth;
    unsigned connections, rate, seconds, streams;
    size_t body_bytes;
    uint64_t total_bytes;
    uint64_t start_ns;
    char *bulk_body;
    size_t bulk_len, bulk_records;
    _Atomic uint64_t next, sent_bytes, errors, records;
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
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
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
    int n = snprintf(head, sizeof head,
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
                       "[{\"seq\":%llu,\"level\":\"info\",\"log\":\"GET /healthz 200 in 3 ms\",\"pod\":\"api-%u\"}]",
                       (unsigned long long)i, (unsigned)(i % 16));
        if (!request(w, stream, body, (size_t)len))
            atomic_fetch_add(&l->errors, 1);
        note_latency(w, now_ns() - due);
    }
    return NULL;
}

static void *run_bulk(void *arg)
{
    struct worker *w = arg;
    struct load *l = w->load;

    while (atomic_fetch_add(&l->sent_bytes, l->bulk_len) < l->total_bytes) {
        if (request(w, "bulk", l->bulk_body, l->bulk_len))
            atomic_fetch_add(&l->records, l->bulk_records);
        else
            atomic_fetch_add(&l->errors, 1);
    }
    return NULL;
}

/* A body of 15-field records as a Kubernetes log shipper sends them. */
static void make_bulk_body(struct load *l)
{
    size_t cap = l->body_bytes + 4096, len = 0;
    char *b = malloc(cap);
    uint64_t seed = 88172645463325252u;

    if (!b)
        abort();
    b[len++] = '[';
    while (len < l->body_bytes) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        len += (size_t)snprintf(
            b + len, cap - len,
            "%s{\"log\":\"10.0.%u.%u - - GET /api/v1/orders/%llu?expand=lines HTTP/1.1 %u %u upstream=%u.%03us\","
            "\"stream\":\"%s\",\"level\":\"%s\",\"trace_id\":\"%016llx%016llx\",\"status\":%u,\"bytes\":%u,"
            "\"duration_ms\":%u.%u,\"kubernetes\":{\"pod_name\":\"orders-%04llx-%03u\",\"namespace_name\":\"shop\","
            "\"container_name\":\"orders\",\"host\":\"node-%u\",\"labels\":{\"app\":\"orders\",\"version\":\"1.%u.0\"}},"
            "\"docker_id\":\"%016llx\",\"cluster\":\"eu-west-1\"}",
            l->bulk_records ? "," : "", (unsigned)(seed >> 8 & 255), (unsigned)(seed >> 16 & 255),
            (unsigned long long)(seed >> 20), seed & 16 ? 200u : 404u, (unsigned)(seed >> 30 & 65535),
            (unsigned)(seed & 3), (unsigned)(seed >> 5 & 511), seed & 1 ? "stdout" : "stderr",
            seed & 6 ? "info" : "error", (unsigned long long)seed, (unsigned long long)(seed * 31),
            seed & 16 ? 200u : 404u, (unsigned)(seed >> 30 & 65535), (unsigned)(seed >> 9 & 1023),
            (unsigned)(seed >> 3 & 7) + 1, (unsigned long long)(seed >> 40 & 63),
            (unsigned)(seed >> 50 & 255), (unsigned)(seed >> 12 & 7), (unsigned)(seed >> 15 & 15),
            (unsigned long long)(seed >> 40 & 63));
        l->bulk_records++;
    }
    b[len++] = ']';
    l->bulk_body = b;
    l->bulk_len = len;
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

    if (!paced && !(argc == 7 && strcmp(argv[1], "bulk") == 0)) {
        fputs("usage: load paced PORT AUTH CONNECTIONS RATE SECONDS STREAMS\n"
              "       load bulk PORT AUTH CONNECTIONS BODY_BYTES TOTAL_MB\n", stderr);
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
        l.body_bytes = strtoul(argv[5], NULL, 10);
        l.total_bytes = strtoull(argv[6], NULL, 10) * 1000000u;
        make_bulk_body(&l);
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
        printf("\"body_bytes\":%zu,\"records\":%llu,\"mb_per_s\":%.1f,\"records_per_s\":%.0f,", l.bulk_len,
               (unsigned long long)l.records,
               (double)(l.records / l.bulk_records * l.bulk_len) / 1e6 / took, (double)l.records / took);
    printf("\"seconds\":%.2f,\"errors\":%llu}\n", took, (unsigned long long)l.errors);
    return l.errors ? 1 : 0;
}
