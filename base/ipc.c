/* base/ipc.c - framed messages over UNIX sockets.
 *
 * Frame, little-endian:  u32 body length | u32 kind | u64 tag | body.
 * Sockets are blocking for senders; a receiver waits by poll up to its deadline.
 */
#include "base/ipc.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"

enum { LISTEN_BACKLOG = 128, CONNECT_RETRY_MS = 10, POLL_STEP_MAX_MS = 60000 };

static bool fill_address(const char *path, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    return str_copy_to(str_from(path), address->sun_path, sizeof address->sun_path);
}

static int unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int connect_once(const struct sockaddr_un *address, int *sys)
{
    AUTO_FD int fd = unix_socket();
    int rc;
    if (fd < 0) {
        *sys = errno;
        return -1;
    }
    do
        rc = connect(fd, (const struct sockaddr *)address, sizeof *address);
    while (rc < 0 && errno == EINTR);
    *sys = rc < 0 ? errno : 0;
    return rc < 0 ? -1 : take_fd(&fd);
}

/* A socket file that nobody listens on is what a killed process leaves behind. */
static enum err_code remove_dead(const char *path, const struct sockaddr_un *address, struct err *e)
{
    int sys;
    AUTO_FD int fd = connect_once(address, &sys);
    if (fd >= 0)
        return err_set(e, ERR_EXISTS, "%s: a living process listens here", path);
    if (sys == ECONNREFUSED && unlink(path) < 0 && errno != ENOENT)
        return err_sys(e, errno, "%s: remove the dead socket", path);
    return ERR_OK;
}

enum err_code ipc_listen(const char *path, int *fd, struct err *e)
{
    struct sockaddr_un address;
    if (!fill_address(path, &address))
        return err_set(e, ERR_INVALID, "%s: longer than the %zu bytes of a socket's path", path,
                       sizeof address.sun_path - 1);
    enum err_code rc = remove_dead(path, &address, e);
    if (rc)
        return rc;
    AUTO_FD int s = unix_socket();
    if (s < 0)
        return err_sys(e, errno, "%s: make socket", path);
    /* Linux takes the file's mode from the socket's: never open to others, not even for a moment.
     */
    if (fchmod(s, S_IRUSR | S_IWUSR) < 0)
        return err_sys(e, errno, "%s: set mode", path);
    if (bind(s, (const struct sockaddr *)&address, sizeof address) < 0)
        return err_sys(e, errno, "%s: bind", path);
    if (listen(s, LISTEN_BACKLOG) < 0)
        return err_sys(e, errno, "%s: listen", path);
    *fd = take_fd(&s);
    return ERR_OK;
}

static bool is_passed(uint64_t deadline_ms)
{
    return clock_mono_ms() >= deadline_ms;
}

enum err_code ipc_connect(const char *path, uint64_t deadline_ms, int *fd, struct err *e)
{
    struct sockaddr_un address;
    if (!fill_address(path, &address))
        return err_set(e, ERR_INVALID, "%s: longer than the %zu bytes of a socket's path", path,
                       sizeof address.sun_path - 1);
    for (;;) {
        int sys, s = connect_once(&address, &sys);
        if (s >= 0) {
            *fd = s;
            return ERR_OK;
        }
        bool starting = sys == ENOENT || sys == ECONNREFUSED;
        if (!starting)
            return err_sys(e, sys, "%s: connect", path);
        if (deadline_ms == 0 || is_passed(deadline_ms))
            return err_set(e, ERR_GONE, "%s: nobody listens", path);
        nanosleep(&(struct timespec){.tv_nsec = CONNECT_RETRY_MS * 1000000L}, NULL);
    }
}

enum err_code ipc_accept(int listen_fd, int *fd, struct err *e)
{
    for (;;) {
        int s = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (s >= 0) {
            *fd = s;
            return ERR_OK;
        }
        if (errno != EINTR && errno != ECONNABORTED)
            return err_sys(e, errno, "accept");
    }
}

static bool is_peer_gone(int sys)
{
    return sys == EPIPE || sys == ECONNRESET || sys == ENOTCONN;
}

static enum err_code transfer_error(int sys, const char *verb, struct err *e)
{
    if (is_peer_gone(sys))
        return err_set(e, ERR_GONE, "%s: the other side is away", verb);
    return err_sys(e, sys, "%s", verb);
}

/* 0: ready (or an error that the next call will tell), ETIMEDOUT, or another errno. */
static int wait_for(int fd, short events, uint64_t deadline_ms)
{
    for (;;) {
        int step = -1;
        if (deadline_ms) {
            uint64_t now = clock_mono_ms();
            if (now >= deadline_ms)
                return ETIMEDOUT;
            uint64_t left = deadline_ms - now;
            step = left < POLL_STEP_MAX_MS ? (int)left : POLL_STEP_MAX_MS;
        }
        struct pollfd p = {.fd = fd, .events = events};
        int rc = poll(&p, 1, step);
        if (rc > 0)
            return 0;
        if (rc < 0 && errno != EINTR)
            return errno;
    }
}

/* Drop the first n bytes of a two-part message. */
static void advance(struct iovec iov[2], size_t n)
{
    for (int i = 0; i < 2; i++) {
        size_t part = n < iov[i].iov_len ? n : iov[i].iov_len;
        iov[i].iov_base = (char *)iov[i].iov_base + part;
        iov[i].iov_len -= part;
        n -= part;
    }
}

static void *unconst(const char *p)
{
    void *out; /* struct iovec has no const form; sendmsg does not write */
    memcpy(&out, &p, sizeof out);
    return out;
}

void ipc_encode_head(char dst[IPC_HEAD_LEN], uint32_t kind, uint64_t tag, size_t body_len)
{
    put_u32(dst, (uint32_t)body_len);
    put_u32(dst + 4, kind);
    put_u64(dst + 8, tag);
}

enum err_code ipc_send(int fd, uint32_t kind, uint64_t tag, struct str body, struct err *e)
{
    char header[IPC_HEAD_LEN];
    if (body.len > UINT32_MAX)
        return err_set(e, ERR_TOOBIG, "send: %zu bytes do not fit a message", body.len);
    ipc_encode_head(header, kind, tag, body.len);
    struct iovec iov[2] = {{.iov_base = header, .iov_len = sizeof header},
                           {.iov_base = unconst(body.ptr), .iov_len = body.len}};
    while (iov[0].iov_len + iov[1].iov_len) {
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
        ssize_t done = sendmsg(fd, &msg, MSG_NOSIGNAL);
        int sys = done < 0 ? errno : 0;
        if (sys == EAGAIN) /* the caller made it non-blocking */
            sys = wait_for(fd, POLLOUT, 0);
        if (sys && sys != EINTR)
            return transfer_error(sys, "send", e);
        if (done > 0)
            advance(iov, (size_t)done);
    }
    return ERR_OK;
}

static enum err_code recv_full(int fd, void *p, size_t n, uint64_t deadline_ms, struct err *e)
{
    size_t done = 0;
    while (done < n) {
        ssize_t got = recv(fd, (char *)p + done, n - done, MSG_DONTWAIT);
        if (got == 0)
            return err_set(e, ERR_GONE, "receive: the other side has closed");
        if (got > 0) {
            done += (size_t)got;
            continue;
        }
        int sys = errno == EAGAIN ? wait_for(fd, POLLIN, deadline_ms) : errno;
        if (sys == ETIMEDOUT)
            return err_set(e, ERR_TIMEOUT, "receive: past the deadline");
        if (sys && sys != EINTR)
            return transfer_error(sys, "receive", e);
    }
    return ERR_OK;
}

enum err_code ipc_recv(int fd, struct ipc_msg *m, uint64_t deadline_ms, struct err *e)
{
    char header[IPC_HEAD_LEN];
    buf_clear(&m->body);
    enum err_code rc = recv_full(fd, header, sizeof header, deadline_ms, e);
    if (rc)
        return rc;
    size_t len = get_u32(header);
    m->kind = get_u32(header + 4);
    m->tag = get_u64(header + 8);
    if (len > m->body.max)
        return err_set(e, ERR_TOOBIG, "receive: a message of %zu bytes, at most %zu are allowed",
                       len, m->body.max);
    if (!buf_reserve(&m->body, len))
        return err_set(e, ERR_NOMEM, "receive: no memory for %zu bytes", len);
    if (len == 0)
        return ERR_OK;
    rc = recv_full(fd, m->body.data, len, deadline_ms, e);
    if (rc)
        return rc;
    m->body.len = len;
    m->body.data[len] = '\0';
    return ERR_OK;
}
