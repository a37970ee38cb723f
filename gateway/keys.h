/* gateway/keys.h - what the keys of one request mean: normalised names and fields, found once.
 *
 * A `struct key` is one key at one place of a record (its parent is the key whose object it stands
 * in); it holds the text that begins its value in a line.  Records look alike, so each key
 * remembers which one followed it: the usual look-up is one comparison. A `struct field` is a
 * column of the stream; several keys may lead to one. Raw keys point into the body, which must
 * outlive the cache (or the next keys_forget). Limits: KEYS_MAX keys and KEYS_MEMORY_MAX bytes
 * until they are forgotten, FIELDS_SEEN_MAX fields and KEYS_FIELD_MEMORY_MAX bytes for them (those
 * that only refused records had are forgotten with the keys).  Owner: one thread.
 */
#ifndef WEIR_GATEWAY_KEYS_H
#define WEIR_GATEWAY_KEYS_H

#include "base/hash.h"
#include "gateway/catalog.h"

#define KEYS_MAX 131072
#define KEYS_MEMORY_MAX (16u << 20)
#define KEYS_FIELD_MEMORY_MAX (64u << 20)
#define FIELDS_SEEN_MAX (2 * FIELDS_MAX) /* of the stream, and of refused records */
#define FIELD_NAME_MAX 1024              /* bytes */

struct field {
    struct str name;
    enum field_type type; /* FIELD_TYPE_COUNT: neither the stream nor this request has it yet */
    bool changed;         /* the stream does not have it like this */
    uint64_t record;      /* the last one that wrote it */
    size_t piece;         /* which of that record's pieces it is */
};

struct key {
    struct key *parent, *next, *first; /* next: followed it last time; first: of its object */
    struct str raw;                    /* between the quotes, as written */
    struct str text;                   /* what its escapes stand for; the same when it has none */
    const char *lead;                  /* `,"name":`; 16 more bytes may be read */
    uint32_t lead_len;
    uint32_t depth; /* of the root's keys: 1 */
    uint64_t hash;
    struct field *field; /* once a value has been seen */
    bool is_timestamp;
    bool is_nameless; /* at the root, empty: alone it is named `_`, but those below it begin so */
};

struct key_slot {
    uint64_t hash;
    struct key *key; /* NULL: empty */
};

struct keys {
    struct arena key_memory, field_memory;
    struct key root;
    struct key_slot *table; /* open addressing */
    size_t table_cap, count;
    struct map fields;
    struct field **changed;
    size_t changed_count, changed_cap;
    size_t new_count, new_name_bytes;    /* of the changed ones, those the stream lacks */
    bool is_settled;                     /* the stream has all that may be stored */
    const struct catalog_stream *stream; /* NULL: not made yet */
    struct buf name, decoded;            /* scratch */
    bool is_name_too_long;               /* of the last key refused */
};

void keys_init(struct keys *k);
void keys_done(struct keys *k);
/* For another request.  The stream is borrowed. */
void keys_begin(struct keys *k, const struct catalog_stream *stream);
/* Drop the keys, and the fields that no stored record has. */
void keys_forget(struct keys *k);
/* After a request: nothing of it is kept but a little memory for the next one. */
void keys_rest(struct keys *k);

/* The key `raw` (checked) of the object of `parent`; NULL when a limit is met: FIELD_NAME_MAX if
 * is_name_too_long is set, else one that keys_forget may help against. */
struct key *keys_get(struct keys *k, struct key *parent, struct str raw);
/* The field it leads to; NULL when a limit is met. */
struct field *keys_field(struct keys *k, struct key *key);
/* Would a value of `type` in `f` change the stream; is it a field that the stream lacks? */
bool keys_would_change(const struct field *f, enum field_type type, bool *is_new);
/* May a record change the stream, and bring so many new fields with so many bytes of names? */
bool keys_has_room(const struct keys *k, size_t new_fields, size_t name_bytes);
/* Memory to note so many more changes; false: there is none. */
bool keys_reserve(struct keys *k, size_t changes);
/* Note that a value of `type` is stored in `f`: the stream has room, and the note has memory. */
void keys_store(struct keys *k, struct field *f, enum field_type type);
/* Order of two keys in a map sorted by name at every level, as the reference keeps records; 0: the
 * same name however it is written. */
int keys_order(const struct key *a, const struct key *b);

#endif
