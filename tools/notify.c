/* tools/notify.c - sends datagrams to the service manager. */
#include "tools/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"

/* False: no path, or not one that fits. */
static bool find_address(struct sockaddr_un *address, socklen_t *len)
{
    const char *path = getenv("NOTIFY_SOCKET");

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@') ||
        !str_copy_to(str_from(path), address->sun_path, sizeof address->sun_path))
        return false;
    *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@')
        address->sun_path[0] = '\0';
    return true;
}

void notify_manager(const char *fmt, ...)
{
    struct sockaddr_un address;
    char text[NOTIFY_TEXT_MAX];
    socklen_t len;
    va_list args;

    if (!find_address(&address, &len))
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 ||
        sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&address, len) < 0)
        log_write(LOG_WARN, "the service manager is not told", "reason", strerror(errno),
                  (char *)0);
}
