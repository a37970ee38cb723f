/* fs/fs.h - the fs process: the FUSE session over a journal, and the mount it is reached by.
 *
 * The supervisor mounts (fs_mount), keeps the descriptor, and runs fs_run in a child.  The process
 * that runs fs_run must never open a path on that mount.
 */
#ifndef WEIR_FS_FS_H
#define WEIR_FS_FS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct fs_mount_options {
    const char *mount_dir;
    uid_t owner_uid; /* of what the mount shows, when root */
    gid_t owner_gid;
};
struct fs_mount_report { /* for the start-up log */
    bool privileged;     /* mount(2) by root; else fusermount3 */
    bool allow_other;
    char note[200]; /* what is less than usual, or empty */
};
/* Opens /dev/fuse, makes the directory, detaches a stale mount of ours, mounts. */
enum err_code fs_mount(const struct fs_mount_options *o, int *dev_fuse_fd,
                       struct fs_mount_report *report, struct err *e);
/* Lazy unmount; a directory that is no mount is OK. */
enum err_code fs_unmount(const char *mount_dir, struct err *e);
/* Is a mount of ours on top there, even a dead one (from /proc/self/mountinfo, without a stat)? */
bool fs_is_mounted(const char *mount_dir);
/* Is a mount of ours there that answers?  A child process looks, for at most timeout_ms: a mount
 * that a killed node left behind fails at once, one that hangs is as good as dead. */
bool fs_mount_answers(const char *mount_dir, int timeout_ms);

struct fs_config {
    const char *data_dir; /* journal/, run/, lost+found/, meta/, index/, staging/, sealed/ */
    const char *mount_dir;
    int dev_fuse_fd;
    int anchor_fd;  /* fs/anchor.h; -1: nobody can follow this process */
    int ready_fd;   /* one byte is written once requests are answered; -1 = none */
    uid_t node_uid; /* who may see .weir/commit and .weir/at */
    uid_t owner_uid;
    gid_t owner_gid;
    uint64_t journal_max_bytes, disk_reserve_bytes;
    uint32_t segment_bytes;
    uint64_t roll_bytes;               /* a file of lines that large takes no more; 0 = no limit */
    uint64_t replaced_keep_us;         /* WEIR_REPLACED_KEEP: see journal.h */
    uint64_t replaced_max_bytes;       /* WEIR_REPLACED_MAX */
    const char *fuse_features;         /* WEIR_FUSE_FEATURES: "all", a list, "none"; NULL = all */
    size_t line_max_bytes;             /* WEIR_LINE_MAX */
    uint64_t ingest_pending_max_bytes; /* WEIR_INGEST_PENDING_MAX */
    uint64_t ingest_tails_max_bytes;   /* WEIR_INGEST_TAILS_MAX */
    uint64_t ingest_wait_ms;           /* WEIR_INGEST_WAIT */
    bool fsync_disabled;
    bool node_died;          /* see journal.h */
    bool snapshots_live;     /* a gateway has some of an earlier fs process: snapshots.h */
    bool read_only;          /* nothing in data_dir is changed; no gateway and no fs.sock */
    const char *scratch_dir; /* read_only: holds engine.sock, and a copy of the index; else NULL */
    unsigned commit_files; /* how many .weir/commit/<n>; 0: there is no gateway, and nothing can be
                              written */
    unsigned threads;      /* FUSE workers */
    const char *node_name, *version;
    const char *config_json; /* for .weir/config.json */
};
/* Runs until SIGTERM or the end of the session; returns the process' exit code. */
int fs_run(const struct fs_config *cfg);

#endif
