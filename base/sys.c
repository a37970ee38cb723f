/* base/sys.c - the seam around fallible system calls, with the whole-transfer helpers above it.
 *
 * Every wrapper asks fault() first.  A fault with short_bytes does that much of the write for real
 * before it fails: what a torn append leaves behind.
 */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { IOV_PER_CALL = 64, READ_STEP_BYTES = 64 << 10 };

static _Atomic(sys_fault_hook) fault_hook;
static _Atomic(void *) fault_ctx; /* set before the hook is */
static _Atomic uint64_t fault_calls;

void sys_fault_set(sys_fault_hook hook, void *ctx)
{
    atomic_store(&fault_ctx, ctx);
    atomic_store(&fault_calls, 0);
    atomic_store(&fault_hook, hook);
}

uint64_t sys_fault_calls(void)
{
    return atomic_load(&fault_calls);
}

static int ask_hook(sys_fault_hook hook, const char *call, size_t want_bytes, size_t *short_bytes)
{
    struct sys_fault f = {.call = call, .want_bytes = want_bytes};
    f.number = atomic_fetch_add(&fault_calls, 1);
    int sys = hook(&f, atomic_load(&fault_ctx));
    *short_bytes = f.short_bytes < want_bytes ? f.short_bytes : want_bytes;
    return sys;
}

/* Whether this call shall fail: errno is set then.  Of a write, *short_bytes come before. */
static inline bool fault_write(const char *call, size_t want_bytes, size_t *short_bytes, int *sys)
{
    *short_bytes = 0;
    *sys = 0;
    sys_fault_hook hook = atomic_load_explicit(&fault_hook, memory_order_acquire);
    if (__builtin_expect(hook != NULL, 0))
        *sys = ask_hook(hook, call, want_bytes, short_bytes);
    return *sys != 0;
}

static inline bool fault(const char *call)
{
    size_t none;
    int sys;
    if (!fault_write(call, 0, &none, &sys))
        return false;
    errno = sys;
    return true;
}

#define RETRY_EINTR(result, call)                                                                  \
    do                                                                                             \
        (result) = (call);                                                                         \
    while ((result) < 0 && errno == EINTR)

int sys_open(const char *path, int flags, mode_t mode)
{
    return sys_openat(AT_FDCWD, path, flags, mode);
}

int sys_openat(int dirfd, const char *path, int flags, mode_t mode)
{
    int fd;
    if (fault("open"))
        return -1;
    RETRY_EINTR(fd, openat(dirfd, path, flags | O_CLOEXEC, mode));
    return fd;
}

/* The descriptor is gone also when close fails; a retry could close another thread's. */
int sys_close(int fd)
{
    if (fault("close")) {
        int sys = errno;
        close(fd);
        errno = sys;
        return -1;
    }
    return close(fd) < 0 && errno != EINTR ? -1 : 0;
}

ssize_t sys_read(int fd, void *p, size_t n)
{
    ssize_t got;
    if (fault("read"))
        return -1;
    RETRY_EINTR(got, read(fd, p, n));
    return got;
}

ssize_t sys_pread(int fd, void *p, size_t n, off_t off)
{
    ssize_t got;
    if (fault("pread"))
        return -1;
    RETRY_EINTR(got, pread(fd, p, n, off));
    return got;
}

ssize_t sys_write(int fd, const void *p, size_t n)
{
    size_t part;
    int sys;
    ssize_t done;
    if (fault_write("write", n, &part, &sys)) {
        if (part)
            RETRY_EINTR(done, write(fd, p, part));
        errno = sys;
        return -1;
    }
    RETRY_EINTR(done, write(fd, p, n));
    return done;
}

ssize_t sys_pwrite(int fd, const void *p, size_t n, off_t off)
{
    size_t part;
    int sys;
    ssize_t done;
    if (fault_write("pwrite", n, &part, &sys)) {
        if (part)
            RETRY_EINTR(done, pwrite(fd, p, part, off));
        errno = sys;
        return -1;
    }
    RETRY_EINTR(done, pwrite(fd, p, n, off));
    return done;
}

static size_t iov_bytes(const struct iovec *iov, int iovcnt)
{
    size_t n = 0;
    for (int i = 0; i < iovcnt; i++)
        n += iov[i].iov_len;
    return n;
}

/* The first `part` bytes of a vector, before the injected failure. */
static void write_part(int fd, const struct iovec *iov, int iovcnt, off_t off, size_t part)
{
    for (int i = 0; i < iovcnt && part; i++) {
        size_t n = iov[i].iov_len < part ? iov[i].iov_len : part;
        ssize_t done;
        RETRY_EINTR(done, pwrite(fd, iov[i].iov_base, n, off));
        if (done < (ssize_t)n)
            return;
        off += (off_t)n;
        part -= n;
    }
}

ssize_t sys_pwritev(int fd, const struct iovec *iov, int iovcnt, off_t off)
{
    size_t part;
    int sys;
    ssize_t done;
    if (fault_write("pwritev", iov_bytes(iov, iovcnt), &part, &sys)) {
        write_part(fd, iov, iovcnt, off, part);
        errno = sys;
        return -1;
    }
    RETRY_EINTR(done, pwritev(fd, iov, iovcnt, off));
    return done;
}

/* For the calls that have no more to them than a name. */
#define WRAP(name, call)                                                                           \
    int result;                                                                                    \
    if (fault(name))                                                                               \
        return -1;                                                                                 \
    RETRY_EINTR(result, call);                                                                     \
    return result

int sys_fdatasync(int fd)
{
    WRAP("fdatasync", fdatasync(fd));
}

int sys_fsync(int fd)
{
    WRAP("fsync", fsync(fd));
}

int sys_fallocate(int fd, int mode, off_t off, off_t len)
{
    WRAP("fallocate", fallocate(fd, mode, off, len));
}

int sys_ftruncate(int fd, off_t len)
{
    WRAP("ftruncate", ftruncate(fd, len));
}

int sys_memfd_create(const char *name)
{
    WRAP("memfd_create", memfd_create(name, MFD_CLOEXEC));
}

void *sys_mmap(size_t len, int prot, int flags, int fd, off_t off)
{
    return fault("mmap") ? MAP_FAILED : mmap(NULL, len, prot, flags, fd, off);
}

int sys_madvise(void *p, size_t len, int advice)
{
    WRAP("madvise", madvise(p, len, advice));
}

int sys_rename(const char *from, const char *to)
{
    WRAP("rename", rename(from, to));
}

int sys_unlink(const char *path)
{
    WRAP("unlink", unlink(path));
}

int sys_link(const char *from, const char *to)
{
    WRAP("link", link(from, to));
}

int sys_mkdir(const char *path, mode_t mode)
{
    WRAP("mkdir", mkdir(path, mode));
}

int sys_rmdir(const char *path)
{
    WRAP("rmdir", rmdir(path));
}

int sys_fstat(int fd, struct stat *st)
{
    WRAP("fstat", fstat(fd, st));
}

/* ---- whole transfers ---- */

/* What an open descriptor is called; only looked up for a message. */
static const char *path_of(int fd, char dst[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, dst, PATH_MAX - 1);
    if (n < 0)
        snprintf(dst, PATH_MAX, "descriptor %d", fd);
    else
        dst[n] = '\0';
    return dst;
}

enum err_code sys_read_full(int fd, void *p, size_t n, off_t off, struct err *e)
{
    char path[PATH_MAX];
    size_t done = 0;
    while (done < n) {
        ssize_t got = sys_pread(fd, (char *)p + done, n - done, off + (off_t)done);
        if (got < 0)
            return err_sys(e, errno, "%s: read %zu bytes at %lld", path_of(fd, path), n,
                           (long long)off);
        if (got == 0)
            return err_set(e, ERR_CORRUPT, "%s: ends %zu bytes into the %zu at %lld",
                           path_of(fd, path), done, n, (long long)off);
        done += (size_t)got;
    }
    return ERR_OK;
}

enum err_code sys_write_full(int fd, const void *p, size_t n, off_t off, struct err *e)
{
    char path[PATH_MAX];
    size_t done = 0;
    while (done < n) {
        ssize_t put = sys_pwrite(fd, (const char *)p + done, n - done, off + (off_t)done);
        if (put <= 0) /* zero would repeat for ever */
            return err_sys(e, put < 0 ? errno : EIO, "%s: write %zu bytes at %lld",
                           path_of(fd, path), n, (long long)off);
        done += (size_t)put;
    }
    return ERR_OK;
}

/* Move the vector past `n` bytes that are written; returns how many elements are finished. */
static int iov_advance(struct iovec *iov, int iovcnt, size_t n)
{
    int i = 0;
    for (; i < iovcnt && n >= iov[i].iov_len; i++)
        n -= iov[i].iov_len;
    if (n) {
        iov[i].iov_base = (char *)iov[i].iov_base + n;
        iov[i].iov_len -= n;
    }
    return i;
}

enum err_code sys_writev_full(int fd, struct iovec *iov, int iovcnt, off_t off, struct err *e)
{
    char path[PATH_MAX];
    size_t left = iov_bytes(iov, iovcnt);
    while (left) {
        int batch = iovcnt < IOV_PER_CALL ? iovcnt : IOV_PER_CALL;
        if (iov_bytes(iov, batch) == 0) { /* only empty elements: nothing for the kernel to do */
            iov += batch;
            iovcnt -= batch;
            continue;
        }
        ssize_t put = sys_pwritev(fd, iov, batch, off);
        if (put <= 0)
            return err_sys(e, put < 0 ? errno : EIO, "%s: write %zu bytes at %lld",
                           path_of(fd, path), left, (long long)off);
        int finished = iov_advance(iov, batch, (size_t)put);
        iov += finished;
        iovcnt -= finished;
        off += put;
        left -= (size_t)put;
    }
    return ERR_OK;
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static enum err_code ensure_directory(const char *path, mode_t mode, struct err *e)
{
    if (sys_mkdir(path, mode) == 0)
        return ERR_OK;
    int sys = errno;
    if (sys == EEXIST && is_directory(path))
        return ERR_OK;
    return err_sys(e, sys == EEXIST ? ENOTDIR : sys, "%s: make directory", path);
}

enum err_code sys_mkdirs(const char *path, mode_t mode, struct err *e)
{
    char copy[PATH_MAX];
    if (!str_copy_to(str_from(path), copy, sizeof copy))
        return err_sys(e, ENAMETOOLONG, "%.64s…: make directory", path);
    if (is_directory(copy))
        return ERR_OK;
    for (char *at = copy + 1; copy[0] && *at; at++) {
        if (*at != '/' || at[-1] == '/')
            continue;
        *at = '\0';
        /* One that is there is left alone: its parent may not be ours to write. */
        enum err_code rc = is_directory(copy) ? ERR_OK : ensure_directory(copy, mode, e);
        *at = '/';
        if (rc)
            return rc;
    }
    return ensure_directory(copy, mode, e);
}

enum err_code sys_fsync_dir(const char *path, struct err *e)
{
    AUTO_FD int fd = sys_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return err_sys(e, errno, "%s: open directory", path);
    if (sys_fsync(fd) < 0)
        return err_sys(e, errno, "%s: sync directory", path);
    return ERR_OK;
}

static enum err_code write_new_file(const char *path, const void *p, size_t n, mode_t mode,
                                    struct err *e)
{
    AUTO_FD int fd = sys_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode);
    if (fd < 0)
        return err_sys(e, errno, "%s: create", path);
    if (fchmod(fd, mode) < 0) /* whatever the umask, or an earlier try that died, left */
        return err_sys(e, errno, "%s: set mode", path);
    enum err_code rc = sys_write_full(fd, p, n, 0, e);
    if (rc)
        return rc;
    if (sys_fsync(fd) < 0)
        return err_sys(e, errno, "%s: sync", path);
    if (sys_close(take_fd(&fd)) < 0)
        return err_sys(e, errno, "%s: close", path);
    return ERR_OK;
}

static enum err_code sync_parent(const char *path, struct err *e)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    struct str parent = {path, slash ? (size_t)(slash - path) : 0};
    if (!slash)
        parent = STR(".");
    else if (slash == path)
        parent = STR("/");
    str_copy_to(parent, dir, sizeof dir);
    return sys_fsync_dir(dir, e);
}

enum err_code sys_replace_file(const char *path, const void *p, size_t n, mode_t mode,
                               struct err *e)
{
    char temp[PATH_MAX];
    if (snprintf(temp, sizeof temp, "%s.tmp", path) >= (int)sizeof temp)
        return err_sys(e, ENAMETOOLONG, "%.64s…: replace", path);
    enum err_code rc = write_new_file(temp, p, n, mode, e);
    if (!rc && sys_rename(temp, path) < 0)
        rc = err_sys(e, errno, "%s: rename to %s", temp, path);
    if (rc) {
        unlink(temp); /* best effort: the next try overwrites it */
        return rc;
    }
    return sync_parent(path, e);
}

/* The size that fstat tells is only a hint (0 in /proc, and files grow): read to the end. */
enum err_code sys_read_file(const char *path, struct buf *out, struct err *e)
{
    AUTO_FD int fd = sys_open(path, O_RDONLY, 0);
    if (fd < 0)
        return err_sys(e, errno, "%s: open", path);
    buf_clear(out);
    for (;;) {
        char step[READ_STEP_BYTES];
        ssize_t got = sys_read(fd, step, sizeof step);
        if (got < 0)
            return err_sys(e, errno, "%s: read", path);
        if (got == 0)
            return ERR_OK;
        bool fits = (size_t)got <= out->max - out->len;
        buf_add(out, step, (size_t)got);
        if (!buf_ok(out))
            return err_set(e, fits ? ERR_NOMEM : ERR_TOOBIG, "%s: larger than %zu bytes", path,
                           out->max);
    }
}
