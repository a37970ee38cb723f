/* gateway/flatten.h - one record of the body as the members of one line, in one pass.
 *
 * Nested objects are joined with '_' up to `level`, below that they are JSON text; arrays are JSON
 * text; nulls, empty arrays and empty objects are left out.  Of keys with the same normalised name
 * the last in map order counts (the reference keeps a record sorted by name at every level).
 * The time is taken out; the caller writes it in front.
 * Owner: one thread.
 */
#ifndef WEIR_GATEWAY_FLATTEN_H
#define WEIR_GATEWAY_FLATTEN_H

#include "gateway/keys.h"
#include "gateway/scan.h"

#define FLATTEN_REASON_MAX 320

enum flatten_verdict {
    FLATTEN_OK,
    FLATTEN_BROKEN,  /* not JSON: scan->why */
    FLATTEN_REFUSED, /* JSON, but no record for us: `reason` */
    FLATTEN_NO_ROOM, /* `out` is full */
    FLATTEN_NO_KEYS  /* a limit of `keys` was met */
};

struct piece { /* one member in `out` */
    struct key *key;
    size_t at; /* where its comma stands; it ends where the next one begins */
    enum field_type type;
    bool is_dead; /* another key of the same name counts */
};

struct flatten {
    /* set by the caller */
    struct keys *keys;
    struct buf *out;
    unsigned level; /* 0: no limit */
    unsigned columns_max;
    int64_t now_us;
    /* of the last record */
    struct piece *pieces;
    size_t piece_count, piece_cap, dead_count;
    struct key *time_key; /* NULL: it had no time */
    bool time_is_good;
    int64_t time_us;
    uint64_t record; /* counts up */
    char reason[FLATTEN_REASON_MAX];
};

void flatten_done(struct flatten *f);
/* At '{', inside `depth` open containers.  Members are appended to `out`; on FLATTEN_BROKEN and
 * _REFUSED and so on, what was appended is the caller's to cut off, and except for BROKEN the scan
 * stands somewhere inside the record. */
enum flatten_verdict flatten_record(struct flatten *f, struct scan *s, unsigned depth);
/* Of a member that the record has of the same name. */
enum flatten_rival { FLATTEN_RIVAL_STAYS, FLATTEN_RIVAL_GOES };
/* One more member of the record just walked; `name` outlives the cache of keys. */
enum flatten_verdict flatten_add_text(struct flatten *f, struct str name, struct str text,
                                      enum flatten_rival rival);

#endif
