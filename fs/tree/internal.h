/* fs/tree/internal.h - what the files of the tree share. */
#ifndef WEIR_FS_TREE_INTERNAL_H
#define WEIR_FS_TREE_INTERNAL_H

#include "fs/tree/tree.h"

#define SCHEMA_NAME "schema.json"
#define CURRENT_NAME "current.ndjson"
#define INGEST_NAME "ingest"
#define TEXTS_NAME "text"
#define PARTS_NAME ".parts"
#define WEIR_NAME ".weir"
#define COMMITS_NAME "commit"
#define SNAPSHOTS_NAME "at"

struct tree {
    struct tree_config cfg; /* immutable */
};

/* The parent's ref with another kind; what the kind needs more is the caller's to set. */
struct tree_ref tree_child(const struct tree_ref *parent, enum tree_kind kind);
/* A file with an id, the same whether it was found below its hour or as current.ndjson. */
struct tree_ref tree_file_child(const struct tree_ref *dir, enum tree_kind kind,
                                const struct ulid *id);
/* From the mount's root on; returns the length. */
size_t tree_dir_path(const struct tree_ref *dir, char dst[TREE_PATH_MAX]);

/* `logs` is in every organisation, so that streams can be made in it. */
bool tree_has_type(const struct tree *t, const struct tree_ref *org, enum stream_type type);
/* Does the stream have an ingest?  Not where nothing is written. */
bool tree_has_ingest(const struct tree *t, const struct tree_ref *stream);
/* Does the stream have a schema.json?  It stands in `meta`, which the gateway makes. */
bool tree_has_schema(struct tree *t, const struct registry_stream *s);

/* ---- the index, as a directory shows it (parts.c) ----
 *
 * `dir` is a stream, TREE_TEXTS, TREE_PARTS or a span.  Shown are the parts of the stream's number
 * in force; of a metric those that hold its name.  A failing index is reported and shows nothing.
 */

/* What of the part the ref shows: all of it, or the rows of its metric.  False: nothing. */
bool tree_part_rows(const struct part *p, const struct registry_stream *s, uint64_t number,
                    struct part_name *rows);
/* Runs fn inside the transaction, once.  False: the part is gone, fn was not run. */
typedef void (*tree_part_fn)(const struct part *p, const struct part_name *rows, void *ctx);
bool tree_with_part(struct tree *t, const struct tree_ref *ref, tree_part_fn fn, void *ctx);
/* Whose part it is: fills type, org and stream.  False: there is none of that id. */
bool tree_find_part(struct tree *t, const struct ulid *id, struct tree_ref *out);

/* Every part of the directory's hours, in order; fn runs inside the transaction. */
void tree_each_part(struct tree *t, const struct tree_ref *dir, int32_t first, int32_t last,
                    part_visit fn, void *ctx);
/* The first hour of [first, last] that has one. */
bool tree_first_hour(struct tree *t, const struct tree_ref *dir, int32_t first, int32_t last,
                     int32_t *hour);
bool tree_has_part(struct tree *t, const struct tree_ref *dir);
/* Is the part in this directory of one hour? */
bool tree_hour_has(struct tree *t, const struct tree_ref *hour, const struct ulid *id);
/* When the newest part of those hours was made; 0: there is none. */
int64_t tree_parts_mtime(struct tree *t, const struct tree_ref *dir, int32_t first, int32_t last);
int64_t tree_part_mtime(const struct part *p);

#endif
