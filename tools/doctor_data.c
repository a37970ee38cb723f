/* tools/doctor_data.c - settings, data directory, disk and port of the node that would start. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"
#include "fs/fs.h"
#include "tools/console.h"
#include "tools/doctor.h"
#include "tools/supervisor.h"

#define SYNC_TRIES 5
#define SYNC_SLOW_MS 20
#define SYNC_BYTES 4096

static void check_settings(const struct node *n, struct finding *f)
{
    const char *const *unknown;
    size_t count = settings_unknown(n->settings, &unknown);

    if (count) {
        finding_seen(f, VERDICT_WARN, "%s is no setting and has no effect%s", unknown[0],
                     count > 1 ? ", nor are others" : "");
        finding_mend(f, "weir config lists all settings");
        return;
    }
    finding_seen(f, VERDICT_OK, "all names and values are good");
}

/* The folder, or the nearest one above that is there. */
static void existing_part(const char *path, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s", path);
    while (access(out, F_OK) != 0 && errno == ENOENT) {
        char *slash = strrchr(out, '/');
        if (!slash)
            return;
        slash[slash == out] = '\0';
    }
}

static void check_data_dir(const struct node *n, struct finding *f)
{
    char there[PATH_MAX];
    bool is_new;

    existing_part(n->data_dir, there);
    is_new = strcmp(there, n->data_dir) != 0;
    if (access(there, W_OK | X_OK) == 0) {
        finding_seen(f, VERDICT_OK, "%.200s%s", n->data_dir, is_new ? " will be made" : "");
        return;
    }
    finding_seen(f, VERDICT_BAD, "%.120s cannot be written: %.120s: %s", n->data_dir, there,
                 strerror(errno));
    finding_mend(f, "set ZO_DATA_DIR to a folder of your own, or chown this one");
}

static void check_owner(const struct node *n, struct finding *f)
{
    pid_t owner = node_lock_owner(n);
    bool is_mounted = fs_is_mounted(n->mount_dir);

    if (owner)
        finding_seen(f, VERDICT_OK, "a node is running: process %d, mount %.200s", (int)owner,
                     n->mount_dir);
    else if (is_mounted)
        finding_seen(f, VERDICT_NOTE, "a mount that nobody serves is left at %.200s", n->mount_dir);
    else
        finding_seen(f, VERDICT_OK, "no node is running here");
    if (f->verdict == VERDICT_NOTE)
        finding_mend(f, "weir serve replaces it; fusermount3 -uz takes it away");
}

static void check_mount_dir(const struct node *n, struct finding *f)
{
    struct err e;

    finding_seen(f, VERDICT_OK, "the tree is shown at %.200s", n->mount_dir);
    if (node_check_mount_dir(n, &e) == ERR_OK)
        return;
    finding_seen(f, VERDICT_BAD, "WEIR_MOUNT_DIR %.200s is not empty", n->mount_dir);
    finding_mend(f,
                 "name an empty folder, or one that is to be made: the mount hides what is there");
}

static void check_filesystem(const struct node *n, struct finding *f)
{
    static const struct {
        long magic;
        enum verdict verdict;
        const char *name, *mend;
    } kinds[] = {
        {0x6969, VERDICT_WARN, "NFS", "locks and LMDB want a local disk"},
        {0xff534d42, VERDICT_WARN, "CIFS", "locks and LMDB want a local disk"},
        {0xfe534d42, VERDICT_WARN, "SMB", "locks and LMDB want a local disk"},
        {0x01021994, VERDICT_WARN, "tmpfs",
         "memory: nothing is left after a restart of the machine"},
        {0x794c7630, VERDICT_NOTE, "overlayfs", "a container's own layer: put a volume there"},
        {0x65735546, VERDICT_WARN, "FUSE", "does it keep what was fsynced? a local disk does"},
        {0xef53, VERDICT_OK, "ext4", NULL},
        {0x58465342, VERDICT_OK, "XFS", NULL},
        {0x9123683e, VERDICT_OK, "btrfs", NULL},
        {0x2fc12fc1, VERDICT_OK, "ZFS", NULL},
    };
    char there[PATH_MAX];
    struct statfs fs;

    existing_part(n->data_dir, there);
    if (statfs(there, &fs) != 0) {
        finding_seen(f, VERDICT_NOTE, "%.200s: %s", there, strerror(errno));
        return;
    }
    finding_seen(f, VERDICT_OK, "type %lx", (unsigned long)fs.f_type);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (kinds[i].magic != ((long)fs.f_type & 0xffffffff))
            continue;
        finding_seen(f, kinds[i].verdict, "%s", kinds[i].name);
        if (kinds[i].mend)
            finding_mend(f, "%s", kinds[i].mend);
    }
}

static void check_disk(const struct node *n, struct finding *f)
{
    char there[PATH_MAX], left[8], reserve[8], journal[8];
    struct statvfs vfs;
    uint64_t free_bytes;

    existing_part(n->data_dir, there);
    if (statvfs(there, &vfs) != 0) {
        finding_seen(f, VERDICT_NOTE, "%.200s: %s", there, strerror(errno));
        return;
    }
    free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    console_format_size(free_bytes, left);
    console_format_size(n->disk_reserve_bytes, reserve);
    console_format_size(n->journal_max_bytes, journal);
    finding_seen(f, VERDICT_OK, "%s free; the journal may take %s", left, journal);
    if (free_bytes <= n->disk_reserve_bytes + NODE_JOURNAL_MIN_BYTES) {
        f->verdict = VERDICT_BAD;
        finding_mend(f, "make room: with less than WEIR_DISK_RESERVE (%s) free, ingest is 503",
                     reserve);
    } else if (free_bytes < n->journal_max_bytes) {
        f->verdict = VERDICT_WARN;
        finding_mend(f, "make room, or set WEIR_JOURNAL_MAX below what is free");
    } else if (vfs.f_files && vfs.f_favail < 10000) {
        f->verdict = VERDICT_WARN;
        finding_mend(f, "only %llu inodes are free", (unsigned long long)vfs.f_favail);
    }
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* The median of a few appends with fdatasync; false: not measured. */
static bool measure_sync(const char *dir, uint64_t *median_us)
{
    char path[PATH_MAX], block[SYNC_BYTES] = {0};
    uint64_t took[SYNC_TRIES];

    if (snprintf(path, sizeof path, "%s/.weir-doctor-XXXXXX", dir) >= PATH_MAX)
        return false;
    AUTO_FD int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return false;
    sys_unlink(path);
    for (int i = 0; i < SYNC_TRIES; i++) {
        uint64_t began = clock_mono_ns();
        if (sys_pwrite(fd, block, sizeof block, (off_t)i * SYNC_BYTES) != SYNC_BYTES ||
            sys_fdatasync(fd) != 0)
            return false;
        took[i] = (clock_mono_ns() - began) / 1000;
    }
    qsort(took, SYNC_TRIES, sizeof *took, by_value);
    *median_us = took[SYNC_TRIES / 2];
    return true;
}

static void check_sync(const struct node *n, struct finding *f)
{
    char there[PATH_MAX];
    uint64_t us;

    existing_part(n->data_dir, there);
    if (!measure_sync(there, &us)) {
        finding_seen(f, VERDICT_NOTE, "fdatasync was not measured in %.200s: %s", there,
                     strerror(errno));
        return;
    }
    finding_seen(f, us < SYNC_SLOW_MS * 1000 ? VERDICT_OK : VERDICT_WARN, "fdatasync takes %.1f ms",
                 (double)us / 1000);
    if (f->verdict != VERDICT_OK)
        finding_mend(f, "each acknowledgement waits for one: put ZO_DATA_DIR on a faster disk");
}

static bool port_is_free(const struct node *n, uint16_t port, int *why)
{
    const char *addr = settings_text(n->settings, SET_HTTP_ADDR);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;

    if (fd < 0 || (addr[0] && inet_pton(AF_INET, addr, &in.sin_addr) != 1))
        return true; /* another family or a name: the start says */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&in, sizeof in) == 0)
        return true;
    *why = errno;
    return false;
}

static void check_port(const struct node *n, struct finding *f)
{
    uint16_t port = (uint16_t)settings_i64(n->settings, SET_HTTP_PORT);
    int why = 0;

    if (port_is_free(n, port, &why)) {
        finding_seen(f, VERDICT_OK, "port %u is free", port);
    } else if (node_lock_owner(n)) {
        finding_seen(f, VERDICT_OK, "port %u is in use, while a node is running here", port);
    } else {
        finding_seen(f, VERDICT_BAD, "port %u: %s", port, strerror(why));
        finding_mend(f, why == EACCES ? "ports below 1024 need root: set ZO_HTTP_PORT"
                                      : "stop what listens there (ss -ltnp), or set ZO_HTTP_PORT");
    }
}

static void check_user(const struct node *n, struct finding *f)
{
    bool is_set = settings_text(n->settings, SET_ROOT_USER_EMAIL)[0] &&
                  settings_text(n->settings, SET_ROOT_USER_PASSWORD)[0];

    if (access(n->meta_dir, F_OK) == 0 || is_set) {
        finding_seen(f, VERDICT_OK,
                     is_set ? "a root user is named"
                            : "none is named: that of the first start counts");
        return;
    }
    finding_seen(f, VERDICT_BAD, "the first start needs a root user");
    finding_mend(f, "set ZO_ROOT_USER_EMAIL and ZO_ROOT_USER_PASSWORD");
}

const struct check doctor_data_checks[] = {
    {"settings", check_settings},   {"root user", check_user},
    {"data", check_data_dir},       {"owner", check_owner},
    {"mount dir", check_mount_dir}, {"filesystem", check_filesystem},
    {"disk", check_disk},           {"fdatasync", check_sync},
    {"port", check_port},           {NULL, NULL},
};
