/* tools/lock.c - one owner for a data directory. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"
#include "tools/supervisor.h"

#define LOCK_WAIT_MS 10000
#define LOCK_POLL_MS 20
#define LOCKS_TEXT_MAX (4u << 20)

static int64_t read_owner(int fd)
{
    char text[32];
    ssize_t n = sys_pread(fd, text, sizeof text - 1, 0);
    int64_t pid = 0;

    if (n > 0 && str_to_i64(str_trim((struct str){text, (size_t)n}), &pid) && pid > 0)
        return pid;
    return 0;
}

/* One line of /proc/locks: the process that holds a flock on this file, else 0. */
static int64_t parse_holder(struct str line, const struct stat *st)
{
    char text[256], kind[16];
    unsigned dev_major, dev_minor;
    unsigned long inode;
    int pid;

    if (!str_copy_to(line, text, sizeof text) ||
        sscanf(text, "%*d: %15s %*s %*s %d %x:%x:%lu", kind, &pid, &dev_major, &dev_minor,
               &inode) != 5)
        return 0;
    return strcmp(kind, "FLOCK") == 0 && inode == st->st_ino && dev_major == major(st->st_dev) &&
                   dev_minor == minor(st->st_dev)
               ? pid
               : 0;
}

/* Readers leave no word in the file, but the kernel knows them.  0: it does not say. */
static int64_t find_holder(int fd)
{
    struct str rest, line;
    struct buf text;
    struct stat st;
    int64_t found = 0;

    buf_init(&text, LOCKS_TEXT_MAX);
    if (sys_fstat(fd, &st) == 0 && sys_read_file("/proc/locks", &text, NULL) == ERR_OK) {
        for (rest = buf_str(&text); rest.len && !found;) {
            str_cut(rest, '\n', &line, &rest);
            found = parse_holder(line, &st);
        }
    }
    buf_done(&text);
    return found;
}

static bool is_alive(int64_t pid)
{
    return pid > 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

static enum err_code write_owner(int fd, const char *path, struct err *e)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());

    if (sys_ftruncate(fd, 0) != 0)
        return err_sys(e, errno, "write %s", path);
    return sys_write_full(fd, text, (size_t)len, 0, e);
}

enum err_code node_lock(const struct node *n, int *lock_fd, struct err *e)
{
    AUTO_FD int fd = sys_open(n->lock_path, O_RDWR | O_CREAT, 0600);
    uint64_t deadline = clock_mono_ms() + LOCK_WAIT_MS;
    enum err_code rc;

    if (fd < 0)
        return err_sys(e, errno, "open %s", n->lock_path);
    /* A dead owner's children may hold the lock for the moment that they need to die. */
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int64_t owner = read_owner(fd);
        if (is_alive(owner))
            return err_set(e, ERR_EXISTS,
                           "%s is in use by process %" PRId64
                           ": stop that one, or name another ZO_DATA_DIR",
                           n->data_dir, owner);
        if (clock_mono_ms() >= deadline)
            return err_set(e, ERR_EXISTS,
                           "%s is being read by process %" PRId64
                           " (weir mount --read-only or weir fsck): stop that first",
                           n->data_dir, find_holder(fd));
        nanosleep(&(struct timespec){.tv_nsec = LOCK_POLL_MS * 1000000L}, NULL);
    }
    rc = write_owner(fd, n->lock_path, e);
    if (rc)
        return rc;
    *lock_fd = take_fd(&fd);
    return ERR_OK;
}

enum err_code node_lock_unchanged(const struct node *n, int *lock_fd, struct err *e)
{
    AUTO_FD int fd = sys_open(n->lock_path, O_RDONLY, 0);

    *lock_fd = -1;
    if (fd < 0 && errno == ENOENT)
        return ERR_OK;
    if (fd < 0)
        return err_sys(e, errno, "open %s", n->lock_path);
    if (flock(fd, LOCK_SH | LOCK_NB) != 0)
        return err_set(e, ERR_EXISTS, "%s is in use by process %" PRId64 ": stop the node first",
                       n->data_dir, read_owner(fd));
    *lock_fd = take_fd(&fd);
    return ERR_OK;
}

pid_t node_lock_owner(const struct node *n)
{
    AUTO_FD int fd = sys_open(n->lock_path, O_RDONLY, 0);
    int64_t owner;

    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0; /* a lock of ours goes with the descriptor */
    owner = read_owner(fd);
    return is_alive(owner) ? (pid_t)owner : 0;
}
