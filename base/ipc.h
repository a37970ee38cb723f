/* base/ipc.h - framed messages over a UNIX stream socket.
 *
 * A message on the wire: u32 length of the body, u32 kind, u64 tag (the request it answers), body.
 * All little-endian.  The body's maximum is given per receive; a longer one is ERR_TOOBIG and the
 * connection is of no further use.  Sends are whole or an error (EPIPE is ERR_GONE, no SIGPIPE).
 * Deadlines are monotonic milliseconds (clock_mono_ms), 0 = none.  After a failure in the middle of
 * a message the connection is of no further use either.  Thread safety: one sender and one receiver
 * at a time a socket.
 */
#ifndef WEIR_BASE_IPC_H
#define WEIR_BASE_IPC_H

#include "base/bytes.h"
#include "base/err.h"

struct ipc_msg {
    uint32_t kind;
    uint64_t tag;
    struct buf body; /* owned by the caller; ipc_recv clears and fills it */
};

enum err_code ipc_listen(const char *path, int *fd,
                         struct err *e); /* replaces a dead socket; 0600 */
/* A listener that is not there yet is waited for until the deadline; 0 tries once.  Else ERR_GONE.
 */
enum err_code ipc_connect(const char *path, uint64_t deadline_ms, int *fd, struct err *e);
enum err_code ipc_accept(int listen_fd, int *fd, struct err *e);
#define IPC_HEAD_LEN 16
/* What goes before a body that the caller sends itself, in its own pieces. */
void ipc_encode_head(char dst[IPC_HEAD_LEN], uint32_t kind, uint64_t tag, size_t body_len);
enum err_code ipc_send(int fd, uint32_t kind, uint64_t tag, struct str body, struct err *e);
/* ERR_GONE at end of stream, ERR_TIMEOUT past the deadline. */
enum err_code ipc_recv(int fd, struct ipc_msg *m, uint64_t deadline_ms, struct err *e);

#endif
