/* fs/tree_internal.h - what the files of the tree share. */
#ifndef WEIR_FS_TREE_INTERNAL_H
#define WEIR_FS_TREE_INTERNAL_H

#include "fs/tree.h"

#define SCHEMA_NAME "schema.json"
#define CURRENT_NAME "current.ndjson"
#define WEIR_NAME ".weir"
#define COMMITS_NAME "commit"
#define SNAPSHOTS_NAME "at"

struct tree {
    struct tree_config cfg; /* immutable */
};

/* The parent's ref with another kind; what the kind needs more is the caller's to set. */
struct tree_ref tree_child(const struct tree_ref *parent, enum tree_kind kind);
/* A data file, the same whether it was found below its hour or as current.ndjson. */
struct tree_ref tree_data_child(const struct tree_ref *stream_or_hour, const struct ulid *id);

/* Does the stream have a schema.json?  It stands in `meta`, which the gateway makes. */
bool tree_has_schema(struct tree *t, const struct registry_stream *s);

#endif
