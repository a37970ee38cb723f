/* base/sys.h - every fallible system call, behind one seam where tests make the n-th one fail.
 *
 * Each wrapper does what its name says, retries EINTR, returns what the call returns with errno
 * set, and asks the fault hook first.  In production the hook is NULL (one predictable branch).
 * Faults: sys_fault_set(hook, ctx); the hook sees the call's name and a running number and returns
 * 0 (do it) or an errno to fail with.  For writes it may also shorten the write (short_bytes).
 * Thread safety: the hook is set while no other thread runs.
 */
#ifndef WEIR_BASE_SYS_H
#define WEIR_BASE_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "base/err.h"

struct sys_fault {
    const char *call;   /* "pwrite", "fdatasync", ... */
    uint64_t number;    /* counts wrapped calls since sys_fault_set */
    size_t want_bytes;  /* size of a write, else 0 */
    size_t short_bytes; /* hook may set: write only so many, then fail with the errno */
};
typedef int (*sys_fault_hook)(struct sys_fault *f, void *ctx);
void sys_fault_set(sys_fault_hook hook, void *ctx);
uint64_t sys_fault_calls(void); /* wrapped calls since sys_fault_set; 0 without a hook */

int sys_open(const char *path, int flags, mode_t mode); /* always O_CLOEXEC */
int sys_openat(int dirfd, const char *path, int flags, mode_t mode);
int sys_close(int fd);
ssize_t sys_read(int fd, void *p, size_t n);
ssize_t sys_pread(int fd, void *p, size_t n, off_t off);
ssize_t sys_write(int fd, const void *p, size_t n);
ssize_t sys_pwrite(int fd, const void *p, size_t n, off_t off);
ssize_t sys_pwritev(int fd, const struct iovec *iov, int iovcnt, off_t off);
int sys_fdatasync(int fd);
int sys_fsync(int fd);
int sys_fallocate(int fd, int mode, off_t off, off_t len);
int sys_ftruncate(int fd, off_t len);
int sys_memfd_create(const char *name);                             /* always MFD_CLOEXEC */
void *sys_mmap(size_t len, int prot, int flags, int fd, off_t off); /* MAP_FAILED */
int sys_madvise(void *p, size_t len, int advice);
int sys_rename(const char *from, const char *to);
int sys_unlink(const char *path);
int sys_link(const char *from, const char *to);
int sys_mkdir(const char *path, mode_t mode);
int sys_rmdir(const char *path);
int sys_fstat(int fd, struct stat *st);

/* Built on the above; these report through struct err with the path in the message. */
enum err_code sys_read_full(int fd, void *p, size_t n, off_t off,
                            struct err *e); /* short: CORRUPT */
enum err_code sys_write_full(int fd, const void *p, size_t n, off_t off, struct err *e);
enum err_code sys_writev_full(int fd, struct iovec *iov, int iovcnt, off_t off, struct err *e);
enum err_code sys_mkdirs(const char *path, mode_t mode, struct err *e); /* like mkdir -p */
enum err_code sys_fsync_dir(const char *path, struct err *e);
/* Write `path` through a temporary name (<path>.tmp, so one writer a path), fsync, rename, fsync of
 * the directory. */
enum err_code sys_replace_file(const char *path, const void *p, size_t n, mode_t mode,
                               struct err *e);
/* Clears and fills *out; TOOBIG when the file is larger than out->max. */
enum err_code sys_read_file(const char *path, struct buf *out, struct err *e);

#endif
