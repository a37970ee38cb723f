/* fs/mount.h - what the fs process itself asks of its mount, beside fs/fs.h. */
#ifndef WEIR_FS_MOUNT_H
#define WEIR_FS_MOUNT_H

/* How far the kernel reads ahead.  Best effort: only root may set it, and without it long
 * sequential reads are slower, nothing else.  After INIT was answered, which resets it. */
void fs_raise_read_ahead(const char *mount_dir, unsigned kilobytes);

#endif
