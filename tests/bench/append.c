/* tests/bench/append.c - processes that append lines to one file, as loggers do.
 *
 * usage: append PATH WRITERS LINES SECONDS
 * Each writer is a process with a handle of its own; a write(2) is LINES lines of 200 bytes.
 * Prints one line of JSON: writes, records a second of all together, median and p99 of a write.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 200, WRITERS_MAX = 100, TIMES_MAX = 1 << 20 };

struct shared { /* of one writer */
    unsigned count, failed;
    float us[TIMES_MAX];
};

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void fill(char *line, int writer)
{
    int n = snprintf(line, LINE_BYTES, "{\"level\":\"info\",\"writer\":%d,\"log\":\"", writer);
    memset(line + n, 'x', LINE_BYTES - (size_t)n);
    memcpy(line + LINE_BYTES - 3, "\"}\n", 3);
}

static void write_for(const char *path, int writer, int lines, double seconds, struct shared *s)
{
    size_t len = (size_t)lines * LINE_BYTES;
    char *block = malloc(len);
    int fd = open(path, O_WRONLY | O_APPEND);
    double end = now_us() + seconds * 1e6;
    if (fd < 0 || !block) {
        perror(path);
        exit(1);
    }
    for (int i = 0; i < lines; i++)
        fill(block + (size_t)i * LINE_BYTES, writer);
    for (double began = now_us(), ended; began < end && s->count < TIMES_MAX; began = ended) {
        ssize_t n = write(fd, block, len);
        ended = now_us();
        if (n != (ssize_t)len)
            s->failed++;
        else
            s->us[s->count++] = (float)(ended - began);
    }
    exit(close(fd) ? 1 : 0);
}

static int by_time(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void report(struct shared *s, int writers, int lines, double seconds)
{
    size_t count = 0, failed = 0;
    for (int i = 0; i < writers; i++)
        count += s[i].count, failed += s[i].failed;
    float *all = malloc((count + 1) * sizeof *all);
    if (!all)
        exit(1);
    count = 0;
    for (int i = 0; i < writers; i++) {
        memcpy(all + count, s[i].us, s[i].count * sizeof *all);
        count += s[i].count;
    }
    all[count] = 0;
    qsort(all, count, sizeof *all, by_time);
    printf("{\"writers\":%d,\"lines\":%d,\"writes\":%zu,\"failed\":%zu,\"records_per_s\":%.0f,"
           "\"median_us\":%.1f,\"p99_us\":%.1f}\n",
           writers, lines, count, failed, (double)count * lines / seconds, (double)all[count / 2],
           (double)all[count * 99 / 100]);
    free(all);
}

int main(int argc, char **argv)
{
    int writers = argc == 5 ? atoi(argv[2]) : 0, lines = argc == 5 ? atoi(argv[3]) : 0;
    double seconds = argc == 5 ? atof(argv[4]) : 0;
    if (writers < 1 || writers > WRITERS_MAX || lines < 1 || seconds <= 0) {
        fprintf(stderr, "usage: append PATH WRITERS LINES SECONDS\n");
        return 2;
    }
    struct shared *s = mmap(NULL, (size_t)writers * sizeof *s, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s == MAP_FAILED)
        return 1;
    for (int i = 0; i < writers; i++) {
        if (fork() == 0)
            write_for(argv[1], i, lines, seconds, &s[i]);
    }
    for (int status, code = 0;;) {
        if (wait(&status) < 0) {
            if (code == 0)
                report(s, writers, lines, seconds);
            return code;
        }
        code |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
}
