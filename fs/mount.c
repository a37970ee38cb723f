/* fs/mount.c - making the mount and taking it away.
 *
 * Root mounts by mount(2).  Others ask fusermount3, which is set-uid root, mounts for its caller
 * and hands the descriptor over a socket named in _FUSE_COMMFD.  A mount that a killed node left
 * behind answers nothing, so it is recognised in mountinfo and detached without a look at it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "fs/fs.h"
#include "fs/mount.h"
#include "fs/mountinfo.h"

#define STACKED_MAX 16 /* mounts of ours on top of each other that are detached at start */
#define FUSERMOUNT "fusermount3"
#define FUSERMOUNT_TEXT_MAX 256
#define MOUNT_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME)

/* ---- paths ---- */

/* The path as mountinfo spells it: symbolic links of the parent are resolved; the last part, which
 * may be a dead mount, is not touched. */
static enum err_code resolve(const char *dir, char out[PATH_MAX], struct err *e)
{
    char parent[PATH_MAX], resolved[PATH_MAX];
    const char *slash = strrchr(dir, '/');
    int n;

    if (dir[0] != '/' || !slash || !slash[1])
        return err_set(e, ERR_INVALID, "mount point %s: expected an absolute path", dir);
    str_copy_to((struct str){dir, slash == dir ? 1 : (size_t)(slash - dir)}, parent, sizeof parent);
    if (!realpath(parent, resolved))
        return err_sys(e, errno, "mount point %s", dir);
    n = snprintf(out, PATH_MAX, "%s%s", strcmp(resolved, "/") == 0 ? "" : resolved, slash);
    return n < PATH_MAX ? ERR_OK : err_set(e, ERR_INVALID, "mount point %s: too long", dir);
}

static enum err_code make_parent(const char *dir, struct err *e)
{
    const char *slash = strrchr(dir, '/');
    char parent[PATH_MAX];

    if (!slash || slash == dir)
        return ERR_OK;
    if (!str_copy_to((struct str){dir, (size_t)(slash - dir)}, parent, sizeof parent))
        return err_set(e, ERR_INVALID, "mount point %s: too long", dir);
    return sys_mkdirs(parent, 0700, e);
}

bool fs_is_mounted(const char *mount_dir)
{
    struct mount_entry entry;
    char path[PATH_MAX];

    return resolve(mount_dir, path, NULL) == ERR_OK && mountinfo_find(path, &entry) &&
           entry.is_weir;
}

/* In a child: 0 when somebody answers.  It may hang for long, and so keeps nothing but `held`: a
 * copy of the data directory's lock would outlive its owner. */
static void look(const char *path, int held)
{
    struct stat st;

    dup2(held, STDIN_FILENO);
    close_range(STDIN_FILENO + 1, ~0U, 0);
    _exit(stat(path, &st) != 0 && (errno == ENOTCONN || errno == ESTALE) ? 1 : 0);
}

bool fs_mount_answers(const char *mount_dir, int timeout_ms)
{
    struct mount_entry entry;
    char path[PATH_MAX];
    int pipe_fds[2], status = 0;
    pid_t pid;

    if (resolve(mount_dir, path, NULL) || !mountinfo_find(path, &entry) || !entry.is_weir ||
        pipe2(pipe_fds, O_CLOEXEC) != 0)
        return false;
    AUTO_FD int ended = pipe_fds[0], held = pipe_fds[1]; /* the child's end is its life */
    pid = fork();
    if (pid == 0)
        look(path, held);
    if (pid < 0)
        return false;
    cleanup_fd(&held);
    if (poll(&(struct pollfd){.fd = ended, .events = POLLIN}, 1, timeout_ms) != 1) {
        kill(pid, SIGKILL); /* it may not end before the mount does: nobody waits for it */
        return false;
    }
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- fusermount3 ---- */

struct helper {
    pid_t pid;
    int comm_fd; /* our end of the socket; -1 when it is asked to unmount */
    int text_fd; /* what it says on standard error */
};

static void become_helper(const char *const argv[], int comm_fd, int text_fd)
{
    char number[16];

    if (comm_fd >= 0) {
        fcntl(comm_fd, F_SETFD, 0);
        snprintf(number, sizeof number, "%d", comm_fd);
        setenv("_FUSE_COMMFD", number, 1);
    }
    dup2(text_fd, STDERR_FILENO);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "cannot run %s: %s", argv[0], strerror(errno));
    _exit(127);
}

static enum err_code start_helper(const char *const argv[], bool with_socket, struct helper *h,
                                  struct err *e)
{
    int pair[2] = {-1, -1}, text[2];

    if (with_socket && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return err_sys(e, errno, "socket for " FUSERMOUNT);
    AUTO_FD int ours = pair[0], theirs = pair[1];
    if (pipe2(text, O_CLOEXEC) != 0)
        return err_sys(e, errno, "pipe for " FUSERMOUNT);
    AUTO_FD int text_in = text[0], text_out = text[1];
    h->pid = fork();
    if (h->pid < 0)
        return err_sys(e, errno, "start " FUSERMOUNT);
    if (h->pid == 0)
        become_helper(argv, theirs, text_out);
    h->comm_fd = take_fd(&ours);
    h->text_fd = take_fd(&text_in);
    return ERR_OK;
}

/* ERR_OK when it exited with 0; else what it said. */
static enum err_code end_helper(struct helper *h, struct err *e)
{
    char said[FUSERMOUNT_TEXT_MAX];
    ssize_t n = sys_read(h->text_fd, said, sizeof said - 1);
    int status = 0;

    said[n > 0 ? n : 0] = '\0';
    said[strcspn(said, "\n")] = '\0';
    close(h->text_fd);
    if (h->comm_fd >= 0)
        close(h->comm_fd);
    while (waitpid(h->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return ERR_OK;
    return err_set(e, ERR_IO, "%s", said[0] ? said : FUSERMOUNT " failed");
}

/* The descriptor that comes over the socket; -1 when the helper ended without one. */
static int receive_fd(int socket)
{
    char byte;
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.room,
                       .msg_controllen = sizeof control.room};
    struct cmsghdr *c;
    ssize_t n;
    int fd = -1;

    do
        n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

/* "user_allow_other" on a line of its own. */
static bool others_are_allowed(void)
{
    FILE *f = fopen("/etc/fuse.conf", "re");
    char line[256];
    bool found = false;

    if (!f)
        return false;
    while (!found && fgets(line, sizeof line, f))
        found = str_eq(str_trim(str_from(line)), STR("user_allow_other"));
    fclose(f);
    return found;
}

static enum err_code mount_by_helper(const char *path, int *fd, struct fs_mount_report *report,
                                     struct err *e)
{
    const char *options = "fsname=weir,subtype=weir,nosuid,nodev,noexec,noatime";
    char all[128];
    struct helper h;
    enum err_code rc;

    report->allow_other = others_are_allowed();
    snprintf(all, sizeof all, "%s%s", options,
             report->allow_other ? ",allow_other,default_permissions" : "");
    snprintf(report->note, sizeof report->note, "mounted by %s: default read-ahead%s", FUSERMOUNT,
             report->allow_other ? ""
                                 : ", and only this user sees the mount (others need "
                                   "user_allow_other in /etc/fuse.conf)");
    const char *const argv[] = {FUSERMOUNT, "-o", all, "--", path, NULL};
    rc = start_helper(argv, true, &h, e);
    if (rc)
        return rc;
    *fd = receive_fd(h.comm_fd);
    rc = end_helper(&h, e);
    if (!rc && *fd < 0)
        rc = err_set(e, ERR_IO, FUSERMOUNT " gave no descriptor");
    if (rc && *fd >= 0)
        close(*fd);
    return rc ? err_wrap(e, "mount %s", path) : ERR_OK;
}

/* ---- root ---- */

static enum err_code mount_by_root(const char *path, int *out, struct fs_mount_report *report,
                                   struct err *e)
{
    char options[160];
    AUTO_FD int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return err_sys(e, errno, "open /dev/fuse");
    snprintf(options, sizeof options,
             "fd=%d,rootmode=40000,user_id=%u,group_id=%u,allow_other,default_permissions", fd,
             (unsigned)geteuid(), (unsigned)getegid());
    if (mount("weir", path, MOUNT_TYPE, MOUNT_FLAGS, options) != 0)
        return err_sys(e, errno, "mount %s", path);
    report->privileged = true;
    report->allow_other = true;
    *out = take_fd(&fd);
    return ERR_OK;
}

static enum err_code detach_once(const char *path, struct err *e)
{
    const char *const argv[] = {FUSERMOUNT, "-u", "-z", "-q", "--", path, NULL};
    struct helper h;
    enum err_code rc;

    if (geteuid() == 0) {
        if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
            return ERR_OK;
        return err_sys(e, errno, "unmount %s", path);
    }
    rc = start_helper(argv, false, &h, e);
    if (!rc)
        rc = end_helper(&h, e);
    return rc ? err_wrap(e, "unmount %s", path) : ERR_OK;
}

/* Mounts of ours only: what another has put there stays below. */
static enum err_code detach_all(const char *path, struct err *e)
{
    struct mount_entry entry;

    for (int i = 0; i < STACKED_MAX && mountinfo_find(path, &entry) && entry.is_weir; i++) {
        enum err_code rc = detach_once(path, e);
        if (rc)
            return rc;
    }
    return ERR_OK;
}

/* ---- the contract ---- */

enum err_code fs_mount(const struct fs_mount_options *o, int *dev_fuse_fd,
                       struct fs_mount_report *report, struct err *e)
{
    char path[PATH_MAX];
    enum err_code rc = make_parent(o->mount_dir, e);

    *report = (struct fs_mount_report){0};
    if (!rc)
        rc = resolve(o->mount_dir, path, e);
    if (!rc)
        rc = detach_all(path, e);
    if (!rc)
        rc = sys_mkdirs(path, 0700, e);
    if (rc)
        return rc;
    return geteuid() == 0 ? mount_by_root(path, dev_fuse_fd, report, e)
                          : mount_by_helper(path, dev_fuse_fd, report, e);
}

enum err_code fs_unmount(const char *mount_dir, struct err *e)
{
    char path[PATH_MAX];
    struct err why = {0};
    enum err_code rc = resolve(mount_dir, path, &why);

    if (rc == ERR_NOTFOUND)
        return ERR_OK;
    return rc ? err_set(e, rc, "%s", why.msg) : detach_all(path, e);
}

void fs_raise_read_ahead(const char *mount_dir, unsigned kilobytes)
{
    struct mount_entry entry;
    char path[PATH_MAX], setting[128], value[16];
    int n = snprintf(value, sizeof value, "%u", kilobytes);

    if (resolve(mount_dir, path, NULL) || !mountinfo_find(path, &entry))
        return;
    snprintf(setting, sizeof setting, "/sys/class/bdi/%u:%u/read_ahead_kb", entry.major,
             entry.minor);
    AUTO_FD int fd = sys_open(setting, O_WRONLY, 0);
    if (fd >= 0 && sys_write(fd, value, (size_t)n) < 0)
        return; /* the kernel's default stays */
}
