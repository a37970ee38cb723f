/* fs/tree/tree.h - the tree of the mount as a view: what a path names, what it looks like, what it
 * holds.
 *
 * Knows nothing of FUSE: a directory entry, an attribute, a listing and a text are values here.
 * Nothing is stored: everything is worked out from the registry, the journal, the index of parts
 * and the status.  Inode numbers come from the path (directories, status files) or the id (data
 * files), so they are the same in every run. A listing shows the rows of a file once: as
 * <id>.ndjson or as <id>.parquet (sealed.h). Owner: the session.  Any thread may call.  No function
 * waits for another process, the network or a write lock; the index is read in short transactions.
 */
#ifndef WEIR_FS_TREE_TREE_H
#define WEIR_FS_TREE_TREE_H

#include <sys/stat.h>

#include "fs/journal/journal.h"
#include "fs/registry.h"
#include "fs/sealed/sealed.h"
#include "fs/status.h"
#include "fs/tree/listing.h"
#include "fs/tree/schema.h"

enum tree_kind {
    TREE_ROOT,
    TREE_ORG,
    TREE_TYPE,
    TREE_STREAM,
    TREE_TEXTS,     /* text */
    TREE_PARTS,     /* <org>/metrics/.parts */
    TREE_SPAN,      /* year, month, day or hour */
    TREE_DATA,      /* <id>.ndjson of the journal */
    TREE_PART,      /* <id>.parquet */
    TREE_TEXT,      /* a sealed part as lines: text/.../<id>.ndjson, a metric's <part id>.ndjson */
    TREE_SCHEMA,    /* schema.json */
    TREE_INGEST,    /* ingest: takes lines (of logs, where something can be written) */
    TREE_WEIR,      /* .weir */
    TREE_STATUS,    /* .weir/health.json and the like */
    TREE_COMMITS,   /* .weir/commit */
    TREE_COMMIT,    /* .weir/commit/<n> */
    TREE_SNAPSHOTS, /* .weir/at */
    TREE_SNAPSHOT,  /* .weir/at/<id>@<bytes>.ndjson */
    TREE_KIND_COUNT
};

/* Which of the trees of time a directory belongs to. */
enum tree_view {
    VIEW_DATA,  /* the stream's own: what is being written, what is sealed */
    VIEW_TEXT,  /* below text: sealed parts as lines */
    VIEW_PARTS, /* below .parts: metrics, all names of an org together */
};

/* What an inode number stands for.  A value; the pointers live as long as the registry. */
struct tree_ref {
    enum tree_kind kind;
    enum stream_type type;                /* from TREE_TYPE down */
    const struct registry_org *org;       /* from TREE_ORG down */
    const struct registry_stream *stream; /* from TREE_STREAM down; NULL below TREE_PARTS */
    struct span span;                     /* TREE_SPAN */
    enum tree_view view; /* TREE_TEXTS, TREE_PARTS, TREE_SPAN; of files VIEW_DATA */
    struct ulid id;      /* TREE_DATA, TREE_PART, TREE_TEXT, TREE_SNAPSHOT */
    uint64_t number; /* which status, commit file; bytes of a snapshot; lane of an ingest file */
};

struct tree_config {
    struct journal *journal;
    struct registry *registry;
    struct status *status;
    struct schema *schema;
    struct sealed *sealed; /* NULL: there are no sealed parts */
    uid_t owner_uid, node_uid;
    gid_t owner_gid, node_gid;
    unsigned commit_files; /* 0: none (read-only, or no gateway) */
    const char *node_name;
    int64_t started_us;
};

struct tree;
enum err_code tree_new(const struct tree_config *cfg, struct tree **out, struct err *e);
void tree_free(struct tree *t); /* NULL is fine; what cfg points to stays the caller's */

struct tree_ref tree_root(void);
bool tree_is_dir(const struct tree_ref *ref);
bool tree_same(const struct tree_ref *a, const struct tree_ref *b);
/* Never 0; TREE_ROOT is 1.  `attempt` counts up when two different refs met the same number. */
uint64_t tree_ino(const struct tree_ref *ref, unsigned attempt);
uint64_t tree_parent_ino(const struct tree_ref *dir); /* of `..`; the root's is its own */

/* False: there is no such name. */
bool tree_lookup(struct tree *t, const struct tree_ref *parent, struct str name,
                 struct tree_ref *out);
/* False: what the ref stands for is gone.  Fills all but st_ino. */
bool tree_stat(struct tree *t, const struct tree_ref *ref, struct stat *out);
/* How long the kernel may keep the name and the attributes without asking. */
void tree_timeouts(const struct tree_ref *ref, double *entry_seconds, double *attr_seconds);
/* Entries without `.` and `..`; sorted and ready for listing_from.  NOMEM. */
enum err_code tree_list(struct tree *t, const struct tree_ref *dir, struct listing *out,
                        struct err *e);

/* Does a listing of `dir`, once made, stay right while a number stays the same?  Then *version is
 * that number. */
bool tree_listing_version(struct tree *t, const struct tree_ref *dir, uint64_t *version);

/* Files whose bytes are made when they are opened. */
bool tree_is_text(const struct tree_ref *ref);
/* A file of .weir, or a schema.json: FIELD_NAMES_MAX_BYTES of names, a byte of which may become an
 * escape of six, and 64 bytes around each of FIELDS_MAX. */
#define TREE_TEXT_MAX ((size_t)32 << 20)
enum err_code tree_text(struct tree *t, const struct tree_ref *ref, struct buf *out, struct err *e);
/* Bytes of a data file or snapshot. */
enum err_code tree_read(struct tree *t, const struct tree_ref *ref, uint64_t off, void *dst,
                        size_t n, size_t *got, struct err *e);

/* ---- sealed parts ---- */

/* The part of a TREE_PART or TREE_TEXT, without its texts, groups and names.  STALE: it is gone. */
enum err_code tree_part(struct tree *t, const struct tree_ref *ref, struct part *out,
                        struct err *e);
/* A piece of a TREE_TEXT that is rendered at once.  Pieces follow each other without a gap. */
struct tree_unit {
    struct ulid part;
    uint64_t group;           /* this row group, when rows is 0 */
    uint64_t first_row, rows; /* these rows: of one metric */
    uint64_t at, bytes;       /* where its text stands in the file */
};
/* The one that holds the byte at `off`; bytes is 0 past the end.  STALE. */
enum err_code tree_unit_at(struct tree *t, const struct tree_ref *ref, uint64_t off,
                           struct tree_unit *out, struct err *e);
/* Where the Parquet of a TREE_TEXT or TREE_PART stands, from the mount's root on.  STALE. */
#define TREE_PATH_MAX 1024
enum err_code tree_part_path(struct tree *t, const struct tree_ref *ref, char dst[TREE_PATH_MAX],
                             struct err *e);

/* Extended attributes.  NOTFOUND: no such attribute; STALE. */
#define TREE_XATTR_MAX 4352 /* one value, or the list of names */
enum err_code tree_xattr(struct tree *t, const struct tree_ref *ref, struct str name,
                         char value[TREE_XATTR_MAX], size_t *len);
size_t tree_xattr_names(struct tree *t, const struct tree_ref *ref, char names[TREE_XATTR_MAX]);

#endif
