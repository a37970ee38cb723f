/* tools/node.h - what the settings mean for one node: paths, sizes and counts, worked out once.
 *
 * Every process of the node loads the same environment and so comes to the same values.
 * Owner: the caller, from node_init to node_done; strings live in it.
 */
#ifndef WEIR_TOOLS_NODE_H
#define WEIR_TOOLS_NODE_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"
#include "gateway/settings.h"

#define NODE_SEGMENT_BYTES (64u << 20)                  /* of the journal */
#define NODE_JOURNAL_MIN_BYTES (2 * NODE_SEGMENT_BYTES) /* one to write and one prepared */

struct node {
    struct arena arena;
    struct settings *settings;
    /* Absolute paths. */
    const char *data_dir, *mount_dir, *journal_dir, *meta_dir, *index_dir, *run_dir;
    const char *staging_dir, *lost_found_dir, *tmp_dir, *lock_path;
    const char *fs_socket, *engine_socket;
    const char *scratch_dir; /* where nothing in data_dir is changed; else NULL */
    const char *name;
    uid_t owner_uid;
    gid_t owner_gid;
    uint64_t journal_max_bytes, disk_reserve_bytes, engine_memory_bytes;
    unsigned cores, commit_files, fuse_threads, http_io_threads, http_workers, engine_threads,
        seal_threads;
};

/* Reads the environment; sets up logging for `process`. */
enum err_code node_init(struct node *n, const char *process, struct err *e);
void node_done(struct node *n);
/* For one that changes nothing in data_dir: what it must write goes below `dir`. */
enum err_code node_use_scratch(struct node *n, const char *dir, struct err *e);
/* Refuses a data directory that lies on its own mount. */
enum err_code node_check_places(const struct node *n, struct err *e);
/* Refuses what is no data directory, or may not be read. */
enum err_code node_check_data_dir(const struct node *n, struct err *e);
/* Refuses a WEIR_MOUNT_DIR with something in it, which the mount would hide. */
enum err_code node_check_mount_dir(const struct node *n, struct err *e);
/* After node_check_places: the folders below data_dir (0711 itself, 0700 the rest). */
enum err_code node_make_dirs(const struct node *n, struct err *e);

#endif
