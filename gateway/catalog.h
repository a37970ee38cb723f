/* gateway/catalog.h - streams and their schemas as the gateway's threads see them, in memory.
 *
 * Over index/meta.h: a hit costs one hash look-up and no lock on the writer.  An entry is immutable
 * and reference-counted; a changed schema makes a new entry (readers keep the old one until
 * catalog_unref).  Field look-up by name is a hash inside the entry.
 * Thread safety: any thread.
 */
#ifndef WEIR_GATEWAY_CATALOG_H
#define WEIR_GATEWAY_CATALOG_H

#include "index/meta.h"

struct catalog;
struct catalog_stream {      /* immutable */
    uint64_t number;
    struct str org, name;
    enum stream_type type;
    uint32_t schema_version;
    const struct meta_field *fields;
    size_t field_count;
    /* private: */
    int refs;
    void *field_index;
};

enum err_code catalog_open(struct meta *m, struct catalog **out, struct err *e);
void catalog_close(struct catalog *c);

/* NOTFOUND when there is none.  Names are already normalised (gateway/names.h). */
enum err_code catalog_find(struct catalog *c, struct str org, enum stream_type type, struct str name,
                           const struct catalog_stream **out, struct err *e);
enum err_code catalog_make(struct catalog *c, struct str org, enum stream_type type, struct str name,
                           const struct catalog_stream **out, struct err *e);
/* Adds and widens; returns the stream as it is then. */
enum err_code catalog_merge_fields(struct catalog *c, const struct catalog_stream *s,
                                   const struct meta_new_field *fields, size_t count,
                                   const struct catalog_stream **out, struct err *e);
void catalog_unref(const struct catalog_stream *s); /* NULL is fine */
const struct catalog_stream *catalog_ref(const struct catalog_stream *s);
/* Index into fields, or -1. */
int catalog_field(const struct catalog_stream *s, struct str name);
bool catalog_org_exists(struct catalog *c, struct str org);
bool catalog_org_make(struct catalog *c, struct str org); /* durable; true when it is there */
typedef bool (*catalog_visit)(const struct catalog_stream *s, void *ctx);
enum err_code catalog_list(struct catalog *c, struct str org, catalog_visit fn, void *ctx, struct err *e);

#endif
