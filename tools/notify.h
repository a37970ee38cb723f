/* tools/notify.h - tells a service manager how we are, by the protocol of sd_notify(3).
 *
 * One datagram to the socket that NOTIFY_SOCKET names (a path, or abstract with '@' in front);
 * without it nothing happens.  Never waits.  Threads: any.
 */
#ifndef WEIR_TOOLS_NOTIFY_H
#define WEIR_TOOLS_NOTIFY_H

/* Lines such as "READY=1\nSTATUS=…"; what is longer than NOTIFY_TEXT_MAX is cut. */
#define NOTIFY_TEXT_MAX 512
void notify_manager(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
