/* tools/doctor_machine.c - can this machine mount, and has it what a node needs? */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"
#include "fs/fs.h"
#include "gateway/engine/engine.h"
#include "tools/console.h"
#include "tools/doctor.h"
#include "tools/supervisor.h"

#define SMALL_FILE_MAX (256u << 10)
#define CAP_SYS_ADMIN_BIT 21
#define PASSTHROUGH_MAJOR 6 /* Linux 6.9 has passthrough and resend */
#define PASSTHROUGH_MINOR 9
#define FILES_MIN 1024
#define MEMORY_MIN_BYTES (UINT64_C(512) << 20)
#define YEAR_2025_US INT64_C(1735689600000000)

/* The value after "<key>" in a file of lines; false when there is none. */
static bool read_value(const char *path, const char *key, char *dst, size_t size)
{
    struct str rest, line;
    bool found = false;
    struct buf text;

    buf_init(&text, SMALL_FILE_MAX);
    if (sys_read_file(path, &text, NULL) == ERR_OK) {
        for (rest = buf_str(&text); rest.len && !found;) {
            str_cut(rest, '\n', &line, &rest);
            if (!str_starts(line, str_from(key)))
                continue;
            size_t skip = strlen(key);
            found =
                str_copy_to(str_trim((struct str){line.ptr + skip, line.len - skip}), dst, size);
        }
    }
    buf_done(&text);
    return found;
}

static bool may_mount(void)
{
    char text[32];

    if (!read_value("/proc/self/status", "CapEff:", text, sizeof text))
        return geteuid() == 0;
    return strtoull(text, NULL, 16) >> CAP_SYS_ADMIN_BIT & 1;
}

static void check_device(const struct node *n, struct finding *f)
{
    AUTO_FD int fd = sys_open("/dev/fuse", O_RDWR, 0);
    int why = errno;

    (void)n;
    if (fd >= 0) {
        finding_seen(f, VERDICT_OK, "/dev/fuse opens");
        return;
    }
    finding_seen(f, VERDICT_BAD, "/dev/fuse does not open: %s", strerror(why));
    if (why == ENOENT)
        finding_mend(f, "modprobe fuse; a container needs --device /dev/fuse");
    else if (why == EACCES)
        finding_mend(f, "sudo chmod 666 /dev/fuse opens it to all users, as udev does");
    else
        finding_mend(f, "a container needs --device /dev/fuse");
}

static void check_root_rights(struct finding *f)
{
    if (may_mount()) {
        finding_seen(f, VERDICT_OK, "root with CAP_SYS_ADMIN: mounts by mount(2)");
        return;
    }
    finding_seen(f, VERDICT_BAD, "root without CAP_SYS_ADMIN: mount(2) is refused");
    finding_mend(f, "a container needs --cap-add SYS_ADMIN, and under AppArmor "
                    "--security-opt apparmor=unconfined");
}

static bool find_helper(char path[PATH_MAX])
{
    const char *all = getenv("PATH");
    struct str rest = str_from(all ? all : "/usr/bin:/bin"), dir;

    while (rest.len) {
        str_cut(rest, ':', &dir, &rest);
        if (snprintf(path, PATH_MAX, STR_FMT "/fusermount3", STR_ARG(dir)) < PATH_MAX &&
            access(path, X_OK) == 0)
            return true;
    }
    return false;
}

static void check_rights(const struct node *n, struct finding *f)
{
    char path[PATH_MAX], line[64];
    struct stat st;

    (void)n;
    if (geteuid() == 0) {
        check_root_rights(f);
    } else if (!find_helper(path)) {
        finding_seen(f, VERDICT_BAD, "not root, and there is no fusermount3");
        finding_mend(f, "apt-get install fuse3, or run weir as root");
    } else if (stat(path, &st) != 0 || !(st.st_mode & S_ISUID) || st.st_uid != 0) {
        finding_seen(f, VERDICT_BAD, "%.200s is not set-uid root", path);
        finding_mend(f, "apt-get install --reinstall fuse3; a container must not run with "
                        "no-new-privileges");
    } else if (!read_value("/etc/fuse.conf", "user_allow_other", line, sizeof line)) {
        finding_seen(f, VERDICT_NOTE, "not root: only user %u will see the mount",
                     (unsigned)geteuid());
        finding_mend(f, "put user_allow_other into /etc/fuse.conf for others to see it");
    } else {
        finding_seen(f, VERDICT_OK, "not root: mounts by fusermount3, for all users");
    }
}

static void check_kernel(const struct node *n, struct finding *f)
{
    int major = 0, minor = 0;
    struct utsname u;

    (void)n;
    if (uname(&u) != 0 || sscanf(u.release, "%d.%d", &major, &minor) != 2) {
        finding_seen(f, VERDICT_NOTE, "the kernel's version is not known");
    } else if (major > PASSTHROUGH_MAJOR ||
               (major == PASSTHROUGH_MAJOR && minor >= PASSTHROUGH_MINOR)) {
        finding_seen(f, VERDICT_OK, "Linux %.64s: passthrough %s", u.release,
                     geteuid() == 0 ? "can be used" : "needs root");
    } else {
        finding_seen(f, VERDICT_NOTE, "Linux %.64s: sealed files are read through the page cache",
                     u.release);
        finding_mend(f, "Linux 6.9 or newer reads them by passthrough; nothing else changes");
    }
}

/* The best test of a mount is a mount: of nothing, in a folder of its own, gone at once. */
static void check_mount(const struct node *n, struct finding *f)
{
    struct fs_mount_report report;
    char dir[] = "/tmp/weir-doctor-XXXXXX";
    struct err e = {0};
    int fd = -1;

    if (!mkdtemp(dir)) {
        finding_seen(f, VERDICT_NOTE, "no trial mount: /tmp: %s", strerror(errno));
        return;
    }
    struct fs_mount_options o = {dir, n->owner_uid, n->owner_gid};
    if (fs_mount(&o, &fd, &report, &e)) {
        const char *advice = mount_advice(&e);
        finding_seen(f, VERDICT_BAD, "a trial mount failed: %.200s", e.msg);
        finding_mend(f, "%s", advice ? advice : "see the checks above; dmesg may say more");
    } else {
        finding_seen(f, VERDICT_OK, "a trial mount works");
    }
    if (fd >= 0)
        close(fd); /* before the unmount: nobody answers it */
    if (fd >= 0 && fs_unmount(dir, &e)) {
        finding_seen(f, VERDICT_BAD, "a trial mount cannot be taken away: %.200s", e.msg);
        finding_mend(f, "fusermount3 -uz %s", dir);
    }
    rmdir(dir);
}

static void check_files(const struct node *n, struct finding *f)
{
    rlim_t wanted = (rlim_t)settings_i64(n->settings, SET_CONNECTIONS_MAX) + FILES_MIN;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        finding_seen(f, VERDICT_NOTE, "the limit of open files is not known");
    } else if (limit.rlim_max >= wanted) {
        finding_seen(f, VERDICT_OK, "%llu open files allowed", (unsigned long long)limit.rlim_max);
    } else {
        finding_seen(f, limit.rlim_max < FILES_MIN ? VERDICT_WARN : VERDICT_NOTE,
                     "%llu open files allowed: fewer connections than WEIR_CONNECTIONS_MAX",
                     (unsigned long long)limit.rlim_max);
        finding_mend(f, "LimitNOFILE=%llu in the unit, or ulimit -n", (unsigned long long)wanted);
    }
}

static uint64_t memory_limit(void)
{
    uint64_t total = (uint64_t)get_phys_pages() * (uint64_t)sysconf(_SC_PAGESIZE), cgroup;
    char text[32];

    if (read_value("/sys/fs/cgroup/memory.max", "", text, sizeof text) &&
        str_to_u64(str_from(text), &cgroup) && cgroup < total)
        return cgroup;
    return total;
}

static void check_memory(const struct node *n, struct finding *f)
{
    uint64_t total = memory_limit();
    char all[8], engine[8];

    console_format_size(total, all);
    console_format_size(n->engine_memory_bytes, engine);
    finding_seen(f, VERDICT_OK, "%s of memory, %s of it for queries", all, engine);
    if (total >= MEMORY_MIN_BYTES && n->engine_memory_bytes <= total / 2)
        return;
    f->verdict = VERDICT_WARN;
    if (n->engine_memory_bytes > total / 2)
        finding_mend(f, "set WEIR_QUERY_MEMORY_MAX below half of the memory");
    else
        finding_mend(f, "512 MiB are little; a large query or seal may be killed");
}

static void check_clock(const struct node *n, struct finding *f)
{
    int64_t now = clock_wall_us();
    char text[40];

    (void)n;
    console_format_time(now, text);
    finding_seen(f, now > YEAR_2025_US ? VERDICT_OK : VERDICT_WARN, "%s UTC", text);
    if (f->verdict != VERDICT_OK)
        finding_mend(f, "set the clock: records without a time of their own get this one");
}

static void check_library(const struct node *n, struct finding *f)
{
    bool is_pinned;
    const char *version = engine_library_version(&is_pinned);

    (void)n;
    finding_seen(f, is_pinned ? VERDICT_OK : VERDICT_BAD, "weir %s, DuckDB %s", WEIR_VERSION,
                 version);
    if (!is_pinned)
        finding_mend(f, "the queries are bound to the DuckDB that weir was built with: see which "
                        "libduckdb.so is found (ldd, LD_LIBRARY_PATH)");
}

const struct check doctor_machine_checks[] = {
    {"versions", check_library}, {"/dev/fuse", check_device}, {"rights", check_rights},
    {"kernel", check_kernel},    {"mount", check_mount},      {"open files", check_files},
    {"memory", check_memory},    {"clock", check_clock},      {NULL, NULL},
};
