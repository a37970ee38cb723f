/* index/parts.h - which part holds what: the derived index in <data>/index (NOMETASYNC).
 *
 * The fs process is its one writer.  Everything here can be rebuilt from the journal, the local
 * files and the bucket.  Key order is (org, type, stream, hour, id), so that a query touches only
 * its time range.  Each write transaction also stores the journal position it covers.
 * Thread safety: any thread of the owner.  Errors: those of kv.h.
 */
#ifndef WEIR_INDEX_PARTS_H
#define WEIR_INDEX_PARTS_H

#include "base/ulid.h"
#include "index/kv.h"
#include "index/meta.h"

enum part_state { PART_ACTIVE, PART_SEALED, PART_MIRRORED, PART_REMOTE };
const char *part_state_name(enum part_state s); /* "active", "sealed", "mirrored", "remote" */

/* A row group of the sealed file: random access to its text form. */
struct part_group {
    uint32_t rows;
    uint64_t text_bytes;
};
/* What a metrics part holds of one name; its rows follow each other in the file. */
struct part_name {
    uint64_t stream; /* number */
    struct str name;
    uint64_t first_row, rows;
    int64_t min_ts_us, max_ts_us;
    uint64_t text_bytes;
};
struct part {
    struct ulid id;
    uint64_t stream;      /* number; 0 for a metrics part of many streams */
    struct str org, name; /* name is empty for metrics */
    enum stream_type type;
    int32_t hour;
    enum part_state state;
    int64_t min_ts_us, max_ts_us;
    uint64_t rows;
    uint64_t raw_bytes;              /* of the text form */
    uint64_t stored_bytes;           /* of Parquet; 0 while active */
    struct str node, object;         /* key in the bucket, empty until mirrored */
    uint8_t sha256[32];              /* of the sealed file; zeros while active */
    uint8_t text_version;            /* of the text form; 0 while active */
    uint64_t text_sum;               /* of the text form's lines (gateway/engine/text.h) */
    uint64_t schema;                 /* parts_schema_hash of its columns; 0 while active */
    const struct part_group *groups; /* in the file's order; NULL in a visit: part_group_at */
    size_t group_count;
    const struct part_name *names; /* metrics: in order of name (str_cmp), each once; NULL in a
                                      visit: part_name_at */
    size_t name_count;
    struct str packed; /* a visit's: groups and names as they are stored (parts_codec.h) */
};
#define PART_GROUPS_MAX (1u << 20)
#define PART_NAMES_MAX (1u << 18)
/* Work on the arrays and on what is packed; the text is a view.  i < the count. */
struct part_group part_group_at(const struct part *p, size_t i);
struct part_name part_name_at(const struct part *p, size_t i);
/* By bisection: the cost does not depend on the other names. */
bool part_name_find(const struct part *p, struct str name, struct part_name *out);

struct parts;
enum err_code parts_open(const char *path, enum kv_access access, struct parts **out,
                         struct err *e);
void parts_close(struct parts *p);
struct kv *parts_kv(struct parts *p);

/* Put several, or replace them by id, in one transaction together with the journal position
 * (segment, offset) covered. */
enum err_code parts_put(struct parts *p, const struct part *list, size_t count, uint64_t segment,
                        uint64_t offset, struct err *e);
enum err_code parts_delete(struct parts *p, const struct part *list, size_t count, uint64_t segment,
                           uint64_t offset, struct err *e);
/* Changes with every change of a part of that hour (hour_versions.h). */
uint64_t parts_hour_version(struct parts *p, int32_t hour);
enum err_code parts_position(struct parts *p, uint64_t *segment, uint64_t *offset, struct err *e);
/* Parts of one stream whose hour lies in [first_hour, last_hour], by hour and id; fn returns false
 * to stop.  It runs inside the transaction: what it is shown ends with it, and it must not call the
 * index.  Groups and names stay packed, so a part costs the same however many it has.
 * Metrics: an empty name is all parts of the org, else those that hold the name. */
typedef bool (*part_visit)(const struct part *part, void *ctx);
enum err_code parts_list(struct parts *p, struct str org, enum stream_type type, struct str name,
                         int32_t first_hour, int32_t last_hour, part_visit fn, void *ctx,
                         struct err *e);
/* The first hour from from_hour on that has a part, by one seek (of a metric's name: one for each
 * part that does not hold it).  So a listing of years, months or days costs a seek an entry. */
enum err_code parts_next_hour(struct parts *p, struct str org, enum stream_type type,
                              struct str name, int32_t from_hour, int32_t *hour, bool *found,
                              struct err *e);
/* Every part of every stream, in key order. */
enum err_code parts_each(struct parts *p, part_visit fn, void *ctx, struct err *e);

/* The part after `after` in that order (NULL: the first), packed or not; the same memory rules as
 * of parts_find. */
enum err_code parts_next(struct parts *p, const struct part *after, struct arena *a,
                         struct part *out, bool *found, struct err *e);

/* The columns of sealed files, stored once for all parts that have the same: (name, type) in the
 * order of the file.  The hash is of their encoding; putting a known one again changes nothing. */
struct part_column {
    struct str name;
    enum field_type type; /* as stored; wider types of the stream come by cast */
    uint32_t number;      /* the field's, also its id in Parquet */
    bool is_rare;         /* no column of its own: it stands in the file's column of rare fields */
};
uint64_t parts_schema_hash(const struct part_column *columns, size_t count); /* never 0 */
enum err_code parts_schema_put(struct parts *p, const struct part_column *columns, size_t count,
                               uint64_t *hash, struct err *e);
enum err_code parts_schema_get(struct parts *p, uint64_t hash, struct arena *a,
                               struct part_column **columns, size_t *count,
                               struct err *e); /* NOTFOUND */
/* NOTFOUND.  With groups and names as arrays in `a`. */
enum err_code parts_find(struct parts *p, const struct ulid *id, struct arena *a, struct part *out,
                         struct err *e);
/* The same as a visit shows it: packed, and gone when fn returns. */
enum err_code parts_show(struct parts *p, const struct ulid *id, part_visit fn, void *ctx,
                         struct err *e);
/* The last part of [first_hour, last_hour] in key order, by one seek; fn is not called when there
 * is none.  Metrics: of all parts of the org, whatever the name. */
enum err_code parts_show_last(struct parts *p, struct str org, enum stream_type type,
                              struct str name, int32_t first_hour, int32_t last_hour, part_visit fn,
                              void *ctx, struct err *e);
/* Is it there?  Costs one seek. */
enum err_code parts_has(struct parts *p, const struct ulid *id, bool *has, struct err *e);

#endif
