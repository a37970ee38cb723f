/* tests/support/jump_clock.c - a wall clock that a test moves: preloaded into every process of a
 * node.
 *
 * WEIR_TEST_CLOCK names a file of eight bytes, the offset in microseconds as this machine stores an
 * int64_t.  It is mapped, so a write to it moves the clock of all processes at once.  Only
 * CLOCK_REALTIME as read through clock_gettime moves; that is all that the programs read.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { US_PER_S = 1000000, NS_PER_US = 1000, NS_PER_S = 1000000000 };

typedef int (*gettime)(clockid_t id, struct timespec *ts);

static const volatile int64_t *offset_us;
static gettime real_gettime;

__attribute__((constructor)) static void map_offset(void)
{
    const char *path = getenv("WEIR_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped =
        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset_us, PROT_READ, MAP_SHARED, fd, 0);

    if (fd >= 0)
        close(fd);
    if (mapped != MAP_FAILED)
        offset_us = mapped;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    if (!real_gettime)
        *(void **)&real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    int rc = real_gettime(id, ts);
    if (rc != 0 || id != CLOCK_REALTIME || !offset_us)
        return rc;
    int64_t offset = *offset_us, ns = ts->tv_nsec + offset % US_PER_S * NS_PER_US;
    ts->tv_sec += offset / US_PER_S + (ns >= NS_PER_S) - (ns < 0);
    ts->tv_nsec = ns + (ns < 0 ? NS_PER_S : 0) - (ns >= NS_PER_S ? NS_PER_S : 0);
    return 0;
}
