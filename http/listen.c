/* http/listen.c - binding to an address, with IPv4 and IPv6 on one socket where that is possible.
 */
#include "http/listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/sys.h"

#define LISTEN_BACKLOG 4096

/* -1 with errno when this address cannot be used. */
static int try_address(const struct addrinfo *ai)
{
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
    if (fd < 0)
        return -1;
    const int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
        return fd;
    int sys = errno;
    sys_close(fd);
    errno = sys;
    return -1;
}

enum err_code listen_open(const char *address, uint16_t port, int *fd, struct err *e)
{
    static const char *const every[] = {"::", "0.0.0.0"};
    const char *const one[] = {address};
    const char *const *hosts = address[0] ? one : every;
    size_t host_count = address[0] ? 1 : 2;
    char service[8];
    int sys = EADDRNOTAVAIL;
    snprintf(service, sizeof service, "%u", (unsigned)port);

    for (size_t i = 0; i < host_count; i++) {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                 .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
        struct addrinfo *found = NULL;
        int rc = getaddrinfo(hosts[i], service, &hints, &found);
        if (rc != 0)
            return err_set(e, ERR_INVALID, "ZO_HTTP_ADDR \"%s\": %s", address, gai_strerror(rc));
        int got = -1;
        for (const struct addrinfo *ai = found; ai && got < 0; ai = ai->ai_next)
            if ((got = try_address(ai)) < 0)
                sys = errno;
        freeaddrinfo(found);
        if (got >= 0) {
            *fd = got;
            return ERR_OK;
        }
        if (sys == EADDRINUSE)
            break;
    }
    return err_sys(e, sys, "ZO_HTTP_ADDR, ZO_HTTP_PORT: listen on %s port %u%s",
                   address[0] ? address : "every address", (unsigned)port,
                   sys == EADDRINUSE ? " (ss -ltnp says who has it)" : "");
}

/* As near to `need` as it may be. */
static rlim_t raise_descriptors(rlim_t need)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
        return need;
    limit.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

unsigned listen_connections(unsigned wanted, unsigned *bodies)
{
    const rlim_t kept = DESCRIPTORS_FOR_OTHERS + DESCRIPTORS_FOR_BODIES;
    rlim_t most = raise_descriptors(2 * (rlim_t)wanted + kept);
    rlim_t fit = most > 2 * kept ? most - kept : kept;
    unsigned connections = fit < wanted ? (unsigned)fit : wanted;
    rlim_t left = most > kept + connections ? most - kept - connections : 0;
    *bodies = (unsigned)(left < wanted ? left : wanted) + DESCRIPTORS_FOR_BODIES;
    return connections;
}
