/* fs/registry.h - what is where in the tree: organisations, streams, their hours, their files.
 *
 * Good for: lookups and listings that cost what they show, however many files the journal holds.
 * Not for: sizes, rows and times of files, which only the journal knows.
 * Owner: the fs process.  Any thread may call.  Entries live until registry_free and their
 * addresses do not change; fields marked (lock) are guarded by the registry's lock, the others are
 * immutable.
 * A directory of a stream belongs to one stream number at a time: a newer number of the same name
 * (deleted and made again) takes it over, and files of the older number are no longer shown.
 * Errors: FULL past REGISTRY_STREAMS_MAX or REGISTRY_FILES_MAX, NOMEM.
 */
#ifndef WEIR_FS_REGISTRY_H
#define WEIR_FS_REGISTRY_H

#include "fs/journal/journal.h"
#include "fs/name.h"

#define REGISTRY_STREAMS_MAX 1000000
#define REGISTRY_FILES_MAX 16000000

struct registry;
struct registry_stream;
struct registry_org {
    struct str raw, name; /* as it came, and escaped for paths */
    struct {
        struct registry_stream **list; /* (lock) */
        size_t count, cap;             /* (lock) */
        int64_t mtime_us;              /* (lock) */
    } types[STREAM_TYPE_COUNT];
};

struct registry_hour {
    int32_t hour;
    struct ulid *files; /* in order of id */
    size_t count, cap;
    int64_t mtime_us;
};

struct registry_stream {
    struct registry_org *org;
    enum stream_type type;
    struct str raw, name;        /* as it came, and escaped for paths */
    uint64_t number;             /* (lock) 0: deleted */
    struct registry_hour *hours; /* (lock) in order of hour */
    size_t hour_count, hour_cap; /* (lock) */
    int64_t mtime_us;            /* (lock) when the newest file began: a listing changed */
};

enum err_code registry_new(struct registry **out, struct err *e);
void registry_free(struct registry *r); /* NULL is fine */

bool registry_knows(struct registry *r, const struct ulid *id);
/* A file that is known already, or of an older number of its stream, changes nothing. */
enum err_code registry_add(struct registry *r, const struct journal_file *f, struct err *e);

/* A stream that `meta` knows, also without a file; made_us is its directory's time until one comes.
 * Known already: nothing else changes. */
enum err_code registry_add_stream(struct registry *r, uint64_t number, struct str org,
                                  enum stream_type type, struct str name, int64_t made_us,
                                  struct err *e);

/* An organisation that has no stream yet. */
enum err_code registry_add_org(struct registry *r, struct str org, struct err *e);

/* The stream of that number is deleted: it has no directory, until a newer number takes it. */
void registry_drop_stream(struct registry *r, uint64_t number);

/* ---- the hand-over to a sealed part (sealed.h) ---- */

/* The part stands in the index, or soon will, and is not to be shown yet.  FULL past
 * REGISTRY_HIDDEN_MAX. */
#define REGISTRY_HIDDEN_MAX 64
enum err_code registry_hide(struct registry *r, const struct ulid *part, struct err *e);
void registry_unhide(struct registry *r, const struct ulid *part);
/* In one step: the files are no longer listed, the part is no longer hidden. */
void registry_replace(struct registry *r, const struct journal_file *files, size_t count,
                      const struct ulid *part);
/* The journal has forgotten a replaced file; until then the id stays known, so that a late word of
 * its growth does not list it again. */
void registry_forget(struct registry *r, const struct ulid *id);
struct hidden_parts {
    struct ulid ids[REGISTRY_HIDDEN_MAX];
    size_t count;
    uint64_t hides; /* how many have ever begun to be hidden */
};
void registry_look(struct registry *r, struct hidden_parts *out); /* without a listing */
/* Who looked at the registry first and finds `part` in the index afterwards: is it to be left out?
 * Its files were listed at that look, when it was hidden at it or has begun to be since. */
bool registry_hides(struct registry *r, const struct hidden_parts *look, const struct ulid *part);
/* False: more than REGISTRY_RECENT_MAX parts have begun to be hidden since that look, and
 * registry_hides may have missed one: look again. */
#define REGISTRY_RECENT_MAX 1024
bool registry_look_holds(struct registry *r, const struct hidden_parts *look);

/* By the names in paths; NULL when there is none. */
struct registry_org *registry_find_org(struct registry *r, struct str name);
struct registry_stream *registry_find_stream(struct registry *r, const struct registry_org *org,
                                             enum stream_type type, struct str name);
/* By the names as they came, whether it is deleted or not; for a metrics part `raw` is empty, and
 * *s NULL.  False: there has never been one. */
bool registry_find_raw(struct registry *r, struct str org_raw, enum stream_type type,
                       struct str raw, const struct registry_org **org,
                       const struct registry_stream **s);
bool registry_has_type(struct registry *r, const struct registry_org *org, enum stream_type type);
bool registry_has_span(struct registry *r, const struct registry_stream *s, const struct span *in);
uint64_t registry_stream_number(struct registry *r, const struct registry_stream *s);
/* The file that `current.ndjson` names: the last one of the newest hour. */
bool registry_current(struct registry *r, const struct registry_stream *s, struct ulid *id);

/* Changes with every change of what directories of that hour list (hour_versions.h). */
uint64_t registry_hour_version(struct registry *r, int32_t hour);

/* When the directory last changed; `org` NULL is the root, `type` is of an org. */
int64_t registry_mtime_root(struct registry *r);
int64_t registry_mtime_type(struct registry *r, const struct registry_org *org,
                            enum stream_type type);
int64_t registry_mtime_org(struct registry *r, const struct registry_org *org);
int64_t registry_mtime_stream(struct registry *r, const struct registry_stream *s);
int64_t registry_mtime_span(struct registry *r, const struct registry_stream *s,
                            const struct span *in);

/* Listings.  The lock is held (shared) during fn, which must not call the registry. */
typedef void (*registry_org_fn)(const struct registry_org *org, void *ctx);
typedef void (*registry_stream_fn)(const struct registry_stream *s, void *ctx);
typedef void (*registry_span_fn)(const struct span *span, void *ctx);
typedef void (*registry_file_fn)(const struct ulid *id, void *ctx);
void registry_each_org(struct registry *r, registry_org_fn fn, void *ctx);
void registry_each_stream(struct registry *r, const struct registry_org *org, enum stream_type type,
                          registry_stream_fn fn, void *ctx);
/* Also those that are deleted. */
void registry_each_stream_ever(struct registry *r, registry_stream_fn fn, void *ctx);
/* The directories of one level inside `in` (NULL: the years) that hold files. */
void registry_each_span(struct registry *r, const struct registry_stream *s, const struct span *in,
                        registry_span_fn fn, void *ctx);
/* Files of the stream whose hour lies in [first, last].  `hidden` (may be NULL) gets the parts that
 * are hidden at that very moment: who goes on to the index leaves them out. */
void registry_each_file(struct registry *r, const struct registry_stream *s, int32_t first,
                        int32_t last, registry_file_fn fn, void *ctx, struct hidden_parts *hidden);
/* The same of several streams by number, at one moment; an unknown number has no files. */
void registry_each_file_of(struct registry *r, const uint64_t *numbers, size_t count, int32_t first,
                           int32_t last, registry_file_fn fn, void *ctx,
                           struct hidden_parts *hidden);
/* The stream of that number; NULL: none, or a newer number has taken its directory. */
struct registry_stream *registry_stream_of(struct registry *r, uint64_t number);

struct registry_counts {
    size_t orgs, streams, files;
};
void registry_counts(struct registry *r, struct registry_counts *out);

#endif
