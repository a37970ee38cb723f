/* tools/supervisor.h - keeps the processes of one node, or of one mount without a node, alive.
 *
 * Good for: starting the children in order, restarting each that dies, remounting when fs died,
 * draining on SIGTERM.  Not for: any work of its own; it opens no file on the mount.
 * Owner of: the lock on the data directory and the /dev/fuse descriptor.
 * Threads: one.
 */
#ifndef WEIR_TOOLS_SUPERVISOR_H
#define WEIR_TOOLS_SUPERVISOR_H

#include "base/err.h"
#include "tools/node.h"

enum supervised {
    SUPERVISE_NODE,     /* fs, engine, gateway */
    SUPERVISE_MOUNT,    /* fs, engine */
    SUPERVISE_READ_ONLY /* the same, and data_dir is left as it is: n->scratch_dir is set */
};
/* Runs until SIGTERM, SIGINT or SIGHUP, or until a child says that a start is impossible; returns
 * the process' exit code.  The service manager that named a socket in NOTIFY_SOCKET is told. */
int supervise(const struct node *n, enum supervised what);

/* Takes the lock of a data directory; waits up to 10 s when the pid in it is gone.  A living owner
 * is named in the error (ERR_EXISTS). */
enum err_code node_lock(const struct node *n, int *lock_fd, struct err *e);
/* The same for who changes nothing, not even the lock file: a directory without one is free
 * (*lock_fd is -1 then), nobody is waited for, and there may be others of this kind. */
enum err_code node_lock_unchanged(const struct node *n, int *lock_fd, struct err *e);
/* The living process that holds it; 0: none, or the folder cannot be read. */
pid_t node_lock_owner(const struct node *n);

/* What to do when a mount failed with `e`; NULL: nothing that is known. */
const char *mount_advice(const struct err *e);

#endif
