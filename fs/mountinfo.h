/* fs/mountinfo.h - what is mounted where, from /proc/self/mountinfo: never by a look at the mount,
 * which might hang or fail.
 * Thread safety: any thread. */
#ifndef WEIR_FS_MOUNTINFO_H
#define WEIR_FS_MOUNTINFO_H

#include <stdbool.h>

#include "base/bytes.h"

#define MOUNT_TYPE "fuse.weir"

struct mount_entry {
    unsigned major, minor; /* of the device */
    bool is_weir;
};
/* The topmost mount on exactly this absolute path (as the kernel spells it). */
bool mountinfo_find(const char *path, struct mount_entry *out);
/* One line of the file: its mount point (unescaped into `point`) and the rest.  False: not one. */
bool mountinfo_parse(struct str line, struct buf *point, struct mount_entry *out);

#endif
