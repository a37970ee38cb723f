/* index/meta_internal.h - what the files of the meta module share: keys. */
#ifndef WEIR_INDEX_META_INTERNAL_H
#define WEIR_INDEX_META_INTERNAL_H

#include "index/meta.h"

#define META_KEY_MAX KV_KEY_MAX

struct meta {
    struct kv *kv;
};

/* A key under construction; a part that does not fit leaves it marked too long, and using it is
 * TOOBIG. */
struct meta_key {
    char bytes[META_KEY_MAX];
    size_t len;
    bool too_long;
};
struct str meta_key_str(const struct meta_key *k);
void meta_key_add(struct meta_key *k, struct str part);
enum err_code meta_key_check(const struct meta_key *k, struct err *e);
struct meta_key meta_key_of(char family, struct str text);     /* "<family>/<text>" */
struct meta_key meta_key_number(char family, uint64_t number); /* big-endian */
struct meta_key meta_key_stream(struct str org, enum stream_type type, struct str name);
/* Takes a stream key apart: views into it. */
bool meta_key_stream_parse(struct str key, struct str *org, enum stream_type *type,
                           struct str *name);
/* Puts the organisation when it is missing; inside a write transaction. */
enum err_code meta_org_put(struct kv_txn *t, struct str org, struct err *e);

#endif
