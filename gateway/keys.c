/* gateway/keys.c - the keys of one request: a trie over raw keys, and the fields they lead to. */
#include "gateway/keys.h"

#include <stdlib.h>

#include "gateway/names.h"
#include "gateway/scan.h"

enum {
    TABLE_MIN = 256,   /* a power of two */
    TABLE_KEPT = 4096, /* a larger one is not kept */
    ARENAS_KEPT = 256 << 10,
    DECODED_MAX = 4 * FIELD_NAME_MAX, /* each character of a name came from at most four bytes */
    LEAD_SLACK = 16
};

static const struct str TIMESTAMP = {"_timestamp", sizeof "_timestamp" - 1};

void keys_init(struct keys *k)
{
    *k = (struct keys){0};
    arena_init(&k->key_memory, KEYS_MEMORY_MAX);
    arena_init(&k->field_memory, KEYS_FIELD_MEMORY_MAX);
    map_init(&k->fields, FIELDS_SEEN_MAX);
    buf_init(&k->name, FIELD_NAME_MAX + 1);
    buf_init(&k->decoded, DECODED_MAX);
}

void keys_done(struct keys *k)
{
    arena_done(&k->key_memory);
    arena_done(&k->field_memory);
    map_done(&k->fields);
    buf_done(&k->name);
    buf_done(&k->decoded);
    free(k->table);
    free(k->changed);
}

static void forget_keys(struct keys *k)
{
    arena_reset(&k->key_memory);
    if (k->table_cap > TABLE_KEPT) {
        free(k->table);
        k->table = NULL;
        k->table_cap = 0;
    }
    if (k->table)
        memset(k->table, 0, k->table_cap * sizeof(struct key_slot));
    k->count = 0;
    k->root = (struct key){0};
}

/* The stream's own are found again when they come.  Without memory all are kept. */
static void forget_fields(struct keys *k)
{
    struct arena kept;
    struct map by_name;
    bool ok = true;
    arena_init(&kept, KEYS_FIELD_MEMORY_MAX);
    map_init(&by_name, FIELDS_SEEN_MAX);
    for (size_t i = 0; i < k->changed_count && ok; i++) {
        struct field *f = arena_zalloc(&kept, sizeof *f);
        if (f)
            *f = *k->changed[i];
        ok = f && (f->name = arena_copy(&kept, f->name)).ptr && map_put(&by_name, f->name, f);
    }
    if (ok) {
        for (size_t i = 0; i < k->changed_count; i++)
            k->changed[i] = map_find(&by_name, k->changed[i]->name);
        arena_done(&k->field_memory);
        map_done(&k->fields);
        k->field_memory = kept;
        k->fields = by_name;
    } else {
        arena_done(&kept);
        map_done(&by_name);
    }
}

void keys_forget(struct keys *k)
{
    forget_keys(k);
    forget_fields(k);
}

void keys_begin(struct keys *k, const struct catalog_stream *stream)
{
    forget_keys(k);
    arena_reset(&k->field_memory);
    map_done(&k->fields);
    map_init(&k->fields, FIELDS_SEEN_MAX);
    k->changed_count = k->new_count = k->new_name_bytes = 0;
    k->is_settled = false;
    k->stream = stream;
}

void keys_rest(struct keys *k)
{
    if (k->key_memory.used_bytes + k->field_memory.used_bytes <= ARENAS_KEPT)
        return;
    keys_done(k);
    keys_init(k);
}

/* ---- the table ---- */

static uint64_t hash_of(const struct keys *k, const struct key *parent, struct str raw)
{
    /* The seeds are the map's random ones, so that keys from outside cannot be made to collide. */
    return siphash13(k->fields.k0 ^ (uintptr_t)parent, k->fields.k1, raw.ptr, raw.len);
}

static struct key_slot *slot_of(const struct keys *k, const struct key *parent, struct str raw,
                                uint64_t hash)
{
    size_t mask = k->table_cap - 1, at = hash & mask;
    for (;; at = (at + 1) & mask) {
        struct key_slot *s = &k->table[at];
        if (!s->key || (s->hash == hash && s->key->parent == parent && str_eq(s->key->raw, raw)))
            return s;
    }
}

static void table_move(struct key_slot *to, size_t cap, const struct key_slot *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t at = from[i].hash & (cap - 1);
        if (!from[i].key)
            continue;
        while (to[at].key)
            at = (at + 1) & (cap - 1);
        to[at] = from[i];
    }
}

/* Room for one more at a load of at most one half. */
static bool table_grow(struct keys *k)
{
    if (k->count < k->table_cap / 2)
        return true;
    if (k->count >= KEYS_MAX)
        return false;
    size_t cap = k->table_cap ? k->table_cap * 2 : TABLE_MIN;
    struct key_slot *table = calloc(cap, sizeof *table);
    if (!table)
        return false;
    table_move(table, cap, k->table, k->table_cap);
    free(k->table);
    k->table = table;
    k->table_cap = cap;
    return true;
}

/* ---- keys ---- */

static struct str name_of(const struct key *key)
{
    return (struct str){key->lead + 2, key->lead_len - 4}; /* without `,"` and `":` */
}

/* What the escapes of a key stand for, in k->decoded if there are any; false when it is too long.
 */
static bool decode_key(struct keys *k, struct str raw, struct str *text)
{
    *text = raw;
    if (raw.len == 0 || !memchr(raw.ptr, '\\', raw.len))
        return true;
    buf_clear(&k->decoded);
    scan_decode(raw, &k->decoded);
    *text = buf_str(&k->decoded);
    return buf_ok(&k->decoded);
}

/* The whole name into k->name; false when it is too long. */
static bool make_name(struct keys *k, const struct key *parent, struct str text)
{
    buf_clear(&k->name);
    if (parent != &k->root) {
        if (!parent->is_nameless)
            buf_add_str(&k->name, name_of(parent));
        buf_add_char(&k->name, '_');
    }
    name_field_add(&k->name, text);
    if (k->name.len == 0) /* SQL has no empty names */
        buf_add_char(&k->name, '_');
    return buf_ok(&k->name) && k->name.len <= FIELD_NAME_MAX;
}

static bool make_lead(struct keys *k, struct key *key, struct str name)
{
    char *lead = arena_zalloc(&k->key_memory, name.len + 4 + LEAD_SLACK);
    if (!lead)
        return false;
    memcpy(lead, ",\"", 2);
    memcpy(lead + 2, name.ptr, name.len);
    memcpy(lead + 2 + name.len, "\":", 2);
    key->lead = lead;
    key->lead_len = (uint32_t)name.len + 4;
    return true;
}

static struct key *key_new(struct keys *k, struct key *parent, struct str raw)
{
    struct str text;
    k->is_name_too_long = !decode_key(k, raw, &text) || !make_name(k, parent, text);
    if (k->is_name_too_long)
        return NULL;
    if (text.ptr != raw.ptr && !(text = arena_copy(&k->key_memory, text)).ptr)
        return NULL;
    struct key *key = arena_zalloc(&k->key_memory, sizeof *key);
    if (!key || !make_lead(k, key, buf_str(&k->name)))
        return NULL;
    key->parent = parent;
    key->raw = raw;
    key->text = text;
    key->depth = parent->depth + 1;
    key->is_nameless = key->depth == 1 && text.len == 0;
    key->is_timestamp = str_eq(name_of(key), TIMESTAMP);
    return key;
}

struct key *keys_get(struct keys *k, struct key *parent, struct str raw)
{
    k->is_name_too_long = false;
    if (!table_grow(k))
        return NULL;
    uint64_t hash = hash_of(k, parent, raw);
    struct key_slot *slot = slot_of(k, parent, raw, hash);
    if (!slot->key) {
        struct key *key = key_new(k, parent, raw);
        if (!key)
            return NULL;
        *slot = (struct key_slot){hash, key};
        k->count++;
    }
    return slot->key;
}

int keys_order(const struct key *a, const struct key *b)
{
    int order = 0;
    while (a->depth > b->depth)
        a = a->parent;
    while (b->depth > a->depth)
        b = b->parent;
    for (; a != b; a = a->parent, b = b->parent) {
        int here = str_cmp(a->text, b->text);
        if (here)
            order = here; /* what differs nearest to the root decides */
    }
    return order;
}

/* ---- fields ---- */

static struct field *field_new(struct keys *k, struct str name)
{
    struct field *f = arena_zalloc(&k->field_memory, sizeof *f);
    if (!f)
        return NULL;
    f->name = arena_copy(&k->field_memory, name);
    f->type = FIELD_TYPE_COUNT;
    int at = k->stream ? catalog_field(k->stream, name) : -1;
    if (at >= 0)
        f->type = k->stream->fields[at].type;
    return f->name.ptr && map_put(&k->fields, name, f) ? f : NULL;
}

struct field *keys_field(struct keys *k, struct key *key)
{
    if (!key->field) {
        key->field = map_find(&k->fields, name_of(key));
        if (!key->field)
            key->field = field_new(k, name_of(key));
    }
    return key->field;
}

bool keys_reserve(struct keys *k, size_t changes)
{
    size_t cap = k->changed_cap ? k->changed_cap : 64;
    while (cap - k->changed_count < changes)
        cap *= 2;
    if (cap == k->changed_cap)
        return true;
    struct field **list = realloc(k->changed, cap * sizeof(struct field *));
    if (!list)
        return false;
    k->changed = list;
    k->changed_cap = cap;
    return true;
}

bool keys_would_change(const struct field *f, enum field_type type, bool *is_new)
{
    *is_new = f->type == FIELD_TYPE_COUNT;
    return *is_new || field_type_widen(f->type, type) != f->type;
}

bool keys_has_room(const struct keys *k, size_t new_fields, size_t name_bytes)
{
    return !k->is_settled &&
           catalog_has_room(k->stream, k->new_count + new_fields, k->new_name_bytes + name_bytes);
}

void keys_store(struct keys *k, struct field *f, enum field_type type)
{
    bool is_new;
    if (!keys_would_change(f, type, &is_new))
        return;
    if (!f->changed)
        k->changed[k->changed_count++] = f;
    f->changed = true;
    f->type = is_new ? type : field_type_widen(f->type, type);
    k->new_count += is_new;
    k->new_name_bytes += is_new ? f->name.len : 0;
}
