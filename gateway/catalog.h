/* gateway/catalog.h - streams and their schemas as the gateway's threads see them, in memory.
 *
 * Over index/meta.h: a hit costs one hash look-up and never waits for a transaction.  An entry is
 * immutable and reference-counted; a changed schema makes a new entry (readers keep the old one
 * until catalog_unref).  Field look-up by name is a hash inside the entry.
 * Every *out is a reference of the caller's.  Thread safety: any thread.  Errors: those of
 * index/meta.h, INVALID for names over their limits.
 */
#ifndef WEIR_GATEWAY_CATALOG_H
#define WEIR_GATEWAY_CATALOG_H

#include "index/meta.h"

struct catalog;
struct catalog_stream { /* immutable; only made by the catalog */
    uint64_t number;
    struct str org, name;
    enum stream_type type;
    uint32_t schema_version;
    const struct meta_field *fields;
    size_t field_count;
    size_t name_bytes;      /* of the fields */
    struct str settings;    /* JSON (stream_settings.h) */
    const bool *full_text;  /* of each field: do the settings name it for match_all?  NULL: none */
    unsigned flatten_level; /* of nested objects at ingestion; 0: the node's */
    bool store_original;    /* records are also kept as they came */
    unsigned max_query_hours; /* a longer range is cut to its end; 0: any */
};

/* memory_max: bytes of schemas that are held; what has not been asked for lately goes first. */
enum err_code catalog_open(struct meta *m, size_t memory_max, struct catalog **out, struct err *e);
void catalog_close(struct catalog *c);

/* NOTFOUND when there is none.  Names are already normalised (gateway/names.h). */
enum err_code catalog_find(struct catalog *c, struct str org, enum stream_type type,
                           struct str name, const struct catalog_stream **out, struct err *e);
enum err_code catalog_make(struct catalog *c, struct str org, enum stream_type type,
                           struct str name, const struct catalog_stream **out, struct err *e);
/* meta_stream_create: with its fields and settings, all or nothing.  EXISTS: there already. */
enum err_code catalog_create(struct catalog *c, const struct meta_creation *n,
                             const struct catalog_stream **out, struct err *e);
/* Adds and widens, durably; returns the stream as it is then.  NOTFOUND: deleted
 * meanwhile; catalog_make gives the stream that takes its place. */
enum err_code catalog_merge_fields(struct catalog *c, const struct catalog_stream *s,
                                   const struct meta_new_field *fields, size_t count,
                                   const struct catalog_stream **out, struct err *e);
/* meta_stream_change_settings, and what look-ups find afterwards. */
enum err_code catalog_change_settings(struct catalog *c, const struct catalog_stream *s,
                                      meta_settings_change fn, void *ctx,
                                      const struct catalog_stream **out, struct err *e);
/* Durable, with a mark that outlives it: its number is never used again.  Look-ups find it no more;
 * what the fs process has of it is the caller's to drop.  NOTFOUND. */
enum err_code catalog_delete(struct catalog *c, const struct catalog_stream *s, struct err *e);
/* Is there a mark of deletion of that number? */
enum err_code catalog_was_deleted(struct catalog *c, uint64_t number, bool *deleted, struct err *e);
void catalog_unref(const struct catalog_stream *s); /* NULL is fine */
const struct catalog_stream *catalog_ref(const struct catalog_stream *s);
/* May the stream (NULL: it is not made yet) have so many more fields, with so many bytes of names?
 */
bool catalog_has_room(const struct catalog_stream *s, size_t new_fields, size_t name_bytes);
/* Why not, for who sent them. */
void catalog_say_no_room(char *dst, size_t size);
/* Index into fields, or -1. */
int catalog_field(const struct catalog_stream *s, struct str name);
/* False also when meta cannot be read or written. */
bool catalog_org_exists(struct catalog *c, struct str org);
/* Durable; OK also when it is there. */
enum err_code catalog_org_make(struct catalog *c, struct str org, struct err *e);
/* All streams of an org (empty org: of all), in key order; fn runs outside of any lock or
 * transaction, may take references, and returns false to stop. */
typedef bool (*catalog_visit)(const struct catalog_stream *s, void *ctx);
enum err_code catalog_list(struct catalog *c, struct str org, catalog_visit fn, void *ctx,
                           struct err *e);

#endif
