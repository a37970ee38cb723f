/* index/meta.h - what is true and cannot be derived: organisations, streams, schemas, users.
 *
 * Stands in <data>/meta (KV_SYNC_FULL).  The gateway is its one writer; fs and the tools open it
 * read-only.  A stream is known by (org, type, name) and has a number for life; deleting and
 * re-creating gives another number.  Each (field, type) of a stream has a field number for life; a
 * widened field gets a new one and keeps its place in the order.
 * Every function is one short transaction.  Thread safety: any thread of the owner.
 * Errors: those of kv.h.  Keys are listed at the top of meta.c.
 */
#ifndef WEIR_INDEX_META_H
#define WEIR_INDEX_META_H

#include "base/arena.h"
#include "index/kv.h"

enum stream_type {
    STREAM_LOGS,
    STREAM_METRICS,
    STREAM_TRACES,
    STREAM_ENRICHMENT,
    STREAM_TYPE_COUNT
};
const char *stream_type_name(enum stream_type t);            /* "logs", ... as in paths */
bool stream_type_parse(struct str s, enum stream_type *out); /* the same names */

/* Types of fields, with OpenObserve's names (reference §1.18). */
enum field_type {
    FIELD_BOOL,
    FIELD_INT64,
    FIELD_UINT64,
    FIELD_FLOAT64,
    FIELD_UTF8,
    FIELD_TYPE_COUNT
};
const char *
field_type_name(enum field_type t); /* "Boolean", "Int64", "UInt64", "Float64", "Utf8" */
bool field_type_parse(struct str s, enum field_type *out);
/* The narrowest type that holds values of both (reference §1.18, always widening):
 * Bool+Int64 -> Int64, Bool+UInt64 -> UInt64, Bool+Float64 -> Float64, Int64+UInt64 ->
 * UInt64 (the engine reads UInt64 fields as 128-bit integers, so earlier negative values stay),
 * integer+Float64 -> Float64, anything+Utf8 -> Utf8. */
enum field_type field_type_widen(enum field_type a, enum field_type b);

#define NAME_MAX_BYTES 255  /* org and stream names, after normalisation */
#define NAMES_MAX_BYTES 455 /* org and name of one stream together: they make one key */
#define FIELDS_MAX 50000    /* fields of one stream */
#define FIELD_NAME_MAX_BYTES 65535
#define FIELD_NAMES_MAX_BYTES (3u << 20) /* of all fields of a stream: a part's record has them */

struct meta_field {
    struct str name;
    enum field_type type;
    uint32_t number; /* for life of (name, type) in this stream; from 1; 1 is _timestamp */
};

struct meta_stream {
    uint64_t number; /* > 0 */
    struct str org, name;
    enum stream_type type;
    int64_t created_us;
    uint32_t schema_version; /* grows with each change of fields */
    struct meta_field *fields;
    size_t field_count;
    uint32_t next_field_number;
    struct str settings_json; /* {} when none */
};

struct meta;
enum err_code meta_open(const char *path, enum kv_access access, struct meta **out, struct err *e);
void meta_close(struct meta *m);
struct kv *meta_kv(struct meta *m);

/* Organisations. */
enum err_code meta_org_find(struct meta *m, struct str org, bool *found, struct err *e);
enum err_code meta_org_make(struct meta *m, struct str org, struct err *e); /* there already: OK */
typedef bool (*meta_org_visit)(struct str org, int64_t created_us, void *ctx);
enum err_code meta_org_list(struct meta *m, meta_org_visit fn, void *ctx, struct err *e);

/* Streams.  Results are copied into `a`. */
enum err_code meta_stream_find(struct meta *m, struct str org, enum stream_type type,
                               struct str name, struct arena *a, struct meta_stream **out,
                               struct err *e); /* NOTFOUND */
enum err_code meta_stream_by_number(struct meta *m, uint64_t number, struct arena *a,
                                    struct meta_stream **out, struct err *e);
/* Makes the organisation too; there already: returns it.  Field 1, `_timestamp` Int64, always
 * exists.  INVALID: an empty name, or names of more than NAMES_MAX_BYTES. */
enum err_code meta_stream_make(struct meta *m, struct str org, enum stream_type type,
                               struct str name, struct arena *a, struct meta_stream **out,
                               struct err *e);
/* The same with its fields and settings, all or nothing; EXISTS: there already. */
struct meta_creation {
    struct str org, name;
    enum stream_type type;
    const struct meta_new_field *fields; /* as for meta_stream_merge_fields */
    size_t field_count;
    enum err_code (*settings)(const struct meta_stream *s, struct arena *a, struct str *json,
                              void *ctx, struct err *e); /* as for meta_stream_change_settings */
    void *ctx;
};
enum err_code meta_stream_create(struct meta *m, const struct meta_creation *n, struct arena *a,
                                 struct meta_stream **out, struct err *e);
/* Merge fields: unknown ones are added, known ones widened (field_type_widen).  One durable commit
 * for the whole list, none when nothing changes; returns the stream as it is afterwards.  TOOBIG
 * past FIELDS_MAX, FIELD_NAME_MAX_BYTES or FIELD_NAMES_MAX_BYTES, INVALID for another type of
 * `_timestamp`: nothing of the list is taken.  NOTFOUND: deleted. */
struct meta_new_field {
    struct str name;
    enum field_type type;
};
enum err_code meta_stream_merge_fields(struct meta *m, uint64_t number,
                                       const struct meta_new_field *fields, size_t count,
                                       struct arena *a, struct meta_stream **out, struct err *e);
/* Gives the stream the settings that `fn` makes of it, in one durable commit; a settings' text is
 * valid in `a`.  `fn` runs inside the transaction and must not call meta.  What it returns but OK
 * ends the change.  Settings count as a change of the schema's version.  NOTFOUND: deleted. */
typedef enum err_code (*meta_settings_change)(const struct meta_stream *s, struct arena *a,
                                              struct str *settings_json, void *ctx, struct err *e);
enum err_code meta_stream_change_settings(struct meta *m, uint64_t number, meta_settings_change fn,
                                          void *ctx, struct arena *a, struct meta_stream **out,
                                          struct err *e);
/* All streams of an org (empty org: of all orgs), in key order; without fields when !with_fields.
 * `fn` runs inside the transaction: it must not call meta, and what it is shown ends with it. */
typedef bool (*meta_stream_visit)(const struct meta_stream *s, void *ctx);
enum err_code meta_stream_list(struct meta *m, struct str org, bool with_fields,
                               meta_stream_visit fn, void *ctx, struct err *e);
enum err_code meta_stream_delete(struct meta *m, uint64_t number,
                                 struct err *e); /* leaves a deletion mark */

/* The streams that were ever deleted, by number. */
typedef bool (*meta_deleted_visit)(uint64_t number, struct str org, enum stream_type type,
                                   struct str name, void *ctx);
enum err_code meta_stream_was_deleted(struct meta *m, uint64_t number, bool *deleted,
                                      struct err *e);
enum err_code meta_deleted_list(struct meta *m, meta_deleted_visit fn, void *ctx, struct err *e);

/* Users: a JSON record by lower-cased email. */
enum err_code meta_user_get(struct meta *m, struct str email, struct arena *a, struct str *json,
                            uint64_t *revision, struct err *e);
enum err_code meta_user_put(struct meta *m, struct str email, struct str json, uint64_t if_revision,
                            struct err *e);

/* Values of the installation, such as the instance id. */
enum err_code meta_value_get(struct meta *m, struct str key, struct arena *a, struct str *value,
                             struct err *e);
enum err_code meta_value_put(struct meta *m, struct str key, struct str value, struct err *e);
/* Grows with every change; cheap to poll. */
enum err_code meta_revision(struct meta *m, uint64_t *out, struct err *e);

#endif
