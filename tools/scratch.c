/* tools/scratch.c - makes and removes folders of one process below $TMPDIR.
 *
 * The folder itself carries a flock: one that can be locked is nobody's any more.
 */
#include "tools/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"

#define PREFIX "weir-scratch-"
#define TRIES_MAX 10       /* another may clear the folder away before it is locked */
#define DESCRIPTORS_MAX 16 /* of the walk that removes */

static const char *parent_dir(void)
{
    const char *dir = getenv("TMPDIR");

    return dir && dir[0] == '/' ? dir : "/tmp";
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    (void)remove(path); /* what stays is seen when its folder cannot go */
    return 0;
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, DESCRIPTORS_MAX, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* A descriptor with the lock, when the folder is ours and nobody else holds it; else -1. */
static int take_lock(const char *path)
{
    AUTO_FD int fd = sys_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    struct stat st;

    if (fd < 0 || sys_fstat(fd, &st) != 0 || st.st_uid != geteuid() ||
        flock(fd, LOCK_EX | LOCK_NB) != 0 || sys_fstat(fd, &st) != 0 || st.st_nlink == 0)
        return -1;
    return take_fd(&fd);
}

static void remove_left_behind(void)
{
    DIR *dir = opendir(parent_dir());

    for (struct dirent *d; dir && (d = readdir(dir));) {
        char path[PATH_MAX];
        if (!str_starts(str_from(d->d_name), STR(PREFIX)) ||
            snprintf(path, sizeof path, "%s/%s", parent_dir(), d->d_name) >= (int)sizeof path)
            continue;
        AUTO_FD int fd = take_lock(path);
        if (fd >= 0)
            remove_tree(path);
    }
    if (dir)
        closedir(dir);
}

enum err_code scratch_make(struct scratch *s, struct err *e)
{
    s->fd = -1;
    remove_left_behind();
    for (int i = 0; i < TRIES_MAX && s->fd < 0; i++) {
        if (snprintf(s->path, sizeof s->path, "%s/" PREFIX "XXXXXX", parent_dir()) >=
            (int)sizeof s->path)
            return err_set(e, ERR_INVALID, "TMPDIR is too long");
        if (!mkdtemp(s->path))
            return err_sys(e, errno, "make a folder in %s", parent_dir());
        s->fd = take_lock(s->path);
    }
    return s->fd < 0 ? err_set(e, ERR_IO, "cannot keep a folder in %s", parent_dir()) : ERR_OK;
}

void scratch_remove(struct scratch *s)
{
    if (s->fd < 0)
        return;
    remove_tree(s->path);
    close(s->fd);
    s->fd = -1;
}
