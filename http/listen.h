/* http/listen.h - the socket that the server listens on, and how many it may accept. */
#ifndef WEIR_HTTP_LISTEN_H
#define WEIR_HTTP_LISTEN_H

#include <stdint.h>

#include "base/err.h"

/* `address` is a host name or a literal; "" is every address of the machine, IPv6 and IPv4.  The
 * error names address and port. */
enum err_code listen_open(const char *address, uint16_t port, int *fd, struct err *e);
/* Raises the process' limit of descriptors as far as it may: to `wanted` connections with a body in
 * the spool each, beside DESCRIPTORS_FOR_OTHERS other descriptors.  Returns how many connections
 * fit: `wanted`, or less; and how many bodies fit beside them, DESCRIPTORS_FOR_BODIES at least. */
#define DESCRIPTORS_FOR_OTHERS 256u
#define DESCRIPTORS_FOR_BODIES 256u
unsigned listen_connections(unsigned wanted, unsigned *bodies);

#endif
