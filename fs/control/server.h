/* fs/control/server.h - the answering side of fs/control/control.h in the fs process.
 *
 * One thread accepts; each connection has a thread of its own, at most CONTROL_CONNECTIONS_MAX.
 * Owner: the session, from start to stop; stop closes every connection and joins every thread.
 */
#ifndef WEIR_FS_CONTROL_SERVER_H
#define WEIR_FS_CONTROL_SERVER_H

#include "fs/door/door.h"
#include "fs/snapshots.h"

#define CONTROL_CONNECTIONS_MAX 48
#define CONTROL_REQUEST_MAX ((size_t)16 << 20)
#define CONTROL_REPLY_MAX ((size_t)256 << 20)

struct control_server_config {
    const char *socket_path;
    struct journal *journal;
    struct registry *registry;
    struct status *status;
    struct snapshots *snapshots;
    struct sealed *sealed; /* NULL: nothing can be published */
    /* A gateway follows another, which may have ended between a mark of deletion and its DROP;
     * NULL: nothing is done then. */
    enum err_code (*drop_deleted)(void *ctx, struct err *e);
    void *drop_ctx;
    struct door *door; /* NULL: no connection becomes a door */
    unsigned commit_files;
    const char *version;
};

struct control_server;
enum err_code control_server_start(const struct control_server_config *cfg,
                                   struct control_server **out, struct err *e);
void control_server_stop(struct control_server *s); /* NULL is fine */

#endif
