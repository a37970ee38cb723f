/* fs/tree/schema.h - the content of schema.json, read from `meta`.
 *
 * The gateway owns `meta`; here it is opened read-only, on first need, because the gateway makes it
 * after the mount.  Reading takes no lock that a writer holds.
 * Any thread may call.  Errors: NOTFOUND (no such stream), GONE (no `meta` yet), those of kv.h.
 */
#ifndef WEIR_FS_TREE_SCHEMA_H
#define WEIR_FS_TREE_SCHEMA_H

#include "index/meta.h"

struct schema;
enum err_code schema_new(const char *meta_dir, enum kv_access access, struct schema **out,
                         struct err *e);
void schema_free(struct schema *s); /* NULL is fine */

/* Every stream, without its fields; GONE: there is no `meta` yet. */
enum err_code schema_each_stream(struct schema *s, meta_stream_visit fn, void *ctx, struct err *e);
/* Every organisation; GONE as above. */
enum err_code schema_each_org(struct schema *s, meta_org_visit fn, void *ctx, struct err *e);
/* Every deletion mark; GONE as above. */
enum err_code schema_each_deleted(struct schema *s, meta_deleted_visit fn, void *ctx,
                                  struct err *e);
/* Is the stream known there? */
bool schema_exists(struct schema *s, struct str org, enum stream_type type, struct str name);
/* One JSON object and a newline, appended to `out`. */
enum err_code schema_text(struct schema *s, struct str org, enum stream_type type, struct str name,
                          struct buf *out, struct err *e);

#endif
