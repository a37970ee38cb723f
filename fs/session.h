/* fs/session.h - what the handlers of one mount share.
 *
 * Everything is set before the first worker starts and stays until the last has ended.
 */
#ifndef WEIR_FS_SESSION_H
#define WEIR_FS_SESSION_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/cleanup.h"
#include "fs/adopt.h"
#include "fs/door/inlet.h"
#include "fs/follow.h"
#include "fs/fs.h"
#include "fs/handles.h"
#include "fs/journal/open_queue.h"
#include "fs/journal/sync_queue.h"
#include "fs/sealed/sealed.h"
#include "fs/tree/nodes.h"
#include "fs/tree/open_parts.h"
#include "fs/tree/text.h"

#define FUSE_USE_VERSION 34
#include <fuse3/fuse_lowlevel.h>

/* How many workers never append, so that readers are answered while the journal is slow. */
#define WORKERS_FOR_READERS 2

struct waiting_commit;
struct commits {
    unsigned append_max; /* immutable */
    pthread_mutex_t lock;
    unsigned appending;                  /* (lock) workers inside the journal */
    struct waiting_commit *first, *last; /* (lock) */
};
void commits_init(struct commits *c, unsigned workers);
void commits_done(struct commits *c);

struct session {
    const struct fs_config *cfg;
    struct commits commits;
    struct journal *journal;
    struct registry *registry;
    struct sealed *sealed;
    struct sealed_reader held; /* for the snapshots that are not declared yet */
    struct schema *schema;
    struct status *status;
    struct tree *tree;
    struct nodes *nodes;
    struct anchor *anchor;
    struct follow follow;
    struct adopt *adopt;
    struct handles *handles;
    struct sync_queue *syncs;
    struct passthrough passthrough;
    struct open_parts *open_parts;
    struct open_queue *opens;
    struct text *text;
    struct tails *tails;
    struct door *door;
    struct inlet *inlet;
    struct fuse_session *fuse;
    int data_dir_fd; /* for statfs */
    atomic_uint lookups_of_ingest;
    atomic_bool initialised; /* INIT was handled */
    atomic_bool announced;   /* ready was said */
};

/* session_follow.c: maps the anchor; before anything that counts what is open. */
enum err_code session_open_anchor(struct session *s, struct err *e);
/* What was open stays so; after the registry knows what there is. */
enum err_code session_restore(struct session *s, struct err *e);
/* session.c: the tree shows it; what fails is reported. */
void session_add_stream(struct session *s, uint64_t number, struct str org, enum stream_type type,
                        struct str name, int64_t made_us);
/* session_deleted.c: drops the streams that have a mark of deletion.  are_read: who reads them from
 * before this process finds their files by their names. */
enum err_code session_drop_deleted(struct session *s, bool are_read, struct err *e);
/* libfuse and passthrough learn of the INIT that the kernel has its answer to. */
enum err_code session_replay_init(struct session *s, struct err *e);

/* Handlers, one file a group; ops.c has the table. */
extern const struct fuse_lowlevel_ops session_ops;

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
void op_access(fuse_req_t req, fuse_ino_t ino, int mask);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
              struct fuse_file_info *fi);
void run_open(void *job); /* of session.opens */
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);

/* The same for TREE_INGEST (ops_ingest.c); each replies, perhaps later. */
void op_ingest_open(fuse_req_t req, fuse_ino_t ino, const struct tree_ref *ref,
                    struct fuse_file_info *fi);
void op_ingest_write(fuse_req_t req, const struct tree_ref *ref, struct str bytes,
                     const struct fuse_file_info *fi);
void op_ingest_flush(fuse_req_t req, const struct tree_ref *ref, const struct fuse_file_info *fi);
void op_ingest_release(fuse_req_t req, fuse_ino_t ino, const struct tree_ref *ref,
                       const struct fuse_file_info *fi);
/* What they go through; after the journal and the status. */
enum err_code session_open_inlet(struct session *s, struct err *e);
void session_close_inlet(struct session *s); /* after the workers have ended */

/* ---- helpers ---- */

static inline struct session *session_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}
/* Lines and streams can come in: there is a gateway to take them. */
static inline bool session_takes_changes(const struct session *s)
{
    return !s->cfg->read_only && s->cfg->commit_files > 0;
}
/* What the inode stands for; false: nobody knows. */
bool session_find(struct session *s, fuse_ino_t ino, struct tree_ref *out);
/* The same; replies ESTALE when it is not known. */
bool session_ref(fuse_req_t req, fuse_ino_t ino, struct tree_ref *out);
/* The inode number that programs see: all lanes of an ingest file show that of the first. */
uint64_t session_shown_ino(const struct tree_ref *ref, fuse_ino_t ino);
/* Takes a reference and fills the entry; false: nothing taken. */
bool session_entry(struct session *s, const struct tree_ref *ref, struct fuse_entry_param *out);
/* The kernel's number of the request being handled, the same when it is sent again. */
uint64_t session_request(void);
bool session_is_resent(void); /* an earlier process of this mount had it already */
/* A buffer of this thread, kept until session_thread_done; NULL: no memory. */
char *session_thread_buffer(size_t size);
void session_thread_done(void);
/* The memory that holds the request being handled: the caller's from now on, by free. */
void *session_take_request(void);

#endif
